"""The picture as a tree for a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vifplug.topology.graph import EMPTY, Graph, graph
from vifplug.topology.nodes import Kind, Node
from vifplug.topology.view import HostView
from vifplug.topology.words import vlan_label


@dataclass(frozen=True, kw_only=True, slots=True)
class _Branch:
    """One line and those below it; ``cells`` (as many as its siblings have) are aligned."""

    cells: tuple[str, ...]
    below: tuple[_Branch, ...] = ()


def text(host: HostView) -> str:
    """Return the host, its networks and portgroups, then its bridges and devices with what is connected to them."""
    drawn = graph(host)
    if not drawn.nodes:
        return f"{drawn.host}\n{EMPTY}\n"
    sections = (
        _section("Networks", _networks(drawn)),
        _section("Bridges", _carriers(drawn, "bridge")),
        _section("Devices", _carriers(drawn, "device")),
        _section("VIFs on no bridge and no device", [_port(drawn, each) for each in drawn.unconnected()]),
        _section("Guests", _guests(drawn)),
    )
    parts = ["\n".join(lines) for lines in sections if lines]
    return "\n\n".join([f"{drawn.host}: {drawn.summary()}", *parts]) + "\n"


def _section(title: str, branches: Sequence[_Branch]) -> list[str]:
    return [title, *_drawn(branches)] if branches else []


def _drawn(branches: Sequence[_Branch], *, indent: str = "") -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*(branch.cells for branch in branches), strict=True)]
    for number, branch in enumerate(branches, 1):
        last = number == len(branches)
        cells = "  ".join(cell.ljust(width) for cell, width in zip(branch.cells, widths, strict=True) if width)
        yield f"{indent}{'└─ ' if last else '├─ '}{cells}".rstrip()
        yield from _drawn(branch.below, indent=indent + ("   " if last else "│  "))


def _networks(drawn: Graph) -> list[_Branch]:
    """Return each network with its bridge or devices, and its portgroups."""
    found = []
    for node in drawn.of("network"):
        groups = [each for each in drawn.targets[node.id] if each.kind == "portgroup"]
        below = tuple(_Branch(cells=_cells(group)) for group in groups)
        found.append(_Branch(cells=_cells(node, _onto(drawn, [node, *groups])), below=below))
    return found


def _onto(drawn: Graph, nodes: Iterable[Node]) -> str:
    """Return ``on br0`` or ``on ens1, ens2``: where a network and its portgroups lead to."""
    targets = [each for node in nodes for each in drawn.targets[node.id]]
    names = dict.fromkeys(each.label for each in targets if each.kind != "portgroup")
    return f"on {', '.join(names)}" if names else ""


def _carriers(drawn: Graph, kind: Kind) -> list[_Branch]:
    """Return bridges or devices with their ports and VIFs."""
    return [
        _Branch(cells=_cells(node), below=tuple(_port(drawn, each) for each in drawn.targets[node.id]))
        for node in drawn.of(kind)
    ]


def _port(drawn: Graph, port: Node) -> _Branch:
    guests = ", ".join(each.label for each in drawn.targets[port.id])
    return _Branch(cells=_cells(port, f"-> {guests}" if guests else ""))


def _guests(drawn: Graph) -> list[_Branch]:
    vifs: dict[str, list[str]] = defaultdict(list)
    for edge in drawn.edges:
        vifs[edge.target].append(drawn.nodes[edge.source].label)
    return [_Branch(cells=(node.label, ", ".join(vifs[node.id]))) for node in drawn.of("guest")]


def _cells(node: Node, more: str = "") -> tuple[str, ...]:
    """Return the cells of a line, in which a problem is not aligned, as it can be long."""
    message = "  ".join(filter(None, [*node.details, f"[{node.problem}]" if node.problem else ""]))
    return node.label, vlan_label(node.vlan), more, node.handle, message
