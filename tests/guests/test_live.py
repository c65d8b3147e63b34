"""What changes while a guest runs: its VLAN, its bridge, its MTU, its link, and which interfaces it has."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.guests.conftest import Boot
from tests.guests.peers import Peer, peer, reached
from tests.support.patience import becomes
from vifplug import VIF, Instance, errors
from vifplug.driver.verbs import Plugged
from vifplug.testing.guests import BootedGuest
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtRefused

pytestmark = pytest.mark.xdist_group("guests-2")

GUEST = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web")
OVS = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
LINUX = {"type": "bridge", "source": {"bridge": "br0"}}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def everybody(host: PrivateHost, peers: Mapping[str, Peer]) -> Iterator[Mapping[str, Peer]]:
    """The peers; one on another Open vSwitch bridge, and one behind a device that macvtaps are on."""
    host.ovs.ctl("add-br", "br-other", "--", "set", "bridge", "br-other", "datapath_type=netdev")
    with peer(host, "other", 4) as other, peer(host, "wire", 5) as wire:
        host.ovs.ctl("add-port", "br-other", "other")
        yield {**peers, "other": other, "wire": wire}


@pytest.fixture(scope="module")
def web(boot: Boot) -> BootedGuest:
    return boot("web")


Attach = Callable[..., Plugged]


@pytest.fixture
def attach(web: BootedGuest, host: PrivateHost, everybody: object) -> Iterator[Attach]:
    """Plugs a VIF and attaches it to the guest, which has no other; afterwards nothing of it may be left."""
    links, ports = host.links(), host.ovs.ctl("list", "Port")
    attached: list[Plugged] = []

    def attach(**keys: Any) -> Plugged:
        number = next(_numbers)
        ids = {"id": f"{number:08}-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "mac": f"52:54:00:00:00:{number:02x}"}
        plugged = host.driver.plug(VIF.from_json({**ids, "target": f"tap{number}", "model": "virtio", **keys}), GUEST)
        attached.append(plugged)
        web.attach(plugged.interface_xml)
        web.configure(plugged.vif.mac, f"{address(plugged.vif)}/24")
        return plugged

    yield attach
    for plugged in attached:
        if plugged.vif.mac in web.libvirt.virsh("domiflist", "web"):
            web.detach(plugged.interface_xml, plugged.vif.mac)
        host.driver.unplug(plugged.vif.id)
    assert (host.links(), host.ovs.ctl("list", "Port")) == (links, ports)


def address(vif: VIF) -> str:
    """One that no other VIF has: peers remember whose it was."""
    return f"10.0.0.{100 + int(vif.id[:8])}"


def changed(vif: VIF, **keys: Any) -> VIF:
    """The document with other values; None takes a key away."""
    document = {**json.loads(vif.to_json()), **keys}
    return VIF.from_json({key: value for key, value in document.items() if value is not None})


def rows(host: PrivateHost, vif: VIF) -> list[str]:
    return [
        host.port(vif.device, *each) for each in (("_uuid", "Port"), ("_uuid", "Interface"), ("ofport", "Interface"))
    ]


def carrier_changes(web: BootedGuest, vif: VIF) -> str:
    return web.run(f"cat /sys/class/net/{web.device(vif.mac)}/carrier_changes")


def reached_by(everybody: Mapping[str, Peer], vif: VIF) -> set[str]:
    return {name for name, found in reached(everybody.values(), [address(vif)]).items() if found}


# -- attached and detached --------------------------------------------------------------------------------------------

KINDS = {
    "Open vSwitch": ({**OVS, "vlan": 20, "mtu": 1400}, "vlan20"),
    "Open vSwitch, libvirt's tap": ({**OVS, "vlan": 20, "mtu": 1400, "tap_owner": "libvirt"}, "vlan20"),
    "two queues, isolated on a Linux bridge": ({**LINUX, "driver": {"queues": 2}, "port": {"isolated": True}}, "lan"),
    "direct": ({"type": "direct", "source": {"dev": "wire", "mode": "private"}}, "wire"),
    "direct, vifplug's macvtap": (
        {"type": "direct", "source": {"dev": "wire", "mode": "passthrough"}, "tap_owner": "vifplug"},
        "wire",
    ),
}


@pytest.mark.parametrize(("keys", "name"), [pytest.param(*each, id=name) for name, each in KINDS.items()])
def test_an_attached_interface_works_until_it_is_detached(
    keys: dict[str, Any], name: str, attach: Attach, web: BootedGuest, host: PrivateHost, everybody: Mapping[str, Peer]
) -> None:
    plugged = attach(**keys)
    vif = plugged.vif
    assert web.mtu(vif.mac) == keys.get("mtu", 1500)
    assert everybody[name].reaches(address(vif)) and reached_by(everybody, vif) == {name}
    assert host.driver.settle(vif.id) == () and host.driver.check() == []
    web.detach(plugged.interface_xml, vif.mac)
    assert host.driver.check() == []


def test_unplugging_waits_until_the_guest_lets_go(attach: Attach, web: BootedGuest, host: PrivateHost) -> None:
    plugged = attach(**OVS, vlan=10)
    before = rows(host, plugged.vif)
    message = (
        f"tap {plugged.vif.device} of VIF {plugged.vif.id} is in use by a running guest: stop the guest or detach the "
        "interface first, or unplug with force"
    )
    with pytest.raises(errors.Held) as held:
        host.driver.unplug(plugged.vif.id)
    assert str(held.value) == message
    assert rows(host, plugged.vif) == before and host.driver.check() == []
    web.detach(plugged.interface_xml, plugged.vif.mac)
    assert rows(host, plugged.vif) == before and host.driver.check() == []
    assert host.driver.unplug(plugged.vif.id)


def test_forced_out_under_the_guest_and_brought_back(
    attach: Attach, web: BootedGuest, host: PrivateHost, everybody: Mapping[str, Peer], boot: Boot
) -> None:
    """The guest does not get the new tap of the same name: the interface has to be attached again."""
    plugged = attach(**OVS, vlan=10)
    assert host.driver.unplug(plugged.vif.id, force=True)
    assert plugged.vif.device not in host.links() and plugged.vif.device not in host.ports("br-int")
    assert host.driver.plug(plugged.vif, GUEST).changed
    assert reached_by(everybody, plugged.vif) == set()
    detach_without_device(web, boot, plugged)
    assert host.driver.check() == []
    web.attach(plugged.interface_xml)
    web.configure(plugged.vif.mac, f"{address(plugged.vif)}/24")
    assert everybody["vlan10"].reaches(address(plugged.vif))


def test_nothing_shows_that_a_guest_has_a_macvtap(
    attach: Attach, web: BootedGuest, host: PrivateHost, boot: Boot
) -> None:
    """The kernel shows a macvtap's carrier, which is its device's, and not whether somebody has it open."""
    plugged = attach(type="direct", source={"dev": "wire", "mode": "bridge"}, tap_owner="vifplug")
    assert host.driver.unplug(plugged.vif.id)
    assert plugged.vif.device not in host.links()
    detach_without_device(web, boot, plugged)


def detach_without_device(web: BootedGuest, boot: Boot, plugged: Plugged) -> None:
    """Detach an interface whose tap was deleted. QEMU 10 exits when the card is reset; then start the guest again."""
    try:
        web.detach(plugged.interface_xml, plugged.vif.mac)
    except LibvirtRefused:
        assert becomes(lambda: "web" not in web.libvirt.running(), 40)
        boot("web")
        web.reconnect()


# -- changed in place -------------------------------------------------------------------------------------------------


def test_a_vlan_changes_under_the_guest_and_its_port_stays(
    attach: Attach, web: BootedGuest, host: PrivateHost, everybody: Mapping[str, Peer]
) -> None:
    """Pings in a VLAN that the port has all the time go on; the guest's cable is never out."""
    vif = attach(**OVS, vlan=10).vif
    before, carrier = rows(host, vif), carrier_changes(web, vif)
    assert everybody["vlan10"].reaches(address(vif))
    with everybody["vlan10"].stream(address(vif)) as pings:
        for each in ("10u,20", "10u,20,30", 10):
            pings.await_answers()
            assert host.driver.update(changed(vif, vlan=each)).changed
        pings.await_answers()
    print(pings)
    assert pings.lost <= len(pings.answered) / 10
    host.driver.update(changed(vif, vlan=20))
    assert everybody["vlan20"].reaches(address(vif)) and reached_by(everybody, vif) == {"vlan20"}
    assert (rows(host, vif), carrier_changes(web, vif)) == (before, carrier)
    assert host.driver.check() == []


@pytest.mark.parametrize(
    ("keys", "changes", "name"),
    [
        pytest.param(OVS, {**OVS, "source": {"bridge": "br-other"}}, "other", id="to another of Open vSwitch"),
        pytest.param({**OVS, "vlan": 10}, LINUX, "lan", id="to a Linux bridge"),
        pytest.param(LINUX, {**OVS, "vlan": 20}, "vlan20", id="from a Linux bridge"),
    ],
)
def test_a_port_moves_to_another_bridge_under_the_guest(
    keys: dict[str, Any], changes: dict[str, Any], name: str,
    attach: Attach, web: BootedGuest, host: PrivateHost, everybody: Mapping[str, Peer],
) -> None:  # fmt: skip
    plugged = attach(**keys)
    carrier = carrier_changes(web, plugged.vif)
    moved = host.driver.update(changed(plugged.vif, **{"vlan": None, "virtualport": None, **changes}))
    assert moved.changed and moved.interface_xml == plugged.interface_xml
    assert everybody[name].reaches(address(plugged.vif)) and reached_by(everybody, plugged.vif) == {name}
    assert carrier_changes(web, plugged.vif) == carrier and host.driver.check() == []


def test_an_mtu_reaches_the_guest_when_it_is_attached_again(
    attach: Attach, web: BootedGuest, host: PrivateHost, everybody: Mapping[str, Peer]
) -> None:
    """libvirt has no way to tell a running guest: "cannot modify MTU"; so the tap keeps it while the guest has it."""
    plugged = attach(**OVS, vlan=10, mtu=1400)
    larger = host.driver.update(changed(plugged.vif, mtu=9000))
    assert "mtu 1400" in host.ip("link", "show", "dev", plugged.vif.device)
    assert any("keeps MTU 1400 instead of 9000" in warning for warning in larger.warnings)
    assert {(each.wanted, each.found) for each in host.driver.check()} == {(9000, 1400)}
    assert web.mtu(plugged.vif.mac) == 1400 and everybody["vlan10"].reaches(
        address(plugged.vif), "-M", "do", "-s", "1372"
    )
    web.detach(plugged.interface_xml, plugged.vif.mac)
    host.driver.plug(larger.vif)
    assert "mtu 9000" in host.ip("link", "show", "dev", plugged.vif.device) and host.driver.check() == []
    web.attach(larger.interface_xml)
    web.configure(plugged.vif.mac, f"{address(plugged.vif)}/24")
    assert web.mtu(plugged.vif.mac) == 9000 and everybody["vlan10"].reaches(
        address(plugged.vif), "-M", "do", "-s", "8972"
    )


def test_what_would_need_another_tap_is_refused_while_the_guest_has_this_one(
    attach: Attach, host: PrivateHost, everybody: Mapping[str, Peer]
) -> None:
    plugged = attach(**OVS, vlan=10)
    with pytest.raises(
        errors.Held, match=r"would have to be recreated \(.*multi_queue.*\), and a running guest has it open"
    ):
        host.driver.update(changed(plugged.vif, driver={"queues": 2}))
    assert everybody["vlan10"].reaches(address(plugged.vif)) and host.driver.check() == []


def test_a_cable_that_is_out_is_put_in_by_the_element_of_an_update(
    attach: Attach, web: BootedGuest, host: PrivateHost, everybody: Mapping[str, Peer]
) -> None:
    """The guest's end is libvirt's to set, and a device of vifplug's stays vifplug's when libvirt does."""
    plugged = attach(**OVS, vlan=10, link_state="down")
    card = web.device(plugged.vif.mac)
    assert web.run(f"cat /sys/class/net/{card}/carrier").strip() == "0" and reached_by(everybody, plugged.vif) == set()
    updated = host.driver.update(changed(plugged.vif, link_state=None))
    web.libvirt.virsh("update-device", "web", web.libvirt.write(updated.interface_xml), "--live")
    assert everybody["vlan10"].reaches(address(plugged.vif))
    web.detach(updated.interface_xml, plugged.vif.mac)
    assert plugged.vif.device in host.links() and host.driver.check() == []
