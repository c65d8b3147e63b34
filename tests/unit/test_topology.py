"""Pictures of a host: what is in them, and that each is well-formed whatever names there are."""

from __future__ import annotations

import dataclasses
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from vifplug.cli.verbs.topology import draw
from vifplug.errors import HostNotReady, Missing
from vifplug.model.vlan import Tag, Vlan
from vifplug.topology import style
from vifplug.topology.dot import dot
from vifplug.topology.graph import EMPTY, graph
from vifplug.topology.mermaid import mermaid
from vifplug.topology.text import text
from vifplug.topology.view import (
    BridgeView,
    DeviceView,
    HostView,
    NetworkView,
    PortGroupView,
    PortView,
    VifView,
    vlan_text,
)
from vifplug.topology.words import natural

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "topology"
SVG = "{http://www.w3.org/2000/svg}"
NASTY = "a<b>&\"c\\n'|{}[];#%%`"
TRUNK = "trunk 5 (native, untagged), 6-9"

Format = Callable[[HostView], str]


def root(seen: HostView) -> ET.Element:
    return ET.fromstring(draw(dot(seen)))


def svg(seen: HostView) -> str:
    """What is written in the SVG, line by line."""
    return "\n".join(each.text or "" for each in root(seen).iter(f"{SVG}text"))


graphviz = pytest.mark.needs("dot")
every_format = pytest.mark.parametrize(
    "drawn", [text, mermaid, dot, pytest.param(svg, marks=graphviz)], ids=lambda each: each.__name__
)


def vif_id(number: int) -> str:
    return f"0a1b2c3d-1111-4222-8333-{number:012x}"


def vif(number: int, device: str, **fields: str | None) -> VifView:
    nothing: dict[str, str | None] = dict.fromkeys(("network", "portgroup", "bridge", "dev"))
    usual = {"type": "bridge", "mac": f"52:54:00:12:34:{number % 256:02x}", "vlan": "", "guest": "", "state": "plugged"}
    return VifView(id=vif_id(number), device=device, **{**nothing, **usual, **fields})  # type: ignore[arg-type]


def network(name: str, mode: str = "bridge", **fields: object) -> NetworkView:
    usual = {"bridge": None, "devices": (), "vlan": "", "portgroups": ()}
    return NetworkView(name=name, mode=mode, **{**usual, **fields})  # type: ignore[arg-type]


def device(
    name: str, *holders: int, problem: str = "", limit: int | None = None, exclusive: bool = False
) -> DeviceView:
    ids = tuple(map(vif_id, holders))
    return DeviceView(name=name, problem=problem, limit=limit, holders=ids, exclusive=exclusive)


def host(**fields: object) -> HostView:
    nothing: dict[str, object] = {"networks": (), "bridges": (), "devices": (), "vifs": ()}
    return HostView(name="compute-17.example.net", **{**nothing, **fields})  # type: ignore[arg-type]


def rich() -> HostView:
    """Everything that can be in a picture."""
    vifs = (
        vif(1, "tap-web1", vlan="10", network="lan", portgroup="prod", bridge="br-int", guest="web1"),
        vif(2, "tap-web2", vlan="10", network="lan", portgroup="prod", bridge="br-int", guest="web2"),
        vif(3, "tap-db1", vlan="20", network="lan", portgroup="backup", bridge="br-int", guest="db1"),
        vif(4, "tap-fw", vlan=TRUNK, network="edge", portgroup="trunks", bridge="br-int", guest="firewall"),
        vif(5, "vnet7", bridge="br-mgmt", guest="firewall"),
        vif(6, "macvtap0", type="direct", network="fabric", dev="ens1f0", guest="db1"),
        vif(7, "macvtap1", type="direct", network="fabric", dev="ens1f0", guest="web2", state="unfinished plug"),
        vif(8, "macvtap2", type="direct", vlan="30", network="storage", dev="ens2f1", guest="nfs-server-of-the-lab"),
        vif(9, "tap-solo", type="ethernet", guest="web1"),
    )
    groups = (("prod", True, "10"), ("backup", False, "20"), ("voice", False, "42"))
    lan = tuple(PortGroupView(name=name, default=default, vlan=vlan) for name, default, vlan in groups)
    broken = "its bridge br-dmz is not on this host; make it or correct the definition"
    public = PortGroupView(name="public", default=True, vlan="300")
    networks = (
        network("lan", bridge="br-int", portgroups=lan),
        network(
            "edge", bridge="br-int", vlan="99", portgroups=(PortGroupView(name="trunks", default=False, vlan=TRUNK),)
        ),
        network("fabric", "vepa", devices=("ens1f0", "ens1f1", "ens1f10")),
        network("storage", "passthrough", devices=("ens2f0", "ens2f1"), vlan="30"),
        network("dmz", bridge="br-dmz", portgroups=(public,), problem=broken),
    )
    uplinks = (PortView(name="bond0", vlan="trunk 5-9, 10, 20, 42", vif=None), PortView(name="eno1", vlan="", vif=None))
    ports = [PortView(name=each.device, vlan=each.vlan, vif=each.id) for each in vifs[:5]]
    bridges = (
        BridgeView(name="br-int", kind="Open vSwitch", ports=(uplinks[0], *ports[:4])),
        BridgeView(name="br-mgmt", kind="Linux", ports=(uplinks[1], ports[4])),
    )
    devices = (
        *(device("ens1f0", 6, 7), device("ens1f1", problem="is down"), device("ens1f10", limit=4)),
        *(device("ens2f0", exclusive=True), device("ens2f1", 8, exclusive=True)),
    )
    return host(networks=networks, bridges=bridges, devices=devices, vifs=vifs)


def huge(number: int) -> HostView:
    """Guests with three VIFs each: on two bridges and on one of four NICs."""
    vifs: list[VifView] = []
    for each in range(number):
        where = ({"bridge": "br-int", "vlan": str(10 + each % 40)}, {"bridge": "br0"}, {"dev": f"ens{each % 4}"})[
            each % 3
        ]
        vifs.append(vif(each, f"nic{each}", guest=f"guest-{each // 3}", **where))
    bridges = tuple(
        BridgeView(
            name=name,
            kind="Linux",
            ports=tuple(PortView(name=v.device, vlan="", vif=v.id) for v in vifs if v.bridge == name),
        )
        for name in ("br0", "br-int")
    )
    fabric = network("fabric", "vepa", devices=("ens0", "ens1", "ens2", "ens3"))
    return host(networks=(fabric, network("lan", bridge="br-int")), bridges=bridges, vifs=tuple(vifs))


def nasty() -> HostView:
    group = PortGroupView(name=NASTY, default=True, vlan=NASTY)
    nets = (
        network(NASTY, bridge=NASTY, portgroups=(group,), problem=NASTY),
        network("end", "vepa", devices=(NASTY, "x")),
    )
    ports = (PortView(name=NASTY, vlan=NASTY, vif=None),)
    there = BridgeView(name=NASTY, kind="Linux", ports=ports)
    one = vif(1, NASTY, type=NASTY, network=NASTY, portgroup=NASTY, bridge=NASTY, guest=NASTY, state=NASTY)
    return dataclasses.replace(host(networks=nets, bridges=(there,), vifs=(one,)), name=NASTY)


def names(seen: HostView) -> set[str]:
    """Every name that has to be in every picture."""
    found = {seen.name, *(each.name for each in (*seen.networks, *seen.bridges, *seen.devices))}
    found |= {group.name for each in seen.networks for group in each.portgroups}
    found |= {port.name for bridge in seen.bridges for port in bridge.ports}
    return found | {each.guest for each in seen.vifs} | {each.device for each in seen.vifs} | {v.id for v in seen.vifs}


def groups(seen: HostView, kind: str) -> dict[str, ET.Element]:
    """The groups of the SVG of one class, by the first line that is written in each."""
    found = [each for each in root(seen).iter(f"{SVG}g") if kind in (each.get("class") or "").split()]
    return {each.findtext(f"{SVG}text") or "": each for each in found}


@every_format
def test_what_is_missing_or_down_is_marked(drawn: Format) -> None:
    ports = (PortView(name="eth0", vlan="", vif=None, problem="lies dead"),)
    bridge = BridgeView(name="br0", kind="Linux", ports=ports, outward=False, problem="is down")
    vifs = (vif(1, "tap1", bridge="br0", problem="tap tap1 is missing"), vif(2, "macvtap0", dev="ens9"))
    shown = drawn(host(bridges=(bridge,), vifs=vifs, missing=frozenset({"ens9"})))
    for words in ("lies dead", "no uplink", "is down", "tap tap1 is missing", "does not exist"):
        assert words in shown


# -- VLANs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        (10, "10"),
        ("10,20-30", "trunk 10, 20-30"),
        ("5u,6-9", TRUNK),
        ("6-9,5u", TRUNK),
        ("4-6,7t,8,9", "trunk 4-6, 7 (native, tagged), 8-9"),
        ("12,10,11", "trunk 10-12"),
    ],
)
def test_a_vlan_is_told_with_its_ranges_and_its_native_one(short: int | str, expected: str) -> None:
    assert vlan_text(Vlan.from_data(short)) == expected


def test_no_vlan_is_an_empty_text_and_a_single_native_one_no_trunk() -> None:
    assert vlan_text(None) == ""
    assert vlan_text(Vlan(tags=(Tag(id=5, native_mode="tagged"),))) == "5 (native, tagged)"


def test_a_vlan_has_its_colour_on_every_page_and_its_pattern_on_one() -> None:
    alone, among = style.lines(["20"]), style.lines(["10", "20", "300", TRUNK])
    assert alone["20"] == among["20"]
    assert among["20"].colour == among["300"].colour != among["10"].colour
    assert among["20"].dash != among["300"].dash
    assert among[TRUNK].width > among["10"].width


# -- the graph ----------------------------------------------------------------------------------------------------


def joined(seen: HostView) -> set[tuple[str, str]]:
    drawn = graph(seen)
    return {(drawn.nodes[edge.source].label, drawn.nodes[edge.target].label) for edge in drawn.edges}


def test_edges_go_from_network_to_guest() -> None:
    edges = joined(rich())
    assert {("lan", "prod"), ("prod", "br-int"), ("br-int", "tap-web1"), ("tap-web1", "web1")} <= edges
    assert {("fabric", "pool of fabric"), ("ens1f0", "macvtap0"), ("br-mgmt", "eno1"), ("tap-solo", "web1")} <= edges
    assert not {source for source, target in edges if target == "tap-solo"}


def test_a_network_has_its_own_edge_only_where_no_portgroup_is_the_default() -> None:
    edges = joined(rich())
    assert ("edge", "br-int") in edges
    assert ("lan", "br-int") not in edges


def test_an_edge_has_the_vlan_of_its_portgroup_or_else_of_its_network() -> None:
    groups = (PortGroupView(name="own", default=True, vlan="7"), PortGroupView(name="none", default=False, vlan=""))
    drawn = graph(host(networks=(network("lan", bridge="br0", vlan="5", portgroups=groups),)))
    assert {
        drawn.nodes[edge.source].label: edge.vlan for edge in drawn.edges if edge.source.startswith("portgroup")
    } == {
        "own": "7",
        "none": "5",
    }


def test_what_is_only_referred_to_is_drawn_as_well() -> None:
    drawn = graph(host(vifs=(vif(1, "tap1", bridge="br9"), vif(2, "macvtap1", dev="ens9"))))
    assert {(node.kind, node.label, node.problem) for node in drawn.nodes.values()} >= {
        ("bridge", "br9", "does not exist"),
        ("device", "ens9", ""),
    }


def test_a_device_is_in_the_pool_of_one_network_and_others_lead_to_it() -> None:
    first, second = network("a", "vepa", devices=("n1", "n2")), network("b", "vepa", devices=("n2", "n3"))
    third = network("c", "vepa", devices=("n2", "n1"))
    assert joined(host(networks=(first, second, third))) == {
        *(("a", "pool of a"), ("c", "pool of a"), ("b", "n2"), ("b", "n3")),
    }


def test_a_vif_and_its_port_are_one_box_and_a_second_port_is_another() -> None:
    one = vif(1, "tap1", bridge="qbr1", guest="g")
    ports = (PortView(name="tap1", vlan="", vif=one.id), PortView(name="qvb1", vlan="", vif=one.id))
    drawn = graph(host(bridges=(BridgeView(name="qbr1", kind="Linux", ports=ports),), vifs=(one,)))
    assert [(node.kind, node.label) for node in drawn.of("port", "vif")] == [("port", "qvb1"), ("vif", "tap1")]
    assert drawn.of("port")[0].details == ("belongs to VIF tap1",)


def test_a_port_with_another_vlan_than_its_vif_is_a_problem() -> None:
    one = vif(1, "tap1", bridge="br0", vlan="10")
    port = PortView(name="tap1", vlan="20", vif=one.id)
    drawn = graph(host(bridges=(BridgeView(name="br0", kind="Linux", ports=(port,)),), vifs=(one,)))
    assert [node.problem for node in drawn.of("vif")] == ["its port has VLAN 20"]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (device("n", 1, 2), "shared by 2 VIFs"),
        (device("n"), "free, shareable"),
        (device("n", 1, limit=4), "1 of 4 VIFs"),
        (device("n", 1, exclusive=True), "in use, exclusive"),
        (device("n", exclusive=True), "free, exclusive"),
    ],
)
def test_a_device_tells_who_holds_it(seen: DeviceView, expected: str) -> None:
    drawn = graph(host(devices=(seen,), vifs=(vif(1, "a"), vif(2, "b"))))
    assert drawn.of("device")[0].details == (expected,)


def test_names_are_sorted_with_their_numbers() -> None:
    assert sorted(["ens10", "ens2", "br", "1a", "ens2f1"], key=natural) == ["1a", "br", "ens2", "ens2f1", "ens10"]


# -- every format -------------------------------------------------------------------------------------------------


@every_format
def test_everything_is_in_every_format(drawn: Format) -> None:
    picture = drawn(rich())
    assert not {name for name in names(rich()) if name not in picture}
    for message in (
        "VLAN 10",
        "trunk 5 ",
        "is down",
        "unfinished plug",
        "does not exist",
        "Open vSwitch bridge",
        "Linux bridge",
    ):
        assert message in picture


@every_format
def test_the_order_in_which_a_host_was_looked_at_does_not_matter(drawn: Format) -> None:
    def turned(each: object) -> object:
        if isinstance(each, tuple):
            return tuple(turned(part) for part in reversed(each))
        if dataclasses.is_dataclass(each) and not isinstance(each, type):
            return dataclasses.replace(
                each, **{f.name: turned(getattr(each, f.name)) for f in dataclasses.fields(each)}
            )
        return each

    other = turned(rich())
    assert isinstance(other, HostView) and other != rich()
    assert drawn(other) == drawn(rich()) == drawn(rich())


@every_format
def test_an_empty_host_says_that_it_is_empty(drawn: Format) -> None:
    picture = drawn(host())
    assert "compute-17.example.net" in picture
    assert EMPTY in picture


@every_format
def test_500_vifs_are_all_drawn_and_at_once(drawn: Format) -> None:
    seen = huge(500)
    start = time.process_time()
    picture = drawn(seen)
    assert time.process_time() - start < 3  # 0.3 s where nothing else runs
    assert all(f"nic{number}" in picture and vif_id(number) in picture for number in range(500))


@every_format
def test_control_characters_are_in_no_format(drawn: Format) -> None:
    picture = drawn(host(vifs=(vif(1, "tap\x1b[2J\x00\udc80", guest="two\nlines\u2028"),)))
    assert "two lines" in picture
    assert not {each for each in picture if not each.isprintable()} - {"\n"}
    picture.encode()


@pytest.mark.parametrize("drawn", [text, mermaid, dot])
def test_the_picture_is_as_kept(drawn: Format) -> None:
    kept = GOLDEN / f"rich.{drawn.__name__}"
    assert drawn(rich()) == kept.read_text()


# -- Mermaid and dot ----------------------------------------------------------------------------------------------


def test_mermaid_has_only_lines_of_a_flowchart_whatever_names_there_are() -> None:
    label = r"\"(?:[^\"&'\\|{}\[\]`%]|<b>|</b>|<br/>|#\d+;)*\""
    line = (
        rf"[a-z]+\d+(?:\[{label}\]|\({label}\)|\(\[{label}\]\))|[a-z]+\d+ -[-.]*- [a-z]+\d+"
        rf"|subgraph pool\d+\[{label}\]|end|class [a-z0-9,]+ [a-z]+|classDef [a-z]+ \S+( \S+)?|linkStyle [0-9,]+ .*"
    )
    for seen in (nasty(), rich()):
        head, body = mermaid(seen).split("flowchart LR\n", 1)
        assert re.fullmatch(r"---\ntitle: '(?:[^'<>&]|'')*'\n---\n", head)
        assert not [each for each in body.splitlines() if not re.fullmatch(line, each.strip())]


def test_mermaid_tells_special_characters_by_number() -> None:
    assert "".join(f"#{ord(each)};" if not each.isalnum() else each for each in NASTY) in mermaid(nasty())


def test_every_link_of_mermaid_has_one_style() -> None:
    picture = mermaid(rich())
    links = re.findall(r"^  \S+ -[-.]*- \S+$", picture, re.MULTILINE)
    styled = [number for each in re.findall(r"linkStyle ([0-9,]+)", picture) for number in each.split(",")]
    assert sorted(map(int, styled)) == list(range(len(links)))


def test_the_nodes_of_mermaid_and_dot_are_those_of_their_edges() -> None:
    for picture, edge, node in (
        (mermaid(rich()), r"^  (\w+) -[-.]*- (\w+)$", r"^ +(?:subgraph )?(\w+)[\[(]"),
        (dot(rich()), r"^  (\w+) -> (\w+) \[", r"^ +(\w+) \[label"),
    ):
        ends = {end for ends in re.findall(edge, picture, re.MULTILINE) for end in ends}
        assert len(ends) > 25
        assert ends - {f"column{number}" for number in range(5)} <= set(re.findall(node, picture, re.MULTILINE))


def test_strings_and_labels_of_dot_end_where_they_should() -> None:
    for seen in (nasty(), rich()):
        bare = re.sub(r"</?[A-Z]+(?: [A-Z-]+=\"[^\"<>]*\")* ?/?>", "", dot(seen))  # the tags of labels
        bare = re.sub(r"<[^<>]*>(?=[,;\]\n])", "<>", bare)  # labels
        bare = re.sub(r'"[^"]*"', '""', bare)
        assert bare.count("{") == bare.count("}")
        assert not re.search(r"[<>'`|#\\&]", re.sub("label=<>|->", "", bare))
    assert r"a&lt;b&gt;&amp;" + '"' + r"c\\n'|{}[];#%%`" in dot(nasty())


def test_an_edge_to_a_pool_ends_at_its_border_in_dot() -> None:
    picture = dot(rich())
    for cluster in re.findall(r"lhead=(\w+)", picture):
        assert f"subgraph {cluster} {{" in picture


# -- SVG ----------------------------------------------------------------------------------------------------------


@graphviz
def test_svg_is_xml_whatever_names_there_are() -> None:
    written = svg(nasty()).splitlines()
    assert written.count(NASTY) >= 5
    assert NASTY in groups(nasty(), "guest")


@graphviz
def test_text_that_graphviz_would_replace_is_as_it_was() -> None:
    assert r"\N&amp;\G\E\T&#65;" in svg(host(vifs=(vif(1, r"\N&amp;\G\E\T&#65;"),))).splitlines()


@graphviz
def test_what_is_broken_down_or_unfinished_is_marked() -> None:
    marked = groups(rich(), "broken")
    assert set(marked) == {"dmz", "br-dmz", "ens1f1", "macvtap1"}
    assert [each.text for each in marked["ens1f1"].iter(f"{SVG}text")][-1] == "is down"


@graphviz
def test_each_edge_is_drawn_in_the_colour_of_its_vlan() -> None:
    drawn = graph(rich())
    lines = style.lines(drawn.vlans())
    expected = sorted(style.BROKEN if edge.broken else lines[edge.vlan].colour for edge in drawn.edges)
    edges = [each for each in root(rich()).iter(f"{SVG}g") if each.get("class") == "edge"]
    paths = [path for edge in edges for path in edge.iter(f"{SVG}path")]
    assert sorted((path.get("stroke") or "").upper() for path in paths) == expected


@graphviz
def test_pools_are_clusters_with_their_devices() -> None:
    assert set(groups(rich(), "pool")) == {"pool of fabric", "pool of storage"}
    inside = re.search(r"subgraph cluster_pool\d+ {(.*?)}", dot(rich()), re.DOTALL)
    assert inside and re.findall(r"<B>(ens\w+)</B>", inside[1]) == ["ens1f0", "ens1f1", "ens1f10"]


@graphviz
def test_a_guest_has_one_box_unless_its_vifs_are_far_apart() -> None:
    near = [each for each in root(huge(9)).iter(f"{SVG}g") if each.get("class") == "node guest"]
    assert len(near) == 3
    far = [each for each in root(huge(60)).iter(f"{SVG}g") if each.get("class") == "node guest"]
    both = [lines for each in far if (lines := [t.text or "" for t in each.iter(f"{SVG}text")])[0] == "guest-0"]
    assert len(both) > 1 and all(lines[1].startswith("also has nic") for lines in both)


def test_without_graphviz_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Missing, match="install graphviz, or use --format dot"):
        draw("digraph {}")


@graphviz
def test_what_graphviz_says_is_in_the_error() -> None:
    with pytest.raises(HostNotReady, match=r"dot could not draw the SVG .*syntax error"):
        draw("digraph {")
