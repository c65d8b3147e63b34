"""The changes of ovsdbapp's Open_vSwitch API, each as operations instead of changes to a replica."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from vifplug.host.ovs.operations import DATABASE, delete, is_row, mutate, reference, refers, select, update
from vifplug.host.ovs.ovsdbapp_api.tables import OvsdbRow, encode
from vifplug.host.ovs.ovsdbapp_api.transaction import ApiTransaction

# -- bridges ----------------------------------------------------------------------------------------------------------


def add_br(txn: ApiTransaction, name: str, may_exist: bool = True, datapath_type: str | None = None) -> OvsdbRow:
    """Equivalent to: ovs-vsctl [--may-exist] add-br NAME [-- set Bridge NAME datapath_type=TYPE]

    With ``may_exist``, losing a race for the name is no failure.
    """
    columns = {"datapath_type": datapath_type} if datapath_type else {}
    bridge = txn.taken("Bridge", name)
    if bridge is None:
        txn.refuse_other("Bridge", "Port", name)
        interface = txn.insert("Interface", {"name": name, "type": "internal"}, name)
        port = txn.insert("Port", {"name": name, "interfaces": reference(interface)}, name)
        bridge = txn.insert("Bridge", {"name": name, "ports": reference(port), **columns}, name)
        txn.add_op(mutate(DATABASE, [], ["bridges", "insert", reference(bridge)]))
    elif columns:
        txn.add_op(update("Bridge", bridge, columns))
    return OvsdbRow(txn.api, "Bridge", bridge)


def del_br(txn: ApiTransaction, name: str, if_exists: bool = True) -> None:
    """Equivalent to: ovs-vsctl [--if-exists] del-br NAME"""
    bridge = txn.existing("Bridge", name)
    if bridge is not None:
        txn.add_op(mutate(DATABASE, [], ["bridges", "delete", reference(bridge)]))
    elif not if_exists:
        raise RuntimeError(f"Bridge {name} does not exist")


def br_set_external_id(txn: ApiTransaction, name: str, field: str, value: str) -> None:
    db_set(txn, "Bridge", name, ("external_ids", {field: value}), if_exists=False)


def set_controller(txn: ApiTransaction, bridge: Any, controllers: Sequence[str]) -> None:
    """Equivalent to: ovs-vsctl set-controller BRIDGE TARGET..."""
    row = txn.row("Bridge", bridge)
    inserted = [txn.insert("Controller", {"target": target}) for target in controllers]
    txn.add_op(update("Bridge", row, {"controller": encode(inserted)}))


def del_controller(txn: ApiTransaction, bridge: Any) -> None:
    set_controller(txn, bridge, [])


def set_fail_mode(txn: ApiTransaction, bridge: Any, mode: str) -> None:
    db_set(txn, "Bridge", bridge, ("fail_mode", mode), if_exists=False)


# -- ports ------------------------------------------------------------------------------------------------------------


def add_port(txn: ApiTransaction, /, bridge: Any, port: str, may_exist: bool = True, **columns: Any) -> OvsdbRow:
    """Equivalent to: ovs-vsctl [--may-exist] add-port BRIDGE NAME -- set Interface NAME COLUMN=VALUE...

    An existing port gets the columns too, and one on another bridge is an error: nothing is silently left out.
    """
    on = txn.row("Bridge", bridge)
    row = txn.taken("Port", port)
    if row is None:
        txn.refuse_other("Port", "Interface", port)
        interface = txn.insert("Interface", {"name": port} | _encoded(columns), port)
        row = txn.insert("Port", {"name": port, "interfaces": reference(interface)}, port)
        txn.add_op(mutate("Bridge", is_row(on), ["ports", "insert", reference(row)]))
        return OvsdbRow(txn.api, "Port", row)
    holder = _holder(txn, row)
    # Without a bridge it was removed just now: the guard on its row has the transaction composed again.
    if holder and holder.get("_uuid") != on:
        raise RuntimeError(f"Port {port} is expected on bridge {bridge} and exists on {holder['name']}")
    if columns:
        db_set(txn, "Interface", port, **columns)
    return OvsdbRow(txn.api, "Port", row)


def del_port(txn: ApiTransaction, port: str, bridge: Any = None, if_exists: bool = True) -> None:
    """Equivalent to: ovs-vsctl [--if-exists] del-port [BRIDGE] NAME"""
    row, where = txn.existing("Port", port), ""
    if row is not None and bridge:
        on = txn.row("Bridge", bridge)
        if not txn.is_new(row) and _holder(txn, row).get("_uuid") != on:
            row, where = None, f" on {bridge}!"
    if row is not None:
        txn.add_op(mutate("Bridge", refers("ports", row), ["ports", "delete", reference(row)]))
    elif not if_exists:
        raise RuntimeError(f"Port {port} does not exist{where}")


def iface_set_external_id(txn: ApiTransaction, name: str, field: str, value: str) -> None:
    db_set(txn, "Interface", name, ("external_ids", {field: value}), if_exists=False)


def _holder(txn: ApiTransaction, port: uuid.UUID) -> Mapping[str, Any]:
    """Return the name and UUID of the bridge that has a port; nothing if none has."""
    [holders] = txn.api.select(select("Bridge", refers("ports", port), ["_uuid", "name"]))
    return holders[0] if holders else {}


# -- managers ---------------------------------------------------------------------------------------------------------


def add_manager(txn: ApiTransaction, connection_uri: str) -> OvsdbRow:
    """Adds a manager to those that are there. Equivalent to: ovs-vsctl -- --id=@m create Manager target=TARGET
    -- add Open_vSwitch . manager_options @m"""
    manager = txn.insert("Manager", {"target": connection_uri}, connection_uri)
    txn.add_op(mutate(DATABASE, [], ["manager_options", "insert", reference(manager)]))
    return OvsdbRow(txn.api, "Manager", manager)


def remove_manager(txn: ApiTransaction, connection_uri: str) -> None:
    """Equivalent to: ovs-vsctl remove Open_vSwitch . manager_options MANAGER"""
    manager = txn.existing("Manager", connection_uri)
    if manager is None:
        raise RuntimeError(f"Manager with target {connection_uri} does not exist")
    txn.add_op(mutate(DATABASE, [], ["manager_options", "delete", reference(manager)]))


# -- any table --------------------------------------------------------------------------------------------------------


def db_create(txn: ApiTransaction, /, table: str, **col_values: Any) -> uuid.UUID:
    """Equivalent to: ovs-vsctl create TABLE COLUMN=VALUE..."""
    return txn.insert(table, _encoded(col_values))


def db_create_row(txn: ApiTransaction, /, table: str, **col_values: Any) -> OvsdbRow:
    return OvsdbRow(txn.api, table, db_create(txn, table, **col_values))


def db_destroy(txn: ApiTransaction, table: str, record: Any) -> None:
    """Equivalent to: ovs-vsctl destroy TABLE RECORD"""
    txn.add_op(delete(table, txn.row(table, record)))


def db_set(
    txn: ApiTransaction, /, table: str, record: Any, *pairs: tuple[str, Any], if_exists: bool = True, **columns: Any
) -> None:
    """Equivalent to: ovs-vsctl [--if-exists] set TABLE RECORD COLUMN=VALUE...; in a map the other keys stay."""
    row = txn.existing(table, record, if_exists)
    if row is None:
        return
    for column, value in dict(pairs or columns).items():
        if isinstance(value, Mapping):  # RFC 7047: inserting a key that is there changes nothing
            replaced = [column, "delete", encode(list(value))], [column, "insert", encode(value)]
            txn.add_op(mutate(table, is_row(row), *replaced))
        else:
            txn.add_op(update(table, row, {column: encode(value)}))


def db_add(txn: ApiTransaction, table: str, record: Any, column: str, *values: Any) -> None:
    """Equivalent to: ovs-vsctl add TABLE RECORD COLUMN VALUE...; a key that is there keeps its value."""
    row = txn.row(table, record)
    for value in values:
        txn.add_op(mutate(table, is_row(row), [column, "insert", _members(value)]))


def db_remove(
    txn: ApiTransaction, /, table: str, record: Any, column: str, *values: Any, if_exists: bool = False, **pairs: Any
) -> None:
    """Equivalent to: ovs-vsctl [--if-exists] remove TABLE RECORD COLUMN VALUE|KEY|KEY=VALUE..."""
    row = txn.existing(table, record, if_exists)
    if row is None:
        return
    for value in (*values, *([pairs] if pairs else [])):
        txn.add_op(mutate(table, is_row(row), [column, "delete", _members(value)]))


def db_clear(txn: ApiTransaction, table: str, record: Any, column: str) -> None:
    """Equivalent to: ovs-vsctl clear TABLE RECORD COLUMN"""
    row = txn.row(table, record)
    txn.add_op(update(table, row, {column: ["map" if txn.api.column(table, column).is_map() else "set", []]}))


def _members(value: Any) -> Any:
    return encode(value if isinstance(value, Mapping) else [value])


def _encoded(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {column: encode(value) for column, value in columns.items()}
