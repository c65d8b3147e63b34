"""Encode and decode rtnetlink(7) messages about links; the formats are in `vifplug.host.netlink.attributes`."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from vifplug import errors
from vifplug.host.netlink import attributes as tables
from vifplug.host.netlink.attributes import BR_VLAN_MSG, DATA, IFADDRMSG, IFINFOMSG, LINK, RTMSG
from vifplug.host.netlink.socket import HEADER, NLM_F_ACK, Request, cut_short

# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK, RTM_GETVLAN = 16, 17, 18, 19, 114
RTM_GETADDR, RTM_GETROUTE = 22, 26
RTEXT_FILTER_VF, RTEXT_FILTER_SKIP_STATS = 1, 8
IFF_UP, IFF_LOOPBACK, IFF_RUNNING, IFF_PROMISC = 0x1, 0x8, 0x40, 0x100  # linux/if.h
_ARPHRD_ETHER = 1  # linux/if_arp.h
AF_BRIDGE = 7  # linux/socket.h

#: names of attributes, and their values
Attributes = Iterable[tuple[str, Any]]
#: one IFLA_VF_* attribute and its value
VfAttribute = tuple[str, Any]

#: a VF as its PF reports it (IFLA_VF_INFO): the settings of a `vifplug.plan.registry.VirtualFunction`, by field
VfInfo = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Link:
    """A network device as RTM_GETLINK reports it; ``data`` and ``port`` are IFLA_INFO_DATA and IFLA_INFO_SLAVE_DATA."""

    index: int
    name: str
    kind: str = ""
    alias: str = ""
    group: int = 0
    mac: str | None = None
    #: that of the hardware (IFLA_PERM_ADDRESS: Linux 5.6); None if the driver tells none, as of virtual devices
    permanent_mac: str | None = None
    mtu: int = 0
    txqueuelen: int = 0
    up: bool = False
    promiscuous: bool = False
    carrier: bool = False
    #: whether it passes frames; the rest of the kernel learns of a carrier a little later (net/core/link_watch.c)
    running: bool = False
    link: int | None = None
    master: int | None = None
    queues: int = 1
    qdisc: str | None = None
    #: whether it is an Ethernet device, and no loopback
    ethernet: bool = True
    #: its alternative names, and the address of its PCI function (IFLA_PARENT_DEV_NAME: Linux 5.14)
    aliases: tuple[str, ...] = ()
    #: bytes; 0: no limit
    max_mtu: int = 0
    #: its sysctl accept_ra; 0 if it ignores router advertisements for another reason (net/ipv6/ndisc.c, ipv6_accept_ra)
    accept_ra: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
    port: Mapping[str, Any] = field(default_factory=dict)
    vfs: Mapping[int, VfInfo] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LinkChange:
    """The settings to write to a link; None is left out. ``data`` and ``port`` have the kernel's own attribute names.

    ``master`` is an index; 0 removes the link from its master. ``peer`` is the other end of a new veth.
    """

    mac: str | None = None
    mtu: int | None = None
    txqueuelen: int | None = None
    alias: str | None = None
    group: int | None = None
    up: bool | None = None
    promiscuous: bool | None = None
    master: int | None = None
    link: int | None = None
    queues: int | None = None
    kind: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    port: Mapping[str, Any] = field(default_factory=dict)
    peer: str | None = None


#: the attributes of all tables of `DATA`
_KNOWN = frozenset(itertools.chain.from_iterable(DATA.values()))


class Details(Mapping[str, Any]):
    """What a link has as one of its kind, IFLA_INFO_DATA; or as a port, IFLA_INFO_SLAVE_DATA. ``kind``: see `DATA`.

    What is in no table is read with pyroute2's formats, which are imported when somebody asks for it.
    """

    def __init__(self, kind: str, data: bytes) -> None:
        self._kind, self._data = kind, data

    def __getitem__(self, name: str) -> Any:
        return self._own[name] if name in self._own or name in _KNOWN else self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @cached_property
    def _own(self) -> dict[str, Any]:
        return DATA[self._kind].unpack(self._data) if self._kind in DATA else {}

    @cached_property
    def _all(self) -> Mapping[str, Any]:
        from vifplug.host.netlink import foreign

        found = foreign.unpacked(self._kind, self._data)
        return {name: value for name, value in found.items() if name not in _KNOWN} | self._own


# -- requests ---------------------------------------------------------------------------------------------------------

#: the fields of `Link` and `LinkChange` that are one attribute of the message
_PLAIN = {
    "mac": "IFLA_ADDRESS",
    "mtu": "IFLA_MTU",
    "txqueuelen": "IFLA_TXQLEN",
    "link": "IFLA_LINK",
    "master": "IFLA_MASTER",
    "alias": "IFLA_IFALIAS",
    "group": "IFLA_GROUP",
}


def encoded(
    kind: int, flags: int, attributes: Attributes = (), settings: LinkChange | None = None, *, index: int = 0
) -> Request:
    """Return a link message. ``settings`` gives further attributes, and the interface flags of the header."""
    value = change = 0
    if settings is not None:
        given = [(IFF_UP, settings.up), (IFF_PROMISC, settings.promiscuous)]
        value = sum(flag for flag, desired in given if desired)
        change = sum(flag for flag, desired in given if desired is not None)
        attributes = [*attributes, *_attributes(settings)]
    return (kind, flags, IFINFOMSG.pack(0, 0, index, value, change) + LINK.pack(attributes))


def set_request(link: str | int, settings: LinkChange) -> Request:
    """Return the request to change a link, by name or index. RTM_SETLINK would ignore settings of its kind and as a
    bridge port.
    """
    kind = RTM_NEWLINK if settings.kind or settings.port else RTM_SETLINK
    if isinstance(link, int):
        return encoded(kind, NLM_F_ACK, settings=settings, index=link)
    return encoded(kind, NLM_F_ACK, [("IFLA_IFNAME", link)], settings)


def vf_request(pf: str, attributes: Sequence[VfAttribute]) -> Request:
    """Return the request to change the settings of one VF of a PF."""
    return encoded(RTM_SETLINK, NLM_F_ACK, [("IFLA_IFNAME", pf), ("IFLA_VFINFO_LIST", [("IFLA_VF_INFO", attributes)])])


def vlan_request(kind: int, index: int, vlans: Iterable[tuple[int, int]]) -> Request:
    """Return the request to add VLANs to a bridge port (RTM_SETLINK), or to remove them (RTM_DELLINK)."""
    infos = [("IFLA_BRIDGE_VLAN_INFO", {"flags": flags, "vid": vid}) for vid, flags in vlans]
    return (kind, NLM_F_ACK, IFINFOMSG.pack(AF_BRIDGE, 0, index, 0, 0) + tables.BRIDGE.pack([("IFLA_AF_SPEC", infos)]))


def _attributes(settings: LinkChange) -> list[tuple[str, Any]]:
    values = [(attribute, getattr(settings, name)) for name, attribute in _PLAIN.items()]
    values += [("IFLA_NUM_TX_QUEUES", settings.queues), ("IFLA_NUM_RX_QUEUES", settings.queues)]
    values += [("IFLA_LINKINFO", _info(settings) or None)]
    return [(attribute, value) for attribute, value in values if value is not None]


def _info(settings: LinkChange) -> list[tuple[str, Any]]:
    info: list[tuple[str, Any]] = [] if settings.kind is None else [("IFLA_INFO_KIND", settings.kind)]
    data = dict(settings.data)
    if settings.peer is not None:
        both = LinkChange(mtu=settings.mtu, group=settings.group)
        data["VETH_INFO_PEER"] = [("IFLA_IFNAME", settings.peer), *_attributes(both)]
    if data:
        info.append(("IFLA_INFO_DATA", _packed(settings.kind or "", data)))
    if settings.port:
        port = _packed("bridge_slave", settings.port)
        info += [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", port)]
    return info


def _packed(kind: str, values: Mapping[str, Any]) -> bytes:
    if kind in DATA and all(name in DATA[kind] for name in values):
        return DATA[kind].pack(values.items())
    from vifplug.host.netlink import foreign

    return foreign.packed(kind, values)


# -- answers ----------------------------------------------------------------------------------------------------------


def _header(layout: struct.Struct, reply: bytes) -> tuple[Any, ...]:
    """Return what is before the attributes of an answer."""
    try:
        return layout.unpack_from(reply, HEADER.size)
    except struct.error:
        raise cut_short(HEADER.size + layout.size, len(reply)) from None


_RTPROT_KERNEL, _RTN_UNICAST, _RT_SCOPE_LINK = 2, 1, 253  # linux/rtnetlink.h


def parsed_vlans(reply: bytes) -> Iterator[tuple[int, int]]:
    """Yield (id, flags) of an RTM_NEWVLAN."""
    for entry in tables.VLANS.unpack(reply, HEADER.size + BR_VLAN_MSG.size):
        if first := entry.get("BRIDGE_VLANDB_ENTRY_INFO"):
            last = entry.get("BRIDGE_VLANDB_ENTRY_RANGE", first["vid"])
            yield from ((vid, first["flags"]) for vid in range(first["vid"], last + 1))


def parsed_address(reply: bytes) -> str | None:
    """Return the address in an RTM_NEWADDR with its prefix; None if it is link-local, as the kernel's own are."""
    family, prefix, _, scope, _ = _header(IFADDRMSG, reply)
    if family == socket.AF_INET6 and scope == _RT_SCOPE_LINK:
        return None
    found = tables.ADDRESS.unpack(reply, HEADER.size + IFADDRMSG.size)
    return _prefixed(family, found.get("IFA_LOCAL") or found.get("IFA_ADDRESS"), prefix)


def parsed_route(reply: bytes) -> str | None:
    """Return the destination in an RTM_NEWROUTE; None if the kernel made the route for an address or for itself."""
    family, length, _, _, _, protocol, _, kind, _ = _header(RTMSG, reply)
    if protocol == _RTPROT_KERNEL or kind != _RTN_UNICAST or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    found = tables.ROUTE.unpack(reply, HEADER.size + RTMSG.size)
    return _prefixed(family, found.get("RTA_DST"), length) if length else "default"


def _prefixed(family: int, address: bytes | None, length: int) -> str | None:
    try:
        return f"{socket.inet_ntop(family, address or b'')}/{length}"
    except (OSError, ValueError):
        return None  # of another family, or of another size than its family's


def index_of(reply: bytes) -> int:
    """Return the index of the link in an RTM_NEWLINK."""
    index: int = _header(IFINFOMSG, reply)[2]
    return index


def below_sign(index: int) -> bytes:
    """Return the bytes that the RTM_NEWLINK of a link on another one has, and few others: to parse no more than these.

    A message with these bytes elsewhere is still to be parsed.
    """
    return LINK.pack([("IFLA_LINK", index)])


def kind_sign(kind: str) -> bytes:
    """Return the bytes that the RTM_NEWLINK of a kind has. No text of a link has them: each ends at its first NUL."""
    return tables.attribute(1, kind.encode() + b"\0")  # IFLA_INFO_KIND


_ACCEPT_RA_ALWAYS = 2  # also with forwarding on: Documentation/networking/ip-sysctl.rst

#: the fields of `Link` that are one attribute; one that the kernel leaves out has the field's default
_READ = _PLAIN | {
    "name": "IFLA_IFNAME",
    "queues": "IFLA_NUM_RX_QUEUES",
    "qdisc": "IFLA_QDISC",
    "max_mtu": "IFLA_MAX_MTU",
    "permanent_mac": "IFLA_PERM_ADDRESS",
}


def parsed(reply: bytes, table: tables.Table = LINK) -> Link:
    """Return the link in an RTM_NEWLINK, as far as the table has its attributes. Raises Unavailable without a name."""
    _, hardware, index, flags, _ = _header(IFINFOMSG, reply)
    found = table.unpack(reply, HEADER.size + IFINFOMSG.size)
    if "IFLA_IFNAME" not in found:
        raise errors.Unavailable(f"netlink: the kernel's answer lacks the name of link {index}; try again")
    if "IFLA_LINK_NETNSID" in found:
        found.pop("IFLA_LINK", None)  # an index in another network namespace
    info = found.get("IFLA_LINKINFO", {})
    kind, data, port = info.get("IFLA_INFO_KIND", ""), info.get("IFLA_INFO_DATA"), info.get("IFLA_INFO_SLAVE_DATA")
    names = (*found.get("IFLA_PROP_LIST", ()), found.get("IFLA_PARENT_DEV_NAME"))
    return Link(
        index=index,
        up=bool(flags & IFF_UP),
        promiscuous=bool(flags & IFF_PROMISC),
        carrier=bool(found.get("IFLA_CARRIER")),
        running=bool(flags & IFF_RUNNING),
        ethernet=hardware == _ARPHRD_ETHER and not flags & IFF_LOOPBACK,
        aliases=tuple(filter(None, names)),
        accept_ra=_accept_ra(found.get("IFLA_AF_SPEC", {}).get("AF_INET6", {}).get("IFLA_INET6_CONF")),
        kind=kind,
        data=Details(kind, data) if data else {},
        port=Details(f"{info.get('IFLA_INFO_SLAVE_KIND')}_slave", port) if port else {},
        vfs=dict(filter(None, map(_vf, found.get("IFLA_VFINFO_LIST", ())))),
        **{name: found[attribute] for name, attribute in _READ.items() if attribute in found},
    )


def _accept_ra(conf: Mapping[str, int] | None) -> int:
    """Return what `Link.accept_ra` says of IFLA_INET6_CONF, which a device without IPv6 does not have."""
    if not conf or conf["disable_ipv6"] or (conf["forwarding"] and conf["accept_ra"] != _ACCEPT_RA_ALWAYS):
        return 0
    return conf["accept_ra"]


LINK_STATES = {0: "auto", 1: "enable", 2: "disable"}  # IFLA_VF_LINK_STATE_*: linux/if_link.h
VLAN_PROTOCOLS = {0x8100: "802.1Q", 0x88A8: "802.1ad"}  # linux/if_ether.h
_UNSAID = 0xFFFFFFFF  # the driver does not report it: rtnl_fill_vfinfo sets -1


def _vf(parts: Mapping[str, Mapping[str, Any]]) -> tuple[int, VfInfo] | None:
    if "IFLA_VF_MAC" not in parts:
        return None
    vlan, rate = parts.get("IFLA_VF_VLAN", {}), parts.get("IFLA_VF_RATE", {})
    listed = parts.get("IFLA_VF_VLAN_LIST", {}).get("IFLA_VF_VLAN_INFO", {})
    return parts["IFLA_VF_MAC"]["vf"], {
        "mac": parts["IFLA_VF_MAC"]["mac"],
        "vlan": vlan.get("vlan", 0),
        "vlan_qos": vlan.get("qos", 0),
        "vlan_proto": VLAN_PROTOCOLS.get(listed.get("proto", 0), "802.1Q"),
        "trust": _flag(parts.get("IFLA_VF_TRUST", {}).get("trust")),
        "spoof_check": _flag(parts.get("IFLA_VF_SPOOFCHK", {}).get("spoofchk")),
        "link_state": LINK_STATES.get(parts.get("IFLA_VF_LINK_STATE", {}).get("link_state", -1)),
        "min_tx_rate": rate.get("min_tx_rate"),
        "max_tx_rate": rate.get("max_tx_rate"),
    }


def _flag(value: int | None) -> bool | None:
    return None if value is None or value == _UNSAID else bool(value)
