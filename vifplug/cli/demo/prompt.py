"""The prompt of the demo: it runs each command and shows it with its output."""

from __future__ import annotations

import io
import os
import subprocess

from vifplug.cli.demo.narrator import Narrator
from vifplug.cli.main import application


class Prompt:
    """A prompt in the directory that has vifplug.conf."""

    def __init__(self, narrator: Narrator, **environment: str) -> None:
        """Set up the prompt. ``environment``: variables of shell commands, in addition to those of this process."""
        self._tell, self._environment = narrator, {**os.environ, **environment}

    def vifplug(self, *words: str, exit_code: int = 0) -> str:
        """Run a verb, show it as typed, check its exit code, and return its output."""
        output = io.StringIO()
        code = application(stdout=output, stderr=output).run(["--config-file", "vifplug.conf", *words])
        self._tell.shell(" ".join(["vifplug", *words]), output.getvalue())
        if code or exit_code:
            self._tell.expect(f"the exit code is {exit_code}", code == exit_code)
        return output.getvalue()

    def shell(self, command: str) -> str:
        """Run a shell command, show it, and return its output."""
        output = subprocess.run(
            ["sh", "-c", command], check=True, stdout=subprocess.PIPE, text=True, env=self._environment
        ).stdout
        self._tell.shell(command, output)
        return output
