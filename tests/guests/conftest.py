"""Guests that boot, on a host of the test's own. A module has one host, and what it starts there ends with it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial

import pytest

from tests.guests.peers import MTU, Peer, peer
from tests.support import bridges
from tests.support.places import libvirt_cache, shared
from vifplug.testing import guests, macvtaps
from vifplug.testing.guests import BootedGuest, Image
from vifplug.testing.host import PrivateHost
from vifplug.testing.kernel import Kernel
from vifplug.testing.libvirt import LibvirtHost

#: boot(name, elements): starts a guest on them, and does not wait
Boot = Callable[..., BootedGuest]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """What guests boot, made by the first worker that wants it."""
    directory = shared(tmp_path_factory, "guest-image")
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = directory / "made"
        if not made.exists():
            being_made = tmp_path_factory.mktemp("guest-image")
            Image.made(being_made, Kernel.named("VIFPLUG_TEST_GUEST"))
            being_made.rename(made)
        return Image.of(made)


@pytest.fixture(scope="module")
def libvirt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtHost]:
    """libvirtd on the module's host."""
    with macvtaps.claimed() as first, PrivateHost(vifplug_ovs={"ensure_bridge": True}) as host:
        macvtaps.skip(host.namespace, first)
        with LibvirtHost(host, cache=libvirt_cache(tmp_path_factory)) as libvirt:
            yield libvirt


@pytest.fixture(scope="module")
def host(libvirt: LibvirtHost) -> PrivateHost:
    """The module's host."""
    return libvirt.host


@pytest.fixture(scope="module")
def boot(libvirt: LibvirtHost, image: Image) -> Boot:
    return partial(guests.boot, libvirt, image)


@pytest.fixture(scope="module")
def peers(host: PrivateHost) -> Iterator[Mapping[str, Peer]]:
    """One in VLAN 10 and one in VLAN 20 of the Open vSwitch bridge br-int, and one on the Linux bridge br0.

    The bridges' own MTU is set: else it is the least of their ports', and a tap that libvirt makes begins with it.
    """
    host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    host.ovs.ctl("set", "interface", "br-int", f"mtu_request={MTU}")
    bridges.add(host, "br0")
    host.ip("link", "set", "br0", "mtu", str(MTU))
    with ExitStack() as stack:
        places = (("vlan10", 1, None), ("vlan20", 2, None), ("lan", 3, "br0"))
        made = [stack.enter_context(peer(host, *each)) for each in places]
        for vlan in (10, 20):
            host.ovs.ctl("add-port", "br-int", f"vlan{vlan}", f"tag={vlan}")
        yield {each.name: each for each in made}
