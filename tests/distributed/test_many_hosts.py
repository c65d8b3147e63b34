"""Five hosts of one OVN, as benchmarks/ovn_hosts.py makes them: what it tells grows or does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.site import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ovn")]


@pytest.mark.usefixtures("site")
def test_the_benchmark_of_many_hosts_plugs_on_five() -> None:
    """The times are this machine's; what the database and the tunnels come to is not."""
    command = [sys.executable, str(ROOT / "benchmarks/ovn_hosts.py"), "--hosts", "2", "5", "--samples", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    message = {name: values for name, *values in (line.rsplit(maxsplit=3) for line in done.stdout.splitlines()[1:])}
    assert message["tunnels of a host"] == ["1.00", "4.00", "4.0"]
    assert all(float(value) > 0 for values in message.values() for value in values) and len(message) == 13
    assert float(message["southbound database: kB"][-1]) > 1
