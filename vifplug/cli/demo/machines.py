"""The demo with guests: a private libvirtd boots three from what vifplug printed, and they ping each other."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from vifplug.cli.demo.narrator import Narrator
from vifplug.cli.demo.prompt import Prompt
from vifplug.cli.demo.stage import explained
from vifplug.cli.demo.vifs import MACHINES, SWITCH, machine
from vifplug.errors import Conflict
from vifplug.testing.guests import BootedGuest, Image, definition
from vifplug.testing.host import PrivateHost
from vifplug.testing.kernel import Kernel
from vifplug.testing.libvirt import LibvirtHost

WEB, DB, MAIL = "192.0.2.1", "192.0.2.2", "192.0.2.3"
ADDRESSES = {"web": WEB, "db": DB, "mail": MAIL}


def play(kernel: Path) -> int:
    """Play the demo and return its exit code. Raises CheckFailed; HostNotReady if its host cannot be created."""
    with _set_up(kernel) as (libvirt, image):
        return Machines(Narrator(sys.stdout), libvirt, image).play()


@contextlib.contextmanager
def _set_up(kernel: Path) -> Iterator[tuple[LibvirtHost, Image]]:
    with contextlib.ExitStack() as stack:
        with explained():
            host = stack.enter_context(PrivateHost())
            image = Image.made(host.directory, Kernel(kernel))
            libvirt = stack.enter_context(LibvirtHost(host))
        stack.callback(os.chdir, Path.cwd())
        os.chdir(host.directory)
        yield libvirt, image


class Machines:
    """The acts, in order. Each raises CheckFailed if a check fails."""

    def __init__(self, narrator: Narrator, libvirt: LibvirtHost, image: Image) -> None:
        self._tell = narrator
        self._prompt = Prompt(narrator, OVS_RUNDIR=str(libvirt.host.ovs.directory))
        self._libvirt, self._image = libvirt, image
        for name in MACHINES:
            Path(f"{name}.json").write_text(json.dumps(machine(name), indent=2))

    def play(self) -> int:
        """Play all acts and return the exit code."""
        self._tell.say(
            "The demo runs on a temporary host (a network namespace, an Open vSwitch, a libvirtd) with three guests "
            "that QEMU emulates; it does not touch this machine. A line that begins with $ is a command that is really "
            "run on the host, and one that begins with a guest's name is run in that guest."
        )
        guests = self.boot()
        self.talk(guests)
        self.move(guests)
        self.unplug(guests)
        self._tell.say("That is all. The temporary host is removed now; nothing is left on this machine.")
        return 0

    # -- acts ---------------------------------------------------------------------------------------------------

    def boot(self) -> Mapping[str, BootedGuest]:
        self._tell.title("Three guests")
        self._tell.say("web and db will be in VLAN 10, mail in VLAN 20; all addresses are in one IP network.")
        self._prompt.shell("cat web.json")
        self._tell.say(
            "The element that vifplug prints goes into the guest's definition as it is, and libvirt starts the guest."
        )
        guests = {name: self._booted(name) for name in MACHINES}
        self._prompt.shell("ovs-vsctl --format=table --columns=name,tag,external_ids find Port 'tag!=[]'")
        for name, guest in guests.items():
            guest.configure(machine(name)["mac"], f"{ADDRESSES[name]}/24")
        return guests

    def talk(self, guests: Mapping[str, BootedGuest]) -> None:
        self._tell.title("Who reaches whom")
        self._in(guests["web"], "cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu")
        self._reach(guests["web"], DB, "web reaches db: both are in VLAN 10")
        self._miss(guests["web"], MAIL, "web does not reach mail, in VLAN 20")
        self._miss(guests["mail"], DB, "mail does not reach db")

    def move(self, guests: Mapping[str, BootedGuest]) -> None:
        self._tell.title("Another VLAN, while the guest runs")
        Path("mail.json").write_text(json.dumps({**machine("mail"), "vlan": 10}, indent=2))
        self._prompt.vifplug("update", "mail.json", "-f", "table", "-c", "device", "-c", "steps")
        self._reach(guests["mail"], DB, "mail, which never lost its port, reaches db now")
        self._prompt.vifplug("check")

    def unplug(self, guests: Mapping[str, BootedGuest]) -> None:
        self._tell.title("Unplug")
        self._prompt.vifplug("unplug", machine("web")["id"], exit_code=Conflict.exit_code)
        for name, guest in guests.items():
            self._tell.shell(f"virsh destroy {name}", "")
            guest.destroy()
        self._prompt.vifplug("unplug", *(machine(name)["id"] for name in MACHINES), "-f", "value", "-c", "steps")
        self._tell.expect("no port is left on the switch", self._prompt.shell(f"ovs-vsctl list-ports {SWITCH}") == "")
        self._tell.expect("no tap is left", "tap-" not in self._prompt.shell("ip -brief link"))

    # -- means --------------------------------------------------------------------------------------------------

    def _booted(self, name: str) -> BootedGuest:
        element = self._prompt.vifplug("plug", f"{name}.json")
        domain = Path(f"{name}.xml").resolve()
        domain.write_text(definition(self._image, name, [element]))
        self._tell.shell(f"virsh create {domain.name}", self._libvirt.virsh("create", domain))
        return BootedGuest(self._libvirt, name)

    def _in(self, guest: BootedGuest, command: str) -> None:
        self._tell.typed(f"{guest.name}# {command}", guest.run(f"{command} || true"))

    def _reach(self, guest: BootedGuest, address: str, what: str) -> None:
        answered = guest.reaches(address)
        self._in(guest, f"ping -c 3 {address}")
        self._tell.expect(what, answered)

    def _miss(self, guest: BootedGuest, address: str, what: str) -> None:
        unanswered = guest.is_cut_off_from(address)
        self._in(guest, f"ping -c 2 -W 1 {address}")
        self._tell.expect(what, unanswered)
