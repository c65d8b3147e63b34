"""What used to stay behind: rows of QoS, bridges of one VIF, renamed devices, a guest's MAC on a NIC."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.support.devices import mac
from tests.support.guest import opened
from tests.support.records import forget
from vifplug import VIF, errors
from vifplug.testing.host import PrivateHost

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
TAP = f"tap{ID[:11]}"
ON_OVS: dict[str, Any] = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}


def vif(**keys: Any) -> VIF:
    return VIF.from_data({"id": ID, "mac": "52:54:00:12:34:56", **ON_OVS, **keys})


def rows(host: PrivateHost, *tables: str) -> list[str]:
    """Return the rows of tables that name the VIF."""
    return [line for table in tables for line in host.ovs.ctl("list", table).splitlines() if ID in line]


@pytest.mark.parametrize("how", [("del-port", TAP), ("del-br", "br-int")])
def test_qos_goes_with_a_vif_whose_port_went_by_other_hands(host: PrivateHost, how: tuple[str, str]) -> None:
    host.driver.plug(vif(bandwidth={"inbound": {"average": 2000}}))
    host.ovs.ctl(*how)
    assert rows(host, "QoS", "Queue")
    assert host.driver.unplug(ID)
    assert rows(host, "QoS", "Queue", "Port", "Interface") == [] and host.driver.unplug(ID) == ()


PER_PORT = {"source": {"bridge": "br-int", "per_port_bridge": True}}


def test_a_bridge_of_one_vif_goes_without_a_record(host: PrivateHost) -> None:
    host.driver.plug(vif(**PER_PORT))
    made = set(host.ovs.ctl("list-br").split()) - {"br-int"}
    forget(host)
    assert [each.vif_id for each in host.driver.gc()] == [ID]
    assert made and host.ovs.ctl("list-br").split() == ["br-int"] and rows(host, "Port", "Interface") == []


@pytest.mark.parametrize("verb", ["plug", "update"])
def test_a_bridge_of_one_vif_goes_when_it_is_no_longer_wanted(host: PrivateHost, verb: str) -> None:
    """Also if the tap changes in the same breath: a step between those on Open vSwitch."""
    host.driver.plug(vif(**PER_PORT, mtu=1450))
    getattr(host.driver, verb)(vif(mtu=1400))
    assert host.ovs.ctl("list-br").split() == ["br-int"] and TAP in host.ports("br-int")
    assert host.driver.check() == []


def test_a_renamed_tap_is_told_and_not_made_a_second_time(host: PrivateHost) -> None:
    """The guest on it would be cut off by the second one, and nobody would know of the first."""
    host.driver.plug(vif())
    guest = opened(TAP)
    for words in (f"{TAP} down", f"{TAP} name web0", "web0 up"):
        host.ip("link", "set", *words.split())
    for verb in (host.driver.plug, host.driver.update):
        with pytest.raises(errors.Conflict, match="device web0 has its mark: rename it back"):
            verb(vif())
    [outcome] = host.driver.reconcile()
    assert isinstance(outcome.error, errors.Conflict)
    assert "device web0: expected nothing, got the mark of this VIF" in map(str, host.driver.check(ID))
    with pytest.raises(errors.Held, match="web0"):
        host.driver.unplug(ID)
    os.close(guest)
    host.driver.unplug(ID)
    assert host.links().isdisjoint({"web0", TAP}) and host.ports("br-int") == set()


ALONE = {"type": "direct", "source": {"dev": "up0", "mode": "passthrough"}, "virtualport": None, "tap_owner": "vifplug"}


def test_a_guests_mac_is_never_taken_for_a_devices_own(host: PrivateHost, caplog: pytest.LogCaptureFixture) -> None:
    """A veth has no permanent MAC to go back to, so the plug is refused, and the unplug says what it leaves."""
    host.ip("link", "add", "up0", "up", "type", "veth", "peer", "name", "up1")
    host.driver.plug(vif(**ALONE))
    forget(host)
    with pytest.raises(errors.Conflict, match=r"up0 has the MAC 52:54:00:12:34:56 of VIF .* already"):
        host.driver.plug(vif(**ALONE))
    assert host.driver.unplug(ID) and "up0 has the MAC 52:54:00:12:34:56" in caplog.text
    host.ip("link", "set", "up0", "address", "02:00:00:00:00:01")
    host.driver.plug(vif(**ALONE))
    host.driver.unplug(ID)
    assert mac(host, "up0") == "02:00:00:00:00:01"


def test_the_mac_of_a_replaced_nic_is_its_own(host: PrivateHost, caplog: pytest.LogCaptureFixture) -> None:
    host.ip("link", "add", "up0", "up", "type", "veth", "peer", "name", "up1")
    host.driver.plug(vif(**ALONE))
    host.ip("link", "delete", "up0")
    host.ip("link", "add", "up0", "up", "type", "veth", "peer", "name", "up1")
    born = mac(host, "up0")
    host.driver.plug(vif(**ALONE))
    assert "lower-device up0 is another one than " in caplog.text
    host.driver.unplug(ID)
    assert mac(host, "up0") == born
