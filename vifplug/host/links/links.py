"""The kernel's links: one socket, the backends that share it, and queries."""

from __future__ import annotations

from collections.abc import Sequence

from vifplug.host.links.devices import DeviceBackend, birth_group, is_free
from vifplug.host.links.ports import BridgePortBackend
from vifplug.host.links.shared import SharedLinkBackend
from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import Link, LinkChange
from vifplug.host.netlink.socket import explaining
from vifplug.plan.registry import Device, LinuxBridge, Macvtap, Resource, Tap, VethPair, mark


class Links:
    """The links of the network namespace in which it is first used, and their backends. Thread-safe."""

    def __init__(self) -> None:
        self._netlink = Netlink()
        self.devices = DeviceBackend(self._netlink)
        self.ports = BridgePortBackend(self._netlink)
        self.shared = SharedLinkBackend(self._netlink)

    def close(self) -> None:
        """Close the socket, which the backends share; the next use opens a new one."""
        self._netlink.close()

    def root_qdisc(self, device: str) -> str | None:
        """Return the kind of the root qdisc (``noqueue``, ``htb``); None if the device does not exist.

        Equivalent to: tc qdisc show dev DEVICE root
        """
        link = self._netlink.link(device)
        return link.qdisc if link else None

    def link_kind(self, device: str) -> str | None:
        """Return the kind of a link (``bridge``; empty for a NIC); None if there is no such device."""
        link = self._netlink.link(device)
        return link.kind if link else None

    def all(self) -> list[Link]:
        """Return every link of the namespace: for pictures and reports, never for a plug."""
        return self._netlink.all()

    def find(self, owner: str) -> list[Resource]:
        """Return every device with the mark of a VIF. Scans all links: for an unplug without a record."""
        links = self._netlink.marked(mark(owner), birth_group(owner))
        below = self._netlink.named(link.link for link in links if link.link)
        questions = filter(None, (_question(link, owner, below.get(link.link or 0)) for link in links))
        seen = self.devices.observe(list({each.identity: each for each in questions}.values()))
        return [each.resource for each in seen.values() if each.resource]

    def take_over(self, desired: Sequence[Device]) -> list[Device]:
        """Mark the devices that another program made for the VIF; those that there were. Else nothing of them changes.

        A tap that goes with its program (not persistent) stays that program's.
        """
        links = self._netlink.links(name for each in desired for name in each.links)
        free = [each for each in desired if all(is_free(links.get(name), each) for name in each.links)]
        changes = [(name, LinkChange(alias=mark(each.owner))) for each in free for name in each.links]
        with explaining(next(iter(free), None), "mark it as vifplug's"):
            self._netlink.set(changes)
        return free


def _question(link: Link, owner: str, below: Link | None) -> Device | None:
    """Return the resource of a marked link, for `observe`. The two ends of a veth pair are one resource."""
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
