"""The laws of a backend (`vifplug.host.backend.Backend`): functions that yield a sentence for each violation.

`vifplug.testing.backends` makes tests of them. vifplug's own backends obey the same laws.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from vifplug.errors import Conflict
from vifplug.host.backend import Backend
from vifplug.plan import steps
from vifplug.plan.registry import Ownership, Resource
from vifplug.plan.steps import Observed, Step
from vifplug.testing.laws import OTHER, LawBroken, called, unlike
from vifplug.types.base import API_VERSION
from vifplug.types.contract import version_problem

#: Returns a comparable view of the machine
Look = Callable[[], object]


class BackendBench:
    """A backend with the operations that the laws use. Any exception of the backend becomes LawBroken."""

    def __init__(self, backend: Backend, look: Look) -> None:
        self.backend, self.look = backend, look

    def see(self, resource: Resource) -> Observed | None:
        """Return the resource as the backend observes it; None if it does not exist."""
        seen = called("observe", lambda: self.backend.observe([resource]))
        if not isinstance(seen, dict) or not set(seen) <= {resource.identity}:
            raise LawBroken(f"observe: expected the requested resources by identity, got {seen!r} for {resource}")
        return seen.get(resource.identity)

    def found(self, resource: Resource) -> Resource:
        """Return the resource as observed. Raises LawBroken if it does not exist."""
        seen = self.see(resource)
        if seen is None or seen.resource is None:
            raise LawBroken(f"{resource} was made, but observe finds {seen.foreign if seen else 'nothing'}")
        return seen.resource

    def plan(self, resource: Resource) -> list[Step]:
        """Return the steps that create it."""
        seen = self.see(resource)
        return steps.steps_toward([resource], {resource.identity: seen} if seen else {})

    def apply(self, taken: Sequence[Step]) -> list[Step]:
        """Apply the steps, and return those that the backend reports as done."""
        done: list[Step] = []
        for step in taken:
            called(f"apply({step})", functools.partial(self.backend.apply, [step], done))
        return done

    def reach(self, resource: Resource) -> list[Step]:
        """Create it, and return the steps."""
        taken = called("planning", lambda: self.plan(resource))
        self.apply(taken)
        return taken

    def undo(self, taken: Sequence[Step]) -> None:
        """Undo the steps in reverse."""
        self.apply([step.undo() for step in reversed(taken)])


def looked_after(bench: BackendBench, resource: Resource) -> Iterator[str]:
    """Check that the backend lists the resource's class, and that its record survives writing and reading."""
    backend = bench.backend
    if problem := version_problem(getattr(backend, "api_version", API_VERSION)):
        yield f"{type(backend).__name__} {problem}"
    if type(resource) not in backend.resources:
        yield f"{type(backend).__name__} does not have {type(resource).__name__} in its `resources`"
    called(f"hash({resource})", lambda: hash(resource))
    if read := called("writing and reading", lambda: unlike([resource])):
        yield f"{resource} does not survive JSON: expected {resource!r}, got {read[0]!r}"


def absent(bench: BackendBench, resource: Resource) -> Iterator[str]:
    """Check that the backend observes nothing before the resource exists."""
    if resource.ownership is not Ownership.BORROWED and (seen := bench.see(resource)):
        yield f"{resource} has not been made yet, but observe finds {seen.resource or seen.foreign!r}"


def reached(bench: BackendBench, resource: Resource) -> Iterator[str]:
    """Check that apply reaches the step's ``after``, so that a second plan is empty."""
    planned = called("planning", lambda: bench.plan(resource))
    if not planned:
        yield f"{resource} exists before anything was done: `prepare` must not make it"
    if (done := bench.apply(planned)) != planned:
        yield f"apply must append each step to `done` once the machine has it, but appended {list(map(str, done))}"
    yield from _describe(bench, resource, "after apply")
    if again := bench.plan(resource):
        yield f"planning again gives {'; '.join(map(str, again))}"


def quiet(bench: BackendBench, resource: Resource) -> Iterator[str]:
    """Check that observing changes nothing."""
    bench.reach(resource)
    before = bench.look()
    if bench.see(resource) != bench.see(resource):
        yield f"observing {resource} twice gives two answers"
    if (after := bench.look()) != before:
        yield f"observing {resource} changes the machine: from {before} to {after}"


def undone(bench: BackendBench, resource: Resource) -> Iterator[str]:
    """Check that undo restores the former state."""
    before, there = bench.look(), bench.see(resource)
    bench.undo(bench.reach(resource))
    if (seen := bench.see(resource)) != there:
        yield f"after its undo {resource} is observed as {_words(seen)}, but was {_words(there)} before"
    if (after := bench.look()) != before:
        yield f"making {resource} and undoing it leaves something: from {before} to {after}"


def changed(bench: BackendBench, resource: Resource, change: Mapping[str, Any]) -> Iterator[str]:
    """Check that one pass reaches a change, and that its undo restores the former state."""
    bench.reach(resource)
    desired = resource.replace(**change)
    before = bench.see(desired)
    taken = bench.reach(desired)
    if not taken:
        yield (
            f"{resource} already has {dict(change)}: it is no change, or observe returns the desired state instead of "
            "the actual one"
        )
    yield from _describe(bench, desired, f"after the change to {dict(change)}")
    bench.undo(taken)
    if (seen := bench.see(desired)) != before:
        yield f"the undo of {dict(change)} gives {_words(seen)}, but {_words(before)} was before"


def removed(bench: BackendBench, resource: Resource) -> Iterator[str]:
    """Check that a removed resource is gone, that removing it again succeeds, and that undo restores it."""
    if resource.ownership is Ownership.BORROWED:
        return
    bench.reach(resource)
    step = Step(bench.found(resource), None)
    bench.apply([step])
    if seen := bench.see(resource):
        yield f"{resource} was removed, but observe finds {_words(seen)}"
    try:
        bench.apply([step])
    except LawBroken as error:
        yield f"{resource} is gone: removing it again must succeed, but raised: {error}"
    bench.undo([step])
    yield from _describe(bench, resource, "after its removal was undone")


def left_alone(bench: BackendBench, resource: Resource) -> Iterator[str]:
    """Check that a foreign object with the same name is reported, causes a conflict, and stays."""
    before = bench.look()
    seen = bench.see(resource)
    if seen is None:
        yield f"something else has the place of {resource}, but observe does not find it"
        return
    try:
        planned = bench.plan(resource)
        if resource.ownership is Ownership.OWNED:
            yield f"something else has the place of {resource}, but observe takes it for vifplug's own: {planned}"
    except Conflict as error:
        if not seen.foreign:
            yield f"`foreign` of what was observed must say what is there and whose: {error}"
    bench.apply(steps.removal([resource], {resource.identity: seen}, {}))
    if (after := bench.look()) != before:
        yield f"something else has the place of {resource}, but it did not stay: from {before} to {after}"


def marked(bench: BackendBench, resource: Resource) -> Iterator[str]:
    """Check that another VIF's resource is reported with its owner."""
    if resource.ownership is not Ownership.OWNED:
        return
    bench.reach(resource)
    seen = bench.see(resource.replace(owner=OTHER))
    if seen is None or seen.resource or resource.owner not in seen.foreign:
        yield (
            f"{resource} belongs to VIF {resource.owner}, but for VIF {OTHER} observe returns {_words(seen)}: it must "
            "return Observed(resource=None, foreign='... of VIF ...') if the marked owner is not the requested one"
        )


def restored(bench: BackendBench, resource: Resource) -> Iterator[str]:
    """Check that a resource that is only set gets its former value back."""
    if resource.ownership is not Ownership.BORROWED:
        return
    before = bench.found(resource)
    bench.reach(resource)
    observed = {resource.identity: Observed(resource=bench.found(resource))}
    bench.apply(steps.removal([resource], observed, {resource.identity: before}))
    for each in steps.compare(before, bench.found(resource)):
        if each.path not in _kept(resource):
            yield f"{resource} is not restored: {each}"


def _kept(resource: Resource) -> set[str]:
    """Return the fields that keep their value."""
    return {each.name for each in dataclasses.fields(resource) if each.metadata.get("kept")}


def reopened(bench: BackendBench, resource: Resource) -> Iterator[str]:
    """Check that a closed backend reopens its sockets when it is used again, and that closing twice is allowed."""
    bench.reach(resource)
    called("close", bench.backend.close)
    called("close, for the second time,", bench.backend.close)
    yield from _describe(bench, resource, "after close")


def _describe(bench: BackendBench, resource: Resource, when: str) -> Iterator[str]:
    seen = bench.see(resource)
    for each in steps.differences([resource], {resource.identity: seen} if seen else {}):
        yield f"{when} it is not observed as desired: {each}"


def _words(seen: Observed | None) -> str:
    if seen is None:
        return "nothing"
    return repr(seen.resource) if seen.resource else f"something else ({seen.foreign})"
