"""What the demo prints: headings, sentences, commands that it runs with their output, and checks."""

from __future__ import annotations

import io
import os
import subprocess
import textwrap
from typing import TextIO

from vifplug.cli.app import INTERRUPTED, writing
from vifplug.cli.main import application
from vifplug.errors import VifplugError

WIDTH = 100

_BOLD, _DIM, _GREEN, _RED, _PLAIN = "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m"  # ECMA-48: SGR


class CheckFailed(VifplugError):
    """A check of the demo failed."""


class Narrator:
    """Writes to ``stream``, in colour if it is a terminal (and NO_COLOR is not set: no-color.org)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._coloured = stream.isatty() and not os.environ.get("NO_COLOR")

    def title(self, text: str) -> None:
        self._print("\n" + self._in(_BOLD, text) + "\n" + self._in(_BOLD, "-" * len(text)))

    def say(self, text: str) -> None:
        """Print a paragraph."""
        self._print("\n" + textwrap.fill(" ".join(text.split()), WIDTH))

    def vifplug(self, *words: str, exit_code: int = 0) -> str:
        """Run a verb, print it as typed, check its exit code, and return its output."""
        output = io.StringIO()
        code = application(stdout=output, stderr=output).run(["--config-file", "vifplug.conf", *words])
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        self.typed(" ".join(["$ vifplug", *words]), output.getvalue())
        if code or exit_code:
            self.expect(f"the exit code is {exit_code}", code == exit_code)
        return output.getvalue()

    def shell(self, command: str) -> str:
        """Run a shell command, print it, and return its output."""
        output = subprocess.run(["sh", "-c", command], check=True, stdout=subprocess.PIPE, text=True).stdout
        self.typed(f"$ {command}", output)
        return output

    def typed(self, line: str, output: str) -> None:
        """Print a prompt with a command and its output; a long command is continued as in a shell."""
        rows = textwrap.wrap(f"  {line}", WIDTH, break_long_words=False, break_on_hyphens=False)
        self._print("\n" + self._in(_BOLD, " \\\n      ".join(rows)))
        if output.strip():
            self._print(self._in(_DIM, textwrap.indent(output.rstrip("\n"), "  ")))

    def expect(self, what: str, holds: bool) -> None:
        """Print a check and whether it holds. Raises CheckFailed if it does not."""
        mark = self._in(_GREEN, "ok") if holds else self._in(_RED, "FAILED")
        self._print(f"  {mark}  {what}")
        if not holds:
            raise CheckFailed(f"a check in `demo` failed: {what}")

    def _in(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._coloured else text

    def _print(self, text: str) -> None:
        with writing(self._stream):
            print(text, file=self._stream)
