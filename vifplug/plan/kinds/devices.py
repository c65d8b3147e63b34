"""The vocabulary of the kernel's devices: links and ports, PCI functions, and the sockets of vhost-user."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Literal

from vifplug.errors import Conflict, HostNotReady, InvalidDocument, KernelLacks, Problem, VifplugError, fill
from vifplug.model.codec import FrozenMap, Model, joined, model
from vifplug.model.names import AnyMac, DeviceName, Mac, Mtu, PciAddress, SocketPath, SysctlKey, Word, between
from vifplug.plan.condition import Condition, Defect, Uplink, defects, narrow, too_narrow, unplugged
from vifplug.plan.resource import (
    Device,
    Difference,
    Observation,
    Ownership,
    Resource,
    immutable,
    kept,
    names_of,
    resettable,
    uncompared,
)
from vifplug.plan.uses import Taking, obstacles

#: of a user or a group, as the kernel has it
UserId = Annotated[int, between(0, 2**32 - 1)]
#: of a VF, in Mbit/s (struct ifla_vf_rate)
Rate = Annotated[int, between(0, 2**32 - 1)]
Seconds = Annotated[int, between(0, 2**31 - 1)]
#: IFLA_TXQLEN, in frames
QueueLength = Annotated[int, between(0, 2**32 - 1)]


@model
class Tap(Device):
    """A persistent tap. ``user`` and ``group`` are the numeric ids that may open it (TUNSETOWNER, TUNSETGROUP)."""

    kind = "tap"
    mac: Mac | None = None
    txqueuelen: QueueLength | None = resettable(1000)  # DEFAULT_TX_QUEUE_LEN: linux/netdevice.h
    multi_queue: bool = immutable(default=False)
    user: UserId | None = immutable(waits=True, default=0)
    group: UserId | None = immutable(waits=True, default=None)


@model
class LibvirtTap(Device):
    """The tap that libvirt creates for an existing port. It disappears with QEMU, else it is removed with the VIF."""

    kind = "libvirt-tap"
    ownership = Ownership.EXTERNAL
    mac: Mac | None = None
    txqueuelen: QueueLength | None = resettable(1000)  # as of a Tap


@model
class Macvtap(Device):
    """A macvtap on ``lower``, in one of libvirt's modes.

    ``user`` owns /dev/tap<ifindex>. The macvtap has the guest's own MAC.
    """

    kind = "macvtap"
    lower: DeviceName = immutable()
    mode: Literal["vepa", "bridge", "private", "passthrough"] = immutable(default="vepa")
    mac: Mac | None = None
    txqueuelen: QueueLength | None = resettable(500)  # TUN_READQ_SIZE: linux/if_tun.h
    queues: Annotated[int, between(1, 2**16 - 1)] | None = immutable(default=None)
    user: UserId | None = None

    @property
    def requires(self) -> tuple[Resource, ...]:
        taking: Taking = "passthrough" if self.mode == "passthrough" else "macvtap"
        return (LowerDevice(name=self.lower, owner=self.owner, up=None, taking=taking, guest_mac=self.mac),)


@model
class VethPair(Device):
    """A veth pair, ``name`` and ``peer``; every setting applies to both ends."""

    kind = "veth"
    peer: DeviceName = immutable()
    promiscuous: bool | None = None

    @property
    def links(self) -> tuple[str, ...]:
        return (self.name, self.peer)


@model
class LinuxBridge(Device):
    """A Linux bridge that vifplug creates for one hybrid VIF. Times are in seconds."""

    kind = "bridge"
    ageing_time: Seconds | None = None
    forward_delay: Seconds | None = None
    stp: bool | None = None
    multicast_snooping: bool | None = None
    vlan_filtering: bool | None = None


@model
class BridgeVlan(Model):
    """One VLAN of a bridge port (BRIDGE_VLAN_INFO): frames of ``id`` pass; ``pvid``: untagged frames belong to it."""

    id: Annotated[int, between(1, 4094)]
    pvid: bool = False
    untagged: bool = False


@model
class BridgePort(Resource):
    """The membership of device ``name`` in Linux bridge ``bridge``, and its port flags."""

    kind = "bridge-port"
    name: DeviceName
    bridge: DeviceName
    isolated: bool | None = resettable(False)
    hairpin: bool | None = resettable(False)
    learning: bool | None = resettable(True)
    #: unicast frames to addresses that the bridge does not know are sent to the port
    flood: bool | None = resettable(True)
    #: all of the port's VLANs, by id; needs a bridge with vlan_filtering on. Empty: what the bridge gives new ports
    vlans: tuple[BridgeVlan, ...] | None = resettable(())
    #: observed only, of a device with a carrier: its state of the spanning tree
    state: str | None = uncompared(default=None, compare=False)

    @property
    def attached_to(self) -> str | None:
        return self.name

    @property
    def requires(self) -> tuple[Resource, ...]:
        return (LowerDevice(name=self.bridge, owner=self.owner, up=None, link_kind="bridge"),)

    @property
    def _unfiltered(self) -> str:
        return f"bridge {self.bridge} does not filter VLANs, and VIF {self.owner} has VLANs"

    def unmet(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        seen, bridge = self._seen(observed)
        if not self.vlans or (bridge is None and (seen or self.bridge not in made)):
            return
        if bridge is None:
            hint = f"create it beforehand with 'ip link add {self.bridge} type bridge vlan_filtering 1'"
            yield HostNotReady(f"{self._unfiltered}: {hint}")
        elif bridge.vlan_filtering is None:
            yield KernelLacks(f"{self._unfiltered}: this kernel has no bridge VLAN filtering")

    def objections(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        if self._passes_all(observed):
            hint = f"turn it on with 'ip link set dev {self.bridge} type bridge vlan_filtering 1'"
            yield HostNotReady(f"{self._unfiltered}: {hint}, which affects all of its ports")

    def drift(self, observed: Observation) -> Iterator[Difference]:
        if self._passes_all(observed):
            yield Difference(self.owner, f"bridge {self.bridge} vlan_filtering", "1", "0")
        seen = observed.get(self.identity)
        if seen and isinstance(seen.resource, BridgePort) and seen.resource.state in ("disabled", "blocking"):
            yield Difference(self.owner, f"{self}: state", "forwarding", seen.resource.state)

    def _passes_all(self, observed: Observation) -> bool:
        """Return whether the VIF has VLANs, and the bridge passes the frames of all."""
        _, bridge = self._seen(observed)
        return bool(self.vlans) and bridge is not None and bridge.vlan_filtering is False

    def _seen(self, observed: Observation) -> tuple[bool, LowerDevice | None]:
        """Return whether something has the bridge's name, and the bridge."""
        seen = observed.get((LowerDevice.kind, self.bridge))
        return seen is not None, seen.resource if seen and isinstance(seen.resource, LowerDevice) else None

    def warnings(self, observed: Observation, made: Collection[str]) -> Iterator[str]:
        if self.learning is False and self.flood is False:
            message = f"{self} of VIF {self.owner} has neither learning nor flood: its guest gets no unicast frames"
            yield f"{message} until the bridge has its MAC: run 'bridge fdb add MAC dev {self.name} master static'"


@model
class SharedLink(Resource):
    """A link that several VIFs use and none owns. It is created if it does not exist, else only set ``up``."""

    ownership = Ownership.SHARED
    name: DeviceName
    up: bool = True

    @property
    def links(self) -> tuple[str, ...]:
        return (self.name,)


@model
class SharedBridge(SharedLink):
    """A Linux bridge, created without delay, spanning tree and multicast snooping, as os-vif does."""

    kind = "shared-bridge"
    #: as in `LowerDevice`
    carries: Mtu | None = uncompared(default=None, compare=False)

    @property
    def related(self) -> tuple[Resource, ...]:
        return (LowerDevice(name=self.name, owner=self.owner, up=None, link_kind="bridge", carries=self.carries),)


@model
class VlanLink(SharedLink):
    """A VLAN device for macvtaps: VLAN ``vlan`` on the device ``physical``."""

    kind = "vlan-link"
    physical: DeviceName = uncompared()
    vlan: Annotated[int, between(1, 4094)] = uncompared()
    exclusive: bool = uncompared(default=False)
    #: as in `LowerDevice`
    taking: Taking | None = uncompared(default=None, compare=False)
    guest_mac: Mac | None = uncompared(default=None, compare=False)

    @property
    def requires(self) -> tuple[Resource, ...]:
        itself = LowerDevice(name=self.name, owner=self.owner, up=None, taking=self.taking, guest_mac=self.guest_mac)
        itself = itself.trusted(exclusive=self.exclusive, shared=not self.exclusive)
        return (LowerDevice(name=self.physical, owner=self.owner, up=None), itself)

    @property
    def recorded(self) -> Resource:
        return self.trusted(taking=None, guest_mac=None)

    @property
    def claims(self) -> tuple[str, ...]:
        return names_of(self.name, None) if self.exclusive else ()

    @property
    def shares(self) -> tuple[str, ...]:
        return () if self.exclusive else names_of(self.name, None)


@model
class AdoptedBridgePort(BridgePort):
    """The port of libvirt's tap on a Linux bridge. ``mac`` is the tap's: libvirt reuses names such as vnet0."""

    kind = "adopted-bridge-port"
    ownership = Ownership.BORROWED
    mac: Mac | None = uncompared(default=None)


@model
class LowerDevice(Resource):
    """A device that must exist, such as the one below a macvtap, a VF's representor or a Linux bridge."""

    kind = "lower-device"
    ownership = Ownership.BORROWED
    name: DeviceName
    #: True: it must be up, and stays up, because other programs may rely on it
    up: bool | None = kept(default=True)
    #: set for passthrough only, and restored; an observed MAC can be anything, such as all zeros
    mac: AnyMac | None = None
    #: bytes; set and restored. lo has 65536
    mtu: Annotated[int, between(0, 2**32 - 1)] | None = None
    #: below a macvtap: whether no other VIF may use the device
    exclusive: bool = uncompared(default=False)
    #: below a macvtap: whether other VIFs may use it too
    shared: bool = uncompared(default=False)
    #: how the VIF uses it, if that is to be refused while something else uses it
    taking: Taking | None = uncompared(default=None, compare=False)
    #: the guest's MAC: a macvtap that has it is the VIF's own
    guest_mac: Mac | None = uncompared(default=None, compare=False)
    #: PCI address, if it is a virtual function: another VIF may name it by its address
    function: PciAddress | None = uncompared(default=None)
    #: the required kind (IFLA_INFO_KIND), such as ``bridge``; None: any
    link_kind: str | None = uncompared(default=None)
    #: as in `Device`; they stay
    sysctls: FrozenMap[SysctlKey, Word] = kept(default=FrozenMap())
    #: bytes: what the uplinks of a Linux bridge must carry
    carries: Mtu | None = uncompared(default=None, compare=False)
    #: the local port of an Open vSwitch bridge, on which the host receives what guests send to it
    local: bool = uncompared(default=False, compare=False)
    #: observed only: the number that the kernel gave it, which no other device has until the next boot
    index: int | None = uncompared(default=None, compare=False)
    #: observed only: the MAC of the hardware
    permanent_mac: AnyMac | None = uncompared(default=None, compare=False)
    #: observed only, of a Linux bridge: whether it filters VLANs; None if the kernel cannot
    vlan_filtering: bool | None = uncompared(default=None, compare=False)

    @property
    def described(self) -> str:
        return f"{self.link_kind or 'device'} {self.name}"

    @property
    def recorded(self) -> Resource:
        return self.trusted(taking=None, guest_mac=None)

    def original(self, found: Resource) -> Resource:
        """The MAC of a guest is never an original: a plug whose record was lost may have left it there."""
        assert isinstance(found, LowerDevice)
        if self.mac is None or found.mac != self.mac or found.permanent_mac == self.mac:
            return super().original(found)
        if found.permanent_mac is None:
            message = f"{self.described} has the MAC {self.mac} of VIF {self.owner} already, and its own is not known"
            hint = f"give it another ('ip link set dev {self.name} address MAC'), or the VIF"
            raise Conflict(f"{message}: {hint}", vif_id=self.owner or None, resource=self.described)
        return super().original(found.trusted(mac=found.permanent_mac))

    def is_same(self, other: Resource) -> bool:
        return not isinstance(other, LowerDevice) or None in (self.index, other.index) or self.index == other.index

    @property
    def claims(self) -> tuple[str, ...]:
        return self._names if self.exclusive else ()

    @property
    def shares(self) -> tuple[str, ...]:
        return self._names if self.shared else ()

    @property
    def _names(self) -> tuple[str, ...]:
        return names_of(self.name, self.function)

    def objections(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        yield from _taken(self, self.taking, observed)
        if (uplink := self._narrow(observed)) and self.carries:
            reason = too_narrow(self.name, self.carries, uplink)
            message = f"VIF {self.owner} requests an MTU of {self.carries}, and {reason}"
            yield HostNotReady(message, vif_id=self.owner or None, resource=self.described)

    def _narrow(self, observed: Observation) -> Uplink | None:
        """Return the uplink that cannot carry frames of the VIF's size, if one cannot."""
        found = self._condition(observed)
        return narrow(found, self.carries) if found and self.carries else None

    def warnings(self, observed: Observation, made: Collection[str]) -> Iterator[str]:
        return (defect.sentence for defect in self._defects(observed))

    def drift(self, observed: Observation) -> Iterator[Difference]:
        for defect in self._defects(observed):
            yield Difference(self.owner, defect.path, defect.expected, defect.found)
        if uplink := self._narrow(observed):
            yield Difference(self.owner, f"device {uplink.name} mtu", f"at least {self.carries}", uplink.mtu)

    def _condition(self, observed: Observation) -> Condition | None:
        seen = observed.get(self.identity)
        return seen.condition if seen else None

    def _defects(self, observed: Observation) -> Iterator[Defect]:
        found = self._condition(observed)
        switch = observed.get(("ovs-bridge", self.name)) if self.local else None
        if found and (self.link_kind == "bridge" or self.local) and not (switch and switch.foreign):
            yield from defects(self.name, found, linux=not self.local)
        elif found and (self.exclusive or self.shared):
            yield from unplugged(self.name, found, self.owner)


@model
class PciFunction(Resource):
    """A PCI function that must exist; nothing is set on it. ``name`` is its address.

    ``taking``: the guest gets it, which is refused while the host uses it.
    """

    kind = "pci-function"
    noun = "PCI function"
    ownership = Ownership.BORROWED
    name: PciAddress
    taking: Literal["function"] | None = uncompared(default=None, compare=False)

    @property
    def recorded(self) -> Resource:
        return self.trusted(taking=None)

    @property
    def claims(self) -> tuple[str, ...]:
        return names_of(None, self.name)

    def objections(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        return _taken(self, self.taking, observed)


@model
class VirtualFunction(PciFunction):
    """The settings of an SR-IOV VF, written through its PF. ``name`` is its PCI address; rates are in Mbit/s."""

    kind = "vf"
    noun = "virtual function"
    pf: DeviceName = uncompared()
    number: Annotated[int, between(0, 2**16 - 1)] = uncompared()
    mac: AnyMac | None = None
    vlan: Annotated[int, between(0, 4095)] | None = resettable(0)
    vlan_qos: Annotated[int, between(0, 7)] | None = resettable(0)
    vlan_proto: Literal["802.1Q", "802.1ad"] | None = resettable("802.1Q")
    trust: bool | None = resettable(False)
    spoof_check: bool | None = resettable(True)
    link_state: Literal["auto", "enable", "disable"] | None = resettable("auto")
    min_tx_rate: Rate | None = resettable(0)
    max_tx_rate: Rate | None = resettable(0)

    def drift(self, observed: Observation) -> Iterator[Difference]:
        """The link of a VF is that of its PF, unless ``link_state`` says otherwise (ip-link(8), vf NUM state)."""
        seen = observed.get(self.identity)
        pf = seen.condition if seen else None
        if pf and not pf.up:
            yield Difference(self.owner, f"device {self.pf} state", "up", "down")
        elif pf and not pf.carrier and self.link_state != "enable":
            yield Difference(self.owner, f"device {self.pf} carrier", "on", "off")


@model
class SocketDirectory(Resource):
    """A directory on the way to a vhost-user socket, which `VhostSocket` requires and creates. It is only observed."""

    kind = "socket-directory"
    noun = "directory"
    ownership = Ownership.SHARED
    name: SocketPath
    #: the directory below which no symbolic link is followed
    base: str = uncompared()

    @property
    def shares(self) -> tuple[str, ...]:
        return (f"directory {self.name}",)


@model
class VhostSocket(Resource):
    """The path of a vhost-user socket (``name``), and the owner, group and mode of its directory.

    They are set when the directory is created; an existing directory is never changed, because a document may name any.
    ``stale``: the socket exists and no process has it bound. A live socket is never removed: its VIF is in use.
    ``unfinished``: the directory was created, and whoever did it was killed before it had its rights.
    """

    kind = "vhost-socket"
    name: SocketPath
    user: UserId | None = None
    group: UserId | None = None
    mode: Annotated[int, between(0, 0o7777)] | None = None
    stale: bool = False
    unfinished: bool = False
    #: the directories below which a socket may be; empty: anywhere, in a directory that is trusted
    socket_dirs: tuple[str, ...] = uncompared(default=())
    #: ``base`` without symbolic links, such as /run for /var/run: one socket is claimed under one name
    real_base: str | None = uncompared(default=None)
    #: the directories that were created for the socket, outermost first; removed with it when they are empty
    made: tuple[SocketPath, ...] = uncompared(default=())

    @property
    def base(self) -> str | None:
        """The directory below which no symbolic link is followed; None if the socket is below none that it may be."""
        directory = posixpath.dirname(self.name)
        if not self.socket_dirs:
            return directory
        above = [each for each in self.socket_dirs if f"{directory}/".startswith(each.rstrip("/") + "/")]
        return max(above, key=len, default=None)

    @property
    def requires(self) -> tuple[Resource, ...]:
        if (base := self.base) is None:
            return ()
        names = itertools.accumulate(self.name.split("/")[1:-1], "{}/{}".format, initial="")
        return tuple(SocketDirectory(name=each, base=base, owner=self.owner) for each in names if each)

    def unmet(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        if self.base is None:
            message = f"expected a socket below {joined(self.socket_dirs)} ([vifplug] socket_dirs), got {self.name}"
            error = InvalidDocument([Problem("$.source.path", message)], f"VIF {self.owner}")
            yield fill(error, VifplugError(option="[vifplug] socket_dirs"))
        seen = observed.get(self.identity)
        if seen and seen.resource and (refused := self.refused(seen.resource)):
            yield refused

    @property
    def shares(self) -> tuple[str, ...]:
        """What keeps others from removing a directory: that it was created for the socket, or that the socket is in it.

        The latter is recorded before anything is observed, so who removes the directory knows of a plug that relies on
        it.
        """
        created = [name for each in self.made for name in SocketDirectory(name=each, base=each).shares]
        return (*created, *(f"socket in {self._real(each)}" for each in self._directories))

    def left_to(self, others: Collection[str]) -> VhostSocket:
        free = (each for each in self.made if not {f"directory {each}", f"socket in {self._real(each)}"} & {*others})
        return self.replace(made=tuple(free))

    @property
    def claims(self) -> tuple[str, ...]:
        return (f"socket {self._real(self.name)}",)

    @property
    def _directories(self) -> list[str]:
        """The directories that it is in, from ``base`` on."""
        names = itertools.accumulate(self.name.split("/")[1:-1], "{}/{}".format, initial="")
        return [each for each in names if self.base and f"{each}/".startswith(self.base.rstrip("/") + "/")]

    def _real(self, path: str) -> str:
        """Return a path of the socket or its directories by which one of them has one name: see ``real_base``."""
        return path if self.real_base is None else self.real_base + path.removeprefix(self.base or "")

    def refusal(self, found: Resource) -> str:
        return str(self.refused(found) or "")

    def refused(self, found: Resource) -> HostNotReady | None:
        """Return the error if the directory has other rights than requested."""
        requested = {name: getattr(self, name) for name in ("mode", "user", "group")}
        have = {name: getattr(found, name) for name, value in requested.items() if value is not None}
        wrong = [name for name, value in have.items() if value != requested[name]]
        if not wrong:
            return None
        directory, options = posixpath.dirname(self.name), joined((f"socket_dir_{name}" for name in wrong), "and")
        return HostNotReady(
            f"directory {directory} has {_rights(have, wrong)}, and VIF {self.owner} requires "
            f"{_rights(requested, wrong)}: change it, or [vifplug_vhostuser] {options}",
            resource=f"directory {directory}",
            option=f"[vifplug_vhostuser] socket_dir_{wrong[0]}",
            path=directory,
        )


def _taken(device: Resource, taking: Taking | None, observed: Observation) -> Iterator[VifplugError]:
    """Yield why a VIF cannot have a device that something else uses."""
    seen = observed.get(device.identity)
    if seen and taking:
        for obstacle in obstacles(taking, seen.uses):
            yield obstacle.error(device.described, taking, device.owner)


def _rights(values: Mapping[str, int], names: Iterable[str]) -> str:
    """Return mode, owner and group in words."""
    return joined((f"mode {values[name]:04o}" if name == "mode" else f"{name} {values[name]}" for name in names), "and")
