"""What a VIF has that libvirt plugged: a port of a guest that runs, which vifplug checks, changes and never makes.

What is asked is what libvirt itself writes (9.0: virNetDevOpenvswitchAddPort), so that a port as libvirt made it is
as it has to be. Bandwidth, MTU and the tap stay libvirt's.
"""

from __future__ import annotations

from collections.abc import Iterator

from vifplug.errors import Problem
from vifplug.model.codec import FrozenMap
from vifplug.model.names import host_mac
from vifplug.model.vif import VIF
from vifplug.model.vlan import Vlan
from vifplug.plan.registry import AdoptedBridgePort, AdoptedPort, BridgeVlan, OvsVlan
from vifplug.types import openvswitch
from vifplug.types.base import Context

#: forms of a port that vifplug makes
_MADE_HERE = ("hybrid", "ensure", "port_owner", "isolate", "per_port_bridge", "given")
#: the Interface.external_ids that libvirt writes
_LIBVIRTS = ("attached-mac", "iface-id", "vm-id", "port-profile", "iface-status")


def problems(vif: VIF, owner: str | None) -> Iterator[Problem]:
    """What keeps a bridge's port from being adopted."""
    if owner != "libvirt":
        yield Problem("$.source.adopted", "needs tap_owner libvirt: the tap exists, and is libvirt's")
    if vif.target is None:
        yield Problem("$.target", "expected the name of the existing tap, got null")
    for form in _MADE_HERE:
        if getattr(vif.source, form):
            yield Problem(f"$.source.{form}", "cannot be combined with adopted: libvirt makes no such form")


def openvswitch_port(vif: VIF, context: Context) -> AdoptedPort:
    """The port that libvirt put on an Open vSwitch bridge."""
    ids = openvswitch.external_ids(vif, context, vif.source.bridge)
    return AdoptedPort(
        name=vif.device,
        owner=vif.id,
        bridge=vif.source.bridge,
        vlan=libvirts_vlan(vif.vlan),
        external_ids=FrozenMap({key: ids[key] for key in _LIBVIRTS if key in ids}),
    )


def vhostuser_port(vif: VIF, name: str) -> AdoptedPort:
    """The port at the other end of a vhost-user socket, which somebody made for libvirt to find: none of its ids is
    known.
    """
    return AdoptedPort(name=name, owner=vif.id, bridge=vif.source.bridge, vlan=libvirts_vlan(vif.vlan))


def linux_port(vif: VIF, vlans: tuple[BridgeVlan, ...] | None) -> AdoptedBridgePort:
    """The port of libvirt's tap on a Linux bridge. libvirt gives its tap the MAC that vifplug would."""
    return AdoptedBridgePort(
        name=vif.device,
        owner=vif.id,
        bridge=vif.source.bridge,
        mac=host_mac(vif.mac),
        isolated=vif.port.isolated if vif.port else None,
        vlans=vlans,
    )


def libvirts_vlan(vlan: Vlan | None) -> OvsVlan | None:
    """The VLAN columns as libvirt writes them: the mode is left out where the others imply it."""
    written = openvswitch.vlan(vlan)
    return written.replace(mode=None) if written and written.mode in ("access", "trunk") else written
