"""What the server refused, as an error for a person: who has the name, which bridge is missing, what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vifplug.errors import Conflict, InvalidRequest, Missing, StepFailed, VifplugError
from vifplug.host.ovs import decode, operations
from vifplug.host.ovs.commands import EnsureBridge, PlugPort
from vifplug.host.ovs.ovsdbapp_api.commands import holds, taken_name
from vifplug.host.ovs.transaction import CommandRefused

if TYPE_CHECKING:
    from vifplug.host.ovs.ovsdbapp_api.api import Api


def explained(api: Api, failure: CommandRefused) -> VifplugError:
    """vifplug's own error for a refused transaction. Nothing was changed."""
    refused, command = failure.refused, failure.command
    if (name := taken_name(refused)) is not None:
        return _taken(api, name, failure)
    if refused.error == "timed out" and isinstance(command, PlugPort):
        return Missing(
            f"{command.after} of VIF {command.after.owner} needs the Open vSwitch bridge {command.after.bridge}, "
            "which is not there; create it, or correct the VIF's bridge"
        )
    subject = command.after if isinstance(command, PlugPort) else command
    if refused.error in ("constraint violation", "syntax error", "ovsdb error"):
        return InvalidRequest(f"{subject} can't be stored in the Open vSwitch database: {refused.details}")
    return StepFailed(f"{subject} was refused by the Open vSwitch database: {refused}; nothing was changed")


def _taken(api: Api, name: str, failure: CommandRefused) -> Conflict:
    wanted = _wanted(failure)
    found = [each for row in failure.refused.rows if (each := _holder(api, name, row))]
    if not found:
        return Conflict(f"{wanted} can't be made: two ports of one request, or another writer's, have the name {name}")
    return Conflict(f"{wanted} can't be made: {found[0]}; choose another name, or have its owner remove it")


def _wanted(failure: CommandRefused) -> str:
    command = failure.command
    if isinstance(command, PlugPort):
        return f"{command.after} for VIF {command.after.owner} on bridge {command.after.bridge}"
    return str(command.bridge) if isinstance(command, EnsureBridge) else "a port"


def _holder(api: Api, name: str, row: str) -> str | None:
    """What has the name, verified: the interface, its port, its bridge and its owner."""
    [interfaces] = api.pool.select(operations.select("Interface", row, ["name", "external_ids"]))
    if not interfaces or interfaces[0]["name"] != name:
        return None
    [ports] = api.pool.select(holds("Port", "interfaces", row, ["_uuid"]))
    [bridges] = api.pool.select(decode.bridge_of(ports[0]["_uuid"][1])) if ports else [[]]
    on = f"bridge {bridges[0]['name']}" if bridges else "no bridge"
    return f"a port {name} is on {on} and {_owner(operations.pairs(interfaces[0]['external_ids']))}"


def _owner(external_ids: dict[str, Any]) -> str:
    if decode.OWNER in external_ids:
        return f"belongs to VIF {external_ids[decode.OWNER]}"
    if "iface-id" in external_ids:
        return f"is not vifplug's (its iface-id is {external_ids['iface-id']})"
    return "is not vifplug's"
