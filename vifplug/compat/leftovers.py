"""What os-vif, in any configuration, may have left on a host for one VIF, by os-vif's names.

vifplug takes these over before it unplugs. So nothing remains of what was plugged before the move to vifplug, or with
another configuration (a hybrid port that is direct now, a bridge per port that is obsolete).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
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
    qvb, qvo, vhu, vfr = (generated(prefix, vif.id) for prefix in ("qvb", "qvo", "vhu", "vfr"))
    named = list(_names(vif, "vif_name"))
    bridges = dict.fromkeys([generated("qbr", vif.id), *_names(vif, "bridge_name")])
    devices: list[Resource] = [
        *(Tap(name=name, owner=_owner(vif)) for name in named),
        *(LinuxBridge(name=name, owner=_owner(vif)) for name in bridges if _is_for(name, vif)),
        VethPair(name=qvo, peer=qvb, owner=_owner(vif)),
    ]
    ports = [*named, qvo, vhu, vfr]
    return Leftovers(
        resources=(*devices, *_ports(vif, ports), *_patches(vif, named)),
        bridges=(generated("pb", vif.id), *_trunk_bridges(vif)),
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


def _ports(vif: Any, names: list[str]) -> Iterator[OvsPort]:
    """Yield the ports with the VIF's iface-id. Each has its own role, and therefore its own rows."""
    profile = field(vif, "port_profile")
    iface_id = (profile is not None and field(profile, "interface_id")) or vif.id
    for name in dict.fromkeys(names):
        yield _port(vif, name, "", iface_id)


def _patches(vif: Any, named: list[str]) -> Iterator[OvsPort]:
    """Yield the ports of a bridge per port: without ids on the VIF's own bridge, with the iface-id on the other."""
    own = generated("pb", vif.id)
    yield _port(vif, ("ibp" + vif.id)[:_PATCH_BYTES], "", vif.id)
    for name in (("pbp" + vif.id)[:_PATCH_BYTES], *named):
        yield _port(vif, name, own, None)


def _port(vif: Any, name: str, bridge: str, iface_id: str | None) -> OvsPort:
    ids: FrozenMap[str, str | None] = FrozenMap({"iface-id": iface_id} if iface_id else {})
    return OvsPort(name=name, owner=_owner(vif), bridge=bridge, role=f"left-{name}", external_ids=ids)


def _owner(vif: Any) -> str:
    """Return the id in vifplug's form: os-vif takes any string."""
    return str(vif.id).lower()


def _names(vif: Any, *fields: str) -> Iterator[str]:
    for name in fields:
        with contextlib.suppress(ValueError):
            if value := field(vif, name):
                yield parse_device(value)


def _is_for(bridge: str, vif: Any) -> bool:
    """Return whether a Linux bridge's name makes it one VIF's own, so that no other VIF uses it."""
    return vif.id[:11] in bridge


def _trunk_bridges(vif: Any) -> Iterator[str]:
    network = field(vif, "network")
    bridge = network is not None and field(network, "bridge")
    if bridge and bridge.startswith(TRUNK_BRIDGE):
        yield bridge
