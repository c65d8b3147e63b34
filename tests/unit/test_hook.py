"""What the hook reads from a guest's definition, and what it does with it, on a machine in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import libvirt
from tests.support.memory import Bench
from vifplug import Instance, errors
from vifplug.compat.libvirt_hook import GuestHook
from vifplug.guest import read
from vifplug.guest.domain import metadata
from vifplug.guest.domain.change import InterfaceEdit
from vifplug.guest.domain.edit import edited
from vifplug.model.guestxml import NAMESPACE
from vifplug.model.nic import FilterRef
from vifplug.model.vif import VIF
from vifplug.plan.facts import VirtualFunctionFacts
from vifplug.plan.registry import LowerDevice, OvsQdisc, Tap, VirtualFunction

UUID = "11111111-2222-4333-8444-555555555555"
MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
INTERFACE = (
    "<interface type='ethernet'><mac address='52:54:00:00:00:01'/><target dev='tapweb' managed='no'/>"
    "<model type='virtio'/></interface>"
)
SECOND = INTERFACE.replace(MAC, OTHER).replace("tapweb", "tapdb")
BRIDGE = (
    "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br-int'/><vlan><tag id='10'/></vlan>"
    "<virtualport type='openvswitch'/></interface>"
)


def domain(devices: str, vifs: str, uuid: str = UUID) -> str:
    wanted = f"<metadata><v:vifs xmlns:v='{NAMESPACE}'>{vifs}</v:vifs></metadata>"
    return f"<domain><name>web</name><uuid>{uuid}</uuid>{wanted}<devices>{devices}</devices></domain>"


def document(**keys: Any) -> str:
    known = {"id": UUID, "type": "bridge", "mac": MAC, "source": {"bridge": "br-int"}}
    return f"<v:vif>{json.dumps({**known, 'virtualport': {'type': 'openvswitch'}, **keys})}</v:vif>"


class Host(Bench):
    def run(self, operation: str, xml: str) -> list[errors.VifplugError]:
        return GuestHook(self.driver, "web", metadata.guest(xml)).run(operation)

    def taps(self) -> set[str]:
        return {name for kind, name in self.memory.there if kind == "tap"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.driver.close()


# -- what is read -------------------------------------------------------------------------------------------------


def test_both_forms_say_the_same() -> None:
    [element] = metadata.guest(domain(INTERFACE, BRIDGE)).described
    [text] = metadata.guest(domain(INTERFACE, document(id=element.vif.id, vlan=10))).described
    assert text.vif == element.vif
    assert (element.vif.tap_owner, element.vif.device) == (None, "tapweb")


def test_children_may_have_the_namespace_as_the_default_one() -> None:
    whole = f"<metadata><vifs xmlns='{NAMESPACE}'>{BRIDGE}</vifs></metadata>"
    xml = f"<domain><name>web</name><uuid>{UUID}</uuid>{whole}<devices>{INTERFACE}</devices></domain>"
    assert metadata.guest(xml) == metadata.guest(domain(INTERFACE, BRIDGE))


def test_what_the_metadata_leaves_out_comes_from_the_guests_interface() -> None:
    own = "<driver name='vhost' queues='4'/><link state='down'/><mtu size='1400'/><alias name='ua-web'/>"
    interface = INTERFACE.replace("</interface>", f"{own}<address type='pci' bus='0x00' slot='0x05'/></interface>")
    guest = metadata.guest(domain(interface, document(mtu=1450)))
    [each] = guest.described
    assert guest.instance == Instance(uuid=UUID, name="web")
    assert (each.vif.mtu, each.vif.queues, each.vif.link_state) == (1450, 4, "down")
    assert (each.vif.device, each.vif.alias, len(each.vif.guest_xml)) == ("tapweb", "ua-web", 1)


def test_others_metadata_and_interfaces_are_not_looked_at() -> None:
    rest = "<interface type='user'><mac address='52:54:00:00:00:03'/></interface><interface type='rubbish'/>"
    guest = metadata.guest(domain(INTERFACE + rest, BRIDGE))
    assert len(guest.described) == 1 and not guest.problems
    other = f"<domain><name>web</name><uuid>{UUID}</uuid><metadata><x:vifs xmlns:x='urn:x'/></metadata></domain>"
    assert metadata.guest(other) == metadata.DescribedGuest(instance=Instance(uuid=UUID, name="web"))


def test_what_is_printed_is_read_back() -> None:
    vifs = [VIF.from_json({"id": UUID, "type": "bridge", "mac": MAC, "source": {"bridge": "br0"}})]
    vifs.append(vifs[0].replace(mac=OTHER, target="tapdb", filterref=FilterRef(filter="<&'\">")))
    printed = metadata.element(vifs)
    devices = INTERFACE.replace("tapweb", vifs[0].device) + SECOND
    xml = f"<domain><name>web</name><uuid>{UUID}</uuid>{printed}<devices>{devices}</devices></domain>"
    assert [each.vif.replace(model=None) for each in metadata.guest(xml).described] == vifs


# -- what is refused ----------------------------------------------------------------------------------------------


def test_an_edited_guest_starts_with_what_the_edit_says(bench: Host) -> None:
    xml = edited(domain(INTERFACE, BRIDGE).encode(), MAC, InterfaceEdit.from_data({"vlan": 43})).decode()
    assert bench.run("prepare", xml) == []
    assert [entry.vif.vlan and entry.vif.vlan.access for entry in bench.driver.list()] == [43]


def test_each_of_a_failover_pair_has_its_own_vif() -> None:
    """One MAC, two interfaces: neither the match nor the id is the MAC alone."""
    persistent = INTERFACE.replace("</int", "<alias name='ua-back'/><teaming type='persistent'/></int")
    function = "<source><address type='pci' bus='3' slot='16'/></source>"
    transient = (
        f"<interface type='hostdev'><mac address='{MAC}'/>{function}<teaming type='transient' persistent='ua-back'/>"
        "</interface>"
    )
    passed = f"<interface type='hostdev' managed='no'><mac address='{MAC}'/>{function}</interface>"
    for vifs in (BRIDGE + passed, passed + BRIDGE):
        guest = metadata.guest(domain(transient + persistent, vifs))
        assert guest.problems == ()
        found = {each.vif.type: each for each in guest.described}
        assert (found["bridge"].place, found["hostdev"].place) == (1, 0)
        assert found["bridge"].vif.id == read.default_id(MAC) != found["hostdev"].vif.id
        assert found["hostdev"].vif.id == read.vif(transient).id
    on_networks = [BRIDGE.replace("'bridge'", "'network'").replace("bridge='br-int'", "network='n'")] * 2
    said = "".join(
        each.replace("</int", f"<teaming {part}/></int")
        for each, part in zip(on_networks, ("type='transient' persistent='ua-back'", "type='persistent'"), strict=True)
    )
    said = said.replace("<virt", "<model type='virtio'/><virt")
    guest = metadata.guest(domain(transient + persistent, said))
    assert [each.place for each in guest.described] == [0, 1] and guest.problems == ()


def test_two_interfaces_with_one_mac_are_told_apart_by_their_taps() -> None:
    second = INTERFACE.replace("tapweb", "tapdb")
    guest = metadata.guest(domain(INTERFACE + second, document(target="tapdb", id=UUID) + BRIDGE))
    assert guest.problems == () and [each.place for each in guest.described] == [1, 0]
    both = metadata.guest(domain(INTERFACE + second, BRIDGE + BRIDGE))
    assert "write <target dev> or <alias> of its interface into the VIF" in str(both.problems[0])


@pytest.mark.parametrize(
    ("devices", "vifs", "sentence"),
    [
        (
            "",
            BRIDGE,
            "guest web: VIF 1 of the metadata, 52:54:00:00:00:01: expected one interface .* got no interface",
        ),
        (INTERFACE + INTERFACE, BRIDGE, "got 2 interfaces"),
        (INTERFACE, BRIDGE + BRIDGE.replace("'10'", "'11'"), "guest web: the metadata: expected one VIF for .*, got 2"),
        (INTERFACE, "<v:vlan/>", "expected <interface>, or <vif> with a JSON document, got <vlan>"),
        (INTERFACE, BRIDGE.replace("'10'", "'4095'"), r"VIF 1 of the metadata: \$.vlan.tags\[0\].id: 4095 is not"),
        (INTERFACE, "<v:vif>{</v:vif>", r"VIF 1 of the metadata: \$: is not JSON"),
        (INTERFACE, "<v:vif/>", "expected a VIF document, got nothing"),
        (INTERFACE.replace("<model", "<models"), BRIDGE, "VIF 1 of the metadata, .*: <models> is not known"),
        (INTERFACE.replace("ethernet", "vdpa_x"), BRIDGE, "<interface type='vdpa_x'>: expected"),
        (
            INTERFACE.replace(" managed='no'", ""),
            BRIDGE,
            "expected <target dev='tapweb' managed='no'/>, got <target dev='tapweb'/>.*write .*managed='no'/>",
        ),
        (
            INTERFACE,
            document(target="tapother"),
            "expected <target dev='tapother' managed='no'/>, got <target dev='tapweb'",
        ),
        (INTERFACE, document(model="virtio", driver={"queues": 4}), "expected <driver queues='4'/>, got no <driver>"),
        (INTERFACE, document(mtu=1400), "expected <mtu size='1400'/>, got no <mtu>"),
        (
            BRIDGE,
            BRIDGE,
            "<interface type='ethernet'>, got <interface type='bridge'>; .*no <vlan>, got <vlan> <tag id='10'/>",
        ),
        (
            INTERFACE.replace("</int", "<bandwidth><inbound average='100'/></bandwidth></int"),
            BRIDGE,
            "expected no <bandwidth>, got <bandwidth> <inbound average='100'/>",
        ),
        (
            INTERFACE.replace("</int", "<filterref filter='clean-traffic'/></int"),
            BRIDGE,
            r"\$.filterref: .*nwfilter cannot see its port",
        ),
    ],
)
def test_a_guest_whose_metadata_does_not_fit_is_not_started(
    bench: Host, devices: str, vifs: str, sentence: str
) -> None:
    with pytest.raises(errors.InvalidRequest, match=sentence):
        bench.run("prepare", domain(devices, vifs))
    assert bench.driver.list() == [] and bench.memory.there == {}
    assert bench.run("release", domain(devices, vifs)) == []


def test_the_element_that_is_told_is_the_one_that_fits(bench: Host) -> None:
    with pytest.raises(errors.InvalidRequest) as refused:
        bench.run("prepare", domain(BRIDGE, document(mtu=1400, bandwidth={"inbound": {"average": 9}})))
    element = str(refused.value).partition("write ")[2]
    read.interface(element)
    bench.run("prepare", domain(element, document(mtu=1400, bandwidth={"inbound": {"average": 9}})))
    assert bench.driver.check() == []


def test_all_or_none(bench: Host) -> None:
    bench.memory.place(Tap(name="tapdb"), foreign="somebody's")
    with pytest.raises(errors.Conflict):
        bench.run("prepare", domain(INTERFACE + SECOND, BRIDGE + BRIDGE.replace(MAC, OTHER)))
    assert bench.taps() == {"tapdb"} and bench.driver.list() == []


# -- operations ---------------------------------------------------------------------------------------------------


def test_settled_once_it_runs(bench: Host) -> None:
    xml = domain(INTERFACE, document(bandwidth={"inbound": {"average": 100}}))
    assert bench.run("prepare", xml) == []
    bench.memory.place(OvsQdisc(name="tapweb", owner=UUID, root="noqueue"))  # what libvirt does at a start
    assert bench.run("started", xml) == []
    assert bench.memory.there["ovs-qdisc", "tapweb"].resource == OvsQdisc(name="tapweb", owner=UUID, root="htb")


def test_what_vanished_comes_back_whatever_becomes_of_the_others(bench: Host) -> None:
    xml = domain(INTERFACE + SECOND, BRIDGE + BRIDGE.replace(MAC, OTHER))
    bench.run("prepare", xml)
    bench.memory._there.clear()
    bench.memory.place(Tap(name="tapweb"), foreign="somebody's")
    [error] = bench.run("reconnect", xml)
    assert isinstance(error, errors.Conflict)
    assert {name for kind, name in bench.memory.there if kind == "ovs-port"} == {"tapdb"}


def test_a_guest_that_libvirt_wired_itself_gets_nothing_beside_that(bench: Host) -> None:
    """Metadata that was added while it runs, before its next start."""
    [error] = bench.run("reconnect", domain(BRIDGE, BRIDGE))
    assert "does not fit its VIF" in str(error)
    assert bench.memory.there == {}


def test_an_interface_that_was_detached_is_unplugged_with_the_guest(bench: Host) -> None:
    vifs = BRIDGE + BRIDGE.replace(MAC, OTHER)
    bench.run("prepare", domain(INTERFACE + SECOND, vifs))
    assert bench.run("reconnect", domain(INTERFACE, vifs)) == []
    assert bench.run("release", domain(INTERFACE, vifs)) == []
    assert bench.taps() == set() and bench.driver.list() == []


def test_one_that_can_not_be_unplugged_does_not_keep_the_others(bench: Host) -> None:
    xml = domain(INTERFACE + SECOND, BRIDGE + BRIDGE.replace(MAC, OTHER))
    bench.run("prepare", xml)
    bench.memory.fail_on = {("tap", "tapweb")}
    [error] = bench.run("release", xml)
    assert isinstance(error, errors.PartlyDone)
    assert bench.taps() == {"tapweb"}


def test_no_guest_takes_another_ones_vif(bench: Host) -> None:
    bench.run("prepare", domain(INTERFACE, BRIDGE))
    another = domain(INTERFACE, BRIDGE, uuid="99999999-2222-4333-8444-555555555555")
    with pytest.raises(
        errors.Conflict, match=f"belongs to guest web .{UUID}., and guest .*: give each guest VIFs of its own"
    ):
        bench.run("prepare", another)
    assert bench.run("release", another) == []
    assert bench.taps() == {"tapweb"}
    assert bench.run("release", domain(INTERFACE, BRIDGE)) == []
    assert bench.taps() == set()


ANOTHER = Instance(uuid="99999999-2222-4333-8444-555555555555", name="mallory")
#: who has plugged a VIF before a guest's metadata names it, and what the hook's prepare does with it
BEFORE: dict[str, tuple[Instance | None, str]] = {
    "no guest": (None, "was plugged for no guest, and web requests it"),
    "another guest": (ANOTHER, f"belongs to guest mallory .{ANOTHER.uuid}., and guest web .{UUID}. requests it"),
    "this guest": (Instance(uuid=UUID, name="web"), ""),
}


@pytest.mark.parametrize(("instance", "refused"), BEFORE.values(), ids=BEFORE)
def test_the_hook_releases_only_what_its_own_prepare_recorded(
    bench: Host, instance: Instance | None, refused: str
) -> None:
    xml = domain(INTERFACE, document(vlan=66))
    [vif] = [each.vif for each in metadata.guest(xml).described]
    bench.driver.plug(vif.replace(vlan=None), instance)
    assert bench.run("started", xml) == [] == bench.run("release", xml)
    if refused:
        [error] = bench.run("reconnect", xml)
        assert re.search(refused, str(error))
    assert bench.driver.show(vif.id).vif.vlan is None and bench.driver.show(vif.id).instance == instance
    if refused:
        with pytest.raises(errors.Conflict, match=refused):
            bench.run("prepare", xml)
    else:
        bench.run("prepare", xml)
    assert bench.run("release", xml) == []
    assert bench.taps() == ({"tapweb"} if refused else set())


def test_what_the_metadata_no_longer_names_is_released_too(bench: Host) -> None:
    both = domain(INTERFACE + SECOND, BRIDGE + BRIDGE.replace(MAC, OTHER))
    bench.run("prepare", both)
    bench.driver.update(bench.driver.list()[0].vif.replace(mtu=1400))  # which leaves it the hook's
    assert bench.run("release", domain("", "")) == []
    assert bench.taps() == set()
    bench.run("prepare", both)  # then the host has lost its power
    bench.run("prepare", domain(INTERFACE, BRIDGE))
    assert bench.taps() == {"tapweb"}
    GuestHook(bench.driver, "other", None).run("release")
    assert bench.taps() == {"tapweb"}
    assert GuestHook(bench.driver, "web", None).run("release") == []
    assert bench.taps() == set() and bench.driver.list() == []


def test_a_vif_that_another_guest_takes_over_is_no_longer_the_hooks(bench: Host) -> None:
    bench.run("prepare", domain(INTERFACE, BRIDGE))
    [stored] = bench.driver.list()
    bench.driver.plug(stored.vif, ANOTHER, take_over=True)
    assert bench.run("release", domain(INTERFACE, BRIDGE)) == []
    assert bench.taps() == {"tapweb"}


def test_what_never_was_plugged_is_no_error(bench: Host) -> None:
    assert bench.run("started", domain(INTERFACE, BRIDGE)) == []
    assert bench.run("release", domain(INTERFACE, BRIDGE)) == []


VIFS: list[dict[str, Any]] = [
    {"type": "ethernet", "source": {}},
    {"type": "bridge", "source": {"bridge": "br0"}, "bandwidth": {"inbound": {"average": 100}}, "mtu": 1400},
    {"type": "bridge", "source": {"bridge": "br0", "hybrid": True}, "virtualport": {"type": "openvswitch"}},
    {"type": "direct", "source": {"dev": "eno1"}, "tap_owner": "vifplug", "driver": {"queues": 2}},
    {"type": "direct", "source": {"dev": "eno1", "mode": "bridge"}, "target": "mvt0"},
    {"type": "vhostuser", "source": {"path": "/run/vifplug/a", "mode": "server", "bridge": "br0"}},
    {"type": "vhostuser", "source": {"path": "/run/vifplug/a", "mode": "client", "reconnect": {"enabled": False}}},
    {"type": "hostdev", "source": {"address": "0000:81:02.3"}, "vlan": 7},
]


@pytest.mark.parametrize("keys", VIFS, ids=lambda keys: keys["type"])
def test_the_element_of_every_type_fits_as_libvirt_prints_it(
    bench: Host, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    facts = VirtualFunctionFacts(address="0000:81:02.3", pf="ens1", number=3)
    monkeypatch.setattr(bench.driver._host, "virtual_function", lambda address: facts)
    bench.memory.place(VirtualFunction(name="0000:81:02.3", pf="ens1", number=3))
    for device in ("br0", "eno1"):
        bench.memory.place(LowerDevice(name=device))
    vif = VIF.from_json({"id": UUID, "mac": MAC, **keys})
    printed = libvirt.canonical(bench.driver.plan(vif).interface_xml)
    printed = printed.replace("</interface>", "<address type='pci' bus='0x00' slot='0x05'/></interface>")
    said = f"<v:vif>{json.dumps({'id': UUID, 'mac': MAC, **keys})}</v:vif>"
    bench.run("prepare", domain(printed, said))
    assert bench.driver.check() == []
    assert bench.run("started", domain(printed, said)) == [] == bench.run("release", domain(printed, said))
