"""Why OVN has not installed a port's flows, as far as the local database tells (ovn-controller.8). Pure.

Whether ovn-controller runs now, and what the southbound database says, is not written here. What ovn-controller has to
be told is; and it leaves marks on its bridge once it has worked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vifplug.host.ovs import operations
from vifplug.host.ovs.connection import DATABASE, Operation
from vifplug.host.ovs.operations import Row
from vifplug.model.codec import joined
from vifplug.plan.registry import OvsPort

#: the bridge of OVN, where ``ovn-bridge`` does not say otherwise
_BRIDGE = "br-int"
#: without these keys of Open_vSwitch.external_ids ovn-controller does not join OVN
_NEEDED = ("ovn-remote", "ovn-encap-type", "ovn-encap-ip")
#: the beginnings of the keys that ovn-controller writes on its bridge when it is connected to OVN
_MARKS = ("ovn-startup-ts", "ovn-nb-cfg", "ct-zone-")

Ids = Mapping[str, str]


def look(port: OvsPort) -> list[Operation]:
    """The selects that `lacking` needs. Two scan a table: for an error that is told in any case."""
    namesakes = [["external_ids", "includes", ["map", [["iface-id", port.iface_id]]]]]
    return [
        {"op": "select", "table": DATABASE, "where": [], "columns": ["external_ids"]},
        {"op": "select", "table": "Bridge", "where": [], "columns": ["name", "external_ids"]},
        {"op": "select", "table": "Interface", "where": namesakes, "columns": ["name"]},
    ]


def lacking(port: OvsPort, found: Sequence[Sequence[Row]]) -> str:
    """What is lacking and what to do, from what `look` found: what is certain before what is likely."""
    [switch], bridges, namesakes = found
    message = operations.pairs(switch["external_ids"])
    written = {row["name"]: operations.pairs(row["external_ids"]) for row in bridges}
    marks = {key: value for key, value in written.get(port.bridge, {}).items() if key.startswith(_MARKS)}
    others = sorted({str(row["name"]) for row in namesakes} - {port.name})
    return next(_reasons(port, message, marks, others))


def _reasons(port: OvsPort, message: Ids, marks: Ids, others: Sequence[str]) -> Iterator[str]:
    known, name = message.get("system-id"), str(port.iface_id)
    needed = _NEEDED if marks else (*_NEEDED, "system-id")  # which may also come from a file
    if missing := [key for key in needed if not {key, f"{key}-{known}"} & set(message)]:
        yield (
            f"this host is not set up for OVN: external_ids of the table Open_vSwitch lack {joined(missing, 'and')}; "
            "set what is lacking, as ovn-controller(8) has it"
        )
    if port.bridge != (wanted := message.get("ovn-bridge", _BRIDGE)):
        yield f"it is on {port.bridge}, and OVN's bridge here is {wanted}: correct the VIF's bridge, or do not wait"
    if others:
        yield f"{joined(others, 'and')} has the iface-id {name} as well: remove what is left over"
    yield _likely(name, message, marks)


def _likely(name: str, message: Ids, marks: Ids) -> str:
    """All that has to be there is there; the marks of ovn-controller tell how far it has come."""
    remote = message.get("ovn-remote", "the southbound database")
    if not marks:
        return f"ovn-controller never worked on that bridge: start it, and see in its log whether it reaches {remote}"
    asking = f"`ovn-sbctl find Port_Binding logical_port={name}`"
    if f"ct-zone-{name}" in marks:
        return (
            f"ovn-controller has seen the iface-id {name} and not installed it: see by {asking} whether another "
            "chassis has it or is requested for it, and whether ovn-controller still runs"
        )
    return (
        f"ovn-controller has worked here before and shows no sign of the iface-id {name}: see by "
        f"`ovn-appctl -t ovn-controller connection-status` whether it runs and is connected to {remote}, and by "
        f"{asking} whether OVN has such a port, and which chassis is requested for it"
    )
