"""A row as others read it: what ovsdbapp's RowView is, without a replica behind it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from vifplug.host.ovs.ovsdbapp_api.schema import RowNotFound

if TYPE_CHECKING:
    from vifplug.host.ovs.ovsdbapp_api.api import Api


class OvsdbRow:
    """One row by its UUID. A column is read when it is first asked for, and kept; references are rows again."""

    def __init__(self, api: Api, table: str, row: uuid.UUID | None) -> None:
        self._api, self._table, self.uuid = api, table, row

    @property
    def _uuid(self) -> uuid.UUID | None:
        return self.uuid

    def __getattr__(self, column: str) -> Any:
        if column.startswith("_") or column not in self._api.schema.columns(self._table):
            raise AttributeError(f"the table {self._table} has no column {column!r}")
        self.remember(self._api.read(self._table, self.uuid, [column]))
        return self.__dict__[column]

    def remember(self, raw: dict[str, Any]) -> OvsdbRow:
        """Keep columns that were read, in OVSDB's notation."""
        for column, value in raw.items():
            if column not in ("_uuid", "_version"):
                kind = self._api.schema.column(self._table, column)
                self.__dict__[column] = kind.full(value, lambda table, row: OvsdbRow(self._api, table, row))
        return self

    def asdict(self) -> dict[str, Any]:
        """Every column as ovs-vsctl shows it, with ``_uuid``."""
        columns = self._api.schema.columns(self._table)
        raw = self._api.read(self._table, self.uuid, list(columns))
        return {name: kind.plain(raw[name]) for name, kind in columns.items()} | {"_uuid": self.uuid}

    def __eq__(self, other: object) -> bool:
        return getattr(other, "uuid", None) == self.uuid

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __str__(self) -> str:
        return f"{self._table}({self.uuid})"

    __repr__ = __str__


def missing(table: str, record: object) -> RowNotFound:
    return RowNotFound(table=table, col="uuid" if isinstance(record, uuid.UUID) else "name", match=record)
