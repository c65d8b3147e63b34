"""Which boot of the kernel, and which network namespace, this process is in: what was set in another is gone."""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def boot() -> str:
    """Return the id of this boot of the kernel, a UUID (proc(5), /proc/sys/kernel/random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def namespace() -> int:
    """Return the inode of the network namespace of the calling thread: unique while the namespace exists."""
    return os.stat("/proc/thread-self/ns/net").st_ino
