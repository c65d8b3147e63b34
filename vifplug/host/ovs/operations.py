"""The operations that vifplug sends to OVSDB, in its notation (RFC 7047, sections 5.1 and 5.2). Pure.

What writes a port or a bridge is made of these in `vifplug.host.ovs.encode`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vifplug.plan.registry import OvsIfaceId, OvsPort, ovs_uuid

DATABASE = "Open_vSwitch"
Operation = dict[str, Any]
#: A condition or the columns of a row, in OVSDB's notation
Where = list[list[Any]]
Columns = Mapping[str, Any]

#: Interface.external_ids that mark a port as a VIF's
OWNER, ROLE = "vifplug-id", "vifplug-role"
#: Interface.external_ids that ovn-controller writes about the port's state (controller/binding.c)
STATUS = ("ovn-installed", "ovn-installed-ts")

PORT = ["_uuid", "name", "tag", "vlan_mode", "trunks", "cvlans", "protected", "other_config", "qos"]
INTERFACE = ["_uuid", "name", "type", "external_ids", "options", "mtu_request", "ofport", "error"]
INTERFACE += ["ingress_policing_rate", "ingress_policing_burst", "other_config", "ofport_request"]
_STATE = ["name", "ofport", "error", "external_ids"]
_QOS = ["_uuid", "type", "other_config", "external_ids", "queues"]
_QUEUE = ["_uuid", "other_config"]
#: from so many ids on, to read all of them costs the server less than to look for each
_MANY = 128


@dataclass(frozen=True)
class Keys:
    """The UUIDs of the four rows that one port may have."""

    port: str
    interface: str
    qos: str
    queue: str

    @classmethod
    @functools.lru_cache(maxsize=4096)  # one plug needs them about ten times
    def of(cls, owner: str, role: str) -> Keys:
        return cls(*(ovs_uuid(row, owner, role) for row in ("port", "interface", "qos", "queue")))


# -- conditions ---------------------------------------------------------------------------------------------------


def is_row(row: object) -> Where:
    """Match the row with this UUID: the only condition that the server answers without a scan."""
    return [["_uuid", "==", reference(row)]]


def is_named(name: str) -> Where:
    return [["name", "==", name]]


def refers(column: str, row: object) -> Where:
    """Match the row whose ``column`` refers to ``row``; a binary search in each row of the table."""
    return [[column, "includes", reference(row)]]


def has_pair(column: str, key: str, value: str | None) -> Where:
    return [[column, "includes", ["map", [[key, value]]]]]


# -- operations ---------------------------------------------------------------------------------------------------


def there(table: str, where: Where, row: Columns) -> Operation:
    """Refuse the transaction (``timed out``) unless the row is so now."""
    wait = {"op": "wait", "timeout": 0, "table": table, "where": where, "columns": list(row)}
    return wait | {"until": "==", "rows": [row]}


def select(table: str, where: Where, columns: Sequence[str]) -> Operation:
    return {"op": "select", "table": table, "where": where, "columns": list(columns)}


def insert(table: str, row: str, columns: Columns) -> Operation:
    return {"op": "insert", "table": table, "uuid": row, "row": columns}


def delete(table: str, row: object) -> Operation:
    return {"op": "delete", "table": table, "where": is_row(row)}


def update(table: str, row: object, columns: Columns) -> Operation:
    return {"op": "update", "table": table, "where": is_row(row), "row": columns}


def mutate(table: str, where: Where, *mutations: list[Any]) -> Operation:
    return {"op": "mutate", "table": table, "where": where, "mutations": list(mutations)}


def join(bridge: str, port: str) -> list[Operation]:
    """Put a port on a bridge, which has to exist."""
    guard = there("Bridge", is_named(bridge), {"name": bridge})
    return [guard, mutate("Bridge", is_named(bridge), ["ports", "insert", reference(port)])]


def leave(port: str) -> Operation:
    """Take a port off its bridge, whichever it is."""
    return mutate("Bridge", refers("ports", port), ["ports", "delete", reference(port)])


# -- what is read -------------------------------------------------------------------------------------------------


def read_port(owner: str, role: str, *, qos: bool = True) -> list[Operation]:
    """Return the selects that read one port: five look-ups, or three for a port without QoS of its own."""
    keys = Keys.of(owner, role)
    port = select("Port", is_row(keys.port), PORT)
    interface = select("Interface", is_row(keys.interface), INTERFACE)
    return [port, interface, read_bridge_of(keys.port), *([read_qos(keys.qos), read_queue(keys.queue)] if qos else [])]


def read_bridge_of(port: str) -> Operation:
    """Select the bridge that has a port. Bridge.ports itself is never read: there may be thousands."""
    return select("Bridge", refers("ports", port), ["name"])


def read_iface_ids(ids: Sequence[OvsIfaceId]) -> list[Operation]:
    """Return the selects that find every port with one of some ids.

    No index helps the server: each condition is a pass over its table. Measured with ovsdb-server 3.1: 0.09 ms at 1,000
    ports and 0.55 ms at 5,000, where one select of the whole table takes 9 ms and 90 ms.
    """
    names = dict.fromkeys(each.name for each in ids)
    if len(names) > _MANY:
        return [select("Interface", [], ["name", "external_ids"])]
    return [select("Interface", has_pair("external_ids", "iface-id", name), ["name", "external_ids"]) for name in names]


def read_state(port: OvsPort) -> Operation:
    """Select what ovs-vswitchd and ovn-controller say of a port."""
    return select("Interface", is_row(Keys.of(port.owner, port.role).interface), _STATE)


def ask_ofport(ports: Sequence[OvsPort], patience: float) -> list[Operation]:
    """Wait for the last of some new ports to get its OpenFlow port, which ovs-vswitchd gives to all at once.

    Then select cur_cfg, which it writes in the same transaction, and the state of each port. Refused (``timed out``)
    after ``patience`` seconds.
    """
    new = {"op": "wait", "timeout": int(patience * 1000), "table": "Interface", "columns": ["ofport"], "until": "!="}
    new |= {"where": is_row(Keys.of(ports[-1].owner, ports[-1].role).interface), "rows": [{"ofport": ["set", []]}]}
    return [new, select(DATABASE, [], ["cur_cfg"]), *map(read_state, ports)]


def read_bridge_state(name: str) -> Operation:
    """Select what ovs-vswitchd says of the local port of a bridge that vifplug made; other bridges have no such row."""
    return select("Interface", is_row(ovs_uuid("bridge-interface", name)), _STATE)


def read_bridge(name: str) -> Operation:
    return select("Bridge", is_named(name), ["name", "datapath_type"])


def read_qos(row: str) -> Operation:
    return select("QoS", is_row(row), _QOS)


def read_queue(row: str) -> Operation:
    return select("Queue", is_row(row), _QUEUE)


def read_next_cfg() -> Operation:
    """Select the number of the newest configuration; ovs-vswitchd follows with cur_cfg."""
    return select(DATABASE, [], ["next_cfg"])


def read_progress() -> Operation:
    """Select that number, and how far ovs-vswitchd is."""
    return select(DATABASE, [], ["next_cfg", "cur_cfg"])


def unapplied(row: Mapping[str, int]) -> int:
    """Return the number of the newest configuration if ovs-vswitchd has not applied it yet; else 0."""
    return row["next_cfg"] if row["cur_cfg"] < row["next_cfg"] else 0


# -- values -------------------------------------------------------------------------------------------------------


def reference(row: object) -> list[str]:
    return ["uuid", str(row)]


def as_optional(value: Any) -> Any:
    return ["set", []] if value is None else value


def as_map(values: Mapping[str, str | None]) -> list[Any]:
    return ["map", [[key, value] for key, value in sorted(values.items()) if value is not None]]
