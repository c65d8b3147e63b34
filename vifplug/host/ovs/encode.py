"""The operations that make, change and remove the rows of an OvsPort or OvsBridge (ovs-vswitchd.conf.db.5). Pure.

The UUIDs of a VIF's rows follow from its id, so a port is written, read and removed by look-up, however many ports
exist. A row that was deleted cannot be inserted under its UUID again in the same transaction ("duplicate uuid"), so
what changes is always updated in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vifplug.host.ovs import operations
from vifplug.host.ovs.decode import Seen
from vifplug.host.ovs.operations import (
    DATABASE,
    OWNER,
    ROLE,
    STATUS,
    Columns,
    Keys,
    Operation,
    is_row,
    mutate,
    reference,
    refers,
    there,
)
from vifplug.plan.registry import AdoptedPort, OvsBridge, OvsPolicing, OvsPort, OvsQos, OvsVlan, ovs_uuid


def write(have: Seen, after: OvsPort) -> list[Operation]:
    """Return the operations from what the database has to ``after``; only a guard if nothing differs."""
    return list(_insert(have, after) if have.port is None else _change(have, have.port, after))


def amend(before: AdoptedPort, after: AdoptedPort) -> list[Operation]:
    """Return the operations that change an existing port in place; ``before`` has the UUIDs of its rows."""
    assert before.port_row and before.interface_row
    keys = Keys(port=before.port_row, interface=before.interface_row, qos="", queue="")
    ids = ({"external_ids": operations.as_map(port.external_ids)} for port in (before, after))
    return [
        there("Port", is_row(keys.port), {"name": before.name}),
        *_update("Interface", keys.interface, *ids),
        *_update("Port", keys.port, _vlan_columns(before.vlan), _vlan_columns(after.vlan)),
        *_move(keys, before, after),
    ]


def remove(port: OvsPort) -> list[Operation]:
    """Remove a port from its bridge, whichever it is, and delete its rows.

    The server would collect Port and Interface as garbage, but only after it has counted the references to QoS.
    """
    keys = Keys.of(port.owner, port.role)
    return [
        operations.leave(keys.port),
        operations.delete("Port", keys.port),
        operations.delete("Interface", keys.interface),
        operations.delete("QoS", keys.qos),
        operations.delete("Queue", keys.queue),
    ]


def _insert(have: Seen, after: OvsPort) -> Iterator[Operation]:
    keys = Keys.of(after.owner, after.role)
    guard, join = operations.join(after.bridge, keys.port)
    yield guard
    yield operations.insert("Interface", keys.interface, _set_only(_interface_row(after)))
    born = after if after.vlan is not None else after.replace(vlan=after.initial)
    port = _set_only(_port_row(born)) | {"interfaces": reference(keys.interface)}
    if after.qos is not None and after.has_qos:
        yield from _write_qos(keys, have, after, after.qos)
        port["qos"] = reference(keys.qos)
    yield operations.insert("Port", keys.port, port)
    yield join


def _change(have: Seen, before: OvsPort, after: OvsPort) -> Iterator[Operation]:
    keys = Keys.of(after.owner, after.role)
    changes = [
        *_update("Interface", keys.interface, _interface_row(before), _interface_row(after)),
        # What ovn-controller said is of the port's old identity: of the new one it has said nothing yet.
        *([] if before.iface_id == after.iface_id else [mutate("Interface", is_row(keys.interface), _FORGET)]),
        *_update("Port", keys.port, _port_row(before), _port_row(after)),
        *_change_qos(keys, have, before, after),
        *_move(keys, before, after),
    ]
    yield there("Bridge", refers("ports", keys.port), {"name": before.bridge})
    yield from changes
    if before.error and not changes:  # with a new configuration ovs-vswitchd tries the device again
        yield mutate(DATABASE, [], ["next_cfg", "+=", 0])


def _move(keys: Keys, before: OvsPort | AdoptedPort, after: OvsPort | AdoptedPort) -> Iterator[Operation]:
    if before.bridge != after.bridge:
        yield operations.leave(keys.port)
        yield from operations.join(after.bridge, keys.port)


def _change_qos(keys: Keys, have: Seen, before: OvsPort, after: OvsPort) -> Iterator[Operation]:
    desired = after.qos or OvsQos()
    if desired == (before.qos or OvsQos()):
        return
    if desired.type is None:
        yield attach_qos(keys, on=False)
        yield operations.delete("QoS", keys.qos)
        yield operations.delete("Queue", keys.queue)
    else:
        yield from _write_qos(keys, have, after, desired)
        yield attach_qos(keys, on=True)


def _write_qos(keys: Keys, have: Seen, after: OvsPort, qos: OvsQos) -> Iterator[Operation]:
    ids = operations.as_map({**qos.external_ids, **_mark(after)})
    queue = {"other_config": operations.as_map(qos.queue), "external_ids": ids}
    shaper = {
        "type": qos.type,
        "other_config": operations.as_map(qos.other_config),
        "external_ids": ids,
        "queues": ["map", [[0, reference(keys.queue)]]],
    }
    yield (operations.update if have.has_queue else operations.insert)("Queue", keys.queue, queue)
    yield (operations.update if have.has_qos else operations.insert)("QoS", keys.qos, shaper)


def attach_qos(keys: Keys, *, on: bool) -> Operation:
    """Equivalent to: ovs-vsctl set Port NAME qos=UUID, or clear Port NAME qos"""
    return operations.update("Port", keys.port, {"qos": reference(keys.qos) if on else ["set", []]})


def add_bridge(bridge: OvsBridge) -> list[Operation]:
    """Equivalent to: ovs-vsctl add-br NAME [-- set Bridge NAME datapath_type=TYPE]"""
    row, port, interface = bridge_rows(bridge.name)
    columns: dict[str, Any] = {"datapath_type": bridge.datapath_type} if bridge.datapath_type else {}
    if bridge.transient and bridge.owner:  # of one VIF alone
        columns["external_ids"] = operations.as_map({OWNER: bridge.owner})
    return [
        operations.insert("Interface", interface, {"name": bridge.name, "type": "internal"}),
        operations.insert("Port", port, {"name": bridge.name, "interfaces": reference(interface)}),
        operations.insert("Bridge", row, {"name": bridge.name, "ports": reference(port), **columns}),
        mutate(DATABASE, [], ["bridges", "insert", reference(row)]),
    ]


def bridge_rows(name: str) -> list[str]:
    """Return the UUIDs that `add_bridge` gives to the rows of a bridge, its port and its interface."""
    return [ovs_uuid(f"bridge-{part}", name) for part in ("row", "port", "interface")]


def remove_bridge(row: str, port: str) -> list[Operation]:
    """Remove a bridge that has no port but its own; refused (``timed out``) otherwise."""
    return [
        there("Bridge", is_row(row), {"ports": reference(port)}),
        mutate(DATABASE, [], ["bridges", "delete", reference(row)]),
    ]


# -- rows ---------------------------------------------------------------------------------------------------------


def _port_row(port: OvsPort) -> dict[str, Any]:
    return {
        "name": port.name,
        **_vlan_columns(port.vlan),
        "protected": bool(port.protected),
        "other_config": operations.as_map(port.other_config),
    }


def _vlan_columns(vlan: OvsVlan | None) -> dict[str, Any]:
    vlan = vlan or OvsVlan()
    return {
        "tag": operations.as_optional(vlan.tag),
        "vlan_mode": operations.as_optional(vlan.mode),
        "trunks": ["set", list(vlan.trunks)],
        "cvlans": ["set", list(vlan.cvlans)],
    }


def _interface_row(port: OvsPort) -> dict[str, Any]:
    policing = port.policing or OvsPolicing()
    return {
        "name": port.name,
        "type": port.type,
        "external_ids": operations.as_map({**port.external_ids, **_mark(port)}),
        "options": operations.as_map(port.options),
        "other_config": operations.as_map(port.interface_config),
        "ofport_request": operations.as_optional(port.ofport_request or None),
        "mtu_request": operations.as_optional(port.mtu_request or None),
        "ingress_policing_rate": policing.rate,
        "ingress_policing_burst": policing.burst,
    }


def _mark(port: OvsPort) -> dict[str, str]:
    return {OWNER: port.owner} | ({ROLE: port.role} if port.role else {})


_FORGET = ["external_ids", "delete", ["set", list(STATUS)]]
_EMPTY = (["set", []], ["map", []], "")


def _set_only(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row to insert, without the columns that have their default."""
    return {column: value for column, value in row.items() if value is not False and value not in _EMPTY}


def _update(table: str, row: str, before: Columns, after: Columns) -> Iterator[Operation]:
    """Write what differs; of a map only the keys that do, since others write there too, at the same time."""
    changed = {column: value for column, value in after.items() if value != before[column] and column != "name"}
    maps = {column for column, value in changed.items() if isinstance(value, list) and value[0] == "map"}
    if plain := {column: value for column, value in changed.items() if column not in maps}:
        yield operations.update(table, row, plain)
    mutations = [each for column in changed if column in maps for each in _keys(column, before, after)]
    if mutations:
        yield mutate(table, is_row(row), *mutations)


def _keys(column: str, before: Columns, after: Columns) -> Iterator[list[Any]]:
    old, new = dict(before[column][1]), dict(after[column][1])
    written = {key: value for key, value in new.items() if old.get(key) != value}
    gone = [key for key in old if key not in new]
    # Inserting a key that is there changes nothing (RFC 7047 section 5.1), so it is deleted first, known or not.
    if gone or written:
        yield [column, "delete", ["set", [*gone, *written]]]
    if written:
        yield [column, "insert", operations.as_map(written)]
