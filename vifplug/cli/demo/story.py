"""The demo, act by act, in the directory and the network namespace of the temporary host."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from vifplug.cli.demo import guests, stage, vifs
from vifplug.cli.demo.guests import Booter, DemoGuest
from vifplug.cli.demo.narrator import Narrator
from vifplug.errors import Conflict
from vifplug.testing.guests import BootedGuest
from vifplug.testing.host import PrivateHost

Guests = Mapping[str, DemoGuest | BootedGuest]

#: The guests that are started, with their network cards. Without VLANs, those in 192.0.2.0/24 could all talk;
#: router has one half of that network on each of its cards.
CARDS = {
    "web": {"eth0": "192.0.2.1/24"},
    "db": {"eth0": "192.0.2.2/24"},
    "mail": {"eth0": "192.0.2.130/24"},
    "router": {"eth0": "192.0.2.3/25", "eth0.20": "192.0.2.131/25"},
    "anna": {"eth0": "198.51.100.2/24"},
    "bert": {"eth0": "198.51.100.3/24"},
    "direct": {"eth0": "203.0.113.2/24"},
    "guest": {"eth0": "192.0.2.4/24"},
}
WEB, DB, MAIL, ROUTER_10, ROUTER_20 = "192.0.2.1", "192.0.2.2", "192.0.2.130", "192.0.2.3", "192.0.2.131"
BERT = "198.51.100.3"
#: those that QEMU boots if there is a kernel for them; a process stands for each of the others
BOOTED = ("web", "db", "mail")
OFFICE = Path("networks.d/office.xml")


class Story:
    """The acts, in order. Each raises CheckFailed if a check fails."""

    def __init__(self, narrator: Narrator, host: PrivateHost, booter: Booter | None = None) -> None:
        self._tell, self._host, self._booter = narrator, host, booter
        self._documents = vifs.documents(str(host.directory))
        OFFICE.write_text(vifs.office(10))
        for name, document in self._documents.items():
            Path(f"{name}.json").write_text(json.dumps(document, indent=2))

    def play(self) -> int:
        """Play all acts and return the exit code."""
        self._tell.say(
            "The demo runs in a temporary network namespace with its own Open vSwitch; it does not touch this machine. "
            "A line that begins with $ is a command that is really run."
        )
        self.plug_one()
        self.plug_all()
        self.look()
        self._tell.title("Which guests reach each other")
        with self.all_guests() as running:
            self.talk(running)
            self.break_and_repair(running)
            self.move(running)
            self.refuse()
        self.unplug()
        self._tell.say("That is all. The namespace and its switch are removed now; nothing is left on this machine.")
        return 0

    # -- acts ---------------------------------------------------------------------------------------------------

    def plug_one(self) -> None:
        self._tell.title("One VIF")
        self._tell.say(
            "A VIF is a virtual network interface. A small document says what the guest gets and what it is connected "
            "to. This one requests a port in VLAN 10 of an Open vSwitch bridge:"
        )
        self._tell.shell("cat web.json")
        self._tell.say(
            "Plugging it creates the host's side (a tap, the bridge, the port with its VLAN), and prints the element "
            "for the guest's libvirt definition:"
        )
        self._tell.vifplug("plug", "web.json")
        self._tell.say("Plugging it again changes nothing: everything is as it should be.")
        self._tell.vifplug("plug", "web.json", "-f", "table", "-c", "device", "-c", "changed")

    def plug_all(self) -> None:
        self._tell.title("VIFs of every kind, in one batch")
        self._tell.say(
            "db is in VLAN 10 as well, mail in VLAN 20, router in both (a trunk: VLAN 10 untagged, 20 tagged). anna "
            "and bert are on a Linux bridge, isolated from each other. plain is only a tap, direct a macvtap on "
            "the network card, and dpdk a vhost-user socket. guest names a network, and nothing about the host. All "
            "are plugged, or none."
        )
        files = [f"{name}.json" for name in self._documents]
        self._tell.vifplug("plug", *files, "-f", "table", "-c", "device", "-c", "steps")
        self._tell.vifplug("list", "-c", "vif_id", "-c", "type", "-c", "device", "-c", "state")

    def look(self) -> None:
        self._tell.title("What the host says")
        self._tell.say("Seen without vifplug. Open vSwitch:")
        self._tell.shell("ovs-vsctl --format=table --columns=name,vlan_mode,tag,trunks find Port 'vlan_mode!=[]'")
        self._tell.say("The kernel: which bridge ports are isolated, and every device with vifplug's mark.")
        self._tell.shell("grep . /sys/class/net/*/brport/isolated")
        self._tell.shell("grep vifplug /sys/class/net/*/ifalias")
        self._tell.say("vifplug shows all of it together; `topology --format svg` draws it, with Graphviz:")
        self._tell.vifplug("topology")

    def talk(self, guest: Guests) -> None:
        self._tell.expect("web reaches db: both are in VLAN 10", guest["web"].reaches(DB))
        self._tell.expect("mail, in VLAN 20, does not reach web", guest["mail"].is_cut_off_from(WEB))
        self._tell.expect("web does not reach mail", guest["web"].is_cut_off_from(MAIL))
        self._tell.expect("router, untagged, reaches web in VLAN 10", guest["web"].reaches(ROUTER_10))
        self._tell.expect("router, with tag 20, reaches mail in VLAN 20", guest["mail"].reaches(ROUTER_20))
        self._tell.expect("anna reaches the host on the Linux bridge", guest["anna"].reaches(stage.PLAIN_ADDRESS))
        self._tell.expect("bert reaches it, too", guest["bert"].reaches(stage.PLAIN_ADDRESS))
        self._tell.expect("anna does not reach bert: both are isolated", guest["anna"].is_cut_off_from(BERT))
        self._tell.expect("direct reaches the far end of the network card", guest["direct"].reaches(stage.WIRE_ADDRESS))

    def break_and_repair(self, guest: Guests) -> None:
        self._tell.title("Something breaks")
        self._tell.vifplug("check")
        self._tell.say("Somebody puts web's port into VLAN 99, and deletes db's:")
        self._tell.shell("ovs-vsctl set Port tap-web tag=99")
        self._tell.shell("ovs-vsctl del-port tap-db")
        self._tell.expect("web does not reach db any more", guest["web"].is_cut_off_from(DB))
        self._tell.say("check compares the host with the record:")
        self._tell.vifplug("check", exit_code=1)
        self._tell.say("update repairs it in place: the guests keep their taps.")
        for name in ("web", "db"):
            self._tell.vifplug("update", f"{name}.json", "-f", "table", "-c", "device", "-c", "steps")
        self._tell.vifplug("check")
        self._tell.expect("web reaches db again", guest["web"].reaches(DB))

    def move(self, guest: Guests) -> None:
        self._tell.title("A network by its name")
        self._tell.say("guest requests the network office, which this host defines in libvirt's format:")
        self._tell.shell("cat networks.d/office.xml")
        self._tell.expect("guest reaches web: both are in VLAN 10", guest["guest"].reaches(WEB))
        self._tell.say("The office moves to VLAN 20. Plugged VIFs stay as they are, and check reports the difference:")
        OFFICE.write_text(vifs.office(20))
        self._tell.vifplug("check", exit_code=1)
        self._tell.vifplug("network", "update", "office", "-f", "table", "-c", "device", "-c", "steps")
        self._tell.expect("guest, which has kept its tap, reaches mail in VLAN 20", guest["guest"].reaches(MAIL))
        self._tell.expect("and web no more", guest["guest"].is_cut_off_from(WEB))

    def refuse(self) -> None:
        self._tell.title("What vifplug refuses")
        self._tell.say("Removing the tap of a running guest:")
        self._tell.vifplug("unplug", self._documents["web"]["id"], exit_code=Conflict.exit_code)
        self._tell.say("An invalid document, before anything is changed:")
        Path("wrong.json").write_text(json.dumps({**self._documents["web"], "vlan": 4095, "colour": "red"}))
        self._tell.vifplug("plug", "wrong.json", exit_code=2)

    def unplug(self) -> None:
        self._tell.title("Unplug")
        self._tell.say("The guests have ended.")
        self._tell.vifplug("unplug", *(each["id"] for each in self._documents.values()))
        self._tell.expect(
            "no port is left on the switch", self._tell.shell(f"ovs-vsctl list-ports {vifs.SWITCH}") == ""
        )
        self._tell.expect("no tap or macvtap is left", "tap-" not in self._tell.shell("ls /sys/class/net"))
        self._tell.vifplug("list")

    # -- means --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def all_guests(self) -> Iterator[Guests]:
        """Run every guest of CARDS."""
        booted = self._boot(self._booter) if self._booter else {}
        kind = "other guest" if booted else "guest"
        self._tell.say(
            f"A small process takes the place of each {kind}: it opens the tap as QEMU does. They ping each other."
        )
        macs = {name: document["mac"] for name, document in self._documents.items()}
        with contextlib.ExitStack() as stack:
            yield booted | {
                name: stack.enter_context(guests.running(name, f"tap-{name}", macs[name], cards))
                for name, cards in CARDS.items()
                if name not in booted
            }
        for guest in booted.values():
            guest.destroy()

    def _boot(self, booter: Booter) -> dict[str, BootedGuest]:
        """Boot the guests of BOOTED, and let one say what it has."""
        self._tell.say(
            "QEMU boots web, db and mail. The element that vifplug printed goes into the guest's definition as it is. "
            "A line that begins with a guest's name is run in that guest."
        )
        for name in BOOTED:
            plugged = self._host.driver.show(self._documents[name]["id"])
            self._tell.typed(f"$ virsh create {name}.xml", booter.create(name, plugged.interface_xml))
        booted = {name: booter.guest(name) for name in BOOTED}
        for name, guest in booted.items():
            guest.configure(self._documents[name]["mac"], CARDS[name]["eth0"])
        for command in ("ip address show eth0", f"ping -c 3 {DB}"):
            self._tell.typed(f"web# {command}", booted["web"].run(command))
        return booted
