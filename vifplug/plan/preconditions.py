"""The preconditions of the first step: one list for plug, dry run, can-plug and the hook.

Each kind of resource states its own (`Resource.requires`, `Resource.unmet`). They are observed together with the
resources, so a precondition costs no request of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from vifplug.errors import Missing, VifplugError, fill
from vifplug.plan.kinds.openvswitch import OvsBridge
from vifplug.plan.resource import Difference, Observation, Resource
from vifplug.plan.steps import steps_toward


def required(desired: Sequence[Resource]) -> list[Resource]:
    """Return what to observe besides ``desired``, each resource once: what it requires, and what is related to it."""
    known = {resource.identity: resource for resource in desired}
    found = list(desired)
    for resource in found:  # which grows
        for need in (*resource.related, *resource.requires):
            if need.identity not in known:
                known[need.identity] = need
                found.append(need)
    return found[len(desired) :]


def unmet(desired: Sequence[Resource], observed: Observation, standing: Collection[str] = ()) -> Iterator[VifplugError]:
    """Yield an error for each precondition of ``desired`` that does not hold.

    Args:
        desired: all resources of one plan; what one of them makes meets the precondition of another.
        observed: the host as it is, with what `required` names.
        standing: the ids of VIFs that are plugged as they are requested: what is only objected to is no error.
    """
    made = _made(desired)
    for resource in desired:
        for need in resource.requires:
            if need.name not in made:
                yield from _obstacle(need, observed)
        for error in resource.unmet(observed, made):
            yield fill(error, VifplugError(vif_id=resource.owner, resource=str(resource)))
    for need in required(desired):
        yield from need.unmet(observed, made)
    yield from objections([each for each in desired if each.owner not in standing], observed)


def objections(desired: Sequence[Resource], observed: Observation) -> Iterator[VifplugError]:
    """Yield what a plug of ``desired`` is refused for although its steps would succeed: see `Resource.objections`."""
    made = _made(desired)
    for resource in (*desired, *required(desired)):
        for error in resource.objections(observed, made):
            yield fill(error, VifplugError(vif_id=resource.owner, resource=str(resource)))


def _made(desired: Sequence[Resource]) -> set[str]:
    """Return the names of the links and Open vSwitch bridges that the plan creates if they do not exist."""
    bridges = {each.name for each in desired if isinstance(each, OvsBridge) and each.ensure}
    return bridges.union(*(resource.links for resource in desired))


def raise_unmet(desired: Sequence[Resource], observed: Observation, standing: Collection[str] = ()) -> None:
    """Raise the first of `unmet`: Missing, HostNotReady or Conflict."""
    for error in unmet(desired, observed, standing):
        raise error


def reasons(desired: Sequence[Resource], observed: Observation) -> Iterator[VifplugError]:
    """Yield every reason why ``desired`` cannot be reached: unmet preconditions, and what planning raises."""
    yield from unmet(desired, observed)
    for resource in desired:
        yield from _obstacle(resource, observed)


def warnings(desired: Sequence[Resource], observed: Observation) -> tuple[str, ...]:
    """Return what lets ``desired`` be reached, and will not work well or is risky: each sentence once."""
    made, everything = _made(desired), (*desired, *required(desired))
    return tuple(dict.fromkeys(each for resource in everything for each in resource.warnings(observed, made)))


def drift(desired: Sequence[Resource], observed: Observation) -> Iterator[Difference]:
    """Yield the differences in what ``desired`` requires, and in what is related to it."""
    for need in required(desired):
        yield from need.drift(observed)


def without_uplink(desired: Sequence[Resource], observed: Observation, vif_id: str) -> Iterator[VifplugError]:
    """Yield an error for each Open vSwitch bridge that a plug would create: a guest on it reaches nobody."""
    for bridge in desired:
        if isinstance(bridge, OvsBridge) and bridge.ensure and not bridge.transient and bridge.identity not in observed:
            message = f"{bridge.described} does not exist on this host, and VIF {vif_id} needs it"
            sentence = f"{message}: a bridge that plugging creates has no uplink"
            yield Missing(sentence, vif_id=vif_id, resource=bridge.described)


def _obstacle(desired: Resource, observed: Observation) -> Iterator[VifplugError]:
    try:
        steps_toward([desired], observed)
    except VifplugError as error:
        yield error
