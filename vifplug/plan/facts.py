"""The queries of a VIF type to the host: a read-only view; in a test, a plain object can replace it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from vifplug.model.vlan import Vlan
from vifplug.plan.condition import Uplink


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
    #: its representor, the netdev in the NIC's switch; None if it has none, as on a NIC in legacy mode
    representor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDeviceFacts:
    """A device of a pool on this host."""

    #: the own name of a network device, or the PCI address of a virtual function
    name: str
    #: its names in `vifplug.plan.registry.Resource.claims`
    names: tuple[str, ...] = ()
    #: why no VIF can use it; empty if VIFs can
    problem: str = ""
    #: how many VIFs may share it; None: any number
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePortFacts:
    """A port of a bridge."""

    name: str
    #: only of a port on Open vSwitch
    vlan: Vlan | None = None
    #: the id of the VIF that it is marked for; None if it has no mark; None if it has no mark
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeFacts:
    """A bridge with its ports."""

    name: str
    openvswitch: bool
    #: whether it passes frames: one of Linux that is down does not
    up: bool = True
    #: bytes: the smallest MTU of the ports that belong to no guest; None if there are none
    mtu: int | None = None
    #: whether it keeps the VLANs of its ports apart, as Open vSwitch always does
    filters_vlans: bool = True
    ports: tuple[BridgePortFacts, ...] = ()
    #: Open vSwitch's VLAN bridges on it (``ovs-vsctl add-br NAME PARENT VLAN``)
    vlan_bridges: tuple[str, ...] = ()
    #: what leads out of it, and on Open vSwitch out of the bridges behind its patches
    uplinks: tuple[Uplink, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which a VIF can be on this bridge."""
        return (self.name, *self.vlan_bridges)


class Facts(Protocol):
    """The queries of types to the host. Each call queries again."""

    def virtual_function(self, address: str) -> VirtualFunctionFacts:
        """Return the VF at a PCI address.

        Raises:
            Missing: the VF does not exist on this host.
        """
        ...

    def physical_function(self, address: str) -> tuple[str, int]:
        """Return the PCI address of a VF's physical function, and the VF's number there. Needs no netdev.

        Raises:
            Missing: the VF does not exist on this host.
        """
        ...

    def function_of(self, device: str) -> str | None:
        """Return the PCI address of a netdev that is a VF; None if it is not a VF or does not exist."""
        ...

    def look(self, name: str, key: str) -> Any:
        """Return the result of a plugin's look-up (entry points ``vifplug.facts``).

        Args:
            name: the name of the look-up.
            key: its argument.

        Raises:
            Missing: it finds nothing, or no package has a look-up of this name.
            BrokenPlugin: it cannot be loaded, or failed.
        """
        ...
