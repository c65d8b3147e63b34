"""The picture as a tree for a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vifplug.topology.graph import EMPTY, Graph, graph
from vifplug.topology.nodes import Node
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
        _section("Bridges", _carriers(drawn, drawn.of("bridge"))),
        _section("Devices", _carriers(drawn, drawn.of("device"))),
        _section("VIFs on no bridge and no device", _alone(drawn)),
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
    targets = drawn.targets()
    return [
        _Branch(cells=_cells(node, _onto(drawn, targets, node)), below=tuple(_portgroups(drawn, targets[node.id])))
        for node in drawn.of("network")
    ]


def _portgroups(drawn: Graph, ids: Iterable[str]) -> Iterator[_Branch]:
    for node in (drawn.nodes[each] for each in ids):
        if node.kind == "portgroup":
            yield _Branch(cells=_cells(node))


def _onto(drawn: Graph, targets: Mapping[str, list[str]], network: Node) -> str:
    """Return ``on br0`` or ``on ens1, ens2``, from the portgroups if there are any."""
    near = [drawn.nodes[each] for each in targets[network.id]]
    far = [drawn.nodes[each] for node in near if node.kind == "portgroup" for each in targets[node.id]]
    names = dict.fromkeys(node.label for node in (*near, *far) if node.kind != "portgroup")
    return f"on {', '.join(names)}" if names else ""


def _carriers(drawn: Graph, nodes: Iterable[Node]) -> list[_Branch]:
    """Return bridges or devices with their ports and VIFs."""
    targets = drawn.targets()
    return [
        _Branch(cells=_cells(node), below=tuple(_port(drawn, targets, each) for each in targets[node.id]))
        for node in nodes
    ]


def _alone(drawn: Graph) -> list[_Branch]:
    targets = drawn.targets()
    connected = {edge.target for edge in drawn.edges}
    return [_port(drawn, targets, node.id) for node in drawn.of("vif") if node.id not in connected]


def _port(drawn: Graph, targets: Mapping[str, list[str]], port: str) -> _Branch:
    guests = ", ".join(drawn.nodes[each].label for each in targets.get(port, ()))
    return _Branch(cells=_cells(drawn.nodes[port], f"-> {guests}" if guests else ""))


def _guests(drawn: Graph) -> list[_Branch]:
    vifs: dict[str, list[str]] = defaultdict(list)
    for edge in drawn.edges:
        vifs[edge.target].append(drawn.nodes[edge.source].label)
    return [_Branch(cells=(node.label, ", ".join(vifs[node.id]))) for node in drawn.of("guest")]


def _cells(node: Node, more: str = "") -> tuple[str, ...]:
    """Return the cells of a line, in which a problem is not aligned, as it can be long."""
    message = "  ".join(filter(None, [*node.details, f"[{node.problem}]" if node.problem else ""]))
    return node.label, vlan_label(node.vlan), more, node.handle, message
