"""Eight processes that plug, change, check and unplug VIFs of many types on one host, in bad weather.

The servers of Open vSwitch are killed, ended and stopped, and the processes are killed, until the time is over. Then
nothing may be lost or left over: reliability/results/soak.json.

reliability/soak.py                        # 2,000 VIFs in ten minutes
reliability/soak.py --seconds 60 --vifs 200 --seed 7   # nothing is written
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability.matrix import DOCUMENTS, site, vif_of
from reliability.page import write
from vifplug import VIF, VIFDriver, errors
from vifplug.testing import macvtaps, picture
from vifplug.testing.host import PrivateHost
from vifplug.testing.ovs import Server

PROCESSES, SECONDS, VIFS = 8, 600, 2000
#: a device in passthrough mode has one VIF: those of the other processes would be refused
KINDS = [each for each in DOCUMENTS if each != "macvtap passthrough"]
#: what a verb may raise in bad weather; anything else is a defect
_WEATHER = (errors.HostNotReady, errors.StepFailed, errors.PartlyDone, errors.Busy)
#: verbs after which a process has loaded what it needs; and the bytes by which it may grow later. The allocator keeps
#: pages of the largest reconcile and check: in ten minutes 10 MB, of which Python's objects are some kilobytes
_WARM, _GROWTH = 40, 16 << 20
#: milliseconds after which a verb hangs, whatever the weather
_HANGS = 60_000
#: seconds after which the host is as it stays
_SETTLED = 10.0
#: bridges, whose address is that of one of their ports
_RANDOM = ("br-int", "lbr0")
_FORK = multiprocessing.get_context("fork")


@dataclass
class Soaked:
    """What became of a soak."""

    #: sentences on what was lost, left over or wrong
    problems: list[str] = field(default_factory=list)
    #: how often each fault was made
    faults: Counter[str] = field(default_factory=Counter)
    #: the milliseconds of each verb
    answers: list[float] = field(default_factory=list)
    #: by verb and what it came to
    outcomes: Counter[str] = field(default_factory=Counter)
    #: VIFs that were plugged at least once
    vifs: int = 0
    #: bytes by which a process grew after its first verbs, at most
    growth: int = 0


def soak(seconds: float, vifs: int, seed: int) -> Soaked:
    """Work for so long on so many VIFs, and compare the host with what it was before."""
    soaked, dice = Soaked(), random.Random(seed)
    with site(macvtaps.END) as host:
        logs = host.directory / "soak"
        logs.mkdir()
        with host.new_driver() as driver:
            some = [_vif(place, host.directory) for place in range(len(KINDS))]
            driver.plug_many([(each, None) for each in some])  # which makes the record, and leaves its sign on bridges
            driver.unplug_many(each.id for each in some)
        before = picture.take(host, _RANDOM)
        _work_in_weather(host, logs, seconds, vifs, dice, soaked)
        said = _read(logs, soaked)
        with host.new_driver() as driver:
            soaked.problems += _lost(driver, said)
            driver.unplug_many(each.id for each in driver.list())
        deadline = time.monotonic() + _SETTLED
        while (left := _differences(host, before, logs)) and time.monotonic() < deadline:
            time.sleep(0.2)  # an ovs-vswitchd that was started last makes the local ports of its bridges again
        soaked.problems += left
    return soaked


def _differences(host: PrivateHost, before: Sequence[str], logs: Path) -> list[str]:
    found = picture.differences(before, picture.take(host, _RANDOM))
    return [each for each in found if str(logs) not in each]


# -- one of the processes ---------------------------------------------------------------------------------------------


class Worker:
    """Works on VIFs of its own, which it takes in turn, and writes down what each verb said."""

    def __init__(self, host: PrivateHost, logs: Path, slot: int, seed: float, vifs: int) -> None:
        self._dice, self._logs, self._slot = random.Random(seed), logs, slot
        self._directory, self._count = host.directory, vifs // PROCESSES
        self._log = os.open(logs / f"{slot}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._driver = host.new_driver()
        self._plugged: list[int] = []
        self._verbs = 0
        self._warm: tuple[int, int] | None = None

    def run(self) -> None:
        """Work until there is a file ``end``; begin with what a forerunner left that was killed."""
        self._try("recover", (), self._driver.recover)
        recorded = {each.id for each in self._driver.list()}
        self._plugged = [number for number in range(self._count) if self._vif(number).id in recorded]
        number = self._plugged[-1] + 1 if self._plugged else 0
        while not (self._logs / "end").exists():
            some = [(number + each) % self._count for each in range(self._dice.choice((1, 1, 1, 5)))]
            self._live([each for each in some if each not in self._plugged])
            number += len(some)
            if self._verbs > _WARM and not self._warm:
                self._warm = _held()
        self._driver.close()
        held = _held() if self._warm else None
        (self._logs / f"{self._slot}.json").write_text(json.dumps([self._warm, held]))

    def _live(self, numbers: Sequence[int]) -> None:
        """Plug VIFs, do something with one that is plugged, and unplug some."""
        driver, vifs = self._driver, list(map(self._vif, numbers))
        if vifs and self._try("plug", vifs, lambda: driver.plug_many([(each, None) for each in vifs]), "+"):
            again = self._try("again", vifs, lambda: driver.plug_many([(each, None) for each in vifs]), "+")
            assert not any(each.changed for each in again or ()), f"plugged again, it did {again}"
        self._plugged += numbers
        one = self._dice.choice(self._plugged)
        match self._dice.randrange(24):
            case 0:
                self._try("reconcile", (), driver.reconcile)
            case 1:
                self._try("gc", (), driver.gc)
            case 2:
                self._try("check", (), driver.check)
            case 3:
                self._try("status", (), driver.status)
            case many if many < 10:
                self._try("check", (), lambda: driver.check(self._vif(one).id))
            case many:
                changed = self._vif(one, many % 2)
                self._try("update", [changed], lambda: driver.update(changed), "+")
        while len(self._plugged) > self._dice.randrange(12):
            count = self._dice.choice((1, 1, 5))
            leaving, self._plugged = list(map(self._vif, self._plugged[:count])), self._plugged[count:]
            self._try("unplug", leaving, partial(driver.unplug_many, [each.id for each in leaving]), "-")

    def _try(self, verb: str, vifs: Collection[VIF], work: Callable[[], Any], done: str = "") -> Any:
        """Return what a verb returns; None if the weather was too bad for it."""
        self._say("~", vifs)
        began, outcome = time.monotonic(), "done"
        try:
            result = work()
            self._say(done, vifs)
            return result
        except _WEATHER as error:
            outcome = type(error).__name__
            return None
        except errors.NotPlugged:  # by a plug that failed
            outcome = "not plugged"
            return None
        finally:
            self._verbs += 1
            self._write(f"= {verb} {outcome} {1000 * (time.monotonic() - began):.1f}\n")

    def _say(self, what: str, vifs: Collection[VIF]) -> None:
        self._write("".join(f"{what} {each.id}\n" for each in vifs if what))

    def _write(self, text: str) -> None:
        os.write(self._log, text.encode())

    def _vif(self, number: int, changed: int = 0) -> VIF:
        return _vif(PROCESSES * number + self._slot, self._directory, changed)


def _vif(place: int, directory: Path, changed: int = 0) -> VIF:
    """Return a VIF, as it is plugged or as it is changed. Each has one type for ever."""
    mac = f"52:54:00:00:{place >> 8:02x}:{place & 255:02x}"
    vif_id = f"{place:08x}-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
    return vif_of(DOCUMENTS[KINDS[place % len(KINDS)]][changed], directory / str(place), vif_id, mac)


def _held() -> tuple[int, int]:
    """Return the bytes of memory and the descriptors that this process has."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))


# -- the weather ------------------------------------------------------------------------------------------------------


def _work_in_weather(
    host: PrivateHost, logs: Path, seconds: float, vifs: int, dice: random.Random, soaked: Soaked
) -> None:
    """Let the processes work until the time is over, and make faults meanwhile."""

    def start(slot: int) -> ForkProcess:
        made = _FORK.Process(target=_work, args=(host, logs, slot, dice.random(), vifs))
        made.start()
        return made

    running, end = [start(slot) for slot in range(PROCESSES)], time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(dice.uniform(0.2, 2))
        if dice.random() < 0.4:
            slot = dice.randrange(0, PROCESSES, 2)  # the others show what a long life costs
            running[slot].kill()
            running[slot].join()
            soaked.faults["process killed"] += running[slot].exitcode == -signal.SIGKILL
            running[slot] = start(slot)
        else:
            soaked.faults[_blow(host, dice)] += 1
    for each in running[::2]:  # at whatever they are
        each.kill()
        each.join()
        soaked.faults["process killed"] += each.exitcode == -signal.SIGKILL
    (logs / "end").touch()
    for slot, each in list(enumerate(running))[1::2]:
        each.join(120)
        if each.exitcode != 0:
            soaked.problems.append(f"process {slot} has ended with {each.exitcode}")
            each.kill()


def _work(host: PrivateHost, logs: Path, slot: int, seed: float, vifs: int) -> None:
    try:
        Worker(host, logs, slot, seed, vifs).run()
    except BaseException:
        (logs / f"{slot}.failed").write_text(traceback.format_exc())
        raise


def _blow(host: PrivateHost, dice: random.Random) -> str:
    """Make one fault of a server, and mend it; return which."""
    server: Server = dice.choice(("ovsdb-server", "ovs-vswitchd"))
    how, begin, end = dice.choice(
        [
            ("killed", host.ovs.kill, host.ovs.start),
            ("ended", host.ovs.stop, host.ovs.start),
            ("stopped", host.ovs.pause, host.ovs.resume),
        ]
    )
    begin(server)
    time.sleep(dice.uniform(0, 2))
    end(server)
    return f"{server} {how}"


# -- the end ----------------------------------------------------------------------------------------------------------


def _read(logs: Path, soaked: Soaked) -> dict[str, str]:
    """Read what the processes wrote down; return what was said last of each VIF: ``+``, ``-`` or ``~`` (nothing)."""
    said: dict[str, str] = {}
    plugged = set()
    for line in (line.split() for path in logs.glob("*.log") for line in path.read_text().splitlines()):
        match line:
            case ["=", *words]:
                soaked.outcomes[" ".join(words[:-1])] += 1
                soaked.answers.append(float(words[-1]))
            case [what, vif_id]:
                said[vif_id] = what
                plugged |= {vif_id} if what == "+" else set()
    soaked.vifs = len(plugged)
    soaked.problems += [f"a verb took {each:.0f} ms" for each in soaked.answers if each > _HANGS]
    soaked.problems += [path.read_text() for path in logs.glob("*.failed")]
    for path in logs.glob("*.json"):
        warm, end = json.loads(path.read_text())
        if warm:
            soaked.growth = max(soaked.growth, end[0] - warm[0])
            if end[0] - warm[0] > _GROWTH or end[1] > warm[1]:
                soaked.problems.append(f"process {path.stem} grew: bytes and descriptors {warm}, at the end {end}")
    return said


def _lost(driver: VIFDriver, said: dict[str, str]) -> list[str]:
    """Return what is not as the verbs said, and what is not right once all that was cut off is ended."""
    states = {each.id: each.state for each in driver.list()}
    was = {"+": "plugged", "-": None}
    problems = [
        f"{each}: said {what}, is {states.get(each)}"
        for each, what in said.items()
        if what in was and states.get(each) != was[what]
    ]
    sure = {each for each, what in said.items() if what == "+"}
    problems += [f"of what was plugged: {each}" for each in driver.check() if each.vif_id in sure]
    problems += [f"recover: {each.error}" for each in driver.recover() if each.error]
    problems += [f"after recover: {each}" for each in driver.check()]
    problems += [f"reconcile did {each}" for each in driver.reconcile() if each.error or each.steps]
    return problems + [f"nobody's: {each}" for each in driver.gc(dry_run=True)]


def main() -> int:
    """Soak; return how many things were lost, left over or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--vifs", type=int, default=VIFS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    soaked = soak(options.seconds or SECONDS, options.vifs, options.seed)
    for each in (soaked.outcomes, soaked.faults, *soaked.problems):
        print(each)
    print(f"{soaked.vifs} VIFs, grew by {soaked.growth >> 10} kB at most, answers up to {max(soaked.answers):.0f} ms")
    if options.seconds is None and not soaked.problems:
        _tell(soaked)
    return len(soaked.problems)


def _tell(soaked: Soaked) -> None:
    faults = soaked.faults.total()
    made = ", ".join(f"{each} {count} times" for each, count in sorted(soaked.faults.items()))
    note = f"A cell is a verb. {made}. At the end no difference, row, link, file or descriptor was left over, and no "
    note += f"process had grown by more than {soaked.growth >> 10} kB of resident memory since its first {_WARM} verbs."
    write(
        "soak",
        proof=f"{PROCESSES} processes on {soaked.vifs:,} VIFs of {len(KINDS)} types for {SECONDS // 60} minutes",
        command="reliability/soak.py",
        cells=len(soaked.answers),
        faults=faults,
        survived=faults,
        answers=soaked.answers,
        note=note,
    )


if __name__ == "__main__":
    sys.exit(min(main(), 1))
