"""What vifplug does to a bridge and its ports, as commands.

A command begins with what its step says of the database. When the server finds that wrong, the command looks, and the
transaction is composed again from what is really there: so two processes that plug the same VIF at once both succeed,
and a request whose reply was lost is settled by another look.
"""

from __future__ import annotations

from collections.abc import Sequence

from vifplug.errors import Conflict
from vifplug.host.ovs import decode, encode, operations
from vifplug.host.ovs.connection import AnswerNotUnderstood
from vifplug.host.ovs.decode import NotUnderstood, OvsdbRefused, Reply, Row, Rows, Seen
from vifplug.host.ovs.operations import Keys, Operation, is_row, read_bridge, select
from vifplug.host.ovs.pool import Pool
from vifplug.host.ovs.transaction import Command, not_written
from vifplug.plan.registry import OvsBridge, OvsPort, OvsQdisc, OvsQos, OvsShaper


class PlugPort(Command[OvsPort]):
    """Make a port, or change it, to what the subject says, and read it back in the same transaction.

    Equivalent to: ovs-vsctl --may-exist add-port BRIDGE NAME -- set Port NAME tag=... -- set Interface NAME ...
    """

    def __init__(self, pool: Pool, before: OvsPort | None, after: OvsPort) -> None:
        super().__init__(pool, after)
        self.awaited = after.awaited
        self.origin = self.have = decode.assumed(before)

    def operations(self) -> list[Operation]:
        written = encode.write(self.have, self.subject)
        self.wrote = any(operation["op"] != "wait" for operation in written) or self.undecided
        self._reads = operations.read_port(self.subject.owner, self.subject.role, qos=self.subject.has_qos)
        return [*written, *self._reads]

    def finish(self, replies: list[Reply]) -> None:
        rows = [reply.rows for reply in replies[-len(self._reads) :]]
        found = _understood(self.subject.owner, self.subject.role, rows)
        # The content of a foreign QoS row is not read back here; that it was left alone is all that is desired of it.
        self.differences = not_written(self.subject, found.port, "error", *(["qos"] if found.foreign_qos else []))

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        known = self.have
        [self.have], _ = look(self.pool, [(self.subject.owner, self.subject.role, True)])
        if refused is not None and self.have == known:
            return self._worth_another_try(refused)
        if not self.undecided:
            self.origin = self.have
        if self.have.port is not None and self.have.port.name != self.subject.name:
            raise Conflict(
                f"{self.subject} for VIF {self.subject.owner} cannot be created: the VIF already has the port "
                f"{self.have.port.name} on bridge {self.have.port.bridge}; unplug it first"
            )
        return True

    def inverse(self) -> Command[OvsPort]:
        if self.origin.port is None:
            return UnplugPort(self.pool, self.subject)
        return PlugPort(self.pool, self.subject, self.origin.port)

    def _worth_another_try(self, refused: OvsdbRefused) -> bool:
        """Return whether the reason of a refusal, which is not in the VIF's own rows, has gone meanwhile."""
        if refused.taken_name is not None:
            tables = ("Interface", "Port", "Bridge")
            named = [select(table, is_row(row), ["name"]) for row in refused.rows for table in tables]
            return not any(self.pool.select(*named))
        if refused.error == "timed out":  # a guard: the port was elsewhere for a moment, or its bridge is not there
            return any(self.pool.select(read_bridge(self.subject.bridge)))
        return refused.error == "duplicate uuid"


class UnplugPort(Command[OvsPort]):
    """Remove a port, wherever it is, with its QoS; no port is success. Equivalent to: ovs-vsctl --if-exists del-port"""

    needs_vswitchd = False

    def __init__(self, pool: Pool, port: OvsPort) -> None:
        super().__init__(pool, port)
        self.awaited = port.awaited

    def operations(self) -> list[Operation]:
        return encode.remove(self.subject)

    def finish(self, replies: list[Reply]) -> None:
        self.wrote = bool(replies[0].count) or self.undecided

    def inverse(self) -> Command[OvsPort]:
        return PlugPort(self.pool, None, self.subject)


class EnsureBridge(Command[OvsBridge]):
    """Create a bridge if it does not exist; an existing one is not changed.

    Equivalent to: ovs-vsctl br-exists NAME || ovs-vsctl add-br NAME -- set Bridge NAME datapath_type=TYPE
    """

    _exists = False

    def operations(self) -> list[Operation]:
        self.wrote = not self._exists or self.undecided
        return [] if self._exists else encode.add_bridge(self.subject)

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        known = self._exists
        [found] = self.pool.select(read_bridge(self.subject.name))
        self._exists = bool(found)
        return refused is None or self._exists != known

    def inverse(self) -> Command[OvsBridge]:
        return DropBridge(self.pool, self.subject)


class DropBridge(Command[OvsBridge]):
    """Remove a bridge, whoever made it, that has no port but its own; one with others stays, and is not ``wrote``."""

    needs_vswitchd = False
    _refused = False

    def __init__(self, pool: Pool, bridge: OvsBridge, rows: Sequence[str] = ()) -> None:
        """``rows`` are the UUIDs of the bridge and its port; by default those that `EnsureBridge` gave them."""
        super().__init__(pool, bridge)
        self.row, self.port = rows or encode.bridge_rows(bridge.name)[:2]

    def operations(self) -> list[Operation]:
        self.wrote = self.wrote or not self._refused
        return [] if self._refused else encode.remove_bridge(self.row, self.port)

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        if refused is not None and refused.error == "timed out":  # it has other ports, or is gone
            [left] = self.pool.select(select("Bridge", is_row(self.row), ["_uuid"]))
            self._refused, self.wrote = True, self.undecided and not left
        return refused is None or self._refused

    def inverse(self) -> Command[OvsBridge]:
        return EnsureBridge(self.pool, self.subject)


class SetQos(Command[OvsQdisc]):
    """Attach the VIF's own QoS row to its port, or (``on`` is False) detach it; the row itself stays."""

    awaited = True  # ovs-vswitchd has to see the one before the other

    def __init__(self, pool: Pool, qdisc: OvsQdisc, *, on: bool) -> None:
        super().__init__(pool, qdisc)
        self.on = on
        self.wrote = not on  # to attach it restores what was: there is nothing to undo

    def operations(self) -> list[Operation]:
        return [encode.attach_qos(Keys.of(self.subject.owner, self.subject.role), on=self.on)]

    def inverse(self) -> Command[OvsQdisc]:
        return SetQos(self.pool, self.subject, on=True)


class DropShaper(Command[OvsShaper]):
    """Delete a VIF's rows of QoS and Queue. There is no inverse: no port refers to them."""

    needs_vswitchd = False

    def operations(self) -> list[Operation]:
        keys = Keys.of(self.subject.owner, self.subject.role)
        return [operations.delete("QoS", keys.qos), operations.delete("Queue", keys.queue)]

    def finish(self, replies: list[Reply]) -> None:
        self.wrote = any(reply.count for reply in replies) or self.undecided

    def inverse(self) -> Command[OvsShaper]:
        return self


#: a VIF, the role of its port, and whether the port is expected to have a QoS row
Sought = tuple[str, str, bool]


def look(pool: Pool, ports: Sequence[Sought], *others: Operation) -> tuple[list[Seen], list[Sequence[Row]]]:
    """Return what the database has for each port, and what ``others`` select, by one request.

    Each port with a QoS row that is not expected, or is foreign, takes more requests.
    """
    queries = [operations.read_port(owner, role, qos=shaped) for owner, role, shaped in ports]
    answers = iter(pool.select(*[operation for query in queries for operation in query], *others))
    found = [
        seen(pool, owner, role, [next(answers) for _ in query])
        for (owner, role, _), query in zip(ports, queries, strict=True)
    ]
    return found, list(answers)


def seen(pool: Pool, owner: str, role: str, rows: Rows) -> Seen:
    """Return one port from what `operations.read_port` found, with the content of a QoS row that was not expected."""
    keys = Keys.of(owner, role)
    if len(rows) == 3 and rows[0] and rows[0][0]["qos"] == keys.qos:
        rows = [*rows, *pool.select(operations.read_qos(keys.qos), operations.read_queue(keys.queue))]
    foreign = decode.foreign_qos(owner, role, rows)
    [qos] = pool.select(operations.read_qos(foreign)) if foreign else [[]]
    queue = qos[0]["queues"].get(0) if qos else None
    [queues] = pool.select(operations.read_queue(queue)) if queue else [[]]
    try:
        return _understood(owner, role, rows, decode.qos_of(qos[0], queues) if qos else None)
    except AnswerNotUnderstood as unknown:
        raise pool.unanswered(unknown) from unknown


def _understood(owner: str, role: str, rows: Rows, foreign: OvsQos | None = None) -> Seen:
    """Return `decode.seen`. Raises AnswerNotUnderstood for rows that no database can have at once."""
    try:
        return decode.seen(owner, role, rows, foreign)
    except NotUnderstood as error:
        raise AnswerNotUnderstood(f"the reply to transact cannot be understood: {error}", lost=True) from error
