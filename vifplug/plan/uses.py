"""What else uses a device that a VIF needs: the kernel's rules for macvtaps, and the host's own devices. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from vifplug.errors import Conflict, HostNotReady, VifplugError
from vifplug.model.codec import joined

#: How a VIF uses a device. ``macvtap``: beside others; ``passthrough``: alone, with a macvtap; ``port``: as its port on
#: Open vSwitch; ``function``: the guest gets the whole PCI function.
Taking = Literal["macvtap", "passthrough", "port", "function"]
_MACVTAPS = ("macvtap", "passthrough")
_OPTION = "[vifplug] allow_host_devices"

#: Links that take all frames of the device below them (netdev_rx_handler_register), and admit none beside them
ALONE = ("ipvlan", "ipvtap", "macsec")
#: Links that share the device below them with others of their kind, except in mode passthrough
MACVLANS = ("macvlan", "macvtap")
#: What has the MAC of the VIF, if it is the device below
ITSELF = "the device itself"
#: Masters that take no frames from their members (drivers/net/vrf.c registers no rx_handler)
_WITHOUT_HANDLER = ("vrf",)


@dataclass(frozen=True, kw_only=True)
class Use:
    """One thing that uses a device, or keeps it from being used."""

    #: ``not Ethernet``, ``port`` (of a master), ``alone`` and ``beside`` (a link on it, see `ALONE` and `MACVLANS`),
    #: ``same MAC`` (a link on it, or the device itself, has the guest's) or ``host``
    kind: Literal["not Ethernet", "port", "alone", "beside", "same MAC", "host"]
    #: in words: ``bridge br0``, ``macvtap macvtap0``, ``address 192.0.2.1/24``
    by: str


def use_as_port(kind: str, name: str) -> Use:
    """Return the use of a device whose master is ``name``. ``kind`` is the master's IFLA_INFO_KIND."""
    handled = kind not in _WITHOUT_HANDLER
    return Use(kind="port" if handled else "host", by=f"{'Open vSwitch' if kind == 'openvswitch' else kind} {name}")


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """Why a VIF cannot have a device."""

    #: follows the device's name: ``is a port of bridge br0, which cannot have a macvtap``
    reason: str
    #: what to do
    remedy: str
    #: what has the device; None if the device is of the wrong kind
    holder: str | None = None
    #: the option that allows it all the same
    option: str | None = None

    def error(self, device: str, taking: Taking, owner: str) -> VifplugError:
        """Return the error for the VIF ``owner``. ``device`` is in words: ``device eth0``."""
        needs = "a macvtap on it" if taking in _MACVTAPS else "it"
        message = f"{device} {self.reason}, and VIF {owner} needs {needs}: {self.remedy}"
        kind: type[VifplugError] = Conflict if self.holder else HostNotReady
        return kind(message, vif_id=owner or None, resource=device, holder=self.holder, option=self.option)


def obstacles(taking: Taking, uses: Sequence[Use]) -> Iterator[Obstacle]:
    """Yield why a device cannot be had: the kernel would refuse the macvtap, or the host would lose the device.

    Args:
        taking: how the VIF uses the device.
        uses: what else uses it, without what [vifplug] allow_host_devices allows.
    """
    refused = list(_refused_by_kernel(taking, uses)) if taking in _MACVTAPS else []
    yield from refused
    if taking == "macvtap" or refused:
        return
    if found := [_in_words(use) for use in uses if use.kind != "not Ethernet"]:
        words, remedy = joined(found, "and"), f"choose another device, or name it in {_OPTION}"
        yield Obstacle(reason=f"is the host's own ({words})", remedy=remedy, holder=words, option=_OPTION)


def _refused_by_kernel(taking: Taking, uses: Iterable[Use]) -> Iterator[Obstacle]:
    """Yield what macvlan_common_newlink and netdev_rx_handler_register refuse (EINVAL, EBUSY)."""
    other = "choose another device"
    for use in uses:
        match use.kind:
            case "not Ethernet":
                yield Obstacle(reason=f"is {use.by}, which cannot have a macvtap", remedy=other)
            case "port":
                switch = use.by.startswith(("bridge", "Open vSwitch"))
                remedy = f"{other}, or use type bridge" if switch else f"use {use.by} itself, or {other}"
                yield Obstacle(reason=f"is {_in_words(use)}, which cannot have a macvtap", remedy=remedy, holder=use.by)
            case "alone":
                reason = f"has {_in_words(use)}, which admits no macvtap beside it"
                yield Obstacle(reason=reason, remedy=f"{other}, or remove {use.by}", holder=use.by)
            case "beside" if taking == "passthrough":
                reason = f"has {_in_words(use)}, which mode passthrough excludes"
                yield Obstacle(reason=reason, remedy=f"{other} or mode, or remove {use.by}", holder=use.by)
            case "same MAC" if use.by == ITSELF:  # macvlan_addr_busy (EADDRINUSE)
                yield Obstacle(reason="has the MAC of the VIF itself", remedy="give the VIF another MAC", holder=use.by)
            case "same MAC":
                reason, remedy = f"has {use.by} on it, with the MAC of the VIF", f"remove {use.by}"
                yield Obstacle(reason=reason, remedy=f"{remedy}, or give the VIF another MAC", holder=use.by)


def _in_words(use: Use) -> str:
    if use.kind == "port":
        return f"a port of {use.by}"
    return f"{use.by} on it" if use.kind in ("alone", "beside") else use.by
