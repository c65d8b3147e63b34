"""ovsdbapp's abstract Open_vSwitch API without a replica, so that code written for ovsdbapp runs on vifplug's pool.

Where it differs from ovsdbapp's own implementation it is the stricter one: a value that the server refuses is an
error and not dropped, ``may_exist`` is free of races and refuses a port on another bridge. There are no events, no
``idl`` and no ``tables``: who needs those needs the replica.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from vifplug.host.ovs.ovsdbapp_api import commands, reads
from vifplug.host.ovs.ovsdbapp_api.reads import Read
from vifplug.host.ovs.ovsdbapp_api.tables import Tables
from vifplug.host.ovs.ovsdbapp_api.transaction import ApiCommand, ApiTransaction


class Api(Tables):
    """The API on a pool of connections. Thread-safe."""

    def create_transaction(
        self, check_error: bool = False, log_errors: bool = True, timeout: float | None = None, wait: bool = True
    ) -> ApiTransaction:
        """Return a transaction; ``wait``: until ovs-vswitchd has applied it, at most ``timeout`` seconds in all."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        return ApiTransaction(self, check_error=check_error, log_errors=log_errors, deadline=deadline, wait=wait)

    # -- bridges ----------------------------------------------------------------------------------------------------

    def add_br(self, name: str, may_exist: bool = True, datapath_type: str | None = None) -> ApiCommand:
        return commands.AddBridge(self, name, may_exist, datapath_type)

    def del_br(self, name: str, if_exists: bool = True) -> ApiCommand:
        return commands.DelBridge(self, name, if_exists)

    def br_exists(self, name: str) -> ApiCommand:
        return Read(self, f"br_exists {name}", lambda: self.lookup("Bridge", name, None) is not None)

    def list_br(self) -> ApiCommand:
        return Read(self, "list_br", lambda: [row["name"] for row in reads.listed(self, "Bridge", None, False)])

    def br_get_external_id(self, name: str, field: str) -> ApiCommand:
        return Read(self, f"br_get_external_id {name}", lambda: self.value("Bridge", name, "external_ids")[field])

    def br_set_external_id(self, name: str, field: str, value: str) -> ApiCommand:
        return commands.SetColumns(self, "Bridge", name, [("external_ids", {field: value})], if_exists=False)

    def set_controller(self, bridge: str, controllers: Sequence[str]) -> ApiCommand:
        return commands.SetController(self, bridge, controllers)

    def del_controller(self, bridge: str) -> ApiCommand:
        return commands.SetController(self, bridge, [])

    def get_controller(self, bridge: str) -> ApiCommand:
        return Read(self, f"get_controller {bridge}", lambda: self._targets(bridge))

    def set_fail_mode(self, bridge: str, mode: str) -> ApiCommand:
        return commands.SetColumns(self, "Bridge", bridge, [("fail_mode", mode)], if_exists=False)

    # -- ports ------------------------------------------------------------------------------------------------------

    def add_port(self, bridge: str, port: str, may_exist: bool = True, **interface_attrs: Any) -> ApiCommand:
        return commands.AddPort(self, bridge, port, may_exist, interface_attrs)

    def del_port(self, port: str, bridge: str | None = None, if_exists: bool = True) -> ApiCommand:
        return commands.DelPort(self, port, bridge, if_exists)

    def list_ports(self, bridge: str) -> ApiCommand:
        return Read(self, f"list_ports {bridge}", lambda: reads.members(self, bridge, interfaces=False))

    def list_ifaces(self, bridge: str) -> ApiCommand:
        return Read(self, f"list_ifaces {bridge}", lambda: reads.members(self, bridge, interfaces=True))

    def port_to_br(self, name: str) -> ApiCommand:
        return Read(self, f"port_to_br {name}", lambda: reads.bridge_of_port(self, self.find("Port", name)))

    def iface_to_br(self, name: str) -> ApiCommand:
        answer = lambda: reads.bridge_of_interface(self, self.find("Interface", name))  # noqa: E731
        return Read(self, f"iface_to_br {name}", answer)

    def iface_get_external_id(self, name: str, field: str) -> ApiCommand:
        return Read(self, f"iface_get_external_id {name}", lambda: self.value("Interface", name, "external_ids")[field])

    def iface_set_external_id(self, name: str, field: str, value: str) -> ApiCommand:
        return commands.SetColumns(self, "Interface", name, [("external_ids", {field: value})], if_exists=False)

    # -- managers ---------------------------------------------------------------------------------------------------

    def add_manager(self, connection_uri: str) -> ApiCommand:
        return commands.AddManager(self, connection_uri)

    def get_manager(self) -> ApiCommand:
        return Read(self, "get_manager", lambda: [row["target"] for row in reads.listed(self, "Manager", None, False)])

    def remove_manager(self, connection_uri: str) -> ApiCommand:
        return commands.RemoveManager(self, connection_uri)

    # -- any table --------------------------------------------------------------------------------------------------

    def db_create(self, table: str, **col_values: Any) -> ApiCommand:
        return commands.Create(self, table, col_values, as_row=False)

    def db_create_row(self, table: str, **col_values: Any) -> ApiCommand:
        return commands.Create(self, table, col_values, as_row=True)

    def db_destroy(self, table: str, record: Any) -> ApiCommand:
        return commands.Destroy(self, table, record)

    def db_set(
        self, table: str, record: Any, *col_values: tuple[str, Any], if_exists: bool = True, **columns: Any
    ) -> ApiCommand:
        return commands.SetColumns(self, table, record, col_values or tuple(columns.items()), if_exists)

    def db_add(self, table: str, record: Any, column: str, *values: Any) -> ApiCommand:
        return commands.AddValues(self, table, record, [(column, value) for value in values], if_exists=False)

    def db_remove(
        self, table: str, record: Any, column: str, *values: Any, if_exists: bool = False, **keyvalues: Any
    ) -> ApiCommand:
        pairs = [{key: value} for key, value in keyvalues.items()]
        removed = [(column, value) for value in (*values, *pairs)]
        return commands.RemoveValues(self, table, record, removed, if_exists)

    def db_clear(self, table: str, record: Any, column: str) -> ApiCommand:
        return commands.ClearColumn(self, table, record, column)

    def db_get(self, table: str, record: Any, column: str) -> ApiCommand:
        return Read(self, f"db_get {table} {record} {column}", lambda: self._single(table, record, column))

    def db_list(
        self, table: str, records: Sequence[Any] | None = None, columns: Any = None, if_exists: bool = False
    ) -> ApiCommand:
        return Read(self, f"db_list {table}", lambda: self._shown(table, records, columns, if_exists))

    def db_list_rows(self, table: str, record: Sequence[Any] | None = None, if_exists: bool = False) -> ApiCommand:
        answer = lambda: reads.rows(self, table, reads.listed(self, table, record, if_exists))  # noqa: E731
        return Read(self, f"db_list_rows {table}", answer)

    def db_find(self, table: str, *conditions: reads.Condition, columns: Any = None) -> ApiCommand:
        def answer() -> list[dict[str, Any]]:
            return [reads.shown(self, table, row, columns) for row in reads.found(self, table, conditions)]

        return Read(self, f"db_find {table} {conditions}", answer)

    def db_find_rows(self, table: str, *conditions: reads.Condition) -> ApiCommand:
        answer = lambda: reads.rows(self, table, reads.found(self, table, conditions))  # noqa: E731
        return Read(self, f"db_find_rows {table} {conditions}", answer)

    def _targets(self, bridge: str) -> list[str]:
        controllers = self.read("Bridge", self.find("Bridge", bridge), ["controller"])["controller"]
        return [self.read("Controller", controller, ["target"])["target"] for controller in controllers]

    def _single(self, table: str, record: Any, column: str) -> Any:
        value = self.value(table, record, column)
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    def _shown(self, table: str, records: Any, columns: Any, if_exists: bool) -> list[dict[str, Any]]:
        return [reads.shown(self, table, row, columns) for row in reads.listed(self, table, records, if_exists)]
