"""Links that several VIFs use and none owns: Linux bridges and VLAN devices, created if they do not exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from vifplug import errors
from vifplug.host.links import sysctls
from vifplug.host.links.base import NetlinkBackend
from vifplug.host.netlink.messages import Link, LinkChange
from vifplug.host.netlink.socket import NetlinkRefused, explaining
from vifplug.plan.registry import HARDENED, QUIET, Identity, Resource, SharedBridge, SharedLink, VlanLink
from vifplug.plan.steps import Observed

#: Settings of a new bridge, as os-vif's linux_bridge plugin makes it. A bridge of guests has no loops to wait for.
_BRIDGE = {"IFLA_BR_FORWARD_DELAY": 0, "IFLA_BR_STP_STATE": 0, "IFLA_BR_MCAST_SNOOPING": 0}


class SharedLinkBackend(NetlinkBackend):
    """The shared links of the network namespace of ``netlink``."""

    resources: ClassVar[tuple[type[Resource], ...]] = (SharedBridge, VlanLink)

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.backend.Backend.observe`."""
        links = self._netlink.links(resource.name for resource in desired)
        below = self._netlink.named(link.link for link in links.values() if link.link)
        shared = (each for each in desired if isinstance(each, SharedLink) and each.name in links)
        return {each.identity: _observed(each, links[each.name], below) for each in shared}

    def make(self, after: Resource) -> None:
        """Equivalent to: ip link add dev NAME type bridge; or ip link add link PHYSICAL name NAME type vlan id N"""
        assert isinstance(after, SharedLink)
        with explaining(after, "create it"):
            try:
                self._netlink.create(after.name, self._creation(after))
                sysctls.write(after.name, QUIET if isinstance(after, SharedBridge) else HARDENED)
                self._netlink.set([(after.name, LinkChange(up=after.up))])
            except (NetlinkRefused, errors.VifplugError):
                self.remove(after)
                raise

    def change(self, before: Resource, after: Resource) -> None:
        """Equivalent to: ip link set dev NAME up"""
        assert isinstance(after, SharedLink)
        with explaining(after, "set it up"):
            self._netlink.set([(after.name, LinkChange(up=after.up))])

    def remove(self, before: Resource) -> None:
        """Delete the link, unless others use it by now. Only the undo of its creation removes a shared link."""
        link = self._netlink.link(before.name)
        if link and not any(link.index in (each.link, each.master) for each in self._netlink.all()):
            self._delete(link, before)

    def _creation(self, after: SharedLink) -> LinkChange:
        if not isinstance(after, VlanLink):
            return LinkChange(kind="bridge", data=_BRIDGE)
        physical = self._link(after.physical, after).index
        return LinkChange(kind="vlan", link=physical, data={"IFLA_VLAN_ID": after.vlan})


def _observed(desired: SharedLink, link: Link, below: Mapping[int, Link]) -> Observed:
    if isinstance(desired, VlanLink):
        physical = below.get(link.link or 0)
        found = (link.kind, link.data.get("IFLA_VLAN_ID"), physical and physical.name)
        if found != ("vlan", desired.vlan, desired.physical):
            message = f"VLAN {found[1]} on {found[2]}" if link.kind == "vlan" else f"a {link.kind or 'network'} device"
            return Observed(resource=None, foreign=f"{message}, expected VLAN {desired.vlan} on {desired.physical}")
    elif link.kind != "bridge":
        return Observed(resource=None, foreign=f"a {link.kind or 'network'} device of that name, which is not a bridge")
    return Observed(resource=desired.trusted(up=link.up))
