"""A port that another program made for a VIF becomes vifplug's, as it is: the same port, under the VIF's own row UUIDs.

ovs-vswitchd keeps the device, its OpenFlow port and its traffic, since the name and the type stay the same
(vswitchd/bridge.c, bridge_del_ports; ovs-vsctl's ``del-port X -- add-port B X`` does likewise).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vifplug.host.ovs import decode, encode, operations
from vifplug.host.ovs.connection import OvsdbRefused
from vifplug.host.ovs.decode import Keys, Seen
from vifplug.host.ovs.ovsdbapp_api.api import Api
from vifplug.host.ovs.ovsdbapp_api.commands import holds
from vifplug.host.ovs.ovsdbapp_api.schema import reference
from vifplug.host.ovs.transaction import Command, OvsdbTransaction
from vifplug.plan.registry import OvsPort, OvsQos, osvif_qos_id


@dataclass(frozen=True)
class _Found:
    """A port as it is: its rows' UUIDs, what vifplug would call it, and the QoS row of another's that it keeps."""

    port_row: str
    interface_row: str
    port: OvsPort
    own_qos: str | None = None
    foreign_qos: str | None = None


class TakeOver(Command):
    """Make a port the VIF's, where it was made for it: without a mark, with the ``iface-id`` that is wanted, or, where
    none is wanted, on the bridge that is. ``result`` tells whether it was. In one transaction, so it is never away.
    """

    result = False

    def __init__(self, api: Api, wanted: OvsPort) -> None:
        super().__init__(api)
        self.wanted = wanted

    def build(self, transaction: OvsdbTransaction) -> None:
        found = _look(self.api, self.wanted)
        self.result = found is not None
        for operation in _operations(found) if found else ():
            transaction.add_op(operation)

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        return refused is None or refused.error == "timed out"  # another writer's port: look again


class DropStrayQos(Command):
    """Remove the QoS rows that os-vif left behind for a device: its own unplug finds only those of one type."""

    def __init__(self, api: Api, device: str) -> None:
        super().__init__(api)
        self.device = device

    def build(self, transaction: OvsdbTransaction) -> None:
        [strays] = self.api.pool.select(look_qos(self.device))
        for stray in (row["_uuid"][1] for row in strays):
            [users] = self.api.pool.select(holds("Port", "qos", stray, ["_uuid"]))
            if not users:
                transaction.add_op(operations.delete("QoS", stray))


class DropEmptyBridge(Command):
    """Remove a bridge, whoever made it, that has no port but its own. ``result`` tells whether there was one."""

    result = False

    def __init__(self, api: Api, name: str) -> None:
        super().__init__(api)
        self.name = name

    def build(self, transaction: OvsdbTransaction) -> None:
        where = [["name", "==", self.name]]
        looks = [{"op": "select", "table": table, "where": where, "columns": ["_uuid"]} for table in ("Bridge", "Port")]
        bridges, ports = self.api.pool.select(*looks)
        self.result = bool(bridges and ports)
        if self.result:
            row = bridges[0]["_uuid"]
            transaction.add_op(operations.there("Bridge", [["_uuid", "==", row]], {"ports": ports[0]["_uuid"]}))
            transaction.add_op(operations.mutate("Open_vSwitch", [], ["bridges", "delete", row]))


def look_qos(device: str) -> dict[str, Any]:
    """The select for os-vif's QoS rows of a device, of whatever type."""
    where = [["external_ids", "includes", ["map", [["id", osvif_qos_id(device)]]]]]
    return {"op": "select", "table": "QoS", "where": where, "columns": ["_uuid"]}


def look_name(name: str) -> dict[str, Any]:
    """The select for whose a port, or a bridge, of that name is."""
    where = [["name", "==", name]]
    return {"op": "select", "table": "Interface", "where": where, "columns": ["external_ids"]}


def is_marked(interface: dict[str, Any], owner: str) -> bool:
    return bool(operations.pairs(interface["external_ids"]).get(decode.OWNER) == owner)


def _look(api: Api, wanted: OvsPort) -> _Found | None:
    named = [["name", "==", wanted.name]]
    looks = [
        {"op": "select", "table": "Port", "where": named, "columns": [*decode.PORT, "interfaces"]},
        {"op": "select", "table": "Interface", "where": named, "columns": ["_uuid", *decode.INTERFACE]},
    ]
    ports, interfaces = api.pool.select(*looks)
    if not ports or not interfaces or ports[0]["interfaces"] != interfaces[0]["_uuid"]:
        return None
    [bridges] = api.pool.select(decode.bridge_of(ports[0]["_uuid"][1]))
    if not bridges or not _is_for(wanted, interfaces[0], bridges[0]["name"]):
        return None
    port = decode.port(wanted.owner, wanted.role, (ports[0], interfaces[0], bridges[0]["name"]), OvsQos())
    return _with_qos(api, _Found(ports[0]["_uuid"][1], interfaces[0]["_uuid"][1], port), ports[0]["qos"])


def _is_for(wanted: OvsPort, interface: dict[str, Any], bridge: str) -> bool:
    ids = operations.pairs(interface["external_ids"])
    if decode.OWNER in ids:
        return False
    iface_id = wanted.external_ids.get("iface-id")
    return bool(ids.get("iface-id") == iface_id if iface_id else "iface-id" not in ids and bridge == wanted.bridge)


def _with_qos(api: Api, found: _Found, column: Any) -> _Found:
    """With os-vif's QoS row as the VIF's own; that of anybody else stays theirs, and on the port."""
    attached = operations.optional(column)
    if attached is None:
        return found
    [qos] = api.pool.select(decode.look_qos(attached[1]))
    if not qos or operations.pairs(qos[0]["external_ids"]).get("id") != osvif_qos_id(found.port.name):
        return _Found(found.port_row, found.interface_row, found.port, foreign_qos=attached[1])
    port = found.port.replace(qos=decode.read_qos(qos[0], ()))
    return _Found(found.port_row, found.interface_row, port, own_qos=attached[1])


def _operations(found: _Found) -> list[dict[str, Any]]:
    """Guarded: that the rows are still the ones that were found. Deleted and inserted, as a row's UUID is for life."""
    old, port = reference(found.port_row), found.port
    taken = [
        operations.there("Interface", [["_uuid", "==", reference(found.interface_row)]], {"name": port.name}),
        operations.there("Bridge", [["ports", "includes", old]], {"name": port.bridge}),
        operations.mutate("Bridge", [["ports", "includes", old]], ["ports", "delete", old]),
        operations.delete("Port", found.port_row),
        operations.delete("Interface", found.interface_row),
        *([operations.delete("QoS", found.own_qos)] if found.own_qos else []),
        *encode.write(Seen(None), port),
    ]
    if found.foreign_qos:
        keys = Keys.of(port.owner, port.role)
        taken.append(operations.update("Port", keys.port, {"qos": reference(found.foreign_qos)}))
    return taken
