"""What a file beside the database says of it: which one was written last, and how far.

Each change of the records raises a number in the database; the file follows, without a flush. A power cut may leave it
behind the database and never before it, so that a file which is before tells of a lost or an older database.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping

#: instead of a generation, from the moment when an older database was found, until it is accepted
_OLDER = "0" * 16
#: ... and from the moment when an empty database was found on a host that has VIFs
_ANOTHER = "f" * 16


def lost(descriptor: int, read_meta: Callable[[], Mapping[str, str]]) -> str:
    """Return why a database is not the one that was written last; empty if it is, or if nothing is known.

    An older one is reported from then on, however much is written to it.

    Args:
        descriptor: the open file.
        read_meta: returns the database's ``generation`` and ``changes``. It is called after the file was read, as the
            database is changed first.
    """
    generation, changes = _read(descriptor)
    meta = read_meta()
    if not generation or (generation == meta["generation"] and changes <= int(meta["changes"])):
        return ""
    if generation not in (meta["generation"], _OLDER):
        return "is not the one that was written last, which was removed or emptied"
    if generation != _OLDER:
        _write(descriptor, _OLDER, changes)
    return f"is an older copy of the one that was written last: it had {changes} changes"


def distrust(descriptor: int) -> None:
    """Say that a database is not the one that was written last, of which nothing else is known."""
    _write(descriptor, _ANOTHER, 0)


def follow(descriptor: int, meta: Mapping[str, str], *, accept: bool = False) -> None:
    """Write down how far the database is.

    Args:
        descriptor: the open file.
        meta: the database's ``generation`` and ``changes``.
        accept: even if it is not the one that was written last.
    """
    generation, _ = _read(descriptor)
    if accept or generation in ("", meta["generation"]):
        _write(descriptor, meta["generation"], int(meta["changes"]))


def _read(descriptor: int) -> tuple[str, int]:
    with contextlib.suppress(OSError, ValueError):
        generation, changes = os.pread(descriptor, 64, 0).decode("ascii").split()
        return generation, int(changes)
    return "", 0


def _write(descriptor: int, generation: str, changes: int) -> None:
    with contextlib.suppress(OSError):  # as of a full disk: the file stays behind
        os.pwrite(descriptor, f"{generation} {changes:020}\n".encode(), 0)
