"""doc/ovsdbapp.md is true: its code is run as it stands there, on an Open vSwitch of the test's own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from vifplug.testing.ovs import PrivateOvs

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "doc" / "ovsdbapp.md").read_text()
MACHINES_OWN = "unix:/run/openvswitch/db.sock"


def test_the_example_runs_and_what_it_expects_to_fail_does() -> None:
    [code] = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    code, failures = re.subn(r"^    .*log_errors=False\)$", r"\g<0>; raise AssertionError", code, flags=re.MULTILINE)
    assert failures == 3
    with PrivateOvs() as ovs:
        private = code.replace(MACHINES_OWN, ovs.connection)
        assert MACHINES_OWN not in private and ovs.connection in private
        done = subprocess.run([sys.executable, "-c", private], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert ovs.ctl("list-br") == ""
