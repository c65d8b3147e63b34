"""The picture as Mermaid's text, for a page that renders it (a README, a wiki)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from vifplug.topology import style
from vifplug.topology.graph import EMPTY, Edge, Graph, graph
from vifplug.topology.nodes import Node
from vifplug.topology.style import Line
from vifplug.topology.view import HostView

#: Mermaid's text of a label is HTML, and a few characters would end the label or start Markdown in it
_SPECIAL = frozenset("#&<>\"'`\\|{}[]()*_~;%$@^")
_SHAPES = {"portgroup": ("(", ")"), "vif": ("(", ")"), "port": ("(", ")"), "guest": ("([", "])")}


def mermaid(host: HostView) -> str:
    """A ``flowchart LR``: a class for each kind of box, a subgraph for each pool.

    Mermaid draws at most 500 edges unless its ``maxEdges`` says otherwise, and a page's text can't say it.
    """
    drawn = graph(host)
    title = f"---\ntitle: '{_yaml(f'Network topology of {drawn.host}')}'\n---"
    body = [title, "flowchart LR", *_pools(drawn)]
    if not drawn.nodes:
        body.append(f'  nothing["{_escaped(EMPTY)}"]')
    body += [f"  {_node(node)}" for node in drawn.nodes.values() if node.kind != "pool" and not node.pool]
    body += [f"  {edge.source} {_arrow(drawn, edge)} {edge.target}" for edge in drawn.edges]
    return "\n".join([*body, *_classes(drawn), *_link_styles(drawn)]) + "\n"


def _pools(drawn: Graph) -> Iterator[str]:
    for pool in drawn.of("pool"):
        yield f'  subgraph {pool.id}["{_escaped(pool.label)}"]'
        yield from (f"    {_node(drawn.nodes[member])}" for member in drawn.members[pool.id])
        yield "  end"


def _node(node: Node) -> str:
    left, right = _SHAPES.get(node.kind, ("[", "]"))
    first, *rest = map(_escaped, node.lines)
    return f'{node.id}{left}"{"<br/>".join([f"<b>{first}</b>", *rest])}"{right}'


def _arrow(drawn: Graph, edge: Edge) -> str:
    """A longer one where it passes a column by, so that columns stay in line."""
    passed = drawn.nodes[edge.target].column - drawn.nodes[edge.source].column - 1
    return f"-.{'.' * passed}-" if edge.broken else f"---{'-' * passed}"


def _classes(drawn: Graph) -> Iterator[str]:
    for kind, paint in style.PAINTS.items():
        if found := drawn.of(kind):
            yield f"  classDef {kind} fill:{paint.fill},stroke:{paint.border},color:{style.INK}"
            yield f"  class {','.join(node.id for node in found)} {kind}"
    if broken := [node.id for node in drawn.nodes.values() if node.problem]:
        yield f"  classDef broken fill:{style.BROKEN_FILL},stroke:{style.BROKEN},stroke-dasharray:6 3"
        yield f"  class {','.join(broken)} broken"


def _link_styles(drawn: Graph) -> Iterator[str]:
    lines = style.lines(drawn.vlans())
    numbers: dict[Line, list[str]] = defaultdict(list)
    for number, edge in enumerate(drawn.edges):
        numbers[lines[edge.vlan]].append(str(number))
    for line, drawn_so in numbers.items():
        dash = f",stroke-dasharray:{' '.join(map(str, line.dash))}" if line.dash else ""
        yield f"  linkStyle {','.join(drawn_so)} stroke:{line.colour},stroke-width:{line.width:g}px{dash}"


def _escaped(text: str) -> str:
    return "".join(f"#{ord(each)};" if each in _SPECIAL else each for each in text)


def _yaml(text: str) -> str:
    """A title between single quotes; unlike a label, it can't hold HTML, not even escaped."""
    return "".join("?" if each in "<>&" else each for each in text).replace("'", "''")
