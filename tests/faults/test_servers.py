"""Servers absent, hung, killed or restarted: an answer in time, never a false success, never a half-made port."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from vifplug import VIF, errors
from vifplug.testing.host import PrivateHost

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
TAP = "tap9c4e2f10-6a"


def vif(**keys: Any) -> VIF:
    return VIF.from_json(
        {
            "id": ID,
            "type": "bridge",
            "mac": "52:54:00:12:34:56",
            "source": {"bridge": "br-int"},
            "virtualport": {"type": "openvswitch"},
            **keys,
        }
    )


def nothing_is_left(host: PrivateHost) -> bool:
    return host.ports("br-int") == set() and TAP not in host.links() and host.driver.list() == []


def test_no_ovsdb_server(host: PrivateHost) -> None:
    host.ovs.stop("ovsdb-server")
    with pytest.raises(errors.Unavailable, match=r"db\.sock"):
        host.driver.plug(vif())
    assert TAP not in host.links() and host.driver.list() == []
    host.ovs.start("ovsdb-server")
    assert host.driver.plug(vif()).changed, "it is found again at once"
    host.driver.unplug(ID)


def test_a_host_without_open_vswitch_unplugs_what_does_not_exist(host: PrivateHost) -> None:
    host.config.write_text(host.configuration(connection=f"unix:{host.directory}/no-such.sock"))
    with host.new_driver() as driver:
        driver.plug(vif(type="ethernet", virtualport=None, source={}))
        assert driver.unplug(ID) and driver.unplug(ID) == ()
        assert driver.check() == []


def test_a_plug_that_is_interrupted_while_it_waits_leaves_nothing(host: PrivateHost) -> None:
    """What was committed is rolled back, although the step never came to its end."""
    host.driver.plug(vif())
    host.driver.unplug(ID)
    host.ovs.pause("ovs-vswitchd")
    timer = threading.Timer(0.7, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        host.driver.plug(vif())
    host.ovs.resume("ovs-vswitchd")
    assert nothing_is_left(host)


def test_ovsdb_server_restarts_between_plugs(host: PrivateHost) -> None:
    host.driver.plug(vif())
    host.ovs.kill("ovsdb-server")
    host.ovs.start("ovsdb-server")
    assert not host.driver.plug(vif()).changed
    assert host.driver.check() == []
    host.driver.unplug(ID)
    assert nothing_is_left(host)


def test_ovsdb_server_hangs_before_the_plug(host: PrivateHost) -> None:
    """Observing comes first, so nothing was written and nothing can come of it later."""
    host.ovs.pause("ovsdb-server")
    begun = time.monotonic()
    with pytest.raises(errors.HostNotReady):
        host.driver.plug(vif())
    assert time.monotonic() - begun < 6
    host.ovs.resume("ovsdb-server")
    assert nothing_is_left(host)
    assert host.driver.plug(vif()).changed
    host.driver.unplug(ID)


@pytest.mark.long
def test_ovs_vswitchd_is_awaited_while_it_connects_again() -> None:
    """It tries after 1, 2, 4 and 8 s. Until then it runs, and only the database does not know of it."""
    with PrivateHost(vifplug_ovs={"timeout": 10, "ensure_bridge": True}) as host:
        host.driver.plug(vif())
        host.ovs.stop("ovsdb-server")
        time.sleep(6)
        host.ovs.start("ovsdb-server")
        assert host.driver.unplug(ID) and host.driver.plug(vif()).changed
        assert host.driver.check() == []


def test_ovs_vswitchd_is_not_running(host: PrivateHost) -> None:
    host.driver.plug(vif())
    host.driver.unplug(ID)
    host.ovs.kill("ovs-vswitchd")
    with pytest.raises(errors.Unavailable, match=r"ovs-vswitchd is not running.*rolled back"):
        host.driver.plug(vif())
    assert nothing_is_left(host)
    host.ovs.start("ovs-vswitchd")
    assert host.driver.plug(vif()).changed


def test_ovs_vswitchd_hangs(host: PrivateHost) -> None:
    host.driver.plug(vif())
    host.driver.unplug(ID)
    host.ovs.pause("ovs-vswitchd")
    begun = time.monotonic()
    with pytest.raises(errors.Unavailable, match=r"ovs-vswitchd .* did not apply it in time"):
        host.driver.plug(vif())
    assert time.monotonic() - begun < 8
    assert host.driver.list() == [] and host.ports("br-int") == set()
    host.ovs.resume("ovs-vswitchd")
    assert host.driver.plug(vif()).changed
    host.driver.unplug(ID)
    assert nothing_is_left(host)


def test_unplug_needs_no_ovs_vswitchd(host: PrivateHost) -> None:
    host.driver.plug(vif())
    host.ovs.kill("ovs-vswitchd")
    host.driver.unplug(ID)
    assert nothing_is_left(host)


def test_unplug_without_ovsdb_keeps_the_record(host: PrivateHost) -> None:
    host.driver.plug(vif())
    host.ovs.stop("ovsdb-server")
    with pytest.raises(errors.Unavailable):
        host.driver.unplug(ID)
    host.ovs.start("ovsdb-server")
    assert [entry.vif.id for entry in host.driver.list()] == [ID]
    host.driver.unplug(ID)
    assert nothing_is_left(host)


def test_a_port_whose_device_is_gone_is_reported_by_check(host: PrivateHost) -> None:
    host.driver.plug(vif())
    host.ip("link", "del", TAP)
    paths = [difference.path for difference in host.driver.check(ID)]
    assert f"tap {TAP}" in paths
    host.driver.update(vif())
    assert host.driver.check(ID) == []
    host.driver.unplug(ID)
    assert nothing_is_left(host)
