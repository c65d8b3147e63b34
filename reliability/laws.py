"""Tries the laws of the verbs on many machines in memory: reliability/results/laws.json."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reliability import page
from tests.property.test_nothing_lost import LAWS, MUTANTS

ROOT = Path(__file__).parents[1]
#: machines for each law
EXAMPLES = 500


def main() -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIFPLUG_TEST_EXAMPLES", str(EXAMPLES))
        patch.chdir(ROOT)
        failed = pytest.main(["-q", "-n0", "tests/property/test_nothing_lost.py"])
    cells = EXAMPLES * len(LAWS)
    if not failed:
        note = f"{len(LAWS)} laws, each on {EXAMPLES} hosts in memory; {len(MUTANTS)} mutants of the code are caught"
        words = "The laws of the verbs, with a failing, unanswered or last step anywhere"
        page.write(
            "laws",
            proof=words,
            command="python -m reliability.laws",
            cells=cells,
            faults=cells,
            survived=cells,
            note=note,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
