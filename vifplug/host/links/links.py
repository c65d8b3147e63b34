"""The kernel's links: one socket, the backends that share it, and queries."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Iterator, Sequence

from vifplug.errors import HostNotReady
from vifplug.host.links import sysctls, tap
from vifplug.host.links.devices import DeviceBackend, birth_group, is_free
from vifplug.host.links.ports import BridgePortBackend
from vifplug.host.links.shared import SharedLinkBackend
from vifplug.host.links.uses import DeviceUses, Switch
from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import Link, LinkChange
from vifplug.host.netlink.socket import explaining
from vifplug.plan.registry import HARDENED, Device, LinuxBridge, LowerDevice, Macvtap, Resource, Tap, VethPair, mark

_log = logging.getLogger(__name__)

#: seconds: how long ovs-vswitchd may take to create the local port of a bridge
_APPEARS = 1.0


class Links:
    """The links of the network namespace in which it is first used, and their backends. Thread-safe.

    ``allowed`` and ``switch`` are those of `DeviceUses`.
    """

    def __init__(self, allowed: Collection[str] = (), switch: Switch = lambda name: None) -> None:
        self._netlink = Netlink()
        self.uses = DeviceUses(self._netlink, allowed, switch)
        self.devices = DeviceBackend(self._netlink, self.uses)
        self.ports = BridgePortBackend(self._netlink)
        self.shared = SharedLinkBackend(self._netlink)
        self.backends = (self.devices, self.ports, self.shared)

    def close(self) -> None:
        """Close the socket, which the backends share; the next use opens a new one."""
        self._netlink.close()

    def one_look(self) -> contextlib.AbstractContextManager[None]:
        """See `vifplug.host.netlink.client.Netlink.one_look`."""
        return self._netlink.one_look()

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

    def harden(self, device: str) -> None:
        """Turn off IPv6 on the local port of a bridge that vifplug created on Open vSwitch, which is down until then.

        ovs-vswitchd creates the port a little later than the bridge, or much later if it does not run.
        Equivalent to: sysctl -w net.ipv6.conf.DEVICE.disable_ipv6=1
        """
        deadline = time.monotonic() + _APPEARS
        while self._netlink.link(device) is None:
            if time.monotonic() > deadline:
                message = "%s has no device yet, and accepts router advertisements of guests once it has one and is up"
                _log.warning(f"bridge {message}: run 'sysctl -w net/ipv6/conf/%s/disable_ipv6=1' then", device, device)
                return
            time.sleep(_APPEARS / 100)
        sysctls.write(device, HARDENED)

    def all(self) -> list[Link]:
        """Return every link of the namespace: for pictures and reports, never for a plug."""
        return self._netlink.all()

    def find(self, owner: str) -> list[Resource]:
        """Return every device with the mark of a VIF. Scans all links: for an unplug without a record."""
        links = self._netlink.marked(mark(owner), birth_group(owner))
        below = self._netlink.named(link.link for link in links if link.link)
        questions = filter(None, (_question(link, owner, below.get(link.link or 0)) for link in links))
        seen = self.devices.observe(list({each.identity: each for each in questions}.values()))
        found = [each.resource for each in seen.values() if each.resource]
        return [*_given_macs(found), *found]

    def obstacle(self) -> str:
        """Return why this process cannot change links, sysctls or taps here, and what to do; empty if it can.

        The kernel asks for CAP_NET_ADMIN before it looks at a request (net/core/rtnetlink.c, rtnetlink_rcv_msg): this
        one changes nothing.
        """
        try:
            with explaining("link lo", "change it"):
                self._netlink.set([("lo", LinkChange())])
            sysctls.examine()
            tap.examine()
        except HostNotReady as error:
            return str(error)
        return ""

    def marked(self) -> dict[str, set[str]]:
        """Return the names of the links that have a mark, by the id of the VIF. Scans all links."""
        found: dict[str, set[str]] = {}
        for name, alias in self._netlink.aliases(mark("")):
            found.setdefault(alias.removeprefix(mark("")), set()).add(name)
        return found

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


def _given_macs(found: Sequence[Resource]) -> Iterator[LowerDevice]:
    """Yield the devices that have the MAC of a guest: those below its macvtaps in mode passthrough."""
    for each in found:
        if isinstance(each, Macvtap) and each.mode == "passthrough":
            yield LowerDevice(name=each.lower, owner=each.owner, up=None, mac=each.mac)


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
