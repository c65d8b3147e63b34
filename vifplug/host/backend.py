"""What a backend does for its kinds of resource: observe and apply. All backends pass the same contract tests."""

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
        """What the machine has under each identity; absent ones are left out. The cost does not grow with the host.

        Raises HostNotReady (Unavailable, NotPermitted, KernelLacks) if that is not known.
        """
        ...

    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        """Take the steps in order, each verified, and append each to ``done`` once the machine has it.

        A step is a change from one whole state to another: write what differs between before and after. Raises a
        VifplugError for the step that failed; that step itself then left nothing behind, unless the error is a
        PartlyDone, which says what is not known or not undone.
        """
        ...

    def close(self) -> None:
        """Close sockets and connections. Using the backend afterwards opens them again."""
        ...
