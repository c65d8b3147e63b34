"""The questions of ovsdbapp's Open_vSwitch API. Inside a transaction they show what was committed before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vifplug.host.ovs.decode import Row
from vifplug.host.ovs.operations import is_named, refers, select
from vifplug.host.ovs.ovsdbapp_api.tables import OvsdbRow, Tables, encode, missing
from vifplug.host.ovs.ovsdbapp_api.transaction import ApiTransaction

Condition = tuple[str, str, Any]


def br_exists(txn: ApiTransaction, name: str) -> bool:
    return txn.api.lookup("Bridge", name, None) is not None


def list_br(txn: ApiTransaction) -> list[str]:
    return [row["name"] for row in _listed(txn.api, "Bridge", None, False)]


def br_get_external_id(txn: ApiTransaction, name: str, field: str) -> Any:
    return txn.api.value("Bridge", name, "external_ids")[field]


def get_controller(txn: ApiTransaction, bridge: Any) -> list[str]:
    row = txn.api.read("Bridge", txn.api.find("Bridge", bridge), ["controller"])
    return [txn.api.read("Controller", controller, ["target"])["target"] for controller in row["controller"]]


def list_ports(txn: ApiTransaction, bridge: str) -> list[str]:
    """Return the names of a bridge's ports, without its own."""
    return [port["name"] for port in _ports(txn.api, bridge)]


def list_ifaces(txn: ApiTransaction, bridge: str) -> list[str]:
    """Return the names of the interfaces of a bridge's ports, without its own."""
    [interfaces] = txn.api.select(select("Interface", [], ["_uuid", "name"]))
    names = {row["_uuid"]: row["name"] for row in interfaces}
    return [names[each] for port in _ports(txn.api, bridge) for each in port["interfaces"] if each in names]


def port_to_br(txn: ApiTransaction, name: str) -> str:
    """Return the name of the bridge that has a port; a binary search in the server, no scan. Raises RowNotFound."""
    return str(_holder(txn.api, "Bridge", "ports", txn.api.find("Port", name))["name"])


def iface_to_br(txn: ApiTransaction, name: str) -> str:
    port = _holder(txn.api, "Port", "interfaces", txn.api.find("Interface", name))
    return str(_holder(txn.api, "Bridge", "ports", port["_uuid"])["name"])


def iface_get_external_id(txn: ApiTransaction, name: str, field: str) -> Any:
    return txn.api.value("Interface", name, "external_ids")[field]


def get_manager(txn: ApiTransaction) -> list[str]:
    return [row["target"] for row in _listed(txn.api, "Manager", None, False)]


def db_get(txn: ApiTransaction, table: str, record: Any, column: str) -> Any:
    value = txn.api.value(table, record, column)
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def db_list(
    txn: ApiTransaction, table: str, records: Sequence[Any] | None = None, columns: Any = None, if_exists: bool = False
) -> list[dict[str, Any]]:
    return _shown(txn.api, table, _listed(txn.api, table, records, if_exists), columns)


def db_list_rows(
    txn: ApiTransaction, table: str, record: Sequence[Any] | None = None, if_exists: bool = False
) -> list[OvsdbRow]:
    return _rows(txn.api, table, _listed(txn.api, table, record, if_exists))


def db_find(txn: ApiTransaction, table: str, *conditions: Condition, columns: Any = None) -> list[dict[str, Any]]:
    return _shown(txn.api, table, _found(txn.api, table, conditions), columns)


def db_find_rows(txn: ApiTransaction, table: str, *conditions: Condition) -> list[OvsdbRow]:
    return _rows(txn.api, table, _found(txn.api, table, conditions))


def _holder(api: Tables, table: str, column: str, row: Any) -> Row:
    """Return the row of a table that refers to ``row``."""
    [holders] = api.select(select(table, refers(column, row), ["_uuid", "name"]))
    if not holders:
        raise missing(table, row)
    return holders[0]


def _ports(api: Tables, bridge: str) -> list[Row]:
    found, ports = api.select(
        select("Bridge", is_named(bridge), ["ports"]), select("Port", [], ["_uuid", "name", "interfaces"])
    )
    if not found:
        raise missing("Bridge", bridge)
    return [port for port in ports if port["_uuid"] in found[0]["ports"] and port["name"] != bridge]


def _listed(api: Tables, table: str, records: Sequence[Any] | None, if_exists: bool) -> Sequence[Row]:
    """Whole rows: all, or those of some records. Raises RowNotFound."""
    [rows] = api.select({"op": "select", "table": table, "where": []})
    if not records:
        return rows
    key = api.key(table)
    wanted = {str(record) for record in records}
    found = [row for row in rows if str(row["_uuid"]) in wanted or (key and row[key] in wanted)]
    have = {str(row["_uuid"]) for row in found} | {row[key] for row in found if key}
    if not if_exists and (lacking := [record for record in records if str(record) not in have]):
        raise missing(table, lacking[0])
    return found


def _found(api: Tables, table: str, conditions: Sequence[Condition]) -> list[Row]:
    """Return whole rows that meet every condition.

    What the server can compare it compares; the rest, which RFC 7047 has no function for, is compared here.
    """
    clauses = [clause for each in conditions if (clause := _clause(api, table, each))]
    [rows] = api.select({"op": "select", "table": table, "where": clauses})
    return [row for row in rows if all(_holds(api, table, row, each) for each in conditions)]


def _shown(api: Tables, table: str, rows: Iterable[Row], columns: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return rows as ovsdbapp's db_list and db_find show them."""
    names = columns or [*api.columns(table), "_uuid"]
    return [api.shown(table, row, names) for row in rows]


def _rows(api: Tables, table: str, found: Iterable[Row]) -> list[OvsdbRow]:
    return [OvsdbRow(api, table, each["_uuid"]).remember(each) for each in found]


_FUNCTIONS = {"=": "==", "!=": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "{>=}": "includes"}


def _clause(api: Tables, table: str, condition: Condition) -> list[Any] | None:
    column, operator, value = condition
    kind = api.column(table, column)
    if operator not in _FUNCTIONS:
        raise NotImplementedError(f"the operator {operator!r} in a condition on {table}.{column}")
    members = kind.is_set() and isinstance(value, (list, tuple)) and value and operator in ("=", "!=")
    if members or isinstance(value, Mapping):
        return [column, "includes", encode(value)] if operator == "=" else None
    return [column, _FUNCTIONS[operator], encode(value)]


def _holds(api: Tables, table: str, row: Row, condition: Condition) -> bool:
    """ovsdbapp's relaxed "not equal": each key is there with another value, no element is there."""
    column, operator, value = condition
    if operator != "!=" or not value or not isinstance(value, (Mapping, list, tuple)):
        return True
    have = row[column]
    if isinstance(value, Mapping):
        return all(key in have and have[key] != item for key, item in value.items())
    return not set(value) & set(have if isinstance(have, list) else [have])
