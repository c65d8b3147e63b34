"""The guest's NIC and its port: backend, filter, how a bridge forwards, and the settings of a VF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from vifplug.errors import Problem
from vifplug.model.codec import FrozenMap, Model, model
from vifplug.model.names import Word, between, matching

#: the kernel's and QEMU's limit (MAX_TAP_QUEUES: linux/drivers/net/tun.c)
MAX_QUEUES = 256

VIRTIO = ("virtio", "virtio-transitional", "virtio-non-transitional")

#: values of ``driver.name`` for a virtual function that the guest gets; the other values are for virtio NICs
VF_DRIVERS = ("vfio", "kvm", "xen")


def _power_of_two(size: int) -> int:
    if size & (size - 1):
        raise ValueError(f"{size} is not a power of two")
    return size


#: virtio 1.2 section 2.6: queue sizes are powers of two up to 32768; QEMU's limits are in vifplug.guest.capabilities
RingSize = Annotated[int, between(64, 32768), _power_of_two]

HostOffload = Literal["csum", "gso", "tso4", "tso6", "ecn", "ufo", "mrg_rxbuf"]
GuestOffload = Literal["csum", "tso4", "tso6", "ecn", "ufo"]
#: names of the offloads, in libvirt's order
HOST_OFFLOADS: tuple[str, ...] = get_args(HostOffload)
GUEST_OFFLOADS: tuple[str, ...] = get_args(GuestOffload)


@model
class Driver(Model):
    """The backend of the guest's NIC: libvirt's ``<driver>``. The fields have libvirt's names and meaning.

    Only virtio NICs have a backend, so a VIF with a driver and no model gets a virtio NIC.
    """

    #: qemu or vhost for a virtio NIC, the others for a VF
    name: Literal["qemu", "vhost", "vfio", "kvm", "xen"] | None = None
    #: VFIO variant driver of a VF (libvirt 10.0)
    model: Word | None = None
    #: number of queue pairs; 1 is the same as None
    queues: Annotated[int, between(1, MAX_QUEUES, "queues")] | None = None
    #: sizes of the rings, in descriptors
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
    #: offloads by name (csum, tso4, ...): the elements ``<host/>`` and ``<guest/>`` of ``<driver>``
    host: FrozenMap[HostOffload, bool] = FrozenMap()
    guest: FrozenMap[GuestOffload, bool] = FrozenMap()

    def normal(self) -> Mapping[str, Any]:
        return {"queues": None} if self.queues == 1 else {}


@model
class FilterParameter(Model):
    """A variable of a filter. Parameters with the same name form a list in nwfilter."""

    # libvirt drops names and values with other characters (nwfilter_params.h: VALID_VARNAME, VALID_VARVALUE)
    name: Annotated[str, matching(r"[A-Za-z0-9_]+", "a variable name of letters, digits and _")]
    value: Annotated[str, matching(r"[A-Za-z0-9_.:]+", "a value of letters, digits, _ . and :")]


@model
class FilterRef(Model):
    """A libvirt nwfilter for the port. Shorthand: the name of the filter. Parameters are sorted by name."""

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


@model
class Port(Model):
    """How the bridge forwards to and from the port (ip-link(8), bridge_slave). None: as configured, else the kernel's.

    All but ``isolated`` are settings of a Linux bridge's port.
    """

    #: The bridge forwards no traffic between this port and its other isolated ports.
    isolated: bool | None = None
    #: The bridge sends a frame back out of the port that it came in on.
    hairpin: bool | None = None
    #: The bridge learns the source addresses of the port's frames.
    learning: bool | None = None
    #: The port gets unicast frames to addresses that the bridge does not know.
    flood: bool | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """What it says that only the port of a Linux bridge has, by name."""
        return tuple(name for name in ("hairpin", "learning", "flood") if getattr(self, name) is not None)


#: what every port is
NOT_ISOLATED = Port(isolated=False)


@model
class PortOptions(Model):
    """Additional ``other_config`` of an Open vSwitch port: of its rows in the tables Port and Interface."""

    port: FrozenMap[Word, Word] = FrozenMap()
    interface: FrozenMap[Word, Word] = FrozenMap()


@model
class VfSettings(Model):
    """Settings of a VF, apart from MAC and VLAN, that its physical function applies (``ip link set PF vf N``)."""

    #: The VF may change its MAC and enter promiscuous mode.
    trust: bool | None = None
    #: The card drops frames whose source MAC is not the VF's.
    spoof_check: bool | None = None
    #: carrier that the VF sees; auto: as on the wire
    link_state: Literal["auto", "enable", "disable"] | None = None
    #: guaranteed transmit rate, in Mbit/s; 0: none
    min_tx_rate: Annotated[int, between(0, 2**32 - 1, "Mbit/s")] | None = None
    #: highest transmit rate, in Mbit/s; 0: no limit
    max_tx_rate: Annotated[int, between(0, 2**32 - 1, "Mbit/s")] | None = None
    #: priority of the VLAN tag (802.1p)
    vlan_qos: Annotated[int, between(0, 7)] | None = None
    #: protocol of the VLAN tag; 802.1ad for a service tag (QinQ)
    vlan_proto: Literal["802.1Q", "802.1ad"] | None = None

    def rules(self) -> Iterator[Problem]:
        if self.min_tx_rate and self.max_tx_rate and self.min_tx_rate > self.max_tx_rate:
            yield Problem("$.min_tx_rate", f"{self.min_tx_rate} exceeds max_tx_rate ({self.max_tx_rate})")
