"""What of the desired state depends on what the host has: filled in once the host was observed. Pure.

A VIF type says what it can without the host; the record of a VIF, its plan and its check have what is filled in here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vifplug.plan.registry import OvsBridge, OvsPort, OvsQdisc, Resource, VhostSocket
from vifplug.plan.steps import Observation

#: Bridge.datapath_type of the kernel's datapath (ovs-vswitchd.conf.db(5)); an empty column, and none, mean the same
_KERNEL = ("system", "", None)


def with_defaults(desired: Sequence[Resource], observed: Observation, shared: Collection[str] = ()) -> list[Resource]:
    """Return the desired resources with what depends on the host.

    A port gets its default QoS if its bridge has, or will have, the kernel's datapath. Elsewhere the default has no
    meaning: the port has no QoS then, and no root qdisc to settle. A vhost-user socket gets the directories that its
    plug creates, or that vifplug has created before.

    Args:
        desired: the resources as the VIF's type requires them.
        observed: the host before the first step.
        shared: the names of what is recorded as shared (`Resource.shares`).
    """
    bridges = {each.name: each for each in desired if isinstance(each, OvsBridge)}
    ports = {each.identity: _shaped(each, bridges, observed) for each in desired if isinstance(each, OvsPort)}
    bare = {(port.name, port.owner) for port in ports.values() if port.qos is None}
    return [
        ports.get(each.identity) or (_with_made(each, observed, shared) if isinstance(each, VhostSocket) else each)
        for each in desired
        if not (isinstance(each, OvsQdisc) and (each.name, each.owner) in bare)
    ]


def _with_made(socket: VhostSocket, observed: Observation, shared: Collection[str]) -> VhostSocket:
    new = (each for each in socket.requires if each.identity not in observed or set(each.shares) <= set(shared))
    return socket.replace(made=tuple(each.name for each in new))


def _shaped(port: OvsPort, bridges: dict[str, OvsBridge], observed: Observation) -> OvsPort:
    if port.default_qos is None:
        return port
    desired, seen = bridges.get(port.bridge), observed.get((OvsBridge.kind, port.bridge))
    bridge = seen.resource if seen and isinstance(seen.resource, OvsBridge) else desired
    on_kernel = bridge is None or bridge.datapath_type in _KERNEL
    return port.replace(qos=port.qos or (port.default_qos if on_kernel else None), default_qos=None)
