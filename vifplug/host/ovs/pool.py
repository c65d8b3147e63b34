"""A pool of connections: a thread takes one, uses it alone, and gives it back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from vifplug.errors import Unavailable
from vifplug.host.ovs.connection import AnswerNotUnderstood, NotDelivered, OutcomeUnknown, OvsdbConnection
from vifplug.host.ovs.decode import Kinds, OvsdbRefused, Reply, Row, own_kinds
from vifplug.host.ovs.operations import Operation
from vifplug.host.ovs.settings import OvsSettings

T = TypeVar("T")

#: An idle connection gets an echo request before any other: a server that hangs then has nothing
#: of ours in its queue, so the outcome is known. Seconds.
_IDLE = 0.5


class Pool:
    """Connections to one database, opened when needed. Thread-safe; after a fork the child opens its own."""

    def __init__(self, settings: OvsSettings) -> None:
        self.settings = settings
        self._free: list[OvsdbConnection] = []  # append and pop of a list are atomic
        self._process = os.getpid()
        self._lost = 0

    def lost(self) -> int:
        """Return how many connections ended by themselves since the last call."""
        lost, self._lost = self._lost, 0
        return lost

    def close(self) -> None:
        """Close what is not in use; the next request opens another."""
        while self._free:
            self._free.pop().close()

    def transact(
        self, operations: Sequence[Operation], deadline: float | None = None, *, kinds: Kinds = own_kinds
    ) -> list[Reply]:
        """Run one transaction on a connection of the pool.

        ``kinds`` are those of the columns read. Raises OvsdbRefused, OutcomeUnknown, Unavailable, NotPermitted.
        """
        until = self.deadline() if deadline is None else deadline
        return self.run(lambda connection: connection.transact(operations, until, kinds), until)

    def transact_both(
        self, operations: Sequence[Operation], question: Sequence[Operation], deadline: float, patience: float
    ) -> tuple[list[Reply], list[Reply] | None]:
        """Run a transaction and, sent with it, one that asks what became of it: `OvsdbConnection.transact_both`."""
        return self.run(lambda line: line.transact_both(operations, question, deadline, patience), deadline)

    def call(self, method: str, params: list[Any], read: Callable[[Any], T]) -> T:
        """Send one request of any method, and ``read`` its result. Raises HostNotReady."""
        until = self.deadline()
        try:
            return self.run(lambda connection: connection.call(method, params, until, read), until)
        except OutcomeUnknown as unknown:
            raise self.unanswered(unknown) from unknown

    def select(self, *operations: Operation, kinds: Kinds = own_kinds) -> list[Sequence[Row]]:
        """Return the rows of each of some select operations. Raises HostNotReady when there is no answer to understand.

        A connection that ended under the question is replaced once: to ask again does no harm, as writing would.
        """
        if not operations:
            return []
        until = self.deadline()
        try:
            try:
                replies = self.transact(operations, until, kinds=kinds)
            except OutcomeUnknown as unknown:
                if not unknown.lost:
                    raise
                self.close()
                replies = self.transact(operations, until, kinds=kinds)
        except OutcomeUnknown as unknown:
            raise self.unanswered(unknown) from unknown
        except OvsdbRefused as refused:
            database = f"Open vSwitch database at {self.settings.connection}"
            raise Unavailable(f"the {database} refused to be read: {refused}", resource=database) from refused
        return [reply.rows for reply in replies]

    def deadline(self) -> float:
        return time.monotonic() + self.settings.timeout

    def unanswered(self, unknown: Exception) -> Unavailable:
        """Return the error for a question that was delivered, and got no answer that can be understood."""
        database = f"Open vSwitch database at {self.settings.connection}"
        message = f"the {database} did not answer within {self.settings.timeout:g} s: {unknown}"
        if isinstance(unknown, AnswerNotUnderstood):
            return Unavailable(f"the {database} is broken, or another server: {unknown}", resource=database)
        return Unavailable(f"{message}; ovsdb-server hangs or was stopped", resource=database)

    def run(self, work: Callable[[OvsdbConnection], T], deadline: float) -> T:
        """Return what ``work`` makes of a connection, which goes back to the pool unless it failed."""
        while True:
            connection = self._take(deadline) or OvsdbConnection(self.settings)
            try:
                found = work(connection)
            except OvsdbRefused:  # the server's refusal is no failure of the connection
                self._give_back(connection)
                raise
            except NotDelivered:
                connection.close()
                if not connection.used:
                    raise
                self._lost += 1  # it went stale between the look and the request
            except OutcomeUnknown as unknown:
                connection.close()
                self._lost += unknown.lost
                raise
            except BaseException:
                connection.close()
                raise
            else:
                self._give_back(connection)
                return found

    def _give_back(self, connection: OvsdbConnection) -> None:
        if connection.is_open:
            self._free.append(connection)

    def _take(self, deadline: float) -> OvsdbConnection | None:
        if self._process != os.getpid():
            self.close()
            self._process = os.getpid()
        while self._free:
            try:
                connection = self._free.pop()
            except IndexError:
                return None
            recent = time.monotonic() - connection.used < _IDLE
            if connection.alive() and (recent or self._answers(connection, deadline)):
                return connection
            connection.close()
            self._lost += 1
        return None

    def _answers(self, connection: OvsdbConnection, deadline: float) -> bool:
        try:
            connection.call("echo", [], deadline, lambda found: found)
        except NotDelivered:
            return False
        except OutcomeUnknown as unknown:
            if unknown.lost:
                return False
            connection.close()
            raise self.unanswered(unknown) from unknown
        return True
