"""Where everything is in the SVG.

Columns have fixed widths, and a band is as high as its highest column, so that nothing can overlap. A bridge or device
is stretched along its ports, as a switch is drawn; its portgroups are beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from vifplug.topology import boxes, guests, order
from vifplug.topology.graph import Edge, Graph
from vifplug.topology.nodes import HEADINGS, Node
from vifplug.topology.order import Band, Ports

EDGE = 40  # of the page
SPACE = 14  # between boxes of one column
BETWEEN = 30  # between bands
PADDING = 18  # of a band
CAPTION, FRAME = 28, 12  # of a pool: room for its name, and around its devices
LANE = 18  # of an edge that passes the column of portgroups
ALIGNED = 260  # beyond that much difference in height, columns of a band begin at the top, and are not centred
_ROUND = 8  # more height for a guest's round corners
_GAPS = (72, 72, 72, 132)


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


@dataclass(kw_only=True, slots=True)
class Layout:
    """``boxes`` by node, pools included; ``lanes``: the height at which a network's own edge passes the portgroups.

    ``guests``: their boxes, as one that has VIFs far apart has several; ``ends``: at which of them an edge ends.
    """

    columns: Mapping[int, float]
    boxes: dict[str, Box] = field(default_factory=dict)
    lanes: dict[str, float] = field(default_factory=dict)
    bands: list[Box] = field(default_factory=list)
    guests: dict[str, Node] = field(default_factory=dict)
    ends: dict[Edge, str] = field(default_factory=dict)

    @property
    def width(self) -> float:
        last = max(self.columns, default=0)
        return self.columns[last] + boxes.WIDTHS[last] + EDGE if self.columns else 0

    @property
    def bottom(self) -> float:
        return max((box.bottom for box in (*self.bands, *self.boxes.values())), default=0)


def layout(drawn: Graph, *, top: float) -> Layout:
    """The place of every box, below ``top``."""
    found = Layout(columns=columns(drawn))
    bands = order.bands(drawn)
    ports = order.ports(drawn, bands)
    for band in bands:
        placing = _Placing(drawn=drawn, found=found, ports=ports, top=top + PADDING)
        placing.band(band)
        bottom = placing.bottom(band) + PADDING
        found.bands.append(_frame(drawn, found, top, bottom))
        top = bottom + BETWEEN
    _guests(drawn, found)
    return found


def columns(drawn: Graph) -> dict[int, float]:
    """Where the columns begin; those in which there is nothing take no room."""
    x, found = float(EDGE + PADDING), {}
    for column in range(len(HEADINGS)):
        if any(node.column == column for node in drawn.nodes.values()):
            found[column] = x
            x += boxes.WIDTHS[column] + (_GAPS[column] if column < len(_GAPS) else 0)
    return found


def _frame(drawn: Graph, found: Layout, top: float, bottom: float) -> Box:
    """The background of a band: all columns but the guests', who belong to several."""
    last = max(column for column in found.columns if column < 4)
    width = found.columns[last] + boxes.WIDTHS[last] + PADDING - EDGE
    return Box(x=EDGE, y=top, width=width, height=bottom - top)


@dataclass(kw_only=True, slots=True)
class _Placing:
    """Places one band, from ``top`` on."""

    drawn: Graph
    found: Layout
    ports: Ports
    top: float

    def band(self, band: Band) -> None:
        """The higher side is placed at the top, the other one beside its middle."""
        left = sum(map(self._network_height, band.networks)) + SPACE * 2 * (len(band.networks) - 1)
        right = self._carriers_height(band)
        spare = right - left
        self._networks(band, self.top + (min(spare, ALIGNED) / 2 if spare > 0 else 0))
        self._carriers(band, self.top + (min(-spare, ALIGNED) / 2 if spare < 0 else 0))

    def bottom(self, band: Band) -> float:
        ids = {*band.networks, *band.carriers, *band.alone, *(p for c in band.carriers for p in self.ports[c])}
        groups = {edge.target for edge in self.drawn.edges if edge.source in band.networks}
        pools = {self.drawn.nodes[carrier].pool for carrier in band.carriers}
        return max(self.found.boxes[each].bottom for each in (ids | groups | pools) & self.found.boxes.keys())

    # -- networks and their portgroups

    def _groups(self, network: str) -> tuple[list[str], bool]:
        """The portgroups of a network, and whether it has an edge that passes them."""
        near = [edge.target for edge in self.drawn.edges if edge.source == network]
        groups = [each for each in near if self.drawn.nodes[each].kind == "portgroup"]
        return groups, len(groups) < len(near)

    def _network_height(self, network: str) -> float:
        groups, lane = self._groups(network)
        heights = [self._height(each) for each in groups] + [LANE] * lane
        return max(self._height(network), sum(heights) + SPACE * (len(heights) - 1))

    def _networks(self, band: Band, y: float) -> None:
        for network in band.networks:
            height = self._network_height(network)
            self._box(network, y + (height - self._height(network)) / 2)
            self._portgroups(network, y, height)
            y += height + SPACE * 2

    def _portgroups(self, network: str, y: float, height: float) -> None:
        groups, lane = self._groups(network)
        heights = [self._height(each) for each in groups] + [LANE] * lane
        y += (height - sum(heights) - SPACE * (len(heights) - 1)) / 2
        for group in groups:
            y = self._box(group, y).bottom + SPACE
        if lane:
            self.found.lanes[network] = y + LANE / 2

    # -- bridges and devices, and their ports

    def _carrier_height(self, carrier: str) -> float:
        return max(self._height(carrier), self._stack(self.ports[carrier]))

    def _carriers_height(self, band: Band) -> float:
        frames = sum(CAPTION + FRAME for pool, _ in self._pooled(band.carriers) if pool)
        heights = [self._carrier_height(each) for each in band.carriers]
        return max(self._stack(band.alone), sum(heights) + frames + SPACE * 2 * (len(heights) - 1))

    def _carriers(self, band: Band, y: float) -> None:
        self._ports(band.alone, y)
        for pool, members in self._pooled(band.carriers):
            start, y = y, y + (CAPTION if pool else 0)
            for carrier in members:
                height = self._carrier_height(carrier)
                self._box(carrier, y, height=height)
                self._ports(self.ports[carrier], y + (height - self._stack(self.ports[carrier])) / 2)
                y += height + SPACE * 2
            if pool:
                y = self._pool(pool, start, y - SPACE * 2).bottom + SPACE * 2

    def _pool(self, pool: str, start: float, end: float) -> Box:
        x, width = self.found.columns[2] - FRAME, boxes.WIDTHS[2] + 2 * FRAME
        self.found.boxes[pool] = Box(x=x, y=start, width=width, height=end + FRAME - start)
        return self.found.boxes[pool]

    def _pooled(self, carriers: Iterable[str]) -> list[tuple[str, list[str]]]:
        return [(pool, list(each)) for pool, each in groupby(carriers, key=lambda each: self.drawn.nodes[each].pool)]

    def _ports(self, ids: Sequence[str], y: float) -> None:
        for each in ids:
            y = self._box(each, y).bottom + SPACE

    def _stack(self, ids: Sequence[str]) -> float:
        return sum(map(self._height, ids)) + SPACE * (len(ids) - 1) if ids else 0

    def _height(self, node: str) -> float:
        return boxes.height(self.drawn.nodes[node])

    def _box(self, node: str, y: float, *, height: float = 0) -> Box:
        column = self.drawn.nodes[node].column
        x, width = self.found.columns[column], boxes.WIDTHS[column]
        self.found.boxes[node] = Box(x=x, y=y, width=width, height=height or self._height(node))
        return self.found.boxes[node]


def _guests(drawn: Graph, found: Layout) -> None:
    """Each guest beside the middle of its VIFs, as near as the others let it be."""
    seats = guests.seats(drawn, {node: box.middle for node, box in found.boxes.items()})
    heights = [boxes.height(seat.node) + _ROUND for seat in seats]
    wanted = [seat.middle - height / 2 for seat, height in zip(seats, heights, strict=True)]
    tops = guests.spread(wanted, heights, top=found.bands[0].y if found.bands else 0, space=SPACE)
    for seat, height, y in zip(seats, heights, tops, strict=True):
        found.guests[seat.node.id] = seat.node
        found.ends |= dict.fromkeys(seat.edges, seat.node.id)
        found.boxes[seat.node.id] = Box(x=found.columns[4], y=y, width=boxes.WIDTHS[4], height=height)
