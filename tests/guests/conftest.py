"""Guests that boot, on a host of the test's own. A module has one host, and what it starts there ends with it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.support.places import libvirt_cache, shared
from vifplug.testing import Lacking, guests
from vifplug.testing.guests import Guest, Image
from vifplug.testing.host import PrivateHost
from vifplug.testing.kernel import Kernel
from vifplug.testing.libvirt import LibvirtHost

#: boot(name, elements): starts a guest on them, and does not wait
Boot = Callable[..., Guest]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """What guests boot, made by the first worker that wants it."""
    directory = shared(tmp_path_factory, "guest-image")
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = directory / "made"
        if not made.exists():
            being_made = tmp_path_factory.mktemp("guest-image")
            try:
                Image.made(being_made, Kernel.named("VIFPLUG_TEST_GUEST"))
            except Lacking as lacking:
                pytest.skip(str(lacking))
            being_made.rename(made)
        return Image.of(made)


@pytest.fixture(scope="module")
def libvirt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtHost]:
    """libvirtd on the module's host."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace of its own")
    try:
        with PrivateHost() as host, LibvirtHost(host, cache=libvirt_cache(tmp_path_factory)) as libvirt:
            yield libvirt
    except Lacking as lacking:
        pytest.skip(str(lacking))


@pytest.fixture(scope="module")
def host(libvirt: LibvirtHost) -> PrivateHost:
    """The module's host."""
    return libvirt.host


@pytest.fixture(scope="module")
def boot(libvirt: LibvirtHost, image: Image) -> Boot:
    return partial(guests.boot, libvirt, image)
