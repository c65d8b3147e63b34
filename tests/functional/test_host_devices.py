"""Devices that a VIF cannot have: those that cannot carry its macvtap, and the host's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.devices import mac
from vifplug import VIF, errors
from vifplug.testing import macvtaps, netns
from vifplug.testing.host import PrivateHost

ID = "5e0c2f14-93b7-4d6a-8c1e-7a2b9d4f6e01"
MAC = "52:54:00:5e:0c:2f"
OWN = "is the host's own ("


@pytest.fixture(scope="module")
def site() -> Iterator[PrivateHost]:
    """A host with a pair for each use of a device, and Open vSwitch with an uplink."""
    with macvtaps.claimed() as first, PrivateHost() as host:
        macvtaps.skip(host.namespace, first)
        used = ("ported", "shared", "passed", "addressed", "addressed6", "routed", "uplink", "twin", "same")
        for number, name in enumerate(("free", "spare", *used)):
            host.ip("link", "add", name, "up", "type", "veth", "peer", "name", f"peer{number}")
            host.ip("link", "set", f"peer{number}", "up")
        host.ip("link", "add", "br0", "type", "bridge")
        host.ip("link", "set", "ported", "master", "br0")
        host.ip("link", "add", "link", "shared", "name", "mv0", "type", "macvlan")
        host.ip("link", "add", "link", "twin", "name", "mv1", "address", MAC, "up", "type", "macvlan", "mode", "bridge")
        host.ip("link", "set", "same", "address", MAC)
        host.ip("link", "add", "link", "passed", "name", "mt0", "type", "macvtap", "mode", "passthru")
        host.ip("address", "add", "192.0.2.1/24", "dev", "addressed")
        host.ip("route", "add", "default", "via", "192.0.2.254")
        host.ip("address", "add", "2001:db8::1/64", "dev", "addressed6")
        host.ip("route", "add", "198.51.100.0/24", "dev", "routed")
        host.ip("link", "property", "add", "dev", "addressed", "altname", "enp1s0f0np0")
        for bridge in ("br-int", "br-ex"):
            host.ovs.ctl("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev")
        host.ovs.ctl("add-port", "br-ex", "uplink")
        yield host


def macvtap(device: str, mode: str = "bridge", owner: str = "libvirt", **keys: Any) -> VIF:
    source = {"dev": device, "mode": mode}
    return VIF.from_json({"id": ID, "type": "direct", "mac": MAC, "source": source, "tap_owner": owner, **keys})


def given(device: str) -> VIF:
    source = {"bridge": "br-int", "given": True, "port_owner": "vifplug"}
    keys = {"source": source, "target": device, "tap_owner": "libvirt", "virtualport": {"type": "openvswitch"}}
    return VIF.from_json({"id": ID, "type": "bridge", "mac": MAC, **keys})


def whole(address: str) -> VIF:
    return VIF.from_json({"id": ID, "type": "hostdev", "mac": MAC, "source": {"address": address, "whole": True}})


@contextlib.contextmanager
def allowing(host: PrivateHost, names: str) -> Iterator[PrivateHost]:
    """Give the host a driver whose configuration allows these devices."""
    before, text = host.driver, host.config.read_text()
    host.config.write_text(text.replace("[vifplug]\n", f"[vifplug]\nallow_host_devices = {names}\n"))
    host.driver = host.new_driver()
    try:
        yield host
    finally:
        host.driver.close()
        host.driver = before
        host.config.write_text(text)


def refused(host: PrivateHost, vif: VIF) -> errors.VifplugError:
    """Return why a VIF cannot be plugged: can_plug, plan and plug say the same, and nothing is changed."""
    before, mac = host.links(), host.ip("link")
    found = host.driver.can_plug([vif])
    assert not found
    [(_, sentence)] = found
    for attempt in (host.driver.plan, host.driver.plug):
        with pytest.raises(errors.VifplugError) as caught:
            attempt(vif)
        assert str(caught.value) == sentence
    assert host.driver.list() == [] and host.links() == before and host.ip("link") == mac
    return caught.value


def accepted(host: PrivateHost, vif: VIF) -> None:
    """Plug a VIF, again, and away."""
    assert host.driver.can_plug([vif]), list(host.driver.can_plug([vif]))
    host.driver.plug(vif)
    assert not host.driver.plug(vif).changed, "its own macvtap or port keeps nobody from having the device"
    host.driver.unplug(vif.id)


SHARED, ALL = ("bridge", "vepa", "private"), ("bridge", "vepa", "private", "passthrough")


@pytest.mark.parametrize(
    ("device", "modes", "reason", "holder"),
    [
        ("ported", ALL, "is a port of bridge br0, which cannot have a macvtap", "bridge br0"),
        (
            "passed",
            ALL,
            "has macvtap mt0 in mode passthrough on it, which admits no",
            "macvtap mt0 in mode passthrough",
        ),
        ("shared", ("passthrough",), "has macvlan mv0 on it, which mode passthrough excludes", "macvlan mv0"),
        ("mv0", ("passthrough",), "has macvlan mv0 on it, which mode passthrough excludes", "macvlan mv0"),
        ("twin", SHARED, "has macvlan mv1 on it, with the MAC of the VIF", "macvlan mv1"),
        ("same", SHARED, "has the MAC of the VIF itself", "the device itself"),
        ("lo", ALL, "is a loopback device, which cannot have a macvtap", None),
    ],
)
@pytest.mark.parametrize("owner", ["vifplug", "libvirt"])
def test_a_macvtap_is_refused_where_the_kernel_would_refuse_it(
    site: PrivateHost, device: str, modes: tuple[str, ...], reason: str, holder: str | None, owner: str
) -> None:
    for mode in modes:
        error = refused(site, macvtap(device, mode, owner))
        assert str(error).startswith(f"device {device} {reason}") and ID in str(error)
        assert isinstance(error, errors.Conflict if holder else errors.HostNotReady)
        assert (error.holder, error.resource, error.vif_id) == (holder, f"device {device}", ID)


def test_the_kernels_answer_that_a_mac_is_in_use_says_what_to_do(site: PrivateHost) -> None:
    """A macvtap without a mark can be libvirt's own, so that only the kernel knows that this one is not."""
    site.ip("link", "add", "link", "spare", "name", "left", "address", MAC, "up", "type", "macvtap", "mode", "bridge")
    try:
        with pytest.raises(errors.Conflict, match=f"spare, or a macvlan or macvtap on it, has the MAC {MAC}: give the"):
            site.driver.plug(macvtap("spare", owner="vifplug"))
        assert site.driver.list() == []
    finally:
        site.ip("link", "delete", "left")


@pytest.mark.parametrize("owner", ["vifplug", "libvirt"])
def test_other_macvtaps_and_addresses_keep_nobody_from_a_shared_device(site: PrivateHost, owner: str) -> None:
    for mode in SHARED:
        for device in ("free", "shared", "addressed", "routed"):
            accepted(site, macvtap(device, mode, owner))
    accepted(site, macvtap("free", "passthrough", owner))


def test_libvirts_own_macvtap_is_no_obstacle(site: PrivateHost) -> None:
    """libvirt made it for the running guest: it has the guest's MAC, and no mark."""
    wanted, born = macvtap("spare", "passthrough"), mac(site, "spare")
    site.driver.plug(wanted)
    site.ip("link", "set", "spare", "address", MAC)
    site.ip("link", "add", "link", "spare", "name", "macvtap0", "type", "macvtap", "mode", "passthru")
    try:
        assert site.driver.can_plug([wanted]) and not site.driver.plug(wanted).changed
        site.driver.settle(ID)
        site.driver.unplug(ID)
        other = macvtap("spare", "passthrough", mac="52:54:00:00:00:77")
        assert "has macvtap macvtap0 in mode passthrough on it" in str(refused(site, other))
    finally:
        site.ip("link", "delete", "macvtap0")
        site.ip("link", "set", "spare", "address", born)


@pytest.mark.parametrize(
    ("device", "use"),
    [
        ("addressed", "address 192.0.2.1/24 and the default route"),
        ("addressed6", "address 2001:db8::1/64"),
        ("routed", "route 198.51.100.0/24"),
        ("uplink", "a port of Open vSwitch bridge br-ex"),
    ],
)
def test_the_hosts_own_devices_are_not_taken_unless_they_are_named(site: PrivateHost, device: str, use: str) -> None:
    vifs = [macvtap(device, "passthrough", owner) for owner in ("vifplug", "libvirt")]
    for vif in (*vifs, given(device)):
        error = refused(site, vif)
        assert str(error).startswith(f"device {device} {OWN}{use})"), error
        assert error.option == "[vifplug] allow_host_devices" and error.option in str(error)
    with allowing(site, f"mars, {device}") as allowed:
        for vif in vifs:
            accepted(allowed, vif)


def test_a_port_of_a_bridge_is_not_given_unless_it_is_named(site: PrivateHost) -> None:
    assert f"device ported {OWN}a port of bridge br0)" in str(refused(site, given("ported")))
    with allowing(site, "ported") as allowed:
        accepted(allowed, given("ported"))
        assert "which cannot have a macvtap" in str(refused(allowed, macvtap("ported", "passthrough")))
    accepted(site, given("free"))


def test_an_alternative_name_allows_the_device(site: PrivateHost) -> None:
    with allowing(site, "enp1s0f0np0") as allowed:
        for name in ("addressed", "enp1s0f0np0"):
            accepted(allowed, macvtap(name, "passthrough"))


@pytest.mark.skipif(not Path("/sys/bus/pci/devices/0000:00:00.0").exists(), reason="this machine has no PCI bus")
def test_a_function_that_is_no_nic_is_not_given_away(site: PrivateHost) -> None:
    bridge = "0000:00:00.0"
    expected = f"PCI function {bridge} {OWN}PCI class 0x060000, which is no network controller)"
    assert str(refused(site, whole(bridge))).startswith(expected)
    with allowing(site, "00:00.0") as allowed:
        assert allowed.driver.can_plug([whole(bridge)])


def test_a_pool_passes_over_the_devices_that_cannot_be_had(site: PrivateHost) -> None:
    listed = "".join(f"<interface dev='{each}'/>" for each in ("addressed", "passed", "free"))
    path = site.networks / "pool.xml"
    path.write_text(f"<network><name>pool</name><forward mode='passthrough'>{listed}</forward></network>")
    wanted = VIF.from_json({"id": ID, "type": "network", "mac": MAC, "source": {"network": "pool"}})
    try:
        assert site.driver.plug(wanted).actual.source.dev == "free"
        problems = {each.name: each.problem for each in site.driver.pool("pool")}
        assert problems["addressed"].startswith(OWN) and problems["passed"].startswith("has macvtap mt0")
        assert problems["free"] == ""
    finally:
        site.driver.unplug(ID)
        path.unlink()


def test_a_containers_macvlan_is_named_as_the_likely_reason(site: PrivateHost) -> None:
    """It is in another network namespace, so that only the kernel knows of it."""
    site.ip("link", "add", "link", "spare", "name", "inside0", "type", "macvlan")
    with netns.named() as [container]:
        site.ip("link", "set", "inside0", "netns", container)
        with pytest.raises(errors.Conflict, match="something uses spare, perhaps a macvlan or ipvlan of a container"):
            site.driver.plug(macvtap("spare", "passthrough", "vifplug"))
    assert site.driver.list() == []
