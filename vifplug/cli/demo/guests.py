"""Control the demo's guests: start one on a device, ping from it, end it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_PATIENCE = 10  # attempts of a ping that has to succeed; the first frames can be lost while ports come up


@dataclass(frozen=True)
class DemoGuest:
    """A running guest."""

    name: str
    pid: int

    def reaches(self, address: str) -> bool:
        """Return whether ``address`` answers a ping within a few attempts."""
        return any(self._ping(address, "1") for _ in range(_PATIENCE))

    def is_cut_off_from(self, address: str) -> bool:
        """Return whether ``address`` answers none of three pings."""
        return not self._ping(address, "0.4", "-c", "3", "-i", "0.1")

    def _ping(self, address: str, wait: str, *options: str) -> bool:
        count = options or ("-c", "1")
        ping = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "ping", "-n", "-q", *count, "-W", wait, address]
        return subprocess.run(ping, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


@contextlib.contextmanager
def running(name: str, device: str, mac: str, cards: Mapping[str, str]) -> Iterator[DemoGuest]:
    """Run a guest that uses ``device``. ``cards``: addresses of its network cards (``{"eth0": "192.0.2.1/24"}``)."""
    words = [device, mac, *(f"{card}={address}" for card, address in cards.items())]
    command = [sys.executable, "-m", "vifplug.cli.demo.guest", *words]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"guest {name} did not start")
            yield DemoGuest(name, process.pid)
        finally:
            process.kill()
