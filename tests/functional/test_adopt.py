"""Taking over real guests of a real libvirtd: what it plugged is checked, changed in place, and left as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import bridges
from tests.support.command import vifplug
from vifplug import VIF, Instance, errors
from vifplug.guest.domain import live
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtHost, domain

ID = "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11"
OTHER = "5f6e7d8c-1111-4222-8333-444455556666"
MAC = "52:54:00:00:00:01"
GUEST = "11111111-2222-4333-8444-555555555555"


def on_openvswitch(
    vlan: str = "<vlan><tag id='10'/></vlan>", *, id: str = ID, mac: str = MAC, target: str = "web0"
) -> str:
    return (
        f"<interface type='bridge'><mac address='{mac}'/><source bridge='br-int'/>{vlan}"
        f"<virtualport type='openvswitch'><parameters interfaceid='{id}'/></virtualport>"
        f"<target dev='{target}'/><model type='virtio'/></interface>"
    )


TRUNK = "<vlan trunk='yes'><tag id='11'/><tag id='12' nativeMode='untagged'/></vlan>"
LINUX = (
    "<interface type='bridge'><mac address='52:54:00:00:00:03'/><source bridge='br0'/><port isolated='yes'/>"
    "<target dev='web1'/><model type='virtio'/></interface>"
)
DIRECT = (
    "<interface type='direct'><mac address='52:54:00:00:00:04'/><source dev='low0' mode='bridge'/>"
    "<model type='virtio'/></interface>"
)
NAMED = (
    "<interface type='network'><mac address='52:54:00:00:00:05'/><source network='red' portgroup='engineering'/>"
    "<target dev='web2'/><model type='virtio'/></interface>"
)
RED = (
    "<network><name>red</name><forward mode='bridge'/><bridge name='br-int'/><virtualport type='openvswitch'/>"
    "<portgroup name='engineering'><vlan><tag id='30'/></vlan></portgroup></network>"
)


@pytest.fixture
def taken(guests: LibvirtHost, host: PrivateHost) -> Iterator[LibvirtHost]:
    """libvirtd on a host with a Linux bridge and a device for macvtaps; adopted VIFs are forgotten afterwards."""
    bridges.add(host, "br0")
    host.ip("link", "add", "low0", "type", "veth", "peer", "low1")
    for device in ("low0", "low1", "br0"):
        host.ip("link", "set", "dev", device, "up")
    yield guests
    for entry in host.driver.list():
        host.driver.unplug(entry.vif.id)
    guests.clear()
    for device in ("br0", "low0"):
        host.ip("link", "delete", "dev", device)


@pytest.fixture
def red(taken: LibvirtHost, host: PrivateHost) -> Iterator[Path]:
    """The network red, which runs in libvirt; where this host's own definition of it may be."""
    taken.virsh("net-create", taken.write(RED))
    definition = host.networks / "red.xml"
    yield definition
    definition.unlink(missing_ok=True)
    taken.virsh("net-destroy", "red")


def started(guests: LibvirtHost, *interfaces: str) -> Path:
    """The live definition of a guest that is started with these interfaces."""
    guests.create(domain("web", "".join(interfaces), id=GUEST))
    return guests.write(guests.virsh("dumpxml", "web"))


def test_a_guest_with_one_interface_of_each_kind(taken: LibvirtHost, host: PrivateHost, red: Path) -> None:
    red.write_text(RED)
    second = on_openvswitch(TRUNK, id=OTHER, mac="52:54:00:00:00:02", target="vnet")  # a name that libvirt replaces
    file = started(taken, on_openvswitch(), second, LINUX, DIRECT, NAMED, "<interface type='user'/>")
    devices = re.findall("<target dev='(.*?)'/>", file.read_text())
    assert re.fullmatch(r"vnet\d+", devices[1])
    before = _configured(host)

    dry_run = vifplug("adopt", "--dry-run", file, "-f", "json", config=host.config).data
    assert host.driver.list() == []
    done = vifplug("adopt", file, "-f", "json", config=host.config).data
    assert done == dry_run
    assert [(row["device"], row["changed"], row["differences"]) for row in done] == [
        (device, True, []) for device in devices
    ]
    again = vifplug("adopt", file, "-f", "json", config=host.config).data
    assert again == [{**row, "changed": False} for row in done]
    assert vifplug("check", config=host.config).out == "all 5 VIFs are as recorded\n"

    named = next(entry for entry in host.driver.list() if entry.vif.type == "network")
    assert named.vif.source.to_data() == {"network": "red", "portgroup": "engineering"}
    assert (named.actual.vlan, named.actual.device) == (VIF.from_json({**_BASE, "vlan": 30}).vlan, "web2")
    assert all(entry.instance and entry.instance.name == "web" for entry in host.driver.list())
    assert "no VIF's port" not in vifplug("topology", config=host.config).out

    for entry in host.driver.list():
        assert host.driver.unplug(entry.vif.id) == ()
    assert _configured(host) == before


_BASE = {"id": ID, "type": "bridge", "mac": MAC, "source": {"bridge": "br-int"}}


def test_checked_changed_in_place_and_restored(taken: LibvirtHost, host: PrivateHost, tmp_path: Path) -> None:
    file = started(taken, on_openvswitch())
    rows = _rows(host)
    host.ovs.ctl("set", "Port", "web0", "tag=66")
    [adopted] = host.driver.adopt(_pairs(file))
    message = "adopted-port web0: vlan: expected tag 10, got tag 66"  # from the beginning, and later
    assert [str(each) for each in adopted.differences] == [message] == [str(each) for each in host.driver.check(ID)]

    shown = vifplug("show", ID, "-f", "json", config=host.config).data["vif"]
    document = tmp_path / "web.json"
    document.write_text(json.dumps({**shown, "vlan": 20}))
    assert vifplug("update", document, "-f", "json", config=host.config).data["changed"]
    assert (host.port("web0", "tag", "Port"), host.port("web0", "vlan_mode", "Port")) == ("20", "[]")
    assert _rows(host) == rows and host.driver.check() == []

    # The guest's element says neither that the port is there already nor what its tap is called: that is kept
    host.driver.update(VIF.from_xml(on_openvswitch(TRUNK)))
    assert (host.port("web0", "trunks", "Port"), host.port("web0", "tag", "Port")) == ("[11, 12]", "12")
    assert _rows(host) == rows and host.driver.check() == []

    assert host.driver.unplug(ID)
    assert (host.port("web0", "tag", "Port"), host.port("web0", "vlan_mode", "Port")) == ("66", "[]")
    assert host.driver.list() == [] and host.ports("br-int") == {"web0"}


def test_a_port_on_a_linux_bridge(taken: LibvirtHost, host: PrivateHost) -> None:
    [adopted] = host.driver.adopt(_pairs(started(taken, LINUX)))
    assert adopted.differences == ()
    host.ip("link", "set", "dev", "web1", "type", "bridge_slave", "isolated", "off")
    assert [each.path for each in host.driver.check()] == ["adopted-bridge-port web1: isolated"]
    assert host.driver.update(adopted.vif).changed
    assert host.driver.check() == []
    assert host.driver.update(adopted.vif.replace(port=None)).steps == ()
    host.driver.unplug(adopted.vif.id)
    assert "isolated on" in host.ip("-d", "link", "show", "dev", "web1")


def test_a_named_networks_change_reaches_an_adopted_port(taken: LibvirtHost, host: PrivateHost, red: Path) -> None:
    file = started(taken, NAMED)
    vifplug("adopt", file, config=host.config)
    [entry] = host.driver.list()  # before this host defines it
    assert (entry.vif, entry.vif.type) == (entry.actual, "bridge")
    red.write_text(RED)
    vifplug("adopt", file, config=host.config)
    red.write_text(RED.replace("'30'", "'31'"))
    assert [each.path for each in host.driver.check()] == ["network red: vlan"]
    [updated] = host.driver.update_network("red")
    assert updated.actual.device == "web2" and host.port("web2", "tag", "Port") == "31"
    assert host.ports("br-int") == {"web2"}


def test_a_guest_that_has_stopped_and_another_that_has_its_names_by_now(taken: LibvirtHost, host: PrivateHost) -> None:
    file = started(taken, on_openvswitch(), LINUX)
    host.driver.adopt(_pairs(file))
    taken.clear()
    gone = [
        "adopted-port web0: expected present, got nothing",
        "adopted-bridge-port web1: expected present, got nothing",
    ]
    assert [str(each) for each in host.driver.check()] == gone
    second = on_openvswitch("<vlan><tag id='77'/></vlan>", id=OTHER, mac="52:54:00:00:00:09")
    taken.create(domain("db", second + LINUX.replace("00:03", "00:08")))
    assert [each.found for each in host.driver.check()] == [
        f"a port of iface-id {OTHER}, expected {ID}",
        "another guest's device web1, unmarked, in bridge br0",
    ]
    again = vifplug("adopt", file, config=host.config)
    assert again.code == 4 and len(again.complaints) == 2
    assert all(host.driver.unplug(entry.vif.id) == () for entry in host.driver.list())
    assert host.port("web0", "tag", "Port") == "77"


def test_adopted_again_after_a_restart_of_the_guest(taken: LibvirtHost, host: PrivateHost) -> None:
    """libvirt brings back the VLAN of its own definition; what is put back at the end is what it made last."""
    host.driver.adopt(_pairs(started(taken, on_openvswitch())))
    host.driver.update(host.driver.show(ID).vif.replace(vlan=VIF.from_json({**_BASE, "vlan": 20}).vlan))
    taken.virsh("destroy", "web")
    file = started(taken, on_openvswitch("<vlan><tag id='40'/></vlan>"))
    assert [each.path for each in host.driver.check()] == ["adopted-port web0: vlan"]  # its record still says 20
    assert host.driver.adopt(_pairs(file))[0].differences == ()
    host.driver.update(host.driver.show(ID).vif.replace(vlan=VIF.from_json({**_BASE, "vlan": 50}).vlan))
    host.driver.unplug(ID)
    assert host.port("web0", "tag", "Port") == "40"


def test_each_interface_for_itself(taken: LibvirtHost, host: PrivateHost) -> None:
    file = started(taken, on_openvswitch(), LINUX)
    host.ovs.ctl("del-port", "web0")
    answer = vifplug("adopt", file, config=host.config)
    assert answer.code == 3
    assert answer.complaints == [f"adopted-port web0 of VIF {ID} does not exist: is the guest running on this host?"]
    [entry] = host.driver.list()
    assert entry.actual.device == "web1"


def test_a_vif_of_vifplugs_own_is_not_adopted(host: PrivateHost, libvirt: LibvirtHost) -> None:
    plugged = host.driver.plug(VIF.from_json({**_BASE, "virtualport": {"type": "openvswitch"}}))
    live = VIF.from_xml(on_openvswitch()).replace(target=plugged.actual.device)
    with pytest.raises(errors.Conflict, match=f"VIF {ID} was plugged by vifplug"):
        host.driver.adopt([(live, None)])
    other = live.replace(id=OTHER, virtualport=live.virtualport and live.virtualport.replace(interfaceid=OTHER))
    with pytest.raises(errors.Conflict, match=f"got a port that vifplug created, for VIF {ID}"):
        host.driver.adopt([(other, None)])
    host.driver.unplug(ID)


def test_an_interface_on_a_network_of_libvirts_own_is_left_and_told(host: PrivateHost, libvirt: LibvirtHost) -> None:
    """The element is what libvirt 9.0 prints of a running guest on a network with mode open."""
    own = f"<interface type='network'><mac address='{MAC}'/><source network='lab' portid='{ID}' bridge='virbr9'/>"
    file = libvirt.write(domain("web", f"{own}<target dev='vnet4'/></interface><interface type='user'/>"))
    answer = vifplug("adopt", file, config=host.config)
    assert (answer.code, answer.out) == (0, "the guest has no interface that libvirt plugged\n")
    assert answer.complaints == [
        f"interface {MAC} is left as it is: libvirt itself runs its network, lab, on virbr9",
        "interface without a MAC address is left as it is: libvirt connects type user without a port on the host",
    ]


def test_a_definition_that_is_not_of_a_running_guest(host: PrivateHost, libvirt: LibvirtHost) -> None:
    file = libvirt.write(domain("web", NAMED))
    answer = vifplug("adopt", file, config=host.config)
    assert answer.code == 2
    assert answer.complaints == [
        "interface 1 of the domain: names only its network: pass the output of `virsh dumpxml` for the running guest"
    ]
    assert vifplug("adopt", libvirt.write("<interface/>"), config=host.config).code == 2
    nothing = vifplug("adopt", libvirt.write(domain("web")), config=host.config)
    assert (nothing.code, nothing.out) == (0, "the guest has no interface that libvirt plugged\n")


@pytest.mark.parametrize("mode", ["server", "client"])
def test_a_vhost_user_port(host: PrivateHost, libvirt: LibvirtHost, mode: str) -> None:
    """Its port was made by somebody else: libvirt makes none. Without DPDK it does not work, which check tells."""
    path = "/run/vifplug/web0"
    kind = "dpdkvhostuserclient" if mode == "server" else "dpdkvhostuser"
    name = "vhu0" if mode == "server" else "web0"
    options = [f"options:vhost-server-path={path}"] if mode == "server" else []
    host.ovs.ctl("add-port", "br-int", name, "tag=7", "--", "set", "Interface", name, f"type={kind}", *options)
    interface = (
        f"<interface type='vhostuser'><mac address='{MAC}'/><source type='unix' path='{path}' mode='{mode}'/>"
        "<model type='virtio'/></interface>"
    )
    [row] = vifplug("adopt", libvirt.write(domain("web", interface)), "-f", "json", config=host.config).data
    assert (row["device"], row["actual"]["source"]["bridge"]) == (name, "br-int")
    assert [each.path for each in host.driver.check()] == [f"adopted-port {name}: error"]
    [entry] = host.driver.list()
    assert host.driver.unplug(entry.vif.id) == ()
    host.ovs.ctl("del-port", name)


def _rows(host: PrivateHost) -> list[str]:
    return [host.port("web0", "_uuid"), host.port("web0", "ofport"), host.port("web0", "_uuid", "Port")]


def _configured(host: PrivateHost) -> tuple[str, str, str]:
    """Everything that an adoption could have altered; not what ovs-vswitchd counts."""
    ports = host.ovs.ctl("--columns=_uuid,name,tag,trunks,vlan_mode,external_ids,other_config,qos", "list", "Port")
    interfaces = host.ovs.ctl("--columns=_uuid,name,type,external_ids,options,mtu_request", "list", "Interface")
    return ports, interfaces, netns.run("bridge", "-netns", host.namespace, "-details", "link")


def _pairs(file: Path) -> list[tuple[VIF, Instance]]:
    guest = live.guest(file.read_bytes())
    return [(each.vif, guest.instance) for each in guest.interfaces]
