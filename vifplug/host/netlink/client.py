"""Links over rtnetlink(7): read, make, change and remove them. The formats are in `vifplug.host.netlink.messages`."""

from __future__ import annotations

import contextlib
import errno
import secrets
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from vifplug import errors
from vifplug.host.netlink import attributes as tables
from vifplug.host.netlink import messages, socket
from vifplug.host.netlink.attributes import BR_VLAN_MSG, IFADDRMSG, LINK, ROUTE, RTMSG
from vifplug.host.netlink.deletion import Deletions
from vifplug.host.netlink.messages import Link, LinkChange, VfAttribute, encoded
from vifplug.host.netlink.socket import NetlinkRefused, Reply, Request

_MASK = ("IFLA_EXT_MASK", messages.RTEXT_FILTER_SKIP_STATS)


class Netlink:
    """The links of the network namespace in which it is first used. Thread-safe."""

    def __init__(self) -> None:
        self._socket = socket.RtSocket()
        self._deletions = Deletions()
        self._look = threading.local()

    @contextlib.contextmanager
    def one_look(self) -> Iterator[None]:
        """Ask for no link twice in the ``with``, in this thread: several backends observe the links of one VIF.

        A link that is changed is read again, in the conversation that changes it.
        """
        if hasattr(self._look, "links"):  # one look within another
            yield
            return
        self._look.links = {}
        try:
            yield
        finally:
            del self._look.links

    def links(self, names: Iterable[str], *, vfs: bool = False) -> dict[str, Link]:
        """Return the links of these names, with one request each. A name without a link is left out.

        Equivalent to: ip -details link show dev NAME
        """
        desired = list(dict.fromkeys(names))
        mask = (_MASK[0], _MASK[1] | messages.RTEXT_FILTER_VF) if vfs else _MASK
        seen: dict[str, Link | None] = {} if vfs else getattr(self._look, "links", {})
        new = [name for name in desired if name not in seen]
        found = self._read([_look_at(name, mask) for name in new])
        seen.update(zip(new, found, strict=True))
        return {name: link for name in desired if (link := seen[name])}

    def link(self, name: str) -> Link | None:
        """Return the link of a name; None if it does not exist. See `links`."""
        return self.links((name,)).get(name)

    def index(self, name: str) -> int:
        """Return the index of a link: another program may give its name to another link. Raises NetlinkRefused.

        One system call; a request would be two.
        """
        return self._socket.index(name)

    def named(self, indexes: Iterable[int]) -> dict[int, Link]:
        """Return the links of these indexes. An index without a link is left out."""
        seen = {link.index: link for link in getattr(self._look, "links", {}).values() if link}
        desired = list(dict.fromkeys(indexes))
        new = [index for index in desired if index not in seen]
        found = self._read([encoded(messages.RTM_GETLINK, 0, [_MASK], index=index) for index in new])
        seen.update({index: link for index, link in zip(new, found, strict=True) if link})
        return {index: seen[index] for index in desired if index in seen}

    def marked(self, alias: str, group: int) -> list[Link]:
        """Return every link with this alias, or without an alias and in this group. Scans all links."""
        return [link for link in self.all() if link.alias == alias or (not link.alias and link.group == group)]

    def aliases(self, beginning: str) -> list[tuple[str, str]]:
        """Return the name and the alias of every link whose alias begins so. Scans all links."""
        sign = beginning.encode()
        links = (messages.parsed(each, tables.NAMED) for each in self._listed() if sign in each)
        return [(link.name, link.alias) for link in links if link.alias.startswith(beginning)]

    def all(self) -> list[Link]:
        """Return every link. Equivalent to: ip -details link show"""
        return list(map(messages.parsed, self._listed()))

    def ports_without_taps(self, index: int) -> list[Link]:
        """Return the ports of a bridge that are no taps. Equivalent to: ip -details link show master NAME"""
        listed, tap = self._listed([("IFLA_MASTER", index)]), messages.kind_sign("tun")
        found = map(messages.parsed, (each for each in listed if tap not in each))
        return [link for link in found if link.kind != "tun"]

    def stacked_on(self, index: int, kinds: Iterable[str]) -> Iterator[Link]:
        """Yield the links of these kinds on a device. Equivalent to: ip -details link show type KIND, for each kind

        The kernel lists the links of one kind, or all of them if it has no such kind (net/core/rtnetlink.c,
        linkinfo_to_kind_ops). In that case no further kind is listed. Links have what is in `tables.STACKED`.
        """
        kinds, sign, seen = tuple(kinds), messages.below_sign(index), set[int]()
        for kind in kinds:
            listed = self._listed([("IFLA_LINKINFO", [("IFLA_INFO_KIND", kind)])])
            for each in listed:
                if sign in each and (number := messages.index_of(each)) not in seen:
                    seen.add(number)
                    link = messages.parsed(each, tables.STACKED)
                    if link.link == index and link.kind in kinds:
                        yield link
            if any(messages.kind_sign(kind) not in each for each in listed):
                return

    def _listed(self, attributes: Sequence[tuple[str, Any]] = ()) -> list[bytes]:
        """Return every link, or those with some attributes: the kernel filters by IFLA_MASTER and IFLA_INFO_KIND."""
        request = encoded(messages.RTM_GETLINK, socket.NLM_F_DUMP, [*attributes, _MASK])
        with socket.explaining("network links", "list them"):
            return self._socket.dump(request)

    def addresses(self, index: int) -> list[str]:
        """Return the addresses of a device, without the link-local ones of IPv6.

        Equivalent to: ip address show dev NAME
        """
        return self._texts(messages.RTM_GETADDR, IFADDRMSG.pack(0, 0, 0, 0, index), messages.parsed_address)

    def routes(self, index: int) -> list[str]:
        """Return the destinations of the routes through a device (``default`` is one), without those of its addresses.

        Equivalent to: ip route show table all dev NAME; ip -6 route show table all dev NAME
        """
        body = bytes(RTMSG.size) + ROUTE.pack([("RTA_OIF", index)])
        return self._texts(messages.RTM_GETROUTE, body, messages.parsed_route)

    def _texts(self, kind: int, body: bytes, parsed: Callable[[bytes], str | None]) -> list[str]:
        with socket.explaining("network devices", "read their addresses and routes"):
            found = map(parsed, self._socket.dump((kind, socket.NLM_F_DUMP, body)))
        return sorted({text for text in found if text})

    def create(self, name: str, settings: LinkChange) -> None:
        """Create a link. Raises NetlinkRefused, with EEXIST if the name is in use.

        Equivalent to: ip link add dev NAME type KIND ...
        """
        flags = socket.NLM_F_ACK | socket.NLM_F_CREATE | socket.NLM_F_EXCL
        request = encoded(messages.RTM_NEWLINK, flags, [("IFLA_IFNAME", name)], settings)
        self._change([request], [name, *filter(None, [settings.peer])], read=False)

    def set(
        self,
        changes: Sequence[tuple[str, LinkChange]],
        *,
        read: bool = True,
        indexes: Mapping[str, int] = types.MappingProxyType({}),
    ) -> None:
        """Change links, in order, in one go. Equivalent to: ip link set dev NAME ...

        The kernel tries every change, even after it has refused one. Raises the first refusal.

        Args:
            changes: the names of the links, and what is set.
            read: whether `one_look` may read the links at once: nothing else changes them afterwards.
            indexes: the indexes of links by name: another's link that has the name by now is not changed.
        """
        names = list(dict.fromkeys(name for name, _ in changes))
        requests = [messages.set_request(indexes.get(name, name), settings) for name, settings in changes]
        self._change(requests, names, read=read)

    def _change(self, requests: Sequence[Request], names: Sequence[str], *, read: bool) -> None:
        """Send requests that change the links of these names. Raises the first refusal."""
        seen: dict[str, Link | None] = getattr(self._look, "links", {})
        for name in names:
            seen.pop(name, None)
        looks = [_look_at(name, _MASK) for name in names] if read and hasattr(self._look, "links") else []
        replies = self._socket.exchange([*requests, *looks])
        _raise_refusal(replies[: len(requests)])
        seen.update(zip(names, self._parsed(replies[len(requests) :]), strict=False))

    def set_vf(self, pf: str, attributes: Sequence[VfAttribute]) -> None:
        """Write settings of one VF through its PF. Equivalent to: ip link set dev PF vf N ..."""
        self._write([messages.vf_request(pf, attributes)])

    def delete(self, index: int) -> None:
        """Remove a link, if it exists: return when it is gone. Equivalent to: ip link delete dev NAME"""
        self._delete(encoded(messages.RTM_DELLINK, socket.NLM_F_ACK, index=index), [index])

    def delete_all(self, marks: Mapping[int, str | None]) -> None:
        """Remove links together: return when all are gone. Equivalent to: ip link delete group GROUP

        The kernel waits once for all. The group is a random one; it is deleted only if a listing of all links shows
        that no other link is in it. Otherwise, or if links change during each listing, they are removed one by one.

        Args:
            marks: the alias of each link, by index. It is written as well, unless it is None: a link can have been
                marked by its group alone.
        """
        group = secrets.randbelow(2**31 - 1) + 1
        changes = ((index, LinkChange(alias=alias, group=group)) for index, alias in marks.items())
        moves = [encoded(messages.RTM_SETLINK, socket.NLM_F_ACK, settings=each, index=index) for index, each in changes]
        self._write(moves, absent=True)
        members = self._members(group)
        if members is None or not members <= marks.keys():
            for index in marks:
                self.delete(index)
        elif members:
            request = encoded(messages.RTM_DELLINK, socket.NLM_F_ACK, [("IFLA_GROUP", group)])
            self._delete(request, sorted(members))

    def _members(self, group: int) -> frozenset[int] | None:
        """Return the indexes of the links of a group; None if no listing of the links was complete."""
        request, sign = encoded(messages.RTM_GETLINK, socket.NLM_F_DUMP, [_MASK]), LINK.pack([("IFLA_GROUP", group)])
        try:
            links = [messages.parsed(reply) for reply in self._socket.dump(request) if sign in reply]
        except errors.Unavailable:
            return None
        return frozenset(link.index for link in links if link.group == group)

    def _delete(self, request: Request, indexes: Sequence[int]) -> None:
        """Send a request that removes links, and return when all are gone."""
        looks = [encoded(messages.RTM_GETLINK, 0, [_MASK], index=index) for index in indexes]
        self._deletions.run(
            lambda: self._write([request], absent=True),
            lambda: self._exist(looks[:1]) or self._exist(looks[1:]),  # while one is there, so are most
        )

    def _exist(self, looks: Sequence[Request]) -> bool:
        replies = self._socket.exchange(looks)
        return not all(isinstance(each, NetlinkRefused) and each.code == errno.ENODEV for each in replies)

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
        body = BR_VLAN_MSG.pack(messages.AF_BRIDGE, index)
        replies = self._socket.dump((messages.RTM_GETVLAN, socket.NLM_F_DUMP, body))
        return [vlan for reply in replies for vlan in messages.parsed_vlans(reply)]

    def close(self) -> None:
        """Close the sockets, after the last deletion; the next use opens a new one."""
        self._deletions.join()
        self._socket.close()

    def _read(self, requests: Sequence[Request]) -> list[Link | None]:
        if not requests:
            return []
        return self._parsed(self._socket.exchange(requests))

    def _parsed(self, replies: Sequence[Reply]) -> list[Link | None]:
        for reply in replies:
            if isinstance(reply, NetlinkRefused) and reply.code != errno.ENODEV:
                raise socket.explained(reply, "network links", "read them")
        return [messages.parsed(reply) if isinstance(reply, bytes) else None for reply in replies]

    def _write(self, requests: Sequence[Request], *, absent: bool = False) -> None:
        """Send requests. Raises the first refusal; ``absent``: a link that does not exist is none."""
        getattr(self._look, "links", {}).clear()
        _raise_refusal(self._socket.exchange(requests), absent=absent)


def _look_at(name: str, mask: tuple[str, int]) -> Request:
    return encoded(messages.RTM_GETLINK, 0, [("IFLA_IFNAME", name), mask])


def _raise_refusal(replies: Iterable[Reply], *, absent: bool = False) -> None:
    """Raise the first refusal; ``absent``: a link that does not exist is none."""
    for reply in replies:
        if isinstance(reply, NetlinkRefused) and not (absent and reply.code == errno.ENODEV):
            raise reply
