"""Device pools on a machine in memory: what a model comes to by luck alone, and eight processes on one record."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.crowd import CROWDED_DEVICES, FORK, MANY, crowd, watch_the_record
from tests.faults.pools import SharedMemory, definition, killed_at, network_vif, vif_id
from tests.support.holdings import all_holdings
from tests.support.memory import Bench, Home
from vifplug import VIF, errors
from vifplug.host.host import Host
from vifplug.plan.registry import LowerDevice
from vifplug.plan.steps import Step
from vifplug.store.store import Store
from vifplug.testing.memory import MemoryBackend, MemoryHost


class Little(Bench):
    """A network of a pool, a bridge and its devices."""

    memory: SharedMemory

    def __init__(self, path: Path) -> None:
        super().__init__(path, SharedMemory(path / "machine"))
        for dev in ("e0", "e1", "br0"):
            self.memory.place(LowerDevice(name=dev))

    def pool(self, mode: str) -> None:
        self.define(definition("pool", mode, [("e0", None)]), "pool")


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Little]:
    made = Little(tmp_path)
    yield made
    made.driver.close()


def test_a_batch_that_fails_for_a_device_that_is_not_of_a_pool_holds_nothing(little: Little) -> None:
    little.pool("vepa")
    direct = {"type": "direct", "source": {"dev": "e1", "mode": "passthrough"}}
    first, second = (VIF.from_json({"id": vif_id(n), "mac": f"52:54:00:00:00:0{n}", **direct}) for n in (1, 2))
    little.driver.plug(first)
    with pytest.raises(errors.Conflict, match="device e1 is requested by"):
        little.driver.plug_many([(network_vif(vif_id(3), "pool"), None), (second, None)])
    assert [entry.vif.id for entry in little.driver.list()] == [first.id]


def test_a_device_is_ones_own_until_the_macvtap_that_is_alone_on_it_has_gone(little: Little) -> None:
    """An update from passthrough to vepa: nobody shares the device while a macvtap in mode passthru is on it."""
    little.pool("passthrough")
    little.driver.plug(network_vif(vif_id(1), "pool", ours=True))
    little.pool("vepa")
    message: list[str] = []

    def meanwhile(step: Step) -> bool:
        if not message:
            message.append("begun")
            try:
                with little.home.driver() as other:
                    other.plug(network_vif(vif_id(2), "pool", ours=True))
            except errors.Conflict as conflict:
                message.append(type(conflict).__name__)
        return False

    little.memory.fail_on = meanwhile
    little.driver.update(network_vif(vif_id(1), "pool", ours=True))
    assert message == ["begun", "PoolExhausted"]


def test_what_a_killed_update_holds_is_reported_by_check(little: Little) -> None:
    """It was killed when it had a device of the pool that its network is now; what it had before it still has."""
    little.pool("switched")
    vif = network_vif(vif_id(1), "pool")
    little.driver.plug(vif)
    little.pool("passthrough")
    holding = 0
    for moment in range(60):
        if killed_at(moment, little.home, lambda victim: victim.update(vif)) != "killed":
            break
        little.memory.take_over()
        little.pool("switched")
        if all_holdings(Store(little.home.path / "state")):
            assert little.driver.check(), f"killed at {moment}, a device is held and nothing says so"
            holding += 1
        little.driver.update(vif)
        assert little.driver.check() == [] and all_holdings(Store(little.home.path / "state")) == []
        little.pool("passthrough")
    assert holding > 5


# -- eight processes on one record --------------------------------------------------------------------------------


def in_memory(devices: Sequence[str]) -> Callable[[], Host]:
    """A machine for each process, in which the devices are up."""

    def made() -> Host:
        backend = MemoryBackend()
        for dev in devices:
            backend.place(LowerDevice(name=dev, up=True))
        return MemoryHost(backend)

    return made


@pytest.mark.slow
def test_eight_processes_and_many_deaths_never_give_a_device_twice_nor_lose_one(tmp_path: Path) -> None:
    crowd(Home(tmp_path, in_memory(CROWDED_DEVICES)), {"p": 200, "u": 150, "x": 10, "killed": 15}, watch_the_record)


def fill(home: Home, network: str, slot: int, count: int, begin: Any) -> None:
    """Plug ``count`` VIFs, all processes beginning together; a letter for each in the log."""
    log = os.open(home.path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with home.driver() as driver:
        driver.list()
        begin.wait()
        for number in range(count):
            try:
                driver.plug(network_vif(vif_id(16 * slot + number), network))
                os.write(log, b"p")
            except errors.PoolExhausted:
                os.write(log, b"x")


@pytest.mark.parametrize(
    ("mode", "devices", "given"),
    [("vepa", 8, {4}), ("passthrough", 20, {1}), ("passthrough", 40, {0, 1})],
)
def test_eight_processes_fill_a_pool_evenly_and_to_the_last_device(
    tmp_path: Path, mode: str, devices: int, given: set[int]
) -> None:
    names = [f"e{number}" for number in range(devices)]
    home = Home(tmp_path, in_memory(names))
    home.network("pool").write_text(definition("pool", mode, [(name, None) for name in names]))
    begin = FORK.Barrier(MANY)
    running = [FORK.Process(target=fill, args=(home, "pool", slot, 4, begin)) for slot in range(MANY)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    assert [each.exitcode for each in running] == [0] * MANY
    had = Counter(each.name for each in all_holdings(Store(tmp_path / "state")))
    assert {had[f"device {name}"] for name in names} == given
    assert (
        Counter((tmp_path / "log").read_text())["p"] == sum(had.values()) == min(32, 32 if mode == "vepa" else devices)
    )
