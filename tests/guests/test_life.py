"""What becomes of a VIF when its guest, its guest's host process or libvirtd is stopped, saved, killed or refused.

A tap that vifplug made is there before the guest and stays when it ends. So its place in a switch, its VLAN and what
identifies it are the same all the time, whatever happens to the guest.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.guests.peers import Peer, addressed, peer, reached
from vifplug import VIF, Instance, interface_xml
from vifplug.driver.verbs import Plugged
from vifplug.guest.domain.live import guest
from vifplug.testing.guests import BootedGuest, Image, boot, definition
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtHost, LibvirtRefused, domain

pytestmark = pytest.mark.xdist_group("guests-2")

GUEST = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web")
OVS = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}


def vif(number: int, **keys: Any) -> VIF:
    ids = {"id": f"{number:08}-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "mac": f"52:54:00:00:00:{number:02x}"}
    return VIF.from_json({**ids, "target": f"tap{number}", "model": "virtio", **keys})


ACCESS = vif(1, **OVS, vlan=10, mtu=1400)
NATIVE = vif(2, **OVS, vlan="10u,20", external_ids={"colour": "red"}, driver={"queues": 2})
LINUX = vif(3, type="bridge", source={"bridge": "br0"}, port={"isolated": True})
MACVTAP = vif(4, type="direct", source={"dev": "wire", "mode": "bridge"}, tap_owner="vifplug")
OURS = (ACCESS, NATIVE, LINUX, MACVTAP)
#: vifplug makes the port and libvirt the tap; libvirt makes both
AHEAD = vif(5, **{**OVS, "source": {"bridge": "br-int", "port_owner": "vifplug"}}, tap_owner="libvirt", vlan=10)
LIBVIRTS = vif(6, **OVS, tap_owner="libvirt", vlan=10)
ALL = (*OURS, AHEAD, LIBVIRTS)
REACHED_BY = {ACCESS: "vlan10", NATIVE: "vlan10", LINUX: "lan", MACVTAP: "wire", AHEAD: "vlan10", LIBVIRTS: "vlan10"}


class Web:
    """The guest that all happens to, with an interface of each form, each in an IP network of its own."""

    def __init__(self, libvirt: LibvirtHost, image: Image) -> None:
        self.libvirt, self.driver = libvirt, libvirt.host.driver
        elements = [each.interface_xml for each in self.plug()]
        #: a guest that reboots goes on
        self.xml = definition(image, "web", elements).replace("<on_reboot>destroy", "<on_reboot>restart")
        self.guest = BootedGuest(libvirt, "web")

    def plug(self) -> list[Plugged]:
        """As agents do before each start of a guest."""
        return self.driver.plug_many([(each, GUEST) for each in ALL])

    def start(self) -> None:
        self.plug()
        self.libvirt.virsh("create", "--validate", self.libvirt.write(self.xml))
        self.configure()

    def configure(self) -> None:
        self.guest.reconnect()
        self.guest.run("echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")  # each card answers for its own address
        for each in ALL:
            self.guest.configure(each.mac, f"{address(each)}/24")


def address(vif: VIF) -> str:
    return f"10.{int(vif.id[:8])}.0.100"


@pytest.fixture(scope="module")
def everybody(host: PrivateHost, peers: Mapping[str, Peer]) -> Iterator[Mapping[str, Peer]]:
    """The peers, and one behind a device that macvtaps are on; each is in all the IP networks."""
    with peer(host, "wire", 4) as wire:
        found = {**peers, "wire": wire}
        addressed(found.values(), [address(each).rpartition(".")[0] for each in ALL])
        yield found


@pytest.fixture(scope="module")
def web(libvirt: LibvirtHost, image: Image, everybody: object) -> Iterator[Web]:
    web = Web(libvirt, image)
    web.start()
    yield web
    libvirt.clear()
    for each in ALL:
        web.driver.unplug(each.id)


def suspended(web: Web) -> None:
    web.libvirt.virsh("suspend", "web")
    web.libvirt.virsh("resume", "web")


def libvirtd_stopped(web: Web) -> None:
    web.libvirt.stop()
    web.libvirt.start()


def libvirtd_killed(web: Web) -> None:
    web.libvirt.stop(signal.SIGKILL)
    web.libvirt.start()


def switch_stopped(web: Web) -> None:
    web.libvirt.host.ovs.stop("ovs-vswitchd")
    web.libvirt.host.ovs.start("ovs-vswitchd")


def rebooted(web: Web) -> None:
    web.libvirt.virsh("reset", "web")
    web.configure()


def saved(web: Web) -> None:
    web.libvirt.virsh("save", "web", "/var/lib/libvirt/web.save")
    web.plug()
    web.libvirt.virsh("restore", "/var/lib/libvirt/web.save")
    web.guest.reconnect()


def destroyed(web: Web) -> None:
    web.guest.destroy()
    web.start()


def killed(web: Web) -> None:
    web.guest.kill()
    web.start()


#: QEMU lives on in those, and ends in these
LASTING = (suspended, libvirtd_stopped, libvirtd_killed, switch_stopped, rebooted)
ENDING = (saved, destroyed, killed)


@pytest.mark.parametrize("happening", [pytest.param(each, id=each.__name__) for each in (*LASTING, *ENDING)])
def test_what_vifplug_made_is_the_same_afterwards(
    happening: Callable[[Web], None], web: Web, host: PrivateHost, everybody: Mapping[str, Peer]
) -> None:
    """Links keep their numbers, rows their UUIDs, ports their numbers in the switch: nothing was made anew."""
    before = {each.device: found(host, each) for each in OURS}
    rows = identity(host, AHEAD)
    happening(web)
    assert {each.device: found(host, each) for each in OURS} == before
    assert identity(host, AHEAD) == rows
    host.driver.settle(AHEAD.id)
    assert host.driver.check() == []
    assert reaching(everybody) == REACHED_BY


@pytest.mark.parametrize("happening", [pytest.param(each, id=each.__name__) for each in (libvirtd_killed, saved)])
def test_what_libvirt_made_goes_with_qemu_and_comes_again_as_the_element_says(
    happening: Callable[[Web], None], web: Web, host: PrivateHost
) -> None:
    before = found(host, LIBVIRTS)
    happening(web)
    assert (found(host, LIBVIRTS) == before) is (happening in LASTING)
    assert host.port(LIBVIRTS.device, "tag", "Port") == "10"
    assert host.port(LIBVIRTS.device, "external_ids:iface-id") == f'"{LIBVIRTS.id}"'


# -- what libvirt refuses, and what it makes itself --------------------------------------------------------------------


@pytest.fixture
def spare(host: PrivateHost) -> Iterator[Plugged]:
    """A VIF that is plugged, and no guest's yet."""
    yield host.driver.plug(vif(7, **OVS, vlan=10), GUEST)
    host.driver.unplug(vif(7, **OVS).id)


def test_a_guest_that_does_not_start_takes_nothing_along(
    spare: Plugged, libvirt: LibvirtHost, image: Image, host: PrivateHost
) -> None:
    before = found(host, spare.vif)
    with pytest.raises(LibvirtRefused, match="/nowhere"):
        boot(libvirt, Image(Path("/nowhere"), image.initramfs), "second", [spare.interface_xml])
    assert found(host, spare.vif) == before and host.driver.check(spare.vif.id) == []


def test_a_tap_has_one_guest(
    web: Web, spare: Plugged, libvirt: LibvirtHost, host: PrivateHost, everybody: Mapping[str, Peer]
) -> None:
    """Whether the second one starts with it or has it attached; nothing of it is lost for the first."""
    taken = host.driver.show(ACCESS.id).interface_xml
    libvirt.create(domain("second", spare.interface_xml))
    with pytest.raises(LibvirtRefused, match="Device or resource busy"):
        libvirt.virsh("attach-device", "second", libvirt.write(taken), "--live")
    libvirt.virsh("destroy", "second")
    with pytest.raises(LibvirtRefused, match="Device or resource busy"):
        libvirt.create(domain("second", spare.interface_xml + taken))
    assert host.driver.check(ACCESS.id) == [] and everybody["vlan10"].reaches(address(ACCESS))


def test_what_libvirt_deletes_of_a_tap_that_it_takes_for_its_own_is_reported_and_recreated(
    spare: Plugged, libvirt: LibvirtHost, host: PrivateHost
) -> None:
    """It cleans up after a start that it refuses, unless the element says that the tap is not its own."""
    with pytest.raises(LibvirtRefused, match="already exists"):
        libvirt.create(domain("second", spare.interface_xml.replace(" managed='no'", "")))
    tap = spare.vif.device
    assert tap not in host.links()
    assert f"tap {tap}: expected present, got nothing" in map(str, host.driver.check(spare.vif.id))
    assert host.driver.plug(spare.vif).changed and host.driver.check(spare.vif.id) == []
    libvirt.create(domain("second", spare.interface_xml))
    assert host.port(tap, "link_state") == "up"
    libvirt.virsh("destroy", "second")


@pytest.mark.usefixtures("peers")
def test_an_adopted_port_that_libvirt_makes_again_is_reported_and_repaired(
    libvirt: LibvirtHost, host: PrivateHost
) -> None:
    """What comes back is what the element says, and not what vifplug has set since."""
    asked = vif(8, **OVS, tap_owner="libvirt", vlan=10)
    libvirt.create(domain("second", interface_xml(asked)))
    running = guest(libvirt.virsh("dumpxml", "second").encode())
    [adopted] = host.driver.adopt([(each.vif, running.instance) for each in running.interfaces])
    wanted = adopted.vif.replace(vlan=vif(8, **OVS, vlan=20).vlan)
    host.driver.update(wanted)
    libvirt.stop(signal.SIGKILL)
    libvirt.start()
    libvirt.virsh("dumpxml", "second")  # answers when libvirtd has taken the guest up again
    again = {"10": ["adopted-port tap8: vlan: expected tag 20, got tag 10"], "20": []}
    # libvirt 11.3 makes the port again when it starts; 9.0 leaves it as it is
    assert [str(each) for each in host.driver.check(asked.id)] == again[host.port("tap8", "tag", "Port")]
    save_and_restore(libvirt, "second")
    assert [str(each) for each in host.driver.check(asked.id)] == again["10"]
    assert host.driver.update(wanted).changed
    assert host.port("tap8", "tag", "Port") == "20" and host.driver.check(asked.id) == []
    host.driver.unplug(asked.id)
    libvirt.virsh("destroy", "second")


def save_and_restore(libvirt: LibvirtHost, name: str) -> None:
    file = f"/var/lib/libvirt/{name}.save"
    libvirt.virsh("save", name, file)
    libvirt.virsh("restore", file)


def reaching(everybody: Mapping[str, Peer]) -> dict[VIF, str]:
    """By whom each card is reached, and by nobody else: the names."""
    for each, name in REACHED_BY.items():
        assert everybody[name].reaches(address(each)), f"{name} does not reach {each.device}"
    answers = reached(everybody.values(), map(address, ALL))
    return {each: ", ".join(name for name in everybody if address(each) in answers[name]) for each in ALL}


def found(host: PrivateHost, vif: VIF) -> Any:
    """The device and its place in a Linux bridge, as the kernel has them, and its port, as Open vSwitch has it."""
    [link] = json.loads(host.ip("-d", "-j", "link", "show", "dev", vif.device))
    device = {key: link.get(key) for key in ("ifindex", "address", "mtu", "ifalias", "master")}
    flags = link["linkinfo"].get("info_slave_data", {})
    return (
        device,
        "UP" in link["flags"],
        {key: flags.get(key) for key in ("isolated", "learning")},
        port(host, vif.device),
    )


def port(host: PrivateHost, device: str) -> dict[str, str]:
    """What there is of a port in Open vSwitch's tables."""
    columns = {
        "Port": "_uuid,tag,vlan_mode,trunks,external_ids,other_config,qos",
        "Interface": "_uuid,ofport,external_ids,options,mtu_request,error",
    }
    return {
        table: host.ovs.ctl(f"--columns={names}", "find", table, f"name={device}") for table, names in columns.items()
    }


def identity(host: PrivateHost, vif: VIF) -> list[str]:
    """What others know a port by, and its VLAN. Its number is the switch's, which gives it when the tap comes."""
    columns = (("_uuid", "Port"), ("tag", "Port"), ("_uuid", "Interface"), ("external_ids", "Interface"))
    return [host.port(vif.device, *each) for each in columns]
