"""The port that libvirt plugged for a running guest: vifplug checks and changes it, and never creates it.

The desired state is what libvirt itself writes (9.0: virNetDevOpenvswitchAddPort). Bandwidth, MTU and the tap stay
libvirt's.
"""

from __future__ import annotations

from collections.abc import Iterator

from vifplug.errors import Problem
from vifplug.model.codec import FrozenMap
from vifplug.model.names import host_mac
from vifplug.model.nic import Port
from vifplug.model.vif import VIF
from vifplug.model.vlan import Vlan
from vifplug.plan.registry import AdoptedBridgePort, AdoptedPort, BridgeVlan, OvsVlan
from vifplug.types import openvswitch
from vifplug.types.base import Context, broken

#: forms of a port that vifplug makes
_MADE_HERE = ("hybrid", "ensure", "port_owner", "isolate", "per_port_bridge", "given")
#: the Interface.external_ids that libvirt writes
_LIBVIRTS = ("attached-mac", "iface-id", "vm-id", "port-profile", "iface-status")


def problems(vif: VIF, owner: str | None) -> Iterator[Problem]:
    """Yield what prevents a bridge's port from being adopted."""
    no_form = "cannot be combined with adopted: libvirt does not create that form"
    return broken(
        (owner != "libvirt", "$.source.adopted", "needs tap_owner libvirt: the tap exists, and is libvirt's"),
        (vif.target is None, "$.target", "expected the name of the existing tap, got null"),
        *((getattr(vif.source, form), f"$.source.{form}", no_form) for form in _MADE_HERE),
    )


def openvswitch_port(vif: VIF, context: Context) -> AdoptedPort:
    """Return the port that libvirt created on an Open vSwitch bridge."""
    ids = openvswitch.external_ids(vif, context, vif.source.bridge)
    return AdoptedPort(
        name=vif.device,
        owner=vif.id,
        bridge=vif.source.bridge,
        vlan=libvirts_vlan(vif.vlan),
        external_ids=FrozenMap({key: ids[key] for key in _LIBVIRTS if key in ids}),
    )


def vhostuser_port(vif: VIF, name: str) -> AdoptedPort:
    """Return the port at the other end of a vhost-user socket. Another program created it, so its ids are not known."""
    return AdoptedPort(name=name, owner=vif.id, bridge=vif.source.bridge, vlan=libvirts_vlan(vif.vlan))


def linux_port(vif: VIF, vlans: tuple[BridgeVlan, ...] | None) -> AdoptedBridgePort:
    """Return the port of libvirt's tap on a Linux bridge. The tap has the MAC that vifplug would set."""
    return AdoptedBridgePort(
        name=vif.device,
        owner=vif.id,
        bridge=vif.source.bridge,
        mac=host_mac(vif.mac),
        **vars(vif.port or Port()),
        vlans=vlans,
    )


def libvirts_vlan(vlan: Vlan | None) -> OvsVlan | None:
    """Return the VLAN columns as libvirt writes them: without the mode if the others imply it."""
    written = openvswitch.vlan(vlan)
    return written.replace(mode=None) if written and written.mode in ("access", "trunk") else written
