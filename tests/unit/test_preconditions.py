"""Preconditions: what has to exist and to be true before the first step, in one list."""

from __future__ import annotations

import pytest

from vifplug.errors import HostNotReady, KernelLacks, Missing, VifplugError
from vifplug.plan import preconditions
from vifplug.plan.registry import (
    BridgePort,
    BridgeVlan,
    LinuxBridge,
    LowerDevice,
    Macvtap,
    Resource,
    SharedBridge,
    Tap,
    VlanLink,
)
from vifplug.plan.steps import Observed

VIF = "0a1b2c3d-1111-4222-8333-444455556666"
TAP = Tap(name="tap0", owner=VIF)
PORT = BridgePort(name="tap0", owner=VIF, bridge="br0")
VLANS = PORT.replace(vlans=(BridgeVlan(id=10, pvid=True, untagged=True),))
BRIDGE = LowerDevice(name="br0", owner=VIF, up=None, link_kind="bridge")
ENSURED = SharedBridge(name="br0", owner=VIF)


def unmet(*desired: Resource, found: tuple[Resource, ...] = ()) -> list[VifplugError]:
    return list(preconditions.unmet(desired, {each.identity: Observed(resource=each) for each in found}))


def test_what_is_desired_already_is_not_observed_twice() -> None:
    assert preconditions.required([BRIDGE, TAP, PORT]) == []
    assert preconditions.required([TAP, PORT, PORT.replace(name="tap1")]) == [BRIDGE]


def test_a_missing_bridge_is_one_reason_however_many_resources_need_it() -> None:
    [error] = unmet(BRIDGE, TAP, PORT)
    assert isinstance(error, Missing)
    assert str(error) == (
        f"bridge br0 does not exist on this host, and VIF {VIF} needs it: create it, or correct the VIF's source"
    )
    sentences = [str(each) for each in preconditions.reasons([BRIDGE, TAP, PORT], {})]
    assert sentences == [str(error)] * 2


@pytest.mark.parametrize("bridge", [ENSURED, LinuxBridge(name="br0", owner=VIF)], ids=str)
def test_what_the_plan_makes_need_not_exist(bridge: Resource) -> None:
    assert unmet(bridge, TAP, PORT) == []


@pytest.mark.parametrize(
    ("filters", "error", "hint"),
    [
        (None, KernelLacks, "this kernel has no bridge VLAN filtering"),
        (False, HostNotReady, "ip link set dev br0 type bridge vlan_filtering 1"),
    ],
)
def test_vlans_need_a_bridge_that_filters_them(filters: bool | None, error: type[VifplugError], hint: str) -> None:
    [found] = unmet(BRIDGE, TAP, VLANS, found=(BRIDGE.replace(vlan_filtering=filters),))
    assert type(found) is error and hint in str(found)
    assert unmet(BRIDGE, TAP, PORT, found=(BRIDGE.replace(vlan_filtering=filters),)) == []
    assert unmet(BRIDGE, TAP, VLANS, found=(BRIDGE.replace(vlan_filtering=True),)) == []


def test_a_bridge_that_the_plan_makes_filters_no_vlans() -> None:
    [error] = unmet(ENSURED, TAP, VLANS)
    assert "ip link add br0 type bridge vlan_filtering 1" in str(error)


def test_the_device_below_has_to_exist() -> None:
    [error] = unmet(Macvtap(name="mv0", owner=VIF, lower="eth0"))
    assert "device eth0 does not exist on this host" in str(error)
    [error] = unmet(VlanLink(name="eth0.5", owner=VIF, physical="eth0", vlan=5), Macvtap(name="mv0", lower="eth0.5"))
    assert "device eth0 does not exist on this host" in str(error)
