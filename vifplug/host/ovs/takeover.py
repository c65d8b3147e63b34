"""A port that another program made for a VIF becomes vifplug's, as it is: the same port, under the VIF's own row UUIDs.

ovs-vswitchd keeps the device, its OpenFlow port and its traffic, since the name and the type stay the same
(vswitchd/bridge.c, bridge_del_ports; ovs-vsctl's ``del-port X -- add-port B X`` does likewise).
"""

from __future__ import annotations

from vifplug.host.ovs import decode, encode, operations
from vifplug.host.ovs.decode import OvsdbRefused, Row, Seen
from vifplug.host.ovs.operations import (
    INTERFACE,
    OWNER,
    PORT,
    Keys,
    Operation,
    delete,
    has_pair,
    is_named,
    is_row,
    reference,
    refers,
    select,
    there,
)
from vifplug.host.ovs.pool import Pool
from vifplug.host.ovs.transaction import Command, S
from vifplug.plan.registry import OvsPort, OvsQos, osvif_qos_id


class LookFirst(Command[S]):
    """A command that looks before each try, and so may be tried again whatever became of the last one."""

    def reconsider(self, refused: OvsdbRefused | None) -> bool:
        return refused is None or refused.error == "timed out"  # a guard: another writer was faster


class TakeOver(LookFirst[OvsPort]):
    """Mark a port as the VIF's, if it was made for it: a port without a mark that has the desired ``iface-id``, or, if
    none is desired, is on the desired bridge. ``wrote`` tells whether it was. One transaction: it is never away.
    """

    def operations(self) -> list[Operation]:
        desired, named = self.subject, is_named(self.subject.name)
        ports, interfaces = self.pool.select(
            select("Port", named, [*PORT, "interfaces"]), select("Interface", named, INTERFACE)
        )
        own = bool(interfaces) and is_marked(interfaces[0], desired.owner)
        self.wrote = own and self.undecided  # the try before this one did it
        if not ports or not interfaces or ports[0]["interfaces"] != (interfaces[0]["_uuid"],):
            return []
        [row], [interface] = ports, interfaces
        [bridges] = self.pool.select(operations.read_bridge_of(row["_uuid"]))
        if not bridges or not _is_for(desired, interface, bridges[0]["name"]):
            return []
        self.wrote = True
        qos = self._osvif_qos(row["qos"])
        found = (row, interface, bridges[0]["name"])
        port = decode.port(desired.owner, desired.role, found, decode.qos_of(qos, ()) if qos else OvsQos())
        return _rewritten(row, interface, port, own_qos=qos is not None)

    def _osvif_qos(self, attached: str | None) -> Row | None:
        """Return os-vif's QoS row, which becomes the VIF's own; that of anybody else stays theirs, and on the port."""
        [found] = self.pool.select(operations.read_qos(attached)) if attached else [[]]
        return found[0] if found and found[0]["external_ids"].get("id") == osvif_qos_id(self.subject.name) else None


class DropStrayQos(LookFirst[str]):
    """Remove the QoS rows that os-vif left behind for a device: its own unplug finds only those of one type."""

    def __init__(self, pool: Pool, device: str) -> None:
        super().__init__(pool, f"the QoS of {device}")
        self.device = device

    def operations(self) -> list[Operation]:
        [found] = self.pool.select(read_stray_qos(self.device))
        strays = [row["_uuid"] for row in found]
        used = self.pool.select(*(select("Port", refers("qos", stray), ["_uuid"]) for stray in strays))
        return [delete("QoS", stray) for stray, ports in zip(strays, used, strict=True) if not ports]


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


def _rewritten(row: Row, interface: Row, port: OvsPort, *, own_qos: bool) -> list[Operation]:
    """Return the operations that delete the port's rows, if they are still those found, and insert the VIF's own."""
    old, qos = row["_uuid"], row["qos"]
    kept = {"qos": reference(qos)} if qos and not own_qos else {}
    return [
        there("Interface", is_row(interface["_uuid"]), {"name": port.name}),
        there("Bridge", refers("ports", old), {"name": port.bridge}),
        operations.leave(old),
        delete("Port", old),
        delete("Interface", interface["_uuid"]),
        *([delete("QoS", qos)] if own_qos else []),
        *encode.write(Seen(None), port),
        *([operations.update("Port", Keys.of(port.owner, port.role).port, kept)] if kept else []),
    ]
