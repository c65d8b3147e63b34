"""The vocabulary of host state: what a VIF type can ask for, and what a host backend can observe and apply.

Each resource is a frozen record with an identity, ``(kind, name)``. The same record says what is wanted and what was
found, so a difference is a comparison of two records. In a wanted record None means "not asked: leave it alone".
"""

from __future__ import annotations

import enum
import json
import posixpath
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vifplug.errors import Missing
from vifplug.model.codec import FrozenMap, Record, joined
from vifplug.model.names import DeviceName, Mac, Mtu, PciAddress, Uuid

Identity = tuple[str, str]

#: No router advertisement from a guest may reach the host's own stack. Written before the device is up.
HARDENED: FrozenMap[str, str] = FrozenMap({"ipv6/disable_ipv6": "1"})


class Life(enum.Enum):
    """How a resource comes and goes."""

    MADE = "made"  #: vifplug makes it, marks it as its own, and removes it
    SET = "set"  #: it exists; vifplug changes settings, remembers what they were, and puts them back
    ENSURED = "ensured"  #: made when it is not there, and left there
    AWAITED = "awaited"  #: somebody else makes it for the VIF, sooner or later; vifplug sets it up, and sees it gone


def fixed(*, waits: bool = False, **kwargs: Any) -> Any:
    """A field that can't change in place: another value means to remove the resource and make it anew.

    ``waits``: while a guest holds the resource, the value that it has will do.
    """
    return field(metadata={"fixed": True, "waits": waits}, **kwargs)


def cleared(empty: Any, **kwargs: Any) -> Any:
    """A field that may stay unasked (None); ``empty`` is what it goes back to when it was asked and no longer is."""
    return field(default=None, metadata={"empty": empty}, **kwargs)


def locating(**kwargs: Any) -> Any:
    """A field that helps to find or make the resource and is never compared."""
    return field(metadata={"compared": False}, **kwargs)


@dataclass(frozen=True, kw_only=True)
class Resource(Record):
    """One thing on the host. ``owner`` is the id of the VIF that it is for."""

    kind: ClassVar[str]
    life: ClassVar[Life] = Life.MADE
    #: True where all steps of a backend are one transaction; such steps come after all others
    batched: ClassVar[bool] = False
    #: True for what libvirt undoes when a guest starts: applied by settle, checked while a guest runs.
    settled: ClassVar[bool] = False

    name: str
    owner: str = locating(default="")

    @property
    def identity(self) -> Identity:
        return (self.kind, self.name)

    @property
    def goes(self) -> bool:
        """Whether one that is only ensured is taken back when nobody uses it any more."""
        return False

    def refusal(self, found: Resource) -> str:
        """Why what was found is not brought to this, as a sentence; empty where it can be."""
        return ""

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of what no other VIF may have at the same time; none where the owner's mark decides."""
        return ()

    @property
    def shares(self) -> tuple[str, ...]:
        """Names of what other VIFs may have as well, unless one of them claims it."""
        return ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Device(Resource):
    """A kernel link that vifplug makes. Its alias is ``vifplug:<owner>`` (IFLA_IFALIAS): the mark of ownership."""

    name: DeviceName
    mtu: Mtu | None = cleared(1500)  # ETH_DATA_LEN: linux/if_ether.h
    up: bool = True
    #: /proc/sys/net/<family>/conf/<name>/<key>, as ``family/key``: value; written before the device is up. One that
    #: is no longer asked keeps its value: a sysctl can't be absent, and what the kernel began with is not known
    sysctls: FrozenMap[str, str] = field(default=HARDENED, metadata={"kept": True})

    @property
    def links(self) -> tuple[str, ...]:
        """The names of the kernel links that it is."""
        return (self.name,)


@dataclass(frozen=True, kw_only=True)
class Tap(Device):
    """A persistent tap. ``user`` and ``group`` are the numeric ids that may open it (TUNSETOWNER, TUNSETGROUP)."""

    kind = "tap"
    mac: Mac | None = None
    multi_queue: bool = fixed(default=False)
    user: int | None = fixed(waits=True, default=0)
    group: int | None = fixed(waits=True, default=None)


@dataclass(frozen=True, kw_only=True)
class LibvirtTap(Device):
    """The tap that libvirt makes for a port that is there before it. It goes with QEMU, or else with the VIF."""

    kind = "libvirt-tap"
    life = Life.AWAITED
    mac: Mac | None = None


@dataclass(frozen=True, kw_only=True)
class Macvtap(Device):
    """A macvtap on ``lower``. ``mode`` is libvirt's word: vepa, bridge, private or passthrough.

    ``user`` owns /dev/tap<ifindex>. The macvtap has the guest's own MAC.
    """

    kind = "macvtap"
    lower: str = fixed()
    mode: str = fixed(default="vepa")
    mac: Mac | None = None
    queues: int | None = fixed(default=None)
    user: int | None = None


@dataclass(frozen=True, kw_only=True)
class VethPair(Device):
    """Two ends of one wire, ``name`` and ``peer``; every setting holds for both."""

    kind = "veth"
    peer: str = fixed()
    promiscuous: bool | None = None

    @property
    def links(self) -> tuple[str, ...]:
        return (self.name, self.peer)


@dataclass(frozen=True, kw_only=True)
class Bridge(Device):
    """A Linux bridge that vifplug makes for one VIF (the hybrid form). Times are in seconds."""

    kind = "bridge"
    ageing_time: int | None = None
    forward_delay: int | None = None
    stp: bool | None = None
    multicast_snooping: bool | None = None
    vlan_filtering: bool | None = None


@dataclass(frozen=True, kw_only=True)
class BridgeVlan(Record):
    """One VLAN of a bridge port (BRIDGE_VLAN_INFO): frames of ``id`` pass; ``pvid`` takes untagged ones in."""

    id: int
    pvid: bool = False
    untagged: bool = False


@dataclass(frozen=True, kw_only=True)
class BridgePort(Resource):
    """The membership of device ``name`` in Linux bridge ``bridge``, and its port flags."""

    kind = "bridge-port"
    name: DeviceName
    bridge: str
    isolated: bool | None = cleared(False)
    hairpin: bool | None = cleared(False)
    learning: bool | None = cleared(True)
    #: all of the port's VLANs, by id; needs a bridge with vlan_filtering on
    vlans: tuple[BridgeVlan, ...] | None = cleared((BridgeVlan(id=1, pvid=True, untagged=True),))


@dataclass(frozen=True, kw_only=True)
class SharedLink(Resource):
    """A link that several VIFs use and none owns: made where there is none. Of one that is there only ``up`` is set."""

    life = Life.ENSURED
    name: DeviceName
    up: bool = True


@dataclass(frozen=True, kw_only=True)
class SharedBridge(SharedLink):
    """A Linux bridge, made without delay, spanning tree and multicast snooping, as os-vif makes it."""

    kind = "shared-bridge"


@dataclass(frozen=True, kw_only=True)
class VlanLink(SharedLink):
    """A VLAN device for macvtaps: VLAN ``vlan`` on the device ``physical``. The rest as of a `LowerDevice`."""

    kind = "vlan-link"
    physical: DeviceName = locating()
    vlan: int = locating()
    exclusive: bool = locating(default=False)

    @property
    def claims(self) -> tuple[str, ...]:
        return names_of(self.name, None) if self.exclusive else ()

    @property
    def shares(self) -> tuple[str, ...]:
        return () if self.exclusive else names_of(self.name, None)


def names_of(device: str | None, function: str | None) -> tuple[str, ...]:
    """The names, for `Resource.claims`, of a network device, a virtual function, or one that is both."""
    return tuple(filter(None, (device and f"device {device}", function and f"VF {function}")))


@dataclass(frozen=True, kw_only=True)
class LowerDevice(Resource):
    """A device that has to exist: a macvtap's, a VF's representor, a Linux bridge.

    ``up``: it has to be up, and stays so, since others may have come to rely on it. ``mac``, for passthrough only, and
    ``mtu`` are set and put back.
    """

    kind = "lower-device"
    life = Life.SET
    name: DeviceName
    up: bool | None = field(default=True, metadata={"kept": True})
    #: as found these may be anything: an empty bridge has all zeros, lo an MTU of 65536
    mac: str | None = None
    mtu: int | None = None
    #: a macvtap's device: one that is alone on it (``exclusive``), or any number of them (``shared``)
    exclusive: bool = locating(default=False)
    shared: bool = locating(default=False)
    #: the virtual function that it is, by its PCI address: another VIF could have that by another name
    function: PciAddress | None = locating(default=None)
    #: what it has to be (IFLA_INFO_KIND), such as ``bridge``; None: anything
    link_kind: str | None = locating(default=None)
    #: as those of a device that vifplug makes; they stay
    sysctls: FrozenMap[str, str] = field(default=FrozenMap(), metadata={"kept": True})

    @property
    def claims(self) -> tuple[str, ...]:
        return self._names if self.exclusive else ()

    @property
    def shares(self) -> tuple[str, ...]:
        return self._names if self.shared else ()

    @property
    def _names(self) -> tuple[str, ...]:
        return names_of(self.name, self.function)


@dataclass(frozen=True, kw_only=True)
class VirtualFunction(Resource):
    """The settings of an SR-IOV VF, made through its PF. ``name`` is the VF's PCI address; rates are Mbit/s."""

    kind = "vf"
    life = Life.SET
    pf: DeviceName = locating()
    number: int = locating()
    mac: str | None = None
    vlan: int | None = cleared(0)
    vlan_qos: int | None = cleared(0)
    vlan_proto: str | None = cleared("802.1Q")
    trust: bool | None = cleared(False)
    spoof_check: bool | None = cleared(True)
    link_state: str | None = cleared("auto")
    min_tx_rate: int | None = cleared(0)
    max_tx_rate: int | None = cleared(0)

    @property
    def claims(self) -> tuple[str, ...]:
        return names_of(None, self.name)


@dataclass(frozen=True, kw_only=True)
class PciFunction(Resource):
    """A PCI function that has to be there, and of which nothing is set. ``name`` is its address."""

    kind = "pci-function"
    life = Life.SET

    @property
    def claims(self) -> tuple[str, ...]:
        return names_of(None, self.name)


@dataclass(frozen=True, kw_only=True)
class VhostSocket(Resource):
    """Where a vhost-user socket will be: ``name`` is its path. Its directory has an owner, a group and a mode, which
    are set when it is made: one that is there is never altered, since a document may name any.

    ``stale``: a socket file is there and nobody listens on it. A live socket is never removed.
    """

    kind = "vhost-socket"
    user: int | None = None
    group: int | None = None
    mode: int | None = None
    stale: bool = False

    @property
    def claims(self) -> tuple[str, ...]:
        return (f"socket {self.name}",)

    def refusal(self, found: Resource) -> str:
        asked = {name: getattr(self, name) for name in ("mode", "user", "group")}
        have = {name: getattr(found, name) for name, value in asked.items() if value is not None}
        wrong = [name for name, value in have.items() if value != asked[name]]
        if not wrong:
            return ""
        options = joined((f"socket_dir_{name}" for name in wrong), "and")
        return (
            f"directory {posixpath.dirname(self.name)} has {_rights(have, wrong)}, and VIF {self.owner} wanted "
            f"{_rights(asked, wrong)}: change it, or [vifplug_vhostuser] {options}"
        )


def _rights(values: Mapping[str, int], names: Iterable[str]) -> str:
    """Mode, owner and group in words."""
    return joined((f"mode {values[name]:04o}" if name == "mode" else f"{name} {values[name]}" for name in names), "and")


@dataclass(frozen=True, kw_only=True)
class OvsBridge(Resource):
    """An Open vSwitch bridge: made where there is none, with ``datapath_type``; one that exists is never altered."""

    kind = "ovs-bridge"
    batched = True
    life = Life.ENSURED
    name: DeviceName
    datapath_type: str | None = locating(default=None)
    #: it goes with its last port, if vifplug made it
    transient: bool = locating(default=False)

    @property
    def goes(self) -> bool:
        return self.transient


@dataclass(frozen=True, kw_only=True)
class OvsVlan(Record):
    """Port.vlan_mode, tag and trunks (ovs-vswitchd.conf.db(5)). ``OvsVlan()`` is a port with none of them."""

    mode: str | None = None
    tag: int | None = None
    trunks: tuple[int, ...] = ()

    def normal(self) -> dict[str, Any]:
        return {"trunks": tuple(sorted(set(self.trunks)))}


@dataclass(frozen=True, kw_only=True)
class OvsQos(Record):
    """A QoS row and its Queue 0. ``OvsQos()``, without a type, is a port without QoS."""

    type: str | None = None
    other_config: FrozenMap[str, str] = FrozenMap()
    queue: FrozenMap[str, str] = FrozenMap()
    external_ids: FrozenMap[str, str] = FrozenMap()


@dataclass(frozen=True, kw_only=True)
class OvsPolicing(Record):
    """Interface.ingress_policing_rate (kbit/s) and _burst (kbit); 0 is off."""

    rate: int = 0
    burst: int = 0


@dataclass(frozen=True, kw_only=True)
class OvsPort(Resource):
    """A port of one interface on an Open vSwitch bridge, with everything about it.

    In the maps only the keys that are named are managed; a value of None means that the key must not be there.
    ``role`` tells the ports of one VIF apart; with ``owner`` it gives the row UUIDs.
    """

    kind = "ovs-port"
    batched = True
    bridge: str
    role: str = locating(default="")
    type: str = ""
    vlan: OvsVlan | None = cleared(OvsVlan())
    external_ids: FrozenMap[str, str | None] = FrozenMap()
    options: FrozenMap[str, str | None] = FrozenMap()
    other_config: FrozenMap[str, str | None] = FrozenMap()
    #: Interface.mtu_request, bytes; 0: none
    mtu_request: int | None = cleared(0)
    qos: OvsQos | None = cleared(OvsQos())
    policing: OvsPolicing | None = cleared(OvsPolicing())
    #: the step ends only when ovs-vswitchd has done it, whatever the configuration says
    awaited: bool = locating(default=False)
    #: the VLAN of a port that is made, where ``vlan`` is left to whoever else sets it
    initial: OvsVlan | None = locating(default=None)
    #: Interface.error, or what an ofport of -1 means: wanted empty, so that an error is a difference. None: its device
    #: may come later
    error: str | None = ""


@dataclass(frozen=True, kw_only=True)
class OvsQdisc(Resource):
    """The kernel's root qdisc of an Open vSwitch port with QoS: libvirt replaces it when the guest starts.

    Applied by having ovs-vswitchd build it anew: clear Port.qos, commit, set it, commit (libvirt does so since 6.9).
    """

    kind = "ovs-qdisc"
    life = Life.SET
    batched = True
    settled = True
    role: str = locating(default="")
    root: str = "htb"


RESOURCES: dict[str, type[Resource]] = {
    cls.kind: cls
    for cls in (
        *(Tap, LibvirtTap, Macvtap, VethPair, Bridge, BridgePort, LowerDevice, SharedBridge, VlanLink),
        *(VirtualFunction, PciFunction, VhostSocket),
        *(OvsBridge, OvsPort, OvsQdisc),
    )
}

_ROWS = uuid.UUID("6f0b7b5e-4c1b-5c9f-9d7e-1d2c3b4a5f60")


def ovs_uuid(row: str, owner: Uuid, role: str = "") -> str:
    """The UUID of one of the rows of a VIF's port; ``row`` is port, interface, qos or queue.

    It follows from the VIF's id, so retry, check and unplug need no look-up, and whether an interrupted transaction
    took place is settled by asking for it (RFC 7047 has no sub-select; insert with uuid: OVS 2.13).
    """
    return str(uuid.uuid5(_ROWS, f"{row}:{owner}:{role}"))


#: os-vif's namespace for the id of its QoS rows (vif_plug_ovs/ovsdb/ovsdb_lib.py, QOS_UUID_NAMESPACE)
_OSVIF_QOS = uuid.UUID("68da264a-847f-42a8-8ab0-5e774aee3d95")


def osvif_qos_id(device: str) -> str:
    """QoS.external_ids:id of a default QoS row: os-vif's, so that each of the two finds the rows of the other."""
    return str(uuid.uuid5(_OSVIF_QOS, device))


def mark(owner: str) -> str:
    """The alias of every kernel device that vifplug makes."""
    return f"vifplug:{owner}"


def marked_for(alias: str) -> str | None:
    """The owner that an alias names; None where it is no mark."""
    return alias.removeprefix(mark("")) if alias.startswith(mark("")) else None


def to_json(resources: Iterable[Resource]) -> str:
    """The resources as text, for the record of what is plugged."""
    return json.dumps([{"kind": resource.kind, **resource.to_data()} for resource in resources])


def from_json(text: str, kinds: Mapping[str, type[Resource]] = RESOURCES) -> list[Resource]:
    """The resources that `to_json` wrote. Raises Missing for a kind that is not among ``kinds``."""
    return [_kind(data.pop("kind"), kinds).from_data(data) for data in json.loads(text)]


def _kind(kind: str, kinds: Mapping[str, type[Resource]]) -> type[Resource]:
    if kind not in kinds:
        told = f"the record has a resource of kind {kind!r}, and no plugin that is installed and can be loaded has it"
        raise Missing(f"{told}: install the package that VIFs were plugged with")
    return kinds[kind]
