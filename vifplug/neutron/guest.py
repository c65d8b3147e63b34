"""A guest's NICs by its flavor and image: model, driver, bandwidth. The rules are nova's, made safe. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from vifplug.errors import InvalidDocument, Problem
from vifplug.model.bandwidth import Limit
from vifplug.model.codec import FrozenMap, Model, described, joined
from vifplug.model.names import Word, between
from vifplug.model.nic import MAX_QUEUES, RingSize
from vifplug.neutron.binding import truth

_EMULATED = ("virtio", "ne2k_pci", "pcnet", "rtl8139", "e1000", "e1000e", "spapr-vlan", "vmxnet3", "igb")
#: the models that each kind of virtualization has (nova: SUPPORTED_VIF_MODELS)
MODELS: Final[Mapping[str, tuple[str, ...]]] = {
    "kvm": _EMULATED,
    "qemu": (*_EMULATED, "lan9118"),
    "parallels": ("virtio", "rtl8139", "e1000"),
    "lxc": (),
}
#: names of old images (nova: VIFModel.LEGACY_VALUES)
_OLD_NAMES: Final = {
    "virtuale1000": "e1000",
    "virtuale1000e": "e1000e",
    "virtualpcnet32": "pcnet",
    "virtualvmxnet3": "vmxnet3",
}
#: the guest sees the function itself: no NIC is emulated (nova: VNIC_TYPES_DIRECT_PASSTHROUGH)
PASSED_THROUGH: Final = (
    "direct",
    "direct-physical",
    "accelerator-direct",
    "accelerator-direct-physical",
    "remote-managed",
    "vdpa",
)
_DIRECTIONS: Final = ("inbound", "outbound")
_RATES: Final = ("average", "peak", "burst")


@dataclass(frozen=True, kw_only=True)
class Guest(Model):
    """A guest as an agent knows it. ``image`` has the image's properties, ``extra_specs`` the flavor's.

    The last four belong to the compute host: sizes of virtio rings, the most queues of a NIC ([libvirt] max_queues),
    and whether a NIC is virtio by default.
    """

    virt_type: Word = "kvm"
    vcpus: Annotated[int, between(1, 2**31 - 1)] = 1
    image: FrozenMap[Word, Any] = FrozenMap()
    extra_specs: FrozenMap[Word, Any] = FrozenMap()
    rx_queue_size: RingSize | None = None
    tx_queue_size: RingSize | None = None
    max_queues: Annotated[int, between(1, MAX_QUEUES, "queues")] | None = None
    use_virtio_for_bridges: bool = True

    def rules(self) -> Iterator[Problem]:
        if self.virt_type not in MODELS:
            yield Problem("$.virt_type", f"expected {joined(MODELS)}, got {self.virt_type}")
        elif self.model and self.model not in MODELS[self.virt_type]:
            known = joined(MODELS[self.virt_type])
            yield Problem("$.image.hw_vif_model", f"expected {known} with virt_type {self.virt_type}, got {self.model}")
        flavor, image = self.extra_specs.get("hw:vif_multiqueue_enabled"), self.image.get("hw_vif_multiqueue_enabled")
        if None not in (flavor, image) and truth(flavor) != truth(image):
            message = f"the flavor has {flavor} and the image {image}: use the same value in both, or only one of them"
            yield Problem("$.extra_specs.hw:vif_multiqueue_enabled", message)

    @property
    def model(self) -> str | None:
        """Return the model of the guest's NICs; None leaves it to libvirt."""
        if given := self.image.get("hw_vif_model"):
            return _OLD_NAMES.get(str(given).lower(), str(given).lower())
        return "virtio" if self.use_virtio_for_bridges and self.virt_type in ("kvm", "qemu", "parallels") else None

    @property
    def wants_queues(self) -> bool:
        """Return whether flavor or image request a queue for each CPU."""
        flavor, image = self.extra_specs.get("hw:vif_multiqueue_enabled"), self.image.get("hw_vif_multiqueue_enabled")
        return truth(image if flavor is None else flavor)

    @property
    def packed(self) -> bool:
        """Return whether flavor or image request packed virtio rings (virtio 1.1)."""
        flavor, image = self.extra_specs.get("hw:virtio_packed_ring"), self.image.get("hw_virtio_packed_ring")
        return truth(image if flavor is None else flavor)


def read(guest: object) -> Guest:
    """Return the guest that plain data describes. Raises InvalidDocument with every problem."""
    try:
        return Guest.from_data({} if guest is None else guest)
    except InvalidDocument as error:
        raise InvalidDocument(problem.under("$.guest") for problem in error.problems) from None


def driver(guest: Guest) -> dict[str, Any]:
    """Return ``<driver>`` of an emulated NIC; empty if it is QEMU's choice. Only virtio has one."""
    if guest.model != "virtio":
        return {}
    found: dict[str, Any] = {"packed": True} if guest.packed else {}
    rings = {"rx_queue_size": guest.rx_queue_size} if guest.rx_queue_size else {}
    if guest.virt_type == "qemu":  # libvirt would open vhost-net, which is KVM's
        return {"name": "qemu", **rings, **found}
    if guest.wants_queues and guest.vcpus > 1:
        found |= {"name": "vhost", "queues": min(guest.vcpus, guest.max_queues or MAX_QUEUES)}
    if rings:
        found |= {"name": "vhost", **rings}
    return found


def rings(guest: Guest) -> dict[str, Any]:
    """Return both ring sizes, for vhost-user and vDPA, which bypass the kernel."""
    sizes = {"rx_queue_size": guest.rx_queue_size, "tx_queue_size": guest.tx_queue_size}
    return {name: size for name, size in sizes.items() if size}


def notes(guest: Guest) -> Iterator[str]:
    """Say which requests for the guest's speed are left out, in a sentence each."""
    if guest.wants_queues and guest.model != "virtio":
        yield f"hw_vif_multiqueue_enabled is ignored: a NIC of model {guest.model or 'unknown'} has a single queue"


def bandwidth(guest: Guest, problems: list[Problem]) -> dict[str, dict[str, Any]] | None:
    """Return ``bandwidth`` from the flavor's quota:vif_*; None if there is no limit. A rate of 0 is no limit."""
    found: dict[str, dict[str, Any]] = {}
    for direction in _DIRECTIONS:
        given = {rate: guest.extra_specs.get(_quota(direction, rate)) for rate in _RATES}
        limits = {rate: value for rate, value in given.items() if str(value) not in ("None", "0")}
        values = {rate: _whole(direction, rate, value, problems) for rate, value in limits.items()}
        if values:
            found[direction] = values
            problems += _limit_problems(direction, values)
    return found or None


def first_quota(guest: Guest) -> str:
    """Return the first quota of the flavor, to name it in an error."""
    return next(name for way in _DIRECTIONS for rate in _RATES if (name := _quota(way, rate)) in guest.extra_specs)


def _quota(direction: str, rate: str) -> str:
    return f"quota:vif_{direction}_{rate}"


def _whole(direction: str, rate: str, value: object, problems: list[Problem]) -> int:
    text = str(value).strip()
    if text.isascii() and text.isdigit():
        return int(text)
    problems.append(_problem(direction, rate, f"expected an integer, got {described(value)}"))
    return 1  # the problem is recorded


def _limit_problems(direction: str, values: Mapping[str, int]) -> list[Problem]:
    """Return the problems that `Limit` finds in the values, with the flavor's paths."""
    try:
        Limit(**values)
    except InvalidDocument as error:
        named = ((problem.path.removeprefix("$."), problem.message) for problem in error.problems)
        found = dict(named)
        if "average" in found and "average" not in values:
            given = joined(_quota(direction, rate) for rate in values)
            return [_problem(direction, "average", f"is missing, and {given} limits nothing without it")]
        return [_problem(direction, rate, message) for rate, message in found.items()]
    return []


def _problem(direction: str, rate: str, message: str) -> Problem:
    return Problem(f"$.guest.extra_specs.{_quota(direction, rate)}", message)
