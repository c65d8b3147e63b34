"""One document on two hosts that resolve it each in its own way: what libvirt wants alike is alike.

The rules are those of libvirt's ABI check of a migration (11.3: virDomainNetDefCheckABIStability); doc/migration.md.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from vifplug import VIF, Instance, Network, VIFDriver
from vifplug import conf as options
from vifplug.plan.registry import LowerDevice
from vifplug.testing.memory import MemoryBackend, MemoryHost

GUEST = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web-1")

#: what ``red`` is on different hosts
HOSTS: dict[str, dict[str, Any]] = {
    "open vswitch": {
        "mode": "bridge",
        "bridge": "br-red",
        "virtualport": {"type": "openvswitch"},
        "portgroups": [{"name": "sales", "vlan": 10, "bandwidth": {"inbound": {"average": 1000}}}],
    },
    "open vswitch, another bridge and vlan": {
        "mode": "bridge",
        "virtualport": {"type": "openvswitch", "profileid": "p"},
        "portgroups": [{"name": "sales", "vlan": "5u,6-9"}],
    },
    "linux bridge": {"mode": "bridge", "bridge": "br0", "portgroups": [{"name": "sales"}], "port": {"isolated": True}},
    "vepa": {
        "mode": "vepa",
        "devices": ["e0", "e1"],
        "portgroups": [{"name": "sales", "trust_guest_rx_filters": True}],
    },
    "vepa with 802.1Qbg": {
        "mode": "vepa",
        "devices": ["e1"],
        "portgroups": [
            {"name": "sales", "virtualport": {"type": "802.1Qbg", "managerid": 1, "typeid": 2, "typeidversion": 3}}
        ],
    },
    "passthrough": {"mode": "passthrough", "devices": ["e1"], "portgroups": [{"name": "sales"}]},
}

#: documents that ask for all that a guest sees of its NIC
VIFS: dict[str, dict[str, Any]] = {
    "plain": {},
    "queues": {"model": "virtio", "driver": {"name": "vhost", "queues": 4, "rx_queue_size": 1024, "packed": True}},
    "offloads": {"model": "virtio", "driver": {"iommu": True, "host": {"csum": False}, "guest": {"tso4": False}}},
    "place": {
        "model": "e1000",
        "boot_order": 1,
        "alias": "ua-web",
        "link_state": "down",
        "guest_xml": [
            "<rom bar='off'/>",
            "<acpi index='3'/>",
            "<address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>",
        ],
    },
    "made by libvirt": {"model": "virtio", "tap_owner": "libvirt", "target": None},
}

#: attributes and children that libvirt lets differ
FREE = {
    "type",
    "trustGuestRxFilters",
    "source",
    "target",
    "virtualport",
    "vlan",
    "bandwidth",
    "filterref",
    "link",
    "port",
}


def guests_own(element: str) -> dict[str, str]:
    """What the guest sees, by the element's name; the rest is the host's."""
    root = ElementTree.fromstring(element)
    seen = {name: value for name, value in root.attrib.items() if name not in FREE}
    for child in root:
        if child.tag == "driver":
            child.attrib.pop("name", None)  # vhost or qemu: how the host moves the frames
        if child.tag not in FREE:
            seen[child.tag] = ElementTree.canonicalize(ElementTree.tostring(child), strip_text=True)
    return seen


def plugged(path: Path, definition: dict[str, Any], vif: VIF) -> str:
    """The element that a host of its own answers with."""
    memory = MemoryBackend()
    for device in ("e0", "e1"):
        memory.place(LowerDevice(name=device))
    memory.place(LowerDevice(name="br0", up=None, link_kind="bridge"))
    conf = options.load([])
    conf.set_override("state_path", str(path), group="vifplug")
    conf.set_override("ensure_bridge", True, group="vifplug_ovs")
    conf.set_override("default_qos_type", None, group="vifplug_ovs")
    network = Network.from_data({"name": "red", **definition})
    machine = MemoryHost(memory)
    with VIFDriver(conf, networks=[network], machine=machine) as driver:
        return driver.plug(vif, GUEST).interface_xml


def document(**keys: Any) -> VIF:
    return VIF.from_json(
        {
            "id": "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f",
            "type": "network",
            "mac": "52:54:00:12:34:56",
            "source": {"network": "red", "portgroup": "sales"},
            **keys,
        }
    )


@pytest.mark.parametrize(("source", "destination"), list(itertools.permutations(HOSTS, 2)))
def test_only_what_libvirt_lets_differ_differs(source: str, destination: str, tmp_path: Path) -> None:
    for name, keys in VIFS.items():
        vif = document(**keys)
        here = plugged(tmp_path / f"{name} here", HOSTS[source], vif)
        there = plugged(tmp_path / f"{name} there", HOSTS[destination], vif)
        assert guests_own(here) == guests_own(there)
        assert {"mac"} | {"model"} & vif.to_data().keys() <= guests_own(here).keys()


def test_the_two_elements_do_differ_where_they_may(tmp_path: Path) -> None:
    """So that the test above compares something."""
    vif = document(tap_owner="libvirt", target=None)
    elements = {plugged(tmp_path / str(index), each, vif) for index, each in enumerate(HOSTS.values())}
    assert len(elements) == len(HOSTS)


def test_the_switchs_id_of_the_port_is_the_same_on_both_hosts(tmp_path: Path) -> None:
    vif = document(tap_owner="libvirt")
    for number, host in enumerate(("open vswitch", "open vswitch, another bridge and vlan", "vepa with 802.1Qbg")):
        element = ElementTree.fromstring(plugged(tmp_path / str(number), HOSTS[host], vif))
        [parameters] = element.findall("virtualport/parameters")
        assert vif.id in (parameters.get("interfaceid"), parameters.get("instanceid"))


def test_an_mtu_of_the_network_is_the_guests_and_so_has_to_be_the_same_on_both_hosts(tmp_path: Path) -> None:
    """As doc/migration.md warns: this one the document should say."""
    jumbo = {**HOSTS["open vswitch"], "mtu": 9000}
    here, there = plugged(tmp_path / "a", jumbo, document()), plugged(tmp_path / "b", HOSTS["linux bridge"], document())
    assert guests_own(here)["mtu"] == '<mtu size="9000"></mtu>' and "mtu" not in guests_own(there)
    said = document(mtu=1450)
    here, there = plugged(tmp_path / "c", jumbo, said), plugged(tmp_path / "d", HOSTS["linux bridge"], said)
    assert guests_own(here) == guests_own(there) and "mtu" in guests_own(here)
