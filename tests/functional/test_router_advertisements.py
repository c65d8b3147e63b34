"""A guest's router advertisement, a real one: whom it configures, who says so beforehand, and what ends it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.advertisement import configures
from tests.support.command import VIFPLUG
from vifplug import VIF
from vifplug.testing.host import PrivateHost

ID = "7a11c3d2-5b0e-4c7f-9d26-3e8f5a1b4c60"
MAC, TAP = "52:54:00:7a:11:c3", "tap7a11c3d2-5b"
LINUX: dict[str, Any] = {}
OPENVSWITCH = {"virtualport": {"type": "openvswitch"}}


@pytest.fixture
def ra_host(host: PrivateHost) -> Iterator[PrivateHost]:
    """A host that has taken no advertisement yet; what the test made of bridges goes."""
    yield host
    for entry in host.driver.list():
        host.driver.unplug(entry.vif.id, force=True)
    if "br.0" in host.links():
        host.ip("link", "delete", "br.0")


def on(bridge: str, keys: dict[str, Any], **source: Any) -> VIF:
    return VIF.from_json({"id": ID, "type": "bridge", "mac": MAC, "source": {"bridge": bridge, **source}, **keys})


def existing(host: PrivateHost, name: str, keys: dict[str, Any]) -> None:
    """Make a bridge as an administrator does, and set it up."""
    if keys is LINUX:
        host.ip("link", "add", name, "type", "bridge")
    else:
        host.ovs.ctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev")
    host.ip("link", "set", "dev", name, "up")


@pytest.mark.parametrize("keys", [LINUX, OPENVSWITCH], ids=["Linux bridge", "Open vSwitch"])
def test_an_existing_bridge_that_listens_is_told_and_the_command_ends_it(
    ra_host: PrivateHost, keys: dict[str, Any]
) -> None:
    existing(ra_host, "br.0", keys)
    wanted = on("br.0", keys)
    [(_, warning)] = ra_host.driver.can_plug([wanted]).warnings
    assert warning.startswith("bridge br.0 accepts router advertisements")
    assert ra_host.driver.plan(wanted).warnings == ra_host.driver.plug(wanted).warnings == (warning,)
    [difference] = ra_host.driver.check()
    assert (difference.vif_id, difference.path) == (ID, "bridge br.0 accept_ra")
    assert (difference.wanted, difference.found) == ("0", "1")
    assert configures(ra_host, TAP, MAC, "br.0"), "else the warning would be false"
    ra_host.ip("-6", "address", "flush", "dev", "br.0", "scope", "global")
    command = warning.rpartition("end it with '")[2].rstrip("'")
    subprocess.run(["ip", "netns", "exec", ra_host.namespace, *command.split()], check=True, stdout=subprocess.DEVNULL)
    assert ra_host.driver.check() == [] and ra_host.driver.plug(wanted).warnings == ()
    assert not configures(ra_host, TAP, MAC, "br.0")


@pytest.mark.parametrize("keys", [LINUX, OPENVSWITCH], ids=["Linux bridge", "Open vSwitch"])
def test_a_bridge_that_vifplug_makes_is_deaf(ra_host: PrivateHost, keys: dict[str, Any]) -> None:
    wanted = on("br.0", keys, ensure=True)
    assert ra_host.driver.plug(wanted).warnings == ()
    ra_host.ip("link", "set", "dev", "br.0", "up")
    assert ra_host.driver.check() == []
    assert not configures(ra_host, TAP, MAC, "br.0")


def test_forwarding_hosts_ignore_advertisements_unless_they_are_told_to_take_them(ra_host: PrivateHost) -> None:
    """net/ipv6/ndisc.c: with forwarding on, accept_ra 1 means no and 2 means yes."""
    existing(ra_host, "br.0", LINUX)
    place = "net/ipv6/conf/br.0/"
    inside = ["ip", "netns", "exec", ra_host.namespace, "sysctl", "-qw", f"{place}forwarding=1"]
    subprocess.run(inside, check=True)
    assert ra_host.driver.plug(on("br.0", LINUX)).warnings == ()
    subprocess.run([*inside[:-1], f"{place}accept_ra=2"], check=True)
    assert [(each.path, each.found) for each in ra_host.driver.check()] == [("bridge br.0 accept_ra", "2")]


def test_a_bridge_and_its_uplinks_that_are_down_are_told(ra_host: PrivateHost) -> None:
    existing(ra_host, "br.0", LINUX)
    ra_host.ip("link", "add", "up0", "master", "br.0", "type", "veth", "peer", "name", "far0")
    wanted = on("br.0", LINUX, ensure=True)
    try:
        ra_host.driver.plug(wanted)
        paths = {each.path: (each.wanted, each.found) for each in ra_host.driver.check()}
        assert paths["device up0 state"] == ("up", "down") and "bridge br.0 state" not in paths
        # a process whose /sys shows the host's links finds the uplinks there, and the same of them
        command = [VIFPLUG, "--config-file", str(ra_host.config), "check", "-f", "value", "-c", "path"]
        shown = subprocess.run(
            ["ip", "netns", "exec", ra_host.namespace, *command], check=False, capture_output=True, text=True
        )
        assert (shown.returncode, sorted(shown.stdout.splitlines())) == (1, sorted(paths))
        ra_host.ip("link", "set", "br.0", "down")
        bridge, uplink, _ = ra_host.driver.plug(on("br.0", LINUX)).warnings
        assert bridge == "bridge br.0 is down, and passes no frames: set it up with 'ip link set dev br.0 up'"
        assert uplink.startswith("device up0 is down, and nothing else leads out of bridge br.0: connect it")
        for device in ("br.0", "up0", "far0"):
            ra_host.ip("link", "set", device, "up")
        assert [each.path for each in ra_host.driver.check()] == ["bridge br.0 accept_ra"]
    finally:
        ra_host.ip("link", "delete", "up0")
