"""Bandwidth as the kernel has it, with real libvirt, which wipes a root qdisc when a guest starts; and vhost-net."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.wire import cleared, guest, reaches, until, vif
from tests.support import bridges
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtHost, domain
from vifplug.testing.netns import run

pytestmark = [pytest.mark.slow, pytest.mark.machine("full")]

LIMITED = {"inbound": {"average": 125}, "outbound": {"average": 250}}  # kB/s: 1 and 2 Mbit/s
OPENVSWITCH = {"source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}


@pytest.fixture(scope="module")
def module_host() -> Iterator[PrivateHost]:
    with PrivateHost(vifplug_ovs={"datapath_type": "system", "ensure_bridge": True}) as host:
        bridges.add(host, "br0")
        yield host
        host.ovs.ctl("--if-exists", "del-br", "br-int")


@pytest.fixture
def host(module_host: PrivateHost) -> Iterator[PrivateHost]:
    yield from cleared(module_host)


def qdisc(device: str) -> str:
    return run("tc", "qdisc", "show", "dev", device, "root").split()[1]


def rate(device: str) -> str:
    """The rate to which what a guest receives is limited."""
    return run("tc", "class", "show", "dev", device).partition(" ceil ")[2].split()[0]


def police(device: str) -> str:
    """What polices what a guest sends."""
    return run("tc", "filter", "show", "dev", device, "ingress").partition("police ")[2]


def test_libvirt_wipes_the_root_qdisc_which_check_reports_and_settle_repairs(host: PrivateHost) -> None:
    """On Open vSwitch vifplug shapes; on a Linux bridge the element says it, and libvirt does."""
    shaped = vif(1, bandwidth=LIMITED, **OPENVSWITCH)
    given = vif(2, bandwidth=LIMITED, source={"bridge": "br0"})
    elements = [host.driver.plug(each).interface_xml for each in (shaped, given)]
    assert (qdisc("tap1"), rate("tap1")) == ("htb", "1Mbit") and "rate 2Mbit" in police("tap1")
    with LibvirtHost(host) as libvirt:
        libvirt.create(domain("web", "".join(elements)))
        assert qdisc("tap1") == "noqueue"
        assert list(map(str, host.driver.check())) == ["ovs-qdisc tap1: root: expected htb, got noqueue"]
        host.driver.settle(shaped.id)
        assert host.driver.check() == []
        assert (qdisc("tap1"), rate("tap1")) == ("htb", "1Mbit") and "rate 2Mbit" in police("tap1")
        assert (qdisc("tap2"), rate("tap2")) == ("htb", "1Mbit") and "rate 2" in police("tap2")
        libvirt.clear()


def test_what_a_guest_receives_comes_no_faster_than_its_limit(host: PrivateHost) -> None:
    """And with the limit gone it does: 300 kB at 125 kB/s take more than two seconds (a burst goes before)."""
    sender, receiver = vif(1, **OPENVSWITCH), vif(2, bandwidth={"inbound": LIMITED["inbound"]}, **OPENVSWITCH)
    host.driver.plug_many([(sender, None), (receiver, None)])
    with guest("tap1", sender.mac, "10.0.0.1/24") as first, guest("tap2", receiver.mac, "10.0.0.2/24") as second:
        assert reaches(first, "10.0.0.2")
        limited = seconds(first, second, 300_000)
        assert limited > 1.5
        host.driver.update(vif(2, **OPENVSWITCH))
        until(lambda: seconds(first, second, 300_000) < limited / 2, "the limit to go")


def seconds(source: str, target: str, size: int) -> float:
    """How long it takes to send so many bytes."""
    with netns.inside(target):
        server = socket.create_server(("10.0.0.2", 0))
    with netns.inside(source):
        client = socket.create_connection(server.getsockname())
    with server, client, server.accept()[0] as accepted:
        begun = time.monotonic()
        thread = threading.Thread(target=client.sendall, args=(bytes(size),))
        thread.start()
        while size > 0:
            size -= len(accepted.recv(65_536))
        thread.join()
        return time.monotonic() - begun


# -- vhost-net ----------------------------------------------------------------------------------------------------


def test_a_guest_sends_through_vhost_net_on_vifplugs_tap(host: PrivateHost) -> None:
    """The kernel's own worker carries the frames. libvirt asks for it with KVM only, so QEMU is started as it would be.

    The guest has no system: the NIC's boot ROM asks for an address, and the bridge learns its MAC from that.
    """
    asked = vif(3, source={"bridge": "br0"}, driver={"name": "vhost"})
    assert "<driver name='vhost'/>" in host.driver.plug(asked).interface_xml
    options = (
        "-machine pc -accel tcg -m 32 -nodefaults -display none -netdev tap,id=nic,script=no,downscript=no,vhost=on"
    )
    command = ["qemu-system-x86_64", *f"{options},ifname=tap3".split()]
    with subprocess.Popen([*command, "-device", f"virtio-net-pci,netdev=nic,mac={asked.mac}"]) as qemu:
        try:
            until(lambda: f"vhost-{qemu.pid}" in workers(), "the kernel's worker")
            until(lambda: f"{asked.mac} dev tap3" in run("bridge", "fdb", "show", "br", "br0"), "its first frame")
        finally:
            qemu.kill()


def workers() -> set[str]:
    """The names of all threads. The worker is a process of the kernel's, and since Linux 6.4 a thread of QEMU's."""
    names = set()
    for file in Path("/proc").glob("[0-9]*/task/[0-9]*/comm"):
        with contextlib.suppress(OSError):
            names.add(file.read_text().strip())
    return names
