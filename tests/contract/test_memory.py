"""The machine in memory: what tests of others build on."""

from __future__ import annotations

import pytest

from vifplug import errors
from vifplug.plan.registry import RESOURCES, OvsPort, OvsVlan, Tap, VhostSocket, VirtualFunction
from vifplug.plan.steps import Step, removal, steps_toward
from vifplug.testing.memory import MemoryBackend

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"
TAP = Tap(name="t0", owner=OWNER)
PORT = OvsPort(name="t0", owner=OWNER, bridge="br-int", vlan=OvsVlan(tag=10), external_ids={"iface-id": OWNER})


def test_it_has_every_kind_of_resource() -> None:
    assert set(MemoryBackend.resources) == set(RESOURCES.values())


@pytest.mark.parametrize("wanted", [TAP, PORT, VhostSocket(name="/run/x/a.sock", mode=0o750)], ids=str)
def test_what_was_applied_is_observed(wanted: Tap | OvsPort | VhostSocket) -> None:
    machine = MemoryBackend()
    steps = steps_toward([wanted], machine.observe([wanted]))
    done: list[Step] = []
    machine.apply(steps, done)
    assert done == steps and steps_toward([wanted], machine.observe([wanted])) == []
    machine.apply(removal([wanted], machine.observe([wanted]), {}), done)
    assert machine.observe([wanted]) == {}


def test_what_nobody_asked_for_is_empty_and_not_unknown() -> None:
    machine = MemoryBackend()
    machine.apply([Step(None, PORT)], [])
    found = machine.observe([PORT])[PORT.identity].resource
    assert isinstance(found, OvsPort) and found.mtu_request == 0 and found.policing is not None


def test_a_foreign_thing_is_a_conflict_that_says_whose_it_is() -> None:
    machine = MemoryBackend()
    machine.place(TAP, foreign="a tap of somebody else")
    with pytest.raises(errors.Conflict, match="a tap of somebody else"):
        steps_toward([TAP], machine.observe([TAP]))


def test_a_held_thing_is_held() -> None:
    machine = MemoryBackend()
    machine.place(TAP, held=True)
    with pytest.raises(errors.Held):
        steps_toward([TAP.replace(multi_queue=True)], machine.observe([TAP]))


def test_what_was_placed_beforehand_can_be_set() -> None:
    vf = VirtualFunction(name="0000:81:02.3", pf="ens1f0", number=3, mac="52:54:00:00:00:01", vlan=7, owner=OWNER)
    machine = MemoryBackend()
    machine.place(vf.replace(mac="00:00:00:00:00:00", vlan=0))
    machine.apply(steps_toward([vf], machine.observe([vf])), [])
    assert steps_toward([vf], machine.observe([vf])) == []


@pytest.mark.parametrize("fail_on", [{PORT.identity}, lambda step: step.subject == PORT], ids=["identity", "callable"])
def test_an_injected_failure_stops_there_and_says_what_was_done(fail_on: object) -> None:
    machine = MemoryBackend(fail_on)  # type: ignore[arg-type]
    done: list[Step] = []
    with pytest.raises(errors.StepFailed, match="ovs-port t0"):
        machine.apply([Step(None, TAP), Step(None, PORT)], done)
    assert done == [Step(None, TAP)]
    assert machine.observe([TAP, PORT]).keys() == {TAP.identity}


def test_making_what_is_there_is_a_conflict() -> None:
    machine = MemoryBackend()
    machine.apply([Step(None, TAP)], [])
    with pytest.raises(errors.Conflict):
        machine.apply([Step(None, TAP)], [])
