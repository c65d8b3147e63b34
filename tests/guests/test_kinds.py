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
from tests.guests.kinds import ELSEWHERE, LOWER, NETWORKS, PAIRS, REFLECTING, SWITCHED, Kind, Pair
from tests.guests.peers import MTU, Peer, addressed, peer, reached
from tests.support import bridges
from vifplug import VIF, Instance
from vifplug.testing.guests import BootedGuest
from vifplug.testing.host import PrivateHost

pytestmark = pytest.mark.xdist_group("guests-1")

ALL = (*SWITCHED, *ELSEWHERE)
FIRST_PAIR = 101  # the number of the first


@dataclass(frozen=True)
class Card:
    """A guest's network card. It has an IP network of its own, and so has each VLAN on it; a pair has one for both."""

    guest: BootedGuest
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
#: a card, and a VLAN on it or None
Place = tuple[Card, int | None]
#: who was answered by which address: the names of peers and guests
Heard = set[tuple[str, str]]


def vif(number: int, side: int, keys: Mapping[str, Any]) -> VIF:
    ids = {"id": f"{number:07}{side}-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "mac": f"52:54:00:00:0{side}:{number:02x}"}
    return VIF.from_json({**ids, "model": "virtio", **keys})


@pytest.fixture(scope="module")
def everybody(host: PrivateHost, peers: Everybody) -> Iterator[Everybody]:
    """The peers; one on another Linux bridge, and one at the far ends of the devices that macvtaps are on."""
    for bridge in ("br1", "br-wire"):
        bridges.add(host, bridge)
        host.ip("link", "set", bridge, "mtu", str(MTU))
    for name in LOWER:
        host.ip("link", "add", name, "up", "type", "veth", "peer", "name", f"{name}-far")
        host.ip("link", "set", f"{name}-far", "master", "br-wire", "up")
        if name in REFLECTING:
            host.ip("link", "set", f"{name}-far", "type", "bridge_slave", "hairpin", "on")
    for name, text in NETWORKS.items():
        (host.networks / f"{name}.xml").write_text(f"<network><name>{name}</name>{text}</network>")
    with ExitStack() as stack:
        more = [stack.enter_context(peer(host, *each)) for each in (("lan2", 4, "br1"), ("wire", 5, "br-wire"))]
        yield {**peers, **{each.name: each for each in more}}


@pytest.fixture(scope="module")
def before(host: PrivateHost, everybody: object) -> Any:
    """The host before anything was plugged."""
    return configured(host)


@pytest.fixture(scope="module")
def cards(host: PrivateHost, boot: Boot, before: object) -> Cards:
    """The cards of two guests: one of each kind, and the pairs, as ``pair, 0`` and ``pair, 1``."""
    numbered = {kind.name: (number, kind.keys) for number, kind in enumerate(ALL, 1)}
    found: dict[str, Card] = {}
    for side, kinds in enumerate((SWITCHED, ELSEWHERE)):
        given = {kind.name: numbered[kind.name] for kind in kinds}
        given |= {f"{pair.name}, {side}": (number, pair.keys) for number, pair in enumerate(PAIRS, FIRST_PAIR)}
        vifs = {name: vif(number, side, keys) for name, (number, keys) in given.items()}
        guest = booted(host, boot, f"guest{side}", vifs.values())
        found |= {name: Card(guest, vifs[name], number, side) for name, (number, _) in given.items()}
    for tap in ("plain0", "plain1"):  # the network of type ethernet is somebody else's
        host.ip("link", "set", tap, "master", "br0", "up")
    return found


def booted(host: PrivateHost, boot: Boot, name: str, vifs: Iterable[VIF]) -> BootedGuest:
    instance = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name=name)
    plugged = host.driver.plug_many([(each, instance) for each in vifs])
    return boot(name, [each.interface_xml for each in plugged])


@pytest.fixture(scope="module")
def heard(cards: Cards, everybody: Everybody) -> Heard:
    """Who reaches whom. All ask all at once, since what takes time is to wait for answers that must not come.

    They ask until all have been answered who should be, or for half a minute; an answer in any round counts.
    """
    places = prepared(cards, everybody)
    found: Heard = set()
    deadline = time.monotonic() + 30
    while not wanted(cards, everybody) <= found and time.monotonic() < deadline:
        found |= asked(places, everybody)
    return found


def prepared(cards: Cards, everybody: Everybody) -> list[Place]:
    """Every card and every VLAN on one, each with its addresses: the guest's, and everybody's."""
    places: list[Place] = [(cards[kind.name], vlan) for kind in ALL for vlan in kind.reaches]
    places += [(cards[f"{pair.name}, {side}"], None) for pair in PAIRS for side in (0, 1)]
    addressed(everybody.values(), {card.network(vlan) for card, vlan in places})
    for guest in {card.guest for card, _ in places}:
        guest.run("echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")  # each card answers for its own address
    for card, vlan in places:
        card.guest.configure(card.vif.mac, f"{card.address(vlan)}/24", vlan=vlan)
    return places


def asked(places: Iterable[Place], everybody: Everybody) -> Heard:
    """One round: peers ask guests, and guests ask peers and the other one of each pair."""
    answers = dict(reached(everybody.values(), [card.address(vlan) for card, vlan in places]))
    for guest in {card.guest for card, _ in places}:
        others = [card.peers(vlan, each) for card, vlan in places if card.guest is guest for each in everybody.values()]
        others += [card.address() for card, _ in places if card.number >= FIRST_PAIR and card.guest is not guest]
        answers[guest.name] = guest.reached(others)
    return {(name, address) for name, each in answers.items() for address in each}


def wanted(cards: Cards, everybody: Everybody) -> Heard:
    """What has to be heard."""
    found: Heard = set()
    for kind in ALL:
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


@pytest.mark.parametrize("kind", [pytest.param(each, id=each.name) for each in ALL])
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
