"""A guest's NICs by its flavor and image: model, driver, bandwidth. The rules are nova's, made safe. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from vifplug.errors import InvalidDocument, Problem
from vifplug.model.bandwidth import Bandwidth
from vifplug.model.codec import FrozenMap, Model, described, joined, model, shortened
from vifplug.model.names import Word, between
from vifplug.model.nic import MAX_QUEUES, RingSize
from vifplug.neutron.binding import number, truth

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


@model
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
            yield Problem("$.virt_type", f"expected {joined(MODELS)}, got {shortened(self.virt_type)}")
        elif self.model and self.model not in MODELS[self.virt_type]:
            known = joined(MODELS[self.virt_type])
            yield Problem(
                "$.image.hw_vif_model", f"expected {known} with virt_type {self.virt_type}, got {shortened(self.model)}"
            )
        flavor, image = self.extra_specs.get("hw:vif_multiqueue_enabled"), self.image.get("hw_vif_multiqueue_enabled")
        if None not in (flavor, image) and truth(flavor) != truth(image):
            both = f"the flavor has {shortened(_word(flavor))} and the image {shortened(_word(image))}"
            message = f"{both}: use the same value in both, or only one of them"
            yield Problem("$.extra_specs.hw:vif_multiqueue_enabled", message)

    @property
    def model(self) -> str | None:
        """Return the model of the guest's NICs; None leaves it to libvirt."""
        if given := self.image.get("hw_vif_model"):
            return _OLD_NAMES.get(_word(given).lower(), _word(given).lower())
        return "virtio" if self.use_virtio_for_bridges and self.virt_type in ("kvm", "qemu", "parallels") else None

    @property
    def wants_queues(self) -> bool:
        """Return whether flavor or image request a queue for each CPU."""
        return self._requests("hw:vif_multiqueue_enabled")

    @property
    def packed(self) -> bool:
        """Return whether flavor or image request packed virtio rings (virtio 1.1)."""
        return self._requests("hw:virtio_packed_ring")

    def _requests(self, name: str) -> bool:
        """Return what the flavor says of ``name``, else the image, whose names have ``_`` for ``:``."""
        flavor = self.extra_specs.get(name)
        return truth(self.image.get(name.replace(":", "_")) if flavor is None else flavor)


def _word(value: object) -> str:
    return value if isinstance(value, str) else described(value)


def driver(guest: Guest) -> dict[str, Any]:
    """Return ``<driver>`` of an emulated NIC; empty if it is QEMU's choice. Only virtio has one."""
    if guest.model != "virtio":
        return {}
    found: dict[str, Any] = {"packed": True} if guest.packed else {}
    if guest.rx_queue_size:
        found |= {"name": "vhost", "rx_queue_size": guest.rx_queue_size}
    if guest.virt_type == "qemu":  # libvirt would open vhost-net, which is KVM's
        return {**found, "name": "qemu"}
    if guest.wants_queues and guest.vcpus > 1:
        found |= {"name": "vhost", "queues": min(guest.vcpus, guest.max_queues or MAX_QUEUES)}
    return found


def rings(guest: Guest) -> dict[str, Any]:
    """Return both ring sizes, for vhost-user and vDPA, which bypass the kernel."""
    sizes = {"rx_queue_size": guest.rx_queue_size, "tx_queue_size": guest.tx_queue_size}
    return {name: size for name, size in sizes.items() if size}


def notes(guest: Guest) -> Iterator[str]:
    """Say which requests for the guest's speed are left out, in a sentence each."""
    if guest.wants_queues and guest.model != "virtio":
        yield f"hw_vif_multiqueue_enabled is ignored: a NIC of model {guest.model or 'unknown'} has a single queue"


def bandwidth(guest: Guest) -> Bandwidth | None:
    """Return the limits of the flavor's quota:vif_*; None if there are none.

    Raises:
        InvalidDocument: with every problem, by the quotas' names.
    """
    limits = {direction: _limits(guest, direction) for direction in _DIRECTIONS}
    try:
        return Bandwidth.from_data(given) if (given := {key: each for key, each in limits.items() if each}) else None
    except InvalidDocument as error:
        raise InvalidDocument(dict.fromkeys(_of_quota(problem, limits) for problem in error.problems)) from None


def first_quota(guest: Guest) -> str:
    """Return the first quota of the flavor that limits anything, to name it in an error; empty if there is none."""
    given = (_quota(direction, rate) for direction in _DIRECTIONS for rate in _limits(guest, direction))
    return next(given, "")


def _limits(guest: Guest, direction: str) -> dict[str, object]:
    """Return the rates of one direction. A rate of 0 is no limit."""
    given = {rate: guest.extra_specs.get(_quota(direction, rate)) for rate in _RATES}
    return {rate: number(value) for rate, value in given.items() if str(value) not in ("None", "0")}


def _quota(direction: str, rate: str) -> str:
    return f"quota:vif_{direction}_{rate}"


def _of_quota(problem: Problem, limits: Mapping[str, Mapping[str, object]]) -> Problem:
    """Return a problem of the bandwidth with the path and the words of the flavor."""
    direction, rate = problem.path.split(".")[1:]
    message = problem.message
    if rate not in limits[direction]:
        given = joined(_quota(direction, each) for each in limits[direction])
        message = f"is missing, and {given} limits nothing without it"
    return Problem(f"$.guest.extra_specs.{_quota(direction, rate)}", message)
