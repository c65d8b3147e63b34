"""Translate os-vif's objects to vifplug's documents. Pure: one function for each VIF class of an os-vif plugin.

The source of the rules is os-vif's vif_plug_ovs/ovs.py and vif_plug_noop/noop.py (5.3), and in
vif_plug_linux_bridge/linux_bridge.py (3.2).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from os_vif import objects

from vifplug.compat.plugin_type import ELSEWHERE
from vifplug.errors import InvalidRequest
from vifplug.model.codec import joined
from vifplug.model.vif import VIF, Instance

Document = dict[str, Any]

#: Neutron's trunk bridges (vif_plug_ovs/constants.py, TRUNK_BR_PREFIX)
TRUNK_BRIDGE = "tbr-"
#: os-vif truncates generated names one byte before the kernel's limit (vif_plug_ovs/ovs.py, NIC_NAME_LEN)
_NAME_BYTES = 14


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the agent's configuration."""

    #: the MTU of networks without one, in bytes
    mtu: int = 1500
    per_port_bridge: bool = False


@dataclass(frozen=True)
class Translation:
    """A VIF object and the options that its translation needs."""

    vif: Any
    options: Options

    def need(self, name: str, inside: str = "") -> Any:
        """Return a field, of the object in the field ``inside`` if it is given.

        Raises InvalidRequest if the field is unset, None or empty.
        """
        thing = field(self.vif, inside) if inside else self.vif
        value = field(thing, name)
        if value in (None, ""):
            place = f"{name} of its {type(thing).__name__}" if inside else name
            raise InvalidRequest(f"{describe(self.vif)}: {place} is missing; plugin {self.vif.plugin} needs it")
        return value

    @property
    def bridge(self) -> str:
        self.need("network")
        return str(self.need("bridge", "network"))

    @property
    def mtu(self) -> int:
        return field(field(self.vif, "network"), "mtu") or self.options.mtu

    @property
    def profile(self) -> Any:
        """The port profile. Raises InvalidRequest if it is not one for Open vSwitch."""
        profile = self.need("port_profile")
        if not isinstance(profile, objects.vif.VIFPortProfileOpenVSwitch):
            found = type(profile).__name__
            raise InvalidRequest(
                f"{describe(self.vif)}: expected a port_profile that is a VIFPortProfileOpenVSwitch, got a {found}"
            )
        return profile


def field(thing: Any, name: str) -> Any:
    """Return a field of a versioned object; None if it or the object is unset, or the class does not know it."""
    return getattr(thing, name) if thing is not None and name in thing else None


def describe(vif: Any) -> str:
    """Describe a VIF object in a sentence."""
    return f"{type(vif).__name__} {field(vif, 'id') or 'without an id'}"


def generated(prefix: str, vif_id: str) -> str:
    """Return the name that os-vif makes from a VIF's id."""
    return (prefix + vif_id)[:_NAME_BYTES]


def instance(info: Any) -> Instance:
    """Return the guest of an InstanceInfo. Raises InvalidRequest."""
    values = {name: value for name in ("uuid", "name", "project_id") if (value := field(info, name))}
    if "uuid" not in values:
        raise InvalidRequest("InstanceInfo: uuid is missing; a VIF is plugged for a guest")
    return Instance.from_data(values)


def document(ask: Translation) -> VIF | None:
    """Return the VIF that vifplug plugs; None if the plugin has nothing to do. Raises InvalidRequest."""
    made = form(ask.vif)(ask)
    if made is None:
        return None
    known = {"id": ask.need("id"), "mac": ask.need("address")}
    return VIF.from_data({**known, **{key: value for key, value in made.items() if value is not None}})


def for_plugin(vif: Any, data: Document) -> VIF:
    """Return the document for a VIF of another os-vif plugin (`plugin_type`); ``data``: the object as plain data."""
    ask = Translation(vif, Options())
    given = {key: value for key, value in data.items() if key not in ELSEWHERE}
    source = {"plugin": vif.plugin, "vif": given, "form": _standard(vif)}
    return VIF.from_data({"id": ask.need("id"), "mac": ask.need("address"), "type": "os_vif", "source": source})


def _standard(vif: Any) -> str:
    """Return the os-vif class that the VIF's class is, or inherits from."""
    return next((cls.__name__ for cls in type(vif).__mro__ if cls.__module__ == objects.vif.__name__), "VIFBase")


def form(vif: Any) -> Callable[[Translation], Document | None]:
    """Return the function for a VIF's class, or for its nearest base class. Raises InvalidRequest."""
    forms = FORMS[vif.plugin]
    for cls in type(vif).__mro__:
        if cls.__name__ in forms:
            return forms[cls.__name__]
    if isinstance(vif, objects.vif.VIFNestedDPDK):
        raise InvalidRequest(f"{describe(vif)} is a device inside a guest: a host has nothing to plug for it")
    expected = joined(sorted(forms), "or")
    raise InvalidRequest(f"{describe(vif)}: plugin {vif.plugin} does not support this class (expected {expected})")


# -- plugin ovs -------------------------------------------------------------------------------------------------------


def _switched(ask: Translation) -> Document:
    """Return what every port on Open vSwitch has: the MTU, and the identity by which Neutron knows it."""
    profile = ask.profile
    if field(profile, "create_tap") and not isinstance(ask.vif, objects.vif.VIFOpenVSwitch):
        raise InvalidRequest(f"{describe(ask.vif)}: create_tap is for a VIFOpenVSwitch only")
    port = {"interfaceid": field(profile, "interface_id"), "profileid": field(profile, "profile_id")}
    given = {key: value for key, value in port.items() if value}
    return {"mtu": ask.mtu, "virtualport": {"type": "openvswitch", **given}}


def _bridge_source(ask: Translation) -> Document:
    """Return the bridge, which os-vif makes if it does not exist, and its datapath if it has to be made."""
    return {"bridge": ask.bridge, "ensure": True, "datapath_type": field(ask.profile, "datapath_type") or "system"}


def _tap_source(ask: Translation, **more: Any) -> Document:
    """Return the bridge of a tap; trunk bridges isolate by their own VLANs."""
    return _bridge_source(ask) | more | ({"isolate": False} if ask.bridge.startswith(TRUNK_BRIDGE) else {})


def _openvswitch(ask: Translation) -> Document:
    made, profile = _switched(ask), ask.profile
    create_port = bool(field(profile, "create_port")) or ask.options.per_port_bridge
    create_tap = create_port and bool(field(profile, "create_tap"))  # os-vif reads it only if it makes the port
    made["tap_owner"] = "vifplug" if create_tap else "libvirt"
    made["target"] = ask.need("vif_name")
    tap = {"host_mac": ask.vif.address} if create_tap and field(ask.vif, "address") else {}
    made["source"] = _tap_source(ask, port_owner="vifplug" if create_port else "libvirt", **tap)
    if create_tap and field(profile, "multiqueue"):
        made |= {"model": "virtio", "driver": {"queues": 2}}  # any number makes a multi-queue tap
    if ask.options.per_port_bridge:  # OVN's and Neutron's id of a port, whatever the profile says (_plug_port_bridge)
        made["virtualport"] = {"type": "openvswitch", "interfaceid": ask.need("id")}
    return {"type": "bridge", **made}


def _hybrid(ask: Translation) -> Document:
    ask.need("bridge_name")
    made = _switched(ask)
    source = _tap_source(ask, hybrid=True, hybrid_bridge=ask.vif.bridge_name)
    return {"type": "bridge", "tap_owner": "libvirt", "target": field(ask.vif, "vif_name"), "source": source, **made}


def _vhostuser(ask: Translation) -> Document:
    """Return a vhost-user port. As server, Open vSwitch names the socket after it; as client it has os-vif's name."""
    made, path, mode = _switched(ask), ask.need("path"), ask.need("mode")
    datapath = field(ask.profile, "datapath_type") or "netdev"
    common = {**_bridge_source(ask), "datapath_type": datapath, "port_mtu": made.pop("mtu")}
    target = posixpath.basename(path) if mode == "client" else generated("vhu", ask.need("id"))
    return {"type": "vhostuser", "target": target, "source": {"path": path, "mode": mode, **common}, **made}


def _host_device(ask: Translation) -> Document:
    made, source = _switched(ask), _bridge_source(ask)
    if made.pop("mtu") and source["datapath_type"] == "netdev":
        source["port_mtu"] = ask.mtu
    return {"type": "hostdev", "source": {"address": _function(ask), **source}, **made}


def _function(ask: Translation) -> str:
    """Return the VF's address. nova plugs no ``generic`` device: libvirt gets it as it is, without a representor."""
    if ask.need("dev_type") != "ethernet":
        raise InvalidRequest(
            f"{describe(ask.vif)}: expected dev_type ethernet: a {ask.vif.dev_type} device is not an interface"
        )
    return str(ask.need("dev_address"))


# -- plugins linux_bridge and noop, and classes that no os-vif plugin has --------------------------------------------


def _linux_bridge(ask: Translation) -> Document:
    """Return a bridge, which is made if the network requests it; its uplink must be configured on the host."""
    network = ask.need("network")
    provide = bool(field(network, "should_provide_bridge")) and not field(network, "multi_host")
    if provide and field(network, "should_provide_vlan"):
        device = f"VLAN {field(network, 'vlan')} on {field(network, 'bridge_interface')}"
        raise InvalidRequest(
            f"{describe(ask.vif)} requests {device} for {ask.vif.bridge_name}: vifplug does not move the host's "
            "uplinks: create both in the host's network configuration, and omit should_provide_vlan"
        )
    source = {"bridge": ask.need("bridge_name"), "ensure": provide and not field(network, "bridge_interface")}
    return {"type": "bridge", "tap_owner": "libvirt", "target": field(ask.vif, "vif_name"), "source": source}


def _generic(ask: Translation) -> Document:
    return {"type": "ethernet", "target": ask.need("vif_name"), "mtu": ask.mtu}


def _direct(ask: Translation) -> Document:
    """Return a macvtap on a VF; with ``vlan_name``, on that VLAN device of the network's physical interface."""
    source: Document = {"mode": ask.need("mode")}
    if vlan_name := field(ask.vif, "vlan_name"):
        physical, vlan = (ask.need(name, "network") for name in ("bridge_interface", "vlan"))
        source |= {"dev": vlan_name, "vlan_device": {"physical": physical, "vlan": vlan}}
    else:
        source["address"] = ask.need("dev_address")
    return {"type": "direct", "target": field(ask.vif, "vif_name"), "source": source, "virtualport": _profile(ask)}


def _profile(ask: Translation) -> Document | None:
    profile = field(ask.vif, "port_profile")
    if isinstance(profile, objects.vif.VIFPortProfile8021Qbh):
        return {"type": "802.1Qbh", "profileid": ask.need("profile_id", "port_profile")}
    if isinstance(profile, objects.vif.VIFPortProfile8021Qbg):
        names = ("manager_id", "type_id", "type_id_version", "instance_id")
        return {"type": "802.1Qbg", **{name.replace("_", ""): ask.need(name, "port_profile") for name in names}}
    return None


def _nothing(ask: Translation) -> None:
    """Plug nothing: another agent does it. The ids are required nevertheless, so that a mistake is an error."""
    ask.need("id")


#: plugin -> class -> its translation. ``vifplug`` has the classes that no plugin of os-vif has.
FORMS: Mapping[str, Mapping[str, Callable[[Translation], Document | None]]] = {
    "ovs": {
        "VIFOpenVSwitch": _openvswitch,
        "VIFBridge": _hybrid,
        "VIFVHostUser": _vhostuser,
        "VIFHostDevice": _host_device,
    },
    "linux_bridge": {"VIFBridge": _linux_bridge},
    "noop": {"VIFVHostUser": _nothing, "VIFHostDevice": _nothing},
    "vifplug": {"VIFGeneric": _generic, "VIFDirect": _direct},
}
