"""What uses a network device: its master, the links on it, its addresses and routes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import Link
from vifplug.plan.registry import mark, marked_for
from vifplug.plan.uses import ALONE, ITSELF, MACVLANS, Taking, Use, use_as_port

#: From the name of a device to its place on Open vSwitch
Switch = Callable[[str], tuple[str, bool] | None]


class DeviceUses:
    """The uses of devices in the network namespace of ``netlink``.

    Args:
        netlink: the socket.
        allowed: names of the host's own devices, or PCI addresses, that VIFs may have.
        switch: returns the Open vSwitch bridge of a port, and whether the port is a guest's; None if there is none.
    """

    def __init__(self, netlink: Netlink, allowed: Collection[str] = (), switch: Switch = lambda name: None) -> None:
        self._netlink = netlink
        self._allowed = frozenset(allowed)
        self._switch = switch

    def allows(self, *names: str) -> bool:
        """Return whether the configuration allows VIFs to have the host's own device with one of these names."""
        return not self._allowed.isdisjoint(names)

    def named(self, names: Sequence[str]) -> Iterator[Use]:
        """Yield what uses the network devices of a PCI function that a guest is to get."""
        for link in self._netlink.links(names).values():
            yield from self.of(link, "function")

    def of(self, link: Link, taking: Taking, owner: str = "", mac: str | None = None) -> Sequence[Use]:
        """Return what uses a device that VIF ``owner`` needs; nothing while the VIF's own macvtap is on it.

        libvirt's macvtap has no mark: it has the guest's MAC.
        """
        allowed = self.allows(link.name, *link.aliases)
        if allowed and taking in ("port", "function"):
            return ()
        # a macvtap on a macvlan is on the device below it (drivers/net/macvlan.c, macvlan_common_newlink)
        below = link.link if taking in ("macvtap", "passthrough") and link.kind in MACVLANS else None
        kinds = ("macvtap", "macvlan", *ALONE) if taking == "macvtap" else ("macvtap", "macvlan", *ALONE, "vlan")
        above: list[Link] = []
        for each in self._netlink.stacked_on(below or link.index, kinds):
            if each.alias == mark(owner) or _may_be_libvirts(each, mac):
                return ()
            above.append(each)
        found = [*_unfit(link), *self._master(link, taking), *map(_above, above)]
        if taking == "macvtap":
            found += (Use(kind="same MAC", by=by) for by in _with_mac(mac, link, above))
        if taking == "macvtap" or allowed:
            return [use for use in found if use.kind != "host"]
        return [*found, *self._host(link)]

    def _master(self, link: Link, taking: Taking) -> Iterator[Use]:
        masters = list(self._netlink.named([link.master]).values()) if link.master else []
        on_kernel = any(master.kind == "openvswitch" for master in masters)
        # the userspace datapath is not the master of its ports; it sets IFF_PROMISC, which the kernel's does not show
        on_switch = on_kernel or (link.promiscuous and taking != "macvtap")
        place = self._switch(link.name) if on_switch else None
        if place and on_kernel and taking in ("macvtap", "passthrough"):
            yield Use(kind="port", by=f"Open vSwitch bridge {place[0]}")
        elif place and (taking != "port" or not place[1]):  # a guest's own port, or one that the switch itself refuses
            yield Use(kind="host", by=f"a port of Open vSwitch bridge {place[0]}")
        for master in masters:
            if place is None or master.kind != "openvswitch":
                yield use_as_port(master.kind, master.name)

    def _host(self, link: Link) -> Iterator[Use]:
        """Yield what the host itself has on a device: one listing of addresses, one of routes."""
        for address in self._netlink.addresses(link.index):
            yield Use(kind="host", by=f"address {address}")
        for route in self._netlink.routes(link.index):
            yield Use(kind="host", by="the default route" if route == "default" else f"route {route}")


def _unfit(link: Link) -> Iterator[Use]:
    if not link.ethernet:
        yield Use(kind="not Ethernet", by="a loopback device" if link.name == "lo" else "a device without Ethernet")


def _may_be_libvirts(link: Link, mac: str | None) -> bool:
    return link.kind == "macvtap" and link.mac == mac and not marked_for(link.alias)


def _with_mac(mac: str | None, link: Link, above: Sequence[Link]) -> Iterator[str]:
    """Yield what keeps a macvtap with a MAC from being up (drivers/net/macvlan.c, macvlan_addr_busy)."""
    yield from (f"{each.kind} {each.name}" for each in above if each.kind in MACVLANS and each.up and each.mac == mac)
    if link.mac == mac and link.kind not in MACVLANS:
        yield ITSELF


def _above(link: Link) -> Use:
    by = f"{link.kind} {link.name}"
    if link.kind == "vlan":
        return Use(kind="host", by=f"VLAN device {link.name} on it")
    if link.kind in MACVLANS and link.data.get(f"IFLA_{link.kind.upper()}_MODE") != "passthru":
        return Use(kind="beside", by=by)
    return Use(kind="alone", by=f"{by} in mode passthrough" if link.kind in MACVLANS else by)
