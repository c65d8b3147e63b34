"""(wanted, observed) -> differences -> ordered steps, each with its undo.

A step is a pair: the resource before and after. Making is ``(None, wanted)``, changing is ``(found, wanted)``,
removing is ``(found, None)``; so the undo of a step is the pair turned round, and a plan is undone by the undos of
its steps in reverse.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vifplug.errors import Conflict, Held, HostNotReady, Missing
from vifplug.model.codec import FrozenMap
from vifplug.plan.registry import Identity, Ownership, Resource
from vifplug.plan.resource import Observation as Observation
from vifplug.plan.resource import Observed as Observed


@dataclass(frozen=True)
class Step:
    """One change of one resource, from ``before`` to ``after``; None means that it is not there."""

    before: Resource | None
    after: Resource | None

    @property
    def subject(self) -> Resource:
        """The resource that the step is about."""
        resource = self.after or self.before
        assert resource is not None
        return resource

    def undo(self) -> Step:
        return Step(self.after, self.before)

    def __str__(self) -> str:
        if self.before is None:
            return f"make {self.subject}"
        if self.after is None:
            return f"remove {self.subject}"
        changes = [*compare(self.after, self.before), *_taken_away(self.before, self.after)]
        message = (f"{each.path} from {_shown(each.found)} to {_shown(each.wanted)}" for each in changes)
        return f"set {self.subject}: {'; '.join(message)}"


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it has to be: where, what was wanted and what was found (None: nothing there)."""

    vif_id: str
    path: str
    wanted: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.path}: expected {_shown(self.wanted)}, got {_shown(self.found)}"


def compare(wanted: Resource, found: Resource) -> Iterator[Difference]:
    """Every asked field of ``wanted`` that ``found`` does not have, by field (``mtu``) or key (``options.a``)."""
    for field in dataclasses.fields(wanted):
        want, have = getattr(wanted, field.name), getattr(found, field.name)
        if field.name == "name" or not field.metadata.get("compared", True) or want is None:
            continue
        if isinstance(want, FrozenMap):
            for key, value in want.items():
                if have.get(key) != value:
                    yield Difference(wanted.owner, f"{field.name}.{key}", value, have.get(key))
        elif want != have:
            yield Difference(wanted.owner, field.name, want, have)


def _taken_away(before: Resource, after: Resource) -> Iterator[Difference]:
    """The keys of ``before``'s maps that ``after`` no longer has."""
    for field in dataclasses.fields(before):
        had, has = getattr(before, field.name), getattr(after, field.name)
        if isinstance(had, FrozenMap):
            for key in had.keys() - has.keys():
                yield Difference(after.owner, f"{field.name}.{key}", None, had[key])


def differences(wanted: Iterable[Resource], observed: Observation) -> list[Difference]:
    """Where the machine is not as wanted; the paths begin with the resource (``tap tap0: mtu``)."""
    found: list[Difference] = []
    for resource in wanted:
        seen = observed.get(resource.identity)
        if seen is None:
            if resource.ownership is not Ownership.EXTERNAL:
                found.append(Difference(resource.owner, str(resource), "there", None))
        elif seen.resource is None or seen.foreign:
            found.append(Difference(resource.owner, str(resource), "vifplug's own", seen.foreign))
        else:
            found += [
                dataclasses.replace(difference, path=f"{resource}: {difference.path}")
                for difference in compare(resource, seen.resource)
            ]
    return found


def is_at(state: Resource | None, found: Resource | None) -> bool:
    """Whether what was found is the state of one side of a step; None is "not there"."""
    if state is None or found is None:
        return state is found
    return not any(compare(state, found))


def plan(wanted: Sequence[Resource], observed: Observation) -> list[Step]:
    """The steps that make ``wanted`` true, in the order in which it is given.

    Raises Conflict when something of another owner is in the way, Held when a guest holds what has to be made anew,
    Missing when a resource that has to exist does not, HostNotReady for what is there and is not vifplug's to alter.
    Raises before any step is taken.
    """
    steps: list[Step] = []
    for resource in wanted:
        steps += _toward(resource, observed.get(resource.identity))
    return steps


def removal(
    wanted: Sequence[Resource],
    observed: Observation,
    originals: Mapping[Identity, Resource],
    *,
    interrupted: bool = False,
) -> list[Step]:
    """The steps that take ``wanted`` back, in reverse order: what was made goes, what was set is put back.

    A setting is put back only where it still has the value that vifplug gave it: what somebody else has changed since
    is theirs. What is not there, or is another owner's, is left alone. ``interrupted``: ``wanted`` is of a change that
    did not end, so what it was to put back may still have the value from before it.
    """
    steps: list[Step] = []
    for resource in reversed(wanted):
        seen = observed.get(resource.identity)
        if seen is None or seen.resource is None or seen.foreign:
            continue
        if resource.ownership in (Ownership.OWNED, Ownership.EXTERNAL) or resource.remove_when_unused:
            steps.append(Step(seen.resource, None))
        elif resource.ownership is Ownership.BORROWED and (original := originals.get(resource.identity)):
            restored = _restored(resource, seen.resource, original, interrupted=interrupted)
            if restored != seen.resource:
                steps.append(Step(seen.resource, restored))
    return steps


def originals(wanted: Iterable[Resource], observed: Observation) -> dict[Identity, Resource]:
    """What has to be remembered before the first change: the found state of everything that is only set."""
    return {
        resource.identity: seen.resource.replace(owner=resource.owner)  # a batch observes it once for all its VIFs
        for resource in wanted
        if resource.ownership is Ownership.BORROWED and (seen := observed.get(resource.identity)) and seen.resource
    }


def with_former(
    wanted: Sequence[Resource], former: Iterable[Resource], originals: Mapping[Identity, Resource]
) -> list[Resource]:
    """``wanted``, in which what ``former`` managed and ``wanted`` does not is explicitly wanted as it was, or empty.

    So that an update which drops a VLAN clears the VLAN, and one that drops a VF's trust puts the original back, while
    what nobody ever asked for is left alone.
    """
    before = {resource.identity: resource for resource in former}
    return [
        _emptied(resource, before[resource.identity], originals.get(resource.identity))
        if resource.identity in before
        else resource
        for resource in wanted
    ]


def dropped(wanted: Iterable[Resource], former: Sequence[Resource]) -> list[Resource]:
    """What ``former`` had and ``wanted`` no longer has."""
    kept = {resource.identity for resource in wanted}
    return [resource for resource in former if resource.identity not in kept]


def batched_last(taken: Iterable[Step]) -> list[Step]:
    """Steps of several VIFs, each once, ordered so that what one transaction can take comes together, at the end."""
    return sorted(dict.fromkeys(taken), key=lambda step: step.subject.batched)


def batched_first(taken: Iterable[Step]) -> list[Step]:
    """The same for taking back: the switch lets go of a device before the device goes."""
    return sorted(dict.fromkeys(taken), key=lambda step: not step.subject.batched)


def _toward(wanted: Resource, seen: Observed | None) -> list[Step]:
    if seen is None:
        if wanted.ownership is Ownership.BORROWED:
            message = f"{wanted.described} does not exist on this host, and VIF {wanted.owner} needs it"
            raise Missing(f"{message}: create it, or correct the VIF's source")
        return [] if wanted.ownership is Ownership.EXTERNAL else [Step(None, _merged(wanted, None))]
    if wanted.ownership is Ownership.BORROWED and (seen.resource is None or seen.foreign):
        raise Missing(f"VIF {wanted.owner} needs {wanted.described}, got {seen.foreign}")
    if seen.resource is None or seen.foreign:
        raise Conflict(
            f"{wanted} for VIF {wanted.owner} is taken: got {seen.foreign}; "
            "choose another target, or have its owner remove it"
        )
    if seen.held:
        wanted = _waiting(wanted, seen.resource)
    changes = list(compare(wanted, seen.resource))
    if not changes:
        return []
    if message := wanted.refusal(seen.resource):
        raise HostNotReady(message)
    if _fixed(wanted) & {change.path.partition(".")[0] for change in changes}:
        if seen.held:
            message = "; ".join(map(str, changes))
            raise Held(f"{wanted} of VIF {wanted.owner} must be made anew ({message}), and a running guest holds it")
        return [Step(seen.resource, None), Step(None, _merged(wanted, None))]
    return [Step(seen.resource, _merged(wanted, seen.resource))]


def _waiting(wanted: Resource, found: Resource) -> Resource:
    """``wanted`` without what can wait for the guest to let go."""
    fields = (field.name for field in dataclasses.fields(wanted) if field.metadata.get("waits"))
    return wanted.trusted(**{name: getattr(found, name) for name in fields})


def _fixed(resource: Resource) -> set[str]:
    return {field.name for field in dataclasses.fields(resource) if field.metadata.get("fixed")}


def _merged(wanted: Resource, found: Resource | None) -> Resource:
    """The whole state after the step: ``wanted``, and from ``found`` what it does not ask for."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(wanted):
        want, have = getattr(wanted, field.name), getattr(found, field.name, None)
        if isinstance(want, FrozenMap):
            both = {**(have or {}), **want}
            changes[field.name] = FrozenMap({key: value for key, value in both.items() if value is not None})
        elif want is None:
            changes[field.name] = have
    return wanted.trusted(**changes)


def _restored(wanted: Resource, found: Resource, original: Resource, *, interrupted: bool) -> Resource:
    ours = {
        field.name: getattr(original, field.name)
        for field in dataclasses.fields(wanted)
        if field.metadata.get("compared", True)
        and not field.metadata.get("kept")
        and getattr(wanted, field.name) is not None
        and (
            getattr(wanted, field.name) == getattr(found, field.name)
            or (interrupted and getattr(wanted, field.name) == getattr(original, field.name))
        )
    }
    return found.trusted(**ours)


def _emptied(wanted: Resource, former: Resource, original: Resource | None) -> Resource:
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(wanted):
        want, had = getattr(wanted, field.name), getattr(former, field.name)
        if field.metadata.get("kept"):
            continue
        if isinstance(want, FrozenMap) and (gone := had.keys() - want.keys()):
            old = getattr(original, field.name, {})
            changes[field.name] = FrozenMap({**want, **{key: old.get(key) for key in sorted(gone)}})
        elif want is None and had is not None:
            changes[field.name] = getattr(original, field.name, field.metadata.get("empty"))
    return wanted.trusted(**changes) if changes else wanted


def _shown(value: Any) -> str:
    return "nothing" if value is None or value == "" else str(value)
