"""The devices of pools: network devices as the machine has them, virtual functions in trees as /sys has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.test_sysfs import PF, Tree
from vifplug.host.sriov import pools
from vifplug.host.sriov.sysfs import Sysfs
from vifplug.model.network import Network
from vifplug.plan.facts import PoolDeviceFacts
from vifplug.plan.registry import LowerDevice
from vifplug.testing.memory import MemoryBackend

FIRST, TWELFTH = "0000:81:02.0", "0000:81:03.3"

GONE = "does not exist on this host"

Members = Callable[..., list[PoolDeviceFacts]]


@pytest.fixture
def memory() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A PF with two VFs, of which the first has no network device."""
    tree = Tree(tmp_path)
    tree.function(PF, sriov_totalvfs=16, sriov_numvfs=2)
    tree.netdev("ens1f0", PF)
    tree.vf(PF, 11, TWELFTH)
    tree.vf(PF, 0, FIRST)
    tree.netdev("ens1f0v11", TWELFTH)
    tree.function("0000:00:1f.6")
    return tree


@pytest.fixture
def members(memory: MemoryBackend, tree: Tree) -> Members:
    def found(**keys: object) -> list[PoolDeviceFacts]:
        network, sysfs = Network.from_data({"name": "n", **keys}), Sysfs(tree.root)
        return [
            replace(each, problem=each.problem or pools.problem(network, each.name, memory.observe, sysfs))  # type: ignore[arg-type]
            for each in pools.members(network, sysfs)
        ]

    return found


def test_devices_that_are_there_and_up_can_be_used_and_others_say_why_not(
    members: Members, memory: MemoryBackend
) -> None:
    memory.place(LowerDevice(name="e0"))
    memory.place(LowerDevice(name="e1", up=False))
    found = members(mode="vepa", devices=["e2", "e1", "e0"])
    assert [(each.name, each.problem) for each in found] == [
        ("e2", "does not exist on this host"),
        ("e1", "is down"),
        ("e0", ""),
    ]
    assert found[2].names == ("device e0",)


def test_a_device_that_is_a_virtual_function_is_known_by_both_names(members: Members, memory: MemoryBackend) -> None:
    memory.place(LowerDevice(name="ens1f0v11"))
    [found] = members(mode="passthrough", devices=["ens1f0v11"])
    assert found.names == ("device ens1f0v11", f"VF {TWELFTH}")


def test_the_pool_of_a_pf_is_its_functions_by_number(members: Members, memory: MemoryBackend) -> None:
    """Their own devices need not be up: drivers leave those of new VFs down."""
    memory.place(LowerDevice(name="ens1f0"))
    first, twelfth = members(mode="passthrough", pf="ens1f0")
    assert (first.name, first.problem) == (FIRST, "has no network device: a guest or vfio uses the function")
    assert twelfth == PoolDeviceFacts(name="ens1f0v11", names=("device ens1f0v11", f"VF {TWELFTH}"))
    assert [(each.name, each.problem) for each in members(mode="hostdev", pf="ens1f0")] == [(FIRST, ""), (TWELFTH, "")]
    assert members(mode="hostdev", pf="ens1f0")[1].names == twelfth.names


def test_without_its_pf_a_pool_has_nothing_to_give(members: Members, memory: MemoryBackend, tree: Tree) -> None:
    [none] = members(mode="hostdev", pf="eno9")
    assert (none.name, none.problem[:24]) == ("eno9", "has no virtual functions")
    message = "cannot be used (its physical function ens1f0 {})"
    assert [each.problem for each in members(mode="hostdev", pf="ens1f0")] == [
        message.format("does not exist on this host")
    ] * 2
    memory.place(LowerDevice(name="ens1f0", up=False))
    assert [each.problem for each in members(mode="hostdev", pf="ens1f0")] == [message.format("is down")] * 2
    assert ["ens1f0 is down" in each.problem for each in members(mode="hostdev", addresses=[FIRST])] == [True]
    tree.netdev("eno1", "0000:00:1f.6")
    memory.place(LowerDevice(name="eno1"))
    [none] = members(mode="passthrough", pf="eno1")
    assert none.problem == "has no virtual functions: write their number to its sriov_numvfs"


def test_functions_by_address(members: Members, memory: MemoryBackend) -> None:
    memory.place(LowerDevice(name="ens1f0"))
    found = members(mode="hostdev", addresses=[TWELFTH, FIRST, "0000:99:00.0", "0000:00:1f.6"])
    assert [each.name for each in found[:2] if not each.problem] == [TWELFTH, FIRST]
    assert found[0].names == ("device ens1f0v11", f"VF {TWELFTH}") and found[1].names == (f"VF {FIRST}",)
    assert "no PCI device exists at that address" in found[2].problem and "got another PCI device" in found[3].problem
