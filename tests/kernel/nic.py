"""The NIC with virtual functions of the machine `sriov`, and the far end of its wire: used inside that machine."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kernel.wire import until
from vifplug.testing import netns
from vifplug.testing.netns import ip

DEVICES, DRIVERS = Path("/sys/bus/pci/devices"), Path("/sys/bus/pci/drivers")
FUNCTIONS = 4


@dataclass(frozen=True)
class Nic:
    """The physical function's device, the PCI addresses of its virtual functions, and the namespace of the far end."""

    device: str
    functions: tuple[str, ...]
    far: str
    far_device: str

    def settings(self, number: int) -> dict[str, Any]:
        """What the kernel says of a function: iproute2 is asked, not the code under test."""
        [message] = json.loads(ip("-json", "link", "show", "dev", self.device))
        return dict(message["vfinfo_list"][number])

    def set(self, number: int, words: str) -> None:
        """Settings of a function, as ip(8) has them: ``mac 52:54:00:00:00:01 vlan 7``."""
        ip("link", "set", "dev", self.device, "vf", str(number), *words.split())

    def driver(self, number: int) -> str:
        """The driver that has a function."""
        return (DEVICES / self.functions[number] / "driver").resolve().name

    def netdev(self, number: int) -> str:
        """The function's device on this host."""
        return next((DEVICES / self.functions[number] / "net").iterdir()).name

    @contextlib.contextmanager
    def bound(self, number: int, driver: str) -> Iterator[None]:
        """Another driver has a function."""
        self._bind(number, driver)
        try:
            yield
        finally:
            self._bind(number, "igbvf")

    @contextlib.contextmanager
    def used(self, number: int, address: str) -> Iterator[tuple[str, str]]:
        """A namespace that has a function as a guest has it: its driver starts anew, and finds MAC and VLAN set."""
        self._bind(number, "igbvf")
        device = self.netdev(number)
        with netns.named() as [guest]:
            ip("link", "set", "dev", device, "netns", guest)
            ip("-n", guest, "address", "add", address, "dev", device)
            ip("-n", guest, "link", "set", "dev", device, "up")
            until(lambda: "LOWER_UP" in ip("-n", guest, "link", "show", "dev", device), "the function's carrier")
            yield guest, device
        until(lambda: any((DEVICES / self.functions[number] / "net").iterdir()), "the function to come back")

    @contextlib.contextmanager
    def sniffed(self) -> Iterator[Callable[[], list[str]]]:
        """What comes by at the far end, tags and all, as tcpdump tells it: ask as often as you want."""
        command = [
            "ip",
            "netns",
            "exec",
            self.far,
            "tcpdump",
            "--immediate-mode",
            "-l",
            "-e",
            "-n",
            "-i",
            self.far_device,
        ]
        with tempfile.NamedTemporaryFile() as file, subprocess.Popen(command, stdout=file, stderr=file) as dump:
            message = Path(file.name)
            try:
                until(lambda: "listening on" in message.read_text(), "tcpdump to listen")
                yield lambda: message.read_text().splitlines()
            finally:
                dump.kill()  # of SIGTERM it takes note with the next frame only

    def _bind(self, number: int, driver: str) -> None:
        address = self.functions[number]
        (DEVICES / address / "driver_override").write_text(driver)
        (DEVICES / address / "driver/unbind").write_text(address)
        (DRIVERS / driver / "bind").write_text(address)
        (DEVICES / address / "driver_override").write_text("\n")


@contextlib.contextmanager
def wired() -> Iterator[Nic]:
    """The NIC, up, with its functions; the far end, in a namespace of its own, has 10.0.0.1 and, in VLAN 10, 10.10.0.1.

    Both ends are up before the functions are made: their drivers ask the physical function for their MAC.
    """
    [path] = Path("/sys/class/net").glob("*/device/sriov_totalvfs")
    near = path.parts[-3]
    [wire] = [each.parent.name for each in Path("/sys/class/net").glob("*/device") if driver_of(each) == "e1000e"]
    with netns.named() as [far]:
        ip("link", "set", "dev", wire, "netns", far)
        ip("-n", far, "link", "add", "link", wire, "name", "far10", "type", "vlan", "id", "10")
        for device, address in ((wire, "10.0.0.1/24"), ("far10", "10.10.0.1/24")):
            ip("-n", far, "address", "add", address, "dev", device)
            ip("-n", far, "link", "set", "dev", device, "up")
        ip("link", "set", "dev", near, "up")
        until(lambda: "LOWER_UP" in ip("link", "show", "dev", near), "the NIC's carrier")
        (path.parent / "sriov_numvfs").write_text(str(FUNCTIONS))
        functions = tuple((path.parent / f"virtfn{number}").resolve().name for number in range(FUNCTIONS))
        try:
            yield Nic(near, functions, far, wire)
        finally:
            (path.parent / "sriov_numvfs").write_text("0")


def driver_of(device: Path) -> str:
    return (device / "driver").resolve().name
