"""The default QoS of a port is chosen from the one look at the host, and is recorded, checked and undone like any."""

from __future__ import annotations

from typing import Any

import pytest

from vifplug import VIF
from vifplug.host.ovs.connection import OvsdbConnection
from vifplug.testing.host import PrivateHost

ID = "5d0c6a1e-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
TAP = "tap5d0c6a1e-6a"


def vif(**keys: Any) -> VIF:
    document = {"id": ID, "type": "bridge", "mac": "52:54:00:12:34:57", "source": {"bridge": "br-int"}}
    return VIF.from_json({**document, "virtualport": {"type": "openvswitch"}, **keys})


def qos(host: PrivateHost) -> list[str]:
    return host.ovs.ctl("--bare", "--columns=type", "list", "qos").split()


@pytest.fixture
def bridge(host: PrivateHost, request: pytest.FixtureRequest) -> str:
    """The bridge exists, with a datapath type that is not the configured one; the host's own is netdev."""
    datapath: str = request.param
    host.ovs.ctl("--no-wait", "add-br", "br-int", "--", "set", "bridge", "br-int", f"datapath_type={datapath}")
    other = {"system": "netdev", "netdev": "system"}[datapath]
    host.config.write_text(host.configuration(datapath_type=other, wait="none", default_qos_type="linux-htb"))
    return datapath


@pytest.mark.parametrize("bridge", ["system", "netdev"], indirect=True)
def test_it_is_for_the_datapath_that_the_bridge_has(host: PrivateHost, bridge: str) -> None:
    expected = ["linux-htb"] if bridge == "system" else []
    with host.new_driver() as driver:
        assert driver.plug(vif()).changed and qos(host) == expected
        assert not driver.plug(vif()).changed and driver.check() == []
        if expected:
            host.ovs.ctl("--no-wait", "clear", "Port", TAP, "qos")
            assert [each.path for each in driver.check()] == [f"ovs-port {TAP}: qos"]
            assert driver.plug(vif()).changed and driver.check() == []
        limited = vif(bandwidth={"inbound": {"average": 1000}})
        assert driver.update(limited).changed and qos(host) == ["linux-htb"] and driver.check() == []
        assert driver.update(vif()).changed and qos(host) == expected and driver.check() == []
        driver.unplug(ID)
        assert qos(host) == []
    host.config.write_text(host.configuration())


def test_a_plug_looks_at_the_host_once_and_changes_it_once(host: PrivateHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request each; one more, or several while it is busy, ask for what ovs-vswitchd made of the port."""
    asked: list[str] = []
    ask = OvsdbConnection._ask

    def counted(self: OvsdbConnection, requests: list[tuple[str, list[Any]]], deadline: float) -> int:
        for _, params in requests:
            kinds = {each["op"] for each in params[1:]}
            state = {each["table"] for each in params[1:]} <= {"Interface", "Open_vSwitch"}
            asked.append("state" if state else "change" if "mutate" in kinds else "select")
        return ask(self, requests, deadline)

    with host.new_driver() as driver:
        driver.plug(vif(id=ID.replace("5d0c", "5d0d"), mac="52:54:00:12:34:58"))  # makes the bridge, and connects
        monkeypatch.setattr(OvsdbConnection, "_ask", counted)
        assert driver.plug(vif()).changed
        assert [each for each in asked if each != "state"] == ["select", "change"]
        asked.clear()
        assert not driver.plug(vif()).changed and driver.check(ID) == []
        assert asked == ["select", "select", *["state"] * 2], (
            "whether ovs-vswitchd runs: taking its lock, and releasing"
        )
        asked.clear()
        assert driver.unplug(ID) and asked == ["select", "change"]
        driver.unplug(ID.replace("5d0c", "5d0d"))
