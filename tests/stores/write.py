"""Writes the store of the current schema, which is kept: `python -m tests.stores.write` when a schema is new.

A file of an earlier schema is never written again. Each has a ``.json`` beside it: the machine before the VIFs were
plugged, the machine with them, and the VIFs.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from tests.support.memory import Bench, Home
from vifplug import VIF, Instance
from vifplug.plan import registry
from vifplug.plan.registry import LowerDevice, OvsBridge, Resource
from vifplug.store.database import MIGRATIONS
from vifplug.store.store import Store
from vifplug.testing.memory import MemoryBackend, MemoryHost

HERE = Path(__file__).parent
GUEST = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web-1")
RED = "<network><name>red</name><forward mode='passthrough'><interface dev='e0'/></forward></network>"
ON_OVS = {"virtualport": {"type": "openvswitch"}, "source": {"bridge": "br-int"}}

#: documents with what a record may have: an original, a claim, shares, a network, QoS, VLANs
VIFS: tuple[dict[str, Any], ...] = (
    {"type": "network", "source": {"network": "red"}, "tap_owner": "vifplug"},
    {"type": "direct", "source": {"dev": "e2", "mode": "bridge"}, "tap_owner": "vifplug"},
    {"type": "bridge", "vlan": 7, "mtu": 1400, "bandwidth": {"inbound": {"average": 2000}}, **ON_OVS},
    {"type": "bridge", "source": {"bridge": "br0"}, "port": {"isolated": True}},
    {"type": "bridge", **ON_OVS, "source": {"bridge": "br-int", "hybrid": True}},
    {"type": "ethernet", "target": "tap-of-site"},
)


class Machine(MemoryHost):
    """One that is in the same boot for ever, so that originals stay valid."""

    def place(self) -> dict[str, str]:
        return {"boot": "3a1f0c52-5f2e-4e0e-9a57-0d9f6c1b7e11", "namespace": "4026531840"}


def bench(path: Path, machine: list[Resource]) -> Bench:
    """Return a host in memory that has these resources, and the network that the VIFs are on."""
    made = Bench(path, MemoryBackend())
    made.home = Home(path, lambda: Machine(made.memory))
    made.driver = made.home.driver()
    made.define(RED)
    for each in machine:
        made.memory.place(each)
    return made


def there(on: Bench) -> str:
    """Return everything on a host, as JSON."""
    found = sorted(on.memory.there.items())
    return registry.to_json([seen.resource for _, seen in found if seen.resource])


def documents(on: Bench) -> list[dict[str, Any]]:
    """Return each recorded VIF, in the words of its columns."""
    return [
        {"state": each.state, "guest": each.instance.name if each.instance else None, "xml": each.interface_xml}
        | {"vif": json.loads(each.vif.to_json()), "actual": json.loads(each.actual.to_json())}
        for each in on.driver.list()
    ]


def write(directory: Path) -> None:
    """Write the store of the current schema. Raises FileExistsError if there is one."""
    kept = directory / f"schema-{len(MIGRATIONS)}.db"
    if kept.exists():
        raise FileExistsError(f"{kept}: is kept as it is, because a released vifplug may have written it")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch)
        e = [LowerDevice(name=f"e{number}", mac=f"02:00:00:00:00:0{number}") for number in range(3)]
        on = bench(path, [*e, OvsBridge(name="br-int", datapath_type="system"), LowerDevice(name="br0", up=True)])
        before = there(on)
        for number, document in enumerate(VIFS, 1):
            names = {"id": f"{number:08x}-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "mac": f"52:54:00:12:34:{number:02x}"}
            on.driver.plug(VIF.from_data({**names, **document}), GUEST if number % 2 else None)
        on.driver.close()
        store = Store(path / "state")
        *_, cut, last = store.all()
        store.put([dataclasses.replace(cut, state="updating"), dataclasses.replace(last, state="unplugging")])
        texts = {"before": json.loads(before), "machine": json.loads(there(on)), "vifs": documents(on)}
        on.driver.close()
        store.close()
        with sqlite3.connect(path / "state/vifplug.db") as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        shutil.copyfile(path / "state/vifplug.db", kept)
        kept.with_suffix(".json").write_text(json.dumps(texts, indent=1) + "\n")


if __name__ == "__main__":
    write(HERE)
