"""Links over rtnetlink(7): read, make, change and remove them. The formats are in `vifplug.host.netlink.messages`."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Sequence

from vifplug.host.netlink import messages, socket
from vifplug.host.netlink.messages import Link, LinkChange, VfAttribute, encoded
from vifplug.host.netlink.socket import NetlinkRefused, Request

_WITHOUT_STATISTICS = messages.RTEXT_FILTER_SKIP_STATS


class Netlink:
    """The links of the network namespace in which it is first used. Thread-safe."""

    def __init__(self) -> None:
        self._socket = socket.RtSocket()

    def links(self, names: Iterable[str], *, vfs: bool = False) -> dict[str, Link]:
        """Return the links of these names, with one request each. A name without a link is left out.

        Equivalent to: ip -details link show dev NAME
        """
        desired = list(dict.fromkeys(names))
        mask = ["IFLA_EXT_MASK", _WITHOUT_STATISTICS | (messages.RTEXT_FILTER_VF if vfs else 0)]
        found = self._read([encoded(messages.RTM_GETLINK, 0, [["IFLA_IFNAME", name], mask]) for name in desired])
        return {name: link for name, link in zip(desired, found, strict=True) if link}

    def link(self, name: str) -> Link | None:
        """Return the link of a name; None if it does not exist. See `links`."""
        mask = ["IFLA_EXT_MASK", _WITHOUT_STATISTICS]
        return self._read([encoded(messages.RTM_GETLINK, 0, [["IFLA_IFNAME", name], mask])])[0]

    def named(self, indexes: Iterable[int]) -> dict[int, Link]:
        """Return the links of these indexes. An index without a link is left out."""
        desired = list(dict.fromkeys(indexes))
        mask = ["IFLA_EXT_MASK", _WITHOUT_STATISTICS]
        found = self._read([encoded(messages.RTM_GETLINK, 0, [mask], header={"index": index}) for index in desired])
        return {index: link for index, link in zip(desired, found, strict=True) if link}

    def marked(self, alias: str, group: int) -> list[Link]:
        """Return every link with this alias, or without an alias and in this group. Scans all links."""
        return [link for link in self.all() if link.alias == alias or (not link.alias and link.group == group)]

    def all(self) -> list[Link]:
        """Return every link.

        Equivalent to: ip -details link show
        """
        request = encoded(messages.RTM_GETLINK, socket.NLM_F_DUMP, [["IFLA_EXT_MASK", _WITHOUT_STATISTICS]])
        return [messages.parsed(reply) for reply in self._socket.dump(request)]

    def create(self, name: str, settings: LinkChange) -> None:
        """Create a link. Raises NetlinkRefused, with EEXIST if the name is in use.

        Equivalent to: ip link add dev NAME type KIND ...
        """
        flags = socket.NLM_F_ACK | socket.NLM_F_CREATE | socket.NLM_F_EXCL
        self._write([encoded(messages.RTM_NEWLINK, flags, [["IFLA_IFNAME", name]], settings)])

    def set(self, changes: Sequence[tuple[str, LinkChange]]) -> None:
        """Change links, in order, in one go. Equivalent to: ip link set dev NAME ...

        The kernel tries every change, even after it has refused one. Raises the first refusal.
        """
        self._write([messages.set_request(name, settings) for name, settings in changes])

    def set_vf(self, pf: str, attributes: Sequence[VfAttribute]) -> None:
        """Write settings of one VF through its PF. Equivalent to: ip link set dev PF vf N ..."""
        self._write([messages.vf_request(pf, attributes)])

    def delete(self, index: int) -> None:
        """Remove a link, if it exists. Equivalent to: ip link delete dev NAME"""
        try:
            self._write([encoded(messages.RTM_DELLINK, socket.NLM_F_ACK, header={"index": index})])
        except NetlinkRefused as refused:
            if refused.code != errno.ENODEV:
                raise

    def set_vlans(self, index: int, drop: Iterable[tuple[int, int]], add: Iterable[tuple[int, int]]) -> None:
        """Remove VLANs from a bridge port, and add VLANs to it: each (id, BRIDGE_VLAN_INFO_* flags).

        Equivalent to: bridge vlan del dev NAME vid N; bridge vlan add dev NAME vid N [pvid] [untagged]
        """
        pairs = [(messages.RTM_DELLINK, list(drop)), (messages.RTM_SETLINK, list(add))]
        self._write([messages.vlan_request(kind, index, vlans) for kind, vlans in pairs if vlans])

    def vlans(self, index: int) -> list[tuple[int, int]]:
        """Return the VLANs of one bridge port, as (id, BRIDGE_VLAN_INFO_* flags); RTM_GETVLAN is in Linux since 5.6.

        Equivalent to: bridge vlan show dev NAME
        """
        body = struct.pack("=BBHI", messages.AF_BRIDGE, 0, 0, index)  # struct br_vlan_msg: linux/if_bridge.h
        replies = self._socket.dump((messages.RTM_GETVLAN, socket.NLM_F_DUMP, body))
        return [vlan for reply in replies for vlan in messages.parsed_vlans(reply)]

    def close(self) -> None:
        """Close the socket; the next use opens a new one."""
        self._socket.close()

    def _read(self, requests: Sequence[Request]) -> list[Link | None]:
        replies = self._socket.exchange(requests)
        for reply in replies:
            if isinstance(reply, NetlinkRefused) and reply.code != errno.ENODEV:
                raise socket.explained(reply, "network links", "read them")
        return [messages.parsed(reply) if isinstance(reply, bytes) else None for reply in replies]

    def _write(self, requests: Sequence[Request]) -> None:
        for reply in self._socket.exchange(requests):
            if isinstance(reply, NetlinkRefused):
                raise reply
