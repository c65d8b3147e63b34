"""Tables of the database as the API's other parts read them, and their rows as ovsdbapp's RowView shows one."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Sequence
from typing import Any

from ovsdbapp.schema.open_vswitch import api as open_vswitch

from vifplug.host.ovs.decode import Row
from vifplug.host.ovs.operations import DATABASE, Operation, is_row, select
from vifplug.host.ovs.ovsdbapp_api.schema import RowNotFound, Schema, read_schema
from vifplug.host.ovs.pool import Pool

#: Tables whose rows have no name of their own: ovs-vsctl.8 finds them by the row that refers to them.
_REFERRED = {
    "Controller": ("Bridge", "controller"),
    "IPFIX": ("Bridge", "ipfix"),
    "NetFlow": ("Bridge", "netflow"),
    "sFlow": ("Bridge", "sflow"),
    "QoS": ("Port", "qos"),
}
_NAMED = {"Flow_Table": "name", "Mirror": "name"}
_REQUIRED = object()


class Tables(open_vswitch.API):  # type: ignore[misc]
    """What every part of the API needs: the pool, the schema, and rows by name or UUID."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.timeout = pool.settings.timeout

    @functools.cached_property
    def schema(self) -> Schema:
        """Asked for once, and only by what needs it: plugging does not."""
        return self.pool.call("get_schema", [DATABASE], read_schema)

    def select(self, *operations: Operation) -> list[Sequence[Row]]:
        """Return the rows of each of some select operations, as the schema has their columns. Raises HostNotReady."""
        return self.pool.select(*operations, kinds=self.schema.kinds)

    def find(self, table: str, record: Any) -> uuid.UUID:
        """The row that a UUID, a name or a row means, as ovs-vsctl.8 "Identifying Records". Raises RowNotFound."""
        known = _as_uuid(record)
        if known is not None:
            return known
        if table in _REFERRED:
            return self._referred(table, record)
        key = _NAMED.get(table) or self.schema.key(table)
        if table not in (DATABASE, "SSL") and key is None:
            raise missing(table, record)
        condition = [] if table in (DATABASE, "SSL") else [[key, "==", record]]
        [rows] = self.select(select(table, condition, ["_uuid"]))
        if len(rows) != 1:
            raise missing(table, record)
        found: uuid.UUID = rows[0]["_uuid"]
        return found

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

    def read(self, table: str, row: uuid.UUID | None, columns: Sequence[str]) -> Row:
        """Return columns of one row. Raises RowNotFound."""
        [rows] = self.select(select(table, is_row(str(row)), columns))
        if not rows:
            raise missing(table, row)
        return rows[0]

    def value(self, table: str, record: Any, column: str) -> Any:
        """Return one column as ovs-vsctl shows it."""
        row = self.read(table, self.find(table, record), [column])
        return self.schema.column(table, column).plain(row[column])

    def _referred(self, table: str, record: Any) -> uuid.UUID:
        holder, column = _REFERRED[table]
        rows: Sequence[uuid.UUID] = self.read(holder, self.find(holder, record), [column])[column]
        if len(rows) != 1:
            raise missing(table, record)
        return rows[0]


class OvsdbRow:
    """One row by its UUID. A column is read when it is first asked for, and kept; references are rows again."""

    def __init__(self, tables: Tables, table: str, row: uuid.UUID | None) -> None:
        self._tables, self._table, self.uuid = tables, table, row

    @property
    def _uuid(self) -> uuid.UUID | None:
        return self.uuid

    def __getattr__(self, column: str) -> Any:
        if column.startswith("_") or column not in self._tables.schema.columns(self._table):
            raise AttributeError(f"the table {self._table} has no column {column!r}")
        self.remember(self._tables.read(self._table, self.uuid, [column]))
        return self.__dict__[column]

    def remember(self, row: Row) -> OvsdbRow:
        """Keep columns that were read."""
        for column, value in row.items():
            if column not in ("_uuid", "_version"):
                kind = self._tables.schema.column(self._table, column)
                self.__dict__[column] = kind.full(value, lambda table, row: OvsdbRow(self._tables, table, row))
        return self

    def asdict(self) -> dict[str, Any]:
        """Return every column as ovs-vsctl shows it, with ``_uuid``."""
        columns = self._tables.schema.columns(self._table)
        row = self._tables.read(self._table, self.uuid, list(columns))
        return {name: kind.plain(row[name]) for name, kind in columns.items()} | {"_uuid": self.uuid}

    def __eq__(self, other: object) -> bool:
        return getattr(other, "uuid", None) == self.uuid

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __str__(self) -> str:
        return f"{self._table}({self.uuid})"

    __repr__ = __str__


def missing(table: str, record: object) -> RowNotFound:
    return RowNotFound(table=table, col="uuid" if isinstance(record, uuid.UUID) else "name", match=record)


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
