"""routed: a tap without a bridge. The host answers ARP on it and routes to it, as in networking-calico."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from vifplug.errors import Problem
from vifplug.guest.interface import Interface
from vifplug.model.codec import FrozenMap, Model
from vifplug.model.vif import VIF
from vifplug.plan.registry import HARDENED, Resource
from vifplug.types.base import NO_VF, Context, Option, VIFType
from vifplug.types.ethernet import tap, tap_interface

#: The host forwards, and answers ARP for every address to which it has a route (Linux: networking/ip-sysctl).
ROUTING = FrozenMap({**HARDENED, "ipv4/proxy_arp": "1", "ipv4/forwarding": "1"})
#: rp_filter: whether the source of a packet must be routed to the device that it came from (RFC 3704, 2.2 and 2.4).
RP_FILTER = {"strict": "1", "loose": "2"}


@dataclass(frozen=True, kw_only=True)
class RoutedSource(Model):
    """The source of a routed VIF."""

    #: source addresses that the guest may use; strict: only addresses that are routed to its tap
    source_check: Literal["strict", "loose"] = "strict"


class Routed(VIFType):
    """A tap for a routing agent, such as Calico's Felix, which sets routes and policy. IPv4 only."""

    name = "routed"
    source = RoutedSource
    tap_owner = "vifplug"
    refuses = {
        "vlan": "it is on no bridge, and a route knows no VLAN",
        "virtualport": "it is on no switch",
        "port": "it is on no bridge: the policy of the host decides which routed taps can reach each other",
        "external_ids": "it has no Open vSwitch port",
        "vf": NO_VF,
    }
    options = (
        Option(name="mtu", kind="int", help="MTU of a tap whose VIF has none, in bytes. Unset: the kernel's default."),
    )

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        if self.owner(vif, context) != "vifplug":
            yield Problem("$.tap_owner", "expected vifplug: libvirt cannot set the sysctls that routing needs")

    def interface(self, vif: VIF, context: Context) -> Interface:
        return tap_interface(vif, "vifplug", mtu=_mtu(vif, context), bandwidth=vif.bandwidth)

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        sysctls = FrozenMap({**ROUTING, "ipv4/rp_filter": RP_FILTER[vif.source.source_check]})
        yield tap(vif, context).replace(mtu=_mtu(vif, context), sysctls=sysctls)


def _mtu(vif: VIF, context: Context) -> int | None:
    return vif.mtu or context.options.get("mtu")
