"""Eight processes at work in bad weather: a short `reliability/soak.py`, and all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reliability.soak import PROCESSES, soak
from tests.support.places import ROOT


@pytest.mark.slow
@pytest.mark.long
def test_nothing_is_lost_in_bad_weather() -> None:
    soaked = soak(15, 120, seed=14)
    assert soaked.problems == []
    assert soaked.vifs >= 5 * PROCESSES and soaked.faults["process killed"] and len(soaked.faults) > 2, soaked


@pytest.mark.long
def test_nothing_is_lost_in_ten_minutes_of_bad_weather() -> None:
    run = subprocess.run([sys.executable, ROOT / "reliability/soak.py"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
