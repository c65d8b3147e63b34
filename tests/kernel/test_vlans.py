"""802.1Q and bridge VLAN filtering, which not every kernel has: their contract tests on one that does."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.vm import VirtualMachine

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kernel")]

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("8021q", "bridge", "veth", "dummy", "tun", "macvtap")
FILES = "tests/contract/test_shared.py tests/contract/test_links.py"


def test_the_contract_of_vlans_holds_on_a_full_kernel() -> None:
    machine = VirtualMachine(MODULES)
    # one of each is made first: the contract tests would also pass where the kernel has none
    script = f"""
    cd {ROOT}
    modprobe -a {" ".join(MODULES)}
    ip link add try0 type dummy
    ip link add link try0 name try0.9 type vlan id 9
    ip link add try1 type bridge vlan_filtering 1
    {sys.executable} -m pytest -q -p no:cacheprovider {FILES} -k vlan
    """
    status, output = machine.run(script)
    assert status == 0, output
    assert re.search(r"^\d+ passed, \d+ deselected", output, re.MULTILINE), output
