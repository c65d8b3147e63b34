"""A named network: what a guest's ``<source network='...'/>`` means on this host.

The rules are those of libvirt's network driver when it defines a network (9.0 and 11.3: virNetworkDefParseXML,
networkValidate), and what doc/networks.md lists as different.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from vifplug.errors import Problem
from vifplug.model.bandwidth import Bandwidth
from vifplug.model.codec import Model, joined
from vifplug.model.names import DeviceName, Mtu, PciAddress, Uuid, Word, between
from vifplug.model.nic import Port
from vifplug.model.virtualport import OPENVSWITCH, QBG, QBH, VirtualPort
from vifplug.model.vlan import Vlan

Mode = Literal["bridge", "private", "vepa", "passthrough", "hostdev"]

#: the types of virtualport that each form of a network takes (libvirt: networkAllocatePort, virhostdev.c)
PROFILES: dict[str, tuple[str, ...]] = {"bridge": (OPENVSWITCH,), "direct": (QBG, QBH), "hostdev": (QBH,)}
#: the fields that say where VIFs are connected, and which of them some modes need; the others: devices or a pf
_PLACES = ("bridge", "devices", "addresses", "pf")
_NEEDED = {"bridge": "a bridge or devices", "hostdev": "addresses or a pf"}
#: what a port of each form is, in words
FORMS = {"bridge": "a bridge", "direct": "macvtap devices", "hostdev": "virtual functions"}


def _network_name(text: str) -> str:
    if "/" in text:
        raise ValueError(f"expected a name without '/', got {text!r}")
    return text


@dataclass(frozen=True, kw_only=True)
class PoolMember(Model):
    """A device of a pool; at most ``max`` VIFs share it (None: any number). Written short: its name."""

    dev: DeviceName
    max: Annotated[int, between(1, 2**31 - 1)] | None = None

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        return {"dev": value} if isinstance(value, str) else None


@dataclass(frozen=True, kw_only=True)
class PortGroup(Model):
    """A class of connection to a network; the ``default`` one is for VIFs that name none."""

    name: Word
    default: bool = False
    vlan: Vlan | None = None
    virtualport: VirtualPort | None = None
    bandwidth: Bandwidth | None = None
    trust_guest_rx_filters: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Network(Model):
    """A network of ``mode``: a ``bridge``, or a pool that each VIF gets a device of.

    The pool is ``devices`` or, in mode hostdev, PCI ``addresses``; or else all virtual functions of ``pf``.
    ``managed`` and ``driver`` are for hostdev: libvirt takes the VF from its driver, and which one it gets instead.
    ``mtu`` (bytes) is for VIFs on a bridge that say none themselves.
    """

    name: Annotated[Word, _network_name]
    uuid: Uuid | None = None
    mode: Mode
    bridge: DeviceName | None = None
    devices: tuple[PoolMember, ...] = ()
    addresses: tuple[PciAddress, ...] = ()
    pf: DeviceName | None = None
    managed: bool = False
    driver: Literal["vfio", "kvm", "xen"] | None = None
    mtu: Mtu | None = None
    vlan: Vlan | None = None
    virtualport: VirtualPort | None = None
    port: Port | None = None
    trust_guest_rx_filters: bool | None = None
    portgroups: tuple[PortGroup, ...] = ()

    @property
    def form(self) -> Literal["bridge", "direct", "hostdev"]:
        """The type of the VIFs on it."""
        if self.mode == "hostdev":
            return "hostdev"
        return "bridge" if self.mode == "bridge" and not self.pooled else "direct"

    @property
    def pooled(self) -> bool:
        """Whether its VIFs get a device each, or a share of one."""
        return bool(self.devices or self.addresses or self.pf)

    @property
    def members(self) -> tuple[str, ...]:
        """The devices of its pool that it names, in order; those of a ``pf`` the host knows."""
        return (*(member.dev for member in self.devices), *self.addresses)

    @property
    def limits(self) -> dict[str, int | None]:
        """How many VIFs may share each device of the pool; None for any number."""
        return {member.dev: member.max for member in self.devices}

    def portgroup(self, name: str | None) -> PortGroup | None:
        """The portgroup of that name, or without a name the default one; None where there is no such."""
        wanted = (each for each in self.portgroups if (each.default if name is None else each.name == name))
        return next(wanted, None)

    @classmethod
    def from_xml(cls, text: str | bytes) -> Network:
        """The network of a libvirt ``<network>`` element; see `vifplug.networks.read`."""
        from vifplug.networks import read

        return read.network(text)

    def rules(self) -> Iterator[Problem]:
        yield from self._pool_rules()
        yield from self._portgroup_rules()
        yield from self._virtualport_rules()
        yield from self._vlan_rules()
        yield from self._other_rules()

    def _pool_rules(self) -> Iterator[Problem]:
        given = [name for name in _PLACES if getattr(self, name)]
        if len(given) > 1:
            found = joined(given, "and")
            yield Problem(f"$.{given[1]}", f"expected one of {joined(_PLACES, 'and')}, got {found}")
        elif not given and not self._on_default_bridge():
            yield Problem("$.mode", f"{self.mode} needs {_NEEDED.get(self.mode, 'devices or a pf')}")
        if self.bridge and self.mode != "bridge":
            yield Problem("$.bridge", f"is for mode bridge only: mode {self.mode} has devices, got {self.bridge}")
        if self.devices and self.mode == "hostdev":
            yield Problem("$.devices", "mode hostdev wants PCI addresses or a pf, got network devices")
        if self.addresses and self.mode != "hostdev":
            yield Problem("$.addresses", f"mode {self.mode} wants network devices, got PCI addresses")
        yield from _repeated("devices", self.devices, lambda member: member.dev)
        yield from _repeated("addresses", self.addresses, lambda address: address)

    def _on_default_bridge(self) -> bool:
        """Whether it is on the host's own Open vSwitch bridge: it names a kind of switch and no bridge."""
        ports = (self.virtualport, *(group.virtualport for group in self.portgroups))
        return self.mode == "bridge" and any(port and port.type == OPENVSWITCH for port in ports)

    def _portgroup_rules(self) -> Iterator[Problem]:
        yield from _repeated("portgroups", self.portgroups, lambda group: group.name)
        defaults = [(index, group.name) for index, group in enumerate(self.portgroups) if group.default]
        if len(defaults) > 1:
            found = joined((name for _, name in defaults), "and")
            yield Problem(f"$.portgroups[{defaults[-1][0]}]", f"expected at most one default portgroup, got {found}")
        for index, group in enumerate(self.portgroups):
            if group.bandwidth and (message := floor_problem(group.bandwidth)):
                yield Problem(f"$.portgroups[{index}].bandwidth.inbound.floor", message)
            if group.bandwidth and self.form != "bridge":
                yield Problem(f"$.portgroups[{index}].bandwidth", f"is for networks on a bridge, got mode {self.mode}")

    def _virtualport_rules(self) -> Iterator[Problem]:
        if self.virtualport and self.virtualport.type is None:
            yield Problem("$.virtualport.type", "is missing; only a portgroup or a VIF may leave it to the network")
        elif self.virtualport and (message := self.profile_problem(self.virtualport.type)):
            yield Problem("$.virtualport.type", message)

    def profile_problem(self, profile: str | None) -> str:
        """Why a virtualport of type ``profile`` can't be on this network; empty where it can."""
        wanted = PROFILES[self.form]
        if profile is None or profile in wanted:
            return ""
        return f"expected {joined(wanted)}: the network is of {FORMS[self.form]}, got {profile}"

    def _vlan_rules(self) -> Iterator[Problem]:
        """libvirt, too, refuses them here, but for a network it finds not to be Open vSwitch's (networkValidate)."""
        places = [("$", self.vlan), *((f"$.portgroups[{i}]", group.vlan) for i, group in enumerate(self.portgroups))]
        for path, vlan in places:
            if message := self.vlan_problem(vlan):
                yield Problem(f"{path}.vlan", message)
            elif vlan and self.form == "hostdev" and self.virtualport:
                yield Problem(f"{path}.vlan", "can't be set beside a virtualport: the port profile has the VLAN")

    def vlan_problem(self, vlan: Vlan | None) -> str:
        """Why a port of this network can't have ``vlan``; empty where it can."""
        if vlan is None or self.form == "bridge":
            return ""
        if self.form == "direct" and self.mode != "passthrough":
            return (
                f"can't be honoured in mode {self.mode}, which shares the device; use passthrough, hostdev or a bridge"
            )
        if vlan.access is None:
            return "expected one access VLAN: a virtual function carries no trunk and no native VLAN"
        return ""

    def _other_rules(self) -> Iterator[Problem]:
        if self.mtu and self.form != "bridge":
            yield Problem("$.mtu", f"is for networks on a bridge: guests take it from the device in mode {self.mode}")
        if (self.managed or self.driver) and self.mode != "hostdev":
            yield Problem("$.managed" if self.managed else "$.driver", f"is for mode hostdev only, got {self.mode}")


def floor_problem(bandwidth: Bandwidth) -> str:
    """Why a port can't have a guaranteed rate: libvirt shares out that of its own bridges only."""
    guaranteed = bandwidth.inbound and bandwidth.inbound.floor
    return "is for networks that libvirt runs itself (nat, route, open)" if guaranteed else ""


def _repeated(field: str, values: Iterable[Any], key: Callable[[Any], Hashable]) -> Iterator[Problem]:
    seen: set[Hashable] = set()
    for index, value in enumerate(values):
        if key(value) in seen:
            yield Problem(f"$.{field}[{index}]", f"expected each of the {field} once, got {key(value)} again")
        seen.add(key(value))
