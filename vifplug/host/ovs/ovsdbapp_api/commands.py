"""The changes of ovsdbapp's Open_vSwitch API, each as operations instead of changes to a replica."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from vifplug.host.ovs import operations
from vifplug.host.ovs.decode import OvsdbRefused, Reply
from vifplug.host.ovs.operations import DATABASE, is_row, reference, refers, select
from vifplug.host.ovs.ovsdbapp_api.schema import RowNotFound, encode
from vifplug.host.ovs.ovsdbapp_api.tables import OvsdbRow, Tables
from vifplug.host.ovs.ovsdbapp_api.transaction import ApiCommand, ApiTransaction

_Values = Sequence[tuple[str, Any]]


class _Named(ApiCommand):
    """Adds a row with a unique name. With ``may_exist``, losing a race for the name is no failure."""

    table: str

    def __init__(self, api: Tables, name: str, may_exist: bool) -> None:
        super().__init__(api)
        self.name, self.may_exist = name, may_exist
        self._taken = False
        self._uuid: uuid.UUID | None = None

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        if refused is None or not self.may_exist:
            return False
        if refused.taken_name == self.name:
            self._taken = True
            return True
        return refused.error == "timed out"  # the row that was found has gone since

    def finish(self, replies: list[Reply]) -> None:
        self.result = OvsdbRow(self.api, self.table, self._uuid)

    def present(self, transaction: ApiTransaction) -> uuid.UUID | None:
        """Return the row that has the name already, where there may be one."""
        if not self._taken:
            return None
        try:
            return transaction.row(self.table, self.name)
        except RowNotFound:
            self._taken = False
            return None


class AddPort(_Named):
    """Equivalent to: ovs-vsctl [--may-exist] add-port BRIDGE NAME -- set Interface NAME COLUMN=VALUE...

    An existing port gets the columns too, and one on another bridge is an error: nothing is silently left out.
    """

    table = "Port"

    def __init__(self, api: Tables, bridge: Any, name: str, may_exist: bool, columns: Mapping[str, Any]) -> None:
        super().__init__(api, name, may_exist)
        self.bridge, self.columns = bridge, dict(columns)

    def build(self, transaction: ApiTransaction) -> None:
        bridge = transaction.row("Bridge", self.bridge)
        self._uuid = self.present(transaction)
        if self._uuid is not None:
            return self._adopt(transaction, bridge, self._uuid)
        interface = transaction.insert("Interface", {"name": self.name, **_row(self.columns)}, self.name)
        self._uuid = transaction.insert("Port", {"name": self.name, "interfaces": reference(interface)}, self.name)
        transaction.mutate("Bridge", is_row(str(bridge)), ["ports", "insert", reference(self._uuid)])

    def _adopt(self, transaction: ApiTransaction, bridge: uuid.UUID, port: uuid.UUID) -> None:
        if not transaction.is_new(port):
            [holder] = self.api.select(select("Bridge", refers("ports", str(port)), ["_uuid", "name"]))
            # Without a bridge it was removed just now: the guard on its row has the transaction composed again.
            if holder and holder[0]["_uuid"] != bridge:
                found = holder[0]["name"]
                raise RuntimeError(f"Port {self.name} is expected on bridge {self.bridge} and exists on {found}")
        interface = transaction.existing("Interface", self.name, True) if self.columns else None
        if interface is not None:
            set_columns(transaction, "Interface", interface, self.columns)


class AddBridge(_Named):
    """Equivalent to: ovs-vsctl [--may-exist] add-br NAME [-- set Bridge NAME datapath_type=TYPE]"""

    table = "Bridge"

    def __init__(self, api: Tables, name: str, may_exist: bool, datapath_type: str | None) -> None:
        super().__init__(api, name, may_exist)
        self.datapath_type = datapath_type

    def build(self, transaction: ApiTransaction) -> None:
        columns = {"datapath_type": self.datapath_type} if self.datapath_type else {}
        self._uuid = self.present(transaction)
        if self._uuid is not None:
            if columns:
                transaction.update("Bridge", self._uuid, columns)
            return
        interface = transaction.insert("Interface", {"name": self.name, "type": "internal"}, self.name)
        port = transaction.insert("Port", {"name": self.name, "interfaces": reference(interface)}, self.name)
        self._uuid = transaction.insert("Bridge", {"name": self.name, "ports": reference(port), **columns}, self.name)
        transaction.mutate(DATABASE, [], ["bridges", "insert", reference(self._uuid)])


class DelPort(ApiCommand):
    """Equivalent to: ovs-vsctl [--if-exists] del-port [BRIDGE] NAME"""

    def __init__(self, api: Tables, name: str, bridge: Any, if_exists: bool) -> None:
        super().__init__(api)
        self.name, self.bridge, self.if_exists = name, bridge, if_exists

    def build(self, transaction: ApiTransaction) -> None:
        port = transaction.existing("Port", self.name, True)
        if port is None:
            if self.if_exists:
                return
            raise RuntimeError(f"Port {self.name} does not exist")
        if self.bridge and not self._is_on(transaction, port):
            if self.if_exists:
                return
            raise RuntimeError(f"Port {self.name} does not exist on {self.bridge}!")
        transaction.mutate("Bridge", refers("ports", str(port)), ["ports", "delete", reference(port)])

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        return refused is not None and refused.error == "timed out"

    def _is_on(self, transaction: ApiTransaction, port: uuid.UUID) -> bool:
        bridge = transaction.row("Bridge", self.bridge)
        [holder] = self.api.select(select("Bridge", refers("ports", str(port)), ["_uuid"]))
        return transaction.is_new(port) or [row["_uuid"] for row in holder] == [bridge]


class DelBridge(ApiCommand):
    """Equivalent to: ovs-vsctl [--if-exists] del-br NAME"""

    def __init__(self, api: Tables, name: str, if_exists: bool) -> None:
        super().__init__(api)
        self.name, self.if_exists = name, if_exists

    def build(self, transaction: ApiTransaction) -> None:
        bridge = transaction.existing("Bridge", self.name, True)
        if bridge is not None:
            transaction.mutate(DATABASE, [], ["bridges", "delete", reference(bridge)])
        elif not self.if_exists:
            raise RuntimeError(f"Bridge {self.name} does not exist")


class SetColumns(ApiCommand):
    """Equivalent to: ovs-vsctl [--if-exists] set TABLE RECORD COLUMN=VALUE...; in a map the other keys stay."""

    def __init__(
        self, api: Tables, table: str, record: Any, columns: Sequence[tuple[str, Any]], if_exists: bool
    ) -> None:
        super().__init__(api)
        self.table, self.record, self.columns, self.if_exists = table, record, columns, if_exists

    def build(self, transaction: ApiTransaction) -> None:
        row = transaction.existing(self.table, self.record, self.if_exists)
        if row is not None:
            set_columns(transaction, self.table, row, dict(self.columns))

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        return refused is not None and refused.error == "timed out"


class AddValues(SetColumns):
    """Equivalent to: ovs-vsctl add TABLE RECORD COLUMN VALUE...; a key that is there keeps its value."""

    def build(self, transaction: ApiTransaction) -> None:
        row = transaction.row(self.table, self.record)
        for column, value in self.columns:
            added = encode(value) if isinstance(value, Mapping) else ["set", [encode(value)]]
            transaction.mutate(self.table, is_row(str(row)), [column, "insert", added])


class RemoveValues(SetColumns):
    """Equivalent to: ovs-vsctl [--if-exists] remove TABLE RECORD COLUMN VALUE|KEY|KEY=VALUE..."""

    def build(self, transaction: ApiTransaction) -> None:
        row = transaction.existing(self.table, self.record, self.if_exists)
        for column, value in self.columns if row is not None else ():
            removed = encode(value) if isinstance(value, Mapping) else ["set", [encode(value)]]
            transaction.mutate(self.table, is_row(str(row)), [column, "delete", removed])


class ClearColumn(ApiCommand):
    """Equivalent to: ovs-vsctl clear TABLE RECORD COLUMN"""

    def __init__(self, api: Tables, table: str, record: Any, column: str) -> None:
        super().__init__(api)
        self.table, self.record, self.column = table, record, column

    def build(self, transaction: ApiTransaction) -> None:
        row = transaction.row(self.table, self.record)
        transaction.update(self.table, row, {self.column: self.api.schema.column(self.table, self.column).empty()})


class Create(ApiCommand):
    """Equivalent to: ovs-vsctl create TABLE COLUMN=VALUE...; the result is the UUID, or with ``as_row`` the row."""

    def __init__(self, api: Tables, table: str, columns: Mapping[str, Any], *, as_row: bool) -> None:
        super().__init__(api)
        self.table, self.columns, self.as_row = table, dict(columns), as_row

    def build(self, transaction: ApiTransaction) -> None:
        self.result = transaction.insert(self.table, _row(self.columns))

    def finish(self, replies: list[Reply]) -> None:
        if self.as_row:
            self.result = OvsdbRow(self.api, self.table, self.result)


class Destroy(ApiCommand):
    """Equivalent to: ovs-vsctl destroy TABLE RECORD"""

    def __init__(self, api: Tables, table: str, record: Any) -> None:
        super().__init__(api)
        self.table, self.record = table, record

    def build(self, transaction: ApiTransaction) -> None:
        row = transaction.row(self.table, self.record)
        transaction.add_op(operations.delete(self.table, str(row)))


class SetController(ApiCommand):
    """Equivalent to: ovs-vsctl set-controller BRIDGE TARGET..."""

    def __init__(self, api: Tables, bridge: Any, targets: Sequence[str]) -> None:
        super().__init__(api)
        self.bridge, self.targets = bridge, list(targets)

    def build(self, transaction: ApiTransaction) -> None:
        bridge = transaction.row("Bridge", self.bridge)
        rows = [transaction.insert("Controller", {"target": target}) for target in self.targets]
        transaction.update("Bridge", bridge, {"controller": encode(rows)})


class AddManager(ApiCommand):
    """Adds a manager to those that are there. Equivalent to: ovs-vsctl -- --id=@m create Manager target=TARGET
    -- add Open_vSwitch . manager_options @m"""

    def __init__(self, api: Tables, target: str) -> None:
        super().__init__(api)
        self.target = target

    def build(self, transaction: ApiTransaction) -> None:
        self._uuid = transaction.insert("Manager", {"target": self.target}, self.target)
        transaction.mutate(DATABASE, [], ["manager_options", "insert", reference(self._uuid)])

    def finish(self, replies: list[Reply]) -> None:
        self.result = OvsdbRow(self.api, "Manager", self._uuid)


class RemoveManager(AddManager):
    """Equivalent to: ovs-vsctl remove Open_vSwitch . manager_options MANAGER"""

    def build(self, transaction: ApiTransaction) -> None:
        manager = transaction.existing("Manager", self.target, True)
        if manager is None:
            raise RuntimeError(f"Manager with target {self.target} does not exist")
        transaction.mutate(DATABASE, [], ["manager_options", "delete", reference(manager)])

    def finish(self, replies: list[Reply]) -> None:
        """Leave the result None."""


def set_columns(transaction: ApiTransaction, table: str, row: uuid.UUID, columns: Mapping[str, Any]) -> None:
    """Write columns; of a map only the keys that are given. RFC 7047: inserting a key that is there changes nothing,
    so it is deleted first."""
    for column, value in columns.items():
        if isinstance(value, Mapping) and not transaction.is_new(row):
            keys = ["set", [encode(key) for key in value]]
            transaction.mutate(table, is_row(str(row)), [column, "delete", keys], [column, "insert", encode(value)])
        elif isinstance(value, Mapping):
            transaction.merge(row, column, encode(value))
        else:
            transaction.update(table, row, {column: encode(value)})


def _row(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {column: encode(value) for column, value in columns.items()}
