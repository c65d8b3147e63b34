"""The crash matrix of a VIF: each verb is cut off at each of its effects, repaired in three ways, and compared.

    with PrivateHost() as host:
        matrix = Matrix(host, Subject("my type", vif, changed))
        for cell in matrix.cells("plug"):
            assert not matrix.run(cell).problem

A cell passes if no bug shows, if what an error says about the host is true, and if after the repair the whole host is
as one that nothing happened to (`vifplug.testing.picture`). The effects of a verb are found by running it once
(`vifplug.testing.faults`): a type needs nothing but a document.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import itertools
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vifplug import conf as options
from vifplug.driver.verbs import VIFDriver
from vifplug.model.vif import VIF
from vifplug.testing import faults, picture
from vifplug.testing.faults import Effect, Fault
from vifplug.testing.host import PrivateHost

Verb = Literal["plug", "again", "update", "unplug", "reconcile"]
#: the verb `recover`; the same verb again; unplug. The last two without what recovers by itself, except
#: `reconcile`, which without it works on no VIF that was cut off
Repair = Literal["recover", "again", "unplug"]
REPAIRS: tuple[Repair, ...] = ("recover", "again", "unplug")
State = Literal["absent", "plugged", "changed", "damaged"]

#: the states that a verb leads from and to
VERBS: Mapping[Verb, tuple[State, State]] = {
    "plug": ("absent", "plugged"),
    "again": ("plugged", "plugged"),
    "update": ("plugged", "changed"),
    "unplug": ("plugged", "absent"),
    "reconcile": ("damaged", "plugged"),
}
#: what the kernel, a disk and a server can answer (rtnetlink(7), drivers/net/tun.c, write(2), proc_dointvec_minmax)
ERRORS: Mapping[str, Sequence[int]] = {
    "netlink": (errno.EPERM, errno.EBUSY, errno.ENOMEM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSPC),
    "OVSDB": (errno.EPIPE, errno.ECONNRESET, errno.ENOMEM),
    "/dev/net/tun": (errno.EPERM, errno.EBUSY, errno.ENOMEM, errno.EINVAL),
    "/proc/": (errno.EACCES, errno.EPERM, errno.EINVAL, errno.EIO),
    "/sys/": (errno.EACCES, errno.EPERM, errno.EBUSY, errno.EIO),
    "": (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS),
}
#: ... where a verb opens a file, makes or connects a socket, or takes a lock (open(2), socket(2), connect(2), fcntl(2))
LOOKS: Mapping[str, Sequence[int]] = {
    "openat": (errno.EMFILE, errno.EACCES, errno.EIO),
    "socket": (errno.EMFILE, errno.ENOBUFS),
    "connect": (errno.ECONNREFUSED, errno.EACCES),
    "fcntl": (errno.ENOLCK,),
    "flock": (errno.ENOLCK,),
}
#: how an answer is lost after the effect; other calls give their result with the effect
LOST: Mapping[str, Sequence[int]] = {"netlink": (errno.ENOBUFS,), "OVSDB": (errno.ECONNRESET,)}
#: seconds until ovs-vswitchd has done what the database says
_SETTLED = 3.0


@dataclass(frozen=True)
class Subject:
    """What a matrix is about.

    Args:
        name: of the type, for the reader.
        vif: the VIF that is plugged.
        changed: the same with other settings, for the verb ``update``; None: without that verb.
        damage: does to the host what ``reconcile`` has to repair; None: removes the links that the plug made.
    """

    name: str
    vif: VIF
    changed: VIF | None = None
    damage: Callable[[PrivateHost], None] | None = None


@dataclass(frozen=True)
class Cell:
    """One place of a matrix.

    Attributes:
        event: what others do there, of EVENTS, and ``link``: to which link.
        looks: whether ``fault`` counts what opens, connects and locks.
    """

    subject: str
    verb: Verb
    fault: Fault
    effect: Effect
    repair: Repair
    event: str = ""
    link: str = ""
    looks: bool = False

    def __str__(self) -> str:
        what = (
            f"{self.event.format(self.link)} {self.fault.moment} effect {self.fault.number}"
            if self.event
            else self.fault
        )
        return f"{self.subject}: {self.verb}, {what} ({self.effect}), then {self.repair}"


@dataclass(frozen=True)
class Result:
    """What became of a cell.

    Attributes:
        problem: what is wrong; empty if the cell passes.
        milliseconds: how long the slower of the verb and its repair took to answer.
        landed: whether the fault happened.
    """

    problem: str
    milliseconds: float
    landed: bool


class Matrix:
    """The cells of one VIF on a private host, which is this matrix's alone while it runs.

    Raises:
        AssertionError: the VIF cannot be plugged and unplugged where nothing goes wrong.
    """

    def __init__(self, host: PrivateHost, subject: Subject) -> None:
        self._host, self._subject = host, subject
        self._state: State | None = None
        self._pictures: dict[State, tuple[str, ...]] = {}
        self._effects: dict[Verb, tuple[Effect, ...]] = {}
        self._made: set[str] = set()
        self._random = self._learnt()
        for state in ("absent", "plugged", "changed", "damaged"):
            if state != "changed" or subject.changed:
                self._reach(state)
                self._pictures[state] = self._still()
        self._reach("absent")

    def verbs(self) -> Sequence[Verb]:
        """Return the verbs of this matrix."""
        return [verb for verb in VERBS if verb != "update" or self._subject.changed]

    def effects(self, verb: Verb) -> Sequence[Effect]:
        """Return the effects of a verb, in order, when nothing goes wrong."""
        if verb not in self._effects:
            before, after = VERBS[verb]
            self._reach(before)
            clean = self._do(verb)
            assert not clean.bug and not clean.error, clean
            self._state = after
            self._effects[verb] = clean.effects
        return self._effects[verb]

    def cells(self, verb: Verb, *, failing: bool = False) -> Iterator[Cell]:
        """Yield the cells of a verb: killed before and after each effect; ``failing``: with each errno instead.

        After an effect is before the next one, except where a server is still at work (OVSDB).
        """
        effects = self.effects(verb)
        for number, effect in enumerate(effects, 1):
            after = [Fault(number, "after")] if "OVSDB" in effect.on or number == len(effects) else []
            for fault in _failing(number, effect) if failing else (Fault(number), *after):
                for repair in REPAIRS:
                    yield Cell(self._subject.name, verb, fault, effect, repair)

    def looks(self, verb: Verb) -> Iterator[Cell]:
        """Yield the cells in which a verb cannot open a file, make or connect a socket, or take a lock: see LOOKS."""
        self._reach(VERBS[verb][0])
        seen = self._do(verb, looks=True)
        self._state = VERBS[verb][1]
        for number, look in enumerate(seen.effects, 1):
            for code, repair in zip(LOOKS[look.call], itertools.cycle(REPAIRS), strict=False):
                yield Cell(self._subject.name, verb, Fault(number, error=code), look, repair, looks=True)

    def events(self, verb: Verb) -> Iterator[Cell]:
        """Yield the cells in which others do something before an effect of a verb: see EVENTS. Repair is by unplug."""
        for number, effect in enumerate(self.effects(verb), 1):
            for name in sorted(self._made):
                for event in EVENTS:
                    yield Cell(self._subject.name, verb, Fault(number), effect, "unplug", event, name)

    def run(self, cell: Cell) -> Result:
        """Let the fault of a cell happen, repair, and compare."""
        before, after = VERBS[cell.verb]
        self._reach(before)
        self._state = None
        event = functools.partial(EVENTS[cell.event], self._host, cell.link) if cell.event else None
        cut = self._do(cell.verb, dataclasses.replace(cell.fault, event=event), looks=cell.looks)
        landed = len(cut.effects) >= cell.fault.number
        problem = self._strangers(cut) if cell.event else self._untrue(cut, before, after)
        repaired = self._mend(cell)
        if not problem and (repaired.bug or repaired.error):
            problem = f"the repair says {repaired.bug or repaired.message}"
        if not problem:
            problem = self._unlike(self._ends(cell))
        slowest = max(cut.milliseconds, repaired.milliseconds)
        return Result(f"{cell}: {problem}" if problem else "", slowest, landed)

    def leave(self) -> None:
        """Bring the host back to what it was before."""
        self._reach("absent")

    def forget(self) -> None:
        """Take nothing for known of the state that the host is in, after an AssertionError."""
        self._state = None

    # -- inside ---------------------------------------------------------------------------------------------------

    def _ends(self, cell: Cell) -> Collection[State]:
        before, after = VERBS[cell.verb]
        if cell.repair == "recover" and cell.verb != "reconcile":
            return (before, after)
        return ("absent" if cell.repair == "unplug" else after,)

    def _strangers(self, cut: faults.Outcome) -> str:
        """Return what was done to others' links; remove them."""
        problem = cut.bug
        for link in json.loads(self._host.ip("-d", "-j", "link")):
            if link.get("ifalias") == _STRANGE:
                if link["mtu"] != _STRANGE_MTU or "UP" in link["flags"] or "master" in link:
                    problem += f"another's link was changed: {link}"
                self._host.ip("link", "delete", link["ifname"])
        return problem

    def _untrue(self, cut: faults.Outcome, before: State, after: State) -> str:
        """Return what is wrong with the answer of a verb that failed, or that did not."""
        if cut.killed:
            return ""
        if cut.bug:
            return cut.bug
        if not cut.error:
            return self._unlike((after,)) and f"it says nothing: {self._unlike((after,))}"
        if cut.error == "PartlyDone" or before == "damaged" or after == "absent":
            return ""  # unplug: what is done stays done
        return (wrong := self._unlike((before,))) and f"it says {cut.error}, {cut.message}: {wrong}"

    def _unlike(self, states: Collection[State]) -> str:
        """Return in what the host differs from all these states; empty, and remember it, if it is as one of them."""
        deadline = time.monotonic() + _SETTLED
        while True:
            seen = self._seen()
            for state in states:
                if seen == self._pictures[state]:
                    self._state = state
                    return ""
            if time.monotonic() > deadline:
                each = min((picture.differences(self._pictures[state], seen) for state in states), key=len)
                return "the host differs: " + "; ".join(each)
            time.sleep(0.02)

    def _mend(self, cell: Cell) -> faults.Outcome:
        if cell.repair == "recover":
            mended = self._drive(lambda driver: _errors(driver.recover()))
            if cell.verb == "reconcile" and not mended.error and not mended.bug:
                mended = self._do("reconcile")
        elif cell.repair == "again":
            mended = self._do(cell.verb, recover="auto" if cell.verb == "reconcile" else "manual")
        else:
            mended = self._do("unplug", recover="manual")
        return dataclasses.replace(mended, message=mended.message or "; ".join(mended.answer or ()))

    def _do(
        self, verb: Verb, fault: Fault | None = None, recover: str = "auto", *, looks: bool = False
    ) -> faults.Outcome:
        subject = self._subject
        works: dict[Verb, Callable[[VIFDriver], Any]] = {
            "plug": lambda driver: driver.plug(subject.vif) and None,
            "again": lambda driver: driver.plug(subject.vif) and None,
            "update": lambda driver: driver.plug(subject.changed or subject.vif) and None,
            "unplug": lambda driver: driver.unplug(subject.vif.id) and None,
            "reconcile": lambda driver: _errors(driver.reconcile([subject.vif.id])),
        }
        return self._drive(works[verb], fault, recover, looks=looks)

    def _drive(
        self,
        work: Callable[[VIFDriver], Any],
        fault: Fault | None = None,
        recover: str = "auto",
        *,
        looks: bool = False,
    ) -> faults.Outcome:
        def driven() -> Any:
            conf = options.load([str(self._host.config)])
            conf.set_override("recover", recover, group="vifplug")
            with VIFDriver(conf) as driver:
                return work(driver)

        with self._host.inside():
            outcome = faults.run(driven, fault, looks=looks)
        return dataclasses.replace(outcome, error="Outcome", message=outcome.answer[0]) if outcome.answer else outcome

    def _reach(self, state: State) -> None:
        """Bring the host into a state."""
        if self._state == state:
            return
        if state == "absent" or self._state not in ("absent", "plugged"):
            self._surely("unplug", "absent")
        if state != "absent" and self._state == "absent":
            self._surely("plug", "plugged")
        if state == "changed":
            self._surely("update", state)
        elif state == "damaged":
            with self._host.inside():
                (self._subject.damage or self._remove_links)(self._host)
        self._state = state

    def _surely(self, verb: Verb, state: State) -> None:
        done = self._do(verb)
        assert not done.bug and not done.error, f"{self._subject.name}: {verb}: {done.bug or done.message}"
        self._state = state
        if state in self._pictures:
            wrong = self._unlike((state,))
            assert not wrong, f"{self._subject.name}: after {verb}: {wrong}"

    def _learnt(self) -> set[str]:
        """Return the links whose address is another after another plug; note those that a plug makes.

        It imports here what each forked process would import otherwise.
        """
        seen: list[dict[str, str]] = []
        with self._host.inside(), self._host.new_driver() as driver:
            for _ in range(2):
                before = self._host.links()
                driver.plug(self._subject.vif)
                self._made = self._host.links() - before
                time.sleep(0.1)  # Open vSwitch takes the address of its bridge from the ports
                seen.append(picture.addresses(self._host))
                driver.unplug(self._subject.vif.id)
        return {name for name, address in seen[0].items() if address != seen[1].get(name)}

    def _remove_links(self, host: PrivateHost) -> None:
        for name in self._made:
            if name in host.links():
                host.ip("link", "delete", name)

    def _seen(self) -> tuple[str, ...]:
        return picture.take(self._host, self._random)

    def _still(self) -> tuple[str, ...]:
        """Return the picture of a host when it does not change any more."""
        seen, since = self._seen(), time.monotonic()
        while time.monotonic() - since < 0.2:
            time.sleep(0.05)
            if (now := self._seen()) != seen:
                seen, since = now, time.monotonic()
        return seen


def _gone(host: PrivateHost, name: str) -> None:
    if name in host.links():
        host.ip("link", "delete", name)


def _unported(host: PrivateHost, name: str) -> None:
    host.ovs.ctl("--if-exists", "del-port", name)


def _replaced(host: PrivateHost, name: str) -> None:
    _gone(host, name)
    host.ip("tuntap", "add", name, "mode", "tap")
    host.ip("link", "set", name, "mtu", str(_STRANGE_MTU), "alias", _STRANGE)


#: what others do to a link that a plug makes: it is seen no more, or another one is seen for it
EVENTS: Mapping[str, Callable[[PrivateHost, str], None]] = {
    "{} is removed by others": _gone,
    "another's link is there as {}": _replaced,
    "the port of {} is removed": _unported,
}
_STRANGE, _STRANGE_MTU = "another's", 1300


def _failing(number: int, effect: Effect) -> Iterator[Fault]:
    for code in next(codes for name, codes in ERRORS.items() if name in effect.on):
        for request in range(effect.requests):
            yield Fault(number, error=code, request=request)
    for code in next((codes for name, codes in LOST.items() if name in effect.on), ()):
        yield Fault(number, "after", error=code)


def _errors(outcomes: Sequence[Any]) -> list[str]:
    return [str(each.error) for each in outcomes if each.error]
