"""The kernel's own switches: Open vSwitch's datapath, and Linux bridges that filter VLANs; frames tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel.wire import cleared, guest, is_cut_off, link, reaches, vif
from tests.support import bridges
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost
from vifplug.testing.netns import ip

pytestmark = [pytest.mark.slow, pytest.mark.machine("full")]

OPENVSWITCH = {"source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
LINUX = {"source": {"bridge": "br0"}}


@pytest.fixture(scope="module")
def module_host() -> Iterator[PrivateHost]:
    """A host with a bridge of each kind."""
    with PrivateHost(vifplug_ovs={"datapath_type": "system", "ensure_bridge": True}) as host:
        host.ovs.ctl("add-br", "br-int")
        bridges.add(host, "br0", "vlan_filtering", "1", "vlan_default_pvid", "0")
        yield host
        host.ovs.ctl("del-br", "br-int")


@pytest.fixture
def host(module_host: PrivateHost) -> Iterator[PrivateHost]:
    yield from cleared(module_host)


@pytest.mark.parametrize("switch", [OPENVSWITCH, LINUX], ids=["Open vSwitch", "Linux bridge"])
def test_guests_of_one_vlan_reach_each_other_and_no_others(host: PrivateHost, switch: dict[str, Any]) -> None:
    vifs = [vif(number, vlan=vlan, **switch) for number, vlan in ((1, 10), (2, 10), (3, 20))]
    host.driver.plug_many([(each, None) for each in vifs])
    with (
        guest("tap1", vifs[0].mac, "10.0.0.1/24") as first,
        guest("tap2", vifs[1].mac, "10.0.0.2/24"),
        guest("tap3", vifs[2].mac, "10.0.0.3/24"),
    ):
        assert reaches(first, "10.0.0.2")
        assert is_cut_off(first, "10.0.0.3")
        host.driver.update(vif(3, vlan=10, **switch))
        assert reaches(first, "10.0.0.3")
        assert host.driver.check() == []


def test_a_vlan_replaces_the_one_that_the_bridge_gives_new_ports_which_comes_back(host: PrivateHost) -> None:
    bridges.add(host, "br1", "vlan_filtering", "1")  # and vlan_default_pvid 1, the kernel's own; br0 has none
    for bridge, default in (("br0", set[int]()), ("br1", {1})):
        for vlan, expected in ((10, {10}), (None, default), ("20,30", {20, 30})):
            host.driver.plug(vif(1, vlan=vlan, source={"bridge": bridge}))
            assert vlans("tap1", host.namespace) == expected and host.driver.check() == []
    host.driver.unplug(vif(1, **LINUX).id)
    host.ip("link", "delete", "br1")


def vlans(port: str, namespace: str) -> set[int]:
    """What iproute2 says of the VLANs of a port."""
    found = json.loads(netns.run("bridge", "-n", namespace, "-json", "vlan", "show", "dev", port))
    return {each["vlan"] for entry in found for each in entry.get("vlans", ())}


@pytest.mark.parametrize("switch", [OPENVSWITCH, LINUX], ids=["Open vSwitch", "Linux bridge"])
def test_a_trunks_native_vlan_is_untagged_and_the_others_are_tagged(host: PrivateHost, switch: dict[str, Any]) -> None:
    trunk, native, tagged, other = (
        vif(number, vlan=vlan, **switch) for number, vlan in ((1, "101u,1011"), (2, 101), (3, 1011), (4, 1012))
    )
    host.driver.plug_many([(each, None) for each in (trunk, native, tagged, other)])
    with (
        guest("tap1", trunk.mac, "10.1.0.1/24", "10.2.0.1/24@1011", "10.3.0.1/24@1012") as guests,
        guest("tap2", native.mac, "10.1.0.2/24"),
        guest("tap3", tagged.mac, "10.2.0.2/24", "10.1.0.3/24"),
        guest("tap4", other.mac, "10.3.0.2/24"),
    ):
        assert reaches(guests, "10.1.0.2") and reaches(guests, "10.2.0.2")
        assert is_cut_off(guests, "10.3.0.2"), "VLAN 1012 is not the trunk's"
        assert is_cut_off(guests, "10.1.0.3"), "that is the native VLAN's network, in another VLAN"


def test_frames_go_through_the_kernels_datapath(host: PrivateHost) -> None:
    """Not through ovs-vswitchd: the kernel has the ports, and flows that frames hit."""
    vifs = [vif(number, vlan=10, **OPENVSWITCH) for number in (1, 2)]
    host.driver.plug_many([(each, None) for each in vifs])
    with guest("tap1", vifs[0].mac, "10.0.0.1/24") as first, guest("tap2", vifs[1].mac, "10.0.0.2/24"):
        assert reaches(first, "10.0.0.2")
        shown = host.ovs.appctl("dpctl/show")
        assert shown.startswith("system@ovs-system:") and "tap1" in shown and "tap2" in shown
        flows = host.ovs.appctl("dpctl/dump-flows", "type=ovs")
        assert "in_port(" in flows and vifs[0].mac in flows and "actions:" in flows


def test_a_macvtap_on_a_vlan_device_sends_and_receives_in_that_vlan(host: PrivateHost) -> None:
    with netns.named() as [far]:
        host.ip("link", "add", "low0", "type", "veth", "peer", "name", "eth0", "netns", far)
        ip("-n", far, "link", "add", "link", "eth0", "name", "eth0.10", "type", "vlan", "id", "10")
        for device, address in (("eth0", "10.0.0.1/24"), ("eth0.10", "10.10.0.1/24")):
            ip("-n", far, "address", "add", address, "dev", device)
            ip("-n", far, "link", "set", "dev", device, "up")
        source = {"dev": "low0.10", "mode": "bridge", "vlan_device": {"physical": "low0", "vlan": 10}}
        asked = vif(5, type="direct", tap_owner="vifplug", source=source)
        host.driver.plug(asked)
        assert link("low0.10")["linkinfo"]["info_data"]["id"] == 10
        with guest("tap5", asked.mac, "10.10.0.2/24", "10.0.0.2/24") as inside:
            assert reaches(inside, "10.10.0.1")
            assert is_cut_off(inside, "10.0.0.1")
        host.driver.unplug(asked.id)
        host.ip("link", "delete", "dev", "low0")
