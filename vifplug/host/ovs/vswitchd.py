"""ovs-vswitchd, seen through the database: whether it has applied what was written, and whether it runs."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from vifplug.errors import Unavailable
from vifplug.host.ovs.connection import OutcomeUnknown, OvsdbConnection
from vifplug.host.ovs.pool import Pool

_log = logging.getLogger(__name__)

#: The lock that a running ovs-vswitchd holds (vswitchd/bridge.c, bridge_init).
LOCK = "ovs_vswitchd"
#: Why ovs-vswitchd has not applied a configuration
ABSENT = "ovs-vswitchd is not running"
BUSY = "ovs-vswitchd is connected and did not apply it in time (it hangs, or has too much to do)"
AWAY = "ovs-vswitchd runs and has not connected to its database again in time"
#: How long cur_cfg may stand still before vifplug asks whether an ovs-vswitchd runs. Seconds.
_PATIENCE = 1.0
#: Between two tries to reach a database that is being restarted. Seconds.
_PAUSE = 0.05


def applied(pool: Pool, number: int, deadline: float) -> str | None:
    """Wait until ovs-vswitchd has applied configuration ``number``; None, or why it has not.

    ABSENT is returned early, BUSY at the deadline. Waits for a database that restarts meanwhile; raises Unavailable
    when it does not come back.
    """
    begun = time.monotonic()
    while True:
        try:
            reason = pool.run(lambda connection: _wait(connection, number, deadline), deadline)
            if _log.isEnabledFor(logging.DEBUG):
                spent = (time.monotonic() - begun) * 1000
                _log.debug("waited for ovs-vswitchd to apply configuration %d: %.1f ms", number, spent)
            return reason
        except (OutcomeUnknown, Unavailable) as error:
            if time.monotonic() + _PAUSE >= deadline:
                raise pool.unanswered(error) from error
        time.sleep(_PAUSE)


def is_running(connection: OvsdbConnection, deadline: float) -> bool:
    """Return whether some ovs-vswitchd is connected: it holds its lock. (One that is free is released at once.)"""
    return not connection.is_free(LOCK, deadline)


def has_process(address: str) -> bool:
    """Return whether the process of ovs-vswitchd runs, though it is not connected: it connects again after up to 8 s.

    Its pid is beside the socket of the database (ovs-ctl(8); lib/reconnect.h: RECONNECT_DEFAULT_MAX_BACKOFF).
    """
    directory = Path(address.removeprefix("unix:")).parent
    try:
        pid = int((directory / "ovs-vswitchd.pid").read_text())
        return Path(f"/proc/{pid}/comm").read_text().strip() == "ovs-vswitchd"
    except (OSError, ValueError):
        return False


def _wait(connection: OvsdbConnection, number: int, deadline: float) -> str | None:
    while True:
        seen = connection.cur_cfg
        if connection.wait_cfg(number, min(deadline, time.monotonic() + _PATIENCE)):
            return None
        away = connection.cur_cfg == seen and not is_running(connection, time.monotonic() + _PATIENCE)
        if away and not has_process(connection.address):
            return ABSENT
        if time.monotonic() >= deadline:
            return AWAY if away else BUSY
