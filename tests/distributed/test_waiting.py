"""``--wait``: what has come about when a verb returns, and what is said to be lacking when it does not come about."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.distributed.two_hosts import HASTY, TwoHosts, without_controller
from vifplug import VIF, errors
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost
from vifplug.testing.ovn import CONTROLLER, PortBinding

pytestmark = pytest.mark.xdist_group("ovn")

FLOWS = "ovn-installed"


def installed(site: TwoHosts, vif: VIF, device: str = "") -> bool:
    return "ovn-installed=" in site.hosts["one"].port(device or vif.device, "external_ids")


# -- what has come about ------------------------------------------------------------------------------------------


def test_a_plug_that_waits_for_ovn_returns_when_the_flows_are_installed(site: TwoHosts) -> None:
    host, vif = site.hosts["one"], site.vif(site.switch())
    returned, early = threading.Event(), []

    def resume() -> None:
        """ovn-controller goes on once the port is there and a plug that does not wait would have returned."""
        site.ovn.until(lambda: vif.device in host.ports("br-int"), f"port {vif.device}")
        early.append(returned.wait(1))
        site.chassis["one"].resume(CONTROLLER)

    site.chassis["one"].pause(CONTROLLER)
    resuming = threading.Thread(target=resume)
    resuming.start()
    answer = site.command("one", "plug", "--wait", FLOWS, site.document(vif))
    returned.set()
    resuming.join()
    assert answer.code == 0 and early == [False] and installed(site, vif), answer
    site.ovn.await_binding(vif.id, PortBinding("one", up=True))
    site.unplug("one", vif)


@pytest.mark.parametrize("wait", ["none", "ofport"])
def test_a_plug_returns_as_early_as_it_is_asked_to(site: TwoHosts, wait: str) -> None:
    host, vif = site.hosts["one"], site.vif(site.switch())
    with without_controller(site.chassis["one"]):
        if wait == "none":
            host.ovs.pause("ovs-vswitchd")
        try:
            answer = site.command("one", "plug", "--wait", wait, site.document(vif))
            assert answer.code == 0 and not installed(site, vif), answer
            assert (host.port(vif.device, "ofport") == "[]") == (wait == "none")
        finally:
            host.ovs.resume("ovs-vswitchd")
    site.unplug("one", vif)


def test_a_second_plug_waits_for_what_the_first_did_not_wait_for(site: TwoHosts) -> None:
    vif = site.vif(site.switch())
    with without_controller(site.chassis["one"]):
        site.plug("one", vif)
        with site.driver("one", wait=FLOWS, hasty=True) as driver:
            with pytest.raises(errors.Unavailable, match=r"got no ovn-installed=true .*; this call changed nothing$"):
                driver.plug(vif)
            assert driver.check(vif.id) == []
    with site.driver("one", wait=FLOWS) as driver:
        assert driver.plug(vif).changed is False and installed(site, vif)
        assert driver.plug(vif).changed is False
    site.unplug("one", vif)


def test_an_update_to_another_logical_port_waits_for_the_flows_of_that_one(site: TwoHosts) -> None:
    """What ovn-controller has said of the interface was said of the port that it was before."""
    switch = site.switch()
    before, other = site.vif(switch), site.vif(switch)
    after = before.replace(virtualport={"type": "openvswitch", "interfaceid": other.id})
    with site.driver("one", wait=FLOWS) as driver:
        driver.plug(before)
    with (
        without_controller(site.chassis["one"]),
        site.driver("one", wait=FLOWS, hasty=True) as hasty,
        pytest.raises(errors.Unavailable, match=f"shows no sign of the iface-id {other.id}.*rolled back"),
    ):
        hasty.update(after)
    answer = site.command("one", "update", "--wait", FLOWS, site.document(after))
    assert answer.code == 0 and installed(site, before), answer
    site.ovn.await_binding(other.id, PortBinding("one", up=True))
    site.ovn.await_binding(before.id, PortBinding(None, up=False))
    site.unplug("one", after)


# -- taps that come with their guests -----------------------------------------------------------------------------


def libvirts(**source: Any) -> dict[str, Any]:
    """What the document of a VIF says whose tap libvirt makes, and whose port vifplug makes before."""
    return {"tap_owner": "libvirt", "source": {"bridge": "br-int", "port_owner": "vifplug", **source}}


def test_the_flows_of_a_tap_of_libvirts_are_waited_for_when_its_guest_runs(site: TwoHosts) -> None:
    host, vif = site.hosts["one"], site.vif(site.switch(), **libvirts())
    answer = site.command("one", "plug", "--wait", FLOWS, site.document(vif))
    assert answer.code == 0 and f"{vif.device} has no device until its guest runs" in answer.err, answer
    with without_controller(site.chassis["one"]), site.driver("one", wait=FLOWS, hasty=True) as driver:
        netns.ip("tuntap", "add", vif.device, "mode", "tap")  # libvirt's part
        site.ovn.until(lambda: host.port(vif.device, "error") == "[]", "ovs-vswitchd to see the tap")
        with pytest.raises(errors.Unavailable, match=r"got no ovn-installed=true .*; this call changed nothing$"):
            driver.settle(vif.id)
    answer = site.command("one", "settle", "--wait", FLOWS, vif.id)
    assert answer.code == 0 and answer.err == "" and installed(site, vif), answer
    site.unplug("one", vif)


def test_a_port_with_a_bridge_of_its_own_has_its_flows_before_the_guest_runs(site: TwoHosts) -> None:
    vif = site.vif(site.switch(), **libvirts(per_port_bridge=True))
    with site.driver("one", wait=FLOWS) as driver:
        assert driver.plug(vif).changed
    assert installed(site, vif, f"ibp{vif.id}")
    site.unplug("one", vif)


def test_where_vifplug_makes_no_port_that_ovn_looks_for_a_wait_for_it_is_refused(site: TwoHosts) -> None:
    vif = site.stranger(tap_owner="libvirt")
    answer = site.command("one", "plug", "--wait", FLOWS, site.document(vif))
    assert answer.code == 2 and "there are no flows to wait for" in answer.err, answer
    with site.driver("one", wait=FLOWS) as driver:
        assert driver.list() == []
        with pytest.raises(errors.InvalidRequest, match="no flows"):
            driver.plug(site.stranger(type="ethernet", source={}, virtualport=None))
    site.plug("one", vif)
    with site.driver("one", wait=FLOWS) as driver, pytest.raises(errors.InvalidRequest, match="no flows"):
        driver.settle(vif.id)
    site.unplug("one", vif)


def test_a_configuration_that_waits_for_ovn_lets_vifs_pass_that_ovn_does_not_look_for(site: TwoHosts) -> None:
    with PrivateHost(vifplug_ovs={"wait": FLOWS, "timeout": 60}) as host:
        host.driver.plug(site.stranger(type="ethernet", source={}, virtualport=None))


# -- what is lacking, beside what a database without an OVN can tell (tests/faults) -------------------------------


def complaint(site: TwoHosts, vif: VIF) -> str:
    """What a plug says that waits in vain. What it has made is gone, and an unplug finds nothing to do."""
    with site.driver("one", wait=FLOWS, hasty=True) as driver:
        with pytest.raises(errors.Unavailable) as raised:
            driver.plug(vif)
        assert vif.id not in [entry.vif.id for entry in driver.list()] and driver.unplug(vif.id) == ()
    host, message = site.hosts["one"], str(raised.value)
    assert vif.device not in host.links() | host.ports("br-int")
    assert message.endswith("; it was rolled back") and f"within {HASTY} s: " in message and "\n" not in message
    return message


def test_without_ovn_controller_the_command_says_where_to_look(site: TwoHosts) -> None:
    vif = site.vif(site.switch())
    with without_controller(site.chassis["one"]):
        answer = site.command("one", "plug", "--wait", FLOWS, site.document(vif), hasty=True)
    [message] = answer.complaints
    assert answer.code == 3 and f"shows no sign of the iface-id {vif.id}" in message and "connection-status" in message
    assert site.hosts["one"].driver.list() == [] and site.command("one", "unplug", vif.id).code == 0


def test_a_port_that_ovn_does_not_have_is_said_to_be_unknown(site: TwoHosts) -> None:
    vif = site.stranger()
    message = complaint(site, vif)
    assert f"shows no sign of the iface-id {vif.id}" in message
    assert f"`ovn-sbctl find Port_Binding logical_port={vif.id}` whether the port exists" in message


def test_a_port_that_another_chassis_is_to_have_is_said_to_be_seen(site: TwoHosts) -> None:
    """ovn-controller leaves a sign of it where it has another port of that logical switch."""
    switch = site.switch()
    vif, neighbour = site.vif(switch), site.vif(switch)
    site.ovn.nbctl("--wait=sb", "set", "Logical_Switch_Port", vif.id, "options:requested-chassis=two")
    with site.plugged(("one", neighbour)):
        site.ovn.await_binding(neighbour.id, PortBinding("one", up=True))
        message = complaint(site, vif)
    assert f"has seen the iface-id {vif.id} and not installed it" in message
    assert "another chassis has claimed it or is requested" in message


def test_a_southbound_database_that_is_not_reached_is_named(site: TwoHosts) -> None:
    vif, chassis = site.vif(site.switch()), site.chassis["one"]
    with without_controller(chassis):
        chassis.configure(**{"ovn-remote": "unix:/nowhere.sock"})
        chassis.start()
        message = complaint(site, vif)
        chassis.kill(CONTROLLER)
        chassis.configure(**{"ovn-remote": site.ovn.southbound})
    assert "whether it is running and connected to unix:/nowhere.sock" in message
