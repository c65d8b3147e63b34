"""The vdpa type on real vdpa devices: the kernel's simulator (CONFIG_VDPA_SIM_NET)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import having, vifplug
from vifplug import VIF, VIFDriver, conf, errors
from vifplug.testing.netns import run

pytestmark = [pytest.mark.slow, pytest.mark.machine("full")]

BUS = Path("/sys/bus/vdpa")
ID, OTHER = "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11", "5e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e12"
MAC, WRONG = "52:54:00:11:22:99", "52:54:00:11:22:01"


def vif(vif_id: str = ID, mac: str = MAC, **keys: Any) -> VIF:
    return VIF.from_json({"id": vif_id, "type": "vdpa", "mac": mac, **keys})


@pytest.fixture(scope="module")
def devices() -> Iterator[None]:
    """vdpa0 has the MAC, vdpa1 is the host's own NIC, vdpa2 has no MAC."""
    run("vdpa", "dev", "add", "name", "vdpa0", "mgmtdev", "vdpasim_net", "mac", MAC)
    run("vdpa", "dev", "add", "name", "vdpa1", "mgmtdev", "vdpasim_net", "mac", MAC)
    run("vdpa", "dev", "add", "name", "vdpa2", "mgmtdev", "vdpasim_net")
    (BUS / "devices/vdpa1/driver/unbind").write_text("vdpa1")
    (BUS / "drivers/virtio_vdpa/bind").write_text("vdpa1")
    yield
    for name in ("vdpa0", "vdpa1", "vdpa2"):
        run("vdpa", "dev", "del", name)


@pytest.fixture
def driver(devices: None, tmp_path: Path) -> Iterator[VIFDriver]:
    options = conf.load([])
    options.set_override("state_path", str(tmp_path), group="vifplug")
    with VIFDriver(options) as driver:
        yield driver


def test_a_device_is_plugged_and_the_element_is_libvirts(driver: VIFDriver) -> None:
    assert driver.plug(vif(source={"name": "vdpa0"}, driver={"rx_queue_size": 512})).interface_xml == (
        "<interface type='vdpa'>\n"
        f"  <mac address='{MAC}'/>\n"
        "  <source dev='/dev/vhost-vdpa-0'/>\n"
        "  <model type='virtio'/>\n"
        "  <driver rx_queue_size='512'/>\n"
        "</interface>"
    )
    plugged = driver.plug(vif(OTHER, WRONG, source={"device": "/dev/vhost-vdpa-2"}))
    assert "<source dev='/dev/vhost-vdpa-2'/>" in plugged.interface_xml


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"mac": WRONG}, errors.HostNotReady, f"vdpa-device vdpa0 has MAC {MAC}, which the guest would see"),
        ({"driver": {"queues": 2}}, errors.HostNotReady, "vdpa-device vdpa0 has at most 1 queue pairs"),
        (
            {"source": {"name": "vdpa1"}},
            errors.HostNotReady,
            "expected it bound to vhost_vdpa, got virtio_vdpa; bind it: modprobe vhost_vdpa",
        ),
        ({"source": {"name": "vdpa7"}}, errors.Missing, "vdpa device vdpa7: does not exist"),
        (
            {"source": {"name": "vdpa0", "bridge": "br-int"}},
            errors.Missing,
            "vdpa device vdpa0 is on no PCI function",
        ),
    ],
    ids=["wrong MAC", "many queues", "the host's", "absent", "in software"],
)
def test_what_can_not_be_plugged_says_why(
    driver: VIFDriver, keys: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as refused:
        driver.plug(vif(OTHER, **{"source": {"name": "vdpa0"}, **keys}))
    assert message in str(refused.value)
    assert driver.list() == []


def test_a_device_is_one_vifs(driver: VIFDriver) -> None:
    driver.plug(vif(source={"name": "vdpa0"}))
    with pytest.raises(errors.Conflict, match=f"vdpa-device vdpa0 is requested by VIF {OTHER} and in use by VIF {ID}"):
        driver.plug(vif(OTHER, source={"device": "/dev/vhost-vdpa-0"}))


def test_a_device_that_loses_its_driver_is_noticed(driver: VIFDriver) -> None:
    driver.plug(vif(source={"name": "vdpa0"}))
    assert driver.check() == []
    (BUS / "devices/vdpa0/driver/unbind").write_text("vdpa0")
    try:
        assert list(map(str, driver.check())) == [
            "vdpa-device vdpa0: device: expected /dev/vhost-vdpa-0, got nothing",
            "vdpa-device vdpa0: driver: expected vhost_vdpa, got nothing",
        ]
    finally:
        (BUS / "drivers/vhost_vdpa/bind").write_text("vdpa0")
    assert driver.check() == []


def test_unplugging_takes_nothing_from_the_device(driver: VIFDriver) -> None:
    before = run("vdpa", "dev", "show"), run("vdpa", "dev", "config", "show")
    driver.plug(vif(source={"name": "vdpa0"}))
    assert list(driver.unplug(ID)) == [] and driver.list() == []
    assert (run("vdpa", "dev", "show"), run("vdpa", "dev", "config", "show")) == before


def test_it_needs_no_capability(devices: None, tmp_path: Path) -> None:
    config, file = tmp_path / "vifplug.conf", tmp_path / "vif.json"
    config.write_text(f"[vifplug]\nstate_path = {tmp_path}/state\n")
    file.write_text(json.dumps(vif(source={"name": "vdpa0"}).to_data()))
    for verb in (("can-plug", file), ("plug", file), ("settle", ID), ("update", file), ("check",), ("unplug", ID)):
        answer = vifplug(*verb, config=config, under=having())
        assert answer.code == 0, (verb, answer)
