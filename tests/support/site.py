"""Distributions as pip would install them, in a directory of their own, and fresh interpreters that have them.

A fresh interpreter, because stevedore and importlib.metadata remember what was installed when they were first asked.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def built(source: Path, directory: Path) -> Site:
    """A site with a package in it, built by the tools of this environment: nothing is downloaded."""
    copy = shutil.copytree(source, directory / "source", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(directory / "site"), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Site(directory / "site")


class Site:
    """A directory for ``sys.path``. ``beside``: other directories, which come after it."""

    def __init__(self, path: Path, *beside: Path) -> None:
        self.path = path
        self._paths = (path, *beside, ROOT)
        path.mkdir(parents=True, exist_ok=True)

    def install(self, name: str, version: str, entry_points: Mapping[str, Mapping[str, str]], code: str = "") -> None:
        """The distribution ``name``, whose module of that name holds ``code``."""
        info = self.path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        sections = (
            [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
            for group, points in entry_points.items()
        )
        (info / "entry_points.txt").write_text("\n".join(line for section in sections for line in section) + "\n")
        if code:
            (self.path / f"{name}.py").write_text(textwrap.dedent(code))

    def run(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """A fresh interpreter with ``arguments``; stevedore's cache is in the site's own directory."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, self._paths)),
            "XDG_CACHE_HOME": str(self.path / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **changes,
        }
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, cwd=self.path, capture_output=True, text=True, check=False)

    def ask(self, code: str) -> Any:
        """What ``code`` leaves in ``answer``, as plain data."""
        script = f"import json\n{textwrap.dedent(code)}\nprint(json.dumps(answer))"
        done = self.run("-c", script)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
