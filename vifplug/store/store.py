"""The record of what is plugged, and the locks on it, for all threads and processes of a host.

The record is an SQLite database in WAL mode with ``synchronous=FULL``: what `Store.put` has returned from survives a
power cut. Records are plain strings in and out; what they mean, and whether they are sound, `vifplug.driver.records`
knows: SQLite keeps no checksums, so a column that is read may have any value.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vifplug.errors import Conflict
from vifplug.store import database, locks
from vifplug.store.database import DatabaseConnection

State = Literal["plugging", "plugged", "updating", "unplugging"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of one VIF. In every state but ``plugged`` something was begun and not finished.

    ``asked`` and ``actual`` are the JSON of the VIF as it came and as it was resolved; ``instance`` that of its guest,
    ``interface_xml`` the element that the caller got.
    ``wanted`` and ``originals`` are JSON lists of resources: what has to hold, and what was there before.
    ``claims`` names what no other VIF may have at the same time, ``shares`` what others may have as well unless one of
    them claims it. ``changed_at`` is in seconds since the epoch.
    """

    vif_id: str
    state: State
    asked: str
    actual: str
    instance: str | None
    interface_xml: str
    wanted: str
    originals: str
    claims: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    changed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """That a VIF has what ``name`` names, ``alone`` or with others. ``instance`` is the JSON of its guest."""

    name: str
    vif_id: str
    alone: bool
    instance: str | None


_COLUMNS = tuple(field.name for field in dataclasses.fields(Record))
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM vif"
_PUT = f"INSERT OR REPLACE INTO vif ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"

_TUPLES = ("claims", "shares")

_RELEASE = "DELETE FROM claim WHERE vif_id = ?"
_HOLDINGS = "SELECT name, vif_id, alone, instance FROM claim JOIN vif USING (vif_id)"

#: Connections that a fork brought along. SQLite allows neither their use nor their closing in the child, so they are
#: kept from the garbage collector (https://www.sqlite.org/howtocorrupt.html, section 2.6).
_inherited: list[sqlite3.Connection] = []


class Store:
    """What is plugged on this host, in ``state_path``. Thread-safe and fork-safe; opened when it is first used.

    All methods raise StoreFailed, `put` also Conflict and `lock` Busy; each has then changed nothing.
    """

    def __init__(self, state_path: str | os.PathLike[str]) -> None:
        self._directory = Path(state_path)
        self._path = self._directory / "vifplug.db"
        self._lock_file = self._directory / "vifplug.lock"
        self._local = threading.local()
        self._opened: dict[int, weakref.WeakSet[DatabaseConnection]] = {}
        self._epoch = 0

    def get(self, vif_id: str) -> Record | None:
        """The record of one VIF; None when there is none."""
        records = self._query("WHERE vif_id = ?", vif_id)
        return records[0] if records else None

    def all(self) -> list[Record]:
        """All records, by id."""
        return self._query("ORDER BY vif_id")

    def holdings(self, names: Iterable[str]) -> list[Holding]:
        """Who has what is named."""
        with database.failures(self._path):
            return _holdings(self._connection(), names)

    def all_holdings(self) -> list[Holding]:
        """Who has what."""
        with database.failures(self._path):
            return _to_holdings(self._connection().execute(f"{_HOLDINGS} ORDER BY name, vif_id"))

    def put(self, records: Iterable[Record]) -> None:
        """Write the records over those of the same VIFs: all or none, and on the disk when it returns.

        Raises Conflict, and writes none, when another VIF has what one of them claims, or claims what it shares.
        """
        with self.transaction() as transaction:
            transaction.put(records)

    def delete(self, ids: Iterable[str]) -> None:
        """Forget the VIFs and what they have: all or none. One that is not known is no error."""
        with self.transaction() as transaction:
            transaction.delete(ids)

    @contextlib.contextmanager
    def transaction(self, *, dry_run: bool = False) -> Iterator[StoreTransaction]:
        """What is read inside stays as it is until what is written is on the disk; others wait meanwhile.

        ``dry``: in the end nothing is written.
        """
        with database.failures(self._path):
            connection = self._connection()
            database.begin(connection)
        try:
            yield StoreTransaction(connection, self._path)
            with database.failures(self._path):
                connection.execute("ROLLBACK" if dry_run else "COMMIT")
        except BaseException:
            database.roll_back(connection)
            raise

    @contextlib.contextmanager
    def lock(self, vif_ids: Iterable[str], timeout: float) -> Iterator[None]:
        """Lock these VIFs inside the ``with``, against all threads and processes of the host.

        The kernel releases the locks of a process that dies. The lock is not reentrant: a thread that locks a VIF twice
        waits for itself.

        Args:
            timeout: time to wait for all locks, in seconds.

        Raises:
            Busy: the timeout has expired.
        """
        with database.failures(self._lock_file):
            database.make(self._directory)
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with locks.held(descriptor, vif_ids, timeout):
                yield
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the connections of all threads, which must not use them. Later use opens them again."""
        self._epoch += 1
        for connection in list(self._opened.pop(os.getpid(), ())):
            connection.close()

    def _query(self, clause: str, *values: str) -> list[Record]:
        with database.failures(self._path):
            return [_to_record(row) for row in self._connection().execute(f"{_SELECT} {clause}", values)]

    def _connection(self) -> DatabaseConnection:
        """Return the connection of this thread: opened in this process, not closed, and to the current file."""
        process = os.getpid()
        held: tuple[_Place, DatabaseConnection] | None = getattr(self._local, "held", None)
        if held and held[0] == (process, self._epoch, _inode(self._path)):
            return held[1]
        if held and held[0][0] != process:
            _inherited.append(held[1])
        elif held:
            held[1].close()
        connection = database.connect(self._directory, self._path)
        self._local.held = ((process, self._epoch, _inode(self._path)), connection)
        self._opened.setdefault(process, weakref.WeakSet()).add(connection)
        return connection


class StoreTransaction:
    """A transaction of the store, as its ``with`` gives it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self._path = path

    def holdings(self, names: Iterable[str]) -> list[Holding]:
        """See `Store.holdings`."""
        with database.failures(self._path):
            return _holdings(self.connection, names)

    def put(self, records: Iterable[Record]) -> None:
        """See `Store.put`."""
        records = tuple(records)
        with database.failures(self._path):
            self.connection.executemany(_PUT, map(_to_row, records))
            self.connection.executemany(_RELEASE, [(record.vif_id,) for record in records])
            for record in records:
                for name in record.claims:
                    _hold(self.connection, name, record.vif_id, alone=True)
                for name in set(record.shares).difference(record.claims):
                    _hold(self.connection, name, record.vif_id, alone=False)

    def delete(self, ids: Iterable[str]) -> None:
        """See `Store.delete`."""
        keys = [(each,) for each in ids]
        with database.failures(self._path):
            self.connection.executemany("DELETE FROM vif WHERE vif_id = ?", keys)
            self.connection.executemany(_RELEASE, keys)


#: The process, how often the store was closed before, and the database's inode
_Place = tuple[int, int, tuple[int, int] | None]


def _inode(path: Path) -> tuple[int, int] | None:
    """Which file it is: what is written to one that was removed is in no one's record."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


# -- rows ---------------------------------------------------------------------------------------------------------


def _to_row(record: Record) -> tuple[Any, ...]:
    values = {column: getattr(record, column) for column in _COLUMNS}
    return tuple((values | {name: json.dumps(values[name]) for name in _TUPLES}).values())


def _to_record(row: Sequence[Any]) -> Record:
    values = dict(zip(_COLUMNS, row, strict=True))
    return Record(**values | {name: _to_names(values[name]) for name in _TUPLES})


def _to_names(value: Any) -> Any:
    """A JSON list as a tuple; anything else as it is."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        if isinstance(names := json.loads(value), list):
            return tuple(names)
    return value


def taken(name: str, vif_id: str, holder: str) -> str:
    """Why a VIF can't have what ``name`` names, as a sentence."""
    return f"{name} is requested by VIF {vif_id} and in use by VIF {holder}: unplug that one first"


def _hold(connection: sqlite3.Connection, name: str, vif_id: str, *, alone: bool) -> None:
    """Note that a VIF has something, unless another one has it and either is to be alone."""
    others = "SELECT vif_id FROM claim WHERE name = ? AND vif_id != ? AND (? OR alone) LIMIT 1"
    if holder := connection.execute(others, (name, vif_id, alone)).fetchone():
        raise Conflict(taken(name, vif_id, holder[0]))
    connection.execute("INSERT OR REPLACE INTO claim VALUES (?, ?, ?)", (name, vif_id, alone))


def _holdings(connection: sqlite3.Connection, names: Iterable[str]) -> list[Holding]:
    names = tuple(names)
    places = ", ".join("?" * len(names))
    return _to_holdings(connection.execute(f"{_HOLDINGS} WHERE name IN ({places}) ORDER BY name, vif_id", names))


def _to_holdings(rows: Iterable[Sequence[Any]]) -> list[Holding]:
    return [
        Holding(name=name, vif_id=vif_id, alone=bool(alone), instance=instance)
        for name, vif_id, alone, instance in rows
    ]
