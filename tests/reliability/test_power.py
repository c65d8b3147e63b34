"""The power goes while a verb writes the record: two types of `reliability/power.py`, and all."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from reliability.matrix import site
from reliability.power import prove
from tests.support.places import ROOT


def test_the_record_survives_a_power_cut_at_any_moment() -> None:
    with site() as host:
        proofs = [prove(host, name, random.Random(14), disks=2) for name in ("hybrid", "macvtap passthrough")]
    assert [problem for each in proofs for problem in each.problems] == []
    assert all(each.survived == each.cuts == 3 * each.moments > 200 for each in proofs)


@pytest.mark.long
def test_the_records_of_all_types_survive_a_power_cut_at_any_moment() -> None:
    run = subprocess.run([sys.executable, ROOT / "reliability/power.py"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
