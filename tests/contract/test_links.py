"""What the kernel's links owe to guests and to operators, on the real kernel."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import re
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from vifplug import errors
from vifplug.host.links import tap
from vifplug.host.links.devices import birth_group
from vifplug.host.links.ports import ranges
from vifplug.host.netlink import socket as rtsocket
from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import IFF_UP, RTM_NEWLINK, LinkChange
from vifplug.plan.registry import BridgePort, BridgeVlan, LinuxBridge, LowerDevice, Macvtap, Tap, VethPair
from vifplug.plan.steps import Step, originals, removal
from vifplug.testing import netns
from vifplug.testing.netns import ip

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"
OTHER = "7e1b8d4c-02f6-4c0d-8f57-b2a9d3c4e522"
RTMGRP_LINK = 1  # linux/rtnetlink.h
TAP = Tap(name="t0", owner=OWNER, mac="fe:54:00:00:00:01", mtu=1400)


@contextlib.contextmanager
def guest(name: str, *, multi_queue: bool = False) -> Iterator[int]:
    """Hold a tap open as QEMU does."""
    flags = tap.IFF_TAP | tap.IFF_NO_PI | tap.IFF_VNET_HDR | (tap.IFF_MULTI_QUEUE if multi_queue else 0)
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(descriptor, tap.TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        yield descriptor
    finally:
        os.close(descriptor)


def sysctl(device: str, key: str = "disable_ipv6") -> str:
    return Path(f"/proc/sys/net/ipv6/conf/{device}/{key}").read_text().strip()


def in_namespace(code: str, *prefix: str) -> str:
    """What a Python program prints that runs in the namespace of this thread, with ``prefix`` before its command."""
    command = [*prefix, sys.executable, "-c", textwrap.dedent(code)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    return done.stdout.strip() or done.stderr


# -- taps -------------------------------------------------------------------------------------------------------------


def test_the_kernel_sees_the_tap_as_it_was_asked_for(kernel: Any) -> None:
    kernel.reach(TAP.replace(multi_queue=True, user=64055, group=7))
    told = ip("-details", "link", "show", "t0")
    for part in ("UP", "mtu 1400", "fe:54:00:00:00:01", "persist on", "vnet_hdr on", "pi off", "multi_queue"):
        assert part in told, part
    assert f"alias vifplug:{OWNER}" in told
    assert re.search(r"user \S+ group \S+", told)


@pytest.mark.parametrize(
    ("user", "told"),
    [
        (None, "Operation not permitted"),
        (0, "Operation not permitted"),
        (2**31, "Operation not permitted"),  # such ids are those of containers' users
        (65534, "opened"),
    ],
)
def test_only_its_owner_may_open_a_tap_and_it_always_has_one(kernel: Any, user: int | None, told: str) -> None:
    """Any local user may open a tap that nobody owns, so one for which nobody is named belongs to root."""
    kernel.reach(TAP.replace(user=user))
    opening = """
        import fcntl, os, struct
        tun = os.open("/dev/net/tun", os.O_RDWR)
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        try:
            fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"t0", 0x5002))
            print("opened")
        except OSError as error:
            print(error.strerror)
    """
    assert in_namespace(opening) == told


def test_ipv6_is_off_before_a_device_is_up(kernel: Any) -> None:
    """The kernel tells of every change of a link, and each message has the device's IPv6 settings of that moment."""
    assert sysctl("default") == "0"
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as events:
        events.bind((0, RTMGRP_LINK))
        kernel.reach(TAP, VethPair(name="v0", peer="v1", owner=OWNER), LinuxBridge(name="b0", owner=OWNER))
        kernel.reach(Macvtap(name="m0", lower="v0", owner=OWNER))
        told = [message for message in received(events) if message["header"]["type"] == RTM_NEWLINK]
    ups = {message.get_attr("IFLA_IFNAME"): ipv6_settings(message) for message in told if message["flags"] & IFF_UP}
    assert {name: settings["disable_ipv6"] for name, settings in ups.items()} == dict.fromkeys(
        ("t0", "v0", "v1", "b0", "m0"), 1
    )
    assert all(ipv6_settings(message)["disable_ipv6"] for message in told if message["flags"] & IFF_UP)
    assert "inet6" not in ip("address", "show", "up", "type", "veth")


def received(events: socket.socket) -> Iterator[ifinfmsg]:
    """Every message that is there."""
    with contextlib.suppress(BlockingIOError):
        while True:
            message = ifinfmsg(events.recv(1 << 16, socket.MSG_DONTWAIT))
            message.decode()
            yield message


def ipv6_settings(message: ifinfmsg) -> dict[str, int]:
    families = dict(message.get_attr("IFLA_AF_SPEC")["attrs"])
    settings: dict[str, int] = dict(families["AF_INET6"]["attrs"])["IFLA_INET6_CONF"]
    return settings


@pytest.mark.parametrize("device", [TAP, VethPair(name="t0", peer="t1", owner=OWNER, mtu=1400)], ids=str)
def test_ipv6_stays_off_when_the_mtu_falls_under_1280_and_rises_again(kernel: Any, device: Any) -> None:
    """Under 1280 bytes the kernel drops a device's IPv6 state, and makes a new one, with the defaults, above."""
    kernel.reach(device)
    kernel.reach(device.replace(mtu=1000))
    assert not Path("/proc/sys/net/ipv6/conf/t0").exists()
    kernel.reach(device)
    assert sysctl("t0") == "1"
    assert "inet6" not in ip("address", "show", "t0")


@pytest.mark.parametrize("multi_queue", [False, True], ids=["one queue", "multi queue"])
def test_a_tap_that_a_guest_has_open_is_held(kernel: Any, multi_queue: bool) -> None:
    wanted = TAP.replace(multi_queue=multi_queue)
    kernel.reach(wanted)
    assert kernel.see(wanted).held is False
    with guest("t0", multi_queue=multi_queue):
        assert kernel.see(wanted).held is True
        with pytest.raises(errors.Held, match="t0"):
            kernel.plan(wanted.replace(multi_queue=not multi_queue))
        assert kernel.reach(wanted.replace(mtu=1300)), "what can change in place may change under a guest"
    assert kernel.see(wanted).held is False


def test_failing_half_way_leaves_no_tap(kernel: Any) -> None:
    with pytest.raises(errors.StepFailed, match=r"t0.*mtu"):
        kernel.reach(TAP.replace(mtu=65535))  # a tap's limit is 65521
    assert kernel.see(TAP) is None and "t0" not in ip("link")
    assert kernel.done == []


def test_a_change_that_is_refused_leaves_the_tap_as_it_was(kernel: Any) -> None:
    kernel.reach(TAP)
    with pytest.raises(errors.StepFailed, match=r"t0.*mtu"):
        kernel.reach(TAP.replace(mac="fe:54:00:00:00:02", mtu=65535))
    assert kernel.plan(TAP) == []


def test_a_sysctl_that_the_kernel_does_not_know_is_refused_and_leaves_nothing(kernel: Any) -> None:
    for device in (TAP, LinuxBridge(name="t0", owner=OWNER), VethPair(name="t0", peer="t1", owner=OWNER)):
        with pytest.raises(errors.KernelLacks, match="ipv6/conf/t0/no_such_key"):
            kernel.reach(device.replace(sysctls={"ipv6/no_such_key": "1"}))
        assert "t0" not in ip("link")


@pytest.mark.parametrize("name", ["all", "default"])
def test_the_names_that_stand_for_all_devices_are_refused(kernel: Any, name: str) -> None:
    with pytest.raises(errors.InvalidDocument, match=name):
        TAP.replace(name=name)
    with pytest.raises(errors.StepFailed, match="v0"):  # the kernel refuses such a link by itself
        kernel.reach(VethPair(name="v0", peer="v1", owner=OWNER).trusted(peer=name))
    assert "v0" not in ip("link")
    assert sysctl("all") == sysctl("default") == "0"


def test_without_cap_net_admin_it_says_so_and_makes_nothing(kernel: Any) -> None:
    code = f"""
        from vifplug.host.links.devices import DeviceBackend
        from vifplug.plan import registry as r
        from vifplug.plan.steps import Step
        for each in (r.Tap(name="t0", owner="{OWNER}"), r.LinuxBridge(name="t0", owner="{OWNER}")):
            try:
                DeviceBackend().apply([Step(None, each)], [])
            except Exception as error:
                print(type(error).__name__, "CAP_NET_ADMIN" in str(error), "Traceback" in str(error))
    """
    told = in_namespace(code, "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    assert told.splitlines() == ["NotPermitted True False"] * 2
    assert "t0" not in ip("link")


def test_a_tap_that_somebody_made_in_the_meantime_is_not_taken_over(kernel: Any) -> None:
    """Between plan and apply: TUNSETIFF alone would attach to it, and vifplug would mark and remove it as its own."""
    steps = kernel.plan(TAP)
    ip("tuntap", "add", "t0", "mode", "tap")
    before = ip("-d", "link", "show", "t0")
    with pytest.raises(errors.Conflict, match="t0"):
        kernel.apply(*steps)
    assert ip("-d", "link", "show", "t0") == before


@pytest.mark.parametrize(
    ("command", "foreign"),
    [
        ("tuntap add t0 mode tap", "a tap without the mark of vifplug"),
        ("tuntap add t0 mode tun", "a tun without the mark of vifplug"),
        ("link add t0 type veth peer name t1", "a veth without the mark of vifplug"),
        ("link add t0 type bridge", "a bridge without the mark of vifplug"),
        ("link add t0 alias x type bridge", "a bridge without the mark of vifplug"),
    ],
)
def test_what_is_in_the_way_is_named(kernel: Any, command: str, foreign: str) -> None:
    ip(*command.split())
    seen = kernel.see(TAP)
    assert seen.resource is None and seen.foreign == foreign
    with pytest.raises(errors.Conflict, match=foreign):
        kernel.plan(TAP)


def test_a_device_of_another_vif_is_never_removed(kernel: Any) -> None:
    kernel.reach(TAP)
    with pytest.raises(errors.Conflict, match=OWNER):
        kernel.apply(Step(TAP.replace(owner=OTHER), None))
    assert kernel.plan(TAP) == []


def test_what_carries_the_mark_is_found_without_a_record(kernel: Any) -> None:
    wanted = [TAP, VethPair(name="v0", peer="v1", owner=OWNER), LinuxBridge(name="b0", owner=OWNER)]
    wanted += [Macvtap(name="m0", lower="v0", owner=OWNER), TAP.replace(name="t9", owner=OTHER)]
    kernel.reach(*wanted)
    found = kernel.backend.links.find(OWNER)
    assert {each.identity for each in found} == {each.identity for each in wanted[:4]}
    kernel.apply(*removal(found, kernel.backend.observe(found), {}))
    assert kernel.backend.links.find(OWNER) == []
    assert "t9" in ip("link")


def test_eight_threads_make_and_remove_taps_at_once(kernel: Any) -> None:
    def work(number: int) -> None:
        for mtu in (1400, 1500, 9000):
            mine = TAP.replace(name=f"t{number}", mtu=mtu)
            kernel.reach(mine)
            assert kernel.plan(mine) == []
        kernel.apply(Step(mine, None))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert not re.search(r"\bt\d:", ip("link"))


def test_backends_that_threads_make_at_once_share_one_socket(kernel: Any) -> None:
    kinds = ("tap", "bridge-port", "shared-bridge") * 8
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(kernel.backend.backend, kinds))
    assert len(set(map(id, made))) == 3
    assert {id(each._netlink) for each in made} == {id(kernel.backend.links._netlink)}


def test_a_forked_child_uses_a_socket_of_its_own(kernel: Any) -> None:
    """Also when another thread of the parent is in the middle of a request."""
    kernel.reach(TAP)
    with kernel.backend.links._netlink._socket._connection():
        child = multiprocessing.get_context("fork").Process(target=lambda: os._exit(0 if kernel.plan(TAP) == [] else 1))
        child.start()
        child.join(timeout=30)
    assert child.exitcode == 0
    assert kernel.plan(TAP) == []


def test_a_closed_backend_opens_again(kernel: Any) -> None:
    kernel.reach(TAP)
    kernel.backend.close()
    assert kernel.plan(TAP) == []


taps = st.builds(
    lambda mac, **rest: TAP.replace(mac=f"fe:00:00:00:00:{mac:02x}", **rest),
    mac=st.integers(1, 3),
    mtu=st.sampled_from([68, 1279, 1280, 1500, 9000]),
    up=st.booleans(),
    multi_queue=st.booleans(),
    user=st.sampled_from([0, 1000]),
    group=st.sampled_from([None, 7]),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=taps, end=taps)
def test_any_tap_is_reached_from_any_other_in_one_pass(kernel: Any, start: Tap, end: Tap) -> None:
    kernel.reach(start)
    kernel.reach(end)
    assert kernel.plan(end) == []
    kernel.apply(Step(end, None))


# -- veths, bridges, macvtaps -----------------------------------------------------------------------------------------


def test_the_far_end_of_a_veth_is_checked_as_well(kernel: Any) -> None:
    pair = VethPair(name="v0", peer="v1", owner=OWNER, mtu=1500)
    kernel.reach(pair)
    for damage in ("mtu 1400", "down", "promisc on"):
        ip("link", "set", "v1", *damage.split())
        wanted = pair.replace(promiscuous=False)
        assert kernel.plan(wanted), damage
        kernel.reach(wanted)
        assert kernel.plan(wanted) == []


def test_a_killed_process_leaves_a_device_that_the_next_one_takes_for_its_own(kernel: Any) -> None:
    """A link cannot be born with an alias: until it has one, its group says whose it is."""
    ip("link", "add", "v0", "group", str(birth_group(OWNER)), "type", "veth", "peer", "name", "v1")
    pair = VethPair(name="v0", peer="v1", owner=OWNER)
    assert kernel.see(pair.replace(owner=OTHER)).foreign == "a veth without the mark of vifplug"
    kernel.reach(pair)
    assert kernel.plan(pair) == []
    assert "group default" in ip("link", "show", "v0")
    assert {sysctl("v0"), sysctl("v1")} == {"1"}


def test_a_bridge_that_filters_vlans_is_made_or_the_kernel_is_named(kernel: Any) -> None:
    wanted = LinuxBridge(name="b0", owner=OWNER, vlan_filtering=True)
    if filters_vlans():
        kernel.reach(wanted)
        assert "vlan_filtering 1" in ip("-details", "link", "show", "b0")
        return
    with pytest.raises(errors.KernelLacks, match="this kernel has no bridge VLAN filtering"):
        kernel.reach(wanted)
    assert "b0" not in ip("link")


@pytest.mark.parametrize(
    ("mode", "kernels"), [("vepa", "vepa"), ("bridge", "bridge"), ("private", "private"), ("passthrough", "passthru")]
)
def test_a_macvtap_in_each_mode(kernel: Any, mode: str, kernels: str) -> None:
    ip("link", "add", "low0", "type", "veth", "peer", "name", "low1")
    mac = "52:54:00:00:00:01"
    lower = LowerDevice(name="low0", owner=OWNER, mac=mac if mode == "passthrough" else None)
    wanted = Macvtap(name="m0", owner=OWNER, lower="low0", mode=mode, mac=mac, queues=2)
    kernel.reach(lower, wanted)
    told = ip("-details", "link", "show", "m0")
    assert f"mode {kernels}" in told and "numrxqueues 2" in told and mac in told
    assert kernel.plan(lower, wanted) == []


def test_passthrough_saves_and_restores_the_mac_of_the_lower_device(kernel: Any) -> None:
    ip("link", "add", "low0", "address", "02:00:00:00:00:77", "type", "veth", "peer", "name", "low1")
    lower = LowerDevice(name="low0", owner=OWNER, mac="52:54:00:00:00:01")
    macvtap = Macvtap(name="m0", owner=OWNER, lower="low0", mode="passthrough", mac="52:54:00:00:00:01")
    wanted = [lower, macvtap]
    kept = originals(wanted, kernel.backend.observe(wanted))
    kernel.reach(*wanted)
    assert "52:54:00:00:00:01" in ip("link", "show", "low0")
    kernel.apply(*removal(wanted, kernel.backend.observe(wanted), kept))
    assert "02:00:00:00:00:77" in ip("link", "show", "low0")
    assert "m0" not in ip("link")


def test_a_macvtap_whose_lower_device_is_not_there_is_refused(kernel: Any) -> None:
    with pytest.raises(errors.Missing, match=r"m0.*eth9"):
        kernel.reach(Macvtap(name="m0", owner=OWNER, lower="eth9"))


def test_the_node_of_a_macvtap_belongs_to_its_user() -> None:
    """In `ip netns exec`, which mounts the /sys of that namespace: that tells whose the node in the shared /dev is."""
    code = f"""
        import os
        from vifplug.host.links.devices import DeviceBackend
        from vifplug.plan.registry import Macvtap, VethPair
        from vifplug.plan.steps import Step, steps_toward
        backend = DeviceBackend()
        for n in range(40 + os.getpid() % 50):  # an index, and so a node, that no other test is likely to have
            backend.apply([Step(None, VethPair(name=f"a{{n}}", peer=f"b{{n}}", owner="{OWNER}"))], [])
        expected = Macvtap(name="m0", lower="a0", owner="{OWNER}", user=64055)
        backend.apply([Step(None, expected)], [])
        observed = backend.observe([expected])
        print(steps_toward([expected], observed), observed[expected.identity].resource.user)
    """
    with netns.named() as (name,):
        told = in_namespace(code, "ip", "netns", "exec", name)
    assert told == "[] 64055"


# -- ports of Linux bridges -------------------------------------------------------------------------------------------

PORT = BridgePort(name="t0", bridge="br0", owner=OWNER)


def filters_vlans() -> bool:
    """Whether this kernel has bridge VLAN filtering; iproute2 is asked, not the code under test."""
    command = ["ip", "link", "add", "probe0", "type", "bridge", "vlan_filtering", "1"]
    able = subprocess.run(command, capture_output=True, check=False).returncode == 0
    if able:
        ip("link", "delete", "probe0")
    return able


@pytest.fixture
def bridge(kernel: Any) -> Any:
    ip("link", "add", "br0", "type", "bridge")
    kernel.reach(TAP)
    return kernel


def test_the_kernel_sees_the_port_flags(bridge: Any) -> None:
    bridge.reach(PORT.replace(isolated=True, hairpin=True, learning=False))
    told = ip("-details", "link", "show", "t0")
    assert "master br0" in told and "isolated on" in told and "hairpin on" in told and "learning off" in told


@pytest.mark.parametrize("field", ["isolated", "hairpin", "learning", "flood"])
def test_flags_that_nobody_asked_for_are_left_alone(bridge: Any, field: str) -> None:
    bridge.reach(PORT)
    default = getattr(bridge.see(PORT).resource, field)
    bridge.reach(PORT.replace(**{field: not default}))
    assert bridge.plan(PORT) == []


def test_a_bridge_that_does_not_exist_is_named_and_another_device_gives_a_hint(bridge: Any) -> None:
    for name, sentence in (
        ("br-int", "bridge br-int does not exist on this host"),
        ("t0", "a tun device of that name, which is not a bridge; .* virtualport of type openvswitch"),
    ):
        with pytest.raises(errors.Missing, match=sentence):
            bridge.check(PORT.replace(bridge=name))
    assert "master" not in ip("link", "show", "t0")


def test_a_device_that_is_not_there_is_named(bridge: Any) -> None:
    with pytest.raises(errors.Missing, match="t7"):
        bridge.reach(PORT.replace(name="t7"))


def test_a_device_that_is_in_somebody_elses_bridge_stays_there(bridge: Any) -> None:
    ip("link", "add", "br9", "type", "bridge")
    ip("link", "add", "eth7", "master", "br9", "type", "veth", "peer", "name", "eth8")
    with pytest.raises(errors.Conflict, match=r"eth7.*br9"):
        bridge.plan(PORT.replace(name="eth7"))
    bridge.apply(Step(PORT.replace(name="eth7"), None))
    assert "master br9" in ip("link", "show", "eth7")


def test_vlans_are_set_or_the_kernel_is_named(bridge: Any) -> None:
    """Access and trunk; the default VLAN 1 goes. On a kernel without bridge VLAN filtering that is what it says."""
    vlans = (BridgeVlan(id=10, pvid=True, untagged=True), BridgeVlan(id=20), BridgeVlan(id=21), BridgeVlan(id=22))
    wanted = PORT.replace(vlans=vlans)
    if not filters_vlans():
        with pytest.raises(errors.KernelLacks, match="this kernel has no bridge VLAN filtering"):
            bridge.check(wanted)
        return
    with pytest.raises(errors.HostNotReady, match="vlan_filtering 1"):
        bridge.check(wanted)
    ip("link", "set", "br0", "type", "bridge", "vlan_filtering", "1")
    bridge.reach(wanted)
    assert bridge.plan(wanted) == []
    told = netns.run("bridge", "vlan", "show", "dev", "t0")
    assert "10 PVID Egress Untagged" in told and not re.search(r"\b1 PVID", told) and "22" in told
    steps = bridge.reach(wanted.replace(vlans=(BridgeVlan(id=30, pvid=True),)))
    assert bridge.plan(wanted.replace(vlans=(BridgeVlan(id=30, pvid=True),))) == []
    bridge.undo(steps)
    assert bridge.plan(wanted) == []


vlan_sets = st.dictionaries(st.integers(1, 60), st.sampled_from([0, 0x4]), max_size=40)


@given(vlans=vlan_sets, native=st.none() | st.tuples(st.integers(1, 60), st.sampled_from([0x2, 0x6])))
def test_ranges_say_the_same_as_single_vlans(vlans: dict[int, int], native: tuple[int, int] | None) -> None:
    if native:
        vlans[native[0]] = native[1]
    spelled: dict[int, int] = {}
    begun: int | None = None
    for vid, flags in ranges(vlans.items()):
        assert not flags & 0x2 or not flags & 0x18, "the kernel refuses a PVID in a range"
        if flags & 0x8:
            begun = vid
        else:
            first = begun if flags & 0x10 and begun is not None else vid
            spelled.update(dict.fromkeys(range(first, vid + 1), flags & ~0x18))
            begun = None
    assert spelled == vlans


# -- the socket -------------------------------------------------------------------------------------------------------


def test_a_refusal_has_the_kernels_own_words(kernel: Any) -> None:
    kernel.reach(TAP)
    with pytest.raises(rtsocket.NetlinkRefused, match="mtu greater than device maximum"):
        Netlink().set([("t0", LinkChange(mtu=65535))])


def test_a_hundred_links_are_read_in_one_go(kernel: Any) -> None:
    names = [f"t{number}" for number in range(100)]
    kernel.reach(*(TAP.replace(name=name) for name in names))
    assert list(Netlink().links([*names, "absent"])) == names


def test_a_listing_that_was_interrupted_is_tried_again_and_then_given_up(
    namespace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel cannot be made to interrupt a dump at will, so here stands an answer with NLM_F_DUMP_INTR set."""
    netlink = Netlink()
    interruptions = 3
    scan = rtsocket.RtSocket._scan

    def interrupted(self: rtsocket.RtSocket, message: rtsocket.Request) -> list[bytes] | None:
        nonlocal interruptions
        interruptions -= 1
        return None if interruptions >= 0 else scan(self, message)

    monkeypatch.setattr(rtsocket.RtSocket, "_scan", interrupted)
    assert netlink.marked("nobody", 1) == []
    interruptions = 99
    with pytest.raises(errors.Unavailable, match="try again"):
        netlink.marked("nobody", 1)


def test_the_root_qdisc_is_told(kernel: Any) -> None:
    kernel.reach(VethPair(name="v0", peer="v1", owner=OWNER))
    assert kernel.backend.links.root_qdisc("v0") == "noqueue"
    assert kernel.backend.links.root_qdisc("absent") is None


def test_the_tests_have_a_network_of_their_own(namespace: None) -> None:
    assert [line.split()[0] for line in ip("-brief", "link").splitlines()] == ["lo"]


@pytest.mark.parametrize("wanted", [TAP, Macvtap(name="m0", owner=OWNER, lower="up0", mode="bridge")])
def test_a_link_that_has_got_the_name_meanwhile_is_not_changed(kernel: Any, wanted: Any) -> None:
    """Between looking and changing, another program removes the link and makes one of its own."""
    ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
    kernel.reach(wanted)
    planned = kernel.plan(wanted.replace(mtu=1300))
    ip("link", "delete", wanted.name)
    ip("link", "add", wanted.name, "type", "bridge")
    with pytest.raises(errors.PartlyDone, match="is not changed: got a bridge without the mark of vifplug"):
        kernel.apply(*planned)
    assert "mtu 1500" in ip("link", "show", wanted.name) and "alias" not in ip("link", "show", wanted.name)
