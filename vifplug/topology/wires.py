"""The edges of the SVG: smooth curves that end side by side, so that each can be followed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from vifplug.topology import style
from vifplug.topology.graph import Edge, Graph
from vifplug.topology.layout import Box, Layout
from vifplug.topology.markup import element, number
from vifplug.topology.style import Line

#: between the ends of two edges at one box, and from the corners of a box to the nearest end
_APART, _CORNER = 16, 12


def wires(drawn: Graph, found: Layout, lines: Mapping[str, Line]) -> Iterator[str]:
    """All edges, the thin ones in front of the thick ones."""
    starts = {edge: _start(drawn, found, edge) for edge in drawn.edges}
    ends = _ends(drawn, found, starts)
    for edge in sorted(drawn.edges, key=lambda edge: -lines[edge.vlan].width):
        yield _wire(edge, _path(drawn, found, edge, start=starts[edge], end=ends[edge]), lines[edge.vlan])


def _wire(edge: Edge, path: str, line: Line) -> str:
    colour, dash = (style.BROKEN, (6, 4)) if edge.broken else (line.colour, line.dash)
    look: dict[str, object] = {"class": "wire", "d": path, "fill": "none", "stroke": colour}
    look |= {"stroke-width": line.width} | ({"stroke-dasharray": " ".join(map(str, dash))} if dash else {})
    return element("path", look)


def _start(drawn: Graph, found: Layout, edge: Edge) -> float:
    """The height at which an edge begins: its box's middle, but straight across from a bridge to its port."""
    source = found.boxes[edge.source]
    if drawn.nodes[edge.source].column == 2:
        return _within(source, found.boxes[edge.target].middle)
    return source.middle


def _within(box: Box, y: float) -> float:
    return min(max(y, box.y + _CORNER), box.bottom - _CORNER)


def _ends(drawn: Graph, found: Layout, starts: Mapping[Edge, float]) -> dict[Edge, float]:
    """The height at which each edge ends: side by side, in the order in which they come."""
    coming: dict[str, list[tuple[float, Edge]]] = defaultdict(list)
    for edge, start in starts.items():
        passing = edge.source in found.lanes and drawn.nodes[edge.target].column == 2
        coming[found.ends.get(edge, edge.target)].append((found.lanes[edge.source] if passing else start, edge))
    return {edge: y for target, edges in coming.items() for edge, y in _side_by_side(found.boxes[target], edges)}


def _side_by_side(box: Box, edges: list[tuple[float, Edge]]) -> Iterator[tuple[Edge, float]]:
    edges = sorted(edges, key=lambda each: each[0])
    room = box.height - 2 * _CORNER
    apart = min(_APART, room / (len(edges) - 1)) if len(edges) > 1 else 0
    taken = apart * (len(edges) - 1)
    middle = sum(start for start, _ in edges) / len(edges)
    first = min(max(middle - taken / 2, box.y + _CORNER), box.bottom - _CORNER - taken)
    for place, (_, edge) in enumerate(edges):
        yield edge, first + place * apart


def _path(drawn: Graph, found: Layout, edge: Edge, *, start: float, end: float) -> str:
    """From the right of one box to the left of the other, straight past the portgroups where it has to pass them."""
    source, target = found.boxes[edge.source], found.boxes[found.ends.get(edge, edge.target)]
    path = f"M{number(source.right)} {number(start)}"
    x, y = source.right, start
    passing = drawn.nodes[edge.source].column == 0 and drawn.nodes[edge.target].column == 2
    if passing and 1 in found.columns:
        left = found.columns[1]
        lane = found.lanes[edge.source]
        path += _curve(x, y, left, lane)
        x, y = target.x - (left - source.right), lane
        path += f"H{number(x)}"
    return path + _curve(x, y, target.x, end)


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    if number(y) == number(to_y):
        return f"H{number(to_x)}"
    middle = number((x + to_x) / 2)
    return f"C{middle} {number(y)} {middle} {number(to_y)} {number(to_x)} {number(to_y)}"
