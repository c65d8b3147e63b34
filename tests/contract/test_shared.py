"""Links that several VIFs use and none owns, and taps that libvirt makes: on the real kernel."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from vifplug import errors
from vifplug.host.links import tap
from vifplug.host.sriov.sysfs import Sysfs
from vifplug.host.sriov.vf import VirtualFunctionBackend
from vifplug.plan.registry import LibvirtTap, PciFunction, SharedBridge, Tap, VlanLink
from vifplug.plan.steps import Step, differences, removal
from vifplug.testing.netns import ip

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"
OTHER = "7e1b8d4c-02f6-4c0d-8f57-b2a9d3c4e522"
BRIDGE = SharedBridge(name="br0", owner=OWNER)
VLAN = VlanLink(name="low0.5", owner=OWNER, physical="low0", vlan=5)
LIBVIRTS = LibvirtTap(name="t0", owner=OWNER, mac="fe:54:00:00:00:01", mtu=1400)


def link(name: str) -> dict[str, Any]:
    [found] = json.loads(ip("-details", "-json", "link", "show", "dev", name))
    return dict(found)


def sysctl(key: str) -> str:
    return Path(f"/proc/sys/net/{key}").read_text().strip()


def knows_vlans() -> bool:
    """Whether this kernel has 8021q; its devices are tried on a lower device that is made for it."""
    with contextlib.suppress(Exception):
        ip("link", "add", "link", "low0", "name", "try0", "type", "vlan", "id", "9")
        ip("link", "delete", "dev", "try0")
        return True
    return False


# -- bridges ----------------------------------------------------------------------------------------------------------


def test_a_shared_bridge_is_made_as_os_vif_makes_it_and_stays(kernel: Any) -> None:
    steps = kernel.reach(BRIDGE)
    assert steps and kernel.plan(BRIDGE) == [] and kernel.plan(BRIDGE.replace(owner=OTHER)) == []
    data = link("br0")["linkinfo"]["info_data"]
    assert (data["forward_delay"], data["stp_state"], data["mcast_snooping"]) == (0, 0, 0)
    assert "UP" in link("br0")["flags"] and "ifalias" not in link("br0")
    assert sysctl("ipv6/conf/br0/disable_ipv6") == "1"
    assert (sysctl("ipv4/conf/br0/arp_ignore"), sysctl("ipv4/conf/br0/arp_announce")) == ("1", "2")
    assert removal([BRIDGE], kernel.backend.observe([BRIDGE]), {}) == []


def test_a_bridge_that_is_there_keeps_its_settings_and_is_taken_up(kernel: Any) -> None:
    ip("link", "add", "br0", "type", "bridge", "forward_delay", "1500", "stp_state", "1")
    kernel.reach(BRIDGE)
    data = link("br0")["linkinfo"]["info_data"]
    assert (data["forward_delay"], data["stp_state"]) == (1500, 1) and "UP" in link("br0")["flags"]
    assert sysctl("ipv6/conf/br0/disable_ipv6") == "0"


def test_undo_removes_the_bridge_unless_others_have_come_to_use_it(kernel: Any) -> None:
    steps = kernel.reach(BRIDGE)
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    ip("link", "set", "dev", "v0", "master", "br0")
    kernel.undo(steps)
    assert link("v0")["master"] == "br0"
    ip("link", "delete", "dev", "v0")
    kernel.undo(steps)
    assert kernel.see(BRIDGE) is None


def test_another_kind_of_device_is_in_the_way(kernel: Any) -> None:
    ip("link", "add", "br0", "type", "veth", "peer", "name", "v1")
    with pytest.raises(
        errors.Conflict, match=r"shared-bridge br0 .* got a veth device of that name, which is not a bridge"
    ):
        kernel.plan(BRIDGE)


# -- VLAN devices -----------------------------------------------------------------------------------------------------


def test_a_vlan_device_is_made_once_or_the_kernel_is_named(kernel: Any) -> None:
    ip("link", "add", "low0", "type", "veth", "peer", "name", "low1")
    ip("link", "set", "dev", "low0", "up")
    if not knows_vlans():
        with pytest.raises(errors.KernelLacks, match=r"vlan-link low0\.5"):
            kernel.reach(VLAN)
        assert kernel.see(VLAN) is None
        return
    steps = kernel.reach(VLAN)
    assert kernel.plan(VLAN.replace(owner=OTHER)) == []
    found = link("low0.5")
    assert found["linkinfo"]["info_data"]["id"] == 5 and found["link"] == "low0" and "UP" in found["flags"]
    assert sysctl("ipv6/conf/low0.5/disable_ipv6") == "1"
    with pytest.raises(errors.Conflict, match="got VLAN 5 on low0, expected VLAN 6 on low0"):
        kernel.plan(VLAN.replace(vlan=6))
    kernel.undo(steps)
    assert kernel.see(VLAN) is None


def test_without_the_physical_device_there_is_no_vlan_device(kernel: Any) -> None:
    with pytest.raises(errors.Missing, match="device low0 does not exist on this host"):
        kernel.check(VLAN)


# -- libvirt's taps ---------------------------------------------------------------------------------------------------


def test_a_tap_that_libvirt_has_not_made_yet_is_nothing_to_do_and_no_difference(kernel: Any) -> None:
    assert kernel.plan(LIBVIRTS) == [] and differences([LIBVIRTS], kernel.backend.observe([LIBVIRTS])) == []


def test_one_that_is_there_is_set_up_hardened_and_not_marked(kernel: Any) -> None:
    ip("tuntap", "add", "dev", "t0", "mode", "tap")
    kernel.reach(LIBVIRTS)
    found = link("t0")
    assert (found["address"], found["mtu"]) == (LIBVIRTS.mac, 1400) and "UP" in found["flags"]
    assert "ifalias" not in found and sysctl("ipv6/conf/t0/disable_ipv6") == "1"
    assert kernel.plan(LIBVIRTS) == []


def test_one_that_is_left_over_is_removed(kernel: Any) -> None:
    ip("tuntap", "add", "dev", "t0", "mode", "tap")
    kernel.apply(*removal([LIBVIRTS], kernel.backend.observe([LIBVIRTS]), {}))
    assert kernel.see(LIBVIRTS) is None


@pytest.mark.parametrize("command", ["link add t0 type bridge", "tuntap add dev t0 mode tun"])
def test_what_is_no_tap_is_in_the_way(kernel: Any, command: str) -> None:
    ip(*command.split())
    with pytest.raises(errors.Conflict, match="libvirt-tap t0"):
        kernel.plan(LIBVIRTS)
    assert removal([LIBVIRTS], kernel.backend.observe([LIBVIRTS]), {}) == []


def test_a_tap_of_vifplugs_is_not_taken_for_libvirts(kernel: Any) -> None:
    kernel.reach(Tap(name="t0", owner=OTHER))
    with pytest.raises(errors.Conflict, match=OTHER):
        kernel.plan(LIBVIRTS)


def test_one_that_a_guest_has_open_is_held(kernel: Any) -> None:
    with tap.opened("t0", multi_queue=False):
        ip("link", "set", "dev", "t0", "up")
        assert kernel.see(LIBVIRTS).held


def test_vifplug_makes_none(kernel: Any) -> None:
    with pytest.raises(errors.Missing, match="is created by libvirt: start the guest"):
        kernel.apply(Step(None, LIBVIRTS))


# -- PCI functions ----------------------------------------------------------------------------------------------------


def test_a_pci_function_is_there_or_not_and_is_for_one_vif(tmp_path: Path) -> None:
    (tmp_path / "bus/pci/devices/0000:81:00.0").mkdir(parents=True)
    backend = VirtualFunctionBackend(sysfs=Sysfs(tmp_path))
    there, absent = (PciFunction(name=f"0000:81:00.{number}", owner=OWNER) for number in (0, 1))
    assert list(backend.observe([there, absent])) == [there.identity]
    assert there.claims == ("VF 0000:81:00.0",)
