"""vhost-user on an Open vSwitch with DPDK: the switch reads the rings of its guests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.guests.conftest import Boot
from tests.guests.peers import Peer, peer
from tests.support.patience import becomes
from tests.support.places import libvirt_cache
from vifplug import VIF, Instance, errors
from vifplug.model.names import SOCKET_PATH_BYTES
from vifplug.testing.guests import BootedGuest
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtHost, LibvirtRefused
from vifplug.testing.ovs import PrivateOvs, Server

pytestmark = pytest.mark.xdist_group("guests-dpdk")

Peers = Mapping[int, Peer]  # by VLAN

WEB, DB, OLD = "10.0.0.3", "10.0.0.4", "10.0.0.5"
HEADERS = 28  # bytes of IPv4 and ICMP in a ping
INSTANCE = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web")


@pytest.fixture(scope="module")
def libvirt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtHost]:
    """libvirtd on a host whose switch has DPDK."""
    with (
        PrivateHost(dpdk=True, vifplug_ovs={"ensure_bridge": True}) as host,
        LibvirtHost(host, cache=libvirt_cache(tmp_path_factory)) as libvirt,
    ):
        yield libvirt


@pytest.fixture(scope="module")
def peers(host: PrivateHost) -> Iterator[Peers]:
    host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    with peer(host, "vlan10", 10) as ten, peer(host, "vlan20", 20) as twenty:
        for vlan, each in ((10, ten), (20, twenty)):
            host.ovs.ctl("add-port", "br-int", each.name, f"tag={vlan}")
        yield {10: ten, 20: twenty}


def vhostuser(number: int, path: Path, mode: str = "server", *, vlan: int | None = 10, **source: Any) -> VIF:
    return VIF.from_json(
        {
            "id": f"{number:08}-6a1b-4c2d-9e3f-7a8b9c0d1e2f",
            "type": "vhostuser",
            "mac": f"52:54:00:00:00:{number:02x}",
            "source": {"path": str(path), "mode": mode, "bridge": "br-int", **source},
            "vlan": vlan,
        }
    )


@pytest.fixture(scope="module")
def guests(host: PrivateHost, peers: Peers, boot: Boot) -> Iterator[dict[str, BootedGuest]]:
    """Two guests in VLAN 10."""
    pairs = [(vif(host), INSTANCE) for vif in (web, db)]
    elements = [each.interface_xml for each in host.driver.plug_many(pairs)]
    names = ("web", "db")
    booted = {name: boot(name, [xml], shared_memory=True) for name, xml in zip(names, elements, strict=True)}
    booted["web"].configure(web(host).mac, f"{WEB}/24")
    booted["db"].configure(db(host).mac, f"{DB}/24")
    yield booted


def web(host: PrivateHost) -> VIF:
    return vhostuser(1, host.directory / "vhost/web", port_mtu=1600)


def db(host: PrivateHost) -> VIF:
    """Its socket's path is as long as one can be."""
    directory = host.directory / "vhost"
    return vhostuser(2, directory / ("x" * (SOCKET_PATH_BYTES - len(f"{directory}/"))))


def state(host: PrivateHost, port: str) -> tuple[str, str]:
    """Of a port: whether a guest is at its other end, in the words of Open vSwitch, and its link."""
    return host.port(port, "status:status"), host.port(port, "link_state")


def test_guests_of_one_vlan_reach_each_other_and_nobody_in_another(
    guests: dict[str, BootedGuest], peers: Peers, host: PrivateHost
) -> None:
    addresses = [peers[10].address, peers[20].address, DB]
    assert guests["web"].reaches(DB)
    assert guests["web"].reached(addresses) == {peers[10].address, DB}
    assert peers[20].is_cut_off(WEB)
    for vif in (web(host), db(host)):
        assert state(host, vif.device) == ("connected", "up")
        assert host.port(vif.device, "external_ids:vm-id") == f'"{INSTANCE.uuid}"'
    assert host.driver.check() == []


def test_frames_of_the_full_size_arrive_and_the_port_takes_larger_ones(
    guests: dict[str, BootedGuest], peers: Peers, host: PrivateHost
) -> None:
    """The guest is not told of ``port_mtu``: it has its own."""
    vif = web(host)
    assert guests["web"].mtu(vif.mac) == 1500
    assert peers[10].reaches(WEB, "-M", "do", "-s", str(1500 - HEADERS))
    assert host.port(vif.device, "mtu") == "1600"
    guests["web"].run(f"ip link set {guests['web'].device(vif.mac)} mtu 1600")
    assert peers[10].reaches(WEB, "-M", "do", "-s", str(1600 - HEADERS))


def test_its_vlan_changes_under_a_running_guest(
    guests: dict[str, BootedGuest], peers: Peers, host: PrivateHost
) -> None:
    vif = web(host)
    before = host.port(vif.device, "_uuid"), host.port(vif.device, "ofport")
    host.driver.update(vif.replace(vlan=VIF.from_json({**vif.to_data(), "vlan": 20}).vlan))
    assert peers[20].reaches(WEB) and peers[10].is_cut_off(WEB)
    assert host.driver.update(vif).changed
    assert peers[10].reaches(WEB) and peers[20].is_cut_off(WEB)
    assert (host.port(vif.device, "_uuid"), host.port(vif.device, "ofport")) == before


@pytest.mark.parametrize("end", [PrivateOvs.stop, PrivateOvs.kill])
def test_a_switch_that_ends_and_starts_finds_its_guests_again(
    guests: dict[str, BootedGuest], peers: Peers, host: PrivateHost, end: Callable[[PrivateOvs, Server], None]
) -> None:
    end(host.ovs, "ovs-vswitchd")
    host.ovs.start("ovs-vswitchd")
    assert peers[10].reaches(WEB) and peers[10].reaches(DB)
    assert peers[20].is_cut_off(WEB)
    assert host.driver.check() == []


def test_unplug_is_refused_while_a_guest_has_the_socket(guests: dict[str, BootedGuest], host: PrivateHost) -> None:
    vif = web(host)
    with pytest.raises(errors.Held, match=rf"{vif.source.path} of VIF {vif.id} is in use by a running guest"):
        host.driver.unplug(vif.id)
    assert host.driver.check() == [] and guests["web"].reaches(DB)


@contextlib.contextmanager
def attached(guest: BootedGuest, element: str, vif: VIF, peer: Peer) -> Iterator[str]:
    """While it is, the interface has an address, for this peer."""
    address = f"10.0.0.10{vif.mac[-1]}"  # its own: the peer remembers whose another is
    guest.attach(element)
    guest.configure(vif.mac, f"{address}/32")
    guest.run(f"ip route add {peer.address} dev {guest.device(vif.mac)}")
    yield address
    guest.detach(element, vif.mac)


def test_a_hot_plugged_interface_comes_and_goes(
    guests: dict[str, BootedGuest], peers: Peers, host: PrivateHost
) -> None:
    vif = vhostuser(3, host.directory / "vhost/more", vlan=20)
    element = host.driver.plug(vif).interface_xml
    with attached(guests["web"], element, vif, peers[20]) as address:
        assert peers[20].reaches(address)
    assert becomes(lambda: state(host, vif.device) == ("disconnected", "down"))
    host.driver.unplug(vif.id)
    assert vif.device not in host.ports("br-int") and guests["web"].reaches(DB)


def test_the_switch_may_be_one_that_vifplug_does_not_know(
    guests: dict[str, BootedGuest], peers: Peers, host: PrivateHost
) -> None:
    """Without ``bridge`` vifplug makes the directory of the socket: the port is somebody else's to make."""
    vif = vhostuser(4, host.directory / "other/web", bridge=None, vlan=None)
    element = host.driver.plug(vif).interface_xml
    kind = ("type=dpdkvhostuserclient", f"options:vhost-server-path={vif.source.path}")
    host.ovs.ctl("add-port", "br-int", "strange", "tag=20", "--", "set", "Interface", "strange", *kind)
    with attached(guests["web"], element, vif, peers[20]) as address:
        assert peers[20].reaches(address)
    host.driver.unplug(vif.id)
    assert "strange" in host.ports("br-int") and not Path(vif.source.path).exists()
    host.ovs.ctl("del-port", "br-int", "strange")


def test_after_a_guest_its_port_is_down_and_after_unplug_nothing_is_left(
    guests: dict[str, BootedGuest], peers: Peers, host: PrivateHost
) -> None:
    guests["web"].destroy()
    assert not Path(web(host).source.path).exists()
    assert becomes(lambda: state(host, web(host).device) == ("disconnected", "down"))
    assert host.driver.check() == []  # a guest that is off is no difference
    guests["db"].kill()
    assert Path(db(host).source.path).is_socket()
    [message] = host.driver.check()
    assert message.vif_id == db(host).id and message.path.endswith("stale")
    for vif in (web(host), db(host)):
        host.driver.unplug(vif.id)
    assert host.driver.list() == [] and host.ports("br-int") == {each.name for each in peers.values()}
    assert not (host.directory / "vhost").exists()
    assert "vhost" not in host.ovs.ctl("list", "Interface")


def test_a_guest_is_the_client_of_a_socket_that_the_switch_makes(boot: Boot, peers: Peers, host: PrivateHost) -> None:
    """The older form (dpdkvhostuser). QEMU connects again where ``reconnect`` says so."""
    reconnect = {"enabled": True, "timeout": 1}
    vif = vhostuser(5, host.ovs.directory / "vhu5", "client", reconnect=reconnect)
    guest = boot("old", [host.driver.plug(vif).interface_xml], shared_memory=True)
    guest.configure(vif.mac, f"{OLD}/24")
    assert peers[10].reaches(OLD) and peers[20].is_cut_off(OLD)
    host.ovs.stop("ovs-vswitchd")
    host.ovs.start("ovs-vswitchd")
    assert peers[10].reaches(OLD)
    assert host.driver.check() == []
    guest.destroy()
    host.driver.unplug(vif.id)
    assert not Path(vif.source.path).exists() and "vhu5" not in host.ports("br-int")


def test_no_guest_starts_with_an_mtu_for_such_an_interface(boot: Boot, host: PrivateHost, peers: Peers) -> None:
    """Why the type refuses one: libvirt sets it on a kernel device of the port's name."""
    vif = web(host)
    with pytest.raises(errors.InvalidDocument, match="port_mtu"):
        host.driver.plug(vif.replace(mtu=1400))
    element = host.driver.plug(vif).interface_xml
    with pytest.raises(LibvirtRefused, match="Cannot set interface MTU"):
        boot("never", [element.replace("</interface>", "<mtu size='1400'/></interface>")], shared_memory=True)
    host.driver.unplug(vif.id)
