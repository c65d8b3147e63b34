"""The table: each binding that the field has or had, what tells it from others, and what it becomes. Pure.

The first row that fits a port is its row. ``source`` names where a row comes from: the function of nova that has it
(2026.2, or the release that had it last), or the document that lists it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from vifplug.neutron import forms
from vifplug.neutron.binding import Binding
from vifplug.neutron.forms import Document, Form

_OS_VIF: Final = "nova os_vif_util"
_LEGACY: Final = "nova LibvirtGenericVIFDriver"
_WIKI: Final = "OpenStack wiki, LibvirtVIFTypeXMLConfigs"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One binding. ``when`` says in words what ``fits`` tests; ``refusal`` is for what no libvirt host can have.

    ``shaped``: whether the flavor's bandwidth can be enforced. ``host`` says what the host gets.
    """

    name: str
    vif_type: str
    source: str
    when: str = ""
    fits: Callable[[Binding], bool] = lambda binding: True
    form: Form | None = None
    becomes: str = ""
    host: str = ""
    refusal: str = ""
    shaped: bool = False

    @property
    def told(self) -> str:
        """What the host gets, or why nothing."""
        return self.host or f"{self.vif_type} {self.refusal}"


def _vnic(*types: str) -> Callable[[Binding], bool]:
    return lambda binding: binding.vnic_type in types


def _says(*details: str) -> Callable[[Binding], bool]:
    return lambda binding: all(map(binding.says, details))


def _delegated(binding: Binding) -> bool:
    return bool(binding.port.get("delegate_create"))


_DIRECT: Final = ("direct", "accelerator-direct")
_NO_PORT: Final = "nothing is plugged for it here"

_OVS: Final = (
    Row(
        name="ovs-direct",
        vif_type="ovs",
        when="vnic direct",
        fits=_vnic(*_DIRECT),
        form=forms.switched_function,
        becomes="hostdev",
        host="the VF's MAC; its representor's port",
        source=f"{_OS_VIF}._nova_to_osvif_vif_ovs",
    ),
    Row(
        name="ovs-vdpa",
        vif_type="ovs",
        when="vnic vdpa",
        fits=_vnic("vdpa"),
        form=forms.vdpa,
        becomes="vdpa",
        host="the VF's vDPA device is claimed; its representor's port",
        source=f"{_OS_VIF}._nova_to_osvif_vif_ovs",
    ),
    Row(
        name="ovs-remote-managed",
        vif_type="ovs",
        when="vnic remote-managed",
        fits=_vnic("remote-managed"),
        form=forms.remote_function,
        becomes="hostdev",
        host="the VF is claimed: a SmartNIC's own switch does the rest",
        source=f"{_OS_VIF}._nova_to_osvif_vif_ovs",
    ),
    Row(
        name="ovs-hybrid",
        vif_type="ovs",
        when="ovs_hybrid_plug",
        fits=_says("ovs_hybrid_plug"),
        form=forms.ovs_hybrid,
        becomes="bridge",
        host="qbr, qvb and qvo; qvo's port",
        shaped=True,
        source=f"{_OS_VIF}._nova_to_osvif_vif_ovs",
    ),
    Row(
        name="ovs-tap",
        vif_type="ovs",
        when="ovs_create_tap",
        fits=_says("ovs_create_tap"),
        form=forms.ovs_tap,
        becomes="bridge",
        host="a tap and its port",
        shaped=True,
        source=f"{_OS_VIF}._nova_to_osvif_vif_ovs",
    ),
    Row(
        name="ovs-port",
        vif_type="ovs",
        when="delegate_create",
        fits=_delegated,
        form=forms.ovs_port,
        becomes="bridge",
        host="the port, before libvirt's tap",
        shaped=True,
        source=f"{_OS_VIF}._nova_to_osvif_vif_ovs",
    ),
    Row(
        name="ovs",
        vif_type="ovs",
        when="else: the port is libvirt's",
        form=forms.ovs_libvirt,
        becomes="bridge",
        host="the bridge",
        shaped=True,
        source=f"{_OS_VIF}._nova_to_osvif_vif_ovs; {_WIKI}",
    ),
)

_AGILIO: Final = (
    Row(
        name="agilio-ovs-direct",
        vif_type="agilio_ovs",
        when="vnic direct",
        fits=_vnic(*_DIRECT),
        form=forms.switched_function,
        becomes="hostdev",
        host="the VF's MAC; its representor's port",
        source=f"{_OS_VIF}._nova_to_osvif_vif_agilio_ovs",
    ),
    Row(
        name="agilio-ovs-forwarder",
        vif_type="agilio_ovs",
        when="vnic virtio-forwarder",
        fits=_vnic("virtio-forwarder"),
        form=forms.vhostuser,
        becomes="vhostuser",
        host="the socket's directory: virtio-forwarder does the rest",
        source=f"{_OS_VIF}._nova_to_osvif_vif_agilio_ovs",
    ),
)

_VHOSTUSER: Final = (
    Row(
        name="vhostuser-fp",
        vif_type="vhostuser",
        when="vhostuser_fp_plug",
        fits=_says("vhostuser_fp_plug"),
        form=forms.vhostuser,
        becomes="vhostuser",
        host="the socket's directory: the fast path's plugin does the rest",
        source=f"{_OS_VIF}._nova_to_osvif_vif_vhostuser",
    ),
    Row(
        name="vhostuser-ovs",
        vif_type="vhostuser",
        when="vhostuser_ovs_plug",
        fits=_says("vhostuser_ovs_plug"),
        form=forms.vhostuser_ovs,
        becomes="vhostuser",
        host="the socket's directory; a DPDK port",
        source=f"{_OS_VIF}._nova_to_osvif_vif_vhostuser",
    ),
    Row(
        name="vhostuser",
        vif_type="vhostuser",
        when="else, as VPP has it",
        form=forms.vhostuser,
        becomes="vhostuser",
        host="the socket's directory",
        source=f"{_OS_VIF}._nova_to_osvif_vif_vhostuser; {_WIKI}",
    ),
)

_OTHERS: Final = (
    Row(
        name="bridge",
        vif_type="bridge",
        form=forms.linux_bridge,
        becomes="bridge",
        host="the bridge; libvirt puts its tap on it",
        shaped=True,
        source=f"{_OS_VIF}._nova_to_osvif_vif_bridge (to 2025.1); {_WIKI}",
    ),
    Row(
        name="ivs-hybrid",
        vif_type="ivs",
        when="ovs_hybrid_plug",
        fits=_says("ovs_hybrid_plug"),
        form=forms.others_bridge,
        becomes="bridge",
        host="nothing: the agent's bridge qbr has to be there",
        shaped=True,
        source=f"{_OS_VIF}._nova_to_osvif_vif_ivs; {_WIKI}",
    ),
    Row(
        name="ivs",
        vif_type="ivs",
        when="else",
        form=forms.others_tap,
        becomes="ethernet",
        host="nothing: the agent connects libvirt's tap",
        shaped=True,
        source=f"{_OS_VIF}._nova_to_osvif_vif_ivs; {_WIKI}",
    ),
    Row(
        name="vrouter-direct",
        vif_type="vrouter",
        when="vnic direct",
        fits=_vnic("direct"),
        form=forms.remote_function,
        becomes="hostdev",
        host="the VF is claimed: vRouter's agent does the rest",
        source=f"{_OS_VIF}._nova_to_osvif_vif_vrouter",
    ),
    Row(
        name="vrouter-forwarder",
        vif_type="vrouter",
        when="vnic virtio-forwarder",
        fits=_vnic("virtio-forwarder"),
        form=forms.vhostuser,
        becomes="vhostuser",
        host="the socket's directory",
        source=f"{_OS_VIF}._nova_to_osvif_vif_vrouter",
    ),
    Row(
        name="vrouter",
        vif_type="vrouter",
        when="else",
        form=forms.others_tap,
        becomes="ethernet",
        host="nothing: vRouter's agent connects libvirt's tap",
        shaped=True,
        source=f"{_OS_VIF}._nova_to_osvif_vif_vrouter; {_WIKI}",
    ),
    Row(
        name="tap",
        vif_type="tap",
        form=forms.bare_tap,
        becomes="ethernet",
        host="a tap",
        shaped=True,
        source=f"{_LEGACY}.get_config_tap",
    ),
    Row(
        name="midonet",
        vif_type="midonet",
        form=forms.others_tap_without_mtu,
        becomes="ethernet",
        host="nothing: MidoNet's agent binds libvirt's tap",
        shaped=True,
        source=f"{_LEGACY}.get_config_midonet; {_WIKI}",
    ),
    Row(
        name="iovisor",
        vif_type="iovisor",
        form=forms.others_tap_without_mtu,
        becomes="ethernet",
        host="nothing: PLUMgrid's agent connects libvirt's tap",
        shaped=True,
        source=f"{_LEGACY}.get_config_iovisor; {_WIKI}",
    ),
    Row(
        name="macvtap",
        vif_type="macvtap",
        form=forms.macvtap,
        becomes="direct",
        host="the device is up; a VLAN device where details have a vlan",
        shaped=True,
        source=f"{_LEGACY}.get_config_macvtap; {_WIKI}",
    ),
    Row(
        name="hw-veb-direct",
        vif_type="hw_veb",
        when="vnic direct",
        fits=_vnic(*_DIRECT),
        form=forms.veb_function,
        becomes="hostdev",
        host="the VF's MAC, VLAN and trust",
        source=f"{_LEGACY}.get_config_hw_veb; {_WIKI}",
    ),
    Row(
        name="hw-veb-macvtap",
        vif_type="hw_veb",
        when="else, as vnic macvtap",
        form=forms.veb_macvtap,
        becomes="direct",
        host="the VF is claimed; libvirt sets its MAC and VLAN",
        shaped=True,
        source=f"{_LEGACY}.get_config_hw_veb; {_WIKI}",
    ),
    Row(
        name="mlnx-direct",
        vif_type="mlnx_direct",
        form=forms.mlnx_direct,
        becomes="direct",
        host="the device is claimed",
        shaped=True,
        source=f"{_LEGACY}.get_config_mlnx_direct (to Juno); {_WIKI}",
    ),
    Row(
        name="802.1qbg",
        vif_type="802.1qbg",
        form=forms.qbg,
        becomes="direct",
        host="the device is up; libvirt associates the profile",
        shaped=True,
        source=f"{_LEGACY}.get_config_802qbg; {_WIKI}",
    ),
    Row(
        name="802.1qbh-direct",
        vif_type="802.1qbh",
        when="vnic direct",
        fits=_vnic("direct"),
        form=forms.qbh_function,
        becomes="hostdev",
        host="the VF is claimed; libvirt associates the profile",
        source=f"{_LEGACY}.get_config_802qbh",
    ),
    Row(
        name="802.1qbh-macvtap",
        vif_type="802.1qbh",
        when="else, as vnic macvtap",
        form=forms.qbh_macvtap,
        becomes="direct",
        host="the VF is claimed; libvirt associates the profile",
        shaped=True,
        source=f"{_LEGACY}.get_config_802qbh; {_WIKI}",
    ),
    Row(
        name="hostdev-physical",
        vif_type="hostdev_physical",
        form=forms.whole_function,
        becomes="hostdev",
        host="the function is claimed",
        source=f"{_LEGACY}.get_config_hostdev_physical",
    ),
    Row(
        name="ib-hostdev",
        vif_type="ib_hostdev",
        form=forms.whole_function,
        becomes="hostdev",
        host="the function is claimed: eswitchd does the rest",
        source=f"{_LEGACY}.get_config_ib_hostdev",
    ),
)

_REFUSED: Final = (
    Row(
        name="dvs",
        vif_type="dvs",
        refusal=f"is a port group of VMware's distributed switch, which no libvirt host has; {_NO_PORT}",
        source=f"Neutron portbindings; {_WIKI}",
    ),
    Row(
        name="hyperv",
        vif_type="hyperv",
        refusal=f"is a port of Hyper-V's switch, which no libvirt host has; {_NO_PORT}",
        source="Neutron portbindings",
    ),
    Row(
        name="distributed",
        vif_type="distributed",
        refusal=f"is a distributed router's port, which each host's own agent makes; {_NO_PORT}",
        source="Neutron portbindings",
    ),
    Row(
        name="other",
        vif_type="other",
        refusal=f"says nothing of how the port is connected; {_NO_PORT}: ask the mechanism driver that bound it",
        source=f"Neutron portbindings; {_WIKI}",
    ),
    Row(
        name="unbound",
        vif_type="unbound",
        refusal=f"means that no host has the port; {_NO_PORT}: set binding:host_id, and read the port again",
        source="Neutron portbindings",
    ),
    Row(
        name="binding-failed",
        vif_type="binding_failed",
        refusal=f"means that Neutron found no mechanism driver for this host; {_NO_PORT}: see neutron-server's log, "
        "whether the host's agent is alive and has the physical network, and bind the port again",
        source="Neutron portbindings",
    ),
)


def _as_ovs(binding: Binding) -> Document:
    form = _first(_OVS, binding).form
    assert form is not None  # each of them has one
    return form(binding)


_AGILIO_AS_OVS: Final = Row(
    name="agilio-ovs",
    vif_type="agilio_ovs",
    when="else: as ovs",
    form=_as_ovs,
    becomes="bridge",
    host="as ovs",
    shaped=True,
    source=f"{_OS_VIF}._nova_to_osvif_vif_agilio_ovs",
)

TABLE: Final = (*_OVS, *_AGILIO, _AGILIO_AS_OVS, *_VHOSTUSER, *_OTHERS, *_REFUSED)


def row(binding: Binding) -> Row | None:
    """The row of a binding; None for a type of VIF that nobody has heard of."""
    rows = [row for row in TABLE if row.vif_type == binding.vif_type.lower()]
    return _first(rows, binding) if rows else None


def _first(rows: Iterable[Row], binding: Binding) -> Row:
    return next(row for row in rows if row.fits(binding))
