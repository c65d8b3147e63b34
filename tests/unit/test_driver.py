"""The driver's guarantees on a machine in memory: undo at every step, intent, claims, holds, batches."""

from __future__ import annotations

import itertools
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.memory import Bench
from vifplug import VIF, Instance, VIFDriver, errors
from vifplug.driver import comparison, records
from vifplug.plan import registry
from vifplug.plan.condition import Condition, Uplink
from vifplug.plan.registry import LowerDevice, OvsPort, Tap, VirtualFunction
from vifplug.plan.steps import Difference, Observed, Step
from vifplug.store.store import Store

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
OTHER = "1b2c3d4e-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
TAP = "tap9c4e2f10-6a"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.driver.close()


def vif(type: str = "bridge", **keys: Any) -> VIF:
    document: dict[str, Any] = {"id": ID, "type": type, "mac": "52:54:00:12:34:56", **keys}
    if type == "bridge":
        document.setdefault("source", {"bridge": "br-int"})
        document.setdefault("virtualport", {"type": "openvswitch"})
    return VIF.from_json(document)


HYBRID = {"source": {"bridge": "br-int", "hybrid": True}}


@pytest.mark.parametrize("failing", range(6))
def test_a_step_that_fails_undoes_all_before_it(bench: Bench, failing: int) -> None:
    count = itertools.count()
    bench.memory.fail_on = lambda step: next(count) == failing
    with pytest.raises(errors.StepFailed):
        bench.driver.plug(vif(**HYBRID))
    assert bench.there() == set() and bench.driver.list() == []
    bench.memory.fail_on = ()
    assert bench.driver.plug(vif(**HYBRID)).changed
    assert len(bench.there()) == 4


def test_a_failed_update_brings_back_what_was(bench: Bench) -> None:
    bench.driver.plug(vif(vlan=10, mtu=1400))
    before = bench.memory.there
    bench.memory.fail_on = {("ovs-port", TAP)}
    with pytest.raises(errors.StepFailed):
        bench.driver.update(vif(vlan=20, mtu=1500))
    assert bench.memory.there == before
    assert bench.driver.show(ID).vif == vif(vlan=10, mtu=1400) and bench.driver.show(ID).state == "plugged"


def test_what_can_not_be_undone_is_told_and_stays_recorded(bench: Bench) -> None:
    def fails(step: Step) -> bool:
        return isinstance(step.subject, OvsPort) or (isinstance(step.subject, Tap) and step.after is None)

    bench.memory.fail_on = fails
    with pytest.raises(errors.PartlyDone, match=TAP) as caught:
        bench.driver.plug(vif())
    assert caught.value.exit_code == 6 and len(caught.value.left) == 1
    assert bench.driver.show(ID).state == "plugging"
    bench.memory.fail_on = ()
    bench.driver.unplug(ID)
    assert bench.there() == set() and bench.driver.list() == []


def test_a_conflict_is_a_conflict_and_nothing_is_made(bench: Bench) -> None:
    bench.memory.place(Tap(name=TAP), foreign="a tap without the mark of vifplug")
    with pytest.raises(errors.Conflict, match="without the mark"):
        bench.driver.plug(vif())
    assert bench.driver.list() == []


def test_an_error_that_nobody_expected_is_undone_as_well(bench: Bench) -> None:
    def fails(step: Step) -> bool:
        if isinstance(step.subject, OvsPort) and step.after:
            raise KeyboardInterrupt
        return False

    bench.memory.fail_on = fails
    with pytest.raises(KeyboardInterrupt):
        bench.driver.plug(vif())
    assert bench.there() == set() and bench.driver.list() == []


@pytest.mark.parametrize("failing", range(6))
def test_a_step_that_is_cut_short_is_taken_back(bench: Bench, failing: int) -> None:
    """Ctrl-C, or a bug, after the machine has changed and before the step counts as done."""
    count, write = itertools.count(), bench.memory._write

    def interrupted(step: Step) -> None:
        write(step)
        if next(count) == failing:
            raise KeyboardInterrupt

    bench.memory._write = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        bench.driver.plug(vif(**HYBRID))
    assert bench.there() == set() and bench.driver.list() == []


def test_an_interrupted_update_brings_back_what_was(bench: Bench) -> None:
    bench.driver.plug(vif(vlan=10))
    before, write = bench.memory.there, bench.memory._write

    def interrupted(step: Step) -> None:
        write(step)
        bench.memory._write = write  # type: ignore[method-assign]
        raise KeyboardInterrupt

    bench.memory._write = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        bench.driver.update(vif(vlan=20))
    assert bench.memory.there == before and bench.driver.show(ID).vif == vif(vlan=10)


def full(*_: object) -> None:
    error = errors.StoreFailed("its file system is full")
    error.full = True
    raise error


def test_an_unplug_whose_record_cannot_be_deleted_is_partly_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither does it need its intent to be recorded."""
    store = bench.driver._store
    for failing in (["delete"], ["delete", "restore"]):
        bench.driver.plug(vif())
        with monkeypatch.context() as patch:
            for each in failing:
                patch.setattr(store, each, full)
            with pytest.raises(
                errors.PartlyDone, match=rf"VIF {ID} is not completely unplugged: its record \(its"
            ) as left:
                bench.driver.unplug(ID)
            assert left.value.left == ("its record (its file system is full)",) and left.value.unplugged == {}
        assert bench.there() == set()
        assert bench.driver.unplug(ID) == () and bench.driver.list() == []


def test_two_vhost_user_vifs_share_no_socket(bench: Bench) -> None:
    source = {"path": "/run/vifplug/s", "mode": "server"}
    bench.driver.plug(vif("vhostuser", source=source))
    with pytest.raises(errors.Conflict, match=ID):
        bench.driver.plug(vif("vhostuser", id=OTHER, source=source))


def test_a_plan_of_a_batch_is_refused_as_its_plug_would_be(bench: Bench) -> None:
    with pytest.raises(errors.InvalidRequest, match="by both"):
        bench.driver.plan_many([(vif(), None), (vif(id=OTHER, target=TAP), None)])


def test_the_guest_of_the_first_plug_is_kept_by_the_second(bench: Bench) -> None:
    guest = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd")
    bench.driver.plug(vif(), guest)
    assert not bench.driver.plug(vif()).changed and bench.driver.show(ID).instance == guest


def test_a_check_in_parts_finds_what_a_check_of_all_finds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The MAC is the same in two parts; the switch is looked at in each, and the ports of others once."""
    ids = [ID.replace("9c4e", f"9c4{number}") for number in range(5)]
    bench.driver.plug_many([(vif(id=each, vlan=7), None) for each in ids])
    bench.memory.there.pop(("tap", f"tap{ids[1][:11]}"))
    twin = Observed(resource=registry.OvsIfaceId(name=ids[3], holders=("port vnet7 has it",)))
    with bench.memory._lock:
        bench.memory._there["iface-id", ids[3]] = twin
    found = bench.driver.check()
    assert (ids[3], f"iface-id {ids[3]}") in {(each.vif_id, each.path) for each in found}
    assert {each.vif_id for each in found} == set(ids)
    for module in (records, comparison):
        monkeypatch.setattr(module, "PART", 2)
    parts = bench.driver.check()
    assert Counter(parts) == Counter(found) and [each.vif_id for each in parts] == [each.vif_id for each in found]


def test_a_step_tells_the_keys_that_it_takes_away(bench: Bench) -> None:
    bench.driver.plug(vif(external_ids={"rack": "7"}))
    [step] = bench.driver.update(vif()).steps
    assert str(step) == f"set ovs-port {TAP}: external_ids.rack from 7 to nothing"


def test_unplug_refuses_while_a_guest_holds_the_tap(bench: Bench) -> None:
    bench.driver.plug(vif())
    seen = bench.memory.there["tap", TAP].resource
    assert seen
    bench.memory.place(seen, held=True)
    with pytest.raises(errors.Held, match=TAP):
        bench.driver.unplug(ID)
    assert TAP in bench.there()
    assert bench.driver.unplug(ID, force=True)
    assert bench.there() == set()


def test_a_device_that_could_not_be_removed_to_be_made_again_is_left_alone(bench: Bench) -> None:
    """Its second step was not taken either: that the device is there is no trace of it."""
    for name in ("eth0", "eth1"):
        bench.memory.place(LowerDevice(name=name, up=True))

    def direct(lower: str) -> VIF:
        source = {"dev": lower, "mode": "bridge"}
        return VIF.from_data(
            {"id": ID, "type": "direct", "mac": "52:54:00:12:34:56", "source": source, "tap_owner": "vifplug"}
        )

    bench.driver.plug(direct("eth0"))
    before = dict(bench.memory.there)
    bench.memory.fail_on = lambda step: step.subject.kind == "macvtap"
    with pytest.raises(errors.StepFailed):
        bench.driver.update(direct("eth1"))
    assert bench.memory.there == before
    bench.memory.fail_on = lambda step: False
    assert bench.driver.update(direct("eth1")).steps


def test_a_held_tap_is_not_made_anew_under_its_guest(bench: Bench) -> None:
    bench.driver.plug(vif(model="virtio"))
    seen = bench.memory.there["tap", TAP].resource
    assert seen
    bench.memory.place(seen, held=True)
    with pytest.raises(errors.Held, match="recreated"):
        bench.driver.update(vif(model="virtio", driver={"queues": 4}))
    assert bench.driver.update(vif(model="virtio", vlan=10)).changed


def test_unplug_goes_on_past_a_failure_and_can_be_repeated(bench: Bench) -> None:
    bench.driver.plug(vif(**HYBRID))
    bench.memory.fail_on = {("veth", "qvo9c4e2f10-6a")}
    with pytest.raises(errors.PartlyDone, match="qvo9c4e2f10-6a"):
        bench.driver.unplug(ID)
    assert bench.there() == {"qvo9c4e2f10-6a"}
    assert bench.driver.show(ID).state == "unplugging"
    first = bench.driver.check(ID)[0]
    assert (first.path, first.found) == ("state", "unplugging")
    bench.memory.fail_on = ()
    bench.driver.unplug(ID)
    assert bench.there() == set() and bench.driver.list() == []


def test_unplugging_many_goes_on_past_a_failure_and_names_each_vif(bench: Bench) -> None:
    third = ID.replace("9c4e", "9c4f")
    wanted = [vif(**HYBRID), vif(id=OTHER), vif(id=third)]
    bench.driver.plug_many([(each, None) for each in wanted])
    bench.memory.fail_on = {("tap", TAP), ("tap", f"tap{OTHER[:11]}")}
    with pytest.raises(errors.PartlyDone) as caught:
        bench.driver.unplug_many(each.id for each in wanted)
    error = caught.value
    for vif_id in (ID, OTHER):
        assert f"VIF {vif_id} is not completely unplugged: remove tap tap{vif_id[:11]} (" in str(error)
    assert str(error).endswith("; unplug them again") and len(error.left) == 2
    assert error.vif_ids == (ID, OTHER, third) and list(error.unplugged) == [third] and len(error.unplugged[third]) == 2
    assert {each.id: each.state for each in bench.driver.list()} == {ID: "unplugging", OTHER: "unplugging"}
    assert bench.there() == {TAP, f"tap{OTHER[:11]}"}
    bench.memory.fail_on = ()
    assert [len(each) for each in bench.driver.unplug_many([third, ID, OTHER, ID.upper()])] == [0, 1, 1, 0]
    assert bench.there() == set() and bench.driver.list() == [] and bench.driver.unplug_many([]) == []


def test_original_settings_come_back_field_by_field(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"address": "0000:81:02.3", "pf": "ens1", "number": 3}
    monkeypatch.setattr(bench.driver._host, "virtual_function", lambda address: _facts(facts))
    original = VirtualFunction(
        name="0000:81:02.3", pf="ens1", number=3, mac="02:00:00:00:00:01", vlan=0, trust=False, spoof_check=True
    )
    bench.memory.place(original)
    bench.driver.plug(vif("hostdev", source={"address": "0000:81:02.3"}, vlan=42, vf={"trust": True}))
    seen = bench.memory.there["vf", "0000:81:02.3"].resource
    assert isinstance(seen, VirtualFunction)
    assert (seen.mac, seen.vlan, seen.trust, seen.spoof_check) == ("52:54:00:12:34:56", 42, True, True)
    bench.memory.place(seen.replace(spoof_check=False, vlan=7))
    bench.driver.unplug(ID)
    after = bench.memory.there["vf", "0000:81:02.3"].resource
    assert isinstance(after, VirtualFunction)
    assert (after.mac, after.trust) == ("02:00:00:00:00:01", False)
    assert (after.vlan, after.spoof_check) == (7, False), "what somebody else has set since is theirs"


def test_one_function_is_never_given_twice(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"address": "0000:81:02.3", "pf": "ens1", "number": 3}
    monkeypatch.setattr(bench.driver._host, "virtual_function", lambda address: _facts(facts))
    bench.memory.place(VirtualFunction(name="0000:81:02.3", pf="ens1", number=3, mac="02:00:00:00:00:01"))
    bench.driver.plug(vif("hostdev", source={"address": "0000:81:02.3"}))
    with pytest.raises(errors.Conflict, match=ID):
        bench.driver.plug(vif("hostdev", id=OTHER, source={"address": "0000:81:02.3"}))
    assert [entry.vif.id for entry in bench.driver.list()] == [ID]


def _facts(fields: dict[str, Any]) -> Any:
    from vifplug.plan.facts import VirtualFunctionFacts

    return VirtualFunctionFacts(**fields)


def test_a_lower_device_is_shared_and_stays_up(bench: Bench) -> None:
    bench.memory.place(LowerDevice(name="eth0", up=False))
    source = {"dev": "eth0", "mode": "bridge"}
    bench.driver.plug(vif("direct", source=source))
    bench.driver.plug(vif("direct", id=OTHER, source=source))
    bench.driver.unplug(ID)
    lower = bench.memory.there["lower-device", "eth0"].resource
    assert isinstance(lower, LowerDevice) and lower.up is True


def test_a_missing_device_is_named(bench: Bench) -> None:
    with pytest.raises(errors.Missing, match="eth7"):
        bench.driver.plug(vif("direct", source={"dev": "eth7"}))


def test_a_batch_is_all_or_none(bench: Bench) -> None:
    bench.memory.place(Tap(name="tap1b2c3d4e-6a"), foreign="a bridge")
    with pytest.raises(errors.Conflict):
        bench.driver.plug_many([(vif(), None), (vif(id=OTHER), None)])
    assert bench.there() == {"tap1b2c3d4e-6a"} and bench.driver.list() == []


def test_a_batch_refuses_one_device_or_one_vif_twice(bench: Bench) -> None:
    with pytest.raises(errors.InvalidRequest, match="by both"):
        bench.driver.plug_many([(vif(), None), (vif(id=OTHER, target=TAP), None)])
    with pytest.raises(errors.InvalidRequest, match="more than once"):
        bench.driver.plug_many([(vif(), None), (vif(), None)])


def test_progress_is_told(bench: Bench) -> None:
    message: list[tuple[int, int]] = []
    bench.driver.plug_many([(vif(), None), (vif(id=OTHER), None)], progress=lambda *each: message.append(each))
    assert message[-1] == (5, 5) and message == sorted(message)


def test_a_plan_changes_nothing_and_says_what_would(bench: Bench) -> None:
    planned = bench.driver.plan(vif())
    message = [str(step) for step in planned.steps]
    assert message == [f"make tap {TAP}", "make ovs-bridge br-int", f"make ovs-port {TAP}"]
    assert bench.there() == set() and bench.driver.list() == []
    bench.driver.plug(vif())
    assert bench.driver.plan(vif()).steps == ()


def test_update_and_settle_and_show_need_a_record(bench: Bench) -> None:
    for call in (lambda: bench.driver.update(vif()), lambda: bench.driver.settle(ID), lambda: bench.driver.show(ID)):
        with pytest.raises(errors.NotPlugged, match=ID):
            call()
    with pytest.raises(errors.InvalidRequest, match="UUID"):
        bench.driver.unplug("no-uuid")


def test_the_instance_of_the_plug_is_kept_by_an_update(bench: Bench) -> None:
    guest = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd")
    bench.driver.plug(vif(), guest)
    bench.driver.update(vif(vlan=3))
    assert bench.driver.show(ID).instance == guest


def test_settle_does_again_what_the_start_of_a_guest_undid(bench: Bench) -> None:
    bench.driver.plug(vif(bandwidth={"inbound": {"average": 1000}}))
    seen = bench.memory.there["tap", TAP].resource
    assert seen
    bench.memory.place(registry.OvsQdisc(name=TAP, owner=ID, root="noqueue"))
    assert bench.driver.check(ID) == [], "before the guest runs, it is no difference"
    bench.memory.place(seen, held=True)
    [difference] = bench.driver.check(ID)
    assert (difference.path, difference.wanted, difference.found) == (f"ovs-qdisc {TAP}: root", "htb", "noqueue")
    assert bench.driver.settle(ID)
    assert bench.driver.check(ID) == [] and bench.driver.settle(ID) == ()


def test_a_rename_takes_the_old_device_away(bench: Bench) -> None:
    bench.driver.plug(vif())
    bench.driver.update(vif(target="net0"))
    assert bench.there() == {"net0"}
    bench.driver.unplug(ID)
    assert bench.there() == set()


def test_warnings_are_in_every_answer_and_drift_is_in_check(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    drift = Difference(ID, f"bridge {TAP} accept_ra", "0", "1")
    monkeypatch.setattr(Tap, "warnings", lambda self, observed, made: iter([f"{self.name} is risky"] * 2))
    monkeypatch.setattr(Tap, "drift", lambda self, observed: iter([drift]))
    monkeypatch.setattr(bench.driver._host, "bridges", tuple)  # ports on no switch
    bench.memory.place(registry.OvsBridge(name="br-int"))
    answer = bench.driver.can_plug([vif()])
    assert answer and list(answer) == [] and answer.warnings == ((vif(), f"{TAP} is risky"),)
    for verb in (bench.driver.plan, bench.driver.plug, bench.driver.update):
        assert verb(vif()).warnings == (f"{TAP} is risky",)
    assert bench.driver.check() == [drift]


def linux(**keys: Any) -> VIF:
    return VIF.from_json({"id": ID, "type": "bridge", "mac": "52:54:00:12:34:56", "source": {"bridge": "br0"}, **keys})


NARROW = Condition(up=True, uplinks=(Uplink(name="eth0", mtu=1400, passing=True),))
LINUX = LowerDevice(name="br0", link_kind="bridge", vlan_filtering=True)
#: what came after the plug: the VIF, another document of it, what is on the host now, and the difference
LATER: list[tuple[VIF, VIF, Observed, tuple[str, str]]] = [
    (
        vif(),
        vif(vlan=7),
        Observed(resource=registry.OvsIfaceId(name=ID, holders=("port vnet7 has it and is not vifplug's",))),
        (f"iface-id {ID}", "no other port"),
    ),
    (
        linux(vlan=5),
        linux(vlan=6),
        Observed(resource=LINUX.replace(vlan_filtering=False)),
        ("bridge br0 vlan_filtering", "1"),
    ),
    (
        linux(mtu=1500),
        linux(mtu=1600),
        Observed(resource=LINUX, condition=NARROW),
        ("device eth0 mtu", "at least 1500"),
    ),
]


@pytest.mark.parametrize(("plugged", "other", "later", "difference"), LATER, ids=["iface-id", "vlans", "mtu"])
def test_what_came_after_a_plug_does_not_keep_the_vif_from_its_repair(
    bench: Bench, plugged: VIF, other: VIF, later: Observed, difference: tuple[str, str]
) -> None:
    """Refusing mends nothing: it is a warning of every answer, and a difference. A change is refused, as a plug is."""
    bench.memory.place(LINUX)
    assert not bench.driver.plug(plugged).warnings
    with bench.memory._lock:
        bench.memory._there[later.resource.identity] = later  # type: ignore[union-attr]

    def lose_the_tap() -> None:
        for kind in ("tap", "bridge-port"):
            bench.memory._there.pop((kind, TAP), None)

    lose_the_tap()
    [sentence] = bench.driver.plan(plugged).warnings
    assert list(bench.driver.plug(plugged).warnings) == [sentence] and ("tap", TAP) in bench.memory.there
    lose_the_tap()
    assert bench.driver.settle(ID) and ("tap", TAP) in bench.memory.there
    assert bench.driver.can_plug([plugged]).warnings == ((plugged, sentence),)
    assert [(each.path, each.wanted) for each in bench.driver.check()] == [difference]
    with pytest.raises((errors.Conflict, errors.HostNotReady)):
        bench.driver.plug(other)
    bench.driver.unplug(ID)
    with pytest.raises((errors.Conflict, errors.HostNotReady), match=re.escape(sentence)):
        bench.driver.plug(plugged)


FIRST, SECOND = (Instance(uuid=f"{number}0000000-2222-4333-8444-555555555555", name="web") for number in (1, 2))


@pytest.mark.parametrize("verb", ["plan", "plug", "update"])
def test_a_vif_of_another_guest_is_a_conflict_that_names_both(bench: Bench, verb: str) -> None:
    bench.driver.plug(vif())
    bench.driver.plug(vif(), FIRST)  # which takes what had no guest
    call = getattr(bench.driver, verb)
    with pytest.raises(errors.Conflict, match=f"{FIRST.uuid}.*{SECOND.uuid}") as caught:
        call(vif(vlan=20), SECOND)
    assert (caught.value.vif_id, caught.value.holder) == (ID, FIRST.uuid)
    assert not (answer := bench.driver.can_plug([vif()], SECOND)) and SECOND.uuid in answer.reasons[0][1]
    assert call(vif(vlan=20), SECOND, take_over=True).changed
    assert not call(vif(), None).vif.vlan
    assert bench.driver.show(ID).instance == (FIRST if verb == "plan" else SECOND)


def test_an_error_says_what_it_is_about() -> None:
    with pytest.raises(errors.HostNotReady) as caught, errors.about(vif_id=ID, vif_ids=[ID, OTHER], resource="tap x"):
        raise errors.HostNotReady("tap y: not now", resource="tap y", retryable=True)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.vif_id, error.vif_ids, error.resource, error.retryable) == (ID, (ID, OTHER), "tap y", True)
    assert not errors.HostNotReady("").retryable and errors.Busy("").retryable


def test_a_running_guest_keeps_its_mtu_and_its_mac(bench: Bench) -> None:
    bench.driver.plug(vif(mtu=1500))
    tap = bench.memory.there["tap", TAP].resource
    bench.memory.place(tap, held=True)
    for verb in (bench.driver.plan, bench.driver.plug, bench.driver.plug, bench.driver.update):
        again = verb(vif(mtu=1450))
        assert not again.changed and any("keeps MTU 1500 instead of 1450" in each for each in again.warnings)
    assert [(each.path, each.wanted, each.found) for each in bench.driver.check()] == [(f"tap {TAP}: mtu", 1450, 1500)]
    assert bench.driver.update(vif(mtu=1450, vlan=20)).changed  # what the guest does not notice is changed
    with pytest.raises(errors.Held, match="with MAC 52:54:00:12:34:56, which cannot become 52:54:00:12:34:57"):
        bench.driver.plug(vif(mtu=1450, mac="52:54:00:12:34:57"))
    bench.memory.place(tap)
    assert bench.driver.plug(vif(mtu=1450, vlan=20)).changed and bench.driver.check() == []


def test_every_error_carries_its_data(bench: Bench) -> None:
    bench.driver.plug(vif())
    twin = vif(id=OTHER, virtualport={"type": "openvswitch", "interfaceid": ID})
    bench.memory.place(Tap(name="tapgone"), foreign="somebody's")
    third = ID.replace("9c4e", "aaaa")
    failures: list[tuple[list[VIF], tuple[str | None, tuple[str, ...], str | None, str | None]]] = [
        ([vif(), twin], (OTHER, (ID, OTHER), f"iface-id {ID}", ID)),
        ([vif(), vif(id=third, target="tapgone")], (third, (ID, third), "tap tapgone", "somebody's")),
    ]
    for batch, data in failures:
        with pytest.raises(errors.Conflict) as caught:
            bench.driver.plug_many([(each, None) for each in batch])
        error = caught.value
        assert (error.vif_id, error.vif_ids, error.resource, error.holder) == data
    bench.memory.fail_on = {("tap", "taplast")}
    with pytest.raises(errors.StepFailed) as failed:
        bench.driver.plug_many([(vif(), None), (vif("ethernet", id=third, target="taplast"), None)])
    assert (failed.value.vif_id, failed.value.resource) == (third, "tap taplast")
    with pytest.raises(errors.NotPlugged) as missing:
        bench.driver.show(OTHER)
    assert missing.value.vif_id == OTHER and errors.PartlyDone("x").retryable


WRONG: list[tuple[Callable[[VIFDriver], object], str]] = [
    (lambda driver: VIFDriver("x.conf"), "conf: expected an oslo.config ConfigOpts, got 'x.conf': "),  # type: ignore[arg-type]
    (lambda driver: driver.plug("text"), "vif: expected a VIF, got 'text': "),  # type: ignore[arg-type]
    (lambda driver: driver.update({}), "vif: expected a VIF, got an object: "),  # type: ignore[arg-type]
    (lambda driver: driver.show(None), "the id of a VIF: expected a string, got null"),  # type: ignore[arg-type]
    (lambda driver: driver.unplug(5), "the id of a VIF: expected a string, got 5"),  # type: ignore[arg-type]
    (lambda driver: driver.check("\udcff"), r"'\udcff': is not text in UTF-8"),
    (lambda driver: driver.hooked("\udcff", None), r"'hook of guest \udcff': is not text in UTF-8"),
    (lambda driver: driver.plug(vif(), "web"), "instance: expected an Instance or None, got 'web'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "sentence"), WRONG)
def test_a_wrong_type_is_one_sentence(bench: Bench, call: Callable[[VIFDriver], object], sentence: str) -> None:
    with pytest.raises(errors.InvalidRequest) as refused:
        call(bench.driver)
    assert str(refused.value).startswith(sentence)


def test_ids_of_one_minute_have_names_of_their_own(bench: Bench) -> None:
    clock = [f"01932c07-209c-7a3b-8f00-0{number:011x}" for number in range(8)]
    assert len({vif(id=each).device for each in clock}) == 8
    assert vif().device == TAP


def test_a_nic_with_a_guests_mac_gets_that_of_its_hardware_back(bench: Bench) -> None:
    """Its record was lost after a plug, so the first original is gone: the hardware's MAC is none of vifplug's."""
    alone = vif("direct", source={"dev": "eno1", "mode": "passthrough"}, tap_owner="vifplug")
    own = "02:00:00:00:00:01"
    bench.memory.place(LowerDevice(name="eno1", up=True, mac=alone.mac, permanent_mac=own))
    bench.driver.plug(alone)
    assert [each.mac for each in bench.driver.show(ID).originals.values() if isinstance(each, LowerDevice)] == [own]
    bench.driver.unplug(ID)
    assert getattr(bench.memory.there["lower-device", "eno1"].resource, "mac", "") == own


def test_recover_leaves_what_another_process_has_finished(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look for unfinished changes and their locks, the process that was at work ended its plug."""
    bench.driver.plug(vif())
    monkeypatch.setattr(Store, "begun", lambda self: [ID])
    assert bench.driver.recover() == []
    assert bench.driver.list() and ("tap", TAP) in bench.memory.there
