"""Choose a device of a pool: the least used one to share, or a free one for exclusive use.

The order is libvirt's (networkAllocatePort: the first of the least used, the first free one). Unlike libvirt, an
exclusive device is never shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vifplug.errors import Missing, PoolExhausted
from vifplug.model.codec import joined


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A VIF that has a device."""

    vif_id: str
    #: the name of its guest, if known
    guest: str = ""
    #: it shares the device with nobody
    exclusive: bool = False

    def __str__(self) -> str:
        return f"VIF {self.vif_id}" + (f" of guest {self.guest}" if self.guest else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDevice:
    """A device of a pool as it is now."""

    name: str
    #: why it cannot be used; empty if it can
    problem: str = ""
    #: how many VIFs may share it; None: any number
    limit: int | None = None
    #: the VIFs that have it
    holders: tuple[Holder, ...] = ()


def pick(what: str, devices: Sequence[PoolDevice], vif_id: str, *, exclusive: bool) -> str:
    """Return the device for a VIF.

    Args:
        what: the network, for messages.
        devices: the pool, in order.
        vif_id: the VIF; a device that it has already is free to it.
        exclusive: it needs exclusive use of the device.

    Raises:
        PoolExhausted: other VIFs have the devices; it says who has each.
        Missing: no device can be used.
    """
    reasons: list[str] = []
    best: tuple[int, str] | None = None
    for device in devices:
        others = tuple(holder for holder in device.holders if holder.vif_id != vif_id)
        if reason := _reason(device, others, exclusive):
            reasons.append(f"{device.name} {reason}")
        elif best is None or len(others) < best[0]:
            best = (len(others), device.name)
    if best:
        return best[1]
    message = f"{what} has no device for VIF {vif_id}: {'; '.join(reasons) or 'its pool is empty'}"
    if any(device.holders and not device.problem for device in devices):
        holders = dict.fromkeys(holder.vif_id for device in devices for holder in device.holders)
        hint = "unplug one of these, or add a device to the network"
        raise PoolExhausted(f"{message}; {hint}", holder=", ".join(each for each in holders if each != vif_id))
    raise Missing(f"{message}; fix one of these, or add a device to the network")


def _reason(device: PoolDevice, others: Sequence[Holder], exclusive: bool) -> str:
    """Return why a device is not available; empty if it is."""
    if device.problem:
        return device.problem
    if others and (exclusive or any(holder.exclusive for holder in others)):
        return f"is in use by {joined(others, 'and')}"
    if device.limit is not None and len(others) >= device.limit:
        return f"is shared by {joined(others, 'and')}, and {device.limit} is its maximum"
    return ""
