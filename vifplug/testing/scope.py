"""A base for context managers that consist of other context managers."""

from __future__ import annotations

import abc
import contextlib
from typing import Self


class Scoped(abc.ABC):
    """A context manager whose parts `_enter` puts on a stack; they end in reverse order, at once if `_enter` fails."""

    @abc.abstractmethod
    def _enter(self, stack: contextlib.ExitStack) -> None:
        """Enter each part on ``stack``."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._enter(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
