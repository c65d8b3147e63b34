"""Python values <-> OVSDB's JSON notation (RFC 7047 section 5.1), with the help of the server's own schema."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ovsdbapp import exceptions

Resolve = Callable[[str, uuid.UUID], Any]


class RowNotFound(exceptions.OvsdbAppException):  # type: ignore[misc]
    """No row answers to that name or UUID."""

    message = "Cannot find %(table)s with %(col)s=%(match)s"


def reference(row: object) -> list[str]:
    """The notation of a reference to a row."""
    return ["uuid", str(row)]


def encode(value: Any) -> Any:
    """A Python value in OVSDB's notation. What has none is passed on: the server refuses it and says why."""
    if isinstance(value, uuid.UUID):
        return reference(value)
    if isinstance(value, Mapping):
        return ["map", [[encode(key), encode(item)] for key, item in value.items()]]
    if isinstance(value, (list, tuple, set, frozenset)):
        return ["set", [encode(item) for item in value]]
    if hasattr(value, "uuid"):
        return reference(value.uuid)
    if hasattr(value, "execute"):
        return encode(value.result)
    return value


def atom(value: Any) -> Any:
    """One atom out of OVSDB's notation."""
    return uuid.UUID(value[1]) if isinstance(value, list) and value[0] == "uuid" else value


def atoms(value: Any) -> list[Any]:
    """A set of atoms; a single one stands for a set of one (RFC 7047: <set>)."""
    if isinstance(value, list) and value[0] == "set":
        return [atom(each) for each in value[1]]
    return [atom(value)]


def mapping(value: Any) -> dict[Any, Any]:
    """A map of atoms."""
    return {atom(key): atom(item) for key, item in value[1]}


class Column:
    """The type of one column, as far as it decides how a value is written and read."""

    def __init__(self, described: Any) -> None:
        kind = described if isinstance(described, dict) else {"key": described}
        key = kind["key"]
        self.is_map = "value" in kind
        self.is_set = not self.is_map and (kind.get("min", 1), kind.get("max", 1)) != (1, 1)
        self.is_optional = not self.is_map and (kind.get("min", 1), kind.get("max", 1)) == (0, 1)
        self.refers_to: str | None = key.get("refTable") if isinstance(key, dict) else None
        item = kind.get("value")
        self.value_refers_to: str | None = item.get("refTable") if isinstance(item, dict) else None

    def plain(self, value: Any) -> Any:
        """As ovs-vsctl and ovsdbapp's db_get show it: an optional value is itself, or [] when it is not there."""
        if self.is_map:
            return mapping(value)
        if not self.is_set:
            return atom(value)
        found = atoms(value)
        return found[0] if self.is_optional and found else found

    def full(self, value: Any, resolve: Resolve) -> Any:
        """As an attribute of a row shows it: an optional value is a list, a reference is a row."""
        if self.is_map:
            refers = self.value_refers_to
            return {k: resolve(refers, v) if refers else v for k, v in mapping(value).items()}
        refers = self.refers_to
        found = [resolve(refers, each) if refers else each for each in atoms(value)]
        return found if self.is_set else found[0]

    def empty(self) -> Any:
        """The notation of nothing in this column."""
        return ["map", []] if self.is_map else ["set", []]


class Schema:
    """The columns of every table, from the server's get_schema."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        self._tables = {
            name: {column: Column(of["type"]) for column, of in table["columns"].items()}
            for name, table in described["tables"].items()
        }
        self._keys = {name: _key(table.get("indexes", ())) for name, table in described["tables"].items()}

    def columns(self, table: str) -> dict[str, Column]:
        if table not in self._tables:
            raise KeyError(f"the Open vSwitch database has no table {table!r}")
        return self._tables[table]

    def column(self, table: str, column: str) -> Column:
        try:
            return UUID_COLUMN if column == "_uuid" else self.columns(table)[column]
        except KeyError:
            raise KeyError(f"the table {table} has no column {column!r}") from None

    def key(self, table: str) -> str | None:
        """The one column that names a row of that table, if there is one."""
        return self._keys[table]


UUID_COLUMN = Column("uuid")


def _key(indexes: Iterable[list[str]]) -> str | None:
    singles = [index[0] for index in indexes if len(index) == 1]
    return singles[0] if singles else None
