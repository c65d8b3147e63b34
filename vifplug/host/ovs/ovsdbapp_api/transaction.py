"""The Command and the Transaction of ovsdbapp's API: rows by name or UUID, and two switches for errors."""

from __future__ import annotations

import functools
import inspect
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec

from ovsdbapp.backend.ovs_idl.idlutils import RowNotFound

from vifplug.host.ovs import operations
from vifplug.host.ovs.decode import OvsdbRefused
from vifplug.host.ovs.operations import Operation, is_named, is_row, select
from vifplug.host.ovs.ovsdbapp_api.tables import Tables
from vifplug.host.ovs.transaction import Command, OvsdbTransaction, TimedOut
from vifplug.host.ovs.vswitchd import applied

LOG = logging.getLogger(__name__)
P = ParamSpec("P")


class ApiCommand(Command[str]):
    """One call of the API, which ``build`` composes with what the transaction offers; it returns the result."""

    #: Another writer has added a row with the name that is to be added, and ``may_exist`` is set.
    taken = False

    def __init__(self, api: Tables, build: Callable[..., Any], call: inspect.BoundArguments) -> None:
        arguments = list(call.arguments.items())[1:]
        super().__init__(api.pool, f"{build.__name__}({', '.join(f'{name}={value}' for name, value in arguments)})")
        self.api = api
        self._build, self._call = build, call

    def build(self, transaction: ApiTransaction) -> None:
        self.result = self._build(transaction, *self._call.args[1:], **self._call.kwargs)

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        """Try again after another writer was faster: the row that was found has gone, or the name is taken."""
        if refused is None:
            return False
        self.taken = refused.taken_name is not None and self._call.arguments.get("may_exist", False)
        return self.taken or refused.error == "timed out"

    def execute(  # type: ignore[override]  # ovsdbapp's options
        self, check_error: bool = False, log_errors: bool = True, *, timeout: float | None = None, wait: bool = True
    ) -> Any:
        """Run the command alone. An error is raised with ``check_error`` and otherwise only logged: ovsdbapp's way."""
        with _reporting(self, check_error, log_errors):
            with self.api.transaction(check_error=True, log_errors=False, timeout=timeout, wait=wait) as transaction:
                transaction.add(self)
            return self.result


def deferred(build: Callable[Concatenate[ApiTransaction, P], Any]) -> Callable[Concatenate[Any, P], ApiCommand]:
    """Return the method of the API that makes a command of ``build`` and its arguments."""
    signature = inspect.signature(build)

    @functools.wraps(build)
    def method(api: Tables, /, *args: P.args, **kwargs: P.kwargs) -> ApiCommand:
        call = signature.bind(api, *args, **kwargs)
        call.apply_defaults()
        return ApiCommand(api, build, call)

    return method


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
        self._inserted: set[uuid.UUID] = set()
        self._names: dict[tuple[str, Any], uuid.UUID] = {}
        return [self._operations(command) for command in self.commands]

    def _operations(self, command: Command[Any]) -> list[Operation]:
        if not isinstance(command, ApiCommand):
            return command.operations()
        self._building: list[Operation] = []
        self._command = command
        command.build(self)
        return self._building

    # -- what commands build with -----------------------------------------------------------------------------------

    def add_op(self, operation: Operation) -> None:
        self._building.append(operation)

    def insert(self, table: str, row: dict[str, Any], name: str | None = None) -> uuid.UUID:
        """Insert a row; its UUID is chosen here, so that later commands can refer to it."""
        chosen = uuid.uuid4()
        self.add_op(operations.insert(table, str(chosen), row))
        self._inserted.add(chosen)
        if name is not None:
            self._names[table, name] = chosen
        return chosen

    def is_new(self, row: uuid.UUID) -> bool:
        return row in self._inserted

    def row(self, table: str, record: Any) -> uuid.UUID:
        """Return the row that a name, a UUID, a row or an earlier command means. Raises RowNotFound."""
        record = record.result if isinstance(record, Command) else record
        if (table, record) not in self._names:
            found = self.api.find(table, record)
            if isinstance(record, str) and self.api.key(table) == "name" and str(found) != record:
                self.add_op(operations.there(table, is_row(found), {"name": record}))
            self._names[table, record] = found
        return self._names[table, record]

    def existing(self, table: str, record: Any, if_exists: bool = True) -> uuid.UUID | None:
        """Return the row of a record; None if it does not exist and need not. Raises RowNotFound."""
        try:
            return self.row(table, record)
        except RowNotFound:
            if if_exists:
                return None
            raise

    def taken(self, table: str, name: str) -> uuid.UUID | None:
        """Return the row that has a name which the server refused as taken; None if it has gone again."""
        return self.existing(table, name) if self._command.taken else None

    def refuse_other(self, table: str, other: str, name: str) -> None:
        """Raise RuntimeError if a name that was refused as taken is that of a row of the table ``other`` alone."""
        if self._command.taken:
            same, others = self.api.select(*(select(each, is_named(name), ["_uuid"]) for each in (table, other)))
            if others and not same:
                raise RuntimeError(f"{table} {name} cannot be created: a row of the table {other} has that name")


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
