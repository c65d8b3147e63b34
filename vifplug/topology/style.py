"""Colours and line patterns, the same in every format that has them.

The pictures are readable with colour blindness and in black and white: a VLAN is also written on its box, the line of a
trunk is thicker, and a broken network has a dashed border and a message.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vifplug.topology.nodes import Kind

#: Okabe and Ito's colours without yellow (invisible on white) and black (the text's), with Tol's wine
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#882255", "#E69F00")
DASHES = ((), (9, 4), (2, 3), (12, 3, 2, 3))
NO_VLAN = "#7A8594"
BROKEN = "#B42318"
BROKEN_FILL = "#FEF3F2"
INK = "#1F2933"
FAINT = "#52606D"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """The look of an edge; ``dash``: the lengths of dashes and gaps in turn, empty for a solid line."""

    colour: str
    width: float
    dash: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Paint:
    """The colours of one kind of box: inside, and its border."""

    fill: str
    border: str


PAINTS: Mapping[Kind, Paint] = {
    "network": Paint(fill="#E8EEFB", border="#3B5BA9"),
    "portgroup": Paint(fill="#F1ECFA", border="#7A57B0"),
    "bridge": Paint(fill="#E4F3EC", border="#2F7D5B"),
    "device": Paint(fill="#FDF1DC", border="#A66A00"),
    "pool": Paint(fill="#FFFBF2", border="#C79A4B"),
    "port": Paint(fill="#F1F3F5", border="#7A8594"),
    "vif": Paint(fill="#FFFFFF", border="#3E4C59"),
    "guest": Paint(fill="#E3F4F8", border="#1F7A8C"),
}


def lines(vlans: Iterable[str]) -> dict[str, Line]:
    """Return the look of each VLAN, and of no VLAN (the empty string).

    The colour depends on the VLAN alone, so that VLAN 10 looks the same in the picture of every host. VLANs that share
    a colour in one picture differ in their pattern. Up to seven neighbours, or multiples of ten, differ in colour.
    """
    drawn = {"": Line(colour=NO_VLAN, width=1.5)}
    taken: dict[str, int] = {}
    for vlan in vlans:
        colour = PALETTE[_number(vlan) % len(PALETTE)]
        dash = DASHES[taken.setdefault(colour, 0) % len(DASHES)]
        taken[colour] += 1
        drawn[vlan] = Line(colour=colour, width=2.0 if vlan.isdigit() else 3.5, dash=dash)
    return drawn


def _number(vlan: str) -> int:
    return int(vlan) if vlan.isdecimal() else zlib.crc32(vlan.encode())
