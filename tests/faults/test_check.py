"""What would leave a guest without network though each setting is as recorded: `check` tells it."""

from __future__ import annotations

from typing import Any

from tests.support import records
from tests.support.patience import becomes
from vifplug import VIF
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


def test_marks_without_a_record(host: PrivateHost) -> None:
    host.driver.plug(vif(ON_NIC, "ethernet"))
    host.driver.plug(vif(ON_OVS, "bridge", source={"bridge": "br-int"}, virtualport={"type": "openvswitch"}))
    records.execute(host, f"DELETE FROM vif WHERE vif_id = '{ON_NIC}'")
    host.driver.plug(vif(ON_OVS, "bridge", source={"bridge": "br-int"}, virtualport={"type": "openvswitch"}))
    assert checked(host) == {(ON_NIC, "record", None)} and host.driver.check(ON_OVS) == []
    records.execute(host, "DELETE FROM vif")
    assert checked(host) == {(ON_NIC, "record", None), (ON_OVS, "record", None)}
