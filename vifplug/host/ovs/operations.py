"""Operations and values in OVSDB's notation (RFC 7047, sections 5.1 and 5.2) for rows whose types are known. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vifplug.host.ovs.connection import Operation

Row = Mapping[str, Any]


def there(table: str, where: list[Any], row: Row) -> Operation:
    """Go on only if this is so now; refused as ``timed out`` otherwise."""
    wait = {"op": "wait", "timeout": 0, "table": table, "where": where, "columns": list(row)}
    return wait | {"until": "==", "rows": [row]}


def select(table: str, row: str, columns: list[str]) -> Operation:
    return {"op": "select", "table": table, "where": [["_uuid", "==", ["uuid", row]]], "columns": columns}


def insert(table: str, row: str, columns: Row) -> Operation:
    return {"op": "insert", "table": table, "uuid": row, "row": columns}


def delete(table: str, row: str) -> Operation:
    return {"op": "delete", "table": table, "where": [["_uuid", "==", ["uuid", row]]]}


def update(table: str, row: str, columns: Row) -> Operation:
    return {"op": "update", "table": table, "where": [["_uuid", "==", ["uuid", row]]], "row": columns}


def mutate(table: str, where: list[Any], *mutations: list[Any]) -> Operation:
    return {"op": "mutate", "table": table, "where": where, "mutations": list(mutations)}


# -- OVSDB's notation (RFC 7047 section 5.1) -------------------------------------------------------------------------


def optional(value: Any) -> Any:
    """An optional value; a set of one is written as the value itself."""
    return None if value == ["set", []] else value


def elements(value: Any) -> list[Any]:
    return value[1] if isinstance(value, list) else [value]


def pairs(value: Any) -> dict[Any, Any]:
    return dict(value[1])


def as_optional(value: Any) -> Any:
    return ["set", []] if value is None else value


def as_map(values: Mapping[str, str | None]) -> list[Any]:
    return ["map", [[key, value] for key, value in sorted(values.items()) if value is not None]]


def without(values: dict[str, str], keys: Sequence[str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if key not in keys}
