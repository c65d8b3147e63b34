"""The questions of ovsdbapp's Open_vSwitch API. Inside a transaction they show what was committed before it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from vifplug.host.ovs.decode import Row
from vifplug.host.ovs.operations import is_named, refers, select
from vifplug.host.ovs.ovsdbapp_api.schema import encode
from vifplug.host.ovs.ovsdbapp_api.tables import OvsdbRow, Tables, missing
from vifplug.host.ovs.ovsdbapp_api.transaction import ApiCommand, ApiTransaction

Condition = tuple[str, str, Any]


class Read(ApiCommand):
    """A question: ``answer`` is called when the command runs."""

    def __init__(self, api: Tables, message: str, answer: Callable[[], Any]) -> None:
        super().__init__(api)
        self.message, self._answer = message, answer

    def build(self, transaction: ApiTransaction) -> None:
        self.result = self._answer()

    def __str__(self) -> str:
        return f"Read({self.message})"

    __repr__ = __str__


def bridge_of_port(api: Tables, port: uuid.UUID) -> str:
    """Return the name of the bridge that has a port; a binary search in the server, no scan. Raises RowNotFound."""
    [rows] = api.select(select("Bridge", refers("ports", str(port)), ["name"]))
    if not rows:
        raise missing("Bridge", port)
    return str(rows[0]["name"])


def bridge_of_interface(api: Tables, interface: uuid.UUID) -> str:
    [rows] = api.select(select("Port", refers("interfaces", str(interface)), ["_uuid"]))
    if not rows:
        raise missing("Port", interface)
    return bridge_of_port(api, rows[0]["_uuid"])


def members(api: Tables, bridge: str, *, interfaces: bool) -> list[str]:
    """Return the names of a bridge's ports, or of their interfaces, without its own."""
    found, ports, names = api.select(
        select("Bridge", is_named(bridge), ["ports"]),
        select("Port", [], ["_uuid", "name", "interfaces"]),
        select("Interface", [], ["_uuid", "name"]),
    )
    if not found:
        raise missing("Bridge", bridge)
    own = set(found[0]["ports"])
    mine = [port for port in ports if port["_uuid"] in own and port["name"] != bridge]
    if not interfaces:
        return [port["name"] for port in mine]
    known = {row["_uuid"]: row["name"] for row in names}
    return [known[interface] for port in mine for interface in port["interfaces"]]


def listed(api: Tables, table: str, records: Sequence[Any] | None, if_exists: bool) -> Sequence[Row]:
    """Whole rows: all, or those of some records. Raises RowNotFound."""
    [rows] = api.select({"op": "select", "table": table, "where": []})
    if not records:
        return rows
    key = api.schema.key(table)
    wanted = {str(record) for record in records}
    found = [row for row in rows if str(row["_uuid"]) in wanted or (key and row[key] in wanted)]
    have = {str(row["_uuid"]) for row in found} | {row[key] for row in found if key}
    if not if_exists and (lacking := [record for record in records if str(record) not in have]):
        raise missing(table, lacking[0])
    return found


def found(api: Tables, table: str, conditions: Iterable[Condition]) -> list[Row]:
    """Return whole rows that meet every condition.

    What the server can compare it compares; the rest, which RFC 7047 has no function for, is compared here.
    """
    conditions = list(conditions)
    clauses = [clause for each in conditions if (clause := _clause(api, table, each))]
    [rows] = api.select({"op": "select", "table": table, "where": clauses})
    return [row for row in rows if all(_holds(api, table, row, each) for each in conditions)]


def shown(api: Tables, table: str, row: Mapping[str, Any], columns: Collection[str] | None) -> dict[str, Any]:
    """Return a row as ovsdbapp's db_list and db_find show it."""
    names = columns or [*api.schema.columns(table), "_uuid"]
    return {name: api.schema.column(table, name).plain(row[name]) for name in names}


def rows(api: Tables, table: str, found: Iterable[Row]) -> list[OvsdbRow]:
    return [OvsdbRow(api, table, each["_uuid"]).remember(each) for each in found]


_FUNCTIONS = {"=": "==", "!=": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "{>=}": "includes"}


def _clause(api: Tables, table: str, condition: Condition) -> list[Any] | None:
    column, operator, value = condition
    kind = api.schema.column(table, column)
    if operator not in _FUNCTIONS:
        raise NotImplementedError(f"the operator {operator!r} in a condition on {table}.{column}")
    if isinstance(value, Mapping):
        return [column, "includes", encode(value)] if operator == "=" else None
    if kind.is_set and operator == "=" and isinstance(value, (list, tuple)) and value:
        return [column, "includes", encode(value)]
    if kind.is_set and operator == "!=" and isinstance(value, (list, tuple)) and value:
        return None
    return [column, _FUNCTIONS[operator], encode(value)]


def _holds(api: Tables, table: str, row: Mapping[str, Any], condition: Condition) -> bool:
    """ovsdbapp's relaxed "not equal": each key is there with another value, no element is there."""
    column, operator, value = condition
    if operator != "!=" or not value or not isinstance(value, (Mapping, list, tuple)):
        return True
    have = api.schema.column(table, column).plain(row[column])
    if isinstance(value, Mapping):
        return all(key in have and have[key] != item for key, item in value.items())
    return not set(value) & set(have if isinstance(have, list) else [have])
