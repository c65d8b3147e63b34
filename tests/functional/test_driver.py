"""The main job on real parts: plugged, observed with the field's own tools, checked, updated, unplugged to nothing."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support import bridges
from tests.support.loaded import loaded
from vifplug import VIF, Instance, VIFDriver, conf, errors
from vifplug.host.netlink.socket import Reply, Request, RtSocket
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost

GUEST = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web-1")
ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
OTHER = "1b2c3d4e-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
TAP = "tap9c4e2f10-6a"


def vif(type: str = "bridge", *, on_ovs: bool = False, **keys: Any) -> VIF:
    document = {"id": ID, "type": type, "mac": "52:54:00:12:34:56", "model": "virtio", **keys}
    if type == "bridge":
        document.setdefault("source", {"bridge": "br-int" if on_ovs else "br0"})
    if on_ovs:
        document["virtualport"] = {"type": "openvswitch", **document.get("virtualport", {})}
    return VIF.from_json(document)


@pytest.fixture
def linux_bridge(host: PrivateHost) -> Any:
    bridges.add(host, "br0")
    yield "br0"
    host.ip("link", "del", "br0")


def link(host: PrivateHost, name: str) -> dict[str, Any]:
    [found] = json.loads(host.ip("-d", "-j", "link", "show", "dev", name))
    return dict(found)


def settled_twice(host: PrivateHost, wanted: VIF) -> None:
    """Plugged, it checks clean, and plugging again changes nothing."""
    first = host.driver.plug(wanted, GUEST)
    assert first.changed
    assert host.driver.check(wanted.id) == []
    again = host.driver.plug(wanted, GUEST)
    assert not again.changed and again.steps == () and again.interface_xml == first.interface_xml


def test_a_tap_on_open_vswitch_has_its_vlan_identity_and_hardening(host: PrivateHost) -> None:
    wanted = vif(on_ovs=True, vlan=10, mtu=1450, driver={"queues": 4}, virtualport={"profileid": "gold"})
    settled_twice(host, wanted)
    assert host.ports("br-int") == {TAP}
    assert host.port(TAP, "tag", "Port") == "10"
    assert host.port(TAP, "vlan_mode", "Port") == "access"
    ids = host.port(TAP, "external_ids")
    for word in (f'iface-id="{ID}"', 'attached-mac="52:54:00:12:34:56"', "iface-status=active", "port-profile=gold"):
        assert word in ids
    assert f'vm-id="{GUEST.uuid}"' in ids and f'vm-uuid="{GUEST.uuid}"' in ids
    tap = link(host, TAP)
    assert tap["address"] == "fe:54:00:12:34:56" and tap["mtu"] == 1450 and "UP" in tap["flags"]
    assert tap["ifalias"] == f"vifplug:{ID}"
    assert tap["linkinfo"]["info_data"]["multi_queue"] is True and tap["linkinfo"]["info_data"]["persist"] is True
    assert host.driver.unplug(ID)
    assert host.driver.unplug(ID) == ()


@pytest.mark.parametrize(
    ("vlan", "mode", "tag", "trunks"),
    [
        (10, "access", "10", "[]"),
        ("10,20", "trunk", "[]", "[10, 20]"),
        ("10u,20", "native-untagged", "10", "[10, 20]"),
        ("10t,20", "native-tagged", "10", "[10, 20]"),
        ({"tags": [{"id": 10}], "trunk": True}, "trunk", "[]", "[10]"),
        ({"tags": [{"id": 10, "native_mode": "untagged"}]}, "native-untagged", "10", "[10]"),
    ],
)
def test_each_form_of_vlan_is_in_the_switch(host: PrivateHost, vlan: Any, mode: str, tag: str, trunks: str) -> None:
    host.driver.plug(vif(on_ovs=True, vlan=vlan))
    found = tuple(host.port(TAP, column, "Port") for column in ("vlan_mode", "tag", "trunks"))
    assert found == (mode, tag, trunks)
    host.driver.unplug(ID)


def test_bandwidth_makes_rows_that_go_with_the_port(host: PrivateHost) -> None:
    limits = {"inbound": {"average": 1000, "peak": 5000, "burst": 512}}
    settled_twice(host, vif(on_ovs=True, bandwidth=limits))
    rows = host.ovs.ctl("--columns=type,other_config", "list", "qos")
    assert "linux-htb" in rows and 'max-rate="40000000"' in rows and 'min-rate="8000000"' in rows
    assert host.driver.update(vif(on_ovs=True, bandwidth={"inbound": {"average": 2000}})).changed
    assert 'max-rate="16000000"' in host.ovs.ctl("--columns=other_config", "list", "qos")
    host.driver.update(vif(on_ovs=True))
    assert host.ovs.ctl("list", "qos") == "" and host.ovs.ctl("list", "queue") == ""
    host.driver.unplug(ID)


@pytest.mark.parametrize("form", [{}, {"hybrid": True}, {"per_port_bridge": True}, {"isolate": True}], ids=str)
def test_what_plugs_is_not_said_to_be_impossible(host: PrivateHost, form: dict[str, bool]) -> None:
    """The qdisc of a tap that is not there yet is no reason."""
    host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    limits = {"inbound": {"average": 1000}, "outbound": {"average": 1000}}
    wanted = vif(on_ovs=True, source={"bridge": "br-int", **form}, bandwidth=limits)
    assert host.driver.can_plug([wanted])
    host.driver.plug(wanted)
    assert host.driver.can_plug([wanted])
    host.driver.unplug(ID)


def test_a_bridge_that_filters_no_vlans_is_reported_beforehand(host: PrivateHost, linux_bridge: str) -> None:
    wanted = vif(vlan=10)
    [(_, message)] = host.driver.can_plug([wanted])
    for attempt in (host.driver.plan, host.driver.plug):
        with pytest.raises(errors.HostNotReady) as caught:
            attempt(wanted)
        assert str(caught.value) == message
    assert message.startswith(f"bridge {linux_bridge} does not filter VLANs, and VIF {ID} has VLANs")
    assert host.driver.list() == [] and TAP not in host.links()
    assert host.driver.can_plug([vif()])


@pytest.mark.parametrize(
    ("keys", "sends", "listings"),
    [
        ({"on_ovs": True}, 3, 0),
        ({}, 5, 1),  # the ports of the bridge; none if /sys shows them
        ({"type": "direct", "source": {"dev": "low0"}}, 2, 3),  # what is on the device, by kind
        ({"type": "direct", "source": {"dev": "low0", "mode": "passthrough"}}, 2, 5),  # its addresses and routes
    ],
    ids=["Open vSwitch", "Linux bridge", "macvtap", "passthrough"],
)
def test_preconditions_are_observed_in_the_sends_of_a_plug(
    host: PrivateHost,
    linux_bridge: str,
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, Any],
    sends: int,
    listings: int,
) -> None:
    host.ovs.ctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    host.ip("link", "add", "low0", "type", "veth", "peer", "name", "low1")
    sent: list[int] = []
    listed: list[Request] = []
    exchange, dump = RtSocket.exchange, RtSocket.dump

    def counted(self: RtSocket, messages: Sequence[Request]) -> list[Reply]:
        sent.extend([len(messages)] if messages else [])
        return exchange(self, messages)

    def listing(self: RtSocket, message: Request) -> list[bytes]:
        listed.append(message)
        return dump(self, message)

    host.driver.unplug(ID)  # the first change to a new record looks for marks on the host
    monkeypatch.setattr(RtSocket, "exchange", counted)
    monkeypatch.setattr(RtSocket, "dump", listing)
    host.driver.plug(vif(**keys))
    counts = (len(sent), len(listed))
    host.driver.unplug(ID)
    host.ip("link", "del", "low0")
    assert counts == (sends, listings)


def test_no_verb_of_a_usual_vif_loads_pyroute2(host: PrivateHost, linux_bridge: str) -> None:
    host.ip("link", "add", "low0", "type", "veth", "peer", "name", "low1")
    host.ip("link", "set", "low1", "up")
    on_ovs = {"type": "bridge", "virtualport": {"type": "openvswitch"}, "vlan": 7}
    forms: list[dict[str, Any]] = [
        {"type": "ethernet", "mtu": 1400},
        {"type": "bridge", "source": {"bridge": linux_bridge}, "port": {"isolated": True}},
        {**on_ovs, "source": {"bridge": "br-int"}},
        {**on_ovs, "source": {"bridge": "br-int", "hybrid": True}},
        {"type": "direct", "source": {"dev": "low0"}, "tap_owner": "vifplug"},
        {"type": "direct", "source": {"dev": "low0", "mode": "passthrough"}, "tap_owner": "libvirt"},
    ]
    modules = loaded(host, *({"id": ID, "mac": "52:54:00:12:34:56", **form} for form in forms))
    host.ip("link", "del", "low0")
    assert not {name for name in modules if name.startswith("pyroute2")}


def test_an_existing_bridge_is_never_altered(host: PrivateHost) -> None:
    host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev", "fail_mode=secure")
    before = host.ovs.ctl("list", "bridge", "br-int")
    host.driver.plug(vif(on_ovs=True))
    host.driver.unplug(ID)
    assert host.ovs.ctl("list", "bridge", "br-int") == before


def test_a_tap_that_libvirt_makes_needs_the_bridge_only(host: PrivateHost) -> None:
    plugged = host.driver.plug(vif(on_ovs=True, vlan=10, tap_owner="libvirt"))
    assert "<interface type='bridge'>" in plugged.interface_xml and "<tag id='10'/>" in plugged.interface_xml
    assert host.ports("br-int") == set() and TAP not in host.links()
    host.driver.unplug(ID)
    assert "br-int" in host.ovs.ctl("list-br")


def test_a_tap_on_a_linux_bridge_has_its_port_flags(host: PrivateHost, linux_bridge: str) -> None:
    settled_twice(host, vif(port={"isolated": True}))
    port = link(host, TAP)
    assert port["master"] == linux_bridge
    assert port["linkinfo"]["info_slave_data"]["isolated"] is True
    host.driver.unplug(ID)


def test_a_missing_linux_bridge_is_named_and_nothing_is_made(host: PrivateHost) -> None:
    for owner in ("vifplug", "libvirt"):
        for bridge, found in (("br0", "bridge br0 does not exist on this host"), ("lo", "which is not a bridge")):
            with pytest.raises(errors.Missing, match=found):
                host.driver.plug(vif(tap_owner=owner, source={"bridge": bridge}))
    assert TAP not in host.links() and host.driver.list() == []


def test_an_open_vswitch_bridge_is_not_taken_for_a_linux_one(host: PrivateHost) -> None:
    host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    with pytest.raises(errors.Missing, match="add a virtualport of type openvswitch"):
        host.driver.plug(vif(source={"bridge": "br-int"}))
    assert host.driver.list() == [] and TAP not in host.links()
    host.ovs.ctl("del-br", "br-int")


def test_the_hybrid_form_joins_both_kinds_of_bridge(host: PrivateHost) -> None:
    source = {"bridge": "br-int", "hybrid": True}
    settled_twice(host, vif(on_ovs=True, source=source, filterref="clean-traffic", mtu=1450))
    assert host.ports("br-int") == {"qvo9c4e2f10-6a"}
    qbr, qvb, qvo = (link(host, prefix + ID[:11]) for prefix in ("qbr", "qvb", "qvo"))
    data = qbr["linkinfo"]["info_data"]
    assert (data["ageing_time"], data["forward_delay"], data["stp_state"], data["mcast_snooping"]) == (0, 0, 0, 0)
    assert qvb["master"] == link(host, TAP)["master"] == "qbr9c4e2f10-6a"
    assert qbr["mtu"] == qvb["mtu"] == qvo["mtu"] == 1450
    assert qvo["promiscuity"] and qvb["promiscuity"]
    host.driver.unplug(ID)


def test_ethernet_is_a_tap_and_nothing_else(host: PrivateHost) -> None:
    settled_twice(host, vif("ethernet"))
    assert "master" not in link(host, TAP)
    host.driver.unplug(ID)


@pytest.mark.parametrize("mode", ["vepa", "bridge", "private", "passthrough"])
def test_a_macvtap_made_beforehand(host: PrivateHost, mode: str) -> None:
    host.ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
    host.ip("link", "set", "up1", "up")
    before = link(host, "up0")["address"]
    settled_twice(host, vif("direct", tap_owner="vifplug", source={"dev": "up0", "mode": mode}))
    macvtap = link(host, TAP)
    assert macvtap["linkinfo"]["info_kind"] == "macvtap"
    assert macvtap["linkinfo"]["info_data"]["mode"] == ("passthru" if mode == "passthrough" else mode)
    assert macvtap["address"] == "52:54:00:12:34:56" and "UP" in macvtap["flags"]
    assert (link(host, "up0")["address"] == before) is (mode != "passthrough")
    host.driver.unplug(ID)
    assert link(host, "up0")["address"] == before
    host.ip("link", "del", "up0")


def test_two_passthrough_vifs_on_one_device_conflict(host: PrivateHost) -> None:
    host.ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
    host.driver.plug(vif("direct", source={"dev": "up0", "mode": "passthrough"}))
    second = vif("direct", id=OTHER, source={"dev": "up0", "mode": "passthrough"})
    with pytest.raises(errors.Conflict, match=ID):
        host.driver.plug(second)
    host.driver.unplug(ID)
    host.driver.plug(second)
    host.driver.unplug(OTHER)
    host.ip("link", "del", "up0")


def refused_beforehand(driver: VIFDriver, wanted: VIF, error: type[errors.VifplugError]) -> str:
    """Refused with one sentence by can-plug, the dry run and plug, before anything is changed."""
    [(_, message)] = driver.can_plug([wanted])
    for attempt in (driver.plan, driver.plug):
        with pytest.raises(error) as caught:
            attempt(wanted)
        assert str(caught.value) == message
    assert driver.list() == []
    return message


def test_vhostuser_on_a_switch_without_dpdk_is_refused_beforehand(host: PrivateHost) -> None:
    host.ovs.ctl("add-br", "br-int")
    source = {"path": f"{host.directory}/vhost/sock", "mode": "server", "bridge": "br-int"}
    message = refused_beforehand(host.driver, vif("vhostuser", source=source), errors.HostNotReady)
    assert "this host's Open vSwitch has no interfaces of type dpdkvhostuserclient: start an ovs-vswitchd wi" in message
    assert not (host.directory / "vhost").exists() and host.ports("br-int") == set()


@pytest.mark.parametrize("keys", [{}, {"tap_owner": "libvirt"}, {"source": {"bridge": "br-itn", "hybrid": True}}])
def test_an_open_vswitch_bridge_is_created_on_request_only(host: PrivateHost, keys: dict[str, Any]) -> None:
    host.ovs.ctl("add-br", "br-int")
    wanted = vif(on_ovs=True, **{"source": {"bridge": "br-itn"}, **keys})
    options = conf.load([str(host.config)])
    options.set_override("ensure_bridge", False, group="vifplug_ovs")
    with VIFDriver(options) as driver:
        message = refused_beforehand(driver, wanted, errors.Missing)
        assert message == (
            "Open vSwitch bridge br-itn does not exist on this host: correct the VIF's source (br-int exists), create "
            "it with 'ovs-vsctl add-br br-itn', or have vifplug create it (source.ensure, or [vifplug_ovs] "
            "ensure_bridge)"
        )
        assert host.ovs.ctl("list-br") == "br-int"
        ensured = wanted.replace(source=wanted.source.replace(ensure=True))
        own = {"id": OTHER, "mac": "52:54:00:12:34:57", "target": "tap-other", "virtualport": {"type": "openvswitch"}}
        unfounded = wanted.replace(**own, source={"bridge": "br-itn"})
        driver.plug_many([(ensured, None), (unfounded, None)])  # what one of a batch creates is there for the other
        assert host.ovs.ctl("list-br").split() == ["br-int", "br-itn"]
        for each in (ID, OTHER):
            driver.unplug(each)
        driver.plug(unfounded)
        host.ovs.ctl("del-br", "br-itn")
        assert ("ovs-bridge br-itn", "present") in [(each.path, each.wanted) for each in driver.check()]
        with pytest.raises(errors.Missing, match="br-itn does not exist on this host"):
            driver.plug(unfounded)
        driver.unplug(OTHER)


def test_a_foreign_port_of_the_same_iface_id_is_refused_and_told(host: PrivateHost) -> None:
    host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    leftover = ["add-port", "br-int", "vnet77", "--", "set", "Interface", "vnet77", f"external_ids:iface-id={ID}"]
    host.ovs.ctl(*leftover, "type=internal")
    message = refused_beforehand(host.driver, vif(on_ovs=True), errors.Conflict)
    assert message.startswith(f"iface-id {ID} of VIF {ID} is taken: port vnet77 has it and is not vifplug's: remove it")
    host.ovs.ctl("del-port", "vnet77")
    host.driver.plug(vif(on_ovs=True))
    host.ovs.ctl(*leftover, "type=internal")
    [difference] = host.driver.check()
    assert str(difference) == f"iface-id {ID}: expected no other port, got port vnet77 has it and is not vifplug's"
    host.ovs.ctl("del-port", "vnet77")
    host.driver.unplug(ID)


def test_check_reports_what_differs_and_update_repairs_it(host: PrivateHost) -> None:
    wanted = vif(on_ovs=True, vlan=10)
    host.driver.plug(wanted, GUEST)
    host.ovs.ctl("set", "port", TAP, "tag=20")
    host.ip("link", "set", TAP, "mtu", "1300")
    paths = {difference.path for difference in host.driver.check()}
    assert paths == {f"ovs-port {TAP}: vlan"}
    host.driver.update(wanted)
    assert host.driver.check() == [] and host.port(TAP, "tag", "Port") == "10"
    host.ovs.ctl("del-port", TAP)
    [difference] = host.driver.check(ID)
    assert (difference.path, difference.wanted, difference.found) == (f"ovs-port {TAP}", "present", None)
    host.driver.update(wanted)
    assert host.port(TAP, "tag", "Port") == "10"
    host.driver.unplug(ID)


def test_update_changes_in_place(host: PrivateHost) -> None:
    host.driver.plug(vif(on_ovs=True, vlan=10), GUEST)
    ofport, row = host.port(TAP, "ofport"), host.port(TAP, "_uuid")
    host.driver.update(vif(on_ovs=True, vlan="20u,30"))
    assert (host.port(TAP, "ofport"), host.port(TAP, "_uuid")) == (ofport, row)
    assert f'vm-uuid="{GUEST.uuid}"' in host.port(TAP, "external_ids"), "the instance is remembered"
    host.driver.update(vif(on_ovs=True))
    assert host.port(TAP, "vlan_mode", "Port") == "[]" and host.port(TAP, "trunks", "Port") == "[]"
    host.driver.unplug(ID)


def test_a_vlan_that_was_never_requested_is_left_alone(host: PrivateHost) -> None:
    """Neutron's agent sets the tag itself: replugging must not take it away."""
    host.driver.plug(vif(on_ovs=True))
    host.ovs.ctl("set", "port", TAP, "tag=7")
    assert host.driver.check() == []
    assert not host.driver.plug(vif(on_ovs=True)).changed
    assert host.port(TAP, "tag", "Port") == "7"
    host.driver.unplug(ID)


def test_what_is_not_ours_is_left_alone(host: PrivateHost) -> None:
    host.ip("tuntap", "add", "dev", TAP, "mode", "tap")
    with pytest.raises(errors.Conflict, match=TAP):
        host.driver.plug(vif("ethernet"))
    assert host.driver.list() == []
    host.ip("link", "del", TAP)


def test_a_port_of_that_name_on_another_bridge_is_a_conflict(host: PrivateHost) -> None:
    host.ovs.ctl("add-br", "br-other", "--", "set", "bridge", "br-other", "datapath_type=netdev")
    host.ovs.ctl("add-port", "br-other", TAP, "--", "set", "interface", TAP, "type=patch", "options:peer=none")
    with pytest.raises(errors.Conflict, match="br-other"):
        host.driver.plug(vif(on_ovs=True))
    assert host.ports("br-other") == {TAP} and host.driver.list() == []
    host.ovs.ctl("del-br", "br-other")


def test_a_batch_is_one_transaction(host: PrivateHost) -> None:
    host.driver.plug(vif(on_ovs=True))
    count = int(host.ovs.ctl("get", "open_vswitch", ".", "next_cfg"))
    ids = [f"{number:08x}-6a1b-4c2d-9e3f-7a8b9c0d1e2f" for number in range(20)]
    wanted = [vif(on_ovs=True, id=each, mac=f"52:54:00:00:01:{n:02x}", vlan=n + 1) for n, each in enumerate(ids)]
    host.driver.plug_many([(each, GUEST) for each in wanted])
    assert int(host.ovs.ctl("get", "open_vswitch", ".", "next_cfg")) == count + 1
    assert len(host.ports("br-int")) == 21
    for each in [*ids, ID]:
        host.driver.unplug(each)


def test_unplug_without_a_record_finds_what_carries_the_id(host: PrivateHost) -> None:
    host.driver.plug(vif(on_ovs=True, source={"bridge": "br-int", "hybrid": True}))
    (host.directory / "state").rename(host.directory / "lost")
    with host.new_driver() as amnesiac:
        assert amnesiac.list() == []
        assert amnesiac.unplug(ID)
    (host.directory / "state").rename(host.directory / "empty")
    (host.directory / "lost").rename(host.directory / "state")
    host.driver.close()
    assert host.driver.unplug(ID) == ()


@pytest.fixture
def guest() -> Any:
    """A stand-in for a guest: opens a tap by its name, as QEMU does, and holds it."""
    held: list[int] = []

    def hold(name: str, *, multi_queue: bool = False) -> None:
        flags = 0x5002 | (0x100 if multi_queue else 0)  # IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, IFF_MULTI_QUEUE
        held.append(os.open("/dev/net/tun", os.O_RDWR))
        fcntl.ioctl(held[-1], 0x400454CA, struct.pack("16sH22x", name.encode(), flags))  # TUNSETIFF

    yield hold
    for descriptor in held:
        os.close(descriptor)


@pytest.mark.parametrize("queues", [1, 2])
def test_a_tap_that_a_guest_holds_is_not_unplugged(host: PrivateHost, guest: Any, queues: int) -> None:
    host.driver.plug(vif(on_ovs=True, driver={"queues": queues}))
    guest(TAP, multi_queue=queues > 1)
    with pytest.raises(errors.Held, match=TAP):
        host.driver.unplug(ID)
    assert TAP in host.links() and host.ports("br-int") == {TAP} and host.driver.check() == []
    with_vlan = vif(on_ovs=True, driver={"queues": queues}, vlan=7)
    assert host.driver.update(with_vlan).changed, "a VLAN changes under a guest"
    assert host.driver.unplug(ID, force=True)


def test_settle_rebuilds_the_qdisc_that_the_start_of_a_guest_replaced(host: PrivateHost, guest: Any) -> None:
    host.driver.plug(vif(on_ovs=True, bandwidth={"inbound": {"average": 1000}}))
    assert "htb" in qdisc(host)
    guest(TAP)
    assert host.driver.check(ID) == []
    netns.run("tc", "-n", host.namespace, "qdisc", "replace", "dev", TAP, "root", "handle", "0:", "noqueue")
    [difference] = host.driver.check(ID)
    assert (difference.wanted, difference.found) == ("htb", "noqueue")
    assert host.driver.settle(ID)
    assert "htb" in qdisc(host) and host.driver.check(ID) == [] and host.driver.settle(ID) == ()
    host.driver.unplug(ID, force=True)


def qdisc(host: PrivateHost) -> str:
    return netns.run("tc", "-n", host.namespace, "qdisc", "show", "dev", TAP, "root")


def test_vlans_of_a_linux_bridge_port(host: PrivateHost, linux_bridge: str) -> None:
    """On a kernel with bridge VLAN filtering they are there; on one without, that is what is said."""
    try:
        host.ip("link", "set", "br0", "type", "bridge", "vlan_filtering", "1")
    except subprocess.CalledProcessError:
        with pytest.raises(errors.KernelLacks, match="this kernel has no bridge VLAN filtering"):
            host.driver.plug(vif(vlan=10))
        assert TAP not in host.links()
        return
    settled_twice(host, vif(vlan="10u,20"))
    [port] = json.loads(netns.run("bridge", "-n", host.namespace, "-j", "vlan", "show", "dev", TAP))
    assert {each["vlan"]: set(each.get("flags", ())) for each in port["vlans"]} == {
        10: {"PVID", "Egress Untagged"},
        20: set(),
    }
    host.driver.unplug(ID)


def test_host_info_says_what_this_host_offers(host: PrivateHost) -> None:
    info = host.driver.host_info()
    assert info["open_vswitch"]["reachable"] and info["open_vswitch"]["vswitchd"]
    assert set(info["types"]) >= {"bridge", "ethernet", "vhostuser", "hostdev", "direct"}
    assert json.loads(json.dumps(info)) == info


def test_a_bridge_that_has_lost_its_last_port_will_do(host: PrivateHost, linux_bridge: str) -> None:
    """Its address is then 00:00:00:00:00:00 (linux/net/bridge/br_stp_if.c: br_stp_recalculate_bridge_id)."""
    for _ in range(2):
        settled_twice(host, vif())
        host.driver.unplug(ID)
    assert link(host, linux_bridge)["address"] == "00:00:00:00:00:00"


def test_a_port_on_the_kernels_datapath_has_the_default_qos_from_the_first_plug_on(host: PrivateHost) -> None:
    """The bridge is made by the first plug; the second must not find more to do."""
    host.driver.close()
    host.config.write_text(host.configuration(datapath_type="system", wait="none"))
    with host.new_driver() as driver:
        assert driver.plug(vif(on_ovs=True)).changed
        assert not driver.plug(vif(on_ovs=True)).changed
        assert host.ovs.ctl("--bare", "--columns=type", "list", "qos").strip() == "linux-noop"
        driver.unplug(ID)
    host.config.write_text(host.configuration())
