"""Two hosts of one OVN, for all tests of this directory. Each test has logical switches and ports of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.distributed.two_hosts import TwoHosts, two_hosts


@pytest.fixture(scope="session")
def whole_site() -> Iterator[TwoHosts]:
    with two_hosts() as site:
        yield site


@pytest.fixture
def site(whole_site: TwoHosts) -> Iterator[TwoHosts]:
    """The site; a test leaves no VIF, or fails."""
    yield whole_site
    for host in whole_site.hosts.values():
        left = [entry.vif.id for entry in host.driver.list()]
        ports = [name for name in host.ports("br-int") if not name.startswith("ovn-")]
        with host.inside():
            for vif_id in left:
                host.driver.unplug(vif_id, force=True)
        assert (left, ports) == ([], [])
