"""What many at once cost: threads of one agent, processes, and all VIFs of a host after it was rebooted.

    python benchmarks/many.py [--workers 1 2 4 8] [--vifs 1000] [--real | --delay MS]

Run as root. Prints pairs of a plug and an unplug a second; and, for the VIFs of a host whose devices are gone, the
milliseconds a VIF until all are back.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker import GUEST, Vifplug, document, stage

from vifplug import VIF
from vifplug.testing import netns
from vifplug.testing.ovs import PrivateOvs

PAIRS = 40


def pairs(client: Vifplug, form: str, first: int, count: int = PAIRS) -> None:
    for number in range(first, first + count):
        vif = VIF.from_json(document(form, number))
        client.driver.plug(vif, GUEST)
        client.driver.unplug(vif.id)


def a_second(start: Callable[..., Any], each: Callable[[int], None], workers: int) -> float:
    """Return how many pairs a second so many workers make together."""
    running = [start(target=each, args=(1000 * number,)) for number in range(1, workers + 1)]
    begun = time.perf_counter()
    for worker in running:
        worker.start()
    for worker in running:
        worker.join()
    return workers * PAIRS / (time.perf_counter() - begun)


def side_by_side(ovs: PrivateOvs, directory: Path, form: str, workers: int) -> tuple[float, float]:
    """Return the pairs a second of threads of one process, and of processes."""
    client = Vifplug(ovs, directory)
    pairs(client, form, 1, 3)
    threads = a_second(threading.Thread, lambda first: pairs(client, form, first), workers)
    client.driver.close()  # what a forked process opens is its own
    processes = a_second(multiprocessing.get_context("fork").Process, lambda first: pairs(client, form, first), workers)
    return threads, processes


def after_a_reboot(ovs: PrivateOvs, directory: Path, count: int) -> tuple[float, float]:
    """Return milliseconds of processor and of wall time a VIF: the devices are gone, the switch's rows are not."""
    client = Vifplug(ovs, directory)
    many = [(VIF.from_json(document("ovs", number)), GUEST) for number in range(1, count + 1)]
    client.driver.plug_many(many)
    for vif, _ in many:
        netns.ip("link", "delete", f"tap{vif.id[:11]}")
    used, begun = time.process_time(), time.perf_counter()
    client.driver.reconcile()
    spent = (time.process_time() - used, time.perf_counter() - begun)
    left = client.driver.check()
    assert not left, left[:3]
    client.driver.close()
    return spent[0] * 1000 / count, spent[1] * 1000 / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--vifs", type=int, default=1000)
    parser.add_argument("--ports", type=int, default=0, help="how many ports the switch has already")
    parser.add_argument("--real", action="store_true", help="with a real ovs-vswitchd, on its userspace datapath")
    parser.add_argument("--delay", type=float, default=0, help="milliseconds that ovs-vswitchd takes for a change")
    arguments = parser.parse_args()
    place = {"real": arguments.real, "delay": arguments.delay / 1000}
    print(f"{os.cpu_count()} processors\n\n| workers | form | threads: pairs a second | processes |\n|---|---|---|---|")
    with stage(arguments.ports, **place) as (ovs, directory):
        for form, workers in itertools.product(("ovs", "linux"), arguments.workers):
            threads, processes = side_by_side(ovs, directory, form, workers)
            print(f"| {workers} | {form} | {threads:.0f} | {processes:.0f} |", flush=True)
    with stage(arguments.ports, **place) as (ovs, directory):
        processor, wall = after_a_reboot(ovs, directory, arguments.vifs)
    print(
        f"\nafter a reboot, {arguments.vifs} VIFs: {processor:.2f} ms of processor and {wall:.2f} ms of wall time each"
    )


if __name__ == "__main__":
    main()
