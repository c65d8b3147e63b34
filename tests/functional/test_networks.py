"""Named networks on a real host: real Open vSwitch, Linux bridges and macvtaps, through the command."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support import bridges
from tests.support.command import Answer, vifplug
from vifplug.testing import macvtaps
from vifplug.testing.host import PrivateHost

GUEST = "77777777-aaaa-4bbb-8ccc-dddddddddddd"

RED = """<network>
  <name>red</name>
  <forward mode='bridge'/>
  <bridge name='br-red'/>
  <virtualport type='openvswitch'/>
  <portgroup name='engineering' default='yes'><vlan><tag id='10'/></vlan></portgroup>
  <portgroup name='firewalls'>
    <vlan trunk='yes'><tag id='5' nativeMode='untagged'/><tag id='6'/><tag id='7'/></vlan>
  </portgroup>
</network>
"""

#: each names a device that is there, and one that is not
PASSTHROUGH = """<network>
  <name>direct</name>
  <forward mode='passthrough'><interface dev='wire0'/><interface dev='wire1'/><interface dev='gone0'/></forward>
</network>
"""
LAB = "<network><name>lab</name><forward mode='bridge'/><bridge name='br-lab'/><mtu size='1400'/></network>"

Run = Callable[..., Answer]
Document = Callable[..., Path]


@pytest.fixture
def run(host: PrivateHost) -> Iterator[Run]:
    """The command with the host's configuration; afterwards everything is unplugged and undefined."""
    yield lambda *words, **options: vifplug(*words, config=host.config, **options)
    for entry in host.driver.list():
        host.driver.unplug(entry.vif.id, force=True)
    for file in host.networks.iterdir():
        file.unlink()


@pytest.fixture
def document(tmp_path: Path) -> Document:
    """Writes a VIF's document; its number is in its id, MAC and target."""

    def write(number: int, network: str, portgroup: str | None = None, **keys: Any) -> Path:
        source = {"network": network} | ({"portgroup": portgroup} if portgroup else {})
        names = {"id": identity(number), "mac": f"52:54:00:00:00:{number:02x}", "target": f"tap{number}"}
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({**names, "type": "network", "source": source, **keys}))
        return path

    return write


@pytest.fixture
def wires(host: PrivateHost) -> Iterator[None]:
    """Two devices for macvtaps, of which the second is down, and a Linux bridge with a wire."""
    pairs = (("wire0", "far0"), ("wire1", "far1"), ("wire2", "far2"))
    for near, far in pairs:
        host.ip("link", "add", near, "type", "veth", "peer", "name", far)
        host.ip("link", "set", far, "up")
    host.ip("link", "set", "wire0", "up")
    bridges.add(host, "br-lab")
    host.ip("link", "set", "wire2", "master", "br-lab", "up")
    with macvtaps.claimed() as first:
        macvtaps.skip(host.namespace, first)
        yield
    for name in (*(near for near, _ in pairs), "br-lab"):
        host.ip("link", "del", name)


def identity(number: int) -> str:
    return f"{number:08}-0000-4000-8000-000000000000"


def define(host: PrivateHost, **texts: str) -> None:
    for name, text in texts.items():
        (host.networks / f"{name}.xml").write_text(text)


def test_a_guest_names_a_network_and_a_portgroup_and_nothing_of_the_host(
    host: PrivateHost, run: Run, document: Document
) -> None:
    define(host, red=RED)
    answer = run("plug", document(1, "red"), document(2, "red", "firewalls"), "--instance-uuid", GUEST)
    assert answer.code == 0 and answer.out.count("<interface type='ethernet'>") == 2
    assert (host.port("tap1", "tag", "Port"), host.port("tap1", "trunks", "Port")) == ("10", "[]")
    assert host.port("tap2", "vlan_mode", "Port") == "native-untagged"
    assert (host.port("tap2", "tag", "Port"), host.port("tap2", "trunks", "Port")) == ("5", "[5, 6, 7]")
    shown = run("show", identity(2), "-f", "json").data
    assert shown["vif"]["source"] == {"network": "red", "portgroup": "firewalls"}
    assert shown["actual"]["source"] == {"bridge": "br-red"} and "vlan" not in shown["vif"]
    assert run("check").code == 0


def test_a_portgroups_new_vlan_reaches_plugged_vifs_in_place(host: PrivateHost, run: Run, document: Document) -> None:
    """libvirt's update-device takes the port's tag away, so that it is on all VLANs (D4)."""
    define(host, red=RED)
    first = document(1, "red")
    assert run("plug", first, document(2, "red")).code == 0
    before = [host.port(name, column) for name in ("tap1", "tap2") for column in ("_uuid", "ofport")]
    define(host, red=RED.replace("id='10'", "id='99'"))
    checked = run("check", "-f", "json")
    assert checked.code == 1
    assert [(each["vif_id"], each["path"]) for each in checked.data] == [
        (identity(1), "network red: vlan"),
        (identity(2), "network red: vlan"),
    ]
    assert run("update", first).code == 0 and host.port("tap1", "tag", "Port") == "99"
    assert host.port("tap2", "tag", "Port") == "10"
    answer = run("network", "update", "red", "-f", "json").data
    assert [row["changed"] for row in answer] == [False, True]
    assert host.port("tap2", "tag", "Port") == "99" and run("check").code == 0
    assert [host.port(name, column) for name in ("tap1", "tap2") for column in ("_uuid", "ofport")] == before


@pytest.mark.usefixtures("wires")
def test_a_pool_of_real_devices(host: PrivateHost, run: Run, document: Document) -> None:
    define(host, direct=PASSTHROUGH)
    answer = run("plug", document(1, "direct", tap_owner="vifplug"), "--instance-uuid", GUEST, "--instance-name", "web")
    assert answer.code == 0 and "tap1@wire0" in host.ip("-o", "link", "show", "tap1")
    refused = run("plug", document(2, "direct"))
    assert refused.code == 4
    [message] = refused.complaints
    assert (
        f"wire0 is in use by VIF {identity(1)} of guest web; wire1 is down; gone0 does not exist on this host"
        in message
    )
    rows = run("pool", "show", "-f", "json").data
    assert [(row["device"], row["problem"]) for row in rows] == [
        ("wire0", ""),
        ("wire1", "is down"),
        ("gone0", "does not exist on this host"),
    ]
    assert rows[0]["holders"] == [f"VIF {identity(1)} of guest web"]
    host.ip("link", "set", "wire1", "up")
    assert "<source dev='wire1' mode='passthrough'/>" in run("plug", document(2, "direct")).out
    assert run("unplug", identity(1)).code == 0 and "tap1" not in host.links()
    assert "<source dev='wire0'" in run("plug", document(3, "direct")).out


@pytest.mark.usefixtures("wires")
def test_one_document_is_plugged_wherever_the_network_is_known(host: PrivateHost, run: Run, document: Document) -> None:
    """The same words on hosts that resolve them each in its own way (the first mail about it, in 2011)."""
    wanted, forms = document(1, "red"), {}
    for text in (RED, LAB.replace("lab<", "red<"), PASSTHROUGH.replace(">direct<", ">red<")):
        define(host, red=text)
        assert run("plug", wanted).code == 0
        shown = run("show", identity(1), "-f", "json").data
        forms[json.dumps(shown["actual"]["source"])] = shown["vif"]
        assert run("unplug", identity(1)).code == 0
    assert set(forms) == {
        '{"bridge": "br-red"}',
        '{"bridge": "br-lab"}',
        '{"dev": "wire0", "mode": "passthrough"}',
    }
    assert len({json.dumps(asked) for asked in forms.values()}) == 1


@pytest.mark.usefixtures("wires")
def test_can_plug_gives_every_reason_and_plugs_nothing(
    host: PrivateHost, run: Run, document: Document, tmp_path: Path
) -> None:
    define(host, red=RED, direct=PASSTHROUGH, lab=LAB)
    assert "Open vSwitch bridge br-red does not exist on this host" in run("can-plug", document(1, "red")).out
    host.ovs.ctl("add-br", "br-red", "--", "set", "bridge", "br-red", "datapath_type=netdev")
    assert (run("can-plug", document(1, "red")).code, run("can-plug", document(2, "direct")).code) == (0, 0)
    assert run("can-plug", document(3, "lab")).code == 0
    too_big = run("can-plug", document(3, "lab", mtu=9000), "-f", "json")
    assert (too_big.code, len(too_big.data)) == (1, 1) and "br-lab has 1500" in too_big.data[0]["reason"]
    queues = run("can-plug", document(4, "red", model="e1000", driver={"queues": 4}))
    assert queues.code == 2 and "$.driver.queues: requires a virtio model" in queues.err
    domain = tmp_path / "guest.xml"
    nics = ("network='red'", "network='direct'", "network='direct'", "network='red' portgroup='legal'")
    elements = "".join(
        f"<interface type='network'><mac address='52:54:00:00:01:{number:02x}'/><source {source}/></interface>"
        for number, source in enumerate(nics)
    )
    domain.write_text(f"<domain><devices>{elements}<interface type='user'/></devices></domain>")
    answer = run("can-plug", domain, "-f", "json")
    assert answer.code == 1
    assert [row["mac"][-2:] for row in answer.data] == ["02", "03"]
    assert "network direct has no device" in answer.data[0]["reason"] and "legal" in answer.data[1]["reason"]
    assert host.driver.list() == [] and run("pool", "show", "-f", "json").data[0]["holders"] == []


def test_a_domain_as_libvirt_keeps_it_and_one_that_runs(host: PrivateHost, run: Run, tmp_path: Path) -> None:
    define(host, red=RED)
    host.ovs.ctl("add-br", "br-red", "--", "set", "bridge", "br-red", "datapath_type=netdev")
    guest = tmp_path / "guest.xml"
    nic = "<interface type='{}'><mac address='52:54:00:00:01:01'/><source {}/></interface>"
    kept = "<?xml version='1.0'?>\n<!--\nWARNING: AUTO-GENERATED\n-->\n<domain><devices>{}</devices></domain>"
    guest.write_text(kept.format(nic.format("network", "network='red'")))
    assert run("can-plug", guest).code == 0
    guest.write_text(kept.format(nic.format("bridge", "network='red' portid='7' bridge='br-red'")))
    answer = run("can-plug", guest, "-f", "json")
    assert answer.code == 1 and "virsh dumpxml --inactive" in answer.data[0]["reason"]


@pytest.mark.usefixtures("wires")
def test_what_a_host_publishes_says_elsewhere_what_it_could_take(
    host: PrivateHost, run: Run, document: Document, tmp_path: Path
) -> None:
    define(host, red=RED, direct=PASSTHROUGH, lab=LAB, nat="<network><name>nat</name></network>")
    host.ovs.ctl("add-br", "br-red", "--", "set", "bridge", "br-red", "datapath_type=netdev")
    assert run("plug", document(1, "direct")).code == 0
    published = tmp_path / "host.json"
    published.write_text(run("host-info", "-f", "json").out)
    info = json.loads(published.read_text())
    assert info["bridges"]["br-red"]["openvswitch"] and info["bridges"]["br-lab"] == {"openvswitch": False, "mtu": 1500}
    assert info["devices"]["wire1"] == {"up": False, "mtu": 1500} and "problem" in info["networks"]["nat"]
    cases = [
        (document(2, "red", "firewalls"), 0),
        (document(3, "lab"), 0),
        (document(4, "lab", mtu=9000), 1),
        (document(5, "direct"), 1),
        (document(6, "nat"), 1),
        (document(7, "nowhere"), 1),
    ]
    for file, code in cases:
        assert (run("can-plug", file).code, run("candidates", file, "--host", published).code) == (code, code), file
    hosts = tmp_path / "published"
    hosts.mkdir()
    (hosts / "one.json").write_text(published.read_text())
    (hosts / "two.json").write_text(json.dumps([info | {"host": "bare", "networks": {}}, info | {"host": "twin"}]))
    found = run("candidates", cases[0][0], "--host", hosts, "-f", "json").data
    assert {row["host"]: row["fits"] for row in found} == {info["host"]: True, "bare": False, "twin": True}
    assert found[-1]["reasons"] == ["network red is not defined there (defined: none)"]


def test_wrong_definitions_are_reported_with_their_lines_and_hide_no_others(
    host: PrivateHost, run: Run, document: Document
) -> None:
    define(
        host,
        red=RED,
        bad="<network>\n<name>bad</name>\n<forward mode='vepa'/>\n<vlan><tag id='5000'/></vlan>\n</network>",
    )
    answer = run("network", "validate")
    assert answer.code == 2
    assert [line.partition("bad.xml: ")[2].partition(":")[0] for line in answer.complaints] == ["line 4"]
    assert run("network", "validate", host.networks / "red.xml").code == 0
    listed = run("network", "list", "-f", "json").data
    assert [(row["name"], bool(row["problem"])) for row in listed] == [("bad", True), ("red", False)]
    assert run("plug", document(1, "red")).code == 0
    refused = run("plug", document(2, "bad"))
    assert refused.code == 3 and "line 4" in refused.err
    assert run("network", "show", "red", "-f", "json").data["vifs"] == [identity(1)]
    assert run("network").code == 2 and "network list" in run("network").err


def test_a_portgroup_that_no_vif_could_use_is_reported_by_validate(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "odd.xml"
    file.write_text(RED.replace("<portgroup name='firewalls'>", "<portgroup name='odd'><virtualport type='802.1Qbg'/>"))
    answer = run("network", "validate", file)
    assert answer.code == 2
    assert "portgroup odd: $.virtualport.type: network red has openvswitch and portgroup odd has 802.1Qbg" in answer.err


def test_what_a_portgroup_leaves_to_the_vif_is_no_problem(tmp_path: Path, run: Run) -> None:
    vepa, functions = tmp_path / "vepa.xml", tmp_path / "functions.xml"
    portgroup = "<portgroup name='p'><virtualport type='802.1Qbg'><parameters managerid='1'/></virtualport></portgroup>"
    vepa.write_text(f"<network><name>v</name><forward mode='vepa' dev='e0'/>{portgroup}</network>")
    text = "<network><name>f</name><forward mode='hostdev'><pf dev='e0'/></forward><portgroup name='p'/></network>"
    functions.write_text(text)
    answer = run("network", "validate", vepa, functions)
    assert (answer.code, answer.err) == (0, "")


def test_resolve_answers_with_a_document_or_with_libvirts_own_element(
    tmp_path: Path, run: Run, document: Document
) -> None:
    file = tmp_path / "red.xml"
    file.write_text(RED)
    actual = json.loads(run("resolve", document(1, "red"), "--network", file).out)
    assert actual["type"] == "bridge" and actual["vlan"]["tags"] == [{"id": 10}]
    element = ElementTree.fromstring(run("resolve", document(1, "red"), "--network", file, "--xml").out)
    assert element.get("type") == "bridge" and element.find("vlan/tag").get("id") == "10"  # type: ignore[union-attr]
    assert run("resolve", document(1, "blue"), "--network", file).code == 3
    file.write_text(RED.replace("  <bridge name='br-red'/>\n", ""))
    own = tmp_path / "own.conf"
    own.write_text("[vifplug_ovs]\nintegration_bridge = br-own\n")
    answer = run("resolve", document(1, "red"), "--network", file, under=())
    assert json.loads(answer.out)["source"] == {"bridge": "br-int"}
    answer = vifplug("resolve", document(1, "red"), "--network", file, config=own)
    assert json.loads(answer.out)["source"] == {"bridge": "br-own"}
    file.write_text(RED)
    assert "<interface type='ethernet'>" in run("xml", document(1, "red"), "--network", file).out
    assert "<interface type='network'>" in run("xml", document(1, "red")).out
    file.write_text("<network>\n<name>red</name>\n<forward mode='nat'/>\n</network>")
    refused = run("resolve", document(1, "red"), "--network", file)
    assert refused.code == 2 and "line 3" in refused.err


@pytest.mark.needs("dot")
@pytest.mark.usefixtures("wires")
def test_the_picture_has_everything(host: PrivateHost, run: Run, document: Document) -> None:
    define(host, red=RED, direct=PASSTHROUGH, lab=LAB)
    files = (document(1, "red"), document(2, "direct"), document(3, "lab"))
    assert run("plug", *files, "--instance-uuid", GUEST, "--instance-name", "web").code == 0
    names = {"red", "direct", "lab", "engineering", "firewalls", "br-red", "br-lab", "wire0", "tap1", "tap2", "web"}
    for form in ("text", "mermaid", "dot", "svg"):
        drawn = run("topology", "--format", form)
        assert drawn.code == 0 and {name for name in names if name not in html.unescape(drawn.out)} == set(), form
    ElementTree.fromstring(run("topology", "-f", "svg").out)
