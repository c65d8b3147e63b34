"""What a resource is: a frozen record with an identity, an ownership, and fields that say how they may change."""

from __future__ import annotations

import enum
import operator
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vifplug.errors import VifplugError
from vifplug.model.codec import FrozenMap, Model
from vifplug.model.names import DeviceName, Mtu, SysctlKey, Word

#: ``(kind, name)``: what tells one resource of a host from all others
Identity = tuple[str, str]

#: No router advertisement from a guest may reach the host's own stack. Written before the device is up.
HARDENED: FrozenMap[str, str] = FrozenMap({"ipv6/disable_ipv6": "1"})
#: Nor does a bridge that vifplug makes answer ARP for the host's other addresses (net/ipv4: ip-sysctl).
QUIET: FrozenMap[str, str] = FrozenMap({**HARDENED, "ipv4/arp_ignore": "1", "ipv4/arp_announce": "2"})


class Ownership(enum.Enum):
    """Who makes a resource, and what becomes of it when its VIF is unplugged."""

    OWNED = "owned"  #: vifplug makes it, marks it as its own, and removes it
    BORROWED = "borrowed"  #: it exists; vifplug changes settings and restores the ones that it found
    SHARED = "shared"  #: vifplug makes it if it does not exist, and leaves it there
    EXTERNAL = "external"  #: another program makes it for the VIF, sooner or later; vifplug sets it up


def immutable(*, waits: bool = False, **kwargs: Any) -> Any:
    """Return a field that cannot change in place: another value means to remove the resource and create it again.

    Args:
        waits: whether the value found is good enough for as long as a guest has the resource open.
        kwargs: as of `dataclasses.field`.
    """
    return field(metadata={"immutable": True, "waits": waits}, **kwargs)


def resettable(reset_to: Any, **kwargs: Any) -> Any:
    """Return a field that a VIF may leave alone (None).

    Args:
        reset_to: the value to write when an update no longer requests one, if no original is recorded.
        kwargs: as of `dataclasses.field`.
    """
    return field(default=None, metadata={"reset_to": reset_to}, **kwargs)


def uncompared(**kwargs: Any) -> Any:
    """Return a field that helps to find or to make the resource, and that is never compared with what is found."""
    return field(metadata={"compared": False}, **kwargs)


def kept(**kwargs: Any) -> Any:
    """Return a field whose value stays on the host when the VIF no longer requests it."""
    return field(metadata={"kept": True}, **kwargs)


@dataclass(frozen=True, kw_only=True)
class Resource(Model):
    """One thing on the host.

    The same record says what is desired and what was found. In a desired one a field of None means "leave it alone".
    Third-party kinds are subclasses with a backend each (entry points ``vifplug.resources``; doc/plugins.md).
    """

    #: the first half of the identity, and the name of the entry point that brings the backend
    kind: ClassVar[str]
    #: the kind in the words of a sentence for an operator; empty: as ``kind``
    noun: ClassVar[str] = ""
    ownership: ClassVar[Ownership] = Ownership.OWNED
    #: True if all steps of the backend are one transaction; such steps come after all others
    batched: ClassVar[bool] = False
    #: True for what libvirt undoes when a guest starts: applied by ``settle``, checked while a guest runs
    settled: ClassVar[bool] = False
    #: what tells the resource from all others of the host; the property that is read most by far
    identity: ClassVar[Identity] = property(operator.attrgetter("kind", "name"))  # type: ignore[assignment]

    #: the second half of the identity
    name: str
    #: the id of the VIF that it is for; empty for what belongs to none
    owner: str = uncompared(default="")

    @property
    def described(self) -> str:
        """The resource in the words of a sentence for an operator, such as ``bridge br0``."""
        return f"{self.noun or self.kind} {self.name}"

    @property
    def links(self) -> tuple[str, ...]:
        """The names of the kernel links that exist once the resource is made."""
        return ()

    @property
    def attached_to(self) -> str | None:
        """The kernel link that it is a setting of, such as a bridge port: it is created again whenever the link is."""
        return None

    def released(self) -> Resource | None:
        """Return the found resource as the step that removes it before `attached_to` is removed must have it.

        Returns:
            None if removing the link removes the resource, so that no such step is needed.
        """
        return None

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
        """Whether one that is `Ownership.SHARED` is removed once nobody uses it."""
        return False

    def refusal(self, found: Resource) -> str:
        """Return why ``found`` cannot be changed into this, as a sentence; empty if it can."""
        return ""

    @property
    def claims(self) -> tuple[str, ...]:
        """The names of what no other VIF may have at the same time; empty where the owner's mark decides."""
        return ()

    @property
    def shares(self) -> tuple[str, ...]:
        """The names of what other VIFs may have as well, unless one of them claims it."""
        return ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What the machine has under one identity."""

    #: the state found; None if it is something else altogether, or another VIF's
    resource: Resource | None
    #: then what it is and whose, as a phrase: ``a veth without vifplug's mark``, ``a tap of VIF 5f6e...``
    foreign: str = ""
    #: whether a guest has it open
    held: bool = False


#: What the machine has, by identity; what does not exist is left out
Observation = Mapping[Identity, Observed]


@dataclass(frozen=True, kw_only=True)
class Device(Resource):
    """A kernel link that vifplug makes. Its alias, ``vifplug:<owner>`` (IFLA_IFALIAS), is the mark of ownership."""

    name: DeviceName
    #: bytes; the kernel's default is ETH_DATA_LEN (linux/if_ether.h)
    mtu: Mtu | None = resettable(1500)
    up: bool = True
    #: /proc/sys/net/<family>/conf/<name>/<key>, as ``family/key``: value; written before the device is up. A key that
    #: is no longer requested keeps its value: a sysctl cannot be absent, and its first value is not known
    sysctls: FrozenMap[SysctlKey, Word] = kept(default=HARDENED)

    @property
    def links(self) -> tuple[str, ...]:
        return (self.name,)


def names_of(device: str | None, function: str | None) -> tuple[str, ...]:
    """Return the names, for `Resource.claims`, of a network device, a virtual function, or one that is both."""
    return tuple(filter(None, (device and f"device {device}", function and f"VF {function}")))


def mark(owner: str) -> str:
    """Return the alias of every kernel device that vifplug makes for the VIF ``owner``."""
    return f"vifplug:{owner}"


def marked_for(alias: str) -> str | None:
    """Return the owner that an alias names; None if it is no mark."""
    return alias.removeprefix(mark("")) if alias.startswith(mark("")) else None
