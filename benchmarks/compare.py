"""What a change costs or saves: this checkout beside another commit, in turns, and the calls of each room.

    python benchmarks/compare.py REV [--rounds 4] [--count 20] [--forms ovs linux ...]

Run as root. The calls are exact, and the same on every machine; the milliseconds are the least of all rounds.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import ROOT, Client, Worker, in_turns, least, workers

CALLED = 10  # VIFs


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Provide the package of a commit."""
    with tempfile.TemporaryDirectory() as directory:
        files = subprocess.run(
            ["git", "archive", revision, "vifplug"], cwd=ROOT, capture_output=True, check=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", directory], input=files, check=True)
        yield Path(directory)


def calls(worker: Worker, form: str) -> dict[str, Counter[str]]:
    worker.ask(form, 2)
    found = worker.ask(form, CALLED, measure="calls")
    return {
        verb: Counter({room: round(number / CALLED) for room, number in each.items()}) for verb, each in found.items()
    }


def rooms(before: Counter[str], now: Counter[str]) -> str:
    """Name the rooms whose calls changed, the largest change first."""
    changes = {room: now[room] - before[room] for room in {*before, *now} if now[room] != before[room]}
    ordered = sorted(changes.items(), key=lambda item: -abs(item[1]))
    return ", ".join(f"{room} {change:+}" for room, change in ordered[:6])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("revision", help="the commit to compare with, such as HEAD~1 or origin/main")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--count", type=int, default=20, help="VIFs of a round")
    parser.add_argument("--forms", nargs="+", default=["ovs", "linux"])
    arguments = parser.parse_args()
    with checkout(arguments.revision) as tree:
        clients = (Client("before", tree=tree), Client("now"))
        with workers(clients, 0, real=False) as running:
            timed = in_turns(running, arguments.forms, rounds=arguments.rounds, count=arguments.count)
            for form in arguments.forms:
                before, now = (calls(running[name], form) for name in ("before", "now"))
                for verb, counts in now.items():
                    cost = [least(timed[name][form, verb], "cpu", arguments.count) for name in ("before", "now")]
                    summed = before.get(verb, Counter()).total(), counts.total()
                    print(
                        f"{form:9} {verb:10} {cost[0]:7.2f} ->{cost[1]:7.2f} ms of processor"
                        f" {summed[0]:7} ->{summed[1]:6} calls   {rooms(before.get(verb, Counter()), counts)}"
                    )


if __name__ == "__main__":
    main()
