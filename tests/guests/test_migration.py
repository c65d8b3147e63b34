"""Guests that move between two nodes as they run: plugged where they go before they arrive, unplugged where they were.

Every test begins and ends with both guests on the first node.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.guests.nodes import BRIDGE, Node, two_nodes
from tests.guests.peers import Peer, peer
from tests.support import bridges
from tests.support.command import vifplug
from tests.support.patience import becomes
from tests.support.places import ROOT, libvirt_cache
from vifplug import VIF, errors
from vifplug.plan.steps import Difference
from vifplug.testing.guests import BootedGuest, Image, boot
from vifplug.testing.libvirt import LibvirtRefused

pytestmark = pytest.mark.xdist_group("guests-migration")

PAGE = (ROOT / "doc/migration.md").read_text()
PAGES_ID = "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11"

#: what ``red`` is on a node
ON_OPEN_VSWITCH = f"""\
<network>
  <name>red</name><forward mode='bridge'/><bridge name='{BRIDGE}'/><virtualport type='openvswitch'/>
  <portgroup name='sales'><vlan><tag id='10'/></vlan><bandwidth><inbound average='12500'/></bandwidth></portgroup>
</network>
"""
ON_A_LINUX_BRIDGE = """\
<network>
  <name>red</name><forward mode='bridge'/><bridge name='br-red'/><portgroup name='sales'/>
</network>
"""


def vif(number: int, **keys: Any) -> VIF:
    ids = {"id": f"{number:08}-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "mac": f"52:54:00:00:00:{number:02x}"}
    return VIF.from_json({**ids, "model": "virtio", "mtu": 1450, **keys})


ON_BRIDGE = {"type": "bridge", "source": {"bridge": BRIDGE}, "virtualport": {"type": "openvswitch"}, "vlan": 10}
#: by the name of the guest: on a tap of vifplug's, as a named network has it, and on one of libvirt's
VIFS = {
    "web": vif(1, type="network", source={"network": "red", "portgroup": "sales"}),
    "db": vif(2, tap_owner="libvirt", **ON_BRIDGE),
}
ADDRESSES = {"web": "10.0.0.1", "db": "10.0.0.2"}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """VLAN 10 is the Linux bridge br-red as well on the second."""
    with two_nodes(libvirt_cache(tmp_path_factory)) as (here, there):
        bridges.add(there.host, "br-red")
        for words in (
            "add name red0 master br-red type veth peer name red1",
            *(f"set dev {name} up" for name in ("red0", "red1")),
        ):
            there.host.ip("link", *words.split())
        there.host.ovs.ctl("add-port", BRIDGE, "red1", "tag=10")
        yield here, there


@pytest.fixture(scope="module")
def peers(nodes: tuple[Node, Node]) -> Iterator[dict[str, Peer]]:
    """One in the VLAN of the guests on each node, and a stranger in another."""
    with ExitStack() as stack:
        made = {}
        for node, name, number, vlan in ((0, "near", 10, 10), (1, "far", 11, 10), (0, "stranger", 20, 20)):
            made[name] = stack.enter_context(peer(nodes[node].host, name, number))
            nodes[node].host.ovs.ctl("add-port", BRIDGE, name, f"tag={vlan}")
        yield made


@pytest.fixture(scope="module", autouse=True)
def guests(nodes: tuple[Node, Node], peers: dict[str, Peer], image: Image) -> None:
    here = nodes[0]
    define(here, ON_OPEN_VSWITCH)
    started = {name: boot(here.libvirt, image, name, [plug(here, VIFS[name])]) for name in VIFS}
    for name, guest in started.items():
        settle(here, VIFS[name])
        guest.configure(VIFS[name].mac, f"{ADDRESSES[name]}/24")
        assert peers["far"].reaches(ADDRESSES[name])


@pytest.fixture(autouse=True)
def definitions(guests: None, nodes: tuple[Node, Node]) -> None:
    """A test may change what a network is on a node."""
    for node in nodes:
        define(node, ON_OPEN_VSWITCH)


# -- what is done on a node -------------------------------------------------------------------------------------------


def define(node: Node, network: str) -> None:
    (node.host.networks / "red.xml").write_text(network)


def plug(node: Node, vif: VIF) -> str:
    with node.driver() as driver:
        return driver.plug(vif).interface_xml


def check(node: Node) -> list[Difference]:
    with node.driver() as driver:
        return driver.check()


def settle(node: Node, vif: VIF) -> None:
    with node.driver() as driver:
        driver.settle(vif.id)


def reasons_against(node: Node, vif: VIF) -> list[str]:
    with node.driver() as driver:
        return [reason for _, reason in driver.can_plug([vif])]


def is_under_way(node: Node, name: str) -> bool:
    """Whether some of the guest's memory is at the destination already."""
    return "Memory processed:" in node.libvirt.virsh("domjobinfo", name)


def unplug(node: Node, vif: VIF) -> None:
    """And nothing of it is left."""
    with node.driver() as driver:
        driver.unplug(vif.id)
        assert vif.id not in {entry.vif.id for entry in driver.list()}
    assert vif.device not in node.host.links() | node.host.ports(BRIDGE)
    assert vif.id not in node.host.ovs.ctl("list", "Interface")


def move(name: str, one: Node, other: Node, peers: dict[str, Peer], *options: Any) -> None:
    """A guest goes from one node to another, and few pings to it are lost."""
    address = ADDRESSES[name]
    with peers["near"].stream(address) as near, peers["far"].stream(address) as far:
        one.migrate(name, other, *options)
        # it speaks first: where its announcement is lost, switches learn from that
        arrived = BootedGuest(other.libvirt, name)
        assert arrived.reaches(peers["near"].address) and arrived.reaches(peers["far"].address)
    assert name in other.libvirt.running() and name not in one.libvirt.running()
    for losses in (near, far):
        print(f"{name}: {losses}")
        assert losses.lost < 0.8 * losses.sent  # a tenth is usual; a machine that does much else stalls guests


def assert_it_is_in_its_vlan(name: str, node: Node, peers: dict[str, Peer]) -> None:
    stranger = peers["stranger"].start("ping", "-c", "3", "-i", "0.2", "-W", "1", ADDRESSES[name])
    guest = BootedGuest(node.libvirt, name)
    assert guest.mtu(VIFS[name].mac) == 1450
    assert guest.reached(each.address for each in peers.values()) == {peers["near"].address, peers["far"].address}
    assert stranger.wait() != 0


# -- the tests --------------------------------------------------------------------------------------------------------


def test_a_guest_on_libvirts_tap_goes_and_comes_back(nodes: tuple[Node, Node], peers: dict[str, Peer]) -> None:
    """libvirt takes its port away where the guest was, and makes one where it is."""
    vif = VIFS["db"]
    for one, other in (nodes, nodes[::-1]):
        assert reasons_against(other, vif) == []
        plug(other, vif)
        assert check(one) == check(other) == []
        move("db", one, other, peers)
        assert vif.device not in one.host.ports(BRIDGE)
        assert check(one) == check(other) == []
        unplug(one, vif)
        assert_it_is_in_its_vlan("db", other, peers)


def steps() -> Iterator[tuple[str, list[str]]]:
    """The page's: on which node, the words of the command."""
    [block] = re.findall(r"^```sh\n(# destination\n.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    place = ""
    for line in block.splitlines():
        if line.startswith("# "):
            place = line.removeprefix("# ")
        else:
            yield place, shlex.split(line)


def test_the_pages_steps_move_a_guest_there_and_back(
    nodes: tuple[Node, Node], peers: dict[str, Peer], tmp_path: Path
) -> None:
    """With the command. On the way both nodes have the port; what libvirt does to its QoS is told, and put back."""
    vif = VIFS["web"]
    document = tmp_path / "web.json"
    document.write_text(vif.to_json())
    meant = {"web.json": document, PAGES_ID: vif.id}
    for one, other in (nodes, nodes[::-1]):
        for place, (program, *words) in steps():
            if program == "virsh":
                move("web", one, other, peers)
                assert [each.path for each in check(other)] == [f"ovs-qdisc {vif.device}: root"]
                assert {each.host.port(vif.device, "external_ids:iface-id") for each in nodes} == {f'"{vif.id}"'}
                continue
            host = (other if place == "destination" else one).host
            under = ("ip", "netns", "exec", host.namespace)
            done = vifplug(*(meant.get(word, word) for word in words), config=host.config, under=under)
            assert done.code == 0, done
        assert check(one) == check(other) == []
        assert vif.device not in one.host.links() | one.host.ports(BRIDGE)
        assert_it_is_in_its_vlan("web", other, peers)


def test_a_tap_of_libvirts_becomes_one_of_vifplugs_and_again_libvirts(
    nodes: tuple[Node, Node], peers: dict[str, Peer]
) -> None:
    here, there = nodes
    libvirts, vifplugs = VIFS["db"], VIFS["db"].replace(tap_owner="vifplug")
    move("db", here, there, peers, "--xml", here.definition("db", plug(there, vifplugs)))
    unplug(here, libvirts)
    assert there.host.port(libvirts.device, "external_ids:vifplug-id") == f'"{libvirts.id}"'
    assert "managed='no'" in there.libvirt.virsh("dumpxml", "db") and check(there) == []
    assert_it_is_in_its_vlan("db", there, peers)
    move("db", there, here, peers, "--xml", there.definition("db", plug(here, libvirts)))
    unplug(there, vifplugs)
    assert "<source bridge='br-int'/>" in here.libvirt.virsh("dumpxml", "db") and check(here) == []
    assert_it_is_in_its_vlan("db", here, peers)


def test_a_network_may_be_open_vswitch_on_one_node_and_a_linux_bridge_on_the_other(
    nodes: tuple[Node, Node], peers: dict[str, Peer]
) -> None:
    here, there = nodes
    define(there, ON_A_LINUX_BRIDGE)
    plug(there, VIFS["web"])
    move("web", here, there, peers)
    unplug(here, VIFS["web"])
    assert "master br-red" in there.host.ip("link", "show", "dev", VIFS["web"].device) and check(there) == []
    assert_it_is_in_its_vlan("web", there, peers)
    plug(here, VIFS["web"])
    move("web", there, here, peers)
    unplug(there, VIFS["web"])
    settle(here, VIFS["web"])
    assert_it_is_in_its_vlan("web", here, peers)


def test_where_it_is_not_plugged_a_guest_does_not_arrive_and_no_ping_is_lost(
    nodes: tuple[Node, Node], peers: dict[str, Peer]
) -> None:
    here, there = nodes
    with peers["near"].stream(ADDRESSES["web"]) as losses:
        with pytest.raises(LibvirtRefused, match="specified dev doesn't exist"):
            here.migrate("web", there)
        assert_it_is_in_its_vlan("web", here, peers)
    assert losses.sent > 0 and losses.lost == 0
    assert there.libvirt.running() == set() and check(here) == []


def test_a_node_says_beforehand_that_it_can_not_take_a_guest(nodes: tuple[Node, Node]) -> None:
    there, vif = nodes[1], VIFS["web"]
    (there.host.networks / "red.xml").unlink()
    [message] = reasons_against(there, vif)
    with pytest.raises(errors.UnknownNetwork) as refused:
        plug(there, vif)
    assert message == str(refused.value) and "red" in message
    define(there, ON_OPEN_VSWITCH.replace(BRIDGE, "br-none"))
    [message] = reasons_against(there, vif)
    assert "br-none does not exist on this host" in message
    define(there, ON_OPEN_VSWITCH.replace("sales", "buyers"))
    [message] = reasons_against(there, vif)
    assert "portgroup sales" in message
    define(there, ON_OPEN_VSWITCH)
    assert reasons_against(there, vif) == []


def test_a_wrong_vlan_is_reported_before_the_guest_comes(nodes: tuple[Node, Node]) -> None:
    """The port's, and that of a network whose definition has changed."""
    there, vif = nodes[1], VIFS["web"]
    plug(there, vif)
    there.host.ovs.ctl("set", "Port", vif.device, "tag=20")
    [message] = check(there)
    assert message.vif_id == vif.id and "tag 10" in str(message.wanted) and "tag 20" in str(message.found)
    plug(there, vif)
    assert check(there) == []
    define(there, ON_OPEN_VSWITCH.replace("'10'", "'20'"))
    [message] = check(there)
    assert message.vif_id == vif.id and "vlan" in message.path
    define(there, ON_OPEN_VSWITCH)
    assert check(there) == []
    unplug(there, vif)


def test_a_port_that_is_gone_cuts_the_guest_off_until_it_is_plugged_again(
    nodes: tuple[Node, Node], peers: dict[str, Peer]
) -> None:
    """libvirt does not look; `check` tells beforehand."""
    here, there = nodes
    vif = VIFS["web"]
    plug(there, vif)
    there.host.ovs.ctl("del-port", vif.device)
    assert [each.path for each in check(there)] == [f"ovs-port {vif.device}"]
    here.migrate("web", there)
    assert peers["near"].is_cut_off(ADDRESSES["web"])
    plug(there, vif)
    assert BootedGuest(there.libvirt, "web").reaches(
        peers["near"].address
    )  # a switch learns where it is when it speaks
    move("web", there, here, peers)
    settle(here, vif)
    unplug(there, vif)
    assert_it_is_in_its_vlan("web", here, peers)


def test_a_migration_that_is_aborted_leaves_the_guest_where_it_was(
    nodes: tuple[Node, Node], peers: dict[str, Peer]
) -> None:
    """On its way it has both taps open: neither can be unplugged."""
    here, there = nodes
    plug(there, VIFS["web"])
    with peers["near"].stream(ADDRESSES["web"]) as losses, ThreadPoolExecutor() as threads:
        slowly = threads.submit(here.migrate, "web", there, "--bandwidth", "1")  # MiB/s
        assert becomes(lambda: is_under_way(here, "web") and "web" in there.libvirt.running())
        for node in nodes:
            with pytest.raises(errors.Held), node.driver() as driver:
                driver.unplug(VIFS["web"].id)
        assert check(here) == []
        here.libvirt.virsh("domjobabort", "web")
        with pytest.raises(LibvirtRefused, match=r"aborted|canceled"):
            slowly.result()
        assert becomes(lambda: there.libvirt.running() == set())
        assert_it_is_in_its_vlan("web", here, peers)
    assert losses.sent > 0 and losses.lost == 0
    unplug(there, VIFS["web"])
    assert check(here) == check(there) == []
