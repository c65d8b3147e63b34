"""The progress of a batch, on a terminal; silent in a pipe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TextIO

from vifplug.cli.terminal import unescaped

_WIDTH = 30
_CLEAR = "\r\033[K"  # ECMA-48: erase to the end of the line


@contextlib.contextmanager
def meter(stream: TextIO, title: str, *, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function that prints how many steps are done, and of how many, on a line that is erased at the end.

    ``shown``: whether to print it at all.
    """

    stream = unescaped(stream)

    def write(text: str) -> None:
        if shown and stream.isatty():
            stream.write(_CLEAR + text)
            stream.flush()

    def show(done: int, total: int) -> None:
        bar = "#" * (_WIDTH * done // max(total, 1))
        write(f"{title} [{bar:<{_WIDTH}}] {done} of {total} steps")

    try:
        yield show
    finally:
        write("")
