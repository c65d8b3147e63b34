"""A guest within the machine: real libvirt gives it a virtual function that vifplug prepared, and it is on the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.nic import Nic
from tests.support.vm import NESTED
from vifplug import VIF
from vifplug.testing.guests import boot
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtHost

pytestmark = [pytest.mark.slow, pytest.mark.machine("sriov")]

ID, MAC = "6e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e13", "52:54:00:aa:00:21"


@pytest.fixture
def libvirt(host: PrivateHost) -> Iterator[LibvirtHost]:
    with LibvirtHost(host) as daemon:
        yield daemon


def plugged(host: PrivateHost, nic: Nic) -> str:
    """Return the element of a virtual function that has a MAC and a VLAN."""
    asked = {"source": {"address": nic.functions[0]}, "vlan": 10, "guest_xml": ["<rom bar='off'/>"]}
    element = host.driver.plug(VIF.from_json({"id": ID, "type": "hostdev", "mac": MAC, **asked})).interface_xml
    assert (nic.settings(0)["address"], nic.settings(0)["vlan_list"]) == (MAC, [{"vlan": 10}])
    return element


def test_a_guest_has_the_function_its_mac_and_its_vlan_and_gives_it_back(
    host: PrivateHost, nic: Nic, libvirt: LibvirtHost
) -> None:
    before = {**nic.settings(0), "address": None}
    guest = boot(libvirt, NESTED, "nested", [plugged(host, nic)])
    assert nic.driver(0) == "vfio-pci"
    assert (nic.settings(0)["address"], nic.settings(0)["vlan_list"]) == (MAC, [{"vlan": 10}])
    assert host.driver.check() == []
    guest.destroy()
    assert nic.driver(0) == "igbvf"
    host.driver.unplug(ID)
    # its driver, that has it again, has told the physical function an address of its own
    assert nic.settings(0)["address"] != MAC and {**nic.settings(0), "address": None} == before


@pytest.mark.long
def test_the_guest_reaches_its_vlan_and_nobody_else(host: PrivateHost, nic: Nic, libvirt: LibvirtHost) -> None:
    guest = boot(libvirt, NESTED, "nested", [plugged(host, nic)])
    guest.patience = 500  # emulated by what is emulated itself
    guest.configure(MAC, "10.10.0.2/24")
    assert guest.reaches("10.10.0.1")
    guest.run(f"ip addr add 10.0.0.2/24 dev {guest.device(MAC)}")
    assert guest.is_cut_off_from("10.0.0.1")
    guest.destroy()
    host.driver.unplug(ID)
