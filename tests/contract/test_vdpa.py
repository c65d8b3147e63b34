"""vdpa devices, in trees of real files as /sys has them and in answers as the kernel's vdpa family gives them.

Most kernels have no vdpa device to look at, so the answers are made byte by byte after linux/vdpa.h, and stand in for
the family in the tests of the backend. tests/kernel has the real ones.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vifplug import errors
from vifplug.host.netlink.attributes import attribute_list
from vifplug.host.netlink.generic import Genetlink, number
from vifplug.host.netlink.socket import NetlinkRefused
from vifplug.host.vdpa import VdpaBackend, VdpaInfo, VdpaNetlink, VdpaSysfs, look_up, parsed
from vifplug.plan.kinds.vdpa import VdpaDevice, VdpaFacts
from vifplug.plan.steps import Observed, Step, differences, originals, removal, steps_toward

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"
PF, VF = "0000:81:00.0", "0000:81:02.3"
MAC = "52:54:00:11:22:99"


class Tree:
    """A /sys with a vdpa bus, as the kernel has it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bus/vdpa/devices").mkdir(parents=True)
        pci = root / "devices/pci0000:80/0000:80:01.0"
        (pci / PF).mkdir(parents=True)
        (pci / VF).mkdir()
        (pci / VF / "physfn").symlink_to(pci / PF)

    def device(self, name: str, parent: str, driver: str = "", character: str = "") -> None:
        real = self.root / "devices" / parent / name
        real.mkdir(parents=True)
        (self.root / "bus/vdpa/devices" / name).symlink_to(real)
        if driver:
            place = self.root / "bus/vdpa/drivers" / driver
            place.mkdir(parents=True, exist_ok=True)
            (real / "driver").symlink_to(place)
        if character:
            (real / character).mkdir()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    tree.device("vdpa0", f"pci0000:80/0000:80:01.0/{VF}", "vhost_vdpa", "vhost-vdpa-3")
    tree.device("sf0", f"pci0000:80/0000:80:01.0/{PF}/mlx5_core.sf.2", "vhost_vdpa", "vhost-vdpa-30")
    tree.device("sf1", f"pci0000:80/0000:80:01.0/{PF}/mlx5_core.sf.3", "vhost_vdpa", "vhost-vdpa-4")
    tree.device("sim0", "vdpasim_net", "virtio_vdpa")
    tree.device("idle", "vdpasim_net")
    return tree


FOUND = VdpaFacts(name="vdpa0", device="/dev/vhost-vdpa-3", driver="vhost_vdpa", function=VF, virtual=True)


@pytest.mark.parametrize("key", ["vdpa0", "/dev/vhost-vdpa-3", VF])
def test_a_device_is_found_by_each_of_its_names(tree: Tree, key: str) -> None:
    assert VdpaSysfs(tree.root).find(key) == FOUND


def test_a_device_on_a_subfunction_is_on_the_physical_function_that_has_it(tree: Tree) -> None:
    found = VdpaSysfs(tree.root).find("/dev/vhost-vdpa-30")
    assert (found.name, found.function, found.virtual) == ("sf0", PF, False)


def test_all_are_listed_by_name(tree: Tree) -> None:
    found = VdpaSysfs(tree.root).all()
    assert [(each.name, each.driver, each.function) for each in found] == [
        ("idle", "", None),
        ("sf0", "vhost_vdpa", PF),
        ("sf1", "vhost_vdpa", PF),
        ("sim0", "virtio_vdpa", None),
        ("vdpa0", "vhost_vdpa", VF),
    ]


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        ("vdpa7", errors.Missing, "vdpa device vdpa7: does not exist"),
        ("../../pci", errors.Missing, "does not exist"),
        ("", errors.Missing, "does not exist"),
        ("/dev/vhost-vdpa-9", errors.Missing, "/dev/vhost-vdpa-9: expected a vdpa device that is bound to vhost_vdpa"),
        ("0000:99:00.1", errors.Missing, "create one: vdpa dev add name NAME mgmtdev pci/0000:99:00.1"),
        (PF, errors.Conflict, "expected one vdpa device on it, got sf0, sf1; give its name"),
        (
            "sim0",
            errors.HostNotReady,
            "expected it bound to vhost_vdpa, got virtio_vdpa; bind it: modprobe vhost_vdpa; "
            "echo sim0 > /sys/bus/vdpa/devices/sim0/driver/unbind; echo sim0 > /sys/bus/vdpa/drivers/vhost_vdpa/bind",
        ),
        (
            "idle",
            errors.HostNotReady,
            "got no driver; bind it: modprobe vhost_vdpa; echo idle > /sys/bus/vdpa/drivers/vhost_vdpa/bind",
        ),
    ],
)
def test_what_no_guest_can_have_is_told(tree: Tree, key: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        VdpaSysfs(tree.root).find(key)
    assert message in str(raised.value)


def test_a_machine_without_vdpa_has_none(tmp_path: Path) -> None:
    assert VdpaSysfs(tmp_path).all() == []
    with pytest.raises(errors.Missing, match="does not exist"):
        VdpaSysfs(tmp_path).find("vdpa0")


def test_this_machine_can_be_asked() -> None:
    with pytest.raises(errors.Missing, match="vdpa device no-such-device: does not exist"):
        look_up("no-such-device")


# -- the vdpa family ----------------------------------------------------------------------------------------------


def packed(attributes: Mapping[int, bytes]) -> dict[int, bytes]:
    """Attributes as they come from the kernel: padded, and read again."""
    rows = (struct.pack("=HH", 4 + len(value), kind) + value for kind, value in attributes.items())
    return dict(attribute_list(b"".join(row + b"\0" * (-len(row) % 4) for row in rows)))


#: linux/vdpa.h: DEV_NAME 4, DEV_ID 5, VENDOR_ID 6, MAX_VQS 7, MAX_VQ_SIZE 8; NET_CFG: MACADDR 10, STATUS 11, MAX_VQP 12
DEVICE = {4: b"vdpa0\0", 5: struct.pack("=I", 1), 6: bytes(4), 7: struct.pack("=I", 33), 8: struct.pack("=H", 256)}
CONFIG = {4: b"vdpa0\0", 5: struct.pack("=I", 1), 10: bytes.fromhex("525400112299"), 11: struct.pack("=H", 1)}


@pytest.mark.parametrize(
    ("config", "mac", "queues"),
    [
        (CONFIG, MAC, 16),
        ({**CONFIG, 12: struct.pack("=H", 8)}, MAC, 8),
        ({**CONFIG, 10: bytes(6)}, None, 16),
        ({4: b"vdpa0\0"}, None, 16),
    ],
    ids=["33 virtqueues", "8 pairs", "no MAC", "nothing said"],
)
def test_what_the_kernel_tells_of_a_device(config: dict[int, bytes], mac: str | None, queues: int) -> None:
    assert parsed(packed(DEVICE), packed(config)) == VdpaInfo(virtio_id=1, mac=mac, queues=queues)


def test_a_family_of_this_kernel_is_asked() -> None:
    """The controller of generic netlink is a family itself, of number 16 (GENL_ID_CTRL), and has such an attribute."""
    family = Genetlink("nlctrl")
    try:
        answer = family.ask(3, {2: "nlctrl"})
        assert (number(answer[1]), answer[2]) == (16, b"nlctrl\0")
        with pytest.raises(NetlinkRefused) as refused:
            family.ask(3, {2: "no-such-family"})
        assert refused.value.code == errno.ENOENT
    finally:
        family.close()


def test_a_kernel_without_the_family_says_so(namespace: None) -> None:
    """Whatever this kernel has: in a namespace that is not the first the vdpa family is not there."""
    with pytest.raises(errors.KernelLacks, match=r"netlink family vdpa: .* in this network namespace"):
        VdpaNetlink().info("vdpa0")


# -- the backend --------------------------------------------------------------------------------------------------

NIC = VdpaInfo(virtio_id=1, mac=MAC, queues=4)
WANTED = VdpaDevice(name="vdpa0", owner=OWNER, device="/dev/vhost-vdpa-3", mac=MAC, function=VF)


@dataclass
class Family(VdpaNetlink):
    """Stands in for the kernel's family, which a kernel without vdpa devices does not have."""

    known: dict[str, VdpaInfo] = field(default_factory=lambda: {"vdpa0": NIC, "sim0": NIC, "idle": NIC})

    def info(self, name: str) -> VdpaInfo | None:
        return self.known.get(name)

    def close(self) -> None:
        pass


@pytest.fixture
def backend(tree: Tree) -> VdpaBackend:
    return VdpaBackend(VdpaSysfs(tree.root), Family())


def see(backend: VdpaBackend, wanted: VdpaDevice) -> Observed | None:
    return backend.observe([wanted]).get(wanted.identity)


@pytest.mark.parametrize("queues", [None, 1, 4])
def test_a_device_that_is_as_wanted_needs_nothing(backend: VdpaBackend, queues: int | None) -> None:
    wanted = WANTED.replace(queues=queues)
    observed = backend.observe([wanted])
    assert steps_toward([wanted], observed) == []
    assert differences([wanted], observed) == []
    assert removal([wanted], observed, originals([wanted], observed)) == []


def test_a_device_that_has_no_mac_takes_the_guests(tree: Tree) -> None:
    backend = VdpaBackend(VdpaSysfs(tree.root), Family({"vdpa0": VdpaInfo(virtio_id=1, queues=4)}))
    assert steps_toward([WANTED], backend.observe([WANTED])) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mac": "52:54:00:11:22:01"}, f"has MAC {MAC}, which the guest would see, and VIF {OWNER} has 52:54"),
        ({"queues": 5}, f"has at most 4 queue pairs, and VIF {OWNER} requests 5"),
        ({"device": "/dev/vhost-vdpa-9"}, f"is /dev/vhost-vdpa-3 now, and VIF {OWNER} has /dev/vhost-vdpa-9: update"),
        (
            {"name": "sim0", "device": "/dev/vhost-vdpa-9"},
            "vdpa device sim0: expected it bound to vhost_vdpa, got virt",
        ),
        ({"name": "idle", "device": "/dev/vhost-vdpa-9"}, "vdpa device idle: expected it bound to vhost_vdpa, got no"),
    ],
)
def test_what_is_not_as_wanted_is_refused(backend: VdpaBackend, changes: dict[str, object], message: str) -> None:
    wanted = WANTED.replace(**changes)
    observed = backend.observe([wanted])
    assert differences([wanted], observed)
    with pytest.raises(errors.HostNotReady) as refused:
        steps_toward([wanted], observed)
    assert message in str(refused.value)


def test_everything_that_is_wrong_is_told_at_once(backend: VdpaBackend) -> None:
    wanted = WANTED.replace(mac="52:54:00:11:22:01", queues=5)
    with pytest.raises(errors.HostNotReady, match=r"MAC .*; vdpa-device vdpa0 has at most 4 queue pairs"):
        steps_toward([wanted], backend.observe([wanted]))


def test_a_device_that_is_not_there_is_missing(backend: VdpaBackend) -> None:
    for name in ("vdpa7", "sf0"):  # the second went away between the two looks
        wanted = WANTED.replace(name=name)
        assert see(backend, wanted) is None
        with pytest.raises(errors.Missing, match=f"vdpa device {name} does not exist on this host"):
            steps_toward([wanted], {})


def test_a_disk_is_no_nic(tree: Tree) -> None:
    backend = VdpaBackend(VdpaSysfs(tree.root), Family({"vdpa0": VdpaInfo(virtio_id=2)}))
    with pytest.raises(errors.Missing, match="got a virtio device of class 2, which is not a NIC"):
        steps_toward([WANTED], backend.observe([WANTED]))


def test_nothing_is_ever_written(backend: VdpaBackend) -> None:
    done: list[Step] = []
    with pytest.raises(errors.Missing, match="use 'vdpa dev add' before"):
        backend.apply([Step(None, WANTED)], done)
    with pytest.raises(errors.StepFailed, match="is not as it was set: mac"):
        backend.apply([Step(WANTED, WANTED.replace(mac="52:54:00:11:22:01"))], done)
    assert done == []
    backend.apply([Step(WANTED, None)], done)
    assert (observed := see(backend, WANTED)) and observed.resource == WANTED
