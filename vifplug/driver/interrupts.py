"""Ctrl-C and SIGTERM, deferred while something is begun and neither recorded as done nor undone."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

_log = logging.getLogger(__name__)


@dataclass
class _Deferral:
    """What a thread waits with. A handler that is no function of Python's ends the process at once, as a crash does."""

    handlers: dict[int, Callable[[int, FrameType | None], Any]]
    thread: int = field(default_factory=threading.get_ident)
    #: the signal that has come
    noted: int | None = None
    #: whether its handler was called
    handled: bool = False
    #: whether another one came
    again: bool = False

    def note(self, number: int, frame: FrameType | None) -> None:
        if self.noted is not None:
            self.again = self.handled = True
            self.handlers[number](number, frame)
        else:
            self.noted = number
            _log.warning(
                "interrupted: waiting until what was begun is done or undone; interrupt again to leave it as it is"
            )

    def handle(self) -> None:
        if self.noted is not None and not self.handled:
            self.handled = True
            self.handlers[self.noted](self.noted, None)


_current: _Deferral | None = None


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defer SIGINT and SIGTERM to the end of the ``with``, or to `pending`. A second one has its effect at once.

    What then is raised says in its notes (PEP 678) what else there is to know, such as what is left. Python calls the
    handlers of signals in the main thread alone, so that nothing is to be deferred in others.
    """
    global _current
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    mine = _Deferral({number: each for number, each in found.items() if callable(each)})
    if _current or threading.current_thread() is not threading.main_thread():
        yield
        return
    _current = mine
    for number in mine.handlers:
        signal.signal(number, mine.note)
    said = ""
    try:
        yield
        said = "what was begun is done"
    except Exception as error:
        said = str(error)
        raise
    finally:
        _current = None
        for number, handler in mine.handlers.items():
            signal.signal(number, handler)
        try:
            mine.handle()
        except BaseException as error:
            error.add_note(said)
            raise


def pending() -> None:
    """Let a deferred signal have its effect now, where what was begun can be taken back."""
    if _current and _current.thread == threading.get_ident():
        _current.handle()


def abandoned() -> bool:
    """Return whether what was begun is to be left as it is, to be recovered from its record."""
    return _current is not None and _current.thread == threading.get_ident() and _current.again
