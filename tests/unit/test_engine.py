"""What the engine keeps of an update that a process does not live to finish, and whom a difference concerns."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vifplug import VIF, VIFDriver
from vifplug import conf as options
from vifplug.plan import registry
from vifplug.plan.registry import LowerDevice, OvsPort, OvsVlan, Resource
from vifplug.plan.steps import Step
from vifplug.testing.memory import MemoryBackend, MemoryHost

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
ON_OVS = {"virtualport": {"type": "openvswitch"}}


class Killed(BaseException):
    """The process is gone: what it does from here on happens on a machine that nobody looks at."""


class Host:
    """A machine in memory and a record, which survive the process that is killed at a step."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.memory = MemoryBackend()
        self.lives = 0
        self.drivers: list[VIFDriver] = []
        self.driver = self._new_process()

    def update_killed_before_step(self, number: int, vif: VIF) -> bool:
        """Whether the update got as far as that step. There is a new process then."""
        left = iter(range(number))
        survivors: list[list[Resource]] = []

        def dies(step: Step) -> bool:
            if survivors:
                return False
            if next(left, None) is None:
                survivors.append([seen.resource for seen in self.memory.there.values() if seen.resource])
                shutil.copytree(self._state(), self._state(self.lives + 1))
                raise Killed
            return False

        self.memory.fail_on = dies
        try:
            self.driver.update(vif)
        except Killed:
            self.memory = MemoryBackend()
            for resource in survivors[0]:
                self.memory.place(resource)
            self.lives += 1
            self.driver = self._new_process()
        self.memory.fail_on = ()
        return bool(survivors)

    def found(self, kind: type[Resource], name: str) -> Any:
        return self.memory.there[(kind.kind, name)].resource

    def made(self) -> set[str]:
        """What vifplug made and is still there."""
        kinds = registry.RESOURCES
        return {name for kind, name in self.memory.there if kinds[kind].ownership is registry.Ownership.OWNED}

    def _state(self, life: int | None = None) -> Path:
        return self.directory / f"state{self.lives if life is None else life}"

    def _new_process(self) -> VIFDriver:
        conf = options.load([])
        conf.set_override("state_path", str(self._state()), group="vifplug")
        conf.set_override("ensure_bridge", True, group="vifplug_ovs")
        conf.set_override("default_qos_type", None, group="vifplug_ovs")
        machine = MemoryHost(self.memory)
        self.drivers.append(VIFDriver(conf, machine=machine))
        return self.drivers[-1]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    for driver in made.drivers:
        driver.close()


def vif(**keys: Any) -> VIF:
    source = {"bridge": "br-int", **keys.pop("source", {})}
    return VIF.from_json({"id": ID, "type": "bridge", "mac": "52:54:00:12:34:56", "source": source, **ON_OVS, **keys})


@pytest.mark.parametrize("step", range(7))
def test_what_an_update_no_longer_wants_is_not_forgotten(host: Host, step: int) -> None:
    """From the hybrid form to a plain port: the bridge and the wires go, whenever the process was killed."""
    host.driver.plug(vif(source={"hybrid": True}))
    killed = host.update_killed_before_step(step, vif())
    assert host.driver.plug(vif()).vif.id == ID
    assert host.made() == {"tap9c4e2f10-6a"}
    assert host.driver.check() == []
    host.driver.unplug(ID)
    assert host.made() == set()
    assert killed == (step < 6), "the update takes six steps"


@pytest.mark.parametrize("step", range(7))
def test_unplugging_after_a_killed_update_leaves_nothing(host: Host, step: int) -> None:
    host.driver.plug(vif(source={"hybrid": True}))
    host.update_killed_before_step(step, vif())
    host.driver.unplug(ID)
    assert host.made() == set()


def test_a_vlan_that_an_update_drops_is_cleared_although_it_was_killed(host: Host) -> None:
    host.driver.plug(vif(vlan=7))
    assert host.update_killed_before_step(0, vif())
    assert next(each.path for each in host.driver.check()) == "state"
    host.driver.plug(vif())
    assert host.found(OvsPort, "tap9c4e2f10-6a").vlan == OvsVlan()
    assert host.driver.check() == []


def test_the_original_of_a_setting_survives_a_killed_update(host: Host) -> None:
    """From a device passed through by vifplug to one by libvirt: its own MAC comes back."""
    host.memory.place(LowerDevice(name="ens1", owner=ID, up=True, mac="52:54:00:00:00:99"))
    document = {"id": ID, "type": "direct", "mac": "52:54:00:12:34:56"}
    ours, theirs = (
        VIF.from_json({**document, "source": {"dev": "ens1", "mode": "passthrough"}, "tap_owner": owner})
        for owner in ("vifplug", "libvirt")
    )
    host.driver.plug(ours)
    assert host.found(LowerDevice, "ens1").mac == "52:54:00:12:34:56"
    assert host.update_killed_before_step(0, theirs)
    host.driver.plug(theirs)
    assert host.found(LowerDevice, "ens1").mac == "52:54:00:00:00:99"
    assert host.made() == set()


def test_a_bridge_that_is_gone_is_told_for_each_vif_that_needs_it(tmp_path: Path) -> None:
    """A bridge has no owner; what is missing has."""
    host = Host(tmp_path)
    host.driver.plug(vif())
    found = [seen.resource for (kind, _), seen in host.memory.there.items() if kind != "ovs-bridge" and seen.resource]
    host.memory = MemoryBackend()
    for resource in found:
        host.memory.place(resource)
    with host._new_process() as driver:
        assert [(each.vif_id, each.path) for each in driver.check()] == [(ID, "ovs-bridge br-int")]
    host.driver.close()
