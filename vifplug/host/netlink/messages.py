"""Encode and decode rtnetlink(7) messages about links. Only this module uses pyroute2, which has the formats."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg, nla

from vifplug.host.netlink.socket import HEADER, NLM_F_ACK, Request, attribute_list

# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK, RTM_GETVLAN = 16, 17, 18, 19, 114
RTM_GETADDR, RTM_GETROUTE = 22, 26
RTEXT_FILTER_VF, RTEXT_FILTER_SKIP_STATS = 1, 8
IFF_UP, IFF_LOOPBACK, IFF_PROMISC = 0x1, 0x8, 0x100  # linux/if.h
_ARPHRD_ETHER = 1  # linux/if_arp.h
AF_BRIDGE = 7  # linux/socket.h

#: one IFLA_VF_* attribute and its value
VfAttribute = tuple[str, Mapping[str, Any]]


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
    mtu: int = 0
    up: bool = False
    promiscuous: bool = False
    carrier: bool = False
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


class _Message(ifinfmsg):  # type: ignore[misc]
    """pyroute2's link message, with IFLA_VF_VLAN_INFO padded to the size that the kernel requires."""

    class vflist(ifinfmsg.vflist):  # type: ignore[misc]
        class vfinfo(ifinfmsg.vflist.vfinfo):  # type: ignore[misc]
            class vf_vlist(ifinfmsg.vflist.vfinfo.vf_vlist):  # type: ignore[misc]
                class ivvi(nla):  # type: ignore[misc]
                    # struct ifla_vf_vlan_info is 16 bytes long, of which pyroute2 0.9.7 writes 14
                    fields = (("vf", "I"), ("vlan", "I"), ("qos", "I"), ("proto", ">H"), ("__align", "2x"))


# -- requests ---------------------------------------------------------------------------------------------------------

#: the fields of `Link` and `LinkChange` that are one attribute of the message
_PLAIN = {
    "mac": "IFLA_ADDRESS",
    "mtu": "IFLA_MTU",
    "link": "IFLA_LINK",
    "master": "IFLA_MASTER",
    "alias": "IFLA_IFALIAS",
    "group": "IFLA_GROUP",
}


def encoded(
    kind: int,
    flags: int,
    attributes: Sequence[Sequence[Any]] = (),
    settings: LinkChange | None = None,
    *,
    header: Mapping[str, int] = MappingProxyType({}),
) -> Request:
    """Return a link message; ``header`` is its struct ifinfomsg.

    ``settings`` gives further attributes, and the interface flags, which are in the header.
    """
    message = _Message()
    message.update(header, attrs=list(attributes))
    if settings is not None:
        given = [(IFF_UP, settings.up), (IFF_PROMISC, settings.promiscuous)]
        message["flags"] = sum(flag for flag, value in given if value)
        message["change"] = sum(flag for flag, value in given if value is not None)
        message["attrs"] += _attributes(settings)
    message.encode()
    return (kind, flags, bytes(message.data[HEADER.size :]))


def set_request(name: str, settings: LinkChange) -> Request:
    """Return the request to change a link. RTM_SETLINK would ignore settings of its kind and as a bridge port."""
    kind = RTM_NEWLINK if settings.kind or settings.port else RTM_SETLINK
    return encoded(kind, NLM_F_ACK, [["IFLA_IFNAME", name]], settings)


def vf_request(pf: str, attributes: Sequence[VfAttribute]) -> Request:
    """Return the request to change the settings of one VF of a PF."""
    vf = {"attrs": [["IFLA_VF_INFO", {"attrs": [list(each) for each in attributes]}]]}
    return encoded(RTM_SETLINK, NLM_F_ACK, [["IFLA_IFNAME", pf], ["IFLA_VFINFO_LIST", vf]])


def vlan_request(kind: int, index: int, vlans: Iterable[tuple[int, int]]) -> Request:
    """Return the request to add VLANs to a bridge port (RTM_SETLINK), or to remove them (RTM_DELLINK)."""
    infos = [["IFLA_BRIDGE_VLAN_INFO", {"flags": flags, "vid": vid}] for vid, flags in vlans]
    return encoded(kind, NLM_F_ACK, [["IFLA_AF_SPEC", {"attrs": infos}]], header={"index": index, "family": AF_BRIDGE})


def _attributes(settings: LinkChange) -> list[Any]:
    values = [(attribute, getattr(settings, name)) for name, attribute in _PLAIN.items()]
    values += [("IFLA_NUM_TX_QUEUES", settings.queues), ("IFLA_NUM_RX_QUEUES", settings.queues)]
    attrs: list[Any] = [[attribute, value] for attribute, value in values if value is not None]
    info = _info(settings)
    return [*attrs, ["IFLA_LINKINFO", {"attrs": info}]] if info else attrs


def _info(settings: LinkChange) -> list[Any]:
    info: list[Any] = [] if settings.kind is None else [["IFLA_INFO_KIND", settings.kind]]
    data: list[Any] = list(settings.data.items())
    if settings.peer is not None:
        both = LinkChange(mtu=settings.mtu, group=settings.group)
        data.append(["VETH_INFO_PEER", {"attrs": [["IFLA_IFNAME", settings.peer], *_attributes(both)]}])
    if data:
        info.append(["IFLA_INFO_DATA", {"attrs": data}])
    if settings.port:
        port = {"attrs": list(settings.port.items())}
        info += [["IFLA_INFO_SLAVE_KIND", "bridge"], ["IFLA_INFO_SLAVE_DATA", port]]
    return info


# -- answers ----------------------------------------------------------------------------------------------------------


def parsed_vlans(message: bytes) -> Iterator[tuple[int, int]]:
    """Yield (id, flags) of an RTM_NEWVLAN: BRIDGE_VLANDB_ENTRY (1) with _INFO (1: flags, vid), _RANGE (2: last vid)."""
    for kind, entry in attribute_list(message[HEADER.size + 8 :]):
        parts = dict(attribute_list(entry)) if kind == 1 else {}
        if 1 in parts:
            flags, first = struct.unpack_from("=HH", parts[1])
            last = struct.unpack_from("=H", parts[2])[0] if 2 in parts else first
            yield from ((vid, flags) for vid in range(first, last + 1))


# linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h
_IFLA_LINK, _IFLA_LINKINFO, _IFLA_INFO_KIND, _IFLA_LINK_NETNSID = 5, 18, 1, 37
_IFA_ADDRESS, _IFA_LOCAL, _RTA_DST = 1, 2, 1
_RTPROT_KERNEL, _RTN_UNICAST, _RT_SCOPE_LINK = 2, 1, 253


@dataclass(frozen=True, slots=True)
class Place:
    """Where a link is: its index, that of the link below (None: another namespace's, or none), and its kind."""

    index: int
    below: int | None
    kind: str


def place(reply: bytes) -> Place:
    """Return where the link in an RTM_NEWLINK is: far cheaper than `parsed`, for listings of which few links matter."""
    found = dict(attribute_list(reply[HEADER.size + 16 :]))  # after struct ifinfomsg
    [index] = struct.unpack_from("=i", reply, HEADER.size + 4)
    below = found.get(_IFLA_LINK) if _IFLA_LINK_NETNSID not in found else None
    kind = dict(attribute_list(found.get(_IFLA_LINKINFO, b""))).get(_IFLA_INFO_KIND, b"")
    return Place(index, struct.unpack("=I", below)[0] if below else None, kind.rstrip(b"\0").decode())


def parsed_address(reply: bytes) -> str | None:
    """Return the address in an RTM_NEWADDR with its prefix; None if it is link-local, as the kernel's own are."""
    family, prefix, _, scope = reply[HEADER.size : HEADER.size + 4]
    found = dict(attribute_list(reply[HEADER.size + 8 :]))  # after struct ifaddrmsg
    if family == socket.AF_INET6 and scope == _RT_SCOPE_LINK:
        return None
    return f"{socket.inet_ntop(family, found.get(_IFA_LOCAL) or found[_IFA_ADDRESS])}/{prefix}"


def parsed_route(reply: bytes) -> str | None:
    """Return the destination in an RTM_NEWROUTE; None if the kernel made the route for an address or for itself."""
    family, length, _, _, _, protocol, _, kind = reply[HEADER.size : HEADER.size + 8]
    if protocol == _RTPROT_KERNEL or kind != _RTN_UNICAST or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    found = dict(attribute_list(reply[HEADER.size + 12 :]))  # after struct rtmsg
    if not length:
        return "default"
    return f"{socket.inet_ntop(family, found[_RTA_DST])}/{length}"


_ACCEPT_RA_ALWAYS = 2  # also with forwarding on: Documentation/networking/ip-sysctl.rst

#: the fields of `Link` that are one attribute; one that the kernel leaves out has the field's default
_READ = {
    **_PLAIN,
    "name": "IFLA_IFNAME",
    "queues": "IFLA_NUM_RX_QUEUES",
    "qdisc": "IFLA_QDISC",
    "max_mtu": "IFLA_MAX_MTU",
}


def parsed(reply: bytes) -> Link:
    """Return the link in an RTM_NEWLINK."""
    message = _Message(reply)
    message.decode()
    get = message.get_attr
    found = {name: get(attribute) for name, attribute in _READ.items()}
    if get("IFLA_LINK_NETNSID") is not None:
        found["link"] = None  # an index in another network namespace
    info, vfs = _nested(get("IFLA_LINKINFO")), get("IFLA_VFINFO_LIST")
    return Link(
        index=message["index"],
        up=bool(message["flags"] & IFF_UP),
        promiscuous=bool(message["flags"] & IFF_PROMISC),
        carrier=bool(get("IFLA_CARRIER")),
        ethernet=message["ifi_type"] == _ARPHRD_ETHER and not message["flags"] & IFF_LOOPBACK,
        aliases=tuple(filter(None, (*_altnames(get("IFLA_PROP_LIST")), get("IFLA_PARENT_DEV_NAME")))),
        accept_ra=_accept_ra(_nested(_nested(get("IFLA_AF_SPEC")).get("AF_INET6")).get("IFLA_INET6_CONF")),
        kind=info.get("IFLA_INFO_KIND") or "",
        data=_nested(info.get("IFLA_INFO_DATA")),
        port=_nested(info.get("IFLA_INFO_SLAVE_DATA")),
        vfs=dict(_vf(dict(vf["attrs"])) for _, vf in (vfs["attrs"] if vfs else ())),
        **{name: value for name, value in found.items() if value is not None},
    )


def _altnames(properties: Any) -> Iterator[str]:
    return (name for kind, name in (properties or {"attrs": ()})["attrs"] if kind == "IFLA_ALT_IFNAME")


def _accept_ra(conf: Mapping[str, int] | None) -> int:
    """Return what `Link.accept_ra` says of IFLA_INET6_CONF, which a device without IPv6 does not have."""
    if not conf or conf["disable_ipv6"] or (conf["forwarding"] and conf["accept_ra"] != _ACCEPT_RA_ALWAYS):
        return 0
    return conf["accept_ra"]


def _nested(value: Any) -> dict[str, Any]:
    return dict(value["attrs"]) if isinstance(value, dict) and "attrs" in value else {}


LINK_STATES = {0: "auto", 1: "enable", 2: "disable"}  # IFLA_VF_LINK_STATE_*: linux/if_link.h
VLAN_PROTOCOLS = {0x8100: "802.1Q", 0x88A8: "802.1ad"}  # linux/if_ether.h
_UNSAID = 0xFFFFFFFF  # the driver does not report it: rtnl_fill_vfinfo sets -1


def _vf(parts: Mapping[str, Any]) -> tuple[int, VfInfo]:
    vlan, rate = parts.get("IFLA_VF_VLAN", {}), parts.get("IFLA_VF_RATE", {})
    listed = _nested(parts.get("IFLA_VF_VLAN_LIST")).get("IFLA_VF_VLAN_INFO", {})
    return parts["IFLA_VF_MAC"]["vf"], {
        "mac": parts["IFLA_VF_MAC"]["mac"],
        "vlan": vlan.get("vlan", 0),
        "vlan_qos": vlan.get("qos", 0),
        "vlan_proto": VLAN_PROTOCOLS.get(listed.get("proto"), "802.1Q"),
        "trust": _flag(parts.get("IFLA_VF_TRUST", {}).get("trust")),
        "spoof_check": _flag(parts.get("IFLA_VF_SPOOFCHK", {}).get("spoofchk")),
        "link_state": LINK_STATES.get(parts.get("IFLA_VF_LINK_STATE", {}).get("link_state")),
        "min_tx_rate": rate.get("min_tx_rate"),
        "max_tx_rate": rate.get("max_tx_rate"),
    }


def _flag(value: int | None) -> bool | None:
    return None if value is None or value == _UNSAID else bool(value)
