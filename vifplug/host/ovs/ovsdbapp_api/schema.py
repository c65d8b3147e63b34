"""Python values <-> OVSDB's notation (RFC 7047 section 5.1) by the server's own schema."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ovsdbapp import exceptions

from vifplug.host.ovs.decode import Decode, NotUnderstood, integer, map_of, row_id, set_of, string
from vifplug.host.ovs.operations import reference

Resolve = Callable[[str, uuid.UUID], Any]


class RowNotFound(exceptions.OvsdbAppException):  # type: ignore[misc]
    """No row answers to that name or UUID."""

    message = "Cannot find %(table)s with %(col)s=%(match)s"


def encode(value: Any) -> Any:
    """Return a Python value in OVSDB's notation. What has none is passed on: the server refuses it and says why."""
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


class Column:
    """The type of one column, as far as it decides how a value is written and read."""

    def __init__(self, described: Any) -> None:
        kind = described if isinstance(described, dict) else {"key": described}
        self.is_map = "value" in kind
        self.is_set = not self.is_map and (kind.get("min", 1), kind.get("max", 1)) != (1, 1)
        self.is_optional = not self.is_map and (kind.get("min", 1), kind.get("max", 1)) == (0, 1)
        self.refers_to = _refers(kind["key"])
        self.value_refers_to = _refers(kind.get("value"))
        key = _atom(kind["key"])
        #: from OVSDB's notation to a dict, a tuple or an atom
        self.decode: Decode = map_of(key, _atom(kind["value"])) if self.is_map else set_of(key) if self.is_set else key

    def plain(self, value: Any) -> Any:
        """A decoded value as ovs-vsctl and ovsdbapp's db_get show it: an optional one is itself, or [] for none."""
        if not self.is_set:
            return value
        return value[0] if self.is_optional and value else list(value)

    def full(self, value: Any, resolve: Resolve) -> Any:
        """Return a decoded value as an attribute of a row shows it: an optional one is a list, a reference is a row."""
        refers = self.value_refers_to if self.is_map else self.refers_to
        if self.is_map:
            return {key: resolve(refers, item) if refers else item for key, item in value.items()}
        if self.is_set:
            return [resolve(refers, each) if refers else each for each in value]
        return resolve(refers, value) if refers else value

    def empty(self) -> Any:
        """Return the notation of nothing in this column."""
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
            return _INTERNAL.get(column) or self.columns(table)[column]
        except KeyError:
            raise KeyError(f"the table {table} has no column {column!r}") from None

    def kinds(self, table: str) -> dict[str, Decode]:
        return {name: column.decode for name, column in (self.columns(table) | _INTERNAL).items()}

    def key(self, table: str) -> str | None:
        """Return the one column that names a row of that table, if there is one."""
        return self._keys[table]


def read_schema(described: Any) -> Schema:
    """Return the schema of the server's answer to get_schema. Raises NotUnderstood."""
    try:
        return Schema(described)
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise NotUnderstood(f"it is no schema of a database ({error!r})") from error


def _atom(described: Any) -> Decode:
    """Return what decodes an atom of a base type."""
    name = described["type"] if isinstance(described, dict) else described
    return _ATOMS[name]


def _refers(described: Any) -> str | None:
    return described.get("refTable") if isinstance(described, dict) else None


def _uuid(value: Any) -> uuid.UUID:
    return uuid.UUID(row_id(value))


def _any(value: Any) -> Any:
    return value


_ATOMS: dict[str, Decode] = {"uuid": _uuid, "string": string, "integer": integer, "real": _any, "boolean": _any}
#: Columns that every table has (RFC 7047, section 3.2)
_INTERNAL = {name: Column("uuid") for name in ("_uuid", "_version")}


def _key(indexes: Iterable[list[str]]) -> str | None:
    singles = [index[0] for index in indexes if len(index) == 1]
    return singles[0] if singles else None
