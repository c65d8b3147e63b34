"""Locks on VIFs, exclusive among all threads and processes of a host: each is a byte of one file.

Open file description locks (fcntl(2), Linux 3.15) exclude threads as they do processes; one descriptor holds any
number of them. The kernel releases the locks of a process that dies, so no lock is ever stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from vifplug.errors import Busy

#: struct flock of fcntl(2): type, whence, start, length, pid (0, as F_OFD_SETLK requires)
_FLOCK = struct.Struct("hhqqi4x")
#: Seconds between two attempts, from the first to the longest: the kernel has no lock call that waits for a time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05


@contextlib.contextmanager
def locked(descriptor: int, vif_ids: Iterable[str], timeout: float) -> Iterator[None]:
    """Lock the VIFs' bytes of an open file inside the ``with``.

    They are locked in ascending order, so that no two callers wait for each other.

    Args:
        timeout: how long to wait for all of them, in seconds.

    Raises:
        Busy: the time is over.
    """
    deadline = time.monotonic() + timeout
    try:
        for offset, vif_id in sorted((_offset(each), each) for each in vif_ids):
            if not _taken(descriptor, offset, deadline):
                holder = _holder(descriptor, offset)
                message = f"VIF {vif_id} is being worked on by {holder}; try again when it is done"
                raise Busy(message, vif_id=vif_id, holder=holder, option="[vifplug] lock_timeout")
        yield
    finally:  # closing is not enough: a child forked meanwhile has the same open file description
        _set(descriptor, fcntl.F_UNLCK, 0, 0)


def _offset(vif_id: str) -> int:
    """Return the byte of a VIF. Two VIFs that share one (less likely than 1 in 2**50) would wait for each other."""
    return int.from_bytes(hashlib.sha256(vif_id.encode()).digest()[:7])


def _taken(descriptor: int, offset: int, deadline: float) -> bool:
    pause = _FIRST_PAUSE
    while True:
        try:
            _set(descriptor, fcntl.F_WRLCK, offset, 1)
            return True
        except (BlockingIOError, PermissionError):  # EAGAIN, EACCES
            if time.monotonic() >= deadline:
                return False
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _set(descriptor: int, kind: int, start: int, length: int) -> None:
    """Change the lock on a range; a length of 0 reaches to the end of the file."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))


def _holder(descriptor: int, offset: int) -> str:
    """Return who has locked a byte, as /proc/PID/fdinfo shows (proc(5)); fcntl does not say."""
    lock = f":{os.fstat(descriptor).st_ino} {offset} {offset}\n"
    for info in Path("/proc").glob("[0-9]*/fdinfo/*"):
        with contextlib.suppress(OSError):  # a process that has ended since, or one of another user
            if lock in info.read_text():
                pid = int(info.parts[2])
                return "another thread of this process" if pid == os.getpid() else f"process {pid}"
    return "another process"
