"""What grows with a host: each verb's cost beside the ports of the switch and the records of other VIFs.

    python benchmarks/growth.py [--sizes 0 1000 10000 50000] [--rounds 3] [--count 20]

Run as root. The ports and the records are simulated: rows of the database that no device stands behind, and copies of
one record under other names. Processor time of vifplug, in milliseconds a VIF, the least of all rounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
import uuid
from pathlib import Path

from worker import Vifplug, document, stage, timed

from vifplug import VIF
from vifplug.store.store import Store

SAMPLE = 10_000_000  # the number of the VIF whose record is copied


def fill(client: Vifplug, state: Path, count: int) -> None:
    """Record so many other VIFs, as if they were plugged."""
    vif = VIF.from_json(document("ethernet", SAMPLE))
    client.driver.plug(vif)
    store = Store(str(state))
    record = store.get(vif.id)
    assert record
    copies = []
    for number in range(count):
        other = str(uuid.uuid5(uuid.NAMESPACE_URL, f"other {number}"))
        texts = {"asked": record.asked, "actual": record.actual, "wanted": record.wanted}
        renamed = {key: text.replace(vif.id, other).replace(vif.id[:11], f"x{number}") for key, text in texts.items()}
        copies.append(dataclasses.replace(record, vif_id=other, claims=(), shares=(), **renamed))
    store.put(copies)
    store.close()
    client.driver.unplug(vif.id)


def measured(ports: int, records: int, *, rounds: int, count: int) -> dict[str, float]:
    with stage(ports, real=False) as (ovs, directory):
        client = Vifplug(ovs, directory)
        fill(client, directory / "state", records)
        best: dict[str, float] = {}
        for turn in range(rounds + 1):
            for verb, work in client.verbs("ovs", range(turn * count, turn * count + count), batch=False):
                if verb in ("check", "list"):
                    continue
                cost = timed(verb, work)["cpu"] / count
                best[verb] = min(best.get(verb, cost), cost) if turn else cost
        begun = time.process_time()
        listed = len(list(client.driver.list()))
        best["list of all"] = (time.process_time() - begun) * 1000
        assert listed == records
        client.driver.close()
        return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 1000, 10_000, 50_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=20)
    arguments = parser.parse_args()
    print("| ports and records | plug | again | check one | unplug | list of all |\n|---|---|---|---|---|---|")
    for size in arguments.sizes:
        found = measured(size, size, rounds=arguments.rounds, count=arguments.count)
        cells = (f"{found[verb]:.2f}" for verb in ("plug", "again", "check one", "unplug"))
        print(f"| {size} | {' | '.join(cells)} | {found['list of all']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
