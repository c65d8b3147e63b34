"""What a VIF says of its port and its tap alone, on a real switch and real links: set, read back, put right, undone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import bridges
from tests.support.patience import becomes
from vifplug import VIF, errors
from vifplug.host.links import tap
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost

ID, OTHER, THIRD = (f"{first}c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f" for first in "912")
TAP = "tap9c4e2f10-6a"
OVS = {"virtualport": {"type": "openvswitch"}, "source": {"bridge": "br-ex"}}
HYBRID = {**OVS, "source": {"bridge": "br-ex", "hybrid": True}}
DELEGATED = {**OVS, "tap_owner": "libvirt", "source": {"bridge": "br-ex", "port_owner": "vifplug"}}
OWN_BRIDGE = {**OVS, "source": {"bridge": "br-ex", "per_port_bridge": True}}
MACVTAP = {"type": "direct", "source": {"dev": "low0"}, "tap_owner": "vifplug"}


def vif(id: str = ID, **keys: Any) -> VIF:
    document = {"id": id, "type": "bridge", "mac": f"52:54:00:12:34:5{id[0]}", "source": {"bridge": "br0"}}
    return VIF.from_json({**document, **keys})


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateHost]:
    """A host with a bridge of each kind, and a device for macvtaps; its ports learn nothing unless a VIF says so."""
    with PrivateHost(extra="[vifplug_bridge]\nlearning = false") as host:
        bridges.add(host, "br0")
        host.ip("link", "add", "low0", "up", "type", "veth", "peer", "name", "low1")
        host.ip("link", "set", "low1", "up")
        host.ovs.ctl("add-br", "br-ex", "--", "set", "bridge", "br-ex", "datapath_type=netdev")
        yield host


@pytest.fixture
def plugged(host: PrivateHost) -> Iterator[PrivateHost]:
    yield host
    for each in (ID, OTHER, THIRD):
        host.driver.unplug(each)
    assert host.ports("br-ex") == set() and not [name for name in host.links() if name.startswith(("tap", "q", "pb"))]


def link(host: PrivateHost, name: str = TAP) -> dict[str, Any]:
    [found] = json.loads(host.ip("-details", "-json", "link", "show", "dev", name))
    flags = found.get("linkinfo", {}).get("info_slave_data", {})
    kept = {key: value for key, value in flags.items() if isinstance(value, bool)}
    return {"txqlen": found["txqlen"], **kept}


def row(host: PrivateHost, name: str = TAP) -> dict[str, str]:
    columns = ("other_config", "Port"), ("other_config", "Interface"), ("ofport_request", "Interface")
    found = [host.port(name, column, table) for column, table in columns]
    return dict(zip(("port", "interface", "ofport"), found, strict=True))


#: the form of the VIF; what it says; what is found then; a foreign change, as a command of ip(8) or ovs-vsctl(8)
SETTINGS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ({}, {"txqueuelen": 700}, {"txqlen": 700}, f"link set dev {TAP} txqueuelen 9"),
    (OVS, {"txqueuelen": 700}, {"txqlen": 700}, f"link set dev {TAP} txqueuelen 9"),
    ({"type": "ethernet", "source": {}}, {"txqueuelen": 700}, {"txqlen": 700}, f"link set dev {TAP} txqueuelen 9"),
    (MACVTAP, {"txqueuelen": 700}, {"txqlen": 700}, f"link set dev {TAP} txqueuelen 9"),
    ({}, {"port": {"hairpin": True}}, {"hairpin": True}, f"link set dev {TAP} type bridge_slave hairpin off"),
    ({}, {"port": {"learning": True}}, {"learning": True}, f"link set dev {TAP} type bridge_slave learning off"),
    ({}, {"port": {"flood": False}}, {"flood": False}, f"link set dev {TAP} type bridge_slave flood on"),
    (HYBRID, {"port": {"hairpin": True}}, {"hairpin": True}, f"link set dev {TAP} type bridge_slave hairpin off"),
    (OVS, {"ofport_request": 700}, {"ofport": "700"}, f"clear Interface {TAP} ofport_request"),
    (
        OVS,
        {"port_options": {"port": {"rstp-enable": "true"}}},
        {"port": '{rstp-enable="true"}'},
        f"remove Port {TAP} other_config rstp-enable",
    ),
    (
        OVS,
        {"port_options": {"interface": {"pmd-rxq-affinity": "0:1"}}},
        {"interface": '{pmd-rxq-affinity="0:1"}'},
        f"set Interface {TAP} other_config:pmd-rxq-affinity=0:3",
    ),
]


@pytest.mark.parametrize(("form", "keys", "expected", "foreign"), SETTINGS)
def test_each_setting_is_set_read_back_put_right_and_taken_back(
    plugged: PrivateHost, form: dict[str, Any], keys: dict[str, Any], expected: dict[str, Any], foreign: str
) -> None:
    host, says = plugged, vif(**form, **keys)
    on_ovs = foreign.split()[1] in ("Port", "Interface")
    found = row if on_ovs else link
    host.driver.plug(vif(**form))
    default = found(host)
    assert default | expected != default
    host.driver.update(says)
    assert found(host) == default | expected, "and nothing else"
    assert host.driver.check() == [] and not host.driver.plug(says).changed
    (host.ovs.ctl if on_ovs else host.ip)(*foreign.split())
    [difference] = host.driver.check()
    assert difference.vif_id == ID
    assert host.driver.settle(ID) and host.driver.check() == [] and found(host) == default | expected
    host.driver.update(vif(**form))
    assert host.driver.check() == [] and found(host) | {"ofport": ""} == default | {"ofport": ""}
    host.driver.unplug(ID)
    host.driver.plug(says)
    assert found(host) == default | expected, "from the start"


def test_the_vifs_word_on_learning_wins_and_others_have_the_hosts(plugged: PrivateHost) -> None:
    plugged.driver.plug(vif())
    plugged.driver.plug(vif(OTHER, port={"learning": True}))
    assert [link(plugged, name)["learning"] for name in (TAP, vif(OTHER).device)] == [False, True]
    deaf = plugged.driver.update(vif(OTHER, port={"learning": False, "flood": False}))
    assert "bridge fdb add" in deaf.warnings[0]


def test_a_tap_that_libvirt_makes_gets_its_queue_when_it_is_there(plugged: PrivateHost) -> None:
    plugged.driver.plug(vif(**DELEGATED, txqueuelen=700))
    with netns.inside(plugged.namespace), tap.opened(TAP, multi_queue=False):
        assert becomes(lambda: bool(plugged.driver.settle(ID)), 10)
        assert link(plugged)["txqlen"] == 700 and plugged.driver.check(ID) == []
    assert becomes(lambda: TAP not in plugged.links(), 10)


def test_the_port_on_the_vifs_bridge_has_number_and_options(plugged: PrivateHost) -> None:
    options = {"port": {"rstp-enable": "true"}, "interface": {"pmd-rxq-affinity": "0:1"}}
    plugged.driver.plug(vif(**OWN_BRIDGE, ofport_request=700, port_options=options))
    assert row(plugged, f"ibp{ID}") == {"port": '{rstp-enable="true"}', "interface": "{}", "ofport": "700"}
    assert row(plugged) == {"port": "{}", "interface": '{pmd-rxq-affinity="0:1"}', "ofport": "[]"}
    assert plugged.port(f"ibp{ID}", "ofport") == "700" and plugged.driver.check() == []


def test_keys_of_others_in_other_config_stay(plugged: PrivateHost) -> None:
    plugged.driver.plug(vif(**OVS, port_options={"port": {"a": "1", "b": "1"}}))
    plugged.ovs.ctl("set", "Port", TAP, "other_config:theirs=1", "--", "set", "Interface", TAP, "other_config:x=1")
    assert plugged.driver.check() == []
    plugged.driver.update(vif(**OVS, port_options={"port": {"b": "2"}}))
    assert row(plugged) | {"ofport": ""} == {"port": '{b="2", theirs="1"}', "interface": '{x="1"}', "ofport": ""}
    plugged.driver.update(vif(**OVS))
    assert row(plugged)["port"] == '{theirs="1"}'


def test_a_number_that_another_port_has_requested(plugged: PrivateHost) -> None:
    """ovs-vswitchd gives another one without a word, and the requested one as soon as it is free."""
    host, request = plugged, "ofport_request=703"
    host.driver.plug(vif(**OVS, ofport_request=700))
    with pytest.raises(errors.Conflict, match=r"OpenFlow port 700 of bridge br-ex"):
        host.driver.plug(vif(OTHER, **OVS, ofport_request=700))
    assert not host.driver.can_plug([vif(OTHER, **OVS, ofport_request=700)])
    host.ovs.ctl("add-port", "br-ex", "low1", "--", "set", "Interface", "low1", request)
    with pytest.raises(errors.StepFailed, match=r"OpenFlow port 703 of bridge br-ex .* change ofport_request"):
        host.driver.plug(vif(**OVS, ofport_request=703))
    assert host.port(TAP, "ofport") == "700" and host.driver.check() == [], "as before"
    host.ovs.ctl("clear", "Interface", "low1", "ofport_request")
    host.driver.plug(vif(**OVS, ofport_request=703))
    assert host.port("low1", "ofport") != "703", "a port that did not request its number loses it"
    host.ovs.ctl("clear", "Interface", TAP, "ofport_request", "--", "set", "Interface", "low1", request)
    host.ovs.ctl("set", "Interface", TAP, request)
    [difference] = host.driver.check()
    assert (difference.path, difference.wanted) == (f"ovs-port {TAP}: ofport", 703)
    assert "OpenFlow port 703" in host.driver.plug(vif(**OVS, ofport_request=703)).warnings[0]
    host.ovs.ctl("del-port", "low1")
    assert host.driver.check() == [] and host.port(TAP, "ofport") == "703"


def test_an_uplink_of_a_switch_that_is_down_is_told_by_check_and_can_plug(plugged: PrivateHost) -> None:
    """A plug does not ask: it would have to read every port of the bridge."""
    host, asked = plugged, vif(**OVS)
    for name in ("nic0", "guest0"):
        host.ip("link", "add", name, "up", "type", "veth", "peer", "name", f"{name}-far")
    host.ip("link", "set", "guest0-far", "up")
    guests = ("--", "set", "Interface", "guest0", "external_ids:iface-id=x")
    host.ovs.ctl("add-port", "br-ex", "nic0", "--", "add-port", "br-ex", "guest0", *guests)
    assert host.driver.plug(asked).warnings == ()

    def told() -> tuple[list[str], list[str]]:
        answer = host.driver.can_plug([asked])
        assert answer
        return [each.path for each in host.driver.check()], [sentence for _, sentence in answer.warnings]

    paths, [sentence] = told()
    assert paths == ["device nic0 state"]
    assert sentence.startswith("device nic0 is down, and nothing else leads out of bridge br-ex: connect it")
    patch = ("--", "set", "Interface", "patch0", "type=patch", "options:peer=patch1")
    host.ovs.ctl("add-port", "br-ex", "patch0", *patch)
    assert told() == ([], []), "the patch leads out"
    host.ovs.ctl("del-port", "patch0")
    host.ip("link", "set", "nic0-far", "up")
    assert told() == ([], [])
    assert not host.driver.can_plug([vif(**OVS, mtu=9000)]), "and so is its MTU"
    host.ovs.ctl("del-port", "nic0", "--", "del-port", "guest0")
    for name in ("nic0", "guest0"):
        host.ip("link", "delete", name)
