"""The entry point of the ``vifplug`` command. The verb that needs a slow module imports it."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import sys
from types import FrameType
from typing import TextIO

from vifplug.cli.app import App, Verbs
from vifplug.cli.terminal import escaping

TERMINATED = 128 + signal.SIGTERM


def main() -> int:
    """Run the command and return its exit code."""
    signal.signal(signal.SIGTERM, _terminated)
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
