"""Everything that can go wrong, as one tree.

::

    VifplugError                    one sentence: the object, what was wanted, what was found, what to do
    |
    |-- InvalidRequest              exit 2: the request is wrong; nothing was touched
    |   |-- InvalidDocument         a VIF document breaks its own rules: every problem, each with its path
    |   |-- UnknownType             no loaded VIF type has that name
    |   |-- Unsupported             the type cannot honour something that the document asks for
    |   |-- InvalidConfig           an option has a value that is not allowed
    |   `-- NotPlugged              the verb needs a record of that VIF and there is none
    |
    |-- HostNotReady                exit 3: the host lacks something; nothing was touched
    |   |-- Unavailable             a server could not be reached or did not answer (retry helps)
    |   |   `-- Absent              there is no such server here: its socket does not exist
    |   |-- NotPermitted            the process lacks a right, such as CAP_NET_ADMIN
    |   |-- Missing                 a bridge or device that has to exist does not
    |   |   |-- UnknownNetwork      this host has no (valid) definition of the network
    |   |   `-- UnknownPortGroup    the network has no such portgroup
    |   |-- KernelLacks             this kernel has no support for it
    |   |-- BrokenPlugin            a plugin can't be loaded, or its code failed; it says whose it is
    |   `-- StoreFailed             the record of what is plugged can't be read or written
    |
    |-- Conflict                    exit 4: another owner holds it; nothing was touched
    |   |-- Held                    a running guest has the device open
    |   |-- PoolExhausted           other VIFs have all devices of the network: it says who
    |   `-- Busy                    another process works on the same VIF (retry helps)
    |
    |-- StepFailed                  exit 5: a step failed; everything that was done has been undone
    |   `-- PluginFailed            it was the code of a plugin that failed; it says whose it is
    `-- PartlyDone                  exit 6: a step failed and something is left: it says what

What a program needs to know about an error lies on its class: ``exit_code`` for the command, ``retryable`` for
an agent's retry loop. Callers decide by class, never by the sentence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a document: ``path`` (JSONPath, ``$.vlan.tags[1].id``) and what is wrong there."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"

    def under(self, prefix: str) -> Problem:
        """The same problem, seen from a document that holds this one at ``prefix`` (``$.vlan``)."""
        return Problem(prefix + self.path.removeprefix("$"), self.message)


class VifplugError(Exception):
    """The root of all errors that vifplug raises on purpose; ``str()`` is one sentence for a person."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False


class InvalidRequest(VifplugError):
    """What was asked for is wrong in itself, whatever the host looks like."""

    exit_code = 2


class InvalidDocument(InvalidRequest):
    """A document breaks the rules of the model; ``problems`` has all of them, in document order."""

    def __init__(self, problems: Iterable[Problem], subject: str = "") -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.subject = subject
        super().__init__((f"{subject}: " if subject else "") + "; ".join(map(str, self.problems)))


class UnknownType(InvalidRequest):
    """No VIF type of that name is loaded."""


class Unsupported(InvalidDocument):
    """The document is well-formed, and its VIF type cannot honour all of it: ``problems`` says what and why."""


class InvalidConfig(InvalidRequest):
    """A configuration option has a value that is not allowed."""


class NotPlugged(InvalidRequest):
    """The verb works on what vifplug has plugged, and it has no record of that VIF."""


class HostNotReady(VifplugError):
    """The request is fine and this host can't serve it now; nothing was changed."""

    exit_code = 3


class Unavailable(HostNotReady):
    """A server that is needed can't be reached or did not do its part in time; what was sent to it was taken back."""

    retryable = True


class Absent(Unavailable):
    """There is no such server on this host: the socket that it would listen on does not exist."""


class NotPermitted(HostNotReady):
    """The process lacks a right that the step needs."""


class Missing(HostNotReady):
    """A bridge, device or file that has to be there is not."""


class UnknownNetwork(Missing):
    """This host does not define the network, or its definition is wrong: another host may have it."""


class UnknownPortGroup(Missing):
    """The network has no portgroup of that name."""


class KernelLacks(HostNotReady):
    """The running kernel has no support for what was asked."""


class BrokenPlugin(HostNotReady):
    """An installed plugin that can't be loaded, is not what it says, or fails when it is asked; ``str()`` says why."""


class StoreFailed(HostNotReady):
    """The record of what is plugged can't be read or written."""


class Conflict(VifplugError):
    """Something of another owner is in the way; it is named and left alone."""

    exit_code = 4


class Held(Conflict):
    """A running guest has the device open."""


class PoolExhausted(Conflict):
    """Other VIFs have all usable devices of a network's pool."""


class Busy(Conflict):
    """Another thread or process is working on the same VIF."""

    retryable = True


class StepFailed(VifplugError):
    """A step failed, and all that had been done before it was taken back. The cause is chained to it."""

    exit_code = 5


class PluginFailed(StepFailed):
    """A plugin's backend failed in the middle of a step, with what is no VifplugError; the step was taken back."""


class PartlyDone(VifplugError):
    """A step failed and not everything could be taken back; ``left`` says what remains, one phrase an item."""

    exit_code = 6

    def __init__(self, sentence: str, left: Iterable[str] = ()) -> None:
        self.left: tuple[str, ...] = tuple(left)
        super().__init__(sentence)


def sentences(error: VifplugError) -> list[str]:
    """What an error says, one sentence for each thing that is wrong."""
    if isinstance(error, InvalidDocument) and error.problems:
        return [f"{error.subject}: {problem}" if error.subject else str(problem) for problem in error.problems]
    return [str(error)]
