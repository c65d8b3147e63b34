"""vhost-user on an Open vSwitch with DPDK: guests whose rings the switch reads, by sockets of QEMU's and of the switch."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.guests.conftest import Boot
from tests.support.peers import Peer, peer
from tests.support.places import libvirt_cache
from vifplug import VIF, Instance, errors
from vifplug.model.names import SOCKET_PATH_BYTES
from vifplug.testing import Lacking
from vifplug.testing.guests import Guest
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtHost, Refused

pytestmark = pytest.mark.xdist_group("guests-dpdk")

Peers = Mapping[int, Peer]  # by VLAN

WEB, DB, OLD = "10.0.0.3", "10.0.0.4", "10.0.0.5"
OWNER = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web")


@pytest.fixture(scope="module")
def libvirt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtHost]:
    """libvirtd on a host whose switch has DPDK."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace of its own")
    try:
        with PrivateHost(dpdk=True) as host, LibvirtHost(host, cache=libvirt_cache(tmp_path_factory)) as libvirt:
            yield libvirt
    except Lacking as lacking:
        pytest.skip(str(lacking))


@pytest.fixture(scope="module")
def peers(host: PrivateHost) -> Iterator[Peers]:
    host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    with peer(host, "vlan10", 10) as ten, peer(host, "vlan20", 20) as twenty:
        for vlan, each in ((10, ten), (20, twenty)):
            host.ovs.ctl("add-port", "br-int", each.name, f"tag={vlan}")
        yield {10: ten, 20: twenty}


def vhostuser(number: int, path: Path, mode: str = "server", **source: Any) -> VIF:
    return VIF.from_json(
        {
            "id": f"{number:08}-6a1b-4c2d-9e3f-7a8b9c0d1e2f",
            "type": "vhostuser",
            "mac": f"52:54:00:00:00:{number:02x}",
            "source": {"path": str(path), "mode": mode, "bridge": "br-int", **source},
            "vlan": 10,
        }
    )


@pytest.fixture(scope="module")
def web(host: PrivateHost) -> VIF:
    return vhostuser(1, host.directory / "vhost/web", port_mtu=1600)


@pytest.fixture(scope="module")
def db(host: PrivateHost) -> VIF:
    """Its socket's path is as long as one can be."""
    directory = host.directory / "db"
    return vhostuser(2, directory / ("x" * (SOCKET_PATH_BYTES - len(f"{directory}/"))))


@pytest.fixture(scope="module")
def guests(host: PrivateHost, peers: Peers, boot: Boot, web: VIF, db: VIF) -> dict[str, Guest]:
    """Two guests in VLAN 10, web and db."""
    pairs = [(web, OWNER), (db, None)]
    plugged = host.driver.plug_many(pairs)
    names = ("web", "db")
    booted = {
        name: boot(name, [each.interface_xml], shared_memory=True)
        for name, each in zip(names, plugged, strict=True)
    }
    booted["web"].configure(web.mac, f"{WEB}/24")
    booted["db"].configure(db.mac, f"{DB}/24")
    return booted


def becomes(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_connected(host: PrivateHost, port: str) -> bool:
    return host.port(port, "status:status") == "connected"


def test_guests_of_one_vlan_reach_each_other_and_nobody_in_another(guests: dict[str, Guest], peers: Peers) -> None:
    assert guests["web"].reached([peers[10].address, peers[20].address, DB]) == {peers[10].address, DB}
    assert peers[10].reaches(WEB) and peers[10].reaches(DB)
    assert not peers[20].is_answered(WEB)
