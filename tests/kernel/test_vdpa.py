"""The vdpa type on real vdpa devices: the kernel's simulator (CONFIG_VDPA_SIM_NET), in a virtual machine."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.vm import VirtualMachine

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kernel")]  # one machine serves them all

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("vdpa_sim_net", "vhost_vdpa", "virtio_vdpa")

ID, OTHER = "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11", "5e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e12"
MAC, WRONG = "52:54:00:11:22:99", "52:54:00:11:22:01"

#: vdpa0 has the MAC, vdpa1 is the host's own NIC, vdpa2 has no MAC
SETUP = f"""
modprobe -a {" ".join(MODULES)}
vdpa dev add name vdpa0 mgmtdev vdpasim_net mac {MAC}
vdpa dev add name vdpa1 mgmtdev vdpasim_net mac {MAC}
vdpa dev add name vdpa2 mgmtdev vdpasim_net
echo vdpa1 > /sys/bus/vdpa/devices/vdpa1/driver/unbind
echo vdpa1 > /sys/bus/vdpa/drivers/virtio_vdpa/bind
cd {ROOT}
"""

#: plugs each document in turn and tells what came of it; all in one interpreter, since an emulated one starts slowly
PROGRAM = """
import json, sys
from pathlib import Path
from vifplug import VIF, VIFDriver, conf, errors

def outcome(call):
    try:
        return call()
    except errors.VifplugError as error:
        return {"error": type(error).__name__, "told": str(error)}

def checked(driver):
    return [str(each) for each in driver.check()]

options = conf.load([])
options.set_override("state_path", "/tmp/state", group="vifplug")
documents = json.loads(sys.argv[1])
bus = Path("/sys/bus/vdpa")
with VIFDriver(options) as driver:
    found = {}
    for name, document in documents.items():
        found[name] = outcome(lambda: driver.plug(VIF.from_json(document)).interface_xml)
    found["checked"] = checked(driver)
    (bus / "devices/vdpa0/driver/unbind").write_text("vdpa0")
    found["checked without driver"] = checked(driver)
    (bus / "drivers/vhost_vdpa/bind").write_text("vdpa0")
    found["checked again"] = checked(driver)
    ids = [entry.vif.id for entry in driver.list()]
    found["unplugged"] = [list(map(str, driver.unplug(each))) for each in ids]
    found["left"] = len(driver.list())
print(json.dumps(found))
"""


def document(vif_id: str, mac: str = MAC, **keys: Any) -> dict[str, Any]:
    return {"id": vif_id, "type": "vdpa", "mac": mac, **keys}


DOCUMENTS = {
    "wrong MAC": document(OTHER, WRONG, source={"name": "vdpa0"}),
    "many queues": document(OTHER, source={"name": "vdpa0"}, driver={"queues": 2}),
    "the host's": document(OTHER, source={"name": "vdpa1"}),
    "absent": document(OTHER, source={"name": "vdpa7"}),
    "in software": document(OTHER, source={"name": "vdpa0", "bridge": "br-int"}),
    "good": document(ID, source={"name": "vdpa0"}, driver={"rx_queue_size": 512}),
    "taken": document(OTHER, source={"device": "/dev/vhost-vdpa-0"}),
    "without MAC": document(OTHER, WRONG, source={"device": "/dev/vhost-vdpa-2"}),
}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What came of everything, in one machine."""
    machine = VirtualMachine(MODULES)
    program = f"{sys.executable} - {shlex.quote(json.dumps(DOCUMENTS))} <<'EOF'\n{PROGRAM}\nEOF\n"
    status, output = machine.run(SETUP + program)
    assert status == 0, output
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    return told


def test_a_device_is_plugged_and_the_element_is_libvirts(found: dict[str, Any]) -> None:
    assert found["good"] == (
        "<interface type='vdpa'>\n"
        f"  <mac address='{MAC}'/>\n"
        "  <source dev='/dev/vhost-vdpa-0'/>\n"
        "  <model type='virtio'/>\n"
        "  <driver rx_queue_size='512'/>\n"
        "</interface>"
    )
    assert "<source dev='/dev/vhost-vdpa-2'/>" in found["without MAC"]


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("wrong MAC", "HostNotReady", f"vdpa-device vdpa0 has MAC {MAC}, which its guest would have"),
        ("many queues", "HostNotReady", "vdpa-device vdpa0 serves 1 pairs of queues at most"),
        (
            "the host's",
            "HostNotReady",
            "wanted it bound to vhost_vdpa, found virtio_vdpa; bind it: modprobe vhost_vdpa",
        ),
        ("absent", "Missing", "vdpa device vdpa7: found none of that name"),
        ("in software", "Missing", "vdpa device vdpa0 is on no PCI function"),
        ("taken", "Conflict", f"vdpa-device vdpa0 is wanted by VIF {OTHER} and taken by VIF {ID}"),
    ],
)
def test_what_can_not_be_plugged_says_why(found: dict[str, Any], name: str, error: str, told: str) -> None:
    assert found[name]["error"] == error
    assert told in found[name]["told"]


def test_a_device_that_loses_its_driver_is_noticed(found: dict[str, Any]) -> None:
    assert found["checked"] == found["checked again"] == []
    assert found["checked without driver"] == [
        "vdpa-device vdpa0: device: wanted /dev/vhost-vdpa-0, found nothing",
        "vdpa-device vdpa0: driver: wanted vhost_vdpa, found nothing",
    ]


def test_unplugging_takes_nothing_from_the_device(found: dict[str, Any]) -> None:
    assert found["unplugged"] == [[], []]
    assert found["left"] == 0
