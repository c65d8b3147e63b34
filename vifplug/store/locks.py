"""Locks, exclusive among all threads and processes of a host, and who has them. That of a VIF is a byte of one file.

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
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from vifplug.errors import Busy

#: struct flock of fcntl(2): type, whence, start, length, pid (0, as F_OFD_SETLK requires)
_FLOCK = struct.Struct("hhqqi4x")
#: Seconds between two attempts, from the first to the longest: the kernel has no lock call that waits for a time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05


#: whose waiting it bounds
OPTION = "[vifplug] lock_timeout"
#: Where proc_pid_stat(5) has the state and the start of a process, counted from behind its name.
_STATE, _START = 0, 19


def take(descriptor: int, vif_ids: Iterable[str], deadline: float) -> None:
    """Lock the VIFs' bytes of an open file, in ascending order, so that no two callers wait for each other.

    Args:
        deadline: when to stop waiting, in seconds of time.monotonic().

    Raises:
        Busy: the time is over.
    """
    for offset, vif_id in sorted((_offset(each), each) for each in vif_ids):
        if not wait(lambda place=offset: _set(descriptor, fcntl.F_WRLCK, place, 1), deadline):  # type: ignore[misc]
            holder, words = _holder({os.fstat(descriptor).st_ino: f"{offset} {offset}"})
            message = f"VIF {vif_id} is being worked on by {words}; try again when it is done"
            raise Busy(message, vif_id=vif_id, holder=holder, option=OPTION)


def release(descriptor: int) -> None:
    """Release what `take` has locked. Closing is not enough: a forked child has the same open file description."""
    with contextlib.suppress(OSError):
        _set(descriptor, fcntl.F_UNLCK, 0, 0)


def wait(attempt: Callable[[], object], deadline: float) -> bool:
    """Attempt to lock something until it succeeds; return whether it did. There is no lock call that waits for a time.

    Args:
        attempt: raises what fcntl(2) and flock(2) raise for a lock that another has.
        deadline: when to stop, in seconds of time.monotonic().
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            attempt()
            return True
        except (BlockingIOError, PermissionError):  # EAGAIN, EACCES
            if time.monotonic() >= deadline:
                return False
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, _LONGEST_PAUSE)


def busy(what: str, files: Iterable[Path]) -> Busy:
    """Return the error for a lock on one of the files that was not released in time."""
    found = {}
    for each in files:
        with contextlib.suppress(OSError):
            found[each.stat().st_ino] = ""
    holder, words = _holder(found)
    message = f"{what} is kept locked by {words}: try again, or end that process if it hangs"
    return Busy(message, holder=holder, option=OPTION)


def _offset(vif_id: str) -> int:
    """Return the byte of a VIF. Two VIFs that share one (less likely than 1 in 2**50) would wait for each other."""
    return int.from_bytes(hashlib.sha256(vif_id.encode()).digest()[:7])


def _set(descriptor: int, kind: int, start: int, length: int) -> None:
    """Change the lock on a range; a length of 0 reaches to the end of the file."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))


def _holder(ranges: Mapping[int, str]) -> tuple[str, str]:
    """Return who has write-locked a file, as /proc/PID/fdinfo shows (proc(5)), and more of it in words.

    Args:
        ranges: by the file's inode, the first and last byte of the lock; empty for any.
    """
    for info in Path("/proc").glob("[0-9]*/fdinfo/*"):
        with contextlib.suppress(OSError):  # a process that has ended since, or one of another user
            for words in map(str.split, info.read_text().splitlines()):
                if words[:1] == ["lock:"] and "WRITE" in words:
                    inode = int(words[-3].rpartition(":")[2])
                    if inode in ranges and ranges[inode] in ("", " ".join(words[-2:])):
                        return _process(int(info.parts[2]))
    return "another process", "another process"


def _process(pid: int) -> tuple[str, str]:
    """Return a process by its number, and with its name, since when it runs, and whether it is stopped."""
    if pid == os.getpid():
        return ("another thread of this process",) * 2
    holder = words = f"process {pid}"
    with contextlib.suppress(OSError, ValueError, IndexError):
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        state, start = (rest.split()[place] for place in (_STATE, _START))
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(start) / os.sysconf("SC_CLK_TCK")
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - age))
        words += f" ({name}, running since {since}{', now stopped' if state in 'Tt' else ''})"
    return holder, words
