"""The way from a guest to its network, and the picture of the host: what is missing, where it is missing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import bridges, command, guest
from tests.support.patience import becomes
from vifplug import VIF
from vifplug.testing.host import PrivateHost

pytestmark = pytest.mark.needs("root", "namespaces", "tun", "openvswitch")

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
TAP, QBR, QVO, PB = f"tap{ID[:11]}", f"qbr{ID[:11]}", f"qvo{ID[:11]}", f"pb{ID[:12]}"
ON_OVS: dict[str, Any] = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
DIRECT: dict[str, Any] = {"type": "direct", "source": {"dev": "up0"}}
NETDEV = ("datapath_type=netdev",)

Way = list[tuple[str, str, str]]


@pytest.fixture
def wired(host: PrivateHost) -> Iterator[PrivateHost]:
    """br-int is patched to br-ex, which has nic0; br0 is a Linux bridge with eth0; and there is up0."""
    for name in ("nic0", "eth0", "up0"):
        host.ip("link", "add", name, "up", "type", "veth", "peer", "name", f"{name}-far")
        host.ip("link", "set", f"{name}-far", "up")
    bridges.add(host, "br0")
    host.ip("link", "set", "eth0", "master", "br0")
    for bridge in ("br-int", "br-ex"):
        host.ovs.ctl("add-br", bridge, "--", "set", "bridge", bridge, *NETDEV)
    ends = (("br-int", "to-ex", "to-int"), ("br-ex", "to-int", "to-ex"))
    for bridge, port, peer in ends:
        patch = ("type=patch", f"options:peer={peer}")
        host.ovs.ctl("--no-wait", "add-port", bridge, port, "--", "set", "interface", port, *patch)
    host.ovs.ctl("add-port", "br-ex", "nic0")
    yield host
    if host.driver.list():
        host.driver.unplug(ID)
    for port in ("nic0", "to-ex", "to-int"):
        host.ovs.ctl("del-port", port)
    for name in ("nic0", "eth0", "up0", "br0"):
        host.ip("link", "del", name)


@contextlib.contextmanager
def plugged(host: PrivateHost, **keys: Any) -> Iterator[None]:
    host.driver.plug(VIF.from_data({"id": ID, "mac": "52:54:00:12:34:56", **keys}))
    try:
        yield
    finally:
        host.driver.unplug(ID)


def way(host: PrivateHost) -> Way:
    return [(each.hop, each.name, each.state) for each in host.driver.explain(ID)]


def wrong(host: PrivateHost) -> dict[str, str]:
    """What is wrong, by hop. The command says the same, and its exit code is that of check."""
    answer = command.vifplug("check", ID, "--explain", "-f", "json", config=host.config)
    found = {each["hop"]: each["detail"] for each in json.loads(answer.out) if each["state"] == "wrong"}
    assert answer.code == (1 if found else 0)
    assert found == {each.hop: each.detail for each in host.driver.explain(ID) if each.state == "wrong"}
    return found


OUT = [("bridge", "br-int", "ok"), ("uplink", "nic0", "ok")]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (ON_OVS, [("port", TAP, "ok"), ("vlan", TAP, "ok"), *OUT, ("flows", TAP, "ok")]),
        (
            ON_OVS | {"source": {"bridge": "br-int", "hybrid": True}},
            [
                *(("port", TAP, "ok"), ("bridge", QBR, "ok"), ("veth", QVO, "ok"), ("port", QVO, "ok")),
                *(("vlan", QVO, "ok"), *OUT, ("flows", QVO, "ok")),
            ],
        ),
        (
            ON_OVS | {"source": {"bridge": "br-int", "per_port_bridge": True}},
            [
                *(("port", TAP, "ok"), ("vlan", TAP, "ok"), ("bridge", PB, "ok")),
                *((hop, f"{end}{ID}", "ok") for end in ("pbp", "ibp") for hop in ("port", "vlan")),
                *(*OUT, ("flows", f"ibp{ID}", "ok")),
            ],
        ),
        (
            {"type": "bridge", "source": {"bridge": "br0"}},
            [("port", TAP, "ok"), ("bridge", "br0", "ok"), ("uplink", "eth0", "ok")],
        ),
        ({"type": "ethernet"}, []),
    ],
    ids=["Open vSwitch", "hybrid", "a bridge for each port", "Linux", "ethernet"],
)
def test_the_way_of_a_tap(wired: PrivateHost, keys: dict[str, Any], expected: Way) -> None:
    with plugged(host := wired, **keys):
        becomes(lambda: all(state == "ok" for *_, state in way(host)[2:]))
        assert way(host) == [("tap", TAP, "ok"), ("carrier", TAP, "unclear"), *expected]
        held = guest.opened(TAP)
        assert way(host)[1] == ("carrier", TAP, "ok")
        os.close(held)
        assert host.driver.check(ID) == [] and wrong(host) == {}


def test_the_way_of_a_macvtap(wired: PrivateHost) -> None:
    with plugged(wired, **DIRECT, tap_owner="vifplug"):
        assert way(wired) == [("macvtap", TAP, "ok"), ("uplink", "up0", "ok")]
        wired.ip("link", "set", "up0-far", "down")
        assert wrong(wired) == {"uplink": "carrier: expected on, got off"}
        wired.ip("link", "set", "up0", "down")
        assert wrong(wired)["uplink"] == "up: expected on, got off"
    with plugged(wired, **DIRECT):
        assert [hop for hop, *_ in way(wired)] == ["uplink"], "the macvtap is libvirt's"


def test_who_listens_on_a_vhost_user_socket(wired: PrivateHost) -> None:
    path = f"{wired.directory}/vhost/sock"
    with plugged(wired, type="vhostuser", source={"path": path, "mode": "server"}):
        assert way(wired) == [("socket", path, "unclear")]
        with socket.socket(socket.AF_UNIX) as qemu:
            qemu.bind(path)
            qemu.listen()
            [hop] = wired.driver.explain(ID)
        assert hop.state == "ok" and f"(pid {os.getpid()}) listens" in hop.detail
        wired.directory.joinpath("vhost/sock").unlink()
        wired.directory.joinpath("vhost").rmdir()
        assert set(wrong(wired)) == {"socket"}


def test_what_is_wrong_is_told_where_it_is(wired: PrivateHost) -> None:
    host, ovs = wired, wired.ovs
    with plugged(host, **ON_OVS, vlan=7):
        host.ip("link", "set", TAP, "down")
        thief = ("set", "interface", "thief", f"external_ids:iface-id={ID}", "type=internal")
        ovs.ctl("set", "port", TAP, "tag=8", "--", "add-port", "br-ex", "thief", "--", *thief)
        ovs.ctl("set", "bridge", "br-int", "fail_mode=secure", "--", "set-controller", "br-int", "tcp:127.0.0.1:1")
        host.ip("link", "set", "nic0-far", "down")
        assert becomes(lambda: "uplink" in wrong(host)), "behind the patch"
        assert wrong(host) == {
            "tap": "up: expected on, got off",
            "port": f"{ID}: expected no other port, got port thief has it and is not vifplug's",
            "vlan": "expected mode access, tag 7, got mode access, tag 8",
            "uplink": "state: expected up, got down",
            "flows": "no controller is connected (tcp:127.0.0.1:1): start it",
        }
        ovs.ctl("del-port", "thief", "--", "del-controller", "br-int", "--", "del-port", TAP)
        assert wrong(host)["port"] == "expected present, got nothing"
        ids = {"ovn-remote": "unix:/none", "ovn-encap-type": "geneve", "ovn-encap-ip": "10.0.0.1", "system-id": "x"}
        ovs.ctl("set", "open_vswitch", ".", *(f"external_ids:{key}={value}" for key, value in ids.items()))
        host.driver.plug(VIF.from_data({"id": ID, "mac": "52:54:00:12:34:56", **ON_OVS, "vlan": 7}))
        assert "ovn-controller never worked on that bridge" in wrong(host)["flows"]
        ovs.ctl("set", "interface", TAP, "external_ids:ovn-installed=true")
        ovs.kill("ovs-vswitchd")
        assert becomes(lambda: wrong(host).get("bridge") == "expected running, got ovs-vswitchd is not running")
        ovs.start("ovs-vswitchd")
        for key in ids:
            ovs.ctl("remove", "open_vswitch", ".", "external_ids", key)
        ovs.ctl("del-fail-mode", "br-int")
        host.driver.update(VIF.from_data({"id": ID, "mac": "52:54:00:12:34:56", **ON_OVS, "vlan": 7}))
        host.ip("link", "set", "nic0-far", "up")
        assert becomes(lambda: wrong(host) == {})


def test_no_way_is_shown_of_what_is_not_recorded(wired: PrivateHost) -> None:
    answer = command.vifplug("check", "--explain", config=wired.config)
    assert (answer.code, "expected the id of a VIF" in answer.err) == (2, True)
    with plugged(wired, **DIRECT):
        answer = command.vifplug("check", ID, ID.replace("9", "1"), "--explain", "-f", "value", config=wired.config)
    assert answer.code == 2 and answer.out.startswith(f"{ID} uplink up0 ok") and "is not plugged" in answer.err


def test_the_picture_marks_what_is_missing(wired: PrivateHost) -> None:
    host = wired

    def drawn() -> list[str]:
        """The lines of the picture without the id and the tree."""
        lines = command.vifplug("topology", config=host.config).out.splitlines()
        return [" ".join(line.strip("├─└│ ").split()) for line in lines if line.endswith("]") or "no uplink" in line]

    second = ID.replace("9", "1")
    macvtap = VIF.from_data({"id": second, "mac": "52:54:00:12:34:57", **DIRECT, "tap_owner": "vifplug"})
    with plugged(host, **ON_OVS):
        host.driver.plug(macvtap)
        assert drawn() == []
        host.ovs.ctl("del-port", TAP, "--", "del-port", "to-ex")
        host.ip("link", "set", "nic0-far", "down")
        host.ip("link", "del", "up0")
        for name in ("eth0", "br0"):
            host.ip("link", "set", name, "down")
        assert becomes(lambda: any(line.startswith("nic0 no VIF's port [is down]") for line in drawn()))
        told = "\n".join(drawn())
        for expected in (
            "br0 Linux bridge 1 port [is down]",
            "eth0 no VIF's port [is down]",
            "br-int Open vSwitch bridge 0 ports no uplink",
            "up0 [does not exist]",
            f"[ovs-port {TAP} is missing]",
            f"[macvtap {macvtap.device} is missing]",
        ):
            assert expected in told
        host.driver.unplug(second)
        host.ip("link", "add", "up0", "type", "veth", "peer", "name", "up0-far")
        host.ovs.ctl(
            "add-port", "br-int", "to-ex", "--", "set", "interface", "to-ex", "type=patch", "options:peer=to-int"
        )
