"""The picture as a standalone SVG: to print, to pin to a wall, to open in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vifplug.topology import boxes, legend, style, wires
from vifplug.topology.graph import EMPTY, Graph, graph
from vifplug.topology.layout import EDGE, Box, Layout, columns, layout
from vifplug.topology.lettering import Face, fitted
from vifplug.topology.markup import element, number, written
from vifplug.topology.nodes import HEADINGS, Node
from vifplug.topology.style import Line
from vifplug.topology.view import HostView

_TITLE, _SUMMARY, _LEGEND, _HEADING = 58, 82, 104, 44


def svg(host: HostView) -> str:
    """The drawing. What is cut in a box is whole in its tooltip."""
    drawn = graph(host)
    lines = style.lines(drawn.vlans())
    width = max(Layout(columns=columns(drawn)).width, 760)
    key = legend.legend(drawn, lines, width=width - 2 * EDGE)
    found = layout(drawn, top=_LEGEND + key.height + _HEADING)
    height = (found.bottom if drawn.nodes else _LEGEND + 40) + EDGE
    body = [*_head(drawn, width - 2 * EDGE), *key.drawn(EDGE, _LEGEND), *_body(drawn, found, lines)]
    return _document(drawn, body, width=width, height=height)


def _document(drawn: Graph, body: list[str], *, width: float, height: float) -> str:
    size = {"width": number(width), "height": number(height), "viewBox": f"0 0 {number(width)} {number(height)}"}
    page = element("rect", {"width": "100%", "height": "100%", "fill": "#FCFCFD"})
    title = element("title", {}, written(f"Network topology of {drawn.host}"))
    font = "'DejaVu Sans', Verdana, 'Segoe UI', Helvetica, Arial, sans-serif"
    start = {"xmlns": "http://www.w3.org/2000/svg", **size, "role": "img", "font-family": font}
    inside = "\n".join(["", title, page, *body, ""])
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{element("svg", start, inside)}\n'


def _head(drawn: Graph, room: float) -> Iterator[str]:
    big = {"x": EDGE, "y": _TITLE, "font-size": 26, "font-weight": "bold", "fill": style.INK}
    yield element("text", big, written(fitted(drawn.host, room, Face(26, bold=True))))
    small = {"x": EDGE, "y": _SUMMARY, "font-size": 13, "fill": style.FAINT}
    yield element("text", small, written(f"Network topology: {drawn.summary()}" if drawn.nodes else EMPTY))


def _body(drawn: Graph, found: Layout, lines: dict[str, Line]) -> Iterator[str]:
    """From back to front: bands, pools, edges, boxes."""
    yield from map(_band, found.bands)
    yield from _headings(found)
    yield from (_pool(node, found.boxes[node.id]) for node in drawn.of("pool"))
    yield from wires.wires(drawn, found, lines)
    nodes = (*(node for node in drawn.nodes.values() if node.kind not in ("pool", "guest")), *found.guests.values())
    yield from (_box(node, found.boxes[node.id], lines) for node in nodes)


def _band(box: Box) -> str:
    return element("rect", {**_area(box), "rx": 14, "fill": "#F3F5F8", "class": "band"})


def _headings(found: Layout) -> Iterator[str]:
    y = found.bands[0].y - 14 if found.bands else 0
    for column, x in found.columns.items():
        place = {"x": number(x), "y": number(y), "font-size": 12, "font-weight": "bold", "letter-spacing": 0.4}
        yield element("text", {**place, "fill": style.FAINT}, written(HEADINGS[column]))


def _pool(node: Node, box: Box) -> str:
    paint = style.PAINTS["pool"]
    border = {"rx": 12, "fill": paint.fill, "stroke": paint.border, "stroke-width": 1.2, "stroke-dasharray": "2 3"}
    label = fitted(node.label, box.width - 28, boxes.FACES["detail"])
    name = {"x": number(box.x + 14), "y": number(box.y + 19), "font-size": 11, "fill": style.FAINT}
    inside = [_tooltip(node), element("rect", {**_area(box), **border}), element("text", name, written(label))]
    return element("g", {"class": "pool", "id": node.id}, "".join(inside))


def _box(node: Node, box: Box, lines: dict[str, Line]) -> str:
    """A box with a stripe of its kind's colour at its left."""
    paint = style.PAINTS[node.kind]
    broken = bool(node.problem)
    border, fill = (style.BROKEN, style.BROKEN_FILL) if broken else (paint.border, paint.fill)
    look: dict[str, object] = {"rx": 20 if node.kind == "guest" else 8, "fill": fill, "stroke": border}
    look |= {"stroke-width": 2, "stroke-dasharray": "7 4"} if broken else {"stroke-width": 1.4}
    stripe = Box(x=box.x + 6, y=box.y + 9, width=4, height=box.height - 18)
    inside = [_tooltip(node), element("rect", {**_area(box), **look})]
    if node.kind != "guest":
        inside.append(element("rect", {**_area(stripe), "rx": 2, "fill": border}))
    inside += [each for place in _repeats(node, box) for each in _text(node, place, lines)]
    return element("g", {"class": f"box {node.kind}{' broken' if broken else ''}", "id": node.id}, "".join(inside))


def _repeats(node: Node, box: Box) -> Iterator[Box]:
    """Where the text of a box is: in its middle, or again and again in one that is higher than a screen."""
    height = boxes.height(node)
    count = 1 + int(box.height // 1100)
    for each in range(count):
        share = box.height / count
        yield Box(x=box.x, y=box.y + share * each + (share - height) / 2, width=box.width, height=height)


def _text(node: Node, box: Box, lines: dict[str, Line]) -> Iterator[str]:
    for line in boxes.lines(node):
        x, base = box.x + boxes.INSET, box.y + line.top + line.height - 5
        if line.style == "trunk":
            yield _pill(line, x, base - 18, lines[node.vlan])
        else:
            face = boxes.FACES[line.style]
            colour = {"label": style.INK, "long": style.INK, "problem": style.BROKEN}.get(line.style, style.FAINT)
            look: dict[str, object] = {"x": number(x), "y": number(base), "font-size": face.size, "fill": colour}
            look |= {"font-weight": "bold"} if face.bold else {}
            look |= {"font-family": "'DejaVu Sans Mono', Menlo, Consolas, monospace"} if face.mono else {}
            yield element("text", look, written(line.text))
        if line.vlan:
            x = box.right - boxes.MARGIN - boxes.pill(line.vlan)
            yield _pill(replace(line, text=line.vlan, style="vlan"), x, base - 14, lines[node.vlan])


def _pill(message: boxes.Line, x: float, y: float, line: Line) -> str:
    """A VLAN: its text in ink, as colours may not be seen, in a border of its colour."""
    area, face = Box(x=x, y=y, width=boxes.pill(message.text, message.style), height=18), boxes.FACES[message.style]
    rect = element("rect", {**_area(area), "rx": 9, "fill": "#FFFFFF", "stroke": line.colour, "stroke-width": 2})
    look: dict[str, object] = {"x": number(x + area.width / 2), "y": number(y + 13), "text-anchor": "middle"}
    look |= {"font-size": face.size, "fill": style.INK} | ({"font-weight": "bold"} if face.bold else {})
    return rect + element("text", look, written(message.text))


def _tooltip(node: Node) -> str:
    return element("title", {}, written("\n".join(node.lines)))


def _area(box: Box) -> dict[str, object]:
    return {"x": number(box.x), "y": number(box.y), "width": number(box.width), "height": number(box.height)}
