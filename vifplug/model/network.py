"""A named network: the meaning of a guest's ``<source network='...'/>`` on this host.

The rules are those of libvirt's network driver (9.0 and 11.3: virNetworkDefParseXML, networkValidate), with the
exceptions listed in doc/networks.md.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from vifplug.errors import Problem
from vifplug.model.bandwidth import Bandwidth
from vifplug.model.codec import Model, described, joined, model
from vifplug.model.names import DeviceName, Mtu, PciAddress, Uuid, Word, between
from vifplug.model.nic import Port
from vifplug.model.virtualport import OPENVSWITCH, VirtualPort
from vifplug.model.vlan import Vlan

Mode = Literal["bridge", "private", "vepa", "passthrough", "hostdev"]

#: the fields for the connection of VIFs, and the ones that some modes require; other modes require devices or a pf
_PLACES = ("bridge", "devices", "addresses", "pf")
_NEEDED = {"bridge": "a bridge or devices", "hostdev": "addresses or a pf"}


def _network_name(text: str) -> str:
    if "/" in text:
        raise ValueError(f"expected a name without '/', got {described(text)}")
    return text


@model
class PoolMember(Model):
    """A device of a pool. Shorthand: its name."""

    #: name of the device
    dev: DeviceName
    #: number of VIFs that may share it; None: any number
    max: Annotated[int, between(1, 2**31 - 1)] | None = None

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        return {"dev": value} if isinstance(value, str) else None


@model
class PortGroup(Model):
    """A class of connection to a network. The other fields apply to each VIF of the portgroup."""

    name: Word
    #: for VIFs that name no portgroup; at most one portgroup is the default
    default: bool = False
    vlan: Vlan | None = None
    virtualport: VirtualPort | None = None
    bandwidth: Bandwidth | None = None
    trust_guest_rx_filters: bool | None = None


@model
class Network(Model):
    """The definition of a named network: a bridge, or a pool from which each VIF gets a device.

    One of ``bridge``, ``devices``, ``addresses`` and ``pf`` is required, unless ``mode`` is bridge and a virtualport of
    type openvswitch selects the integration bridge of the host.

    Raises:
        InvalidDocument: a field is invalid; the error has every problem, each with its path.
    """

    #: name of the network, without ``/``
    name: Annotated[Word, _network_name]
    uuid: Uuid | None = None
    #: libvirt's ``<forward mode=...>``: how VIFs are connected
    mode: Mode
    #: name of the Linux or Open vSwitch bridge
    bridge: DeviceName | None = None
    #: pool of network devices
    devices: tuple[PoolMember, ...] = ()
    #: pool of virtual functions, by PCI address; mode hostdev only
    addresses: tuple[PciAddress, ...] = ()
    #: network device of a physical function: the pool is all its virtual functions
    pf: DeviceName | None = None
    #: libvirt detaches the VF from its driver and reattaches it; mode hostdev only
    managed: bool = False
    #: driver that the VF gets in the meantime; mode hostdev only
    driver: Literal["vfio", "kvm", "xen"] | None = None
    #: VFIO variant driver (libvirt 10.0); mode hostdev only
    driver_model: Word | None = None
    #: default MTU of VIFs on a bridge, in bytes
    mtu: Mtu | None = None
    vlan: Vlan | None = None
    virtualport: VirtualPort | None = None
    port: Port | None = None
    trust_guest_rx_filters: bool | None = None
    portgroups: tuple[PortGroup, ...] = ()

    @property
    def form(self) -> Literal["bridge", "direct", "hostdev"]:
        """VIF type of the VIFs on the network."""
        if self.mode == "hostdev":
            return "hostdev"
        return "bridge" if self.mode == "bridge" and not self.pooled else "direct"

    @property
    def pooled(self) -> bool:
        """Whether each VIF gets a device of a pool, alone or shared."""
        return bool(self.devices or self.addresses or self.pf)

    @property
    def members(self) -> tuple[str, ...]:
        """The devices that the definition lists, in order. The devices of a ``pf`` are known to the host only."""
        return (*(member.dev for member in self.devices), *self.addresses)

    @property
    def limits(self) -> dict[str, int | None]:
        """Number of VIFs that may share each device of the pool; None: any number."""
        return {member.dev: member.max for member in self.devices}

    def portgroup(self, name: str | None) -> PortGroup | None:
        """Return the portgroup with this name, or the default one if ``name`` is None; None if it does not exist."""
        matching = (each for each in self.portgroups if (each.default if name is None else each.name == name))
        return next(matching, None)

    @classmethod
    def from_xml(cls, text: str | bytes) -> Network:
        """Return the network of a libvirt ``<network>`` element.

        Raises:
            InvalidDocument: the text is not XML, or the element has something that vifplug does not support.
        """
        from vifplug.networks import read

        return read.network(text)

    def rules(self) -> Iterator[Problem]:
        yield from self._pool_rules()
        yield from self._portgroup_rules()
        yield from self._port_rules()
        yield from self._other_rules()

    def _pool_rules(self) -> Iterator[Problem]:
        given = [name for name in _PLACES if getattr(self, name)]
        if len(given) > 1:
            message = f"expected one of {joined(_PLACES, 'and')}, got {joined(given, 'and')}"
            yield Problem(f"$.{given[1]}", message)
        elif not given and not self._on_default_bridge():
            yield Problem("$.mode", f"{self.mode} requires {_NEEDED.get(self.mode, 'devices or a pf')}")
        if self.bridge and self.mode != "bridge":
            yield Problem("$.bridge", f"requires mode bridge, got mode {self.mode}, which has devices")
        if self.devices and self.mode == "hostdev":
            yield Problem("$.devices", "expected PCI addresses or a pf for mode hostdev, got network devices")
        if self.addresses and self.mode != "hostdev":
            yield Problem("$.addresses", f"expected network devices for mode {self.mode}, got PCI addresses")
        yield from _repeated("devices", self.devices, lambda member: member.dev)
        yield from _repeated("addresses", self.addresses, lambda address: address)

    def _on_default_bridge(self) -> bool:
        """Return whether the network is on the integration bridge: it has an Open vSwitch virtualport and no bridge."""
        ports = (self.virtualport, *(group.virtualport for group in self.portgroups))
        return self.mode == "bridge" and any(port and port.type == OPENVSWITCH for port in ports)

    def _portgroup_rules(self) -> Iterator[Problem]:
        yield from _repeated("portgroups", self.portgroups, lambda group: group.name)
        defaults = [(index, group.name) for index, group in enumerate(self.portgroups) if group.default]
        if len(defaults) > 1:
            found = joined((name for _, name in defaults), "and")
            yield Problem(f"$.portgroups[{defaults[-1][0]}]", f"expected at most one default portgroup, got {found}")

    def _port_rules(self) -> Iterator[Problem]:
        """Yield what libvirt does not support on the network's ports (networkValidate), whatever a VIF adds."""
        from vifplug.guest import capabilities

        port = self.virtualport
        if port and port.type is None:
            yield Problem("$.virtualport.type", "is missing: only a portgroup or a VIF can take it from the network")
        elif message := capabilities.profile_problem(port, self.form, capabilities.NETWORK_PROFILES):
            yield Problem("$.virtualport.type", message)
        vlans = [("$", self.vlan), *((f"$.portgroups[{i}]", group.vlan) for i, group in enumerate(self.portgroups))]
        for path, vlan in vlans:
            if message := capabilities.network_vlan_problem(vlan, self.form, self.mode, port):
                yield Problem(f"{path}.vlan", message)
        for index, group in enumerate(self.portgroups):
            if capabilities.floor(group.bandwidth):
                yield Problem(f"$.portgroups[{index}].bandwidth.inbound.floor", capabilities.FLOOR)
            if group.bandwidth and self.form != "bridge":
                message = f"requires a network on a bridge, got mode {self.mode}"
                yield Problem(f"$.portgroups[{index}].bandwidth", message)

    def _other_rules(self) -> Iterator[Problem]:
        if self.mtu and self.form != "bridge":
            yield Problem(
                "$.mtu", f"requires a network on a bridge: in mode {self.mode}, the MTU is that of the device"
            )
        for name in ("managed", "driver", "driver_model"):
            if getattr(self, name) and self.mode != "hostdev":
                yield Problem(f"$.{name}", f"requires mode hostdev, got mode {self.mode}")


def _repeated(field: str, values: Iterable[Any], key: Callable[[Any], Hashable]) -> Iterator[Problem]:
    seen: set[Hashable] = set()
    for index, value in enumerate(values):
        if key(value) in seen:
            yield Problem(f"$.{field}[{index}]", f"{key(value)} is repeated (expected each of the {field} once)")
        seen.add(key(value))
