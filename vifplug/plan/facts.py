"""What a VIF type may know of the host: a read-only view, small enough to be a plain object in a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from vifplug.model.vlan import Vlan


@dataclass(frozen=True, kw_only=True)
class VirtualFunctionFacts:
    """A virtual function (VF) of an SR-IOV NIC."""

    #: its PCI address, such as ``0000:81:02.3``
    address: str
    #: the netdev of its physical function
    pf: str
    #: its number at the physical function
    number: int
    #: its own netdev; None while it is bound to vfio-pci
    device: str | None = None
    #: the netdev that stands for it in the embedded switch; None if it has none, as on a NIC in legacy mode
    representor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDeviceFacts:
    """A device of a pool as this host has it."""

    #: the own name of a network device, or the PCI address of a virtual function
    name: str
    #: the names under which a VIF may have it (`vifplug.plan.registry.Resource.claims`)
    names: tuple[str, ...] = ()
    #: why no VIF can use it; empty if one can
    problem: str = ""
    #: how many VIFs may share it; None: any number
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePortFacts:
    """A port of a bridge."""

    name: str
    #: of a port on Open vSwitch; those of a Linux bridge's port are not read
    vlan: Vlan | None = None
    #: the id of the VIF that it is marked for
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeFacts:
    """A bridge with its ports."""

    name: str
    openvswitch: bool
    #: bytes: the smallest MTU of the ports that are no guest's; None if there is no such port
    mtu: int | None = None
    #: whether it keeps the VLANs of its ports apart, as Open vSwitch always does
    filters_vlans: bool = True
    ports: tuple[BridgePortFacts, ...] = ()


class Facts(Protocol):
    """The queries of types to the host. Each call looks up its answer."""

    def virtual_function(self, address: str) -> VirtualFunctionFacts:
        """The VF at a PCI address. Raises Missing when there is no such VF here."""
        ...

    def physical_function(self, address: str) -> tuple[str, int]:
        """The PCI address of the physical function that a VF belongs to, and the VF's number there; nothing of netdevs.

        Raises Missing when there is no such VF here.
        """
        ...

    def function_of(self, device: str) -> str | None:
        """The PCI address of the VF that a netdev is; None when the device is no VF (or is not there)."""
        ...

    def look(self, name: str, key: str) -> Any:
        """What the look-up ``name`` finds under ``key``: one that a plugin brings (entry points ``vifplug.facts``).

        Raises Missing when it finds nothing, or no package has such a look-up; BrokenPlugin when one cannot be used.
        """
        ...
