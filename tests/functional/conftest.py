"""A host of the test's own, on this kernel and a real Open vSwitch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.patience import becomes
from tests.support.places import HOOK, libvirt_cache
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtHost


@pytest.fixture(scope="module")
def module_host() -> Iterator[PrivateHost]:
    with PrivateHost(vifplug_ovs={"ensure_bridge": True}) as host:
        yield host


@pytest.fixture
def host(module_host: PrivateHost) -> Iterator[PrivateHost]:
    """The module's host; the test leaves it as it found it, or fails."""
    links, bridges = module_host.links(), set(module_host.ovs.ctl("list-br").split())
    yield module_host
    assert module_host.driver.list() == []
    for bridge in set(module_host.ovs.ctl("list-br").split()):
        assert module_host.ports(bridge) == set()
        if bridge not in bridges:
            module_host.ovs.ctl("del-br", bridge)
    becomes(lambda: module_host.links() == links)  # with a namespace its ends of pairs go, a little later
    assert module_host.links() == links
    assert module_host.ovs.ctl("--bare", "--columns=_uuid", "list", "qos").strip() == ""


@pytest.fixture(scope="module")
def libvirt(module_host: PrivateHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtHost]:
    """libvirtd with vifplug's hook on the module's host, which has the Open vSwitch bridge br-int."""
    module_host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    with LibvirtHost(module_host, hook=HOOK, cache=libvirt_cache(tmp_path_factory)) as libvirt:
        yield libvirt


@pytest.fixture
def guests(libvirt: LibvirtHost, host: PrivateHost) -> Iterator[LibvirtHost]:
    """libvirtd, without a guest before and after. What is left on the host the host's own fixture sees."""
    yield libvirt
    libvirt.clear()
