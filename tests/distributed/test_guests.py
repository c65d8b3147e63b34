"""Two guests of QEMU's, each started by its own host's libvirt: what a plug and OVN are for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.two_hosts import TwoHosts, address
from tests.support.places import libvirt_cache
from vifplug.testing.guests import BootedGuest, Image, boot
from vifplug.testing.kernel import Kernel
from vifplug.testing.libvirt import LibvirtHost
from vifplug.testing.ovn import PortBinding

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ovn")]


@pytest.fixture
def libvirts(site: TwoHosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LibvirtHost]]:
    """A libvirtd on each host."""
    with contextlib.ExitStack() as stack:
        started = {}
        for name, host in site.hosts.items():
            with host.inside():
                started[name] = stack.enter_context(LibvirtHost(host, cache=libvirt_cache(tmp_path_factory)))
        yield started


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image.made(tmp_path, Kernel.named("VIFPLUG_TEST_GUEST"))


def test_guests_of_two_hosts_ping_each_other_and_none_of_another_network(
    site: TwoHosts, image: Image, libvirts: dict[str, LibvirtHost]
) -> None:
    red, blue = site.switch(), site.switch()
    vifs = {"one": site.vif(red, model="virtio"), "two": site.vif(red, model="virtio")}
    other = site.vif(blue)
    booted: dict[str, BootedGuest] = {}
    for host, vif in vifs.items():
        with site.driver(host, wait="ovn-installed") as driver:
            booted[host] = boot(libvirts[host], image, host, [driver.plug(vif).interface_xml])
    for host, vif in vifs.items():
        booted[host].configure(vif.mac, f"{address(vif)}/16")
    with site.plugged(("two", other)), site.guest("two", other):
        assert booted["one"].reaches(address(vifs["two"])) and booted["two"].reaches(address(vifs["one"]))
        assert booted["one"].mtu(vifs["one"].mac) == 1400
        assert booted["one"].is_cut_off_from(address(other))
    for host, vif in vifs.items():
        booted[host].destroy()
        site.ovn.await_binding(vif.id, PortBinding(host, up=True))
        site.unplug(host, vif)
