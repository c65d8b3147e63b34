"""Eight processes that plug and unplug at random on one record, and are killed now and then."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path

from tests.faults.pools import definition, network_vif, vif_id
from tests.support.holdings import all_holdings
from tests.support.memory import Home
from vifplug import VIFDriver, errors
from vifplug.driver.verbs import Plugged
from vifplug.store.store import Store

MANY = 8
FORK = multiprocessing.get_context("fork")

#: networks of a crowd: two exclusive and two shared ones that overlap, and one whose VIFs differ. x0 takes two at most
CROWDED = {
    "alone": ("passthrough", [("e0", None), ("e1", None), ("e2", None), ("s2", None)]),
    "shared": ("vepa", [("s0", None), ("s1", None), ("s2", None)]),
    "mixed": ("private", [("x0", 2), ("x1", None), ("e2", None)]),
}
CROWDED_DEVICES = ("e0", "e1", "e2", "s0", "s1", "s2", "x0", "x1")


@dataclass(frozen=True)
class Signs:
    """Whoever has a device says so beside it, after the plug and until the unplug: another record than vifplug's."""

    path: Path

    def put(self, plugged: Plugged) -> None:
        source, id = plugged.actual.source, plugged.actual.id
        alone = source.mode == "passthrough" or plugged.actual.virtualport is not None
        before = [sign.parent.name for sign in self.path.glob(f"*/{id}.*")]
        assert before in ([], [source.dev]), f"{id} had {before} and was given {source.dev}"
        self.take(id)
        mine = self.path / source.dev / f"{id}.{'alone' if alone else 'shared'}"
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.touch()
        there = [sign.name for sign in mine.parent.iterdir()]
        assert len(there) == 1 or not any(name.endswith(".alone") for name in there), (source.dev, there)
        assert source.dev != "x0" or len(there) <= 2, there

    def take(self, id: str) -> None:
        for sign in self.path.glob(f"*/{id}.*"):
            sign.unlink()

    def seen(self) -> set[tuple[str, str, bool, int]]:
        """Device, VIF, whether alone, and when the sign was put."""
        found = set()
        for sign in self.path.glob("*/*"):
            try:
                found.add((sign.parent.name, sign.stem, sign.suffix == ".alone", sign.stat().st_mtime_ns))
            except FileNotFoundError:
                continue
        return found


def mended(driver: VIFDriver, signs: Signs, id: str, again: bool) -> None:
    """What a process does after its start with what its forerunner left, at whatever moment that was killed."""
    try:
        entry = driver.show(id)
    except errors.NotPlugged:
        return
    if again:
        signs.put(driver.plug(entry.vif))
    else:
        signs.take(id)
        driver.unplug(id)


def work_at_random(home: Home, slot: int, seed: float, ours: bool) -> None:
    """Plug and unplug the VIFs of this slot until there is a file ``end``; a letter for each in the log."""
    dice, signs = random.Random(seed), Signs(home.path / "signs")
    ids = [vif_id(16 * slot + number) for number in range(3)]
    log = os.open(home.path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with home.driver() as driver:
        for id in ids:
            mended(driver, signs, id, dice.random() < 0.5)
        has = {entry.vif.id for entry in driver.list()} & set(ids)
        while not (home.path / "end").exists():
            id = dice.choice(ids)
            if id in has:
                signs.take(id)
                driver.unplug(id)
                has.remove(id)
                os.write(log, b"u")
                continue
            network = dice.choice(list(CROWDED))
            try:
                qbh = network == "mixed" and not ours and dice.random() < 0.5
                signs.put(driver.plug(network_vif(id, network, qbh=qbh, ours=ours)))
                has.add(id)
                os.write(log, b"p")
            except errors.PoolExhausted:
                os.write(log, b"x")


def crowd(home: Home, enough: Mapping[str, int], watch: Callable[[Store, Signs], None], *, ours: bool = False) -> None:
    """Have eight processes at random work, kill and restart one of them now and then, and watch all of them.

    It goes on until ``enough`` was done: of each letter in the log, and ``killed``. At the end everything is plugged
    again or unplugged.
    """
    for name, (mode, members) in CROWDED.items():
        home.network(name).write_text(definition(name, mode, members))
    dice, deadline, record, log = (
        random.Random(4),
        time.monotonic() + 300,
        Store(home.path / "state"),
        home.path / "log",
    )
    signs = Signs(home.path / "signs")
    log.touch()

    def start(slot: int) -> ForkProcess:
        made = FORK.Process(target=work_at_random, args=(home, slot, dice.random(), ours))
        made.start()
        return made

    running, killed, done, done_before = [start(slot) for slot in range(MANY)], 0, Counter[str](), 0
    while any(done[what] < least for what, least in enough.items()):
        assert time.monotonic() < deadline, done
        watch(record, signs)
        time.sleep(dice.uniform(0, 0.05))
        done = Counter(log.read_text())
        if done.total() >= done_before + dice.randrange(16):  # however fast the machine is, some work ends
            victim = dice.randrange(MANY)
            running[victim].kill()
            running[victim].join()
            assert running[victim].exitcode == -signal.SIGKILL
            running[victim] = start(victim)
            killed, done_before = killed + 1, done.total()
        done["killed"] = killed
    (home.path / "end").touch()
    for each in running:
        each.join()
    assert [each.exitcode for each in running] == [0] * MANY
    with home.driver() as driver:
        for number in range(16 * MANY):
            mended(driver, signs, vif_id(number), dice.random() < 0.5)
            mended(driver, signs, vif_id(number), False)
        assert driver.list() == [] and all_holdings(record) == []


def watch_the_record(record: Store, signs: Signs) -> None:
    """Nobody is beside one that is alone, and whoever said all the while that he has a device has it."""
    before, holdings, after = signs.seen(), all_holdings(record), signs.seen()
    for each in holdings:
        beside = [other for other in holdings if other.name == each.name and other is not each]
        assert not (each.exclusive and beside), (each, beside)
    held = {(each.name.removeprefix("device "), each.vif_id, each.exclusive) for each in holdings}
    assert {sign[:3] for sign in before & after} <= held
    limited = [each for each in holdings if each.name == "device x0"]
    assert len(limited) <= 2
