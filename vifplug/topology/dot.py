"""The picture as Graphviz input: ``vifplug topology --format dot | dot -Tsvg``, which is what ``--format svg`` runs."""

from __future__ import annotations

import html
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from vifplug.topology import style
from vifplug.topology.graph import EMPTY, Edge, Graph, graph
from vifplug.topology.nodes import HEADINGS, Node
from vifplug.topology.view import HostView
from vifplug.topology.words import vlan_label

#: ``bgcolor`` keeps the text readable in a viewer with a dark background.
_HEAD = f"""digraph topology {{
  graph [rankdir=LR, newrank=true, compound=true, bgcolor="#FCFCFD", pad=0.3, nodesep=0.14, ranksep=1,
    fontname="Helvetica", fontcolor="{style.INK}", labelloc=t, labeljust=l]
  node [shape=box, fontname="Helvetica", fontsize=11, fontcolor="{style.INK}", margin="0.1,0.05", height=0.3]
  edge [arrowhead=none, tailport=e, headport=w]
"""
#: An invisible edge that keeps boxes in order.
_ORDER = "[style=invis, tailport=_, headport=_]"
#: The minimum width of the boxes of each column, so that they line up, and the width of a character; in points.
_WIDTHS, _CHARACTER = (130, 130, 130, 225, 110), 8
#: The longest line of a problem, in characters.
_PROBLEM = 32
#: A guest has a box beside each of its VIFs if they are further apart than this number of ports.
_FAR = 8


def dot(host: HostView) -> str:
    """Return a ``digraph`` with one rank for each column; a pool is a cluster."""
    drawn = graph(host)
    title = f'<FONT POINT-SIZE="22"><B>{_escaped(drawn.host)}</B></FONT>'
    summary = _escaped(f"Network topology: {drawn.summary()}" if drawn.nodes else EMPTY)
    ports = _ports(drawn)
    statements = _Picture(_beside_vifs(drawn, ports), ports).statements()
    return _HEAD + "\n".join([f"  label=<{_table(_cell(title), _cell(summary))}>", *statements, "}"]) + "\n"


def _ports(drawn: Graph) -> dict[str, list[Node]]:
    """Return the ports and VIFs of each bridge and device, from top to bottom; the others under the empty name."""
    found: dict[str, list[Node]] = {node.id: [] for node in drawn.of("bridge", "device")}
    for edge in drawn.edges:
        if edge.source in found:
            found[edge.source].append(drawn.nodes[edge.target])
    return found | {"": drawn.unconnected()}


def _beside_vifs(drawn: Graph, ports: dict[str, list[Node]]) -> Graph:
    """Return the same graph with several boxes for a guest whose VIFs are far apart, so that edges stay short."""
    places = {port.id: place for place, port in enumerate(port for each in ports.values() for port in each)}
    edges: dict[str, list[Edge]] = defaultdict(list)
    for edge in sorted(drawn.edges, key=lambda edge: places.get(edge.source, 0)):
        if drawn.nodes[edge.target].kind == "guest":
            edges[edge.target].append(edge)
    nodes = dict(drawn.nodes)
    moved: dict[Edge, Edge] = {}
    for guest, all_edges in edges.items():
        groups = [[all_edges[0]]]
        for edge in all_edges[1:]:
            near = places[edge.source] - places[groups[-1][0].source] <= _FAR
            groups[-1].append(edge) if near else groups.append([edge])
        for number, group in enumerate(groups):
            others = ", ".join(drawn.nodes[edge.source].label for edge in all_edges if edge not in group)
            details = tuple(textwrap.wrap(f"also has {others}", _PROBLEM)) if others else ()
            node = replace(nodes[guest], id=f"{guest}at{number}" if number else guest, details=details)
            nodes[node.id] = node
            moved |= {edge: replace(edge, target=node.id) for edge in group}
    return replace(drawn, nodes=nodes, edges=tuple(moved.get(edge, edge) for edge in drawn.edges))


class _Picture:
    """The statements of one graph. A bridge is as high as its ports, and each edge starts beside its port."""

    def __init__(self, drawn: Graph, ports: dict[str, list[Node]]) -> None:
        self.drawn, self.ports = drawn, ports
        self.lines = style.lines(drawn.vlans())

    def statements(self) -> Iterator[str]:
        nodes = self.drawn.nodes.values()
        yield from self._pools()
        yield from (self._node(node) for node in nodes if node.kind != "pool" and not node.pool)
        yield from self._ranks()
        yield from map(self._edge, self.drawn.edges)

    def _pools(self) -> Iterator[str]:
        paint = style.PAINTS["pool"]
        for pool in self.drawn.of("pool"):
            yield f"  subgraph cluster_{pool.id} {{"
            yield f'    label=<{_escaped(pool.label)}>; fontsize=11; fontcolor="{style.FAINT}"; class=pool'
            yield f'    style="filled,rounded,dashed"; fillcolor="{paint.fill}"; color="{paint.border}"'
            yield from (f"  {self._node(self.drawn.nodes[member])}" for member in self.drawn.members[pool.id])
            yield "  }"

    def _node(self, node: Node) -> str:
        paint = style.PAINTS[node.kind]
        fill, border, look, kind = paint.fill, paint.border, "filled,rounded", str(node.kind)
        if node.problem:
            fill, border, look, kind = style.BROKEN_FILL, style.BROKEN, f"{look},dashed", f"{kind} broken"
        looks = f'class="{kind}", style="{look}", fillcolor="{fill}", color="{border}"'
        return f"  {node.id} [label=<{self._label(node)}>, {looks}]"

    def _label(self, node: Node) -> str:
        """Return the text of a box. If it has several ports, each has a cell, where the edge to the port starts."""
        ports = self.ports.get(node.id, [])
        cells = [f'<TD PORT="{port.id}" WIDTH="2" HEIGHT="{_height(port)}" FIXEDSIZE="TRUE"></TD>' for port in ports]
        width = f' WIDTH="{_WIDTHS[node.column]}"'
        if len(cells) < 2:
            name, text = self._name(node), _text(node)
            return _table(_cell(name, width), *([_cell(text)] if text else []))
        text = _cell(f"{_bold(node.label)}<BR/>{_text(node)}", f' ROWSPAN="{len(cells)}"{width}')
        return _table(text + cells[0], *cells[1:])

    def _name(self, node: Node) -> str:
        """Return the name of a box and its VLAN, on one line if they fit."""
        name, vlan = _bold(node.label), vlan_label(node.vlan)
        if not vlan:
            return name
        border = f'BORDER="2" STYLE="ROUNDED" COLOR="{self.lines[node.vlan].colour}" BGCOLOR="#FFFFFF"'
        framed = _table(f"<TD {border}><B> {_escaped(vlan)} </B></TD>")
        if len(node.label) + len(vlan) > _WIDTHS[node.column] / _CHARACTER:
            return _table(_cell(name), _cell(framed))
        return _table(f'{_cell(name)}<TD ALIGN="RIGHT">{framed}</TD>')

    def _ranks(self) -> Iterator[str]:
        """Yield the headings, which keep each column together, and the edges that sort ports like their bridges."""
        nodes = [node for node in self.drawn.nodes.values() if node.kind != "pool"]
        columns = sorted({node.column for node in nodes})
        for column in columns:
            ids = [node.id for node in nodes if node.column == column]
            yield f'  column{column} [label=<<B>{HEADINGS[column]}</B>>, shape=plaintext, fontcolor="{style.FAINT}"]'
            yield f"  {{ rank=same; {'; '.join([f'column{column}', *ids])} }}"
        ports = dict.fromkeys(port.id for each in self.ports.values() for port in each)
        for chain in ([f"column{column}" for column in columns], list(ports)):
            if len(chain) > 1:
                yield f"  {' -> '.join(chain)} {_ORDER}"

    def _edge(self, edge: Edge) -> str:
        """Return an edge. One to a cluster leads to its middle device and is cut at the cluster's border."""
        members = self.drawn.members.get(edge.target)
        target = members[len(members) // 2] if members else edge.target
        ports = self.ports.get(edge.source, [])
        source = f"{edge.source}:{edge.target}" if len(ports) > 1 else edge.source
        line = self.lines[edge.vlan]
        look = f'color="{style.BROKEN if edge.broken else line.colour}", penwidth={line.width:g}'
        look += ", style=dashed" if edge.broken or line.dash else ""
        look += f", lhead=cluster_{edge.target}" if members else ""
        look += ", weight=8" if ports else ""  # the straightest
        return f"  {source} -> {target} [{look}]"


def _table(*rows: str) -> str:
    body = "".join(f"<TR>{row}</TR>" for row in rows)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{body}</TABLE>'


def _cell(content: str, look: str = "") -> str:
    return f'<TD ALIGN="LEFT" BALIGN="LEFT"{look}>{content}</TD>'


def _bold(text: str) -> str:
    return f'<FONT POINT-SIZE="13"><B>{_escaped(text)}</B></FONT>'


def _text(node: Node) -> str:
    """Return the other lines of a box, below its name and VLAN."""
    lines = [f'<FONT COLOR="{style.FAINT}">{_escaped(detail)}</FONT>' for detail in node.details]
    if node.handle:
        lines.append(f'<FONT COLOR="{style.FAINT}" POINT-SIZE="9">{_escaped(node.handle)}</FONT>')
    problem = textwrap.wrap(node.problem, _PROBLEM)
    lines += [f'<FONT COLOR="{style.BROKEN}"><B>{_escaped(line)}</B></FONT>' for line in problem]
    return "<BR/>".join(lines)


def _height(node: Node) -> int:
    """Return the approximate height of a box and the space below it, in points."""
    problem = len(textwrap.wrap(node.problem, _PROBLEM))
    return 36 + 6 * bool(node.vlan) + 14 * (len(node.details) + problem) + 12 * bool(node.handle)


def _escaped(text: str) -> str:
    r"""Escape text for an HTML-like label, in which Graphviz also replaces ``\N`` and similar sequences."""
    return html.escape(text, quote=False).replace("\\", r"\\")
