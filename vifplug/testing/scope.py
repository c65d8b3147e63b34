"""What is made of parts that have to end, for a ``with`` statement."""

from __future__ import annotations

import abc
import contextlib
from types import TracebackType
from typing import Self


class Scoped(abc.ABC):
    """What `_enter` puts on the stack ends with the ``with``, the last first; where `_enter` fails it ends at once."""

    @abc.abstractmethod
    def _enter(self, stack: contextlib.ExitStack) -> None:
        """Begin."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._enter(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
