"""A database server whose answers are altered on their way: no traceback, no false success, nothing hidden.

Between vifplug and a real ovsdb-server stands a proxy that alters one message of the server, the n-th of a verb, in one
of many ways. Whatever it makes of it, the verb has either done what it says, or raises a VifplugError of one sentence
with an exit code that is true. Each run takes a sample of all alterations; `VIFPLUG_ALTERATIONS=all` tries all of them.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vifplug import VIF, conf, errors
from vifplug.compat.driver import OsVifDriver
from vifplug.host.ovs import decode
from vifplug.host.ovs.decode import NotUnderstood, OvsdbRefused
from vifplug.testing.host import PrivateHost

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
TAP = "tap9c4e2f10-6a"
#: another program's port
THEIRS = "tap11111111-11"
THEIR_ID = "11111111-1111-4111-8111-111111111111"

#: What takes the place of a value.
VALUES: list[Any] = [
    None,
    7,
    -1,
    True,
    "x",
    "",
    [],
    {},
    [[]],
    ["set", []],
    ["map", []],
    ["uuid", "x"],
    1.5,
    ["set", [1, 2]],
]
SAMPLE = 30


def vif(**keys: Any) -> VIF:
    document = {"id": ID, "type": "bridge", "mac": "52:54:00:12:34:56", "source": {"bridge": "br-int"}, "vlan": 7}
    limits = {"bandwidth": {"inbound": {"average": 1000}}, "virtualport": {"type": "openvswitch"}}
    return VIF.from_json({**document, **limits, **keys})


# -- alterations --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alteration:
    """What becomes of one message: what is sent in its place, and whether the connection ends then."""

    name: str
    alter: Callable[[Any], bytes]
    ends: bool = False


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def cut(message: Any) -> bytes:
    return compact(message)[: len(compact(message)) // 2]


def nested(message: Any) -> bytes:
    return b'{"id":' + compact(message.get("id")) + b',"error":null,"result":' + b"[" * 50_000 + b"]" * 50_000 + b"}"


WHOLE = [
    Alteration("cut", cut),
    Alteration("cut and closed", cut, ends=True),
    Alteration("closed", lambda message: b"", ends=True),
    Alteration("dropped", lambda message: b""),
    Alteration("an array", lambda message: compact([message])),
    Alteration("empty", lambda message: b"{}"),
    Alteration("no JSON", lambda message: b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    Alteration("no UTF-8", lambda message: b'{"x":"\xff"}'),
    Alteration("half a character", lambda message: compact({**message, "x": "\ud800"})),
    Alteration("a bracket too many", lambda message: compact(message) + b"}"),
    Alteration("nested", nested),
    Alteration("huge", lambda message: compact({**message, "result": ["x" * 3_000_000]})),
    Alteration("another id", lambda message: compact({**message, "id": 424242})),
    Alteration("a notification", lambda message: compact({"method": "update", "params": [], "id": None})),
    Alteration("an unknown notification", lambda message: compact({"method": "x", "params": None, "id": None})),
    Alteration("an echo without params", lambda message: compact({"method": "echo"}) + compact(message)),
    Alteration("twice", lambda message: compact(message) * 2),
    Alteration("refused", lambda message: compact({"id": message.get("id"), "result": None, "error": "no"})),
    Alteration(
        "refused at length", lambda message: compact({"id": message.get("id"), "result": None, "error": "no " * 9999})
    ),
    Alteration("refused by a number", lambda message: compact({"id": message.get("id"), "result": None, "error": 5})),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a message, from the outside in."""
    if path:
        yield path
    if isinstance(value, dict):
        pairs: Any = value.items()
    else:
        pairs = enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from places(item, (*path, key))


def put(message: Any, path: tuple[Any, ...], work: Callable[[Any, Any], None]) -> Any:
    changed = copy.deepcopy(message)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    work(holder, path[-1])
    return changed


def _delete(holder: Any, key: Any) -> None:
    del holder[key]


def _double(holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[f"{key}x"] = holder[key]


def _replace(value: Any) -> Callable[[Any, Any], None]:
    def work(holder: Any, key: Any) -> None:
        holder[key] = value

    return work


def alterations(message: Any) -> list[Alteration]:
    """All of one message, but for lies that nobody could tell from the truth."""
    values = {f"{value!r} for": value for value in VALUES}
    works = {"without": _delete, "double": _double, **{name: _replace(value) for name, value in values.items()}}
    return WHOLE + [
        Alteration(f"{name} {path}", lambda _, path=path, work=work: compact(put(message, path, work)))
        for path in places(message)
        for name, work in works.items()
        if not _is_credible(message, path, values.get(name))
    ]


def _is_credible(message: Any, path: tuple[Any, ...], value: Any) -> bool:
    """Whether the value is another pair of a map of strings, or another string in such a pair."""
    is_pair = value == ["uuid", "x"] and _is_map(message, path[:-2])
    return is_pair or (isinstance(value, str) and _is_map(message, path[:-3]))


def _is_map(message: Any, path: tuple[Any, ...]) -> bool:
    for key in path:
        message = message[key]
    return isinstance(message, list) and message[:1] == ["map"]


# -- the proxy ----------------------------------------------------------------------------------------------------


class Proxy:
    """Passes on what vifplug and the server say; one message of the server is altered: see `arm`."""

    def __init__(self, path: Path, server: str) -> None:
        self.connection = f"unix:{path}"
        self.messages: list[Any] = []
        self._server = server.removeprefix("unix:")
        self._number: int | Callable[[Any], bool] = -1
        self._alteration = WHOLE[0]
        self._lines: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, number: int | Callable[[Any], bool] = -1, alteration: Alteration = WHOLE[0]) -> None:
        """Begin to count, with all connections ended; ``number`` may also say of a message whether it is altered."""
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self._lines.clear()
        self.messages, self._number, self._alteration = [], number, alteration

    def close(self) -> None:
        self.arm()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._lines += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        buffer, scan = "", json.JSONDecoder().raw_decode
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 20):
                buffer += data.decode()
                while buffer:
                    try:
                        message, end = scan(buffer)
                    except ValueError:
                        break
                    buffer = buffer[end:]
                    self._send(client, message)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def _send(self, client: socket.socket, message: Any) -> None:
        self.messages.append(message)
        number = self._number
        if not (len(self.messages) - 1 == number if isinstance(number, int) else number(message)):
            return client.sendall(compact(message))
        client.sendall(self._alteration.alter(message))
        if self._alteration.ends:
            client.shutdown(socket.SHUT_RDWR)
        return None


# -- the truth ----------------------------------------------------------------------------------------------------


class Truth:
    """The database as it is, asked past vifplug."""

    def __init__(self, connection: str) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(connection.removeprefix("unix:"))

    def close(self) -> None:
        self._line.close()

    def rows(self) -> dict[str, Any]:
        """What plugging writes, by table and name."""
        columns = {
            "Bridge": ["name", "ports"],
            "Port": ["name", "_uuid", "tag", "qos", "interfaces"],
            "Interface": ["name", "_uuid", "external_ids"],
            "QoS": ["_uuid", "type"],
            "Queue": ["_uuid"],
        }
        reads = [{"op": "select", "table": table, "where": [], "columns": names} for table, names in columns.items()]
        self._line.sendall(compact({"method": "transact", "params": ["Open_vSwitch", *reads], "id": 0}))
        text = ""
        while True:
            text += self._line.recv(1 << 20).decode()
            with contextlib.suppress(ValueError):
                found = json.loads(text)["result"]
                return {table: sorted(each["rows"], key=compact) for table, each in zip(columns, found, strict=True)}

    def port(self) -> dict[str, Any] | None:
        """The VIF's Port row, if it is on br-int and marked as the VIF's."""
        rows = self.rows()
        [port] = [row for row in rows["Port"] if row["name"] == TAP] or [None]
        [marks] = [dict(row["external_ids"][1]) for row in rows["Interface"] if row["name"] == TAP] or [{}]
        on = [row["name"] for row in rows["Bridge"] if port and port["_uuid"] in (row["ports"][1], *row["ports"][1])]
        return port if port and on == ["br-int"] and marks.get("vifplug-id") == ID else None

    def is_taken(self) -> bool:
        marks = [dict(row["external_ids"][1]) for row in self.rows()["Interface"] if row["name"] == THEIRS]
        return [each.get("vifplug-id") for each in marks] == [THEIR_ID]


# -- verbs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verb:
    """A verb, whether the VIF is plugged before it, and what must be true when it says that it is done."""

    run: Callable[[OsVifDriver], object]
    plugged: bool = False
    holds: Callable[[Truth, Any], bool] = lambda truth, said: True
    changes: bool = False


def _take_over(driver: OsVifDriver) -> object:
    theirs = vif(id=THEIR_ID, target=THEIRS, mac="52:54:00:12:34:57", bandwidth=None, vlan=None)
    desired = [each for each in driver.desired(theirs) if each.kind == "ovs-port"]
    return list(driver.take_over(THEIR_ID, desired))


def _has_tag(tag: int) -> Callable[[Truth, Any], bool]:
    def holds(truth: Truth, said: Any) -> bool:
        port = truth.port()
        return port is not None and port["tag"] == tag and port["qos"] != ["set", []]

    return holds


VERBS = {
    "plug": Verb(lambda driver: driver.plug(vif()), holds=_has_tag(7), changes=True),
    "re-plug": Verb(lambda driver: driver.plug(vif()), plugged=True, holds=_has_tag(7), changes=True),
    "update": Verb(lambda driver: driver.update(vif(vlan=8)), plugged=True, holds=_has_tag(8), changes=True),
    "unplug": Verb(lambda d: d.unplug(ID), plugged=True, holds=lambda truth, said: truth.port() is None, changes=True),
    "check": Verb(lambda driver: driver.check(), plugged=True),
    "dry run": Verb(lambda driver: driver.plan(vif()), changes=False),
    "topology": Verb(lambda driver: driver.topology(), plugged=True),
    "host-info": Verb(lambda driver: driver.host_info(), plugged=True),
    "settle": Verb(lambda driver: driver.settle(ID), plugged=True, holds=_has_tag(7), changes=True),
    "take over": Verb(_take_over, holds=lambda truth, said: truth.is_taken() is bool(said), changes=True),
}


@dataclass
class Bench:
    """A host, a driver that speaks through the proxy, and one that does not."""

    host: PrivateHost
    driver: OsVifDriver
    proxy: Proxy
    truth: Truth
    state: str = "unknown"

    def begin(self, verb: Verb) -> None:
        """The state that the verb begins with."""
        self.proxy.arm()
        state = "theirs" if verb.run is _take_over else "plugged" if verb.plugged else "unplugged"
        if state != self.state:
            for each in (ID, THEIR_ID):
                self.host.driver.unplug(each, force=True)
            self.host.ovs.ctl("--if-exists", "del-port", THEIRS)
            if state == "theirs":
                mark = f"external_ids:iface-id={THEIR_ID}"
                self.host.ovs.ctl("add-port", "br-int", THEIRS, "--", "set", "Interface", THEIRS, "type=internal", mark)
            elif state == "plugged":
                self.host.driver.plug(vif())
        self.state = "unknown" if verb.changes else state

    def outcome(self, name: str, number: int, alteration: Alteration) -> str:
        """What is wrong with what the verb made of it; empty where all is right."""
        verb = VERBS[name]
        self.begin(verb)
        before = self.truth.rows()
        self.proxy.arm(number, alteration)
        try:
            said = verb.run(self.driver)
        except errors.VifplugError as error:
            return self._wrong(error, before)
        except Exception as error:  # noqa: BLE001  # which is what the test looks for
            return f"uncaught {type(error).__name__}: {error}"[:200]
        return "" if verb.holds(self.truth, said) else "false success"

    def _wrong(self, error: errors.VifplugError, before: dict[str, Any]) -> str:
        if "\n" in str(error) or not 0 < len(str(error)) < 5000:
            return f"no sentence: {error!r}"
        if error.exit_code not in (3, 4, 5, 6):
            return f"exit code {error.exit_code}: {error}"
        if error.exit_code != 6 and self.truth.rows() != before:
            return f"something is left, unsaid: {error}"
        return ""

    def messages(self, name: str) -> list[Any]:
        """What the server says when nothing is altered."""
        for _ in range(10):
            self.begin(VERBS[name])
            with contextlib.suppress(errors.VifplugError):  # a machine that is too busy for the short timeout
                VERBS[name].run(self.driver)
                return list(self.proxy.messages)
        raise AssertionError(f"{name} fails with a server that is not altered")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with PrivateHost(vifplug_ovs={"ensure_bridge": True}) as host, contextlib.ExitStack() as stack:
        host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
        proxy = Proxy(tmp_path_factory.mktemp("proxy") / "db.sock", host.ovs.connection)
        stack.callback(proxy.close)
        config = host.directory / "altered.conf"
        config.write_text(host.configuration(connection=proxy.connection, timeout=0.8))
        driver = stack.enter_context(OsVifDriver(conf.load([str(config)])))
        truth = Truth(host.ovs.connection)
        stack.callback(truth.close)
        yield Bench(host, driver, proxy, truth)


def _chosen(bench: Bench) -> list[tuple[str, int, Alteration]]:
    every = [
        (name, number, alteration)
        for name in VERBS
        for number, message in enumerate(bench.messages(name))
        for alteration in alterations(message)
    ]
    wish = os.environ.get("VIFPLUG_ALTERATIONS", str(SAMPLE))
    seed = os.environ.get("VIFPLUG_SEED", "0")
    return every if wish == "all" else sorted(random.Random(seed).sample(every, int(wish)), key=lambda one: one[0])


def test_no_verb_believes_an_altered_answer(bench: Bench) -> None:
    wrong: list[str] = []
    for name, number, alteration in _chosen(bench):
        if message := bench.outcome(name, number, alteration):
            wrong.append(f"{name}, message {number}, {alteration.name[:80]}: {message}")
    assert not wrong, "\n".join([f"{len(wrong)} are wrong:", *wrong])


@pytest.mark.parametrize("name", ["check", "unplug", "update"])
def test_a_port_with_a_row_left_out_is_refused_as_an_answer(bench: Bench, name: str) -> None:
    """No transaction can show a port without its bridge, or a bridge with a port that does not exist."""
    bench.begin(VERBS[name])
    messages = bench.messages(name)
    number = next(n for n, each in enumerate(messages) if _has_rows(each))
    for table in (0, 2):  # Port and Bridge
        path = ("result", table, "rows")
        wrong = Alteration("", lambda message, path=path: compact(put(message, path, _replace([]))))
        assert bench.outcome(name, number, wrong) == ""


def _has_rows(message: Any) -> bool:
    results = message.get("result")
    return isinstance(results, list) and len(results) > 3 and all(each.get("rows") for each in results[:3])


@pytest.mark.parametrize("collects", [True, False])
def test_a_large_answer_leaves_the_garbage_collector_as_it_was(collects: bool) -> None:
    whole = compact({"result": ["x" * 1000] * 1000})
    try:
        (gc.enable if collects else gc.disable)()
        assert decode.next_message(whole) == ({"result": ["x" * 1000] * 1000}, b"")
        assert gc.isenabled() is collects
        assert decode.next_message(b'{"a":{}' + whole) is None and gc.isenabled() is collects
    finally:
        gc.enable()


def test_what_became_of_a_new_port_is_asked_again_unless_it_was_answered(bench: Bench) -> None:
    """The question is sent with the port. Whatever is said to it, the plug succeeds, and writes once."""
    verb, wrong = VERBS["plug"], []
    config = bench.host.directory / "patient.conf"
    config.write_text(bench.host.configuration(connection=bench.proxy.connection, timeout=3))
    with OsVifDriver(conf.load([str(config)])) as driver:
        for alteration in WHOLE:
            bench.begin(verb)
            bench.proxy.arm(_is_the_answer, alteration)
            verb.run(driver)
            results = [each["result"] for each in bench.proxy.messages if isinstance(each.get("result"), list)]
            times = sum({"uuid"} in map(set, each) for each in results)
            answers = sum(map(_is_the_answer, bench.proxy.messages))
            if not (times == answers == 1 and verb.holds(bench.truth, None)):
                wrong.append(f"{alteration.name}: {times} times written, {answers} times answered")
    assert not wrong


def _is_the_answer(message: Any) -> bool:
    results = message.get("result")
    return isinstance(results, list) and any("cur_cfg" in row for each in results for row in each.get("rows", ()))


@pytest.mark.parametrize("alteration", WHOLE, ids=lambda alteration: alteration.name)
def test_a_verb_that_only_looks_is_right_or_refused(bench: Bench, alteration: Alteration) -> None:
    assert bench.outcome("check", 1, alteration) == ""


def test_an_altered_reply_is_decoded_or_not_understood(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server, so many of them: no other error leaves the one place where answers are decoded."""
    heard: dict[str, tuple[Any, Any]] = {}
    replies = decode.replies

    def record(operations: Any, answer: Any, kinds: Any) -> Any:
        heard.setdefault(str([(each["op"], each["table"]) for each in operations]), (operations, answer))
        return replies(operations, answer, kinds)

    monkeypatch.setattr(decode, "replies", record)
    for name in VERBS:
        bench.messages(name)
    assert len(heard) > 8
    for operations, answer in heard.values():
        message = {"id": 1, "result": answer, "error": None}
        every = alterations(message)
        for alteration in random.Random(0).sample(every, min(len(every), 500)):
            with contextlib.suppress(NotUnderstood, OvsdbRefused):
                if found := decode.next_message(alteration.alter(message)):
                    replies(operations, decode.result(found[0], 1), decode.own_kinds)
