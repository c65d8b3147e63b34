"""Ports that others made: looked up by name, and changed in place (ovs-vswitchd.conf.db.5)."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vifplug.errors import Busy
from vifplug.host.ovs import decode, encode, operations
from vifplug.host.ovs.commands import ReversibleCommand
from vifplug.host.ovs.connection import Operation
from vifplug.host.ovs.operations import Row
from vifplug.model.codec import FrozenMap
from vifplug.plan.registry import AdoptedPort, Identity
from vifplug.plan.steps import Difference, Observed, compare

if TYPE_CHECKING:
    from vifplug.host.ovs.connection import OvsdbRefused, Reply
    from vifplug.host.ovs.ovsdbapp_api.api import Api
    from vifplug.host.ovs.pool import Pool
    from vifplug.host.ovs.transaction import OvsdbTransaction

_PORT = ["_uuid", "name", "tag", "vlan_mode", "trunks"]
_INTERFACE = ["_uuid", "name", "external_ids", "ofport", "error"]

#: the type of a port whose socket ovs-vswitchd makes, so that its name is the socket's (vhost-user.rst)
_SOCKET_TYPE = "dpdkvhostuser"


def observe(pool: Pool, wanted: Sequence[AdoptedPort]) -> dict[Identity, Observed]:
    """What there is of ``wanted``: one transaction for all, and one more for the bridges that they are on."""
    answers = iter(pool.select(*(each for port in wanted for each in _look(port.name))) if wanted else [])
    pairs = [(port, next(answers), next(answers)) for port in wanted]
    there = [(port, ports[0], interfaces[0]) for port, ports, interfaces in pairs if ports and interfaces]
    on = pool.select(*(decode.bridge_of(row["_uuid"][1]) for _, row, _ in there)) if there else []
    return {
        port.identity: _observed(port, row, interface, bridges[0]["name"])
        for (port, row, interface), bridges in zip(there, on, strict=True)
        if bridges
    }


def vhost_port(pool: Pool, path: str) -> tuple[str, str] | None:
    """The port at the other end of a vhost-user socket, and its bridge; None where there is none.

    libvirt finds the name of such an interface in the same two ways (9.0: virNetDevOpenvswitchGetVhostuserIfname).
    """
    client = [["options", "includes", ["map", [["vhost-server-path", path]]]]]
    server = [["name", "==", posixpath.basename(path)], ["type", "==", _SOCKET_TYPE]]
    for where in (client, server):
        [found] = pool.select({"op": "select", "table": "Interface", "where": where, "columns": ["name"]})
        if found:
            name = str(found[0]["name"])
            [[port]] = pool.select(_by_name("Port", name, ["_uuid"]))
            [[bridge]] = pool.select(decode.bridge_of(port["_uuid"][1]))
            return name, str(bridge["name"])
    return None


class SetPort(ReversibleCommand):
    """Change a port that others made. Equivalent to: ovs-vsctl set Port NAME tag=... -- set Interface NAME ..."""

    def __init__(self, api: Api, before: AdoptedPort, after: AdoptedPort) -> None:
        super().__init__(api)
        self.before = before
        self.subject = self.after = after
        self.differences: list[Difference] = []

    def build(self, transaction: OvsdbTransaction) -> None:
        operations = encode.amend(self.before, self.after)
        self.wrote = any(operation["op"] != "wait" for operation in operations)
        looks = [*_look(self.before.name), decode.bridge_of(self.before.port_row or "")]
        self._send(transaction, [*operations, *looks])

    def finish(self, replies: list[Reply]) -> None:
        [ports, interfaces, bridges] = [reply["rows"] for reply in replies[-3:]]
        found = _port(self.after, ports[0], interfaces[0], bridges[0]["name"])
        self.differences = [each for each in compare(self.after, found) if each.path != "error"]

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        """To write the same again does no harm, whether or not it was written."""
        if refused is not None and refused.error == "timed out":
            raise Busy(f"{self.after} was made anew, or its bridge went, while it was to be changed; try again")
        return refused is None

    def inverse(self) -> ReversibleCommand:
        return SetPort(self.api, self.after, self.before)


def _look(name: str) -> list[Operation]:
    return [_by_name("Port", name, _PORT), _by_name("Interface", name, _INTERFACE)]


def _by_name(table: str, name: str, columns: list[str]) -> Operation:
    return {"op": "select", "table": table, "where": [["name", "==", name]], "columns": columns}


def _observed(wanted: AdoptedPort, row: Row, interface: Row, bridge: str) -> Observed:
    found = operations.pairs(interface["external_ids"])
    asked = wanted.external_ids.get("iface-id")
    if decode.OWNER in found:
        return Observed(resource=None, foreign=f"a port that vifplug made, for VIF {found[decode.OWNER]}")
    if asked is not None and found.get("iface-id") != asked:
        return Observed(
            resource=None, foreign=f"a port of iface-id {found.get('iface-id', '(none)')}, expected {asked}"
        )
    return Observed(resource=_port(wanted, row, interface, bridge))


def _port(wanted: AdoptedPort, row: Row, interface: Row, bridge: str) -> AdoptedPort:
    return wanted.trusted(
        bridge=bridge,
        vlan=decode.vlan(row),
        external_ids=FrozenMap(operations.without(operations.pairs(interface["external_ids"]), decode.STATUS)),
        error=decode.failure(interface),
        port_row=row["_uuid"][1],
        interface_row=interface["_uuid"][1],
    )
