"""Named networks through the driver, on a machine in memory: devices of pools, and definitions that change."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.memory import Bench
from vifplug import VIF, Instance, VIFDriver, errors
from vifplug import conf as options
from vifplug.plan import registry
from vifplug.plan.facts import BridgeFacts
from vifplug.plan.registry import LowerDevice, OvsBridge, OvsPort
from vifplug.testing.memory import MemoryHost

GUEST = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web-1")

RED = """
<network>
  <name>red</name>
  <forward mode='bridge'/>
  <bridge name='br-red'/>
  <virtualport type='openvswitch'/>
  <portgroup name='engineering' default='yes'><vlan><tag id='{vlan}'/></vlan></portgroup>
  <portgroup name='sales'><vlan><tag id='30'/></vlan></portgroup>
</network>
"""


def pool(mode: str, *devices: str, more: str = "") -> str:
    listed = "".join(f"<interface dev='{device}'/>" for device in devices)
    return f"<network><name>pool</name><forward mode='{mode}'>{listed}</forward>{more}</network>"


class Networks(Bench):
    """Devices for pools, and what ports the VIFs got."""

    def devices(self, *names: str, up: bool = True) -> None:
        for name in names:
            self.memory.place(LowerDevice(name=name, up=up))

    def ports(self) -> list[OvsPort]:
        return [each.resource for each in self.memory.there.values() if isinstance(each.resource, OvsPort)]

    def port(self) -> OvsPort:
        [port] = self.ports()
        return port

    def tags(self) -> dict[int, int | None]:
        """The access VLAN of each VIF's port, by the VIF's number."""
        return {int(port.owner[:8]): port.vlan.tag if port.vlan else None for port in self.ports()}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Networks]:
    made = Networks(tmp_path)
    yield made
    made.driver.close()


def vif(number: int = 1, network: str = "pool", portgroup: str | None = None, **keys: Any) -> VIF:
    source = {"network": network} | ({"portgroup": portgroup} if portgroup else {})
    id = f"{number:08}-0000-4000-8000-000000000000"
    return VIF.from_json({"id": id, "type": "network", "mac": f"52:54:00:00:00:{number:02x}", "source": source, **keys})


def device(bench: Networks, number: int) -> str:
    found: str = bench.driver.show(vif(number).id).actual.source.dev
    return found


# -- networks on a bridge -----------------------------------------------------------------------------------------


def test_what_was_chosen_is_kept_apart_from_what_was_asked(bench: Networks) -> None:
    bench.define(RED.format(vlan=10))
    plugged = bench.driver.plug(vif(network="red"), GUEST)
    assert plugged.vif == vif(network="red") and plugged.vif.type == "network"
    assert (plugged.actual.type, plugged.actual.source.bridge) == ("bridge", "br-red")
    port = bench.port()
    assert port.bridge == "br-red" and port.vlan and port.vlan.tag == 10
    assert port.external_ids["iface-id"] == vif().id
    assert bench.driver.show(vif().id).vif == vif(network="red")
    assert not bench.driver.plug(vif(network="red")).changed
    bench.driver.unplug(vif().id)
    assert bench.driver.list() == []


def test_an_edited_portgroup_is_a_difference_until_the_vif_is_updated(bench: Networks) -> None:
    bench.define(RED.format(vlan=10))
    bench.driver.plug(vif(network="red"))
    bench.define(RED.format(vlan=20))
    [difference] = bench.driver.check()
    assert difference.path == "network red: vlan" and "20" in str(difference.wanted) and "10" in str(difference.found)
    assert not bench.driver.plug(vif(network="red")).changed
    updated = bench.driver.update(vif(network="red"))
    assert [step.before is not None and step.after is not None for step in updated.steps] == [True]
    assert bench.port().vlan.tag == 20 and bench.driver.check() == []  # type: ignore[union-attr]


def test_another_portgroup_is_another_document(bench: Networks) -> None:
    bench.define(RED.format(vlan=10))
    bench.driver.plug(vif(network="red"))
    bench.driver.plug(vif(network="red", portgroup="sales"))
    assert bench.port().vlan.tag == 30  # type: ignore[union-attr]


@pytest.mark.parametrize("edit", ["<network>", "", "<network><name>blue</name></network>", None])
def test_a_plugged_vif_stays_whatever_becomes_of_its_definition(bench: Networks, edit: str | None) -> None:
    bench.define(RED.format(vlan=10))
    bench.driver.plug(vif(network="red"))
    if edit is None:
        bench.home.network("red").unlink()
    else:
        bench.define(edit)
    assert not bench.driver.plug(vif(network="red")).changed
    with pytest.raises(errors.UnknownNetwork, match="network red"):
        bench.driver.update(vif(network="red"))
    [difference] = bench.driver.check()
    assert difference.path == "network red"
    bench.driver.unplug(vif().id)
    assert bench.driver.list() == []


def test_an_unknown_network_or_portgroup_is_told_and_nothing_is_written(bench: Networks) -> None:
    bench.define(RED.format(vlan=10))
    bench.define("<network><name>blue</name><forward mode='nat'/></network>", "blue")
    bench.define("<network>", "grey")
    with pytest.raises(
        errors.UnknownNetwork, match=r"green is not defined .*defined: red\); .*/grey\.xml cannot be read"
    ):
        bench.driver.plug(vif(network="green"))
    with pytest.raises(errors.UnknownNetwork, match=r"network blue cannot be used: .*blue\.xml: line 1.*nat"):
        bench.driver.plug(vif(network="blue"))
    with pytest.raises(errors.UnknownPortGroup, match="portgroup legal of network red, which has engineering or sales"):
        bench.driver.plug(vif(network="red", portgroup="legal"))
    assert bench.driver.list() == []


def test_a_file_is_read_again_when_it_has_changed_and_only_then(bench: Networks) -> None:
    bench.define(RED.format(vlan=10))
    path = bench.home.network("red")
    os.utime(path, (1, 1))
    first = bench.driver.networks.all()[0]
    for vlan in range(11, 40):
        bench.define(RED.format(vlan=vlan))
        [again] = bench.driver.networks.all()
        assert again.network and again.network.portgroups[0].vlan and again.network.portgroups[0].vlan.access == vlan
    assert first != again


def test_one_name_in_two_files_is_wrong_in_both(bench: Networks) -> None:
    bench.define(RED.format(vlan=10))
    bench.define(RED.format(vlan=20), "copy")
    with pytest.raises(errors.UnknownNetwork, match=r"red is the name of the network in .*(red|copy)\.xml as well"):
        bench.driver.plug(vif(network="red"))


def test_networks_can_be_given_as_objects(bench: Networks) -> None:
    from vifplug import Network

    conf = options.load([])
    conf.set_override("state_path", str(bench.home.path / "other"), group="vifplug")
    network = Network(name="red", mode="vepa", devices=({"dev": "e0"},))  # type: ignore[arg-type]
    bench.devices("e0")
    machine = MemoryHost(bench.memory)
    with VIFDriver(conf, networks=[network], machine=machine) as driver:
        assert driver.plug(vif(network="red")).actual.source.dev == "e0"


# -- pools --------------------------------------------------------------------------------------------------------


def test_a_shared_pool_gives_the_least_used_device_and_the_first_of_equals(bench: Networks) -> None:
    bench.define(pool("vepa", "e0", "e1", "e2"))
    bench.devices("e0", "e1", "e2")
    for number in range(5):
        bench.driver.plug(vif(number))
    assert [device(bench, number) for number in range(5)] == ["e0", "e1", "e2", "e0", "e1"]
    bench.driver.unplug(vif(1).id)
    bench.driver.unplug(vif(4).id)
    assert bench.driver.plug(vif(6)).actual.source.dev == "e1"


def test_an_exclusive_device_is_held_alone_and_exhaustion_says_by_whom(bench: Networks) -> None:
    bench.define(pool("passthrough", "e0", "e1", "e2", "e3"))
    bench.devices("e0", "e1")
    bench.devices("e3", up=False)
    bench.driver.plug(vif(1), GUEST)
    bench.driver.plug(vif(2))
    message = (
        f"network pool has no device for VIF {vif(3).id}: e0 is in use by VIF {vif(1).id} of guest web-1; "
        f"e1 is in use by VIF {vif(2).id}; e2 does not exist on this host; e3 is down"
    )
    with pytest.raises(errors.PoolExhausted, match=re.escape(message)) as caught:
        bench.driver.plug(vif(3))
    assert caught.value.exit_code == 4 and len(bench.driver.list()) == 2
    bench.driver.unplug(vif(1).id)
    assert bench.driver.plug(vif(3)).actual.source.dev == "e0"


def test_without_any_device_the_host_is_not_ready(bench: Networks) -> None:
    bench.define(pool("vepa", "e0"))
    with pytest.raises(errors.Missing, match="e0 does not exist on this host"):
        bench.driver.plug(vif())
    assert bench.driver.list() == []


def test_an_exclusive_device_is_not_given_to_sharers_nor_a_shared_one_alone(bench: Networks) -> None:
    """libvirt asks the newcomer alone (D7): a plain port lands on a device that an 802.1Qbh port has for itself."""
    bench.define(pool("private", "e0", "e1"))
    bench.devices("e0", "e1")
    bench.driver.plug(vif(1, virtualport={"type": "802.1Qbh", "profileid": "p"}))
    assert [bench.driver.plug(vif(number)).actual.source.dev for number in (2, 3)] == ["e1", "e1"]
    with pytest.raises(errors.PoolExhausted):
        bench.driver.plug(vif(4, virtualport={"type": "802.1Qbh", "profileid": "p"}))


def test_a_device_that_a_vif_without_a_network_has_is_taken_as_well(bench: Networks) -> None:
    bench.define(pool("passthrough", "e0", "e1"))
    bench.devices("e0", "e1")
    direct = {"id": vif(1).id, "mac": vif(1).mac, "type": "direct", "source": {"dev": "e0", "mode": "vepa"}}
    bench.driver.plug(VIF.from_json(direct))
    assert bench.driver.plug(vif(2)).actual.source.dev == "e1"
    with pytest.raises(errors.Conflict, match="device e1 is requested by VIF"):
        bench.driver.update(VIF.from_json({**direct, "source": {"dev": "e1", "mode": "bridge"}}))


def test_the_maximum_of_a_device(bench: Networks) -> None:
    text = pool("bridge", "e0", "e1").replace("dev='e0'", "dev='e0' max='1'").replace("dev='e1'", "dev='e1' max='2'")
    bench.define(text)
    bench.devices("e0", "e1")
    assert [bench.driver.plug(vif(n)).actual.source.dev for n in range(3)] == ["e0", "e1", "e1"]
    with pytest.raises(errors.PoolExhausted, match=r"e0 is shared by VIF .*, and 1 is its maximum; e1 is shared by"):
        bench.driver.plug(vif(4))


def test_editing_and_removing_a_network_loses_no_allocation(bench: Networks) -> None:
    """libvirt forgets who has what at any live update of a network (D1, D2)."""
    bench.define(pool("passthrough", "e0", "e1"))
    bench.devices("e0", "e1", "e2")
    bench.driver.plug(vif(1))
    bench.define(pool("passthrough", "e0", "e1", more="<portgroup name='new'/>"))
    assert bench.driver.plug(vif(2)).actual.source.dev == "e1"
    bench.define(pool("passthrough", "e1", "e2"))
    bench.home.network("red").unlink()
    bench.define(pool("passthrough", "e0", "e2"))
    bench.driver = bench.home.driver()
    assert bench.driver.plug(vif(3)).actual.source.dev == "e2"
    assert not bench.driver.update(vif(2)).changed and device(bench, 2) == "e1"
    for number in (1, 2, 3):
        bench.driver.unplug(vif(number).id)
    assert bench.driver.plug(vif(4)).actual.source.dev == "e0"


def test_what_fails_to_be_plugged_holds_no_device(bench: Networks) -> None:
    bench.define(pool("passthrough", "e0"))
    bench.devices("e0")
    with pytest.raises(errors.Unsupported, match="mtu"):
        bench.driver.plug(vif(1, mtu=9000))
    bench.memory.place(registry.Macvtap(name="mine", lower="e0"), foreign="a macvtap of somebody else")
    with pytest.raises(errors.Conflict, match="somebody else"):
        bench.driver.plug(vif(1, tap_owner="vifplug", target="mine"))
    assert bench.driver.list() == []
    assert bench.driver.plug(vif(2)).actual.source.dev == "e0"


def test_a_refused_plug_that_may_hold_its_device_says_so(bench: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.define(pool("passthrough", "e0"))
    bench.devices("e0")

    def full(*_: object) -> None:
        raise errors.StoreFailed("full")

    monkeypatch.setattr(bench.driver._store, "put", full)
    with pytest.raises(errors.StoreFailed, match=r"^full$"):
        bench.driver.plug(vif(1))
    assert bench.driver.list() == [], "its device is free again"
    monkeypatch.setattr(bench.driver._store, "restore", full)
    with pytest.raises(
        errors.PartlyDone, match=f"full; not rolled back: the record of {vif(1).id} .full.; plug or unplug"
    ):
        bench.driver.plug(vif(1))
    monkeypatch.undo()
    assert [each.state for each in bench.driver.list()] == ["plugging"]
    bench.driver.unplug(vif(1).id)
    assert bench.driver.list() == []


def test_the_pools_of_a_lost_record_are_closed_until_recover(bench: Networks) -> None:
    bench.define(pool("passthrough", "e0", "e1"))
    bench.devices("e0", "e1")
    bench.driver.plug(vif(1, tap_owner="vifplug"))
    bench.driver.close()
    (bench.home.path / "state" / "vifplug.db").write_bytes(b"")
    told = r"the one that was written last, which was removed or emptied: run `vifplug recover`"
    with pytest.raises(errors.HostNotReady, match=told + "; until then, no device of a pool is given to a VIF"):
        bench.driver.plug(vif(2))
    lost, unrecorded = bench.driver.check()
    assert (unrecorded.vif_id, unrecorded.path, unrecorded.found) == (vif(1).id, "record", None)
    assert (lost.vif_id, lost.path) == ("", "record") and re.search(told, str(lost.found))
    [rebuilt] = bench.driver.recover()
    assert (rebuilt.vif_id, rebuilt.error) == (vif(1).id, None)
    assert bench.driver.plug(vif(2)).actual.source.dev == "e1", "the record of the first one claims its device again"
    assert bench.driver.check() == [] and bench.driver.recover() == []


def test_a_batch_takes_several_devices_or_none(bench: Networks) -> None:
    bench.define(pool("passthrough", "e0", "e1"))
    bench.devices("e0", "e1")
    with pytest.raises(errors.PoolExhausted):
        bench.driver.plug_many([(vif(number), None) for number in range(3)])
    assert bench.driver.list() == []
    planned = bench.driver.plan_many([(vif(1), None), (vif(2), None)])
    assert [each.actual.source.dev for each in planned] == ["e0", "e1"] and bench.driver.list() == []
    bench.driver.plug_many([(vif(1), None), (vif(2), None)])
    assert [device(bench, number) for number in (1, 2)] == ["e0", "e1"]


def test_a_vif_keeps_its_device_when_its_document_changes(bench: Networks) -> None:
    bench.define(pool("vepa", "e0", "e1"))
    bench.devices("e0", "e1")
    bench.driver.plug(vif(1))
    bench.driver.plug(vif(2))
    updated = bench.driver.update(vif(2, link_state="down"))
    assert updated.actual.source.dev == "e1" and "link state='down'" in updated.interface_xml


def test_a_device_that_is_gone_for_good_is_no_allocation_any_more(bench: Networks) -> None:
    """After a reboot with a card less: the guest gets another device instead of an error for ever."""
    bench.define(pool("passthrough", "e0", "e1"))
    bench.devices("e0", "e1")
    bench.driver.plug(vif(1))
    del bench.memory._there[("lower-device", "e0")]
    assert bench.driver.plug(vif(1)).actual.source.dev == "e1"


def test_another_mode_is_a_difference_and_an_update_moves_the_vif(bench: Networks) -> None:
    bench.define(pool("vepa", "e0"))
    bench.devices("e0")
    bench.driver.plug(vif(1))
    bench.define(RED.format(vlan=10).replace("red", "pool"))
    assert {each.path for each in bench.driver.check()} >= {"network pool: type", "network pool: source"}
    assert bench.driver.update(vif(1)).actual.type == "bridge"
    bench.define(pool("passthrough", "e0"))
    assert bench.driver.plug(vif(2)).actual.source.dev == "e0"


def test_all_vifs_of_a_network_are_updated_together(bench: Networks) -> None:
    bench.define(RED.format(vlan=10))
    bench.define(RED.format(vlan=10).replace("red", "blue"), "blue")
    for number in (1, 2):
        bench.driver.plug(vif(number, network="red"))
    bench.driver.plug(vif(3, network="blue"))
    assert [each.changed for each in bench.driver.update_network("red")] == [False, False]
    bench.define(RED.format(vlan=20))
    bench.define(RED.format(vlan=20).replace("red", "blue"), "blue")
    assert [each.changed for each in bench.driver.update_network("red")] == [True, True]
    assert [difference.vif_id for difference in bench.driver.check()] == [vif(3).id]
    bench.define(RED.format(vlan=30))
    bench.memory.fail_on = lambda step: isinstance(step.subject, OvsPort) and step.subject.owner == vif(2).id
    with pytest.raises(errors.StepFailed):
        bench.driver.update_network("red")
    assert bench.tags() == {1: 20, 2: 20, 3: 10}
    with pytest.raises(errors.UnknownNetwork):
        bench.driver.update_network("green")


def test_what_is_being_unplugged_is_not_brought_back_by_its_network(
    bench: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.define(RED.format(vlan=10))
    for number in (1, 2):
        bench.driver.plug(vif(number, network="red"))

    def killed(ids: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.driver._store, "delete", killed)
    with pytest.raises(KeyboardInterrupt):
        bench.driver.unplug(vif(1).id)
    monkeypatch.undo()
    bench.define(RED.format(vlan=20))
    assert [each.vif.id for each in bench.driver.update_network("red")] == [vif(2).id]
    assert bench.tags() == {2: 20} and bench.driver.show(vif(1).id).state == "unplugging"


def test_a_network_update_works_on_what_it_has_locked_alone(bench: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A VIF that is plugged between the look and the lock is another's to work on."""
    bench.define(RED.format(vlan=10))
    bench.driver.plug(vif(1, network="red"))
    lock = bench.driver._store.lock
    locked: list[list[str]] = []

    def meanwhile(ids: Any, timeout: float) -> Any:
        locked.append(list(ids))
        if len(locked) == 1:
            with bench.home.driver() as other:
                other.plug(vif(2, network="red"))
        return lock(locked[0], timeout)

    monkeypatch.setattr(bench.driver._store, "lock", meanwhile)
    bench.define(RED.format(vlan=20))
    assert [each.vif.id for each in bench.driver.update_network("red")] == locked[0] == [vif(1).id]


def test_a_vlan_takes_a_virtual_function_and_other_devices_of_the_pool_are_left_out(bench: Networks) -> None:
    """libvirt refuses it when the guest starts: the element has the VLAN, and the device has none (D11)."""
    bench.define(pool("passthrough", "e0", more="<vlan><tag id='5'/></vlan>"))
    bench.devices("e0")
    message = "e0 is not a virtual function, which the VLAN requires"
    with pytest.raises(errors.Missing, match=message):
        bench.driver.plug(vif(1))
    assert len(reasons(bench, vif(1))) == 1 and message in reasons(bench, vif(1))[0]
    direct = {"id": vif(3).id, "mac": vif(3).mac, "type": "direct", "source": {"dev": "e0", "mode": "passthrough"}}
    with pytest.raises(errors.Missing, match="device e0 is no virtual function"):
        bench.driver.plug(VIF.from_json({**direct, "vlan": 5}))
    assert bench.driver.list() == []


def test_in_a_batch_a_device_that_is_named_comes_before_one_that_is_chosen(bench: Networks) -> None:
    bench.define(pool("passthrough", "e0", "e1"))
    bench.devices("e0", "e1")
    direct = VIF.from_json(
        {"id": vif(3).id, "mac": vif(3).mac, "type": "direct", "source": {"dev": "e0", "mode": "passthrough"}}
    )
    assert reasons(bench, vif(1), direct) == []
    plugged = bench.driver.plug_many([(vif(1), None), (direct, None)])
    assert [each.actual.source.dev for each in plugged] == ["e1", "e0"]


def test_a_dry_run_refuses_what_a_plug_would_refuse(bench: Networks) -> None:
    bench.define(pool("passthrough", "e0"))
    bench.devices("e0")
    bench.driver.plug(vif(1))
    direct = {"id": vif(3).id, "mac": vif(3).mac, "type": "direct", "source": {"dev": "e0", "mode": "vepa"}}
    for do in (bench.driver.plan, bench.driver.plug):
        with pytest.raises(errors.Conflict, match="device e0 is requested by"):
            do(VIF.from_json(direct))


def test_two_networks_of_one_name_are_no_definition(bench: Networks) -> None:
    from vifplug import Network

    one = Network(name="red", mode="vepa", devices=({"dev": "e0"},))  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidRequest, match="network red is given more than once"):
        VIFDriver(options.load([]), networks=[one, one])


# -- whether a guest could come here ------------------------------------------------------------------------------


def reasons(bench: Networks, *vifs: VIF) -> list[str]:
    return [reason for _, reason in bench.driver.can_plug(vifs)]


def test_what_could_be_plugged_has_no_reason_against_it(bench: Networks) -> None:
    bench.define(pool("passthrough", "e0", "e1"))
    bench.devices("e0", "e1")
    assert reasons(bench, vif(1), vif(2)) == []
    assert bench.driver.list() == [] and [each.holders for each in bench.driver.pool("pool")] == [(), ()]
    bench.driver.plug(vif(1))
    assert reasons(bench, vif(1)) == []  # which it is, already


def test_every_reason_is_told_at_once(bench: Networks) -> None:
    bench.define(pool("passthrough", "e0", "e1"))
    bench.devices("e0")
    bench.driver.plug(vif(1))
    message = reasons(bench, vif(2, portgroup="legal"), vif(3, network="green"), vif(4, network="green", vlan=10))
    assert len(message) == 4
    assert (
        "portgroup legal" in message[0]
        and "e0 is in use by" in message[1]
        and "e1 does not exist on this host" in message[1]
    )
    assert all("network green is not defined" in reason for reason in message[2:])


def test_what_the_first_vif_of_a_guest_takes_the_second_can_not_have(bench: Networks) -> None:
    bench.define(pool("passthrough", "e0"))
    bench.devices("e0")
    assert [each.id for each, _ in bench.driver.can_plug([vif(1), vif(2)])] == [vif(2).id]
    direct = {"id": vif(3).id, "mac": vif(3).mac, "type": "direct", "source": {"dev": "e0", "mode": "vepa"}}
    message = reasons(bench, vif(1), VIF.from_json(direct))
    assert len(message) == 1 and f"for VIF {vif(1).id}: e0 is in use by VIF {vif(3).id}" in message[0]
    other = {**direct, "id": vif(4).id, "mac": vif(4).mac, "source": {"dev": "e0", "mode": "passthrough"}}
    message = reasons(bench, VIF.from_json(direct), VIF.from_json(other))
    [sentence] = message
    assert f"device e0 is requested by VIF {vif(4).id} and in use by VIF {vif(3).id}" in sentence


def test_a_bridge_of_open_vswitch_has_to_be_there_and_mtu_has_to_fit(
    bench: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.define(RED.format(vlan=10))
    [message] = reasons(bench, vif(1, network="red"))
    assert "Open vSwitch bridge br-red does not exist on this host" in message
    bench.memory.place(OvsBridge(name="br-red"))
    bridge = BridgeFacts(name="br-red", openvswitch=True, mtu=1500)
    monkeypatch.setattr(bench.driver._host, "bridges", lambda: [bridge])
    assert reasons(bench, vif(1, network="red")) == []
    [message] = reasons(bench, vif(1, network="red", mtu=9000))
    assert "requests an MTU of 9000, and a device that leads out of bridge br-red has 1500" in message


def test_what_can_not_be_asked_is_a_reason_and_hides_no_other(bench: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.define(RED.format(vlan=10))
    bench.memory.place(OvsBridge(name="br-red"))

    def hung() -> list[BridgeFacts]:
        raise errors.Unavailable("ovsdb-server does not answer")

    monkeypatch.setattr(bench.driver._host, "bridges", hung)
    message = reasons(bench, vif(1, network="red", mtu=1500), vif(2, network="green"))
    assert message[0] == "ovsdb-server does not answer" and "network green is not defined" in message[1]


def test_what_libvirt_or_the_type_refuses_is_a_reason(bench: Networks) -> None:
    bench.define(pool("vepa", "e0"))
    bench.devices("e0")
    message = reasons(bench, vif(1, mtu=9000, filterref="clean-traffic"))
    assert len(message) == 2 and "$.mtu" in message[0] and "$.filterref" in message[1]
