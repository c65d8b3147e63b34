"""os-vif and vifplug side by side: the same objects plugged by real os-vif on one host and by its API here on another.

What is found on the two hosts is the same, but for differences that are named; after unplug it is wholly the same.
And what real os-vif has plugged is taken over, and leaves nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from tests.support import osvif
from tests.support.osvif import QBR, QVO, TAP, VHU, Native, hybrid, openvswitch, snapshot, vhostuser
from tests.support.patience import becomes
from vifplug.compat import os_vif
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost

pytestmark = pytest.mark.needs("namespaces")

#: what vifplug has more, or does otherwise, everywhere: path -> why
EVERYWHERE = {
    r"interfaces/.*/external_ids/vm-id": "the guest's UUID under the name that Open vSwitch documents and OVN reads",
    r"(interfaces|ports/.*/qos)/(.*/)?external_ids/vifplug-(id|role)": "whose it is",
    r"devices/.*/alias": "whose device it is",
    r"devices/.*/ipv6/disable_ipv6": "no guest's router advertisement reaches the host, on a veth neither",
    r"devices/(qv|qbr|pb|t?br-|ovs-).*/mac": "random",
    r"devices/(br-int|tbr-.*|pb.*)/mtu": "Open vSwitch follows the ports, in its own time",
}
DEFAULTS = {"isolate_vif": False, "per_port_bridge": False, "default_qos_type": "linux-noop"}


@dataclass(frozen=True)
class Case:
    """One VIF: the options of both, what is there beforehand, and the differences that it may make."""

    vif: Callable[[Path], Any]
    options: dict[str, Any] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    ovs: tuple[str, ...] = ()
    named: dict[str, str] = field(default_factory=dict)


PRESENT = ("tuntap", "add", "dev", TAP, "mode", "tap")
SYSTEM = {"datapath_type": "system"}
CASES = {
    "a port and a tap": Case(lambda _: openvswitch(create_port=True, create_tap=True)),
    "a tap with queues": Case(lambda _: openvswitch(create_port=True, create_tap=True, multiqueue=True)),
    "a port alone": Case(lambda _: openvswitch(create_port=True)),
    "the bridge alone": Case(lambda _: openvswitch(bridge="br-other")),
    "hybrid": Case(lambda _: hybrid()),
    "no MTU": Case(lambda _: openvswitch(create_port=True, create_tap=True, mtu=None)),
    "the agent's MTU": Case(lambda _: hybrid(mtu=None), {"network_device_mtu": 1400}),
    "vhost-user, QEMU is the client": Case(lambda directory: vhostuser(f"{directory}/{VHU}", "client")),
    "vhost-user, QEMU is the server": Case(lambda directory: vhostuser(f"{directory}/{VHU}", "server")),
    "a trunk bridge": Case(lambda _: openvswitch(bridge="tbr-9c4e2f10-6", create_port=True)),
    "vhost-user on a trunk bridge": Case(
        lambda directory: vhostuser(f"{directory}/{VHU}", "client", bridge="tbr-9c4e2f10-6")
    ),
    "isolated": Case(lambda _: openvswitch(create_port=True, create_tap=True), {"isolate_vif": True}),
    "isolated, hybrid": Case(lambda _: hybrid(), {"isolate_vif": True}),
    "isolated, vhost-user": Case(lambda directory: vhostuser(f"{directory}/{VHU}", "server"), {"isolate_vif": True}),
    "isolated on a trunk bridge": Case(
        lambda _: openvswitch(bridge="tbr-9c4e2f10-6", create_port=True), {"isolate_vif": True}
    ),
    "a bridge for the port": Case(lambda _: openvswitch(create_port=True, create_tap=True), {"per_port_bridge": True}),
    "a bridge for the port, isolated": Case(
        lambda _: openvswitch(create_port=True, create_tap=True),
        {"per_port_bridge": True, "isolate_vif": True},
        named={
            r"ports/ibp.*/(vlan_mode|trunks)": "a tag alone lets frames pass: all three columns make a VLAN dead",
            r"ports/tap.*/(tag|vlan_mode|trunks)": "the patch is what is isolated, and what an agent gives a VLAN to",
        },
    ),
    "a tap that is there": Case(
        lambda _: openvswitch(create_port=True, mtu=9000),
        before=PRESENT,
        named={
            rf"devices/{TAP}/(up|mac)": "a tap on a switch has to be up to be of use, and gets the MAC of libvirt's"
        },
    ),
    "the kernel's datapath": Case(
        lambda _: openvswitch(create_port=True, **SYSTEM), ovs=("set", "bridge", "br-int", "datapath_type=system")
    ),
    "the kernel's datapath, hybrid, htb": Case(
        lambda _: hybrid(**SYSTEM),
        {"default_qos_type": "linux-htb"},
        ovs=("set", "bridge", "br-int", "datapath_type=system"),
    ),
}


def caught_up(host: PrivateHost) -> None:
    """Wait for ovs-vswitchd: ovs-vsctl does, when it has changed something."""
    host.ovs.ctl("set", "Open_vSwitch", ".", f"external_ids:seen={os.urandom(4).hex()}")


@pytest.fixture(scope="module")
def theirs() -> Iterator[tuple[PrivateHost, Native]]:
    with PrivateHost(vifplug_ovs={"wait": "none"}, dpdk=True) as host, Native(host) as native:
        yield host, native


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateHost]:
    """vifplug's host; os-vif reports success whatever ovs-vswitchd says of a port, and so it does here (``wait``)."""
    with PrivateHost(vifplug_ovs={"wait": "none"}, dpdk=True) as host:
        yield host


@pytest.fixture
def ours(theirs: tuple[PrivateHost, Native], host: PrivateHost) -> Iterator[PrivateHost]:
    with netns.inside(host.namespace):
        os_vif.initialize(reset=True, config_files=[str(host.config)])
        yield host
    for name in (*DEFAULTS, "network_device_mtu"):
        cfg.CONF.clear_override(name, group="os_vif_ovs")
    for entry in host.driver.list():
        host.driver.unplug(entry.vif.id)
    for each in (theirs[0], host):
        clear(each)


def configure(options: dict[str, Any]) -> None:
    for name, value in {**DEFAULTS, **options}.items():
        cfg.CONF.set_override(name, value, group="os_vif_ovs")


def prepare(host: PrivateHost, case: Case) -> None:
    host.ovs.ctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    if case.ovs:
        host.ovs.ctl(*case.ovs)
    if case.before:
        host.ip(*case.before)


def clear(host: PrivateHost) -> None:
    for bridge in host.ovs.ctl("list-br").split():
        host.ovs.ctl("del-br", bridge)
    host.ovs.ctl("--all", "destroy", "QoS")
    for link in host.links() & {TAP, QBR, QVO}:
        host.ip("link", "delete", "dev", link)
    assert becomes(lambda: host.links() <= {"lo", "ovs-netdev", "ovs-system"}), host.links()


def differences(theirs: Any, ours: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(theirs, dict) or isinstance(ours, dict):
        theirs, ours = theirs or {}, ours or {}
        for key in sorted(theirs.keys() | ours.keys()):
            yield from differences(theirs.get(key), ours.get(key), f"{path}/{key}" if path else key)
    elif theirs != ours:
        yield path, theirs, ours


def unnamed(theirs: Any, ours: Any, named: dict[str, str]) -> list[tuple[str, Any, Any]]:
    found = differences(theirs, ours)
    return [each for each in found if not any(re.fullmatch(pattern, each[0]) for pattern in {**EVERYWHERE, **named})]


def settled(found: Callable[[], list[Any]]) -> list[Any]:
    """What is found once nothing is: ovs-vswitchd makes and removes its devices a little after it says so."""
    becomes(lambda: found() == [], 10)
    return found()


@pytest.mark.parametrize("name", CASES)
def test_the_hosts_are_the_same_but_for_named_differences(
    name: str, theirs: tuple[PrivateHost, Native], ours: PrivateHost, tmp_path: Path
) -> None:
    case, (host, native) = CASES[name], theirs
    vif = case.vif(tmp_path)
    configure(case.options)
    for each in (host, ours):
        prepare(each, case)
    assert native.plug(vif, **{**DEFAULTS, "network_device_mtu": 1500, **case.options}) == "done"
    os_vif.plug(vif, osvif.info())
    for each in (host, ours):
        caught_up(each)
    assert settled(lambda: unnamed(snapshot(host), snapshot(ours), case.named)) == []
    assert native.unplug(vif) == "done"
    os_vif.unplug(vif, osvif.info())
    for each in (host, ours):
        caught_up(each)
    assert settled(lambda: unnamed(snapshot(host), snapshot(ours), {})) == []


# -- what os-vif has plugged ------------------------------------------------------------------------------------------

TAKEN = [name for name in CASES if name != "a tap that is there"]
OTHERWISE = [
    "a port and a tap",
    "hybrid",
    "a bridge for the port",
    "the kernel's datapath, hybrid, htb",
    "a trunk bridge",
]


@pytest.fixture(scope="module")
def native(host: PrivateHost) -> Iterator[Native]:
    """os-vif on vifplug's host."""
    with Native(host) as native:
        yield native


@pytest.fixture
def plugged(ours: PrivateHost, native: Native, tmp_path: Path) -> Callable[[str], Any]:
    """Have os-vif plug a case: its VIF, and the host as it was before."""

    def plug(name: str) -> Any:
        vif = CASES[name].vif(tmp_path)
        prepare(ours, CASES[name])
        before = snapshot(ours)
        assert native.plug(vif, **{**DEFAULTS, "network_device_mtu": 1500, **CASES[name].options}) == "done"
        caught_up(ours)
        if TAP in ours.links():
            # ovs-vswitchd, with the flags that it read before it makes the tap promiscuous, can undo os-vif's "up"
            ours.ip("link", "set", TAP, "up")
        return vif, before

    return plug


def unplugged(host: PrivateHost, vif: Any, before: dict[str, Any]) -> None:
    """Unplug, twice: the host is as it was before."""
    os_vif.unplug(vif, osvif.info())
    os_vif.unplug(vif, osvif.info())
    caught_up(host)
    assert settled(lambda: unnamed(without_bridges(before), without_bridges(snapshot(host)), {})) == []


@pytest.mark.parametrize("name", TAKEN)
def test_a_plug_takes_over_what_osvif_has_plugged(name: str, ours: PrivateHost, plugged: Any) -> None:
    """As an agent that starts anew plugs everything again, while guests run: what works goes on working."""
    vif, before = plugged(name)
    theirs, numbers = snapshot(ours), openflow(ours)
    configure(CASES[name].options)
    with guest(ours, vif):
        os_vif.plug(vif, osvif.info())
        caught_up(ours)
        assert settled(lambda: unnamed(theirs, snapshot(ours), CASES[name].named)) == []
        assert openflow(ours) == numbers
        kept = (
            {"user"} if TAP in ours.links() else set()
        )  # os-vif's tap may be opened by anybody: until it is made anew
        message = [each for each in ours.driver.check() if "could not" not in str(each)]
        assert {each.path.rpartition(": ")[2] for each in message} == kept
    unplugged(ours, vif, before)


@pytest.mark.parametrize("name", OTHERWISE)
def test_an_unplug_finds_what_osvif_has_plugged_with_other_options(name: str, ours: PrivateHost, plugged: Any) -> None:
    vif, before = plugged(name)
    configure({"default_qos_type": "linux-sfq", "per_port_bridge": not CASES[name].options.get("per_port_bridge")})
    unplugged(ours, vif, before)


def test_an_unplug_of_the_direct_form_finds_the_hybrid_one(ours: PrivateHost, plugged: Any) -> None:
    """A cold migration from one form to the other."""
    _, before = plugged("hybrid")
    configure({})
    unplugged(ours, openvswitch(create_port=True), before)


def test_a_port_of_another_vifs_is_left_alone(ours: PrivateHost, plugged: Any) -> None:
    """The same name and another iface-id; and a bridge that others are on as well."""
    plugged("a port alone")
    configure({})
    other = openvswitch(create_port=True, interface_id="11111111-2222-4333-8444-555555555555")
    with pytest.raises(os_vif.exception.PlugException, match=rf"a port {TAP} is on bridge br-int and is not vifplug's"):
        os_vif.plug(other, osvif.info())
    os_vif.unplug(other, osvif.info())
    assert TAP in ours.ports("br-int")


def guest(host: PrivateHost, vif: Any) -> contextlib.AbstractContextManager[None]:
    """The guest's hold on its tap, where it has one."""
    multi_queue = "multiqueue" in vif.port_profile and vif.port_profile.multiqueue
    return osvif.held(TAP, multi_queue=multi_queue) if TAP in host.links() else contextlib.nullcontext()


def openflow(host: PrivateHost) -> dict[str, str]:
    """The OpenFlow number of each port; it goes with the port's flows and counters."""
    message = host.ovs.ctl("--format=csv", "--no-headings", "--columns=name,ofport", "list", "Interface")
    return dict(line.rsplit(",", 1) for line in message.splitlines())


def without_bridges(seen: dict[str, Any]) -> dict[str, Any]:
    """Without bridges that are made for all VIFs, and stay: br-other."""
    return {part: {**each, "br-other": None} if isinstance(each, dict) else each for part, each in seen.items()}
