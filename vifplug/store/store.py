"""The records of the plugged VIFs, and the locks on them, for all threads and processes of a host.

The record is an SQLite database in WAL mode with ``synchronous=FULL``: what `Store.put` has returned from survives a
power cut. Records are plain strings in and out; what they mean, and whether they are sound, `vifplug.driver.records`
knows: a column that is read may have any value. Each row has a checksum, as SQLite keeps none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import operator
import os
import sqlite3
import threading
import time
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vifplug.errors import Conflict, StoreFailed, VifplugError
from vifplug.store import database, locks, witness
from vifplug.store.database import DatabaseConnection

State = Literal["plugging", "plugged", "updating", "unplugging"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The row of one VIF."""

    vif_id: str
    #: every state except ``plugged`` means that a change was begun and not finished
    state: State
    #: JSON of the VIF as requested
    asked: str
    #: JSON of the VIF as resolved on this host
    actual: str
    #: JSON of the guest
    instance: str | None
    #: the element that the caller was given
    interface_xml: str
    #: JSON list of the resources that must hold
    wanted: str
    #: JSON list of what the VIF changed, as it was before
    originals: str
    #: names of what no other VIF may have at the same time
    claims: tuple[str, ...] = ()
    #: names of what other VIFs may have as well, unless one of them claims it
    shares: tuple[str, ...] = ()
    #: seconds since the epoch
    changed_at: float
    #: whether the row is what was written: SQLite keeps no checksums; None if that is not known
    sound: bool | None = field(default=None, compare=False)

    @property
    def names(self) -> dict[str, bool]:
        """The names of what the VIF has; whether no other VIF may have it."""
        return dict.fromkeys(self.shares, False) | dict.fromkeys(self.claims, True)

    @property
    def holdings(self) -> list[Holding]:
        """What the VIF has."""
        return [
            Holding(name=name, vif_id=self.vif_id, exclusive=exclusive, instance=self.instance)
            for name, exclusive in self.names.items()
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """That a VIF has what a name stands for."""

    name: str
    vif_id: str
    #: no other VIF may have it
    exclusive: bool
    #: JSON of the VIF's guest
    instance: str | None


_FIELDS = tuple(each.name for each in dataclasses.fields(Record) if each.compare)
_COLUMNS = (*_FIELDS, "checksum")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM vif"
#: a row that exists is changed where it is: without a further page, and without a change of the index
_PUT = (
    f"INSERT INTO vif ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
    f" ON CONFLICT (vif_id) DO UPDATE SET {', '.join(f'{each} = excluded.{each}' for each in _COLUMNS[1:])}"
)

_CHANGED = "UPDATE meta SET value = value + 1 WHERE name = 'changes'"
_TUPLES = ("claims", "shares")
#: made once, without the search for cycles that names cannot have
_json = json.JSONEncoder(check_circular=False).encode
_STATE, _CHANGED_AT = map(_FIELDS.index, ("state", "changed_at"))
_values = operator.attrgetter(*_FIELDS)

_HELD = "SELECT name, vif_id, alone FROM claim WHERE vif_id IN"
_RELEASE = "DELETE FROM claim WHERE name = ? AND vif_id = ?"
#: what keeps a VIF (?2) from having a name (?1), alone (?3) or with others
_OTHER = "SELECT vif_id FROM claim WHERE name = ?1 AND vif_id != ?2 AND (?3 OR alone) LIMIT 1"
_HOLD = f"INSERT OR REPLACE INTO claim SELECT ?1, ?2, ?3 WHERE NOT EXISTS ({_OTHER})"
_HOLDINGS = "SELECT name, vif_id, alone, instance FROM claim JOIN vif USING (vif_id)"

#: variables in one statement: SQLite 3.32 takes 32,766 (SQLITE_MAX_VARIABLE_NUMBER)
_VARIABLES = 10_000

#: Connections inherited by a fork. SQLite allows neither their use nor their closing in the child, so they are kept
#: from the garbage collector (https://www.sqlite.org/howtocorrupt.html, section 2.6).
_inherited: list[sqlite3.Connection] = []


class Store:
    """The records of this host, in ``state_path``. Thread-safe and fork-safe; opened when it is first used.

    All methods raise StoreFailed and Busy, `put` also Conflict; nothing was changed then.

    Args:
        state_path: the directory.
        timeout: how long to wait for the transactions of other processes, in seconds.
    """

    def __init__(self, state_path: str | os.PathLike[str], timeout: float = 30.0) -> None:
        self._timeout = timeout
        self._directory = Path(state_path)
        self._path = self._directory / "vifplug.db"
        self._lock_file = self._directory / "vifplug.lock"
        self._local = threading.local()
        self._opened: dict[int, weakref.WeakSet[DatabaseConnection]] = {}
        self._epoch = 0

    def get(self, vif_id: str) -> Record | None:
        """Return the record of one VIF; None if it does not exist."""
        return self.some([vif_id]).get(vif_id)

    def some(self, vif_ids: Sequence[str]) -> dict[str, Record]:
        """Return, by id, the records of those of the VIFs that have one."""
        with database.failures(self._path):
            rows = _rows(self._reading(), f"{_SELECT} WHERE vif_id IN", vif_ids, "vif_id")
            return {row[0]: _to_record(row) for row in rows}

    def all(self) -> list[Record]:
        """Return all records, by id."""
        return list(itertools.chain.from_iterable(self.parts()))

    def parts(self, size: int = 1000) -> Iterator[list[Record]]:
        """Yield what `all` returns, ``size`` at a time. What is written meanwhile is seen, or not."""
        rows = self._query("ORDER BY vif_id LIMIT ?", size)
        yield rows
        while len(rows) == size:
            rows = self._query("WHERE vif_id > ? ORDER BY vif_id LIMIT ?", rows[-1].vif_id, size)
            yield rows

    def holdings(self, names: Iterable[str]) -> list[Holding]:
        """Return which VIFs have what the names stand for."""
        with database.failures(self._path):
            return _holdings(self._reading(), names)

    def put(self, records: Iterable[Record]) -> None:
        """Replace the records of the same VIFs: all or none. They are on the disk when it returns.

        Raises:
            Conflict: another VIF has what one of them claims, or claims what one of them shares.
        """
        with self.transaction() as transaction:
            transaction.put(records)

    def delete(self, ids: Iterable[str]) -> None:
        """Remove the records of the VIFs and what they have: all or none. An unknown id is no error."""
        self.restore([], ids)

    def restore(self, records: Iterable[Record], gone: Iterable[str]) -> None:
        """Replace records, and remove those of the ids: all or none. On a full disk, this takes what is reserved."""
        records, gone = tuple(records), tuple(gone)
        try:
            self._restore(records, gone)
        except StoreFailed as error:
            if not (error.full and database.give_up(self._directory)):
                raise
            self._restore(records, gone)

    def _restore(self, records: Sequence[Record], gone: Sequence[str]) -> None:
        with self.transaction() as transaction:
            if records:
                transaction.put(records)
            if gone:
                transaction.delete(gone)

    @contextlib.contextmanager
    def transaction(self, *, dry_run: bool = False) -> Iterator[StoreTransaction]:
        """Isolate what is read and written inside the ``with``; other transactions wait meanwhile.

        Args:
            dry_run: write nothing in the end.
        """
        with database.failures(self._path):
            connection = self._connection()
            connection.execute(database.BEGIN)
        try:
            before = connection.total_changes
            yield StoreTransaction(connection, self._path)
            with database.failures(self._path):
                if connection.total_changes != before:
                    connection.execute(_CHANGED)
                    self._local.changed = True
                connection.execute("ROLLBACK" if dry_run else "COMMIT")
        except BaseException:
            connection.rollback()  # does nothing if SQLite has rolled back itself, as after a full disk
            raise

    @contextlib.contextmanager
    def lock(self, vif_ids: Iterable[str], timeout: float) -> Iterator[None]:
        """Lock these VIFs, against all threads and processes of the host, inside the ``with``.

        The kernel releases the locks of a process that dies. Not reentrant: a thread that locks a VIF twice waits for
        itself.

        Args:
            timeout: how long to wait for all of them, in seconds.

        Raises:
            Busy: another thread or process has locked one of them for longer than that.
        """
        deadline = time.monotonic() + timeout
        with self._open_lock_file() as descriptor:
            try:
                with database.failures(self._lock_file):
                    locks.take(descriptor, vif_ids, deadline)
                yield
            finally:
                if getattr(self._local, "changed", False):
                    self._local.changed = False
                    with contextlib.suppress(VifplugError):  # what it was for is done
                        witness.follow(descriptor, self.meta())
                locks.release(descriptor)

    @contextlib.contextmanager
    def _open_lock_file(self) -> Iterator[int]:
        with database.failures(self._lock_file):
            database.make(self._directory)
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def lost(self) -> str:
        """Return why the database is not the one that was written last, as a sentence; empty if it is."""
        with self._open_lock_file() as descriptor:
            found = witness.lost(descriptor, self.meta)
        return f"the record of plugged VIFs, {self._path}, {found}: run `vifplug recover`" if found else ""

    def distrust(self) -> None:
        """Take the database for another one than was written last, until it is accepted."""
        with self._open_lock_file() as descriptor:
            witness.distrust(descriptor)

    def accept(self) -> None:
        """Take the database for the one that was written last, whatever became of that."""
        with self._open_lock_file() as descriptor:
            witness.follow(descriptor, self.meta(), accept=True)

    def meta(self) -> dict[str, str]:
        """Return what is recorded of the records as a whole: see `vifplug.driver.recovery`."""
        with database.failures(self._path):
            return dict(self._reading().execute("SELECT name, value FROM meta").fetchall())

    def set_meta(self, values: Mapping[str, str]) -> None:
        """Record something of the records as a whole; what is not named stays."""
        with self.transaction() as transaction, database.failures(self._path):
            transaction.connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def begun(self) -> list[str]:
        """Return the ids of the VIFs whose last change is not finished."""
        with database.failures(self._path):
            rows = self._reading().execute("SELECT vif_id FROM vif WHERE state != 'plugged' ORDER BY vif_id")
            return [vif_id for (vif_id,) in rows]

    def examine(self) -> str:
        """Look through the whole database and write to it, without a change; return how it is, in words.

        Raises StoreFailed if it is damaged, or cannot be written.
        """
        with database.failures(self._path):
            connection = self._connection()
            [problem] = connection.execute("PRAGMA quick_check(1)").fetchone()
            if problem != "ok":
                raise sqlite3.DatabaseError(problem)
            [version] = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {version}")  # writes, and waits for the disk
            state = os.statvfs(self._directory)
        return f"{self._path}, schema {version}, {state.f_bavail * state.f_frsize >> 20} MB free"

    def close(self) -> None:
        """Close the connections of all threads, which must not be at work. Later use opens them again."""
        self._epoch += 1
        for connection in list(self._opened.pop(os.getpid(), ())):
            connection.close()

    def _query(self, clause: str, *values: str | int) -> list[Record]:
        with database.failures(self._path):
            return [_to_record(row) for row in self._reading().execute(f"{_SELECT} {clause}", values)]

    def _reading(self) -> sqlite3.Connection:
        """Return a connection to read from, on a full disk too."""
        try:
            return self._connection()
        except (sqlite3.Error, OSError) as error:
            if not database.is_full(error, self._directory):
                raise
            if found := database.connect_read_only(self._path):
                return found
            if not database.give_up(self._directory):
                raise
            return self._connection()

    def _connection(self) -> DatabaseConnection:
        """Return this thread's connection, unless it is of another process, was closed, or is to a removed file."""
        process = os.getpid()
        opened: tuple[_Place, DatabaseConnection] | None = getattr(self._local, "opened", None)
        if opened and opened[0] == (process, self._epoch, _inode(self._path)):
            return opened[1]
        if opened and opened[0][0] != process:
            _inherited.append(opened[1])
        elif opened:
            opened[1].close()
        connection = database.connect(self._directory, self._path, self._timeout)
        self._local.opened = ((process, self._epoch, _inode(self._path)), connection)
        self._opened.setdefault(process, weakref.WeakSet()).add(connection)
        if self._lock_file.exists():
            self.lost()  # before anything is written to an older database
        return connection


class StoreTransaction:
    """A transaction of the store; see `Store.transaction`."""

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
            had = set(_rows(self.connection, _HELD, [record.vif_id for record in records]))
            has = [(name, each.vif_id, alone) for each in records for name, alone in each.names.items()]
            if released := had.difference(has):
                self.connection.executemany(_RELEASE, [row[:2] for row in released])
            for row in has:
                if row not in had:
                    _hold(self.connection, row)

    def delete(self, ids: Iterable[str]) -> None:
        """See `Store.delete`."""
        keys = [(each,) for each in ids]
        with database.failures(self._path):
            self.connection.executemany("DELETE FROM vif WHERE vif_id = ?", keys)
            self.connection.executemany("DELETE FROM claim WHERE vif_id = ?", keys)


#: The process, how often the store was closed before, and the database's inode
_Place = tuple[int, int, tuple[int, int] | None]


def _inode(path: Path) -> tuple[int, int] | None:
    """Identify the file at a path: what is written to a removed file is lost."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


# -- rows ---------------------------------------------------------------------------------------------------------


def _to_row(record: Record) -> list[Any]:
    values = [_json(value) if type(value) is tuple else value for value in _values(record)]
    return [*values, _checksum(values)]


def _checksum(values: Sequence[Any]) -> str:
    """Return the checksum of a row, and what tells that an earlier vifplug, which knows of none, has written it since.

    That leaves the checksum of before in its place.
    """
    text = "\0".join(map(str, values))
    return f"{zlib.crc32(text.encode(errors='surrogatepass')):08x} {values[_STATE]} {values[_CHANGED_AT]!r}"


def _to_record(row: Sequence[Any]) -> Record:
    *row, checksum = row
    values = dict(zip(_FIELDS, row, strict=True))
    now = _checksum(row)
    known = isinstance(checksum, str) and checksum[8:] == now[8:]
    values["sound"] = checksum == now if known else None
    for name in _TUPLES:
        values[name] = _to_names(values[name])
    return Record(**values)


def _to_names(value: Any) -> Any:
    """Return a JSON list as a tuple, and anything else unchanged."""
    if value == "[]":  # as most are
        return ()
    try:
        names = json.loads(value)
    except (ValueError, TypeError, RecursionError):
        return value
    return tuple(names) if isinstance(names, list) else value


def taken(name: str, vif_id: str, holder: str) -> str:
    """Return why a VIF cannot have what ``name`` stands for, as a sentence."""
    return f"{name} is requested by VIF {vif_id} and in use by VIF {holder}: unplug that one first"


def _hold(connection: sqlite3.Connection, row: tuple[str, str, bool]) -> None:
    """Record that a VIF has something, unless another VIF has it and one of the two claims it."""
    if connection.execute(_HOLD, row).rowcount == 0:
        name, vif_id, _ = row
        [holder] = connection.execute(_OTHER, row).fetchone()
        raise Conflict(taken(name, vif_id, holder), vif_id=vif_id, resource=name, holder=holder)


def _holdings(connection: sqlite3.Connection, names: Iterable[str]) -> list[Holding]:
    return [
        Holding(name=name, vif_id=vif_id, exclusive=bool(alone), instance=instance)
        for name, vif_id, alone, instance in _rows(connection, f"{_HOLDINGS} WHERE name IN", sorted(set(names)))
    ]


def _rows(
    connection: sqlite3.Connection, query: str, values: Sequence[str], order: str = "name, vif_id"
) -> Iterator[tuple[Any, ...]]:
    """Yield what a query that ends with IN finds for any number of values."""
    for start in range(0, len(values), _VARIABLES):
        some = values[start : start + _VARIABLES]
        yield from connection.execute(f"{query} ({', '.join('?' * len(some))}) ORDER BY {order}", some)
