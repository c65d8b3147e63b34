"""How many VIFs a second get a device of a pool, from one process and from eight, beside the disk's own limit.

    python benchmarks/pools.py [--seconds 0.5] [--rounds 4] [--devices 8 128]

A plug and an unplug of a VIF whose macvtap libvirt makes is a look at the devices and some transactions of the record;
the raw cost is that of as many synced SQLite transactions of one row each, from as many processes, in turns with it.
The devices are links of a network namespace; where not run as root, a machine in memory stands for the kernel.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import multiprocessing
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vifplug import VIF, VIFDriver, errors
from vifplug import conf as options
from vifplug.plan.registry import LowerDevice
from vifplug.testing import netns
from vifplug.testing.memory import MemoryBackend, MemoryHost

FORK = multiprocessing.get_context("fork")
MODES = {"exclusive": "passthrough", "shared": "vepa"}

#: what a process does over and over; made in the process
Turn = Callable[[], object]


def driver(path: Path, count: int, memory: bool) -> VIFDriver:
    conf = options.load([])
    for name, value in {"state_path": path / "state", "networks_dir": path / "networks.d"}.items():
        conf.set_override(name, str(value), group="vifplug")
    backend = MemoryBackend()
    for number in range(count):
        backend.place(LowerDevice(name=f"e{number}"))
    return VIFDriver(conf, machine=MemoryHost(backend) if memory else None)


def define(path: Path, mode: str, count: int) -> None:
    (path / "networks.d").mkdir()
    listed = "".join(f"<interface dev='e{number}'/>" for number in range(count))
    text = f"<network><name>pool</name><forward mode='{mode}'>{listed}</forward></network>"
    (path / "networks.d" / "pool.xml").write_text(text)


def vifs(slot: int) -> Callable[[VIFDriver], None]:
    """A plug and an unplug; ``slot`` is the process, each of which has a VIF of its own."""
    source = {"network": "pool"}
    vif = VIF.from_json(
        {
            "id": f"{slot:08x}-6a1b-4c2d-9e3f-7a8b9c0d1e2f",
            "type": "network",
            "mac": "52:54:00:00:00:01",
            "source": source,
        }
    )

    def turn(at: VIFDriver) -> None:
        with contextlib.suppress(errors.PoolExhausted):  # eight at eight devices, while one is between two of them
            at.plug(vif)
        at.unplug(vif.id)

    return turn


def transactions(database: sqlite3.Connection, slot: int, count: int) -> None:
    for number in range(count):
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT OR REPLACE INTO row VALUES (?, ?)", (slot, number))
        database.execute("COMMIT")


def opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path / "raw.db", timeout=30, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS row (slot INTEGER PRIMARY KEY, number INTEGER)")
    return database


def commits_of_a_turn(path: Path, count: int, memory: bool) -> int:
    """How many transactions a plug and an unplug make."""
    found: list[str] = []
    whole = sqlite3.connect

    def connect(*arguments: Any, **keys: Any) -> sqlite3.Connection:
        made = whole(*arguments, **keys)
        made.set_trace_callback(lambda sql: found.append(sql) if sql == "COMMIT" else None)
        return made

    sqlite3.connect = connect  # type: ignore[assignment]
    try:
        with driver(path, count, memory) as one:
            one.list()
            found.clear()
            vifs(99)(one)
    finally:
        sqlite3.connect = whole
    return len(found)


def rate(processes: int, seconds: float, make: Callable[[int], Turn]) -> float:
    """Turns a second of that many processes together."""
    begin, done = FORK.Barrier(processes + 1), FORK.Value("q", 0)

    def work(slot: int) -> None:
        turn = make(slot)
        turn()
        begin.wait()
        turns, ends = 0, time.monotonic() + seconds
        while time.monotonic() < ends:
            turn()
            turns += 1
        with done.get_lock():
            done.value += turns

    running = [FORK.Process(target=work, args=(slot,)) for slot in range(processes)]
    for each in running:
        each.start()
    begin.wait()
    begun = time.monotonic()
    for each in running:
        each.join()
    return done.value / (time.monotonic() - begun)


@contextlib.contextmanager
def links(count: int) -> Iterator[None]:
    """A network namespace with that many links, which are up, and as many ends of them that nobody uses."""
    with netns.entered(), tempfile.NamedTemporaryFile("w+") as batch:
        for number in range(count):
            batch.write(f"link add e{number} up type veth peer name p{number}\n")
        batch.flush()
        netns.ip("-batch", batch.name)
        yield


def measure(devices: Sequence[int], seconds: float, rounds: int, memory: bool) -> None:
    print(f"{'':24} processes   pairs/s   raw pairs/s   of raw")
    for count in devices:
        for name, mode in MODES.items():
            with tempfile.TemporaryDirectory(prefix="vifplug-bench-") as directory, contextlib.ExitStack() as stack:
                path = Path(directory)
                if not memory:
                    stack.enter_context(links(count))
                define(path, mode, count)
                commits = commits_of_a_turn(path, count, memory)
                for processes in (1, 8):
                    pairs, raw = 0.0, 0.0
                    for _ in range(rounds):
                        pairs = max(pairs, rate(processes, seconds, functools.partial(_plugging, path, count, memory)))
                        raw = max(raw, rate(processes, seconds, functools.partial(_committing, path, commits)))
                    print(f"{name:10} {count:4} devices {processes:12} {pairs:10.0f} {raw:12.0f} {pairs / raw:8.0%}")
    print(f"\na pair is a plug and an unplug; raw is {commits} synced transactions, as many as a pair makes")


def _plugging(path: Path, count: int, memory: bool, slot: int) -> Turn:
    one, turn = driver(path, count, memory), vifs(slot)
    return lambda: turn(one)


def _committing(path: Path, commits: int, slot: int) -> Turn:
    database = opened(path)
    return lambda: transactions(database, slot, commits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=4, help="measurements, in turns; the best one counts")
    parser.add_argument("--devices", type=int, nargs="+", default=[8, 128], help="sizes of the pools")
    parser.add_argument("--memory", action="store_true", help="a machine in memory instead of links of this kernel")
    arguments = parser.parse_args()
    measure(arguments.devices, arguments.seconds, arguments.rounds, arguments.memory or os.geteuid() != 0)


if __name__ == "__main__":
    main()
