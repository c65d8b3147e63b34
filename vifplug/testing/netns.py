"""Temporary network namespaces for tests: nothing in them reaches the machine's own links.

`entered` moves the calling thread into a namespace without a name; the threads and processes that it starts are in it
as well, and sockets that are opened in it stay in it. `named` makes namespaces that ip(8) knows, for tests in which
several hosts talk to each other. Both raise `vifplug.testing.MissingRequirement` if this machine cannot make one, which
skips the test.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence

from vifplug.testing import needs

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)  # os.unshare and os.setns are in Python from 3.12 on


@contextlib.contextmanager
def entered() -> Iterator[None]:
    """Move the calling thread into a new network namespace with ``lo`` up; on exit it returns to its own.

    The namespace ends, with all its links, with its last thread, process and socket: close what you opened.
    """
    needs.require("namespaces")
    with _returning():
        _checked(_libc.unshare(CLONE_NEWNET))
        ip("link", "set", "dev", "lo", "up")
        yield


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _checked(_libc.setns(home, CLONE_NEWNET))
        os.close(home)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Move the calling thread into the namespace ``name`` of ip(8); on exit it returns to its own."""
    with _returning():
        there = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _checked(_libc.setns(there, CLONE_NEWNET))
        finally:
            os.close(there)
        yield


@contextlib.contextmanager
def named(count: int = 1) -> Iterator[Sequence[str]]:
    """Make ``count`` namespaces under /run/netns, with ``lo`` up in each; remove them on exit."""
    needs.require("namespaces")
    names = [f"vifplug-{uuid.uuid4().hex[:12]}" for _ in range(count)]
    with contextlib.ExitStack() as stack:
        for name in names:
            ip("netns", "add", name)
            stack.callback(ip, "netns", "delete", name)
            ip("-n", name, "link", "set", "dev", "lo", "up")
        yield names


def show_links() -> None:
    """Let /sys show the links of the namespace that this process has entered, to it and to those that it starts.

    It gets a mount namespace of its own. Equivalent to: what ``ip netns exec`` does.
    """
    _checked(_libc.unshare(CLONE_NEWNS))
    run("mount", "--make-rslave", "/")
    run("mount", "-t", "sysfs", "sysfs", "/sys")


def ip(*arguments: str) -> str:
    """Run ``ip ARGUMENTS`` and return what it prints. Raises subprocess.CalledProcessError."""
    return run("ip", *arguments)


def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it prints; ``env``: its whole environment.

    Raises:
        subprocess.CalledProcessError: it failed; ``stderr`` holds its message.
    """
    given = subprocess.DEVNULL
    return subprocess.run(command, check=True, stdin=given, capture_output=True, text=True, env=env).stdout


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
