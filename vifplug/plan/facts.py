"""What a VIF type may know of the host: a read-only view, small enough to be a plain object in a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from vifplug.model.vlan import Vlan


@dataclass(frozen=True, kw_only=True)
class VirtualFunctionFacts:
    """Where a VF hangs: ``pf`` is the netdev of its physical function, ``number`` its index there.

    ``device`` is the VF's own netdev (None when it is bound to vfio-pci), ``representor`` the netdev that stands for
    it in the embedded switch (None where there is none: a NIC in legacy mode).
    """

    address: str
    pf: str
    number: int
    device: str | None = None
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
    """A port of a bridge. ``owner`` is the id of the VIF that it is marked for; ``vlan`` is Open vSwitch's only."""

    name: str
    vlan: Vlan | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeFacts:
    """A bridge. ``mtu``, in bytes, is the smallest of its ports that are no guest's; None where there is none.

    ``filters_vlans``: whether it keeps the VLANs of its ports apart, as Open vSwitch always does.
    """

    name: str
    openvswitch: bool
    mtu: int | None = None
    filters_vlans: bool = True
    ports: tuple[BridgePortFacts, ...] = ()


class Facts(Protocol):
    """The questions that the types ask. Answers are looked up when asked, not before."""

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

        Raises Missing when it finds nothing, or no package has such a look-up; BrokenPlugin when one can't be used.
        """
        ...
