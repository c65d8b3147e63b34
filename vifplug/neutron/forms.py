"""Convert a binding to the document of a VIF: one function for each form of connection. Pure.

Each function returns its own keys of the document; `vifplug.neutron` adds those that all forms have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from vifplug.errors import InvalidDocument, Problem
from vifplug.model.virtualport import OPENVSWITCH, QBG, QBH
from vifplug.neutron.binding import Binding, missing, text, truth

Document = dict[str, Any]
Form = Callable[[Binding], Document]


def _on_switch(binding: Binding, **keys: Any) -> Document:
    """Return the keys of ``source`` for an Open vSwitch bridge. Neutron's agents rely on it to be created."""
    datapath = binding.details.get("datapath_type") or binding.details.get("ovs_datapath_type")
    return {"bridge": binding.bridge, "ensure": True, **({"datapath_type": datapath} if datapath else {}), **keys}


def _profile(binding: Binding) -> Document:
    return {"virtualport": {"type": OPENVSWITCH, "interfaceid": binding.interface_id}}


def _function(binding: Binding) -> str:
    """Return the PCI address of the port's function. Raises InvalidDocument."""
    address = binding.profile.get("pci_slot")
    if problems := missing("profile", [("pci_slot", address)]):
        raise InvalidDocument(problems)
    return text("binding:profile.pci_slot", address)


# -- taps -------------------------------------------------------------------------------------------------------------


def _switched(binding: Binding, tap_owner: str, **keys: Any) -> Document:
    common = {"type": "bridge", "tap_owner": tap_owner, "target": binding.name, "mtu": binding.mtu}
    return {**common, "source": _on_switch(binding, **keys), **_profile(binding)}


ovs_tap: Form = partial(_switched, tap_owner="vifplug")
ovs_port: Form = partial(_switched, tap_owner="libvirt", port_owner="vifplug")
ovs_libvirt: Form = partial(_switched, tap_owner="libvirt")
ovs_hybrid: Form = partial(_switched, tap_owner="libvirt", hybrid=True)


def linux_bridge(binding: Binding) -> Document:
    return _linux(binding, {"bridge": binding.bridge, "ensure": True})


def others_bridge(binding: Binding) -> Document:
    """Return a bridge per port that the switch's own agent makes."""
    return _linux(binding, {"bridge": binding.named("qbr")})


def _linux(binding: Binding, source: Document) -> Document:
    common = {"type": "bridge", "tap_owner": "libvirt", "target": binding.name, "mtu": binding.mtu}
    return {**common, "source": source}


def bare_tap(binding: Binding) -> Document:
    """Return a tap that exists before the guest starts; ``mac_address`` is the host end's (networking-calico)."""
    mac = binding.details.get("mac_address")
    common = {"type": "ethernet", "tap_owner": "vifplug", "target": binding.name, "mtu": binding.mtu}
    return {**common, "source": {"host_mac": mac}} if mac else common


def others_tap(binding: Binding) -> Document:
    """Return a tap that libvirt makes and another agent connects."""
    return {"type": "ethernet", "tap_owner": "libvirt", "target": binding.name, "mtu": binding.mtu}


def others_tap_without_mtu(binding: Binding) -> Document:
    return {**others_tap(binding), "mtu": None}


# -- macvtaps ---------------------------------------------------------------------------------------------------------

_DIRECT = {"type": "direct", "tap_owner": "libvirt", "target": None}


def macvtap(binding: Binding) -> Document:
    """Return a macvtap on a device, or on a VLAN device that is made on the physical one. The guest has virtio."""
    names = ("macvtap_source", "macvtap_mode", "physical_interface")
    given = {name: binding.details.get(name) for name in names}
    if problems := missing("vif_details", given.items()):
        raise InvalidDocument(problems)
    source = {"dev": given["macvtap_source"], "mode": given["macvtap_mode"]}
    if binding.vlan is not None:
        source["vlan_device"] = {"physical": given["physical_interface"], "vlan": binding.vlan}
    return {**_DIRECT, "source": source, "model": "virtio"}


def mlnx_direct(binding: Binding) -> Document:
    """Return a macvtap on eswitchd's device of the VF, which that agent named eth and the beginning of the id."""
    name = "eth" + binding.name[3:] if "devname" in binding.port else binding.named("eth")
    return {**_DIRECT, "source": {"dev": name, "mode": "passthrough"}, "model": "virtio"}


def qbg(binding: Binding) -> Document:
    parameters = binding.port.get("qbg_params")
    device = binding.physical_interface
    problems = missing("vif_details", [("physical_interface", device)])
    if not isinstance(parameters, Mapping):
        problems.append(Problem("$.port.qbg_params", "is missing: managerid, typeid, typeidversion and instanceid"))
    if problems:
        raise InvalidDocument(problems)
    port = {"type": QBG, **{str(name): value for name, value in (parameters or {}).items()}}
    return {**_DIRECT, "source": {"dev": device, "mode": "vepa"}, "virtualport": port}


def qbh_macvtap(binding: Binding) -> Document:
    return {**_on_function(binding), "virtualport": _qbh(binding)}


def veb_macvtap(binding: Binding) -> Document:
    return {**_on_function(binding), "vlan": binding.vlan}


def _on_function(binding: Binding) -> Document:
    """Return a macvtap on the device of a VF: the one that the agent has looked up, else by the VF's address."""
    device = binding.port.get("vf_netdev")
    below = {"dev": device} if device else {"address": _function(binding)}
    return {**_DIRECT, "source": {**below, "mode": "passthrough"}, "driver": {"name": "vhost"}}


def _qbh(binding: Binding) -> Document:
    profile = binding.details.get("profileid")
    if problems := missing("vif_details", [("profileid", profile)]):
        raise InvalidDocument(problems)
    return {"type": QBH, "profileid": profile}


# -- functions --------------------------------------------------------------------------------------------------------


def qbh_function(binding: Binding) -> Document:
    return {**_hostdev(binding), "virtualport": _qbh(binding)}


def veb_function(binding: Binding) -> Document:
    trusted = {"vf": {"trust": True}} if truth(binding.profile.get("trusted")) else {}
    return {**_hostdev(binding), "vlan": binding.vlan, **trusted}


def switched_function(binding: Binding) -> Document:
    return {**_hostdev(binding, **_on_switch(binding)), **_profile(binding)}


def _hostdev(binding: Binding, **keys: Any) -> Document:
    return {"type": "hostdev", "source": {"address": _function(binding), **keys}}


remote_function: Form = partial(_hostdev, remote=True)
whole_function: Form = partial(_hostdev, whole=True)


def vdpa(binding: Binding) -> Document:
    """Return a vDPA device: the one that the agent has looked up, else that of the VF at the address."""
    device = binding.port.get("vdpa_dev")
    which = {"device": device} if device else {"address": _function(binding)}
    return {"type": "vdpa", "source": {**which, **_on_switch(binding)}, **_profile(binding)}


# -- vhost-user -------------------------------------------------------------------------------------------------------


def vhostuser(binding: Binding) -> Document:
    """Return a socket whose other end vifplug does not manage."""
    return _vhostuser(binding, binding.name)


def vhostuser_ovs(binding: Binding) -> Document:
    document = _vhostuser(binding, binding.named("vhu"))
    return {
        **document,
        "source": {**document["source"], **_on_switch(binding, port_mtu=binding.mtu)},
        **_profile(binding),
    }


def _vhostuser(binding: Binding, name: str) -> Document:
    path = binding.details.get("vhostuser_socket")
    if problems := missing("vif_details", [("vhostuser_socket", path)]):
        raise InvalidDocument(problems)
    source = {"path": path, "mode": binding.details.get("vhostuser_mode") or "server"}
    return {"type": "vhostuser", "target": name, "source": source}
