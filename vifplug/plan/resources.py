"""The vocabulary of host state: what a VIF type can ask for, and what a host backend can observe and apply.

Each resource is a frozen record with an identity, ``(kind, name)``. The same record says what is wanted and what was
found, so a difference is a comparison of two records. In a wanted record None means "not asked: leave it alone".
What a resource is stands in `vifplug.plan.base`; its kinds in `devices` and `openvswitch`; all have their names here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from vifplug.errors import Missing
from vifplug.plan.base import (
    HARDENED,
    Device,
    Identity,
    Life,
    Resource,
    cleared,
    fixed,
    locating,
    mark,
    marked_for,
    names_of,
)
from vifplug.plan.devices import (
    AdoptedBridgePort,
    Bridge,
    BridgePort,
    BridgeVlan,
    LibvirtTap,
    LowerDevice,
    Macvtap,
    PciFunction,
    SharedBridge,
    SharedLink,
    Tap,
    VethPair,
    VhostSocket,
    VirtualFunction,
    VlanLink,
)
from vifplug.plan.openvswitch import (
    AdoptedPort,
    OvsBridge,
    OvsPolicing,
    OvsPort,
    OvsQdisc,
    OvsQos,
    OvsVlan,
    osvif_qos_id,
    ovs_uuid,
)

__all__ = [
    "HARDENED",
    "RESOURCES",
    "AdoptedBridgePort",
    "AdoptedPort",
    "Bridge",
    "BridgePort",
    "BridgeVlan",
    "Device",
    "Identity",
    "LibvirtTap",
    "Life",
    "LowerDevice",
    "Macvtap",
    "OvsBridge",
    "OvsPolicing",
    "OvsPort",
    "OvsQdisc",
    "OvsQos",
    "OvsVlan",
    "PciFunction",
    "Resource",
    "SharedBridge",
    "SharedLink",
    "Tap",
    "VethPair",
    "VhostSocket",
    "VirtualFunction",
    "VlanLink",
    "cleared",
    "fixed",
    "from_json",
    "locating",
    "mark",
    "marked_for",
    "names_of",
    "osvif_qos_id",
    "ovs_uuid",
    "to_json",
]

RESOURCES: dict[str, type[Resource]] = {
    cls.kind: cls
    for cls in (
        *(Tap, LibvirtTap, Macvtap, VethPair, Bridge, BridgePort, LowerDevice, SharedBridge, VlanLink),
        *(VirtualFunction, PciFunction, VhostSocket),
        *(OvsBridge, OvsPort, OvsQdisc),
        *(AdoptedPort, AdoptedBridgePort),
    )
}


def to_json(resources: Iterable[Resource]) -> str:
    """The resources as text, for the record of what is plugged."""
    return json.dumps([{"kind": resource.kind, **resource.to_data()} for resource in resources])


def from_json(text: str, kinds: Mapping[str, type[Resource]] = RESOURCES) -> list[Resource]:
    """The resources that `to_json` wrote. Raises Missing for a kind that is not among ``kinds``."""
    return [_kind(data.pop("kind"), kinds).from_data(data) for data in json.loads(text)]


def _kind(kind: str, kinds: Mapping[str, type[Resource]]) -> type[Resource]:
    if kind not in kinds:
        told = f"the record has a resource of kind {kind!r}, and no plugin that is installed and can be loaded has it"
        raise Missing(f"{told}: install the package that VIFs were plugged with")
    return kinds[kind]
