"""JSON-RPC to an OVSDB server (RFC 7047): one connection, one request at a time, no replica and no thread.

The only thing that is monitored is one number, Open_vSwitch.cur_cfg: what ovs-vswitchd has applied. Three things can
become of a request, and each has its type: it was not delivered (`Unavailable`, `NotDelivered`), so nothing happened;
it was refused (`OvsdbRefused`), so nothing happened and the server says why; it was delivered and no reply came
(`OutcomeUnknown`), so somebody has to look.
"""

from __future__ import annotations

import json
import re
import select
import time
from collections.abc import Sequence
from typing import Any

from vifplug.errors import HostNotReady, InvalidRequest, Unavailable
from vifplug.host.ovs import transport
from vifplug.host.ovs.settings import OvsSettings

DATABASE = "Open_vSwitch"
Operation = dict[str, Any]
Reply = dict[str, Any]

_MONITOR = "cur_cfg"
_RECEIVE = 1 << 18
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().raw_decode
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: What neither JSON in OVS nor UTF-8 can carry: NUL (lib/json.c) and lone surrogates
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")


class OvsdbRefused(Exception):
    """The server refused a request, and nothing was changed.

    ``index`` is the operation at fault; None when the transaction as a whole was refused at its commit.
    """

    def __init__(self, error: str, details: str, index: int | None = None) -> None:
        details = " ".join(details.split())
        super().__init__(": ".join(filter(None, (" ".join(error.split()), details))))
        self.error, self.details, self.index = error, details, index

    @property
    def rows(self) -> list[str]:
        """The UUIDs of the rows that the server's words name."""
        return _UUID.findall(self.details)


class OutcomeUnknown(Exception):
    """A request was delivered and no reply came. ``lost``: the connection ended; otherwise the time ran out.

    When the connection ended, nothing is pending any more: asking anew tells what happened. When the time ran out
    the server may still execute the request, once it goes on.
    """

    def __init__(self, reason: str, *, lost: bool) -> None:
        super().__init__(reason)
        self.lost = lost


class NotDelivered(Unavailable):
    """A request could not be handed over whole, so it was certainly not executed."""


class OvsdbConnection:
    """One connection to one server, for one thread at a time. ``deadline`` is always on time.monotonic()'s clock."""

    def __init__(self, settings: OvsSettings) -> None:
        """Connect to the first remote that answers. Raises Unavailable or NotPermitted."""
        self.cur_cfg = -1
        self.used = 0.0
        self._settings = settings
        self._number = 0
        self._buffer = b""
        self._connect(time.monotonic() + settings.timeout)

    def close(self) -> None:
        self._socket.close()

    def transact(self, operations: Sequence[Operation], deadline: float) -> list[Reply]:
        """One transaction: the reply of each operation. Raises Refused, Unknown, NotDelivered."""
        replies = self.call("transact", [DATABASE, *operations], deadline)
        for index, reply in enumerate(replies):
            if reply and "error" in reply:
                at = index if index < len(operations) else None
                raise OvsdbRefused(reply["error"], reply.get("details", ""), at)
        return list(replies)

    def call(self, method: str, params: list[Any], deadline: float) -> Any:
        """Send one request and wait for its reply. Raises Refused, Unknown, NotDelivered."""
        if time.monotonic() >= deadline:
            raise NotDelivered(f"no time was left to ask the Open vSwitch database at {self._settings.connection}")
        self._number += 1
        self._send({"method": method, "params": params, "id": self._number}, deadline)
        while (message := self._receive(deadline)).get("id") != self._number or "method" in message:
            self._note(message)
        self.used = time.monotonic()
        if message["error"]:
            raise _refusal(message["error"])
        return message["result"]

    def wait_cfg(self, number: int, until: float) -> bool:
        """Wait for ovs-vswitchd to have applied configuration ``number``. Raises Unknown when the connection ends."""
        while self.cur_cfg < number:
            try:
                self._note(self._receive(until))
            except OutcomeUnknown as unknown:
                if unknown.lost:
                    raise
                return False
        return True

    def alive(self) -> bool:
        """Take in what has arrived meanwhile; False when the server has ended the connection."""
        try:
            while self._readable():
                self._note(self._receive(time.monotonic() + 1))
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
                return self._open(address, time.monotonic() + max(share, 0.01))
            except HostNotReady as failure:
                failures.append(failure)
        if len(failures) == 1:
            raise failures[0]
        raise Unavailable("; ".join(map(str, failures)))

    def _open(self, address: str, deadline: float) -> None:
        try:
            self._socket = transport.dial(address, self._settings, deadline)
        except OSError as error:
            raise transport.unreachable(address, error, self._settings.timeout) from error
        try:
            self._send(_MONITOR_REQUEST, deadline)
            while (reply := self._receive(deadline)).get("id") != _MONITOR:
                self._note(reply)
            self._note(reply)
        except (OutcomeUnknown, OvsdbRefused, Unavailable) as error:
            self.close()
            raise Unavailable(
                f"the server at {address} accepts connections and does not answer as the Open vSwitch database: "
                f"expected a reply within {self._settings.timeout:g} s, got {error}; it hangs, or it is another server"
            ) from error

    # -- messages -------------------------------------------------------------------------------------------------

    def _send(self, message: dict[str, Any], deadline: float) -> None:
        text = _encode(message)
        if "\\u" in text:
            _check_text(message)
        try:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            self._socket.sendall(text.encode())
        except OSError as error:
            self.close()
            raise NotDelivered(
                f"the Open vSwitch database at {self._settings.connection} took no request: {error}; "
                "is ovsdb-server running and not stopped?"
            ) from error

    def _receive(self, deadline: float) -> dict[str, Any]:
        """The next message, of whatever kind."""
        while (message := self._next()) is None:
            self._buffer += self._read(deadline)
        if not isinstance(message, dict):
            self.close()
            raise OutcomeUnknown(f"the server said {message!r}", lost=True)
        return message

    def _next(self) -> Any:
        # JSON-RPC over a stream has no framing. Every message is an object, and half of one seldom ends in a brace.
        if not self._buffer.endswith(b"}"):
            return None
        text = self._buffer.decode()
        try:
            message, end = _decode(text)
        except ValueError:
            return None
        self._buffer = text[end:].lstrip().encode()
        return message

    def _read(self, deadline: float) -> bytes:
        try:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(_RECEIVE)
        except TimeoutError:
            raise OutcomeUnknown("no answer", lost=False) from None
        except OSError as error:
            self.close()
            raise OutcomeUnknown(str(error), lost=True) from error
        if not data:
            self.close()
            raise OutcomeUnknown("the server closed the connection", lost=True)
        return data

    def _note(self, message: dict[str, Any]) -> None:
        """Take in what is not the reply to a request: an update of cur_cfg, the server's own echo request."""
        if message.get("id") == _MONITOR and "method" not in message:
            if message["error"]:
                raise _refusal(message["error"])
            self._update(message["result"])
        elif message.get("method") == "update":
            self._update(message["params"][1])
        elif message.get("method") == "echo":
            self._echo(message)

    def _echo(self, message: dict[str, Any]) -> None:
        reply = {"id": message["id"], "result": message["params"], "error": None}
        try:
            self._send(reply, time.monotonic() + self._settings.timeout)
        except NotDelivered as error:  # a request of ours may be under way: it is not this that was not delivered
            raise OutcomeUnknown(str(error), lost=True) from error

    def _update(self, tables: dict[str, Any]) -> None:
        for row in tables.get(DATABASE, {}).values():
            if "new" in row:
                self.cur_cfg = row["new"]["cur_cfg"]

    def _readable(self) -> bool:
        if not hasattr(select, "poll"):  # eventlet.monkey_patch takes it away; its own select has no limit of 1024
            return bool(self._buffer or select.select([self._socket], [], [], 0)[0])
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(self._buffer or poll.poll(0))


_MONITOR_REQUEST = {
    "method": "monitor",
    "params": [DATABASE, _MONITOR, {DATABASE: {"columns": ["cur_cfg"]}}],
    "id": _MONITOR,
}


def _refusal(error: Any) -> OvsdbRefused:
    if isinstance(error, dict):
        return OvsdbRefused(str(error.get("error")), str(error.get("details", "")))
    return OvsdbRefused(str(error), "")


def _check_text(value: Any) -> None:
    if isinstance(value, str):
        if _UNSENDABLE.search(value):
            raise InvalidRequest(f"the text {value!r} can't be stored in Open vSwitch: NUL or half a character in it")
    elif isinstance(value, dict):
        _check_text([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        for each in value:
            _check_text(each)
