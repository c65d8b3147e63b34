"""vdpa: a virtio NIC whose rings a device of the host serves (linux/drivers/vdpa; vdpa-dev(8)).

Built on what third parties' types have (doc/plugins.md), and on nothing else: its record, its look-up and its kind of
resource are plugins like any other's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from vifplug.errors import Missing, Problem
from vifplug.guest.interface import Interface
from vifplug.model.codec import Model, described, joined, model
from vifplug.model.names import DeviceName, PciAddress
from vifplug.model.vif import VIF
from vifplug.plan.kinds.vdpa import VDPA_DEVICE, VdpaDevice, VdpaFacts
from vifplug.plan.registry import Resource
from vifplug.types import openvswitch, representor
from vifplug.types.base import NO_VF, Context, VIFType, nic_problems

_OFFLOADED = "the traffic passes no kernel device of the host"
_WAYS = ("device", "address", "name")


def parse_vhost_vdpa(text: str) -> str:
    """Return the path of a vdpa device's character device (linux/drivers/vhost/vdpa.c, vhost_vdpa_probe)."""
    if not re.fullmatch(r"/dev/vhost-vdpa-(0|[1-9][0-9]{0,6})", text):
        raise ValueError(f"expected a device such as /dev/vhost-vdpa-3, got {described(text)}")
    return text


def parse_vdpa_name(text: str) -> str:
    """Return the name of a vdpa device, as in /sys/bus/vdpa/devices."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}", text):
        raise ValueError(f"expected a vdpa device's name such as vdpa0, got {described(text)}")
    return text


@model
class VdpaSource(Model):
    """A vdpa device. One of ``device``, ``address`` and ``name`` is required."""

    #: the character device that the guest opens
    device: Annotated[str, parse_vhost_vdpa] | None = None
    #: address of its PCI function
    address: PciAddress | None = None
    #: its name on the vdpa bus
    name: Annotated[str, parse_vdpa_name] | None = None
    #: the Open vSwitch bridge for the representor of its VF
    bridge: DeviceName | None = None
    #: create the bridge if it does not exist; False: as configured
    ensure: bool = False
    #: datapath of a bridge that vifplug creates
    datapath_type: Literal["system", "netdev"] | None = None

    def rules(self) -> Iterator[Problem]:
        given = [name for name in _WAYS if getattr(self, name)]
        if len(given) != 1:
            yield Problem("$", f"expected one of {joined(_WAYS)}, got {joined(given, 'and')}")

    @property
    def key(self) -> str:
        """The key of the look-up."""
        return self.device or self.address or self.name or ""


class VdpaType(VIFType):
    """A vdpa device for one guest. vifplug checks its MAC and number of queues and never sets them."""

    name = "vdpa"
    source = VdpaSource
    has_device = False
    refuses = {
        "bandwidth": _OFFLOADED,
        "filterref": _OFFLOADED,
        "mtu": "libvirt has none for it; the device has its own: vdpa dev add ... mtu BYTES",
        "tap_owner": "it has no tap",
        "target": "it has no network device on the host",
        "trust_guest_rx_filters": f"they are a macvtap's: {_OFFLOADED}",
        "vf": NO_VF,
    }

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        yield from nic_problems(vif)
        if vif.driver and vif.driver.name == "qemu":
            yield Problem("$.driver.name", "cannot be qemu: the device serves the rings itself")
        yield from openvswitch.switched_problems(vif)

    def interface(self, vif: VIF, context: Context) -> Interface:
        return Interface.of(vif, "vdpa", {"dev": vif.source.device or _found(vif, context).device})

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        found = _found(vif, context)
        yield VdpaDevice(
            name=found.name,
            owner=vif.id,
            device=found.device,
            mac=vif.mac,
            queues=vif.driver.queues if vif.driver else None,
            function=found.function if found.virtual else None,
        )
        if vif.source.bridge:
            facts = context.facts.virtual_function(_function(vif, found))
            yield from representor.plugged(vif, context, facts)


def _found(vif: VIF, context: Context) -> VdpaFacts:
    found: VdpaFacts = context.facts.look(VDPA_DEVICE, vif.source.key)
    return found


def _function(vif: VIF, found: VdpaFacts) -> str:
    if found.function is None:
        message = f"vdpa device {found.name} is on no PCI function, and so has no representor"
        resource = f"vdpa device {found.name}"
        raise Missing(f"{message} to plug into bridge {vif.source.bridge}: leave source.bridge out", resource=resource)
    return found.function
