"""Reading a ``<network>``: what each form means, and every refusal with its line, its path and its words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from lxml import etree

from vifplug import Network
from vifplug.errors import InvalidDocument
from vifplug.guest import xml
from vifplug.networks import read

UUID = "81ff0d90-c92e-6742-64da-4a736edb9a8b"
IDS = ("aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002")
OVS = "<virtualport type='openvswitch'/>"


def text(more: str = "", *, mode: str = "bridge", pool: str = "", forward: str = "") -> str:
    """A network on four lines and ``more``: the forward element on line 3, a bridge on line 4 unless it has a pool."""
    bridge = "" if pool or mode != "bridge" else "<bridge name='br0'/>"
    return f"<network>\n<name>n</name>\n<forward mode='{mode}'{forward}>{pool}</forward>\n{bridge}{more}\n</network>"


def data(element: str) -> dict[str, Any]:
    """What a network says beside its name."""
    found = read.network(element).to_data()
    assert found.pop("name") == "n"
    return found


def problems(element: str | bytes) -> list[tuple[int, str, str]]:
    """The problems of a network that is refused: line, path and words."""
    with pytest.raises(InvalidDocument) as refusal:
        read.network(element)
    found = []
    for problem in refusal.value.problems:
        place = re.fullmatch(r"line (\d+)(?:: (\$.*))?", problem.path)
        assert place and problem.message, problem
        found.append((int(place[1]), place[2] or "$", problem.message))
    assert found == sorted(found, key=lambda each: each[0]), "not in the document's order"
    return found


# -- forms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "said", "form"),
    [
        (text(), {"mode": "bridge", "bridge": "br0"}, "bridge"),
        (text(pool="<interface dev='e0'/>"), {"mode": "bridge", "devices": [{"dev": "e0"}]}, "direct"),
        (
            text(mode="private", pool="<interface dev='e0'/><interface dev='e1' connections='2'/>"),
            {"mode": "private", "devices": [{"dev": "e0"}, {"dev": "e1"}]},
            "direct",
        ),
        (
            text(mode="vepa", pool="<interface dev='e0' max='7'/><interface dev='e1'/>"),
            {"mode": "vepa", "devices": [{"dev": "e0", "max": 7}, {"dev": "e1"}]},
            "direct",
        ),
        (text(mode="vepa", forward=" dev='e0'"), {"mode": "vepa", "devices": [{"dev": "e0"}]}, "direct"),
        (
            text(mode="vepa", forward=" dev='e0'", pool="<interface dev='e0' max='3'/><interface dev='e1'/>"),
            {"mode": "vepa", "devices": [{"dev": "e0", "max": 3}, {"dev": "e1"}]},
            "direct",
        ),
        (text(mode="passthrough", pool="<pf dev='e0'/>"), {"mode": "passthrough", "pf": "e0"}, "direct"),
        (text(mode="bridge", pool="<pf dev='e0'/>"), {"mode": "bridge", "pf": "e0"}, "direct"),
        # a running network's dump: the list is the pool, as libvirt takes it (9.0: networkCreateInterfacePool)
        (
            text(mode="passthrough", pool="<pf dev='e0'/>\n<interface dev='v0' connections='1'/>"),
            {"mode": "passthrough", "devices": [{"dev": "v0"}]},
            "direct",
        ),
        (
            text(mode="hostdev", pool="<pf dev='e0'/><address type='pci' bus='3' slot='16' multifunction='on'/>"),
            {"mode": "hostdev", "addresses": ["0000:03:10.0"]},
            "hostdev",
        ),
        (
            text(mode="hostdev", forward=" managed='no'", pool="<pf dev='e0'/>"),
            {"mode": "hostdev", "pf": "e0"},
            "hostdev",
        ),
        (
            text(
                mode="hostdev",
                forward=" managed='yes'",
                pool="<driver name='vfio'/>"
                "<address type='pci' domain='0' bus='0x81' slot='010' function='3' connections='1'/>"
                "<address type='pci' domain='0x10000' bus='7'/>",
            ),
            {
                "mode": "hostdev",
                "addresses": ["0000:81:08.3", "10000:07:00.0"],
                "managed": True,
                "driver": "vfio",
            },
            "hostdev",
        ),
    ],
)
def test_each_form_of_a_network_is_read(element: str, said: dict[str, Any], form: str) -> None:
    assert data(element) == said
    network = read.network(element)
    assert (network.form, network.pooled) == (form, "bridge" not in said)


def test_a_network_that_names_a_switch_and_no_bridge_is_on_the_hosts_own() -> None:
    assert data(f"<network><name>n</name><forward mode='bridge'/>{OVS}</network>") == {
        "mode": "bridge",
        "virtualport": {"type": "openvswitch"},
    }
    in_a_group = f"<portgroup name='g'>{OVS}</portgroup>"
    network = read.network(f"<network><name>n</name><forward mode='bridge'/>{in_a_group}</network>")
    assert (network.form, network.pooled, network.bridge) == ("bridge", False, None)


def test_members_are_in_order_and_limits_are_those_that_are_given() -> None:
    network = read.network(text(mode="vepa", pool="<interface dev='e1' max='2'/><interface dev='e0'/>"))
    assert network.members == ("e1", "e0")
    assert network.limits == {"e1": 2, "e0": None}
    assert read.network(text(mode="vepa", pool="<pf dev='e0'/>")).members == ()


# -- what a network says of its ports -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (f"<uuid>{UUID.upper()}</uuid>", {"uuid": UUID}),
        (f"<uuid>\n {UUID.replace('-', '')} </uuid>", {"uuid": UUID}),
        ("<mtu size='9000'/>", {"mtu": 9000}),
        ("<port isolated='yes'/>", {"port": {"isolated": True}}),
        ("<port isolated='no'/>", {"port": {"isolated": False}}),
        ("<port/>", {}),
        ("<vlan><tag id='3'/></vlan>", {"vlan": {"tags": [{"id": 3}], "trunk": False}}),
        ("<vlan trunk='YES'><tag id='3'/></vlan>", {"vlan": {"tags": [{"id": 3}], "trunk": True}}),
        (
            "<vlan><tag id='3' nativeMode='untagged'/><tag id='4'/></vlan>",
            {"vlan": {"tags": [{"id": 3, "native_mode": "untagged"}, {"id": 4}], "trunk": True}},
        ),
        (
            f"<virtualport type='openvswitch'><parameters interfaceid='{IDS[0]}' profileid='p'/></virtualport>",
            {"virtualport": {"type": "openvswitch", "interfaceid": IDS[0], "profileid": "p"}},
        ),
        (
            "<virtualport type='openvswitch'><parameters profileid=''/></virtualport>",
            {"virtualport": {"type": "openvswitch"}},
        ),
        ("<bandwidth/>", {}),
        ("<bandwidth><inbound average='0'/></bandwidth>", {}),
        ("<title>t</title><description>d</description><metadata><x:a xmlns:x='y'>z</x:a></metadata>", {}),
        ("<!-- a comment --><?an instruction?>", {}),
    ],
)
def test_what_a_network_says_is_read(more: str, said: dict[str, Any]) -> None:
    assert data(text(more)) == {"mode": "bridge", "bridge": "br0", **said}


@pytest.mark.parametrize(
    ("mode", "given", "said"),
    [
        (
            "vepa",
            f"type='802.1Qbg'><parameters managerid='0x0b' typeid='010' typeidversion='255' instanceid='{IDS[1]}'/>",
            {"type": "802.1Qbg", "managerid": 11, "typeid": 8, "typeidversion": 255, "instanceid": IDS[1]},
        ),
        ("vepa", "type='802.1Qbg'>", {"type": "802.1Qbg"}),
        ("private", "type='802.1Qbh'><parameters profileid='p'/>", {"type": "802.1Qbh", "profileid": "p"}),
    ],
)
def test_port_profiles_of_pools_are_read(mode: str, given: str, said: dict[str, Any]) -> None:
    element = text(f"<virtualport {given}</virtualport>", mode=mode, forward=" dev='e0'")
    assert data(element)["virtualport"] == said


def test_a_profile_of_virtual_functions_is_read() -> None:
    more = "<virtualport type='802.1Qbh'><parameters profileid='p'/></virtualport>"
    found = data(text(more, mode="hostdev", pool="<pf dev='e0'/>"))
    assert found["virtualport"] == {"type": "802.1Qbh", "profileid": "p"}


def test_filters_are_trusted_at_both_levels_and_yes_differs_from_nothing() -> None:
    groups = "<portgroup name='a' trustGuestRxFilters='no'/><portgroup name='b' trustGuestRxFilters='yes'/>"
    found = read.network(text(groups).replace("<network>", "<network trustGuestRxFilters='yes' ipv6='no'>"))
    assert found.trust_guest_rx_filters is True
    assert [group.trust_guest_rx_filters for group in found.portgroups] == [False, True]
    assert read.network(text()).trust_guest_rx_filters is None


@pytest.mark.parametrize("word", ["yes", "YES", "Yes"])
def test_portgroups_are_found_by_name_or_by_default(word: str) -> None:
    groups = (
        "<portgroup name='a'><vlan><tag id='1'/></vlan></portgroup>"
        f"<portgroup name='b' default='{word}'>"
        "<virtualport><parameters profileid='p'/></virtualport>"
        "<bandwidth><inbound average='10' peak='20' burst='5'/><outbound average='7'/></bandwidth></portgroup>"
        "<portgroup name='c' default='maybe'/>"
    )
    assert data(text(OVS + groups))["portgroups"] == [
        {"name": "a", "vlan": {"tags": [{"id": 1}], "trunk": False}},
        {
            "name": "b",
            "default": True,
            "virtualport": {"profileid": "p"},
            "bandwidth": {"inbound": {"average": 10, "peak": 20, "burst": 5}, "outbound": {"average": 7}},
        },
        {"name": "c"},
    ]
    network = read.network(text(OVS + groups))
    found = [network.portgroup(name) for name in (None, "a", "b", "c", "d")]
    assert [group and group.name for group in found] == ["b", "a", "b", "c", None]


def test_without_a_default_nobody_is_in_a_portgroup() -> None:
    assert read.network(text("<portgroup name='a'/>")).portgroup(None) is None


def test_a_running_networks_dump_is_read_like_its_definition() -> None:
    element = text(mode="vepa", pool="<interface dev='e0' connections='3'/>")
    dump = "<?xml version='1.0' encoding='UTF-8'?>\n<!-- dumped -->\n" + element.replace(
        "<network>", "<network connections='3'>"
    )
    assert read.network(dump) == read.network(dump.encode()) == read.network(element.replace(" connections='3'", ""))


def test_an_element_of_lxml_is_read_like_text() -> None:
    around = etree.fromstring(f"<networkstatus><!-- a -->{text(OVS)}</networkstatus>")
    (element,) = around.findall("network")
    assert read.network(element) == Network.from_xml(text(OVS))


# -- networks that libvirt runs itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["nat", "route", "open"])
def test_a_network_of_libvirts_own_is_refused_with_what_to_do(mode: str) -> None:
    [(line, path, words)] = problems(text("<ip address='10.0.0.1' prefix='24'/>", mode=mode))
    assert (line, path) == (3, "$.mode")
    assert f"got forward mode {mode}" in words
    assert "leave its guests to libvirt" in words and "<forward mode='bridge'/> and <bridge name='...'/>" in words


def test_forward_without_a_mode_is_nat_as_in_libvirt() -> None:
    [(line, _, words)] = problems("<network>\n<name>n</name>\n\n<forward dev='e0'/></network>")
    assert line == 4 and "got forward mode nat" in words


def test_an_isolated_network_is_refused_with_what_to_do() -> None:
    [(line, _, words)] = problems("<?xml version='1.0'?>\n<network><name>n</name><bridge name='virbr1'/></network>")
    assert line == 2 and "no <forward>: an isolated network" in words and "leave its guests to libvirt" in words


def test_a_refusal_names_the_network_where_it_has_a_name() -> None:
    for element, subject in [
        ("<network><name>red</name></network>", "network red: "),
        ("<network/>", "network without a name: "),
        ("<network><name>red</name><forward mode='vepa'/></network>", "network red: "),
        ("<network><forward mode='vepa' dev='e0'/></network>", "network: "),
    ]:
        with pytest.raises(InvalidDocument) as refusal:
            read.network(element)
        assert str(refusal.value).startswith(subject)


# -- one thing wrong ----------------------------------------------------------------------------------------------

VLAN = "<vlan><tag id='3'/></vlan>"
TWO = "<interface dev='e0'/>\n<interface dev='e0'/>"


@pytest.mark.parametrize(
    ("element", "line", "path", "words"),
    [
        # names
        ("<network>\n<name/>\n<forward mode='vepa' dev='e0'/></network>", 2, "$.name", "1 to 255 bytes"),
        ("<network>\n<name>a/b</name>\n<forward mode='vepa' dev='e0'/></network>", 2, "$.name", "without '/'"),
        ("<network>\n\n<forward mode='vepa' dev='e0'/></network>", 1, "$.name", "is missing"),
        (text("<uuid>x</uuid>"), 4, "$.uuid", "32 hexadecimal digits"),
        (text("\n<name>m</name>"), 5, "$", "expected <name> once in <network>"),
        (text("\n<forward mode='nat'/>"), 5, "$", "expected <forward> once"),
        (text("\n<bridge name='br1'/>"), 5, "$", "expected <bridge> once"),
        # a pool or a bridge
        (
            text("\n<bridge name='br0'/>", mode="vepa", pool="<interface dev='e0'/>"),
            5,
            "$.bridge",
            "requires mode bridge",
        ),
        (text("<bridge name='br0'/>", pool="\n<interface dev='e0'/>"), None, "$.devices", "got bridge and devices"),
        (text("<bridge name='br0'/>", pool="\n<pf dev='e0'/>"), 4, "$.pf", "got bridge and pf"),
        (
            text(mode="vepa", forward=" dev='v0'", pool="\n<interface dev='v0'/>\n<pf dev='e0'/>"),
            5,
            "$.pf",
            "<pf> beside dev of <forward>",
        ),
        (text(mode="vepa", pool=TWO), 4, "$.devices[1]", "e0 is repeated"),
        (
            text(mode="vepa", forward=" dev='e0'", pool="\n<interface dev='e1'/>\n<interface dev='e0'/>"),
            4,
            "$.devices[0]",
            "expected e0, as in <forward dev='e0'>, got e1",
        ),
        (text(mode="vepa", pool="\n<interface dev='e 0'/>"), 4, "$.devices[0].dev", "'e 0'"),
        (text(mode="vepa", pool="<interface dev='e0'/>\n<interface/>"), 4, "$.devices[1]", "expected attribute dev"),
        (text(mode="vepa", pool="\n<interface dev='e0' max='0'/>"), 4, "$.devices[0].max", "0 is not 1.."),
        (text(mode="vepa", pool="\n<interface dev='e0' max='-1'/>"), 4, "$.devices[0].max", "'-1'"),
        (text(mode="vepa", pool="<pf dev='e0'/>\n<pf dev='e1'/>"), 4, "$", "expected <pf> once"),
        (
            text(mode="vepa", pool="\n<interface device='e0'/>\n<pf dev='e0'/>"),
            4,
            "$.devices[0]",
            "attribute device is not known",
        ),
        # PCI addresses
        (text(mode="hostdev", pool="\n<interface dev='e0'/>"), None, "$.devices", "expected PCI addresses or a pf"),
        (
            text(mode="passthrough", pool="\n<address type='pci' bus='7'/>"),
            None,
            "$.addresses",
            "expected network devices for mode",
        ),
        (
            text(mode="hostdev", pool="\n<address type='usb' bus='7'/>\n<pf dev='e0'/>"),
            4,
            "$.addresses[0]",
            "expected type='pci'",
        ),
        (
            text(mode="hostdev", pool="<pf dev='e0'/>\n<address bus='7'/>"),
            4,
            "$.addresses[0]",
            "expected attribute type",
        ),
        (
            text(mode="hostdev", pool="\n<address type='pci' bus='256'/>\n<pf dev='e0'/>"),
            4,
            "$.addresses[0]",
            "expected bus of 0 to 0xff",
        ),
        (
            text(mode="hostdev", pool="<address type='pci' bus='7'/>\n<address type='pci' bus='0x07'/>"),
            4,
            "$.addresses[1]",
            "0000:07:00.0 is repeated",
        ),
        (text(mode="hostdev", pool="<pf dev='e0'/>\n<driver name='uio'/>"), 4, "$.driver", "expected vfio, kvm or xen"),
        (text(mode="vepa", pool="<pf dev='e0'/>\n<driver name='vfio'/>"), 4, "$.driver", "requires mode hostdev"),
        # VLANs
        (text("\n<vlan><tag id='0'/></vlan>"), 5, "$.vlan.tags[0].id", "0 is not 1..4094"),
        (text("<vlan><tag id='1'/>\n<tag id='4095'/></vlan>"), 5, "$.vlan.tags[1].id", "4095 is not"),
        (text("\n<vlan>3</vlan>"), 5, "$.vlan", "expected <tag id='...'/>"),
        (text("\n<vlan/>"), 5, "$.vlan.tags", "at least one tag"),
        (text("\n<vlan trunk='maybe'><tag id='1'/></vlan>"), 5, "$.vlan.trunk", "expected yes or no"),
        (text(f"\n{VLAN}", mode="vepa", forward=" dev='e0'"), 5, "$.vlan", "not supported in mode vepa"),
        (text(f"\n{VLAN}", mode="private", forward=" dev='e0'"), 5, "$.vlan", "not supported in mode private"),
        (text(f"\n{VLAN}", pool="<interface dev='e0'/>"), 5, "$.vlan", "not supported in mode bridge"),
        (
            text(f"<portgroup name='g'>\n{VLAN}</portgroup>", mode="vepa", forward=" dev='e0'"),
            5,
            "$.portgroups[0].vlan",
            "mode vepa",
        ),
        (
            text("\n<vlan trunk='yes'><tag id='1'/></vlan>", mode="passthrough", forward=" dev='e0'"),
            5,
            "$.vlan",
            "one access VLAN",
        ),
        (
            text("\n<vlan><tag id='1'/><tag id='2'/></vlan>", mode="hostdev", pool="<pf dev='e0'/>"),
            5,
            "$.vlan",
            "one access VLAN",
        ),
        (
            text("\n<vlan><tag id='1' nativeMode='tagged'/></vlan>", mode="hostdev", pool="<pf dev='e0'/>"),
            5,
            "$.vlan",
            "one access VLAN",
        ),
        # virtualports
        (text("\n<virtualport/>"), 5, "$.virtualport.type", "only a portgroup or a VIF"),
        (text("\n<virtualport><parameters profileid='p'/></virtualport>"), 5, "$.virtualport.type", "is missing"),
        (text("\n<virtualport type='802.1qbg'/>"), 5, "$.virtualport.type", "got '802.1qbg'"),
        (text("\n<virtualport type='802.1Qbg'/>"), 5, "$.virtualport.type", "expected openvswitch"),
        (text("\n<virtualport type='midonet'/>"), 5, "$.virtualport.type", "expected openvswitch"),
        (text(f"\n{OVS}", mode="vepa", forward=" dev='e0'"), 5, "$.virtualport.type", "expected 802.1Qbg or 802.1Qbh"),
        (text(f"\n{OVS}", mode="hostdev", pool="<pf dev='e0'/>"), 5, "$.virtualport.type", "expected 802.1Qbh"),
        (
            text("\n<virtualport type='802.1Qbg'/>", mode="hostdev", pool="<pf dev='e0'/>"),
            5,
            "$.virtualport.type",
            "expected 802.1Qbh",
        ),
        (
            text("\n<virtualport type='openvswitch'><parameters managerid='1'/></virtualport>"),
            5,
            "$.virtualport.managerid",
            "(expected",
        ),
        (text("\n<vportprofile type='openvswitch'/>"), 5, "$", "expected <virtualport>"),
        # portgroups
        (text("<portgroup name='a'/>\n<portgroup name='a'/>"), 5, "$.portgroups[1]", "a is repeated"),
        (text("\n<portgroup/>"), 5, "$.portgroups[0].name", "is missing"),
        (text("\n<portgroup name=''/>"), 5, "$.portgroups[0].name", "got ''"),
        (
            text("\n<portgroup name='a' trustGuestRxFilters='x'/>"),
            5,
            "$.portgroups[0].trust_guest_rx_filters",
            "yes or no",
        ),
        (
            text("\n<portgroup name='a'>\n<port isolated='yes'/></portgroup>"),
            6,
            "$.portgroups[0]",
            "<port> is not known in <portgroup>",
        ),
        (text(f"<portgroup name='a'>\n{VLAN}\n{VLAN}</portgroup>"), 6, "$.portgroups[0]", "expected <vlan> once"),
        (
            text(
                "<portgroup name='a'>\n<bandwidth><inbound average='1'/></bandwidth></portgroup>",
                mode="private",
                forward=" dev='e0'",
            ),
            5,
            "$.portgroups[0].bandwidth",
            "requires a network on a bridge, got mode private",
        ),
        (
            text("<portgroup name='a'>\n<bandwidth><inbound peak='1'/></bandwidth></portgroup>"),
            5,
            "$.portgroups[0].bandwidth.inbound.average",
            "peak and burst require it",
        ),
        # what is the host's
        (
            text("\n<bandwidth><inbound average='1'/></bandwidth>"),
            5,
            "$.bandwidth",
            "set it on portgroups or VIFs",
        ),
        (text("\n<ip address='10.0.0.1' prefix='24'/>"), 5, "$", "<ip> gives the bridge an address"),
        (
            text("\n<route address='10.0.0.0' prefix='8' gateway='10.0.0.1'/>"),
            5,
            "$",
            "<route> gives the bridge a route",
        ),
        (text("\n<dns enable='no'/>"), 5, "$", "<dns> starts a name server"),
        (text("\n<domain name='a.example'/>"), 5, "$", "<domain> starts a name server"),
        (text("\n<mac address='52:54:00:00:00:01'/>"), 5, "$", "<mac> gives the bridge an address"),
        (text().replace("br0'", "br0' stp='on'"), 4, "$.bridge", "stp would change the bridge"),
        (
            text().replace("br0'", "br0' delay='0' zone='public'"),
            4,
            "$.bridge",
            "zone and delay would change the bridge",
        ),
        (text().replace("br0'", "br0' macTableManager='libvirt'"), 4, "$.bridge", "expected macTableManager='kernel'"),
        (text().replace("br0", "br 0"), 4, "$.bridge", "'br 0'"),
        # the rest
        (text("\n<mtu size='67'/>"), 5, "$.mtu", "67 is not 68..65535"),
        (
            text("\n<x:options xmlns:x='http://libvirt.org/schemas/network/dnsmasq/1.0'/>"),
            5,
            "$",
            "<options> configures the name server",
        ),
        (text("\n<mtu/>"), 5, "$.mtu", "expected attribute size"),
        (text("\n<mtu size='1500'/>", mode="vepa", forward=" dev='e0'"), 5, "$.mtu", "requires a network on a bridge"),
        (text("\n<port isolated='maybe'/>"), 5, "$.port.isolated", "expected yes or no"),
        (text("\n<frob/>"), 5, "$", "<frob> is not known in <network>"),
        (text("\n<x:name xmlns:x='y'>m</x:name>"), 5, "$", "is not known in <network>"),
        (text("\n<mtu size='1500' unit='bytes'/>"), 5, "$.mtu", "attribute unit is not known in <mtu>"),
        (text(forward=" bar='1'"), 3, "$", "attribute bar is not known in <forward>"),
        (
            text(pool="<interface dev='e0'/>\n<nat><port start='1' end='2'/></nat>"),
            4,
            "$",
            "<nat> in <forward> is for forward mode nat",
        ),
        (text("\nsome text"), 1, "$", "<network> contains the text 'some text'"),
        (text().replace("<network>", "<network type='bridge'>"), 1, "$", "attribute type is not known in <network>"),
        (text().replace("<network>", "<network trustGuestRxFilters='on'>"), 1, "$.trust_guest_rx_filters", "yes or no"),
    ],
)
def test_a_wrong_network_is_refused_with_its_line_and_path(
    element: str, line: int | None, path: str, words: str
) -> None:
    [found] = [each for each in problems(element) if each[1] == path and words in each[2]]
    assert line is None or found[0] == line


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("bridge", "bridge requires a bridge or devices"),
        ("private", "private requires devices or a pf"),
        ("vepa", "vepa requires devices or a pf"),
        ("passthrough", "passthrough requires devices or a pf"),
        ("hostdev", "hostdev requires addresses or a pf"),
    ],
)
def test_a_network_that_connects_to_nothing_is_refused(mode: str, wanted: str) -> None:
    [(_, path, words)] = problems(f"<network><name>n</name><forward mode='{mode}'/></network>")
    assert (path, words) == ("$.mode", wanted)


def test_two_default_portgroups_are_refused_and_named() -> None:
    groups = "<portgroup name='a' default='yes'/><portgroup name='b'/><portgroup name='c' default='Yes'/>"
    [(_, path, words)] = problems(text(groups))
    assert (path, words) == ("$.portgroups[2]", "expected at most one default portgroup, got a and c")


@pytest.mark.parametrize("profile", ["802.1Qbg", "802.1Qbh"])
@pytest.mark.parametrize("mode", ["bridge", "private", "vepa", "passthrough"])
def test_a_pool_of_devices_takes_both_profiles_of_ieee(mode: str, profile: str) -> None:
    """libvirt looks at it when a port is made; so does vifplug at its parameters."""
    more = f"<virtualport type='{profile}'/>"
    assert data(text(more, mode=mode, pool="<interface dev='e0'/>"))["virtualport"] == {"type": profile}


@pytest.mark.parametrize(
    ("element", "path"),
    [
        (text(mode="frob"), "$.mode"),
        (text(mode="hostdev"), "$.mode"),
        (text(mode="hostdev", forward=" managed='maybe'", pool="<pf dev='e0'/>"), "$.managed"),
        (text(forward=" managed='yes'"), "$.managed"),
        (text(mode="vepa", forward=" dev='e 0'"), "$.devices[0].dev"),
        (text(mode="hostdev", pool="<interface dev='e0'/>"), "$.devices"),
        (text(mode="vepa", pool="<address type='pci' bus='7'/>"), "$.addresses"),
    ],
)
def test_what_forward_says_wrong_is_on_its_line(element: str, path: str) -> None:
    assert [line for line, where, _ in problems(element) if where == path] == [3]


def test_a_vlan_beside_a_port_profile_on_functions_is_refused() -> None:
    more = "<virtualport type='802.1Qbh'><parameters profileid='p'/></virtualport><vlan><tag id='5'/></vlan>"
    [(_, path, words)] = problems(text(more, mode="hostdev", pool="<pf dev='e0'/>"))
    assert path == "$.vlan" and "cannot be combined with virtualport 802.1Qbh" in words


# -- several things wrong -----------------------------------------------------------------------------------------


def test_everything_wrong_is_told_at_once_with_its_lines() -> None:
    found = problems(
        "<!-- the network of the third floor -->\n"
        "<network trustGuestRxFilters='maybe'>\n"
        "  <name>third/floor</name>\n"
        "  <forward mode='bridge'/>\n"
        "\n"
        "  <bridge name='br0' stp='on'/>\n"
        "  <mtu size='70000'/>\n"
        "  <portgroup name='a'>\n"
        "    <vlan>\n"
        "      <tag id='1'/>\n"
        "      <!-- the reserved one -->\n"
        "      <tag id='4095'/>\n"
        "    </vlan>\n"
        "  </portgroup>\n"
        "  <portgroup name='b'><!-- nothing yet --></portgroup>\n"
        "  <portgroup>\n"
        "    <virtualport type='frob'/>\n"
        "  </portgroup>\n"
        "  <dns/>\n"
        "</network>"
    )
    assert [(line, path) for line, path, _ in found] == [
        (2, "$.trust_guest_rx_filters"),
        (3, "$.name"),
        (6, "$.bridge"),
        (7, "$.mtu"),
        (12, "$.portgroups[0].vlan.tags[1].id"),
        (16, "$.portgroups[2].name"),
        (17, "$.portgroups[2].virtualport.type"),
        (19, "$"),
    ]


def test_all_rules_that_are_broken_are_told_at_once() -> None:
    found = problems(
        "<network>\n<name>n</name>\n<forward mode='private'>\n<interface dev='e0'/>\n<interface dev='e0'/></forward>\n"
        "<bridge name='br0'/>\n<mtu size='1500'/>\n<vlan><tag id='1'/></vlan>\n<virtualport type='openvswitch'/>\n"
        "<portgroup name='a' default='yes'/>\n<portgroup name='a' default='yes'>\n<vlan><tag id='2'/></vlan>\n"
        "</portgroup>\n</network>"
    )
    assert {path for _, path, _ in found} == {
        "$.devices",
        "$.devices[1]",
        "$.bridge",
        "$.mtu",
        "$.vlan",
        "$.virtualport.type",
        "$.portgroups[1]",
        "$.portgroups[1].vlan",
    }
    lines = {path: line for line, path, _ in found}
    assert [lines[path] for path in ("$.devices[1]", "$.bridge", "$.mtu", "$.vlan")] == [5, 6, 7, 8]
    assert [lines[path] for path in ("$.virtualport.type", "$.portgroups[1]", "$.portgroups[1].vlan")] == [9, 11, 12]


def test_a_problem_is_told_once() -> None:
    [(line, path, words)] = problems(text("<portgroup name='a'/>\n<portgroup name='a'/>"))
    assert (line, path) == (5, "$.portgroups[1]") and "a is repeated" in words
    [(line, path, words)] = problems(text(mode="vepa", pool="\n<interface/>"))
    assert (line, path, words) == (4, "$.devices[0]", "expected attribute dev in <interface>, got none")


def test_a_missing_name_is_told_beside_other_problems_of_its_line() -> None:
    found = problems("<network frob='1'><forward mode='vepa' dev='e0'/></network>")
    assert {(path, words[:20]) for _, path, words in found} == {
        ("$", "attribute frob is no"),
        ("$.name", "is missing"),
    }


# -- what is no network -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "got nothing"),
        (" \n", "got nothing"),
        ("no xml", "is not XML"),
        (b"<network>\xff</network>", "is not XML"),
        ("<network><name>n</name>", "is not XML"),
        ("<network/><network/>", "is not XML"),
        ("<interface type='network'/>", "expected one <network> element, got interface"),
        ("<x:network xmlns:x='y'/>", "expected one <network> element"),
        ("<networks><network/></networks>", "got networks"),
        ("<!DOCTYPE network><network/>", "document type"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><network>&b;</network>", "document type"),
        (
            "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/hostname'>]><network><name>&b;</name></network>",
            "document type",
        ),
        ("<network><name>&b;</name></network>", "is not XML"),
        pytest.param("<network>" + "<a>" * 300 + "</a>" * 300 + "</network>", "at most 250 levels", id="deep"),
        ("<network>" + "x" * xml.MAX_BYTES + "</network>", "at most"),
    ],
)
def test_what_is_not_one_network_is_told_in_one_sentence(given: str | bytes, words: str) -> None:
    with pytest.raises(InvalidDocument) as refusal:
        read.network(given)
    [problem] = refusal.value.problems
    assert problem.path == "$" and words in problem.message and len(problem.message) < 200


def test_entities_that_grow_are_not_expanded() -> None:
    levels = "".join(f"<!ENTITY b{n} '{f'&b{n - 1};' * 10}'>" for n in range(1, 12))
    bomb = f"<!DOCTYPE a [<!ENTITY b0 'x'>{levels}]><network><name>&b11;</name></network>"
    for given in (bomb, bomb.encode("utf-16")):
        with pytest.raises(InvalidDocument):
            read.network(given)
        assert read.name(given if isinstance(given, bytes) else given.encode()) is None


# -- the name of a broken one -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "name"),
    [
        ("<network><name>n</name><frob/></network>", "n"),
        ("<network><frob><name>m</name></frob></network>", None),
        ("<network>", None),
        ("<domain><name>n</name></domain>", None),
    ],
)
def test_the_name_of_a_broken_network_is_known_where_it_has_one(element: str, name: str | None) -> None:
    assert read.name(element) == name


# -- as plain data ------------------------------------------------------------------------------------------------

GOOD = [
    text(),
    text(OVS + "<portgroup name='a' default='yes'><vlan><tag id='1'/></vlan></portgroup><portgroup name='b'/>"),
    text("<mtu size='1400'/><port isolated='no'/><vlan trunk='yes'><tag id='9'/></vlan>" + f"<uuid>{UUID}</uuid>"),
    text(mode="vepa", pool="<interface dev='e0' max='2'/><interface dev='e1'/>"),
    text("<virtualport type='802.1Qbh'><parameters profileid='p'/></virtualport>", mode="private", forward=" dev='e0'"),
    text(VLAN, mode="passthrough", pool="<pf dev='e0'/>").replace("<network>", "<network trustGuestRxFilters='no'>"),
    text(VLAN, mode="hostdev", forward=" managed='yes'", pool="<driver name='vfio'/><address type='pci' bus='7'/>"),
    f"<network><name>n</name><forward mode='bridge'/>{OVS}</network>",
]


@pytest.mark.parametrize("element", GOOD)
def test_a_network_is_what_its_data_says(element: str) -> None:
    network = Network.from_xml(element)
    assert Network.from_data(network.to_data()) == network
    assert hash(Network.from_data(network.to_data())) == hash(network)


def test_devices_and_vlans_can_be_written_short() -> None:
    short = Network.from_data({"name": "n", "mode": "vepa", "devices": ["e0", {"dev": "e1", "max": 2}]})
    assert short == read.network(text(mode="vepa", pool="<interface dev='e0'/><interface dev='e1' max='2'/>"))
    short = Network.from_data({"name": "n", "mode": "bridge", "bridge": "br0", "vlan": "3u,4"})
    assert short.vlan == read.network(text("<vlan><tag id='3' nativeMode='untagged'/><tag id='4'/></vlan>")).vlan


def test_data_is_held_to_the_same_rules_as_elements() -> None:
    with pytest.raises(InvalidDocument) as refusal:
        Network.from_data({"name": "n", "mode": "vepa", "bridge": "br0", "devices": ["e0", "e0"], "vlan": 3})
    paths = [problem.path for problem in refusal.value.problems]
    assert sorted(paths) == ["$.bridge", "$.devices", "$.devices[1]", "$.vlan"]


def test_what_libvirt_has_for_no_network_without_a_bridge_is_refused_with_the_mode() -> None:
    address = "\n<ip address='192.0.2.1' netmask='255.255.255.0'/>"
    [(line, _, words)] = problems(text(address, mode="passthrough", forward=" dev='e0'"))
    assert line == 5 and words == "libvirt has no <ip> with forward mode passthrough: remove it"


def test_a_variant_driver_needs_no_name() -> None:
    found = Network.from_xml(text(mode="hostdev", pool="<pf dev='e0'/><driver model='mlx5_vfio_pci'/>"))
    assert (found.driver, found.driver_model) == (None, "mlx5_vfio_pci")
