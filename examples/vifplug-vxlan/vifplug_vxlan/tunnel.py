"""What a VXLAN segment needs on a host, as a resource. It is data: nothing is done here."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from vifplug.model.names import DeviceName, between
from vifplug.plan.registry import Device, Ownership, Resource


def parse_address(text: str) -> str:
    """An IP address in its normal form."""
    address = ipaddress.ip_address(text)
    if address.is_unspecified or "%" in text:
        raise ValueError(f"expected an address of one host or group, got {text!r}")
    return str(address)


Address = Annotated[str, parse_address]
Vni = Annotated[int, between(1, 2**24 - 1)]
UdpPort = Annotated[int, between(1, 2**16 - 1)]


@dataclass(frozen=True, kw_only=True)
class Tunnel(Device):
    """A VXLAN device and the Linux bridge that it is on. All VIFs of one VNI on a host share the two.

    ``remote`` is the other host, or a multicast group of all hosts; ``local`` the address to send from, ``lower`` the
    device to send through, ``port`` the UDP port. ``bridged``: the VXLAN device is on its bridge.
    """

    kind = "vxlan"
    ownership = Ownership.SHARED
    vni: Vni
    remote: Address
    local: Address | None = None
    lower: DeviceName | None = None
    port: UdpPort = 4789
    bridged: bool = True

    @property
    def bridge(self) -> str:
        """The name of the bridge."""
        return f"vxbr{self.vni}"

    @property
    def links(self) -> tuple[str, ...]:
        return (self.name, self.bridge)

    @property
    def remove_when_unused(self) -> bool:
        return True

    def refusal(self, found: Resource) -> str:
        """One VIF must not lead the others of its VNI elsewhere."""
        for name in ("vni", "remote", "local", "lower", "port"):
            want, have = getattr(self, name), getattr(found, name)
            if want is not None and want != have:
                return (
                    f"{self} has {name} {have}, and a VIF wants {want}: all VIFs of VNI {self.vni} on this host share "
                    "it; correct the VIF, or unplug the others first"
                )
        return ""
