"""Where a VIF is connected: one record for each VIF type's ``source``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from vifplug.errors import Problem
from vifplug.model.codec import Model
from vifplug.model.names import DeviceName, Mac, Mtu, PciAddress, SocketPath, Word, between
from vifplug.model.vlan import VlanId

#: Bridge.datapath_type (ovs-vswitchd.conf.db(5)) of a bridge that is made here; one that exists is never altered
Datapath = Literal["system", "netdev"]


@dataclass(frozen=True, kw_only=True)
class BridgeSource(Model):
    """A Linux bridge, or an Open vSwitch one where the VIF's virtualport says so.

    ``hybrid``: the guest's tap goes on a Linux bridge of its own, which a veth joins to the Open vSwitch bridge, so
    that libvirt's nwfilter (``filterref``) has something to filter on; ``hybrid_bridge`` is its name, qbr and the first
    11 characters of the VIF's id where it is not given. ``ensure``: a Linux bridge is made where there
    is none. On Open vSwitch: ``port_owner`` is who makes the port, by default who makes the tap; a port of vifplug's
    can wait for a tap of libvirt's. ``isolate``: a new port is in no VLAN until a network agent gives it one.
    ``per_port_bridge``: the tap goes on a bridge of its own, which a patch joins to ``bridge``. Those that are None
    are as the configuration says. ``given``: the VIF's target is no tap but a device that is there (a SmartNIC's
    representor), which is neither made nor removed. ``adopted``: libvirt has made tap
    and port for a guest that runs. ``host_mac``: the MAC of the host's end of a tap of vifplug's, as `EthernetSource`
    has it; a Linux bridge would take it for its own.
    """

    bridge: DeviceName
    hybrid: bool = False
    hybrid_bridge: DeviceName | None = None
    ensure: bool = False
    port_owner: Literal["vifplug", "libvirt"] | None = None
    datapath_type: Datapath | None = None
    isolate: bool | None = None
    per_port_bridge: bool | None = None
    given: bool = False
    adopted: bool = False
    host_mac: Mac | None = None

    def rules(self) -> Iterator[Problem]:
        if self.hybrid_bridge and not self.hybrid:
            yield Problem("$.hybrid_bridge", "needs hybrid: no other form has a bridge between tap and switch")


@dataclass(frozen=True, kw_only=True)
class EthernetSource(Model):
    """A tap that is connected in a manner that vifplug need not know.

    ``host_mac``: the MAC of the host's end, where the guest is to know it as its gateway's; by default it follows from
    the guest's.
    """

    host_mac: Mac | None = None


@dataclass(frozen=True, kw_only=True)
class Reconnect(Model):
    """Whether QEMU, as the client, connects again when the server goes away; ``timeout``, in seconds, says when."""

    enabled: bool
    timeout: Annotated[int, between(1, 2**32 - 1, "seconds")] | None = None

    def normal(self) -> Mapping[str, Any]:
        return {} if self.enabled else {"timeout": None}

    def rules(self) -> Iterator[Problem]:
        if self.enabled and self.timeout is None:
            yield Problem("$.timeout", "is missing; expected the seconds between two attempts")


def _without_bridge(source: Model, names: Iterable[str]) -> Iterator[Problem]:
    """What is about the Open vSwitch bridge has no meaning without one."""
    for name in names:
        if getattr(source, name) is not None and getattr(source, "bridge", None) is None:
            yield Problem(f"$.{name}", "needs bridge: without it there is no switch to tell")


@dataclass(frozen=True, kw_only=True)
class VhostUserSource(Model):
    """A vhost-user socket. ``mode`` is QEMU's role: as the server it makes the socket.

    ``bridge``: the Open vSwitch bridge whose DPDK datapath is at the other end. ``port_mtu``, in bytes, is for the port
    there; unlike the VIF's ``mtu`` it is not told to the guest. ``adopted``: socket and port are
    there, made by others, for a guest that runs.
    """

    path: SocketPath
    mode: Literal["client", "server"]
    reconnect: Reconnect | None = None
    bridge: DeviceName | None = None
    datapath_type: Datapath | None = None
    port_mtu: Mtu | None = None
    adopted: bool = False

    def rules(self) -> Iterator[Problem]:
        if self.reconnect and self.reconnect.enabled and self.mode == "server":
            yield Problem("$.reconnect", "is for mode client only: the server waits, it does not connect")
        yield from _without_bridge(self, ("datapath_type", "port_mtu"))


@dataclass(frozen=True, kw_only=True)
class HostDeviceSource(Model):
    """An SR-IOV VF by its PCI address. ``managed``: libvirt takes it from its driver and gives it back.

    ``bridge``: the Open vSwitch bridge that the VF's representor is plugged into; with ``datapath_type`` netdev as a
    port of DPDK's own, of ``port_mtu`` bytes, and no device of the kernel's. ``remote``: the switch, and who configures
    it, is on the card (a SmartNIC, a DPU): nothing is set from this host. ``whole``: any PCI function, given
    as it is, such as a physical function or an InfiniBand one: libvirt's ``<hostdev>``, not its ``<interface>``.
    """

    address: PciAddress
    managed: bool = True
    bridge: DeviceName | None = None
    datapath_type: Datapath | None = None
    port_mtu: Mtu | None = None
    remote: bool = False
    whole: bool = False

    def rules(self) -> Iterator[Problem]:
        for name in ("remote", "whole"):
            if getattr(self, name) and self.bridge:
                yield Problem("$.bridge", f"can't be beside {name}: there is no representor to plug on this host")
        yield from _without_bridge(self, ("datapath_type", "port_mtu"))
        if self.port_mtu and self.bridge and not self.polled:
            yield Problem("$.port_mtu", "needs datapath_type netdev: a kernel device has its MTU already")

    @property
    def polled(self) -> bool:
        """Whether the representor is a port of DPDK's."""
        return self.bridge is not None and self.datapath_type == "netdev"


@dataclass(frozen=True, kw_only=True)
class VlanDevice(Model):
    """A VLAN device of the host (8021q): VLAN ``vlan`` on the device ``physical``. Made where there is none."""

    physical: DeviceName
    vlan: VlanId


@dataclass(frozen=True, kw_only=True)
class DirectSource(Model):
    """A macvtap on the device ``dev``, or on the device of the VF at the PCI address ``address``.

    ``vlan_device``: ``dev`` is this VLAN device.
    """

    dev: DeviceName | None = None
    mode: Literal["vepa", "bridge", "private", "passthrough"] = "vepa"  # libvirt's default
    address: PciAddress | None = None
    vlan_device: VlanDevice | None = None

    def rules(self) -> Iterator[Problem]:
        if (self.dev is None) == (self.address is None):
            found = "both" if self.dev else "neither"
            yield Problem("$.dev", f"expected a device, or a virtual function's address instead, got {found}")
        elif self.vlan_device and self.dev is None:
            yield Problem("$.vlan_device", "needs dev, the name of the VLAN device")


@dataclass(frozen=True, kw_only=True)
class NetworkSource(Model):
    """A named network; what that is, each host decides."""

    network: Word
    portgroup: Word | None = None


SOURCES: dict[str, type[Model]] = {
    "bridge": BridgeSource,
    "ethernet": EthernetSource,
    "vhostuser": VhostUserSource,
    "hostdev": HostDeviceSource,
    "direct": DirectSource,
    "network": NetworkSource,
}
