"""All bridges and ports of Open vSwitch at a glance (ovs-vswitchd.conf.db.5). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vifplug.errors import InvalidDocument
from vifplug.host.ovs.decode import Row
from vifplug.host.ovs.operations import OWNER, select
from vifplug.model.vlan import Vlan
from vifplug.plan.condition import Uplink
from vifplug.plan.facts import BridgeFacts, BridgePortFacts

#: what `bridges` is made from
QUERIES = (
    select("Bridge", [], ["name", "ports"]),
    select("Port", [], ["_uuid", "name", "tag", "trunks", "cvlans", "vlan_mode", "interfaces", "fake_bridge"]),
    select("Interface", [], ["_uuid", "name", "type", "external_ids", "link_state", "options"]),
)
#: the interfaces that `bridges` may find to be uplinks that pass no frames; few, apart from guests that are stopped
DOWN = select("Interface", [["link_state", "==", "down"]], ["type", "external_ids"])
#: Interface.type of a NIC: of the kernel's, and of DPDK's
_NICS = ("", "dpdk")
#: the same of what is a guest's, or the bridge's own
_INNER = ("internal", "dpdkvhostuser", "dpdkvhostuserclient")


def bridges(found: Sequence[Row], ports: Sequence[Row], interfaces: Sequence[Row]) -> list[BridgeFacts]:
    """Return every bridge, by name, with its ports but for the one that it is itself.

    Its uplinks are those that may be: of a device of the kernel, only the kernel knows.
    """
    outer = {row["_uuid"]: _uplink(row) for row in interfaces if _is_outer(row)}
    members = {row["_uuid"]: row["interfaces"] for row in ports}
    owners = {row["_uuid"]: row["external_ids"].get(OWNER) for row in interfaces}
    known = {row["_uuid"]: _port(row, owners) for row in ports}
    facts = []
    for row in sorted(found, key=lambda row: str(row["name"])):
        own = sorted((known[each] for each in row["ports"] if each in known), key=lambda port: port.name)
        others = tuple(port for port in own if port.name != row["name"])
        fakes = sorted(each["name"] for each in ports if each["fake_bridge"] and each["_uuid"] in row["ports"])
        inside = (each for port in row["ports"] for each in members.get(port, ()))
        uplinks = sorted((outer[each] for each in inside if each in outer), key=lambda uplink: uplink.name)
        facts.append(
            BridgeFacts(
                name=row["name"], openvswitch=True, ports=others, vlan_bridges=tuple(fakes), uplinks=tuple(uplinks)
            )
        )
    return facts


def is_nic(row: Row) -> bool:
    """Return whether a row of the table Interface is a NIC of the host, as far as the switch knows."""
    return _is_outer(row) and row["type"] in _NICS


def _is_outer(row: Row) -> bool:
    return row["type"] not in _INNER and not row["external_ids"].keys() & {OWNER, "iface-id"}


def _uplink(row: Row) -> Uplink:
    passing = row["type"] not in _NICS or row["link_state"] == "up"  # a tunnel or a patch has no carrier
    peer = row["options"].get("peer", "") if row["type"] == "patch" else ""
    return Uplink(name=row["name"], mtu=0, passing=passing, kernel=row["type"] == "", peer=peer)


def _port(row: Row, owners: Mapping[str, str | None]) -> BridgePortFacts:
    found = (owners.get(interface) for interface in row["interfaces"])
    return BridgePortFacts(name=row["name"], vlan=vlan(row), owner=next(filter(None, found), None))


def vlan(row: Row) -> Vlan | None:
    """Return the VLANs of a Port row; None for all of them, and for what no VIF could ask for (VLAN 4095)."""
    tag, mode, trunks = row["tag"], row["vlan_mode"], row["trunks"]
    try:
        if mode == "dot1q-tunnel":
            return Vlan.from_data({"mode": mode, "tags": [{"id": tag}], "cvlans": list(row["cvlans"])})
        if tag is not None and mode in (None, "access"):
            return Vlan.from_data(tag or "untagged")
        native = {tag: {"native_mode": mode.removeprefix("native-")}} if tag is not None and mode else {}
        tags = [{"id": each, **native.get(each, {})} for each in sorted({*trunks, *native})]
        return Vlan.from_data({"tags": tags, "trunk": True, "all": not trunks}) if trunks or mode else None
    except InvalidDocument:
        return None
