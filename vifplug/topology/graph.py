"""What every picture shows of a host: boxes in five columns, and the edges between them.

Everything is sorted by name, so that the same host always gives the same picture. A bridge or device that does not
exist gets a box if anything refers to it: without it, the picture would hide the mistake.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from vifplug.topology import nodes as boxes
from vifplug.topology.nodes import Kind, Node
from vifplug.topology.view import BridgeView, HostView, NetworkView, PortView, VifView
from vifplug.topology.words import counted, natural, plain

EMPTY = "Nothing to draw: no named network, no bridge, no pool device and no VIF."


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """An edge from a box to one further right; ``broken``: the network cannot be used."""

    source: str
    target: str
    vlan: str = ""
    broken: bool = False


@dataclass(frozen=True, kw_only=True)
class Graph:
    """``nodes`` by id, in the order of columns, then of names; ``members``: the devices of each pool."""

    host: str
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    members: Mapping[str, tuple[str, ...]]

    def of(self, *kinds: Kind) -> list[Node]:
        return [node for node in self.nodes.values() if node.kind in kinds]

    @functools.cached_property
    def targets(self) -> dict[str, list[Node]]:
        """The targets of each box; an edge to a pool leads to each of its devices."""
        found: dict[str, list[Node]] = defaultdict(list)
        for edge in self.edges:
            found[edge.source] += [self.nodes[each] for each in self.members.get(edge.target, (edge.target,))]
        return found

    def unconnected(self) -> list[Node]:
        """Return the VIFs on no bridge and no device."""
        connected = {edge.target for edge in self.edges}
        return [node for node in self.of("vif") if node.id not in connected]

    def vlans(self) -> list[str]:
        """Return every VLAN once, access VLANs first."""
        seen = {node.vlan for node in self.nodes.values()} | {edge.vlan for edge in self.edges}
        return sorted(seen - {""}, key=lambda vlan: (not vlan.isdigit(), natural(vlan)))

    def summary(self) -> str:
        """Return the numbers of things, except zeros: ``2 networks, 1 bridge, 8 VIFs``."""
        words: tuple[tuple[Kind, str], ...] = (
            *(("network", "network"), ("portgroup", "portgroup"), ("bridge", "bridge")),
            *(("device", "device"), ("vif", "VIF"), ("guest", "guest")),
        )
        return ", ".join(counted(number, word) for kind, word in words if (number := len(self.of(kind))))


def graph(host: HostView) -> Graph:
    """Return the boxes and edges of a host."""
    drawing = _Drawing(host=host)
    drawing.networks()
    drawing.others()
    drawing.vifs()
    ordered = sorted(drawing.nodes.values(), key=lambda node: node.column)
    members = {pool: tuple(names) for pool, names in drawing.members.items()}
    return Graph(
        host=plain(host.name) or "this host",
        nodes={node.id: node for node in ordered},
        edges=tuple(dict.fromkeys(drawing.edges)),
        members=members,
    )


class _Drawing:
    """Builds a graph. ``nodes`` are by what they stand for, such as ``("bridge", "br0")``."""

    def __init__(self, *, host: HostView) -> None:
        self.host = host
        self.nodes: dict[tuple[str, ...], Node] = {}
        self.edges: list[Edge] = []
        self.members: dict[str, list[str]] = defaultdict(list)
        self._bridges = {bridge.name: bridge for bridge in host.bridges}
        self._devices = {device.name: device for device in host.devices}
        self._known = {vif.id: vif for vif in host.vifs}
        self._own = _own_ports(host)

    def networks(self) -> None:
        for network in sorted(self.host.networks, key=lambda network: natural(network.name)):
            source = self._add(("network", network.name), boxes.network(network))
            line = Edge(source=source.id, target="", vlan=plain(network.vlan), broken=bool(network.problem))
            targets = self._carriers(network)
            for group in sorted(network.portgroups, key=lambda group: (not group.default, natural(group.name))):
                node = self._add(("portgroup", network.name, group.name), boxes.portgroup(group))
                own = replace(line, vlan=plain(group.vlan)) if group.vlan else line
                self.edges.append(replace(own, target=node.id))
                self._join(targets, replace(own, source=node.id))
            # a VIF without a portgroup gets the default one, or else the network as it is
            if not any(group.default for group in network.portgroups):
                self._join(targets, line)

    def others(self) -> None:
        """Add the bridges and devices that no network names, and the ports that do not belong to a VIF."""
        own = {(bridge, port.name) for bridge, port in self._own.values()}
        for bridge in sorted(self.host.bridges, key=lambda bridge: natural(bridge.name)):
            source = self._bridge(bridge.name)
            for port in sorted(bridge.ports, key=lambda port: natural(port.name)):
                if (bridge.name, port.name) not in own:
                    box = boxes.port(port, self._known.get(port.vif or ""))
                    node = self._add(("port", bridge.name, port.name), box)
                    self.edges.append(Edge(source=source.id, target=node.id, vlan=node.vlan))
        for name in sorted(self._devices, key=natural):
            self._device(name)

    def vifs(self) -> None:
        held = {holder: device.name for device in self.host.devices for holder in device.holders}
        for vif in sorted(self.host.vifs, key=lambda vif: (natural(vif.guest), natural(vif.device), vif.id)):
            bridge, port = self._own.get(vif.id, (vif.bridge, None))
            dev = vif.dev or (None if bridge else held.get(vif.id))
            node = self._add(("vif", vif.id), boxes.vif(vif, port))
            for source in (self._bridge(bridge) if bridge else None, self._device(dev) if dev else None):
                if source:
                    self.edges.append(Edge(source=source.id, target=node.id, vlan=node.vlan))
            if vif.guest:
                guest = self._add(("guest", vif.guest), boxes.guest(vif.guest))
                self.edges.append(Edge(source=node.id, target=guest.id, vlan=node.vlan))

    def _carriers(self, network: NetworkView) -> list[Node]:
        """Return the boxes that a network's traffic goes through: a pool instead of its devices.

        A portgroup then has one edge instead of fifty. A device is drawn in the pool of the first network that has it.
        """
        found = [self._bridge(network.bridge)] if network.bridge else []
        names = sorted(set(network.devices), key=natural)
        fresh = [name for name in names if ("device", name) not in self.nodes]
        pool = self._add(("pool", network.name), boxes.pool(network)).id if len(fresh) > 1 else ""
        devices = [self._device(name, pool=pool) for name in names]
        ids = {node.id for node in devices}
        whole = [self._pool(pool) for pool, members in self.members.items() if ids.issuperset(members)]
        covered = {node.id for node in whole}
        return [*found, *whole, *(node for node in devices if node.pool not in covered)]

    def _pool(self, pool: str) -> Node:
        return next(node for node in self.nodes.values() if node.id == pool)

    def _bridge(self, name: str) -> Node:
        seen = self._bridges.get(name) or BridgeView(name=name, kind="", ports=())
        return self._add(("bridge", name), boxes.bridge(seen))

    def _device(self, name: str, *, pool: str = "") -> Node:
        if node := self.nodes.get(("device", name)):
            return node
        seen = self._devices.get(name)
        unrecorded = tuple(each for each in (seen.holders if seen else ()) if each not in self._known)
        box = boxes.device(name, seen, unrecorded=unrecorded, missing=name in self.host.missing)
        node = self._add(("device", name), replace(box, pool=pool))
        if pool:
            self.members[pool].append(node.id)
        return node

    def _add(self, key: tuple[str, ...], node: Node) -> Node:
        """Return the existing box for ``key``; else add this one with an id, and return it."""
        if key not in self.nodes:
            self.nodes[key] = boxes.cleaned(replace(node, id=f"{node.kind}{len(self.nodes)}"))
        return self.nodes[key]

    def _join(self, targets: Iterable[Node], line: Edge) -> None:
        self.edges += [replace(line, target=node.id) for node in targets]


def _own_ports(host: HostView) -> dict[str, tuple[str, PortView]]:
    """Return, by VIF id, the port that is drawn as one with the VIF: on its bridge; of several, the one of its name."""
    vifs: Mapping[str, VifView] = {vif.id: vif for vif in host.vifs}
    found: dict[str, tuple[str, PortView]] = {}
    for bridge in sorted(host.bridges, key=lambda bridge: natural(bridge.name)):
        for port in sorted(bridge.ports, key=lambda port: natural(port.name)):
            vif = vifs.get(port.vif or "")
            if vif and vif.bridge in (None, bridge.name) and (vif.id not in found or port.name == vif.device):
                found[vif.id] = (bridge.name, port)
    return found
