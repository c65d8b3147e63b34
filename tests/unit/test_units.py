"""systemd's units: what systemd itself says of them. tests/kernel/test_boot.py boots a machine with them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.places import ROOT

UNITS = ROOT / "etc/systemd"
SERVICES = ("vifplug-recover.service", "vifplug-gc.service")

pytestmark = pytest.mark.needs("systemd-analyze")


def analyze(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C", "SYSTEMD_UNIT_PATH": f"{directory}:"}
    return subprocess.run(["systemd-analyze", *words], env=environment, capture_output=True, text=True)


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """The command need not be installed here."""
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    for name in SERVICES:
        unit = tmp_path / name
        unit.write_text(unit.read_text().replace("ExecStart=vifplug", "ExecStart=true"))
    files = [str(tmp_path / each.name) for each in UNITS.iterdir() if each.is_file()]
    done = analyze(tmp_path, "verify", "--man=no", *files)
    assert "vifplug-" not in done.stderr, done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_the_sandbox_is_as_tight_as_the_page_says(service: str) -> None:
    rated = analyze(UNITS, "security", "--offline=true", "--no-pager", "--threshold=25", service)
    assert rated.returncode == 0 and service in rated.stdout, rated.stdout + rated.stderr
