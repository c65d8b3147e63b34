"""The SQLite database of the records: creation, migration to the current schema, and failures as sentences."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vifplug.errors import InvalidRequest, StoreFailed
from vifplug.store import locks

#: How long the transactions of others are waited for at least, in seconds; one takes milliseconds.
_PATIENCE = 2.0

#: The log's bytes, about SQLite's 1,000 pages: one that grew while another program kept reading is cut to that.
_LOG = 4 << 20

#: The file, and its bytes, that are given up on a full disk: an unplug takes 70 kB, most of it for SQLite's -shm file.
_RESERVE, _RESERVED = "vifplug.reserve", 1 << 20

_OPTION = "[vifplug] state_path"

#: Begin a transaction that excludes other writers; wait for their transactions to end.
BEGIN = "BEGIN IMMEDIATE"


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
    """Let several VIFs share what they have."""
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


def _rowids(database: sqlite3.Connection) -> None:
    """Keep each VIF's row in one page, where an UPDATE replaces it.

    A row of a table WITHOUT ROWID has further pages if it is larger than a quarter of one (fileformat2.html, section
    1.6). Values are kept whatever they are: a damaged row must not hide the others.
    """
    database.execute("ALTER TABLE vif RENAME TO old_vif")
    database.execute(
        """
        CREATE TABLE vif (
            vif_id TEXT PRIMARY KEY NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('plugging', 'plugged', 'updating', 'unplugging')),
            asked TEXT NOT NULL,
            actual TEXT NOT NULL,
            instance TEXT,
            interface_xml TEXT NOT NULL,
            wanted TEXT NOT NULL,
            originals TEXT NOT NULL,
            claims TEXT NOT NULL,
            changed_at REAL NOT NULL,
            shares TEXT NOT NULL
        )
        """
    )
    database.execute("PRAGMA ignore_check_constraints = ON")
    database.execute(
        """
        INSERT INTO vif SELECT vif_id, ifnull(state, ''), ifnull(asked, ''), ifnull(actual, ''), instance,
            ifnull(interface_xml, ''), ifnull(wanted, ''), ifnull(originals, ''), ifnull(claims, ''),
            ifnull(changed_at, ''), ifnull(shares, '') FROM old_vif
        """
    )
    database.execute("PRAGMA ignore_check_constraints = OFF")
    database.execute("DROP TABLE old_vif")


def _meta(database: sqlite3.Connection) -> None:
    """Let the records say of which boot of the kernel, and of which network namespace, they are."""
    database.execute("CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)")


def _checksums(database: sqlite3.Connection) -> None:
    """Let a row say what it had when it was written; a row that does not is not checked."""
    database.execute("ALTER TABLE vif ADD COLUMN checksum TEXT")


def _generation(database: sqlite3.Connection) -> None:
    """Tell this database, and what it had when, from others: see `vifplug.store.witness`."""
    database.execute("INSERT INTO meta VALUES ('generation', lower(hex(randomblob(8)))), ('changes', '0')")


#: ``MIGRATIONS[n]`` migrates schema n (PRAGMA user_version) to n + 1. A released migration is never changed.
MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _first_schema,
    _shares,
    _rowids,
    _meta,
    _checksums,
    _generation,
)


class DatabaseConnection(sqlite3.Connection):
    """A connection that supports weak references: a thread's connection is closed when the thread ends."""


def connect(directory: Path, path: Path, timeout: float) -> DatabaseConnection:
    """Return a connection to the database, which is created, or migrated to the current schema, if necessary.

    Args:
        timeout: how long this, and each transaction later, waits for other processes, in seconds.
    """
    timeout = max(timeout, _PATIENCE)
    with _directory_locked(directory, time.monotonic() + timeout):
        _make_file(path)
        if path.is_symlink():  # which SQLite would follow
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        connection = sqlite3.connect(
            path, timeout=timeout, isolation_level=None, check_same_thread=False, factory=DatabaseConnection
        )
        try:
            # text that is no UTF-8 must not hide the other rows; with such an escape it is no JSON any more
            connection.text_factory = functools.partial(str, encoding="utf-8", errors="backslashreplace")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG}")
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        _reserve(directory)
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection | None:
    """Return a connection that needs no space; None if the log has something that is not in the database.

    SQLite opens a database in WAL mode only if it can make or grow its -shm file, except one that does not change
    (uri.html, immutable). Opened for one query each.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return None
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    connection.text_factory = functools.partial(str, encoding="utf-8", errors="backslashreplace")
    return connection


def _reserve(directory: Path) -> None:
    """Make the file that `give_up` shortens, as far as there is space for it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory / _RESERVE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _RESERVED)
        finally:
            os.close(descriptor)


def give_up(directory: Path) -> bool:
    """Give up half of the reserve, then the rest; return whether there was any. The next connection makes it again."""
    path = directory / _RESERVE
    with contextlib.suppress(OSError):
        size = path.lstat().st_size
        os.truncate(path, _RESERVED // 2 if size > _RESERVED // 2 else 0)
        return size > 0
    return False


def _make_file(path: Path) -> None:
    """Create an empty database that only its owner can read; SQLite gives its -wal and -shm files the same mode.

    An existing file is never opened: closing it would release SQLite's locks on it (howtocorrupt.html, section 2.2).
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def make(directory: Path) -> None:
    """Create the directory if it does not exist. Raises StoreFailed if others than this user may change what is in it.

    Records are believed: whoever writes one decides what root restores on the host.
    """
    try:
        found = directory.lstat()
    except FileNotFoundError:
        new = [each for each in (directory, *directory.parents) if not each.exists()]
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        for each in new:
            _flush(each.parent)
    user, mode = os.geteuid(), stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode) and not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if stat.S_ISLNK(found.st_mode):
        reason = f"is a symbolic link: set [vifplug] state_path to {directory.resolve()}"
    elif found.st_uid != user:
        reason = f"belongs to user {found.st_uid}, and vifplug runs as user {user}: run it as that user, or "
        reason += f"`chown {user} {directory}`"
    elif mode & 0o077:
        reason = f"has mode {mode:04o}, so other users may read or change the record: `chmod 0700 {directory}`"
    else:
        return
    message = f"the directory of the record of plugged VIFs, {directory}, {reason}"
    raise StoreFailed(message, option=_OPTION, path=str(directory))


def _flush(directory: Path) -> None:
    """Have the names in a directory on the disk, if that can be: what is flushed in a new one is lost without its name.

    See fsync(2).
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _directory_locked(directory: Path, deadline: float) -> Iterator[None]:
    """Open databases one at a time: SQLite does not wait for others while it changes a new file to WAL."""
    make(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not locks.wait(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), deadline):
            raise locks.busy(f"the directory of the record of plugged VIFs, {directory},", [directory])
        yield
    finally:
        os.close(descriptor)


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    found: int = database.execute("PRAGMA user_version").fetchone()[0]
    if found > len(MIGRATIONS):
        raise StoreFailed(
            f"{path} has schema {found} and this vifplug supports schemas up to {len(MIGRATIONS)}: "
            "install the vifplug that wrote it, or a later one",
            path=str(path),
        )
    if found < len(MIGRATIONS):
        with database:  # which commits, or rolls back after an error
            database.execute(BEGIN)
            for migration in MIGRATIONS[found:]:
                migration(database)
            database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


# -- failures -----------------------------------------------------------------------------------------------------

_FULL = "its file system is full: free some space and try again"
_DAMAGED = "it is damaged: restore it from a backup, or move it away and plug the VIFs again"
_FORBIDDEN = "user {user} may not write there: {remedy}set [vifplug] state_path to a directory of that user"
_LINK = "it is a symbolic link: remove it, or set [vifplug] state_path to the directory that it leads to"
_READ_ONLY = "its file system is read-only: set [vifplug] state_path to a directory that can be written"
_NO_DIRECTORY = "{directory} is not a directory: move it away, or set [vifplug] state_path to another one"

#: Why, and what to do, by what SQLite (https://www.sqlite.org/rescode.html) or the kernel says.
_REASONS: dict[str | int, str] = {
    **dict.fromkeys(("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_IOERR_SHORT_READ"), _DAMAGED),
    **dict.fromkeys(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", errno.EACCES, errno.EPERM), _FORBIDDEN),
    errno.EROFS: _READ_ONLY,
    errno.ELOOP: _LINK,
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), _NO_DIRECTORY),
}


class failures:
    """Raise what SQLite and the kernel say of the file inside the ``with`` as StoreFailed."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UnicodeEncodeError):  # of a name in a command line that is not UTF-8: no record has it
            raise InvalidRequest(f"{error.object[:80]!r}: is not text in UTF-8") from None
        if isinstance(error, (sqlite3.Error, OSError, UnicodeDecodeError)):
            path = self._path
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                files = [path.with_name(path.name + "-shm"), path]
                raise locks.busy(f"the record of plugged VIFs, {path},", files) from error
            remedy = "run as root, or " if os.geteuid() else ""
            reason = _reason(error, path).format(user=os.geteuid(), directory=path.parent, remedy=remedy)
            message = f"the record of plugged VIFs, {path}, cannot be used: {reason}"
            failed = StoreFailed(message, option=_OPTION, path=str(path))
            failed.full = reason == _FULL
            raise failed from error


def is_full(error: Exception, directory: Path) -> bool:
    """Return whether something failed for want of space."""
    return _reason(error, directory / "any") == _FULL


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, UnicodeDecodeError):  # SQLite's message quotes what is damaged
        return _DAMAGED
    if isinstance(error, OSError):
        return _REASONS.get(error.errno or 0, f"{error.strerror}")
    with contextlib.suppress(OSError):  # SQLite reports a full or read-only file system as one of several I/O errors
        state = os.statvfs(path.parent)
        if state.f_flag & os.ST_RDONLY:
            return _READ_ONLY
        if state.f_bavail == 0:
            return _FULL
    name = getattr(error, "sqlite_errorname", "")
    return _REASONS.get(name) or _REASONS.get("_".join(name.split("_")[:2]), f"SQLite says {name}, {error}")
