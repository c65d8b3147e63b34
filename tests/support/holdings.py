"""All devices and the like that the VIFs of a record have, for tests of what is left in it."""

from __future__ import annotations

import contextlib
import sqlite3

from vifplug.driver.macs import MAC
from vifplug.store.store import Holding, Store


def all_holdings(store: Store) -> list[Holding]:
    """Return what each VIF has, by name; not the MACs, which each has all the time."""
    store.all()  # creates the database if it does not exist
    with contextlib.closing(sqlite3.connect(store._path, timeout=30)) as database:
        rows = database.execute(
            "SELECT name, vif_id, alone, instance FROM claim JOIN vif USING (vif_id) ORDER BY name, vif_id"
        )
        return [
            Holding(name=name, vif_id=vif_id, exclusive=bool(alone), instance=guest)
            for name, vif_id, alone, guest in rows
            if not name.startswith(MAC)
        ]
