"""The attributes of rtnetlink(7) that vifplug uses, as tables to be read beside the kernel's headers.

A table is one enum of a header: the name of an attribute, its number, its format. What is in no table is neither
written nor read, and a value that does not have the size of its format counts as left out by the kernel. What only
third parties use is in no table: see `vifplug.host.netlink.foreign`.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER


def attribute(number: int, value: bytes) -> bytes:
    """Return one attribute, padded to a multiple of four bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), number) + value + b"\0" * (-len(value) % 4)


def attribute_list(data: bytes, offset: int = 0) -> list[tuple[int, bytes]]:
    """Return (number, value) of consecutive attributes, without what follows one cut short."""
    found: list[tuple[int, bytes]] = []
    end, header = len(data), _ATTRIBUTE.unpack_from
    while offset + 4 <= end:
        length, number = header(data, offset)
        if not 4 <= length <= end - offset:
            break
        found.append((number & _TYPE_MASK, data[offset + 4 : offset + length]))
        offset += (length + 3) & ~3
    return found


class Format(NamedTuple):
    """The format of a value: ``unpack`` raises struct.error or ValueError where the bytes cannot be one."""

    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


class Table:
    """The format of attributes, of a message or in another attribute; their value is pairs, or a dict if unpacked."""

    def __init__(self, **attributes: tuple[int, Format | Table]) -> None:
        self._writers = {name: (number, each.pack) for name, (number, each) in attributes.items()}
        self._readers = {number: (name, each.unpack) for name, (number, each) in attributes.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._writers

    def __iter__(self) -> Iterator[str]:
        return iter(self._writers)

    def only(self, *names: str) -> Table:
        """Return the table of these attributes alone: what is not read costs nothing."""
        some = Table()
        some._writers = {name: self._writers[name] for name in names}
        some._readers = {number: each for number, each in self._readers.items() if each[0] in some._writers}
        return some

    def pack(self, values: Iterable[tuple[str, Any]]) -> bytes:
        """Return the attributes in the order of ``values``."""
        packed = b""
        for name, value in values:
            number, pack = self._writers[name]
            packed += attribute(number, pack(value))
        return packed

    def pairs(self, data: bytes, offset: int = 0) -> list[tuple[str, Any]]:
        """Return the attributes of this table that are in ``data``, without what follows one cut short.

        As `attribute_list`, in one pass: a link has some fifty attributes.
        """
        found: list[tuple[str, Any]] = []
        end, header, reader_of = len(data), _ATTRIBUTE.unpack_from, self._readers.get
        while offset + 4 <= end:
            length, number = header(data, offset)
            if not 4 <= length <= end - offset:
                break
            start, offset = offset, offset + ((length + 3) & ~3)
            if reader := reader_of(number & _TYPE_MASK):
                try:
                    found.append((reader[0], reader[1](data[start + 4 : start + length])))
                except (struct.error, ValueError):
                    continue
        return found

    def unpack(self, data: bytes, offset: int = 0) -> dict[str, Any]:
        """Return the attributes of this table that are in ``data``, from ``offset`` on."""
        return dict(self.pairs(data, offset))


class Many(Table):
    """A table of which ``data`` has one attribute several times: its values."""

    def unpack(self, data: bytes, offset: int = 0) -> list[Any]:  # type: ignore[override]
        """Return the values in their order."""
        return [value for _, value in self.pairs(data, offset)]


# -- formats ----------------------------------------------------------------------------------------------------------


def _number(layout: str) -> Format:
    packed = struct.Struct(layout)
    return Format(packed.pack, lambda value: packed.unpack(value)[0])


def _record(layout: str, fields: str, **formats: Format) -> Format:
    """Return the format of a C struct: a mapping of its ``fields``; ``formats`` are those of fields that are bytes."""
    packed, names = struct.Struct(layout), fields.split()

    def pack(value: Any) -> bytes:
        return packed.pack(*(formats[name].pack(value[name]) if name in formats else value[name] for name in names))

    def unpack(value: bytes) -> dict[str, Any]:
        found = dict(zip(names, packed.unpack_from(value), strict=True))
        return found | {name: each.unpack(found[name]) for name, each in formats.items()}

    return Format(pack, unpack)


def _choice(names: dict[int, str]) -> Format:
    """Return the format of a 32-bit number of which each value has a name."""
    numbers = {name: number for number, name in names.items()}
    return Format(lambda name: _U32.pack(numbers[name]), lambda value: names.get(_U32.unpack(value), "none"))


_BYTES = Format(bytes, bytes)
_U8, _U16, _U32 = _number("=B"), _number("=H"), _number("=I")
_BE16 = Format(lambda number: struct.pack(">H", number), lambda value: struct.unpack(">H", value)[0])
#: a value that is not UTF-8, which the kernel takes as a name, is shown with escapes
TEXT = Format(
    lambda text: text.encode() + b"\0", lambda value: value.partition(b"\0")[0].decode(errors="backslashreplace")
)
#: InfiniBand's address, and the field of a VF's, are longer
_MAC = Format(lambda mac: bytes.fromhex(mac.replace(":", "")), lambda mac: struct.unpack_from("6s", mac)[0].hex(":"))
_MACVLAN_MODE = _choice({1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"})  # MACVLAN_MODE_*

# -- tables -----------------------------------------------------------------------------------------------------------

#: What is before the attributes of a message. linux/rtnetlink.h: family, type of hardware, index, flags, changed flags
IFINFOMSG = struct.Struct("=BxHiII")
IFADDRMSG = struct.Struct("=BBBBI")  # linux/if_addr.h: family, length of the prefix, flags, scope, index
#: linux/rtnetlink.h: family, length of the prefix, ..., protocol, scope, type, flags
RTMSG = struct.Struct("=BBBBBBBBI")
BR_VLAN_MSG = struct.Struct("=BxxxI")  # linux/if_bridge.h: family, index

#: linux/if_link.h: IFLA_INET6_*; of the array of values, those with the indexes 0, 3 and 26 (linux/ipv6.h: DEVCONF_*)
_INET6 = Table(IFLA_INET6_CONF=(2, _record("=I8xI88xI", "forwarding accept_ra disable_ipv6")))
#: linux/if_link.h: IFLA_VF_* and struct ifla_vf_*
_VF = Table(
    IFLA_VF_MAC=(1, _record("=I32s", "vf mac", mac=_MAC)),
    IFLA_VF_VLAN=(2, _record("=III", "vf vlan qos")),
    IFLA_VF_SPOOFCHK=(4, _record("=II", "vf spoofchk")),
    IFLA_VF_LINK_STATE=(5, _record("=II", "vf link_state")),
    IFLA_VF_RATE=(6, _record("=III", "vf min_tx_rate max_tx_rate")),
    IFLA_VF_TRUST=(9, _record("=II", "vf trust")),
    IFLA_VF_VLAN_LIST=(12, Table(IFLA_VF_VLAN_INFO=(1, _record("=III2s2x", "vf vlan qos proto", proto=_BE16)))),
)
_INFO = Table(
    IFLA_INFO_KIND=(1, TEXT),
    IFLA_INFO_DATA=(2, _BYTES),  # by kind in `DATA`
    IFLA_INFO_SLAVE_KIND=(4, TEXT),
    IFLA_INFO_SLAVE_DATA=(5, _BYTES),  # by kind in `DATA`
)
#: linux/if_link.h: IFLA_*
LINK = Table(
    IFLA_ADDRESS=(1, _MAC),
    IFLA_IFNAME=(3, TEXT),
    IFLA_MTU=(4, _U32),
    IFLA_LINK=(5, _U32),
    IFLA_QDISC=(6, TEXT),
    IFLA_MASTER=(10, _U32),
    IFLA_TXQLEN=(13, _U32),
    IFLA_LINKINFO=(18, _INFO),
    IFLA_IFALIAS=(20, TEXT),
    IFLA_VFINFO_LIST=(22, Many(IFLA_VF_INFO=(1, _VF))),
    IFLA_AF_SPEC=(26, Table(AF_INET6=(socket.AF_INET6, _INET6))),
    IFLA_GROUP=(27, _U32),
    IFLA_EXT_MASK=(29, _U32),
    IFLA_NUM_TX_QUEUES=(31, _U32),
    IFLA_NUM_RX_QUEUES=(32, _U32),
    IFLA_CARRIER=(33, _U8),
    IFLA_LINK_NETNSID=(37, _U32),
    IFLA_MAX_MTU=(51, _U32),
    IFLA_PROP_LIST=(52, Many(IFLA_ALT_IFNAME=(53, TEXT))),
    IFLA_PERM_ADDRESS=(54, _MAC),
    IFLA_PARENT_DEV_NAME=(56, TEXT),
)
#: what says of a link how it uses the link below it
STACKED = LINK.only(*("IFLA_ADDRESS", "IFLA_IFNAME", "IFLA_LINK", "IFLA_LINKINFO", "IFLA_IFALIAS", "IFLA_LINK_NETNSID"))
#: what says whose a link is
NAMED = LINK.only("IFLA_IFNAME", "IFLA_IFALIAS")
#: the same of the family AF_BRIDGE; in it linux/if_bridge.h: IFLA_BRIDGE_* and struct bridge_vlan_info
BRIDGE = Table(IFLA_AF_SPEC=(26, Table(IFLA_BRIDGE_VLAN_INFO=(2, _record("=HH", "flags vid")))))
#: linux/if_link.h, linux/if_tun.h and linux/veth.h: IFLA_INFO_DATA, by IFLA_INFO_KIND
DATA = {
    "bridge": Table(
        IFLA_BR_FORWARD_DELAY=(1, _U32),
        IFLA_BR_AGEING_TIME=(4, _U32),
        IFLA_BR_STP_STATE=(5, _U32),
        IFLA_BR_VLAN_FILTERING=(7, _U8),
        IFLA_BR_MCAST_SNOOPING=(23, _U8),
        IFLA_BR_VLAN_DEFAULT_PVID=(39, _U16),
    ),
    "macvlan": Table(IFLA_MACVLAN_MODE=(1, _MACVLAN_MODE)),
    "macvtap": Table(IFLA_MACVTAP_MODE=(1, _MACVLAN_MODE)),
    "tun": Table(
        IFLA_TUN_OWNER=(1, _U32),
        IFLA_TUN_GROUP=(2, _U32),
        IFLA_TUN_TYPE=(3, _U8),
        IFLA_TUN_PERSIST=(6, _U8),
        IFLA_TUN_MULTI_QUEUE=(7, _U8),
        IFLA_TUN_NUM_QUEUES=(8, _U32),
    ),
    "veth": Table(VETH_INFO_PEER=(1, Format(lambda peer: bytes(IFINFOMSG.size) + LINK.pack(peer), _BYTES.unpack))),
    "vlan": Table(IFLA_VLAN_ID=(1, _U16)),
    # IFLA_INFO_SLAVE_DATA of the IFLA_INFO_SLAVE_KIND before _slave
    "bridge_slave": Table(
        IFLA_BRPORT_STATE=(1, _U8),
        IFLA_BRPORT_MODE=(4, _U8),
        IFLA_BRPORT_LEARNING=(8, _U8),
        IFLA_BRPORT_UNICAST_FLOOD=(9, _U8),
        IFLA_BRPORT_ISOLATED=(33, _U8),
    ),
}
#: linux/if_bridge.h: BRIDGE_VLANDB_*; the range is the last VLAN of several
_VLAN = Table(BRIDGE_VLANDB_ENTRY_INFO=(1, _record("=HH", "flags vid")), BRIDGE_VLANDB_ENTRY_RANGE=(2, _U16))
VLANS = Many(BRIDGE_VLANDB_ENTRY=(1, _VLAN))
ADDRESS = Table(IFA_ADDRESS=(1, _BYTES), IFA_LOCAL=(2, _BYTES))  # linux/if_addr.h
ROUTE = Table(RTA_DST=(1, _BYTES), RTA_OIF=(4, _U32))  # linux/rtnetlink.h
