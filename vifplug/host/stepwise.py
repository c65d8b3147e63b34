"""A base class of backends that apply one step at a time: apply, read back, and undo a failed step."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Sequence

from vifplug import errors
from vifplug.plan.registry import Identity, Resource
from vifplug.plan.steps import Observed, Step, compare


class StepwiseBackend(abc.ABC):
    """A backend that applies its steps one by one, and verifies each by observing it."""

    @abc.abstractmethod
    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.backend.Backend.observe`."""

    @abc.abstractmethod
    def make(self, after: Resource) -> None:
        """Create a resource that does not exist. If it fails, it must leave nothing behind."""

    @abc.abstractmethod
    def change(self, before: Resource, after: Resource) -> None:
        """Write what differs. It may fail half-way: `apply` then restores ``before``."""

    @abc.abstractmethod
    def remove(self, before: Resource) -> None:
        """Remove a resource, if it exists."""

    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        """See `vifplug.host.backend.Backend.apply`."""
        for step in steps:
            self._take(step)
            done.append(step)

    def _take(self, step: Step) -> None:
        if step.after is None:
            self.remove(step.subject)
            return
        if step.before is None:
            self.make(step.after)
        try:
            if step.before is not None:
                self.change(step.before, step.after)
            self._verify(step.after, step.before)
        except errors.VifplugError as error:
            self._put_back(step, error)
            raise

    def _verify(self, after: Resource, before: Resource | None = None) -> None:
        if found := self._differs(after, before):
            raise errors.StepFailed(f"{after} of VIF {after.owner} is not as it was set: {found}")

    def _differs(self, desired: Resource, other: Resource | None = None) -> str:
        """Return what is not as desired, in words; empty if everything is.

        ``other`` is the other side of a change. A field that is equal on both sides is not part of the change, and may
        have changed since it was observed (the MAC of a VF follows that of its device).
        """
        seen = self.observe([desired.recorded]).get(desired.identity)
        if seen is None:
            return "it does not exist"
        if seen.resource is None or seen.foreign:
            return f"expected vifplug's own, got {seen.foreign}"
        changed = {each.path for each in compare(desired, other)} if other else None
        found = (each for each in compare(desired, seen.resource) if changed is None or each.path in changed)
        return "; ".join(map(str, found))

    def _put_back(self, step: Step, cause: errors.VifplugError) -> None:
        """Undo a step that failed half-way. Raises PartlyDone when that fails as well."""
        message = ""
        try:
            if step.before is None:
                self.remove(step.subject)
            elif self._differs(step.before, step.after):
                with contextlib.suppress(errors.VifplugError):  # the observation below decides
                    self.change(step.subject, step.before)
                message = self._differs(step.before, step.after)
        except errors.VifplugError as error:
            message = str(error)
        if message:
            sentence = f"{cause}; and it could not be restored: {message}"
            left = [f"{step.subject} of VIF {step.subject.owner}"]
            raise errors.fill(errors.PartlyDone(sentence, left), cause) from cause
