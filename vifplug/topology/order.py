"""What comes under what in the SVG: bands of networks with all that carries them, and few crossings at the guests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vifplug.topology.graph import Graph

Ports = Mapping[str, list[str]]

#: how often guests and VIFs are lined up with each other: more changes next to nothing
_ROUNDS = 6
#: with more VIFs on a page, they stay in the order of their guests' names, in which a reader looks for them
_MANY = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """Networks that share bridges or devices, and these, by id. VIFs on nothing are a band of one without carriers."""

    networks: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


def bands(drawn: Graph) -> list[Band]:
    """Networks first; then carriers without a network, VIFs on nothing, and networks that lead nowhere."""
    reached = {node.id: _reached(drawn, node.id) for node in drawn.of("network")}
    found: list[Band] = []
    for network, carriers in reached.items():
        near = [band for band in found if set(band.carriers) & set(carriers)]
        found = [band for band in found if band not in near]
        found.append(_merged([*near, Band(networks=(network,), carriers=carriers)]))
    used = {carrier for band in found for carrier in band.carriers}
    others = [Band(carriers=(node.id,)) for node in drawn.of("bridge", "device") if node.id not in used]
    connected = {edge.target for edge in drawn.edges}
    alone = tuple(node.id for node in drawn.of("vif") if node.id not in connected)
    led = [band for band in found if band.carriers]
    lost = [band for band in found if not band.carriers]
    return [*led, *others, *([Band(alone=alone)] if alone else []), *lost]


def _reached(drawn: Graph, network: str) -> tuple[str, ...]:
    """The bridges and devices that a network leads to, itself or through its portgroups, once each."""
    targets = drawn.targets()
    near = targets[network]
    far = [each for group in near for each in targets[group] if drawn.nodes[group].kind == "portgroup"]
    return tuple(dict.fromkeys(each for each in (*near, *far) if drawn.nodes[each].column == 2))


def _merged(near: Iterable[Band]) -> Band:
    near = list(near)
    networks = [network for band in near for network in band.networks]
    carriers = dict.fromkeys(carrier for band in near for carrier in band.carriers)
    return Band(networks=tuple(networks), carriers=tuple(carriers))


def ports(drawn: Graph, bands: Iterable[Band]) -> Ports:
    """Carrier -> its ports from top to bottom, those that are no VIF's first; VIFs on nothing under "".

    A VIF's place depends on where its guest is, and the guest's on its VIFs: each is moved to the middle of the others
    in turn.
    """
    found = _by_name(drawn, bands)
    guests = {edge.source: edge.target for edge in drawn.edges if drawn.nodes[edge.target].kind == "guest"}
    for _ in range(_ROUNDS if len(drawn.of("vif")) <= _MANY else 0):
        middle = _middles(found, guests)
        for carrier, ids in found.items():
            places = {each: middle.get(guests.get(each, ""), place) for place, each in enumerate(ids)}
            found[carrier] = sorted(ids, key=lambda each: (drawn.nodes[each].kind != "port", places[each]))
    return found


def _by_name(drawn: Graph, bands: Iterable[Band]) -> dict[str, list[str]]:
    """Each port under the first of its carriers, in the order of bands."""
    found: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for edge in drawn.edges:
        if drawn.nodes[edge.target].column == 3:
            first.setdefault(edge.target, edge.source)
    under: dict[str, list[str]] = defaultdict(list)
    for port, carrier in first.items():
        under[carrier].append(port)
    for band in bands:
        found |= {carrier: under[carrier] for carrier in band.carriers}
        if band.alone:
            found[""] = list(band.alone)
    return found


def _middles(found: Ports, guests: Mapping[str, str]) -> dict[str, float]:
    """Guest -> the mean place of its VIFs, counted from top to bottom."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, port in enumerate(port for ids in found.values() for port in ids):
        if port in guests:
            places[guests[port]].append(place)
    return {guest: sum(each) / len(each) for guest, each in places.items()}
