"""bridge: a tap on a Linux bridge or on an Open vSwitch bridge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vifplug.errors import Problem
from vifplug.guest import capabilities
from vifplug.guest.interface import Interface
from vifplug.model.names import host_mac, short_id
from vifplug.model.nic import Port
from vifplug.model.source import BridgeSource
from vifplug.model.vif import VIF
from vifplug.model.virtualport import MIDONET, OPENVSWITCH
from vifplug.model.vlan import Vlan
from vifplug.plan.registry import (
    QUIET,
    BridgePort,
    BridgeVlan,
    LibvirtTap,
    LowerDevice,
    OvsQdisc,
    Resource,
    SharedBridge,
    VethPair,
)
from vifplug.plan.registry import LinuxBridge as LinuxBridge
from vifplug.types import adopted, openvswitch
from vifplug.types.base import COLUMNS, NO_VF, Context, Option, Rule, VIFType, broken, nic_problems, target_problems
from vifplug.types.ethernet import host_mac_rule, queue_rule, tap, tap_interface

#: the keys of source that are for Open vSwitch alone
_OPENVSWITCHS = ("port_owner", "datapath_type", "isolate", "per_port_bridge", "given", "host_mac")


_UNLESS = ", unless a VIF says otherwise (key port)."


class BridgeType(VIFType):
    """A guest on a switch of the host. The virtualport's type says which kind of switch ``source.bridge`` is."""

    name = "bridge"
    source = BridgeSource
    tap_owner = "vifplug"
    refuses = {"vf": NO_VF}
    options = (
        Option(name="hairpin", kind="bool", help=f"Let a Linux bridge send a frame back where it came from{_UNLESS}"),
        Option(name="learning", kind="bool", help=f"Let a Linux bridge learn MAC addresses on the port{_UNLESS}"),
    )

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        owner = self.owner(vif, context)
        yield from nic_problems(vif)
        yield from target_problems(vif, owner)
        yield from adopted.problems(vif, owner) if vif.source.adopted else ()
        if openvswitch.on_openvswitch(vif):
            yield from _openvswitch_problems(vif, owner)
        else:
            yield from _linux_problems(vif, owner)

    def interface(self, vif: VIF, context: Context) -> Interface:
        owner, on_ovs = self.owner(vif, context), openvswitch.on_openvswitch(vif)
        if "vifplug" in (owner, _port_owner(vif, owner)):
            shaped = owner == "libvirt" or not on_ovs or vif.source.hybrid  # else the port is
            return tap_interface(vif, owner, bandwidth=vif.bandwidth if shaped else None)
        common: dict[str, Any] = {"target": vif.target, "bandwidth": vif.bandwidth}
        if vif.source.hybrid:
            return Interface.of(vif, "bridge", {"bridge": _hybrid_bridge(vif)}, **common)
        common |= {"vlan": vif.vlan, "virtualport": vif.virtualport, "isolated": vif.port and vif.port.isolated}
        return Interface.of(vif, "bridge", {"bridge": vif.source.bridge}, **common)

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        owner, on_ovs = self.owner(vif, context), openvswitch.on_openvswitch(vif)
        if vif.source.adopted and on_ovs:
            return [adopted.openvswitch_port(vif, context)]
        if vif.source.adopted:
            return [adopted.linux_port(vif, bridge_vlans(vif.vlan) if vif.vlan else None)]
        if vif.source.hybrid:
            return _hybrid_desired(vif, context, owner == "vifplug")
        if on_ovs:
            return _openvswitch_desired(vif, context, owner)
        return _linux_desired(vif, context, owner == "vifplug")


def _port_owner(vif: VIF, owner: str | None) -> str | None:
    """Return who creates the port on an Open vSwitch bridge; None for a hybrid VIF, whose port is always vifplug's."""
    return (vif.source.port_owner or owner) if openvswitch.on_openvswitch(vif) and not vif.source.hybrid else None


def _openvswitch_problems(vif: VIF, owner: str | None) -> Iterator[Problem]:
    yield from openvswitch.port_problems(vif)
    if vif.port and vif.port.isolated and (vif.source.adopted or _port_owner(vif, owner) == "libvirt"):
        yield capabilities.isolated_beside(OPENVSWITCH)
    if vif.filterref and not vif.source.hybrid:
        found = capabilities.filterref_beside(OPENVSWITCH)
        yield Problem(found.path, f"{found.message}; set source.hybrid, or leave it out")
    delegated = _port_owner(vif, owner) == "vifplug" and not vif.source.given  # whose tap is set once it exists
    yield from broken(host_mac_rule(vif, owner), queue_rule(vif, owner == "vifplug" or delegated))
    yield from (
        _hybrid_problems(vif, owner) if vif.source.hybrid else _port_problems(vif, owner, _port_owner(vif, owner))
    )
    if vif.source.given and (owner, _port_owner(vif, owner)) != ("libvirt", "vifplug"):
        yield Problem("$.source.given", "needs tap_owner libvirt and port_owner vifplug: vifplug must not create a tap")


def _hybrid_problems(vif: VIF, owner: str | None) -> Iterator[Problem]:
    port = "cannot be combined with hybrid, whose port is always vifplug's"
    bridge = "cannot be combined with hybrid, which has a bridge between tap and switch"
    cut_off = "cannot be false with hybrid: its bridge forgets addresses at once, so the guest would get no frames"
    return broken(
        (vif.port and vif.port.flood is False, "$.port.flood", cut_off),
        *_flag_rules(vif, owner),
        (vif.source.port_owner, "$.source.port_owner", port),
        (vif.source.per_port_bridge, "$.source.per_port_bridge", bridge),
    )


def _port_problems(vif: VIF, owner: str | None, port_owner: str | None) -> Iterator[Problem]:
    if port_owner == "vifplug" and vif.target is None:
        yield Problem("$.target", "expected a device name for the port that vifplug creates, got null")
    if port_owner == "vifplug":
        return
    if owner == "vifplug":
        yield Problem("$.source.port_owner", "expected vifplug: libvirt creates a port only for its own tap")
    ids = "libvirt creates the port, with its own external_ids; set tap_owner or source.port_owner to vifplug"
    columns = "libvirt creates the port; set tap_owner or source.port_owner to vifplug"
    made, names = "needs port_owner vifplug: libvirt creates the port", ("isolate", "per_port_bridge")
    yield from broken(
        *((getattr(vif.source, name), f"$.source.{name}", made) for name in names),
        (vif.external_ids, "$.external_ids", ids),
        *((getattr(vif, name), f"$.{name}", columns) for name in COLUMNS[1:]),
    )


def _flag_rules(vif: VIF, owner: str | None) -> Iterator[Rule]:
    """Yield the rules for the flags of a port that libvirt creates on a Linux bridge."""
    message = "libvirt creates the port, and has only isolated for it; set tap_owner to vifplug"
    libvirts = owner == "libvirt" and not vif.source.adopted
    return ((libvirts, f"$.port.{name}", message) for name in (vif.port.flags if vif.port else ()))


def _linux_problems(vif: VIF, owner: str | None) -> Iterator[Problem]:
    midonet = owner == "vifplug" and vif.virtualport is not None and vif.virtualport.type == MIDONET
    hybrid = "needs virtualport openvswitch: a hybrid port joins the two kinds of bridge"
    columns = "needs virtualport openvswitch: it is in columns of its tables"
    beyond = vif.vlan.beyond_libvirt if vif.vlan else ""
    return broken(
        *((getattr(vif.source, name), f"$.source.{name}", "needs virtualport openvswitch") for name in _OPENVSWITCHS),
        (midonet, "$.virtualport.type", "libvirt binds midonet ports (mm-ctl); set tap_owner to libvirt"),
        (True, "$.virtualport.type", capabilities.profile_problem(vif.virtualport, "bridge")),
        (vif.source.hybrid, "$.source.hybrid", hybrid),
        *((getattr(vif, name), f"$.{name}", columns) for name in COLUMNS),
        *_flag_rules(vif, owner),
        queue_rule(vif, owner == "vifplug"),
        (True, "$.vlan", capabilities.vlan_problem(vif.vlan, "bridge", port=vif.virtualport)),
        (beyond, "$.vlan", f"{beyond} needs virtualport openvswitch: a Linux bridge has only lists of VLANs"),
    )


def _openvswitch_desired(vif: VIF, context: Context, owner: str | None) -> Iterator[Resource]:
    if owner == "vifplug":
        yield tap(vif, context)
    yield openvswitch.bridge(vif, context)
    if _port_owner(vif, owner) == "vifplug":
        yield from _port(vif, context, owner)


def _port(vif: VIF, context: Context, owner: str | None) -> Iterator[Resource]:
    """Yield the port, on the bridge or on one of its own. libvirt creates its tap later, and shapes it."""
    if vif.source.given:
        yield LowerDevice(name=vif.device, owner=vif.id, up=None, mtu=vif.mtu, taking="port")
    elif owner == "libvirt":
        mac = host_mac(vif.mac)
        yield LibvirtTap(name=vif.device, owner=vif.id, mac=mac, mtu=vif.mtu, txqueuelen=vif.txqueuelen)
    if owner == "vifplug" or vif.source.given:
        port = openvswitch.port(vif, context, vif.device)
    else:
        port = openvswitch.port(vif.replace(bandwidth=None), context, vif.device).replace(error=None)
    asked = vif.source.per_port_bridge
    if context.settings.per_port_bridge if asked is None else asked:
        yield from openvswitch.own_bridge(vif, context, port)
    else:
        yield port
    shaped = port.qos or port.default_qos
    if port.error is not None and shaped and shaped.type == "linux-htb":
        yield OvsQdisc(name=vif.device, owner=vif.id)


def _linux_desired(vif: VIF, context: Context, ours: bool) -> Iterator[Resource]:
    if vif.source.ensure:
        yield SharedBridge(name=vif.source.bridge, owner=vif.id, carries=vif.mtu)
    else:
        yield LowerDevice(name=vif.source.bridge, owner=vif.id, up=None, link_kind="bridge", carries=vif.mtu)
    if ours:
        yield tap(vif, context)
        yield _bridge_port(vif, context, vif.source.bridge)


def _bridge_port(vif: VIF, context: Context, bridge: str) -> BridgePort:
    asked = vif.port or Port()
    return BridgePort(
        name=vif.device,
        owner=vif.id,
        bridge=bridge,
        isolated=None if vif.source.hybrid else asked.isolated,
        hairpin=context.options.get("hairpin") if asked.hairpin is None else asked.hairpin,
        learning=context.options.get("learning") if asked.learning is None else asked.learning,
        flood=asked.flood,
        vlans=None if vif.vlan is None or vif.source.hybrid else bridge_vlans(vif.vlan),
    )


def bridge_vlans(vlan: Vlan) -> tuple[BridgeVlan, ...]:
    """Return the VLANs of a Linux bridge port: access and untagged native VLANs are PVID and leave untagged."""
    untagged = vlan.access or (vlan.native and vlan.native.native_mode == "untagged" and vlan.native.id)
    pvid = vlan.access or (vlan.native and vlan.native.id)
    return tuple(BridgeVlan(id=tag, pvid=tag == pvid, untagged=tag == untagged) for tag in sorted(vlan.ids))


def _hybrid_bridge(vif: VIF) -> str:
    return vif.source.hybrid_bridge or f"qbr{short_id(vif.id)}"


def _hybrid_desired(vif: VIF, context: Context, ours: bool) -> Iterator[Resource]:
    """guest - tap - qbr (Linux bridge) - qvb = veth = qvo - Open vSwitch; bandwidth is libvirt's to set on the tap.

    The bridge forgets addresses at once (ageing 0), or it would go on sending to a guest that has migrated away.
    """
    end = short_id(vif.id)
    qbr, qvb, qvo = _hybrid_bridge(vif), f"qvb{end}", f"qvo{end}"  # as Neutron and nova know them
    plain: dict[str, Any] = {"ageing_time": 0, "forward_delay": 0, "stp": False, "multicast_snooping": False}
    yield LinuxBridge(name=qbr, owner=vif.id, mtu=vif.mtu, sysctls=QUIET, **plain)
    yield VethPair(name=qvo, peer=qvb, owner=vif.id, mtu=vif.mtu, promiscuous=True)
    yield BridgePort(name=qvb, owner=vif.id, bridge=qbr)
    if ours:
        yield tap(vif, context)
        yield _bridge_port(vif, context, qbr)
    yield openvswitch.bridge(vif, context)
    yield openvswitch.port(vif.replace(bandwidth=None), context, qvo)
