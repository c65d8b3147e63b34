"""The VIF type ``vxlan``: the guest's element, and the state of the host that it requires. Pure functions only."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vifplug.errors import Problem
from vifplug.guest.interface import Interface
from vifplug.model.codec import Model
from vifplug.model.names import DeviceName
from vifplug.model.nic import Port
from vifplug.model.vif import VIF
from vifplug.plan.registry import BridgePort, LowerDevice, Resource
from vifplug.types.base import NO_VF, Context, Option, VIFType, nic_problems, target_problems
from vifplug.types.ethernet import tap, tap_interface
from vifplug_vxlan.tunnel import Address, Tunnel, Vni


@dataclass(frozen=True, kw_only=True)
class VxlanSource(Model):
    """A VXLAN segment."""

    #: VXLAN network identifier
    vni: Vni
    #: address of the other host, or multicast group of all hosts
    remote: Address
    #: address to send from
    local: Address | None = None
    #: network device to send through; required for a multicast group
    device: DeviceName | None = None

    def rules(self) -> Iterator[Problem]:
        remote = ipaddress.ip_address(self.remote)
        if remote.is_multicast and self.device is None:
            yield Problem("$.device", f"is missing: the multicast group {remote} requires it")
        if self.local and ipaddress.ip_address(self.local).version != remote.version:
            yield Problem("$.local", f"expected an IPv{remote.version} address, like remote, got {self.local}")


class Vxlan(VIFType):
    """A guest's tap on a Linux bridge, which a VXLAN device connects to other hosts."""

    name = "vxlan"
    api_version = (1, 0)
    source = VxlanSource
    tap_owner = "vifplug"
    refuses = {
        "vlan": "a VXLAN segment is one network: use another vni for another network",
        "virtualport": "its bridge does not read one",
        "external_ids": "it has no Open vSwitch port",
        "vf": NO_VF,
    }
    options = (
        Option(
            name="mtu", kind="int", default=1450, help="MTU of the segments, in bytes: that of the network minus 50."
        ),
        Option(name="port", kind="int", default=4789, help="UDP port of the tunnels."),
    )

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        yield from nic_problems(vif)
        yield from target_problems(vif, "vifplug")
        if self.owner(vif, context) != "vifplug":
            yield Problem("$.tap_owner", "expected vifplug: libvirt does not support VXLAN")
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
        yield BridgePort(name=vif.device, owner=vif.id, bridge=tunnel.bridge, **vars(vif.port or Port()))
