"""Compare desired and observed state, and derive ordered steps, each with its undo.

A step is a pair: the resource before and after. To create is ``(None, desired)``, to change ``(found, desired)``, to
remove ``(found, None)``. The undo of a step is the reversed pair; the undo of a plan is the undos of its steps, in
reverse order.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vifplug.errors import Conflict, Held, HostNotReady, Missing, VifplugError, fill
from vifplug.model.codec import FrozenMap
from vifplug.plan.registry import Device, Identity, LowerDevice, Ownership, Resource
from vifplug.plan.resource import Difference as Difference
from vifplug.plan.resource import Observation as Observation
from vifplug.plan.resource import Observed as Observed
from vifplug.plan.resource import shown
from vifplug.plan.uses import ITSELF


@dataclass(frozen=True)
class Step:
    """One change of one resource."""

    #: the complete state before; None if it does not exist
    before: Resource | None
    #: the complete state after; None if it must not exist
    after: Resource | None

    @property
    def subject(self) -> Resource:
        """The resource that the step changes."""
        resource = self.after or self.before
        assert resource is not None
        return resource

    @property
    def removes_device(self) -> bool:
        """Whether a kernel link of vifplug's is removed; the kernel can remove many at once."""
        return self.after is None and isinstance(self.before, Device)

    def undo(self) -> Step:
        """Return the reversed step."""
        return Step(self.after, self.before)

    def __str__(self) -> str:
        if self.before is None:
            return f"make {self.subject}"
        if self.after is None:
            return f"remove {self.subject}"
        changes = [*compare(self.after, self.before), *_absent_keys(self.before, self.after)]
        message = (f"{each.path} from {shown(each.found)} to {shown(each.wanted)}" for each in changes)
        return f"set {self.subject}: {'; '.join(message)}"


def compare(desired: Resource, found: Resource) -> Iterator[Difference]:
    """Yield each requested field (``mtu``) or key (``options.a``) of ``desired`` that ``found`` does not have."""
    for name in _compared(type(desired)):
        want, have = getattr(desired, name), getattr(found, name)
        if want is None or want == have:
            continue
        if isinstance(want, FrozenMap):
            for key, value in want.items():
                if have.get(key) != value:
                    yield Difference(desired.owner, f"{name}.{key}", value, have.get(key))
        else:
            yield Difference(desired.owner, name, want, have)


def _absent_keys(before: Resource, after: Resource) -> Iterator[Difference]:
    """Yield the keys of ``before``'s maps that ``after`` no longer has."""
    for field in _every(type(before)):
        had, has = getattr(before, field.name), getattr(after, field.name)
        if isinstance(had, FrozenMap):
            for key in had.keys() - has.keys():
                yield Difference(after.owner, f"{field.name}.{key}", None, had[key])


def differences(desired: Iterable[Resource], observed: Observation) -> list[Difference]:
    """Return the differences; each path begins with the resource (``tap tap0: mtu``)."""
    found: list[Difference] = []
    for resource in desired:
        found += resource.drift(observed)
        seen = observed.get(resource.identity)
        if seen is None:
            if resource.ownership is not Ownership.EXTERNAL:
                found.append(Difference(resource.owner, str(resource), "present", None))
        elif seen.resource is None or seen.foreign:
            found.append(Difference(resource.owner, str(resource), "vifplug's own", seen.foreign))
        else:
            found += [
                dataclasses.replace(difference, path=f"{resource}: {difference.path}")
                for difference in compare(resource, seen.resource)
            ]
    return found


def is_at(state: Resource | None, found: Resource | None) -> bool:
    """Return whether ``found`` is the state of one side of a step; None is "does not exist"."""
    if state is None or found is None:
        return state is found
    return not any(compare(state, found))


def steps_toward(desired: Sequence[Resource], observed: Observation) -> list[Step]:
    """Return the steps from the observed to the desired state, in the order of ``desired``.

    Raises:
        Conflict: an object of another owner has the name.
        Held: a resource would have to be recreated, and a guest has it open.
        Missing: a resource that must exist does not.
        HostNotReady: a resource exists, and vifplug must not change it.
    """
    steps: list[Step] = []
    for resource in desired:
        try:
            steps += _toward(resource, observed.get(resource.identity))
        except VifplugError as error:
            fill(error, VifplugError(vif_id=resource.owner, resource=str(resource)))
            raise
    return steps


def removal(
    desired: Sequence[Resource],
    observed: Observation,
    originals: Mapping[Identity, Resource],
    *,
    interrupted: bool = False,
) -> list[Step]:
    """Return the steps that undo ``desired``, in reverse order: remove what was created, restore what was set.

    A setting is restored only if it still has the value that vifplug has set. Resources that do not exist or belong to
    another owner are not touched.

    Args:
        desired: the resources to undo.
        observed: their state on the host.
        originals: the state of borrowed resources before vifplug changed them.
        interrupted: whether ``desired`` is from a change that did not end. A setting that the change was to restore
            may then still have its former value.
    """
    steps: list[Step] = []
    for resource in reversed(desired):
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


def may_change(resource: Resource) -> bool:
    """Whether `removal` can have a step for a resource: it has none for a borrowed one of which nothing was set."""
    if resource.ownership is not Ownership.BORROWED:
        return True
    settings = (name for name in _compared(type(resource)) if name not in _fields(type(resource), "kept"))
    return any(getattr(resource, name) is not None for name in settings)


def originals(desired: Iterable[Resource], observed: Observation) -> dict[Identity, Resource]:
    """Return what to record before the first change: the observed state of each borrowed resource.

    Raises:
        Conflict: what is observed cannot be what was there before vifplug.
    """
    return {
        resource.identity: resource.original(seen.resource)
        for resource in desired
        if resource.ownership is Ownership.BORROWED and (seen := observed.get(resource.identity)) and seen.resource
    }


def void(originals: Mapping[Identity, Resource], observed: Observation) -> list[Resource]:
    """Return the originals of things of which there are others now under the same names: they are not put back."""
    found = ((each, observed.get(identity)) for identity, each in originals.items())
    return [each for each, seen in found if seen and seen.resource and not each.is_same(seen.resource)]


def without_given_macs(originals: Iterable[Resource], observed: Observation) -> Observation:
    """Return what was observed, where a guest's MAC is no obstacle that its VIF has given to a device itself.

    A change from mode passthrough that was cut off leaves it there; the plan gives the device its own back first.
    """
    given = {each.identity for each in originals if isinstance(each, LowerDevice) and each.mac is not None}
    own = {
        identity: dataclasses.replace(seen, uses=tuple(use for use in seen.uses if use.by != ITSELF))
        for identity in given
        if (seen := observed.get(identity)) and seen.uses
    }
    return {**observed, **own} if own else observed


def shares(resources: Iterable[Resource]) -> set[str]:
    """Return the names of what the resources share with those of other VIFs."""
    return {name for resource in resources for name in resource.shares}


def left_to(others: Collection[str], observed: Observation) -> Observation:
    """Return the observation without what may not be removed: see `Resource.left_to`."""
    if not others:
        return observed
    return {
        identity: dataclasses.replace(seen, resource=seen.resource and seen.resource.left_to(others))
        for identity, seen in observed.items()
    }


def lasting(resources: Iterable[Resource]) -> list[Resource]:
    """Return the resources that must hold even when no guest is running."""
    return list(itertools.filterfalse(operator.attrgetter("settled"), resources))


def refuse_held(resources: Iterable[Resource], observed: Observation, vif_id: str) -> None:
    """Raise Held if a running guest has one of the resources of a VIF open."""
    for resource in resources:
        seen = observed.get(resource.identity)
        if seen and seen.held and not seen.foreign:
            raise Held(
                f"{resource} of VIF {vif_id} is in use by a running guest: stop the guest or detach the interface "
                "first, or unplug with force",
                vif_id=vif_id,
                resource=str(resource),
            )


def is_lost(resource: Resource, observed: Observation) -> bool:
    """Return whether a device that vifplug created no longer exists under its name."""
    return isinstance(resource, Device) and resource.ownership is Ownership.OWNED and resource.identity not in observed


def astray(resources: Iterable[Resource], marked: Collection[str]) -> list[str]:
    """Return the links that have the mark of a VIF and the name of none of its resources: renamed or left behind."""
    return sorted(set(marked).difference(*(each.links for each in resources)))


def refuse_astray(resources: Sequence[Resource], lost: Resource, marked: Collection[str]) -> None:
    """Raise Conflict if a device that no longer exists under its name has got another: it may be a guest's."""
    if found := astray(resources, marked):
        name = found[0]
        raise Conflict(
            f"{lost} of VIF {lost.owner} does not exist, and device {name} has its mark: rename it back ('ip link set "
            f"dev {name} down', 'name {lost.name}', 'up'), or unplug the VIF and plug it again",
            vif_id=lost.owner,
            resource=str(lost),
            holder=f"device {name}",
        )


def with_former(
    desired: Sequence[Resource], former: Iterable[Resource], originals: Mapping[Identity, Resource]
) -> list[Resource]:
    """Return ``desired``; each setting that only ``former`` has gets its original value, or the empty one.

    An update that drops a VLAN therefore clears the VLAN, one that drops the trust of a VF restores the original trust,
    and a setting that was never requested is not changed.
    """
    before = {resource.identity: resource for resource in former}
    return [
        _reset(each, before[each.identity], originals.get(each.identity)) if each.identity in before else each
        for each in desired
    ]


def dropped(desired: Iterable[Resource], former: Sequence[Resource]) -> list[Resource]:
    """Return the resources of ``former`` that ``desired`` no longer has."""
    remaining = {resource.identity for resource in desired}
    return [resource for resource in former if resource.identity not in remaining]


def batched_last(taken: Iterable[Step]) -> list[Step]:
    """Return the steps of several VIFs, each once; those that one transaction can apply together come last."""
    return sorted(dict.fromkeys(taken), key=lambda step: step.subject.batched)


def batched_first(taken: Iterable[Step]) -> list[Step]:
    """Return the same for a removal: a port is removed from its switch before its device is removed."""
    return sorted(dict.fromkeys(taken), key=lambda step: not step.subject.batched)


def together(removals: Iterable[Iterable[Step]]) -> list[Step]:
    """Return the removals of several VIFs, each in its order: what can be taken together comes together.

    First the steps that are one transaction; then by turns what precedes the devices of each VIF, and the devices.
    """
    whole = [batched_first(each) for each in removals]
    if len(whole) == 1:
        return whole[0]
    batched = (step for each in whole for step in each if step.subject.batched)
    turns = itertools.zip_longest(*map(_runs, whole), fillvalue=())
    return list(dict.fromkeys(itertools.chain(batched, *itertools.chain.from_iterable(turns))))


def _runs(taken: Iterable[Step]) -> list[list[Step]]:
    """Return the steps that are no transaction in runs, which by turns remove no devices and only devices."""
    runs: list[list[Step]] = [[]]
    for step in (each for each in taken if not each.subject.batched):
        if step.removes_device != (len(runs) % 2 == 0):
            runs.append([])
        runs[-1].append(step)
    return runs


def _toward(desired: Resource, seen: Observed | None) -> list[Step]:
    borrowed = desired.ownership is Ownership.BORROWED
    if seen is None:
        if borrowed:
            message = f"{desired.described} does not exist on this host, and VIF {desired.owner} needs it"
            raise Missing(f"{message}: create it, or correct the VIF's source")
        return [] if desired.ownership is Ownership.EXTERNAL else [Step(None, _merged(desired, None))]
    if seen.resource is None or seen.foreign:
        if borrowed:
            raise Missing(f"VIF {desired.owner} needs {desired.described}, got {seen.foreign}")
        if desired.ownership is Ownership.SHARED:  # a bridge has no owner
            message = f"{desired.described} is taken: got {seen.foreign}; correct the VIF's source"
            raise Conflict(message, holder=seen.foreign or None)
        hint = "choose another target, or have its owner remove it"
        message = f"{desired.described} for VIF {desired.owner} is taken: got {seen.foreign}; {hint}"
        raise Conflict(message, holder=seen.foreign or None)
    if seen.held:
        desired = _without_what_waits(desired, seen.resource)
    changes = list(compare(desired, seen.resource))
    if not changes:
        return []
    if message := desired.refusal(seen.resource):
        raise HostNotReady(message)
    if _fields(type(desired), "immutable") & {change.path.partition(".")[0] for change in changes}:
        if seen.held:
            message = "; ".join(map(str, changes))
            subject = f"{desired} of VIF {desired.owner}"
            raise Held(
                f"{subject} would have to be recreated ({message}), and a running guest has it open: stop it first"
            )
        return [Step(seen.resource, None), Step(None, _merged(desired, None))]
    return [Step(seen.resource, _merged(desired, seen.resource))]


def _without_what_waits(desired: Resource, found: Resource) -> Resource:
    """Return ``desired`` without the changes that can wait until the guest closes it."""
    return desired.trusted(**{name: getattr(found, name) for name in _fields(type(desired), "waits")})


def _make_fields(kind: Any, key: str) -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(kind) if field.metadata.get(key))


def _make_compared(kind: Any) -> tuple[str, ...]:
    fields = (field for field in dataclasses.fields(kind) if field.metadata.get("compared", True))
    return tuple(field.name for field in fields if field.name != "name")


#: the fields of a class
_every: Callable[[Any], tuple[dataclasses.Field[Any], ...]] = functools.cache(dataclasses.fields)
#: the names of a class's fields that have a mark
_fields: Callable[[Any, str], frozenset[str]] = functools.cache(_make_fields)
#: the names of a class's fields whose observed value should be the desired one
_compared: Callable[[Any], tuple[str, ...]] = functools.cache(_make_compared)


def _merged(desired: Resource, found: Resource | None) -> Resource:
    """Return the whole state after the step: ``desired``, and from ``found`` what it does not request."""
    changes: dict[str, Any] = {}
    for name, want in vars(desired).items():
        have = getattr(found, name, None)
        if isinstance(want, FrozenMap):
            both = {**(have or {}), **want}
            changes[name] = FrozenMap({key: value for key, value in both.items() if value is not None})
        elif want is None:
            changes[name] = have
    return desired.trusted(**changes)


def _restored(desired: Resource, found: Resource, original: Resource, *, interrupted: bool) -> Resource:
    """Return ``found`` with the original value of each field that still has the value that vifplug gave it."""
    changes: dict[str, Any] = {}
    for field in _every(type(desired)):
        ours, was = getattr(desired, field.name), getattr(original, field.name)
        if ours is None or field.metadata.get("kept") or not field.metadata.get("compared", True):
            continue
        if ours == getattr(found, field.name) or (interrupted and ours == was):
            changes[field.name] = was
    return found.trusted(**changes)


def _reset(desired: Resource, former: Resource, original: Resource | None) -> Resource:
    if desired == former:
        return desired
    changes: dict[str, Any] = {}
    for field in _every(type(desired)):
        want, had = getattr(desired, field.name), getattr(former, field.name)
        if field.metadata.get("kept"):
            continue
        if isinstance(want, FrozenMap) and (gone := had.keys() - want.keys()):
            old = getattr(original, field.name, {})
            changes[field.name] = FrozenMap({**want, **{key: old.get(key) for key in sorted(gone)}})
        elif want is None and had is not None:
            changes[field.name] = getattr(original, field.name, field.metadata.get("reset_to"))
    return desired.trusted(**changes) if changes else desired
