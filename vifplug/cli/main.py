"""Where the ``vifplug`` command begins. What is slow to load is loaded by the verb that needs it."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import sys
from types import FrameType
from typing import TextIO

from cliff.commandmanager import CommandManager

from vifplug.cli.app import App

TERMINATED = 128 + signal.SIGTERM


def main() -> int:
    """Run the command; its exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    with open(os.devnull, "w") as nowhere:
        return application(stdout=sys.stdout or nowhere).run(sys.argv[1:])  # None where it was closed at the start


def application(stdout: TextIO | None = None, stderr: TextIO | None = None) -> App:
    """The application; it writes to the process's own streams, or to others."""
    commands = CommandManager("vifplug.cli", convert_underscores=True)
    return App(importlib.metadata.version("vifplug"), commands, stdout=stdout, stderr=stderr)


def _terminated(number: int, frame: FrameType | None) -> None:
    """What SIGTERM does: ends the command as Ctrl-C does, so that what was begun is undone first."""
    raise SystemExit(TERMINATED)
