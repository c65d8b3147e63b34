"""The interface of backends: observe and apply. All backends pass the same contract tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from vifplug.plan.registry import Identity, Resource
from vifplug.plan.steps import Observed, Step


class Backend(Protocol):
    """A backend of some resource kinds. Thread-safe: one instance serves all threads of a process.

    Its laws (tests/contract): after ``apply([step])``, ``step.after`` is observed; ``apply([step.undo()])`` then
    restores ``step.before``; observing changes nothing; removing what does not exist succeeds.

    A third-party backend may state ``api_version``, as a VIF type does (vifplug.types.base.API_VERSION).
    """

    resources: ClassVar[tuple[type[Resource], ...]]

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """Return what exists on the machine under each identity; what does not exist is left out.

        The cost must not grow with the number of other objects on the host.

        Raises:
            HostNotReady: the state cannot be read (Unavailable, NotPermitted, KernelLacks).
        """
        ...

    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        """Apply the steps in order, verify each, and append it to ``done``.

        A step is a change from one complete state to another: write what differs between before and after.

        Raises:
            PartlyDone: a step failed and could not be rolled back; the error says what remains or is not known.
            VifplugError: a step failed, and this step has left nothing behind.
        """
        ...

    def close(self) -> None:
        """Close sockets and connections. Using the backend afterwards opens them again."""
        ...
