"""What two VIFs of a host may not both have, or had better not: an iface-id, and a MAC on one network or bridge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.memory import Bench
from vifplug import VIF, Instance, VIFDriver, errors
from vifplug.driver import macs
from vifplug.plan.facts import VirtualFunctionFacts
from vifplug.plan.registry import LowerDevice, OvsBridge, VirtualFunction
from vifplug.store.store import Holding

ONE, TWO = (f"{number}c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f" for number in (1, 2))
MAC = "52:54:00:12:34:56"
GUEST = Instance(uuid="11111111-2222-4333-8444-555555555555", name="web")
NETWORK = (
    "<network><name>red</name><forward mode='bridge'/><bridge name='br-int'/>"
    "<virtualport type='openvswitch'/></network>"
)

OVS: dict[str, Any] = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
LINUX: dict[str, Any] = {"type": "bridge", "source": {"bridge": "br0"}}
RED: dict[str, Any] = {"type": "network", "source": {"network": "red"}}
FUNCTION: dict[str, Any] = {"type": "hostdev", "source": {"address": "0000:81:02.3", "bridge": "br-int"}}
TRANSIENT = {"guest_xml": ["<teaming type='transient' persistent='ua-one'/>"]}

#: two VIFs with one MAC, and where they meet; empty: nowhere
TWINS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "one Open vSwitch bridge": (OVS, OVS, "bridge br-int"),
    "a VLAN bridge and its parent": ({**OVS, "source": {"bridge": "br-v10"}}, OVS, "bridge br-int"),
    "one Linux bridge": (LINUX, LINUX, "bridge br0"),
    "one network": (RED, RED, "network red"),
    "a network and its bridge": (RED, OVS, "bridge br-int"),
    "a function and a tap": (OVS, FUNCTION, "bridge br-int"),
    "two bridges": (OVS, LINUX, ""),
    "two MACs": (OVS, {**OVS, "mac": "52:54:00:12:34:57"}, ""),
    "a teaming pair": ({**OVS, "model": "virtio"}, {**FUNCTION, **TRANSIENT}, ""),
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.define(NETWORK)
    made.memory.place(OvsBridge(name="br-int"))
    made.memory.place(OvsBridge(name="br-v10", parent="br-int", tag=10))
    made.memory.place(LowerDevice(name="br0", link_kind="bridge"))
    made.memory.place(VirtualFunction(name="0000:81:02.3", pf="ens1", number=3))
    made.memory.place(LowerDevice(name="pf0vf3"))
    yield made
    made.driver.close()


@pytest.fixture(autouse=True)
def no_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host in memory has no kernel and no switch to ask for its bridges and functions."""
    facts = VirtualFunctionFacts(address="0000:81:02.3", pf="ens1", number=3, representor="pf0vf3")
    monkeypatch.setattr("vifplug.host.host.Host.bridges", lambda host: ())
    monkeypatch.setattr("vifplug.host.host.Host.virtual_function", lambda host, address: facts)


def vif(id: str, keys: dict[str, Any]) -> VIF:
    return VIF.from_json({"id": id, "mac": MAC, **keys})


@pytest.mark.parametrize(("one", "two", "place"), TWINS.values(), ids=TWINS)
def test_one_mac_twice(bench: Bench, one: dict[str, Any], two: dict[str, Any], place: str) -> None:
    first, second = vif(ONE, one), vif(TWO, two)
    name, times = f"MAC {MAC} on {place}", int(bool(place))
    both = bench.driver.can_plug([first, second])
    assert both and len(both.warnings) == times and all(name in sentence for _, sentence in both.warnings)
    plans = bench.driver.plan_many([(first, None), (second, None)])
    assert [len(each.warnings) for each in plans] == [times, times]

    assert bench.driver.plug(first, GUEST).warnings == ()
    for verb in (bench.driver.plug, bench.driver.update):
        sentences = verb(second).warnings
        assert [
            each.startswith(f"{name} is that of VIF {TWO} and of VIF {ONE} of guest web: ") for each in sentences
        ] == ([True] * times)
    assert [(each.vif_id, each.path) for each in bench.driver.check()] == [(ONE, name), (TWO, name)][: 2 * times]

    with bench.home.driver(duplicate_mac="allow") as silent:
        assert silent.check() == [] and silent.plug(second).warnings == ()
        assert silent.can_plug([first, second]).warnings == ()
    bench.driver.unplug(TWO)
    assert bench.driver.check() == []
    with bench.home.driver(duplicate_mac="refuse") as strict:
        assert bool(strict.can_plug([second])) is not bool(place)
        if place:
            refused(strict, second, name)
        else:
            assert strict.plug(second).changed


def refused(driver: VIFDriver, vif: VIF, name: str) -> None:
    for verb in (driver.plan, driver.plug):
        with pytest.raises(errors.Conflict, match=f"{name} is requested by VIF {TWO} and in use by VIF {ONE}"):
            verb(vif)
    assert [each.id for each in driver.list()] == [ONE]


def test_an_iface_id_is_one_vifs(bench: Bench) -> None:
    stolen = {**OVS, "mac": "52:54:00:12:34:57", "virtualport": {"type": "openvswitch", "interfaceid": ONE}}
    first, second = vif(ONE, OVS), vif(TWO, stolen)
    with pytest.raises(errors.Conflict, match=f"iface-id {ONE} is requested by VIF {TWO}"):
        bench.driver.plug_many([(first, None), (second, None)])
    bench.driver.plug(first)
    refused(bench.driver, second, f"iface-id {ONE}")
    assert f"iface-id {ONE}" in dict(bench.driver.can_plug([second])).get(second, "")
    bench.driver.unplug(ONE)
    assert bench.driver.plug(second).changed


def test_many_with_one_mac_are_counted() -> None:
    name = macs.names(vif(ONE, OVS), vif(ONE, OVS))
    many = [Holding(name=name[0], vif_id=f"{number:05}", exclusive=False, instance=None) for number in range(20_000)]
    neighbours = macs.Neighbours(many)
    sentences = {sentence for each in many for sentence in neighbours.warnings(each.vif_id, name)}
    assert len(sentences) == len(many)
    assert all(" and 19996 more: " in sentence and len(sentence) < 300 for sentence in sentences)
