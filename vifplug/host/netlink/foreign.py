"""Attributes of the kinds of links that only third parties use. Only this module imports pyroute2, for the formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from vifplug.host.netlink.attributes import IFINFOMSG, LINK
from vifplug.host.netlink.socket import HEADER

_NAMES = {False: ("IFLA_INFO_KIND", "IFLA_INFO_DATA"), True: ("IFLA_INFO_SLAVE_KIND", "IFLA_INFO_SLAVE_DATA")}


def packed(kind: str, values: Mapping[str, Any], *, port: bool) -> bytes:
    """Return IFLA_INFO_DATA with these values; IFLA_INFO_SLAVE_DATA if they are those of a ``port``."""
    named, inside = _NAMES[port]
    message = ifinfmsg()
    info = [[named, kind], [inside, {"attrs": [list(each) for each in values.items()]}]]
    message["attrs"] = [["IFLA_LINKINFO", {"attrs": info}]]
    message.encode()
    data: bytes = LINK.unpack(bytes(message.data), HEADER.size + IFINFOMSG.size)["IFLA_LINKINFO"][inside]
    return data


def unpacked(kind: str, data: bytes, *, port: bool) -> dict[str, Any]:
    """Return what is in IFLA_INFO_DATA or IFLA_INFO_SLAVE_DATA; nothing if pyroute2 cannot tell."""
    named, inside = _NAMES[port]
    body = bytes(IFINFOMSG.size) + LINK.pack([("IFLA_LINKINFO", [(named, kind), (inside, data)])])
    message = ifinfmsg(HEADER.pack(HEADER.size + len(body), 0, 0, 0, 0) + body)
    try:
        message.decode()
        found = dict(message.get_attr("IFLA_LINKINFO")["attrs"])[inside]
        return dict(found["attrs"])
    except Exception:  # noqa: BLE001 - what it raises for bytes that it does not expect is not in its interface
        return {}
