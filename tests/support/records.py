"""The database of a private host's record, for tests that damage or lose it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from vifplug.testing.host import PrivateHost


def path_of(host: PrivateHost) -> Path:
    return next(host.config.parent.rglob("vifplug.db"))


def execute(host: PrivateHost, *statements: str) -> None:
    """Change the database as another program would."""
    with contextlib.closing(sqlite3.connect(path_of(host))) as database, database:
        for each in statements:
            database.execute(each)


def forget(host: PrivateHost) -> None:
    """Lose the record of every VIF, as with a state_path that was restored from an old backup."""
    execute(host, "DELETE FROM vif", "DELETE FROM claim")
