"""Tables of the database by the server's own schema, and their rows as ovsdbapp's RowView shows one."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ovs.db import data, error, schema, types
from ovsdbapp.backend.ovs_idl.idlutils import RowLookup, RowNotFound, get_index_column
from ovsdbapp.schema.open_vswitch import api as open_vswitch
from ovsdbapp.schema.open_vswitch.impl_idl import OvsdbIdl

from vifplug.host.ovs.decode import Decode, NotUnderstood, Row
from vifplug.host.ovs.operations import DATABASE, Operation, is_row, reference, select
from vifplug.host.ovs.pool import Pool

#: The type of the columns that every table has (RFC 7047, section 3.2)
_INTERNAL = dict.fromkeys(("_uuid", "_version"), types.Type.from_json("uuid"))
_REQUIRED = object()


class Tables(open_vswitch.API):  # type: ignore[misc]
    """What every part of the API needs: the pool, the schema, and rows by name or UUID."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.timeout = pool.settings.timeout

    @functools.cached_property
    def schema(self) -> Any:
        """The server's schema. Asked for once, and only by what needs it: plugging does not."""
        return self.pool.call("get_schema", [DATABASE], _read_schema)

    def columns(self, table: str) -> dict[str, types.Type]:
        """Return the types of a table's columns."""
        if table not in self.schema.tables:
            raise KeyError(f"the Open vSwitch database has no table {table!r}")
        return {name: column.type for name, column in self.schema.tables[table].columns.items()}

    def column(self, table: str, column: str) -> types.Type:
        try:
            return (self.columns(table) | _INTERNAL)[column]
        except KeyError:
            raise KeyError(f"the table {table} has no column {column!r}") from None

    def key(self, table: str) -> str | None:
        """Return the one column that names a row of that table, if there is one."""
        key: str | None = get_index_column(self.schema.tables[table])
        return key

    def select(self, *operations: Operation) -> list[Sequence[Row]]:
        """Return the rows of each of some select operations, as the schema has their columns. Raises HostNotReady."""
        return self.pool.select(*operations, kinds=self._kinds)

    def find(self, table: str, record: Any) -> uuid.UUID:
        """Return the row of a UUID, a name or a row (ovs-vsctl.8, "Identifying Records"). Raises RowNotFound."""
        known = _as_uuid(record)
        if known is not None:
            return known
        key = self.key(table)
        # ovs-vsctl finds a row without a name of its own by the column of the row that refers to it.
        lookup = OvsdbIdl.lookup_table.get(table) or RowLookup(table if key else None, key, None)
        if lookup.table is None:
            raise missing(table, record)
        where = [[lookup.column, "==", record]] if lookup.column else []
        [holders] = self.select(select(lookup.table, where, [lookup.uuid_column or "_uuid"]))
        if lookup.uuid_column:
            found: list[uuid.UUID] = [row for holder in holders for row in holder[lookup.uuid_column]]
        else:
            found = [row["_uuid"] for row in holders]
        if len(found) != 1:
            raise missing(table, record)
        return found[0]

    def lookup(self, table: str, record: Any, default: Any = _REQUIRED) -> Any:
        """Return the row of a record; ``default`` when there is none. Raises RowNotFound without a default."""
        try:
            row = self.find(table, record)
            self.read(table, row, ["_uuid"])
        except RowNotFound:
            if default is _REQUIRED:
                raise
            return default
        return OvsdbRow(self, table, row)

    def read(self, table: str, row: uuid.UUID, columns: Sequence[str]) -> Row:
        """Return columns of one row. Raises RowNotFound."""
        [rows] = self.select(select(table, is_row(row), columns))
        if not rows:
            raise missing(table, row)
        return rows[0]

    def shown(self, table: str, row: Row, columns: Sequence[str]) -> dict[str, Any]:
        """Return columns as ovs-vsctl and ovsdbapp's db_get show them: an optional value is itself, or [] for none."""
        return {name: self._shown(row[name], self.column(table, name)) for name in columns}

    def value(self, table: str, record: Any, column: str) -> Any:
        """Return one column as `shown`."""
        return self.shown(table, self.read(table, self.find(table, record), [column]), [column])[column]

    def _shown(self, value: Any, kind: types.Type) -> Any:
        return value[0] if isinstance(value, list) and value and kind.is_optional() else value

    def _kinds(self, table: str) -> Mapping[str, Decode]:
        return {name: _decoder(kind) for name, kind in (self.columns(table) | _INTERNAL).items()}


class OvsdbRow:
    """One row by its UUID. A column is read when it is first asked for, and kept; references are rows again."""

    def __init__(self, tables: Tables, table: str, row: uuid.UUID) -> None:
        self._tables, self._table, self.uuid = tables, table, row

    @property
    def _uuid(self) -> uuid.UUID:
        return self.uuid

    def __getattr__(self, column: str) -> Any:
        if column.startswith("_") or column not in self._tables.columns(self._table):
            raise AttributeError(f"the table {self._table} has no column {column!r}")
        self.remember(self._tables.read(self._table, self.uuid, [column]))
        return self.__dict__[column]

    def remember(self, row: Row) -> OvsdbRow:
        """Keep columns that were read."""
        for column in row.keys() - _INTERNAL:
            kind = self._tables.column(self._table, column)
            refers = (kind.value or kind.key).ref_table_name
            self.__dict__[column] = self._linked(refers, row[column]) if refers else row[column]
        return self

    def asdict(self) -> dict[str, Any]:
        """Return every column as ovs-vsctl shows it, with ``_uuid``."""
        columns = [*self._tables.columns(self._table), "_uuid"]
        return self._tables.shown(self._table, self._tables.read(self._table, self.uuid, columns), columns)

    def _linked(self, table: str, value: Any) -> Any:
        """Return a value with rows of a table in the place of their UUIDs."""
        if isinstance(value, dict):
            return {key: OvsdbRow(self._tables, table, row) for key, row in value.items()}
        if isinstance(value, list):
            return [OvsdbRow(self._tables, table, row) for row in value]
        return OvsdbRow(self._tables, table, value)

    def __eq__(self, other: object) -> bool:
        return getattr(other, "uuid", None) == self.uuid

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __str__(self) -> str:
        return f"{self._table}({self.uuid})"

    __repr__ = __str__


def missing(table: str, record: object) -> RowNotFound:
    return RowNotFound(table=table, col="uuid" if isinstance(record, uuid.UUID) else "name", match=record)


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


def _as_uuid(record: Any) -> uuid.UUID | None:
    if isinstance(record, uuid.UUID):
        return record
    if isinstance(record, OvsdbRow):
        return record.uuid
    if hasattr(record, "execute"):
        return _as_uuid(record.result)
    try:
        return uuid.UUID(record)
    except ValueError:
        return None


def _read_schema(described: Any) -> schema.DbSchema:
    try:
        return schema.DbSchema.from_json(described, allow_extensions=True)
    except (error.Error, AttributeError, KeyError, TypeError, IndexError) as wrong:
        raise NotUnderstood(f"it is not a database schema ({wrong!r})") from wrong


def _decoder(kind: types.Type) -> Callable[[Any], Any]:
    """Return what decodes a value of a column, as a dict, a list or an atom."""

    def decode(value: Any) -> Any:
        try:
            return data.Datum.from_json(kind, value).to_python(lambda atom, base: atom)
        except error.Error as wrong:
            raise NotUnderstood(str(wrong)) from None

    return decode
