"""The table of what libvirt and QEMU take, against both: what it refuses starts no guest, for the reason they give."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import bridges
from tests.support.places import libvirt_cache
from vifplug.guest import capabilities, read
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtHost, LibvirtRefused, domain

pytestmark = pytest.mark.xdist_group("capabilities")

MAC = "<mac address='52:54:00:00:00:01'/>"
BRIDGE = f"<interface type='bridge'>{MAC}<source bridge='br0'/>%s</interface>"
OVS = f"<interface type='bridge'>{MAC}<source bridge='ovs0'/><virtualport type='openvswitch'/>%s</interface>"
MACVTAP = f"<interface type='direct'>{MAC}<source dev='lower' mode='bridge'/>%s</interface>"
TAP = f"<interface type='ethernet'>{MAC}<target dev='tap0'/>%s</interface>"
VIRTIO = "<model type='virtio'/><driver %s/>"


@pytest.fixture(scope="module")
def libvirt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtHost]:
    with PrivateHost(vifplug_ovs={"ensure_bridge": True}) as host:
        bridges.add(host, "br0")
        host.ip("link", "add", "lower", "type", "veth", "peer", "name", "upper")
        host.ovs.ctl("add-br", "ovs0", "--", "set", "bridge", "ovs0", "datapath_type=netdev")
        with LibvirtHost(host, cache=libvirt_cache(tmp_path_factory)) as libvirtd:
            yield libvirtd


@pytest.mark.parametrize(
    ("element", "path", "theirs"),
    [
        (BRIDGE % (VIRTIO % "rx_queue_size='128'"), "$.driver.rx_queue_size", "must be a power of 2 between 256 and"),
        (BRIDGE % (VIRTIO % "rx_queue_size='2048'"), "$.driver.rx_queue_size", "must be a power of 2 between 256 and"),
        (BRIDGE % (VIRTIO % "tx_queue_size='128'"), "$.driver.tx_queue_size", "must be a power of 2 between 256 and"),
        (
            BRIDGE % "<script path='/bin/true'/>",
            "$.guest_xml",
            "scripts are not supported on .* type bridge",
        ),
        (
            MACVTAP % "<script path='/bin/true'/>",
            "$.guest_xml",
            "scripts are not supported on .* type direct",
        ),
        (MACVTAP % "<backend tap='/dev/net/tun'/>", "$.guest_xml", "custom tap device path is not supported"),
        (OVS % "<filterref filter='clean-traffic'/>", "$.filterref", "with virtualport type openvswitch"),
        (TAP % "<vlan><tag id='5'/></vlan>", "$.vlan", "vlan tag not supported for this connection type"),
        (MACVTAP % "<vlan><tag id='5'/></vlan>", "$.vlan", "vlan tag not supported for this connection type"),
    ],
)
def test_no_guest_starts_with_what_the_table_refuses(
    libvirt: LibvirtHost, element: str, path: str, theirs: str
) -> None:
    assert [problem.path for problem in capabilities.refused_at_start(read.interface(element))] == [path]
    with pytest.raises(LibvirtRefused, match=theirs):
        libvirt.create(domain("web", element))


@pytest.mark.parametrize(
    "element",
    [
        BRIDGE % (VIRTIO % "name='qemu' rx_queue_size='512' tx_queue_size='256'"),
        BRIDGE % "<downscript path='/bin/true'/>",
        MACVTAP % (VIRTIO % "rx_queue_size='1024'"),
        (BRIDGE % "<boot order='1' loadparm='2'/>").replace("<mac ", "<mac type='static' check='no' "),
    ],
)
def test_a_guest_starts_with_what_the_table_takes(libvirt: LibvirtHost, element: str) -> None:
    assert list(capabilities.refused_at_start(read.interface(element))) == []
    libvirt.create(domain("web", element))
    libvirt.clear()
