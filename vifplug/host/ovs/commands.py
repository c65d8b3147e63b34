"""What vifplug does to a bridge, as ovsdbapp commands: each runs in ``api.transaction()`` next to any other.

A command begins with what its step says of the database. When the server finds that wrong, the command looks, and
the transaction is composed anew from what is really there: so two who plug the same VIF at once both succeed, and a
request whose reply was lost is settled by asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vifplug.errors import Conflict
from vifplug.host.ovs import decode, encode
from vifplug.host.ovs.connection import Operation, OvsdbRefused, Reply
from vifplug.host.ovs.decode import Keys, Seen
from vifplug.host.ovs.ovsdbapp_api.commands import taken_name
from vifplug.host.ovs.transaction import Command, OvsdbTransaction
from vifplug.plan.registry import OvsBridge, OvsPort, OvsQdisc, Resource
from vifplug.plan.steps import Difference, compare

if TYPE_CHECKING:
    from vifplug.host.ovs.ovsdbapp_api.api import Api


class ReversibleCommand(Command):
    """A command that knows what it changed, and the command that takes it back."""

    wrote = False
    #: Done means that ovs-vswitchd has applied it; what is removed is done once the database no longer has it.
    needs_vswitchd = True
    #: Done means so whatever the operator's choice of what to wait for.
    awaited = False
    subject: Resource

    def inverse(self) -> ReversibleCommand:
        raise NotImplementedError

    def _send(self, transaction: OvsdbTransaction, operations: list[Operation]) -> None:
        for operation in operations:
            transaction.add_op(operation)


class PlugPort(ReversibleCommand):
    """Make a port, or change it, to what ``after`` says, and read it back in the same transaction.

    Equivalent to: ovs-vsctl --may-exist add-port BRIDGE NAME -- set Port NAME tag=... -- set Interface NAME ...
    """

    def __init__(self, api: Api, before: OvsPort | None, after: OvsPort) -> None:
        super().__init__(api)
        self.subject = self.after = after
        self.awaited = after.awaited
        self.origin = self.have = decode.assumed(before)
        self.differences: list[Difference] = []
        self._undecided = False

    def build(self, transaction: OvsdbTransaction) -> None:
        operations = encode.write(self.have, self.after)
        self.wrote = any(operation["op"] != "wait" for operation in operations) or self._undecided
        self._send(transaction, operations)
        own = self.after.qos is not None and self.after.qos.type is not None
        self._reads = decode.look(self.after.owner, self.after.role, qos=own)
        self._send(transaction, self._reads)

    def finish(self, replies: list[Reply]) -> None:
        found = decode.seen(
            self.after.owner, self.after.role, [reply["rows"] for reply in replies[-len(self._reads) :]]
        )
        if found.port is None:
            self.differences = [Difference(self.after.owner, str(self.after), "there", None)]
            return
        # What a foreign QoS row says is not read back here; that it was left alone is all that is wanted of it.
        ignored = {"error", "qos"} if found.foreign_qos else {"error"}
        self.differences = [d for d in compare(self.after, found.port) if d.path not in ignored]
        self.result = found.port

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        known, self.have = self.have, see(self.api, [(self.after.owner, self.after.role)])[0]
        if refused is None:
            self._undecided = True
        elif self.have == known:
            return self._worth_another_try(refused)
        elif not self._undecided:
            self.origin = self.have
        if self.have.port is not None and self.have.port.name != self.after.name:
            raise Conflict(
                f"{self.after} for VIF {self.after.owner} can't be made: that VIF has the port {self.have.port.name} "
                f"on bridge {self.have.port.bridge} already; unplug it first"
            )
        return True

    def inverse(self) -> ReversibleCommand:
        if self.origin.port is None:
            return UnplugPort(self.api, self.after)
        return PlugPort(self.api, self.after, self.origin.port)

    def _worth_another_try(self, refused: OvsdbRefused) -> bool:
        """The VIF's rows are as they were thought to be: whether the reason of the refusal has gone meanwhile."""
        if taken_name(refused) is not None:
            named = refused.rows
            looks = [decode.look_name(table, row) for row in named for table in ("Interface", "Port", "Bridge")]
            return not any(self.api.pool.select(*looks))
        if refused.error == "timed out":  # a guard: the port was elsewhere for a moment, or its bridge is not there
            return any(self.api.pool.select(decode.look_bridge(self.after.bridge)))
        return refused.error == "duplicate uuid"


class UnplugPort(ReversibleCommand):
    """Remove a port, wherever it is, with its QoS; no port is success. Equivalent to: ovs-vsctl --if-exists del-port"""

    needs_vswitchd = False

    def __init__(self, api: Api, port: OvsPort) -> None:
        super().__init__(api)
        self.subject = self.port = port
        self.awaited = port.awaited
        self._undecided = False

    def build(self, transaction: OvsdbTransaction) -> None:
        self._send(transaction, encode.remove(self.port))

    def finish(self, replies: list[Reply]) -> None:
        self.wrote = bool(replies[0]["count"]) or self._undecided

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        self._undecided = self._undecided or refused is None
        return refused is None

    def inverse(self) -> ReversibleCommand:
        return PlugPort(self.api, None, self.port)


class EnsureBridge(ReversibleCommand):
    """Make a bridge where there is none; one that is there is left as it is.

    Equivalent to: ovs-vsctl br-exists NAME || ovs-vsctl add-br NAME -- set Bridge NAME datapath_type=TYPE
    """

    def __init__(self, api: Api, bridge: OvsBridge) -> None:
        super().__init__(api)
        self.subject = self.bridge = bridge
        self._there = self._undecided = False

    def build(self, transaction: OvsdbTransaction) -> None:
        self.wrote = not self._there or self._undecided
        if not self._there:
            self._send(transaction, encode.add_bridge(self.bridge))

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        known = self._there
        [found] = self.api.pool.select(decode.look_bridge(self.bridge.name))
        self._there = bool(found)
        self._undecided = self._undecided or refused is None
        return refused is None or self._there != known

    def inverse(self) -> ReversibleCommand:
        return DropBridge(self.api, self.bridge)


class DropBridge(ReversibleCommand):
    """Remove a bridge that `EnsureBridge` made, unless others have put ports on it since."""

    needs_vswitchd = False

    def __init__(self, api: Api, bridge: OvsBridge) -> None:
        super().__init__(api)
        self.subject = self.bridge = bridge
        self._kept = False

    def build(self, transaction: OvsdbTransaction) -> None:
        self.wrote = not self._kept
        if not self._kept:
            self._send(transaction, encode.remove_bridge(self.bridge.name))

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        if refused is not None and refused.error == "timed out":
            self._kept = True
            return True
        return refused is None

    def inverse(self) -> ReversibleCommand:
        return EnsureBridge(self.api, self.bridge)


class SetQos(ReversibleCommand):
    """Attach the VIF's own QoS row to its port, or (``on`` is False) detach it; the row itself stays."""

    def __init__(self, api: Api, qdisc: OvsQdisc, *, on: bool) -> None:
        super().__init__(api)
        self.subject = self.qdisc = qdisc
        self.on = on
        self.wrote = not on  # attaching puts back what there was: there is nothing to take back
        self.awaited = True  # ovs-vswitchd has to see the one before the other

    def build(self, transaction: OvsdbTransaction) -> None:
        keys = Keys.of(self.qdisc.owner, self.qdisc.role)
        self._send(transaction, [encode.attach_qos(keys, on=self.on)])

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        return refused is None

    def inverse(self) -> ReversibleCommand:
        return SetQos(self.api, self.qdisc, on=True)


def see(api: Api, ports: Sequence[tuple[str, str]]) -> list[Seen]:
    """What the database has for each (owner, role): one transaction, one more where a port has a foreign QoS row."""
    queries = [decode.look(owner, role) for owner, role in ports]
    answers = api.pool.select(*[operation for query in queries for operation in query])
    width = len(queries[0])
    return [read(api, *port, answers[width * index : width * (index + 1)]) for index, port in enumerate(ports)]


def read(api: Api, owner: str, role: str, found: list[list[dict[str, Any]]]) -> Seen:
    """One port from what `decode.look` found, with the content of a QoS row that is somebody else's."""
    foreign = decode.foreign_qos(owner, role, found)
    if foreign is None:
        return decode.seen(owner, role, found)
    [qos] = api.pool.select(decode.look_qos(foreign))
    queue = decode.first_queue(qos[0]) if qos else None
    queues = api.pool.select(decode.look_queue(queue))[0] if queue else []
    return decode.seen(owner, role, found, decode.read_qos(qos[0], queues) if qos else None)
