"""The central law, on a host in memory: one plug reaches the desired state, and its undo leaves nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from vifplug.model.codec import joined
from vifplug.model.vif import VIF
from vifplug.plan import steps
from vifplug.plan.registry import Ownership, Resource
from vifplug.plan.steps import Step
from vifplug.testing import laws
from vifplug.testing.memory import MemoryBackend
from vifplug.types.base import Context, VIFType


def converges(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that one pass plugs, that a second changes nothing, and that undoing and unplugging leave nothing."""
    found = laws.desired(kind, vif, context)
    machine = _prepared(found)
    before = machine.observe(found)
    taken = laws.called("plugging", lambda: _plugged(found, machine))
    after = machine.observe(found)
    if left := steps.differences(found, after):
        yield f"after plugging it is not as desired: {'; '.join(map(str, left))}"
        return
    if again := steps.steps_toward(found, after):
        yield f"plugging twice changes something again: {'; '.join(map(str, again))}"
    machine.apply([step.undo() for step in reversed(taken)], [])
    if (undone := machine.observe(found)) != before:
        yield f"undoing a plug leaves {_describe(undone, before)}"
    yield from _unplugged(found)


def _prepared(found: Iterable[Resource]) -> MemoryBackend:
    """Return a host in memory that has everything that vifplug sets but does not create."""
    machine = MemoryBackend()
    for resource in found:
        if resource.ownership is Ownership.BORROWED:
            machine.place(_untouched(resource))
    return machine


def _untouched(resource: Resource) -> Resource:
    """Return the resource as it is before a plug, with nothing set."""
    unasked = {
        field.name: field.metadata.get("reset_to", field.default)
        for field in dataclasses.fields(resource)
        if field.metadata.get("compared", True) and field.default is not dataclasses.MISSING
    }
    return resource.replace(**unasked)


def _plugged(found: Sequence[Resource], machine: MemoryBackend) -> list[Step]:
    taken = steps.batched_last(steps.steps_toward(found, machine.observe(found)))
    machine.apply(taken, [])
    return taken


def _unplugged(found: Sequence[Resource]) -> Iterator[str]:
    machine = _prepared(found)
    originals = steps.originals(found, machine.observe(found))
    _plugged(found, machine)
    machine.apply(steps.batched_first(steps.removal(found, machine.observe(found), originals)), [])
    made = [resource for resource in found if resource.ownership is Ownership.OWNED]
    if left := machine.observe(made):
        yield f"unplugging leaves {joined(' '.join(each) for each in left)}"


def _describe(observed: steps.Observation, before: steps.Observation) -> str:
    return joined(" ".join(each) for each in observed if observed[each] != before.get(each)) if observed else "less"
