"""The base class of resources: frozen objects with an identity, an ownership, and rules for changing their fields."""

from __future__ import annotations

import enum
import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vifplug.errors import VifplugError
from vifplug.model.codec import FrozenMap, Model, model
from vifplug.model.names import DeviceName, Mtu, SysctlKey, Word
from vifplug.plan.condition import Condition
from vifplug.plan.uses import Use

#: ``(kind, name)``, unique on a host
Identity = tuple[str, str]

#: Sysctls that keep a guest's router advertisements out of the host's stack; written before the device is up.
HARDENED: FrozenMap[str, str] = FrozenMap({"ipv6/disable_ipv6": "1"})
#: Nor does a bridge that vifplug makes answer ARP for the host's other addresses (net/ipv4: ip-sysctl).
QUIET: FrozenMap[str, str] = FrozenMap({**HARDENED, "ipv4/arp_ignore": "1", "ipv4/arp_announce": "2"})


class Ownership(enum.Enum):
    """Who creates a resource, and what happens to it when its VIF is unplugged."""

    OWNED = "owned"  #: vifplug creates it, marks it, and removes it
    BORROWED = "borrowed"  #: it exists; vifplug changes settings, and restores the previous ones
    SHARED = "shared"  #: vifplug creates it if it does not exist; it stays
    EXTERNAL = "external"  #: another program creates it for the VIF at some time; vifplug configures it


def immutable(*, waits: bool = False, **kwargs: Any) -> Any:
    """Return a field that cannot change in place: for another value, the resource is removed and recreated.

    Args:
        waits: whether another value on the host is accepted while a guest has the resource open.
        kwargs: as of `dataclasses.field`.
    """
    return field(metadata={"immutable": True, "waits": waits}, **kwargs)


def resettable(reset_to: Any, **kwargs: Any) -> Any:
    """Return an optional field; None means "not requested".

    Args:
        reset_to: the value to write when an update no longer requests one, if no original is recorded.
        kwargs: as of `dataclasses.field`.
    """
    return field(default=None, metadata={"reset_to": reset_to}, **kwargs)


def uncompared(**kwargs: Any) -> Any:
    """Return a field that helps to find or create the resource, and is never compared with the observed value."""
    return field(metadata={"compared": False}, **kwargs)


def kept(**kwargs: Any) -> Any:
    """Return a field whose value stays on the host when the VIF no longer requests it."""
    return field(metadata={"kept": True}, **kwargs)


@dataclass(frozen=True)
class Difference:
    """One difference between the desired and the observed state."""

    vif_id: str
    #: the resource and its field or key, such as ``tap tap0: mtu``
    path: str
    #: the desired value; None: nothing
    wanted: Any
    #: the observed value; None: nothing
    found: Any

    def __str__(self) -> str:
        return f"{self.path}: expected {shown(self.wanted)}, got {shown(self.found)}"


def shown(value: Any) -> str:
    """Return a value in a sentence."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "nothing" if value is None or value == "" else str(value)


@model
class Resource(Model):
    """One piece of host state.

    The same class describes the desired and the observed state. In the desired state, None means "not requested".
    A third-party kind is a subclass with a backend (entry points ``vifplug.resources``; doc/plugins.md).
    """

    #: the first part of the identity, and the name of the backend's entry point
    kind: ClassVar[str]
    #: the kind in sentences for operators; empty: as ``kind``
    noun: ClassVar[str] = ""
    ownership: ClassVar[Ownership] = Ownership.OWNED
    #: True if all steps of the backend are one transaction; such steps come after all others
    batched: ClassVar[bool] = False
    #: True for settings that libvirt resets when a guest starts: applied by ``settle``, checked while a guest runs
    settled: ClassVar[bool] = False
    #: True if looking for it takes longer the more there is on the host: not done for a plug that changes nothing
    scanned: ClassVar[bool] = False
    #: ``(kind, name)``, unique on the host
    identity: ClassVar[Identity] = property(operator.attrgetter("kind", "name"))  # type: ignore[assignment]

    #: the second part of the identity
    name: str
    #: the id of the VIF; empty if it belongs to no VIF
    owner: str = uncompared(default="")

    @property
    def described(self) -> str:
        """The resource in sentences for operators, such as ``bridge br0``."""
        return f"{self.noun or self.kind} {self.name}"

    @property
    def links(self) -> tuple[str, ...]:
        """The names of the kernel links of the resource."""
        return ()

    @property
    def attached_to(self) -> str | None:
        """The kernel link that a port belongs to; when the link is recreated, so is the port."""
        return None

    def released(self) -> Resource | None:
        """Return the ``before`` of the step that removes the resource before its link (`attached_to`) is removed.

        Returns:
            None if removing the link removes the resource too, so that no such step is needed.
        """
        return None

    @property
    def requires(self) -> tuple[Resource, ...]:
        """What must exist before the first step, unless the same plan creates it; observed with the resource."""
        return ()

    @property
    def related(self) -> tuple[Resource, ...]:
        """What `unmet` and `warnings` look at if it exists; observed with the resource."""
        return ()

    def unmet(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        """Yield each further precondition that does not hold, as the error to raise: see `vifplug.plan.preconditions`.

        Args:
            observed: the host before the first step, including what `requires` names.
            made: the names of the kernel links that the plan creates if they do not exist.
        """
        return iter(())

    def objections(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        """Yield what a plug is refused for although its steps would succeed.

        To refuse a VIF that is plugged already mends nothing, and keeps its guest from being repaired: repeating its
        plug, and settling it, makes a warning of the sentence. `drift` says the same to `check`.

        Args:
            observed: as of `unmet`.
            made: as of `unmet`.
        """
        return iter(())

    def warnings(self, observed: Observation, made: Collection[str]) -> Iterator[str]:
        """Yield a sentence for each thing that lets the VIF be plugged, and will not work well or is risky.

        Args:
            observed: as of `unmet`.
            made: as of `unmet`.
        """
        return iter(())

    def drift(self, observed: Observation) -> Iterator[Difference]:
        """Yield the differences, for `check`, that are not in a field: in what `requires` names, say.

        Args:
            observed: the host as it is, with what `requires` names as far as it exists.
        """
        return iter(())

    def original(self, found: Resource) -> Resource:
        """Return what to record of ``found``, the observed state before the first change, to be restored one day."""
        return found.trusted(owner=self.owner)  # a batch observes it once for all its VIFs

    def is_same(self, other: Resource) -> bool:
        """Return whether ``other``, observed under the same identity, is still the thing that this was observed of."""
        return True

    @property
    def recorded(self) -> Resource:
        """The resource as the record of its VIF has it: without what is asked only before the first step."""
        return self

    @property
    def remove_when_unused(self) -> bool:
        """Whether a resource that is `Ownership.SHARED` is removed when nothing uses it."""
        return False

    def refusal(self, found: Resource) -> str:
        """Return why ``found`` must not be changed to this resource, as a sentence; empty if it may."""
        return ""

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of objects that no other VIF may use at the same time; empty if the owner's mark decides."""
        return ()

    @property
    def shares(self) -> tuple[str, ...]:
        """Names of objects that other VIFs may use too, unless one of them claims them."""
        return ()

    def left_to(self, others: Collection[str]) -> Resource:
        """Return the resource without what may not be removed with it, because others have it.

        Args:
            others: the names (`shares`) of what other VIFs have, or the same VIF's next resources.
        """
        return self

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What exists on the machine under one identity."""

    #: the observed state; None if it is something else, or belongs to another VIF
    resource: Resource | None
    #: in that case, what it is and whose: ``a veth without vifplug's mark``, ``a tap of VIF 5f6e...``
    foreign: str = ""
    #: whether a guest has it open
    held: bool = False
    #: what else uses it, if the desired resource asks: see `vifplug.plan.uses`
    uses: Sequence[Use] = ()
    #: of a device or bridge that exists for itself: see `vifplug.plan.condition`
    condition: Condition | None = None


#: What exists on the machine, by identity
Observation = Mapping[Identity, Observed]


@model
class Device(Resource):
    """A kernel link that vifplug creates. Its alias, ``vifplug:<owner>`` (IFLA_IFALIAS), is the mark of ownership."""

    name: DeviceName
    #: bytes; the kernel's default is ETH_DATA_LEN (linux/if_ether.h)
    mtu: Mtu | None = resettable(1500)
    up: bool = True
    #: /proc/sys/net/<family>/conf/<name>/<key>, as ``family/key``: value; written before the device is up. A key that
    #: is no longer requested keeps its value: the original value is not known
    sysctls: FrozenMap[SysctlKey, Word] = kept(default=HARDENED)

    @property
    def links(self) -> tuple[str, ...]:
        return (self.name,)


def names_of(device: str | None, function: str | None) -> tuple[str, ...]:
    """Return the names, for `Resource.claims`, of a network device, of a virtual function, or of both."""
    return tuple(filter(None, (device and f"device {device}", function and f"VF {function}")))


def mark(owner: str) -> str:
    """Return the alias of every kernel device that vifplug creates for the VIF ``owner``."""
    return f"vifplug:{owner}"


def marked_for(alias: str) -> str | None:
    """Return the owner that an alias names; None if the alias is not a mark."""
    return alias.removeprefix(mark("")) if alias.startswith(mark("")) else None
