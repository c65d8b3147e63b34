"""Backend for kernel links: the devices that vifplug makes, lower devices, and ports of Linux bridges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from vifplug.host.links.devices import DeviceBackend, birth_group, is_free
from vifplug.host.links.ports import BridgePortBackend
from vifplug.host.links.shared import SharedLinkBackend
from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import Link, LinkChange
from vifplug.host.netlink.socket import NetlinkRefused, explained
from vifplug.host.stepwise import StepwiseBackend
from vifplug.plan.registry import Device, Identity, LinuxBridge, Macvtap, Resource, Tap, VethPair, mark
from vifplug.plan.steps import Observed


class LinkBackend(StepwiseBackend):
    """The links of the network namespace in which it is first used."""

    resources: ClassVar[tuple[type[Resource], ...]] = (
        DeviceBackend.resources + BridgePortBackend.resources + SharedLinkBackend.resources
    )

    def __init__(self, netlink: Netlink | None = None) -> None:
        self._netlink = netlink or Netlink()
        self._devices = DeviceBackend(self._netlink)
        self._parts = (self._devices, BridgePortBackend(self._netlink), SharedLinkBackend(self._netlink))

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.backend.Backend.observe`."""
        found: dict[Identity, Observed] = {}
        for part in self._parts:
            if theirs := [resource for resource in desired if isinstance(resource, part.resources)]:
                found |= part.observe(theirs)
        return found

    def make(self, after: Resource) -> None:
        """See `StepwiseBackend.make`."""
        self._part(after).make(after)

    def change(self, before: Resource, after: Resource) -> None:
        """See `StepwiseBackend.change`."""
        self._part(after).change(before, after)

    def remove(self, before: Resource) -> None:
        """See `StepwiseBackend.remove`."""
        self._part(before).remove(before)

    def close(self) -> None:
        """See `vifplug.host.backend.Backend.close`."""
        self._netlink.close()

    def root_qdisc(self, device: str) -> str | None:
        """The kind of the root qdisc (``noqueue``, ``htb``); None when there is no such device.

        Equivalent to: tc qdisc show dev DEVICE root
        """
        link = self._netlink.links([device]).get(device)
        return link.qdisc if link else None

    def link_kind(self, device: str) -> str | None:
        """Return the kind of a link (``bridge``; empty for a NIC); None if there is no such device."""
        link = self._netlink.links([device]).get(device)
        return link.kind if link else None

    def all(self) -> list[Link]:
        """Every link of the namespace: for pictures and reports, never for a plug."""
        return self._netlink.all()

    def find(self, owner: str) -> list[Resource]:
        """Every device that carries the mark of a VIF, as it is. Looks at all links: for an unplug without a record."""
        links = self._netlink.marked(mark(owner), birth_group(owner))
        below = self._netlink.named(link.link for link in links if link.link)
        questions = filter(None, (_question(link, owner, below.get(link.link or 0)) for link in links))
        seen = self._devices.observe(list({each.identity: each for each in questions}.values()))
        return [each.resource for each in seen.values() if each.resource]

    def take_over(self, desired: Sequence[Device]) -> list[Device]:
        """Mark the devices that another program made for the VIF; those that there were. Else nothing of them changes.

        A tap that goes with its program (not persistent) stays that program's.
        """
        links = self._netlink.links(name for each in desired for name in each.links)
        free = [each for each in desired if all(is_free(links.get(name), each) for name in each.links)]
        changes = [(name, LinkChange(alias=mark(each.owner))) for each in free for name in each.links]
        try:
            self._netlink.set(changes)
        except NetlinkRefused as refused:
            raise explained(refused, free[0], "mark it as vifplug's") from refused
        return free

    def _part(self, resource: Resource) -> StepwiseBackend:
        return next(part for part in self._parts if isinstance(resource, part.resources))


def _question(link: Link, owner: str, below: Link | None) -> Device | None:
    """The resource that a marked link is, as a question to `observe`. The two ends of a veth pair are one."""
    match link.kind:
        case "tun":
            return Tap(name=link.name, owner=owner)
        case "bridge":
            return LinuxBridge(name=link.name, owner=owner)
        case "macvtap":
            return Macvtap(name=link.name, owner=owner, lower=below.name if below else "-")
        case "veth" if below:
            first, second = sorted((link.name, below.name))
            return VethPair(name=first, peer=second, owner=owner)
    return None
