"""The picture as Mermaid text, for a page that renders it (a README, a wiki)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from vifplug.topology import style
from vifplug.topology.graph import EMPTY, Edge, Graph, graph
from vifplug.topology.nodes import Node
from vifplug.topology.style import Line
from vifplug.topology.view import HostView

#: Mermaid reads a label as HTML; a few characters would end the label or start Markdown in it
_SPECIAL = frozenset("#&<>\"'`\\|{}[]()*_~;%$@^")
_SHAPES = {"portgroup": ("(", ")"), "vif": ("(", ")"), "port": ("(", ")"), "guest": ("([", "])")}


def mermaid(host: HostView) -> str:
    """Return a ``flowchart LR`` with a class for each kind of box and a subgraph for each pool.

    Mermaid draws at most 500 edges unless its configuration sets ``maxEdges``, which the text of a page cannot do.
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
    """Return an arrow that is longer for each column that it passes, so that columns stay aligned."""
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
    """Escape a title for single quotes. Unlike a label, it cannot hold HTML, not even escaped."""
    return "".join("?" if each in "<>&" else each for each in text).replace("'", "''")
