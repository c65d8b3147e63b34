"""Words of the tests that run in a machine: who reaches whom, what a link is, and waiting."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

from vifplug.testing.netns import ip

_SECONDS = 40


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {_SECONDS} s for {what}"
        time.sleep(0.05)


def link(name: str, *, namespace: str = "") -> dict[str, Any]:
    """What iproute2 says of a link."""
    inside = ["-n", namespace] if namespace else []
    [found] = json.loads(ip(*inside, "-details", "-json", "link", "show", "dev", name))
    return dict(found)


def reaches(namespace: str, address: str) -> bool:
    """Whether an address answers a ping; it may take a while, until all is up."""
    return _answers(namespace, address, _SECONDS)


def is_cut_off(namespace: str, address: str) -> bool:
    """Whether an address does not answer, for three seconds."""
    return not _answers(namespace, address, 3)


def _answers(namespace: str, address: str, seconds: int) -> bool:
    """With a deadline, ping goes on until it has an answer."""
    command = ["ip", "netns", "exec", namespace, "ping", "-q", "-c", "1", "-i", "0.3", "-w", str(seconds), address]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
