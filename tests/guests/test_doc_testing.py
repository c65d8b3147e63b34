"""doc/testing.md is true: its program is run as it stands there, and its modules are those that there are."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.site import ROOT
from vifplug.testing.kernel import Kernel

PAGE = (ROOT / "doc/testing.md").read_text()


@pytest.mark.slow
@pytest.mark.needs("namespaces", "tun", "openvswitch", "libvirt", "qemu")
def test_the_pages_guest_pings() -> None:
    Kernel.named("VIFPLUG_TEST_GUEST")
    [program] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 packets received" in done.stdout


def test_the_pages_modules_are_those_that_there_are() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"\w+", row)}
    there = {path.stem for path in (ROOT / "vifplug/testing").glob("*.py")} - {"__init__"}
    of_the_suites = {"convergence", "door_laws", "elsewhere", "honesty", "laws", "purity"}
    assert named == there - of_the_suites
