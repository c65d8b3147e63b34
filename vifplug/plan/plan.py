"""From what is recorded of a VIF to what is wanted of it: which steps, and which of them must be over before others.

Resources hang on each other by name. A device that is made anew takes its place in a bridge or switch with it, though
the switch goes on naming it; a device that stays keeps what a switch that it leaves has set up on it. Both are dealt
with here, so that no type and no backend has to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vifplug.plan.registry import (
    BridgePort,
    Device,
    Identity,
    OvsPolicing,
    OvsPort,
    OvsQos,
    OvsVlan,
    Ownership,
    Resource,
)
from vifplug.plan.steps import Observation, Observed, Step, dropped, plan, removal

#: what sets up nothing on the device itself (ovs-vswitchd.conf.db(5), QoS)
_UNSHAPED = (None, "linux-noop")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of one VIF. ``releases`` have to be over, also for ovs-vswitchd, before a device is touched."""

    releases: tuple[Step, ...] = ()
    removals: tuple[Step, ...] = ()
    additions: tuple[Step, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        return (*self.releases, *self.removals, *self.additions)


def change(
    wanted: Sequence[Resource],
    former: Sequence[Resource],
    observed: Observation,
    originals: Mapping[Identity, Resource],
    *,
    interrupted: bool = False,
) -> Plan:
    """The steps from what is observed to ``wanted``; what ``former`` had and ``wanted`` has not is taken back.

    ``interrupted``: ``former`` is of a change that did not end. Raises what `plan` raises, before any step is taken.
    """
    gone = dropped(wanted, former)
    wanted = list(_released(wanted, former, observed))
    unshaped = list(_unshaped(gone, wanted, observed))
    observed = {**observed, **{step.subject.identity: Observed(resource=step.after) for step in unshaped}}
    removals = removal(gone, observed, originals, interrupted=interrupted)
    observed = _without(observed, _freed(wanted, observed, removals))
    stale = set(_stale(wanted, observed))
    wanted = [_with_its_vlan(each, observed) if each.identity in stale else each for each in wanted]
    remade = _remade(wanted, observed)
    cut_off = [
        resource
        for resource in wanted
        if isinstance(resource, (BridgePort, OvsPort)) and (resource.name in remade or resource.identity in stale)
    ]
    detached = list(_detached(cut_off, observed))
    observed = _without(observed, (resource.identity for resource in cut_off))
    shared = [step for step in removals if step.subject.ownership is Ownership.SHARED and not step.subject.batched]
    return Plan(
        releases=(*unshaped, *detached),
        removals=tuple(step for step in removals if step not in shared),
        additions=(*plan(wanted, observed), *shared),  # it goes with its last user, who moves away in between
    )


def _released(wanted: Iterable[Resource], former: Iterable[Resource], observed: Observation) -> Iterator[Resource]:
    """A port that was to begin isolated, and no longer is: it gets out, unless somebody has given it a VLAN since."""
    began = {port.identity: port.initial for port in former if isinstance(port, OvsPort) and port.initial}
    for each in wanted:
        if isinstance(each, OvsPort) and each.identity in began and each.initial is None and each.vlan is None:
            seen = observed.get(each.identity)
            found = seen.resource if seen else None
            stays = not isinstance(found, OvsPort) or found.vlan != began[each.identity]
            yield each if stays else each.replace(vlan=OvsVlan())
        else:
            yield each


def _unshaped(gone: Iterable[Resource], wanted: Iterable[Resource], observed: Observation) -> Iterator[Step]:
    """A port that goes while its device stays: ovs-vswitchd leaves qdiscs behind, unless it is told to clear them."""
    staying = _names(wanted)
    for port in gone:
        seen = observed.get(port.identity)
        if isinstance(port, OvsPort) and port.name in staying and _shapes(port) and seen and seen.resource:
            clear = seen.resource.replace(qos=OvsQos(), policing=OvsPolicing(), awaited=True)
            yield Step(seen.resource, clear)


def _shapes(port: OvsPort) -> bool:
    return bool((port.qos and port.qos.type not in _UNSHAPED) or (port.policing and port.policing.rate))


def _freed(wanted: Iterable[Resource], observed: Observation, removals: Iterable[Step]) -> Iterator[Identity]:
    """Devices that are another kind's now, and whose name the removals make free."""
    names = _names(step.subject for step in removals)
    for resource in wanted:
        seen = observed.get(resource.identity)
        if isinstance(resource, Device) and resource.name in names and seen and seen.resource is None:
            yield resource.identity


def _remade(wanted: Iterable[Resource], observed: Observation) -> set[str]:
    """The names of the devices that have to be made, for the first time or anew."""
    devices = (each for each in wanted if isinstance(each, Device))
    return _names(each for each in devices if any(step.before is None for step in plan([each], observed)))


def _detached(cut_off: Iterable[Resource], observed: Observation) -> Iterator[Step]:
    """The switch's ports of devices that are made anew: it has to let go of the old device first."""
    for port in cut_off:
        seen = observed.get(port.identity)
        if isinstance(port, OvsPort) and seen and seen.resource and not seen.foreign:
            yield Step(seen.resource.replace(awaited=True), None)


def _stale(wanted: Sequence[Resource], observed: Observation) -> Iterator[Identity]:
    """Ports of which the device has gone, and is to come again by somebody else's hand.

    On its userspace datapath ovs-vswitchd keeps the socket of the first device, and does not read from the next.
    """
    awaited = (each for each in wanted if each.ownership is Ownership.EXTERNAL and each.identity not in observed)
    gone = {each.name for each in awaited}
    for port in wanted:
        seen = observed.get(port.identity)
        if port.name in gone and seen and isinstance(seen.resource, OvsPort) and seen.resource.opened:
            yield port.identity


def _with_its_vlan(wanted: Resource, observed: Observation) -> Resource:
    """One that is made anew for that alone keeps the VLAN that somebody else has given it."""
    found = observed[wanted.identity].resource
    assert isinstance(wanted, OvsPort) and isinstance(found, OvsPort)
    return wanted.replace(vlan=wanted.vlan or found.vlan)


def _names(resources: Iterable[Resource]) -> set[str]:
    return {name for resource in resources if isinstance(resource, Device) for name in resource.links}


def _without(observed: Observation, identities: Iterable[Identity]) -> Observation:
    left_out = set(identities)
    return {identity: seen for identity, seen in observed.items() if identity not in left_out}
