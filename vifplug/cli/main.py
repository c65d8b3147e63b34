"""The entry point of the ``vifplug`` command. The verb that needs a slow module imports it."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import signal
import sys
from types import FrameType
from typing import TextIO

from vifplug.cli.app import App, Verbs
from vifplug.cli.terminal import escaping

TERMINATED = 128 + signal.SIGTERM
#: objects that are made before the garbage collector looks for cycles; Python's 700 pass a hundred times during a start
_UNCOLLECTED = 50_000


def main() -> int:
    """Run the command and return its exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    gc.set_threshold(_UNCOLLECTED)
    sys.stdout, sys.stderr = escaping(sys.stdout), escaping(sys.stderr)
    with open(os.devnull, "w") as nowhere:
        return application(stdout=sys.stdout or nowhere).run(
            sys.argv[1:]
        )  # stdout is None if it was closed at the start


def application(stdout: TextIO | None = None, stderr: TextIO | None = None) -> App:
    """Return the application, which writes to the process's streams or to the given ones."""
    return App(importlib.metadata.version("vifplug"), Verbs("vifplug.cli"), stdout=stdout, stderr=stderr)


def _terminated(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM like Ctrl-C: end the command after what was begun is undone."""
    raise SystemExit(TERMINATED)
