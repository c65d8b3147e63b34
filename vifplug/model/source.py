"""Where a VIF is connected: the model of ``source`` for each VIF type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from vifplug.errors import Problem
from vifplug.model.codec import Model, model
from vifplug.model.names import DeviceName, Mac, Mtu, PciAddress, SocketPath, Word, between
from vifplug.model.vlan import VlanId

#: Bridge.datapath_type (ovs-vswitchd.conf.db(5)) of a bridge that vifplug creates. An existing bridge keeps its own.
Datapath = Literal["system", "netdev"]


@model
class BridgeSource(Model):
    """A port on a Linux bridge, or on an Open vSwitch bridge if the type of the VIF's virtualport is openvswitch."""

    #: name of the bridge
    bridge: DeviceName
    #: Put the tap on a Linux bridge of its own and connect that bridge to the Open vSwitch bridge by a veth pair.
    #: libvirt's nwfilter (``filterref``) filters on that Linux bridge.
    hybrid: bool = False
    #: name of the Linux bridge of a ``hybrid`` VIF; None: ``qbr`` + the first 11 characters of the VIF's id (as nova)
    hybrid_bridge: DeviceName | None = None
    #: Create the bridge if it does not exist; False: an Open vSwitch bridge is created if so configured.
    ensure: bool = False
    #: who creates the Open vSwitch port; None: whoever creates the tap. vifplug can create a port before libvirt's tap.
    port_owner: Literal["vifplug", "libvirt"] | None = None
    #: datapath of the Open vSwitch bridge if vifplug creates it; None: as configured
    datapath_type: Datapath | None = None
    #: Create the Open vSwitch port in the dead VLAN (4095), until a network agent sets its tag; None: as configured.
    isolate: bool | None = None
    #: Put the tap on an Open vSwitch bridge of its own, which a patch port connects to ``bridge``; None: as configured.
    per_port_bridge: bool | None = None
    #: The VIF's target is an existing device, such as a SmartNIC's representor: vifplug neither creates nor removes it.
    given: bool = False
    #: libvirt has created the tap and the port for a running guest, and `VIFDriver.adopt` recorded them.
    adopted: bool = False
    #: MAC of the host's end of a tap that vifplug creates, as in `EthernetSource`. Open vSwitch only: a Linux bridge
    #: would take it as its own.
    host_mac: Mac | None = None

    def rules(self) -> Iterator[Problem]:
        if self.hybrid_bridge and not self.hybrid:
            yield Problem("$.hybrid_bridge", 'requires "hybrid": only a hybrid VIF has a bridge between tap and switch')


@model
class EthernetSource(Model):
    """A tap that another program connects to the network."""

    #: MAC of the host's end, for a guest that uses it as the MAC of its gateway; None: derived from the guest's MAC
    #: (`vifplug.model.names.host_mac`)
    host_mac: Mac | None = None


@model
class Reconnect(Model):
    """Whether QEMU, as the client, reconnects after the server has closed the connection."""

    enabled: bool
    #: seconds between two attempts; required if ``enabled``, and dropped otherwise
    timeout: Annotated[int, between(1, 2**32 - 1, "seconds")] | None = None

    def normal(self) -> Mapping[str, Any]:
        return {} if self.enabled else {"timeout": None}

    def rules(self) -> Iterator[Problem]:
        if self.enabled and self.timeout is None:
            yield Problem("$.timeout", "is missing: expected the seconds between two attempts")


def _without_bridge(source: Model, names: Iterable[str]) -> Iterator[Problem]:
    """Yield a problem for each field that is set and has no meaning without an Open vSwitch bridge."""
    for name in names:
        if getattr(source, name) and getattr(source, "bridge", None) is None:
            yield Problem(f"$.{name}", 'requires "bridge": it is a setting of the Open vSwitch port')


@model
class VhostUserSource(Model):
    """A vhost-user socket, and optionally the DPDK port of Open vSwitch at its other end."""

    #: absolute path of the socket
    path: SocketPath
    #: role of QEMU: the server creates the socket, the client connects to it
    mode: Literal["client", "server"]
    #: for ``mode`` client only
    reconnect: Reconnect | None = None
    #: Open vSwitch bridge of the port; None: another program has the other end of the socket
    bridge: DeviceName | None = None
    #: Create ``bridge`` if it does not exist; False: as configured.
    ensure: bool = False
    #: datapath of ``bridge`` if vifplug creates it; None: as configured
    datapath_type: Datapath | None = None
    #: MTU of the port, in bytes; unlike the VIF's ``mtu`` it is not announced to the guest
    port_mtu: Mtu | None = None
    #: The socket and the port of a running guest exist, and `VIFDriver.adopt` recorded them.
    adopted: bool = False

    def rules(self) -> Iterator[Problem]:
        if self.reconnect and self.reconnect.enabled and self.mode == "server":
            yield Problem("$.reconnect", 'requires "mode": "client": a server waits for connections and makes none')
        yield from _without_bridge(self, ("ensure", "datapath_type", "port_mtu"))


@model
class HostDeviceSource(Model):
    """An SR-IOV virtual function (VF), or with ``whole`` any PCI function, that the guest gets."""

    #: PCI address of the function
    address: PciAddress
    #: libvirt detaches the function from its driver when the guest starts, and reattaches it when the guest stops.
    managed: bool = True
    #: Open vSwitch bridge that the VF's representor is plugged into; None: no representor is plugged
    bridge: DeviceName | None = None
    #: Create ``bridge`` if it does not exist; False: as configured.
    ensure: bool = False
    #: ``netdev``: the representor is a DPDK port, and the kernel has no device for it
    datapath_type: Datapath | None = None
    #: MTU of a DPDK port, in bytes; for ``datapath_type`` netdev only
    port_mtu: Mtu | None = None
    #: The switch and its agent are on the card (a SmartNIC or DPU): nothing is set from this host.
    remote: bool = False
    #: The guest gets the function as it is, as libvirt's ``<hostdev>`` and not as its ``<interface>``. For physical
    #: functions and InfiniBand.
    whole: bool = False

    def rules(self) -> Iterator[Problem]:
        for name in ("remote", "whole"):
            if getattr(self, name) and self.bridge:
                yield Problem("$.bridge", f'cannot be combined with "{name}": this host has no representor to plug')
        yield from _without_bridge(self, ("ensure", "datapath_type", "port_mtu"))
        if self.port_mtu and self.bridge and not self.polled:
            yield Problem("$.port_mtu", 'requires "datapath_type": "netdev": a kernel device has an MTU of its own')

    @property
    def polled(self) -> bool:
        """Whether the representor is a DPDK port."""
        return self.bridge is not None and self.datapath_type == "netdev"


@model
class VlanDevice(Model):
    """An 8021q device of the host. It is created if it does not exist."""

    #: device that the VLAN is on
    physical: DeviceName
    vlan: VlanId


@model
class DirectSource(Model):
    """A macvtap on a network device. Either ``dev`` or ``address`` is required."""

    #: name of the device
    dev: DeviceName | None = None
    mode: Literal["vepa", "bridge", "private", "passthrough"] = "vepa"  # libvirt's default
    #: PCI address of the VF whose device is used
    address: PciAddress | None = None
    #: ``dev`` is this VLAN device
    vlan_device: VlanDevice | None = None

    def rules(self) -> Iterator[Problem]:
        if (self.dev is None) == (self.address is None):
            found = "both" if self.dev else "neither"
            yield Problem("$.dev", f"expected either a device or the address of a virtual function, got {found}")
        elif self.vlan_device and self.dev is None:
            yield Problem("$.vlan_device", 'requires "dev": the name of the VLAN device')


@model
class NetworkSource(Model):
    """A named network, which each host defines for itself."""

    network: Word
    #: None: the default portgroup of the network, if it has one
    portgroup: Word | None = None


SOURCES: dict[str, type[Model]] = {
    "bridge": BridgeSource,
    "ethernet": EthernetSource,
    "vhostuser": VhostUserSource,
    "hostdev": HostDeviceSource,
    "direct": DirectSource,
    "network": NetworkSource,
}
