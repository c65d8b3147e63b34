"""The progress of a batch, on a terminal; silent in a pipe."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TextIO

_WIDTH = 30
_CLEAR = "\r\033[K"  # ECMA-48: erase to the end of the line


class Meter:
    """A line that is overwritten, and erased at the end. ``shown``: whether to print it at all."""

    def __init__(self, stream: TextIO, title: str, *, shown: bool) -> None:
        self._stream = stream
        self._title = title
        self._shown = shown and stream.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(_CLEAR)

    def show(self, done: int, total: int) -> None:
        """Print that ``done`` of ``total`` steps are done."""
        bar = "#" * (_WIDTH * done // max(total, 1))
        self._write(f"{_CLEAR}{self._title} [{bar:<{_WIDTH}}] {done} of {total} steps")

    def _write(self, text: str) -> None:
        if self._shown:
            self._stream.write(text)
            self._stream.flush()
