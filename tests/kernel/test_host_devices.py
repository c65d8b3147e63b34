"""Who uses a device, as a full kernel has it: bonds, VRFs, VLAN devices, ipvlan, MACsec, Open vSwitch's datapath."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.functional.test_host_devices import OWN, accepted, given, macvtap, refused
from tests.functional.test_router_advertisements import MAC, OPENVSWITCH, TAP, on
from tests.kernel.wire import cleared
from tests.support.advertisement import configures
from vifplug.testing.host import PrivateHost
from vifplug.testing.netns import ip

pytestmark = [pytest.mark.slow, pytest.mark.machine("full")]

_ENSLAVED = ("link set low0 down", "link set low0 master top0")
#: made on low0; whether the kernel refuses a macvtap beside it; and why vifplug refuses mode passthrough
USES = {
    "bond": (("link add top0 type bond", *_ENSLAVED), True, "a port of bond top0"),
    "team": (("link add top0 type team", *_ENSLAVED), True, "a port of team top0"),
    "vrf": (("link add top0 type vrf table 77", "link set low0 master top0"), False, "vrf top0"),
    "ipvlan": (("link add link low0 name top0 type ipvlan",), True, "ipvlan top0 on it"),
    "macsec": (("link add link low0 name top0 type macsec",), True, "macsec top0 on it"),
    "vlan": (("link add link low0 name top0 type vlan id 7",), False, "VLAN device top0 on it"),
}


@pytest.fixture(scope="module")
def module_host() -> Iterator[PrivateHost]:
    with PrivateHost(vifplug_ovs={"datapath_type": "system"}) as host:
        host.ovs.ctl("add-br", "br-int")
        host.ovs.ctl("add-br", "br-ex")
        yield host
        host.ovs.ctl("del-br", "br-int", "--", "del-br", "br-ex")


@pytest.fixture
def host(module_host: PrivateHost) -> Iterator[PrivateHost]:
    module_host.ip("link", "add", "low0", "up", "type", "dummy")
    yield from cleared(module_host)
    for name in ("top0", "low0"):
        subprocess.run(["ip", "-n", module_host.namespace, "link", "delete", name], check=False, capture_output=True)


@pytest.mark.parametrize("use", USES)
def test_the_kernels_refusal_is_foreseen(host: PrivateHost, use: str) -> None:
    commands, refusing, words = USES[use]
    for command in commands:
        host.ip(*command.split())
    probe = ["ip", "-n", host.namespace, "link", "add", "link", "low0", "name", "probe0", "type", "macvtap"]
    created = subprocess.run(probe, check=False, capture_output=True)
    assert (created.returncode != 0) == refusing, created.stderr
    if refusing:
        for mode in ("bridge", "passthrough"):
            assert words in str(refused(host, macvtap("low0", mode)))
    else:
        host.ip("link", "delete", "probe0")
        accepted(host, macvtap("low0"))
        assert f"{OWN}{words}" in str(refused(host, macvtap("low0", "passthrough")))
    assert f"{OWN}{words}" in str(refused(host, given("low0")))


def test_a_port_of_the_kernels_datapath_has_no_macvtap(host: PrivateHost) -> None:
    host.ovs.ctl("add-port", "br-ex", "low0")
    error = refused(host, macvtap("low0"))
    assert error.holder == "Open vSwitch bridge br-ex"
    assert str(error).startswith("device low0 is a port of Open vSwitch bridge br-ex, which cannot have a macvtap")
    assert f"{OWN}a port of Open vSwitch bridge br-ex)" in str(refused(host, given("low0")))
    host.ovs.ctl("del-port", "br-ex", "low0")
    accepted(host, given("low0"))


@pytest.mark.parametrize("made", [False, True], ids=["existing", "made by vifplug"])
def test_a_router_advertisement_on_the_kernels_datapath(host: PrivateHost, made: bool) -> None:
    if not made:
        host.ovs.ctl("add-br", "br.0")
        host.ip("link", "set", "dev", "br.0", "up")
    wanted = on("br.0", OPENVSWITCH, ensure=made)
    warnings = host.driver.plug(wanted).warnings
    host.ip("link", "set", "dev", "br.0", "up")
    assert configures(host, TAP, MAC, "br.0") is not made
    if warnings:
        command = warnings[0].rpartition("end it with '")[2].rstrip("'")
        ip("netns", "exec", host.namespace, *command.split())
    assert bool(warnings) is not made and host.driver.check() == []
    host.driver.unplug(wanted.id, force=True)
    host.ovs.ctl("del-br", "br.0")
