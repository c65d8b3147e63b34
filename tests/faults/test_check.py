"""What would leave a guest without network though each setting is as recorded: `check` tells it."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from tests.support import bridges, guest, records
from tests.support.patience import becomes
from vifplug import VIF
from vifplug.host.netlink.socket import RtSocket
from vifplug.host.ovs.connection import OvsdbConnection
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost

ON_OVS, ON_NIC = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "1c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
NEXT = '["Open_vSwitch",{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","+=",1]]}]'


def vif(vif_id: str, kind: str, **keys: Any) -> VIF:
    mac = f"52:54:00:12:34:{vif_id[:2]}"
    return VIF.from_data({"id": vif_id, "type": kind, "mac": mac, **keys})


def checked(host: PrivateHost, *ids: str) -> set[tuple[str, str, Any]]:
    """What check says of VIFs, by default of all: the same of each alone, but what is recorded of none."""
    found = {(each.vif_id, each.path, each.found) for each in host.driver.check()}
    alone = {(each.vif_id, each.path, each.found) for vif_id in ids for each in host.driver.check(vif_id)}
    assert not ids or alone == found
    return found


def test_a_switch_that_does_not_run(host: PrivateHost) -> None:
    host.driver.plug(vif(ON_OVS, "bridge", source={"bridge": "br-int"}, virtualport={"type": "openvswitch"}))
    host.ip("link", "add", "up0", "up", "type", "veth", "peer", "name", "up1")
    host.ip("link", "set", "up1", "up")
    host.driver.plug(vif(ON_NIC, "direct", source={"dev": "up0"}, tap_owner="vifplug"))
    assert checked(host, ON_OVS, ON_NIC) == set()
    host.ovs.pause("ovs-vswitchd")
    assert checked(host) == set(), "it has nothing to do"
    host.ovs.run("ovsdb-client", "transact", host.ovs.connection, NEXT)
    [(vif_id, path, words)] = checked(host)
    assert (vif_id, path) == (ON_OVS, "ovs-switch") and "did not apply it in time" in words
    host.ovs.resume("ovs-vswitchd")
    host.ovs.kill("ovs-vswitchd")
    dead = {(ON_OVS, "ovs-switch", "ovs-vswitchd is not running")}
    assert becomes(lambda: checked(host) == dead), "ovsdb-server sees it a little later"
    assert checked(host, ON_OVS, ON_NIC) == dead
    host.ovs.start("ovs-vswitchd")
    assert checked(host) == set()


def test_a_device_below_a_macvtap_without_a_carrier(host: PrivateHost) -> None:
    host.ip("link", "add", "up0", "up", "type", "veth", "peer", "name", "up1")
    [warning] = host.driver.plug(vif(ON_NIC, "direct", source={"dev": "up0"}, tap_owner="vifplug")).warnings
    assert warning == f"device up0 has no carrier, and nothing else leads out for VIF {ON_NIC}: connect it"
    assert checked(host, ON_NIC) == {(ON_NIC, "device up0 carrier", "off")}
    host.ip("link", "set", "up1", "up")
    assert checked(host) == set()


def test_a_port_that_its_bridge_does_not_forward_from(host: PrivateHost) -> None:
    bridges.add(host, "br0")
    host.driver.plug(vif(ON_NIC, "bridge", source={"bridge": "br0"}))
    tap = f"tap{ON_NIC[:11]}"
    held = guest.opened(tap)
    assert checked(host) == set(), "the bridge learns of the carrier a little later"
    assert becomes(lambda: "state forwarding" in netns.run("bridge", "-n", host.namespace, "link", "show", "dev", tap))
    for state, told in (("disabled", "disabled"), ("forwarding", "")):
        netns.run("bridge", "-n", host.namespace, "link", "set", "dev", tap, "state", state)
        assert checked(host, ON_NIC) == ({(ON_NIC, f"bridge-port {tap}: state", told)} if told else set())
    os.close(held)
    assert checked(host) == set(), "without a guest it is disabled"


def test_marks_without_a_record(host: PrivateHost) -> None:
    host.driver.plug(vif(ON_NIC, "ethernet"))
    host.driver.plug(vif(ON_OVS, "bridge", source={"bridge": "br-int"}, virtualport={"type": "openvswitch"}))
    records.execute(host, f"DELETE FROM vif WHERE vif_id = '{ON_NIC}'")
    host.driver.plug(vif(ON_OVS, "bridge", source={"bridge": "br-int"}, virtualport={"type": "openvswitch"}))
    assert checked(host) == {(ON_NIC, "record", None)} and host.driver.check(ON_OVS) == []
    records.execute(host, "DELETE FROM vif")
    assert checked(host) == {(ON_NIC, "record", None), (ON_OVS, "record", None)}


def test_a_look_at_many_asks_as_often_as_one_at_few(host: PrivateHost, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()

    def counting(cls: type, name: str) -> None:
        real = getattr(cls, name)

        def counted(self: Any, *arguments: Any) -> Any:
            asked[name] += 1
            return real(self, *arguments)

        monkeypatch.setattr(cls, name, counted)

    on_ovs: dict[str, Any] = {"source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
    ids = [f"{number:08x}-6a1b-4c2d-9e3f-7a8b9c0d1e2f" for number in range(60)]
    vifs = [
        VIF.from_data({"id": each, "type": "bridge", "mac": f"52:54:00:00:01:{each[6:8]}", **on_ovs}) for each in ids
    ]
    for cls, name in ((OvsdbConnection, "_ask"), (RtSocket, "exchange"), (RtSocket, "dump")):
        counting(cls, name)
    counts = []
    for some in (vifs[:2], vifs):
        host.driver.plug_many((each, None) for each in some)
        host.driver.check()
        asked.clear()
        assert host.driver.check() == []
        counts.append(dict(asked))
    assert counts[0] == counts[1]
    host.driver.unplug_many(ids)
