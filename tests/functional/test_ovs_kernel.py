"""Open vSwitch on real devices: a userspace datapath in a network namespace of the test's own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.ovs import found, new_id, port, reach, rows, undo, unplug
from vifplug import errors
from vifplug.host.ovs.backend import OvsBackend
from vifplug.host.ovs.settings import OvsSettings
from vifplug.plan.registry import OvsBridge, OvsPort, OvsQdisc, OvsQos, OvsVlan
from vifplug.plan.steps import Step, originals, removal, steps_toward
from vifplug.testing import netns
from vifplug.testing.ovs import PrivateOvs

pytestmark = pytest.mark.needs("namespaces", "tun")

SHAPED = OvsQos(type="linux-htb", other_config={"max-rate": "8000000"}, queue={"max-rate": "8000000"})
NOOP = OvsQos(type="linux-noop")
BRIDGE = OvsBridge(name="br0", owner="", datapath_type="netdev")


@dataclass
class Host:
    """A namespace with a switch in it, and a backend that sees its devices."""

    name: str
    ovs: PrivateOvs
    door: OvsBackend

    def ip(self, *arguments: str) -> str:
        return netns.ip("-n", self.name, *arguments)


def root_qdisc(name: str, device: str) -> str | None:
    try:
        return str(json.loads(netns.ip("-n", name, "-j", "link", "show", "dev", device))[0]["qdisc"])
    except subprocess.CalledProcessError:
        return None


@pytest.fixture
def host() -> Iterator[Host]:
    with netns.named() as [name], PrivateOvs(netns=name) as ovs:
        settings = OvsSettings(connection=ovs.connection, timeout=20)
        door = OvsBackend(settings, lambda device: root_qdisc(name, device))
        reach(door, BRIDGE)
        yield Host(name, ovs, door)
        door.close()


def test_a_tap_is_plugged_with_its_qdisc_and_unplugged(host: Host) -> None:
    host.ip("tuntap", "add", "tap0", "mode", "tap")
    wanted = port("tap0", qos=SHAPED, vlan=OvsVlan(tag=5))
    before = rows(host.ovs)
    steps = reach(host.door, wanted)
    assert found(host.door, wanted).error == "" and root_qdisc(host.name, "tap0") == "htb"
    undo(host.door, steps)
    assert rows(host.ovs) == before


def test_qos_is_switched_on_changed_and_off_in_the_kernel(host: Host) -> None:
    host.ip("tuntap", "add", "tap0", "mode", "tap")
    wanted = port("tap0")
    slower = SHAPED.replace(queue={"max-rate": "2000000"})
    for qos, rate in ((None, ""), (SHAPED, "8Mbit"), (slower, "2Mbit"), (OvsQos(), ""), (SHAPED, "8Mbit"), (NOOP, "")):
        reach(host.door, wanted.replace(qos=qos))
        message = netns.run("ip", "netns", "exec", host.name, "tc", "class", "show", "dev", "tap0")
        assert (f"ceil {rate}" in message) if rate else message == ""


def test_a_missing_device_is_named_and_nothing_is_left(host: Host) -> None:
    before = rows(host.ovs)
    with pytest.raises(
        errors.StepFailed, match=r"gone0 on bridge br0 .*could not open network device gone0 \(No such d"
    ):
        reach(host.door, port("gone0"))
    assert rows(host.ovs) == before


def test_a_bridge_that_cannot_work_is_reported(host: Host) -> None:
    """The kernel's datapath is not there: such a bridge gets no OpenFlow ports, and that is no success."""
    host.ip("tuntap", "add", "tap0", "mode", "tap")
    before = rows(host.ovs)
    with pytest.raises(errors.StepFailed, match=r"tap0 on bridge br1 does not work"):
        reach(host.door, OvsBridge(name="br1", owner="", datapath_type="nonsense"), port("tap0", bridge="br1"))
    assert rows(host.ovs) == before


# -- the root qdisc, which libvirt replaces when a guest starts -----------------------------------------------------


def shaped(host: Host) -> tuple[OvsPort, OvsQdisc]:
    host.ip("tuntap", "add", "tap0", "mode", "tap")
    wanted = port("tap0", qos=SHAPED)
    reach(host.door, wanted)
    netns.run("ip", "netns", "exec", host.name, "tc", "qdisc", "replace", "dev", "tap0", "root", "pfifo_fast")
    return wanted, OvsQdisc(name="tap0", owner=wanted.owner)


def test_a_replaced_root_qdisc_is_seen_and_rebuilt(host: Host) -> None:
    wanted, qdisc = shaped(host)
    assert found(host.door, qdisc).root == "pfifo_fast"
    [step] = reach(host.door, qdisc)
    assert root_qdisc(host.name, "tap0") == "htb" and steps_toward([qdisc], host.door.observe([qdisc])) == []
    assert found(host.door, wanted).qos == SHAPED
    undo(host.door, [step])
    assert root_qdisc(host.name, "tap0") == "htb", "what libvirt put there is nobody's to put back"


def test_unplugging_after_the_qdisc_was_built_leaves_nothing(host: Host) -> None:
    wanted, qdisc = shaped(host)
    kept = originals([qdisc], host.door.observe([qdisc]))
    reach(host.door, qdisc)
    both = [wanted, qdisc]
    steps = removal(both, host.door.observe(both), kept)
    done: list[Step] = []
    host.door.apply(steps, done)
    assert len(steps) == 2 and sorted(map(str, done)) == sorted(map(str, steps))
    assert found(host.door, wanted) is None


def test_without_vswitchd_the_qos_is_restored(host: Host) -> None:
    wanted, qdisc = shaped(host)
    host.ovs.stop("ovs-vswitchd")
    with pytest.raises(errors.Unavailable, match="not running"):
        reach(host.door, qdisc)
    assert found(host.door, wanted).qos == SHAPED


def test_a_root_qdisc_that_does_not_come_is_reported(host: Host) -> None:
    """The kernel's answer is believed, not the database's: here one that never changes."""
    wanted, qdisc = shaped(host)
    blind = OvsBackend(host.door.settings, lambda device: "noqueue")
    with pytest.raises(errors.StepFailed, match="is noqueue after ovs-vswitchd rebuilt it; expected htb"):
        reach(blind, qdisc)
    assert found(blind, wanted).qos == SHAPED
    blind.close()


def test_a_qdisc_of_a_port_without_qos_is_reported(host: Host) -> None:
    host.ip("tuntap", "add", "tap0", "mode", "tap")
    wanted = port("tap0")
    reach(host.door, wanted)
    with pytest.raises(errors.Missing, match="no QoS"):
        reach(host.door, OvsQdisc(name="tap0", owner=wanted.owner))
    assert host.door.observe([OvsQdisc(name="none0", owner=wanted.owner)]) == {}


# -- frames -------------------------------------------------------------------------------------------------------


def test_vlans_are_kept_apart_also_after_an_update(host: Host) -> None:
    """Three guests: those of one VLAN talk, the third does not until its port is moved into their VLAN."""
    with netns.named(3) as guests:
        ports = []
        for number, guest in enumerate(guests):
            host.ip("link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", guest)
            host.ip("link", "set", f"v{number}", "up")
            netns.ip("-n", guest, "address", "add", f"192.0.2.{number + 1}/24", "dev", "eth0")
            netns.ip("-n", guest, "link", "set", "eth0", "up")
            ports.append(port(f"v{number}", vlan=OvsVlan(tag=20 if number == 2 else 10)))
        reach(host.door, *ports)
        assert pings(guests[0], "192.0.2.2") and not pings(guests[0], "192.0.2.3")
        reach(host.door, ports[2].replace(vlan=OvsVlan(tag=10)))
        assert pings(guests[0], "192.0.2.3")
        unplug(host.door, *ports)
        assert not pings(guests[0], "192.0.2.2")


def pings(guest: str, address: str) -> bool:
    command = ["ip", "netns", "exec", guest, "ping", "-c", "3", "-i", "0.2", "-W", "1", "-w", "2", address]
    return "bytes from" in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_the_owner_of_a_port_is_found_without_its_name(host: Host) -> None:
    owner = new_id()
    host.ip("tuntap", "add", "tap0", "mode", "tap")
    reach(host.door, port("tap0", owner=owner))
    assert [each.name for each in host.door.find(owner)] == ["tap0"]
