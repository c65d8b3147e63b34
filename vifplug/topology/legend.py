"""What the colours and lines of the SVG mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vifplug.topology import style
from vifplug.topology.graph import Graph
from vifplug.topology.lettering import Face, fitted, width
from vifplug.topology.markup import element, number, written
from vifplug.topology.nodes import Kind
from vifplug.topology.style import Line
from vifplug.topology.words import vlan_label

_FACE = Face(11)
_SAMPLE, _APART, _ROW, _LONGEST = 30, 22, 24, 300
_KINDS: tuple[tuple[Kind, str], ...] = (
    *(("network", "network"), ("portgroup", "portgroup"), ("bridge", "bridge"), ("device", "device")),
    *(("port", "port of no VIF"), ("vif", "VIF"), ("guest", "guest")),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One sample (``drawn``, as if at 0, 0) and its meaning."""

    sample: str
    text: str
    x: float
    y: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Legend:
    entries: tuple[_Entry, ...]
    height: float

    def drawn(self, x: float, y: float) -> Iterator[str]:
        """All entries, from this corner on."""
        for entry in self.entries:
            place = f"translate({number(x + entry.x)} {number(y + entry.y)})"
            look = {"x": _SAMPLE + 8, "y": 12, "font-size": _FACE.size, "fill": style.INK}
            text = element("text", look, written(entry.text))
            yield element("g", {"class": "legend", "transform": place}, entry.sample + text)


def legend(drawn: Graph, lines: Mapping[str, Line], *, width: float) -> Legend:
    """The kinds of boxes that there are, then the VLANs, in rows of ``width``."""
    rows = [_placed(list(samples), width) for samples in (_boxes(drawn), _lines(drawn, lines))]
    first = 1 + max((number for number, _, _, _ in rows[0]), default=-1)
    found = [*rows[0], *((number + first, x, sample, text) for number, x, sample, text in rows[1])]
    count = 1 + max((number for number, _, _, _ in found), default=-1)
    entries = tuple(_Entry(sample=sample, text=text, x=x, y=row * _ROW) for row, x, sample, text in found)
    return Legend(entries=entries, height=count * _ROW)


def _placed(samples: list[tuple[str, str]], room: float) -> list[tuple[int, float, str, str]]:
    """Row and x of each sample."""
    row, x, found = 0, 0.0, []
    for sample, text in samples:
        text = fitted(text, _LONGEST, _FACE)
        needed = _SAMPLE + 8 + width(text, _FACE)
        if x and x + needed > room:
            row, x = row + 1, 0
        found.append((row, x, sample, text))
        x += needed + _APART
    return found


def _boxes(drawn: Graph) -> Iterator[tuple[str, str]]:
    for kind, text in _KINDS:
        if drawn.of(kind):
            yield _swatch(style.PAINTS[kind].fill, style.PAINTS[kind].border, ""), text
    if any(node.problem for node in drawn.nodes.values()) or any(edge.broken for edge in drawn.edges):
        yield _swatch(style.BROKEN_FILL, style.BROKEN, "5 3"), "broken, down or unfinished"


def _swatch(fill: str, border: str, dash: str) -> str:
    look: dict[str, object] = {"width": _SAMPLE, "height": 16, "rx": 4, "fill": fill, "stroke": border}
    return element("rect", look | {"stroke-width": 1.6} | ({"stroke-dasharray": dash} if dash else {}))


def _lines(drawn: Graph, lines: Mapping[str, Line]) -> Iterator[tuple[str, str]]:
    """Each VLAN, then the line without one."""
    without = [""] if any(not edge.vlan for edge in drawn.edges) else []
    for vlan in (*drawn.vlans(), *without):
        line = lines[vlan]
        look: dict[str, object] = {"d": f"M0 8H{_SAMPLE}", "stroke": line.colour, "stroke-width": line.width}
        look |= {"stroke-dasharray": " ".join(map(str, line.dash))} if line.dash else {}
        yield element("path", look), vlan_label(vlan) or "no VLAN"
