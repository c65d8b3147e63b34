"""The way of VIFs on functions, which few machines have; that of the others is looked at on a real host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vifplug import VIF
from vifplug.driver.explanation import explain
from vifplug.plan.registry import LowerDevice, OvsBridge, OvsPort, PciFunction, Resource, VirtualFunction
from vifplug.plan.resource import Difference
from vifplug.testing.memory import MemoryBackend, MemoryHost

ADDRESS, ID = "0000:81:02.3", "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
FUNCTION = VirtualFunction(name=ADDRESS, owner=ID, pf="ens1", number=3)
SWITCHED = [
    *(FUNCTION, OvsBridge(name="br-int", owner=ID), LowerDevice(name="rep3", owner=ID)),
    OvsPort(name="rep3", owner=ID, bridge="br-int"),
]
LINK_DOWN = Difference(ID, "device ens1 state", "up", "down")
GONE = Difference(ID, f"pci-function {ADDRESS}", "present", None)


@pytest.mark.parametrize(
    ("resources", "differences", "expected"),
    [
        ([FUNCTION], [], [f"function {ADDRESS} ok", "uplink ens1 ok"]),
        ([FUNCTION], [LINK_DOWN], [f"function {ADDRESS} ok", "uplink ens1 wrong"]),
        ([PciFunction(name=ADDRESS, owner=ID)], [GONE], [f"function {ADDRESS} wrong"]),
        (
            SWITCHED,
            [Difference(ID, "lower-device rep3: up", True, False), Difference(ID, "state", "plugged", "updating")],
            [
                *(f"function {ADDRESS} ok", "device rep3 wrong", "port rep3 ok", "vlan rep3 ok", "bridge br-int ok"),
                *("uplink ens1 ok", "state  wrong"),
            ],
        ),
    ],
    ids=["a VF", "a PF that is down", "a function that is gone", "a VF with a representor"],
)
def test_the_way_of_a_function(resources: list[Resource], differences: list[Difference], expected: list[str]) -> None:
    backend = MemoryBackend()
    for each in resources:
        backend.place(each)
    actual = VIF.from_data({"id": ID, "type": "hostdev", "mac": "52:54:00:12:34:56", "source": {"address": ADDRESS}})
    stored: Any = SimpleNamespace(id=ID, resources=resources, actual=actual)
    hops = explain(stored, MemoryHost(backend), differences)
    assert [f"{each.hop} {each.name} {each.state}" for each in hops] == expected
    assert all(each.detail for each in hops)
