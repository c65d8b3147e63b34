"""A backend in memory for every kind of resource, which passes the same contract tests as the real ones.

It is for tests of code that uses backends: the host is not touched.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from vifplug import errors
from vifplug.host.host import Host
from vifplug.host.ovs.settings import OvsSettings
from vifplug.model.codec import FrozenMap
from vifplug.plan.facts import BridgeFacts
from vifplug.plan.registry import RESOURCES, Identity, Ownership, Resource
from vifplug.plan.steps import Observed, Step


class MemoryBackend:
    """A backend for every kind of resource, in a dictionary.

    Args:
        fail_on: the steps that fail: identities, or a function that says so for a step.
    """

    resources: ClassVar[tuple[type[Resource], ...]] = tuple(RESOURCES.values())

    def __init__(self, fail_on: Collection[Identity] | Callable[[Step], bool] = ()) -> None:
        self.fail_on = fail_on
        self._there: dict[Identity, Observed] = {}
        self._lock = threading.Lock()

    def place(self, resource: Resource, *, foreign: str = "", held: bool = False) -> None:
        """Place a resource: another owner's (described by ``foreign``), or one that a guest has open (``held``)."""
        self._there[resource.identity] = Observed(
            resource=None if foreign else _whole(resource), foreign=foreign, held=held
        )

    @property
    def there(self) -> dict[Identity, Observed]:
        """Return a copy of everything that exists."""
        with self._lock:
            return dict(self._there)

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.backend.Backend.observe`."""
        with self._lock:
            there = {each.identity: self._there.get(each.identity) for each in desired}
            marks = {each.identity: each.owner for each in desired}
        return {identity: _seen(each, marks[identity]) for identity, each in there.items() if each}

    def find(self, owner: str) -> list[Resource]:
        """Return the resources that are marked for a VIF."""
        found = (seen.resource for seen in self.there.values())
        return [each for each in found if each and each.ownership is Ownership.OWNED and each.owner == owner]

    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        """See `vifplug.host.backend.Backend.apply`."""
        for step in steps:
            if self.fail_on(step) if callable(self.fail_on) else step.subject.identity in self.fail_on:
                message = f"{step.subject}: failed on request of the test"
                raise errors.StepFailed(message, vif_id=step.subject.owner, resource=str(step.subject))
            with self._lock:
                self._write(step)
            done.append(step)

    def close(self) -> None:
        """Do nothing: nothing is kept open."""

    def _write(self, step: Step) -> None:
        identity = step.subject.identity
        if step.after is None:
            self._there.pop(identity, None)
        elif step.before is None and identity in self._there:
            raise errors.Conflict(f"{step.subject} exists already")
        else:
            self._there[identity] = Observed(resource=_whole(step.after))


def _whole(resource: Resource) -> Resource:
    """Return the resource as a machine would show it: no field is None, and removed keys are gone."""
    changes = {}
    for each in dataclasses.fields(resource):
        value = getattr(resource, each.name)
        if value is None and "reset_to" in each.metadata:
            changes[each.name] = each.metadata["reset_to"]
        elif isinstance(value, FrozenMap):
            changes[each.name] = FrozenMap({key: item for key, item in value.items() if item is not None})
    return resource.replace(**changes)


def _seen(there: Observed, owner: str) -> Observed:
    if there.resource and there.resource.ownership is Ownership.OWNED and there.resource.owner != owner:
        return Observed(resource=None, foreign=f"a {there.resource.kind} marked for VIF {there.resource.owner}")
    return there


class MemoryHost(Host):
    """A host whose resources are all in one backend. It reports no bridges and no SR-IOV."""

    def __init__(self, memory: MemoryBackend) -> None:
        super().__init__(OvsSettings())
        self._factories = dict.fromkeys(RESOURCES, lambda: memory)
        self._memory = memory

    def find(self, owner: str) -> list[Resource]:
        return self._memory.find(owner)

    def marked_links(self) -> Mapping[str, Collection[str]]:
        found: dict[str, set[str]] = {}
        for seen in self._memory.there.values():
            if seen.resource and seen.resource.ownership is Ownership.OWNED:
                found.setdefault(seen.resource.owner, set()).update(seen.resource.links)
        return found

    def owners(self, *, switched: bool = True) -> set[str]:
        return set(self.marked_links())

    def ovs_stopped(self, pending: int) -> str:
        return ""

    def bridges(self) -> list[BridgeFacts]:
        return []

    def host_info(self) -> dict[str, Any]:
        return {"host": self.name}
