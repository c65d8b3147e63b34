"""What a terminal is sent: text without the characters that move its cursor, change its state or reorder the text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TextIO, cast

#: C0 and C1 (ECMA-48) but tab and newline, the bidirectional controls (UAX #9), line separators, half a surrogate pair
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return text with its control characters as escapes: ``\\x1b``."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Terminal:
    """A text stream to a terminal that prints the control characters of what it is given as escapes."""

    def __init__(self, stream: TextIO) -> None:
        #: the stream itself, for vifplug's own control sequences
        self.unescaped = stream

    def write(self, text: str) -> int:
        return self.unescaped.write(printable(text))

    def writelines(self, lines: Iterable[str]) -> None:
        self.unescaped.writelines(map(printable, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unescaped, name)


def escaping(stream: TextIO | None) -> TextIO | None:
    """Return the stream; if it is a terminal, one that escapes."""
    return cast("TextIO", Terminal(stream)) if stream and stream.isatty() else stream


def unescaped(stream: TextIO) -> TextIO:
    """Return the stream under `escaping`."""
    return stream.unescaped if isinstance(stream, Terminal) else stream
