"""What one plug and one unplug cost, next to the raw protocol, ovsdbapp's own implementation and ovs-vsctl.

    python benchmarks/ovs_plug.py [--ports 0 1000] [--samples 50]

All are measured in one run, in turns, on a private ovsdb-server with a stand-in for ovs-vswitchd that applies every
configuration at once: so the figures are those of client and database, and their ratios hold on any machine. All wait
for the stand-in. vifplug also reads back what it wrote and looks at the interface's error; the raw protocol, which is
the floor, does neither.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from standin import Floor, fill, instant_vswitchd

from vifplug.host.ovs.backend import OvsBackend
from vifplug.host.ovs.settings import OvsSettings
from vifplug.model.codec import FrozenMap
from vifplug.plan.registry import OvsPort, OvsVlan
from vifplug.plan.steps import Step
from vifplug.testing.ovs import PrivateOvs

IDS = {
    "iface-id": "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11",
    "attached-mac": "52:54:00:12:34:56",
    "iface-status": "active",
}


@dataclass
class Client:
    """One way to plug: each takes a port's name."""

    name: str
    plug: Callable[[str], object]
    unplug: Callable[[str], object]
    samples: int


# -- the clients --------------------------------------------------------------------------------------------------


def raw(ovs: PrivateOvs, samples: int) -> Client:
    """The least that the protocol allows: one transact each, and the wait for cur_cfg."""
    floor = Floor(str(ovs.socket), "br0")
    return Client("raw", lambda name: floor.plug(name, IDS), floor.unplug, samples)


def vifplug(ovs: PrivateOvs, samples: int) -> Client:
    backend = OvsBackend(OvsSettings(connection=ovs.connection), lambda device: None)

    def port(name: str) -> OvsPort:
        owner = str(uuid.uuid5(uuid.NAMESPACE_OID, name))
        return OvsPort(name=name, owner=owner, bridge="br0", vlan=OvsVlan(tag=5), external_ids=FrozenMap(IDS))

    def plug(name: str) -> None:
        backend.apply([Step(None, port(name))], [])

    return Client("vifplug", plug, lambda name: backend.apply([Step(port(name), None)], []), samples)


def stock(ovs: PrivateOvs, samples: int) -> Client:
    """ovsdbapp's IDL with the calls that os-vif makes, in one transaction."""
    from ovsdbapp.backend.ovs_idl import connection, idlutils
    from ovsdbapp.schema.open_vswitch import impl_idl

    helper = idlutils.get_schema_helper(ovs.connection, "Open_vSwitch")
    helper.register_all()
    kind = type("Own", (impl_idl.OvsdbIdl,), {"_ovsdb_connection": None})
    api: Any = kind(connection.Connection(connection.OvsdbIdl(ovs.connection, helper), timeout=60))

    def plug(name: str) -> None:
        with api.transaction(check_error=True) as transaction:
            transaction.add(api.add_port("br0", name))
            transaction.add(api.db_set("Port", name, ("tag", 5)))
            transaction.add(api.db_set("Interface", name, ("external_ids", IDS)))

    return Client("ovsdbapp IDL", plug, lambda name: api.del_port(name, "br0").execute(check_error=True), samples)


def vsctl(ovs: PrivateOvs, samples: int) -> Client:
    ids = [f"external_ids:{key}={json.dumps(value)}" for key, value in IDS.items()]

    def plug(name: str) -> str:
        return ovs.ctl("--may-exist", "add-port", "br0", name, "tag=5", "--", "set", "Interface", name, *ids)

    return Client("ovs-vsctl", plug, lambda name: ovs.ctl("--if-exists", "del-port", name), max(samples // 5, 3))


# -- measuring ----------------------------------------------------------------------------------------------------


def measure(clients: list[Client]) -> dict[tuple[str, str], float]:
    """The median milliseconds of each client and verb; the clients take turns."""
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(max(client.samples for client in clients)):
        for client in clients:
            if turn < client.samples:
                for verb in (client.plug, client.unplug):
                    begun = time.perf_counter()
                    verb(f"m{turn}")
                    key = (client.name, "plug" if verb is client.plug else "unplug")
                    times.setdefault(key, []).append((time.perf_counter() - begun) * 1000)
    return {key: statistics.median(values) for key, values in times.items()}


def report(count: int, medians: dict[tuple[str, str], float]) -> None:
    print(f"{count} ports there     plug ms  x raw   unplug ms  x raw")
    for name in dict.fromkeys(name for name, _ in medians):
        cells = [(medians[name, verb], medians[name, verb] / medians["raw", verb]) for verb in ("plug", "unplug")]
        print(f"{name:16}" + "".join(f"{each:12.2f} {ratio:6.1f}" for each, ratio in cells))
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ports", type=int, nargs="+", default=[0, 1000], help="how many are there already")
    parser.add_argument("--samples", type=int, default=50, help="of each verb and client (ovs-vsctl: a fifth)")
    arguments = parser.parse_args()
    for count in arguments.ports:
        with PrivateOvs(vswitchd=False) as ovs:
            ovs.ctl("--no-wait", "add-br", "br0")
            fill(str(ovs.socket), "br0", count)
            with instant_vswitchd(str(ovs.socket)):
                clients = [make(ovs, arguments.samples) for make in (raw, vifplug, stock, vsctl)]
                report(count, measure(clients))


if __name__ == "__main__":
    main()
