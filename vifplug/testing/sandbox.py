"""Detect when pure code opens a file, a socket or a process (PEP 578 audit events)."""

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
    """Pure code touched the machine; ``str()`` names the attempt.

    Not an Exception, so that the code cannot swallow it and continue with a default.
    """


@contextlib.contextmanager
def enforced() -> Iterator[None]:
    """Let the calling thread compute and import; an attempt to touch the machine raises Impure."""
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
    """Return whether the import system is active: it reads a module that is imported late from a file."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _install() -> None:
    """Install the hook once for each process: an audit hook cannot be removed."""
    if not getattr(_install, "done", False):
        sys.addaudithook(_audit)
        _install.done = True  # type: ignore[attr-defined]
