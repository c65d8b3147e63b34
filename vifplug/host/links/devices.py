"""The devices that vifplug makes (taps, veths, bridges, macvtaps), and the lower devices of macvtaps."""

from __future__ import annotations

import dataclasses
import errno
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from vifplug import errors
from vifplug.host.links import devnode, sysctls, tap
from vifplug.host.links.base import NetlinkBackend
from vifplug.host.links.uplinks import uplinks
from vifplug.host.links.uses import DeviceUses
from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import Link, LinkChange
from vifplug.host.netlink.socket import NetlinkRefused, explained, explaining
from vifplug.plan.condition import Condition
from vifplug.plan.registry import (
    Device,
    Identity,
    LibvirtTap,
    LinuxBridge,
    LowerDevice,
    Macvtap,
    Ownership,
    Resource,
    Tap,
    VethPair,
    mark,
    marked_for,
)
from vifplug.plan.steps import Observed, Step

#: The kernel's kind (IFLA_INFO_KIND) of what vifplug makes
_KINDS: dict[type[Resource], str] = {Tap: "tun", VethPair: "veth", LinuxBridge: "bridge", Macvtap: "macvtap"}
#: For a resource that vifplug does not create: the expected kind of link, and the expected mark
_EXPECTED: dict[type[Resource], tuple[str, str]] = {LibvirtTap: ("tap", "without the mark of vifplug")}
#: libvirt's mode -> the kernel's (linux/if_link.h, MACVLAN_MODE_*)
_MODES = {"private": "private", "vepa": "vepa", "bridge": "bridge", "passthrough": "passthru"}
_MODE_NAMES = {kernel: mode for mode, kernel in _MODES.items()}
#: The kernel counts these in USER_HZ, 100 in a second on every architecture (net/bridge/br_netlink.c)
_USER_HZ = 100
_IPV6_MIN_MTU = 1280  # RFC 8200 section 5; a device with less has no IPv6, and no sysctls for it (net/ipv6/addrconf.c)
#: up to so many devices are removed one by one: to remove a group, all links of the host are listed
_FEW = 8
_BRIDGE_DATA = {
    "ageing_time": ("IFLA_BR_AGEING_TIME", _USER_HZ),
    "forward_delay": ("IFLA_BR_FORWARD_DELAY", _USER_HZ),
    "stp": ("IFLA_BR_STP_STATE", 1),
    "multicast_snooping": ("IFLA_BR_MCAST_SNOOPING", 1),
    "vlan_filtering": ("IFLA_BR_VLAN_FILTERING", 1),
}


class DeviceBackend(NetlinkBackend):
    """The devices of the network namespace of ``netlink``."""

    resources: ClassVar[tuple[type[Resource], ...]] = (Tap, LibvirtTap, VethPair, LinuxBridge, Macvtap, LowerDevice)

    def __init__(self, netlink: Netlink | None = None, uses: DeviceUses | None = None) -> None:
        super().__init__(netlink)
        self._uses = uses or DeviceUses(self._netlink)

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """Send one RTM_GETLINK for each link, by name; see `vifplug.host.backend.Backend.observe`."""
        links = self._netlink.links(name for resource in desired for name in _names(resource))
        made = (links[each.name] for each in desired if isinstance(each, Device) and each.name in links)
        # the links below macvtaps and at the other ends of veth pairs
        others = self._netlink.named(link.link for link in made if link.link and link.kind in ("veth", "macvtap"))
        seen = {resource.identity: _observed(resource, links, others) for resource in desired}
        found = {identity: each for identity, each in seen.items() if each is not None}
        lowers = [each for each in desired if isinstance(each, LowerDevice) and each.identity in found]
        # a batch has one bridge for many VIFs
        conditions = {name: self._condition(links[name], each) for name, each in {e.name: e for e in lowers}.items()}
        for each in lowers:
            uses = self._uses.of(links[each.name], each.taking, each.owner, each.guest_mac) if each.taking else ()
            condition = conditions[each.name]
            found[each.identity] = dataclasses.replace(found[each.identity], condition=condition, uses=uses)
        return found

    def _condition(self, link: Link, desired: LowerDevice) -> Condition:
        ports = uplinks(self._netlink, link) if desired.link_kind == link.kind == "bridge" else ()
        return Condition(up=link.up, carrier=link.carrier, accept_ra=link.accept_ra, uplinks=ports)

    def make(self, after: Resource) -> None:
        """See `StepwiseBackend.make`."""
        with explaining(after, "create it", _explained):
            match after:
                case Tap():
                    self._make_tap(after)
                case LibvirtTap():
                    raise errors.Missing(f"{after} of VIF {after.owner} is created by libvirt: start the guest")
                case Device():
                    self._make_link(after)
                case _:
                    raise errors.Missing(f"{after} does not exist; create it before VIF {after.owner} is plugged")

    def change(self, before: Resource, after: Resource) -> None:
        """See `StepwiseBackend.change`."""
        with explaining(after, "change it", _explained):
            if isinstance(after, LowerDevice):
                self._change_lower(cast(LowerDevice, before), after)
            else:
                self._change_link(cast(Device, before), cast(Device, after))

    def remove(self, before: Resource) -> None:
        """Delete the link if it still has the mark of this VIF; the kernel removes the far end of a veth with it."""
        if isinstance(before, Device):
            for link in self._own([before]).values():
                self._delete(link, before)

    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        """See `StepwiseBackend.apply`. Many devices are removed together: all, or none if one is another's by now."""
        leaving = [step.before for step in steps if step.removes_device and isinstance(step.before, Device)]
        if not _FEW < len(leaving) == len(steps):
            super().apply(steps, done)
            return
        links = self._own(leaving)
        own = [each for each in leaving if each.name in links]
        marks = {
            links[each.name].index: mark(each.owner) if each.ownership is Ownership.OWNED else None for each in own
        }
        with explaining(leaving[0], "remove it and others"):
            self._netlink.delete_all(marks)
        done.extend(steps)

    def _own(self, devices: Sequence[Device]) -> dict[str, Link]:
        """Return the links of devices that exist. Raises Conflict if one has no longer the mark of its VIF."""
        links = self._netlink.links(each.name for each in devices)
        for each in devices:
            if each.name in links and (stranger := _stranger(links[each.name], each)):
                raise errors.Conflict(f"{each} of VIF {each.owner} is not removed: got {stranger}")
        return links

    # -- making ---------------------------------------------------------------------------------------------------

    def _make_tap(self, after: Tap) -> None:
        user = 0 if after.user is None else after.user
        with tap.opened(after.name, multi_queue=after.multi_queue) as descriptor:
            index = self._netlink.index(after.name)
            tap.give(descriptor, after.name, user=user, group=after.group)
            sysctls.write(after.name, after.sysctls)
            whole = LinkChange(
                alias=mark(after.owner), mac=after.mac, mtu=after.mtu, up=after.up or None, txqueuelen=after.txqueuelen
            )
            self._netlink.set([(after.name, whole)], read=False, indexes={after.name: index})
            tap.persist(descriptor, after.name)

    def _make_link(self, after: Device) -> None:
        """Create it down, write sysctls, then mark it and set it up.

        The kernel takes no alias at creation (net/core/rtnetlink.c, rtnl_create_link), but it takes a group. The group
        is the mark until the alias is set, so that the link is found if this process is killed in between.
        """
        self._netlink.create(after.name, self._creation(after))
        indexes = {name: self._netlink.index(name) for name in after.links}
        promiscuous = after.promiscuous if isinstance(after, VethPair) else None
        last = LinkChange(alias=mark(after.owner), group=0, up=after.up or None, promiscuous=promiscuous)
        try:
            self._write(after, after.sysctls, last, indexes)
            if isinstance(after, Macvtap) and after.user is not None:
                self._give_node(after, after.user)
        except (NetlinkRefused, errors.VifplugError):
            self.remove(after)
            raise

    def _write(self, device: Device, values: Mapping[str, str], change: LinkChange, indexes: Mapping[str, int]) -> None:
        """Write sysctls, then settings, of every link of a device."""
        for name in device.links:
            sysctls.write(name, values)
        self._netlink.set([(name, change) for name in device.links], indexes=indexes)

    def _give_node(self, macvtap: Macvtap, user: int) -> None:
        devnode.give(macvtap.name, self._link(macvtap.name, macvtap).index, user)

    def _creation(self, after: Device) -> LinkChange:
        born = LinkChange(kind=_KINDS[type(after)], mtu=after.mtu, group=birth_group(after.owner))
        match after:
            case VethPair():
                return dataclasses.replace(born, peer=after.peer)
            case LinuxBridge():
                return dataclasses.replace(born, data=_bridge_data(after, None))
            case Macvtap():
                mode = {"IFLA_MACVTAP_MODE": _MODES[after.mode]}
                lower = self._link(after.lower, after).index
                born = dataclasses.replace(born, mac=after.mac, queues=after.queues, txqueuelen=after.txqueuelen)
                return dataclasses.replace(born, link=lower, data=mode)
        raise AssertionError(after)

    # -- changing -------------------------------------------------------------------------------------------------

    def _change_link(self, before: Device, after: Device) -> None:
        """Change links by index: another's that has got the name meanwhile is not touched."""
        found = self._netlink.links(after.links)
        if after.name in found and (stranger := _stranger(found[after.name], after)):
            raise errors.Conflict(f"{after} of VIF {after.owner} is not changed: got {stranger}")
        indexes = {name: link.index for name, link in found.items()}
        sysctls_changed = _new_sysctls(before, after)
        ours = after.ownership is Ownership.OWNED
        changed = LinkChange(
            alias=mark(after.owner) if ours else None,
            group=0 if ours else None,
            kind="bridge" if isinstance(after, LinuxBridge) else None,
            data=_bridge_data(after, cast(LinuxBridge, before)) if isinstance(after, LinuxBridge) else {},
            **{name: _new(before, after, name) for name in ("mac", "mtu", "up", "promiscuous", "txqueuelen")},
        )
        if _regains_ipv6(before, after):
            down = LinkChange(mtu=after.mtu, up=False)
            self._netlink.set([(name, down) for name in after.links], indexes=indexes)
            changed, sysctls_changed = dataclasses.replace(changed, up=after.up), dict(after.sysctls)
        self._write(after, sysctls_changed, changed, indexes)
        if isinstance(after, Macvtap) and (user := _new(before, after, "user")) is not None:
            self._give_node(after, user)

    def _change_lower(self, before: LowerDevice, after: LowerDevice) -> None:
        mac, mtu, up = (_new(before, after, name) for name in ("mac", "mtu", "up"))
        sysctls.write(after.name, _new_sysctls(before, after))
        try:
            self._netlink.set([(after.name, LinkChange(mac=mac, mtu=mtu, up=up))])
        except NetlinkRefused:
            if mac is None or not before.up:
                raise
            # A driver without IFF_LIVE_ADDR_CHANGE refuses a MAC while the device is up (net/ethernet/eth.c).
            steps = [LinkChange(up=False), LinkChange(mac=mac, mtu=mtu), LinkChange(up=after.up)]
            self._netlink.set([(after.name, each) for each in steps])


def _explained(refused: NetlinkRefused, after: Resource, doing: str) -> errors.VifplugError:
    if refused.code == errno.EOPNOTSUPP and isinstance(after, LinuxBridge) and after.vlan_filtering:
        return errors.KernelLacks(f"{after}: vlan_filtering is not supported: this kernel has no bridge VLAN filtering")
    if refused.code in (errno.EBUSY, errno.EINVAL) and isinstance(after, Macvtap):
        # what is in this namespace was looked for before; a container's macvlan is in another (`vifplug.plan.uses`)
        message = f"{after}: could not {doing} on {after.lower}: {refused}; something uses {after.lower}"
        return errors.Conflict(f"{message}, perhaps a macvlan or ipvlan of a container: choose another device")
    if refused.code == errno.EADDRINUSE and isinstance(after, Macvtap):
        message = f"{after}: {after.lower}, or a macvlan or macvtap on it, has the MAC {after.mac}"
        return errors.Conflict(f"{message}: give the VIF another MAC, or remove what has it ('ip -d link')")
    return explained(refused, after, doing)


def birth_group(owner: str) -> int:
    """Return the IFLA_GROUP that marks a VIF's link during creation: from its id, 1 to 2^31 - 1 (ip(8)'s limit)."""
    return zlib.crc32(mark(owner).encode()) & 0x7FFFFFFF or 1


# -- reading ----------------------------------------------------------------------------------------------------------


def _names(resource: Resource) -> tuple[str, ...]:
    return resource.links if isinstance(resource, Device) else (resource.name,)


def _observed(desired: Resource, links: Mapping[str, Link], others: Mapping[int, Link]) -> Observed | None:
    link = links.get(desired.name)
    if link is None:
        return None
    if isinstance(desired, LowerDevice):
        return _observed_lower(desired, link)
    assert isinstance(desired, Device)
    if stranger := _stranger(link, desired):
        return Observed(resource=None, foreign=stranger)
    held = isinstance(desired, (Tap, LibvirtTap)) and (link.carrier or bool(link.data.get("IFLA_TUN_NUM_QUEUES")))
    return Observed(resource=_found(desired, link, links, others), held=held)


def _observed_lower(desired: LowerDevice, link: Link) -> Observed:
    if desired.link_kind not in (None, link.kind):
        found = f"a {link.kind or 'network'} device of that name, which is not a {desired.link_kind}"
        hint = ": correct the VIF's source"
        if desired.link_kind == "bridge" and link.kind in ("tun", "openvswitch"):  # as a bridge of Open vSwitch is
            hint = "; for an Open vSwitch bridge add a virtualport of type openvswitch"
        return Observed(resource=None, foreign=found + hint)
    values = sysctls.read(link.name, desired.sysctls)
    filters = None
    if "IFLA_BR_VLAN_DEFAULT_PVID" in link.data:  # only with CONFIG_BRIDGE_VLAN_FILTERING (net/bridge/br_netlink.c)
        filters = bool(link.data.get("IFLA_BR_VLAN_FILTERING"))
    changes = {"up": link.up, "mac": link.mac, "mtu": link.mtu, "sysctls": values, "vlan_filtering": filters}
    return Observed(resource=desired.trusted(**changes, index=link.index, permanent_mac=link.permanent_mac))


def _stranger(link: Link, desired: Device) -> str:
    """Return, as a phrase, why ``link`` is not the one that vifplug made for this VIF; empty if it is."""
    kind = _kind(link)
    if link.alias == mark(desired.owner):
        marked = "with the mark of this VIF"
    elif owner := marked_for(link.alias):
        marked = f"marked for VIF {owner}"
    elif not link.alias and link.group == birth_group(desired.owner):
        marked = "with the mark of this VIF"
    else:
        marked = "without the mark of vifplug"
    expected = _EXPECTED.get(type(desired), (desired.kind, "with the mark of this VIF"))
    if (kind, marked) == expected:
        return ""
    return f"a {kind or 'network device'} {marked}"


def is_free(link: Link | None, desired: Device) -> bool:
    """Return whether a link is of the desired kind, has no mark, and outlives the program that made it."""
    lasting = link is not None and (link.kind != "tun" or bool(link.data.get("IFLA_TUN_PERSIST")))
    return link is not None and lasting and _kind(link) == desired.kind and not link.alias and not link.group


def _kind(link: Link) -> str:
    """Return the kind of resource that a link is."""
    return "tap" if link.kind == "tun" and link.data.get("IFLA_TUN_TYPE") == tap.TYPE_TAP else link.kind


def _found(desired: Device, link: Link, links: Mapping[str, Link], others: Mapping[int, Link]) -> Device:
    below = others.get(link.link or 0)
    if isinstance(desired, VethPair):
        return _found_veth(desired, link, links.get(desired.peer), below)
    found: dict[str, Any] = {"mtu": link.mtu, "up": link.up, "sysctls": sysctls.read(link.name, desired.sysctls)}
    match desired:
        case LibvirtTap():
            found |= {"mac": link.mac, "txqueuelen": link.txqueuelen}
        case Tap():
            multi_queue = bool(link.data.get("IFLA_TUN_MULTI_QUEUE"))
            user, group = link.data.get("IFLA_TUN_OWNER"), link.data.get("IFLA_TUN_GROUP")
            found |= {"mac": link.mac, "txqueuelen": link.txqueuelen}
            found |= {"multi_queue": multi_queue, "user": user, "group": group}
        case Macvtap():
            mode = _MODE_NAMES.get(link.data.get("IFLA_MACVTAP_MODE", ""), "none")
            # only if it is requested: the node is in a /dev that other network namespaces use as well
            user = None if desired.user is None else devnode.user(link.name, link.index)
            found |= {"mac": link.mac, "txqueuelen": link.txqueuelen}
            found |= {"queues": link.queues, "mode": mode, "user": user, "lower": below.name if below else "-"}
        case LinuxBridge():
            found |= {name: _bridge_value(link, name) for name in _BRIDGE_DATA}
    return desired.trusted(**found)


def _found_veth(desired: VethPair, link: Link, peer: Link | None, below: Link | None) -> VethPair:
    """Return one record for both ends. Where the ends differ, it has the value of the end that is not as desired."""
    if peer is None or below is None or below.index != peer.index:
        peer = below = link if below is None else below
    ends = (link, peer)
    found: dict[str, list[Any]] = {name: [getattr(end, name) for end in ends] for name in ("mtu", "up", "promiscuous")}
    found["sysctls"] = [sysctls.read(end.name, desired.sysctls) for end in ends]
    values = {name: _first_mismatch(getattr(desired, name), each) for name, each in found.items()}
    return desired.trusted(peer=below.name, **values)


def _first_mismatch(desired: Any, found: Sequence[Any]) -> Any:
    return next((value for value in found if value != desired), desired)


# -- values -----------------------------------------------------------------------------------------------------------


def _bridge_data(after: LinuxBridge, before: LinuxBridge | None) -> dict[str, int]:
    """Return the attributes that differ. A new bridge filters no VLANs, and some kernels cannot filter them."""
    desired = {name: getattr(after, name) for name in _BRIDGE_DATA}
    if before is None:
        desired["vlan_filtering"] = after.vlan_filtering or None
    return {
        _BRIDGE_DATA[name][0]: int(value) * _BRIDGE_DATA[name][1]
        for name, value in desired.items()
        if value is not None and value != getattr(before, name, None)
    }


def _bridge_value(link: Link, name: str) -> int | bool:
    attribute, unit = _BRIDGE_DATA[name]
    value = int(link.data.get(attribute, 0))  # a kernel without VLAN filtering leaves that one out: it is off
    return bool(value) if unit == 1 else value // unit


def _regains_ipv6(before: Device, after: Device) -> bool:
    """Return whether the change of MTU enables IPv6 again, with default sysctls, which must not take effect."""
    return (before.mtu or _IPV6_MIN_MTU) < _IPV6_MIN_MTU <= (after.mtu or 0)


def _new(before: Resource, after: Resource, name: str) -> Any:
    """Return the value in ``after`` if it differs; None if it is equal, or if the kind has no such field."""
    value = getattr(after, name, None)
    return None if value == getattr(before, name, None) else value


def _new_sysctls(before: Device | LowerDevice, after: Device | LowerDevice) -> dict[str, str]:
    return {key: value for key, value in after.sysctls.items() if before.sysctls.get(key) != value}
