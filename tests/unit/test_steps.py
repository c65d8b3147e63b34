"""Differences, steps and their undo, and what stops a plan before anything is touched."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest

from vifplug.errors import Conflict, Held, Missing
from vifplug.model.codec import FrozenMap
from vifplug.plan import steps
from vifplug.plan.plan import make_plan
from vifplug.plan.registry import (
    HARDENED,
    BridgePort,
    LinuxBridge,
    LowerDevice,
    OvsBridge,
    OvsPort,
    OvsVlan,
    Ownership,
    Resource,
    SharedBridge,
    Tap,
    VirtualFunction,
    ovs_uuid,
)
from vifplug.plan.steps import Difference, Observed, Step

VIF = "0a1b2c3d-1111-4222-8333-444455556666"
TAP = Tap(name="tap0", owner=VIF, mtu=1500)
PORT = OvsPort(name="tap0", owner=VIF, bridge="br-int", vlan=OvsVlan(mode="access", tag=7))
LOWER = LowerDevice(name="ens1", owner=VIF)
VF = VirtualFunction(name="0000:81:02.3", owner=VIF, pf="ens1", number=3, trust=True)


def there(*found: Resource, held: bool = False) -> dict[tuple[str, str], Observed]:
    return {each.identity: Observed(resource=each, held=held) for each in found}


def paths(wanted: Resource, found: Resource) -> dict[str, tuple[object, object]]:
    return {each.path: (each.wanted, each.found) for each in steps.compare(wanted, found)}


# -- compare ------------------------------------------------------------------------------------------------------


def test_fields_are_compared_by_name_and_maps_by_key() -> None:
    wanted = PORT.replace(options=FrozenMap({"a": "1", "b": "2", "gone": None}))
    found = PORT.replace(vlan=OvsVlan(), options=FrozenMap({"a": "1", "b": "3", "gone": "x", "other": "y"}))
    assert paths(wanted, found) == {
        "vlan": (OvsVlan(mode="access", tag=7), OvsVlan()),
        "options.b": ("2", "3"),
        "options.gone": (None, "x"),
    }


def test_what_is_not_asked_is_no_difference() -> None:
    assert paths(PORT.replace(vlan=None), PORT) == {}
    assert paths(TAP.replace(mtu=None), TAP) == {}


def test_a_key_that_must_not_be_there_and_is_not_is_no_difference() -> None:
    assert paths(PORT.replace(options=FrozenMap({"gone": None})), PORT) == {}


def test_false_and_zero_are_asked() -> None:
    wanted = VF.replace(trust=False, vlan=0)
    assert paths(wanted, VF.replace(vlan=7)) == {"trust": (False, True), "vlan": (0, 7)}


def test_what_helps_to_find_a_resource_is_never_compared() -> None:
    assert paths(VF, VF.replace(pf="ens2", number=4)) == {}
    assert paths(TAP, TAP.replace(owner="")) == {}
    assert paths(OvsBridge(name="br0", datapath_type="netdev"), OvsBridge(name="br0", datapath_type="system")) == {}


def test_a_port_in_error_differs() -> None:
    assert paths(PORT, PORT.replace(error="could not open network device tap0")) == {
        "error": ("", "could not open network device tap0")
    }


def test_differences_name_the_resource_its_vif_and_both_values() -> None:
    found = steps.differences([TAP, PORT, LOWER], {**there(TAP.replace(mtu=1400)), ("lower-device", "ens1"): Observed(
        resource=None, foreign="a wireless device")})  # fmt: skip
    assert list(map(str, found)) == [
        "tap tap0: mtu: expected 1500, got 1400",
        "ovs-port tap0: expected present, got nothing",
        "lower-device ens1: expected vifplug's own, got a wireless device",
    ]
    assert {each.vif_id for each in found} == {VIF}


def test_an_empty_text_is_told_as_nothing() -> None:
    assert str(Difference(VIF, "ovs-port tap0: error", "", "no such device")).endswith(
        "expected nothing, got no such device"
    )


# -- plan ---------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_made_and_what_differs_is_set() -> None:
    assert steps.steps_toward([TAP, PORT], there(TAP.replace(mtu=1400))) == [
        Step(TAP.replace(mtu=1400), TAP),
        Step(None, PORT),
    ]


def test_what_is_not_asked_keeps_its_value() -> None:
    found = TAP.replace(mac="fe:54:00:00:00:01", mtu=1400, sysctls=FrozenMap({**HARDENED, "ipv4/forwarding": "1"}))
    [step] = steps.steps_toward([TAP], there(found))
    assert step.after == found.replace(mtu=1500)


def test_a_key_that_must_not_be_there_is_not_in_the_step() -> None:
    [step] = steps.steps_toward([PORT.replace(options=FrozenMap({"gone": None, "a": "1"}))], {})
    assert isinstance(step.after, OvsPort) and step.after.options == {"a": "1"}


def test_what_can_not_be_changed_in_place_is_made_anew() -> None:
    found = TAP.replace(multi_queue=True)
    assert steps.steps_toward([TAP], there(found)) == [Step(found, None), Step(None, TAP)]


def test_what_a_guest_holds_is_not_made_anew() -> None:
    with pytest.raises(Held) as caught:
        steps.steps_toward([PORT, TAP], there(TAP.replace(multi_queue=True), held=True))
    assert str(caught.value) == (
        f"tap tap0 of VIF {VIF} would have to be recreated (multi_queue: expected off, got on), "
        "and a running guest has it open: stop it first"
    )


def test_what_a_guest_holds_is_changed_in_place() -> None:
    found = TAP.replace(mtu=1400)
    assert steps.steps_toward([TAP], there(found, held=True)) == [Step(found, TAP)]


def test_who_may_open_a_tap_waits_until_its_guest_lets_go() -> None:
    """As of a tap that os-vif made, which anybody may open."""
    found = TAP.replace(user=None, mtu=1400)
    assert steps.steps_toward([TAP], there(found, held=True)) == [Step(found, TAP.replace(user=None))]
    assert steps.steps_toward([TAP], there(found)) == [Step(found, None), Step(None, TAP)]
    assert [each.path for each in steps.differences([TAP], there(found, held=True))] == [f"{TAP}: mtu", f"{TAP}: user"]


@pytest.mark.parametrize("resource", [None, TAP], ids=["another thing", "another owner's"])
def test_what_is_somebody_elses_is_a_conflict_that_says_whose(resource: Tap | None) -> None:
    seen = {TAP.identity: Observed(resource=resource, foreign="a tap without vifplug's mark")}
    with pytest.raises(Conflict) as caught:
        steps.steps_toward([PORT, TAP], seen)
    assert str(caught.value) == (
        f"tap tap0 for VIF {VIF} is taken: got a tap without vifplug's mark; "
        "choose another target, or have its owner remove it"
    )


def test_what_is_only_set_has_to_be_there() -> None:
    with pytest.raises(Missing, match=f"device ens1 does not exist on this host, and VIF {VIF} needs it"):
        steps.steps_toward([TAP, LOWER], {})


def test_an_existing_bridge_is_left_as_it_is() -> None:
    found = OvsBridge(name="br-int", datapath_type="system")
    assert steps.steps_toward([OvsBridge(name="br-int", datapath_type="netdev")], there(found)) == []


# -- a step -------------------------------------------------------------------------------------------------------


def test_the_undo_of_a_step_is_the_step_turned_round() -> None:
    step = Step(TAP.replace(mtu=1400), TAP)
    assert step.undo() == Step(TAP, TAP.replace(mtu=1400)) and step.undo().undo() == step


def test_a_step_says_what_it_does() -> None:
    assert str(Step(None, TAP)) == "make tap tap0"
    assert str(Step(TAP, None)) == "remove tap tap0"
    assert str(Step(TAP.replace(mtu=1400), TAP)) == "set tap tap0: mtu from 1400 to 1500"


# -- removal ------------------------------------------------------------------------------------------------------


def test_removal_goes_backwards_and_puts_settings_back() -> None:
    original = VF.replace(trust=False, vlan=5)
    found = VF.replace(vlan=5)
    bridge = OvsBridge(name="br-int")
    taken = steps.removal([VF, TAP, bridge, PORT], there(found, TAP, bridge, PORT), {VF.identity: original})
    assert taken == [Step(PORT, None), Step(TAP, None), Step(found, original)]


def test_what_is_gone_or_somebody_elses_is_not_removed() -> None:
    seen = {TAP.identity: Observed(resource=TAP, foreign="a tap marked for another VIF")}
    assert steps.removal([TAP, PORT, VF], seen, {VF.identity: VF}) == []


def test_a_setting_that_somebody_changed_since_is_theirs() -> None:
    original = VF.replace(trust=False, vlan=5)
    wanted = VF.replace(vlan=7)
    [step] = steps.removal([wanted], there(wanted.replace(vlan=9)), {VF.identity: original})
    assert step.after == original.replace(vlan=9)


def test_without_an_original_a_setting_stays() -> None:
    assert steps.removal([VF], there(VF), {}) == []


def test_a_lower_device_stays_up() -> None:
    """Others may have come to rely on it."""
    wanted = LOWER.replace(mac="52:54:00:00:00:01")
    original = LOWER.replace(up=False, mac="52:54:00:00:00:99")
    [step] = steps.removal([wanted], there(wanted), {LOWER.identity: original})
    assert step.after == original.replace(up=True)


def test_originals_are_of_what_is_only_set_and_there() -> None:
    found = VF.replace(trust=False)
    assert steps.originals([TAP, VF, LOWER], there(TAP, found)) == {VF.identity: found}


def test_the_original_of_a_device_that_several_vifs_share_is_each_ones_own() -> None:
    """A batch observes the device once, for one of them; a record admits only what is its VIF's."""
    seen = LOWER.replace(owner="9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f")
    assert steps.originals([LOWER], there(seen)) == {LOWER.identity: LOWER}


# -- an update ----------------------------------------------------------------------------------------------------


def test_an_update_that_drops_a_vlan_clears_it() -> None:
    assert steps.with_former([PORT.replace(vlan=None)], [PORT], {}) == [PORT.replace(vlan=OvsVlan())]


def test_what_never_was_asked_is_not_cleared() -> None:
    bare = PORT.replace(vlan=None)
    assert steps.with_former([bare], [bare], {}) == [bare]
    assert steps.with_former([bare], [], {}) == [bare]
    assert steps.with_former([bare], [PORT.replace(name="tap1")], {}) == [bare]


def test_a_key_that_is_dropped_must_not_be_there() -> None:
    former = PORT.replace(external_ids=FrozenMap({"a": "1", "b": "2"}))
    [full] = steps.with_former([PORT.replace(external_ids=FrozenMap({"a": "1"}))], [former], {})
    assert isinstance(full, OvsPort) and full.external_ids == {"a": "1", "b": None}


def test_a_dropped_setting_of_what_was_there_before_goes_back_to_what_it_was() -> None:
    """Not to the kernel's default, which it may not have had."""
    original = VF.replace(trust=True, mac="52:54:00:00:00:99")
    former = VF.replace(trust=False, mac="52:54:00:00:00:01")
    [full] = steps.with_former([VF.replace(trust=None)], [former], {VF.identity: original})
    assert full == VF.replace(trust=True, mac="52:54:00:00:00:99")


def test_a_dropped_sysctl_stays() -> None:
    """A sysctl cannot be absent, and what the kernel began with is not known."""
    former = TAP.replace(sysctls=FrozenMap({**HARDENED, "ipv4/proxy_arp": "1"}))
    assert steps.with_former([TAP], [former], {}) == [TAP]


def test_what_an_update_no_longer_wants_at_all_is_dropped() -> None:
    assert steps.dropped([TAP], [PORT, TAP, VF]) == [PORT, VF]


def test_steps_that_are_one_transaction_come_last_and_go_first() -> None:
    make_port, make_tap = Step(None, PORT), Step(None, TAP)
    assert steps.batched_last([make_port, make_tap, make_port]) == [make_tap, make_port]
    assert steps.batched_first([make_tap, make_port, make_tap]) == [make_port, make_tap]


# -- what several VIFs share --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Tunnel(Resource):
    """What all VIFs of one segment share; it goes with the last of them."""

    kind = "tunnel"
    ownership = Ownership.SHARED

    @property
    def remove_when_unused(self) -> bool:
        return True


def test_devices_of_several_vifs_are_removed_next_to_one_another_and_each_vif_in_its_order() -> None:
    def gone(number: int, *kinds: type[Resource]) -> list[Step]:
        return [Step(kind(name=f"{kind.kind}{number}", owner=VIF), None) for kind in kinds]

    back = Step(LOWER, LOWER.replace(mtu=1500))
    hybrid = [*gone(1, Tap), *gone(1, SharedBridge), *gone(1, LinuxBridge)]
    taken = steps.together([[Step(PORT, None), *hybrid], [*gone(2, SharedBridge, Tap), back], [back]])
    assert [step.subject.name for step in taken] == [
        "tap0",
        "shared-bridge2",
        "ens1",
        "tap1",
        "tap2",
        "shared-bridge1",
        "bridge1",
    ]


def test_what_is_shared_is_taken_back_after_its_user_has_moved_away() -> None:
    port = BridgePort(name="tap0", owner=VIF, bridge="br1")
    former, wanted = [Tunnel(name="one"), TAP, port], [Tunnel(name="two"), TAP, port.replace(bridge="br2")]
    found = make_plan(wanted, former, there(*former), {})
    assert list(map(str, found.steps)) == [
        "make tunnel two",
        "set bridge-port tap0: bridge from br1 to br2",
        "remove tunnel one",
    ]


def test_what_an_interrupted_change_was_to_put_back_is_put_back() -> None:
    """Killed between its record and its steps, twice: the machine still has the value from before both."""
    original = LowerDevice(name="e1", mac="02:00:00:00:00:01")
    left = original.replace(mac="52:54:00:00:00:05")
    recorded = original.replace(owner=VIF)  # the change that was killed wanted the original MAC back
    observed, originals = there(left), {original.identity: original}
    assert steps.removal([recorded], observed, originals) == []  # somebody else's since
    [step] = steps.removal([recorded], observed, originals, interrupted=True)
    assert step.after is not None and step.after.mac == original.mac  # type: ignore[attr-defined]


def test_the_rows_of_a_port_have_the_uuids_of_rfc_9562() -> None:
    """The databases of hosts have them: another namespace or text would part a port from its VIF."""
    namespace = uuid.UUID("6f0b7b5e-4c1b-5c9f-9d7e-1d2c3b4a5f60")
    for number in range(100):
        assert ovs_uuid("port", f"vïf{number}", "r") == str(uuid.uuid5(namespace, f"port:vïf{number}:r"))
