"""ovsdbapp's abstract Open_vSwitch API without a replica, so that code written for ovsdbapp runs on vifplug's pool.

Where it differs from ovsdbapp's own implementation it is the stricter one: a value that the server refuses is an
error and not dropped, ``may_exist`` is free of races and refuses a port on another bridge. There are no events, no
``idl`` and no ``tables``: who needs those needs the replica.
"""

from __future__ import annotations

import time

from vifplug.host.ovs.ovsdbapp_api import commands, reads
from vifplug.host.ovs.ovsdbapp_api.tables import Tables
from vifplug.host.ovs.ovsdbapp_api.transaction import ApiTransaction, deferred


class Api(Tables):
    """The API on a pool of connections. Thread-safe."""

    def create_transaction(
        self, check_error: bool = False, log_errors: bool = True, timeout: float | None = None, wait: bool = True
    ) -> ApiTransaction:
        """Return a transaction; ``wait``: until ovs-vswitchd has applied it, at most ``timeout`` seconds in all."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        return ApiTransaction(self, check_error=check_error, log_errors=log_errors, deadline=deadline, wait=wait)

    # -- bridges ----------------------------------------------------------------------------------------------------

    add_br = deferred(commands.add_br)
    del_br = deferred(commands.del_br)
    br_exists = deferred(reads.br_exists)
    list_br = deferred(reads.list_br)
    br_get_external_id = deferred(reads.br_get_external_id)
    br_set_external_id = deferred(commands.br_set_external_id)
    set_controller = deferred(commands.set_controller)
    del_controller = deferred(commands.del_controller)
    get_controller = deferred(reads.get_controller)
    set_fail_mode = deferred(commands.set_fail_mode)

    # -- ports ------------------------------------------------------------------------------------------------------

    add_port = deferred(commands.add_port)
    del_port = deferred(commands.del_port)
    list_ports = deferred(reads.list_ports)
    list_ifaces = deferred(reads.list_ifaces)
    port_to_br = deferred(reads.port_to_br)
    iface_to_br = deferred(reads.iface_to_br)
    iface_get_external_id = deferred(reads.iface_get_external_id)
    iface_set_external_id = deferred(commands.iface_set_external_id)

    # -- managers ---------------------------------------------------------------------------------------------------

    add_manager = deferred(commands.add_manager)
    get_manager = deferred(reads.get_manager)
    remove_manager = deferred(commands.remove_manager)

    # -- any table --------------------------------------------------------------------------------------------------

    db_create = deferred(commands.db_create)
    db_create_row = deferred(commands.db_create_row)
    db_destroy = deferred(commands.db_destroy)
    db_set = deferred(commands.db_set)
    db_add = deferred(commands.db_add)
    db_remove = deferred(commands.db_remove)
    db_clear = deferred(commands.db_clear)
    db_get = deferred(reads.db_get)
    db_list = deferred(reads.db_list)
    db_list_rows = deferred(reads.db_list_rows)
    db_find = deferred(reads.db_find)
    db_find_rows = deferred(reads.db_find_rows)
