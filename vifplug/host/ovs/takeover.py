"""A port that another program made for a VIF becomes vifplug's, as it is: the same port, under the VIF's own row UUIDs.

ovs-vswitchd keeps the device, its OpenFlow port and its traffic, since the name and the type stay the same
(vswitchd/bridge.c, bridge_del_ports; ovs-vsctl's ``del-port X -- add-port B X`` does likewise).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vifplug.host.ovs import decode, encode, operations
from vifplug.host.ovs.decode import OvsdbRefused, Row, Seen
from vifplug.host.ovs.operations import (
    DATABASE,
    INTERFACE,
    OWNER,
    PORT,
    Keys,
    Operation,
    has_pair,
    is_named,
    is_row,
    reference,
    refers,
    select,
    there,
)
from vifplug.host.ovs.pool import Pool
from vifplug.host.ovs.transaction import Command
from vifplug.plan.registry import OvsBridge, OvsPort, OvsQos, osvif_qos_id


@dataclass(frozen=True)
class _Found:
    """A port as it is."""

    #: The UUIDs of its rows.
    port_row: str
    interface_row: str
    #: What vifplug would call it.
    port: OvsPort
    #: The QoS row that becomes the VIF's.
    own_qos: str | None = None
    #: The QoS row of somebody else that the port keeps.
    foreign_qos: str | None = None


class LookFirst(Command):
    """A command that looks before each try, and so may be tried again whatever became of the last one."""

    result = False
    _undecided = False

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        self._undecided = self._undecided or refused is None
        return refused is None or refused.error == "timed out"  # a guard: another writer was faster


class TakeOver(LookFirst):
    """Mark a port as the VIF's, if it was made for it: a port without a mark that has the desired ``iface-id``, or, if
    none is desired, is on the desired bridge. ``result`` tells whether it was. One transaction: it is never away.
    """

    def __init__(self, pool: Pool, desired: OvsPort) -> None:
        super().__init__(pool, desired)
        self.desired = desired

    def operations(self) -> list[Operation]:
        desired, named = self.desired, is_named(self.desired.name)
        ports, interfaces = self.pool.select(
            select("Port", named, [*PORT, "interfaces"]), select("Interface", named, INTERFACE)
        )
        own = bool(interfaces) and is_marked(interfaces[0], desired.owner)
        self.result = own and self._undecided  # the try before this one did it
        if not ports or not interfaces or ports[0]["interfaces"] != (interfaces[0]["_uuid"],):
            return []
        [bridges] = self.pool.select(operations.read_bridge_of(ports[0]["_uuid"]))
        if not bridges or not _is_for(desired, interfaces[0], bridges[0]["name"]):
            return []
        self.result = True
        port = decode.port(desired.owner, desired.role, (ports[0], interfaces[0], bridges[0]["name"]), OvsQos())
        found = _Found(ports[0]["_uuid"], interfaces[0]["_uuid"], port)
        return _rewritten(self._with_qos(found, ports[0]["qos"]))

    def _with_qos(self, found: _Found, attached: str | None) -> _Found:
        """With os-vif's QoS row as the VIF's own; that of anybody else stays theirs, and on the port."""
        if attached is None:
            return found
        [qos] = self.pool.select(operations.read_qos(attached))
        if not qos or qos[0]["external_ids"].get("id") != osvif_qos_id(found.port.name):
            return replace(found, foreign_qos=attached)
        return replace(found, port=found.port.replace(qos=decode.qos_of(qos[0], ())), own_qos=attached)


class DropStrayQos(LookFirst):
    """Remove the QoS rows that os-vif left behind for a device: its own unplug finds only those of one type."""

    def __init__(self, pool: Pool, device: str) -> None:
        super().__init__(pool, f"the QoS of {device}")
        self.device = device

    def operations(self) -> list[Operation]:
        [found] = self.pool.select(read_stray_qos(self.device))
        strays = [row["_uuid"] for row in found]
        used = self.pool.select(*(select("Port", refers("qos", stray), ["_uuid"]) for stray in strays))
        return [operations.delete("QoS", stray) for stray, ports in zip(strays, used, strict=True) if not ports]


class DropEmptyBridge(LookFirst):
    """Remove a bridge, whoever made it, that has no port but its own. ``result`` tells whether it was removed."""

    def __init__(self, pool: Pool, name: str) -> None:
        super().__init__(pool, OvsBridge(name=name))
        self.name = name
        self._in_use = False

    def operations(self) -> list[Operation]:
        bridges, ports = self.pool.select(
            *(select(table, is_named(self.name), ["_uuid"]) for table in ("Bridge", "Port"))
        )
        found = bool(bridges and ports)
        self.result = not self._in_use and (found or self._undecided)
        if self._in_use or not found:
            return []
        row, port = bridges[0]["_uuid"], ports[0]["_uuid"]
        return [
            there("Bridge", is_row(row), {"ports": reference(port)}),
            operations.mutate(DATABASE, [], ["bridges", "delete", reference(row)]),
        ]

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        self._in_use = refused is not None and refused.error == "timed out"
        return super().reconsider(refused)


def read_stray_qos(device: str) -> Operation:
    """Return the select for os-vif's QoS rows of a device, of whatever type."""
    return select("QoS", has_pair("external_ids", "id", osvif_qos_id(device)), ["_uuid"])


def read_mark(name: str) -> Operation:
    """Return the select that says whose a port, or a bridge, of that name is."""
    return select("Interface", is_named(name), ["external_ids"])


def is_marked(interface: Row, owner: str) -> bool:
    return bool(interface["external_ids"].get(OWNER) == owner)


def _is_for(desired: OvsPort, interface: Row, bridge: str) -> bool:
    ids, iface_id = interface["external_ids"], desired.external_ids.get("iface-id")
    if OWNER in ids:
        return False
    return bool(ids.get("iface-id") == iface_id if iface_id else "iface-id" not in ids and bridge == desired.bridge)


def _rewritten(found: _Found) -> list[Operation]:
    """Return the operations that delete the port's rows, if they are still those found, and insert the VIF's own."""
    old, port = found.port_row, found.port
    written = [
        there("Interface", is_row(found.interface_row), {"name": port.name}),
        there("Bridge", refers("ports", old), {"name": port.bridge}),
        operations.leave(old),
        operations.delete("Port", old),
        operations.delete("Interface", found.interface_row),
        *([operations.delete("QoS", found.own_qos)] if found.own_qos else []),
        *encode.write(Seen(None), port),
    ]
    if found.foreign_qos:
        keys = Keys.of(port.owner, port.role)
        written.append(operations.update("Port", keys.port, {"qos": reference(found.foreign_qos)}))
    return written
