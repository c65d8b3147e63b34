"""Whether a port has flows, and why OVN has installed none, as far as the local database tells. Pure.

Whether ovn-controller runs now, and what the southbound database says, is not written in the local one. The
configuration of ovn-controller (ovn-controller.8) is, and ovn-controller leaves marks on its bridge once it has worked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vifplug.host.ovs.decode import Row
from vifplug.host.ovs.operations import DATABASE, Operation, has_pair, is_named, select
from vifplug.model.codec import joined
from vifplug.plan.registry import OvsPort

#: OVN's bridge, unless ``ovn-bridge`` names another
_BRIDGE = "br-int"
#: without these keys of Open_vSwitch.external_ids ovn-controller does not join OVN
_NEEDED = ("ovn-remote", "ovn-encap-type", "ovn-encap-ip")
#: the beginnings of the keys that ovn-controller writes on its bridge when it is connected to OVN
_MARKS = ("ovn-startup-ts", "ovn-nb-cfg", "ct-zone-")

Ids = Mapping[str, str]


def read(port: OvsPort) -> list[Operation]:
    """Return the selects that `lacking` needs. Two of them scan a table, for an error that is raised in any case."""
    return [
        select(DATABASE, [], ["external_ids"]),
        select("Bridge", [], ["name", "external_ids"]),
        select("Interface", has_pair("external_ids", "iface-id", port.iface_id or ""), ["name"]),
    ]


def lacking(port: OvsPort, found: Sequence[Sequence[Row]]) -> str:
    """Return what is lacking and what to do, from what `read` found: what is certain before what is likely."""
    [switch], bridges, namesakes = found
    ids = {row["name"]: row["external_ids"] for row in bridges}.get(port.bridge, {})
    marks = {key: value for key, value in ids.items() if key.startswith(_MARKS)}
    others = sorted({str(row["name"]) for row in namesakes} - {port.name})
    return next(_reasons(port, switch["external_ids"], marks, others))


def read_flows(port: OvsPort) -> list[Operation]:
    """Return the selects that `flows` needs."""
    return [
        *read(port),
        select("Bridge", is_named(port.bridge), ["fail_mode", "controller"]),
        select("Controller", [], ["_uuid", "target", "is_connected"]),
        select("Interface", is_named(port.name), ["external_ids"]),
    ]


def flows(port: OvsPort, found: Sequence[Sequence[Row]]) -> tuple[bool | None, str]:
    """Return whether a port has flows, and how that is known, from what `read_flows` found; None: it cannot be told.

    The flows themselves are not in the database (ovs-vswitchd.conf.db(5): Bridge.fail_mode, Controller.is_connected).
    """
    *local, bridges, controllers, interfaces = found
    configured, known = local[0][0]["external_ids"], local[0][0]["external_ids"].get("system-id")
    if any(row["external_ids"].get("ovn-installed") == "true" for row in interfaces):
        return True, "OVN has installed them"
    joins = {"ovn-remote", f"ovn-remote-{known}"} & set(configured)
    if port.iface_id and joins and port.bridge == configured.get("ovn-bridge", _BRIDGE):
        return False, f"OVN has not installed them: {lacking(port, local)}"
    own = [row for row in controllers if any(row["_uuid"] in bridge["controller"] for bridge in bridges)]
    secure = any(bridge["fail_mode"] == "secure" for bridge in bridges)
    if connected := [row["target"] for row in own if row["is_connected"]]:
        return True, f"{joined(connected, 'and')} controls the bridge"
    if own and secure:
        return False, f"no controller is connected ({joined([row['target'] for row in own], 'and')}): start it"
    if secure:
        return None, "fail_mode is secure, and no controller is set: there are those that were added by hand"
    return True, "the bridge forwards as a learning switch does"


def _reasons(port: OvsPort, configured: Ids, marks: Ids, others: Sequence[str]) -> Iterator[str]:
    known, name = configured.get("system-id"), str(port.iface_id)
    needed = _NEEDED if marks else (*_NEEDED, "system-id")  # which may also come from a file
    if missing := [key for key in needed if not {key, f"{key}-{known}"} & set(configured)]:
        yield (
            f"this host is not set up for OVN: external_ids of the table Open_vSwitch lack {joined(missing, 'and')}; "
            "set them as ovn-controller(8) describes"
        )
    if port.bridge != (expected := configured.get("ovn-bridge", _BRIDGE)):
        yield f"it is on {port.bridge}, and OVN's bridge here is {expected}: correct the VIF's bridge, or do not wait"
    if others:
        yield f"{joined(others, 'and')} has the iface-id {name} as well: remove the leftover port"
    yield _likely(name, configured, marks)


def _likely(name: str, configured: Ids, marks: Ids) -> str:
    """Return the likely cause if the configuration is complete: the marks of ovn-controller show how far it came."""
    remote = configured.get("ovn-remote", "the southbound database")
    if not marks:
        return f"ovn-controller never worked on that bridge: start it, and check in its log whether it reaches {remote}"
    asking = f"`ovn-sbctl find Port_Binding logical_port={name}`"
    if f"ct-zone-{name}" in marks:
        return (
            f"ovn-controller has seen the iface-id {name} and not installed it: check with {asking} whether "
            "another chassis has claimed it or is requested, and whether ovn-controller is still running"
        )
    return (
        f"ovn-controller has worked here before and shows no sign of the iface-id {name}: check with "
        f"`ovn-appctl -t ovn-controller connection-status` whether it is running and connected to {remote}, and with "
        f"{asking} whether the port exists and which chassis is requested"
    )
