"""PCI functions, VFs and representors, in trees of real files as /sys has them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vifplug import errors
from vifplug.host.sriov.sysfs import NetdevInfo, PhysicalFunction, Sysfs, representor_of_vf, uplink_of

SWITCH = "b8599f0300aa"
PF, OTHER_PF = "0000:81:00.0", "0000:81:00.1"


def port(name: str, port_name: str, switch: str = SWITCH) -> NetdevInfo:
    return NetdevInfo(name=name, phys_switch_id=switch, phys_port_name=port_name)


class Tree:
    """A /sys with PCI functions and netdevs, made of directories, files and links as the kernel has them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bus/pci/devices").mkdir(parents=True)
        (root / "class/net").mkdir(parents=True)

    def function(self, address: str, **files: object) -> Path:
        real = self.root / "devices/pci0000:80" / address
        real.mkdir(parents=True)
        (self.root / "bus/pci/devices" / address).symlink_to(real)
        for name, content in files.items():
            (real / name).write_text(f"{content}\n")
        return real

    def vf(self, pf: str, number: int, address: str) -> Path:
        real = self.function(address)
        physical = (self.root / "bus/pci/devices" / pf).resolve()
        (real / "physfn").symlink_to(physical)
        (physical / f"virtfn{number}").symlink_to(real)
        return real

    def netdev(self, name: str, function: str | None = None, **files: str) -> None:
        base = (self.root / "bus/pci/devices" / function).resolve() if function else self.root / "devices/virtual"
        real = base / "net" / name
        real.mkdir(parents=True)
        (self.root / "class/net" / name).symlink_to(real)
        if function:
            (real / "device").symlink_to(base)
        for key, content in files.items():
            (real / key).write_text(f"{content}\n")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    tree.function(PF, sriov_totalvfs=8, sriov_numvfs=2)
    tree.vf(PF, 0, "0000:81:02.0")
    tree.vf(PF, 11, "0000:81:03.3")
    tree.function("0000:00:1f.6")
    return tree


def test_a_vf_in_legacy_mode(tree: Tree) -> None:
    tree.netdev("ens1f0", PF)
    tree.netdev("ens1f0v11", "0000:81:03.3")
    facts = Sysfs(tree.root).virtual_function("0000:81:03.3")
    assert (facts.pf, facts.number, facts.device, facts.representor) == ("ens1f0", 11, "ens1f0v11", None)


def test_a_vf_that_is_bound_to_vfio_has_no_netdev(tree: Tree) -> None:
    tree.netdev("ens1f0", PF)
    assert Sysfs(tree.root).virtual_function("0000:81:02.0").device is None


@pytest.mark.parametrize("beside", [PF, None], ids=["under the PF", "elsewhere"])
def test_a_vf_with_a_representor(tree: Tree, beside: str | None) -> None:
    """Representors share the PF's PCI device, and sort before it here: the uplink is told by its port's name."""
    tree.netdev("ens1f0", PF, phys_switch_id=SWITCH, phys_port_name="p0")
    for number in (0, 1, 11):
        tree.netdev(f"a{number}", beside, phys_switch_id=SWITCH, phys_port_name=f"pf0vf{number}")
    tree.netdev("b0", None, phys_switch_id=SWITCH, phys_port_name="c1pf0vf11")
    facts = Sysfs(tree.root).virtual_function("0000:81:03.3")
    assert (facts.pf, facts.number, facts.representor) == ("ens1f0", 11, "a11")


def test_a_vf_is_found_by_its_netdev(tree: Tree) -> None:
    tree.netdev("ens1f0", PF)
    tree.netdev("ens1f0v0", "0000:81:02.0")
    tree.netdev("br0")
    assert Sysfs(tree.root).function_of("ens1f0v0") == "0000:81:02.0"
    for other in ("ens1f0", "br0", "absent"):
        assert Sysfs(tree.root).function_of(other) is None


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("0000:99:00.0", "no PCI device exists"),
        ("0000:00:1f.6", "expected a virtual function"),
        ("0000:81:02.0", "bind the function to its network driver"),
    ],
)
def test_what_is_no_usable_vf_is_told(tree: Tree, address: str, message: str) -> None:
    with pytest.raises(errors.Missing, match=f"{address}.*{message}"):
        Sysfs(tree.root).virtual_function(address)


def test_functions_that_can_have_vfs_are_listed(tree: Tree) -> None:
    tree.netdev("ens1f0", PF)
    expected = PhysicalFunction(address=PF, devices=("ens1f0",), total_vfs=8, vfs=2)
    assert Sysfs(tree.root).physical_functions() == [expected]


def test_a_machine_without_pci_has_none(tmp_path: Path) -> None:
    assert Sysfs(tmp_path).physical_functions() == []


@pytest.mark.parametrize("content", ["", "many", "-1", "9" * 99, "\N{ARABIC-INDIC DIGIT THREE}", "\x1b[2J"])
def test_an_attribute_that_is_no_number_counts_as_none(tree: Tree, content: str) -> None:
    for name in ("sriov_totalvfs", "sriov_numvfs"):
        (tree.root / "bus/pci/devices" / PF / name).write_text(content)
    [found] = Sysfs(tree.root).physical_functions()
    assert (found.total_vfs, found.vfs) == (0, 0)


def test_a_port_name_of_another_kind_is_no_representor(tree: Tree) -> None:
    tree.netdev("ens1f0", PF, phys_switch_id=SWITCH, phys_port_name="p0")
    tree.netdev("long", PF, phys_switch_id=SWITCH, phys_port_name="pf0vf" + "9" * 5000)
    tree.netdev("odd", PF, phys_switch_id=SWITCH)
    (tree.root / "class/net/odd/phys_port_name").write_bytes(b"pf0vf0\xff")
    assert Sysfs(tree.root).virtual_function("0000:81:02.0").representor is None


def test_what_is_removed_while_it_is_read_is_not_there(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by `echo 0 > sriov_numvfs` on another terminal: the directory is listed, and then it is gone."""
    tree.netdev("ens1f0", PF)
    (tree.root / "bus/pci/devices" / PF / "virtfnX").symlink_to("nowhere")
    assert [address for address, _ in Sysfs(tree.root).functions_of("ens1f0")] == ["0000:81:02.0", "0000:81:03.3"]

    def gone(path: object = ".") -> list[str]:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(os, "listdir", gone)
    monkeypatch.setattr(os, "scandir", gone)
    assert Sysfs(tree.root).devices_of(PF) == Sysfs(tree.root).functions_of("ens1f0") == []
    assert Sysfs(tree.root).physical_functions() == []
    with pytest.raises(errors.Missing):
        Sysfs(tree.root).virtual_function("0000:81:02.0")


def test_this_machine_can_be_asked() -> None:
    assert Sysfs().function_of("lo") is None
    assert isinstance(Sysfs().physical_functions(), list)


@pytest.mark.parametrize(
    ("port_name", "is_it"),
    [
        ("pf0vf3", True),
        ("PF0VF3", True),
        ("3", True),
        ("vf3@pf0", True),
        ("VF3@PF0", True),
        ("pf1vf3", False),
        ("vf3@pf1", False),
        ("pf0vf33", False),
        ("pf0vf", False),
        ("xpf0vf3", False),
        ("c1pf0vf3", False),
        ("pf0sf3", False),
        ("p3", False),
        ("33", False),
        ("", False),
    ],
)
def test_the_forms_of_a_representors_port_name(port_name: str, is_it: bool) -> None:
    found = representor_of_vf(0, 3, SWITCH, [port("uplink", "p0"), port("x", port_name)])
    assert found == ("x" if is_it else None)


def test_a_representor_of_another_switch_is_none_of_ours() -> None:
    assert representor_of_vf(0, 3, SWITCH, [port("ens1f0", "p0"), port("other", "pf0vf3", "ffff")]) is None
    assert representor_of_vf(0, 3, "", [port("other", "pf0vf3", "")]) is None


def test_the_right_one_of_two_pfs_on_one_switch() -> None:
    netdevs = [port("ens1f0", "p0"), port("ens1f1", "p1"), port("x", "VF2@PF0"), port("y", "vf2@pf1")]
    assert representor_of_vf(1, 2, SWITCH, netdevs) == "y"


def test_two_that_claim_to_be_it_are_an_error_that_names_both() -> None:
    for netdevs in ([port("a", "pf0vf3"), port("b", "vf3@pf0")], [port("a", "3"), port("b", "pf0vf3")]):
        with pytest.raises(errors.Conflict, match=r"a, b"):
            representor_of_vf(0, 3, SWITCH, netdevs)
    with pytest.raises(errors.Conflict, match=r"a, b"):
        representor_of_vf(None, 3, SWITCH, [port("a", "pf0vf3"), port("b", "pf1vf3")])


@given(pf=st.integers(0, 7), vf=st.integers(0, 255), others=st.sets(st.tuples(st.integers(0, 7), st.integers(0, 255))))
def test_only_the_vf_itself_is_found_among_any_others(pf: int, vf: int, others: set[tuple[int, int]]) -> None:
    netdevs = [port(f"r{p}-{v}", f"pf{p}vf{v}") for p, v in sorted(others - {(pf, vf)})]
    assert representor_of_vf(pf, vf, SWITCH, netdevs) is None
    assert representor_of_vf(pf, vf, SWITCH, [*netdevs, port("it", f"pf{pf}vf{vf}")]) == "it"


def test_the_uplink_is_the_port_that_is_called_p() -> None:
    assert uplink_of([port("a", "pf0vf0"), port("ens1f0", "p0")]) == "ens1f0"
    assert uplink_of([port("a", "pf0vf0"), port("b", "pf0vf1")]) == "a"
    assert uplink_of([port("legacy", "", ""), port("b", "pf0vf1")]) == "b"
    assert uplink_of([port("legacy", "", "")]) is None
    assert uplink_of([]) is None


def test_where_a_vf_hangs_is_known_without_a_netdev(tree: Tree) -> None:
    """Of a physical function that DPDK has taken from the kernel."""
    assert Sysfs(tree.root).physical_function("0000:81:03.3") == (PF, 11)
    with pytest.raises(errors.Missing, match="got another PCI device"):
        Sysfs(tree.root).physical_function("0000:00:1f.6")
