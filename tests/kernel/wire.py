"""Words of the tests that run in a machine: guests, who reaches whom, what a link is, and waiting."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.guest import opened
from tests.support.patience import becomes
from vifplug import VIF
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost
from vifplug.testing.netns import ip

_SECONDS = 40
_TUNSETIFF, _TAP_WITHOUT_HEADERS = 0x400454CA, 0x1002  # linux/if_tun.h
_FRAME = 65_536


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until it is so."""
    assert becomes(condition, _SECONDS), f"waited {_SECONDS} s for {what}"


def vif(number: int, **keys: Any) -> VIF:
    """A VIF on a bridge, with the tap ``tapN``."""
    mac, name = f"52:54:00:aa:00:0{number}", f"tap{number}"
    document = {"id": f"4e0b62d3-6c8f-4f0a-9d3b-00000000000{number}", "type": "bridge", "mac": mac, "target": name}
    return VIF.from_json({**document, "model": "virtio", **keys})


def cleared(host: PrivateHost) -> Iterator[PrivateHost]:
    """A host for a test, and what that has plugged is unplugged."""
    yield host
    for entry in host.driver.list():
        host.driver.unplug(entry.vif.id, force=True)


def link(name: str, *, namespace: str = "") -> dict[str, Any]:
    """What iproute2 says of a link."""
    inside = ["-n", namespace] if namespace else []
    [found] = json.loads(ip(*inside, "-details", "-json", "link", "show", "dev", name))
    return dict(found)


# -- guests -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def guest(tap: str, mac: str, *addresses: str) -> Iterator[str]:
    """A namespace whose ``eth0`` is at the other end of a tap or macvtap here, as a guest's NIC is.

    An address may be in a VLAN of the guest's own: ``10.0.0.2/24@1011``.
    """
    with netns.named() as [name], contextlib.ExitStack() as stack:
        host = opened_macvtap(tap) if link(tap)["linkinfo"]["info_kind"] == "macvtap" else opened(tap)
        with netns.inside(name):
            nic = opened("eth0")
        stack.enter_context(_joined(host, nic))
        ip("-n", name, "link", "set", "dev", "eth0", "address", mac, "up")
        for address, _, vlan in (each.partition("@") for each in addresses):
            if vlan:
                ip("-n", name, "link", "add", "link", "eth0", "name", f"eth0.{vlan}", "type", "vlan", "id", vlan)
                ip("-n", name, "link", "set", "dev", f"eth0.{vlan}", "up")
            ip("-n", name, "address", "add", address, "dev", f"eth0.{vlan}" if vlan else "eth0")
        yield name


def opened_macvtap(name: str) -> int:
    descriptor = os.open(f"/dev/tap{link(name)['ifindex']}", os.O_RDWR)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", b"", _TAP_WITHOUT_HEADERS))
    return descriptor


@contextlib.contextmanager
def _joined(one: int, other: int) -> Iterator[None]:
    """A thread carries frames from each to the other, until the end."""
    end, message = os.pipe()
    thread = threading.Thread(target=_carry, args=({one: other, other: one}, end))
    thread.start()
    try:
        yield
    finally:
        os.close(message)
        thread.join()
        for descriptor in (one, other, end):
            os.close(descriptor)


def _carry(ways: dict[int, int], end: int) -> None:
    with selectors.DefaultSelector() as selector:
        for descriptor in (*ways, end):
            selector.register(descriptor, selectors.EVENT_READ)
        while True:
            ready = [key.fd for key, _ in selector.select()]
            if end in ready:
                return
            for descriptor in ready:
                with contextlib.suppress(OSError):  # a device that is down loses frames
                    os.write(ways[descriptor], os.read(descriptor, _FRAME))


# -- who reaches whom ---------------------------------------------------------------------------------------------


def reaches(namespace: str, address: str) -> bool:
    """Whether an address answers a ping; it may take a while, until all is up."""
    return _answers(namespace, address, _SECONDS)


def is_cut_off(namespace: str, address: str) -> bool:
    """Whether an address does not answer, for a second: ask when another one has answered, so that all is up."""
    return not _answers(namespace, address, 1)


def _answers(namespace: str, address: str, seconds: int) -> bool:
    """With a deadline, ping goes on until it has an answer."""
    command = ["ip", "netns", "exec", namespace, "ping", "-q", "-c", "1", "-i", "0.3", "-w", str(seconds), address]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
