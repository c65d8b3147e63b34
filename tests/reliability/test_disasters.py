"""What befalls a host as a whole: some of `reliability/disasters.py`, and all."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from reliability.disasters import DISASTERS, Disasters
from reliability.matrix import site, subject
from tests.support.places import ROOT


def test_nothing_is_lost_whatever_befalls_a_host() -> None:
    with site() as host:
        results = list(Disasters(host, subject("hybrid", host)).all(random.Random(14), places=1))
    assert [each.problem for each in results if each.problem] == []
    assert len(results) > len(DISASTERS)


@pytest.mark.long
def test_nothing_is_lost_of_any_type_whatever_befalls_a_host() -> None:
    run = subprocess.run([sys.executable, ROOT / "reliability/disasters.py"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
