"""Where a VIF is connected: one record for each VIF type's ``source``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from vifplug.errors import Problem
from vifplug.model.codec import Record
from vifplug.model.names import DeviceName, PciAddress, SocketPath, Word, between


@dataclass(frozen=True, kw_only=True)
class BridgeSource(Record):
    """A Linux bridge, or an Open vSwitch one where the VIF's virtualport says so.

    ``hybrid``: the guest's tap goes on a Linux bridge of its own, which a veth joins to the Open vSwitch bridge, so
    that libvirt's nwfilter (``filterref``) has something to filter on. ``adopted``: libvirt has made tap and port for
    a guest that runs.
    """

    bridge: DeviceName
    hybrid: bool = False
    adopted: bool = False


@dataclass(frozen=True, kw_only=True)
class EthernetSource(Record):
    """A tap that is connected in a manner that vifplug need not know: nothing to say."""


@dataclass(frozen=True, kw_only=True)
class Reconnect(Record):
    """Whether QEMU, as the client, connects again when the server goes away; ``timeout``, in seconds, says when."""

    enabled: bool
    timeout: Annotated[int, between(1, 2**32 - 1, "seconds")] | None = None

    def normal(self) -> Mapping[str, Any]:
        return {} if self.enabled else {"timeout": None}

    def rules(self) -> Iterator[Problem]:
        if self.enabled and self.timeout is None:
            yield Problem("$.timeout", "is missing; wanted the seconds between two attempts")


@dataclass(frozen=True, kw_only=True)
class VhostUserSource(Record):
    """A vhost-user socket. ``mode`` is QEMU's role: as the server it makes the socket.

    ``bridge``: the Open vSwitch bridge whose DPDK datapath is at the other end. ``adopted``: socket and port are there,
    made by others, for a guest that runs.
    """

    path: SocketPath
    mode: Literal["client", "server"]
    reconnect: Reconnect | None = None
    bridge: DeviceName | None = None
    adopted: bool = False

    def rules(self) -> Iterator[Problem]:
        if self.reconnect and self.reconnect.enabled and self.mode == "server":
            yield Problem("$.reconnect", "is for mode client only: the server waits, it does not connect")


@dataclass(frozen=True, kw_only=True)
class HostDeviceSource(Record):
    """An SR-IOV VF by its PCI address. ``managed``: libvirt takes it from its driver and gives it back.

    ``bridge``: the Open vSwitch bridge that the VF's representor is plugged into.
    """

    address: PciAddress
    managed: bool = True
    bridge: DeviceName | None = None


@dataclass(frozen=True, kw_only=True)
class DirectSource(Record):
    """A macvtap on the device ``dev``."""

    dev: DeviceName
    mode: Literal["vepa", "bridge", "private", "passthrough"] = "vepa"  # libvirt's default


@dataclass(frozen=True, kw_only=True)
class NetworkSource(Record):
    """A named network; what that is, each host decides."""

    network: Word
    portgroup: Word | None = None


SOURCES: dict[str, type[Record]] = {
    "bridge": BridgeSource,
    "ethernet": EthernetSource,
    "vhostuser": VhostUserSource,
    "hostdev": HostDeviceSource,
    "direct": DirectSource,
    "network": NetworkSource,
}
