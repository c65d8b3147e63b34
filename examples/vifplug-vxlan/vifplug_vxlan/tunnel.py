"""The state of the host that a VXLAN segment requires, as a resource. This module is data only."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from vifplug.model.names import DeviceName, between
from vifplug.plan.registry import Device, Ownership, Resource


def parse_address(text: str) -> str:
    """Return an IP address in its normal form."""
    address = ipaddress.ip_address(text)
    if address.is_unspecified or "%" in text:
        raise ValueError(f"expected an address of one host or group, got {text!r}")
    return str(address)


Address = Annotated[str, parse_address]
Vni = Annotated[int, between(1, 2**24 - 1)]
UdpPort = Annotated[int, between(1, 2**16 - 1)]


@dataclass(frozen=True, kw_only=True)
class Tunnel(Device):
    """A VXLAN device and the Linux bridge that it is on. All VIFs of a VNI on a host share both."""

    kind = "vxlan"
    ownership = Ownership.SHARED
    #: VXLAN network identifier
    vni: Vni
    #: address of the other host, or multicast group of all hosts
    remote: Address
    #: address to send from
    local: Address | None = None
    #: device to send through
    lower: DeviceName | None = None
    #: UDP port
    port: UdpPort = 4789
    #: the VXLAN device is on its bridge
    bridged: bool = True

    @property
    def bridge(self) -> str:
        """Name of the bridge."""
        return f"vxbr{self.vni}"

    @property
    def links(self) -> tuple[str, ...]:
        return (self.name, self.bridge)

    @property
    def remove_when_unused(self) -> bool:
        return True

    def refusal(self, found: Resource) -> str:
        """Refuse to change a tunnel that other VIFs of the VNI use."""
        for name in ("vni", "remote", "local", "lower", "port"):
            requested, actual = getattr(self, name), getattr(found, name)
            if requested is not None and requested != actual:
                return (
                    f"{self} has {name} {actual}, and the VIF requests {requested}: all VIFs of VNI {self.vni} on this "
                    "host share it; correct the VIF, or unplug the others first"
                )
        return ""
