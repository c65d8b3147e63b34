"""An overview of a host: bridges with their ports, and the devices on which macvtaps could be created."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vifplug.host.netlink.messages import Link
from vifplug.plan.condition import Uplink
from vifplug.plan.facts import BridgeFacts, BridgePortFacts
from vifplug.plan.registry import marked_for

#: kinds of link (IFLA_INFO_KIND) that belong to a guest, or to the switch itself
_INNER = ("tun", "macvtap", "bridge", "openvswitch")


def bridges(links: Sequence[Link], switched: Iterable[BridgeFacts]) -> list[BridgeFacts]:
    """Return the Linux bridges among the links, and Open vSwitch's with the MTU of their ports, sorted by name."""
    by_name = {link.name: link for link in links}
    found = [_linux(link, links) for link in links if link.kind == "bridge"]
    for bridge in switched:
        wired = [by_name[each.name] for each in bridge.uplinks if each.name in by_name]
        outer = [*(each for each in bridge.uplinks if not each.kernel), *(map(uplink, filter(is_outer, wired)))]
        found.append(replace(bridge, mtu=_mtu(wired), uplinks=tuple(outer)))
    sides = {port.name: bridge for bridge in found if bridge.openvswitch for port in bridge.ports}
    found = [replace(bridge, uplinks=tuple(_beyond(bridge, sides, {bridge.name}))) for bridge in found]
    return sorted(found, key=lambda bridge: bridge.name)


def _beyond(bridge: BridgeFacts, sides: Mapping[str, BridgeFacts], passed: set[str]) -> Iterator[Uplink]:
    """Yield what leads out of a bridge, and out of those behind its patches; ``sides``: the bridges by their ports."""
    for each in bridge.uplinks:
        far = sides.get(each.peer)
        if far is None:
            yield each
        elif far.name not in passed:
            passed.add(far.name)
            yield from _beyond(far, sides, passed)


def devices(links: Iterable[Link]) -> dict[str, dict[str, Any]]:
    """Return the devices on which a macvtap could be created: whether they are up, and their MTU in bytes."""
    return {link.name: {"up": link.up, "mtu": link.mtu} for link in links if is_outer(link)}


def _linux(bridge: Link, links: Iterable[Link]) -> BridgeFacts:
    members = sorted((link for link in links if link.master == bridge.index), key=lambda link: link.name)
    ports = tuple(BridgePortFacts(name=link.name, owner=marked_for(link.alias)) for link in members)
    filters = bool(bridge.data.get("IFLA_BR_VLAN_FILTERING"))  # absent on a kernel without VLAN filtering
    return BridgeFacts(
        name=bridge.name,
        openvswitch=False,
        up=bridge.up,
        mtu=_mtu(members),
        ports=ports,
        filters_vlans=filters,
        uplinks=tuple(map(uplink, filter(is_outer, members))),
    )


def _mtu(ports: Iterable[Link]) -> int | None:
    """Return the smallest MTU of the ports that are not a guest's: frames that leave the host must fit through them."""
    return min((port.mtu for port in ports if is_outer(port)), default=None)


def uplink(link: Link) -> Uplink:
    """Return what a device that leads out of a bridge is like."""
    return Uplink(name=link.name, mtu=link.mtu, passing=link.up and link.carrier, veth=link.kind == "veth")


def is_outer(link: Link) -> bool:
    """Return whether a port of a bridge leads out of it to something else than a guest."""
    return link.kind not in _INNER and link.name != "lo" and not marked_for(link.alias)
