"""Metrics: an agent serves its own, and short processes add to one file."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import vifplug
from tests.support.memory import Bench
from vifplug import VIF, VIFDriver, conf, errors
from vifplug.driver.metrics import Metrics, Textfile
from vifplug.driver.report import Report

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def vif(**keys: Any) -> VIF:
    source = {"source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
    return VIF.from_data({"id": ID, "type": "bridge", "mac": "52:54:00:12:34:56", **source, **keys})


def samples(text: str) -> dict[str, float]:
    """Return the value of each sample, by its name and the values of its labels in the order of their names."""
    families = text_string_to_metric_families(text)
    found = (each for family in families for each in family.samples)
    return {" ".join([each.name, *(value for _, value in sorted(each.labels.items()))]): each.value for each in found}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.driver.close()


def test_an_agent_serves_its_own(bench: Bench) -> None:
    registry = CollectorRegistry()
    bench.driver.observers.append(Metrics(registry))
    with vifplug.traced(f"00-{TRACE}-00f067aa0ba902b7-01"):
        bench.driver.plug(vif())
    bench.driver.plug(vif())
    bench.memory.fail_on = lambda step: True
    with pytest.raises(errors.StepFailed):
        bench.driver.update(vif(mtu=1300))
    for verb, result in (("plug", "done"), ("plug", "nothing to do"), ("update", "StepFailed")):
        assert registry.get_sample_value("vifplug_verbs_total", {"verb": verb, "result": result}) == 1
    assert registry.get_sample_value("vifplug_lost_connections_total") == 0
    stage = {"verb": "plug", "stage": "observe"}
    assert registry.get_sample_value("vifplug_stage_seconds_count", stage) == 2
    assert TRACE in generate_latest(registry).decode()


def test_processes_add_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "vifplug.prom"
    driver = Bench(tmp_path).home.driver(metrics=f"textfile {path}")
    for _ in range(2):
        driver.plug(vif())
    driver.unplug(ID)
    found = samples(path.read_text())
    assert found["vifplug_verbs_total done plug"] == found["vifplug_verbs_total done unplug"] == 1
    assert found["vifplug_stage_seconds_count lock plug"] == found["vifplug_stage_seconds_bucket +Inf lock plug"] == 2
    report = Report(verb="plug", vif_ids=[ID], stages={"lock": 1.0})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Textfile(str(path)), [report] * 16))
    assert samples(path.read_text())["vifplug_verbs_total nothing to do plug"] == 17
    assert {each.name for each in tmp_path.glob("vifplug.prom*")} == {"vifplug.prom", "vifplug.prom.lock"}


def test_gauges_are_replaced_and_verbs_leave_them(tmp_path: Path) -> None:
    path = tmp_path / "vifplug.prom"
    driver, file = Bench(tmp_path).home.driver(), Textfile(str(path))
    driver.plug(vif())
    file.examined(driver.list(), 3, 1)
    file(Report(verb="plug", vif_ids=[ID]))
    found = samples(path.read_text())
    assert [found[f"vifplug_{each}"] for each in ("vifs plugged", "differences", "unrecorded")] == [1, 3, 1]
    driver.unplug(ID)
    file.examined(driver.list(), 0, 0)
    assert "vifplug_vifs plugged" not in samples(path.read_text())


def test_a_file_that_cannot_be_written_fails_no_verb(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    driver = Bench(tmp_path).home.driver(metrics=f"textfile {tmp_path}/none/vifplug.prom")
    driver.plug(vif())
    assert "none/vifplug.prom cannot be written" in caplog.text
    (tmp_path / "odd.prom").write_text('vifplug_verbs_total{verb="plug" 1\n')
    Bench(tmp_path).home.driver(metrics=f"textfile {tmp_path}/odd.prom").plug(vif())
    assert "odd.prom cannot be written" in caplog.text


def test_a_wrong_option_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidConfig, match="metrics"):
        config = tmp_path / "vifplug.conf"
        config.write_text("[vifplug]\nmetrics = /var/lib/vifplug.prom\n")
        VIFDriver(conf.load([str(config)]))
