"""Backend for the ports of Linux bridges: membership, port flags and VLANs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import ClassVar

from vifplug import errors
from vifplug.host.links.base import NetlinkBackend
from vifplug.host.netlink.messages import Link, LinkChange
from vifplug.host.netlink.socket import NetlinkRefused, explained, explaining
from vifplug.plan.registry import AdoptedBridgePort, BridgePort, BridgeVlan, Identity, Resource, mark, marked_for
from vifplug.plan.steps import Observed

# linux/if_bridge.h, BRIDGE_VLAN_INFO_*
PVID, UNTAGGED, RANGE_BEGIN, RANGE_END = 0x2, 0x4, 0x8, 0x10
# linux/if_link.h, IFLA_BRPORT_*; broadcast and multicast frames have flags of their own (net/bridge/br_forward.c)
_FLAGS = {
    "isolated": "IFLA_BRPORT_ISOLATED",
    "hairpin": "IFLA_BRPORT_MODE",
    "learning": "IFLA_BRPORT_LEARNING",
    "flood": "IFLA_BRPORT_UNICAST_FLOOD",
}

#: linux/if_bridge.h, BR_STATE_*
_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")


class BridgePortBackend(NetlinkBackend):
    """Ports of Linux bridges in the network namespace of ``netlink``."""

    resources: ClassVar[tuple[type[Resource], ...]] = (BridgePort, AdoptedBridgePort)

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.backend.Backend.observe`. A device that is in no bridge is left out."""
        ports = [port for port in desired if isinstance(port, BridgePort)]
        links = self._netlink.links([*(port.name for port in ports), *(port.bridge for port in ports)])
        masters = {link.index: link for link in links.values()}
        others = {link.master for link in links.values() if link.master and link.master not in masters}
        masters |= self._netlink.named(others)
        found: dict[Identity, Observed] = {}
        for port in ports:
            link = links.get(port.name)
            master = masters.get(link.master or 0) if link else None
            if link and master:
                found[port.identity] = self._observed(port, link, master)
        return found

    def make(self, after: Resource) -> None:
        """See `StepwiseBackend.make`."""
        assert isinstance(after, BridgePort)
        bridge, link = self._both(after)
        if link.master or _marked_for_another(link, after):
            raise errors.Conflict(
                f"{after} for VIF {after.owner}: got {_stranger(link, None)}; remove it from there first"
            )
        try:
            self._enslave(after, bridge, link)
        except NetlinkRefused as refused:
            with contextlib.suppress(NetlinkRefused):
                self._netlink.set([(after.name, LinkChange(master=0))], indexes={after.name: link.index})
            raise explained(refused, after, f"add it to bridge {after.bridge}") from refused

    def change(self, before: Resource, after: Resource) -> None:
        """See `StepwiseBackend.change`. A port that moves to another bridge loses its flags, so all are written."""
        assert isinstance(before, BridgePort) and isinstance(after, BridgePort)
        bridge, link = self._both(after)
        with explaining(after, "change it"):
            if before.bridge != after.bridge:
                self._enslave(after, bridge, link)
            else:
                if flags := _flags(after, before):
                    self._netlink.set([(after.name, LinkChange(port=flags))], indexes={after.name: link.index})
                if after.vlans is not None and after.vlans != before.vlans:
                    self._set_vlans(after, link, bridge)

    def remove(self, before: Resource) -> None:
        """Take the device out of that bridge. Equivalent to: ip link set dev NAME nomaster"""
        assert isinstance(before, BridgePort)
        links = self._netlink.links((before.name, before.bridge))
        link, bridge = links.get(before.name), links.get(before.bridge)
        if link and bridge and link.master == bridge.index:
            with explaining(before, f"remove it from bridge {before.bridge}"):
                self._netlink.set([(before.name, LinkChange(master=0))], indexes={before.name: link.index})

    def _observed(self, port: BridgePort, link: Link, master: Link) -> Observed:
        if isinstance(port, AdoptedBridgePort) and port.mac not in (None, link.mac):
            return Observed(resource=None, foreign=f"another guest's {_stranger(link, master)}")
        ours = link.alias == mark(port.owner)
        if _marked_for_another(link, port) or not (master.kind == "bridge" and (ours or master.name == port.bridge)):
            return Observed(resource=None, foreign=_stranger(link, master))
        found = {name: link.port.get(attribute) for name, attribute in _FLAGS.items()}
        flags = {name: None if value is None else bool(value) for name, value in found.items()}
        adopted = isinstance(port, AdoptedBridgePort)  # they are restored, also if only a later update sets them
        vlans = self._found_vlans(port, link, master) if port.vlans is not None or adopted else None
        # without a carrier the bridge disables it (net/bridge/br_if.c, br_port_carrier_check)
        state = _STATES[link.port.get("IFLA_BRPORT_STATE", 3)] if link.running else None
        return Observed(resource=port.trusted(bridge=master.name, vlans=vlans, state=state, **flags))

    def _found_vlans(self, port: BridgePort, link: Link, bridge: Link) -> tuple[BridgeVlan, ...]:
        """Return the port's VLANs, in the desired order if they are the same; none if the bridge does not filter."""
        if not bridge.data.get("IFLA_BR_VLAN_FILTERING"):
            return ()
        found = tuple(sorted(map(_vlan, self._vlans(port, link)), key=lambda vlan: vlan.id))
        return port.vlans if port.vlans is not None and set(_full(port, bridge)) == set(found) else found

    def _vlans(self, port: BridgePort, link: Link) -> list[tuple[int, int]]:
        with explaining(port, "read its VLANs"):
            return self._netlink.vlans(link.index)

    # -- writing --------------------------------------------------------------------------------------------------

    def _enslave(self, after: BridgePort, bridge: Link, link: Link) -> None:
        """Equivalent to: ip link set dev NAME master BRIDGE; bridge link set dev NAME isolated on ..."""
        # If the first message fails, the kernel refuses the port flags too: they need the master (rtnl_changelink)
        flags = _flags(after, None)
        changes = [LinkChange(master=bridge.index), *([LinkChange(port=flags)] if flags else ())]
        self._netlink.set([(after.name, each) for each in changes], indexes={after.name: link.index})
        if after.vlans is not None:
            self._set_vlans(after, link, bridge)

    def _set_vlans(self, after: BridgePort, link: Link, bridge: Link) -> None:
        desired, found = set(_full(after, bridge)), set(map(_vlan, self._vlans(after, link)))
        drop = {vlan.id for vlan in found} - {vlan.id for vlan in desired}
        add = desired - found
        self._netlink.set_vlans(link.index, ranges((vid, 0) for vid in drop), ranges(map(_bits, add)))

    def _both(self, port: BridgePort) -> tuple[Link, Link]:
        """Return the bridge and the device of a port."""
        links = self._netlink.links((port.bridge, port.name))
        bridge, link = links.get(port.bridge), links.get(port.name)
        if bridge is None or bridge.kind != "bridge":
            raise errors.Missing(f"{port} of VIF {port.owner}: bridge {port.bridge} does not exist on this host")
        if link is None:
            raise errors.Missing(f"{port} of VIF {port.owner}: device {port.name} does not exist on this host")
        return bridge, link


def _full(port: BridgePort, bridge: Link) -> tuple[BridgeVlan, ...]:
    """Return the VLANs that a port desires; without any, those that the bridge gives new ports (vlan_default_pvid)."""
    default = bridge.data.get("IFLA_BR_VLAN_DEFAULT_PVID")
    if port.vlans or not default or isinstance(port, AdoptedBridgePort):
        return port.vlans or ()
    return (BridgeVlan(id=default, pvid=True, untagged=True),)


def ranges(vlans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield (id, flags) of VLANs, with neighbours of equal flags as one range: two entries instead of up to 4094.

    The PVID is an entry of its own, because the kernel refuses it in a range.
    """
    ordered = enumerate(sorted(vlans))
    for _, run in groupby(ordered, key=lambda each: (each[1][0] - each[0], each[1][1], each[1][1] & PVID and each[0])):
        members = [vlan for _, vlan in run]
        (first, flags), (last, _) = members[0], members[-1]
        if first == last:
            yield first, flags
        else:
            yield first, flags | RANGE_BEGIN
            yield last, flags | RANGE_END


def _flags(after: BridgePort, before: BridgePort | None) -> dict[str, int]:
    """Return the flags that ``after`` requests and ``before`` does not have, by attribute."""
    desired = {name: getattr(after, name) for name in _FLAGS}
    new = {name: value for name, value in desired.items() if value not in (None, getattr(before, name, None))}
    return {_FLAGS[name]: int(value) for name, value in new.items()}


def _vlan(entry: tuple[int, int]) -> BridgeVlan:
    vid, flags = entry
    return BridgeVlan(id=vid, pvid=bool(flags & PVID), untagged=bool(flags & UNTAGGED))


def _bits(vlan: BridgeVlan) -> tuple[int, int]:
    return vlan.id, PVID * vlan.pvid | UNTAGGED * vlan.untagged


def _marked_for_another(link: Link, port: BridgePort) -> bool:
    return marked_for(link.alias) not in (None, port.owner)


def _stranger(link: Link, master: Link | None) -> str:
    owner = marked_for(link.alias)
    marked = "unmarked" if owner is None else f"marked for VIF {owner}"
    place = f" in {master.kind or 'device'} {master.name}" if master else " in a bridge" if link.master else ""
    return f"device {link.name}, {marked}{place and ','}{place}"
