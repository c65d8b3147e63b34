"""A router advertisement (RFC 4861 section 4.2) as a guest can send it, and whether it configures the host."""

from __future__ import annotations

import os
import socket
import struct
import time

from tests.support.guest import opened
from vifplug.testing.host import PrivateHost

PREFIX = "2001:db8:bad::"
_SOURCE, _ALL_NODES = "fe80::bad", "ff02::1"
_SECONDS = 3


def frame(mac: str) -> bytes:
    """An Ethernet frame that offers a default route and a prefix for addresses."""
    prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 3600, 3600, 0, socket.inet_pton(socket.AF_INET6, PREFIX))
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix
    source, target = (socket.inet_pton(socket.AF_INET6, each) for each in (_SOURCE, _ALL_NODES))
    pseudo = source + target + struct.pack("!II", len(body), socket.IPPROTO_ICMPV6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), socket.IPPROTO_ICMPV6, 255)
    ethernet = bytes.fromhex("333300000001") + bytes.fromhex(mac.replace(":", "")) + b"\x86\xdd"
    return ethernet + header + source + target + body


def configures(host: PrivateHost, tap: str, mac: str, device: str) -> bool:
    """Send the advertisement into a tap, and return whether ``device`` of the host has an address from it."""
    descriptor = opened(tap)
    try:
        for _ in range(_SECONDS * 10):
            os.write(descriptor, frame(mac))
            time.sleep(0.1)
            if PREFIX[:-1] in host.ip("-6", "address", "show", "dev", device):
                return True
        return False
    finally:
        os.close(descriptor)


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
