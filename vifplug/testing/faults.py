"""Kill what runs, or let it fail, at its n-th system call with an outward effect. No list of steps is needed.

    clean = faults.run(work)                      # clean.effects: every change that it asks for outside of itself
    cut = faults.run(work, Fault(3))              # killed before the third
    cut = faults.run(work, Fault(3, "after"))     # ... when the third is done
    lost = faults.run(work, Fault(3, error=errno.EPERM))            # the kernel, the disk or OVSDB refuses the third
    lost = faults.run(work, Fault(3, "after", error=errno.ENOBUFS)) # the third is done, and its answer is lost

An effect is a request of netlink or OVSDB that changes something, an ioctl(2) of a device, and what changes a file:
the record, /proc/sys and /sys among them. What only reads is none; ``run(work, looks=True)`` counts instead what opens
a file, makes or connects a socket, or takes a lock. ``work`` runs in a forked process, in the network namespace of the
calling thread; it must open its own driver (`vifplug.testing.host.PrivateHost.new_driver`).
"""

from __future__ import annotations

import errno
import json
import os
import re
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vifplug import errors
from vifplug.testing import MissingRequirement, tracing
from vifplug.testing.tracing import Call

# arch/x86/entry/syscalls/syscall_64.tbl
_OF_DESCRIPTORS = {
    1: "write",
    16: "ioctl",
    18: "pwrite64",
    20: "writev",
    44: "sendto",
    46: "sendmsg",
    74: "fsync",
    75: "fdatasync",
    77: "ftruncate",
    91: "fchmod",
    93: "fchown",
    285: "fallocate",
    296: "pwritev",
}
#: ... and which argument is the path
_OF_PATHS = {
    76: ("truncate", 0),
    82: ("rename", 1),
    83: ("mkdir", 0),
    84: ("rmdir", 0),
    86: ("link", 1),
    87: ("unlink", 0),
    88: ("symlink", 1),
    90: ("chmod", 0),
    92: ("chown", 0),
    94: ("lchown", 0),
    133: ("mknod", 0),
    258: ("mkdirat", 1),
    259: ("mknodat", 1),
    260: ("fchownat", 1),
    263: ("unlinkat", 1),
    264: ("renameat", 3),
    265: ("linkat", 3),
    266: ("symlinkat", 2),
    268: ("fchmodat", 1),
    316: ("renameat2", 3),
}
_OPENAT = 257
_LOOKS = {41: "socket", 42: "connect", 72: "fcntl", 73: "flock"}
_LOCKS = {6, 7, 37, 38}  # F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW: asm-generic/fcntl.h
#: what the kernel has a call begin again with, unseen by the process: a sysctl of a device that waits for the RTNL lock
_ERESTARTNOINTR = 513  # include/linux/errno.h
_SENDS = {44: "sendto", 46: "sendmsg"}
_RECEIVES = {45: "recvfrom", 47: "recvmsg"}

# linux/netlink.h, linux/rtnetlink.h, asm-generic/ioctl.h, linux/sockios.h
_HEADER = struct.Struct("=IHHII")
_ROUTE, _NLMSG_ERROR, _READS, _NO_SUCH_REQUEST = 0, 2, 2, 0x7FFF
_IOC_WRITE, _SOCKET_IOCTL = 1 << 30, 0x89
_SOCKET_READS = {0x8910, 0x8912, 0x8913, 0x8915, 0x8917, 0x8919, 0x891B, 0x891D, 0x8921, 0x8927, 0x8933}


class Effect(NamedTuple):
    """A system call with an outward effect: its name, and what it is on."""

    call: str
    on: str
    #: the requests that a netlink effect has
    requests: int = 1

    def __str__(self) -> str:
        return f"{self.call} {self.on}"


@dataclass(frozen=True)
class Fault:
    """What happens at an effect.

    Args:
        number: at the n-th effect, from 1.
        moment: before it or after it.
        error: the errno with which it fails: ``before``: it is refused; ``after``: it is done, and a socket loses the
            answer, while another call says that it failed. 0: the process is killed.
        request: which of the requests is refused that one netlink effect has, from 0.
        event: is called there instead, in another process, and nothing fails: what others do meanwhile.
    """

    number: int
    moment: Literal["before", "after"] = "before"
    error: int = 0
    request: int = 0
    event: Callable[[], None] | None = None

    def __str__(self) -> str:
        what = "event" if self.event else errno.errorcode[self.error] if self.error else "killed"
        which = f", request {self.request}" if self.request else ""
        return f"{what} {self.moment} effect {self.number}{which}"


@dataclass(frozen=True)
class Outcome:
    """How it ended.

    Attributes:
        effects: the effects, in order, up to the end.
        killed: whether the fault killed it.
        answer: what ``work`` returned.
        error: the name of the class of a `vifplug.errors.VifplugError` that it raised.
        message: the text of the error.
        bug: the traceback of any other exception.
        milliseconds: how long ``work`` took; 0 if it was killed.
    """

    effects: tuple[Effect, ...] = ()
    killed: bool = False
    answer: Any = None
    error: str = ""
    message: str = ""
    bug: str = ""
    milliseconds: float = 0.0


def run(work: Callable[[], Any], fault: Fault | None = None, *, looks: bool = False, timeout: float = 60.0) -> Outcome:
    """Run ``work`` in a forked process, and return how it ended. It may return what is in JSON.

    Args:
        work: what is run.
        fault: what happens to it.
        looks: count, instead of effects, what opens a file, makes or connects a socket, or takes a lock.
        timeout: seconds after which it is killed.

    Raises:
        MissingRequirement: this machine cannot trace system calls.
        TimeoutError: it did not end; it is killed.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    keeper = os.fork()
    if not keeper:
        os.close(reading)
        _keep(work, Watch(fault, looks=looks), writing)
    os.close(writing)
    try:
        told = _read(reading, time.monotonic() + timeout)
    finally:
        os.close(reading)
        os.kill(keeper, signal.SIGKILL)  # and with it what it traces
        os.waitpid(keeper, 0)
    parts: dict[str, Any] = {}
    for line in told.splitlines():
        parts |= json.loads(line)
    if missing := parts.pop("missing", ""):
        raise MissingRequirement(missing)
    effects = tuple(Effect(*each) for each in parts.pop("effects"))
    return Outcome(effects=effects, **parts)


def _read(pipe: int, deadline: float) -> bytes:
    told = b""
    while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not (more := os.read(pipe, 1 << 16)):
            return told
        told += more
    raise TimeoutError("what was run with a fault did not end in time")


def _keep(work: Callable[[], Any], watch: Watch, pipe: int) -> None:
    """Trace the process in which ``work`` runs, and tell how it ended; do not return."""
    try:
        status = tracing.trace(lambda: _tell(pipe, _worked(work)), watch.numbers, watch)
        told: dict[str, Any] = {"effects": watch.effects, "killed": os.WIFSIGNALED(status)}
    except MissingRequirement as missing:
        told = {"missing": str(missing)}
    except BaseException:  # noqa: BLE001  told to the process that asked
        told = {"effects": [], "bug": traceback.format_exc()}
    _tell(pipe, told)
    os._exit(0)


def _tell(pipe: int, told: dict[str, Any]) -> None:
    os.write(pipe, json.dumps(told).encode() + b"\n")


def _worked(work: Callable[[], Any]) -> dict[str, Any]:
    sys.dont_write_bytecode = True  # which is an effect on files
    begun, told = time.monotonic(), dict[str, Any]()
    try:
        told["answer"] = work()
    except errors.VifplugError as error:
        told |= {"error": type(error).__name__, "message": str(error)}
    except BaseException:  # noqa: BLE001  what work does is its own
        told["bug"] = traceback.format_exc()
    return told | {"milliseconds": (time.monotonic() - begun) * 1000}


class Watch:
    """Counts the effects of a process, and has the fault happen."""

    #: the system calls of interest
    numbers: tuple[int, ...] = (*_OF_DESCRIPTORS, *_OF_PATHS, _OPENAT, *_RECEIVES)

    def __init__(self, fault: Fault | None, *, looks: bool = False) -> None:
        self._fault = fault
        if looks:
            self.numbers = (*_LOOKS, _OPENAT)
        self._effect = self._opening if looks else self._change
        self.effects: list[Effect] = []
        #: the descriptor whose next answer is not what the kernel says, and what is done to it
        self._answer: tuple[int, Callable[[Call], None]] | None = None
        self._protocols: dict[str, int] = {}
        #: the threads whose last call begins again
        self._again: set[int] = set()

    def __call__(self, call: Call) -> Callable[[Call], None] | None:
        """See `vifplug.testing.tracing.trace`."""
        if call.number in _RECEIVES:
            return self._received if self._answer and self._answer[0] == call.arguments[0] else None
        effect = self._effect(call)
        if effect is None:
            return None
        waits = self._restarted if effect.on.startswith("/proc/") else None
        if call.thread in self._again:
            self._again.discard(call.thread)
            return waits
        self.effects.append(effect)
        if self._fault is None or self._fault.number != len(self.effects):
            return waits
        return self._strike(call, self._fault)

    def _restarted(self, call: Call) -> None:
        if call.result == -_ERESTARTNOINTR:
            self._again.add(call.thread)

    def _strike(self, call: Call, fault: Fault) -> Callable[[Call], None] | None:
        answers, after = call.number in _SENDS, fault.moment == "after"
        event = fault.event
        if event is not None:
            if after:
                return lambda _: event()
            event()
        elif not fault.error:
            if after:
                return Call.kill
            call.kill()
        elif after and answers:
            self._answer = (call.arguments[0], lambda reply: reply.answer(-fault.error))
        elif after:
            return lambda made: made.answer(-fault.error)
        elif answers and self._protocol(call) is not None:
            self._refuse(call, fault)
        else:
            call.skip(-fault.error)
        return None

    def _received(self, call: Call) -> None:
        if self._answer and call.result > 0:
            self._answer[1](call)

    def _refuse(self, call: Call, fault: Fault) -> None:
        """Have the kernel refuse a request of a send, and put the errno into its answer."""
        place, size = _message(call)
        start, _, sequence = _requests(call.read(place, size))[fault.request]
        call.write(place + start + 4, struct.pack("=H", _NO_SUCH_REQUEST))

        def answered(reply: Call) -> None:
            place, _ = _message(reply)
            data = reply.read(place, reply.result)
            for start, kind, number in _requests(data):
                if kind == _NLMSG_ERROR and number == sequence:
                    reply.write(place + start + _HEADER.size, struct.pack("=i", -fault.error))
                    self._answer = None

        self._answer = (call.arguments[0], answered)

    # -- what is an effect ----------------------------------------------------------------------------------------

    def _opening(self, call: Call) -> Effect | None:
        if call.number == _OPENAT:
            path = _text(call, call.arguments[1])
            return None if re.search(r"\.pyc?$|\.so(\.|$)", path) else Effect("openat", path)
        if call.number == 72 and call.arguments[1] not in _LOCKS:
            return None
        return Effect(_LOOKS[call.number], Path(call.file(call.arguments[0])).name)

    def _change(self, call: Call) -> Effect | None:
        if call.number in _OF_PATHS:
            name, place = _OF_PATHS[call.number]
            return Effect(name, Path(_text(call, call.arguments[place])).name)
        if call.number == _OPENAT:
            return self._made(call)
        name, file = _OF_DESCRIPTORS[call.number], call.file(call.arguments[0])
        if file.startswith("socket:"):
            return self._sent(call, name)
        if name == "ioctl":
            asks = file == "/dev/net/tun" and call.arguments[1] & _IOC_WRITE
            return Effect(name, f"{file} {call.arguments[1]:#x}") if asks else None
        if not file.startswith("/") or file.startswith(("/dev/", "/memfd:")):
            return None
        return Effect(name, file if file.startswith(("/proc/", "/sys/")) else Path(file).name)

    def _made(self, call: Call) -> Effect | None:
        """Opening is an effect where it makes a file, or empties one."""
        directory, path, flags = call.arguments[0], _text(call, call.arguments[1]), call.arguments[2]
        if not flags & (os.O_CREAT | os.O_TRUNC) or path.startswith("/dev/"):
            return None
        whole = path if path.startswith("/") else f"{call.file(directory)}/{path}"
        if Path(whole).exists() and not flags & os.O_TRUNC:
            return None
        return Effect("openat", Path(path).name)

    def _sent(self, call: Call, name: str) -> Effect | None:
        if name == "ioctl":
            asks = call.arguments[1] >> 8 == _SOCKET_IOCTL and call.arguments[1] not in _SOCKET_READS
            return Effect(name, f"socket {call.arguments[1]:#x}") if asks else None
        if call.number not in _SENDS:
            return Effect(name, "socket")
        protocol, (place, size) = self._protocol(call), _message(call)
        data = call.read(place, min(size, 1 << 16))
        if protocol is None:
            asked = re.search(rb'"method":\s*"(\w+)"', data)
            if asked and asked[1] == b"transact":
                changes = re.findall(rb'"op":\s*"(?:insert|update|mutate|delete)"', data)
                return Effect(name, "OVSDB transact") if changes else None
            return None if asked or re.search(rb'"id":\s*"echo"', data) else Effect(name, "socket")
        kinds = [kind for _, kind, _ in _requests(data)]
        if protocol == _ROUTE and all(kind % 4 == _READS for kind in kinds):
            return None
        return Effect(name, f"netlink {protocol}: {' '.join(map(str, kinds))}", len(kinds))

    def _protocol(self, call: Call) -> int | None:
        """Return the protocol of a netlink socket; None for another socket."""
        file = call.file(call.arguments[0])
        if file not in self._protocols:
            rows = Path(f"/proc/{call.thread}/net/netlink").read_text().splitlines()[1:]
            self._protocols = {f"socket:[{row.split()[-1]}]": int(row.split()[1]) for row in rows}
        return self._protocols.get(file)


def _message(call: Call) -> tuple[int, int]:
    """Return where the first buffer of a send or a receive is, and its size."""
    if call.number in (44, 45):
        return call.arguments[1], call.arguments[2]
    vector, _ = struct.unpack("=16xQQ", call.read(call.arguments[1], 32))
    address, size = struct.unpack("=QQ", call.read(vector, 16))
    return address, size


def _requests(data: bytes) -> list[tuple[int, int, int]]:
    """Return the start, the type and the sequence number of each netlink message."""
    found, start = [], 0
    while start + _HEADER.size <= len(data):
        length, kind, _, number, _ = _HEADER.unpack_from(data, start)
        if length < _HEADER.size:
            break
        found.append((start, kind, number))
        start += (length + 3) & ~3
    return found


def _text(call: Call, address: int) -> str:
    """Return a path from the memory of the process."""
    found = b""
    while b"\0" not in found and len(found) < os.pathconf("/", "PC_PATH_MAX"):
        found += call.read(address + len(found), 4096 - (address + len(found)) % 4096)
    return os.fsdecode(found.partition(b"\0")[0])
