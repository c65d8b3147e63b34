"""Every kind of interface, on booted guests: whom a guest reaches on the element that vifplug gave, and whom not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.guests.conftest import Boot
from tests.support.peers import MTU, Peer, peer, pinging
from vifplug import VIF, Instance
from vifplug.testing.guests import Guest
from vifplug.testing.host import PrivateHost

pytestmark = pytest.mark.xdist_group("guests-1")

OVS = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
LINUX = {"type": "bridge", "source": {"bridge": "br0"}}
LIBVIRTS, VIFPLUGS = {"tap_owner": "libvirt"}, {"tap_owner": "vifplug"}


def direct(device: str, mode: str) -> dict[str, Any]:
    return {"type": "direct", "source": {"dev": device, "mode": mode}}


def network(name: str, portgroup: str | None = None) -> dict[str, Any]:
    return {"type": "network", "source": {"network": name} | ({"portgroup": portgroup} if portgroup else {})}


@dataclass(frozen=True)
class Kind:
    """``reaches``: the names of the peers, by the VLAN that the guest itself sends in (None: untagged)."""

    name: str
    keys: Mapping[str, Any]
    reaches: Mapping[int | None, set[str]]
    mtu: int = 1500
    number: int = field(default=0)

    @property
    def vif(self) -> VIF:
        ids = {"id": f"{self.number:08}-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "mac": f"52:54:00:00:00:{self.number:02x}"}
        return VIF.from_json({**ids, "model": "virtio", **self.keys})


#: those of a guest that is on switches
SWITCHED = [
    Kind("Linux bridge", {**LINUX, "mtu": 1450}, {None: {"lan"}}, mtu=1450),
    Kind("Linux bridge, libvirt's tap", {**LINUX, **LIBVIRTS, "mtu": 9000}, {None: {"lan"}}, mtu=9000),
    Kind("access", {**OVS, "vlan": 10, "mtu": 9000}, {None: {"vlan10"}, 20: set()}, mtu=9000),
    Kind("access, libvirt's tap", {**OVS, **LIBVIRTS, "vlan": 10, "mtu": 1400}, {None: {"vlan10"}, 20: set()}, mtu=1400),
    Kind("trunk", {**OVS, "vlan": "10,20"}, {None: set(), 10: {"vlan10"}, 20: {"vlan20"}}),
    Kind("trunk, libvirt's tap", {**OVS, **LIBVIRTS, "vlan": "10,20"}, {None: set(), 20: {"vlan20"}}),
    Kind("native", {**OVS, "vlan": "10u,20", "mtu": 1400}, {None: {"vlan10"}, 20: {"vlan20"}}, mtu=1400),
    Kind("native, libvirt's tap", {**OVS, **LIBVIRTS, "vlan": "10u,20"}, {None: {"vlan10"}, 20: {"vlan20"}}),
    Kind("two queues", {**OVS, "vlan": 20, "driver": {"queues": 2}}, {None: {"vlan20"}}),
    Kind("hybrid", {**OVS, "source": {"bridge": "br-int", "hybrid": True}, "vlan": 20}, {None: {"vlan20"}}),
    Kind("a bridge for each port", {**OVS, "source": {"bridge": "br-int", "per_port_bridge": True}, "vlan": 10},
         {None: {"vlan10"}, 20: set()}),
    Kind("a port before libvirt's tap", {**OVS, **LIBVIRTS, "source": {"bridge": "br-int", "port_owner": "vifplug"},
         "vlan": 10, "mtu": 1400}, {None: {"vlan10"}, 20: set()}, mtu=1400),
]  # fmt: skip

#: those of a guest on devices of the host's, and on named networks
ELSEWHERE = [
    Kind("ethernet", {"type": "ethernet", "target": "plain0", "mtu": 1400}, {None: {"lan"}}, mtu=1400),
    Kind("ethernet, libvirt's tap", {"type": "ethernet", "target": "plain1", **LIBVIRTS}, {None: {"lan"}}),
    *(Kind(f"direct, {mode}", direct(f"low{number}", mode), {None: {"wire"}})
      for number, mode in enumerate(("bridge", "vepa", "private", "passthrough"))),
    Kind("direct, vifplug's macvtap", {**direct("low4", "bridge"), **VIFPLUGS, "driver": {"queues": 2}},
         {None: {"wire"}}),
    Kind("direct, vifplug's passthrough", {**direct("low5", "passthrough"), **VIFPLUGS}, {None: {"wire"}}),
    Kind("network, default portgroup", network("red"), {None: {"vlan10"}, 20: set()}),
    Kind("network, trunk portgroup", network("red", "firewalls"), {None: {"vlan10"}, 20: {"vlan20"}}),
    Kind("network, Linux bridge", network("lab"), {None: {"lan2"}}, mtu=1300),
    Kind("network, shared pool", network("shared"), {None: {"wire"}}),
    Kind("network, exclusive pool", {**network("exclusive"), **VIFPLUGS}, {None: {"wire"}}),
]  # fmt: skip

KINDS = [
    Kind(each.name, each.keys, each.reaches, each.mtu, number)
    for number, each in enumerate([*SWITCHED, *ELSEWHERE], start=1)
]
GUESTS = {"switched": KINDS[: len(SWITCHED)], "elsewhere": KINDS[len(SWITCHED) :]}

NETWORKS = {
    "red": "<forward mode='bridge'/><bridge name='br-int'/><virtualport type='openvswitch'/>"
    "<portgroup name='engineering' default='yes'><vlan><tag id='10'/></vlan></portgroup>"
    "<portgroup name='firewalls'><vlan trunk='yes'><tag id='10' nativeMode='untagged'/><tag id='20'/></vlan>"
    "</portgroup>",
    "lab": "<forward mode='bridge'/><bridge name='br1'/><mtu size='1300'/>",
    "shared": "<forward mode='bridge'><interface dev='low6'/></forward>",
    "exclusive": "<forward mode='passthrough'><interface dev='low7'/></forward>",
}


@pytest.fixture(scope="module")
def peers(host: PrivateHost) -> Iterator[dict[str, Peer]]:
    """One in each of two VLANs, on each of two Linux bridges, and at the other end of the devices of the host."""
    host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    host.ovs.ctl("set", "interface", "br-int", f"mtu_request={MTU}")  # else it is the least of its ports', and libvirt's taps get it
    for bridge in ("br0", "br1", "br-wire"):
        host.ip("link", "add", bridge, "type", "bridge")
        host.ip("link", "set", bridge, "mtu", str(MTU), "up")
    for number in range(8):
        host.ip("link", "add", f"low{number}", "up", "type", "veth", "peer", "name", f"far{number}")
        host.ip("link", "set", f"far{number}", "master", "br-wire", "up")
    for name, text in NETWORKS.items():
        (host.networks / f"{name}.xml").write_text(f"<network><name>{name}</name>{text}</network>")
    places = {"vlan10": None, "vlan20": None, "lan": "br0", "lan2": "br1", "wire": "br-wire"}
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(peer(host, name, n, on=on)) for n, (name, on) in enumerate(places.items(), 1)]
        for vlan in ("10", "20"):
            host.ovs.ctl("add-port", "br-int", f"vlan{vlan}", f"tag={vlan}")
        yield {each.name: each for each in made}


@pytest.fixture(scope="module")
def before(host: PrivateHost, peers: dict[str, Peer]) -> Any:
    """The host before anything was plugged."""
    return configured(host)


@pytest.fixture(scope="module")
def guests(host: PrivateHost, boot: Boot, before: Any) -> dict[str, Guest]:
    """The two guests, with an interface of each kind."""
    running = {}
    for name, kinds in GUESTS.items():
        pairs = [(kind.vif, Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name=name)) for kind in kinds]
        running[name] = boot(name, [plugged.interface_xml for plugged in host.driver.plug_many(pairs)])
    for tap in ("plain0", "plain1"):  # the network of type ethernet is made by somebody else
        host.ip("link", "set", tap, "master", "br0", "up")
    return running


@contextlib.contextmanager
def addressed(guest: Guest, mac: str, address: str, vlan: int | None) -> Iterator[None]:
    """Of the guest's cards this one alone is up: a guest answers for its addresses on all that are."""
    guest.configure(mac, f"{address}/24", vlan=vlan)
    try:
        yield
    finally:
        guest.deconfigure(mac)


def configured(host: PrivateHost) -> Any:
    """Devices with their MAC, MTU, bridge and state, Open vSwitch's rows, and who has what of the pools."""
    devices = [
        (each["ifname"], each.get("address"), each["mtu"], each.get("master"), "UP" in each["flags"])
        for each in json.loads(host.ip("-j", "link"))
    ]
    columns = {"Bridge": "name", "Port": "name,tag,trunks", "Interface": "name,type", "QoS": "_uuid", "Queue": "_uuid"}
    rows = [host.ovs.ctl(f"--columns={names}", "list", table) for table, names in columns.items()]
    return sorted(devices), rows, [host.driver.pool(name) for name in ("shared", "exclusive")]


@pytest.mark.parametrize(
    ("guest", "kind"),
    [pytest.param(guest, kind, id=kind.name) for guest, kinds in GUESTS.items() for kind in kinds],
)
def test_a_guest_reaches_whom_it_should_and_nobody_else(
    guest: str, kind: Kind, guests: dict[str, Guest], peers: dict[str, Peer]
) -> None:
    """In both directions; and what it and the host believe to be its MTU passes whole."""
    web, mac, address = guests[guest], kind.vif.mac, f"10.0.0.{100 + kind.number}"
    assert web.mtu(mac) == kind.mtu
    for vlan, expected in kind.reaches.items():
        with addressed(web, mac, address, vlan):
            for name in expected:
                assert web.reaches(peers[name].address)
                assert peers[name].reaches(address, "-M", "do", "-s", str(kind.mtu - 28))
            ping = pinging(address, peers.values())
            reached = web.reached(each.address for each in peers.values())
            assert {name for name, each in peers.items() if each.address in reached} == expected
            assert ping() == expected


def test_what_a_guest_has_of_a_pool_is_its_own(guests: dict[str, Guest], host: PrivateHost) -> None:
    for name in ("shared", "exclusive"):
        [device] = host.driver.pool(name)
        print(device)


def test_all_is_as_recorded_while_they_run_and_nothing_is_left_afterwards(
    guests: dict[str, Guest], host: PrivateHost, before: Any
) -> None:
    print(host.driver.check())
    print([host.driver.settle(kind.vif.id) for kind in KINDS])
    assert host.driver.check() == []
    for guest in guests.values():
        guest.destroy()
    assert host.driver.check() == []
    for kind in KINDS:
        host.driver.unplug(kind.vif.id)
    assert configured(host) == before
