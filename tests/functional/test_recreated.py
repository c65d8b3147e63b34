"""Devices that are made anew, change their kind or leave a switch: frames pass, and nothing of before stays."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import bridges
from vifplug import VIF
from vifplug.testing import macvtaps, netns
from vifplug.testing.host import PrivateHost

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
PEER = "1c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
TAP, OTHER = "tap9c4e2f10-6a", "tap1c4e2f10-6a"
PEER_MAC = "52:54:00:12:34:57"
OVS = {"source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
HYBRID = {**OVS, "source": {"bridge": "br-int", "hybrid": True}}
LINUX = {"source": {"bridge": "br0"}}


def vif(form: dict[str, Any], **keys: Any) -> VIF:
    return VIF.from_json({"id": ID, "type": "bridge", "mac": "52:54:00:12:34:56", **form, **keys})


@pytest.fixture(params=["ofport", "none"])
def place(request: pytest.FixtureRequest) -> Iterator[PrivateHost]:
    """A host with a Linux bridge, for both ways to wait for ovs-vswitchd."""
    with PrivateHost(vifplug_ovs={"wait": request.param, "ensure_bridge": True}) as host:
        bridges.add(host, "br0")
        yield host


@contextlib.contextmanager
def opened(tap: str, *, multi_queue: bool = False) -> Iterator[int]:
    """A tap, opened as a guest's emulator opens it."""
    flags = 0x1002 | (0x100 if multi_queue else 0)  # IFF_TAP | IFF_NO_PI, IFF_MULTI_QUEUE
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", tap.encode(), flags))  # TUNSETIFF
        yield descriptor
    finally:
        os.close(descriptor)


def passes(sender: int, receiver: int, word: bytes) -> bool:
    """Whether a broadcast of ``sender`` reaches ``receiver`` within some seconds."""
    frame = bytes.fromhex("ffffffffffff525400123456") + b"\x88\xb5" + word * 8
    for _ in range(60):
        os.write(sender, frame)
        time.sleep(0.05)
        with contextlib.suppress(BlockingIOError):
            while True:
                if word in os.read(receiver, 2000):
                    return True
    return False


def connected(*, multi_queue: bool = False) -> bool:
    """Whether frames pass between the two VIFs, both ways."""
    with opened(TAP, multi_queue=multi_queue) as one, opened(OTHER) as other:
        return passes(one, other, b"from one") and passes(other, one, b"back again")


@pytest.mark.parametrize("form", [OVS, HYBRID, LINUX], ids=["open-vswitch", "hybrid", "linux"])
def test_a_tap_that_gets_more_queues_is_connected_again(place: PrivateHost, form: dict[str, Any]) -> None:
    place.driver.plug(vif(LINUX if form is LINUX else OVS, id=PEER, mac=PEER_MAC))
    place.driver.plug(vif(form))
    assert connected()
    place.driver.plug(vif(form, driver={"queues": 4}))
    assert place.driver.check() == [] and connected(multi_queue=True)


@pytest.mark.parametrize(("form", "device"), [(OVS, TAP), (LINUX, TAP), (HYBRID, "qvo9c4e2f10-6a")])
def test_a_device_that_somebody_deleted_is_connected_again(
    place: PrivateHost, form: dict[str, Any], device: str
) -> None:
    place.driver.plug(vif(LINUX if form is LINUX else OVS, id=PEER, mac=PEER_MAC))
    place.driver.plug(vif(form))
    place.ip("link", "del", device)
    assert place.driver.check() != []
    place.driver.update(vif(form))
    assert place.driver.check() == [] and connected()


def test_a_tap_and_a_macvtap_change_places_under_one_name(place: PrivateHost) -> None:
    place.ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
    place.ip("link", "set", "up1", "up")
    direct = vif({"type": "direct", "source": {"dev": "up0"}, "tap_owner": "vifplug"})
    with macvtaps.claimed() as first:
        macvtaps.skip(place.namespace, first)
        for wanted in (vif(LINUX), direct, vif(OVS), direct, vif(OVS)):
            place.driver.plug(wanted)
            assert place.driver.check() == []
        place.driver.unplug(ID)
    assert TAP not in place.links()


def test_a_tap_that_leaves_the_switch_is_shaped_no_more(place: PrivateHost) -> None:
    limits = {"inbound": {"average": 100}}
    place.driver.plug(vif(OVS, bandwidth=limits))
    place.driver.plug(vif(LINUX))
    assert "htb" not in netns.run("tc", "-n", place.namespace, "qdisc", "show", "dev", TAP)
    assert place.ovs.ctl("list", "qos") == "" and place.driver.check() == []


@pytest.mark.parametrize("form", [OVS, HYBRID, LINUX], ids=["open-vswitch", "hybrid", "linux"])
def test_an_mtu_that_is_no_longer_requested_is_the_usual_one(place: PrivateHost, form: dict[str, Any]) -> None:
    place.driver.plug(vif(form, mtu=9000))
    place.driver.update(vif(form))
    assert "mtu 1500" in place.ip("link", "show", "dev", TAP) and place.driver.check() == []


@pytest.mark.parametrize(("form", "bridge"), [(OVS, "br-int"), (LINUX, "br0")], ids=["open-vswitch", "linux"])
def test_a_tap_without_an_mtu_leaves_its_bridge_the_jumbo_frames(
    place: PrivateHost, form: dict[str, Any], bridge: str
) -> None:
    place.ip("link", "add", "up0", "mtu", "9000", "up", "type", "veth", "peer", "name", "up1")
    place.ip("link", "set", "up1", "up")
    place.driver.plug(vif(form))  # which makes br-int
    place.driver.unplug(ID)
    place.ip("link", "set", "up0", "master", bridge) if form is LINUX else place.ovs.ctl("add-port", bridge, "up0")
    for _ in range(2):  # plugged, and again
        place.driver.plug(vif(form))
        assert "mtu 9000" in place.ip("link", "show", "dev", bridge)
        assert place.driver.check() == []
    place.driver.update(vif(form, mtu=1400))  # as requested, at the cost of the bridge
    assert "mtu 1400" in place.ip("link", "show", "dev", TAP)


def test_a_trunk_bridge_goes_with_its_last_port(place: PrivateHost) -> None:
    trunk = {**OVS, "source": {"bridge": "tbr-9c4e2f10-6"}}
    place.driver.plug(vif(trunk))
    place.driver.plug(vif(trunk, id=PEER, mac=PEER_MAC))
    assert "tbr-9c4e2f10-6" in place.port(TAP, "external_ids")
    place.driver.unplug(ID)
    assert place.ports("tbr-9c4e2f10-6") == {OTHER}
    place.driver.unplug(PEER)
    assert "tbr-9c4e2f10-6" not in place.ovs.ctl("list-br").split()


def test_a_trunk_bridge_that_others_made_stays(place: PrivateHost) -> None:
    place.ovs.ctl("add-br", "tbr-x", "--", "set", "bridge", "tbr-x", "datapath_type=netdev")
    place.driver.plug(vif({**OVS, "source": {"bridge": "tbr-x"}}))
    place.driver.unplug(ID)
    assert "tbr-x" in place.ovs.ctl("list-br").split()


def test_a_tap_that_was_renamed_is_removed_all_the_same(place: PrivateHost) -> None:
    place.driver.plug(vif(LINUX))
    place.ip("link", "set", TAP, "down")
    place.ip("link", "set", TAP, "name", "elsewhere")
    place.driver.unplug(ID)
    assert "elsewhere" not in place.links() and place.driver.list() == []
