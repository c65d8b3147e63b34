"""Day two on a real host: what a reboot, a lost database, a kill or a lost record took comes back, or goes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import bridges, command
from tests.support.command import Answer
from tests.support.devices import mac
from tests.support.guest import opened
from tests.support.patience import becomes
from tests.support.records import execute, forget, path_of
from vifplug import VIF, Instance, errors
from vifplug.testing import macvtaps, netns
from vifplug.testing.host import PrivateHost

GUEST = Instance(uuid="11111111-2222-4333-8444-555555555555", name="web")
ON_OVS: dict[str, Any] = {"source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}


def vif(number: int, **keys: Any) -> VIF:
    fields = {
        "id": f"{number:08x}-6a1b-4c2d-9e3f-7a8b9c0d1e2f",
        "type": "bridge",
        "mac": f"52:54:00:12:34:{number:02x}",
    }
    return VIF.from_data({**fields, **ON_OVS, **keys})


#: one of every kind that a host without special hardware can have
KINDS = (
    vif(1, vlan=7),
    vif(2, source={"bridge": "br-int", "hybrid": True}),
    vif(3, bandwidth={"inbound": {"average": 2000}}),
    vif(4, source={"bridge": "lbr0"}, virtualport=None, port={"isolated": True}),
    vif(5, type="ethernet", source={}, virtualport=None),
    vif(6, type="direct", source={"dev": "up0", "mode": "bridge"}, virtualport=None, tap_owner="vifplug"),
)


@pytest.fixture
def lan(host: PrivateHost) -> Iterator[PrivateHost]:
    with macvtaps.claimed() as first:
        macvtaps.skip(host.namespace, first)
        lay(host)
        host.ovs.ctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
        yield host


def vifplug(host: PrivateHost, *words: str) -> Answer:
    return command.vifplug(*words, config=host.config)


def lay(host: PrivateHost) -> None:
    """What a host's own network brings after a boot: a bridge and a NIC."""
    bridges.add(host, "lbr0")
    for words in ("add up0 up type veth peer name up1", "set up1 up"):
        host.ip("link", *words.split())


def rebooted(host: PrivateHost) -> None:
    """Take away every link, and with it what was set on it; Open vSwitch's database stays, as conf.db does."""
    for link in host.links() - {"lo", "br-int", "ovs-netdev"}:
        host.ip("link", "delete", link) if link in host.links() else None
    lay(host)


def wiped(host: PrivateHost) -> None:
    host.ovs.ctl("del-br", "br-int")
    host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")


def mended(outcomes: Any) -> set[str]:
    assert [str(each.error) for each in outcomes if each.error] == []
    return {each.vif_id for each in outcomes if each.steps}


@pytest.mark.parametrize("gone", [rebooted, wiped])
def test_reconcile_brings_back_what_is_recorded(lan: PrivateHost, gone: Any) -> None:
    lan.driver.plug_many([(each, GUEST) for each in KINDS])
    before = set(lan.links())
    assert mended(lan.driver.reconcile()) == set(), "what is right is not touched"
    gone(lan)
    assert lan.driver.check()
    expected = mended(lan.driver.reconcile(dry_run=True))
    assert mended(lan.driver.reconcile()) == expected == ({each.id for each in KINDS} if gone is rebooted else ids(3))
    assert becomes(lambda: lan.links() == before) and lan.driver.check() == []
    assert mended(lan.driver.reconcile()) == set()
    lan.driver.unplug_many(each.id for each in KINDS)
    assert lan.links().isdisjoint({f"tap{each.id[:11]}" for each in KINDS})


def ids(first: int) -> set[str]:
    return {each.id for each in KINDS[:first]}


def test_a_vif_that_cannot_come_back_stops_no_other(lan: PrivateHost) -> None:
    lan.driver.plug_many([(each, GUEST) for each in KINDS])
    rebooted(lan)
    lan.ip("link", "delete", "lbr0")
    lan.ip("tuntap", "add", "dev", f"tap{KINDS[0].id[:11]}", "mode", "tap")  # a stranger has the name
    answer = vifplug(lan, "reconcile", "-f", "json")
    assert answer.code == errors.Conflict.exit_code
    assert [KINDS[0].id in each or "lbr0" in each for each in answer.complaints] == [True, True], answer
    assert {each["vif_id"] for each in json.loads(answer.out)} == {each.id for each in KINDS} - {
        KINDS[0].id,
        KINDS[3].id,
    }


def test_a_bridge_that_is_gone_is_not_made(lan: PrivateHost) -> None:
    lan.driver.plug(KINDS[0])
    lan.ovs.ctl("del-br", "br-int")
    [outcome] = lan.driver.reconcile()
    assert isinstance(outcome.error, errors.Missing) and "br-int" in str(outcome.error)
    assert lan.ovs.ctl("list-br") == ""


VICTIM = """
import os, signal, sys
from vifplug import VIF, VIFDriver, conf
from vifplug.host.host import Host
whole = Host.apply
def apply(self, steps, done, progress=None):
    whole(self, steps[:1], done, progress)
    os.kill(os.getpid(), signal.SIGKILL)
Host.apply = apply
options = conf.load([sys.argv[1]])
options.set_override("recover", "manual", group="vifplug")
with VIFDriver(options) as driver:
    eval(sys.argv[2], {"driver": driver, "VIF": VIF})
"""


def killed(host: PrivateHost, expression: str) -> None:
    words = ["ip", "netns", "exec", host.namespace, sys.executable, "-c", VICTIM, str(host.config), expression]
    run = subprocess.run(words, capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr


def test_recover_ends_what_was_cut_off(lan: PrivateHost) -> None:
    """A first plug is taken back, a change is made, an unplug is finished."""
    first, changed, leaving = KINDS[0], KINDS[1], KINDS[2]
    lan.driver.plug_many([(changed, GUEST), (leaving, GUEST)])
    before = lan.links() - {f"tap{leaving.id[:11]}"}
    killed(lan, f"driver.plug(VIF.from_json({first.to_json()!r}))")
    killed(lan, f"driver.plug(VIF.from_json({changed.replace(mtu=1400).to_json()!r}))")
    killed(lan, f"driver.unplug({leaving.id!r})")
    states = {each.id: each.state for each in lan.driver.list()}
    assert states == {first.id: "plugging", changed.id: "updating", leaving.id: "unplugging"}
    assert ["vifplug recover" in str(each.error) for each in lan.driver.reconcile(dry_run=True)] == [True] * 3
    assert vifplug(lan, "recover").code == 0
    assert lan.links() == before and lan.driver.check() == []
    assert [(each.id, each.vif.mtu) for each in lan.driver.list()] == [(changed.id, 1400)]
    assert lan.driver.recover() == []


def test_the_first_change_ends_what_was_cut_off(lan: PrivateHost) -> None:
    killed(lan, f"driver.plug(VIF.from_json({KINDS[0].to_json()!r}))")
    with lan.new_driver() as driver:
        driver.plug(KINDS[1])
        assert [each.id for each in driver.list()] == [KINDS[1].id] and driver.check() == []


def test_the_first_change_after_a_reboot_brings_all_back(lan: PrivateHost) -> None:
    """And what a NIC was like before the reboot is not put back: the kernel has set it anew since."""
    alone = vif(7, type="direct", source={"dev": "up1", "mode": "passthrough"}, virtualport=None, tap_owner="vifplug")
    lan.driver.plug_many([(each, GUEST) for each in (*KINDS, alone)])
    before = set(lan.links())
    rebooted(lan)
    execute(lan, "UPDATE meta SET value = 'another' WHERE name IN ('boot', 'back')")
    born = mac(lan, "up1")
    with lan.new_driver() as driver:
        driver.unplug("0000000a-6a1b-4c2d-9e3f-7a8b9c0d1e2f")
        assert becomes(lambda: lan.links() == before) and driver.check() == []
        driver.unplug(alone.id)
    assert mac(lan, "up1") == born


def test_nothing_is_touched_in_another_namespace(lan: PrivateHost) -> None:
    lan.driver.plug(KINDS[4])
    with netns.named() as [name], netns.inside(name), lan.new_driver() as driver:
        for verb in (driver.reconcile, driver.recover, driver.gc):
            with pytest.raises(errors.HostNotReady, match="the records are of network namespace"):
                verb()
        assert len(socket.if_nameindex()) == 1, "the loopback alone"
    assert lan.driver.check() == []


def lose(host: PrivateHost, names: str = "vifplug.db*") -> None:
    """Remove the database, and by default leave the lock file beside it."""
    host.driver.close()
    for each in path_of(host).parent.glob(names):
        each.unlink()


@pytest.mark.parametrize("names", ["vifplug.db*", "*"], ids=["database", "directory"])
def test_recover_records_from_marks_what_was_lost(lan: PrivateHost, names: str) -> None:
    """Only the bandwidth has no mark that tells it."""
    profile = {"type": "openvswitch", "interfaceid": GUEST.uuid}
    trunk = vif(7, port={"isolated": True}, vlan="5u,7-8", mtu=1400, virtualport=profile)
    lan.driver.plug_many([(each, GUEST) for each in (*KINDS, trunk)])
    before = lan.links()
    lose(lan, names)
    with lan.new_driver() as driver:
        with pytest.raises(errors.HostNotReady, match="was removed or emptied"):
            driver.gc()
        assert {each.vif_id: each.error for each in driver.recover()} == {each.id: None for each in (*KINDS, trunk)}
        recorded = {each.id: each for each in driver.list()}
        for each in (*KINDS, trunk):
            assert recorded[each.id].vif.replace(tap_owner=None) == each.replace(bandwidth=None, tap_owner=None)
        assert recorded[trunk.id].instance == Instance(uuid=GUEST.uuid)
        assert driver.check() == [] and driver.gc() == [] and lan.links() == before
        assert not driver.plug(KINDS[0], GUEST).changed
        driver.unplug_many(recorded)
    assert lan.links().isdisjoint({f"tap{each[:11]}" for each in recorded})
    for table in ("Port", "QoS", "Queue"):
        assert "vifplug" not in lan.ovs.ctl("--columns=external_ids", "list", table)


def test_what_no_mark_tells_is_an_error_of_recover(lan: PrivateHost) -> None:
    lan.driver.plug(KINDS[4].replace(mac="02:00:00:12:34:05"))
    lose(lan)
    with lan.new_driver() as driver:
        [outcome] = driver.recover()
        assert "no mark tells the guest's MAC; plug it again" in str(outcome.error)
        assert driver.list() == [] and driver.recover() == []
        assert [each.vif_id for each in driver.gc()] == [KINDS[4].id]


def test_gc_removes_what_no_record_owns_and_no_guest_has(lan: PrivateHost) -> None:
    lan.driver.plug_many([(each, GUEST) for each in KINDS])
    forget(lan)
    lan.driver.plug(KINDS[1])
    held = f"tap{KINDS[0].id[:11]}"
    guest = opened(held)
    found = lan.driver.gc()
    os.close(guest)
    assert {each.vif_id for each in found} == {each.id for each in KINDS} - {KINDS[1].id}
    assert [(each.vif_id, type(each.error)) for each in found if each.error] == [(KINDS[0].id, errors.Held)]
    assert {link for link in lan.links() if link.startswith(("tap", "macvtap"))} == {held, f"tap{KINDS[1].id[:11]}"}
    assert {each.vif_id for each in lan.driver.gc(dry_run=True)} == {KINDS[0].id} and held in lan.links()
    assert vifplug(lan, "gc").code == 0 and lan.driver.check() == []
    assert held not in lan.links() and lan.driver.gc() == []
    for table in ("QoS", "Queue"):
        assert "vifplug" not in lan.ovs.ctl("--columns=external_ids", "list", table)
