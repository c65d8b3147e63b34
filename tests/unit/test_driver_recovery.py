"""What precedes the first change of a process, on a machine in memory that is rebooted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.memory import Bench, Home
from vifplug import VIF, VIFDriver, errors
from vifplug.plan.registry import LowerDevice, Tap
from vifplug.store.store import Store
from vifplug.testing.memory import MemoryHost

ID = "00000001-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
OTHER = "00000002-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
OWN, GUEST = "02:00:00:00:00:01", "52:54:00:12:34:56"
ALONE: dict[str, Any] = {"type": "direct", "source": {"dev": "e0", "mode": "passthrough"}, "tap_owner": "vifplug"}
TAP: dict[str, Any] = {"type": "ethernet"}


def nothing() -> None:
    pass


class Machine(MemoryHost):
    """One whose boot and network namespace are the test's; ``looked`` is called when they are looked at."""

    boot, namespace = "first", "1"
    looked: Callable[[], object] = staticmethod(nothing)

    def place(self) -> dict[str, str]:
        now = {"boot": self.boot, "namespace": self.namespace}
        type(self).looked()
        return now


class Site(Bench):
    """A host with a NIC and a VIF."""

    def __init__(self, path: Path, **document: Any) -> None:
        super().__init__(path)
        self.machine = type("Machine", (Machine,), {})
        self.home = Home(path, lambda: self.machine(self.memory))
        self.memory.place(LowerDevice(name="e0", mac=OWN))
        self.vif = VIF.from_data({"id": ID, "mac": GUEST, **document})
        with self.process() as driver:
            driver.plug(self.vif)

    def process(self) -> VIFDriver:
        return self.home.driver(recover="auto")

    def reboot(self) -> None:
        for identity in self.memory.there:
            self.memory._there.pop(identity)
        self.memory.place(LowerDevice(name="e0", mac=OWN))
        self.machine.boot = "second"

    def nic(self) -> str | None:
        found = self.memory.there["lower-device", "e0"].resource
        assert isinstance(found, LowerDevice)
        return found.mac


def test_a_process_that_is_late_after_a_reboot_keeps_the_originals_of_the_one_before(tmp_path: Path) -> None:
    site = Site(tmp_path, **ALONE)
    site.reboot()
    assert site.nic() == OWN
    late, site.machine.looked = site.process(), lambda: first.unplug(OTHER)
    with site.process() as first, late:
        first._recovery._host.place = lambda: {"boot": "second", "namespace": "1"}  # type: ignore[method-assign]
        late.unplug(OTHER)
        assert site.nic() == GUEST
        late.unplug(ID)
    assert site.nic() == OWN and not site.there()


def failing(site: Site) -> None:
    site.memory.fail_on = {("tap", site.vif.device)}


def begun(site: Site) -> None:
    """Another process is at work on the VIF, and will be killed."""
    with Store(site.home.path / "state").lock([ID], 1), site.process() as driver:
        driver.unplug(OTHER)


@pytest.mark.parametrize("obstacle", [failing, begun])
def test_a_vif_that_did_not_come_back_is_brought_back_by_the_next_process(
    tmp_path: Path, obstacle: Callable[[Site], None]
) -> None:
    site = Site(tmp_path, **TAP)
    site.reboot()
    obstacle(site)
    with site.process() as driver:
        driver.unplug(OTHER)
    site.memory.fail_on = ()
    with site.process() as driver:
        driver.unplug(OTHER)
        assert driver.check() == []


def test_a_vif_that_cannot_come_back_is_not_tried_by_every_process(tmp_path: Path) -> None:
    site = Site(tmp_path, **TAP)
    site.reboot()
    site.memory.place(Tap(name=site.vif.device, owner=OTHER), foreign="a tap of another program")
    with site.process() as driver:
        driver.unplug(OTHER)
    site.memory._there.pop(("tap", site.vif.device))
    with site.process() as driver:
        driver.unplug(OTHER)
        assert driver.check() != [] and not site.there()


def test_nothing_is_touched_in_another_network_namespace(tmp_path: Path) -> None:
    site = Site(tmp_path, **TAP)
    before, site.machine.namespace = site.memory.there, "2"
    verbs: tuple[Callable[[VIFDriver], object], ...] = (
        lambda driver: driver.plug(site.vif.replace(id=OTHER)),
        lambda driver: driver.update(site.vif.replace(mtu=1400)),
        lambda driver: driver.settle(ID),
        lambda driver: driver.unplug(ID),
    )
    with site.process() as driver:
        for verb in verbs:
            with pytest.raises(errors.HostNotReady, match="the records are of network namespace 1"):
                verb(driver)
        assert site.memory.there == before and [each.state for each in driver.list()] == ["plugged"]
