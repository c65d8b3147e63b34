"""How wide a text gets, and how it is made to fit, without a font at hand.

The widths are upper bounds, of DejaVu Sans: of the fonts that a viewer may choose instead, hardly any is wider.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

_WIDTHS = (
    ("'ijlIJ ,.·/:;\\|", 0.36),
    ('f-()[]tr!"', 0.46),
    ("*_`szc?", 0.56),
    ("wM#+<=>^~OQ&DGHN", 0.87),
    ("mW%@…", 1.0),
)
_WIDTH = {each: width for letters, width in _WIDTHS for each in letters}
_CAPITAL, _OTHER, _MONO, _BOLD = 0.77, 0.65, 0.61, 1.15


@dataclass(frozen=True, slots=True)
class Face:
    """A size in pixels, and a style."""

    size: float
    bold: bool = False
    mono: bool = False


def width(text: str, face: Face) -> float:
    """An upper bound of the width in pixels."""
    return sum(_advance(each, face) for each in text)


def fitted(text: str, room: float, face: Face) -> str:
    """The text, or as much of it as has room, and an ellipsis."""
    if width(text, face) <= room:
        return text
    room -= _advance("…", face)
    reach = accumulate(_advance(each, face) for each in text)
    return text[: sum(end <= room for end in reach)].rstrip() + "…"


def wrapped(text: str, room: float, face: Face) -> Iterator[str]:
    """The text in lines, broken at blanks; a word that is too long keeps a line and is cut by an ellipsis."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and width(longer, face) > room:
            yield fitted(line, room, face)
            longer = word
        line = longer
    if line:
        yield fitted(line, room, face)


def _advance(letter: str, face: Face) -> float:
    wide = unicodedata.east_asian_width(letter) in "WF"
    ems = 1.05 if wide else _MONO if face.mono else _proportional(letter)
    return ems * face.size * (_BOLD if face.bold else 1)


def _proportional(letter: str) -> float:
    if not letter.isascii():
        return _WIDTH.get(letter, 1.0)
    return _WIDTH.get(letter, _CAPITAL if letter.isupper() else _OTHER)
