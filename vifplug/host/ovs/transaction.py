"""ovsdbapp's Command and Transaction, compiled to one OVSDB transact each."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ovsdbapp import api as base
from ovsdbapp import exceptions

from vifplug.errors import HostNotReady
from vifplug.host.ovs import decode, operations
from vifplug.host.ovs.connection import DATABASE, Operation, OutcomeUnknown, OvsdbRefused, Reply
from vifplug.host.ovs.ovsdbapp_api.schema import RowNotFound, reference

if TYPE_CHECKING:
    from vifplug.host.ovs.ovsdbapp_api.api import Api

LOG = logging.getLogger(__name__)

#: How often a transaction is composed anew because another writer was faster.
_ATTEMPTS = 20
#: Between two tries to reach a server that is being restarted. Seconds.
_PAUSE = 0.05


def where(row: object) -> list[Any]:
    """The condition that finds one row by its UUID: the only one that is a look-up and no scan."""
    return [["_uuid", "==", reference(row)]]


class Undecided(exceptions.TimeoutException):  # type: ignore[misc]
    """A transaction was delivered, no reply came, and asking anew was not possible."""


class CommandRefused(RuntimeError):
    """The server refused a transaction because of ``command``; ``refused`` has its words."""

    def __init__(self, refused: OvsdbRefused, command: Command | None) -> None:
        super().__init__(f"OVSDB Error: {refused.error}: {refused.details}; command: {command}")
        self.refused, self.command = refused, command


class Command(base.Command):  # type: ignore[misc]
    """A change. ``build`` adds its operations to a transaction; ``finish`` reads their replies."""

    result: Any = None

    def __init__(self, api: Api) -> None:
        self.api = api

    def build(self, transaction: OvsdbTransaction) -> None:
        raise NotImplementedError

    def finish(self, replies: list[Reply]) -> None:
        """``replies`` are those of this command's own operations, once they are committed."""

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        """Look at the database anew after a refusal, or (None) after a lost connection; True: worth another try."""
        return False

    def execute(
        self, check_error: bool = False, log_errors: bool = True, *, timeout: float | None = None, wait: bool = True
    ) -> Any:
        """Run the command alone. An error is raised with ``check_error`` and otherwise only logged: ovsdbapp's way."""
        with (
            _describe(self, check_error, log_errors),
            self.api.transaction(check_error=True, log_errors=False, timeout=timeout, wait=wait) as transaction,
        ):
            transaction.add(self)
        return self.result

    def __str__(self) -> str:
        message = ", ".join(f"{key}={value}" for key, value in vars(self).items() if key not in ("api", "result"))
        return f"{type(self).__name__}({message})"

    __repr__ = __str__


class OvsdbTransaction(base.Transaction):  # type: ignore[misc]
    """Commands that happen together or not at all: one message to the server, one reply."""

    def __init__(self, api: Api, *, check_error: bool, log_errors: bool, deadline: float, wait: bool) -> None:
        self.api = api
        self.commands: list[Command] = []
        self.next_cfg = -1  #: what ovs-vswitchd has to reach; set by commit
        self.wrote = False  #: commit has changed something
        self._check_error, self._log_errors = check_error, log_errors
        self._deadline, self._wait = deadline, wait
        self._clear()

    def add(self, command: Command) -> Command:
        self.commands.append(command)
        return command

    def commit(self) -> list[Any] | None:
        """The results of the commands. Raises CommandRefused, RowNotFound, TimeoutException, Unavailable."""
        results: list[Any] | None = None
        with _describe(self, self._check_error, self._log_errors):
            self._commit()
            if self._wait and self.wrote and not self.api.applied(self.next_cfg, self._deadline):
                raise self._timeout("committed, but ovs-vswitchd has not applied it")
            results = [command.result for command in self.commands]
        return results

    # -- what commands build with -----------------------------------------------------------------------------------

    def add_op(self, operation: Operation) -> None:
        self._operations.append(operation)
        self._owners.append(self._building)

    def insert(self, table: str, row: dict[str, Any], name: str | None = None) -> uuid.UUID:
        """A new row; its UUID is chosen here, so that later commands can refer to it."""
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

    def mutate(self, table: str, condition: list[Any], *mutations: list[Any]) -> None:
        self.add_op(operations.mutate(table, condition, *mutations))

    def is_new(self, row: uuid.UUID) -> bool:
        return row in self._inserted

    def row(self, table: str, record: Any) -> uuid.UUID:
        """The row that a name, a UUID, a row or an earlier command means. Raises RowNotFound."""
        record = record.result if isinstance(record, Command) else record
        if (table, record) not in self._names:
            found = self.api.find(table, record)
            if isinstance(record, str) and self.api.schema.key(table) == "name" and str(found) != record:
                self.add_op(operations.there(table, where(found), {"name": record}))
            self._names[table, record] = found
        return self._names[table, record]

    # -- committing -------------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        lost: OutcomeUnknown | None = None
        for _ in range(_ATTEMPTS):
            self._build()
            if not self._operations:
                return
            try:
                return self._finish(self.api.pool.transact([*self._operations, *self._bump()], self._deadline))
            except OvsdbRefused as refused:
                if not self._again(refused):
                    raise CommandRefused(refused, self._culprit(refused)) from refused
            except OutcomeUnknown as unknown:
                lost = unknown
                self._settle(lost)
            except HostNotReady:
                if lost is None:
                    raise
                self._settle(lost)  # this try was not delivered, and an earlier one may have been executed
        raise self._timeout("other writers were faster each time")

    def _settle(self, unknown: OutcomeUnknown) -> None:
        """After a lost connection nothing is pending: what happened can be asked for. Raises Undecided if not."""
        cause = str(unknown)
        while unknown.lost:
            try:
                if not self._again(None):
                    break
                return
            except HostNotReady as error:
                cause = f"{unknown}, then {error}"
            if time.monotonic() + _PAUSE >= self._deadline:
                break
            time.sleep(_PAUSE)
        cause = f"no reply, so it may have been executed or not: {cause}"
        raise Undecided(commands=self.commands, timeout=self.api.timeout, cause=cause) from unknown

    def _clear(self) -> None:
        self._operations: list[Operation] = []
        self._owners: list[Command | None] = []
        self._inserted: dict[uuid.UUID, Operation] = {}
        self._names: dict[tuple[str, Any], uuid.UUID] = {}
        self._building: Command | None = None

    def _build(self) -> None:
        self._clear()
        for command in self.commands:
            self._building = command
            command.build(self)

    def _bump(self) -> list[Operation]:
        """Equivalent to what ovs-vsctl adds: ask ovs-vswitchd to take notice, and learn the number to wait for."""
        self.wrote = any(operation["op"] not in ("select", "wait") for operation in self._operations)
        number = decode.look_next_cfg()
        return [operations.mutate(DATABASE, [], ["next_cfg", "+=", 1]), number] if self.wrote else [number]

    def _finish(self, replies: list[Reply]) -> None:
        rows = replies[-1]["rows"]
        self.next_cfg = rows[0]["next_cfg"] if rows else -1
        own: dict[int, list[Reply]] = {id(command): [] for command in self.commands}
        for owner, reply in zip(self._owners, replies, strict=False):
            own[id(owner)].append(reply)
        for command in self.commands:
            command.finish(own[id(command)])

    def _again(self, refused: OvsdbRefused | None) -> bool:
        """Whether the commands concerned see the database otherwise now, so that another try makes sense."""
        culprit = self._culprit(refused) if refused else None
        concerned = [culprit] if culprit else self.commands
        answers = [command.reconsider(refused) for command in concerned]  # each has to look
        return any(answers)

    def _culprit(self, refused: OvsdbRefused) -> Command | None:
        """The command of the operation at fault; at the commit, that of a row which the text names."""
        if refused.index is not None:
            return self._owners[refused.index] if refused.index < len(self._owners) else None
        named = set(refused.rows)
        pairs = zip(self._operations, self._owners, strict=True)
        return next((owner for operation, owner in pairs if operation.get("uuid") in named), None)

    def _timeout(self, cause: str) -> exceptions.TimeoutException:
        return exceptions.TimeoutException(commands=self.commands, timeout=self.api.timeout, cause=cause)


@contextmanager
def _describe(subject: object, check_error: bool, log_errors: bool) -> Iterator[None]:
    """ovsdbapp's two switches: log an error or not, raise it or not."""
    try:
        yield
    except Exception:  # the contract of ovsdbapp's check_error=False
        if log_errors:
            LOG.exception("Open vSwitch: %s failed%s", subject, "" if check_error else ", which is ignored")
        if check_error:
            raise


def existing(transaction: OvsdbTransaction, table: str, record: Any, if_exists: bool) -> uuid.UUID | None:
    """The row of a record; None when it is not there and need not be. Raises RowNotFound."""
    try:
        return transaction.row(table, record)
    except RowNotFound:
        if if_exists:
            return None
        raise
