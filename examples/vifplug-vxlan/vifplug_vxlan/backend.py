"""The backend of tunnels: it observes, makes, changes and removes them. All effects on the host are here."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vifplug.errors import Missing, VifplugError
from vifplug.host.links import sysctls
from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import Link, LinkChange
from vifplug.host.netlink.socket import NetlinkRefused, explained
from vifplug.host.stepwise import StepwiseBackend
from vifplug.plan.registry import Identity, Resource
from vifplug.plan.steps import Observed
from vifplug_vxlan.tunnel import Tunnel

#: Group (IFLA_GROUP) of the links that this backend makes. It marks their owner: the kernel sets it when it creates a
#: link. `ip link show group 478900` lists them.
GROUP = 478900


class Tunnels(StepwiseBackend):
    """VXLAN devices with their bridges, in the network namespace of the first use. Thread-safe."""

    api_version = (1, 0)
    resources = (Tunnel,)

    def __init__(self) -> None:
        self._netlink = Netlink()

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """Return what exists of each tunnel; its links are found by name."""
        tunnels = [each for each in desired if isinstance(each, Tunnel)]
        links = self._netlink.links(name for each in tunnels for name in each.links)
        lowers = self._netlink.named(link.data["IFLA_VXLAN_LINK"] for link in links.values() if _lower(link))
        return {each.identity: _observed(each, links, lowers) for each in tunnels if each.name in links}

    def make(self, after: Resource) -> None:
        """Equivalent to: ip link add vxbrN type bridge; ip link add vxlanN master vxbrN type vxlan id N ..."""
        assert isinstance(after, Tunnel)
        try:
            self._write(after)
        except VifplugError:
            self.remove(after)
            raise

    def change(self, before: Resource, after: Resource) -> None:
        """Do all steps of `make` again: each of them is idempotent."""
        assert isinstance(after, Tunnel)
        self._write(after)

    def remove(self, before: Resource) -> None:
        """Remove both links, unless the bridge has a tap of another VIF."""
        assert isinstance(before, Tunnel)
        links = self._netlink.links(before.links)
        bridge = links.get(before.bridge)
        if bridge and any(each.master == bridge.index and each.name != before.name for each in self._netlink.all()):
            return
        with _describe(before, "remove it"):
            for link in links.values():
                if link.group == GROUP:
                    self._netlink.delete(link.index)

    def close(self) -> None:
        self._netlink.close()

    def _write(self, tunnel: Tunnel) -> None:
        with _describe(tunnel, "create it"):
            self._ensure(tunnel.bridge, LinkChange(kind="bridge", group=GROUP))
            self._ensure(tunnel.name, LinkChange(kind="vxlan", group=GROUP, mtu=tunnel.mtu, data=self._data(tunnel)))
            for name in tunnel.links:
                sysctls.write(name, tunnel.sysctls)
            master = self._index(tunnel.bridge) if tunnel.bridged else 0
            whole = LinkChange(mtu=tunnel.mtu, master=master, up=tunnel.up)
            self._netlink.set([(tunnel.bridge, LinkChange(up=tunnel.up)), (tunnel.name, whole)])

    def _ensure(self, name: str, settings: LinkChange) -> None:
        """Create a link if it does not exist. Another VIF of the VNI may create it at the same time."""
        try:
            self._netlink.create(name, settings)
        except NetlinkRefused as refused:
            if refused.code != errno.EEXIST or not self._netlink.links([name]):
                raise

    def _data(self, tunnel: Tunnel) -> dict[str, Any]:
        """IFLA_INFO_DATA of a VXLAN device (linux/if_link.h, IFLA_VXLAN_*)."""
        six = "6" if ":" in tunnel.remote else ""
        data = {
            "IFLA_VXLAN_ID": tunnel.vni,
            f"IFLA_VXLAN_GROUP{six}": tunnel.remote,
            f"IFLA_VXLAN_LOCAL{six}": tunnel.local,
            "IFLA_VXLAN_LINK": tunnel.lower and self._index(tunnel.lower),
            "IFLA_VXLAN_PORT": tunnel.port,
        }
        return {key: value for key, value in data.items() if value is not None}

    def _index(self, name: str) -> int:
        link = self._netlink.links([name]).get(name)
        if link is None:
            raise Missing(f"device {name} does not exist on this host, and a VXLAN tunnel requires it")
        return link.index


@contextlib.contextmanager
def _describe(tunnel: Tunnel, doing: str) -> Iterator[None]:
    """Raise the kernel's refusal as a vifplug error, with one sentence."""
    try:
        yield
    except NetlinkRefused as refused:
        raise explained(refused, tunnel, doing) from refused


def _lower(link: Link) -> bool:
    return bool(link.data.get("IFLA_VXLAN_LINK"))


def _observed(desired: Tunnel, links: Mapping[str, Link], lowers: Mapping[int, Link]) -> Observed:
    link, bridge = links[desired.name], links.get(desired.bridge)
    if link.kind != "vxlan" or link.group != GROUP:
        return Observed(resource=None, foreign=f"a {link.kind or 'network'} device that vifplug-vxlan did not create")
    if bridge and (bridge.kind != "bridge" or bridge.group != GROUP):
        return Observed(
            resource=None, foreign=f"{bridge.name}, which vifplug-vxlan did not create, in place of its bridge"
        )
    get = link.data.get
    lower = lowers.get(get("IFLA_VXLAN_LINK", 0))
    found = desired.replace(
        vni=get("IFLA_VXLAN_ID"),
        remote=get("IFLA_VXLAN_GROUP") or get("IFLA_VXLAN_GROUP6"),
        local=get("IFLA_VXLAN_LOCAL") or get("IFLA_VXLAN_LOCAL6"),
        lower=lower.name if lower else None,
        port=get("IFLA_VXLAN_PORT"),
        bridged=bool(bridge and link.master == bridge.index),
        mtu=link.mtu,
        up=link.up and bool(bridge and bridge.up),
        sysctls=_sysctls(desired, [each.name for each in (link, bridge) if each]),
    )
    return Observed(resource=found)


def _sysctls(desired: Tunnel, names: Sequence[str]) -> Any:
    """Return the sysctls of the first link that differs, else the desired ones."""
    values = [sysctls.read(name, desired.sysctls) for name in names]
    return next((each for each in values if each != desired.sysctls), desired.sysctls)
