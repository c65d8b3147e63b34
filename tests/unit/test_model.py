"""The model's own rules, one by one: names, VLANs, bandwidth, virtualports, sources, the VIF."""

from __future__ import annotations

import functools
import json
import re
import time
from typing import Any

import pytest

from vifplug.errors import InvalidDocument
from vifplug.model import names
from vifplug.model.bandwidth import Bandwidth, Limit
from vifplug.model.codec import FrozenMap, joined
from vifplug.model.guestxml import parse_guest_element
from vifplug.model.nic import Driver, FilterRef
from vifplug.model.source import HostDeviceSource, Reconnect, VhostUserSource
from vifplug.model.vif import VIF
from vifplug.model.virtualport import VirtualPort
from vifplug.model.vlan import Tag, Vlan

ID = "3f8a1c52-77d0-4a6e-9b1d-0c2e5f6a7b81"
DOCUMENT: dict[str, Any] = {"id": ID, "type": "bridge", "mac": "52:54:00:11:22:33", "source": {"bridge": "br0"}}


def vif(**more: Any) -> VIF:
    return VIF.from_json({**DOCUMENT, **more})


def problems(**more: Any) -> dict[str, str]:
    with pytest.raises(InvalidDocument) as refusal:
        vif(**more)
    return {problem.path: problem.message for problem in refusal.value.problems}


# -- what costs ---------------------------------------------------------------------------------------------------


def nested(levels: int, *, lists: bool = False) -> Any:
    data: Any = 1
    for _ in range(levels):
        data = [data] if lists else {"a": data}
    return data


SHARED = functools.reduce(lambda below, _: [below, below], range(30), [])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"vlan": ",".join(["1-4094"] * 100_000)}, "expected each VLAN once, got more than 4094 VLANs"),
        ({"vlan": "1," * 50_000 + "1"}, "expected VLANs such as 1011"),
        ({"vlan": "1-4094,7-4094"}, "expected each VLAN once"),
        ({"vlan": {"tags": [{"id": 1}, {"id": 1}]}}, "expected each VLAN once, got 1 more than once"),
        ({"vlan": {}}, "expected at least one tag, got none"),
        ({"vlan": {"mode": "untagged", "tags": [{"id": 1}]}}, "expected none with mode untagged"),
        ({"vlan": {"mode": "dot1q-tunnel"}}, "expected one tag with mode dot1q-tunnel, got 0"),
        ({"vlan": {"mode": "dot1q-tunnel", "all": True}}, "dot1q-tunnel cannot be combined with a trunk"),
        ({"vlan": {"tags": [{"id": 1}], "cvlans": "2"}}, "requires"),
        ({"vlan": {"mode": "dot1q-tunnel", "tags": [{"id": 1}], "cvlans": "2u"}}, "expected VLANs such as '10,20-30'"),
        ({"vlan": {"all": True, "trunk": False}}, 'expected true with "all", got false'),
        ({"vlan": "10u,20u,all"}, "expected at most one native VLAN"),
        (
            {"type": "acme", "source": nested(600)},
            "is nested too deeply for a VIF document (expected at most 32 levels)",
        ),
        ({"type": "acme", "source": {"a": nested(600, lists=True)}}, "is nested too deeply for a VIF document"),
        ({"type": "acme", "source": {"a": SHARED}}, "is too large for a VIF document"),
        ({"mtu": 10**5000}, "has a number of 16610 bits, which no VIF document can have"),
        ({"type": "acme", "source": print}, "has a value of Python's type builtin_function_or_method, which no VIF"),
        ({"type": "acme", "source": {1: 2}}, "has the key 1, which no VIF document can have"),
        ({"type": "acme", "source": {"a": float("nan")}}, "has the number nan, which no VIF document can have"),
        ({"type": "acme", "source": ["\ud800"]}, r"has half of a surrogate pair in '\ud800', which no VIF"),
        ({"mac": "9" * 5000}, "got '" + "9" * 76 + "..."),
        ({"x\x1b" * 5000: 1}, r"$.'x\x1bx\x1b"),
        ({str(number): 1 for number in range(50_000)}, "49900 more problems"),
    ],
)
def test_a_document_that_would_cost_is_refused_before_it_does(keys: dict[str, Any], message: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidDocument) as refusal:
        vif(**keys)
    assert message in (told := str(refusal.value))
    assert len(told) < 100_000
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"mtu": ' + "9" * 5000 + "}", "expected a number of at most 20 digits, got '9999"),
        ('{"mtu": 1e999}', "expected a finite number, got 1e999"),
        ('{"mtu": NaN}', "expected a finite number, got NaN"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"type": "acme", "source": ' + '{"a":' * 600 + "1" + "}" * 601, "is nested too deeply"),
        ('{"type": "' + "x" * 2**20 + '"}', "expected a VIF document of at most 1048576 bytes, got 1048588"),
    ],
)
def test_a_text_that_would_cost_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidDocument, match=re.escape(message)):
        VIF.from_json(text)


def test_a_number_that_python_does_not_print_is_told() -> None:
    with pytest.raises(InvalidDocument, match=r"\$\.id: a number of 16610 bits is not 1\.\.4094"):
        Tag(id=10**5000)


@pytest.mark.parametrize(
    ("element", "message"),
    [
        ("<script path='/bin/true'/>", "<script> is not accepted in a document"),
        ("<downscript path='/bin/true'/>", "<downscript> is not accepted in a document"),
        ("<portForward proto='tcp'/>", "<portForward> is not accepted in a document"),
        ("<rom file='/etc/shadow'/>", "file='/etc/shadow' of <rom> is not accepted in a document"),
        (
            "<backend tap='/dev/sda'/>",
            "tap='/dev/sda' of <backend> is not accepted in a document (expected /dev/net/tun)",
        ),
        ("<backend type='passt' logFile='/etc/passwd'/>", "type='passt' of <backend> is not accepted"),
        ("<backend tap='/dev/net/tun' vhost='/etc/x'/>", "vhost='/etc/x' of <backend> is not accepted"),
        (f"<rom {'y' * 5000}='{'z' * 5000}'/>", "yyy...='zzz"),
    ],
)
def test_a_document_runs_no_program_and_opens_no_file_as_root(element: str, message: str) -> None:
    found = problems(mtu=1, guest_xml=["<rom bar='off'/>", element])
    assert message in found["$.guest_xml[1]"] and "$.mtu" in found and len(found["$.guest_xml[1]"]) < 500
    assert list(problems(guest_xml=[element])) == ["$.guest_xml[0]"]


@pytest.mark.parametrize("element", ["<script path='/bin/true'/>", "<rom file='/x'/>", "<backend tap='/dev/x'/>"])
def test_libvirts_own_element_keeps_them(element: str) -> None:
    kept = VIF.from_xml(f"<interface type='ethernet'><mac address='{DOCUMENT['mac']}'/>{element}</interface>")
    assert kept.guest_xml == (element,) and VIF.from_data(kept.to_data()) == kept


@pytest.mark.parametrize(
    "element",
    [
        "<rom bar='on' enabled='yes'/>",
        "<backend tap='/dev/net/tun' vhost='/dev/vhost-net'/>",
        "<address type='pci' domain='0x0000' bus='0x01' slot='0x07' function='0x0'/>",
        "<teaming type='persistent'/>",
    ],
)
def test_a_document_places_and_tunes_the_guests_device(element: str) -> None:
    assert vif(guest_xml=[element]).guest_xml == (element,)


# -- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parse", "given", "normal"),
    [
        (names.parse_mac, "52:54:00:AB:CD:EF", "52:54:00:ab:cd:ef"),
        (names.parse_uuid, ID.upper().replace("-", ""), ID),
        (names.parse_profile_id, "Gerät 1 <a&b>", "Gerät 1 <a&b>"),
        (names.parse_pci, "81:02.3", "0000:81:02.3"),
        (names.parse_pci, "0000:81:1F.7", "0000:81:1f.7"),
        (names.parse_pci, "10000:01:00.0", "10000:01:00.0"),
        (names.parse_pci, "00000001:01:00.0", "0001:01:00.0"),
        (names.parse_device, "eth0.10", "eth0.10"),
        (names.parse_socket_path, "/run/v.sock", "/run/v.sock"),
        (names.parse_alias, "ua-net_0", "ua-net_0"),
    ],
)
def test_a_name_has_one_normal_form(parse: Any, given: str, normal: str) -> None:
    assert parse(given) == normal
    assert parse(normal) == normal


@pytest.mark.parametrize(
    ("parse", "given"),
    [
        (names.parse_mac, "01:00:5e:00:00:01"),
        (names.parse_mac, "00:00:00:00:00:00"),
        (names.parse_mac, "52-54-00-11-22-33"),
        (names.parse_uuid, "x"),
        (names.parse_uuid, f"urn:uuid:{ID}"),
        (names.parse_uuid, f"{{{ID}}}"),
        (names.parse_uuid, "\u0660" * 32),
        (names.parse_uuid, "1_" * 15 + "11"),
        (names.parse_device, "\ud800"),
        (names.parse_pci, "0000:81:20.0"),
        (names.parse_pci, "0000:81:02.8"),
        (names.parse_device, ""),
        (names.parse_device, "sixteen-bytes-it"),
        (names.parse_device, "a/b"),
        (names.parse_device, "a b"),
        (names.parse_device, ".."),
        (names.parse_device, "all"),
        (names.parse_device, "é" * 8),
        (names.parse_socket_path, "relative"),
        (names.parse_socket_path, "/" + "x" * 107),
        (names.parse_socket_path, "/a\0b"),
        (names.parse_socket_path, "/a\nb"),
        (names.parse_socket_path, "/\ud800"),
        (names.parse_socket_path, "/"),
        (names.parse_socket_path, "//"),
        (names.parse_socket_path, "/run/x/"),
        (names.parse_socket_path, "/run/.."),
        (names.parse_socket_path, "/run/../a.sock"),
        (names.parse_socket_path, "/run/./a.sock"),
        (names.parse_socket_path, "/run//x"),
        (names.parse_socket_path, "//run/x"),
        (names.parse_profile_id, "é" * 20),
        (names.parse_profile_id, ""),
        (names.parse_profile_id, "a\x01b"),
        (names.parse_profile_id, "a\nb"),
        (names.parse_profile_id, "\ud800"),
        (names.parse_alias, "net0"),
        (names.parse_alias, "ua-"),
        (names.parse_alias, "ua-a b"),
        (names.parse_word, "a\nb"),
        (names.parse_word, "\ud800"),
        (names.parse_model, "a b"),
    ],
)
def test_a_wrong_name_is_refused_with_a_sentence(parse: Any, given: str) -> None:
    with pytest.raises(ValueError, match=r"^expected .* got "):
        parse(given)


def test_the_hosts_mac_is_the_guests_with_a_high_first_byte() -> None:
    assert names.host_mac("52:54:00:11:22:33") == "fe:54:00:11:22:33"
    assert names.host_mac("fe:54:00:11:22:33") == "fa:54:00:11:22:33"


# -- vlan ---------------------------------------------------------------------------------------------------------


def test_several_tags_are_a_trunk_and_one_is_not() -> None:
    assert Vlan.from_data({"tags": [{"id": 1}, {"id": 2}]}).trunk is True
    assert Vlan.from_data({"tags": [{"id": 1}]}).trunk is False


def test_a_native_vlan_makes_no_access_port() -> None:
    vlan = Vlan.from_data("101u,1011-1013")
    assert (vlan.access, vlan.native and vlan.native.id, vlan.ids) == (None, 101, (101, 1011, 1012, 1013))


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (0, "$.tags[0].id"),
        (4095, "$.tags[0].id"),
        ("5-4", "$"),
        ("1-2u", "$"),
        ("\u0665", "$"),
        ("9" * 5000, "$"),
        ("1-" + "9" * 5000, "$"),
        ({"tags": []}, "$.tags"),
        ({"tags": [{"id": 5}, {"id": 5}]}, "$.tags"),
        ({"tags": [{"id": 1, "native_mode": "tagged"}, {"id": 2, "native_mode": "untagged"}]}, "$.tags"),
        ({"trunk": False, "tags": [{"id": 1}, {"id": 2}]}, "$.trunk"),
        ({"tags": [{"id": 1, "native_mode": "both"}]}, "$.tags[0].native_mode"),
        ({"tags": [{"id": "1"}]}, "$.tags[0].id"),
    ],
)
def test_a_vlan_that_no_switch_can_do_is_refused_at_its_path(given: Any, path: str) -> None:
    with pytest.raises(InvalidDocument) as refusal:
        Vlan.from_data(given)
    assert path in {problem.path for problem in refusal.value.problems}
    assert all("expected" in each.message or " is not 1..4094" in each.message for each in refusal.value.problems)


def test_the_work_for_a_trunk_grows_with_its_tags_and_not_with_their_square() -> None:
    class Counted(int):
        """A VLAN id that counts how often it is compared."""

        comparisons = 0

        def __eq__(self, other: object) -> bool:
            Counted.comparisons += 1
            return int(self) == other

        __hash__ = int.__hash__

    every = [Counted(number) for number in range(1, 4095)]
    vlan = Vlan(tags=tuple(Tag(id=each) for each in every))
    assert vlan.ids == tuple(range(1, 4095))
    assert Counted.comparisons < 10 * len(every)
    with pytest.raises(InvalidDocument, match="got 7, 4094 more than once"):
        Vlan(tags=tuple(Tag(id=each) for each in (*range(1, 4095), 4094, 7)))


# -- bandwidth ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"inbound": {}},
        {"inbound": {"peak": 5}},
        {"inbound": {"floor": 5, "peak": 5}},
        {"inbound": {"average": 0}},
        {"inbound": {"average": 2**54 + 1}},
        {"inbound": {"average": 1, "burst": 4194304}},
        {"outbound": {"average": 1, "floor": 1}},
        {"inbound": {"average": True}},
        {"inbound": {"average": 1.5}},
    ],
)
def test_a_bandwidth_that_libvirt_would_refuse_is_refused(given: Any) -> None:
    with pytest.raises(InvalidDocument):
        Bandwidth.from_data(given)


def test_a_guaranteed_rate_needs_no_average() -> None:
    assert Bandwidth(inbound=Limit(floor=5)).to_data() == {"inbound": {"floor": 5}}


# -- virtualport --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "number"), [("0x0b", 11), ("013", 11), (11, 11), ("11", 11)])
def test_numbers_of_a_profile_come_in_cs_notation(given: Any, number: int) -> None:
    assert VirtualPort(managerid=given).managerid == number


@pytest.mark.parametrize("given", ["", "1_1", "\u0661", "0b11", "0o7", " 1", "08", "0x", "-1", "9" * 5000, True, 1.0])
def test_other_notations_of_a_number_are_refused(given: Any) -> None:
    with pytest.raises(InvalidDocument, match=r"^\$\.managerid: expected an integer, got "):
        VirtualPort(managerid=given)


def test_an_openvswitch_port_takes_the_vifs_id() -> None:
    port = vif(virtualport={"type": "openvswitch"}).virtualport
    assert port is not None
    assert port.interfaceid == ID


@pytest.mark.parametrize(
    ("port", "path"),
    [
        ({}, "$.virtualport.type"),
        ({"type": "802.1Qbg", "managerid": 1, "typeid": 2}, "$.virtualport.typeidversion"),
        ({"type": "802.1Qbh"}, "$.virtualport.profileid"),
        ({"type": "midonet"}, "$.virtualport.interfaceid"),
        ({"type": "802.1qbg"}, "$.virtualport.type"),
        ({"type": "openvswitch", "managerid": 1}, "$.virtualport.managerid"),
        ({"type": "802.1Qbg", "managerid": 256, "typeid": 2, "typeidversion": 1}, "$.virtualport.managerid"),
    ],
)
def test_a_profile_that_no_switch_takes_is_refused(port: Any, path: str) -> None:
    assert path in problems(virtualport=port)


@pytest.mark.parametrize("port", [{}, {"type": "802.1Qbh"}, {"type": "802.1Qbg", "managerid": 1}, {"profileid": "p"}])
def test_a_network_may_give_what_the_vif_leaves_out(port: Any) -> None:
    assert vif(type="network", source={"network": "n"}, virtualport=port).virtualport is not None


# -- source, driver, filter ---------------------------------------------------------------------------------------


def test_a_reconnecting_client_says_when() -> None:
    with pytest.raises(InvalidDocument, match="timeout"):
        Reconnect(enabled=True)
    assert Reconnect(enabled=False, timeout=5) == Reconnect(enabled=False)


def test_a_server_does_not_reconnect() -> None:
    with pytest.raises(InvalidDocument, match="reconnect"):
        VhostUserSource(path="/s", mode="server", reconnect=Reconnect(enabled=True, timeout=1))
    assert VhostUserSource(path="/s", mode="server", reconnect=Reconnect(enabled=False))


def test_a_hostdev_is_managed_unless_said() -> None:
    assert HostDeviceSource(address="81:02.3") == HostDeviceSource(address="0000:81:02.3", managed=True)


def test_one_queue_is_no_driver_at_all() -> None:
    assert vif(model="virtio", driver={"queues": 1}) == vif(model="virtio")
    assert (vif().queues, vif(model="virtio", driver={"queues": 4}).queues) == (1, 4)


@pytest.mark.parametrize(
    "driver", [{"queues": 257}, {"queues": 0}, {"rx_queue_size": 100}, {"host": {"x": True}}, {"guest": {"gso": True}}]
)
def test_a_driver_that_no_guest_can_have_is_refused(driver: Any) -> None:
    with pytest.raises(InvalidDocument):
        Driver.from_data(driver)


def test_a_driver_needs_a_virtio_model() -> None:
    assert problems(model="e1000", driver={"rx_queue_size": 256}) == {
        "$.driver.rx_queue_size": "requires a virtio model, got e1000"
    }


def test_a_driver_without_a_model_is_virtios() -> None:
    assert vif(driver={"queues": 4}) == vif(model="virtio", driver={"queues": 4})
    assert vif(driver={"queues": 1}).model is None


def test_a_filters_variables_are_in_order_of_name_and_keep_that_of_their_values() -> None:
    given = [{"name": "b", "value": "1"}, {"name": "a", "value": "2"}, {"name": "a", "value": "1"}]
    found = FilterRef.from_data({"filter": "f", "parameters": given}).parameters
    assert [(each.name, each.value) for each in found] == [("a", "2"), ("a", "1"), ("b", "1")]


def test_a_filter_is_written_short() -> None:
    assert FilterRef.from_data("f") == FilterRef(filter="f")
    assert FilterRef.from_data({"filter": "f", "parameters": {"IP": "1"}}).parameters[0].name == "IP"


# -- elements that are kept ---------------------------------------------------------------------------------------


def test_a_kept_element_has_one_form() -> None:
    loose = '<coalesce >\n<rx>  <frames max="7"></frames></rx>\n\n</coalesce>'
    assert parse_guest_element(loose) == "<coalesce>\n  <rx>\n    <frames max='7'/>\n  </rx>\n</coalesce>"
    assert parse_guest_element(parse_guest_element(loose)) == parse_guest_element(loose)


def test_what_a_kept_element_says_survives_escaping() -> None:
    assert parse_guest_element("<script path='/a&#10;&amp;&apos;b'/>") == "<script path='/a&#10;&amp;&apos;b'/>"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "rom",
        "<rom/><rom/>",
        "<rom",
        "<vlan><tag id='1'/></vlan>",
        "<interface/>",
        "<x:rom xmlns:x='y'/>",
        "<rom xmlns='y'/>",
        "<!DOCTYPE rom><rom/>",
        "<!DOCTYPE rom [<!ENTITY a 'b'>]><rom bar='&a;'/>",
        "<rom bar='off'/><!-- c -->",
        "<tune>x<sndbuf>1</sndbuf></tune>",
        "<address type='pci' slot='0x07:'/>",
        "<address type='pci' bus='1e999' slot='1'/>",
        "<tune>" + "<a>" * 600 + "</a>" * 600 + "</tune>",
    ],
)
def test_what_is_not_one_element_to_keep_is_refused(wrong: str) -> None:
    assert "$.guest_xml[0]" in problems(guest_xml=[wrong])


def test_half_of_a_surrogate_pair_is_no_element_to_keep() -> None:
    with pytest.raises(InvalidDocument, match=r"guest_xml\[0\]: .*got half of a surrogate pair"):
        vif().replace(guest_xml=("\ud800",))


# -- the VIF ------------------------------------------------------------------------------------------------------


def test_the_device_is_named_after_the_id() -> None:
    assert vif().target == vif().device == "tap3f8a1c52-77"
    assert "target" not in vif().to_data()


@pytest.mark.parametrize("target", ["tap3f8a1c52-77", "vhu0", None])
def test_a_target_that_is_not_the_default_is_said(target: str | None) -> None:
    source = {"path": "/s", "mode": "client"}
    document = vif(type="vhostuser", source=source, target=target)
    assert VIF.from_json(document.to_json()).target == target


def test_a_vif_can_be_a_key_and_a_changed_copy_is_another() -> None:
    assert {vif(): 1}[vif()] == 1
    assert vif().replace(mtu=1400) != vif()
    assert vif().replace(mtu=1400).mtu == 1400


def test_every_problem_is_told_at_once_and_once() -> None:
    with pytest.raises(InvalidDocument) as refusal:
        vif(mac="x", mtu=1, frob=1, source={"bridge": "a/b", "x": 1}, vlan=0)
    paths = [problem.path for problem in refusal.value.problems]
    assert sorted(paths) == ["$.frob", "$.mac", "$.mtu", "$.source.bridge", "$.source.x", "$.vlan.tags[0].id"]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(InvalidDocument) as refusal:
        VIF.from_json({"type": "bridge"})
    assert {"$.id", "$.mac", "$.source.bridge"} <= {problem.path for problem in refusal.value.problems}


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "[]",
        "1",
        "null",
        '"x"',
        '{"id": 1, "id": 2}',
        "[" * 100_000,
        b"\xff",
        "{}".encode("utf-16"),
        "{" + '"a":{' * 20_000,
        1,
        None,
    ],
)
def test_what_is_no_document_is_refused_in_one_sentence(text: Any) -> None:
    with pytest.raises(InvalidDocument) as refusal:
        VIF.from_json(text)
    assert [problem.path for problem in refusal.value.problems] == ["$"]
    assert "\n" not in str(refusal.value)


def test_a_third_partys_source_stays_as_it_was_given() -> None:
    given = vif(type="acme", source={"lane": [1, {"x": None}]})
    assert given.source == {"lane": (1, {"x": None})}
    assert VIF.from_json(given.to_json()) == given
    assert hash(given)


def test_a_guaranteed_rate_is_for_networks() -> None:
    rate = {"inbound": {"average": 1, "floor": 1}}
    assert "$.bandwidth.inbound.floor" in problems(bandwidth=rate)
    assert vif(type="network", source={"network": "n"}, bandwidth=rate)


def test_a_tap_of_vifplugs_needs_a_name() -> None:
    assert "$.target" in problems(tap_owner="vifplug", target=None)
    assert vif(tap_owner="libvirt", target=None).target is None


def test_a_document_has_the_keys_that_were_given_and_no_other() -> None:
    data = json.loads(vif(vlan=5, port={"isolated": True}).to_json())
    assert set(data) == {"id", "type", "mac", "source", "vlan", "port"}


def test_a_frozen_map_is_a_mapping_that_can_be_hashed() -> None:
    assert FrozenMap({"a": 1}) == {"a": 1}
    assert hash(FrozenMap({"a": 1, "b": 2})) == hash(FrozenMap({"b": 2, "a": 1}))


def test_an_enumeration_reads_like_a_sentence() -> None:
    assert [joined([]), joined("a"), joined("ab"), joined("abc")] == ["nothing", "a", "a or b", "a, b or c"]


@pytest.mark.parametrize("key", ["adapt", "rules", "normal", "__class__"])
def test_an_unknown_key_named_like_a_method_is_only_an_unknown_key(key: str) -> None:
    with pytest.raises(InvalidDocument, match=f"^.*{key}: unknown key"):
        VIF.from_data({"type": "bridge", "source": {"bridge": "br0"}, key: 1})
