"""Control the demo's guests: start one on a device, ping from it, end it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vifplug.testing.guests import BootedGuest, Image, definition
from vifplug.testing.libvirt import LibvirtHost

_PATIENCE = 10  # attempts of a ping that has to succeed; the first frames can be lost while ports come up


@dataclass(frozen=True)
class DemoGuest:
    """A running process that stands for a guest."""

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
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:  # a session of its own: Ctrl-C is for the demo, which ends the guest
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"guest {name} did not start")
            yield DemoGuest(name, process.pid)
        finally:
            process.kill()


@dataclass(frozen=True)
class Booter:
    """What boots guests: a libvirtd, and an image for them."""

    libvirt: LibvirtHost
    image: Image

    def create(self, name: str, element: str) -> str:
        """Define a guest with an element, in NAME.xml, start it, and return what virsh prints."""
        domain = Path(f"{name}.xml").resolve()
        domain.write_text(definition(self.image, name, [element]))
        return self.libvirt.virsh("create", domain)

    def guest(self, name: str) -> BootedGuest:
        """Return a guest that was created."""
        return BootedGuest(self.libvirt, name)
