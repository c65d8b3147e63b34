"""JSON-RPC to an OVSDB server (RFC 7047): one connection, used by one thread at a time, without a replica.

The only thing that is monitored is one number, Open_vSwitch.cur_cfg: what ovs-vswitchd has applied. A request can fail
in three ways. It was not delivered (`Unavailable`, `NotDelivered`): nothing happened. It was refused (`OvsdbRefused`):
nothing happened, and the server says why. It was delivered and no reply came that can be understood
(`OutcomeUnknown`): only another look at the database tells what happened.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from vifplug.errors import HostNotReady, InvalidRequest, Unavailable, about
from vifplug.host.ovs import decode, transport
from vifplug.host.ovs.decode import Kinds, NotUnderstood, OvsdbRefused, Reply, own_kinds
from vifplug.host.ovs.operations import DATABASE, Operation
from vifplug.host.ovs.settings import CONNECTION, OvsSettings

T = TypeVar("T")

_MONITOR = "cur_cfg"
_MONITORED = [DATABASE, _MONITOR, {DATABASE: {"columns": ["cur_cfg"]}}]
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

_log = logging.getLogger(__name__)


class OutcomeUnknown(Exception):
    """A request was delivered, and whether it was executed is not known.

    ``lost``: the connection has ended, so nothing is pending and another look at the database tells what happened.
    Otherwise the time ran out, and the server may still execute the request once it goes on.
    """

    def __init__(self, reason: str, *, lost: bool) -> None:
        super().__init__(reason)
        self.lost = lost


class AnswerNotUnderstood(OutcomeUnknown):
    """The reply to a request is not what RFC 7047 allows. The connection is closed."""


class NotDelivered(Unavailable):
    """A request could not be handed over whole, so it was certainly not executed."""


class OvsdbConnection:
    """One connection to one server, for one thread at a time. ``deadline`` is always on time.monotonic()'s clock."""

    def __init__(self, settings: OvsSettings) -> None:
        """Connect to the first remote that answers. Raises Unavailable or NotPermitted."""
        self.cur_cfg = -1
        self.used = 0.0
        self._asked = 0.0
        self.is_open = True
        self._settings = settings
        self._number = 0
        self._buffer = b""
        self._connect(time.monotonic() + settings.timeout)

    def close(self) -> None:
        self.is_open = False
        self._line.close()

    def transact(self, operations: Sequence[Operation], deadline: float, kinds: Kinds = own_kinds) -> list[Reply]:
        """Run one transaction; the reply of each operation.

        Raises OvsdbRefused, OutcomeUnknown, NotDelivered. ``kinds`` are those of the columns that are read.
        """
        params = [DATABASE, *operations]
        return self.call("transact", params, deadline, _replies_to(operations, kinds))

    def transact_both(
        self, operations: Sequence[Operation], question: Sequence[Operation], deadline: float, patience: float
    ) -> tuple[list[Reply], list[Reply] | None]:
        """Run a transaction and, sent with it, one that asks what became of it. Raises as `transact`, for the first.

        Args:
            operations: the first transaction.
            question: the second, which only reads. It has to be small: the server receives no more while its reply to
                the first has not been read.
            deadline: of the first.
            patience: how many seconds the reply to the second may take after that to the first.

        Returns:
            The replies to both; None for the second when it was refused, or has no reply.
        """
        number = self._ask([("transact", [DATABASE, *operations]), ("transact", [DATABASE, *question])], deadline)
        try:
            replies = self._answer(number, "transact", operations, deadline, _replies_to(operations))
        except OvsdbRefused:
            self.close()  # nobody will read the second reply
            raise
        try:
            until = min(deadline, time.monotonic() + patience)
            return replies, self._answer(number + 1, "transact", question, until, _replies_to(question))
        except OvsdbRefused:
            return replies, None
        except OutcomeUnknown:
            self.close()
            return replies, None

    def call(self, method: str, params: list[Any], deadline: float, read: Callable[[Any], T]) -> T:
        """Send one request, and ``read`` the result of its reply. Raises as `transact`."""
        number = self._ask([(method, params)], deadline)
        operations = params[1:] if method == "transact" else ()
        return self._answer(number, method, operations, deadline, read)

    def is_free(self, lock: str, deadline: float) -> bool:
        """Return whether no client has a lock (RFC 7047, 4.1.8): take it and release it, in one round trip."""
        number = self._ask([("lock", [lock]), ("unlock", [lock])], deadline)
        got = self._answer(number, "lock", (), deadline, decode.locked)
        self._answer(number + 1, "unlock", (), deadline, lambda found: found)
        return got

    def wait_cfg(self, number: int, until: float) -> bool:
        """Wait for ovs-vswitchd to have applied configuration ``number``; False when the time ran out.

        Raises OutcomeUnknown when the connection ends.
        """
        while self.cur_cfg < number:
            try:
                self._note_next(until)
            except OutcomeUnknown as unknown:
                if unknown.lost:
                    raise
                return False
        return True

    def alive(self) -> bool:
        """Take in what has arrived meanwhile; False when the server has ended the connection."""
        try:
            while self._buffer or self._line.readable():
                self._note_next(time.monotonic() + 1)
        except OutcomeUnknown:
            return False
        return True

    # -- connecting -----------------------------------------------------------------------------------------------

    def _connect(self, deadline: float) -> None:
        failures: list[HostNotReady] = []
        remotes = self._settings.remotes
        for tried, address in enumerate(remotes):
            share = (deadline - time.monotonic()) / (len(remotes) - tried)
            try:
                with about(resource=f"Open vSwitch database at {address}", option=CONNECTION):
                    return self._open(address, time.monotonic() + max(share, 0.01))
            except HostNotReady as failure:
                failures.append(failure)
        if len(failures) == 1:
            raise failures[0]
        sentence, database = "; ".join(map(str, failures)), f"Open vSwitch database at {self._settings.connection}"
        raise Unavailable(sentence, resource=database, option=CONNECTION)

    def _open(self, address: str, deadline: float) -> None:
        self.address = address
        try:
            self._line = transport.Line(transport.dial(address, self._settings, deadline))
        except OSError as error:
            raise transport.unreachable(address, error, self._settings.timeout) from error
        try:
            self._send([{"method": "monitor", "params": _MONITORED, "id": _MONITOR}], deadline)
            try:
                self.cur_cfg = decode.first_cur_cfg(self._result(_MONITOR, deadline))
            except NotUnderstood as wrong:
                raise self._misunderstood(wrong, "monitor") from wrong
            _log.info("connected to Open vSwitch's database at %s", address)
        except (OutcomeUnknown, OvsdbRefused, Unavailable) as error:
            self.close()
            understood = not isinstance(error, AnswerNotUnderstood)
            reason = f"expected a reply within {self._settings.timeout:g} s, got {error}" if understood else str(error)
            raise Unavailable(
                f"the server at {address} accepts connections and does not answer as the Open vSwitch database: "
                f"{reason}; {'it hangs' if understood else 'it is broken'}, or it is another server"
            ) from error

    # -- messages -------------------------------------------------------------------------------------------------

    def _ask(self, requests: Sequence[tuple[str, list[Any]]], deadline: float) -> int:
        """Send requests, each a method and its params, together; the number of the first."""
        if time.monotonic() >= deadline:
            raise NotDelivered(f"no time was left to ask the Open vSwitch database at {self._settings.connection}")
        self._asked = time.monotonic()
        first = self._number + 1
        self._number += len(requests)
        numbered = enumerate(requests, first)
        self._send([{"method": method, "params": params, "id": id} for id, (method, params) in numbered], deadline)
        return first

    def _answer(
        self, number: int, method: str, operations: Sequence[Any], deadline: float, read: Callable[[Any], T]
    ) -> T:
        """``read`` the result in the reply to request ``number``; ``operations`` are those of a transaction."""
        try:
            result = read(self._result(number, deadline))
        except NotUnderstood as error:
            raise self._misunderstood(error, method, operations) from error
        except OvsdbRefused as refused:
            if method == "transact":
                raise
            database = f"Open vSwitch database at {self._settings.connection}"
            raise Unavailable(f"the {database} refused {method}: {refused}", resource=database) from refused
        self.used = time.monotonic()
        if _log.isEnabledFor(logging.DEBUG):
            spent = (self.used - self._asked) * 1000
            _log.debug("Open vSwitch's database: %s of %d operations: %.1f ms", method, len(operations), spent)
        return result

    def _send(self, messages: Sequence[dict[str, Any]], deadline: float) -> None:
        text = "".join(map(_encode, messages))
        if "\\u" in text and (string := decode.unsendable(messages)):
            raise InvalidRequest(
                f"the string {string!r} cannot be stored in Open vSwitch: it contains NUL or half of a surrogate pair"
            )
        try:
            self._line.send(text.encode(), deadline)
        except OSError as error:
            self.close()
            raise NotDelivered(
                f"the Open vSwitch database at {self._settings.connection} accepted no request: {error}; "
                "is ovsdb-server running and not stopped?"
            ) from error

    def _result(self, number: int | str, deadline: float) -> Any:
        """Return the result in the reply to request ``number``; process the notifications before it."""
        while "method" in (message := self._receive(deadline)):
            self._note(message)
        return decode.result(message, number)

    def _receive(self, deadline: float) -> dict[str, Any]:
        """Return the next message, of whatever kind."""
        self._buffer = self._buffer or self._read(deadline)
        while (found := decode.next_message(self._buffer)) is None:
            self._buffer += self._read(deadline)
        message, self._buffer = found
        return message

    def _read(self, deadline: float) -> bytes:
        try:
            data = self._line.receive(deadline)
        except TimeoutError:
            partly = f", but {len(self._buffer)} bytes that are no whole message" if self._buffer else ""
            raise OutcomeUnknown(f"no answer{partly}", lost=False) from None
        except OSError as error:
            self.close()
            raise OutcomeUnknown(str(error), lost=True) from error
        if not data:
            self.close()
            raise OutcomeUnknown("the server closed the connection", lost=True)
        return data

    def _misunderstood(
        self, error: NotUnderstood, method: str = "", operations: Sequence[Operation] = ()
    ) -> AnswerNotUnderstood:
        """After a message that is not understood nothing on the connection can be trusted."""
        self.close()
        what = f"its answer to {_request(method, operations)}" if method else "its message"
        return AnswerNotUnderstood(f"{what} cannot be understood: {error}", lost=True)

    def _note_next(self, deadline: float) -> None:
        try:
            self._note(self._receive(deadline))
        except NotUnderstood as error:
            raise self._misunderstood(error) from error

    def _note(self, message: dict[str, Any]) -> None:
        """Take in what is not the reply to a request: an update of cur_cfg, the server's own echo request."""
        match message.get("method"):
            case "update":
                number = decode.update(message.get("params"), _MONITOR)
                self.cur_cfg = self.cur_cfg if number is None else number
            case "echo":
                self._echo(message)
            case str():
                pass  # of a lock that was given back since
            case _:
                raise NotUnderstood("expected a notification, got a reply to no request")

    def _echo(self, message: dict[str, Any]) -> None:
        reply = {"id": message.get("id"), "result": message.get("params"), "error": None}
        try:
            self._send([reply], time.monotonic() + self._settings.timeout)
        except NotDelivered as error:  # a request of ours may be under way: it is not this that was not delivered
            raise OutcomeUnknown(str(error), lost=True) from error
        except RecursionError:
            raise NotUnderstood("its JSON is nested too deeply") from None


def _replies_to(operations: Sequence[Operation], kinds: Kinds = own_kinds) -> Callable[[Any], list[Reply]]:
    return lambda found: decode.replies(operations, found, kinds)


def _request(method: str, operations: Sequence[Operation]) -> str:
    """Return a request in a few words: what it does, and to which tables."""
    if method != "transact":
        return method
    parts = list(dict.fromkeys(f"{operation['op']} {operation['table']}" for operation in operations))
    return f"transact ({', '.join(parts[:3])}{', ...' if len(parts) > 3 else ''})"
