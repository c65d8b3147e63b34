"""A stand-in for a virtual machine: it keeps a tap open as QEMU does, with a network stack of its own behind it.

``python -m vifplug.cli.demo.guest DEVICE MAC CARD=ADDRESS...`` opens DEVICE, a tap or macvtap of the network namespace
that it is started in, and then leaves that namespace for a new one. There it makes the network cards: ``eth0`` for
frames as they are, ``eth0.20`` for those of VLAN 20. It prints ``ready`` and carries frames until it or its
parent process ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
CLONE_NEWNET = 0x40000000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h

TPID = 0x8100  # IEEE 802.1Q: what marks a tagged frame
LARGEST_FRAME = 65536

_libc = ctypes.CDLL(None, use_errno=True)  # os.unshare is in Python from 3.12 on


def main(device: str, mac: str, cards: Mapping[str, str]) -> None:
    """Run the guest. ``cards``: addresses by the name of the network card."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    outside = opened(_node(device), device)
    if _libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "could not create a network namespace")
    inside = {vlan(name): _card(name, mac, address) for name, address in cards.items()}
    os.write(sys.stdout.fileno(), b"ready\n")
    carry(outside, inside)


def vlan(card: str) -> int | None:
    """Return the VLAN of a network card: 20 for ``eth0.20``, None for ``eth0``."""
    _, dot, number = card.partition(".")
    return int(number) if dot else None


def opened(node: str, name: str) -> int:
    """Open queue 0 of a tap. If the tap does not exist, it is created, and removed when it is closed."""
    descriptor = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return descriptor


def carry(outside: int, inside: Mapping[int | None, int]) -> None:
    """Carry frames from the tap to the card of their VLAN, and from the cards to the tap, for ever."""
    vlans = {descriptor: number for number, descriptor in inside.items()}
    while True:
        for ready in select.select([outside, *vlans], [], [])[0]:
            frame = os.read(ready, LARGEST_FRAME)
            if ready != outside:
                os.write(outside, tagged(frame, vlans[ready]))
                continue
            number, frame = untagged(frame)
            if number in inside:
                os.write(inside[number], frame)


def tagged(frame: bytes, number: int | None) -> bytes:
    """Return ``frame`` with the tag of a VLAN after its two addresses."""
    return frame if number is None else frame[:12] + struct.pack("!HH", TPID, number) + frame[12:]


def untagged(frame: bytes) -> tuple[int | None, bytes]:
    """Return the VLAN of a frame, and the frame without its tag."""
    kind, control = struct.unpack_from("!HH", frame, 12)
    return (control & 0xFFF, frame[:12] + frame[16:]) if kind == TPID else (None, frame)


def _node(device: str) -> str:
    """Return the character device of a tap: a macvtap has its own."""
    home = Path("/sys/class/net", device)
    is_macvtap = (home / "macvtap").exists()
    return f"/dev/tap{(home / 'ifindex').read_text().strip()}" if is_macvtap else "/dev/net/tun"


def _card(name: str, mac: str, address: str) -> int:
    """Make a network card of the guest, up, with its address, and return the tap that stands for its wire."""
    descriptor = opened("/dev/net/tun", name)
    commands = f"link set dev {name} address {mac} up\naddress add {address} dev {name}\n"
    subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)
    return descriptor


def _arguments(words: Sequence[str]) -> tuple[str, str, dict[str, str]]:
    device, mac, *pairs = words
    return device, mac, dict(pair.split("=", 1) for pair in pairs)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # the parent process has ended already
        main(*_arguments(sys.argv[1:]))
