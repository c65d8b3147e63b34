"""Each form of VLAN with real frames on an Open vSwitch: what a guest sends, and what reaches it."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.support.patience import becomes
from vifplug import VIF, errors
from vifplug.testing.host import PrivateHost

ID, OTHER = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "1b2c3d4e-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
_ETHERTYPE = b"\x88\xb5"  # IEEE 802: for experiments
_PACKET, _AUXDATA = 263, 8  # linux/if_packet.h: SOL_PACKET, PACKET_AUXDATA
_VALID, _TPID_VALID = 0x10, 0x40  # linux/if_packet.h: TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID

_PATIENCE, _QUIET = 5.0, 0.2  # seconds for what has to come, also on a busy machine, and for what must not

#: the tags of a frame from the outside in, each ``VLAN`` or ``TPID:VLAN``
Tags = tuple[str, ...]


class Wire:
    """One end of a veth pair; the other end is a port of the switch."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind((device, 0))
        self._socket.setsockopt(_PACKET, _AUXDATA, 1)

    def close(self) -> None:
        self._socket.close()

    def send(self, *frames: Tags) -> None:
        """Send frames that are numbered from 0."""
        for number, tags in enumerate(frames):
            self._send(number, tags)

    def _send(self, number: int, tags: Tags) -> None:
        pairs = [each.rpartition(":") for each in tags]
        header = b"".join(struct.pack("!HH", int(tpid or "8100", 16), int(vlan)) for tpid, _, vlan in pairs)
        self._socket.send(
            b"\xff" * 6 + bytes.fromhex("52540000000a") + header + _ETHERTYPE + bytes([number]) + bytes(49)
        )

    def heard(self, *expected: int) -> dict[int, Tags]:
        """The frames that have come, by number; waits for those that are expected, and then for those that are not."""
        found: dict[int, Tags] = {}
        end = time.monotonic() + (_PATIENCE if expected else _QUIET)
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                data, ancillary, _, _ = self._socket.recvmsg(2048, 256)
                if frame := _frame(data, ancillary):
                    assert frame[0] not in found, "twice"
                    found.update([frame])
                    if set(expected) <= found.keys():
                        end = time.monotonic() + _QUIET
        return found


def _frame(data: bytes, ancillary: list[tuple[int, int, bytes]]) -> tuple[int, Tags] | None:
    tags = []
    for level, kind, content in ancillary:  # the kernel takes the outer tag out of the frame
        status, *_, tci, tpid = struct.unpack("IIIHHHH", content[:20])
        if (level, kind) == (_PACKET, _AUXDATA) and status & _VALID:
            tags.append((tpid if status & _TPID_VALID else 0x8100, tci))
    place = 12
    while data[place : place + 2] in (b"\x81\x00", b"\x88\xa8"):
        tags.append(struct.unpack("!HH", data[place : place + 4]))
        place += 4
    if data[place : place + 2] != _ETHERTYPE:
        return None
    shown = (f"{vlan & 0xFFF}" if tpid == 0x8100 else f"{tpid:x}:{vlan & 0xFFF}" for tpid, vlan in tags)
    return data[place + 2], tuple(shown)


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateHost]:
    with PrivateHost() as host:
        yield host


@pytest.fixture(scope="module")
def wires(host: PrivateHost) -> Iterator[dict[str, Wire]]:
    """A switch with an uplink, and two devices for VIFs; each with a wire at its other end."""
    host.ovs.ctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
    made = {}
    for name in ("uplink", "guest", "other"):
        host.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-w")
        for device in (name, f"{name}-w"):
            host.ip("link", "set", device, "up")
        made[name] = Wire(f"{name}-w")
    host.ovs.ctl("add-port", "br0", "uplink")
    yield made
    for wire in made.values():
        wire.close()


def exchanged(begin: Wire, end: Wire, frames: Iterable[Tags], *expected: int) -> dict[int, Tags]:
    """What is heard of frames. ovs-vswitchd uses flows of the ports as they were until it has revalidated them."""
    begin.send(*frames)
    return end.heard(*expected)


def port(vlan: Any = None, id: str = ID, target: str = "guest", **keys: Any) -> VIF:
    source = {"bridge": "br0", "given": True, "port_owner": "vifplug"}
    document = {"id": id, "type": "bridge", "mac": f"52:54:00:12:34:{id[:2]}", "target": target, "source": source}
    kind = {"tap_owner": "libvirt", "virtualport": {"type": "openvswitch"}}
    return VIF.from_json({**document, **kind, **({"vlan": vlan} if vlan else {}), **keys})


NONE: Tags = ()
#: vlan: what becomes of frames from the guest at the uplink, and of frames from the uplink at the guest; None: nothing
FORMS: list[tuple[Any, dict[Tags, Tags | None], dict[Tags, Tags | None]]] = [
    (None, {NONE: NONE, ("10",): ("10",), ("20",): ("20",)}, {NONE: NONE, ("10",): ("10",)}),
    ("all", {NONE: NONE, ("10",): ("10",), ("20",): ("20",)}, {NONE: NONE, ("10",): ("10",)}),
    ("untagged", {NONE: NONE, ("0",): NONE, ("10",): None, ("88a8:10",): None}, {NONE: NONE, ("10",): None}),
    (10, {NONE: ("10",), ("10",): None, ("20",): None}, {("10",): NONE, NONE: None, ("20",): None}),
    ("10u,20", {NONE: ("10",), ("20",): ("20",), ("30",): None}, {("10",): NONE, ("20",): ("20",), ("30",): None}),
    ("10u,all", {NONE: ("10",), ("20",): ("20",), ("30",): ("30",)}, {("10",): NONE, ("30",): ("30",)}),
    ("10t,all", {NONE: ("10",), ("30",): ("30",)}, {("10",): ("10",), ("30",): ("30",)}),
    (
        {"mode": "dot1q-tunnel", "tags": [{"id": 100}]},
        {NONE: ("88a8:100",), ("10",): ("88a8:100", "10"), ("20",): ("88a8:100", "20")},
        {("88a8:100", "10"): ("10",), ("88a8:100",): NONE, ("88a8:101", "10"): None, ("100", "10"): ("10",)},
    ),
    (
        {"mode": "dot1q-tunnel", "tags": [{"id": 100}], "cvlans": "10,30-40"},
        {NONE: None, ("10",): ("88a8:100", "10"), ("20",): None},
        {("88a8:100", "10"): ("10",), ("88a8:100", "20"): None},
    ),
]


@pytest.mark.parametrize(("vlan", "sent", "received"), FORMS, ids=[str(form[0]) for form in FORMS])
def test_frames_of_each_form(
    host: PrivateHost, wires: dict[str, Wire], vlan: Any, sent: dict[Tags, Any], received: dict[Tags, Any]
) -> None:
    if isinstance(vlan, dict) and "cvlans" in vlan:
        for attempt in (host.driver.plan, host.driver.plug):
            with pytest.raises(errors.HostNotReady, match="vlan-limit=2', then 'ovs-appctl revalidator/purge'"):
                attempt(port(vlan))
        assert not host.driver.can_plug([port(vlan)])
        host.ovs.ctl("set", "Open_vSwitch", ".", "other_config:vlan-limit=2")
        host.ovs.appctl("revalidator/purge")  # of flows that were made with one tag in their key
    host.driver.plug(port(vlan))
    assert host.driver.check() == [] and not host.driver.plug(port(vlan)).changed
    if isinstance(vlan, dict) and "cvlans" in vlan:
        host.ovs.ctl("set", "Open_vSwitch", ".", "other_config:vlan-limit=1")
        assert [(each.path, each.found) for each in host.driver.check()] == [
            ("Open_vSwitch other_config:vlan-limit", 1)]  # fmt: skip
        host.ovs.ctl("set", "Open_vSwitch", ".", "other_config:vlan-limit=2")
    guest, uplink = wires["guest"], wires["uplink"]
    for begin, end, frames in ((guest, uplink, sent), (uplink, guest, received)):
        expected = {number: tags for number, tags in enumerate(frames.values()) if tags is not None}
        assert becomes(lambda: exchanged(begin, end, frames, *expected) == expected), frames  # noqa: B023 - called here
    host.driver.update(port(10))  # and back: nothing of the form stays in the columns
    assert host.driver.check() == []
    assert [host.port("guest", column, "Port") for column in ("vlan_mode", "tag", "trunks", "cvlans")] == [
        "access", "10", "[]", "[]"]  # fmt: skip
    host.driver.unplug(ID)


def test_isolated_ports_reach_the_uplink_and_not_each_other(host: PrivateHost, wires: dict[str, Wire]) -> None:
    vifs = [port(port={"isolated": True}), port(port={"isolated": True}, id=OTHER, target="other")]
    host.driver.plug_many((vif, None) for vif in vifs)
    assert host.driver.check() == []
    wires["guest"].send(NONE)
    assert (wires["uplink"].heard(0), wires["other"].heard()) == ({0: NONE}, {})
    host.driver.update(port())
    assert becomes(lambda: exchanged(wires["guest"], wires["other"], [NONE]) == {0: NONE}), "no longer isolated"
    for each in vifs:
        host.driver.unplug(each.id)
