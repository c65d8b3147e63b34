"""All errors of vifplug, as one tree.

::

    VifplugError                    one sentence: the object, what is wrong (expected, got), what to do
    |
    |-- InvalidRequest              exit 2: the request is wrong; nothing was changed
    |   |-- InvalidDocument         a document is invalid: every problem, each with its path
    |   |-- UnknownType             no VIF type of that name is loaded
    |   |-- Unsupported             the VIF type does not support something that the document requests
    |   |-- InvalidConfig           an option has a value that is not allowed
    |   `-- NotPlugged              the verb needs the record of a VIF, and it does not exist
    |
    |-- HostNotReady                exit 3: the host cannot serve the request now; nothing was changed
    |   |-- Unavailable             a server cannot be reached or does not answer (retry helps)
    |   |   `-- Absent              the server does not run on this host: its socket does not exist
    |   |-- NotPermitted            the process lacks a privilege, such as CAP_NET_ADMIN
    |   |-- Missing                 a required bridge or device does not exist
    |   |   |-- UnknownNetwork      this host has no (valid) definition of the network
    |   |   `-- UnknownPortGroup    the network has no such portgroup
    |   |-- KernelLacks             this kernel does not support a feature that is needed
    |   |-- BrokenPlugin            a plugin cannot be loaded, or its code failed; the error names its package
    |   `-- StoreFailed             the record of plugged VIFs cannot be read or written
    |       `-- DamagedRecord       the record of one VIF cannot be read; other VIFs are not affected
    |
    |-- Conflict                    exit 4: it belongs to another owner; nothing was changed
    |   |-- Held                    a running guest has the device open
    |   |-- PoolExhausted           other VIFs use all devices of the network; the error names them
    |   `-- Busy                    another process works on the same VIF, or locks the record (retry helps)
    |
    |-- StepFailed                  exit 5: a step failed; all changes were rolled back
    |   `-- PluginFailed            the code of a plugin failed; the error names its package
    `-- PartlyDone                  exit 6: a step failed, and the changes listed in the error remain

An error has what a program needs: its class, ``exit_code`` for the command, ``retryable`` for the retry loop of an
agent, and what it is about (``vif_id``, ``resource``, ``holder`` ...). Callers decide by these, never by the sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

E = TypeVar("E", bound="VifplugError")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem of a document."""

    #: JSONPath of the value: ``$.vlan.tags[1].id``
    path: str
    #: what is wrong with it
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"

    def under(self, prefix: str) -> Problem:
        """Return the problem for a document that contains this one at the path ``prefix`` (``$.vlan``)."""
        return Problem(prefix + self.path.removeprefix("$"), self.message)


class VifplugError(Exception):
    """Base class of all errors that vifplug raises on purpose; ``str()`` is one sentence for a person.

    Each attribute is None, or empty, where the error is not about such a thing.
    """

    #: exit code of the command
    exit_code: ClassVar[int] = 1
    #: Calling the same verb again, unchanged, can succeed.
    retryable: bool = False
    #: the VIF that the error is about; in a batch, the one at fault
    vif_id: str | None = None
    #: all VIFs of the batch
    vif_ids: tuple[str, ...] = ()
    #: the resource or other object that the error is about, such as ``tap tap0`` or ``device eth0``
    resource: str | None = None
    #: who has it: the id of a VIF or of a guest (of several VIFs all ids, separated by commas); another owner in words,
    #: such as ``bridge br0``
    holder: str | None = None
    #: the option of the configuration that is wrong, or with which to avoid the error: ``[vifplug] state_path``
    option: str | None = None
    #: the path in the document, such as ``$.vlan``, or the path of a file
    path: str | None = None

    def __init__(  # noqa: PLR0913 - one keyword for each attribute
        self,
        *sentence: str,
        vif_id: str | None = None,
        vif_ids: Iterable[str] = (),
        resource: str | None = None,
        holder: str | None = None,
        option: str | None = None,
        path: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(*sentence)
        self.vif_id, self.vif_ids = vif_id, tuple(vif_ids)
        self.resource, self.holder, self.option, self.path = resource, holder, option, path
        self.retryable = type(self).retryable if retryable is None else retryable

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle any subclass, whatever its ``__init__`` takes: agents pass errors between processes."""
        return _unpickled, (type(self), self.args), self.__dict__


class InvalidRequest(VifplugError):
    """The request is wrong on any host."""

    exit_code = 2


class InvalidDocument(InvalidRequest):
    """A document is invalid.

    Attributes:
        problems: all problems, in the order of the document.
        subject: name of the document; empty if it has none.
    """

    def __init__(self, problems: Iterable[Problem], subject: str = "") -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.subject = subject
        sentence = (f"{subject}: " if subject else "") + "; ".join(_worded(self.problems))
        super().__init__(sentence, path=self.problems[0].path if self.problems else None)


class UnknownType(InvalidRequest):
    """No VIF type of that name is loaded."""


class Unsupported(InvalidDocument):
    """The document is valid, and its VIF type does not support all of it; ``problems`` has each part and the reason."""


class InvalidConfig(InvalidRequest):
    """A configuration option has a value that is not allowed."""


class NotPlugged(InvalidRequest):
    """The verb needs the record of a VIF, and it does not exist."""


class HostNotReady(VifplugError):
    """This host cannot serve the request now; nothing was changed."""

    exit_code = 3


class Unavailable(HostNotReady):
    """A server cannot be reached, or did not finish in time; changes that were sent to it have been rolled back."""

    retryable = True


class Absent(Unavailable):
    """The server does not run on this host: its socket does not exist."""


class NotPermitted(HostNotReady):
    """The process lacks a privilege that the step needs."""


class Missing(HostNotReady):
    """A required bridge, device or file does not exist."""


class UnknownNetwork(Missing):
    """This host has no valid definition of the network; another host may have one."""


class UnknownPortGroup(Missing):
    """The network has no portgroup of that name."""


class KernelLacks(HostNotReady):
    """The running kernel does not support a feature that is needed."""


class BrokenPlugin(HostNotReady):
    """A plugin cannot be loaded, breaks the plugin interface, or failed; ``str()`` has the reason."""


class StoreFailed(HostNotReady):
    """The record of plugged VIFs cannot be read or written."""

    #: whether its file system is full
    full: bool = False


class DamagedRecord(StoreFailed):
    """The record of one VIF cannot be read, or belongs to another VIF. Other VIFs are not affected."""

    def __init__(self, vif_id: str, reason: str) -> None:
        #: what is wrong with the record
        self.reason = reason
        super().__init__(
            f"VIF {vif_id}: its record is damaged ({reason}): run `vifplug unplug {vif_id}`, which removes what "
            "carries the VIF's mark, and plug the VIF again",
            vif_id=vif_id,
        )


class Conflict(VifplugError):
    """The object belongs to another owner; nothing was changed."""

    exit_code = 4


class Held(Conflict):
    """A running guest has the device open."""


class PoolExhausted(Conflict):
    """Other VIFs use all usable devices of the network's pool."""


class Busy(Conflict):
    """Another thread or process works on the same VIF, or keeps the record locked."""

    retryable = True


class StepFailed(VifplugError):
    """A step failed, and all changes were rolled back. The cause is chained (``__cause__``)."""

    exit_code = 5


class PluginFailed(StepFailed):
    """The backend of a plugin raised an unexpected exception in a step; all changes were rolled back."""


class PartlyDone(VifplugError):
    """A step failed, and some changes could not be rolled back.

    Attributes:
        left: the changes that remain, one phrase each.
        unplugged: of a batch that is unplugged, the VIFs of which nothing is left, and the steps of each.
    """

    exit_code = 6
    retryable = True

    def __init__(
        self,
        sentence: str,
        left: Iterable[str] = (),
        *,
        vif_id: str | None = None,
        unplugged: Mapping[str, tuple[Any, ...]] = MappingProxyType({}),
    ) -> None:
        self.left: tuple[str, ...] = tuple(left)
        self.unplugged = dict(unplugged)
        super().__init__(sentence, vif_id=vif_id)


def sentences(error: VifplugError) -> list[str]:
    """Return the sentences of an error, one for each problem."""
    if isinstance(error, InvalidDocument) and error.problems:
        return [f"{error.subject}: {each}" if error.subject else each for each in _worded(error.problems)]
    return [str(error)]


#: A sentence lists at most so many problems: for each of 100,000 unknown keys it would list all known ones.
_MOST = 100


def _worded(problems: tuple[Problem, ...]) -> list[str]:
    """Return a phrase for each problem, and one for those that a sentence has no room for."""
    words, left = list(map(str, problems[:_MOST])), len(problems) - _MOST
    return [*words, f"{left} more problems"] if left > 0 else words


#: what an error can be about, as attributes
_DATA = ("vif_id", "vif_ids", "resource", "holder", "option", "path")


class about:
    """Say of an error that leaves the ``with`` what it is about, as far as the error itself does not say so.

    ``resource`` is put into words when there is an error.
    """

    __slots__ = ("_holder", "_option", "_path", "_resource", "_vif_id", "_vif_ids")

    def __init__(  # noqa: PLR0913 - one keyword for each attribute
        self,
        *,
        vif_id: str | None = None,
        vif_ids: Iterable[str] = (),
        resource: object = None,
        holder: str | None = None,
        option: str | None = None,
        path: str | None = None,
    ) -> None:
        self._vif_id, self._vif_ids, self._resource = vif_id, vif_ids, resource
        self._holder, self._option, self._path = holder, option, path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, VifplugError):
            known = VifplugError(
                vif_id=self._vif_id,
                vif_ids=self._vif_ids,
                resource=None if self._resource is None else str(self._resource),
                holder=self._holder,
                option=self._option,
                path=self._path,
            )
            fill(error, known)


def fill(error: E, other: VifplugError) -> E:
    """Say of an error what ``other`` is about, as far as the error itself does not say so, and return it."""
    for name in _DATA:
        if not getattr(error, name) and (value := getattr(other, name)):
            setattr(error, name, value)
    return error


def restated(error: E, sentence: str) -> E:
    """Return an error of the same class about the same things, with another sentence."""
    return fill(type(error)(sentence, retryable=error.retryable), error)


def _unpickled(cls: type[VifplugError], args: tuple[object, ...]) -> VifplugError:
    error = cls.__new__(cls, *args)
    error.args = args
    return error
