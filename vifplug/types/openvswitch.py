"""The common part of every type's Open vSwitch port: the columns that OVN, Neutron and libvirt read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vifplug.errors import Problem
from vifplug.model.bandwidth import Bandwidth, Limit
from vifplug.model.codec import FrozenMap
from vifplug.model.nic import NOT_ISOLATED, PortOptions
from vifplug.model.vif import VIF
from vifplug.model.virtualport import OPENVSWITCH, VirtualPort
from vifplug.model.vlan import Vlan
from vifplug.plan.registry import OvsBridge, OvsPolicing, OvsPort, OvsQos, OvsVlan, osvif_qos_id
from vifplug.types.base import COLUMNS, Context

#: Neutron's trunk bridges: its trunk driver reads bridge_name from the ports on them
_TRUNK_BRIDGE = "tbr-"

#: Neutron's dead VLAN (DEAD_VLAN_TAG). With the tag alone, frames with that tag would leave the host. As a trunk of
#: that VLAN the port accepts none, and the flows of Neutron's agent drop what has the tag.
_DEAD = OvsVlan(mode="trunk", tag=4095, trunks=(4095,))

_MARK = "it marks the port as vifplug's"
_OVN = "ovn-controller sets it"
_GUEST = "it comes from the instance that the VIF is plugged for"
#: keys of Interface.external_ids that a document must not set, as it could take another port's place; and the reason
_RESERVED = {
    "iface-id": "it comes from virtualport.interfaceid, or is the VIF's id",
    "attached-mac": "it is the VIF's mac",
    "iface-status": "it is active while the VIF is plugged",
    "vm-id": _GUEST,
    "vm-uuid": _GUEST,
    "port-profile": "it comes from virtualport.profileid",
    "bridge_name": "it comes from source.bridge",
    "vifplug-id": _MARK,
    "vifplug-role": _MARK,
    "ovn-installed": _OVN,
    "ovn-installed-ts": _OVN,
}
#: keys of other_config that a document must not set: Neutron's agent (ovs_neutron_agent.py, provision_local_vlan)
_RESTORED = ("net_uuid", "network_type", "physical_network", "segmentation_id", "tag")


def on_openvswitch(vif: VIF) -> bool:
    return vif.virtualport is not None and vif.virtualport.type == OPENVSWITCH


def bridge(vif: VIF, context: Context) -> OvsBridge:
    """Return the VIF's bridge, which is created on request only. Neutron's trunk bridges go with their last port."""
    name = vif.source.bridge
    return OvsBridge(
        name=name,
        ensure=getattr(vif.source, "ensure", False) or context.settings.ensure_bridge,
        datapath_type=_datapath(vif, context),
        transient=name.startswith(_TRUNK_BRIDGE),
    )


def port(vif: VIF, context: Context, name: str) -> OvsPort:
    """Return the port ``name`` of ``vif``: VLAN, identity and, if requested, QoS and policing."""
    options = vif.port_options or PortOptions()
    return OvsPort(
        name=name,
        owner=vif.id,
        bridge=vif.source.bridge,
        vlan=vlan(vif.vlan),
        initial=isolated(vif, context),
        protected=vif.port.isolated if vif.port else None,
        external_ids=external_ids(vif, context, vif.source.bridge),
        other_config=FrozenMap(options.port),
        interface_config=FrozenMap(options.interface),
        ofport_request=vif.ofport_request,
        awaited=vif.ofport_request is not None,  # else nobody knows which number it got
        qos=qos(vif.bandwidth),
        default_qos=default_qos(context, name),
        policing=policing(vif.bandwidth),
    )


def dpdk_port(vif: VIF, context: Context, name: str, kind: str, options: Mapping[str, str]) -> OvsPort:
    """Return the port ``name`` of ``vif`` as a device of DPDK's: one of no kernel device, so nothing shapes it."""
    plain = port(vif, context, name).replace(qos=None, default_qos=None)
    return plain.replace(type=kind, options=FrozenMap(options), mtu_request=vif.source.port_mtu)


def isolated(vif: VIF, context: Context) -> OvsVlan | None:
    """Return the VLAN of a new port: if so configured, the dead VLAN, until an agent sets another.

    An existing port keeps its VLAN. A port on a trunk bridge is not isolated, because no agent sets its VLAN.
    """
    requested = getattr(vif.source, "isolate", None)  # a key of type bridge
    isolate = context.settings.isolate_vif if requested is None else requested
    return _DEAD if isolate and not vif.source.bridge.startswith(_TRUNK_BRIDGE) else None


def own_bridge(vif: VIF, context: Context, tap_port: OvsPort) -> Iterator[OvsBridge | OvsPort]:
    """Yield the tap's port on a bridge of its own, and the patch to the VIF's bridge (os-vif: per_port_bridge).

    Identity, VLAN and what else is the port's are on the patch's end on the VIF's bridge; QoS, policing and the options
    of the Interface stay with the tap. The port that OVN and Neutron see is ready before the guest's tap.
    """
    name, here, there = f"pb{vif.id[:12]}", f"pbp{vif.id}", f"ibp{vif.id}"
    yield OvsBridge(name=name, owner=vif.id, ensure=True, datapath_type=_datapath(vif, context), transient=True)
    moved = ("vlan", "initial", "protected", "external_ids", "other_config", "ofport_request", "awaited")
    blank = OvsPort(name=tap_port.name, bridge=name)
    yield tap_port.replace(bridge=name, **{key: getattr(blank, key) for key in moved})
    patch = OvsPort(name=here, owner=vif.id, bridge=name, role="patch", type="patch")
    yield patch.replace(options=FrozenMap({"peer": there}))
    yield patch.replace(
        name=there,
        bridge=vif.source.bridge,
        role="integration",
        options=FrozenMap({"peer": here}),
        **{key: getattr(tap_port, key) for key in moved},
    )


def _datapath(vif: VIF, context: Context) -> str | None:
    return vif.source.datapath_type or context.settings.datapath_type


def switched_problems(vif: VIF) -> Iterator[Problem]:
    """Yield what the Open vSwitch port of ``source.bridge`` cannot have. Without a bridge it does not exist."""
    if vif.source.bridge is None:
        for key in ("vlan", "virtualport", "port", *COLUMNS):
            if getattr(vif, key) not in (None, FrozenMap(), NOT_ISOLATED):
                yield Problem(f"$.{key}", "needs source.bridge: without it vifplug manages no switch port")
        return
    if vif.virtualport and not on_openvswitch(vif):
        yield Problem("$.virtualport.type", f"expected openvswitch, got {vif.virtualport.type}")
    yield from port_problems(vif)


def port_problems(vif: VIF) -> Iterator[Problem]:
    """Yield what a port of Open vSwitch cannot have, and the keys that are vifplug's or another program's to set."""
    for key in vif.external_ids:
        if key in _RESERVED:
            yield Problem(f"$.external_ids.{key}", f"cannot be given: {_RESERVED[key]}")
    for table, options in vars(vif.port_options or PortOptions()).items():
        for key in options:
            if key.startswith("vifplug-"):
                yield Problem(f"$.port_options.{table}.{key}", f"cannot be given: {_MARK}")
            elif table == "port" and key in _RESTORED:
                reason = "Neutron's agent sets it, and restores the port's VLAN from it"
                yield Problem(f"$.port_options.{table}.{key}", f"cannot be given: {reason}")
    hybrid = getattr(vif.source, "hybrid", False)  # whose tap is on a Linux bridge
    for name in vif.port.flags if vif.port and not hybrid else ():
        yield Problem(f"$.port.{name}", "needs a Linux bridge: on Open vSwitch, the flows of the bridge decide it")


def external_ids(vif: VIF, context: Context, bridge_name: str) -> FrozenMap[str, str | None]:
    """Return Interface.external_ids: iface-id and so on (ovs-vswitchd.conf.db(5), "Configuration for Hypervisors")."""
    profile = vif.virtualport or VirtualPort()
    ids = {"iface-id": profile.interfaceid or vif.id, "attached-mac": vif.mac, "iface-status": "active"}
    if context.instance:
        ids |= {"vm-id": context.instance.uuid, "vm-uuid": context.instance.uuid}
    if profile.profileid:
        ids["port-profile"] = profile.profileid
    if bridge_name.startswith(_TRUNK_BRIDGE):
        ids["bridge_name"] = bridge_name
    return FrozenMap({**ids, **vif.external_ids})


def vlan(desired: Vlan | None) -> OvsVlan | None:
    """Return the VLAN columns. A trunk lists its VLANs, unless it is one of all: an empty list means all 4094.

    An access port of VLAN 0 passes frames without a tag, or with the tag of VLAN 0 (802.1p), and no others. (Measured
    with Open vSwitch 3.1; ``trunks=0`` does the same.)
    """
    if desired is None:
        return None
    if desired.mode == "untagged":
        return OvsVlan(mode="access", tag=0)
    if desired.mode:
        return OvsVlan(mode=desired.mode, tag=desired.tags[0].id, cvlans=desired.cvlans)
    if desired.access:
        return OvsVlan(mode="access", tag=desired.access)
    trunks = () if desired.all else tuple(sorted(desired.ids))
    if native := desired.native:
        return OvsVlan(mode=f"native-{native.native_mode}", tag=native.id, trunks=trunks)
    return OvsVlan(mode="trunk", trunks=trunks)


def qos(bandwidth: Bandwidth | None) -> OvsQos | None:
    """Return the QoS of what the guest receives: linux-htb in bit/s, as libvirt's (virNetDevOpenvswitchSetTxQos).

    Unlike libvirt, an average without a peak is a limit: it is max-rate as well.
    """
    limit = bandwidth.inbound if bandwidth else None
    if limit is None or limit.average is None:
        return None
    config = {"min-rate": limit.average * 8000, "max-rate": (limit.peak or limit.average) * 8000}
    if limit.burst:
        config["burst"] = limit.burst * 8192
    texts = FrozenMap({key: str(value) for key, value in config.items()})
    return OvsQos(type="linux-htb", other_config=texts, queue=texts)


def policing(bandwidth: Bandwidth | None) -> OvsPolicing | None:
    """Return the policing of what the guest sends: at the average, in kbit (virNetDevOpenvswitchSetRxQos).

    A policer has one rate: ``peak`` has no effect, as in libvirt.
    """
    limit: Limit | None = bandwidth.outbound if bandwidth else None
    if limit is None or limit.average is None:
        return None
    return OvsPolicing(rate=limit.average * 8, burst=(limit.burst or 0) * 8)


def default_qos(context: Context, device: str) -> OvsQos | None:
    """Return the QoS of a port that requests none, on the kernel's datapath: os-vif's default_qos_type.

    With linux-noop Open vSwitch leaves the device's own qdisc alone.
    """
    kind = context.settings.default_qos_type
    if kind is None:
        return None
    ids = {"id": osvif_qos_id(device), "_type": kind}
    return OvsQos(type=kind, external_ids=FrozenMap(ids))
