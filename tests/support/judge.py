"""pyroute2 as the judge of rtnetlink(7) messages: what it sends for a request, and what it reads in an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from vifplug.host.netlink.messages import LINK_STATES, VLAN_PROTOCOLS, Link, LinkChange

HEADER, IFINFOMSG = 16, 16  # bytes of struct nlmsghdr and struct ifinfomsg
UNSAID = 0xFFFFFFFF

_CHANGE = {
    "mac": "IFLA_ADDRESS",
    "mtu": "IFLA_MTU",
    "txqueuelen": "IFLA_TXQLEN",
    "link": "IFLA_LINK",
    "master": "IFLA_MASTER",
    "alias": "IFLA_IFALIAS",
    "group": "IFLA_GROUP",
}


def body(attributes: Iterable[tuple[str, Any]] = (), change: LinkChange | None = None, **header: int) -> bytes:
    """The message without its header, as pyroute2 encodes it."""
    message = ifinfmsg()
    message.update(header)
    message["attrs"] = [[name, _nested(value)] for name, value in attributes]
    if change is not None:
        flags = {0x1: change.up, 0x100: change.promiscuous}
        message["flags"] = sum(flag for flag, value in flags.items() if value)
        message["change"] = sum(flag for flag, value in flags.items() if value is not None)
        message["attrs"] += _attributes(change)
    message.encode()
    return bytes(message.data[HEADER:])


def _nested(value: Any) -> Any:
    return {"attrs": [[name, _nested(each)] for name, each in value]} if isinstance(value, list) else value


def _attributes(change: LinkChange) -> list[Any]:
    values = [(attribute, getattr(change, name)) for name, attribute in _CHANGE.items()]
    values += [("IFLA_NUM_TX_QUEUES", change.queues), ("IFLA_NUM_RX_QUEUES", change.queues)]
    info: list[Any] = [] if change.kind is None else [["IFLA_INFO_KIND", change.kind]]
    data: list[Any] = [[name, _nested(value)] for name, value in change.data.items()]
    if change.peer is not None:
        both = LinkChange(mtu=change.mtu, group=change.group)
        data.append(["VETH_INFO_PEER", {"attrs": [["IFLA_IFNAME", change.peer], *_attributes(both)]}])
    if data:
        info.append(["IFLA_INFO_DATA", {"attrs": data}])
    if change.port:
        port = {"attrs": [list(each) for each in change.port.items()]}
        info += [["IFLA_INFO_SLAVE_KIND", "bridge"], ["IFLA_INFO_SLAVE_DATA", port]]
    plain = [[attribute, value] for attribute, value in values if value is not None]
    return [*plain, ["IFLA_LINKINFO", {"attrs": info}]] if info else plain


def link(reply: bytes) -> Link:
    """The link in an RTM_NEWLINK, as pyroute2 reads it."""
    message = ifinfmsg(reply)
    message.decode()
    get = message.get_attr
    info = _pairs(get("IFLA_LINKINFO"))
    found = {
        **{name: get(attribute) for name, attribute in _CHANGE.items()},
        "name": get("IFLA_IFNAME"),
        "queues": get("IFLA_NUM_RX_QUEUES"),
        "qdisc": get("IFLA_QDISC"),
        "max_mtu": get("IFLA_MAX_MTU"),
    }
    if get("IFLA_LINK_NETNSID") is not None:
        found["link"] = None
    names = [name for kind, name in (get("IFLA_PROP_LIST") or {"attrs": ()})["attrs"] if kind == "IFLA_ALT_IFNAME"]
    conf = _pairs(_pairs(get("IFLA_AF_SPEC")).get("AF_INET6")).get("IFLA_INET6_CONF")
    ignores = not conf or conf["disable_ipv6"] or (conf["forwarding"] and conf["accept_ra"] != 2)
    vfs = get("IFLA_VFINFO_LIST")
    return Link(
        index=message["index"],
        up=bool(message["flags"] & 0x1),
        promiscuous=bool(message["flags"] & 0x100),
        carrier=bool(get("IFLA_CARRIER")),
        running=bool(message["flags"] & 0x40),
        ethernet=message["ifi_type"] == 1 and not message["flags"] & 0x8,
        aliases=tuple(filter(None, (*names, get("IFLA_PARENT_DEV_NAME")))),
        accept_ra=0 if ignores else conf["accept_ra"],
        kind=info.get("IFLA_INFO_KIND") or "",
        data=_pairs(info.get("IFLA_INFO_DATA")),
        port=_pairs(info.get("IFLA_INFO_SLAVE_DATA")),
        vfs=dict(_vf(dict(each["attrs"])) for _, each in (vfs["attrs"] if vfs else ())),
        **{name: value for name, value in found.items() if value is not None},
    )


def _pairs(value: Any) -> dict[str, Any]:
    return dict(value["attrs"]) if isinstance(value, dict) and "attrs" in value else {}


def _vf(parts: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    vlan, rate = parts.get("IFLA_VF_VLAN", {}), parts.get("IFLA_VF_RATE", {})
    listed = _pairs(parts.get("IFLA_VF_VLAN_LIST")).get("IFLA_VF_VLAN_INFO", {})
    said = {
        name: None if value in (None, UNSAID) else bool(value)
        for name, value in {
            "trust": parts.get("IFLA_VF_TRUST", {}).get("trust"),
            "spoof_check": parts.get("IFLA_VF_SPOOFCHK", {}).get("spoofchk"),
        }.items()
    }
    return parts["IFLA_VF_MAC"]["vf"], {
        "mac": parts["IFLA_VF_MAC"]["mac"],
        "vlan": vlan.get("vlan", 0),
        "vlan_qos": vlan.get("qos", 0),
        "vlan_proto": VLAN_PROTOCOLS.get(listed.get("proto"), "802.1Q"),
        **said,
        "link_state": LINK_STATES.get(parts.get("IFLA_VF_LINK_STATE", {}).get("link_state")),
        "min_tx_rate": rate.get("min_tx_rate"),
        "max_tx_rate": rate.get("max_tx_rate"),
    }
