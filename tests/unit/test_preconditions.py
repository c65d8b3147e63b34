"""Preconditions: what has to exist and to be true before the first step, in one list."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NoReturn

import pytest

from vifplug.errors import Conflict, HostNotReady, KernelLacks, Missing, VifplugError
from vifplug.plan import registry
from vifplug.plan.condition import Condition, Uplink
from vifplug.plan.preconditions import Preconditions
from vifplug.plan.registry import (
    BridgePort,
    BridgeVlan,
    LinuxBridge,
    LowerDevice,
    Macvtap,
    OvsBridge,
    OvsPort,
    PciFunction,
    Resource,
    SharedBridge,
    Tap,
    VirtualFunction,
    VlanLink,
)
from vifplug.plan.steps import Observation, Observed
from vifplug.plan.uses import Use

VIF = "0a1b2c3d-1111-4222-8333-444455556666"
TAP = Tap(name="tap0", owner=VIF)
PORT = BridgePort(name="tap0", owner=VIF, bridge="br0")
VLANS = PORT.replace(vlans=(BridgeVlan(id=10, pvid=True, untagged=True),))
BRIDGE = LowerDevice(name="br0", owner=VIF, up=None, link_kind="bridge")
ENSURED = SharedBridge(name="br0", owner=VIF)


def unmet(*desired: Resource, found: tuple[Resource, ...] = ()) -> list[VifplugError]:
    return refused(desired, {each.identity: Observed(resource=each) for each in found})


def refused(desired: Sequence[Resource], observed: Observation) -> list[VifplugError]:
    needs = Preconditions(desired)
    return [*needs.unmet(observed), *needs.objections(observed)]


def test_what_is_desired_already_is_not_observed_twice() -> None:
    assert Preconditions([BRIDGE, TAP, PORT]).required == []
    assert Preconditions([TAP, PORT, PORT.replace(name="tap1")]).required == [BRIDGE]


def test_a_missing_bridge_is_one_reason_however_many_resources_need_it() -> None:
    [error] = unmet(BRIDGE, TAP, PORT)
    assert isinstance(error, Missing)
    assert str(error) == (
        f"bridge br0 does not exist on this host, and VIF {VIF} needs it: create it, or correct the VIF's source"
    )
    sentences = [str(each) for each in Preconditions([BRIDGE, TAP, PORT]).reasons({})]
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


# -- what else uses a device --------------------------------------------------------------------------------------

LOWER = LowerDevice(name="eth0", owner=VIF, taking="passthrough", guest_mac="52:54:00:00:00:01")
PORT_OF = Use(kind="port", by="bond bond0")
ALONE = Use(kind="alone", by="ipvlan ip0")
BESIDE = Use(kind="beside", by="macvtap macvtap3")
HOST = Use(kind="host", by="address 192.0.2.1/24")
LOOPBACK = Use(kind="not Ethernet", by="a loopback device")


@pytest.mark.parametrize(
    ("taking", "uses", "reasons"),
    [
        ("macvtap", (HOST, BESIDE), []),
        ("macvtap", (PORT_OF, ALONE), ["is a port of bond bond0", "has ipvlan ip0 on it"]),
        ("macvtap", (LOOPBACK,), ["is a loopback device"]),
        ("passthrough", (BESIDE, HOST), ["has macvtap macvtap3 on it, which mode passthrough excludes"]),
        ("passthrough", (HOST,), ["is the host's own (address 192.0.2.1/24)"]),
        ("port", (PORT_OF, HOST), ["is the host's own (a port of bond bond0 and address 192.0.2.1/24)"]),
        ("function", (BESIDE, LOOPBACK), ["is the host's own (macvtap macvtap3 on it)"]),
        (None, (PORT_OF, HOST), []),
    ],
)
def test_what_else_uses_a_device_keeps_a_vif_from_it(taking: Any, uses: tuple[Use, ...], reasons: list[str]) -> None:
    lower = LOWER.replace(taking=taking)
    found = refused([lower], {lower.identity: Observed(resource=lower, uses=uses)})
    assert len(found) == len(reasons)
    for error, reason in zip(found, reasons, strict=True):
        assert str(error).startswith(f"device eth0 {reason}")
        assert isinstance(error, Conflict) is (uses != (LOOPBACK,)) and error.vif_id == VIF
        assert (error.option is not None) is ("the host's own" in reason)


def test_a_record_does_not_keep_what_is_asked_before_the_first_step() -> None:
    for each in (LOWER, PciFunction(name="0000:81:02.3", owner=VIF, taking="function")):
        [read] = registry.from_json(registry.to_json([each]))
        assert read == each and not {"taking", "guest_mac"} & read.to_data().keys()


# -- the bridge ---------------------------------------------------------------------------------------------------


def bridge_with(*uplinks: Uplink, up: bool = True, accept_ra: int = 0) -> dict[tuple[str, str], Observed]:
    condition = Condition(up=up, accept_ra=accept_ra, uplinks=uplinks)
    return {BRIDGE.identity: Observed(resource=BRIDGE, condition=condition)}


NIC = Uplink(name="eth0", mtu=1500, passing=True)
DOWN = Uplink(name="eth1", mtu=9000, passing=False)
CONTAINER = Uplink(name="veth0", mtu=1500, passing=True, veth=True)


@pytest.mark.parametrize(
    ("observed", "paths"),
    [
        (bridge_with(), []),
        (bridge_with(NIC, DOWN, CONTAINER), []),
        (bridge_with(DOWN, CONTAINER), ["device eth1 state"]),
        (bridge_with(CONTAINER), []),
        (bridge_with(up=False, accept_ra=1), ["bridge br0 state", "bridge br0 accept_ra"]),
    ],
)
@pytest.mark.parametrize("port", [True, False], ids=["as required", "as desired"])
def test_a_bridge_that_will_not_work_well_is_told(
    observed: dict[tuple[str, str], Observed], paths: list[str], port: bool
) -> None:
    desired = [TAP, PORT] if port else [BRIDGE]
    found = [*Preconditions(desired).drift(observed), *(each for one in desired for each in one.drift(observed))]
    assert [each.path for each in found] == paths
    assert len(Preconditions(desired).warnings(observed)) == len(paths)


def test_a_vlan_device_without_a_carrier_is_told() -> None:
    tagged = VlanLink(name="up0.7", owner=VIF, physical="up0", vlan=7)
    seen = {(LowerDevice.kind, "up0.7"): Observed(resource=None, condition=Condition(up=True, carrier=False))}
    assert [each.path for each in Preconditions([tagged]).drift(seen)] == ["device up0.7 carrier"]


@pytest.mark.parametrize(
    ("pf", "link_state", "paths"),
    [
        (Condition(up=True), None, []),
        (Condition(up=False, carrier=False), "enable", ["device ens1 state"]),
        (Condition(up=True, carrier=False), "auto", ["device ens1 carrier"]),
        (Condition(up=True, carrier=False), "enable", []),
    ],
)
def test_a_vf_whose_pf_passes_nothing_is_told(pf: Condition, link_state: Any, paths: list[str]) -> None:
    desired = VirtualFunction(name="0000:81:02.3", owner=VIF, pf="ens1", number=3, link_state=link_state)
    assert [each.path for each in desired.drift({desired.identity: Observed(resource=desired, condition=pf)})] == paths


def test_the_local_port_of_open_vswitch_is_told_of_while_it_is_up() -> None:
    bridge = OvsBridge(name="br-int", ensure=True)
    [local] = Preconditions([bridge]).required
    for up, count in ((True, 1), (False, 0)):
        seen = {local.identity: Observed(resource=local, condition=Condition(up=up, accept_ra=1))}
        assert len(Preconditions([bridge]).warnings(seen)) == count
        assert len(list(Preconditions([bridge]).drift(seen))) == count


def test_the_uplinks_have_to_carry_the_mtu() -> None:
    wide = BRIDGE.replace(carries=9000)
    [error] = refused([wide, PORT], bridge_with(NIC, DOWN))
    assert str(error).startswith(
        f"VIF {VIF} requests an MTU of 9000, and a device that leads out of bridge br0 has 1500 (eth0): lower"
    )
    assert refused([wide], bridge_with(DOWN)) == []
    [ensured] = refused([ENSURED.replace(carries=1501), PORT], bridge_with(NIC))
    assert "an MTU of 1501" in str(ensured)


class Uncopied(Collection[str]):
    """The names that a plan for thousands of VIFs makes: what each of them copies takes time with their square."""

    def __len__(self) -> int:
        return 2

    def __contains__(self, name: object) -> bool:
        return name in ("tap0", "br0")

    def __iter__(self) -> NoReturn:
        raise AssertionError("the names that all VIFs of the plan make were copied, or searched")


def test_what_the_others_of_a_plan_make_is_only_looked_up() -> None:
    needs = Preconditions([TAP, PORT, VLANS, ENSURED, OvsPort(name="tap0", owner=VIF, bridge="br0")])
    assert list(needs.objections({}, Uncopied())) == []
