"""The laws of plans, on a machine that is a dictionary: identity -> what is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hypothesis import assume, given, reject
from hypothesis import strategies as st

from vifplug.errors import Conflict
from vifplug.model.codec import FrozenMap
from vifplug.plan import steps
from vifplug.plan.registry import (
    HARDENED,
    BridgePort,
    BridgeVlan,
    Identity,
    LowerDevice,
    OvsBridge,
    OvsPolicing,
    OvsPort,
    OvsVlan,
    Ownership,
    Resource,
    Tap,
    VirtualFunction,
)
from vifplug.plan.steps import Observation, Observed, Step

State = dict[Identity, Resource]
Case = tuple[list[Resource], State]
OWNER = "0a1b2c3d-1111-4222-8333-444455556666"


# -- what there may be --------------------------------------------------------------------------------------------


def one(kind: type[Resource], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Resource]:
    names = ["0000:81:02.0", "0000:81:02.1"] if kind is VirtualFunction else ["a0", "b0"]
    return st.builds(kind, name=st.sampled_from(names), owner=st.just(OWNER), **fields)


def maybe(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


def maps(*keys: str) -> st.SearchStrategy[FrozenMap[str, str]]:
    return st.dictionaries(st.sampled_from(keys), st.sampled_from(["0", "1"])).map(FrozenMap)


def kinds(*, whole: bool) -> list[st.SearchStrategy[Resource]]:
    """Resources, a strategy for each kind; ``whole`` ones, as a machine has them, leave nothing unasked."""

    def some(*values: Any) -> st.SearchStrategy[Any]:
        return st.sampled_from(values) if whole else maybe(*values)

    vlans = some(OvsVlan(), OvsVlan(mode="access", tag=7), OvsVlan(mode="trunk", trunks=(7, 8)))
    sysctls = maps("ipv4/forwarding", "ipv4/proxy_arp").map(lambda extra: FrozenMap({**HARDENED, **extra}))
    return [
        one(Tap, mtu=some(1400, 1500), multi_queue=st.booleans(), user=some(0, 1), up=st.booleans(), sysctls=sysctls),
        one(
            OvsPort,
            bridge=st.sampled_from(["br-int", "br-ex"]),
            vlan=vlans,
            external_ids=maps("iface-id", "foreign"),
            mtu_request=some(0, 1500),
            policing=some(OvsPolicing(), OvsPolicing(rate=8)),
        ),
        one(
            BridgePort,
            bridge=st.just("br0"),
            isolated=some(False, True),
            learning=some(False, True),
            vlans=some((), (BridgeVlan(id=7, pvid=True),)),
        ),
        one(LowerDevice, up=some(False, True), mac=some("52:54:00:00:00:01", "52:54:00:00:00:02")),
        one(
            VirtualFunction,
            pf=st.just("ens1"),
            number=st.just(3),
            mac=some("52:54:00:00:00:01", "52:54:00:00:00:02"),
            vlan=some(0, 7),
            trust=some(False, True),
        ),
        one(OvsBridge, datapath_type=some("system", "netdev")),
    ]


def distinct(found: Iterable[Resource]) -> list[Resource]:
    return list({each.identity: each for each in found}.values())


def hosts(wanted: Iterable[Resource]) -> st.SearchStrategy[State]:
    """Machines on which everything is that ``wanted`` only sets, and some other things."""
    needed = [(each.name, WHOLE[each.kind]) for each in wanted if each.ownership is Ownership.BORROWED]
    there = [kind.map(lambda found, name=name: found.replace(name=name)) for name, kind in needed]
    others = st.lists(st.one_of(list(WHOLE.values())), max_size=10)
    return st.builds(
        lambda found, *more: {each.identity: each for each in (*found, *more)},
        others,
        *there,
    )


WHOLE = dict(
    zip(("tap", "ovs-port", "bridge-port", "lower-device", "vf", "ovs-bridge"), kinds(whole=True), strict=True)
)
wanteds = st.lists(st.one_of(kinds(whole=False)), max_size=8).map(distinct)
cases: st.SearchStrategy[Case] = wanteds.flatmap(lambda wanted: st.tuples(st.just(wanted), hosts(wanted)))
#: one resource as it was wanted, and as it is wanted now
pairs = st.one_of([st.tuples(kind, kind) for kind in kinds(whole=False)]).map(
    lambda pair: (pair[0], pair[1].replace(name=pair[0].name))
)
updates: st.SearchStrategy[tuple[list[tuple[Resource, Resource]], State]] = st.lists(
    pairs, min_size=1, max_size=4
).flatmap(lambda both: st.tuples(st.just(both), hosts(had for had, _ in both)))


# -- the machine --------------------------------------------------------------------------------------------------


def originals(wanted: Sequence[Resource], there: Observation) -> dict[Identity, Resource]:
    """Return what is there before the first change. A device that has the guest's MAC already is refused."""
    try:
        return steps.originals(wanted, there)
    except Conflict:
        reject()


def observed(state: Mapping[Identity, Resource]) -> dict[Identity, Observed]:
    return {identity: Observed(resource=each) for identity, each in state.items()}


def taken(state: State, done: Sequence[Step]) -> State:
    """The machine after the steps, each of which has to begin where the machine is."""
    after = dict(state)
    for step in done:
        assert after.get(step.subject.identity) == step.before, step
        if step.after is None:
            del after[step.subject.identity]
        else:
            after[step.subject.identity] = step.after
    return after


def asked(resource: Resource) -> dict[str, Any]:
    """The fields that a wanted resource asks for."""
    values = {field.name: getattr(resource, field.name) for field in dataclasses.fields(resource)}
    return {name: value for name, value in values.items() if value is not None and not isinstance(value, FrozenMap)}


# -- the laws -----------------------------------------------------------------------------------------------------


@given(cases)
def test_a_plan_converges_in_one_pass(case: Case) -> None:
    wanted, state = case
    after = observed(taken(state, steps.steps_toward(wanted, observed(state))))
    assert steps.differences(wanted, after) == []
    assert steps.steps_toward(wanted, after) == []


@given(hosts([]))
def test_what_holds_needs_no_step(state: State) -> None:
    assert steps.steps_toward(list(state.values()), observed(state)) == []


@given(cases)
def test_undo_after_do_is_nothing(case: Case) -> None:
    wanted, state = case
    done = steps.steps_toward(wanted, observed(state))
    assert taken(taken(state, done), [step.undo() for step in reversed(done)]) == state


@given(cases, st.integers(0, 20))
def test_what_was_done_before_a_failure_can_be_undone(case: Case, failed: int) -> None:
    wanted, state = case
    done = steps.steps_toward(wanted, observed(state))[:failed]
    assert taken(taken(state, done), [step.undo() for step in reversed(done)]) == state


@given(cases)
def test_what_nobody_asked_for_is_left_alone(case: Case) -> None:
    """Other resources, and the fields that are not asked of those that are changed in place."""
    wanted, state = case
    done = steps.steps_toward(wanted, observed(state))
    after = taken(state, done)
    for identity in state.keys() - {each.identity for each in wanted}:
        assert after[identity] == state[identity]
    for step in done:
        if step.before and step.after:
            [want] = [each for each in wanted if each.identity == step.subject.identity]
            for name in {field.name for field in dataclasses.fields(want)} - asked(want).keys():
                before, now = getattr(step.before, name), getattr(step.after, name)
                if isinstance(before, FrozenMap):
                    assert {**before, **getattr(want, name)} == now
                else:
                    assert before == now


@given(cases)
def test_steps_are_in_the_order_of_what_is_wanted(case: Case) -> None:
    wanted, state = case
    order = [each.identity for each in wanted]
    places = [order.index(step.subject.identity) for step in steps.steps_toward(wanted, observed(state))]
    assert places == sorted(places)


@given(cases)
def test_removal_takes_back_all_that_was_made_and_puts_back_all_that_was_set(case: Case) -> None:
    wanted, state = case
    state = {key: each for key, each in state.items() if each.ownership is not Ownership.OWNED}
    before = originals(wanted, observed(state))
    plugged = taken(state, steps.steps_toward(wanted, observed(state)))
    left = taken(plugged, steps.removal(wanted, observed(plugged), before))
    assert not [each for each in left.values() if each.ownership is Ownership.OWNED]
    for identity, each in left.items():
        if each.ownership is Ownership.BORROWED:
            assert without_kept(each) == without_kept(state[identity])


@given(cases, st.data())
def test_removal_leaves_what_somebody_else_has_changed_since(case: Case, data: st.DataObject) -> None:
    wanted, state = case
    before = originals(wanted, observed(state))
    plugged = taken(state, steps.steps_toward(wanted, observed(state)))
    functions = [each for each in plugged.values() if isinstance(each, VirtualFunction)]
    assume(functions)
    function = data.draw(st.sampled_from(functions))
    plugged[function.identity] = function.replace(vlan=99)
    left = taken(plugged, steps.removal(wanted, observed(plugged), before))
    found = left[function.identity]
    assert isinstance(found, VirtualFunction) and found.vlan == 99


@given(cases)
def test_removing_again_does_nothing(case: Case) -> None:
    wanted, state = case
    before = originals(wanted, observed(state))
    plugged = taken(state, steps.steps_toward(wanted, observed(state)))
    left = taken(plugged, steps.removal(wanted, observed(plugged), before))
    assert steps.removal(wanted, observed(left), before) == []


@given(updates)
def test_an_update_is_as_good_as_unplugging_first(case: tuple[list[tuple[Resource, Resource]], State]) -> None:
    """What is no longer asked is as it was, or empty; what neither asked for is left alone."""
    both, state = case
    former, wanted = distinct(had for had, _ in both), distinct(want for _, want in both)
    before = originals([*former, *wanted], observed(state))
    plugged = taken(state, steps.steps_toward(former, observed(state)))
    full = steps.with_former(wanted, former, before)
    updated = taken(plugged, steps.steps_toward(full, observed(plugged)))
    assert steps.differences(wanted, observed(updated)) == []
    earlier = {each.identity: each for each in former}
    for want in wanted:
        if want.identity in earlier:
            _holds_no_more(want, earlier[want.identity], updated[want.identity], state)


def _holds_no_more(want: Resource, had: Resource, now: Resource, state: State) -> None:
    """Of a resource that both asked for: each field that only ``had`` asked for is cleared or put back."""
    for field in dataclasses.fields(want):
        value = getattr(now, field.name)
        if field.metadata.get("kept") or not field.metadata.get("compared", True):
            continue
        if isinstance(value, FrozenMap):
            assert not (getattr(had, field.name).keys() - getattr(want, field.name).keys()) & value.keys()
        elif getattr(want, field.name) is None and getattr(had, field.name) is not None:
            if want.ownership is Ownership.BORROWED:
                assert value == getattr(state[want.identity], field.name)
            elif "reset_to" in field.metadata:
                assert value == field.metadata["reset_to"]


@given(cases)
def test_a_batch_keeps_the_order_of_steps_and_takes_each_once(case: Case) -> None:
    wanted, state = case
    plan = steps.steps_toward(wanted, observed(state))
    for ordered, first in ((steps.batched_last([*plan, *plan]), False), (steps.batched_first([*plan, *plan]), True)):
        for batched in (False, True):
            assert [step for step in ordered if step.subject.batched is batched] == [
                step for step in plan if step.subject.batched is batched
            ]
        marks = [step.subject.batched for step in ordered]
        assert marks == sorted(marks, reverse=first)


def without_kept(resource: Resource) -> dict[str, Any]:
    return {
        field.name: getattr(resource, field.name)
        for field in dataclasses.fields(resource)
        if not field.metadata.get("kept")
    }
