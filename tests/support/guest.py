"""What stands for a guest: a process that holds its tap, as QEMU does, and has its NIC in a network namespace.

Run it as ``python guest.py TAP NAMESPACE MAC ADDRESS QUEUES``; it says ``ready`` when the guest can be reached.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import struct
import sys

from vifplug.testing import netns

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TAP, _IFF_NO_PI, _IFF_MULTI_QUEUE = 0x2, 0x1000, 0x100
_FRAME = 65_536


def opened(name: str, *, multi_queue: bool = False) -> int:
    """One queue of the tap of that name, which is made where there is none."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    flags = _IFF_TAP | _IFF_NO_PI | (_IFF_MULTI_QUEUE if multi_queue else 0)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return descriptor


def main(tap: str, namespace: str, mac: str, address: str, queues: str) -> None:
    host = opened(tap, multi_queue=int(queues) > 1)
    with netns.inside(namespace):
        guest = opened("eth0")
    for words in (f"link set dev eth0 address {mac} mtu 1400 up", f"address add {address} dev eth0"):
        netns.ip("-n", namespace, *words.split())
    print("ready", flush=True)
    with selectors.DefaultSelector() as selector:
        selector.register(host, selectors.EVENT_READ, guest)
        selector.register(guest, selectors.EVENT_READ, host)
        while True:
            for key, _ in selector.select():
                os.write(key.data, os.read(key.fd, _FRAME))


if __name__ == "__main__":
    main(*sys.argv[1:])
