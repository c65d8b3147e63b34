"""One interface of a domain's text is changed, to the byte, and what libvirt would not start is refused."""

from __future__ import annotations

from typing import Any

import pytest

from vifplug import errors
from vifplug.guest import read
from vifplug.guest.domain import metadata
from vifplug.guest.domain.change import InterfaceEdit
from vifplug.guest.domain.edit import edit as edit_text
from vifplug.guest.domain.edit import edited
from vifplug.model.guestxml import NAMESPACE
from vifplug.testing import schema

MAC = "52:54:00:AB:cd:01"

#: an operator's own, with tabs, comments and self-closing elements of two spellings
BY_HAND = b"""<!-- ... -->
<interface type='bridge'>
\t<!-- Update this entry, set correct source bridge name -->
\t<source bridge='ovsbr0' />
\t<!-- Set the bridge control mode to ovs -->
\t<virtualport type='openvswitch' />

\t<!-- Example for an access VLAN:
\t  * From the VMs perspective, this interface is untagged
\t-->
\t<vlan>
\t\t<tag id='1011' />
\t</vlan>

\t<!-- model, PCI address, MAC, etc... -->
\t<mac address='52:54:00:ab:cd:01' />
</interface>
"""
ACCESS = b"\t<vlan>\n\t\t<tag id='1011' />\n\t</vlan>\n"

DUMPED = b"""<?xml version="1.0" encoding="UTF-8" standalone='yes'?>
<?keep this?>
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web &amp; &quot;db&quot; \xc3\xa9</name>
  <metadata>
    <interface xmlns="http://example.org/inventory"><mac address='52:54:00:ab:cd:01'/></interface>
    <my:devices xmlns:my='http://example.org/my'><interface><mac address="52:54:00:ab:cd:01"/></interface></my:devices>
  </metadata>
  <description><![CDATA[<interface><mac address='52:54:00:ab:cd:01'/></interface>]]></description>
  <devices>
    <!-- <interface type='bridge'><mac address='52:54:00:ab:cd:01'/></interface> -->
    <interface xmlns='http://example.org/x'><mac address='52:54:00:ab:cd:01'/></interface>
    <interface type='user'><mac address='52:54:00:00:00:02'/></interface>
    <interface  trustGuestRxFilters = "no"
\ttype = "bridge">
      <mac\taddress="52:54:00:AB:CD:01"></mac>
      <source bridge='a'
              /> <!-- the old switch -->
      <!-- <vlan><tag id='1'/></vlan> -->
      <virtualport type='openvswitch'>
        <parameters interfaceid='4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11'/>
      </virtualport>
      <target dev="tap&#x30;"/>
      <model type='virtio'/>
    </interface>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-foo'/>
  </qemu:commandline>
</domain>
<!-- the end -->"""

TRUNK = b"<vlan trunk='yes'><tag id='101' nativeMode='untagged'/><tag id='1011'/><tag id='1012'/></vlan>"


def edit(text: bytes, mac: str = MAC, **changes: Any) -> bytes:
    """The text with the change made; made again, nothing more is changed."""
    result = edited(text, mac, InterfaceEdit.from_data(changes))
    assert edited(result, mac.upper(), InterfaceEdit.from_data(changes)) == result
    return result


def lone(children: bytes, kind: bytes = b"bridge") -> bytes:
    """An interface alone, on one line."""
    mac = b"<mac address='52:54:00:ab:cd:01'/>"
    return b"<interface type='" + kind + b"'>" + mac + children + b"</interface>"


def refused(text: bytes, mac: str = MAC, **changes: Any) -> str:
    with pytest.raises(errors.InvalidRequest) as caught:
        edited(text, mac, InterfaceEdit.from_data(changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- every other byte stays ---------------------------------------------------------------------------------------


def test_the_vlan_is_replaced_in_its_place_with_the_indentation_of_its_neighbours() -> None:
    wanted = (
        b"\t<vlan trunk='yes'>\n\t\t<tag id='101' nativeMode='untagged'/>\n"
        b"\t\t<tag id='1011'/>\n\t\t<tag id='1012'/>\n\t</vlan>\n"
    )
    assert edit(BY_HAND, vlan="101u,1011-1012") == BY_HAND.replace(ACCESS, wanted)


def test_what_is_as_asked_keeps_its_spelling() -> None:
    assert edit(BY_HAND, vlan=1011, bridge="ovsbr0", virtualport="openvswitch") == BY_HAND
    network = lone(
        b'<source portgroup="p" network="n&#x31;" portid="4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11"/>', b"network"
    )
    assert edit(network, network="n1", portgroup="p") == network
    assert edit(network, portgroup="p", no_vlan=True) == network


def test_a_plain_bridge_becomes_a_switch_with_a_vlan_at_once() -> None:
    before = BY_HAND.replace(b"\t<virtualport type='openvswitch' />\n", b"").replace(ACCESS, b"")
    before = before.replace(b"'ovsbr0' />", b"'br0' />")
    vlan, port = b"\t<vlan>\n\t\t<tag id='1011'/>\n\t</vlan>\n", b"\t<virtualport type='openvswitch'/>\n"
    after = before.replace(b"\t<source bridge='br0' />\n", b"\t<source bridge='ovsbr0'/>\n" + vlan + port)
    assert edit(before, bridge="ovsbr0", virtualport="openvswitch", vlan="1011") == after


def test_a_new_vlan_goes_behind_the_source_and_what_is_said_of_it() -> None:
    after = b"<!-- the old switch -->\n      <vlan>\n        <tag id='7'/>\n      </vlan>\n"
    result = edit(DUMPED, vlan=7)
    assert result == DUMPED.replace(b"<!-- the old switch -->\n", after)
    assert edit(result, no_vlan=True) == DUMPED


def test_a_network_takes_the_place_of_the_bridge() -> None:
    result = edit(DUMPED, network="blue & green", portgroup="p'1")
    after = DUMPED.replace(b'type = "bridge"', b'type = "network"').replace(
        b"<source bridge='a'\n              />", b"<source network='blue &amp; green' portgroup='p&apos;1'/>"
    )
    assert result == after


@pytest.mark.parametrize("step", [b" ", b"    ", b"\t  "])
def test_a_level_is_as_deep_as_in_the_text(step: bytes) -> None:
    source = b"  " + step + b"<source bridge='b'/>\n"
    text = b"  " + lone(b"\n" + source + b"  ")
    vlan = b"<vlan>\n  " + step * 2 + b"<tag id='5'/>\n  " + step + b"</vlan>\n"
    assert edit(text, vlan=5) == text.replace(source, source + b"  " + step + vlan)


def test_a_virtualport_goes_behind_the_vlan() -> None:
    text = lone(b"<source bridge='b'/><vlan><tag id='5'/></vlan><model type='virtio'/>")
    assert edit(text, virtualport="openvswitch") == text.replace(b"<model", b"<virtualport type='openvswitch'/><model")


def test_line_ends_are_the_files() -> None:
    text = DUMPED.replace(b"\n", b"\r\n")
    result = edit(text, vlan="7,8")
    assert b"\n" not in result.replace(b"\r\n", b"")
    assert result.replace(b"\r\n", b"\n") == edit(DUMPED, vlan="7,8")
    again = edit(result, vlan=9)
    assert b"\n" not in again.replace(b"\r\n", b"")
    assert edit(again, no_vlan=True) == text


@pytest.mark.parametrize("space", [b"", b" "])
def test_an_interface_on_one_line_stays_on_it(space: bytes) -> None:
    text = lone(b"<source bridge='b'" + space + b"/><model type='virtio'/>")
    trunk = text.replace(b"<model", TRUNK + b"<model")
    assert edit(text, vlan="101u,1011,1012") == trunk
    assert edit(trunk, vlan=5) == text.replace(b"<model", b"<vlan><tag id='5'/></vlan><model")
    assert edit(trunk, no_vlan=True) == text


def test_the_bytes_before_and_after_the_document_stay() -> None:
    text = b"\xef\xbb\xbf\n\n" + lone(b"<source bridge='b'/>") + b"\n<!-- \xc3\xa9 -->\n\n"
    assert edit(text, vlan=5) == text.replace(b"</interface>", b"<vlan><tag id='5'/></vlan></interface>")


def test_a_source_is_made_where_there_is_none() -> None:
    text = b"<interface>\n  <mac address='52:54:00:ab:cd:01'/>\n</interface>"
    source = b"<interface type='bridge'>\n  <mac address='52:54:00:ab:cd:01'/>\n  <source bridge='b'/>\n</interface>"
    assert edit(text, bridge="b") == source


def test_a_comment_on_the_vlans_line_stays() -> None:
    text = b"<interface type='bridge'>\n <mac address='52:54:00:ab:cd:01'/>\n <source bridge='b'/>\n </interface>"
    with_vlan = text.replace(b"\n </", b"\n <vlan><tag id='1'/></vlan> <!-- why -->\n </")
    assert edit(with_vlan, no_vlan=True) == text.replace(b"\n </", b"\n  <!-- why -->\n </")


# -- what a change means ------------------------------------------------------------------------------------------


def test_a_trunk_of_one_vlan_is_no_access_vlan() -> None:
    result = edit(BY_HAND, vlan={"tags": [{"id": 1011}], "trunk": True})
    assert b"<vlan trunk='yes'>\n\t\t<tag id='1011'/>\n\t</vlan>" in result


@pytest.mark.parametrize("changes", [{"network": "n", "portgroup": "new"}, {"portgroup": "new"}])
def test_a_new_portgroup_is_not_hidden_by_a_vlan_of_the_interfaces_own(changes: dict[str, str]) -> None:
    text = lone(b"<source network='n' portgroup='old' portid='x'/><vlan><tag id='3'/></vlan>", b"network")
    source = b"<source network='n' portgroup='new'/>"
    assert edit(text, **changes) == lone(source, b"network")
    assert edit(text, **changes, vlan=3) == lone(source + b"<vlan><tag id='3'/></vlan>", b"network")


def test_the_virtualport_keeps_its_id_on_a_network_until_it_is_taken_out() -> None:
    kept = edit(DUMPED, network="n")
    assert read.domain(kept)[0][0].virtualport.interfaceid == "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11"  # type: ignore[union-attr]
    assert b"<virtualport" not in edit(DUMPED, network="n", virtualport="none")


def test_an_untyped_virtualport_keeps_its_ids_when_it_gets_a_type() -> None:
    ids = b" interfaceid='4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11'"
    untyped = b"<virtualport><parameters instanceid='4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e12'" + ids + b"/></virtualport>"
    text = lone(b"<source network='n'/>" + untyped, b"network")
    port = b"<virtualport type='openvswitch'><parameters" + ids + b"/></virtualport>"
    assert edit(text, bridge="b", virtualport="openvswitch") == lone(b"<source bridge='b'/>" + port)


@pytest.mark.parametrize("changes", [{"network": "n"}, {"bridge": "n"}])
def test_what_only_the_old_type_can_have_goes(changes: dict[str, str]) -> None:
    kind = next(iter(changes)).encode()
    source = b"<source " + kind + b"='n'/>"
    tap = lone(b"<target dev='tap0' managed='no'/>", b"ethernet")
    assert edit(tap, **changes) == lone(source + b"<target dev='tap0'/>", kind)
    address = b"<address type='pci' domain='0x0000' bus='0x81' slot='0x02' function='0x3'/>"
    function = lone(b"<source>" + address + b"</source>", b"hostdev").replace(b"'>", b"' managed='yes'>", 1)
    assert edit(function, **changes) == lone(source, kind)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (BY_HAND, {"vlan": "101u,1011-1012"}),
        (BY_HAND, {"network": "n", "portgroup": "p"}),
        (BY_HAND, {"bridge": "b", "virtualport": "none", "vlan": "1011t,4"}),
        (lone(b"<target dev='tap0' managed='no'/>", b"ethernet"), {"network": "n", "vlan": 4}),
        (lone(b"<source dev='eno1' mode='passthrough'/>", b"direct"), {"vlan": 4}),
    ],
)
def test_libvirts_schema_accepts_what_comes_out(text: bytes, changes: dict[str, Any]) -> None:
    assert schema.complaint(edit(text, **changes).decode()) == ""


@pytest.mark.parametrize(
    "written", [b"<vlan>3</vlan>", b"<vlan><tag id='5'/><tag id='5'/></vlan>", b"<vlan trunk='what'/>"]
)
def test_a_vlan_that_libvirt_can_not_read_is_replaced(written: bytes) -> None:
    text = lone(b"<source bridge='b'/>" + written)
    assert edit(text, vlan=5) == lone(b"<source bridge='b'/><vlan><tag id='5'/></vlan>")


# -- refused ------------------------------------------------------------------------------------------------------


def test_a_mac_that_is_not_there_is_told_with_those_that_are() -> None:
    message = refused(DUMPED, "52:54:00:00:00:03", vlan=5)
    assert message == "expected an interface with MAC 52:54:00:00:00:03, got 52:54:00:00:00:02 and 52:54:00:ab:cd:01"
    assert "got nothing" in refused(b"<domain><devices/></domain>", vlan=5)


def test_a_mac_that_two_have_is_refused() -> None:
    one = lone(b"<source bridge='b'/>")
    assert "got 2" in refused(b"<domain><devices>" + one + one + b"</devices></domain>", vlan=5)


@pytest.mark.parametrize("name", ["vlan", "source", "virtualport", "target"])
def test_an_element_that_is_there_twice_is_refused(name: str) -> None:
    children = {"vlan": b"<vlan><tag id='1'/></vlan>", "virtualport": b"<virtualport type='openvswitch'/>"}
    children |= {"source": b"<source bridge='b'/>", "target": b"<target dev='t'/>"}
    text = lone(b"".join(children.values()) + children[name])
    message = refused(text, bridge="c", virtualport="none", no_vlan=True)
    assert f"<{name}> 2 times" in message


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        (b"", "is not XML in UTF-8: no element found"),
        (b"<network/>", "expected a <domain> or one <interface>, got <network>"),
        (b"<domstatus><domain/></domstatus>", "got <domstatus>"),
        (b"<interface xmlns='u'/>", "got <u interface>"),
        (b"<interface>", "is not XML in UTF-8: no element found (line 1, column 11)"),
        (b"<!DOCTYPE interface><interface/>", "document type or entities"),
        (b"<!DOCTYPE i [<!ENTITY a 'b'>]><interface>&a;</interface>", "document type or entities"),
        (b"<interface>&a;</interface>", "undefined entity"),
        (b"<interface>\xe9</interface>", "is not XML in UTF-8"),
        ("<interface/>".encode("utf-16"), "is not XML in UTF-8"),
        ("<interface/>".encode("utf-16-le"), "zero byte"),
        ("\ufeff<interface/>".encode("utf-16-be"), "is not XML in UTF-8"),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?><interface/>", "got encoding 'ISO-8859-1'"),
        (b"<?xml version='1.0' encoding='no-such'?><interface/>", "got encoding 'no-such'"),
    ],
)
def test_what_is_no_domain_in_utf8_is_refused(text: bytes, phrase: str) -> None:
    assert phrase in refused(text, vlan=5)


PORT_QBH = b"<virtualport type='802.1Qbh'><parameters profileid='p'/></virtualport>"
FUNCTION = b"<source><address type='pci' domain='0x0000' bus='0x81' slot='0x02' function='0x3'/></source>"
VHOST = b"<source type='unix' path='/run/x' mode='server'/><model type='virtio'/>"


@pytest.mark.parametrize(
    ("kind", "children", "vlan", "phrase"),
    [
        (b"ethernet", b"", 5, "not start a guest with a VLAN on type ethernet"),
        (b"user", b"", 5, "not start a guest with a VLAN on type user"),
        (b"vhostuser", VHOST, 5, "not start a guest with a VLAN on type vhostuser"),
        (b"direct", b"<source dev='e' mode='bridge'/>", 5, "<vlan>: not supported in mode bridge"),
        (b"direct", b"<source dev='e'/>", 5, "not supported in mode vepa"),
        (b"direct", b"<source dev='e' mode='passthrough'/>", "5t", "one access VLAN"),
        (b"hostdev", FUNCTION, "5,6", "one access VLAN"),
        (b"hostdev", FUNCTION + PORT_QBH, 5, "<vlan>: cannot be combined with virtualport 802.1Qbh"),
        (
            b"bridge",
            b"<source bridge='b'/>" + PORT_QBH,
            5,
            "<virtualport> type: expected openvswitch or midonet on type bridge, got 802.1Qbh",
        ),
    ],
)
def test_a_vlan_with_which_no_guest_starts_is_refused(kind: bytes, children: bytes, vlan: Any, phrase: str) -> None:
    message = refused(lone(children, kind), vlan=vlan)
    assert phrase in message
    assert "--" in message  # what to do


@pytest.mark.parametrize(
    ("kind", "children"), [(b"hostdev", FUNCTION), (b"direct", b"<source dev='e' mode='passthrough'/>")]
)
def test_a_virtual_function_takes_an_access_vlan(kind: bytes, children: bytes) -> None:
    assert edit(lone(children, kind), vlan=5) == lone(children + b"<vlan><tag id='5'/></vlan>", kind)


def test_a_switch_that_the_type_can_not_join_is_refused() -> None:
    message = refused(lone(b"<source dev='e' mode='bridge'/>", b"direct"), virtualport="openvswitch")
    assert "<virtualport> type: expected 802.1Qbg or 802.1Qbh on type direct" in message


def test_what_a_network_has_become_for_a_running_guest_is_refused() -> None:
    message = refused(lone(b"<source network='n' bridge='b'/><vlan><tag id='4'/></vlan>"), vlan=5)
    assert "virsh dumpxml --inactive" in message


def test_a_portgroup_needs_a_network() -> None:
    assert "got type bridge: add --network" in refused(BY_HAND, portgroup="p")


def test_what_the_reader_refuses_is_not_given_out() -> None:
    assert "<colour> is not known in <interface>" in refused(lone(b"<source bridge='b'/><colour/>"), vlan=5)


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({}, "expected something to change"),
        ({"bridge": "b", "network": "n"}, "one connection"),
        ({"bridge": "b", "portgroup": "n"}, "one connection"),
        ({"vlan": 5, "no_vlan": True}, "cannot be combined with no_vlan"),
    ],
)
def test_a_change_that_contradicts_itself_is_refused(changes: dict[str, Any], phrase: str) -> None:
    assert phrase in refused(BY_HAND, **changes)


# -- what the old type leaves behind ------------------------------------------------------------------------------

PASST = (
    b"<source dev='eth0'/><ip address='172.17.2.0' family='ipv4' prefix='24'/><ip address='2001:db8::' family='ipv6'/>"
    b"<portForward proto='tcp'/><portForward proto='udp'/><model type='virtio'/><backend type='passt' logFile='/x'/>"
)


@pytest.mark.parametrize(
    ("kind", "children", "left"),
    [
        (b"user", PASST, b"<model type='virtio'/>"),
        (b"ethernet", b"<script path='/u'/><downscript path='/d'/><target dev='t'/>", b"<target dev='t'/>"),
        (b"hostdev", FUNCTION + b"<driver name='vfio' model='m'/><model type='virtio'/>", b"<model type='virtio'/>"),
        (b"hostdev", FUNCTION + b"<teaming type='transient' persistent='ua-x'/><rom bar='off'/>", b"<rom bar='off'/>"),
        (b"vhostuser", VHOST + b"<driver queues='2'/>", b"<model type='virtio'/><driver queues='2'/>"),
    ],
)
def test_what_only_the_old_type_takes_is_removed(kind: bytes, children: bytes, left: bytes) -> None:
    assert edit(lone(children, kind), bridge="b") == lone(b"<source bridge='b'/>" + left)


def test_a_filter_that_can_not_see_the_port_is_refused() -> None:
    text = lone(b"<source bridge='b'/><filterref filter='clean-traffic'/>")
    message = refused(text, bridge="b", virtualport="openvswitch")
    assert "<filterref>: cannot be combined with virtualport openvswitch" in message and "$" not in message


@pytest.mark.parametrize(
    ("kind", "children", "changes", "sentences"),
    [
        (
            b"hostdev",
            FUNCTION + b"<driver name='vfio' model='m'/><teaming type='transient' persistent='ua-x'/>",
            {"bridge": "b"},
            [
                "removed <teaming type='transient' persistent='ua-x'/>, name='vfio' of <driver> and model='m' of "
                "<driver>: type bridge does not support them"
            ],
        ),
        (
            b"network",
            b"<source network='n'/><bandwidth><inbound floor='5'/></bandwidth>",
            {"bridge": "b"},
            ["removed floor='5' of <inbound>: type bridge does not support it"],
        ),
        (
            b"ethernet",
            b"<vlan><tag id='5'/></vlan><target dev='t' managed='no'/>",
            {"network": "n"},
            [
                "removed managed='no' of <target>: type network does not support it",
                "removed <vlan>: it would override the VLAN of the network",
            ],
        ),
        (
            b"vdpa",
            VHOST + b"<ip address='10.0.0.1'/>",
            {"bridge": "b"},
            ["removed <ip address='10.0.0.1'/>: type bridge "],
        ),
        (b"bridge", b"<source bridge='a'/><vlan><tag id='5'/></vlan>", {"bridge": "b", "no_vlan": True}, []),
    ],
)
def test_what_is_removed_without_being_named_is_told(
    kind: bytes, children: bytes, changes: dict[str, Any], sentences: list[str]
) -> None:
    change = InterfaceEdit.from_data(changes)
    first = edit_text(lone(children, kind), MAC, change)
    assert len(first.removed) == len(sentences)
    assert all(found.startswith(sentence) for found, sentence in zip(first.removed, sentences, strict=True))
    assert edit_text(first.text, MAC, change).removed == ()


@pytest.mark.parametrize(
    ("model", "kept"), [(b"", b"virtio"), (b"<model type='virtio-transitional'/>", b"virtio-transitional")]
)
def test_a_nic_of_vdpa_stays_virtio(model: bytes, kept: bytes) -> None:
    """libvirt adds the model of vdpa when it defines a guest, and rtl8139 for all other types."""
    text = lone(b"<source dev='/dev/vhost-vdpa-0'/>" + model, b"vdpa")
    assert edited(text, MAC, InterfaceEdit(bridge="b")).count(b"<model type='" + kept + b"'/>") == 1


def test_a_limit_without_its_floor_stays() -> None:
    limits = b"<bandwidth><inbound average='9' floor='5'/><outbound average='7'/></bandwidth>"
    result = edit(lone(b"<source network='n'/>" + limits, b"network"), bridge="b")
    assert result == lone(b"<source bridge='b'/>" + limits.replace(b" floor='5'", b""))


def test_an_interface_that_vifplug_does_not_read_can_lose_its_vlan() -> None:
    vlan = b"<vlan><tag id='5'/></vlan>"
    assert edit(lone(vlan, b"user"), no_vlan=True) == lone(b"", b"user")
    assert "connect the interface with --bridge" in refused(lone(b"", b"user"), virtualport="openvswitch")
    untyped = lone(b"<source network='n'/><virtualport/>", b"network")
    assert "remove it with --virtualport none" in refused(untyped, bridge="b")


# -- one MAC, several interfaces ----------------------------------------------------------------------------------

PAIR = b"<domain><devices>%s%s</devices></domain>" % (
    lone(b"<source network='n'/><model type='virtio'/><teaming type='persistent'/><alias name='ua-b'/>", b"network"),
    lone(FUNCTION + b"<teaming type='transient' persistent='ua-b'/>", b"hostdev"),
)


def test_of_a_failover_pair_the_number_selects_one() -> None:
    message = refused(PAIR, vlan=5)
    assert "got 2 (1: type network, source n, teaming persistent, alias ua-b; 2: type hostdev, teaming tran" in message
    assert message.endswith("select one with --number")
    change = InterfaceEdit.from_data({"vlan": 5})
    first, second = (edited(PAIR, MAC, change, number=number) for number in (1, 2))
    vlan = b"<vlan><tag id='5'/></vlan>"
    assert first == PAIR.replace(b"<source network='n'/>", b"<source network='n'/>" + vlan)
    assert second == PAIR.replace(FUNCTION, FUNCTION + vlan)
    with pytest.raises(errors.InvalidRequest, match="expected a number from 1 to 2 for the interfaces with MAC"):
        edited(PAIR, MAC, change, number=3)


# -- a guest whose VIFs the hook plugs ----------------------------------------------------------------------------

TAP = lone(b"<target dev='tapweb' managed='no'/><model type='virtio'/>", b"ethernet")
ON_OVS = lone(b"<source bridge='br0'/><vlan><tag id='42'/></vlan><virtualport type='openvswitch'/>")
JSON = (
    b'<v:vif>{"id": "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11", "type": "bridge", "mac": "52:54:00:ab:cd:01", '
    b'"source": {"bridge": "br0"}, "virtualport": {"type": "openvswitch"}, "vlan": 42}</v:vif>'
)


def hooked(vif: bytes, interface: bytes = TAP) -> bytes:
    vifs = f"<v:vifs xmlns:v='{NAMESPACE}'>".encode() + vif + b"</v:vifs>"
    return b"<domain><uuid>%s</uuid>\n<metadata>%s</metadata>\n<devices>%s</devices></domain>" % (
        b"11111111-2222-4333-8444-555555555555",
        vifs,
        interface,
    )


def prefixed(element: bytes) -> bytes:
    return element.replace(b"</", b"</v:").replace(b"<", b"<v:").replace(b"<v:/", b"</")


@pytest.mark.parametrize("vif", [ON_OVS, prefixed(ON_OVS), JSON], ids=["element", "prefixed", "json"])
def test_the_vif_of_the_metadata_is_changed_and_not_its_tap(vif: bytes) -> None:
    text = hooked(vif)
    assert edit(text, vlan=42) == text
    assert edit(text, bridge="br0", virtualport="openvswitch") == text
    result = edit(text, vlan=43)
    [described] = metadata.guest(result).described
    assert described.vif.vlan and described.vif.vlan.access == 43
    assert described.vif == metadata.guest(text).described[0].vif.replace(vlan=43)
    assert result.endswith(text[text.index(b"<devices>") :]) and result.count(b"br0") == 1
    change = InterfaceEdit.from_data({"network": "n", "portgroup": "p"})
    [described] = metadata.guest(edit_text(text, MAC, change).text).described
    assert (described.vif.type, described.vif.source.portgroup, described.vif.vlan) == ("network", "p", None)
    assert "would override" in edit_text(text, MAC, change).removed[0]


def test_an_interface_becomes_a_tap_with_its_vif() -> None:
    function = lone(FUNCTION + b"<vlan><tag id='42'/></vlan>", b"hostdev").replace(b"'>", b"' managed='yes'>", 1)
    text = hooked(function, function.replace(b"<source>", b"<driver name='vfio'/><source>"))
    result = edit(text, bridge="br0", virtualport="openvswitch")
    [described] = metadata.guest(result).described
    assert described.interface and described.interface.type == "ethernet"
    assert (described.interface.target, described.interface.target_managed) == (described.vif.device, False)
    assert b"hostdev" not in result and b"vfio" not in result
    same = edit(text, vlan=43)
    assert same == text.replace(b"'42'", b"'43'")


def test_metadata_that_cannot_be_told_to_belong_elsewhere_is_refused() -> None:
    assert "VIF 1 of the metadata" in refused(hooked(ON_OVS.replace(b"'42'", b"'4095'")), vlan=5)
    assert "4095" in refused(hooked(ON_OVS), vlan="42,4095")
    other = lone(b"<source bridge='c'/>").replace(b"cd:01", b"cd:02")
    assert edit(hooked(ON_OVS, TAP + other), mac="52:54:00:ab:cd:02", vlan=5).count(b"'42'") == 1
