"""The laws of the door for a port that others put on an Open vSwitch bridge: found by name, never made or removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.ovs import backend, found, reach, rows, undo
from vifplug import errors
from vifplug.host.ovs.backend import OvsBackend
from vifplug.plan.preconditions import Preconditions
from vifplug.plan.registry import AdoptedPort, OvsBridge, OvsIfaceId, OvsVlan
from vifplug.plan.steps import Observation, Step, compare, originals, removal, steps_toward
from vifplug.testing.ovs import PrivateOvs

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"
WANTED = AdoptedPort(
    name="vnet0", owner=OWNER, bridge="br0", vlan=OvsVlan(tag=10), external_ids={"iface-id": "i", "vm-id": "g"}
)
CHANGES: list[dict[str, Any]] = [
    {"vlan": OvsVlan()},
    {"vlan": OvsVlan(tag=20)},
    {"vlan": OvsVlan(mode="native-untagged", tag=7, trunks=(7, 8))},
    {"external_ids": {"iface-id": "i", "vm-id": "other", "new": "x"}},
    {"external_ids": {"iface-id": "i", "vm-id": None}},
    {"bridge": "br1"},
    {"bridge": "br1", "vlan": OvsVlan(trunks=(5, 6)), "external_ids": {"iface-id": "i", "port-profile": "p"}},
]


@pytest.fixture
def door(ovs: PrivateOvs) -> Iterator[OvsBackend]:
    """A backend, and the port as libvirt makes it, with something that somebody else put there."""
    _add(ovs)
    before = rows(ovs)
    with backend(ovs) as made:
        yield made
    assert rows(ovs) == before
    ovs.ctl("del-port", "vnet0")


def _add(ovs: PrivateOvs) -> None:
    ids = [f"external-ids:{pair}" for pair in ("iface-id=i", "vm-id=g", "PortData=x")]
    ovs.ctl("add-port", "br0", "vnet0", "tag=10", "--", "set", "Interface", "vnet0", *ids)


def row(ovs: PrivateOvs) -> list[str]:
    return [ovs.ctl("get", table, "vnet0", "_uuid") for table in ("Port", "Interface")]


def test_as_libvirt_made_it_nothing_is_to_be_done(door: OvsBackend, ovs: PrivateOvs) -> None:
    assert steps_toward([WANTED], door.observe([WANTED])) == []
    there = found(door, WANTED)
    assert [there.port_row, there.interface_row] == row(ovs)
    assert there.external_ids["PortData"] == "x"


def test_what_is_not_there_is_not_observed_and_is_never_made(door: OvsBackend) -> None:
    other = WANTED.replace(name="vnet9")
    assert door.observe([other]) == {}
    with pytest.raises(errors.Missing, match="port vnet9 does not exist on this host"):
        steps_toward([other], {})


@pytest.mark.parametrize("change", CHANGES, ids=",".join)
def test_a_change_keeps_the_rows_and_its_undo_brings_back_what_was(
    door: OvsBackend, ovs: PrivateOvs, change: dict[str, Any]
) -> None:
    before, rows_before = found(door, WANTED), row(ovs)
    wanted = WANTED.replace(**change)
    steps = reach(door, wanted)
    assert len(steps) == 1 and row(ovs) == rows_before
    assert not list(compare(wanted, found(door, wanted))) and steps_toward([wanted], door.observe([wanted])) == []
    undo(door, steps)
    assert found(door, WANTED) == before


def test_taken_back_is_what_was_changed_and_no_more(door: OvsBackend, ovs: PrivateOvs) -> None:
    was = originals([WANTED], door.observe([WANTED]))
    wanted = WANTED.replace(vlan=OvsVlan(tag=20))
    reach(door, wanted)
    ovs.ctl("set", "Interface", "vnet0", "external-ids:later=y")
    door.apply(removal([wanted], door.observe([wanted]), was), [])
    assert ovs.ctl("get", "Port", "vnet0", "tag") == "10"
    assert ovs.ctl("get", "Interface", "vnet0", "external_ids:later") == "y"


def test_a_second_port_with_its_iface_id_is_a_difference(door: OvsBackend, ovs: PrivateOvs) -> None:
    assert not list(Preconditions([WANTED]).drift(_observed(door)))
    ovs.ctl("add-port", "br0", "vnet7", "--", "set", "Interface", "vnet7", "external_ids:iface-id=i")
    needs, observed = Preconditions([WANTED]), _observed(door)
    [difference], [error] = needs.drift(observed), needs.objections(observed)
    assert (difference.path, difference.found) == ("iface-id i", "port vnet7 has it and is not vifplug's")
    assert str(error).startswith(f"iface-id i of VIF {WANTED.owner} is taken: port vnet7 has it")
    ovs.ctl("del-port", "vnet7")


def _observed(door: OvsBackend) -> Observation:
    ours = [each for each in Preconditions([WANTED]).required if isinstance(each, OvsBridge | OvsIfaceId)]
    return door.observe([WANTED, *ours])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("iface-id=j", "a port of iface-id j, expected i"),
        ("vifplug-id=x", "a port that vifplug created, for VIF x"),
    ],
)
def test_another_ones_port_is_left_alone(door: OvsBackend, ovs: PrivateOvs, ids: str, message: str) -> None:
    ovs.ctl("set", "Interface", "vnet0", f"external-ids:{ids}")
    seen = door.observe([WANTED])[WANTED.identity]
    assert (seen.resource, seen.foreign) == (None, message)
    assert removal([WANTED], door.observe([WANTED]), {WANTED.identity: WANTED.replace(vlan=OvsVlan())}) == []


def test_one_that_is_made_anew_meanwhile_is_not_taken_for_the_old_one(door: OvsBackend, ovs: PrivateOvs) -> None:
    [step] = steps_toward([WANTED.replace(vlan=OvsVlan(tag=20))], door.observe([WANTED]))
    ovs.ctl("del-port", "vnet0")
    _add(ovs)
    with pytest.raises(errors.Busy, match="adopted-port vnet0 was recreated"):
        door.apply([step], [])
    assert ovs.ctl("get", "Port", "vnet0", "tag") == "10"


def test_a_bridge_that_is_not_there_is_refused(door: OvsBackend, ovs: PrivateOvs) -> None:
    there = found(door, WANTED)
    with pytest.raises(errors.VifplugError, match="adopted-port vnet0"):
        door.apply([Step(there, there.replace(bridge="br9", vlan=OvsVlan(tag=20)))], [])
    assert found(door, WANTED) == there


def test_what_ovs_vswitchd_says_is_a_difference(door: OvsBackend, ovs: PrivateOvs) -> None:
    ovs.ctl("set", "Interface", "vnet0", "type=nonsense")
    try:
        assert [each.path for each in compare(WANTED, found(door, WANTED))] == ["error"]
    finally:
        ovs.ctl("set", "Interface", "vnet0", 'type=""')


@pytest.mark.parametrize("path", ["/run/vhost/web", "/run/vhost/db"])
def test_the_port_of_a_vhost_user_socket(door: OvsBackend, ovs: PrivateOvs, path: str) -> None:
    assert door.vhost_port(path) is None
    ovs.ctl("add-port", "br1", "vhu0", "--", "set", "Interface", "vhu0", "type=dpdkvhostuserclient")
    ovs.ctl("set", "Interface", "vhu0", "options:vhost-server-path=/run/vhost/web")
    ovs.ctl("add-port", "br0", "db", "--", "set", "Interface", "db", "type=dpdkvhostuser")
    assert door.vhost_port(path) == {"web": ("vhu0", "br1"), "db": ("db", "br0")}[path.rpartition("/")[2]]
    for name in ("vhu0", "db"):
        ovs.ctl("del-port", name)
