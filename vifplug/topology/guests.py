"""Where guests are in the SVG: each beside its VIFs, without overlaps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vifplug.topology.graph import Edge, Graph
from vifplug.topology.nodes import Node

#: a guest with VIFs further apart than this is drawn beside each: nobody follows a line over half a wall
_FAR = 700


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """One box of a guest, the edges that end there, and the height at which its middle would best be."""

    node: Node
    edges: tuple[Edge, ...]
    middle: float


def seats(drawn: Graph, middles: Mapping[str, float]) -> list[Seat]:
    """All boxes of guests from top to bottom; ``middles``: where the VIFs are."""
    edges: dict[str, list[Edge]] = defaultdict(list)
    for edge in drawn.edges:
        if drawn.nodes[edge.target].kind == "guest":
            edges[edge.target].append(edge)
    found = (seat for guest in edges for seat in _seats(drawn, drawn.nodes[guest], edges[guest], middles))
    return sorted(found, key=lambda seat: (seat.middle, seat.node.id))


def _seats(drawn: Graph, guest: Node, edges: Sequence[Edge], middles: Mapping[str, float]) -> Iterator[Seat]:
    near = list(_near(sorted(edges, key=lambda edge: middles[edge.source]), middles))
    for number, group in enumerate(near):
        others = [drawn.nodes[edge.source].label for edge in edges if edge not in group]
        message = (f"also has {', '.join(others)}",) if others else ()
        node = replace(guest, id=f"{guest.id}at{number}" if number else guest.id, details=message)
        yield Seat(node=node, edges=tuple(group), middle=sum(middles[edge.source] for edge in group) / len(group))


def _near(edges: Sequence[Edge], middles: Mapping[str, float]) -> Iterator[list[Edge]]:
    """The edges from top to bottom, in groups that are not too high."""
    group: list[Edge] = []
    for edge in edges:
        if group and middles[edge.source] - middles[group[0].source] > _FAR:
            yield group
            group = []
        group.append(edge)
    yield group


def spread(wanted: Sequence[float], heights: Sequence[float], *, top: float, space: float) -> list[float]:
    """Tops as near as possible to those wanted (in their order), ``space`` apart and not above ``top``.

    Boxes that would overlap form a pile, which lies at the mean of where its boxes want it (isotonic regression).
    """
    piles: list[tuple[float, int]] = []
    offset, offsets = 0.0, []
    for want, height in zip(wanted, heights, strict=True):
        offsets.append(offset)
        pile, size = want - offset, 1
        while piles and piles[-1][0] >= pile:
            mean, count = piles.pop()
            pile, size = (mean * count + pile * size) / (count + size), count + size
        piles.append((pile, size))
        offset += height + space
    starts = [max(pile, top) for pile, size in piles for _ in range(size)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]
