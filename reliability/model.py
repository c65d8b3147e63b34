"""Checks models/nothing_lost.pml with Spin: reliability/results/model.json.

`python reliability/model.py` tries everything that may happen; the tests, any two faults.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "models/nothing_lost.pml"
#: each rule that can be taken away, by name
RULES = {name: int(number) for name, number in re.findall(r"^#define (NO_\w+) (\d+)", MODEL.read_text(), re.M)}


@dataclass(frozen=True)
class Search:
    """What the search of all states found."""

    states: int
    #: the law that is broken; empty if none is
    broken: str


class Checker:
    """The model's search, compiled into a directory.

    Args:
        directory: where to.
        faults: how many faults happen in one run, at most.
    """

    def __init__(self, directory: Path, faults: int) -> None:
        self._directory = directory
        self._call("spin", "-a", f"-DFAULTS={faults}", "-DFROM_ENVIRONMENT", str(MODEL))
        self._call("cc", "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c")

    def search(self, rule: str = "") -> Search:
        """Search all states, without one of the `RULES`, until a law is broken."""
        said = self._call("./pan", "-m1000", "-w20", OFF=str(RULES[rule] if rule else 0))
        [states] = re.findall(r"(\d+) states, stored", said)
        broken = re.search(r"^pan:1: (.*) \(at depth", said, re.M)
        if "max search depth too small" in said:
            raise ValueError("the search was cut off: raise -m")
        return Search(int(states), broken[1] if broken else "")

    def _call(self, *words: str, **environment: str) -> str:
        run = subprocess.run(
            words, cwd=self._directory, env={**os.environ, **environment}, text=True, capture_output=True, check=True
        )
        return run.stdout


def main() -> int:
    from reliability import page

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        checker = Checker(Path(scratch), 4)
        whole = checker.search()
        found = {rule: checker.search(rule).broken for rule in RULES}
    print(f"{whole.states:,} states in {time.monotonic() - began:.0f} s: {whole.broken or 'every law holds'}")
    for rule, broken in found.items():
        print(f"{rule}: {broken or 'NOTHING FOUND'}")
    missed = [rule for rule, broken in found.items() if not broken]
    page.write(
        "model",
        proof="A model of record, lock and host, in every order of events",
        command="python -m reliability.model",
        cells=whole.states,
        faults=whole.states,
        survived=0 if whole.broken else whole.states,
        note=f"cells are states. Without any one of its {len(RULES)} rules, a law is broken"
        + (f", except {', '.join(missed)}" if missed else ""),
    )
    return bool(whole.broken or missed)


if __name__ == "__main__":
    sys.exit(main())
