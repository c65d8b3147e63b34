"""The table of bindings of current and past releases: how each is recognized, and what it becomes. Pure.

The first row that fits a port applies. ``source`` names the origin of a row: the function of nova (2026.2, or the last
release that had it), or the document that lists it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from vifplug.neutron import forms
from vifplug.neutron.binding import Binding
from vifplug.neutron.forms import Document, Form


@dataclass(frozen=True)
class Condition:
    """What a row requires of a port."""

    words: str
    holds: Callable[[Binding], bool] = lambda binding: True


@dataclass(frozen=True)
class BindingRow:
    """One binding."""

    name: str
    #: makes the VIF document; None for a binding that is refused
    form: Form | None
    #: the VIF type that the binding becomes; empty for a binding that is refused
    becomes: str
    #: what the host gets, or why no libvirt host can have it
    outcome: str
    condition: Condition = Condition("")
    vif_type: str = ""
    source: str = ""


def _rows(vif_type: str, source: str, *rows: BindingRow) -> tuple[BindingRow, ...]:
    """Return the rows of one ``binding:vif_type``."""
    return tuple(dataclasses.replace(row, vif_type=vif_type, source=source) for row in rows)


def _only(vif_type: str, source: str, form: Form | None, becomes: str, outcome: str) -> tuple[BindingRow, ...]:
    """Return the one row of a ``binding:vif_type``."""
    return _rows(vif_type, source, BindingRow(vif_type.replace("_", "-"), form, becomes, outcome))


def _vnic(*types: str) -> Condition:
    return Condition(f"vnic {types[0]}", lambda binding: binding.vnic_type in types)


def _says(detail: str) -> Condition:
    return Condition(detail, lambda binding: binding.says(detail))


def _first(rows: Iterable[BindingRow], binding: Binding) -> BindingRow:
    return next(row for row in rows if row.condition.holds(binding))


def _as_ovs(binding: Binding) -> Document:
    form = _first(_OVS, binding).form
    assert form is not None  # each of them has one
    return form(binding)


_DIRECT: Final = _vnic("direct", "accelerator-direct")
_FORWARDER: Final = _vnic("virtio-forwarder")
_HYBRID: Final = _says("ovs_hybrid_plug")
_DELEGATED: Final = Condition("delegate_create", lambda binding: bool(binding.port.get("delegate_create")))
_ELSE: Final = Condition("otherwise")
_ELSE_MACVTAP: Final = Condition("otherwise (vnic macvtap)")

_OS_VIF: Final = "nova os_vif_util._nova_to_osvif_vif_"
_LEGACY: Final = "nova LibvirtGenericVIFDriver.get_config_"
_WIKI: Final = "; OpenStack wiki, LibvirtVIFTypeXMLConfigs"

#: what the host gets in several rows, or in a row that would not fit its line
_REPRESENTOR: Final = "the VF's MAC; its representor's port"
_SOCKET: Final = "the socket's directory"
_ASSOCIATED: Final = "the VF is reserved; libvirt associates the profile"
_SMART_NIC: Final = "the VF is reserved: the switch of the SmartNIC does the rest"
_VROUTER_VF: Final = "the VF is reserved: vRouter's agent does the rest"
_VROUTER_TAP: Final = "nothing: vRouter's agent connects libvirt's tap"
_PLUMGRID: Final = "nothing: PLUMgrid's agent connects libvirt's tap"
_MACVTAP: Final = "the device is up; a VLAN device if the details have a vlan"
_VF_BY_LIBVIRT: Final = "the VF is reserved; libvirt sets its MAC and VLAN"
_LINUX: Final = "the bridge; libvirt connects its tap"
_MIDONET: Final = "nothing: MidoNet's agent binds libvirt's tap"
_DEVICE: Final = "the device is reserved"
_PROFILED: Final = "the device is up; libvirt associates the profile"
_FUNCTION: Final = "the function is reserved"
_VDPA: Final = "the vDPA device of the VF is reserved; its representor's port"
_ESWITCHD: Final = "the function is reserved: eswitchd does the rest"

_Row = BindingRow  # a row is a line

_OVS: Final = _rows(
    "ovs",
    f"{_OS_VIF}ovs{_WIKI}",
    _Row("ovs-direct", forms.switched_function, "hostdev", _REPRESENTOR, _DIRECT),
    _Row("ovs-vdpa", forms.vdpa, "vdpa", _VDPA, _vnic("vdpa")),
    _Row("ovs-remote-managed", forms.remote_function, "hostdev", _SMART_NIC, _vnic("remote-managed")),
    _Row("ovs-hybrid", forms.ovs_hybrid, "bridge", "qbr, qvb and qvo; qvo's port", _HYBRID),
    _Row("ovs-tap", forms.ovs_tap, "bridge", "a tap and its port", _says("ovs_create_tap")),
    _Row("ovs-port", forms.ovs_port, "bridge", "the port, before libvirt's tap", _DELEGATED),
    _Row("ovs", forms.ovs_libvirt, "bridge", "the bridge", Condition("otherwise: libvirt creates the port")),
)

_OTHERS: Final = (
    _rows(
        "agilio_ovs",
        f"{_OS_VIF}agilio_ovs",
        _Row("agilio-ovs-direct", forms.switched_function, "hostdev", _REPRESENTOR, _DIRECT),
        _Row("agilio-ovs-forwarder", forms.vhostuser, "vhostuser", _SOCKET, _FORWARDER),
        _Row("agilio-ovs", _as_ovs, "bridge", "as ovs", Condition("otherwise: as ovs")),
    ),
    _rows(
        "vhostuser",
        f"{_OS_VIF}vhostuser{_WIKI}",
        _Row("vhostuser-fp", forms.vhostuser, "vhostuser", _SOCKET, _says("vhostuser_fp_plug")),
        _Row("vhostuser-ovs", forms.vhostuser_ovs, "vhostuser", f"{_SOCKET}; a DPDK port", _says("vhostuser_ovs_plug")),
        _Row("vhostuser", forms.vhostuser, "vhostuser", _SOCKET, Condition("otherwise (VPP)")),
    ),
    _only("bridge", f"{_OS_VIF}bridge (to 2025.1){_WIKI}", forms.linux_bridge, "bridge", _LINUX),
    _rows(
        "ivs",
        f"{_OS_VIF}ivs{_WIKI}",
        _Row("ivs-hybrid", forms.others_bridge, "bridge", "nothing: the agent creates the bridge", _HYBRID),
        _Row("ivs", forms.others_tap, "ethernet", "nothing: the agent connects libvirt's tap", _ELSE),
    ),
    _rows(
        "vrouter",
        f"{_OS_VIF}vrouter{_WIKI}",
        _Row("vrouter-direct", forms.remote_function, "hostdev", _VROUTER_VF, _DIRECT),
        _Row("vrouter-forwarder", forms.vhostuser, "vhostuser", _SOCKET, _FORWARDER),
        _Row("vrouter", forms.others_tap, "ethernet", _VROUTER_TAP, _ELSE),
    ),
    _only("tap", f"{_LEGACY}tap", forms.bare_tap, "ethernet", "a tap"),
    _only("midonet", f"{_LEGACY}midonet{_WIKI}", forms.others_tap_without_mtu, "ethernet", _MIDONET),
    _only("iovisor", f"{_LEGACY}iovisor{_WIKI}", forms.others_tap_without_mtu, "ethernet", _PLUMGRID),
    _only("macvtap", f"{_LEGACY}macvtap{_WIKI}", forms.macvtap, "direct", _MACVTAP),
    _rows(
        "hw_veb",
        f"{_LEGACY}hw_veb{_WIKI}",
        _Row("hw-veb-direct", forms.veb_function, "hostdev", "the VF's MAC, VLAN and trust", _DIRECT),
        _Row("hw-veb-macvtap", forms.veb_macvtap, "direct", _VF_BY_LIBVIRT, _ELSE_MACVTAP),
    ),
    _only("mlnx_direct", f"{_LEGACY}mlnx_direct (to Juno){_WIKI}", forms.mlnx_direct, "direct", _DEVICE),
    _only("802.1qbg", f"{_LEGACY}802qbg{_WIKI}", forms.qbg, "direct", _PROFILED),
    _rows(
        "802.1qbh",
        f"{_LEGACY}802qbh{_WIKI}",
        _Row("802.1qbh-direct", forms.qbh_function, "hostdev", _ASSOCIATED, _DIRECT),
        _Row("802.1qbh-macvtap", forms.qbh_macvtap, "direct", _ASSOCIATED, _ELSE_MACVTAP),
    ),
    _only("hostdev_physical", f"{_LEGACY}hostdev_physical", forms.whole_function, "hostdev", _FUNCTION),
    _only("ib_hostdev", f"{_LEGACY}ib_hostdev", forms.whole_function, "hostdev", _ESWITCHD),
)

_NO_PORT: Final = "nothing is plugged for it here"
_REASONS: Final = {
    "dvs": f"is a port group of VMware's distributed switch, which libvirt hosts do not have; {_NO_PORT}",
    "hyperv": f"is a port of Hyper-V's switch, which libvirt hosts do not have; {_NO_PORT}",
    "distributed": f"is a port of a distributed router, which the agent of each host creates; {_NO_PORT}",
    "other": f"does not say how the port is connected; {_NO_PORT}: ask the mechanism driver that bound it",
    "unbound": f"means that no host has the port; {_NO_PORT}: set binding:host_id, and read the port again",
    "binding_failed": f"means that Neutron found no mechanism driver for this host; {_NO_PORT}: see neutron-server's "
    "log, whether the host's agent is alive and has the physical network, and bind the port again",
}
_REFUSED: Final = tuple(
    _only(vif_type, "Neutron portbindings", None, "", f"{vif_type} {reason}") for vif_type, reason in _REASONS.items()
)

TABLE: Final = tuple(row for rows in (_OVS, *_OTHERS, *_REFUSED) for row in rows)


def row(binding: Binding) -> BindingRow | None:
    """Return the row of a binding; None for an unknown VIF type."""
    rows = [row for row in TABLE if row.vif_type == binding.vif_type.lower()]
    return _first(rows, binding) if rows else None
