"""Trace the system calls of a forked process with ptrace(2), for `vifplug.testing.faults`. x86-64 only.

A seccomp(2) filter stops the process at the calls of interest alone; every other call runs at full speed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vifplug.testing import MissingRequirement

# linux/ptrace.h
_SYSCALL, _SETREGS, _GETREGS, _CONT, _SEIZE = 24, 13, 12, 7, 0x4206
_EVENT_SECCOMP = 7
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x80 | 0x100000  # SYSGOOD, FORK, VFORK, CLONE, SECCOMP, EXITKILL
_WALL = 0x40000000  # linux/wait.h
# linux/seccomp.h, linux/filter.h, linux/audit.h
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06
_X86_64 = 0xC000003E

# arch/x86/include/uapi/asm/ptrace.h, struct pt_regs: 27 words
_REGISTERS = struct.Struct("=27Q")
_RAX, _NUMBER = 10, 15
_ARGUMENTS = (14, 13, 12, 7, 9, 8)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class Call:
    """A system call that a traced thread is about to make, or has made.

    Attributes:
        thread: the id of the thread.
        number: the number of the call.
        arguments: its six arguments.
    """

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self._registers = ctypes.create_string_buffer(_REGISTERS.size)
        _ptrace(_GETREGS, thread, self._registers)
        self._words = list(_REGISTERS.unpack(self._registers.raw))
        self.number = self._words[_NUMBER]
        self.arguments = tuple(self._words[each] for each in _ARGUMENTS)

    @property
    def result(self) -> int:
        """The result of a call that was made."""
        return ctypes.c_long(self._words[_RAX]).value

    def answer(self, result: int) -> None:
        """Let the thread see this result: of a call that was made, or of one that is skipped by `skip`."""
        self._words[_RAX] = result & (2**64 - 1)
        self._write()

    def skip(self, result: int) -> None:
        """Do not make the call; the thread sees this result."""
        self._words[_NUMBER] = 2**64 - 1
        self.answer(result)

    def read(self, address: int, size: int) -> bytes:
        """Return memory of the process."""
        with open(f"/proc/{self.thread}/mem", "rb", buffering=0) as memory:
            return os.pread(memory.fileno(), size, address)

    def write(self, address: int, data: bytes) -> None:
        """Write memory of the process."""
        with open(f"/proc/{self.thread}/mem", "r+b", buffering=0) as memory:
            os.pwrite(memory.fileno(), data, address)

    def file(self, descriptor: int) -> str:
        """Return what a descriptor of the process refers to, as /proc names it; empty if it is closed."""
        try:
            return str(Path(f"/proc/{self.thread}/fd/{descriptor}").readlink())
        except OSError:
            return ""

    def kill(self) -> None:
        """Kill the process: the thread, and all others."""
        os.kill(self.thread, signal.SIGKILL)

    def _write(self) -> None:
        self._registers.raw = _REGISTERS.pack(*self._words)
        _ptrace(_SETREGS, self.thread, self._registers)


def trace(
    work: Callable[[], None],
    numbers: Iterable[int],
    before: Callable[[Call], Callable[[Call], None] | None],
) -> int:
    """Run a function in a forked process, and return the process's wait status.

    Args:
        work: what runs in the forked process.
        numbers: the system calls of interest, by number.
        before: called at each of them; what it returns is called once the call was made.

    Raises:
        MissingRequirement: this machine cannot trace.
    """
    if platform.machine() != "x86_64":
        raise MissingRequirement(f"system calls are traced on x86_64, and this machine is {platform.machine()}")
    with _started(work, sorted(numbers)) as child:
        return _followed(child, before)


@contextmanager
def _started(work: Callable[[], None], numbers: list[int]) -> Iterator[int]:
    ready, go = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(go)
            os.read(ready, 1)
            _filter(numbers)
            work()
        finally:
            os._exit(1)
    os.close(ready)
    try:
        _ptrace(_SEIZE, child, None, _OPTIONS)
        os.write(go, b"1")
        yield child
    except PermissionError as error:
        os.kill(child, signal.SIGKILL)
        raise MissingRequirement(f"a process cannot be traced: {error.strerror}") from error
    finally:
        os.close(go)


def _followed(child: int, before: Callable[[Call], Callable[[Call], None] | None]) -> int:
    made: dict[int, Callable[[Call], None]] = {}
    while True:
        thread, status = os.waitpid(-1, _WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if thread == child:
                return status
            continue
        resume, deliver, event, sign = _CONT, 0, status >> 16, os.WSTOPSIG(status)
        try:
            if event == _EVENT_SECCOMP:
                if after := before(Call(thread)):
                    made[thread], resume = after, _SYSCALL
            elif sign == signal.SIGTRAP | 0x80:
                made.pop(thread)(Call(thread))
            elif not event:
                deliver = sign
            _ptrace(resume, thread, None, deliver)
        except ProcessLookupError:  # it was killed
            continue


def _filter(numbers: list[int]) -> None:
    """Stop the tracer at these calls; every other call is let through."""
    match = [(_EQUALS, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    program = [(_LOAD, 0, 0, 0), *match, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _TRACE)]
    code = b"".join(struct.pack("=HBBI", *each) for each in program)
    held = ctypes.create_string_buffer(code)
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(held)))
    _checked(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(_libc.prctl(_SET_SECCOMP, _MODE_FILTER, header, 0, 0))


def _ptrace(request: int, thread: int, data: object, value: int = 0) -> None:
    _checked(_libc.ptrace(request, thread, None, data if data is not None else value))


def _checked(result: int) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
