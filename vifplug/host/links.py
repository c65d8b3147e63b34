"""Backend for kernel links: the devices that vifplug makes, lower devices, and ports of Linux bridges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from vifplug.host.devices import DeviceBackend, birth_group, is_free
from vifplug.host.netlink import Netlink
from vifplug.host.netlink_messages import Link, Settings
from vifplug.host.ports import BridgePortBackend
from vifplug.host.rtsocket import Refused, explained
from vifplug.host.shared import SharedLinkBackend
from vifplug.host.stepwise import Stepwise
from vifplug.plan.resources import Bridge, Device, Identity, Macvtap, Resource, Tap, VethPair, mark
from vifplug.plan.steps import Observed


class LinkBackend(Stepwise):
    """The links of the network namespace in which it is first used."""

    resources: ClassVar[tuple[type[Resource], ...]] = (
        DeviceBackend.resources + BridgePortBackend.resources + SharedLinkBackend.resources
    )

    def __init__(self, netlink: Netlink | None = None) -> None:
        self._netlink = netlink or Netlink()
        self._devices = DeviceBackend(self._netlink)
        self._parts = (self._devices, BridgePortBackend(self._netlink), SharedLinkBackend(self._netlink))

    def observe(self, wanted: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.door.Backend.observe`."""
        found: dict[Identity, Observed] = {}
        for part in self._parts:
            if theirs := [resource for resource in wanted if isinstance(resource, part.resources)]:
                found |= part.observe(theirs)
        return found

    def make(self, after: Resource) -> None:
        """See `Stepwise.make`."""
        self._part(after).make(after)

    def change(self, before: Resource, after: Resource) -> None:
        """See `Stepwise.change`."""
        self._part(after).change(before, after)

    def remove(self, before: Resource) -> None:
        """See `Stepwise.remove`."""
        self._part(before).remove(before)

    def close(self) -> None:
        """See `vifplug.host.door.Backend.close`."""
        self._netlink.close()

    def root_qdisc(self, device: str) -> str | None:
        """The kind of the root qdisc (``noqueue``, ``htb``); None when there is no such device.

        Equivalent to: tc qdisc show dev DEVICE root
        """
        link = self._netlink.links([device]).get(device)
        return link.qdisc if link else None

    def all(self) -> list[Link]:
        """Every link of the namespace: for pictures and reports, never for a plug."""
        return self._netlink.all()

    def find(self, owner: str) -> list[Resource]:
        """Every device that carries the mark of a VIF, as it is. Looks at all links: for an unplug without a record."""
        links = self._netlink.marked(mark(owner), birth_group(owner))
        below = self._netlink.named(link.link for link in links if link.link)
        asked = filter(None, (_asked(link, owner, below.get(link.link or 0)) for link in links))
        seen = self._devices.observe(list({each.identity: each for each in asked}.values()))
        return [each.resource for each in seen.values() if each.resource]

    def take_over(self, wanted: Sequence[Device]) -> list[Device]:
        """Mark the devices that another program made for the VIF; those that there were. Else nothing of them changes.

        A tap that goes with its program (not persistent) stays that program's.
        """
        links = self._netlink.links(name for each in wanted for name in each.links)
        free = [each for each in wanted if all(is_free(links.get(name), each) for name in each.links)]
        changes = [(name, Settings(alias=mark(each.owner))) for each in free for name in each.links]
        try:
            self._netlink.set(changes)
        except Refused as refused:
            raise explained(refused, free[0], "mark it as vifplug's") from refused
        return free

    def _part(self, resource: Resource) -> Stepwise:
        return next(part for part in self._parts if isinstance(resource, part.resources))


def _asked(link: Link, owner: str, below: Link | None) -> Device | None:
    """The resource that a marked link is, as a question to `observe`. The two ends of a veth pair are one."""
    match link.kind:
        case "tun":
            return Tap(name=link.name, owner=owner)
        case "bridge":
            return Bridge(name=link.name, owner=owner)
        case "macvtap":
            return Macvtap(name=link.name, owner=owner, lower=below.name if below else "-")
        case "veth" if below:
            first, second = sorted((link.name, below.name))
            return VethPair(name=first, peer=second, owner=owner)
    return None
