"""Every verb on every type, cut off or failing at any of its effects: a sample of `reliability/matrix.py`, and all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reliability.matrix import ID, sampled, site, subject
from tests.support.places import ROOT
from vifplug import VIF
from vifplug.driver.engine import Engine
from vifplug.driver.recovery import Recovery
from vifplug.testing import matrix as module
from vifplug.testing.host import PrivateHost
from vifplug.testing.matrix import Matrix, Subject


@pytest.mark.slow
def test_nothing_is_lost_wherever_a_verb_is_cut_off_or_fails() -> None:
    with site() as host:
        results = list(sampled(host, 14, types=2, cells=1))
    assert [each.problem for each in results if each.problem] == []
    assert len(results) > 30 and all(each.landed for each in results)


MUTANTS: dict[str, tuple[type, str, bool]] = {
    "recover does nothing": (Recovery, "recover", False),
    "a failed verb is not undone": (Engine, "_undo", True),
}


def test_a_matrix_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mutant of the code is caught by the cell that it is wrong in, and the code itself is not."""
    monkeypatch.setattr(module, "_SETTLED", 0.3)
    document = {"id": ID, "type": "ethernet", "mac": "52:54:00:12:34:56", "source": {}}
    with PrivateHost() as host:
        matrix = Matrix(host, Subject("ethernet", VIF.from_json(document)))
        for name, (of, method, failing) in MUTANTS.items():
            cells = (each for each in matrix.cells("plug", failing=failing) if "netlink" in each.effect.on)
            last = [each for each in cells if each.repair == "recover"][-1]
            assert matrix.run(last).problem == ""
            with monkeypatch.context() as patch:
                patch.setattr(of, method, lambda *_args, **_keys: [])
                assert "the host differs" in matrix.run(last).problem, name


def test_a_change_from_passthrough_that_is_cut_off_is_made() -> None:
    """The NIC still had the guest's MAC, which a macvtap on it cannot have."""
    with site() as host:
        matrix = Matrix(host, subject("macvtap passthrough", host))
        there = (each for each in matrix.cells("update") if "netlink" in each.effect.on)
        cells = [each for each in there if each.repair != "unplug"]
        assert [problem for each in cells if (problem := matrix.run(each).problem)] == []


@pytest.mark.long
@pytest.mark.parametrize("options", [[], ["--failing"], ["--looks"], ["--events"]])
def test_nothing_is_lost_at_any_place(options: list[str]) -> None:
    run = subprocess.run([sys.executable, ROOT / "reliability/matrix.py", *options], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
