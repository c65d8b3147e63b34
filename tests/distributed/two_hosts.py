"""Two hosts of one OVN, and what the tests of them do again and again."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.command import Answer, vifplug
from vifplug import VIF, VIFDriver, conf
from vifplug.cli.demo import guests
from vifplug.cli.demo.guests import DemoGuest
from vifplug.testing.host import PrivateHost
from vifplug.testing.ovn import CONTROLLER, UPLINK, Chassis, PrivateOvn

#: seconds in which what is lacking has to be told; what is there may take as long as the host's own timeout
HASTY = 2
#: the port of UDP that Geneve goes to (RFC 8926)
GENEVE = 6081


@dataclass(frozen=True)
class TwoHosts:
    """An OVN of two hosts: their names as chassis are ``one`` and ``two``."""

    ovn: PrivateOvn
    hosts: Mapping[str, PrivateHost]
    chassis: Mapping[str, Chassis]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def switch(self) -> str:
        """A new logical switch."""
        name = f"switch-{next(self.numbers)}"
        self.ovn.nbctl("ls-add", name)
        return name

    def vif(self, switch: str, **document: Any) -> VIF:
        """The VIF of a new logical port with an address of its own."""
        vif = self.stranger(**document)
        self.ovn.nbctl("lsp-add", switch, vif.id, "--", "lsp-set-addresses", vif.id, f"{vif.mac} {address(vif)}")
        return vif

    def stranger(self, **document: Any) -> VIF:
        """A VIF of which OVN has no logical port."""
        number = next(self.numbers)
        document = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}} | document
        mac = f"52:54:00:00:{number // 256:02x}:{number % 256:02x}"
        return VIF.from_json({"id": str(uuid.uuid4()), "mac": mac, "mtu": 1400, **document})

    def plug(self, host: str, vif: VIF) -> None:
        with self.hosts[host].inside():
            self.hosts[host].driver.plug(vif)

    def unplug(self, host: str, vif: VIF) -> None:
        with self.hosts[host].inside():
            self.hosts[host].driver.unplug(vif.id)

    @contextlib.contextmanager
    def driver(self, host: str, *, wait: str, hasty: bool = False) -> Iterator[VIFDriver]:
        """A driver that waits for something else than the host's own does; the calling thread is on the host."""
        files = [self.hosts[host].config, *([self._hasty()] if hasty else [])]
        with self.hosts[host].inside(), VIFDriver(conf.load(list(map(str, files))), wait=wait) as driver:
            yield driver

    def command(self, host: str, *words: str | Path, hasty: bool = False) -> Answer:
        """What ``vifplug WORDS`` says on a host. ``hasty``: with a timeout for what is known to be lacking."""
        options: list[str | Path] = ["--config-file", self._hasty()] if hasty else []
        under = ["ip", "netns", "exec", self.hosts[host].namespace]
        return vifplug(*options, *words, config=self.hosts[host].config, under=under)

    def _hasty(self) -> Path:
        file = self.ovn.directory / "hasty.conf"
        file.write_text(f"[vifplug_ovs]\ntimeout = {HASTY}\n")
        return file

    def document(self, vif: VIF) -> Path:
        """A file that holds the VIF."""
        path = self.ovn.directory / f"{vif.id}.json"
        path.write_text(vif.to_json())
        return path

    @contextlib.contextmanager
    def guest(self, host: str, vif: VIF) -> Iterator[DemoGuest]:
        """What stands for a guest, with the VIF's address."""
        with contextlib.ExitStack() as stack:
            with self.hosts[host].inside():
                card = {"eth0": f"{address(vif)}/16"}
                guest = stack.enter_context(guests.running(vif.id, vif.device, vif.mac, card))
            yield guest

    @contextlib.contextmanager
    def plugged(self, *pairs: tuple[str, VIF]) -> Iterator[None]:
        """VIFs on hosts, for a while."""
        with contextlib.ExitStack() as stack:
            for host, vif in pairs:
                self.plug(host, vif)
                stack.callback(self.unplug, host, vif)
            yield

    @contextlib.contextmanager
    def listening(self, host: str) -> Iterator[Path]:
        """A file with what tcpdump sees between the hosts: a line for each frame of a tunnel."""
        path = self.ovn.directory / f"frames-{next(self.numbers)}"
        tcpdump = ["tcpdump", "-n", "-l", "--immediate-mode", "-i", UPLINK, "udp", "port", str(GENEVE)]
        command = ["ip", "netns", "exec", self.hosts[host].namespace, *tcpdump]
        with (
            path.open("w") as file,
            subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, text=True) as process,
        ):
            assert process.stderr is not None
            try:
                assert any("listening on" in line for line in process.stderr)
                yield path
            finally:
                process.kill()


def address(vif: VIF) -> str:
    """The guest's: its last two numbers are those of the MAC."""
    return "10.0." + ".".join(str(int(number, 16)) for number in vif.mac.split(":")[4:])


@contextlib.contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Raises MissingRequirement where OVN is not installed."""
    with contextlib.ExitStack() as stack:
        ovn = stack.enter_context(PrivateOvn())
        hosts = {
            name: stack.enter_context(PrivateHost(entered=False, vifplug_ovs={"timeout": 30}))
            for name in ("one", "two")
        }
        chassis = {name: stack.enter_context(ovn.joined(host, name)) for name, host in hosts.items()}
        yield TwoHosts(ovn, hosts, chassis)


@contextlib.contextmanager
def without_controller(chassis: Chassis) -> Iterator[None]:
    """ovn-controller is dead for a while; it took no leave."""
    chassis.kill(CONTROLLER)
    try:
        yield
    finally:
        chassis.start()
