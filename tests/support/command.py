"""The installed ``vifplug`` command, run as an operator runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

VIFPLUG = str(Path(sys.executable).with_name("vifplug"))


def having(*capabilities: str) -> tuple[str, ...]:
    """Return what runs a command as root with these capabilities and no others."""
    names = "".join(f",+{each}" for each in capabilities)
    return ("setpriv", f"--bounding-set=-all{names}", f"--inh-caps=-all{names}")


#: root without any capability: what CAP_NET_ADMIN, CAP_DAC_OVERRIDE and the like allow is refused
WITHOUT_CAPABILITIES = having()


class Answer:
    """What a command said, and what it came to. No answer may have a traceback."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        assert "Traceback" not in self.out + self.err, self.err

    @property
    def complaints(self) -> list[str]:
        """The lines on stderr, each of which has to say that it is vifplug's."""
        lines = self.err.splitlines()
        assert all(line.startswith("vifplug: ") for line in lines), self.err
        return [line.removeprefix("vifplug: ") for line in lines]

    @property
    def data(self) -> Any:
        """What it answered with ``-f json``."""
        assert self.code in (0, 1), self.err
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"


def vifplug(
    *words: str | Path,
    config: Path | None = None,
    stdin: str = "",
    under: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Answer:
    """Run the command. ``under`` is put before it; without ``environment`` it has this process's own."""
    options = ["--config-file", str(config)] if config else []
    command = [*under, VIFPLUG, *options, *map(str, words)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, check=False)
    return Answer(done)
