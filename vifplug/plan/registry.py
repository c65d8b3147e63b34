"""All resources: what a VIF type can request, and what a backend can observe and apply.

A resource is a frozen object with an identity, ``(kind, name)``. The same class describes the desired and the observed
state, so a difference is a comparison of two objects. In the desired state, None means "not requested".
`vifplug.plan.resource` has the base class and `vifplug.plan.kinds` the kinds; import all of them from here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from vifplug.errors import InvalidDocument, Missing, Problem
from vifplug.model.codec import described, json_list
from vifplug.plan.kinds.devices import (
    AdoptedBridgePort,
    BridgePort,
    BridgeVlan,
    LibvirtTap,
    LinuxBridge,
    LowerDevice,
    Macvtap,
    PciFunction,
    SharedBridge,
    SharedLink,
    SocketDirectory,
    Tap,
    VethPair,
    VhostSocket,
    VirtualFunction,
    VlanLink,
)
from vifplug.plan.kinds.openvswitch import (
    AdoptedPort,
    OvsBridge,
    OvsIfaceId,
    OvsPolicing,
    OvsPort,
    OvsQdisc,
    OvsQos,
    OvsShaper,
    OvsSwitch,
    OvsVlan,
    osvif_qos_id,
    ovs_uuid,
)
from vifplug.plan.resource import (
    HARDENED,
    QUIET,
    Device,
    Identity,
    Ownership,
    Resource,
    immutable,
    kept,
    mark,
    marked_for,
    names_of,
    resettable,
    uncompared,
)

#: vifplug's own kinds, by `Resource.kind`
RESOURCES: dict[str, type[Resource]] = {
    cls.kind: cls
    for cls in (
        *(Tap, LibvirtTap, Macvtap, VethPair, LinuxBridge, BridgePort, LowerDevice, SharedBridge, VlanLink),
        *(VirtualFunction, PciFunction, VhostSocket, SocketDirectory),
        *(OvsSwitch, OvsBridge, OvsPort, OvsIfaceId, OvsQdisc, OvsShaper),
        *(AdoptedPort, AdoptedBridgePort),
    )
}


def to_json(resources: Iterable[Resource]) -> str:
    """Return the resources as JSON, for the record of what is plugged."""
    recorded = [{"kind": resource.kind, **resource.recorded.to_data()} for resource in resources]
    return json.dumps(recorded) if recorded else "[]"


def from_json(text: str, kinds: Mapping[str, type[Resource]] = RESOURCES) -> list[Resource]:
    """Return the resources that `to_json` wrote.

    Raises:
        InvalidDocument: the string is not a list of resources, or one of vifplug's own resources is invalid.
        Missing: no installed plugin has a resource's kind, or the plugin that has it cannot read the resource.
    """
    return [_read(data, f"$[{number}]", kinds) for number, data in enumerate(json_list(text, "list of resources"))]


def _read(data: Any, path: str, kinds: Mapping[str, type[Resource]]) -> Resource:
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if not isinstance(kind, str):
        raise InvalidDocument([Problem(path, f"expected a resource and its kind, got {described(data)}")])
    try:
        cls = kinds[kind]
    except KeyError:
        message = f"the record has a resource of kind {kind[:80]!r}, which no installed plugin provides"
        raise Missing(
            f"{message}: install the package that VIFs were plugged with; or unplug with --force, which leaves that "
            "resource as it is"
        ) from None
    try:
        fields = dict(data)
        del fields["kind"]
        return cls.from_data(fields)
    except Exception as error:  # a plugin's class can raise anything
        if kind in RESOURCES and isinstance(error, InvalidDocument):
            raise InvalidDocument(problem.under(path) for problem in error.problems) from None
        if kind in RESOURCES:
            raise
        raise Missing(
            f"the record has {kind} {data.get('name')} of VIF {data.get('owner')}, which {cls.__module__} cannot read: "
            f"{error}: install the release that the VIF was plugged with, unplug it, and plug it again with this one"
        ) from error
