"""The vocabulary of Open vSwitch: bridges, ports with all that belongs to them, and their root qdiscs."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from vifplug.errors import Conflict, HostNotReady, Missing, VifplugError
from vifplug.model.codec import FrozenMap, Model, joined, model
from vifplug.model.names import DeviceName, Uuid
from vifplug.plan.kinds.devices import LowerDevice
from vifplug.plan.resource import Difference, Observation, Ownership, Resource, resettable, uncompared


@model
class OvsSwitch(Resource):
    """What the Open vSwitch of this host has: observed if a bridge is missing, or a port `needs_more`."""

    kind = "ovs-switch"
    noun = "Open vSwitch"
    ownership = Ownership.EXTERNAL
    batched = True
    name: str = "local"
    #: the names of its bridges; observed if one is missing
    bridges: tuple[str, ...] | None = uncompared(default=None)
    #: Open_vSwitch.iface_types
    interface_types: tuple[str, ...] = uncompared(default=())
    #: look for NICs on its bridges that are down: for check, which may read all ports then
    examined: bool = uncompared(default=False)
    #: observed only: whether there may be one
    nic_down: bool = uncompared(default=False)
    #: the configuration that ovs-vswitchd has still to apply; 0: none
    pending: int = uncompared(default=0)
    #: how many tags of a frame it looks at (Open_vSwitch.other_config:vlan-limit); 0: any number
    vlan_limit: int = uncompared(default=1)

    @classmethod
    def of(cls, observed: Observation) -> OvsSwitch | None:
        """Return what was observed of it; None if it was not."""
        seen = observed.get((cls.kind, "local"))
        return seen.resource if seen and isinstance(seen.resource, cls) else None


@model
class OvsBridge(Resource):
    """An Open vSwitch bridge: with ``ensure`` created if it does not exist; an existing one is not changed."""

    kind = "ovs-bridge"
    noun = "Open vSwitch bridge"
    batched = True
    ownership = Ownership.SHARED
    name: DeviceName
    #: create it if it does not exist
    ensure: bool = uncompared(default=False, compare=False)
    datapath_type: str | None = uncompared(default=None)
    #: removed with its last port, if vifplug created it
    transient: bool = uncompared(default=False)
    #: observed only, of a VLAN bridge (``ovs-vsctl add-br NAME PARENT VLAN``): its parent bridge, and the VLAN there
    parent: str | None = uncompared(default=None)
    tag: int | None = uncompared(default=None)

    @property
    def related(self) -> tuple[Resource, ...]:
        return (LowerDevice(name=self.name, owner=self.owner, up=None, local=True),)

    @property
    def remove_when_unused(self) -> bool:
        return self.transient

    @property
    def requires(self) -> tuple[Resource, ...]:
        return () if self.ensure else (OvsSwitch(),)

    def unmet(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        if self.ensure or self.identity in observed or self.name in made:
            return
        switch = OvsSwitch.of(observed)
        near = difflib.get_close_matches(self.name, (switch and switch.bridges) or (), 1)
        hint = f"correct the VIF's source ({near[0]} exists)" if near else "correct the VIF's source"
        create = f"create it with 'ovs-vsctl add-br {self.name}'"
        allow = "have vifplug create it (source.ensure, or [vifplug_ovs] ensure_bridge)"
        message = f"{self.described} does not exist on this host: {hint}, {create}, or {allow}"
        yield Missing(message, resource=self.described, option="[vifplug_ovs] ensure_bridge")


@model
class OvsVlan(Model):
    """Port.vlan_mode, tag, trunks and cvlans (ovs-vswitchd.conf.db(5)). ``OvsVlan()`` is a port with none of them."""

    mode: str | None = None
    tag: int | None = None
    trunks: tuple[int, ...] = ()
    cvlans: tuple[int, ...] = ()

    def normal(self) -> dict[str, Any]:
        return {"trunks": tuple(sorted(set(self.trunks))), "cvlans": tuple(sorted(set(self.cvlans)))}


@model
class OvsQos(Model):
    """A QoS row and its Queue 0. ``OvsQos()``, without a type, is a port without QoS."""

    type: str | None = None
    other_config: FrozenMap[str, str] = FrozenMap()
    queue: FrozenMap[str, str] = FrozenMap()
    external_ids: FrozenMap[str, str] = FrozenMap()


@model
class OvsShaper(Resource):
    """The rows of a port's QoS that are left when another program removes the port: nothing refers to them any more."""

    kind = "ovs-shaper"
    noun = "QoS of port"
    batched = True
    role: str = uncompared(default="")


@model
class OvsPolicing(Model):
    """Interface.ingress_policing_rate (kbit/s) and _burst (kbit); 0 is off."""

    rate: int = 0
    burst: int = 0


@model
class OvsIfaceId(Resource):
    """The right to be the only port with an ``iface-id`` (``name``): OVN and Neutron's agents bind one port of each."""

    kind = "iface-id"
    ownership = Ownership.EXTERNAL
    batched = True
    scanned = True
    #: the port that has it, if vifplug did not make and mark the port
    port: str | None = uncompared(default=None)
    #: observed only: the ports of others that have it, each as a part of a sentence
    holders: tuple[str, ...] = uncompared(default=())

    def objections(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        if holders := self._holders(observed):
            message = f"{self} of VIF {self.owner} is taken: {holders}"
            remove = "unplug that one" if "belongs to VIF" in message else "remove it (ovs-vsctl del-port)"
            yield Conflict(f"{message}: {remove}, or change virtualport.interfaceid", holder=holders)

    def drift(self, observed: Observation) -> Iterator[Difference]:
        if holders := self._holders(observed):
            yield Difference(self.owner, str(self), "no other port", holders)

    def _holders(self, observed: Observation) -> str:
        """Return the ports of others that have it; empty if none has."""
        seen = observed.get(self.identity)
        return joined(seen.resource.holders, "and") if seen and isinstance(seen.resource, OvsIfaceId) else ""


@model
class OvsPort(Resource):
    """A port of one interface on an Open vSwitch bridge, with everything about it.

    In the maps, only the named keys are managed; a value of None means that the key must not exist. ``role``
    distinguishes the ports of one VIF; the UUIDs of the rows are derived from ``owner`` and ``role``.
    """

    kind = "ovs-port"
    batched = True
    bridge: str
    role: str = uncompared(default="")
    type: str = ""
    vlan: OvsVlan | None = resettable(OvsVlan())
    #: Port.protected: no traffic to other protected ports of the bridge
    protected: bool | None = resettable(False)
    external_ids: FrozenMap[str, str | None] = FrozenMap()
    options: FrozenMap[str, str | None] = FrozenMap()
    #: Port.other_config
    other_config: FrozenMap[str, str | None] = FrozenMap()
    #: Interface.other_config
    interface_config: FrozenMap[str, str | None] = FrozenMap()
    #: Interface.ofport_request; 0: none
    ofport_request: int | None = resettable(0)
    #: Interface.mtu_request, bytes; 0: none
    mtu_request: int | None = resettable(0)
    qos: OvsQos | None = resettable(OvsQos())
    #: the QoS of a port without ``qos`` whose bridge has the kernel's datapath: `vifplug.plan.defaults` fills it in
    default_qos: OvsQos | None = uncompared(default=None)
    policing: OvsPolicing | None = resettable(OvsPolicing())
    #: the step waits for ovs-vswitchd, whatever the configuration says
    awaited: bool = uncompared(default=False)
    #: the VLAN of a new port, if another program sets ``vlan`` later
    initial: OvsVlan | None = uncompared(default=None)
    #: Interface.error, or the meaning of an ofport of -1. Desired: empty, so that an error is a difference; None: the
    #: device may be created later
    error: str | None = ""
    #: observed only: Interface.ofport; -1: ovs-vswitchd cannot open its device
    ofport: int | None = uncompared(default=None, compare=False)
    #: observed only: another program gave the port's rows to another port or interface, as ``ovs-vsctl set`` can
    torn: bool = uncompared(default=False, compare=False)

    @property
    def attached_to(self) -> str | None:
        return self.name

    @property
    def opened(self) -> bool:
        """Whether ovs-vswitchd has opened its device."""
        return self.ofport not in (None, -1)

    def released(self) -> Resource | None:
        return self.replace(awaited=True)

    @property
    def requires(self) -> tuple[Resource, ...]:
        iface_id = (OvsIfaceId(name=self.iface_id, owner=self.owner),) if self.iface_id else ()
        return (*iface_id, OvsSwitch()) if self.needs_more else iface_id

    def unmet(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        own = observed.get(self.identity)
        if own and isinstance(own.resource, OvsPort) and own.resource.torn:
            message = f"{self} of VIF {self.owner}: {own.resource.error}"
            yield Conflict(f"{message}: unplug the VIF, and plug it again", vif_id=self.owner, resource=str(self))
        switch = OvsSwitch.of(observed) if self.needs_more else None
        offered = switch.interface_types if switch and own is None else ()  # none: ovs-vswitchd has never run
        if offered and self._needs_dpdk and self.type not in offered:
            message = f"{self} of VIF {self.owner}: this host's Open vSwitch has no interfaces of type {self.type}"
            hint = "start an ovs-vswitchd with DPDK, and set other_config:dpdk-init=true"
            yield HostNotReady(f"{message}: {hint}", vif_id=self.owner, resource=str(self))

    def objections(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        if (switch := OvsSwitch.of(observed)) and self._sees_one_tag(switch):
            message = f"{self} of VIF {self.owner}: vlan.cvlans need an Open vSwitch that looks at two tags of a frame"
            hint = "run 'ovs-vsctl set Open_vSwitch . other_config:vlan-limit=2', then 'ovs-appctl revalidator/purge'"
            yield HostNotReady(f"{message}: {hint}", path="$.vlan.cvlans")

    def drift(self, observed: Observation) -> Iterator[Difference]:
        if number := self._other_number(observed):
            yield Difference(self.owner, f"{self}: ofport", self.ofport_request, number)
        if (switch := OvsSwitch.of(observed)) and self._sees_one_tag(switch):
            yield Difference(self.owner, "Open_vSwitch other_config:vlan-limit", 2, 1)

    def warnings(self, observed: Observation, made: Collection[str]) -> Iterator[str]:
        if number := self._other_number(observed):
            yield f"{self} of VIF {self.owner}: {self.numbered(number)}"

    def numbered(self, number: int) -> str:
        """Return what it means that ovs-vswitchd gave it another number than the requested one, and what to do."""
        return (
            f"OpenFlow port {self.ofport_request} of bridge {self.bridge} is another port's, which requested it first, "
            f"and this one got {number}: change ofport_request of one of them"
        )

    def _other_number(self, observed: Observation) -> int | None:
        """Return the number that ovs-vswitchd gave it instead of the requested one; None if it gave that, or none."""
        seen = observed.get(self.identity)
        found = seen.resource if seen else None
        if not isinstance(found, OvsPort) or not found.opened or found.ofport_request != self.ofport_request:
            return None
        return found.ofport if self.ofport_request not in (None, 0, found.ofport) else None

    def _sees_one_tag(self, switch: OvsSwitch) -> bool:
        """Return whether a switch looks at one tag of a frame, where the port's VLANs need two."""
        return bool(self.vlan and self.vlan.cvlans) and switch.vlan_limit == 1

    @property
    def needs_more(self) -> bool:
        """Whether it needs something that not every Open vSwitch has: see `OvsSwitch`."""
        return self._needs_dpdk or bool(self.vlan and self.vlan.cvlans)

    @property
    def _needs_dpdk(self) -> bool:
        """Whether its type of Interface is one of DPDK's (ovs-vswitchd.conf.db(5))."""
        return self.type in ("dpdk", "dpdkvhostuser", "dpdkvhostuserclient")

    @property
    def claims(self) -> tuple[str, ...]:
        number = (f"OpenFlow port {self.ofport_request} of bridge {self.bridge}",) if self.ofport_request else ()
        return (*_claims(self.external_ids), *number)

    @property
    def has_qos(self) -> bool:
        """Whether it has a row of QoS of its own."""
        return self.qos is not None and self.qos.type is not None

    @property
    def shapes(self) -> bool:
        """Whether ovs-vswitchd sets up qdiscs on the device; linux-noop sets up none (ovs-vswitchd.conf.db(5), QoS)."""
        return bool((self.qos and self.qos.type not in (None, "linux-noop")) or (self.policing and self.policing.rate))

    @property
    def iface_id(self) -> str | None:
        """The logical port of OVN and other controllers; None: none, as for an end of a patch."""
        return self.external_ids.get("iface-id")


@model
class AdoptedPort(Resource):
    """A port that libvirt, or another program, created on an Open vSwitch bridge for a running guest.

    It is found by its name, because the UUIDs of its rows are not known. If ``external_ids`` has an iface-id, a port
    with another one belongs to another guest. Unplugging restores the settings of the port; the port stays.
    """

    kind = "adopted-port"
    noun = "port"
    batched = True
    ownership = Ownership.BORROWED
    bridge: str
    vlan: OvsVlan | None = resettable(OvsVlan())
    #: of the Interface; as in `OvsPort`
    external_ids: FrozenMap[str, str | None] = FrozenMap()
    error: str = ""
    #: observed only: the UUIDs of its rows in the tables Port and Interface
    port_row: str | None = uncompared(default=None)
    interface_row: str | None = uncompared(default=None)

    @property
    def requires(self) -> tuple[Resource, ...]:
        iface_id = self.external_ids.get("iface-id")
        alone = (OvsIfaceId(name=iface_id, owner=self.owner, port=self.name),) if iface_id else ()
        return (OvsBridge(name=self.bridge, owner=self.owner), *alone)

    @property
    def claims(self) -> tuple[str, ...]:
        return _claims(self.external_ids)


def _claims(external_ids: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return the name, for `Resource.claims`, of the logical port that a port is: two ports are never one."""
    iface_id = external_ids.get("iface-id")
    return (f"iface-id {iface_id}",) if iface_id else ()


@model
class OvsQdisc(Resource):
    """The kernel's root qdisc of an Open vSwitch port with QoS: libvirt replaces it when the guest starts.

    To apply it, vifplug has ovs-vswitchd recreate it: clear Port.qos, commit, set it, commit (as libvirt since 6.9).
    """

    kind = "ovs-qdisc"
    ownership = Ownership.BORROWED
    batched = True
    settled = True
    role: str = uncompared(default="")
    root: str = "htb"

    @classmethod
    def of(cls, port: OvsPort) -> OvsQdisc:
        """Return the root qdisc of a port."""
        return cls(name=port.name, owner=port.owner, role=port.role)


@functools.cache
def _in(namespace: str) -> Callable[[str], object]:
    """Return what derives a UUID from a name in a namespace (RFC 9562, version 5)."""
    import uuid  # 2 ms, which a listing need not spend

    return functools.partial(uuid.uuid5, uuid.UUID(namespace))


_ROWS = "6f0b7b5e-4c1b-5c9f-9d7e-1d2c3b4a5f60"


def ovs_uuid(row: str, owner: Uuid, role: str = "") -> str:
    """Return the UUID of a row of a VIF's port; ``row`` is port, interface, qos or queue.

    It is derived from the VIF's id. Retry, check and unplug therefore need no look-up, and a query of the row tells
    whether an interrupted transaction was executed (RFC 7047 has no sub-select; insert with uuid: OVS 2.13).
    """
    return str(_in(_ROWS)(f"{row}:{owner}:{role}"))


#: os-vif's namespace for the id of its QoS rows (vif_plug_ovs/ovsdb/ovsdb_lib.py, QOS_UUID_NAMESPACE)
_OSVIF_QOS = "68da264a-847f-42a8-8ab0-5e774aee3d95"


def osvif_qos_id(device: str) -> str:
    """Return QoS.external_ids:id of a default QoS row: os-vif's, so vifplug and os-vif find each other's rows."""
    return str(_in(_OSVIF_QOS)(device))
