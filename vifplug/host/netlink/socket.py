"""The sockets under `vifplug.host.netlink.client`: rtnetlink(7) requests and answers as bytes.

Plain blocking sockets. Each conversation has one to itself, so that no thread waits while the kernel works for another
one (15 ms to remove a device). (pyroute2's own sockets keep an event loop for every thread that ever used them, and
cannot be used in a thread where a loop already runs.) Requests that belong together are sent at once: the kernel takes
them in order within one system call, so no kill signal can separate them.

The sockets belong to the network namespace in which the first one was opened. A process that works in another namespace
does so from inside (``ip netns exec``, ``unshare --net``), which gives it that namespace's /proc/sys/net as well.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import socket
import struct
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vifplug import errors
from vifplug.host.netlink.attributes import attribute_list

# linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
_NLM_F_DUMP_INTR, _NLM_F_ACK_TLVS = 0x10, 0x200
_NLMSG_ERROR, _NLMSG_DONE, _NLMSGERR_ATTR_MSG = 2, 3, 1
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 270, 10, 11, 12

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port
_IFREQ, _SIOCGIFINDEX = struct.Struct("16si20x"), 0x8933  # linux/if.h: name, index; linux/sockios.h
_CODE = struct.Struct("=i")  # struct nlmsgerr: the negative errno, before the header of the request
#: A PF with 128 VFs answers with some 30 kB, and no attribute is larger than 64 KiB. malloc(3) would map and unmap a
#: buffer of 128 KiB for each answer, which takes longer than the answer itself.
_RECEIVE_BYTES = 96 << 10
_PIPELINED = 16  # requests of one send, so that the answers fit the default receive buffer
_TIMEOUT = 10  # seconds; the kernel answers inside send(), so waiting longer means that it never will
_DUMP_TRIES = 5
_IDLE = 8  # sockets that are kept for the next conversations

#: (message type, flags, body after the header)
Request = tuple[int, int, bytes]


class NetlinkRefused(Exception):
    """The kernel refused a request. ``code``: the errno. ``reason``: its explanation, if any (NETLINK_EXT_ACK)."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code, self.reason = code, reason
        super().__init__(f"{os.strerror(code)} ({reason})" if reason else os.strerror(code))


def explained(refused: NetlinkRefused, subject: object, doing: str) -> errors.VifplugError:
    """Return the error for a refusal: ``subject`` is a resource or a name, ``doing`` what was being done to it."""
    message = f"{subject}: could not {doing}: {refused}"
    match refused.code:
        case errno.EPERM | errno.EACCES:
            return errors.NotPermitted(f"{message}; run with CAP_NET_ADMIN in this network namespace")
        case errno.EOPNOTSUPP | errno.EAFNOSUPPORT | errno.EPROTONOSUPPORT:
            return errors.KernelLacks(f"{message}; this kernel or the device's driver has no support for it")
        case errno.ENODEV:
            return errors.Missing(f"{message}; a device that it needs does not exist")
        case errno.EEXIST | errno.EBUSY:
            return errors.Conflict(f"{message}; something else has the name or uses the device")
    return errors.StepFailed(message)


@contextlib.contextmanager
def explaining(
    subject: Any, doing: str, explain: Callable[[NetlinkRefused, Any, str], errors.VifplugError] = explained
) -> Iterator[None]:
    """Turn a refusal of the kernel into its error; the arguments are those of `explained`."""
    try:
        yield
    except NetlinkRefused as refused:
        raise explain(refused, subject, doing) from refused


#: an acknowledgement, a whole message, or a refusal
Reply = NetlinkRefused | bytes | None


class RtSocket:
    """Requests to this network namespace's rtnetlink, or another ``protocol`` of netlink(7). Thread-safe, also in a
    forked child, which opens sockets of its own.
    """

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._protocol = protocol
        self._sequence = itertools.count(1)
        self._forget()
        _instances.add(self)

    def _forget(self) -> None:
        #: held to take a socket and to give it back, never while the kernel works
        self._changed = threading.Condition()
        self._idle: list[socket.socket] = []
        self._opened: set[socket.socket] = set()
        self._namespace = 0

    def close(self) -> None:
        """Close the sockets that no thread uses now; the next use opens a new one."""
        with self._changed:
            for each in self._idle:
                each.close()
            self._opened -= set(self._idle)
            self._idle = []

    def exchange(self, messages: Sequence[Request]) -> list[Reply]:
        """Send requests and collect the answer to each: an acknowledgement (None), a message, or a refusal."""
        replies: list[Reply] = []
        for start in range(0, len(messages), _PIPELINED):
            replies += self._conversation(messages[start : start + _PIPELINED])
        return replies

    def _conversation(self, messages: Sequence[Request]) -> list[Reply]:
        with self._connection() as connection:
            numbers = [next(self._sequence) & 0xFFFFFFFF for _ in messages]
            connection.send(b"".join(map(_packed, messages, numbers)))
            answers: dict[int, Reply] = {}
            while len(answers) < len(numbers):
                for number, _, kind, payload in _split(connection.recv(_RECEIVE_BYTES)):
                    if number in numbers:
                        answers[number] = _refusal(payload) if kind == _NLMSG_ERROR else payload
            return [answers[number] for number in numbers]

    def index(self, name: str) -> int:
        """Return the index of a link, by SIOCGIFINDEX (netdevice(7)). Raises NetlinkRefused if there is none."""
        with self._connection() as connection:
            try:
                answer = fcntl.ioctl(connection, _SIOCGIFINDEX, _IFREQ.pack(name.encode(), 0))
            except OSError as error:
                raise NetlinkRefused(error.errno or errno.EIO) from error
            return int(_IFREQ.unpack(answer)[1])

    def dump(self, message: Request) -> list[bytes]:
        """Return every message of a listing (NLM_F_DUMP).

        Raises:
            NetlinkRefused: the kernel refused the listing, or could not finish it.
            Unavailable: changes interrupt each attempt.
        """
        for _ in range(_DUMP_TRIES):
            replies = self._scan(message)
            if replies is not None:
                return replies
        raise errors.Unavailable(f"network links changed during each of {_DUMP_TRIES} listings; try again")

    def _scan(self, message: Request) -> list[bytes] | None:
        """Return one dump; None if a change interrupted it (NLM_F_DUMP_INTR), because it may be incomplete."""
        with self._connection() as connection:
            number = next(self._sequence) & 0xFFFFFFFF
            connection.send(_packed(message, number))
            replies: list[bytes] = []
            interrupted = False
            while True:
                for answered, flags, kind, payload in _split(connection.recv(_RECEIVE_BYTES)):
                    if answered != number:
                        continue
                    interrupted |= bool(flags & _NLM_F_DUMP_INTR)
                    if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                        if refusal := _refusal(payload):  # of all of it, or of the rest (net/netlink, netlink_dump)
                            raise refusal
                        return None if interrupted else replies
                    replies.append(payload)

    # -- the sockets ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _connection(self) -> Iterator[socket.socket]:
        """Yield a socket for one conversation. A failure closes it, so that no late answer reaches the next one."""
        try:
            connection = self._take()
            try:
                yield connection
            except BaseException:
                self._give(connection, broken=True)
                raise
        except OSError as error:
            raise errors.Unavailable(f"netlink: the kernel did not answer: {error.strerror}") from error
        self._give(connection)

    def _take(self) -> socket.socket:
        """Return an idle socket, or a new one. A thread in another network namespace waits for an idle one."""
        with self._changed:
            while not self._idle:
                here = os.stat("/proc/thread-self/ns/net").st_ino
                if self._opened and here != self._namespace:
                    self._changed.wait()
                else:
                    self._namespace = here
                    self._idle.append(_opened(self._protocol))
                    self._opened.update(self._idle)
            return self._idle.pop()

    def _give(self, connection: socket.socket, *, broken: bool = False) -> None:
        with self._changed:
            if broken or len(self._idle) >= _IDLE:
                connection.close()
                self._opened.discard(connection)
            else:
                self._idle.append(connection)
            self._changed.notify()

    def _after_fork(self) -> None:
        for each in self._opened:
            each.close()
        self._forget()


def _opened(protocol: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    opened.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
    opened.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
    opened.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)  # the kernel filters listings (Linux 4.20)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _TIMEOUT, 0))
    opened.bind((0, 0))
    return opened


_instances: weakref.WeakSet[RtSocket] = weakref.WeakSet()


def _forget_all() -> None:
    for instance in list(_instances):
        instance._after_fork()


os.register_at_fork(after_in_child=_forget_all)

# -- bytes ------------------------------------------------------------------------------------------------------------


def _packed(message: Request, number: int) -> bytes:
    kind, flags, body = message
    padded = body + b"\0" * (-len(body) % 4)
    return HEADER.pack(HEADER.size + len(body), kind, flags | NLM_F_REQUEST, number, 0) + padded


def _split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (sequence number, flags, type, whole message) of each message in a datagram.

    Raises Unavailable if it is cut short.
    """
    offset = 0
    while offset < len(data):
        rest = len(data) - offset
        length, kind, flags, number, _ = HEADER.unpack_from(data, offset) if rest >= HEADER.size else (0,) * 5
        least = HEADER.size + (_CODE.size if kind == _NLMSG_ERROR else 0)
        if not least <= length <= rest:
            raise cut_short(max(length, least), rest)
        yield number, flags, kind, data[offset : offset + length]
        offset += (length + 3) & ~3


def cut_short(expected: int, got: int) -> errors.Unavailable:
    """Return the error for an answer of which there are fewer bytes than there must be."""
    return errors.Unavailable(
        f"netlink: the kernel's answer is short (expected {expected} bytes, got {got}); try again"
    )


def _refusal(message: bytes) -> NetlinkRefused | None:
    """Return the refusal in an NLMSG_ERROR or NLMSG_DONE; None if it is an acknowledgement, or the end."""
    code: int = _CODE.unpack_from(message, HEADER.size)[0] if len(message) >= HEADER.size + _CODE.size else 0
    if code == 0:
        return None
    flags = HEADER.unpack_from(message)[2]
    # after the error: the header of the request (NETLINK_CAP_ACK), then the attributes
    attributes = dict(attribute_list(message, 2 * HEADER.size + _CODE.size)) if flags & _NLM_F_ACK_TLVS else {}
    return NetlinkRefused(-code, attributes.get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace"))
