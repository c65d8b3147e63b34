"""Every verb on every type, cut off or failing at any of its effects: a sample of `reliability/matrix.py`, and all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reliability.matrix import sampled, site
from tests.support.places import ROOT


@pytest.mark.slow
def test_nothing_is_lost_wherever_a_verb_is_cut_off_or_fails() -> None:
    with site() as host:
        results = list(sampled(host, 14, types=2, cells=1))
    assert [each.problem for each in results if each.problem] == []
    assert len(results) > 20 and all(each.landed for each in results)


@pytest.mark.long
@pytest.mark.parametrize("options", [[], ["--failing"], ["--events"]])
def test_nothing_is_lost_at_any_place(options: list[str]) -> None:
    run = subprocess.run([sys.executable, ROOT / "reliability/matrix.py", *options], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
