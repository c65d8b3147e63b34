"""The kernel's simulated NIC: what igb has not. Rates, link state, 802.1ad, and an embedded switch with representors.

Its virtual functions are on no PCI bus, so the directory of that bus is one of the test's own, which says that they are
at 0000:81:00.2 and so on. All else is the kernel's: the settings, the switch, the representors and their names.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.wire import until
from vifplug import VIF, errors
from vifplug.testing.host import PrivateHost
from vifplug.testing.netns import ip, run

pytestmark = [pytest.mark.slow, pytest.mark.machine("full")]

BUS = Path("/sys/bus/netdevsim")
ID, MAC = "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11", "52:54:00:aa:00:01"
FUNCTIONS = 3


@dataclass
class Simulated:
    """The physical function's device, and its devlink name."""

    device: str
    name: str

    def settings(self, number: int) -> dict[str, Any]:
        [message] = json.loads(ip("-json", "link", "show", "dev", self.device))
        return dict(message["vfinfo_list"][number])

    @contextlib.contextmanager
    def switching(self) -> Iterator[None]:
        """Its embedded switch is in switchdev mode."""
        command = ("devlink", "dev", "eswitch", "set", f"netdevsim/{self.name}", "mode")
        run(*command, "switchdev")
        yield
        run(*command, "legacy")

    def representor(self, number: int) -> str:
        """As devlink tells it."""
        ports = json.loads(run("devlink", "-j", "port", "show"))["port"].values()
        [name] = [each["netdev"] for each in ports if each["flavour"] == "pcivf" and each["vfnum"] == number]
        return str(name)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    (BUS / "new_device").write_text("81 1")
    device = BUS / "devices/netdevsim81"
    try:
        (device / "sriov_numvfs").write_text(str(FUNCTIONS))
        until(lambda: any((device / "net").iterdir()), "its device")
        name = next((device / "net").iterdir()).name
        ip("link", "set", "dev", name, "up")
        run("mount", "--bind", str(pci_bus(tmp_path_factory.mktemp("pci"), device)), "/sys/bus/pci/devices")
        yield Simulated(name, device.name)
        run("umount", "/sys/bus/pci/devices")
    finally:
        (BUS / "del_device").write_text("81")


def address(number: int) -> str:
    return f"0000:81:00.{number + 2}"


def pci_bus(directory: Path, device: Path) -> Path:
    """A directory as /sys/bus/pci/devices is, with the NIC and its virtual functions."""
    physical = directory / "0000:81:00.0"
    physical.mkdir()
    (physical / "net").symlink_to(device / "net")
    for number in range(FUNCTIONS):
        function = directory / address(number)
        function.mkdir()
        (function / "physfn").symlink_to("../0000:81:00.0")
        (physical / f"virtfn{number}").symlink_to(f"../{function.name}")
    return directory


@pytest.fixture(scope="module")
def machine_host(machine: str, simulated: Simulated) -> Iterator[PrivateHost]:
    with PrivateHost(namespace=machine, vifplug_ovs={"datapath_type": "system", "ensure_bridge": True}) as host:
        host.ovs.ctl("add-br", "br-int")
        yield host
        host.ovs.ctl("del-br", "br-int")


def vif(number: int = 1, **keys: Any) -> VIF:
    source = {"address": address(number), **keys.pop("source", {})}
    return VIF.from_json({"id": ID, "type": "hostdev", "mac": MAC, "source": source, **keys})


def test_settings_that_igb_refuses_are_made_and_go_back(host: PrivateHost, simulated: Simulated) -> None:
    before = simulated.settings(1)
    rates = {"min_tx_rate": 10, "max_tx_rate": 100}
    vf = {"link_state": "enable", "vlan_qos": 5, "vlan_proto": "802.1ad", "trust": True, "spoof_check": True, **rates}
    host.driver.plug(vif(vlan=10, vf=vf))
    there = simulated.settings(1)
    assert there["vlan_list"] == [{"vlan": 10, "qos": 5, "protocol": "802.1ad"}]
    assert there["rate"] == {"max_tx": 100, "min_tx": 10}
    assert (there["link_state"], there["trust"], there["spoofchk"]) == ("enable", True, True)
    assert host.driver.check() == []
    host.driver.unplug(ID)
    assert simulated.settings(1) == before


@pytest.fixture
def switched(simulated: Simulated) -> Iterator[Simulated]:
    with simulated.switching():
        yield simulated


def test_in_switchdev_mode_the_representor_is_found_and_put_on_the_bridge(
    switched: Simulated, host: PrivateHost
) -> None:
    before, representor = switched.settings(1), switched.representor(1)
    plugged = host.driver.plug(vif(source={"bridge": "br-int"}, vlan=10, vf={"trust": True}))
    assert "<vlan>" not in plugged.interface_xml, "the VLAN is the representor's port's"
    assert host.ports("br-int") == {representor}
    assert host.port(representor, "tag", "Port") == "10"
    assert host.port(representor, "external_ids:iface-id") == f'"{ID}"'
    assert switched.settings(1)["address"] == MAC and switched.settings(1)["vlan_list"] == before["vlan_list"]
    assert host.driver.check() == []
    host.driver.unplug(ID)
    assert host.ports("br-int") == set() and switched.representor(1) == representor
    assert switched.settings(1) == before


def test_in_legacy_mode_there_is_no_representor(host: PrivateHost, simulated: Simulated) -> None:
    with pytest.raises(errors.Missing, match=f"{address(1)} has no representor .* eswitch of {simulated.device}"):
        host.driver.plug(vif(source={"bridge": "br-int"}))
    assert host.driver.list() == []
