"""Rows of the Open_vSwitch database -> what there is: ports, bridges, their state (ovs-vswitchd.conf.db.5). Pure."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vifplug.host.ovs import operations
from vifplug.host.ovs.connection import DATABASE, Operation
from vifplug.host.ovs.operations import Row
from vifplug.model.codec import FrozenMap
from vifplug.plan.registry import OvsBridge, OvsPolicing, OvsPort, OvsQos, OvsVlan, ovs_uuid

OWNER, ROLE = "vifplug-id", "vifplug-role"
#: Interface.external_ids that are ovn-controller's word on the port's state, not configuration (controller/binding.c)
STATUS = ("ovn-installed", "ovn-installed-ts")

PORT = ["_uuid", "name", "tag", "vlan_mode", "trunks", "other_config", "qos"]
INTERFACE = ["name", "type", "external_ids", "options", "mtu_request", "ofport", "error"]
INTERFACE += ["ingress_policing_rate", "ingress_policing_burst"]
_STATUS = ["name", "ofport", "error", "external_ids"]
_QOS = ["_uuid", "type", "other_config", "external_ids", "queues"]
_QUEUE = ["_uuid", "other_config"]

Rows = Sequence[Sequence[Row]]


@dataclass(frozen=True)
class Keys:
    """The UUIDs of the four rows that one port may have."""

    port: str
    interface: str
    qos: str
    queue: str

    @classmethod
    @functools.lru_cache(maxsize=4096)  # one plug asks for them about ten times
    def of(cls, owner: str, role: str) -> Keys:
        return cls(*(ovs_uuid(row, owner, role) for row in ("port", "interface", "qos", "queue")))


@dataclass(frozen=True)
class Seen:
    """What the database has for one port. ``foreign_qos``: the QoS row that somebody else gave it."""

    port: OvsPort | None
    has_qos: bool = False
    has_queue: bool = False
    foreign_qos: str = ""


def assumed(port: OvsPort | None) -> Seen:
    """What there has to be when the database is as ``port`` says: the first try's guess, settled by the server."""
    shaped = port is not None and port.qos is not None and port.qos.type is not None
    return Seen(port, has_qos=shaped, has_queue=shaped)


def look(owner: str, role: str, *, qos: bool = True) -> list[Operation]:
    """The selects that read one port: five look-ups, or three where it has no QoS of its own."""
    keys = Keys.of(owner, role)
    port = operations.select("Port", keys.port, PORT)
    interface = operations.select("Interface", keys.interface, INTERFACE)
    shaper = [operations.select("QoS", keys.qos, _QOS), operations.select("Queue", keys.queue, _QUEUE)] if qos else []
    return [port, interface, bridge_of(keys.port), *shaper]


def look_status(port: OvsPort) -> Operation:
    """The select for what ovs-vswitchd and ovn-controller say of a port."""
    interface = Keys.of(port.owner, port.role).interface
    return operations.select("Interface", interface, _STATUS)


def look_bridge_status(name: str) -> Operation:
    """The same for the local port of a bridge that vifplug made; nothing is found of a bridge that others made."""
    interface = ovs_uuid("bridge-interface", name)
    return operations.select("Interface", interface, _STATUS)


@dataclass(frozen=True)
class Status:
    """What ovs-vswitchd (``ofport``, ``error``) and ovn-controller (``installed``) say of a port."""

    ofport: int | None
    error: str
    installed: bool

    @property
    def lacks_device(self) -> bool:
        """Whether all that is wrong is that there is no device of that name (strerror(3) of ENODEV)."""
        return self.error.endswith("(No such device)")

    @classmethod
    def of(cls, interface: Row) -> Status:
        installed = operations.pairs(interface["external_ids"]).get("ovn-installed") == "true"
        return cls(operations.optional(interface["ofport"]), failure(interface), installed)


def look_qos(row: str) -> Operation:
    return operations.select("QoS", row, _QOS)


def look_queue(row: str) -> Operation:
    return operations.select("Queue", row, _QUEUE)


def bridge_of(port: str) -> Operation:
    """The bridge that has a port. Never the bridge's ports: there may be thousands."""
    return {"op": "select", "table": "Bridge", "where": [["ports", "includes", ["uuid", port]]], "columns": ["name"]}


def seen(owner: str, role: str, rows: Rows, foreign: OvsQos | None = None) -> Seen:
    """What `look` found; ``foreign`` is what somebody else's QoS row says, where `foreign_qos` told of one."""
    ports, interfaces, bridges, qos, queues = [*rows, (), ()][:5]
    keys = Keys.of(owner, role)
    if not ports or not interfaces or not bridges:
        return Seen(None, has_qos=bool(qos), has_queue=bool(queues))
    own = bool(qos) and ports[0]["qos"] == ["uuid", keys.qos]
    shaper = read_qos(qos[0], queues) if own else foreign or OvsQos()
    found = port(owner, role, (ports[0], interfaces[0], bridges[0]["name"]), shaper)
    return Seen(found, bool(qos), bool(queues), foreign_qos(owner, role, rows) or "")


def port(owner: str, role: str, found: tuple[Row, Row, str], qos: OvsQos) -> OvsPort:
    """The port of ``found``: the rows of Port and Interface, and the bridge's name."""
    port_row, interface, bridge = found
    return OvsPort(owner=owner, role=role, bridge=bridge, qos=qos, **_of_port(port_row), **_of_interface(interface))


def foreign_qos(owner: str, role: str, rows: Rows) -> str | None:
    """The UUID of the QoS row that the port has and that is not the VIF's own."""
    attached = operations.optional(rows[0][0]["qos"]) if rows[0] else None
    return str(attached[1]) if attached is not None and attached[1] != Keys.of(owner, role).qos else None


def first_queue(qos: Row) -> str | None:
    """The UUID of Queue 0 of a QoS row."""
    return next((str(queue[1]) for number, queue in qos["queues"][1] if number == 0), None)


def read_qos(qos: Row, queues: Sequence[Row]) -> OvsQos:
    return OvsQos(
        type=qos["type"],
        other_config=FrozenMap(operations.pairs(qos["other_config"])),
        queue=FrozenMap(operations.pairs(queues[0]["other_config"]) if queues else {}),
        external_ids=FrozenMap(operations.without(operations.pairs(qos["external_ids"]), (OWNER, ROLE))),
    )


def _of_port(row: Row) -> dict[str, Any]:
    return {"name": row["name"], "vlan": vlan(row), "other_config": FrozenMap(operations.pairs(row["other_config"]))}


def vlan(row: Row) -> OvsVlan:
    """The VLAN columns of a Port row."""
    trunks = tuple(operations.elements(row["trunks"]))
    return OvsVlan(mode=operations.optional(row["vlan_mode"]), tag=operations.optional(row["tag"]), trunks=trunks)


def _of_interface(row: Row) -> dict[str, Any]:
    return {
        "type": row["type"],
        "external_ids": FrozenMap(operations.without(operations.pairs(row["external_ids"]), (OWNER, ROLE, *STATUS))),
        "options": FrozenMap(operations.pairs(row["options"])),
        "mtu_request": operations.optional(row["mtu_request"]) or 0,
        "policing": OvsPolicing(rate=row["ingress_policing_rate"], burst=row["ingress_policing_burst"]),
        "error": failure(row),
        "opened": operations.optional(row["ofport"]) not in (None, -1),
    }


def failure(interface: Row) -> str:
    """Interface.error; ovs-vswitchd may say it by an ofport of -1 alone."""
    error = operations.optional(interface["error"])
    if error:
        return str(error)
    return "could not open network device" if operations.optional(interface["ofport"]) == -1 else ""


def look_shaper(keys: Keys) -> list[Operation]:
    """The selects for which QoS a port has, and of which type the VIF's own is."""
    return [operations.select("Port", keys.port, ["qos"]), operations.select("QoS", keys.qos, ["type"])]


def shaper(keys: Keys, found: Rows) -> str | None:
    """The type of the port's QoS; None when it has none of its own."""
    ports, qos = found
    attached = bool(ports) and ports[0]["qos"] == ["uuid", keys.qos]
    return str(qos[0]["type"]) if attached and qos else None


def look_next_cfg() -> Operation:
    """The number of the newest configuration; ovs-vswitchd follows with cur_cfg."""
    return {"op": "select", "table": DATABASE, "where": [], "columns": ["next_cfg"]}


def look_name(table: str, row: str) -> Operation:
    return operations.select(table, row, ["name"])


def look_bridge(name: str) -> Operation:
    columns = ["name", "datapath_type"]
    return {"op": "select", "table": "Bridge", "where": [["name", "==", name]], "columns": columns}


def read_bridge(row: Row, owner: str) -> OvsBridge:
    return OvsBridge(name=row["name"], owner=owner, datapath_type=row["datapath_type"] or None)
