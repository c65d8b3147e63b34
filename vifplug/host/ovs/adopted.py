"""Ports that others made: looked up by name, and changed in place (ovs-vswitchd.conf.db.5)."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from vifplug.errors import Busy
from vifplug.host.ovs import decode, encode
from vifplug.host.ovs.decode import OvsdbRefused, Reply, Row
from vifplug.host.ovs.operations import OWNER, STATUS, Operation, has_pair, is_named, read_bridge_of, select
from vifplug.host.ovs.pool import Pool
from vifplug.host.ovs.transaction import Command, not_written
from vifplug.model.codec import FrozenMap
from vifplug.plan.registry import AdoptedPort, Identity
from vifplug.plan.steps import Observed

_PORT = ["_uuid", "name", "tag", "vlan_mode", "trunks", "cvlans"]
_INTERFACE = ["_uuid", "name", "external_ids", "ofport", "error"]

#: the type of a port whose socket ovs-vswitchd makes, so that its name is the socket's (vhost-user.rst)
_SOCKET_TYPE = "dpdkvhostuser"


def observe(pool: Pool, desired: Sequence[AdoptedPort]) -> dict[Identity, Observed]:
    """Observe adopted ports: one transaction for all, and one more for the bridges that they are on."""
    if not desired:
        return {}
    answers = iter(pool.select(*(each for port in desired for each in _read(port.name))))
    pairs = [(port, next(answers), next(answers)) for port in desired]
    found = [(port, ports[0], interfaces[0]) for port, ports, interfaces in pairs if ports and interfaces]
    bridges = pool.select(*(read_bridge_of(row["_uuid"]) for _, row, _ in found))
    return {
        port.identity: _observed(port, row, interface, on[0]["name"])
        for (port, row, interface), on in zip(found, bridges, strict=True)
        if on
    }


def vhost_port(pool: Pool, path: str) -> tuple[str, str] | None:
    """Return the port at the other end of a vhost-user socket, and its bridge; None if there is none.

    libvirt finds the name of such an interface in the same two ways (9.0: virNetDevOpenvswitchGetVhostuserIfname).
    """
    server = [*is_named(posixpath.basename(path)), ["type", "==", _SOCKET_TYPE]]
    for where in (has_pair("options", "vhost-server-path", path), server):
        [found] = pool.select(select("Interface", where, ["name"]))
        if found:
            name = str(found[0]["name"])
            [ports] = pool.select(select("Port", is_named(name), ["_uuid"]))
            [bridges] = pool.select(read_bridge_of(ports[0]["_uuid"])) if ports else [[]]
            return (name, str(bridges[0]["name"])) if bridges else None
    return None


class SetPort(Command[AdoptedPort]):
    """Change a port that others made. Equivalent to: ovs-vsctl set Port NAME tag=... -- set Interface NAME ..."""

    def __init__(self, pool: Pool, before: AdoptedPort, after: AdoptedPort) -> None:
        super().__init__(pool, after)
        self.before = before

    def operations(self) -> list[Operation]:
        written = encode.amend(self.before, self.subject)
        self.wrote = any(operation["op"] != "wait" for operation in written)
        return [*written, *_read(self.before.name), read_bridge_of(self.before.port_row or "")]

    def finish(self, replies: list[Reply]) -> None:
        ports, interfaces, bridges = (reply.rows for reply in replies[-3:])
        exists = ports and interfaces and bridges
        found = _port(self.subject, ports[0], interfaces[0], bridges[0]["name"]) if exists else None
        self.differences = not_written(self.subject, found, "error")

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        """To write the same again does no harm, whether or not it was written."""
        if refused is not None and refused.error == "timed out":
            raise Busy(f"{self.subject} was recreated, or its bridge removed, before it could be changed; try again")
        return refused is None

    def inverse(self) -> Command[AdoptedPort]:
        return SetPort(self.pool, self.subject, self.before)


def _read(name: str) -> list[Operation]:
    return [select("Port", is_named(name), _PORT), select("Interface", is_named(name), _INTERFACE)]


def _observed(desired: AdoptedPort, row: Row, interface: Row, bridge: str) -> Observed:
    found, expected = interface["external_ids"], desired.external_ids.get("iface-id")
    if OWNER in found:
        return Observed(resource=None, foreign=f"a port that vifplug created, for VIF {found[OWNER]}")
    if expected is not None and found.get("iface-id") != expected:
        named = found.get("iface-id", "(none)")
        return Observed(resource=None, foreign=f"a port of iface-id {named}, expected {expected}")
    return Observed(resource=_port(desired, row, interface, bridge))


def _port(desired: AdoptedPort, row: Row, interface: Row, bridge: str) -> AdoptedPort:
    return desired.trusted(
        bridge=bridge,
        vlan=decode.vlan(row),
        external_ids=FrozenMap(decode.without(interface["external_ids"], *STATUS)),
        error=decode.PortState.of(interface).error,
        port_row=row["_uuid"],
        interface_row=interface["_uuid"],
    )
