"""Bandwidth of a port, in libvirt's units (kB/s, and KiB for bursts) and directions (as the guest sees them)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from vifplug.errors import Problem
from vifplug.model.codec import Model, model
from vifplug.model.names import between

RATE_MAX = 2**54  # libvirt 11.3 virNetDevBandwidthRateValidate; kB/s
BURST_MAX = 0xFFFFFFFF >> 10  # the same; KiB

Rate = Annotated[int, between(1, RATE_MAX, "kB/s")]
Burst = Annotated[int, between(1, BURST_MAX, "KiB")]


@model
class Limit(Model):
    """The limits of one direction."""

    #: average rate, in kB/s (1 to 2**54); required for ``peak`` and ``burst``
    average: Rate | None = None
    #: highest rate, in kB/s
    peak: Rate | None = None
    #: amount that may be sent at the peak rate, in KiB (1 to 4194303)
    burst: Burst | None = None
    #: guaranteed rate, in kB/s; inbound traffic of type network only
    floor: Rate | None = None

    def rules(self) -> Iterator[Problem]:
        if self.average is None and self.floor is None:
            yield Problem("$.average", "is missing: expected average, or floor for inbound traffic of a network")
        if self.average is None and (self.peak or self.burst):
            yield Problem("$.average", "is missing: peak and burst require it")


@model
class Bandwidth(Model):
    """The limits of a port. At least one direction is required."""

    #: traffic that the guest receives
    inbound: Limit | None = None
    #: traffic that the guest sends
    outbound: Limit | None = None

    def rules(self) -> Iterator[Problem]:
        if self.inbound is None and self.outbound is None:
            yield Problem("$", "expected inbound or outbound, got neither")
        if self.outbound and self.outbound.floor:
            yield Problem("$.outbound.floor", "is for inbound traffic only")
