"""Derive the steps from the recorded to the desired state of a VIF, in phases.

Resources depend on each other by name. A recreated link is no longer in its bridge or switch, although the switch still
names it. A link that leaves a switch keeps the settings of that switch. This module handles both, so types and backends
do not have to. Third-party ports use ``attached_to`` and ``released`` of `Resource`; the rules for `OvsPort` are at the
end of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vifplug.plan.registry import (
    BridgePort,
    Device,
    Identity,
    LowerDevice,
    OvsPolicing,
    OvsPort,
    OvsQos,
    OvsVlan,
    Ownership,
    Resource,
    Tap,
)
from vifplug.plan.steps import Observation, Observed, Step, dropped, removal, steps_toward

DEFAULT_MTU = 1500  # bytes: ETH_DATA_LEN, linux/if_ether.h


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of one VIF, in three phases."""

    #: must be complete, also in ovs-vswitchd, before a link is touched
    releases: tuple[Step, ...] = ()
    removals: tuple[Step, ...] = ()
    additions: tuple[Step, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in order."""
        return (*self.releases, *self.removals, *self.additions)


def make_plan(
    desired: Sequence[Resource],
    former: Sequence[Resource],
    observed: Observation,
    originals: Mapping[Identity, Resource],
    *,
    interrupted: bool = False,
) -> Plan:
    """Return the steps from the observed state to the desired one.

    Args:
        desired: the required resources, in the order of creation.
        former: the recorded resources; those that ``desired`` no longer has are removed or restored.
        observed: the state of both on the host.
        originals: the state of borrowed resources before the VIF was first plugged.
        interrupted: whether ``former`` is from a change that did not end.

    Raises:
        Conflict, Held, Missing, HostNotReady: see `steps_toward`.
    """
    gone = dropped(desired, former)
    desired = list(_let_out(desired, former, observed))
    cleared = list(_cleared(gone, desired, observed))
    observed = {**observed, **{step.subject.identity: Observed(resource=step.after) for step in cleared}}
    removals = removal(gone, observed, originals, interrupted=interrupted)
    observed = _without(observed, _freed(desired, observed, removals))
    stale = set(_stale(desired, observed))
    desired = [_with_its_vlan(each, observed) if each.identity in stale else each for each in desired]
    created = _created(desired, observed)
    cut_off = [each for each in desired if each.attached_to in created or each.identity in stale]
    released = list(_released(cut_off, observed))
    observed = _without(observed, (resource.identity for resource in cut_off))
    shared = [step for step in removals if step.subject.ownership is Ownership.SHARED]
    additions = steps_toward(desired, observed)
    # first, so that the undo makes it last: a macvtap of mode passthrough has the MAC that its lower device then has
    recreated = [step for step in additions if step.after is None and not step.subject.batched]
    return Plan(
        releases=(*cleared, *released),
        removals=tuple(step for step in removals if step not in shared),
        # what is shared goes with its last user, who leaves in between
        additions=(*reversed(recreated), *(each for each in additions if each not in recreated), *shared),
    )


def with_guests_mtu(desired: Sequence[Resource], observed: Observation) -> tuple[Sequence[Resource], tuple[str, ...]]:
    """Return ``desired`` with the MTU that a running guest has, and a sentence if that is another one.

    The guest has read the MTU at its start (virtio, 5.1.4.1: VIRTIO_NET_F_MTU) and would go on sending frames of that
    size, which a tap with a smaller MTU drops.
    """
    for each in desired:
        seen = observed.get(each.identity)
        if not isinstance(each, Device) or each.ownership is not Ownership.OWNED or seen is None or not seen.held:
            continue
        found = getattr(seen.resource, "mtu", None)
        if found and each.mtu and found != each.mtu and not seen.foreign:
            sentence = (
                f"{each} of VIF {each.owner} keeps MTU {found} instead of {each.mtu}, because a running guest has it "
                "open and would not learn of it: stop and start the guest, and plug the VIF before it starts"
            )
            return [_with_mtu(one, found) for one in desired], (sentence,)
    return desired, ()


def with_bridges_mtu(desired: Sequence[Resource], observed: Observation) -> Sequence[Resource]:
    """Return ``desired`` in which a new tap without an MTU has that of its bridge, if that is above the default.

    A bridge has the smallest MTU of its ports (net/bridge/br_if.c, br_mtu_auto_adjust; ovs-vswitchd does the same), so
    a tap with the kernel's default would cost the host its jumbo frames. libvirt copies the MTU too
    (virNetDevTapAttachBridge). A smaller MTU is not copied: a guest that is given no MTU sends frames of 1500.
    """
    new = [each for each in desired if isinstance(each, Tap) and each.mtu is None and each.identity not in observed]
    if not new:
        return desired
    bridges = {each.name: each.bridge for each in desired if isinstance(each, (BridgePort, OvsPort))}
    seen = ((tap.identity, observed.get((LowerDevice.kind, bridges.get(tap.name, "")))) for tap in new)
    found = {identity: each.resource.mtu for identity, each in seen if each and isinstance(each.resource, LowerDevice)}
    wide = {identity: mtu for identity, mtu in found.items() if mtu and mtu > DEFAULT_MTU}
    return [each.trusted(mtu=wide[each.identity]) if each.identity in wide else each for each in desired]


def _with_mtu(resource: Resource, mtu: int) -> Resource:
    """Return a resource with another MTU if it requests one, directly or of ovs-vswitchd."""
    if isinstance(resource, Device):
        return resource.trusted(mtu=resource.mtu and mtu)
    return resource.trusted(mtu_request=resource.mtu_request and mtu) if isinstance(resource, OvsPort) else resource


def _freed(desired: Iterable[Resource], observed: Observation, removals: Iterable[Step]) -> Iterator[Identity]:
    """Yield the links that are of another kind now, and whose name the removals free."""
    names = _links(step.subject for step in removals)
    for resource in desired:
        seen = observed.get(resource.identity)
        if resource.name in names and resource.links and seen and seen.resource is None:
            yield resource.identity


def _created(desired: Iterable[Resource], observed: Observation) -> set[str]:
    """Return the names of the links that are created, for the first time or again."""
    return _links(
        [each for each in desired if each.links and any(not step.before for step in steps_toward([each], observed))]
    )


def _released(cut_off: Iterable[Resource], observed: Observation) -> Iterator[Step]:
    """Yield the removal of each port that must leave its switch before its link is recreated."""
    for port in cut_off:
        seen = observed.get(port.identity)
        if seen and seen.resource and not seen.foreign and (before := seen.resource.released()):
            yield Step(before, None)


def _links(resources: Iterable[Resource]) -> set[str]:
    return {name for resource in resources for name in resource.links}


def _without(observed: Observation, identities: Iterable[Identity]) -> Observation:
    left_out = set(identities)
    return {identity: seen for identity, seen in observed.items() if identity not in left_out}


# -- Open vSwitch's own -----------------------------------------------------------------------------------------------


def _let_out(desired: Iterable[Resource], former: Iterable[Resource], observed: Observation) -> Iterator[Resource]:
    """Yield ``desired``; a port that was created in the dead VLAN leaves it, unless another program set its VLAN."""
    began = {port.identity: port.initial for port in former if isinstance(port, OvsPort) and port.initial}
    for each in desired:
        if isinstance(each, OvsPort) and each.identity in began and each.initial is None and each.vlan is None:
            seen = observed.get(each.identity)
            if seen and isinstance(seen.resource, OvsPort) and seen.resource.vlan == began[each.identity]:
                yield each.replace(vlan=OvsVlan())
                continue
        yield each


def _cleared(gone: Iterable[Resource], desired: Iterable[Resource], observed: Observation) -> Iterator[Step]:
    """Yield the steps that clear the shaping of ports which leave while their links stay.

    ovs-vswitchd leaves its qdiscs behind, unless Port.qos and the policing are cleared first.
    """
    staying = _links(desired)
    for port in gone:
        seen = observed.get(port.identity)
        if isinstance(port, OvsPort) and port.name in staying and port.shapes and seen and seen.resource:
            yield Step(seen.resource, seen.resource.replace(qos=OvsQos(), policing=OvsPolicing(), awaited=True))


def _stale(desired: Sequence[Resource], observed: Observation) -> Iterator[Identity]:
    """Yield the ports whose device no longer exists, and will be recreated by another program.

    On its userspace datapath ovs-vswitchd keeps the socket of the first device, and does not read from the next.
    """
    external = (each for each in desired if each.ownership is Ownership.EXTERNAL and each.identity not in observed)
    gone = {each.name for each in external}
    for port in desired:
        seen = observed.get(port.identity)
        if port.name in gone and seen and isinstance(seen.resource, OvsPort) and seen.resource.opened:
            yield port.identity


def _with_its_vlan(desired: Resource, observed: Observation) -> Resource:
    """Return a stale port with the VLAN that somebody else has given it, if the VIF has none."""
    found = observed[desired.identity].resource
    assert isinstance(desired, OvsPort) and isinstance(found, OvsPort)
    return desired.replace(vlan=desired.vlan or found.vlan)
