"""The guest's NIC and its port: backend, filter, isolation, and what a physical function sets on a VF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from vifplug.errors import Problem
from vifplug.model.codec import FrozenMap, Model
from vifplug.model.names import Word, between, parse_variable, parse_variable_value

#: the kernel's and QEMU's limit (MAX_TAP_QUEUES: linux/drivers/net/tun.c)
MAX_QUEUES = 256

VIRTIO = ("virtio", "virtio-transitional", "virtio-non-transitional")

#: drivers (``driver.name``) of a virtual function that the guest gets; the others are a virtio NIC's
VF_DRIVERS = ("vfio", "kvm", "xen")


def _power_of_two(size: int) -> int:
    if size & (size - 1):
        raise ValueError(f"{size} is not a power of two")
    return size


#: virtio 1.2 section 2.6: queue sizes are powers of two up to 32768; QEMU's floor is 256
RingSize = Annotated[int, between(64, 32768), _power_of_two]

HostOffload = Literal["csum", "gso", "tso4", "tso6", "ecn", "ufo", "mrg_rxbuf"]
GuestOffload = Literal["csum", "tso4", "tso6", "ecn", "ufo"]
#: their names, in libvirt's order
HOST_OFFLOADS: tuple[str, ...] = get_args(HostOffload)
GUEST_OFFLOADS: tuple[str, ...] = get_args(GuestOffload)


@dataclass(frozen=True, kw_only=True)
class Driver(Model):
    """The guest NIC's backend: libvirt's ``<driver>``. ``queues`` of 1 is the same as none.

    Only virtio has one, so a VIF with a driver and no model is a virtio NIC.
    """

    name: Literal["qemu", "vhost", "vfio", "kvm", "xen"] | None = None
    queues: Annotated[int, between(1, MAX_QUEUES, "queues")] | None = None
    rx_queue_size: RingSize | None = None
    tx_queue_size: RingSize | None = None
    txmode: Literal["iothread", "timer"] | None = None
    ioeventfd: bool | None = None
    event_idx: bool | None = None
    packed: bool | None = None
    iommu: bool | None = None
    ats: bool | None = None
    page_per_vq: bool | None = None
    rss: bool | None = None
    rss_hash_report: bool | None = None
    #: offloads by name (csum, tso4, ...): ``<host/>`` and ``<guest/>`` below ``<driver>``
    host: FrozenMap[HostOffload, bool] = FrozenMap()
    guest: FrozenMap[GuestOffload, bool] = FrozenMap()

    def normal(self) -> Mapping[str, Any]:
        return {"queues": None} if self.queues == 1 else {}


@dataclass(frozen=True, kw_only=True)
class FilterParameter(Model):
    """One variable of a filter; a name may come more than once (a list in nwfilter)."""

    name: Annotated[str, parse_variable]
    value: Annotated[str, parse_variable_value]


@dataclass(frozen=True, kw_only=True)
class FilterRef(Model):
    """A libvirt nwfilter for the port. Written short: the filter's name. Parameters are kept in order of name."""

    filter: Word
    parameters: tuple[FilterParameter, ...] = ()

    def normal(self) -> Mapping[str, Any]:
        return {"parameters": tuple(sorted(self.parameters, key=lambda parameter: parameter.name))}

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        return {"filter": value} if isinstance(value, str) else None

    @classmethod
    def from_data(cls, data: object) -> Self:
        if isinstance(data, Mapping) and isinstance(given := data.get("parameters"), Mapping):
            data = {**data, "parameters": [{"name": name, "value": value} for name, value in given.items()]}
        return super().from_data(data)


@dataclass(frozen=True, kw_only=True)
class Port(Model):
    """``isolated``: no traffic between this port and other isolated ports of the bridge."""

    isolated: bool


@dataclass(frozen=True, kw_only=True)
class VfSettings(Model):
    """What a physical function sets on its VF beside MAC and VLAN (``ip link set PF vf N``); rates in Mbit/s."""

    trust: bool | None = None
    spoof_check: bool | None = None
    link_state: Literal["auto", "enable", "disable"] | None = None
    min_tx_rate: Annotated[int, between(0, 2**32 - 1, "Mbit/s")] | None = None
    max_tx_rate: Annotated[int, between(0, 2**32 - 1, "Mbit/s")] | None = None
    vlan_qos: Annotated[int, between(0, 7)] | None = None
    vlan_proto: Literal["802.1Q", "802.1ad"] | None = None

    def rules(self) -> Iterator[Problem]:
        if self.min_tx_rate and self.max_tx_rate and self.min_tx_rate > self.max_tx_rate:
            yield Problem("$.min_tx_rate", f"{self.min_tx_rate} is more than max_tx_rate, {self.max_tx_rate}")
