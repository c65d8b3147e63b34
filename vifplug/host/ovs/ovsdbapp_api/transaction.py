"""The Command and the Transaction of ovsdbapp's API: rows by name, changes merged into rows that are new."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vifplug.host.ovs import operations
from vifplug.host.ovs.decode import OvsdbRefused
from vifplug.host.ovs.operations import Operation, Where, is_row
from vifplug.host.ovs.ovsdbapp_api.schema import RowNotFound
from vifplug.host.ovs.ovsdbapp_api.tables import Tables
from vifplug.host.ovs.transaction import Command, OvsdbTransaction, TimedOut
from vifplug.host.ovs.vswitchd import applied

LOG = logging.getLogger(__name__)


class ApiCommand(Command):
    """A change that ``build`` composes with what the transaction offers."""

    def __init__(self, api: Tables) -> None:
        super().__init__(api.pool, type(self).__name__)
        self.api = api

    def build(self, transaction: ApiTransaction) -> None:
        raise NotImplementedError

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        return False

    def execute(  # type: ignore[override]  # ovsdbapp's options
        self, check_error: bool = False, log_errors: bool = True, *, timeout: float | None = None, wait: bool = True
    ) -> Any:
        """Run the command alone. An error is raised with ``check_error`` and otherwise only logged: ovsdbapp's way."""
        options = {"check_error": True, "log_errors": False, "timeout": timeout, "wait": wait}
        with _reporting(self, check_error, log_errors), self.api.transaction(**options) as transaction:
            transaction.add(self)
        return self.result

    def __str__(self) -> str:
        hidden = ("api", "pool", "subject", "result")
        message = ", ".join(f"{key}={value}" for key, value in vars(self).items() if key not in hidden)
        return f"{self.subject}({message})"

    __repr__ = __str__


class ApiTransaction(OvsdbTransaction):
    """Commands of the API, and any other `Command`, that happen together or not at all."""

    def __init__(self, api: Tables, *, check_error: bool, log_errors: bool, deadline: float, wait: bool) -> None:
        super().__init__(api.pool, deadline)
        self.api = api
        self._check_error, self._log_errors, self._wait = check_error, log_errors, wait

    def commit(self) -> list[Any] | None:  # type: ignore[override]  # ovsdbapp's: None for an error that is not raised
        """Return the results of the commands. Raises CommandRefused, RowNotFound, TimedOut, Unavailable."""
        results: list[Any] | None = None
        with _reporting(self, self._check_error, self._log_errors):
            results = super().commit()
            if self._wait and self.wrote and applied(self.pool, self.next_cfg, self._deadline) is not None:
                raise TimedOut(cause=f"{self.commands} was committed, but ovs-vswitchd has not applied it")
        return results

    def _compose(self) -> list[list[Operation]]:
        self._inserted: dict[uuid.UUID, Operation] = {}
        self._names: dict[tuple[str, Any], uuid.UUID] = {}
        return [self._operations(command) for command in self.commands]

    def _operations(self, command: Command) -> list[Operation]:
        if not isinstance(command, ApiCommand):
            return command.operations()
        self._building: list[Operation] = []
        command.build(self)
        return self._building

    # -- what commands build with -----------------------------------------------------------------------------------

    def add_op(self, operation: Operation) -> None:
        self._building.append(operation)

    def insert(self, table: str, row: dict[str, Any], name: str | None = None) -> uuid.UUID:
        """Insert a row; its UUID is chosen here, so that later commands can refer to it."""
        chosen = uuid.uuid4()
        operation = operations.insert(table, str(chosen), row)
        self.add_op(operation)
        self._inserted[chosen] = operation
        if name is not None:
            self._names[table, name] = chosen
        return chosen

    def update(self, table: str, row: uuid.UUID, values: dict[str, Any]) -> None:
        if row in self._inserted:
            self._inserted[row]["row"].update(values)
        else:
            self.add_op(operations.update(table, str(row), values))

    def merge(self, row: uuid.UUID, column: str, pairs: list[Any]) -> None:
        """Add pairs of a map to a row that is inserted in this transaction."""
        written = self._inserted[row]["row"]
        kept = [pair for pair in written.get(column, ["map", []])[1] if pair[0] not in [each[0] for each in pairs[1]]]
        written[column] = ["map", kept + pairs[1]]

    def mutate(self, table: str, condition: Where, *mutations: list[Any]) -> None:
        self.add_op(operations.mutate(table, condition, *mutations))

    def is_new(self, row: uuid.UUID) -> bool:
        return row in self._inserted

    def row(self, table: str, record: Any) -> uuid.UUID:
        """Return the row that a name, a UUID, a row or an earlier command means. Raises RowNotFound."""
        record = record.result if isinstance(record, Command) else record
        if (table, record) not in self._names:
            found = self.api.find(table, record)
            if isinstance(record, str) and self.api.schema.key(table) == "name" and str(found) != record:
                self.add_op(operations.there(table, is_row(str(found)), {"name": record}))
            self._names[table, record] = found
        return self._names[table, record]

    def existing(self, table: str, record: Any, if_exists: bool) -> uuid.UUID | None:
        """Return the row of a record; None if it does not exist and need not. Raises RowNotFound."""
        try:
            return self.row(table, record)
        except RowNotFound:
            if if_exists:
                return None
            raise


@contextmanager
def _reporting(subject: object, check_error: bool, log_errors: bool) -> Iterator[None]:
    """ovsdbapp's two switches: log an error or not, raise it or not."""
    try:
        yield
    except Exception:  # the contract of ovsdbapp's check_error=False
        if log_errors:
            LOG.exception("Open vSwitch: %s failed%s", subject, "" if check_error else ", which is ignored")
        if check_error:
            raise
