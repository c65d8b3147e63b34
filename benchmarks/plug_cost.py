"""What one plug, repeat and unplug of each form costs: transactions, netlink messages, milliseconds.

Run as root: ``python benchmarks/plug_cost.py [ROUNDS]``. The transactions and messages are exact and repeatable; the
milliseconds are this machine's, and are given beside an echo of the same ovsdb-server in the same run.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from vifplug import VIF
from vifplug.host.netlink.socket import RtSocket
from vifplug.host.ovs.connection import OvsdbConnection
from vifplug.testing.host import PrivateHost

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
OVS = {"type": "openvswitch"}
FORMS: dict[str, dict[str, Any]] = {
    "bridge, Open vSwitch": {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": OVS, "vlan": 10},
    "bridge, Open vSwitch, QoS": {
        "type": "bridge",
        "source": {"bridge": "br-int"},
        "virtualport": OVS,
        "bandwidth": {"inbound": {"average": 1000}},
    },
    "bridge, hybrid": {"type": "bridge", "source": {"bridge": "br-int", "hybrid": True}, "virtualport": OVS},
    "bridge, Linux": {"type": "bridge", "source": {"bridge": "br0"}},
    "ethernet": {"type": "ethernet"},
    "direct, by libvirt": {"type": "direct", "source": {"dev": "up0"}},
    "direct, by vifplug": {"type": "direct", "source": {"dev": "up0"}, "tap_owner": "vifplug"},
    "vhostuser": {"type": "vhostuser", "source": {"path": "/run/vifplug-bench/s", "mode": "client"}},
}
COUNTS: Counter[str] = Counter()


def counted(owner: type, name: str, count: Callable[..., tuple[str, int]]) -> None:
    """Count the calls of a method."""
    whole = getattr(owner, name)

    def wrapper(self: Any, *arguments: Any) -> Any:
        key, number = count(*arguments)
        COUNTS[key] += number
        return whole(self, *arguments)

    setattr(owner, name, wrapper)


def _transaction(operations: Any, *_: Any) -> tuple[str, int]:
    writes = any(operation["op"] in ("insert", "mutate", "update", "delete") for operation in operations)
    return ("writes" if writes else "reads"), 1


def measured(work: Callable[[], object]) -> tuple[float, Counter[str]]:
    """Milliseconds, and what was sent."""
    COUNTS.clear()
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000, Counter(COUNTS)


def row(name: str, host: PrivateHost, rounds: int) -> str:
    vif = VIF.from_json({"id": ID, "mac": "52:54:00:12:34:56", **FORMS[name]})
    verbs = {
        "plug": lambda: host.driver.plug(vif),
        "again": lambda: host.driver.plug(vif),
        "unplug": lambda: host.driver.unplug(ID),
    }
    times: dict[str, list[float]] = {verb: [] for verb in verbs}
    sent: dict[str, Counter[str]] = {}
    for _ in range(rounds):
        for verb, work in verbs.items():
            taken, sent[verb] = measured(work)
            times[verb].append(taken)
    cells = (
        f"{sent[verb]['writes']}+{sent[verb]['reads']} {sent[verb]['netlink']:2d} {statistics.median(times[verb]):6.2f}"
        for verb in verbs
    )
    return f"{name:28}" + "".join(f" | {cell:14}" for cell in cells)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    counted(OvsdbConnection, "transact", _transaction)
    counted(RtSocket, "exchange", lambda messages: ("netlink", len(messages)))
    counted(RtSocket, "dump", lambda message: ("netlink", 1))
    for wait in ("ofport", "none"):
        with PrivateHost(vifplug_ovs={"wait": wait, "ensure_bridge": True}) as host:
            host.ip("link", "add", "br0", "type", "bridge")
            host.ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
            host.driver.plug(VIF.from_json({"id": ID, "mac": "52:54:00:12:34:56", **FORMS["bridge, Open vSwitch"]}))
            host.driver.unplug(ID)
            print(f"\nwait = {wait}: OVSDB transactions (writing+reading), netlink messages, median ms of {rounds}")
            print(f"{'':28} | plug           | plug again     | unplug")
            for name in FORMS:
                print(row(name, host, rounds))


if __name__ == "__main__":
    main()
