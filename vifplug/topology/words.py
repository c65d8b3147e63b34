"""Sorting and spelling of names and VLANs in every picture."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"([0-9]+)")


def natural(text: str) -> tuple[tuple[str | int, ...], str]:
    """A sort key that puts ``ens2`` before ``ens10``. Words and numbers take turns, so that like meets like."""
    return tuple(int(part) if number % 2 else part for number, part in enumerate(_NUMBERS.split(text))), text


def plain(text: str) -> str:
    """One line without control characters: they are valid in no format, and a terminal would obey them."""
    return "".join(each if each.isprintable() else "\ufffd" for each in " ".join(text.split()))


def vlan_label(vlan: str) -> str:
    """``VLAN 10``; a trunk already says that it is one."""
    return f"VLAN {vlan}" if vlan[:1].isdigit() else vlan


def counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
