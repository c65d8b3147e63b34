"""What is written in each box of the SVG, line by line, and how high that makes the box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vifplug.topology.lettering import Face, fitted, width, wrapped
from vifplug.topology.nodes import Node
from vifplug.topology.words import vlan_label

Style = Literal["label", "long", "detail", "handle", "problem", "vlan", "trunk"]

WIDTHS = (200, 240, 200, 292, 284)
#: between the border of a box and its text, on the left and on the right
INSET, MARGIN = 18, 12
#: around a VLAN's text, on each side, and between it and a label on the same line
PILL, GAP = 9, 10

FACES: dict[Style, Face] = {
    "label": Face(13.5, bold=True),
    "long": Face(11),
    "detail": Face(11),
    "handle": Face(9.5, mono=True),
    "problem": Face(11, bold=True),
    "vlan": Face(11, bold=True),
    "trunk": Face(10),
}
_HEIGHTS: dict[Style, float] = {
    "label": 20,
    "long": 20,
    "detail": 16,
    "handle": 15,
    "problem": 16,
    "vlan": 20,
    "trunk": 25,
}
_PROBLEM_LINES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line, as long as it fits; ``top`` counts from the top of the box. ``vlan``: a second text, at the right."""

    text: str
    style: Style
    top: float
    height: float
    vlan: str = ""


def lines(node: Node) -> list[Line]:
    """The lines of a box."""
    found: list[Line] = []
    top = 8.0
    for style, text, vlan in _written(node):
        found.append(Line(text=text, style=style, top=top, height=_HEIGHTS[style], vlan=vlan))
        top += _HEIGHTS[style]
    return found


def height(node: Node) -> float:
    last = lines(node)[-1]
    return last.top + last.height + 8


def room(node: Node) -> float:
    """What the text of a box has in width."""
    return WIDTHS[node.column] - INSET - MARGIN


def pill(text: str, style: Style = "vlan") -> float:
    """The width of a VLAN with its border."""
    return width(text, FACES[style]) + 2 * PILL


def _written(node: Node) -> Iterator[tuple[Style, str, str]]:
    space, vlan = room(node), vlan_label(node.vlan)
    beside = bool(vlan) and width(node.label, FACES["label"]) + GAP + pill(vlan) <= space
    large: Style = "label" if width(node.label, FACES["label"]) <= space else "long"
    yield large, fitted(node.label, space, FACES[large]), vlan if beside else ""
    if vlan and not beside:
        yield "trunk", fitted(vlan, space - 2 * PILL, FACES["trunk"]), ""
    for each in node.details:
        yield "detail", fitted(each, space, FACES["detail"]), ""
    if node.handle:
        yield "handle", fitted(node.handle, space, FACES["handle"]), ""
    yield from (("problem", each, "") for each in _problem(node.problem, space))


def _problem(text: str, space: float) -> Iterator[str]:
    """A problem in a few lines; what does not fit in them is cut."""
    face = FACES["problem"]
    found = list(wrapped(text, space, face))
    yield from found[: _PROBLEM_LINES - 1]
    if rest := " ".join(found[_PROBLEM_LINES - 1 :]):
        yield fitted(rest, space, face)
