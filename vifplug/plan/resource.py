"""What a resource is: a frozen record with an identity, an ownership, and fields that say how they may change."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vifplug.errors import VifplugError
from vifplug.model.codec import FrozenMap, Model
from vifplug.model.names import DeviceName, Mtu, SysctlKey, Word

Identity = tuple[str, str]

#: No router advertisement from a guest may reach the host's own stack. Written before the device is up.
HARDENED: FrozenMap[str, str] = FrozenMap({"ipv6/disable_ipv6": "1"})


class Ownership(enum.Enum):
    """How a resource comes and goes."""

    OWNED = "owned"  #: vifplug makes it, marks it as its own, and removes it
    BORROWED = "borrowed"  #: it exists; vifplug changes settings, remembers what they were, and puts them back
    SHARED = "shared"  #: made when it is not there, and left there
    EXTERNAL = "external"  #: somebody else makes it for the VIF, sooner or later; vifplug sets it up, and sees it gone


def fixed(*, waits: bool = False, **kwargs: Any) -> Any:
    """A field that can't change in place: another value means to remove the resource and make it anew.

    ``waits``: while a guest holds the resource, the value that it has will do.
    """
    return field(metadata={"fixed": True, "waits": waits}, **kwargs)


def cleared(empty: Any, **kwargs: Any) -> Any:
    """A field that may stay unasked (None); ``empty`` is what it goes back to when it was asked and no longer is."""
    return field(default=None, metadata={"empty": empty}, **kwargs)


def locating(**kwargs: Any) -> Any:
    """A field that helps to find or make the resource and is never compared."""
    return field(metadata={"compared": False}, **kwargs)


@dataclass(frozen=True, kw_only=True)
class Resource(Model):
    """One thing on the host. ``owner`` is the id of the VIF that it is for."""

    kind: ClassVar[str]
    ownership: ClassVar[Ownership] = Ownership.OWNED
    #: True where all steps of a backend are one transaction; such steps come after all others
    batched: ClassVar[bool] = False
    #: True for what libvirt undoes when a guest starts: applied by settle, checked while a guest runs.
    settled: ClassVar[bool] = False

    name: str
    owner: str = locating(default="")

    @property
    def identity(self) -> Identity:
        return (self.kind, self.name)

    @property
    def described(self) -> str:
        """The resource in the words of a sentence for an operator, such as ``bridge br0``."""
        return str(self)

    @property
    def links(self) -> tuple[str, ...]:
        """The names of the kernel links that exist once the resource is made."""
        return ()

    @property
    def requires(self) -> tuple[Resource, ...]:
        """What has to exist before the first step, unless the same plan makes it; observed along with the resource."""
        return ()

    def unmet(self, observed: Observation, made: Collection[str]) -> Iterator[VifplugError]:
        """Yield each further precondition that does not hold, as the error to raise: see `vifplug.plan.preconditions`.

        Args:
            observed: the host before the first step; it has what `requires` names, where that exists.
            made: the names of the kernel links that the plan makes if they do not exist.
        """
        return iter(())

    @property
    def remove_when_unused(self) -> bool:
        """Whether one that is only ensured is taken back when nobody uses it any more."""
        return False

    def refusal(self, found: Resource) -> str:
        """Why what was found is not brought to this, as a sentence; empty where it can be."""
        return ""

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of what no other VIF may have at the same time; none where the owner's mark decides."""
        return ()

    @property
    def shares(self) -> tuple[str, ...]:
        """Names of what other VIFs may have as well, unless one of them claims it."""
        return ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What the machine has under one identity."""

    #: the state found; None when it is something else altogether, or another VIF's
    resource: Resource | None
    #: then what it is and whose, as a phrase: ``a veth without vifplug's mark``, ``a tap of VIF 5f6e...``
    foreign: str = ""
    #: whether a guest has it open
    held: bool = False


#: What the machine has, by identity; what does not exist is left out
Observation = Mapping[Identity, Observed]


@dataclass(frozen=True, kw_only=True)
class Device(Resource):
    """A kernel link that vifplug makes. Its alias is ``vifplug:<owner>`` (IFLA_IFALIAS): the mark of ownership."""

    name: DeviceName
    mtu: Mtu | None = cleared(1500)  # ETH_DATA_LEN: linux/if_ether.h
    up: bool = True
    #: /proc/sys/net/<family>/conf/<name>/<key>, as ``family/key``: value; written before the device is up. One that
    #: is no longer asked keeps its value: a sysctl can't be absent, and what the kernel began with is not known
    sysctls: FrozenMap[SysctlKey, Word] = field(default=HARDENED, metadata={"kept": True})

    @property
    def links(self) -> tuple[str, ...]:
        return (self.name,)


def names_of(device: str | None, function: str | None) -> tuple[str, ...]:
    """The names, for `Resource.claims`, of a network device, a virtual function, or one that is both."""
    return tuple(filter(None, (device and f"device {device}", function and f"VF {function}")))


def mark(owner: str) -> str:
    """The alias of every kernel device that vifplug makes."""
    return f"vifplug:{owner}"


def marked_for(alias: str) -> str | None:
    """The owner that an alias names; None where it is no mark."""
    return alias.removeprefix(mark("")) if alias.startswith(mark("")) else None
