"""Sort and format names and VLANs, for every picture."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"([0-9]+)")


def natural(text: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key that puts ``ens2`` before ``ens10``. Words and numbers alternate, so that types match."""
    return tuple(int(part) if number % 2 else part for number, part in enumerate(_NUMBERS.split(text))), text


def plain(text: str) -> str:
    """Return the text on one line, without control characters: no format allows them, and a terminal executes them."""
    return "".join(each if each.isprintable() else "\ufffd" for each in " ".join(text.split()))


def vlan_label(vlan: str) -> str:
    """Return ``VLAN 10``; a trunk's text is unchanged."""
    return f"VLAN {vlan}" if vlan[:1].isdigit() else vlan


def counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
