"""Notices when code that has to be pure opens a file, a socket or a process (PEP 578 audit events)."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

#: audit events of the interpreter and of the standard library that touch the machine (docs.python.org: audit_events)
TOUCHES = ("open", "os.", "socket.", "subprocess.", "shutil.", "sqlite3.", "ctypes.dlopen", "urllib.", "fcntl.")

_watch = threading.local()


class Impure(BaseException):
    """Code that has to be pure touched the machine; ``str()`` says what it tried.

    No Exception, so that the code can't swallow it and go on with a default.
    """


@contextlib.contextmanager
def enforced() -> Iterator[None]:
    """The calling thread may compute, and import, but not touch the machine: the attempt raises Impure."""
    _install()
    before, _watch.on = getattr(_watch, "on", False), True
    try:
        yield
    finally:
        _watch.on = before


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if getattr(_watch, "on", False) and event.startswith(TOUCHES) and not _importing(sys._getframe()):
        raise Impure(f"{event}({', '.join(map(repr, arguments[:2]))})")


def _importing(frame: FrameType | None) -> bool:
    """Whether the import system is at work: a module that is imported late is read from a file."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _install() -> None:
    """Once for each process: an audit hook can't be taken out again."""
    if not getattr(_install, "done", False):
        sys.addaudithook(_audit)
        _install.done = True  # type: ignore[attr-defined]
