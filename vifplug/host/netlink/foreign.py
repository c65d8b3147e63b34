"""Attributes of the kinds of links that only third parties use. Only this module imports pyroute2, for the formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from vifplug.host.netlink.attributes import IFINFOMSG, LINK
from vifplug.host.netlink.socket import HEADER


def packed(kind: str, values: Mapping[str, Any]) -> bytes:
    """Return the IFLA_INFO_DATA of a kind, or the IFLA_INFO_SLAVE_DATA of a port (``bridge_slave``)."""
    named, name, inside = _attributes(kind)
    message = ifinfmsg()
    info = [[named, name], [inside, {"attrs": [list(each) for each in values.items()]}]]
    message["attrs"] = [["IFLA_LINKINFO", {"attrs": info}]]
    message.encode()
    data: bytes = LINK.unpack(bytes(message.data), HEADER.size + IFINFOMSG.size)["IFLA_LINKINFO"][inside]
    return data


def unpacked(kind: str, data: bytes) -> dict[str, Any]:
    """Return what is in the data that `packed` makes; nothing if pyroute2 cannot decode it."""
    named, name, inside = _attributes(kind)
    body = bytes(IFINFOMSG.size) + LINK.pack([("IFLA_LINKINFO", [(named, name), (inside, data)])])
    message = ifinfmsg(HEADER.pack(HEADER.size + len(body), 0, 0, 0, 0) + body)
    try:
        message.decode()
        found = dict(message.get_attr("IFLA_LINKINFO")["attrs"])[inside]
        return dict(found["attrs"])
    except Exception:  # noqa: BLE001 - what it raises for bytes that it does not expect is not in its interface
        return {}


def _attributes(kind: str) -> tuple[str, str, str]:
    """Return the attribute with the name of the kind, that name, and the attribute with the data."""
    infix, name = ("SLAVE_", kind.removesuffix("_slave")) if kind.endswith("_slave") else ("", kind)
    return f"IFLA_INFO_{infix}KIND", name, f"IFLA_INFO_{infix}DATA"
