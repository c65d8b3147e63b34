"""The laws of a backend (vifplug/host/backend.py) for bridges and ports of a real Open vSwitch, on a dummy datapath."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.ovs import backend, found, new_id, no_qdisc, port, reach, rows, undo, unplug
from vifplug import errors
from vifplug.host.ovs.backend import OvsBackend
from vifplug.host.ovs.connection import OvsdbConnection
from vifplug.host.ovs.pool import Pool
from vifplug.host.ovs.settings import OvsSettings
from vifplug.host.ovs.transport import Line
from vifplug.plan.preconditions import Preconditions
from vifplug.plan.registry import OvsBridge, OvsPolicing, OvsPort, OvsQos, OvsVlan, ovs_uuid
from vifplug.plan.steps import Step, compare, differences, steps_toward
from vifplug.testing.ovs import PrivateOvs

SHAPED = OvsQos(
    type="linux-htb",
    other_config={"max-rate": "8000000"},
    queue={"min-rate": "1000000", "max-rate": "8000000"},
    external_ids={"vm-id": "a", "ifname": "tap0"},
)
#: One port with something in every column.
FULL: dict[str, Any] = {
    "type": "internal",
    "vlan": OvsVlan(mode="native-untagged", tag=7, trunks=(1011, 7, 12)),
    "external_ids": {"iface-id": "i", "attached-mac": "52:54:00:00:00:01", "iface-status": "active"},
    "options": {"a": "b"},
    "other_config": {"transient": "true"},
    "interface_config": {"pmd-rxq-affinity": "0:1"},
    "mtu_request": 1400,
    "qos": SHAPED,
    "policing": OvsPolicing(rate=8000, burst=800),
}
CHANGES: list[dict[str, Any]] = [
    {"type": "internal"},
    {"vlan": OvsVlan(tag=5)},
    {"vlan": OvsVlan(trunks=(5, 6))},
    {"vlan": OvsVlan(mode="native-tagged", tag=9, trunks=(9, 10))},
    {"external_ids": {"iface-id": "x"}},
    {"external_ids": {"iface-id": "x", "new": 'with "quotes", commas and ümläute'}},
    {"options": {"key": "value"}},
    {"other_config": {"transient": "true"}},
    {"interface_config": {"key": "value"}},
    {"ofport_request": 900},
    {"mtu_request": 1300},
    {"qos": OvsQos(type="linux-htb", other_config={"max-rate": "1"})},
    {"qos": SHAPED},
    {"qos": OvsQos(type="linux-hfsc", queue={"min-rate": "5"}, external_ids={"ifname": "x"})},
    {"policing": OvsPolicing(rate=1, burst=2)},
    {"bridge": "br1"},
    {"bridge": "br1", **FULL},
    FULL,
]
EMPTIED: list[dict[str, Any]] = [
    {"vlan": OvsVlan()},
    {"external_ids": {"iface-id": None}},
    {"options": {"a": None}},
    {"other_config": {"transient": None}},
    {"interface_config": {"pmd-rxq-affinity": None}},
    {"mtu_request": 0},
    {"qos": OvsQos()},
    {"policing": OvsPolicing()},
    {"type": ""},
]


@pytest.fixture
def door(ovs: PrivateOvs) -> Iterator[OvsBackend]:
    """A backend; the database has as many rows afterwards as before, unless the test forgot some."""
    before = rows(ovs)
    with backend(ovs) as made:
        yield made
    assert rows(ovs) == before


def named(change: dict[str, Any]) -> str:
    return ",".join(change)


# -- the laws -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{}, *CHANGES], ids=named)
def test_what_was_applied_is_observed_and_planning_again_gives_nothing(
    door: OvsBackend, change: dict[str, Any]
) -> None:
    wanted = port(**change)
    assert found(door, wanted) is None
    [step] = reach(door, wanted)
    there = found(door, wanted)
    assert not list(compare(wanted, there)) and compare(step.after, there)
    assert steps_toward([wanted], door.observe([wanted])) == []
    assert unplug(door, wanted)
    assert found(door, wanted) is None


@pytest.mark.parametrize("change", CHANGES, ids=named)
@pytest.mark.parametrize("start", [{}, FULL], ids=["plain", "full"])
def test_a_change_is_reached_in_one_pass_and_its_undo_brings_back_what_was(
    door: OvsBackend, ovs: PrivateOvs, start: dict[str, Any], change: dict[str, Any]
) -> None:
    plain = port(**start)
    reach(door, plain)
    before, counted = found(door, plain), rows(ovs)
    wanted = plain.replace(**change)
    steps = reach(door, wanted)
    assert not list(compare(wanted, found(door, wanted)))
    assert steps_toward([wanted], door.observe([wanted])) == []
    undo(door, steps)
    assert found(door, plain) == before and rows(ovs) == counted
    unplug(door, plain)


@pytest.mark.parametrize("change", EMPTIED, ids=named)
def test_what_is_no_longer_wanted_goes(door: OvsBackend, change: dict[str, Any]) -> None:
    full = port(**FULL)
    reach(door, full)
    wanted = full.replace(**change)
    assert reach(door, wanted)
    assert not list(compare(wanted, found(door, wanted)))
    unplug(door, wanted)


def test_a_changed_port_is_the_same_port(door: OvsBackend, ovs: PrivateOvs) -> None:
    """Moving to another bridge, switching QoS on and off and changing it never make the rows anew."""
    plain = port()
    reach(door, plain)
    uuids = ovs.ctl("get", "Port", plain.name, "_uuid"), ovs.ctl("get", "Interface", plain.name, "_uuid")
    for change in CHANGES:
        reach(door, plain.replace(**change))
        reach(door, plain.replace(qos=OvsQos()))
    assert uuids == (ovs.ctl("get", "Port", plain.name, "_uuid"), ovs.ctl("get", "Interface", plain.name, "_uuid"))
    assert uuids[0] == ovs_uuid("port", plain.owner)
    unplug(door, plain)


def test_observing_changes_nothing(door: OvsBackend, ovs: PrivateOvs) -> None:
    wanted = port(**FULL)
    reach(door, wanted)
    before = ovs.ctl("get", "Open_vSwitch", ".", "next_cfg"), ovs.ctl("list", "Port"), ovs.ctl("list", "QoS")
    assert found(door, wanted) == found(door, wanted)
    assert before == (ovs.ctl("get", "Open_vSwitch", ".", "next_cfg"), ovs.ctl("list", "Port"), ovs.ctl("list", "QoS"))
    unplug(door, wanted)


def test_removing_what_is_gone_succeeds_and_its_undo_brings_it_back(door: OvsBackend) -> None:
    wanted = port(**FULL)
    reach(door, wanted)
    there = found(door, wanted)
    steps = unplug(door, wanted)
    door.apply(steps, [])
    undo(door, steps)
    assert found(door, wanted) == there
    unplug(door, wanted)


def test_making_what_is_there_already_succeeds_and_mends_it(door: OvsBackend) -> None:
    """A step that is out of date is settled by looking: the rows of the VIF are there, and made as wanted."""
    wanted = port(vlan=OvsVlan(tag=4))
    reach(door, wanted)
    door.apply([Step(None, wanted)], [])
    other = wanted.replace(vlan=OvsVlan(tag=6), qos=SHAPED)
    door.apply([Step(None, other)], [])
    assert not list(compare(other, found(door, other)))
    unplug(door, other)


def test_changing_what_has_gone_makes_it(door: OvsBackend) -> None:
    wanted = port(**FULL)
    reach(door, wanted)
    there = found(door, wanted)
    unplug(door, wanted)
    door.apply([Step(there, there.replace(mtu_request=1300))], [])
    assert found(door, wanted).mtu_request == 1300
    unplug(door, wanted)


def test_qos_rows_that_somebody_left_or_took_are_no_obstacle(door: OvsBackend, ovs: PrivateOvs) -> None:
    wanted = port(qos=SHAPED)
    reach(door, wanted)
    ovs.ctl("clear", "Port", wanted.name, "qos")  # the rows stay, and are no longer used
    assert found(door, wanted).qos == OvsQos()
    reach(door, wanted)
    assert found(door, wanted).qos == SHAPED
    ovs.ctl("clear", "Port", wanted.name, "qos", "--", "--all", "destroy", "QoS", "--", "--all", "destroy", "Queue")
    reach(door, wanted)
    assert found(door, wanted).qos == SHAPED
    unplug(door, wanted)


def test_a_queue_that_somebody_uses_is_named_with_where_to_look(door: OvsBackend, ovs: PrivateOvs) -> None:
    wanted = port(qos=SHAPED)
    reach(door, wanted)
    queue = ovs.ctl("--bare", "--columns=_uuid", "list", "Queue")
    theirs = ovs.ctl("create", "QoS", "type=linux-htb", f"queues:7={queue}")
    with pytest.raises(errors.StepFailed, match=r"clear the other program's reference to that row, .* list QoS'"):
        unplug(door, wanted)
    ovs.ctl("destroy", "QoS", theirs)
    unplug(door, wanted)


def test_a_foreign_qos_is_seen_and_left_alone_unless_qos_is_wanted(door: OvsBackend, ovs: PrivateOvs) -> None:
    plain = port()
    reach(door, plain)
    foreign, queue = ovs.ctl(
        "--", "--id=@q", "create", "QoS", "type=linux-htb", "other_config:max-rate=5", "queues:0=@u",
        "--", "--id=@u", "create", "Queue", "other_config:min-rate=2", "--", "set", "Port", plain.name, "qos=@q",
    ).split()  # fmt: skip
    theirs = OvsQos(type="linux-htb", other_config={"max-rate": "5"}, queue={"min-rate": "2"})
    assert found(door, plain).qos == theirs
    reach(door, plain.replace(mtu_request=1300))
    assert ovs.ctl("get", "Port", plain.name, "qos") == foreign
    steps = reach(door, plain.replace(qos=SHAPED))
    assert found(door, plain).qos == SHAPED
    undo(door, steps)
    assert found(door, plain).qos == theirs
    unplug(door, plain)
    assert foreign in ovs.ctl("--columns=_uuid", "list", "QoS")
    ovs.ctl("destroy", "QoS", foreign, "--", "destroy", "Queue", queue)


def test_keys_of_others_stay(door: OvsBackend, ovs: PrivateOvs) -> None:
    """Only the keys that are named are managed; what others write meanwhile is not undone."""
    wanted = port(external_ids={"vm-id": "i"})
    reach(door, wanted)
    before = found(door, wanted)
    ovs.ctl("set", "Interface", wanted.name, "external_ids:ovn-installed=true", "external_ids:theirs=1")
    changed = wanted.replace(external_ids={"vm-id": "j"})
    door.apply([Step(before, changed)], [])
    assert found(door, wanted).external_ids == {"vm-id": "j", "theirs": "1"}
    assert "ovn-installed" in ovs.ctl("get", "Interface", wanted.name, "external_ids")
    unplug(door, wanted)


def test_a_port_that_gets_another_identity_is_not_yet_installed_by_ovn(door: OvsBackend, ovs: PrivateOvs) -> None:
    wanted = port(external_ids={"iface-id": "i"})
    reach(door, wanted)
    ovs.ctl("set", "Interface", wanted.name, "external_ids:ovn-installed=true", "external_ids:ovn-installed-ts=1")
    reach(door, wanted.replace(external_ids={"iface-id": "j"}))
    assert "ovn-installed" not in ovs.ctl("get", "Interface", wanted.name, "external_ids")
    unplug(door, wanted)


def test_several_steps_are_one_transaction(door: OvsBackend, ovs: PrivateOvs) -> None:
    before = int(ovs.ctl("get", "Open_vSwitch", ".", "next_cfg"))
    wanted = [port(**FULL) for _ in range(20)]
    reach(door, *wanted)
    assert int(ovs.ctl("get", "Open_vSwitch", ".", "next_cfg")) == before + 1
    unplug(door, *wanted)


def test_one_wrong_port_of_a_batch_leaves_nothing(door: OvsBackend, ovs: PrivateOvs) -> None:
    before = rows(ovs)
    done: list[Step] = []
    good, bad = port(**FULL), port(vlan=OvsVlan(tag=5000))
    with pytest.raises(errors.InvalidRequest, match=f"{bad.name}.*5000 is not in the valid range") as caught:
        door.apply([Step(None, good), Step(None, bad)], done)
    assert about(caught.value) == (bad.owner, str(bad), None)
    assert done == [] and rows(ovs) == before


def test_a_port_that_does_not_work_is_named_among_those_of_its_batch(door: OvsBackend, ovs: PrivateOvs) -> None:
    before = rows(ovs)
    good, bad = port(), port(type="nonsense")
    with pytest.raises(errors.StepFailed, match=r"on bridge br0 does not work.*; it was rolled back") as caught:
        door.apply([Step(None, good), Step(None, bad)], [])
    assert about(caught.value) == (bad.owner, str(bad), None) and rows(ovs) == before


def about(error: errors.VifplugError) -> tuple[str | None, str | None, str | None]:
    return error.vif_id, error.resource, error.holder


def test_a_port_gets_another_name(door: OvsBackend) -> None:
    """The rows' UUIDs are the same for both names, so this takes two transactions; either order of the steps works."""
    old = port("old0", **FULL)
    new = old.replace(name="new0")
    reach(door, old)
    there = found(door, old)
    for steps in ([Step(there, None), Step(None, new)], [Step(None, old), Step(new, None)]):
        door.apply(steps, [])
    assert not list(compare(old, found(door, old))) and found(door, new) is None
    with pytest.raises(errors.Conflict, match=r"new0.*has the port old0 on bridge br0"):
        door.apply([Step(None, new)], [])
    with pytest.raises(errors.InvalidRequest, match="5000"):
        door.apply([Step(there, None), Step(None, new.replace(vlan=OvsVlan(tag=5000)))], [])
    assert not list(compare(old, found(door, old))), "what the first of two transactions did is taken back as well"
    unplug(door, old)


# -- bridges ------------------------------------------------------------------------------------------------------


def test_a_bridge_is_made_with_its_first_port_and_goes_with_the_undo(door: OvsBackend, ovs: PrivateOvs) -> None:
    bridge = OvsBridge(name="br-new", owner=new_id(), datapath_type="netdev")
    wanted = port(bridge="br-new", **FULL)
    before = int(ovs.ctl("get", "Open_vSwitch", ".", "next_cfg"))
    steps = reach(door, bridge, wanted)
    assert int(ovs.ctl("get", "Open_vSwitch", ".", "next_cfg")) == before + 1
    assert found(door, bridge).datapath_type == "netdev" and ovs.ctl("list-ports", "br-new") == wanted.name
    assert steps_toward([bridge, wanted], door.observe([bridge, wanted])) == []
    undo(door, steps)
    assert found(door, bridge) is None


def test_a_bridge_that_others_use_by_now_stays(door: OvsBackend, ovs: PrivateOvs) -> None:
    bridge = OvsBridge(name="br-shared", owner=new_id())
    steps = reach(door, bridge)
    ovs.ctl("add-port", "br-shared", "theirs")
    undo(door, steps)
    assert ovs.ctl("list-ports", "br-shared") == "theirs"
    ovs.ctl("del-br", "br-shared")


def test_a_bridge_that_is_there_is_never_altered(door: OvsBackend, ovs: PrivateOvs) -> None:
    before = ovs.ctl("list", "Bridge", "br0")
    step = Step(None, OvsBridge(name="br0", owner=new_id(), datapath_type="netdev"))
    door.apply([step], [])
    assert ovs.ctl("list", "Bridge", "br0") == before
    door.apply([step.undo()], [])
    assert ovs.ctl("list", "Bridge", "br0") == before, "what vifplug did not make it does not remove"


def test_the_configured_datapath_type_is_for_new_bridges(ovs: PrivateOvs) -> None:
    with backend(ovs, datapath_type="netdev") as door:
        steps = reach(door, OvsBridge(name="br-typed", owner=new_id()))
        assert ovs.ctl("get", "Bridge", "br-typed", "datapath_type") == "netdev"
        undo(door, steps)


def test_a_bridge_that_is_missing_is_named(door: OvsBackend) -> None:
    wanted = port(bridge="br-none")
    with pytest.raises(errors.Missing, match=f"{wanted.name}.*br-none.*create it"):
        door.apply([Step(None, wanted)], [])
    there = port()
    reach(door, there)
    with pytest.raises(errors.Missing, match="br-none"):
        reach(door, there.replace(bridge="br-none"))
    assert found(door, there).bridge == "br0"
    unplug(door, there)


# -- conflicts ----------------------------------------------------------------------------------------------------


def test_a_port_of_another_vif_is_a_conflict_that_names_it(door: OvsBackend) -> None:
    mine, theirs = port("same0"), port("same0", bridge="br1")
    reach(door, theirs)
    match = f"same0 for VIF {mine.owner}.*bridge br1.*VIF {theirs.owner}"
    with pytest.raises(errors.Conflict, match=match) as caught:
        reach(door, mine)
    assert about(caught.value) == (mine.owner, str(mine), theirs.owner)
    assert found(door, mine) is None and found(door, theirs) is not None
    unplug(door, theirs)


@pytest.mark.parametrize(("mark", "message"), [("iface-id=abc", "iface-id is abc"), ("x=y", "is not vifplug's")])
def test_a_port_of_somebody_else_is_a_conflict_that_names_its_bridge(
    door: OvsBackend, ovs: PrivateOvs, mark: str, message: str
) -> None:
    ovs.ctl("add-port", "br1", "theirs0", "--", "set", "Interface", "theirs0", f"external_ids:{mark}")
    with pytest.raises(errors.Conflict, match=f"theirs0.*br1.*{message}"):
        reach(door, port("theirs0"))
    with pytest.raises(errors.Conflict, match="br0"):
        reach(door, port("br0"))
    ovs.ctl("del-port", "theirs0")


def refused(door: OvsBackend, *desired: OvsPort) -> list[errors.VifplugError]:
    needs = Preconditions(desired)
    observed = door.observe([*needs.desired, *needs.required])
    return [*needs.unmet(observed), *needs.objections(observed)]


def test_a_foreign_port_with_the_same_iface_id_is_named(door: OvsBackend, ovs: PrivateOvs) -> None:
    """Of some ports, and of so many that the table is read instead; a VIF's own port is none of them."""
    first = port(external_ids={"iface-id": new_id()})
    others = [port(external_ids={"iface-id": new_id()}) for _ in range(130)]
    assert refused(door, first) == []
    reach(door, first)
    assert refused(door, first) == []
    ovs.ctl("add-port", "br0", "vnet77", "--", "set", "Interface", "vnet77", f"external_ids:iface-id={first.iface_id}")
    for desired in ([first], [first, *others]):
        [error] = refused(door, *desired)
        assert isinstance(error, errors.Conflict)
        message = f"iface-id {first.iface_id} of VIF {first.owner} is taken: port vnet77 has it and is not vifplug's"
        assert str(error).startswith(message)
    second = port(external_ids={"iface-id": first.iface_id})
    [error] = refused(door, second)
    assert f"port {first.name} has it and belongs to VIF {first.owner} and port vnet77" in str(error)
    unplug(door, first)
    ovs.ctl("del-port", "vnet77")


@pytest.mark.parametrize("parted", ["interface", "port"])
def test_a_port_whose_rows_were_parted_is_told_and_goes(door: OvsBackend, ovs: PrivateOvs, parted: str) -> None:
    """``ovs-vsctl set port NAME interfaces=...`` parts the rows of one port; nobody's answer is at fault."""
    mine = port()
    reach(door, mine)
    if parted == "interface":
        ovs.ctl("--", "--id=@i", "create", "interface", "name=x", "--", "set", "port", mine.name, "interfaces=@i")
    else:
        row, interface = (ovs.ctl("get", table, mine.name, "_uuid") for table in ("port", "interface"))
        leave, join = (["--", verb, "bridge", "br0", "ports"] for verb in ("remove", "add"))
        ovs.ctl("--", "--id=@p", "create", "port", "name=y", f"interfaces={interface}", *leave, row, *join, "@p")
    observed = door.observe([mine])
    assert any("another program parted its rows" in str(each) for each in differences([mine], observed))
    [error] = refused(door, mine)
    assert isinstance(error, errors.Conflict)
    if parted == "interface":
        unplug(door, mine)
        assert found(door, mine) is None
        assert mine.name not in ovs.ctl("list-ports", "br0")
    else:  # the server keeps what another port refers to
        with pytest.raises(errors.StepFailed, match="remaining reference"):
            unplug(door, mine)
        ovs.ctl("del-port", "y")


def test_two_ports_of_one_name_in_one_batch_are_a_conflict(door: OvsBackend) -> None:
    with pytest.raises(errors.Conflict, match="twin0"):
        door.apply([Step(None, port("twin0")), Step(None, port("twin0", bridge="br1"))], [])


def test_a_name_passes_from_one_vif_to_another_in_one_batch(door: OvsBackend) -> None:
    old, new = port("pass0"), port("pass0")
    reach(door, old)
    door.apply([Step(found(door, old), None), Step(None, new)], [])
    assert found(door, new) is not None and found(door, old) is None
    unplug(door, new)


# -- other questions ----------------------------------------------------------------------------------------------


def test_ports_are_found_by_their_owner(door: OvsBackend, ovs: PrivateOvs) -> None:
    owner = new_id()
    wanted = [port(f"f{role}", owner=owner, role=role, **FULL) for role in ("", "a", "b")]
    reach(door, port(), *wanted)
    assert {each.role: each for each in door.find(owner)} == {each.role: found(door, each) for each in wanted}
    unplug(door, *door.find(owner))
    assert door.find(owner) == [] and door.find(new_id()) == []
    unplug(door, *_all(door, ovs))


def _all(door: OvsBackend, ovs: PrivateOvs) -> list[OvsPort]:
    marked = ovs.ctl("--bare", "--columns=external_ids", "list", "Interface")
    owners = set(re.findall("vifplug-id=([0-9a-f-]+)", marked))
    return [each for owner in owners for each in door.find(str(owner))]


def test_the_mark_is_written_and_not_shown(door: OvsBackend, ovs: PrivateOvs) -> None:
    wanted = port(role="peer")
    reach(door, wanted)
    assert ovs.ctl("get", "Interface", wanted.name, "external_ids:vifplug-id") == f'"{wanted.owner}"'
    assert ovs.ctl("get", "Interface", wanted.name, "external_ids:vifplug-role") == "peer"
    assert found(door, wanted).external_ids == {}
    unplug(door, wanted)


def test_status_says_what_the_host_offers(door: OvsBackend) -> None:
    status = door.status()
    assert status["reachable"] and status["vswitchd"]
    assert "netdev" in status["datapath_types"] and "internal" in status["interface_types"]


@pytest.mark.parametrize("text", ["with \0 inside", "half \ud800 a character"])
def test_text_that_the_database_can_not_carry_is_refused_before_it_is_sent(door: OvsBackend, text: str) -> None:
    with pytest.raises(errors.InvalidRequest, match="cannot be stored"):
        reach(door, port(external_ids={"iface-id": text}))


maps = st.dictionaries(st.text("ab-", min_size=1, max_size=2), st.text('xyz ü"\\{}', max_size=4), max_size=3)
vlans = st.builds(
    OvsVlan,
    mode=st.sampled_from([None, "access", "trunk", "native-tagged", "native-untagged"]),
    tag=st.none() | st.integers(0, 4095),
    trunks=st.lists(st.integers(0, 4095), max_size=3).map(tuple),
)
shapers = st.just(OvsQos()) | st.builds(
    OvsQos, type=st.sampled_from(["linux-htb", "linux-hfsc"]), other_config=maps, queue=maps, external_ids=maps
)
ports = st.fixed_dictionaries(
    {
        "bridge": st.sampled_from(["br0", "br1"]),
        "vlan": vlans,
        "external_ids": maps,
        "options": maps,
        "other_config": maps,
        "mtu_request": st.just(0) | st.integers(68, 65535),
        "qos": shapers,
        "policing": st.builds(OvsPolicing, rate=st.integers(0, 10**6), burst=st.integers(0, 10**6)),
    }
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=st.lists(ports, min_size=2, max_size=4))
def test_any_state_is_reached_from_any_other_and_undone(ovs: PrivateOvs, states: list[dict[str, Any]]) -> None:
    owner = new_id()
    with backend(ovs, wait="none") as door:
        for state in states:
            wanted = port("any0", owner=owner, **state)
            was = found(door, wanted)
            steps = reach(door, wanted)
            now = found(door, wanted)
            assert not list(compare(wanted, now))
            undo(door, steps)
            assert found(door, wanted) == was
            reach(door, wanted)
        unplug(door, wanted)
        assert found(door, wanted) is None


# -- many at once -------------------------------------------------------------------------------------------------


def _plug(connection: str, wanted: OvsPort, bridge: OvsBridge) -> str:
    """One process's or thread's part: plug and check, with a backend of its own."""
    door = OvsBackend(OvsSettings(connection=connection, timeout=20), no_qdisc)
    door.apply([Step(None, bridge), Step(None, wanted)], [])
    differences = list(compare(wanted, found(door, wanted)))
    door.close()
    return "; ".join(map(str, differences))


@pytest.mark.parametrize("many", ["threads", "processes"])
def test_eight_at_once_plug_the_same_port_on_a_new_bridge(ovs: PrivateOvs, many: str) -> None:
    before = rows(ovs)
    pool: Any = (
        ThreadPoolExecutor(8) if many == "threads" else ProcessPoolExecutor(8, mp_context=get_context("forkserver"))
    )
    with pool, backend(ovs) as door:
        for turn in range(3):
            wanted, bridge = port(**FULL | {"bridge": f"br-{turn}"}), OvsBridge(name=f"br-{turn}", owner=new_id())
            jobs = [pool.submit(_plug, ovs.connection, wanted, bridge) for _ in range(8)]
            assert [job.result() for job in jobs] == [""] * 8
            unplug(door, wanted)
            door.apply([Step(bridge, None)], [])
    assert rows(ovs) == before


def test_eight_threads_on_one_backend_plug_and_unplug_the_same_port(door: OvsBackend) -> None:
    """Whoever is faster, the worst that is told is that another process removed the port."""
    wanted = port(qos=SHAPED)
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _ in range(10):
            with contextlib.suppress(errors.Busy):
                door.apply([Step(None, wanted)] if number % 2 else [Step(wanted, None)], [])

    with ThreadPoolExecutor(8) as pool:
        for job in [pool.submit(work, number) for number in range(8)]:
            job.result()
    unplug(door, wanted)


def test_a_forked_child_has_connections_of_its_own(ovs: PrivateOvs) -> None:
    with backend(ovs) as door:
        wanted = port()
        reach(door, wanted)
        child = os.fork()
        if child == 0:  # nothing but the outcome may leave here
            try:
                seen = found(door, wanted) is not None
            finally:
                os._exit(0 if seen else 1)
        assert [found(door, wanted) is not None for _ in range(50)] == [True] * 50
        assert os.waitpid(child, 0)[1] == 0
        unplug(door, wanted)


# -- no growth ----------------------------------------------------------------------------------------------------


class Counted(OvsdbConnection):
    """A connection that counts what goes over it."""

    operations: list[Any]
    received: int

    def transact(self, operations: Sequence[Any], *args: Any, **keys: Any) -> list[Any]:
        replies = super().transact(operations, *args, **keys)
        Counted.operations += operations
        Counted.received += len(str(replies))
        return replies


def _cost(door: OvsBackend) -> tuple[int, int]:
    """Operations, and bytes of their replies, for one observe, plug, check and unplug."""
    Counted.operations, Counted.received = [], 0
    wanted = port("cost0", owner="00000000-0000-4000-8000-000000000000", **FULL)
    reach(door, wanted)
    found(door, wanted)
    unplug(door, wanted)
    for operation in Counted.operations:
        assert "name" not in [clause[0] for clause in operation.get("where", ()) if operation["table"] != "Bridge"]
        assert "ports" not in operation.get("columns", ())
    return len(Counted.operations), Counted.received


def test_the_cost_of_a_plug_does_not_grow_with_the_ports(ovs: PrivateOvs, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many operations and bytes at 300 ports as at none, and no operation scans ports or interfaces."""
    monkeypatch.setattr("vifplug.host.ovs.pool.OvsdbConnection", Counted)
    with backend(ovs, wait="none") as door:
        _cost(door)
        few = _cost(door)
        crowd = [port() for _ in range(300)]
        door.apply([Step(None, each) for each in crowd], [])
        many = _cost(door)
        door.apply([Step(each, None) for each in crowd], [])
    assert many[0] == few[0]
    assert abs(many[1] - few[1]) < 60, "but for the digits of next_cfg and of an ofport"


def test_a_verb_says_no_more_to_the_database_than_it_needs(ovs: PrivateOvs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages, of which one may be two requests. At best of five: a switch that is busy is asked once more."""
    sent: list[bytes] = []
    send = Line.send
    monkeypatch.setattr(Line, "send", lambda line, data, deadline: [sent.append(data), send(line, data, deadline)])

    def count(work: Callable[..., object], *resources: OvsPort) -> tuple[int, int]:
        sent.clear()
        work(door, *resources)
        return len(sent), b"".join(sent).count(b'"method":"transact"')

    def verbs() -> list[tuple[int, int]]:
        wanted = port(type="internal", vlan=OvsVlan(tag=7))
        changed = wanted.replace(vlan=OvsVlan(tag=8))
        verbs = [(reach, wanted), (reach, wanted), (found, wanted), (reach, changed), (unplug, wanted)]
        return [count(*verb) for verb in verbs]

    with backend(ovs) as door:
        found(door, port())
        counts = [verbs() for _ in range(5)]
        many = [port(type="internal") for _ in range(40)]
        batch = [count(reach, *many)[0], count(unplug, *many)[0]]
    assert list(map(min, zip(*counts, strict=True))) == [(2, 3), (1, 1), (1, 1), (3, 3), (2, 2)]
    assert batch[0] <= 3 and batch[1] == 2


def test_a_pool_reuses_its_connection(ovs: PrivateOvs) -> None:
    pool = Pool(OvsSettings(connection=ovs.connection))
    for _ in range(5):
        pool.transact([])
    assert len(pool._free) == 1
    pool.close()
    assert pool._free == []


def test_a_patch_that_nobody_answers_is_refused(door: OvsBackend) -> None:
    """ovs-vswitchd says so a moment after it gave the OpenFlow port: seldom too late for vifplug, so one of ten is."""
    for _ in range(10):
        wanted = port(type="patch", options={"peer": "nobody"})
        try:
            door.apply([Step(None, wanted)], [])
        except errors.StepFailed as error:
            assert "No usable peer 'nobody' exists" in str(error)
            return
        unplug(door, wanted)
    raise AssertionError("ten patches without a peer were taken")


# -- kinds of port ------------------------------------------------------------------------------------------------


def test_a_patch_joins_two_bridges(ovs: PrivateOvs, door: OvsBackend) -> None:
    """Two ports of one VIF, told apart by their roles, that name each other."""
    owner, other = new_id(), OvsBridge(name="br-patch")
    inner = port("to-outer", owner=owner, role="inner", type="patch", options={"peer": "to-inner"})
    outer = port("to-inner", owner=owner, role="outer", type="patch", options={"peer": "to-outer"}, bridge=other.name)
    steps = reach(door, other, inner, outer)
    assert (found(door, inner).type, found(door, inner).error, found(door, outer).bridge) == ("patch", "", "br-patch")
    assert "peer=to-inner" in ovs.ctl("get", "Interface", "to-outer", "options")
    assert reach(door, other, inner, outer) == []
    undo(door, steps)
    assert found(door, inner) is None and found(door, other) is None
