"""The record of what is plugged, and the locks on it, for all threads and processes of a host.

The record is an SQLite database in WAL mode with ``synchronous=FULL``: what `Store.put` has returned from survives a
power cut. Records are plain strings in and out; what the JSON in them means is the driver's business.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vifplug import locks
from vifplug.errors import Conflict, StoreFailed

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

#: How long SQLite waits for the transactions of others, in seconds; one takes milliseconds.
_PATIENCE = 30.0


def _first_schema(database: sqlite3.Connection) -> None:
    database.execute(
        """
        CREATE TABLE vif (
            vif_id TEXT PRIMARY KEY,
            state TEXT NOT NULL CHECK (state IN ('plugging', 'plugged', 'updating', 'unplugging')),
            asked TEXT NOT NULL,
            actual TEXT NOT NULL,
            instance TEXT,
            interface_xml TEXT NOT NULL,
            wanted TEXT NOT NULL,
            originals TEXT NOT NULL,
            claims TEXT NOT NULL,
            changed_at REAL NOT NULL
        ) WITHOUT ROWID
        """
    )
    database.execute("CREATE TABLE claim (claim TEXT PRIMARY KEY, vif_id TEXT NOT NULL) WITHOUT ROWID")
    database.execute("CREATE INDEX claim_of_vif ON claim (vif_id)")


def _shares(database: sqlite3.Connection) -> None:
    """What a VIF has can be shared with others."""
    database.execute("ALTER TABLE vif ADD COLUMN shares TEXT NOT NULL DEFAULT '[]'")
    database.execute("ALTER TABLE claim RENAME TO old_claim")
    database.execute("DROP INDEX claim_of_vif")
    database.execute(
        """
        CREATE TABLE claim (
            name TEXT NOT NULL,
            vif_id TEXT NOT NULL,
            alone INTEGER NOT NULL,
            PRIMARY KEY (name, vif_id)
        ) WITHOUT ROWID
        """
    )
    database.execute("CREATE INDEX claim_of_vif ON claim (vif_id)")
    database.execute("INSERT INTO claim SELECT claim, vif_id, 1 FROM old_claim")
    database.execute("DROP TABLE old_claim")


#: ``MIGRATIONS[n]`` brings schema n (PRAGMA user_version) to n + 1. One that was released is never changed.
MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first_schema, _shares)


class _Connection(sqlite3.Connection):
    """One that can be referred to weakly: a thread's connection goes when the thread does."""


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
        self._opened: dict[int, weakref.WeakSet[_Connection]] = {}
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
        with _as_store_failure(self._path):
            return _holdings(self._connection(), names)

    def all_holdings(self) -> list[Holding]:
        """Who has what."""
        with _as_store_failure(self._path):
            return _to_holdings(self._connection().execute(f"{_HOLDINGS} ORDER BY name, vif_id"))

    def put(self, records: Iterable[Record]) -> None:
        """Write the records over those of the same VIFs: all or none, and on the disk when it returns.

        Raises Conflict, and writes none, when another VIF has what one of them claims, or claims what it shares.
        """
        with self.transaction() as transaction:
            transaction.put(records)

    def delete(self, ids: Iterable[str]) -> None:
        """Forget the VIFs and what they have: all or none. One that is not known is no error."""
        keys = [(each,) for each in ids]
        with self.transaction() as transaction:
            transaction.database.executemany("DELETE FROM vif WHERE vif_id = ?", keys)
            transaction.database.executemany(_RELEASE, keys)

    @contextlib.contextmanager
    def transaction(self, *, dry: bool = False) -> Iterator[Transaction]:
        """What is read inside stays as it is until what is written is on the disk; others wait meanwhile.

        ``dry``: in the end nothing is written.
        """
        with _as_store_failure(self._path), _transaction(self._connection(), dry=dry) as database:
            yield Transaction(database)

    @contextlib.contextmanager
    def lock(self, vif_ids: Iterable[str], timeout: float) -> Iterator[None]:
        """Work on these VIFs alone, among all threads and processes of the host, inside the ``with``.

        Waits ``timeout`` seconds in all, then raises Busy. The kernel releases the locks of a process that dies. Not
        reentrant: a thread that holds a VIF and asks for it again waits for itself.
        """
        with _as_store_failure(self._lock_file):
            _make(self._directory)
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with locks.held(descriptor, vif_ids, timeout):
                yield
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the connections of all threads, which must not be at work. Later use opens them anew."""
        self._epoch += 1
        for connection in list(self._opened.pop(os.getpid(), ())):
            connection.close()

    def _query(self, clause: str, *values: str) -> list[Record]:
        with _as_store_failure(self._path):
            return [_to_record(row) for row in self._connection().execute(f"{_SELECT} {clause}", values)]

    def _connection(self) -> _Connection:
        """This thread's connection, opened in this process, not closed since, and to the file that is there now."""
        process = os.getpid()
        held: tuple[_Place, _Connection] | None = getattr(self._local, "held", None)
        if held and held[0] == (process, self._epoch, _inode(self._path)):
            return held[1]
        if held and held[0][0] != process:
            _inherited.append(held[1])
        elif held:
            held[1].close()
        connection = _open(self._directory, self._path)
        self._local.held = ((process, self._epoch, _inode(self._path)), connection)
        self._opened.setdefault(process, weakref.WeakSet()).add(connection)
        return connection


class Transaction:
    """A transaction of the store, as its ``with`` gives it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def holdings(self, names: Iterable[str]) -> list[Holding]:
        """See `Store.holdings`."""
        return _holdings(self.database, names)

    def put(self, records: Iterable[Record]) -> None:
        """See `Store.put`."""
        records = tuple(records)
        self.database.executemany(_PUT, map(_to_row, records))
        self.database.executemany(_RELEASE, [(record.vif_id,) for record in records])
        for record in records:
            for name in record.claims:
                _hold(self.database, name, record.vif_id, alone=True)
            for name in set(record.shares).difference(record.claims):
                _hold(self.database, name, record.vif_id, alone=False)


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
    return Record(**values | {name: tuple(json.loads(values[name])) for name in _TUPLES})


def _hold(database: sqlite3.Connection, name: str, vif_id: str, *, alone: bool) -> None:
    """Note that a VIF has something, unless another one has it and either is to be alone."""
    others = "SELECT vif_id FROM claim WHERE name = ? AND vif_id != ? AND (? OR alone) LIMIT 1"
    if holder := database.execute(others, (name, vif_id, alone)).fetchone():
        raise Conflict(f"{name} is wanted by VIF {vif_id} and taken by VIF {holder[0]}: unplug that one first")
    database.execute("INSERT OR REPLACE INTO claim VALUES (?, ?, ?)", (name, vif_id, alone))


def _holdings(database: sqlite3.Connection, names: Iterable[str]) -> list[Holding]:
    names = tuple(names)
    places = ", ".join("?" * len(names))
    return _to_holdings(database.execute(f"{_HOLDINGS} WHERE name IN ({places}) ORDER BY name, vif_id", names))


def _to_holdings(rows: Iterable[Sequence[Any]]) -> list[Holding]:
    return [
        Holding(name=name, vif_id=vif_id, alone=bool(alone), instance=instance)
        for name, vif_id, alone, instance in rows
    ]


# -- the database -------------------------------------------------------------------------------------------------


def _open(directory: Path, path: Path) -> _Connection:
    """A connection to the database, which is made or brought to the present schema when it has to be."""
    with _directory_locked(directory):
        _make_file(path)
        connection = sqlite3.connect(
            path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _make_file(path: Path) -> None:
    """An empty database for its owner only; SQLite gives its -wal and -shm the same mode.

    Never opens one that is there: closing it would end SQLite's locks on it (howtocorrupt.html, section 2.2).
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _make(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextlib.contextmanager
def _directory_locked(directory: Path) -> Iterator[None]:
    """One opening at a time: SQLite does not wait for others while it changes a new file to WAL."""
    _make(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    found: int = database.execute("PRAGMA user_version").fetchone()[0]
    if found > len(MIGRATIONS):
        raise StoreFailed(
            f"{path} has schema {found} and this vifplug knows those up to {len(MIGRATIONS)}: "
            "install the vifplug that wrote it, or a later one"
        )
    if found < len(MIGRATIONS):
        with _transaction(database):
            for migration in MIGRATIONS[found:]:
                migration(database)
            database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection, *, dry: bool = False) -> Iterator[sqlite3.Connection]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        database.execute("ROLLBACK" if dry else "COMMIT")
    except BaseException:
        if database.in_transaction:  # SQLite has rolled back by itself after some errors, such as a full disk
            database.execute("ROLLBACK")
        raise


# -- failures -----------------------------------------------------------------------------------------------------

_FULL = "its file system is full: free some space and try again"
_DAMAGED = "it is damaged: restore it from a backup, or move it away and plug anew"
_FORBIDDEN = "user {user} may not write there: run as root, or set [vifplug] state_path to a directory of that user"
_READ_ONLY = "its file system is read-only: set [vifplug] state_path to a directory that can be written"
_NO_DIRECTORY = "{directory} is not a directory: move it away, or set [vifplug] state_path to another one"

#: Why, and what to do, by what SQLite (https://www.sqlite.org/rescode.html) or the kernel says.
_REASONS: dict[str | int, str] = {
    "SQLITE_FULL": _FULL,
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_READONLY": _FORBIDDEN,
    "SQLITE_CANTOPEN": _FORBIDDEN,
    "SQLITE_PERM": _FORBIDDEN,
    "SQLITE_BUSY": f"another process has kept it locked for {_PATIENCE:g} s: end that process and try again",
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _READ_ONLY,
    errno.ENOTDIR: _NO_DIRECTORY,
    errno.EEXIST: _NO_DIRECTORY,
}


@contextlib.contextmanager
def _as_store_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = _reason(error, path).format(user=os.geteuid(), directory=path.parent)
        raise StoreFailed(f"the record of what is plugged, {path}, can't be used: {reason}") from error


def _reason(error: sqlite3.Error | OSError, path: Path) -> str:
    if isinstance(error, OSError):
        return _REASONS.get(error.errno or 0, f"{error.strerror}")
    with contextlib.suppress(OSError):  # SQLite tells a full or read-only file system as one of several I/O errors
        state = os.statvfs(path.parent)
        if state.f_flag & os.ST_RDONLY:
            return _READ_ONLY
        if state.f_bavail == 0:
            return _FULL
    name = getattr(error, "sqlite_errorname", "")
    return _REASONS.get("_".join(name.split("_")[:2]), f"SQLite says {name}, {error}")
