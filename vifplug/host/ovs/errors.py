"""What the server refused, as an error for a person: who has the name, which bridge is missing, what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vifplug.errors import Conflict, InvalidRequest, Missing, StepFailed, VifplugError
from vifplug.host.ovs.operations import OWNER, is_row, read_bridge_of, refers, select
from vifplug.host.ovs.pool import Pool
from vifplug.host.ovs.transaction import CommandRefused
from vifplug.plan.registry import OvsBridge, OvsPort


def explained(pool: Pool, failure: CommandRefused) -> VifplugError:
    """vifplug's own error for a refused transaction. Nothing was changed."""
    refused, subject = failure.refused, failure.command.subject if failure.command else "a change"
    if refused.taken_name is not None:
        return _taken(pool, refused.taken_name, refused.rows, subject)
    if refused.error == "timed out" and isinstance(subject, OvsPort):
        return Missing(
            f"{subject} of VIF {subject.owner} needs the Open vSwitch bridge {subject.bridge}, "
            "which does not exist; create it, or correct the VIF's bridge"
        )
    if refused.error in ("constraint violation", "syntax error", "ovsdb error"):
        return InvalidRequest(f"{subject} cannot be stored in the Open vSwitch database: {refused.details}")
    message = f"{subject} was refused by the Open vSwitch database: {refused}; nothing was changed"
    if refused.error == "referential integrity violation":
        find = "'ovs-vsctl --columns=name,interfaces,qos list Port' or 'ovs-vsctl --columns=_uuid,queues list QoS'"
        message += f": clear the other program's reference to that row, which {find} shows"
    return StepFailed(message)


def _taken(pool: Pool, name: str, rows: Sequence[str], subject: object) -> Conflict:
    desired = str(subject) if isinstance(subject, OvsBridge) else "a port"
    if isinstance(subject, OvsPort):
        desired = f"{subject} for VIF {subject.owner} on bridge {subject.bridge}"
    found = [each for row in rows if (each := _holder(pool, name, row))]
    if not found:
        return Conflict(
            f"{desired} cannot be created: two ports of one request, or a port of another client, have the name {name}"
        )
    message, whose = found[0]
    hint = "choose another name, or have its owner remove it"
    return Conflict(f"{desired} cannot be created: {message}; {hint}", holder=whose)


def _holder(pool: Pool, name: str, row: str) -> tuple[str, str] | None:
    """Return what has the name, verified: the interface, its port, its bridge and its owner; and the owner."""
    [interfaces] = pool.select(select("Interface", is_row(row), ["name", "external_ids"]))
    if not interfaces or interfaces[0]["name"] != name:
        return None
    [ports] = pool.select(select("Port", refers("interfaces", row), ["_uuid"]))
    [bridges] = pool.select(read_bridge_of(ports[0]["_uuid"])) if ports else [[]]
    on = f"bridge {bridges[0]['name']}" if bridges else "no bridge"
    ids = interfaces[0]["external_ids"]
    return f"a port {name} is on {on} and {owner(ids)}", ids.get(OWNER) or f"port {name} on {on}"


def owner(external_ids: Mapping[str, str]) -> str:
    """Return whose an interface is, as the predicate of a sentence."""
    if OWNER in external_ids:
        return f"belongs to VIF {external_ids[OWNER]}"
    if "iface-id" in external_ids:
        return f"is not vifplug's (its iface-id is {external_ids['iface-id']})"
    return "is not vifplug's"
