"""Every kind of interface, on booted guests: whom a guest reaches on the element that vifplug gave, and whom not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.guests.conftest import Boot
from tests.support.peers import MTU, Peer, addressed, peer, reached
from vifplug import VIF, Instance
from vifplug.testing.guests import Guest
from vifplug.testing.host import PrivateHost

pytestmark = pytest.mark.xdist_group("guests-1")

LINUX = {"type": "bridge", "source": {"bridge": "br0"}}
OVS = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
LIBVIRTS, VIFPLUGS = {"tap_owner": "libvirt"}, {"tap_owner": "vifplug"}


def direct(device: str, mode: str) -> dict[str, Any]:
    return {"type": "direct", "source": {"dev": device, "mode": mode}}


def network(name: str, portgroup: str | None = None) -> dict[str, Any]:
    return {"type": "network", "source": {"network": name} | ({"portgroup": portgroup} if portgroup else {})}


def on_switch(**source: Any) -> dict[str, Any]:
    return {**OVS, "source": {"bridge": "br-int", **source}}


@dataclass(frozen=True)
class Kind:
    """``reaches``: the names of the peers, by the VLAN that the guest itself sends in (None: untagged).

    ``mtu`` is what the guest is to believe.
    """

    name: str
    keys: Mapping[str, Any]
    reaches: Mapping[int | None, set[str]]
    mtu: int = 1500


SWITCHED = [
    Kind("Linux bridge", {**LINUX, "mtu": 1450}, {None: {"lan"}}, 1450),
    Kind("Linux bridge, libvirt's tap", {**LINUX, **LIBVIRTS, "mtu": 9000}, {None: {"lan"}}, 9000),
    Kind("access", {**OVS, "vlan": 10, "mtu": 9000}, {None: {"vlan10"}, 20: set()}, 9000),
    Kind("access, libvirt's tap", {**OVS, **LIBVIRTS, "vlan": 10, "mtu": 1400}, {None: {"vlan10"}, 20: set()}, 1400),
    Kind("trunk", {**OVS, "vlan": "10,20"}, {None: set(), 10: {"vlan10"}, 20: {"vlan20"}}),
    Kind("trunk, libvirt's tap", {**OVS, **LIBVIRTS, "vlan": "10,20"}, {None: set(), 20: {"vlan20"}}),
    Kind("native", {**OVS, "vlan": "10u,20", "mtu": 1400}, {None: {"vlan10"}, 20: {"vlan20"}}, 1400),
    Kind("native, libvirt's tap", {**OVS, **LIBVIRTS, "vlan": "10u,20"}, {None: {"vlan10"}, 20: {"vlan20"}}),
    Kind("two queues", {**OVS, "vlan": 20, "driver": {"queues": 2}}, {None: {"vlan20"}}),
    Kind("hybrid", {**on_switch(hybrid=True), "vlan": 20}, {None: {"vlan20"}}),
    Kind("a bridge for each port", {**on_switch(per_port_bridge=True), "vlan": 10}, {None: {"vlan10"}, 20: set()}),
    Kind("a port before libvirt's tap", {**on_switch(port_owner="vifplug"), **LIBVIRTS, "vlan": 10, "mtu": 1400},
         {None: {"vlan10"}, 20: set()}, 1400),
]  # fmt: skip

ELSEWHERE = [
    Kind("ethernet", {"type": "ethernet", "target": "plain0", "mtu": 1400}, {None: {"lan"}}, 1400),
    Kind("ethernet, libvirt's tap", {"type": "ethernet", "target": "plain1", **LIBVIRTS}, {None: {"lan"}}),
    Kind("direct, bridge", direct("low0", "bridge"), {None: {"wire"}}),
    Kind("direct, vepa", direct("low1", "vepa"), {None: {"wire"}}),
    Kind("direct, private", direct("low2", "private"), {None: {"wire"}}),
    Kind("direct, passthrough", direct("low3", "passthrough"), {None: {"wire"}}),
    Kind("direct, vifplug's macvtap", {**direct("low0", "bridge"), **VIFPLUGS, "driver": {"queues": 2}},
         {None: {"wire"}}),
    Kind("direct, passthrough, vifplug's macvtap", {**direct("low4", "passthrough"), **VIFPLUGS}, {None: {"wire"}}),
    Kind("network, default portgroup", network("red"), {None: {"vlan10"}, 20: set()}),
    Kind("network, trunk portgroup", network("red", "firewalls"), {None: {"vlan10"}, 20: {"vlan20"}}),
    Kind("network, Linux bridge", network("lab"), {None: {"lan2"}}, 1300),
    Kind("network, shared pool", network("shared"), {None: {"wire"}}),
    Kind("network, exclusive pool", {**network("exclusive"), **VIFPLUGS}, {None: {"wire"}}),
]  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two interfaces of one sort, one of each guest's. ``together``: whether they reach each other.

    ``peer`` is whom both reach.
    """

    name: str
    keys: Mapping[str, Any]
    peer: str
    together: bool


PAIRS = [
    Pair("Linux bridge", LINUX, "lan", together=True),
    Pair("isolated on a Linux bridge", {**LINUX, "port": {"isolated": True}}, "lan", together=False),
    Pair("one VLAN", {**OVS, "vlan": 10}, "vlan10", together=True),
    Pair("direct, bridge", direct("low0", "bridge"), "wire", together=True),
    Pair("direct, vepa", direct("low1", "vepa"), "wire", together=False),
    Pair("direct, vepa, reflected", direct("low5", "vepa"), "wire", together=True),
    Pair("direct, private, reflected", direct("low2", "private"), "wire", together=False),
]

NETWORKS = {
    "red": "<forward mode='bridge'/><bridge name='br-int'/><virtualport type='openvswitch'/>"
    "<portgroup name='engineering' default='yes'><vlan><tag id='10'/></vlan></portgroup>"
    "<portgroup name='firewalls'><vlan trunk='yes'><tag id='10' nativeMode='untagged'/><tag id='20'/></vlan>"
    "</portgroup>",
    "lab": "<forward mode='bridge'/><bridge name='br1'/><mtu size='1300'/>",
    "shared": "<forward mode='bridge'><interface dev='low7'/></forward>",
    "exclusive": "<forward mode='passthrough'><interface dev='low6'/></forward>",
}
#: devices of the host's, and those of which the far end sends back what came by it, as a VEPA's switch does (802.1Qbg)
LOWER, REFLECTING = [f"low{number}" for number in range(8)], ("low2", "low5")


@dataclass(frozen=True)
class Card:
    """A guest's network card. It has an IP network of its own, and so has each VLAN on it; a pair has one for both."""

    guest: Guest
    vif: VIF
    number: int
    side: int

    def network(self, vlan: int | None) -> str:
        return f"10.{self.number}.{vlan or 0}"

    def address(self, vlan: int | None = None) -> str:
        return f"{self.network(vlan)}.{100 + self.side}"

    def peers(self, vlan: int | None, peer: Peer) -> str:
        """The address of a peer in the card's network."""
        return f"{self.network(vlan)}.{peer.address.rpartition('.')[2]}"


Everybody = Mapping[str, Peer]
Cards = Mapping[str, Card]
#: who was answered by which address: the names of peers and guests
Heard = set[tuple[str, str]]


def vif(number: int, side: int, keys: Mapping[str, Any]) -> VIF:
    ids = {"id": f"{number:07}{side}-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "mac": f"52:54:00:00:0{side}:{number:02x}"}
    return VIF.from_json({**ids, "model": "virtio", **keys})


@pytest.fixture(scope="module")
def everybody(host: PrivateHost, peers: Everybody) -> Iterator[Everybody]:
    """The peers; one on another Linux bridge, and one at the far ends of the devices that macvtaps are on."""
    for bridge in ("br1", "br-wire"):
        host.ip("link", "add", bridge, "mtu", str(MTU), "up", "type", "bridge")
    for name in LOWER:
        host.ip("link", "add", name, "up", "type", "veth", "peer", "name", f"{name}-far")
        host.ip("link", "set", f"{name}-far", "master", "br-wire", "up")
        if name in REFLECTING:
            host.ip("link", "set", f"{name}-far", "type", "bridge_slave", "hairpin", "on")
    for name, text in NETWORKS.items():
        (host.networks / f"{name}.xml").write_text(f"<network><name>{name}</name>{text}</network>")
    with ExitStack() as stack:
        more = [
            stack.enter_context(peer(host, *each, on=on)) for *each, on in (("lan2", 4, "br1"), ("wire", 5, "br-wire"))
        ]
        yield {**peers, **{each.name: each for each in more}}


@pytest.fixture(scope="module")
def before(host: PrivateHost, everybody: object) -> Any:
    """The host before anything was plugged."""
    return configured(host)


@pytest.fixture(scope="module")
def cards(host: PrivateHost, boot: Boot, before: object) -> Cards:
    """The cards of two guests: one of each kind, and the pairs, as ``pair, 0`` and ``pair, 1``."""
    numbered = {kind.name: (number, kind.keys) for number, kind in enumerate((*SWITCHED, *ELSEWHERE), 1)}
    found: dict[str, Card] = {}
    for side, kinds in enumerate((SWITCHED, ELSEWHERE)):
        given = {kind.name: numbered[kind.name] for kind in kinds}
        given |= {f"{pair.name}, {side}": (number, pair.keys) for number, pair in enumerate(PAIRS, 101)}
        vifs = {name: vif(number, side, keys) for name, (number, keys) in given.items()}
        guest = booted(host, boot, f"guest{side}", vifs.values())
        found |= {name: Card(guest, vifs[name], number, side) for name, (number, _) in given.items()}
    for tap in ("plain0", "plain1"):  # the network of type ethernet is somebody else's
        host.ip("link", "set", tap, "master", "br0", "up")
    return found


def booted(host: PrivateHost, boot: Boot, name: str, vifs: Iterable[VIF]) -> Guest:
    instance = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name=name)
    plugged = host.driver.plug_many([(each, instance) for each in vifs])
    return boot(name, [each.interface_xml for each in plugged])


@pytest.fixture(scope="module")
def heard(cards: Cards, everybody: Everybody) -> Heard:
    """Who reaches whom. All ask all at once, since what takes time is to wait for answers that must not come.

    They ask until all have been answered who should be, or for half a minute; an answer in any round counts.
    """
    places = [(cards[kind.name], vlan) for kind in (*SWITCHED, *ELSEWHERE) for vlan in kind.reaches]
    places += [(cards[f"{pair.name}, {side}"], None) for pair in PAIRS for side in (0, 1)]
    addressed(everybody.values(), {card.network(vlan) for card, vlan in places})
    for guest in {card.guest for card, _ in places}:
        guest.run("echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")  # each card answers for its own address
    for card, vlan in places:
        card.guest.configure(card.vif.mac, f"{card.address(vlan)}/24", vlan=vlan)
    found: Heard = set()
    deadline = time.monotonic() + 30
    while not wanted(cards, everybody) <= found and time.monotonic() < deadline:
        found |= asked(places, everybody)
    return found


def asked(places: Iterable[tuple[Card, int | None]], everybody: Everybody) -> Heard:
    """One round."""
    others: dict[Guest, list[str]] = {}
    for card, vlan in places:
        others.setdefault(card.guest, []).extend(card.peers(vlan, each) for each in everybody.values())
    addresses = [card.address(vlan) for card, vlan in places]
    answers = dict(reached(everybody.values(), addresses))
    for guest, theirs in others.items():
        pairs = [card.address(vlan) for card, vlan in places if card.number > 100 and card.guest is not guest]
        answers[guest.name] = guest.reached([*theirs, *pairs])
    return {(name, address) for name, each in answers.items() for address in each}


def wanted(cards: Cards, everybody: Everybody) -> Heard:
    """What has to be heard."""
    found: Heard = set()
    for kind in (*SWITCHED, *ELSEWHERE):
        for vlan, names in kind.reaches.items():
            card = cards[kind.name]
            for name in names:
                found |= {(name, card.address(vlan)), (card.guest.name, card.peers(vlan, everybody[name]))}
    for pair in PAIRS:
        one, other = (cards[f"{pair.name}, {side}"] for side in (0, 1))
        found |= {(pair.peer, one.address()), (pair.peer, other.address())}
        found |= {(one.guest.name, other.address()), (other.guest.name, one.address())} if pair.together else set()
    return found


def configured(host: PrivateHost) -> Any:
    """Devices with their MAC, MTU, bridge and state, Open vSwitch's rows, and who has what of the pools."""
    devices = [
        (each["ifname"], each["address"], each["mtu"], each.get("master"), "UP" in each["flags"])
        for each in json.loads(host.ip("-j", "link"))
    ]
    columns = {"Bridge": "name", "Port": "name,tag,trunks", "Interface": "name,type", "QoS": "_uuid", "Queue": "_uuid"}
    rows = [host.ovs.ctl(f"--columns={names}", "list", table) for table, names in columns.items()]
    return sorted(devices), rows, [host.driver.pool(name) for name in ("shared", "exclusive")]


@pytest.mark.parametrize("kind", [pytest.param(each, id=each.name) for each in (*SWITCHED, *ELSEWHERE)])
def test_a_guest_reaches_whom_it_should_and_nobody_else(
    kind: Kind, cards: Cards, everybody: Everybody, heard: Heard
) -> None:
    """In both directions; and a packet of just the MTU that the guest believes in comes through whole."""
    card = cards[kind.name]
    assert card.guest.mtu(card.vif.mac) == kind.mtu
    for vlan, names in kind.reaches.items():
        assert {name for name in everybody if (name, card.address(vlan)) in heard} == names
        assert {name for name, each in everybody.items() if (card.guest.name, card.peers(vlan, each)) in heard} == names
        for name in names:
            assert everybody[name].reaches(card.address(vlan), "-M", "do", "-s", str(kind.mtu - 28))


@pytest.mark.parametrize("pair", [pytest.param(each, id=each.name) for each in PAIRS])
def test_two_guests_reach_each_other_where_they_should(
    pair: Pair, cards: Cards, everybody: Everybody, heard: Heard
) -> None:
    one, other = (cards[f"{pair.name}, {side}"] for side in (0, 1))
    for card in (one, other):
        assert {name for name in everybody if (name, card.address()) in heard} == {pair.peer}
    assert ((one.guest.name, other.address()) in heard) is pair.together
    assert ((other.guest.name, one.address()) in heard) is pair.together


def test_a_guest_has_a_device_of_a_pool_while_it_runs(cards: Cards, host: PrivateHost) -> None:
    for name in ("shared", "exclusive"):
        [device] = host.driver.pool(name)
        [holder] = device.holders
        assert (holder.vif_id, holder.guest) == (cards[f"network, {name} pool"].vif.id, "guest1")


def test_all_is_as_recorded_while_they_run_and_nothing_is_left_afterwards(
    cards: Cards, host: PrivateHost, before: object
) -> None:
    """Of libvirt's taps vifplug sets what it can when they are there: settle comes after the guest's start."""
    ahead = cards["a port before libvirt's tap"].vif
    assert [each.path for each in host.driver.check()] == [f"libvirt-tap {ahead.device}: sysctls.ipv6/disable_ipv6"]
    for card in cards.values():
        host.driver.settle(card.vif.id)
    assert host.driver.check() == []
    for guest in {card.guest for card in cards.values()}:
        guest.destroy()
    assert host.driver.check() == []
    for card in cards.values():
        host.driver.unplug(card.vif.id)
    assert configured(host) == before and host.driver.list() == []
