"""routed: a tap on no bridge; the host answers ARP for it and routes to it. networking-calico connects guests so."""

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

#: The host answers ARP for whatever it has a route to, and forwards (Linux: networking/ip-sysctl).
ROUTING = FrozenMap({**HARDENED, "ipv4/proxy_arp": "1", "ipv4/forwarding": "1"})
#: rp_filter: whether a packet's source has to be routed back the way it came (RFC 3704, sections 2.2 and 2.4).
RP_FILTER = {"strict": "1", "loose": "2"}


@dataclass(frozen=True, kw_only=True)
class RoutedSource(Model):
    """``source_check``: what the guest may say it is. Strict: only addresses that are routed to its tap."""

    source_check: Literal["strict", "loose"] = "strict"


class Routed(VIFType):
    """A tap for a routing agent, such as Calico's Felix, to give routes and policy to. IPv4 only."""

    name = "routed"
    source = RoutedSource
    tap_owner = "vifplug"
    refuses = {
        "vlan": "it is on no bridge, and a route knows no VLAN",
        "virtualport": "it is on no switch that could read one",
        "port": "isolation is a bridge port's: the host's policy decides which routed taps reach each other",
        "external_ids": "it has no Open vSwitch port",
        "vf": NO_VF,
    }
    options = (Option(name="mtu", kind="int", help="MTU of a tap whose VIF gives none, bytes. Unset: the kernel's."),)

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        if self.owner(vif, context) != "vifplug":
            yield Problem("$.tap_owner", "expected vifplug: libvirt can't set the sysctls that routing needs")

    def interface(self, vif: VIF, context: Context) -> Interface:
        return tap_interface(vif, "vifplug", mtu=_mtu(vif, context), bandwidth=vif.bandwidth)

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        sysctls = FrozenMap({**ROUTING, "ipv4/rp_filter": RP_FILTER[vif.source.source_check]})
        yield tap(vif, context).replace(mtu=_mtu(vif, context), sysctls=sysctls)


def _mtu(vif: VIF, context: Context) -> int | None:
    return vif.mtu or context.options.get("mtu")
