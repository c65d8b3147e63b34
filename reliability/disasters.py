"""What befalls a host as a whole, with a VIF of each type: reliability/results/disasters.json.

Reboots, also in the middle of a verb; a lost database of Open vSwitch; a record that is lost, older or damaged; another
NIC of the same name. After what an operator does then, the host is as one on which nothing went wrong.

reliability/disasters.py                      # all types
reliability/disasters.py --subject hybrid --seed 7   # one type; nothing is written
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability.matrix import DOCUMENTS, MAC, lay, site, subject
from reliability.page import write
from vifplug import VIFDriver
from vifplug.testing import needs, netns
from vifplug.testing.faults import Fault
from vifplug.testing.host import PrivateHost
from vifplug.testing.matrix import VERBS, Matrix, Result, State, Subject, Verb

#: a VIF that was never plugged: a verb on it is the first change in a process
_NOBODY = "00000000-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
#: of a NIC that was replaced
_OTHER_MAC = "02:00:00:00:00:02"
_ORIGINALS = re.compile(r'"originals": .*(?="claims")')
_VERBS: tuple[Verb, ...] = ("plug", "update", "unplug")
#: places of each of them at which the host reboots, at random
_PLACES = 4


@dataclass(frozen=True)
class Disaster:
    """What befalls a host, what is done then, and what the host is like after that.

    Args:
        name: for the reader.
        before: the state of the VIF.
        happens: does it.
        repair: what an operator does; returns what is wrong.
        ends: the states that the VIF may be in then.
    """

    name: str
    before: State
    happens: Callable[[PrivateHost], None]
    repair: Callable[[VIFDriver, Subject], Any]
    ends: Collection[State]


def reboot(host: PrivateHost) -> None:
    """Take all links, and with them what was set on them. Open vSwitch's database and the record stay."""
    for server in ("ovs-vswitchd", "ovsdb-server"):
        host.ovs.stop(server)
    for link in host.links():
        if link in host.links():
            host.ip("link", "delete", link)
    _execute(host, "UPDATE meta SET value = 'another' WHERE name IN ('boot', 'back')")
    lay(host)
    host.ovs.start("ovsdb-server")
    host.ovs.start("ovs-vswitchd")


def wipe(host: PrivateHost) -> None:
    """Replace the database of Open vSwitch by a new one, with the bridges of the host's own network."""
    for server in ("ovs-vswitchd", "ovsdb-server"):
        host.ovs.kill(server)
    database = host.ovs.directory / "conf.db"
    database.unlink()
    host.ovs.run("ovsdb-tool", "create", str(database), str(needs.OVS_SCHEMA))
    host.ovs.start("ovsdb-server")
    host.ovs.ctl("--no-wait", "init")
    host.ovs.start("ovs-vswitchd")
    host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")


def lose(host: PrivateHost) -> None:
    """Remove the database of the record."""
    for path in _record(host).parent.glob("vifplug.db*"):
        path.unlink()


def lose_directory(host: PrivateHost) -> None:
    """Remove the directory of the record."""
    shutil.rmtree(_record(host).parent)


def damage_row(host: PrivateHost) -> None:
    """Change a bit of what is recorded of the VIF."""
    _execute(host, "UPDATE vif SET wanted = replace(wanted, '\"kind\"', '\"kimd\"')")


def roll_back(host: PrivateHost) -> None:
    """Put the database of the record back as `keep` has kept it."""
    lose(host)
    shutil.copy(host.ovs.directory / "kept.db", _record(host))


def keep(host: PrivateHost) -> None:
    """Keep the database of the record, as a backup does."""
    shutil.copy(_record(host), host.ovs.directory / "kept.db")  # of which no process has a log open


def replace_nic(host: PrivateHost) -> None:
    """Put another NIC where the lower device was."""
    host.ip("link", "delete", "up0")
    for words in (
        f"add up0 address {_OTHER_MAC} up type veth peer name up1 address 02:00:00:00:00:03",
        "set up1 up",
    ):
        host.ip("link", *words.split())


def _record(host: PrivateHost) -> Path:
    return host.directory / "state/vifplug.db"


def _execute(host: PrivateHost, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(_record(host))) as database, database:
        database.execute(statement)


# -- what an operator does --------------------------------------------------------------------------------------------


def first_change(driver: VIFDriver, about: Subject) -> Sequence[str]:
    """Nothing: the first change in a process ends what was cut off, and brings back what is recorded."""
    driver.unplug(_NOBODY)
    return [str(each) for each in driver.check()]


def reconcile(driver: VIFDriver, about: Subject) -> Sequence[str]:
    """``vifplug recover; vifplug reconcile``"""
    return [str(each.error) for each in (*driver.recover(), *driver.reconcile()) if each.error]


def plug_again(driver: VIFDriver, about: Subject) -> Sequence[str]:
    """``vifplug recover; vifplug plug``, as an agent does that knows what is to be."""
    problems = [str(each.error) for each in driver.recover() if each.error]
    driver.plug(about.changed or about.vif)
    return problems


def unplug(driver: VIFDriver, about: Subject) -> Sequence[str]:
    """``vifplug recover; vifplug unplug --force ID``, as ``vifplug check`` has said that something is wrong."""
    if not driver.check():
        return ["check says nothing"]
    problems = [str(each.error) for each in driver.recover() if each.error]
    driver.unplug(about.vif.id, force=True)
    if "passthrough" in about.name:  # a veth has no permanent MAC: unplug has said that it has the guest's
        netns.ip("link", "set", "up0", "address", MAC)
    return problems


def unplug_from_another(driver: VIFDriver, about: Subject) -> Sequence[str]:
    """``vifplug unplug ID``. The MAC of the new NIC must be its own."""
    driver.unplug(about.vif.id)
    problems = [] if _OTHER_MAC in netns.ip("link", "show", "up0") else ["the NIC has another's MAC"]
    netns.ip("link", "set", "up0", "address", MAC)
    return problems


DISASTERS = (
    Disaster("reboot", "plugged", reboot, first_change, ["plugged"]),
    Disaster("OVSDB wiped", "plugged", wipe, reconcile, ["plugged"]),
    Disaster("record lost", "plugged", lose, unplug, ["absent"]),
    Disaster("directory of the record lost", "plugged", lose_directory, unplug, ["absent"]),
    Disaster("record of before the plug", "plugged", roll_back, unplug, ["absent"]),
    Disaster("record of before the change", "changed", roll_back, plug_again, ["changed"]),
    Disaster("NIC replaced", "plugged", replace_nic, unplug_from_another, ["absent"]),
    Disaster("record damaged", "plugged", damage_row, unplug, ["absent"]),
)


class Disasters(Matrix):
    """The disasters of one VIF on a private host."""

    def befall(self, disaster: Disaster, verb: Verb | None = None, fault: Fault | None = None) -> Result:
        """Let a disaster happen, in the middle of a verb perhaps; repair, and compare."""
        where = f"{self._subject.name}, {disaster.name}" + (f", {verb} {fault}" if verb else "")
        try:
            self._prepare(disaster)
        except AssertionError as error:
            self.forget()
            return Result(f"{where}: {error}", 0.0, landed=False)
        if verb:
            self._do(verb, fault)
        with self._host.inside():
            disaster.happens(self._host)
        done = self._drive(lambda driver: disaster.repair(driver, self._subject))
        problem = done.bug or done.message or self._unlike(disaster.ends)
        return Result(f"{where}: {problem}" if problem else "", done.milliseconds, landed=True)

    def _prepare(self, disaster: Disaster) -> None:
        if disaster.happens is roll_back:
            self._reach("plugged" if disaster.before == "changed" else "absent")
            keep(self._host)
        self._reach(disaster.before)
        self._state = None

    def _learnt(self) -> set[str]:
        return {*super()._learnt(), "br-int"}

    def _seen(self) -> tuple[str, ...]:
        """What devices were like is recorded anew after a reboot; that it is right, the next unplug shows."""
        return tuple(_ORIGINALS.sub("", each) for each in super()._seen())

    def _has(self, disaster: Disaster) -> bool:
        """Whether a disaster befalls this type: the NIC is that of macvtaps, and directories carry no mark."""
        if disaster.happens is replace_nic:
            return "macvtap" in self._subject.name
        return self._subject.name != "vhostuser" or disaster.happens in (reboot, wipe)

    def all(self, dice: random.Random, places: int) -> Iterator[Result]:
        """Let each disaster happen; the host reboots at some places of each verb as well."""
        for disaster in DISASTERS:
            if self._has(disaster):
                yield self.befall(disaster)
        for verb in _VERBS:
            before, after = VERBS[verb]
            numbers = range(1, len(self.effects(verb)) + 1)
            for number in dice.sample(numbers, min(places, len(numbers))):
                in_the_middle = Disaster("reboot", before, reboot, first_change, [before, after])
                yield self.befall(in_the_middle, verb, Fault(number))


def main() -> int:
    """Let all disasters happen; return how many are not survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", choices=list(DOCUMENTS))
    parser.add_argument("--seed", type=int, default=14)
    options = parser.parse_args()
    dice, results = random.Random(options.seed), list[Result]()
    for name in [options.subject] if options.subject else DOCUMENTS:
        with site() as host:
            found = list(Disasters(host, subject(name, host)).all(dice, _PLACES))
        print(
            f"{name}: {len(found)} disasters", *filter(None, (each.problem for each in found)), sep="\n  ", flush=True
        )
        results += found
    survived = sum(not each.problem for each in results)
    if not options.subject:
        write(
            "disasters",
            proof=f"{len(DOCUMENTS)} types: reboot, OVSDB wiped, record lost, older or damaged, NIC replaced",
            command="reliability/disasters.py",
            cells=len(results),
            faults=len(results),
            survived=survived,
            answers=[each.milliseconds for each in results],
            note=f"The host also reboots at {_PLACES} places of a verb. The repair is one verb or two. Not tried: a "
            "lost record of vhostuser: the directory of its socket carries no mark, and stays, empty.",
        )
    return len(results) - survived


if __name__ == "__main__":
    sys.exit(min(main(), 1))
