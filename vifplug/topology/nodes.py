"""The boxes of a picture, and what is written in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from vifplug.topology.view import BridgeView, DeviceView, NetworkView, PortGroupView, PortView, VifView
from vifplug.topology.words import counted, plain, vlan_label

Kind = Literal["network", "portgroup", "bridge", "device", "pool", "port", "vif", "guest"]

COLUMNS: Mapping[Kind, int] = {
    "network": 0,
    "portgroup": 1,
    "bridge": 2,
    "device": 2,
    "pool": 2,
    "port": 3,
    "vif": 3,
    "guest": 4,
}
HEADINGS = ("Networks", "Portgroups", "Bridges and devices", "Ports and VIFs", "Guests")


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One box. ``id`` is letters and digits only; ``pool`` is the id of the pool that a device belongs to.

    ``handle``: the name for use in commands, if it is not the label.
    """

    id: str = ""
    kind: Kind
    label: str
    details: tuple[str, ...] = ()
    handle: str = ""
    vlan: str = ""
    problem: str = ""
    pool: str = ""

    @property
    def column(self) -> int:
        return COLUMNS[self.kind]

    @property
    def lines(self) -> tuple[str, ...]:
        """Return every line of text, the label first."""
        return tuple(filter(None, (self.label, vlan_label(self.vlan), *self.details, self.handle, self.problem)))


def cleaned(node: Node) -> Node:
    """Return the same box with each text on one line and without control characters."""
    details = tuple(filter(None, map(plain, node.details)))
    vlan, problem, handle = plain(node.vlan), plain(node.problem), plain(node.handle)
    label = plain(node.label) or handle or "(no name)"
    return replace(node, label=label, details=details, vlan=vlan, problem=problem, handle=handle)


def network(seen: NetworkView) -> Node:
    problem = f"broken: {seen.problem}" if seen.problem else ""
    return Node(
        kind="network",
        label=seen.name,
        details=(f"{seen.mode} mode",) if seen.mode else (),
        vlan=seen.vlan,
        problem=problem,
    )


def portgroup(seen: PortGroupView) -> Node:
    details = ("default portgroup",) if seen.default else ()
    return Node(kind="portgroup", label=seen.name, details=details, vlan=seen.vlan)


def bridge(seen: BridgeView) -> Node:
    if not seen.kind:
        return Node(kind="bridge", label=seen.name, details=("bridge",), problem="does not exist")
    details = (f"{seen.kind} bridge", counted(len(seen.ports), "port"), *(() if seen.outward else ("no uplink",)))
    return Node(kind="bridge", label=seen.name, details=details, problem=seen.problem)


def pool(seen: NetworkView) -> Node:
    return Node(kind="pool", label=f"pool of {seen.name}")


def device(name: str, seen: DeviceView | None, *, unrecorded: tuple[str, ...], missing: bool) -> Node:
    """Return the box of a device. ``unrecorded``: the VIFs that use it and are not in this picture."""
    if seen is None:
        return Node(kind="device", label=name, problem="does not exist" if missing else "")
    others = tuple(f"used by VIF {each}" for each in unrecorded)
    return Node(kind="device", label=name, details=(_use(seen), *others), problem=seen.problem)


def _use(seen: DeviceView) -> str:
    number = len(seen.holders)
    if seen.exclusive:
        return f"used by {number}, exclusive" if number > 1 else "in use, exclusive" if number else "free, exclusive"
    if seen.limit is not None:
        return f"{number} of {counted(seen.limit, 'VIF')}"
    return f"shared by {counted(number, 'VIF')}" if number else "free, shareable"


def port(seen: PortView, owner: VifView | None) -> Node:
    """Return the box of a port that is not drawn as one with its VIF, such as an uplink or a VIF's second port."""
    name = (owner.device or owner.id) if owner else seen.vif
    detail = f"belongs to VIF {name}" if name else "no VIF's port"
    return Node(kind="port", label=seen.name, details=(detail,), vlan=seen.vlan, problem=seen.problem)


def vif(seen: VifView, own: PortView | None) -> Node:
    """Return the box of a VIF. ``own``: its port on the bridge, whose VLAN may differ from the requested one."""
    requested = " / ".join(filter(None, (seen.network, seen.portgroup)))
    problems = [] if seen.state == "plugged" else [seen.state or "state unknown"]
    if own and own.vlan and seen.vlan and own.vlan != seen.vlan:
        problems.append(f"its port has {vlan_label(own.vlan)}")
    problems += [seen.problem] if seen.problem else []
    details = (" · ".join(filter(None, (seen.type, seen.mac))), requested)
    vlan, problem = seen.vlan or (own.vlan if own else ""), ", ".join(problems)
    return Node(kind="vif", label=seen.device, details=details, handle=seen.id, vlan=vlan, problem=problem)


def guest(name: str) -> Node:
    return Node(kind="guest", label=name)
