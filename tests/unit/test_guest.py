"""Reading an ``<interface>``: what is refused, with which path and words, and what a VIF's id comes from."""

from __future__ import annotations

import time
import uuid

import pytest
from lxml import etree

from vifplug import VIF
from vifplug.errors import InvalidDocument, UnknownType
from vifplug.guest import read, write, xml
from vifplug.guest.domain import live
from vifplug.guest.interface import Interface
from vifplug.model.source import BridgeSource, DirectSource

MAC = "<mac address='52:54:00:11:22:33'/>"
WHERE = {
    "bridge": "<source bridge='br0'/>",
    "network": "<source network='n'/>",
    "direct": "<source dev='eth0'/>",
    "ethernet": "",
    "vhostuser": "<source type='unix' path='/s' mode='client'/><model type='virtio'/>",
    "hostdev": "<source><address type='pci' bus='7'/></source>",
    "vdpa": "<source dev='/dev/vhost-vdpa-3'/>",
}


def text(kind: str = "bridge", more: str = "", attributes: str = "") -> str:
    return f"<interface type='{kind}'{attributes}>{MAC}{WHERE[kind]}{more}</interface>"


def problems(element: str | bytes) -> dict[str, str]:
    """The problems of an element that is refused, by their paths."""
    with pytest.raises(InvalidDocument) as refusal:
        read.vif(element)
    found: dict[str, str] = {}
    for problem in refusal.value.problems:
        found[problem.path] = "; ".join(filter(None, [found.get(problem.path), problem.message]))
    return found


# -- the id -------------------------------------------------------------------------------------------------------

GIVEN, PORT = "aaaaaaaa-0000-0000-0000-000000000001", "bbbbbbbb-0000-0000-0000-000000000002"
OVS = f"<virtualport type='openvswitch'><parameters interfaceid='{PORT}'/></virtualport>"
QBG = (
    "<virtualport type='802.1Qbg'>"
    "<parameters managerid='1' typeid='2' typeidversion='3' instanceid='{}'/>"
    "</virtualport>"
)


def test_the_given_id_is_taken() -> None:
    vif = VIF.from_xml(text(more=OVS), id=GIVEN)
    assert (vif.id, vif.virtualport and vif.virtualport.interfaceid) == (GIVEN, PORT)


def test_without_one_the_id_is_the_ports_interfaceid() -> None:
    assert read.vif(text(more=OVS)).id == PORT


def test_without_an_interfaceid_the_id_is_the_instanceid() -> None:
    assert read.vif(text("direct", QBG.format(PORT))).id == PORT


def test_without_either_the_id_follows_from_the_mac_in_any_case() -> None:
    vif = read.vif(text())
    assert vif.id == str(uuid.uuid5(read.MAC_NAMESPACE, "52:54:00:11:22:33"))
    assert read.vif(text().replace("52:54:00:11:22:33", "52:54:00:AA:22:33")).id != vif.id
    upper, lower = ("52:54:00:AA:22:33", "52:54:00:aa:22:33")
    ids = {read.vif(text().replace("52:54:00:11:22:33", mac)).id for mac in (upper, lower)}
    assert len(ids) == 1


# -- the form -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WHERE)
def test_an_element_keeps_its_form(kind: str) -> None:
    owner = None if kind in ("vhostuser", "hostdev", "vdpa", "network") else "libvirt"
    assert (read.vif(text(kind)).type, read.vif(text(kind)).tap_owner) == (kind, owner)


def test_an_unmanaged_target_is_a_tap_of_vifplugs() -> None:
    vif = read.vif(text("ethernet", "<target dev='vnet7' managed='no'/>"))
    assert (vif.tap_owner, vif.target) == ("vifplug", "vnet7")


@pytest.mark.parametrize("name", ["vnet0", "vnetwork", "macvtap3", "macvlan0"])
def test_a_name_of_libvirts_own_is_left_to_libvirt(name: str) -> None:
    assert read.vif(text(more=f"<target dev='{name}'/>")).target is None


def test_another_name_stays() -> None:
    assert read.vif(text(more="<target dev='vif3.0'/>")).target == "vif3.0"


def test_the_source_is_the_types_record() -> None:
    assert read.vif(text()).source == BridgeSource(bridge="br0")
    assert read.vif(text("direct")).source == DirectSource(dev="eth0", mode="vepa")
    assert read.vif(text("vdpa")).source == {"device": "/dev/vhost-vdpa-3"}  # a plugin's own, until its type is loaded


def test_an_element_of_lxml_is_read_like_text() -> None:
    """Inside a domain, with comments: what is around it does not count."""
    inside = text(more="<!-- b --><rom bar='off'/>")
    domain = etree.fromstring(f"<devices><!-- a -->{inside} <disk/></devices>")
    (element,) = domain.findall("interface")
    assert read.interface(element) == read.interface(text(more="<rom bar='off'/>"))


# -- what is no element of ours -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "got nothing"),
        (" \n", "got nothing"),
        ("no xml", "is not XML"),
        (b"<interface>\xff</interface>", "is not XML"),
        ("<interface type='bridge'>", "is not XML"),
        ("<domain/>", "give the <interface> alone"),
        ("<network/>", "got network"),
        ("<!DOCTYPE interface><interface/>", "document type"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><interface type='&b;'/>", "document type"),
        ("<interface>&b;</interface>", "is not XML"),
        pytest.param("<interface>" + "<a>" * 300 + "</a>" * 300 + "</interface>", "at most 250 levels", id="deep"),
        pytest.param("<interface>" + "<a/>" * 20_000 + "</interface>", "at most 20000 elements", id="many"),
        pytest.param(
            "<interface>\n<mac " + " ".join(f"a{n}=''" for n in range(40_000)) + "/></interface>",
            "line 2: expected at most 100 attributes in one element, got more",
            id="wide",
        ),
        ("<interface>" + "x" * xml.MAX_BYTES + "</interface>", "at most"),
    ],
)
def test_what_is_not_one_element_is_told_in_one_sentence(given: str | bytes, words: str) -> None:
    found = problems(given)
    assert words in found["$"]
    assert len(found["$"]) < 200


def test_the_longest_element_takes_no_longer_than_its_length() -> None:
    """19,000 elements took 17 s while each looked for its siblings; they take 0.4 s."""
    started = time.process_time()
    problems(text(more="<ip address='10.0.0.1'/>" * 19_000))
    assert time.process_time() - started < 5


def test_entities_in_utf_16_do_not_slip_through() -> None:
    bomb = "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE a [<!ENTITY b 'c'>]><interface type='&b;'/>"
    assert "is not XML in UTF-8" in problems(bomb.encode("utf-16"))["$"]


@pytest.mark.parametrize("kind", ["user", "internal", "udp", "mcast", "null", "vds", "frob", ""])
def test_another_type_of_libvirts_is_named_with_those_that_are_read(kind: str) -> None:
    with pytest.raises(
        UnknownType, match=f"type='{kind}'.*bridge, network, direct, ethernet, vhostuser, hostdev or vdpa"
    ):
        read.vif(f"<interface type='{kind}'>{MAC}</interface>")


def test_an_element_without_a_type_is_libvirts_type_user() -> None:
    with pytest.raises(UnknownType, match="type='user'"):
        read.vif(f"<interface>{MAC}</interface>")


# -- what is wrong in one -----------------------------------------------------------------------------------------


def test_everything_wrong_is_told_at_once_and_once() -> None:
    found = problems(
        "<interface type='vhostuser'><mac address='01:00:5e:00:00:01'/><source type='tcp' path='s'/>"
        "<vlan><tag id='1'/><tag id='4095' nativeMode='both'/></vlan><link state='UP'/><frob/></interface>"
    )
    assert set(found) == {
        "$",
        "$.mac",
        "$.source",
        "$.source.path",
        "$.vlan.tags[1].id",
        "$.vlan.tags[1].native_mode",
        "$.link_state",
    }


@pytest.mark.parametrize(
    ("more", "path", "words"),
    [
        ("<vlan>3</vlan>", "$.vlan", "expected <tag id='...'/>"),
        ("<vlan><tag id='0x10'/></vlan>", "$.vlan.tags[0].id", "'0x10'"),
        ("<vlan trunk='no'><tag id='1' nativeMode='tagged'/></vlan>", "$.vlan.trunk", "native"),
        ("<vlan trunk='no'><tag id='1'/><tag id='2'/></vlan>", "$.vlan.trunk", "expected true"),
        ("<portprofile type='openvswitch'/>", "$", "expected <virtualport>"),
        ("<virtualport/>", "$.virtualport.type", "is missing"),
        ("<virtualport type='802.1Qbg'><parameters managerid='11'/></virtualport>", "$.virtualport.typeid", "requires"),
        (
            "<virtualport type='802.1Qbh'><parameters profileid=''/></virtualport>",
            "$.virtualport.profileid",
            "requires it",
        ),
        (
            "<virtualport type='openvswitch'><parameters managerid='1'/></virtualport>",
            "$.virtualport.managerid",
            "(expected",
        ),
        (
            "<virtualport type='openvswitch'><parameters interfaceid='x'/></virtualport>",
            "$.virtualport.interfaceid",
            "x",
        ),
        ("<target dev=''/>", "$.target", "got ''"),
        ("<target dev='t' managed='maybe'/>", "$.target", "expected yes or no, got 'maybe'"),
        ("<target dev='t' managed='no'/>", "$.target", "ethernet"),
        ("<model type='virtio'/><driver iommu='yes'/>", "$.driver.iommu", "expected on or off"),
        ("<model type='virtio'/><driver name='vfio'/>", "$.driver.name", "qemu or vhost"),
        ("<model type='virtio'/><driver rx_queue_size='255'/>", "$.driver.rx_queue_size", "power of two"),
        ("<port isolated='maybe'/>", "$.port.isolated", "expected yes or no"),
        (
            "<filterref filter='f'><parameter name='a-b' value='1'/></filterref>",
            "$.filterref.parameters[0].name",
            "a-b",
        ),
        ("<boot order='0'/>", "$.boot_order", "0 is not"),
        ("<boot order='1' loadfile='2'/>", "$.boot_order", "loadfile"),
        ("<alias name='ua-a b'/>", "$.alias", "ua-a b"),
        ("<bandwidth><inbound average='-1'/></bandwidth>", "$.bandwidth.inbound.average", "'-1'"),
        ("<bandwidth><inbound average='1' floor='1'/></bandwidth>", "$.bandwidth.inbound.floor", "network"),
        ("<mac address='52:54:00:11:22:34'/>", "$", "expected <mac> once"),
        ("<ip address='10.0.0.1'/>", "$.guest_xml", "<ip> is for type user, got type bridge"),
        ("<teaming type='transient'/>", "$.guest_xml", "partner"),
        ("<teaming type='persistent' persistent='ua-x'/>", "$.guest_xml", "partner"),
        ("<tune><sndbuf>x</sndbuf></tune>", "$.guest_xml", "sndbuf"),
        ("<backend type='passt'/>", "$.guest_xml", "user"),
        ("<address type='pci' bus='0x100'/>", "$.guest_xml", "0xff"),
        ("<rom bar='off'>x<a/></rom>", "$.guest_xml", "got both"),
        ("<x:rom xmlns:x='y'/>", "$", "not known"),
    ],
)
def test_what_libvirt_refuses_or_does_not_know_is_refused_with_its_path(more: str, path: str, words: str) -> None:
    found = problems(text(more=more))
    assert words in found[path], found
    assert "$.id" not in found


@pytest.mark.parametrize("kind", ["ethernet", "vhostuser", "vdpa"])
def test_a_virtualport_needs_a_switch_that_libvirt_knows(kind: str) -> None:
    assert "$.virtualport" in problems(text(kind, OVS))


@pytest.mark.parametrize("kind", ["direct", "ethernet", "vhostuser", "hostdev", "vdpa"])
def test_isolation_and_coalescing_are_refused_where_libvirt_has_none(kind: str) -> None:
    more = "<port isolated='yes'/><coalesce><rx><frames max='7'/></rx></coalesce>"
    assert set(problems(text(kind, more))) == {"$.port.isolated", "$.guest_xml"}


@pytest.mark.parametrize("kind", ["direct", "hostdev", "vdpa"])
def test_an_mtu_is_refused_where_libvirt_has_none(kind: str) -> None:
    assert "$.mtu" in problems(text(kind, "<mtu size='1400'/>"))


@pytest.mark.parametrize(
    "given",
    [
        f"<interface type='bridge'>{MAC}</interface>",
        f"<interface type='bridge'>{MAC}<source/></interface>",
        f"<interface type='hostdev'>{MAC}<source dev='00:02:10.2'/></interface>",
        f"<interface type='hostdev'>{MAC}<source><address bus='1'/></source></interface>",
        f"<interface type='hostdev'>{MAC}<source><address type='usb' bus='1' device='2'/></source></interface>",
        f"<interface type='vhostuser'>{MAC}<source type='unix' path='/s'/><model type='virtio'/></interface>",
        f"<interface type='vdpa'>{MAC}</interface>",
        f"<interface type='vdpa'>{MAC}<source path='/dev/vhost-vdpa-3'/></interface>",
    ],
)
def test_a_missing_or_wrong_source_is_refused(given: str) -> None:
    assert any(path.startswith("$.source") for path in problems(given))


def test_an_element_without_a_mac_is_refused_with_the_reason() -> None:
    assert "generate one" in problems(f"<interface type='bridge'>{WHERE['bridge']}</interface>")["$.mac"]


# -- what libvirt drops -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("bridge", "<driver name='vfio'/>"),
        ("bridge", "<model type='e1000'/><driver name='vhost' queues='4'/>"),
        ("bridge", "<model type='virtio'/><driver queues='1'/>"),
        ("bridge", "<model type='virtio'/><driver queues='0' rx_queue_size='0'/>"),
        ("bridge", "<mtu size='0'/>"),
        ("bridge", "<alias name='net0'/>"),
        ("bridge", "<bandwidth/>"),
        ("bridge", "<bandwidth><inbound average='0' peak='7'/></bandwidth>"),
        ("bridge", "<backend vhost='/dev/vhost-net'/>"),
        ("bridge", "<tune/><coalesce/><rom/><acpi/><guest/>"),
        ("hostdev", "<model type='virtio'/><driver queues='4'/>"),
    ],
)
def test_what_libvirt_drops_without_a_word_is_not_read(kind: str, more: str) -> None:
    model = more[: more.index("/>") + 2] if more.startswith("<model") else ""
    assert read.interface(text(kind, more)) == read.interface(text(kind, model))


def test_midonet_takes_its_interfaceid_and_drops_the_rest() -> None:
    more = f"<virtualport type='midonet'><parameters interfaceid='{PORT}' profileid='p' managerid='1'/></virtualport>"
    port = read.interface(text(more=more)).virtualport
    assert port is not None
    assert port.parameters == {"interfaceid": PORT}


def test_a_network_may_leave_a_port_half_said() -> None:
    port = read.interface(text("network", "<virtualport type='802.1Qbg'><parameters managerid='1'/></virtualport>"))
    assert port.virtualport is not None
    assert port.virtualport.parameters == {"managerid": 1}


# -- writing ------------------------------------------------------------------------------------------------------


def test_comments_and_instructions_are_not_kept() -> None:
    given = text(more="<!-- <frob/> --><?pi x?><rom bar='off'/>")
    assert read.interface(given).extra == ("<rom bar='off'/>",)


def test_a_verbatim_element_comes_to_libvirts_place_with_the_right_indentation() -> None:
    given = Interface.from_data(
        {
            "type": "bridge",
            "mac": "52:54:00:11:22:33",
            "source": {"bridge": "b"},
            "mtu": 1400,
            "boot_order": 1,
            "extra": ["<rom bar='off'/>", "<coalesce><rx><frames max='7'/></rx></coalesce>"],
        }
    )
    lines = write.element(given).splitlines()
    assert lines[3:-1] == [
        "  <mtu size='1400'/>",
        "  <coalesce>",
        "    <rx>",
        "      <frames max='7'/>",
        "    </rx>",
        "  </coalesce>",
        "  <boot order='1'/>",
        "  <rom bar='off'/>",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "bridge"},
        {"type": "direct", "source": {"dev": "e"}},
        {"type": "hostdev"},
        {"type": "vhostuser", "source": {"type": "unix", "path": "/s", "mode": "client"}},
        {"type": "ethernet", "isolated": True},
        {"type": "ethernet", "virtualport": {"type": "openvswitch"}},
        {"type": "ethernet", "driver": {"name": "vhost"}},
        {"type": "ethernet", "model": "virtio", "driver": {"name": "vfio"}},
        {"type": "ethernet", "extra": ["<coalesce><rx><frames max='7'/></rx></coalesce>"]},
        {"type": "ethernet", "extra": ["<rom bar='on'/>", "<rom bar='off'/>"]},
        {"type": "bridge", "source": {"bridge": "b"}, "extra": ["<source><ip address='10.0.0.1'/></source>"]},
        {"type": "direct", "source": {"dev": "e", "mode": "vepa"}, "filterref": "f"},
        {"type": "direct", "source": {"dev": "e", "mode": "vepa"}, "mtu": 1400},
        {"type": "ethernet", "target": "not/a name"},
    ],
)
def test_no_record_of_an_element_exists_that_libvirt_would_refuse_or_drop_from(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidDocument):
        Interface.from_data({"mac": "52:54:00:11:22:33", **wrong})


@pytest.mark.parametrize("kind", ["direct", "hostdev", "vhostuser"])
def test_a_filter_that_libvirt_would_drop_without_a_word_is_refused(kind: str) -> None:
    """A guest that its owner believes to be filtered, and that is not, is worse than one that does not start."""
    source = {
        "direct": "<source dev='eth0'/>",
        "hostdev": "<source><address type='pci' domain='0' bus='7' slot='0' function='1'/></source>",
        "vhostuser": "<source type='unix' path='/s' mode='client'/><model type='virtio'/>",
    }[kind]
    text = f"<interface type='{kind}'><mac address='52:54:00:11:22:33'/>{source}<filterref filter='f'/></interface>"
    with pytest.raises(InvalidDocument, match="filterref"):
        read.interface(text)


# -- what libvirt knows and says nothing of the network -----------------------------------------------------------


def test_attributes_of_a_mac_that_qemu_ignores_are_dropped() -> None:
    plain = read.interface(text())
    for more in ("type='static' check='no'", "currentAddress='52:54:00:99:99:99'"):
        assert read.interface(text().replace("<mac ", f"<mac {more} ")) == plain


def test_a_variant_driver_of_a_hostdev_is_kept() -> None:
    """Not written here: the schema that judges what tests write has it from libvirt 10.0 on."""
    found = read.interface(text("hostdev", "<driver name='vfio' model='mlx5_vfio_pci'/>"))
    assert found.driver and found.driver.model == "mlx5_vfio_pci"
    assert "is for type hostdev" in problems(text(more="<model type='virtio'/><driver model='m'/>"))["$.driver.model"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("<address type='usb' bus='1' device='2'/>", "expected type='pci' in <address>, got 'usb'"),
        (
            "<vendor id='0x1234'/><product id='0xbeef'/>",
            "expected <address type='pci' .../> in <source>, got a USB device, which is on no network of the host",
        ),
    ],
)
def test_a_usb_hostdev_is_refused_by_one_sentence(source: str, sentence: str) -> None:
    mac = "<mac address='52:54:00:11:22:33'/>"
    usb = f"<interface type='hostdev'>{mac}<source>{source}</source></interface>"
    assert problems(usb) == {"$.source.address": sentence}


@pytest.mark.parametrize(
    ("kind", "change", "sentence"),
    [
        (
            "hostdev",
            ("<source>", "<source network='n'>"),
            "attribute network of <source> is for type bridge",
        ),
        (
            "bridge",
            ("<source ", "<source path='/run/x' "),
            "attribute path of <source> is for type vhostuser",
        ),
        (
            "bridge",
            ("<interface ", "<interface managed='yes' "),
            "attribute managed of <interface> is for type host",
        ),
        ("ethernet", ("<mac ", "<source><local/></source><mac "), "<local> in <source> is for type udp, got type eth"),
    ],
)
def test_what_another_type_has_is_told_with_that_type(kind: str, change: tuple[str, str], sentence: str) -> None:
    assert sentence in str(problems(text(kind).replace(*change, 1)))


def test_a_running_guests_interface_on_a_network_of_libvirts_own_is_left_to_libvirt() -> None:
    own = "<interface type='network'><mac address='52:54:00:11:22:33'/><source network='n' portid='p' bridge='virbr0'/>"
    bridge = "<interface type='bridge'><mac address='52:54:00:11:22:34'/><source bridge='br0'/>"
    switched = bridge + "<target dev='vnet3'/></interface>"
    guest = "<domain><uuid>11111111-2222-4333-8444-5555555555bb</uuid><devices>%s</interface>%s</devices></domain>"
    found = live.guest(guest % (own, switched))
    assert [each.vif.mac for each in found.interfaces] == ["52:54:00:11:22:34"] and found.wrong == ()
    inactive = own.replace(" portid='p' bridge='virbr0'", "")
    assert "names only its network" in live.guest(guest % (inactive, switched)).wrong[0]
    assert "has no <target>" in live.guest(guest % (own, bridge + "</interface>")).wrong[0]
