"""ovsdbapp's Command and Transaction, each transaction one OVSDB transact."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from ovsdbapp import api as ovsdbapp
from ovsdbapp import exceptions

from vifplug.errors import HostNotReady
from vifplug.host.ovs import operations
from vifplug.host.ovs.connection import OutcomeUnknown
from vifplug.host.ovs.decode import OvsdbRefused, Reply
from vifplug.host.ovs.operations import DATABASE, Operation
from vifplug.host.ovs.pool import Pool
from vifplug.plan.resource import Resource
from vifplug.plan.steps import Difference, compare

S = TypeVar("S")

#: How often a transaction is composed again because another writer was faster.
_ATTEMPTS = 20
#: Between two tries to reach a server that is being restarted. Seconds.
_PAUSE = 0.05


class TimedOut(exceptions.TimeoutException):  # type: ignore[misc]
    """A transaction was not done in time."""

    message = "%(cause)s"


class Undecided(TimedOut):
    """A transaction was delivered, and neither its reply nor another look at the database says what happened."""


class CommandRefused(RuntimeError):
    """The server refused a transaction because of ``command``; ``refused`` has its words."""

    def __init__(self, refused: OvsdbRefused, command: Command[Any] | None) -> None:
        super().__init__(f"OVSDB Error: {refused.error}: {refused.details}; command: {command}")
        self.refused, self.command = refused, command


class Command(ovsdbapp.Command, Generic[S]):  # type: ignore[misc]
    """One change of the database: the operations that make it, what they found, and the command that undoes it.

    ``subject`` is what it changes, and what an error calls it.
    """

    result: Any = None
    #: Whether it has changed something; known once it was committed.
    wrote = False
    #: A reply was lost, so this may have been done by an earlier try.
    undecided = False
    #: Done means that ovs-vswitchd has applied it; what is removed is done once the database no longer has it.
    needs_vswitchd = True
    #: What is not as it was written; known once it was committed.
    differences: Sequence[Difference] = ()
    #: Done means so whatever the operator chose to wait for.
    awaited = False

    def __init__(self, pool: Pool, subject: S) -> None:
        self.pool, self.subject = pool, subject

    def operations(self) -> list[Operation]:
        """Return the operations from what the database is thought to have; called again after each `reconsider`."""
        raise NotImplementedError

    def finish(self, replies: list[Reply]) -> None:
        """Take in the replies to `operations`, once they are committed."""

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        """Look at the database again after a refusal, or (None) after a reply was lost; whether to try once more."""
        return refused is None

    def inverse(self) -> Command[Any]:
        """Return the command that undoes this one."""
        raise NotImplementedError

    def execute(self, **transaction_options: Any) -> Any:
        """Run the command alone. Raises what `OvsdbTransaction.commit` raises, whatever the options."""
        with OvsdbTransaction(self.pool, self.pool.deadline()) as transaction:
            transaction.add(self)
        return self.result

    def __str__(self) -> str:
        return str(self.subject)

    __repr__ = __str__


class OvsdbTransaction(ovsdbapp.Transaction):  # type: ignore[misc]
    """Commands that happen together or not at all: one message to the server, one reply."""

    def __init__(self, pool: Pool, deadline: float, question: Sequence[Operation] = (), patience: float = 0) -> None:
        """``question`` and ``patience`` are those of `OvsdbConnection.transact_both`."""
        self.pool = pool
        self.commands: list[Command[Any]] = []
        self.next_cfg = -1  #: what ovs-vswitchd has to reach; set by commit
        self.wrote = False  #: commit has changed something
        self.answer: list[Reply] | None = None  #: to the question, if there is one; set by commit
        self._question, self._patience = question, patience
        self._deadline = deadline
        self._composed: list[list[Operation]] = []

    def add(self, command: Command[Any]) -> Command[Any]:
        self.commands.append(command)
        return command

    def commit(self) -> list[Any]:
        """Return the results of the commands. Raises CommandRefused, TimedOut, Undecided, Unavailable."""
        lost: OutcomeUnknown | None = None
        for _ in range(_ATTEMPTS):
            self._composed = self._compose()
            sent = [operation for each in self._composed for operation in each]
            if not sent:
                return [command.result for command in self.commands]
            self.wrote = any(operation["op"] not in ("select", "wait") for operation in sent)
            try:
                self._finish(self._send([*sent, *_bump(self.wrote)]))
                return [command.result for command in self.commands]
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
        raise TimedOut(cause="other clients wrote the same rows at the same time")

    def _send(self, operations: Sequence[Operation]) -> Sequence[Reply]:
        question, self._question = self._question, ()  # another try knows less of what it will change
        if not question:
            return self.pool.transact(operations, self._deadline)
        replies, self.answer = self.pool.transact_both(operations, question, self._deadline, self._patience)
        return replies

    def _compose(self) -> list[list[Operation]]:
        """Return the operations of each command."""
        return [command.operations() for command in self.commands]

    def _settle(self, unknown: OutcomeUnknown) -> None:
        """Ask what happened: after a lost connection nothing is pending. Raises Undecided when there is no answer."""
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
        raise Undecided(cause=f"it may have been executed or not: {cause}") from unknown

    def _finish(self, replies: Sequence[Reply]) -> None:
        self.next_cfg = replies[-1].rows[0]["next_cfg"]
        begin = 0
        for command, own in zip(self.commands, self._composed, strict=True):
            command.finish(list(replies[begin : begin + len(own)]))
            begin += len(own)

    def _again(self, refused: OvsdbRefused | None) -> bool:
        """Return whether the commands concerned see the database otherwise now, so that another try makes sense."""
        culprit = self._culprit(refused) if refused else None
        concerned = [culprit] if culprit else self.commands
        again = False
        for command in concerned:  # each has to look
            command.undecided = command.undecided or refused is None
            again = command.reconsider(refused) or again
        return again

    def _culprit(self, refused: OvsdbRefused) -> Command[Any] | None:
        """Return the command of the operation at fault; at the commit, that of a row which the server's words name."""
        pairs = zip(self.commands, self._composed, strict=True)
        sent = [(command, operation) for command, own in pairs for operation in own]
        if refused.index is not None:
            return sent[refused.index][0] if refused.index < len(sent) else None
        named = set(refused.rows)
        return next((command for command, operation in sent if operation.get("uuid") in named), None)


def not_written(desired: Resource, found: Resource | None, *ignored: str) -> list[Difference]:
    """Return what a port that was read back does not have as it was written; ``ignored`` are fields."""
    if found is None:
        return [Difference(desired.owner, str(desired), "present", None)]
    return [each for each in compare(desired, found) if each.path not in ignored]


def _bump(wrote: bool) -> list[Operation]:
    """Ask ovs-vswitchd to take notice, as ovs-vsctl does, and learn the number to wait for."""
    number = operations.read_next_cfg()
    return [operations.mutate(DATABASE, [], ["next_cfg", "+=", 1]), number] if wrote else [number]
