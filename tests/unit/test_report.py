"""What a verb says of itself: one line in the log, the stages' milliseconds, the trace that it is part of."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vifplug
from tests.support.memory import Bench
from vifplug import VIF, Instance, errors
from vifplug.driver.report import Report

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
GUEST = Instance(uuid="11111111-2222-4333-8444-555555555555", name="web")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def vif(number: int = 0, **keys: Any) -> VIF:
    vif_id = f"{number:08x}-6a1b-4c2d-9e3f-7a8b9c0d1e2f" if number else ID
    source = {"source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
    return VIF.from_data({"id": vif_id, "type": "bridge", "mac": f"52:54:00:12:34:{number:02x}", **source, **keys})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.driver.close()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "vifplug")
    return caplog


def test_each_verb_is_one_line(bench: Bench, lines: pytest.LogCaptureFixture) -> None:
    bench.driver.plug(vif(), GUEST)
    bench.driver.plug(vif())
    bench.driver.update(vif(mtu=1400))
    bench.driver.settle(ID)
    bench.memory.fail_on = lambda step: True
    with pytest.raises(errors.StepFailed):
        bench.driver.update(vif(mtu=1300))
    bench.memory.fail_on = ()
    bench.driver.unplug(ID)
    bench.driver.plug_many([(vif(number), GUEST) for number in range(1, 6)])
    bench.driver.gc()
    said = [record.getMessage() for record in lines.records if record.levelno == logging.INFO]
    results = [(line.partition(":")[0], line.partition(": ")[2].split(" (")[0].split(",")[0]) for line in said]
    assert results == [
        (f"plug {ID} of guest web ({GUEST.uuid})", "done"),
        (f"plug {ID} of guest web ({GUEST.uuid})", "nothing to do"),
        (f"update {ID} of guest web ({GUEST.uuid})", "done"),
        (f"settle {ID} of guest web ({GUEST.uuid})", "nothing to do"),
        (f"update {ID}", "StepFailed"),
        (f"unplug {ID}", "done"),
        (f"plug 5 VIFs of guest web ({GUEST.uuid})", "done"),
        ("gc", "nothing to do"),
    ]
    assert all(" ms (" in line for line in said)


def test_the_stages_are_in_the_answer(bench: Bench) -> None:
    reports: list[Report] = []
    bench.driver.observers.append(reports.append)
    stages = bench.driver.plug(vif()).stages
    assert list(stages) == ["lock", "resolve", "observe", "plan", "record", "apply", "rest"]
    assert sum(stages.values()) == pytest.approx(reports[0].milliseconds) and min(stages.values()) >= 0
    assert bench.driver.plan(vif()).stages == {}


@pytest.mark.parametrize("parent", [PARENT, f"01-{TRACE}-00f067aa0ba902b7-00-more"])
def test_a_trace_is_named(bench: Bench, lines: pytest.LogCaptureFixture, parent: str) -> None:
    with vifplug.traced(parent):
        bench.driver.plug(vif())
    bench.driver.unplug(ID)
    assert [TRACE in record.getMessage() for record in lines.records] == [True, False]


def test_the_environments_trace_is_named(
    bench: Bench, lines: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for parent in (PARENT, f"ff-{TRACE}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01", "no\ntrace"):
        monkeypatch.setenv("TRACEPARENT", parent)
        bench.driver.plug(vif())
    assert [TRACE in record.getMessage() for record in lines.records] == [True, False, False, False]
