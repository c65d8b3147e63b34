"""What another program made for a VIF becomes the VIF's, as it is, and nobody else's does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.conftest import OTHER, OWNER
from tests.support.ovs import backend, found, new_id, port, rows, unplug
from vifplug.host.links.links import Links
from vifplug.host.ovs.backend import OvsBackend
from vifplug.plan.registry import LinuxBridge, OvsPort, OvsQos, Tap, VethPair, osvif_qos_id
from vifplug.testing import needs, netns
from vifplug.testing.ovs import PrivateOvs

# -- ports of Open vSwitch --------------------------------------------------------------------------------------------


@pytest.fixture
def door(ovs: PrivateOvs) -> Iterator[OvsBackend]:
    """A backend; the test leaves no port and no QoS."""
    before = rows(ovs)
    with backend(ovs) as door:
        yield door
    for name in ("br0", "br1"):
        for each in ovs.ctl("list-ports", name).split():
            ovs.ctl("del-port", each)
    ovs.ctl("--all", "destroy", "QoS", "--", "--all", "destroy", "Queue")
    assert rows(ovs) == before


def wanted(**fields: Any) -> OvsPort:
    owner = new_id()
    return port(**{"owner": owner, "external_ids": {"iface-id": f"port-of-{owner}"}, **fields})


def made_elsewhere(ovs: PrivateOvs, like: OvsPort, *more: str) -> None:
    """A port as ovs-vsctl makes it, with the iface-id of ``like``."""
    ids = [f"external_ids:{key}={value}" for key, value in like.external_ids.items()]
    ovs.ctl("add-port", like.bridge, like.name, "--", "set", "Interface", like.name, "type=internal", *ids, *more)


def test_a_port_becomes_the_vifs_with_all_that_is_on_it(ovs: PrivateOvs, door: OvsBackend) -> None:
    ask = wanted()
    neutrons = ("--", "set", "Port", ask.name, "tag=7", "other_config:net_uuid=n", "other_config:tag=7")
    made_elsewhere(
        ovs, ask, "external_ids:attached-mac=52:54:00:00:00:01", "options:a=b", "mtu_request=1400", *neutrons
    )
    number = ovs.ctl("get", "Interface", ask.name, "ofport")
    assert found(door, ask) is None and door.take_over([ask]) == [ask]
    seen = found(door, ask)
    assert (seen.type, seen.vlan.tag, seen.mtu_request, seen.bridge) == ("internal", 7, 1400, "br0")
    assert seen.external_ids == {**ask.external_ids, "attached-mac": "52:54:00:00:00:01"}
    assert (seen.options, seen.other_config) == ({"a": "b"}, {"net_uuid": "n", "tag": "7"})
    ovs.ctl("set", "Bridge", "br0", "external_ids:seen=1")  # ovs-vswitchd has caught up
    assert ovs.ctl("get", "Interface", ask.name, "ofport") == number
    assert door.take_over([ask]) == [] and [each.name for each in door.find(ask.owner)] == [ask.name]
    unplug(door, ask)


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({}, {"external_ids": {"iface-id": "another"}}),
        ({}, {"external_ids": {}}),
        ({"external_ids": {}}, {"external_ids": {"iface-id": "another"}}),
        ({"external_ids": {}, "bridge": "br1"}, {"bridge": "br0", "external_ids": {}}),
    ],
    ids=["another iface-id", "no iface-id", "an iface-id where none is wanted", "no iface-id, on another bridge"],
)
def test_what_may_be_anothers_is_left_alone(
    ovs: PrivateOvs, door: OvsBackend, fields: dict[str, Any], made: dict[str, Any]
) -> None:
    ask = wanted(**fields)
    made_elsewhere(ovs, ask.replace(**made))
    before = ovs.ctl("list", "Interface", ask.name)
    assert door.take_over([ask]) == [] and ovs.ctl("list", "Interface", ask.name) == before
    assert door.unowned_ports([(ask.name, ask.owner), ("nobodys", ask.owner), ("br0", ask.owner)]) == {ask.name, "br0"}


def test_a_port_without_an_iface_id_is_the_vifs_on_the_vifs_bridge(ovs: PrivateOvs, door: OvsBackend) -> None:
    ask = wanted(external_ids={}, bridge="br1", role="patch")
    made_elsewhere(ovs, ask)
    assert door.take_over([ask]) == [ask] and found(door, ask).bridge == "br1"
    unplug(door, ask)


def test_osvifs_qos_becomes_the_vifs_and_goes_with_the_port(ovs: PrivateOvs, door: OvsBackend) -> None:
    ask = wanted()
    made_elsewhere(ovs, ask, *qos(ask, osvif_qos_id(ask.name)))
    door.take_over([ask])
    assert found(door, ask).qos.type == "linux-noop" and rows(ovs)["QoS"] == 1
    unplug(door, ask)
    assert rows(ovs)["QoS"] == 0


def test_anothers_qos_stays_anothers_and_on_the_port(ovs: PrivateOvs, door: OvsBackend) -> None:
    """Neutron's, for a bandwidth limit."""
    ask = wanted()
    made_elsewhere(ovs, ask, *qos(ask, "neutron"))
    row = ovs.ctl("get", "Port", ask.name, "qos")
    door.take_over([ask])
    assert ovs.ctl("get", "Port", ask.name, "qos") == row
    assert found(door, ask).qos == OvsQos(type="linux-noop", external_ids={"id": "neutron"})


def qos(ask: OvsPort, identity: str) -> list[str]:
    made = ["--", "--id=@q", "create", "QoS", "type=linux-noop", f"external_ids:id={identity}"]
    return [*made, "--", "set", "Port", ask.name, "qos=@q"]


def test_of_many_who_take_one_port_over_one_does_and_none_fails(ovs: PrivateOvs, door: OvsBackend) -> None:
    ask = wanted()
    made_elsewhere(ovs, ask)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: door.take_over([ask]), range(16)))
    assert found(door, ask) is not None and sum(map(len, taken)) >= 1
    unplug(door, ask)


def test_what_is_left_behind_is_cleaned_up_and_what_is_used_is_not(ovs: PrivateOvs, door: OvsBackend) -> None:
    ask, name = wanted(), "left0"
    ovs.ctl("create", "QoS", "type=linux-htb", f"external_ids:id={osvif_qos_id(name)}")
    made_elsewhere(ovs, ask, *qos(ask, osvif_qos_id(ask.name)))
    ovs.ctl("add-br", "br-gone", "--", "add-br", "br-used", "--", "add-port", "br-used", "p1")
    assert door.clean_up([name, ask.name], ["br-gone", "br-used", "br-none"]) == ["br-gone"]
    assert rows(ovs)["QoS"] == 1 and "br-used" in ovs.ctl("list-br").split()
    ovs.ctl("del-br", "br-used")


# -- devices ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def links() -> Iterator[Links]:
    needs.require("tun")
    with netns.entered():
        links = Links()
        yield links
        links.close()


def alias(name: str) -> str | None:
    [link] = json.loads(netns.ip("-json", "link", "show", "dev", name))
    message: str | None = link.get("ifalias")
    return message


def test_devices_that_are_nobodys_are_marked_and_else_as_they_were(links: Links) -> None:
    netns.ip("tuntap", "add", "dev", "tap0", "mode", "tap")
    netns.ip("link", "add", "qbr0", "type", "bridge")
    netns.ip("link", "add", "qvo0", "type", "veth", "peer", "name", "qvb0")
    ask = [
        Tap(name="tap0", owner=OWNER),
        LinuxBridge(name="qbr0", owner=OWNER),
        VethPair(name="qvo0", peer="qvb0", owner=OWNER),
    ]
    before = netns.ip("-json", "-details", "link", "show", "dev", "tap0")
    assert links.take_over([*ask, Tap(name="none", owner=OWNER)]) == ask
    assert {alias(name) for name in ("tap0", "qbr0", "qvo0", "qvb0")} == {f"vifplug:{OWNER}"}
    after = json.loads(netns.ip("-json", "-details", "link", "show", "dev", "tap0"))
    assert [{**json.loads(before)[0], "ifalias": f"vifplug:{OWNER}"}] == after
    assert links.take_over(ask) == [] and {each.name for each in links.find(OWNER)} == {"tap0", "qbr0", "qvb0"}


def test_a_device_with_a_mark_or_of_another_kind_is_left_alone(links: Links) -> None:
    netns.ip("tuntap", "add", "dev", "tap0", "mode", "tap")
    netns.ip("link", "set", "dev", "tap0", "alias", f"vifplug:{OTHER}")
    netns.ip("tuntap", "add", "dev", "tun0", "mode", "tun")
    netns.ip("link", "add", "qvo0", "type", "veth", "peer", "name", "other")
    ask = [
        Tap(name="tap0", owner=OWNER),
        Tap(name="tun0", owner=OWNER),
        VethPair(name="qvo0", peer="qvb0", owner=OWNER),
    ]
    assert links.take_over(ask) == [] and alias("tap0") == f"vifplug:{OTHER}" and alias("qvo0") is None
