"""A stand-in for ovs-vswitchd that applies every configuration at once, and ports that are there already.

So what is measured is the client and the database, and the ratios hold on any machine.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_BATCH = 250  # ports in one transaction


class Line:
    """A connection to ovsdb-server that sends what it is given (RFC 7047, 4.1)."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._text = ""

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def send(self, method: str, *parameters: object) -> None:
        self._socket.sendall(json.dumps({"method": method, "params": parameters, "id": method}).encode())

    def received(self) -> Iterator[dict[str, Any]]:
        """Yield the messages of the server, until it closes the connection."""
        while data := self._socket.recv(1 << 20).decode():
            self._text += data
            while self._text:
                try:
                    message, end = json.JSONDecoder().raw_decode(self._text)
                except ValueError:
                    break
                self._text = self._text[end:].lstrip()
                yield message

    def transact(self, *operations: object) -> list[dict[str, Any]]:
        """Return the results. Raises AssertionError if an operation failed."""
        self.send("transact", "Open_vSwitch", *operations)
        results: list[dict[str, Any]] = next(each for each in self.received() if each.get("id") == "transact")["result"]
        assert not any("error" in each for each in results if each), results
        return results


def fill(path: str, bridge: str, count: int) -> None:
    """Give the bridge ports that look like other VIFs'."""
    with Line(path) as line:
        for begin in range(0, count, _BATCH):
            operations: list[object] = []
            rows = []
            for number in range(begin, min(count, begin + _BATCH)):
                ids = [
                    ["iface-id", str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))],
                    ["attached-mac", "52:54:00:0:0:1"],
                ]
                interface = {"name": f"f{number}", "ofport": number + 10, "external_ids": ["map", ids]}
                port = {"name": f"f{number}", "interfaces": ["named-uuid", f"i{number}"]}
                operations += [
                    {"op": "insert", "table": "Interface", "uuid-name": f"i{number}", "row": interface},
                    {"op": "insert", "table": "Port", "uuid-name": f"p{number}", "row": port},
                ]
                rows.append(["named-uuid", f"p{number}"])
            mutations = [["ports", "insert", ["set", rows]]]
            where = [["name", "==", bridge]]
            line.transact(*operations, {"op": "mutate", "table": "Bridge", "where": where, "mutations": mutations})


@contextmanager
def instant_vswitchd(path: str, delay: float = 0.0) -> Iterator[None]:
    """Run the stand-in, a process of its own: every interface gets ofport 1, and cur_cfg follows next_cfg.

    Args:
        path: the database's socket.
        delay: after how many seconds it does so, as one does that has much to do.
    """
    context = multiprocessing.get_context("spawn")
    watches = context.Event()
    process = context.Process(target=_apply_at_once, args=[path, watches, delay], daemon=True)
    process.start()
    try:
        assert watches.wait(30)
        yield
    finally:
        process.terminate()
        process.join()


def _apply_at_once(path: str, watches: Any, delay: float) -> None:
    line = Line(path)
    new = {"initial": False, "insert": True, "modify": False, "delete": False}
    watched = {
        "Open_vSwitch": {"columns": ["next_cfg"], "select": {"initial": True, "modify": True}},
        "Interface": {"columns": ["name"], "select": new},
    }
    line.send("lock", "ovs_vswitchd")  # which says that one runs
    line.send("monitor", "Open_vSwitch", None, watched)
    for message in line.received():
        if message.get("id") == "monitor":
            watches.set()
        tables = message["result"] if message.get("id") == "monitor" else {}
        if message.get("method") == "update":
            tables = message["params"][1]
        if operations := list(_answers(tables)):
            answer = functools.partial(line.send, "transact", "Open_vSwitch", *operations)
            threading.Timer(delay, answer).start() if delay else answer()


def _answers(tables: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for row in tables.get("Interface", {}):
        yield {"op": "update", "table": "Interface", "where": [["_uuid", "==", ["uuid", row]]], "row": {"ofport": 1}}
    for change in tables.get("Open_vSwitch", {}).values():
        yield {"op": "update", "table": "Open_vSwitch", "where": [], "row": {"cur_cfg": change["new"]["next_cfg"]}}


class Floor:
    """The least that the protocol allows for a port: one transaction, and the wait for cur_cfg."""

    def __init__(self, path: str, bridge: str) -> None:
        self._line, self._where = Line(path), [["name", "==", bridge]]
        self._rows: dict[str, str] = {}

    def plug(self, name: str, external_ids: dict[str, str]) -> None:
        ids = ["map", [list(pair) for pair in external_ids.items()]]
        self._rows[name] = str(uuid.uuid4())
        interface = {"name": name, "external_ids": ids}
        port = {"name": name, "tag": 7, "interfaces": ["named-uuid", "i"]}
        self._change(
            {"op": "insert", "table": "Interface", "uuid-name": "i", "row": interface},
            {"op": "insert", "table": "Port", "uuid": self._rows[name], "row": port},
            self._mutation("insert", self._rows[name]),
        )

    def unplug(self, name: str) -> None:
        self._change(self._mutation("delete", self._rows.pop(name)))

    def _mutation(self, mutator: str, row: str) -> dict[str, Any]:
        mutations = [["ports", mutator, ["uuid", row]]]
        return {"op": "mutate", "table": "Bridge", "where": self._where, "mutations": mutations}

    def _change(self, *operations: object) -> None:
        bump = {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}
        number = {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]}
        wanted = self._line.transact(*operations, bump, number)[-1]["rows"][0]["next_cfg"]
        rows = {"columns": ["cur_cfg"], "until": "==", "rows": [{"cur_cfg": wanted}]}
        self._line.transact({"op": "wait", "table": "Open_vSwitch", "where": [], **rows, "timeout": 10_000})
