"""What `adopt` reads of a guest that runs and records of it, on a machine in memory: the kinds that need a NIC, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.memory import Bench
from vifplug import VIF, Instance, errors
from vifplug.guest.domain import live
from vifplug.plan.facts import VirtualFunctionFacts
from vifplug.plan.registry import AdoptedPort, LowerDevice, OvsBridge, OvsVlan, VirtualFunction

GUEST = Instance(uuid="11111111-2222-4333-8444-555555555555", name="web")
MAC = "52:54:00:00:00:01"
OVS = (
    "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>{}"
    "<virtualport type='openvswitch'><parameters interfaceid='4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11'/></virtualport>"
    "<target dev='vnet7'/></interface>"
)
VF = (
    "<interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:01'/><driver name='vfio'/><source>"
    "<address type='pci' domain='0x0000' bus='0x81' slot='0x02' function='0x3'/></source>"
    "<vlan><tag id='10'/></vlan><alias name='hostdev0'/></interface>"
)
MACVTAP = (
    "<interface type='direct'><mac address='52:54:00:00:00:01'/><source dev='eno1' mode='passthrough'/>"
    "<target dev='macvtap0'/></interface>"
)


class Host(Bench):
    def adopt(self, interface: str) -> VIF:
        [each] = read(interface).interfaces
        [adopted] = self.driver.adopt([(each.vif, GUEST)])
        return adopted.vif


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.driver.close()


def read(*interfaces: str) -> live.RunningGuest:
    xml = f"<domain><name>web</name><uuid>{GUEST.uuid}</uuid><devices>{''.join(interfaces)}</devices></domain>"
    return live.guest(xml)


def place_port(bench: Host, vlan: OvsVlan) -> None:
    ids = {"iface-id": "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11", "attached-mac": MAC, "vm-id": GUEST.uuid}
    there = AdoptedPort(name="vnet7", bridge="br0", vlan=vlan, external_ids={**ids, "iface-status": "active"})
    bench.memory.place(there)


@pytest.mark.parametrize(
    ("vlan", "written"),
    [
        ("<vlan><tag id='10'/></vlan>", OvsVlan(tag=10)),
        ("<vlan trunk='yes'><tag id='10'/><tag id='20'/></vlan>", OvsVlan(trunks=(10, 20))),
        ("<vlan trunk='yes'><tag id='7'/></vlan>", OvsVlan(trunks=(7,))),
        (
            "<vlan trunk='yes'><tag id='10' nativeMode='tagged'/><tag id='20'/></vlan>",
            OvsVlan(mode="native-tagged", tag=10, trunks=(10, 20)),
        ),
        ("", OvsVlan()),
    ],
)
def test_the_vlan_columns_as_libvirt_writes_them_are_right(bench: Host, vlan: str, written: OvsVlan) -> None:
    place_port(bench, written)
    bench.adopt(OVS.format(vlan))
    assert bench.driver.check() == []
    bench.driver.unplug("4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11")
    [seen] = bench.memory.there.values()
    assert isinstance(seen.resource, AdoptedPort) and seen.resource.vlan == written


def test_what_libvirt_does_itself_is_not_checked(bench: Host) -> None:
    place_port(bench, OvsVlan())
    vif = bench.adopt(
        OVS.format("<bandwidth><inbound average='100'/></bandwidth>").replace("</int", "<mtu size='1400'/></int")
    )
    assert vif.bandwidth and vif.mtu == 1400
    assert bench.driver.check() == []


def test_a_virtual_function(bench: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = VirtualFunctionFacts(address="0000:81:02.3", pf="ens1", number=3)
    monkeypatch.setattr(bench.driver._host, "virtual_function", lambda address: facts)
    bench.memory.place(VirtualFunction(name="0000:81:02.3", pf="ens1", number=3, mac=MAC, vlan=10, trust=True))
    vif = bench.adopt(VF)
    assert bench.driver.check() == []
    bench.memory.place(VirtualFunction(name="0000:81:02.3", pf="ens1", number=3, mac=MAC, vlan=11, trust=True))
    assert [each.path for each in bench.driver.check()] == ["vf 0000:81:02.3: vlan"]
    [step] = bench.driver.update(vif).steps
    assert str(step) == "set vf 0000:81:02.3: vlan from 11 to 10"
    assert bench.driver.unplug(vif.id) == ()


def test_a_macvtaps_device_is_held(bench: Host) -> None:
    bench.memory.place(LowerDevice(name="eno1", up=True, mac="52:54:00:00:00:07"))
    bench.adopt(MACVTAP)
    with pytest.raises(errors.Conflict, match=r"device eno1 is requested by VIF .* and in use by VIF"):
        bench.adopt(MACVTAP.replace(MAC, "52:54:00:00:00:02"))


def test_one_that_can_not_be_read_does_not_hide_the_others() -> None:
    found = read(OVS.format(""), OVS.format("<vlan><tag id='5000'/></vlan>"), "<interface type='ethernet'/>")
    assert [each.vif.device for each in found.interfaces] == ["vnet7"]
    assert [sentence.partition(":")[0] for sentence in found.wrong] == ["interface 2 of the domain"]
    assert found.instance == GUEST


def test_what_was_asked_of_a_network_is_told_apart() -> None:
    named = OVS.format("<vlan><tag id='10'/></vlan>").replace("bridge='br0'", "network='red' portid='p' bridge='br0'")
    [each] = read(named).interfaces
    assert each.asked is not None and each.asked.source.to_data() == {"network": "red"}
    assert (each.asked.vlan, each.asked.virtualport, each.asked.id) == (None, None, each.vif.id)
    assert each.vif.source.to_data() == {"bridge": "br0"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tap_owner": "vifplug"}, r"\$.source.adopted: needs tap_owner libvirt"),
        ({"target": None}, r"\$.target: expected the name of the existing tap"),
    ],
)
def test_what_can_not_be_adopted_is_told(bench: Host, changes: dict[str, str], sentence: str) -> None:
    [each] = read(OVS.format("")).interfaces
    with pytest.raises(errors.InvalidRequest, match=sentence):
        bench.driver.adopt([(each.vif.replace(**changes), None)])


def test_a_tap_that_vifplug_would_make_is_not_there_to_be_adopted(bench: Host) -> None:
    vif = VIF.from_json({"id": GUEST.uuid, "type": "ethernet", "mac": MAC})
    with pytest.raises(errors.Unsupported, match=r"cannot be adopted: vifplug creates tap .*; plug the VIF"):
        bench.driver.adopt([(vif, None)])


def test_all_of_a_batch_or_none(bench: Host) -> None:
    place_port(bench, OvsVlan())
    [each] = read(OVS.format("")).interfaces
    other = each.vif.replace(id=GUEST.uuid, target="vnet8")
    with pytest.raises(errors.Missing, match=r"adopted-port vnet8 of VIF .* does not exist"):
        bench.driver.adopt([(each.vif, GUEST), (other, GUEST)])
    assert bench.driver.list() == []


def test_a_vif_of_another_guest_is_not_taken_over(bench: Host) -> None:
    """Two guests with one MAC have one id, where nothing else tells them apart."""
    place_port(bench, OvsVlan())
    vif = bench.adopt(OVS.format(""))
    other = Instance(uuid="99999999-2222-4333-8444-555555555555")
    with pytest.raises(errors.Conflict, match=r"belongs to guest web .*, and guest .* requests it"):
        bench.driver.adopt([(vif, other)])
    with pytest.raises(errors.InvalidRequest, match="appears more than once in one batch"):
        bench.driver.adopt([(vif, GUEST), (vif, GUEST)])


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"tap_owner": "vifplug"}, errors.Unsupported, r"\$.source.adopted: needs tap_owner libvirt"),
        ({"target": "vnet9"}, errors.Missing, "port vnet9 does not exist on this host"),
    ],
)
def test_an_update_makes_no_other_tap_of_it(
    bench: Host, changes: dict[str, str], error: type[errors.VifplugError], sentence: str
) -> None:
    bench.memory.place(OvsBridge(name="br0"))
    place_port(bench, OvsVlan())
    vif = bench.adopt(OVS.format(""))
    with pytest.raises(error, match=sentence):
        bench.driver.update(vif.replace(source=vif.source.replace(adopted=False), **changes))
    assert bench.driver.check() == []
