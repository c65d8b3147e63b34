"""Inside the machines: hosts that are the whole machine, and its NIC."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.nic import Nic, wired
from tests.kernel.wire import cleared
from vifplug.testing.host import PrivateHost
from vifplug.testing.netns import ip

#: a name of ip(8) for the network namespace that the machine began with
MACHINE = "machine"


@pytest.fixture(scope="session")
def machine() -> Iterator[str]:
    """The name of the network namespace in which the machine's own devices are."""
    ip("netns", "attach", MACHINE, "1")
    yield MACHINE
    ip("netns", "delete", MACHINE)


@pytest.fixture(scope="session")
def nic() -> Iterator[Nic]:
    with wired() as nic:
        yield nic


@pytest.fixture(scope="module")
def machine_host(machine: str) -> Iterator[PrivateHost]:
    """A host that has the machine's own devices."""
    with PrivateHost(namespace=machine) as host:
        yield host


@pytest.fixture
def host(machine_host: PrivateHost) -> Iterator[PrivateHost]:
    """That host; the test leaves it as it found it, or fails."""
    links = machine_host.links()
    yield from cleared(machine_host)
    assert machine_host.links() == links
