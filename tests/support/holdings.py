"""Everything that the VIFs of a record have, for tests of what is left in it."""

from __future__ import annotations

import contextlib
import sqlite3

from vifplug.store.store import Holding, Store


def all_holdings(store: Store) -> list[Holding]:
    """Return what each VIF has, by name."""
    store.all()  # creates the database if it does not exist
    with contextlib.closing(sqlite3.connect(store._path, timeout=30)) as database:
        rows = database.execute(
            "SELECT name, vif_id, alone, instance FROM claim JOIN vif USING (vif_id) ORDER BY name, vif_id"
        )
        return [Holding(name=n, vif_id=v, exclusive=bool(alone), instance=guest) for n, v, alone, guest in rows]
