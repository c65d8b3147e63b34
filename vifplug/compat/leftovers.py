"""What os-vif, in any configuration, may have left on a host for one VIF, by os-vif's names.

vifplug takes these over before it unplugs. So nothing remains of what was plugged before the move to vifplug, or with
another configuration (a hybrid port that is direct now, a bridge per port that is obsolete).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from vifplug.compat.translate import TRUNK_BRIDGE, field, generated
from vifplug.host.netlink.client import Netlink
from vifplug.model.codec import FrozenMap
from vifplug.model.names import parse_device
from vifplug.model.vif import VIF
from vifplug.plan.registry import LinuxBridge, OvsPort, Resource, Tap, VethPair

#: names of ports that are no devices may be longer (vif_plug_ovs/ovs.py, _plug_port_bridge)
_PATCH_BYTES = 64


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What may exist of one VIF."""

    #: devices and ports
    resources: tuple[Resource, ...]
    #: bridges to remove when they are empty
    bridges: tuple[str, ...]
    #: devices that may have stray QoS
    devices: tuple[str, ...]


def of(vif: Any) -> Leftovers:
    """Return what may exist of a VIF object; a missing or invalid name is no error."""
    owner = str(vif.id).lower()  # vifplug's form: os-vif takes any string
    qbr, qvb, qvo, vhu, vfr = (generated(prefix, vif.id) for prefix in ("qbr", "qvb", "qvo", "vhu", "vfr"))
    named = _name(vif, "vif_name")
    bridges = dict.fromkeys([qbr, *_name(vif, "bridge_name")])
    devices: list[Resource] = [
        *(Tap(name=name, owner=owner) for name in named),
        # a Linux bridge whose name makes it one VIF's own, so that no other VIF uses it: os-vif's names have the first
        # 11 characters of every id, also of a UUIDv7, of which vifplug's own names have the end
        *(LinuxBridge(name=name, owner=owner) for name in bridges if vif.id[:11] in name),
        VethPair(name=qvo, peer=qvb, owner=owner),
    ]
    trunk = field(field(vif, "network"), "bridge") or ""
    return Leftovers(
        resources=(*devices, *_ports(vif, owner, dict.fromkeys([*named, qvo, vhu, vfr]), named)),
        bridges=(generated("pb", vif.id), *([trunk] if trunk.startswith(TRUNK_BRIDGE) else [])),
        devices=(*named, qvo),
    )


def is_given(document: VIF) -> bool:
    """Return whether a port waits for a tap, but an unmarked device with its name is not a tap.

    Neutron's agent on a SmartNIC plugs representors in this way, in the form that nova uses for libvirt's taps.
    """
    if document.type != "bridge" or document.source.port_owner != "vifplug" or document.tap_owner != "libvirt":
        return False
    with contextlib.closing(Netlink()) as netlink:
        link = netlink.links([document.device]).get(document.device)
    return link is not None and link.kind not in ("tun", "bridge") and not link.alias


def _ports(vif: Any, owner: str, names: Iterable[str], named: Iterable[str]) -> Iterator[OvsPort]:
    """Yield the ports, each in its own role, and therefore with its own rows.

    ``names`` have the VIF's iface-id. In a bridge per port, ``named`` are on that bridge, without ids.
    """
    own, iface_id = generated("pb", vif.id), field(field(vif, "port_profile"), "interface_id") or vif.id
    switched = [*((name, iface_id) for name in names), (("ibp" + vif.id)[:_PATCH_BYTES], vif.id)]
    ports = [(name, "", FrozenMap({"iface-id": each})) for name, each in switched]
    ports += [(name, own, FrozenMap()) for name in (("pbp" + vif.id)[:_PATCH_BYTES], *named)]
    for name, bridge, ids in ports:
        yield OvsPort(name=name, owner=owner, bridge=bridge, role=f"left-{name}", external_ids=ids)


def _name(vif: Any, key: str) -> list[str]:
    """Return the device's name in a field; nothing if it is missing or invalid."""
    try:
        return [parse_device(field(vif, key) or "")]
    except ValueError:
        return []
