"""The picture as Graphviz input: ``vifplug topology --format dot | dot -Tsvg``."""

from __future__ import annotations

from collections.abc import Iterator

from vifplug.topology import style
from vifplug.topology.graph import EMPTY, Edge, Graph, graph
from vifplug.topology.nodes import HEADINGS, Node
from vifplug.topology.style import Line
from vifplug.topology.view import HostView

_HEAD = """digraph topology {
  graph [rankdir=LR, newrank=true, compound=true, fontname="Helvetica", labelloc=t, fontsize=20, nodesep=0.15,
    ranksep=1.2]
  node [shape=box, style="filled,rounded", fontname="Helvetica", fontsize=11, margin="0.16,0.08"]
  edge [arrowhead=none]
"""


def dot(host: HostView) -> str:
    """A ``digraph`` with one rank for each column; pools are clusters."""
    drawn = graph(host)
    lines = style.lines(drawn.vlans())
    title = f"Network topology of {drawn.host}"
    body = [f"  label={_quoted(title)}"]
    if not drawn.nodes:
        body.append(f"  nothing [label={_quoted(EMPTY)}]")
    body += [*_pools(drawn), *(_node(node) for node in drawn.nodes.values() if node.kind != "pool" and not node.pool)]
    body += [*_ranks(drawn), *(_edge(drawn, edge, lines[edge.vlan]) for edge in drawn.edges)]
    return _HEAD + "\n".join([*body, "}"]) + "\n"


def _pools(drawn: Graph) -> Iterator[str]:
    for pool in drawn.of("pool"):
        paint = style.PAINTS["pool"]
        yield f"  subgraph cluster_{pool.id} {{"
        yield f"    label={_quoted(pool.label)}; fontsize=11; labeljust=l; style=filled"
        yield f'    fillcolor="{paint.fill}"; color="{paint.border}"'
        yield from (f"  {_node(drawn.nodes[member])}" for member in drawn.members[pool.id])
        yield "  }"


def _node(node: Node) -> str:
    paint = style.PAINTS[node.kind]
    border, look = (style.BROKEN, "filled,rounded,dashed") if node.problem else (paint.border, "filled,rounded")
    fill = style.BROKEN_FILL if node.problem else paint.fill
    return f'  {node.id} [label={_quoted(*node.lines)}, style="{look}", fillcolor="{fill}", color="{border}"]'


def _ranks(drawn: Graph) -> Iterator[str]:
    """Headings, one after the other, that hold the boxes of each column together."""
    columns = [column for column in range(len(HEADINGS)) if any(n.column == column for n in drawn.nodes.values())]
    for column in columns:
        ids = [node.id for node in drawn.nodes.values() if node.column == column and node.kind != "pool"]
        yield f"  column{column} [label={_quoted(HEADINGS[column])}, shape=plaintext, style=bold, fontsize=13]"
        yield f"  {{ rank=same; {'; '.join([f'column{column}', *ids])} }}"
    if len(columns) > 1:
        yield f"  {' -> '.join(f'column{column}' for column in columns)} [style=invis]"


def _edge(drawn: Graph, edge: Edge, line: Line) -> str:
    """Graphviz joins no edge to a cluster itself: it goes to the middle device and ends at the cluster's border."""
    members = drawn.members.get(edge.target)
    target = members[len(members) // 2] if members else edge.target
    clipped = f", lhead=cluster_{edge.target}" if members else ""
    look = "dashed" if edge.broken or line.dash else "solid"
    colour = style.BROKEN if edge.broken else line.colour
    return f'  {edge.source} -> {target} [color="{colour}", penwidth={line.width:g}, style={look}{clipped}]'


def _quoted(*lines: str) -> str:
    """A quoted string; a backslash, a quote and nothing else means something in one. HTML entities do, too."""
    escaped = (line.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'
