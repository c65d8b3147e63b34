"""What the server answers: checked, as values of Python, and as ports and bridges (ovs-vswitchd.conf.db.5). Pure.

Every reply and notification passes here once, in `vifplug.host.ovs.connection`. What RFC 7047 does not allow, or the
request did not ask for, is `NotUnderstood`; nothing behind this module has to doubt the shape of an answer.
"""

from __future__ import annotations

import functools
import gc
import json
import re
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from vifplug.host.ovs.operations import DATABASE, OWNER, ROLE, STATUS, Keys, Operation
from vifplug.model.codec import FrozenMap
from vifplug.plan.registry import OvsPolicing, OvsPort, OvsQos, OvsVlan

#: The columns that a select asked for, each as its kind in `_COLUMNS` has it
Row = Mapping[str, Any]
Rows = Sequence[Sequence[Row]]
#: From a value in OVSDB's notation to one of Python. Raises NotUnderstood.
Decode = Callable[[Any], Any]
#: From a table to what decodes each of its columns
Kinds = Callable[[str], Mapping[str, Decode]]

#: Tables whose names are unique
_NAMED = ("Bridge", "Port", "Interface")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TAKEN = re.compile(r'in "\w+" table to have identical values \("?(.*?)"?\) for index on column "name"')
#: What neither JSON in Open vSwitch nor UTF-8 can carry: NUL (lib/json.c) and lone surrogates
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")
#: an error quotes at most so many characters of the server's words; the longest of ovsdb-server's own have some 300
_QUOTED = 1000
#: from so many characters on, the answer about some hundred ports
_LARGE = 1 << 17
_scan = json.JSONDecoder().raw_decode
T = TypeVar("T")


class NotUnderstood(Exception):
    """The server answered what RFC 7047 does not allow, or what was not asked for."""


class OvsdbRefused(Exception):
    """The server refused a request, and nothing was changed.

    ``index`` is the operation at fault; None when the transaction as a whole was refused at its commit.
    """

    def __init__(self, error: str, details: str, index: int | None = None) -> None:
        details = " ".join(details.split())
        words = ": ".join(filter(None, (" ".join(error.split()), details)))
        super().__init__(words if len(words) <= _QUOTED else f"{words[:_QUOTED]}...")
        self.error, self.details, self.index = error, details, index

    @property
    def rows(self) -> list[str]:
        """The UUIDs of the rows that the server's words name."""
        return _UUID.findall(self.details)

    @property
    def taken_name(self) -> str | None:
        """The name that two rows would have, when that is why the transaction was refused."""
        found = _TAKEN.search(self.details) if self.error == "constraint violation" else None
        return found[1] if found else None


# -- messages (RFC 7047, section 4) -------------------------------------------------------------------------------


def next_message(buffer: bytes) -> tuple[dict[str, Any], bytes] | None:
    """Return the first message of a stream and the rest of it; None while the message is not complete.

    JSON-RPC over a stream has no framing. Every message is an object, and half of one seldom ends in a brace, or has
    one that ends before another begins.
    """
    if buffer[:1] not in (b"{", b""):
        raise NotUnderstood(f"expected a JSON object, got {_shown(buffer)}")
    if not buffer.endswith(b"}") and b"}{" not in buffer:
        return None
    whole = buffer[: buffer.rindex(b"}") + 1]
    try:
        text = whole.decode()
    except UnicodeDecodeError as error:
        raise NotUnderstood(f"it is not UTF-8 ({error.reason} at byte {error.start})") from None
    try:
        message, end = _scan(text) if len(text) < _LARGE or not gc.isenabled() else _uncollected(text)
        has_half = "\\u" in text and unsendable(message)
    except ValueError:
        return None
    except RecursionError:
        raise NotUnderstood("its JSON is nested too deeply") from None
    if has_half:
        raise NotUnderstood("a string contains NUL or half of a surrogate pair")
    return message, text[end:].lstrip().encode() + buffer[len(whole) :]


def _uncollected(text: str) -> tuple[Any, int]:
    """Scan a large text without the garbage collector, which would look for cycles that JSON cannot have.

    With it the time for each port of a batch grows with the ports.
    """
    gc.disable()
    try:
        return _scan(text)
    finally:
        gc.enable()


def result(message: Mapping[str, Any], number: int | str) -> Any:
    """Return what the reply to request ``number`` says. Raises OvsdbRefused for an error of the server's."""
    if message.get("id") != number or type(message["id"]) is not type(number):
        raise NotUnderstood(f"expected the reply to request {number}, got one to {_shown(message.get('id'))}")
    error = message.get("error")
    if error is not None:
        raise _refusal(error if isinstance(error, dict) else {"error": error}, None)
    if message.get("result") is None:
        raise NotUnderstood("expected a result or an error, got neither")
    return message["result"]


def cur_cfg(tables: Any) -> int | None:
    """Return the number in an update of the monitor of Open_vSwitch.cur_cfg; None when it has no new row."""
    updates = _object(tables).get(DATABASE, {})
    news = [_object(each).get("new") for each in _object(updates).values()]
    numbers = [integer(_object(new).get("cur_cfg")) for new in news if new is not None]
    return numbers[-1] if numbers else None


def first_cur_cfg(tables: Any) -> int:
    """Return the number in the monitor's first reply."""
    number = cur_cfg(tables)
    if number is None:
        raise NotUnderstood("the table Open_vSwitch is empty; initialize it with `ovs-vsctl --no-wait init`")
    return number


def update(params: Any, monitor: str) -> int | None:
    """Return the number in a notification of the monitor; None when it has no new row."""
    match params:
        case [name, tables] if name == monitor:
            return cur_cfg(tables)
    raise NotUnderstood(f"expected an update of the monitor {monitor}, got {_shown(params)}")


def locked(result: Any) -> bool:
    """Return whether the lock was acquired."""
    got = _object(result).get("locked")
    if not isinstance(got, bool):
        raise NotUnderstood(f"expected locked to be true or false, got {_shown(got)}")
    return got


def unsendable(value: Any) -> str | None:
    """Return the first string in ``value``, or in what it holds, that cannot be sent or stored."""
    if isinstance(value, str):
        return value if _UNSENDABLE.search(value) else None
    inner = (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return next(filter(None, map(unsendable, inner)), None)


# -- results of a transaction (RFC 7047, section 5.2) -------------------------------------------------------------


@dataclass(slots=True)
class Reply:
    """The result of one operation: the rows of a select, how many rows a change met."""

    rows: Sequence[Row] = ()
    count: int = 0


#: two that nearly all operations have, made once
_DONE, _MET = Reply(), Reply(count=1)


def replies(operations: Sequence[Operation], answer: Any, kinds: Kinds) -> list[Reply]:
    """Return the result of each operation. Raises OvsdbRefused."""
    results = _array(answer)
    for index, each in enumerate(results[: len(operations) + 1]):
        if type(each) is dict and "error" in each:
            raise _refusal(each, index if index < len(operations) else None)
    if len(results) != len(operations):
        raise NotUnderstood(f"expected {len(operations)} results, got {len(results)}")
    return [_reply(*pair, kinds) for pair in zip(operations, results, strict=True)]


def _refusal(found: Mapping[str, Any], index: int | None) -> OvsdbRefused:
    error, details = found.get("error"), found.get("details", "")
    if not (isinstance(error, str) and error and isinstance(details, str)):
        raise NotUnderstood(f"expected an error in words, got {_shown(found)}")
    return OvsdbRefused(error, details, index)


def _reply(operation: Operation, result: Any, kinds: Kinds) -> Reply:
    match operation["op"], result:
        case "select", {"rows": list(rows)}:
            found = _rows(operation, rows, kinds)
            return Reply(rows=found) if found else _DONE
        case "insert", {"uuid": found}:
            if (row := row_id(found)) != operation.get("uuid", row):
                raise NotUnderstood(f"expected row {operation['uuid']} to be inserted, got {row}")
            return _DONE
        case "update" | "mutate" | "delete", {"count": count}:
            at_most = 1 if operation["where"] and operation["where"][0][0] == "_uuid" else sys.maxsize
            if type(count) is not int or not 0 <= count <= at_most:
                raise NotUnderstood(f"{operation['table']}: expected a count of rows, got {_shown(count)}")
            return _MET if count == 1 else Reply(count=count)
        case "wait" | "assert" | "comment", dict():
            return _DONE
    raise _wrong(f"the result of {operation['op']}", result)


def _rows(operation: Operation, found: Sequence[Any], kinds: Kinds) -> list[Row]:
    table, where = operation["table"], operation["where"]
    if not found and table != DATABASE:
        return []
    rows = list(map(functools.partial(_row, table, operation.get("columns"), kinds(table)), found))
    if table == DATABASE and not where and len(rows) != 1:
        raise NotUnderstood(f"expected one row of the table {table}, got {len(rows)}")
    for column, function, value in where:
        if function == "==" and (column == "_uuid" or (column == "name" and table in _NAMED)):
            expected = value[1] if column == "_uuid" else value
            if len(rows) > 1 or (rows and str(rows[0].get(column, expected)) != expected):
                raise NotUnderstood(f"expected the row of the table {table} with {column} {expected}, got other rows")
    return rows


def _row(table: str, columns: Sequence[str] | None, kinds: Mapping[str, Decode], row: Any) -> Row:
    if type(row) is not dict:
        raise _wrong("an object", row)
    decoded = {}
    for column in columns or row:
        if column not in row:
            raise NotUnderstood(f"expected column {column} in a row of the table {table}, got none")
        value, decode = row[column], kinds[column]
        try:
            decoded[column] = value if type(value) is _ATOMS.get(decode) else decode(value)
        except NotUnderstood as error:
            raise NotUnderstood(f"{table}.{column}: {error}") from None
    return decoded


# -- values (RFC 7047, section 5.1) -------------------------------------------------------------------------------


def _atom(kind: type[T], name: str) -> Callable[[Any], T]:
    def decode(value: Any) -> T:
        if type(value) is kind:
            return value
        raise _wrong(name, value)

    return decode


string, integer, boolean = _atom(str, "a string"), _atom(int, "an integer"), _atom(bool, "true or false")
_object, _array = _atom(dict, "an object"), _atom(list, "an array")
#: The types whose values are decoded as they are
_ATOMS: Mapping[Decode, type] = {string: str, integer: int, boolean: bool}


def row_id(value: Any) -> str:
    match value:
        case ["uuid", str(row)] if _UUID.fullmatch(row):
            return row
    raise _wrong("a reference to a row", value)


_NONE = ["set", []]


def set_of(member: Decode) -> Decode:
    """Return what decodes a set; one member stands for a set of one."""

    def decode(value: Any) -> tuple[Any, ...]:
        match value:
            case ["set", list(members)]:
                return tuple(map(member, members))
        return (member(value),)

    return decode


def optional(member: Decode) -> Decode:
    """Return what decodes a set of at most one member, as that member or None."""

    members = set_of(member)

    def decode(value: Any) -> Any:
        if type(value) is _ATOMS.get(member):
            return value
        if value == _NONE:
            return None
        found = members(value)
        if len(found) > 1:
            raise _wrong("at most one value", value)
        return found[0] if found else None

    return decode


def map_of(key: Decode, item: Decode) -> Decode:
    def decode(value: Any) -> dict[Any, Any]:
        match value:
            case ["map", list(pairs)]:
                found = {}
                for pair in pairs:
                    match pair:
                        case [first, second]:
                            first = first if type(first) is _ATOMS.get(key) else key(first)
                            found[first] = second if type(second) is _ATOMS.get(item) else item(second)
                        case _:
                            raise _wrong("a pair of key and value", pair)
                if len(found) == len(pairs):
                    return found
        raise _wrong("a map", value)

    return decode


def _wrong(expected: str, value: Any) -> NotUnderstood:
    return NotUnderstood(f"expected {expected}, got {_shown(value)}")


def _shown(value: Any) -> str:
    """Return a value for an error, shortened."""
    return " ".join(reprlib.repr(value).split())


_strings = map_of(string, string)

#: Every column that vifplug reads. A name means the same in each table that has it.
_COLUMNS: dict[str, Decode] = {
    **dict.fromkeys(("name", "type", "datapath_type", "target"), string),
    **dict.fromkeys(("vlan_mode", "error", "ovs_version", "db_version", "link_state", "fail_mode"), optional(string)),
    **dict.fromkeys(("tag", "ofport", "ofport_request", "mtu_request"), optional(integer)),
    **dict.fromkeys(("ingress_policing_rate", "ingress_policing_burst", "next_cfg", "cur_cfg"), integer),
    **dict.fromkeys(("external_ids", "other_config", "options"), _strings),
    **dict.fromkeys(("datapath_types", "iface_types"), set_of(string)),
    **dict.fromkeys(("ports", "interfaces", "controller"), set_of(row_id)),
    "_uuid": row_id,
    **dict.fromkeys(("trunks", "cvlans"), set_of(integer)),
    **dict.fromkeys(("protected", "fake_bridge", "is_connected"), boolean),
    "qos": optional(row_id),
    "queues": map_of(integer, row_id),
}


def own_kinds(table: str) -> Mapping[str, Decode]:
    """Return what decodes the columns that vifplug reads."""
    return _COLUMNS


# -- ports and bridges --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What the database has for one port. ``foreign_qos``: the QoS row that somebody else gave it."""

    port: OvsPort | None
    has_qos: bool = False
    has_queue: bool = False
    foreign_qos: str = ""


def assumed(port: OvsPort | None) -> Seen:
    """Return what the database has if ``port`` is still right: a guess that the server confirms or refuses."""
    shaped = port is not None and port.has_qos
    return Seen(port, has_qos=shaped, has_queue=shaped)


#: the error of a port that is `OvsPort.torn`
_APART = "another program parted its rows of the tables Port and Interface"


def seen(owner: str, role: str, rows: Rows, foreign: OvsQos | None = None) -> Seen:
    """Return what `operations.read_port` found. ``foreign`` is the content of the row that `foreign_qos` names.

    The server collects a Port that no Bridge has, and a Bridge has no Port that does not exist (RFC 7047, section
    3.2). An Interface can be without its Port, and the reverse: whoever sets Port.interfaces can part them.
    """
    ports, interfaces, bridges, qos, queues = [*rows, (), ()][:5]
    if bool(ports) != bool(bridges):
        kind, other = ("Port", "Bridge") if ports else ("Bridge", "Port")
        raise NotUnderstood(f"expected the rows of one port, got that of the table {kind} without that of {other}")
    if bool(ports) != bool(interfaces):
        name = (ports or interfaces)[0]["name"]
        bridge = bridges[0]["name"] if bridges else ""
        apart = OvsPort(name=name, owner=owner, role=role, bridge=bridge, error=_APART, torn=True)
        return Seen(apart, has_qos=bool(qos), has_queue=bool(queues))
    if not ports:
        return Seen(None, has_qos=bool(qos), has_queue=bool(queues))
    own = bool(qos) and ports[0]["qos"] == Keys.of(owner, role).qos
    shaper = qos_of(qos[0], queues) if own else foreign or OvsQos()
    found = port(owner, role, (ports[0], interfaces[0], bridges[0]["name"]), shaper)
    return Seen(found, bool(qos), bool(queues), foreign_qos(owner, role, rows) or "")


_PORT = OvsPort(name="", bridge="")


def port(owner: str, role: str, found: tuple[Row, Row, str], qos: OvsQos) -> OvsPort:
    """Return the port of the rows of Port and Interface, and the bridge's name."""
    row, interface, bridge = found
    return _PORT.trusted(  # each value was checked when its row was decoded
        name=row["name"],
        owner=owner,
        role=role,
        bridge=bridge,
        type=interface["type"],
        vlan=vlan(row),
        protected=row["protected"],
        external_ids=FrozenMap(without(interface["external_ids"], OWNER, ROLE, *STATUS)),
        options=FrozenMap(interface["options"]),
        other_config=FrozenMap(row["other_config"]),
        interface_config=FrozenMap(interface["other_config"]),
        ofport_request=interface["ofport_request"] or 0,
        mtu_request=interface["mtu_request"] or 0,
        qos=qos,
        policing=_policing(interface["ingress_policing_rate"], interface["ingress_policing_burst"]),
        error=PortState.of(interface).error,
        ofport=interface["ofport"],
    )


def vlan(port: Row) -> OvsVlan:
    """Return the VLAN columns of a Port row."""
    return _vlan(port["vlan_mode"], port["tag"], port["trunks"], port["cvlans"])


#: a host has few of them, and many ports: to make one takes longer than to find it
@functools.lru_cache(maxsize=1024)
def _vlan(mode: str | None, tag: int | None, trunks: tuple[int, ...], cvlans: tuple[int, ...]) -> OvsVlan:
    return OvsVlan(mode=mode, tag=tag, trunks=trunks, cvlans=cvlans)


@functools.lru_cache(maxsize=1024)
def _policing(rate: int, burst: int) -> OvsPolicing:
    return OvsPolicing(rate=rate, burst=burst)


def foreign_qos(owner: str, role: str, rows: Rows) -> str | None:
    """Return the UUID of the QoS row that the port has and that is not the VIF's own."""
    attached: str | None = rows[0][0]["qos"] if rows[0] else None
    return None if attached == Keys.of(owner, role).qos else attached


def qos_of(qos: Row, queues: Sequence[Row]) -> OvsQos:
    return OvsQos(
        type=qos["type"],
        other_config=FrozenMap(qos["other_config"]),
        queue=FrozenMap(queues[0]["other_config"] if queues else {}),
        external_ids=FrozenMap(without(qos["external_ids"], OWNER, ROLE)),
    )


def without(values: Mapping[str, str], *keys: str) -> dict[str, str]:
    return {key: value for key, value in values.items() if key not in keys}


@dataclass(frozen=True)
class PortState:
    """What ovs-vswitchd (``ofport``, ``error``) and ovn-controller (``installed``) say of a port."""

    ofport: int | None
    error: str
    installed: bool

    @property
    def lacks_device(self) -> bool:
        """Whether all that is wrong is that there is no device of that name (strerror(3) of ENODEV)."""
        return self.error.endswith("(No such device)")

    @classmethod
    def of(cls, interface: Row) -> PortState:
        # ovs-vswitchd may report an error by an ofport of -1 alone.
        no_device = "could not open network device" if interface["ofport"] == -1 else ""
        installed = interface["external_ids"].get("ovn-installed") == "true"
        return cls(interface["ofport"], interface["error"] or no_device, installed)
