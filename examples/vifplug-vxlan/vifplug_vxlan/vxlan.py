"""The VIF type ``vxlan``: what the guest gets, and what must hold on the host. Both are computed; nothing is done."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vifplug.errors import Problem
from vifplug.guest.interface import Interface
from vifplug.model.codec import Model
from vifplug.model.names import DeviceName
from vifplug.model.vif import VIF
from vifplug.plan.registry import BridgePort, LowerDevice, Resource
from vifplug.types.base import NO_VF, Context, Option, VIFType, nic_problems, target_problems
from vifplug.types.ethernet import tap, tap_interface
from vifplug_vxlan.tunnel import Address, Tunnel, Vni


@dataclass(frozen=True, kw_only=True)
class VxlanSource(Model):
    """A VXLAN segment: its number, and where its frames go.

    ``remote`` is the other host, or a multicast group of all hosts. ``local``: the address to send from. ``device``:
    the network device to send through; a multicast group needs one.
    """

    vni: Vni
    remote: Address
    local: Address | None = None
    device: DeviceName | None = None

    def rules(self) -> Iterator[Problem]:
        remote = ipaddress.ip_address(self.remote)
        if remote.is_multicast and self.device is None:
            yield Problem("$.device", f"is missing: remote is the multicast group {remote}, which needs one")
        if self.local and ipaddress.ip_address(self.local).version != remote.version:
            yield Problem("$.local", f"expected an IPv{remote.version} address, as remote is, got {self.local}")


class Vxlan(VIFType):
    """A guest's tap on a Linux bridge that a VXLAN device joins to the same bridge on other hosts."""

    name = "vxlan"
    api_version = (1, 0)
    source = VxlanSource
    tap_owner = "vifplug"
    refuses = {
        "vlan": "a VXLAN segment is one network: give the other network a vni of its own",
        "virtualport": "it is on no switch that could read one",
        "external_ids": "it has no Open vSwitch port",
        "vf": NO_VF,
    }
    options = (
        Option(name="mtu", kind="int", default=1450, help="MTU of the segments, bytes: the network's less 50."),
        Option(name="port", kind="int", default=4789, help="UDP port of the tunnels."),
    )

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        yield from nic_problems(vif)
        yield from target_problems(vif, "vifplug")
        if self.owner(vif, context) != "vifplug":
            yield Problem("$.tap_owner", "expected vifplug: libvirt knows no VXLAN")
        if vif.mtu and vif.mtu > context.options["mtu"]:
            yield Problem("$.mtu", f"expected at most {context.options['mtu']} ([vifplug_vxlan] mtu), got {vif.mtu}")

    def interface(self, vif: VIF, context: Context) -> Interface:
        return tap_interface(vif, "vifplug", mtu=vif.mtu or context.options["mtu"], bandwidth=vif.bandwidth)

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        if vif.source.device:
            yield LowerDevice(name=vif.source.device, owner=vif.id, up=None)
        tunnel = Tunnel(
            name=f"vxlan{vif.source.vni}",
            vni=vif.source.vni,
            remote=vif.source.remote,
            local=vif.source.local,
            lower=vif.source.device,
            port=context.options["port"],
            mtu=context.options["mtu"],
        )
        yield tunnel
        yield tap(vif, context).replace(mtu=vif.mtu or context.options["mtu"])
        isolated = vif.port.isolated if vif.port else None
        yield BridgePort(name=vif.device, owner=vif.id, bridge=tunnel.bridge, isolated=isolated)
