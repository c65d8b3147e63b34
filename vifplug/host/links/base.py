"""What the backends of links have in common: they share the netlink socket of one network namespace."""

from __future__ import annotations

from vifplug import errors
from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import Link
from vifplug.host.netlink.socket import explaining
from vifplug.host.stepwise import StepwiseBackend
from vifplug.plan.registry import Resource


class NetlinkBackend(StepwiseBackend):
    """A backend of links in the network namespace of ``netlink``."""

    def __init__(self, netlink: Netlink | None = None) -> None:
        self._netlink = netlink or Netlink()

    def close(self) -> None:
        """See `vifplug.host.backend.Backend.close`."""
        self._netlink.close()

    def _link(self, name: str, user: Resource) -> Link:
        """Return a link that ``user`` needs. Raises Missing if it does not exist."""
        link = self._netlink.link(name)
        if link is None:
            raise errors.Missing(f"{user} of VIF {user.owner}: device {name} does not exist on this host")
        return link

    def _delete(self, link: Link, resource: Resource) -> None:
        with explaining(resource, "remove it"):
            self._netlink.delete(link.index)
