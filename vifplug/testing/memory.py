"""A complete machine in memory, behind the same door as the real ones and held to the same contract tests.

For tests of whatever stands on the door: nothing of the host is touched.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from vifplug import errors
from vifplug.model.codec import FrozenMap
from vifplug.plan.registry import RESOURCES, Identity, Ownership, Resource
from vifplug.plan.steps import Observed, Step


class MemoryBackend:
    """Every kind of resource, as a dictionary.

    ``fail_on`` injects failures: a step fails when its identity is in it, or when it says so for the step.
    """

    resources: ClassVar[tuple[type[Resource], ...]] = tuple(RESOURCES.values())

    def __init__(self, fail_on: Collection[Identity] | Callable[[Step], bool] = ()) -> None:
        self.fail_on = fail_on
        self._there: dict[Identity, Observed] = {}
        self._lock = threading.Lock()

    def place(self, resource: Resource, *, foreign: str = "", held: bool = False) -> None:
        """Have something there beforehand: another owner's (``foreign`` says whose), or held by a guest."""
        self._there[resource.identity] = Observed(
            resource=None if foreign else _whole(resource), foreign=foreign, held=held
        )

    @property
    def there(self) -> dict[Identity, Observed]:
        """A copy of everything that is there."""
        with self._lock:
            return dict(self._there)

    def observe(self, wanted: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.backend.Backend.observe`."""
        with self._lock:
            there = {each.identity: self._there.get(each.identity) for each in wanted}
            marks = {each.identity: each.owner for each in wanted}
        return {identity: _seen(each, marks[identity]) for identity, each in there.items() if each}

    def find(self, owner: str) -> list[Resource]:
        """What is marked for a VIF."""
        found = (seen.resource for seen in self.there.values())
        return [each for each in found if each and each.ownership is Ownership.OWNED and each.owner == owner]

    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        """See `vifplug.host.backend.Backend.apply`."""
        for step in steps:
            if self.fail_on(step) if callable(self.fail_on) else step.subject.identity in self.fail_on:
                raise errors.StepFailed(f"{step.subject}: failed because the test said so")
            with self._lock:
                self._write(step)
            done.append(step)

    def close(self) -> None:
        """Nothing is kept open."""

    def _write(self, step: Step) -> None:
        identity = step.subject.identity
        if step.after is None:
            self._there.pop(identity, None)
        elif step.before is None and identity in self._there:
            raise errors.Conflict(f"{step.subject} is there already")
        else:
            self._there[identity] = Observed(resource=_whole(step.after))


def _whole(resource: Resource) -> Resource:
    """Nothing is unasked on a machine: what was, and what is to be gone, is empty."""
    changes = {}
    for each in dataclasses.fields(resource):
        value = getattr(resource, each.name)
        if value is None and "empty" in each.metadata:
            changes[each.name] = each.metadata["empty"]
        elif isinstance(value, FrozenMap):
            changes[each.name] = FrozenMap({key: item for key, item in value.items() if item is not None})
    return resource.replace(**changes)


def _seen(there: Observed, owner: str) -> Observed:
    if there.resource and there.resource.ownership is Ownership.OWNED and there.resource.owner != owner:
        return Observed(resource=None, foreign=f"a {there.resource.kind} marked for VIF {there.resource.owner}")
    return there
