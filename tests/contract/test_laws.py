"""The laws of a backend (vifplug/host/backend.py), for each kind of kernel resource, in memory and on the kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from vifplug import errors
from vifplug.plan.registry import (
    HARDENED,
    AdoptedBridgePort,
    BridgePort,
    LinuxBridge,
    LowerDevice,
    Macvtap,
    Ownership,
    Resource,
    Tap,
    VethPair,
)
from vifplug.plan.steps import compare, originals, removal
from vifplug.testing.netns import ip

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"
OTHER = "7e1b8d4c-02f6-4c0d-8f57-b2a9d3c4e522"


@dataclass(frozen=True)
class Case:
    """A resource, what has to be there for it (ip commands), and what may change about it."""

    resource: Resource
    given: tuple[str, ...] = ()
    changes: tuple[dict[str, Any], ...] = ()
    foreign: str = ""

    def __str__(self) -> str:
        return self.resource.kind


OPEN = {"ipv6/disable_ipv6": "0"}
LOWER = ("link add low0 type veth peer name low1", "link set low0 up", "link set low1 up")

CASES = [
    Case(
        Tap(name="t0", owner=OWNER, mac="fe:54:00:00:00:01", mtu=1500),
        changes=(
            {"mac": "fe:54:00:00:00:02"},
            {"mtu": 1400},
            {"mtu": 9000},
            {"up": False},
            {"sysctls": OPEN},
            {"sysctls": {**HARDENED, "ipv4/arp_ignore": "1"}},
            {"multi_queue": True},
            {"user": 64055},
            {"group": 7},
            {"txqueuelen": 700},
            {"mac": "fe:54:00:00:00:02", "mtu": 1400, "user": 1000, "group": 1000, "multi_queue": True},
        ),
        foreign="link add t0 type veth peer name other0",
    ),
    Case(
        VethPair(name="v0", peer="v1", owner=OWNER, mtu=1500, promiscuous=False),
        changes=({"mtu": 1400}, {"up": False}, {"sysctls": OPEN}, {"promiscuous": True}, {"peer": "v2"}),
        foreign="link add v0 type bridge",
    ),
    Case(
        LinuxBridge(name="b0", owner=OWNER, ageing_time=0, stp=False, multicast_snooping=False, forward_delay=0),
        changes=(
            {"ageing_time": 300},
            {"forward_delay": 15},
            {"multicast_snooping": True},
            {"mtu": 1400},
            {"up": False},
            {"sysctls": {**HARDENED, "ipv4/arp_ignore": "1"}},
        ),
        foreign="link add b0 type bridge",
    ),
    Case(
        Macvtap(name="m0", owner=OWNER, lower="low0", mode="vepa", mac="52:54:00:00:00:01", queues=1),
        given=LOWER,
        changes=(
            {"mac": "52:54:00:00:00:02"},
            {"mtu": 1400},
            {"up": False},
            {"sysctls": OPEN},
            {"mode": "bridge"},
            {"mode": "private"},
            {"queues": 4},
            {"txqueuelen": 700},
            {"lower": "low1"},
        ),
        foreign="link add link low0 name m0 type macvtap mode bridge",
    ),
    Case(
        BridgePort(name="p0", bridge="br0", owner=OWNER, isolated=False, hairpin=False, learning=True),
        given=(
            "link add br0 type bridge",
            "link add br1 type bridge",
            "link add br2 type bridge",
            "link add p0 type veth peer name p1",
            f"link set p0 alias vifplug:{OWNER}",
        ),
        changes=(
            {"isolated": True},
            {"hairpin": True},
            {"learning": False},
            {"flood": False},
            {"bridge": "br1"},
            {"bridge": "br1", "isolated": True, "hairpin": True, "learning": False},
        ),
        foreign=f"link set p0 master br2 alias vifplug:{OTHER}",
    ),
    Case(
        LowerDevice(name="low0", owner=OWNER),
        given=("link add low0 type veth peer name low1",),
        changes=({"mac": "52:54:00:00:00:09"}, {"up": False}),
    ),
    Case(
        AdoptedBridgePort(name="v0", owner=OWNER, bridge="br0", mac="fe:54:00:00:00:01", hairpin=True),
        given=(
            "link add br0 type bridge",
            "link add v0 address fe:54:00:00:00:01 type veth peer name v1",
            "link set v0 master br0",
        ),
        changes=({"isolated": True}, {"hairpin": False}, {"learning": False}, {"flood": False}),
    ),
]
MADE = [case for case in CASES if case.resource.ownership is Ownership.OWNED]
CHANGES = [(case, change) for case in CASES for change in case.changes]


def named(value: object) -> str | None:
    return ",".join(value) if isinstance(value, dict) else str(value) if isinstance(value, Case) else None


def given(bench: Any, case: Case) -> None:
    """Have the machine as the case needs it."""
    if bench.kernel:
        for command in case.given:
            ip(*command.split())
    elif isinstance(case.resource, LowerDevice):
        bench.backend.place(case.resource.replace(up=False, mac="52:54:00:00:00:08"))
    elif isinstance(case.resource, AdoptedBridgePort):
        bench.backend.place(case.resource.replace(hairpin=False))


def is_as(bench: Any, wanted: Resource) -> bool:
    seen = bench.see(wanted)
    return bool(seen and seen.resource and not seen.foreign and not list(compare(wanted, seen.resource)))


@pytest.mark.parametrize("case", CASES, ids=named)
def test_what_was_applied_is_observed_and_planning_again_gives_nothing(bench: Any, case: Case) -> None:
    given(bench, case)
    steps = bench.reach(case.resource)
    assert steps and bench.done == steps
    assert is_as(bench, case.resource)
    assert bench.plan(case.resource) == []


@pytest.mark.parametrize("case", MADE, ids=named)
def test_what_is_not_there_is_not_observed(bench: Any, case: Case) -> None:
    given(bench, case)
    assert bench.see(case.resource) is None


@pytest.mark.parametrize("case", CASES, ids=named)
def test_observing_changes_nothing(bench: Any, case: Case) -> None:
    given(bench, case)
    bench.reach(case.resource)
    before = everything(bench)
    assert bench.see(case.resource) == bench.see(case.resource)
    assert everything(bench) == before


@pytest.mark.parametrize(("case", "change"), CHANGES, ids=named)
def test_a_change_is_reached_in_one_pass_and_its_undo_brings_back_what_was(
    bench: Any, case: Case, change: dict[str, Any]
) -> None:
    given(bench, case)
    bench.reach(case.resource)
    wanted = case.resource.replace(**change)
    before = bench.see(wanted)
    steps = bench.reach(wanted)
    assert steps and is_as(bench, wanted)
    assert bench.plan(wanted) == []
    bench.undo(steps)
    assert bench.see(wanted) == before


@pytest.mark.parametrize("case", MADE, ids=named)
def test_undo_of_making_leaves_nothing(bench: Any, case: Case) -> None:
    given(bench, case)
    before = everything(bench)
    steps = bench.reach(case.resource)
    bench.undo(steps)
    assert bench.see(case.resource) is None
    assert everything(bench) == before


@pytest.mark.parametrize("case", MADE, ids=named)
def test_removing_is_observed_and_removing_again_succeeds(bench: Any, case: Case) -> None:
    given(bench, case)
    bench.reach(case.resource)
    steps = removal([case.resource], bench.backend.observe([case.resource]), {})
    bench.apply(*steps)
    assert bench.see(case.resource) is None
    bench.apply(*steps)
    assert removal([case.resource], bench.backend.observe([case.resource]), {}) == []


@pytest.mark.parametrize("case", MADE, ids=named)
def test_undo_of_removing_brings_it_back(bench: Any, case: Case) -> None:
    given(bench, case)
    bench.reach(case.resource)
    steps = removal([case.resource], bench.backend.observe([case.resource]), {})
    bench.apply(*steps)
    bench.undo(steps)
    assert is_as(bench, case.resource)


@pytest.mark.parametrize("case", MADE, ids=named)
def test_what_is_not_ours_is_a_conflict_and_stays(bench: Any, case: Case) -> None:
    given(bench, case)
    if bench.kernel:
        ip(*case.foreign.split())
    else:
        bench.backend.place(case.resource, foreign="a bridge of somebody else")
    before = everything(bench)
    with pytest.raises(errors.Conflict, match=case.resource.name):
        bench.plan(case.resource)
    assert removal([case.resource], bench.backend.observe([case.resource]), {}) == []
    assert everything(bench) == before


@pytest.mark.parametrize("case", MADE, ids=named)
def test_the_same_thing_of_another_vif_is_a_conflict_that_names_it(bench: Any, case: Case) -> None:
    given(bench, case)
    bench.reach(case.resource)
    with pytest.raises(errors.Conflict, match=OWNER):
        bench.plan(case.resource.replace(owner=OTHER))


@pytest.mark.parametrize("case", [case for case in CASES if isinstance(case.resource, LowerDevice)], ids=named)
def test_a_setting_goes_back_to_what_it_was_but_a_device_stays_up(bench: Any, case: Case) -> None:
    given(bench, case)
    wanted = case.resource.replace(up=True, mac="52:54:00:00:00:07")
    kept = originals([wanted], bench.backend.observe([wanted]))
    bench.reach(wanted)
    assert is_as(bench, wanted)
    bench.apply(*removal([wanted], bench.backend.observe([wanted]), kept))
    assert bench.see(wanted).resource == kept[wanted.identity].replace(up=True)


def everything(bench: Any) -> object:
    """The whole machine, but for what the kernel settles a moment later, and the MACs that bridges take from ports."""
    if not bench.kernel:
        return dict(bench.backend._there)
    passing = r"(\b[0-9a-f]{2}:){5}[0-9a-f]{2}\b|<[^>]*>| state \S+"
    return re.sub(passing, "", ip("-oneline", "link"))
