"""direct: a macvtap on a device of the host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vifplug.errors import Missing, Problem
from vifplug.guest import capabilities
from vifplug.guest.interface import Interface
from vifplug.model.source import DirectSource
from vifplug.model.vif import VIF
from vifplug.model.virtualport import QBH
from vifplug.plan.registry import LowerDevice, Macvtap, Resource, VlanLink
from vifplug.types.base import NO_VF, Context, VIFType, broken, nic_problems, target_problems
from vifplug.types.ethernet import queue_rule, tap_interface
from vifplug.types.hostdev import vf_vlan_problems, virtual_function


class DirectType(VIFType):
    """A macvtap in mode vepa, bridge, private or passthrough.

    By default libvirt creates it, because libvirt sets it up only when the guest's CPUs run. During a migration, its
    MAC is therefore never on two hosts at once.
    """

    name = "direct"
    source = DirectSource
    tap_owner = "libvirt"
    refuses = {
        "mtu": "libvirt sets no MTU on a macvtap, which has the MTU of its device",
        "filterref": "nwfilter cannot see a macvtap",
        "port": "its settings are those of a bridge's port",
        "external_ids": "it has no Open vSwitch port",
    }

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        owner = self.owner(vif, context)
        yield from nic_problems(vif)
        yield from target_problems(vif, owner)
        yield from _profile_problems(vif, owner)
        yield from vf_vlan_problems(vif)
        yield from broken(queue_rule(vif, owner == "vifplug"))
        if vif.vf and vif.source.mode != "passthrough":
            yield Problem("$.vf", NO_VF)
        if owner == "vifplug" and vif.source.vlan_device and vif.source.mode == "passthrough":
            yield Problem("$.source.vlan_device", "cannot be passed through by vifplug; set tap_owner to libvirt")
        if owner == "vifplug" and vif.bandwidth:
            yield Problem("$.bandwidth", "libvirt would shape the wrong direction of a macvtap; set tap_owner libvirt")
        if owner == "libvirt" and vif.vf and (vif.vf.vlan_qos is not None or vif.vf.vlan_proto):
            yield Problem("$.vf", "libvirt writes the VLAN without QoS and protocol; set tap_owner to vifplug")

    def interface(self, vif: VIF, context: Context) -> Interface:
        owner = self.owner(vif, context)
        if owner == "vifplug":
            return tap_interface(vif, owner)
        source = {"dev": _device(vif, context), "mode": vif.source.mode}
        own = {name: getattr(vif, name) for name in ("vlan", "virtualport", "bandwidth", "target")}
        return Interface.of(vif, "direct", source, **own)

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        ours = self.owner(vif, context) == "vifplug"
        if vif.vf or vif.vlan:
            function = _virtual_function(vif, context, ours)
            if vif.vf or ours:
                yield function
        if vif.source.vlan_device:  # a VLAN device comes up only on one that is up (net/8021q: vlan_dev_open)
            yield LowerDevice(name=vif.source.vlan_device.physical, owner=vif.id)
        yield _lower_device(vif, context, ours)
        if ours:
            yield Macvtap(
                name=vif.device,
                owner=vif.id,
                lower=_device(vif, context),
                mode=vif.source.mode,
                mac=vif.mac,
                txqueuelen=vif.txqueuelen,
                queues=vif.queues if vif.queues > 1 else None,
                user=context.settings.tap_user,
            )


def _profile_problems(vif: VIF, owner: str | None) -> Iterator[Problem]:
    if message := capabilities.profile_problem(vif.virtualport, "direct"):
        yield Problem("$.virtualport.type", message)
    elif vif.virtualport and owner == "vifplug":
        yield Problem("$.virtualport", "libvirt associates the port profile; set tap_owner to libvirt")


def _device(vif: VIF, context: Context) -> str:
    """Return the lower device, by its name or by the address of a virtual function."""
    if vif.source.dev:
        return str(vif.source.dev)
    function = context.facts.virtual_function(vif.source.address)
    if function.device is None:
        message = f"VF {function.address} has no network device, and VIF {vif.id} requests a macvtap on it"
        raise Missing(f"{message}: bind the function to its network driver", resource=f"VF {function.address}")
    return function.device


def _lower_device(vif: VIF, context: Context, ours: bool) -> Resource:
    """Return the lower device. In mode passthrough, and with 802.1Qbh, no other macvtap may be on it (libvirt)."""
    passthrough = vif.source.mode == "passthrough"
    profile = vif.virtualport and vif.virtualport.type
    exclusive = passthrough or (vif.source.mode == "private" and profile == QBH)
    taken: dict[str, Any] = {"taking": "passthrough" if passthrough else "macvtap", "guest_mac": vif.mac}
    if below := vif.source.vlan_device:
        return VlanLink(name=vif.source.dev, owner=vif.id, **vars(below), exclusive=exclusive, **taken)
    device = _device(vif, context)
    return LowerDevice(
        name=device,
        owner=vif.id,
        mac=vif.mac if ours and passthrough else None,
        exclusive=exclusive,
        shared=not exclusive,
        function=vif.source.address or context.facts.function_of(device),
        **taken,
    )


def _virtual_function(vif: VIF, context: Context, ours: bool) -> Resource:
    address = vif.source.address or context.facts.function_of(vif.source.dev)
    if address is None:
        device = f"device {vif.source.dev}"
        raise Missing(f"{device} is no virtual function: vlan and vf of VIF {vif.id} need one", resource=device)
    return virtual_function(vif, context.facts.virtual_function(address), mac=None, with_vlan=ours)
