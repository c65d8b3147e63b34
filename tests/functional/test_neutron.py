"""Ports that Neutron has bound, plugged on a real kernel and Open vSwitch: there, checked, gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import vifplug
from vifplug import VIF
from vifplug.neutron import vif_from_binding
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost

CASES = Path(__file__).resolve().parents[1] / "golden" / "neutron"
ID = "3f8a1c52-77d0-4a6e-9b1d-0c2e5f6a7b81"
TAP = "tap3f8a1c52-77"
QBR, QVB, QVO = (prefix + ID[:11] for prefix in ("qbr", "qvb", "qvo"))

#: case -> what the host gets: devices, and the ports of br-int
ROWS: dict[str, tuple[set[str], set[str]]] = {
    "ovs-tap": ({TAP}, {TAP}),
    "ovs-port": (set(), {TAP}),
    "ovs": (set(), set()),
    "ovs-hybrid": ({QBR, QVB, QVO}, {QVO}),
    "agilio-ovs": (set(), {TAP}),
    "bridge": ({"brq5d3c0a1e-1b"}, set()),
    "tap": ({TAP}, set()),
    "tap-gateway": ({TAP}, set()),
    "ivs": (set(), set()),
    "vrouter": (set(), set()),
    "midonet": (set(), set()),
    "iovisor": (set(), set()),
    "macvtap": (set(), set()),
    "802.1qbg": (set(), set()),
    "vhostuser-client": (set(), set()),
    "guest-queues": ({TAP}, {TAP}),
}


def bound(name: str) -> VIF:
    document = json.loads((CASES / name / "bound.json").read_text())
    return vif_from_binding(document["port"], document.get("guest"))


@pytest.fixture
def wired(host: PrivateHost) -> Iterator[PrivateHost]:
    """A host with br-int, and a device for macvtaps."""
    host.ovs.ctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    host.ip("link", "add", "eno1", "type", "veth", "peer", "name", "wire")
    host.ip("link", "set", "wire", "up")
    yield host
    host.ip("link", "delete", "dev", "eno1")


@pytest.mark.parametrize("name", ROWS)
def test_a_bound_port_is_plugged_checked_and_unplugged(wired: PrivateHost, name: str) -> None:
    devices, ports = ROWS[name]
    before, driver, vif = wired.links(), wired.driver, bound(name)
    plugged = driver.plug(vif)
    assert plugged.interface_xml + "\n" == (CASES / name / "interface.xml").read_text()
    assert wired.links() - before == devices and wired.ports("br-int") == ports
    assert driver.check() == [] and not driver.plug(vif).changed
    driver.unplug(ID)
    left = wired.links() - before
    assert left == (devices if name == "bridge" else set()) and wired.ports("br-int") == set()
    for device in left:
        wired.ip("link", "delete", "dev", device)


def test_the_host_end_has_the_mac_that_the_binding_says(wired: PrivateHost) -> None:
    wired.driver.plug(bound("tap-gateway"))
    [link] = json.loads(wired.ip("-json", "link", "show", "dev", TAP))
    assert link["address"] == "00:61:fe:ed:ca:fe"
    wired.driver.unplug(ID)


def test_the_command_plugs_and_updates_a_bound_port(wired: PrivateHost, tmp_path: Path) -> None:
    document: dict[str, Any] = json.loads((CASES / "ovs-tap" / "bound.json").read_text())
    with netns.inside(wired.namespace):
        plugged = vifplug("plug", "--neutron", CASES / "ovs-tap" / "bound.json", config=wired.config)
        assert plugged.code == 0 and plugged.out == (CASES / "ovs-tap" / "interface.xml").read_text()
        document["port"]["network"]["mtu"] = 1400
        (tmp_path / "bound.json").write_text(json.dumps(document))
        assert vifplug("update", "--neutron", tmp_path / "bound.json", config=wired.config).code == 0
        [link] = json.loads(wired.ip("-json", "link", "show", "dev", TAP))
        assert link["mtu"] == 1400
    wired.driver.unplug(ID)


def test_what_is_no_bound_port_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "bound.json"
    for text, message in (
        ("{}", "$.port: expected an object, got null"),
        ('{"port": {}, "gest": {}}', "$.gest: unknown key (expected one of: port, guest)"),
        ("[]", "expected one bound port, got a list"),
        ("<interface/>", "is not JSON"),
        ("", "expected a VIF document, got nothing"),
    ):
        file.write_text(text)
        answer = vifplug("xml", "--neutron", file)
        assert (answer.code, answer.out) == (2, "") and message in answer.err, answer.err


def test_the_table_is_printed() -> None:
    rows = json.loads(vifplug("types", "--historical", "-f", "json").out)
    assert {"binding": "tap", "vif_type": "tap", "when": "", "becomes": "ethernet", "host": "a tap"}.items() <= next(
        row.items() for row in rows if row["binding"] == "tap"
    )
    assert len({row["vif_type"] for row in rows}) > 20
