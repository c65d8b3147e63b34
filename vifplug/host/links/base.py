"""What the backends of links have in common: they share the netlink socket of one network namespace."""

from __future__ import annotations

from vifplug.host.netlink.client import Netlink
from vifplug.host.stepwise import StepwiseBackend


class NetlinkBackend(StepwiseBackend):
    """A backend of links in the network namespace of ``netlink``."""

    def __init__(self, netlink: Netlink | None = None) -> None:
        self._netlink = netlink or Netlink()

    def close(self) -> None:
        """See `vifplug.host.backend.Backend.close`."""
        self._netlink.close()
