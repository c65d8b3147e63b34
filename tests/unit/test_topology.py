"""Pictures of a host: what is in them, that each is well-formed whatever names there are, and that nothing overlaps."""

from __future__ import annotations

import dataclasses
import itertools
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from vifplug.model.vlan import Tag, Vlan
from vifplug.topology import lettering, style
from vifplug.topology.dot import dot
from vifplug.topology.graph import EMPTY, graph
from vifplug.topology.guests import spread
from vifplug.topology.lettering import Face
from vifplug.topology.mermaid import mermaid
from vifplug.topology.svg import svg
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
FORMATS = (text, mermaid, dot, svg)
SVG = "{http://www.w3.org/2000/svg}"
NASTY = "a<b>&\"c\\n'|{}[];#%%`"
TRUNK = "trunk 5 (native, untagged), 6-9"

Format = Callable[[HostView], str]
every_format = pytest.mark.parametrize("drawn", FORMATS, ids=lambda each: each.__name__)


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


def root(seen: HostView) -> ET.Element:
    return ET.fromstring(svg(seen))


def texts(element: ET.Element) -> list[str]:
    return [each.text or "" for each in element.iter(f"{SVG}text")]


def boxes(seen: HostView) -> dict[str, ET.Element]:
    """The groups of all boxes by the first line of their tooltip; a guest that is drawn twice is here once."""
    found = (each for each in root(seen).iter(f"{SVG}g") if (each.get("class") or "").startswith("box "))
    return {(each.findtext(f"{SVG}title") or "").splitlines()[0]: each for each in found}


def area(group: ET.Element) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a box."""
    rect = group.find(f"{SVG}rect")
    assert rect is not None
    x, y, width, height = (float(rect.get(name) or "") for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


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
        ("bridge", "br9", "not there"),
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
        (device("n"), "free, can be shared"),
        (device("n", 1, limit=4), "1 of 4 VIFs"),
        (device("n", 1, exclusive=True), "held alone"),
        (device("n", exclusive=True), "free, for one alone"),
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
        "not there",
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


def test_strings_of_dot_end_where_they_should() -> None:
    for seen in (nasty(), rich()):
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', dot(seen))
        assert '"' not in bare.replace('""', "")
        assert bare.count("{") == bare.count("}")
        assert not re.search(r"[<'`|#\\]", bare)
    assert r"a<b>&amp;\"c\\n'|{}[];#%%`" in dot(nasty())


def test_an_edge_to_a_pool_ends_at_its_border_in_dot() -> None:
    picture = dot(rich())
    for cluster in re.findall(r"lhead=(\w+)", picture):
        assert f"subgraph {cluster} {{" in picture


# -- SVG ----------------------------------------------------------------------------------------------------------


def test_svg_is_xml_whatever_names_there_are() -> None:
    assert f"Network topology of {NASTY}" == root(nasty()).findtext(f"{SVG}title")
    assert {node.get("class") for node in boxes(nasty()).values()} >= {"box guest"}
    assert any(title.text == NASTY for title in root(nasty()).iter(f"{SVG}title"))


@pytest.mark.parametrize("seen", [rich(), huge(60), huge(500), nasty()], ids=["rich", "60", "500", "nasty"])
def test_no_boxes_overlap_and_all_are_on_the_page(seen: HostView) -> None:
    page = root(seen)
    wide, high = float(page.get("width") or ""), float(page.get("height") or "")
    groups = [each for each in page.iter(f"{SVG}g") if (each.get("class") or "").startswith("box ")]
    areas = sorted((area(each) for each in groups), key=lambda each: (each[0], each[1]))
    assert all(left >= 0 and top >= 0 and right <= wide and bottom <= high for left, top, right, bottom in areas)
    for _, column in itertools.groupby(areas, key=lambda each: (each[0], each[2])):
        assert all(above[3] + 5 < below[1] for above, below in itertools.pairwise(column))
    columns = sorted({(left, right) for left, _, right, _ in areas})
    assert all(one[1] + 50 < other[0] for one, other in itertools.pairwise(columns))


@pytest.mark.parametrize("seen", [rich(), nasty()], ids=["rich", "nasty"])
def test_text_stays_in_its_box(seen: HostView) -> None:
    for group in boxes(seen).values():
        left, top, right, bottom = area(group)
        for message in group.iter(f"{SVG}text"):
            face = Face(
                float(message.get("font-size") or ""),
                "font-weight" in message.attrib,
                "Mono" in (message.get("font-family") or ""),
            )
            width = lettering.width(message.text or "", face) / (2 if message.get("text-anchor") else 1)
            assert left < float(message.get("x") or "") and float(message.get("x") or "") + width < right
            assert top < float(message.get("y") or "") < bottom


def test_what_is_cut_is_whole_in_the_tooltip() -> None:
    name = "instance-" + "0123456789" * 6
    group = boxes(host(vifs=(vif(1, "tap1", guest=name),)))[name]
    (message,) = texts(group)
    assert message.endswith("…") and name.startswith(message[:-1]) and len(message) > 20


def test_pools_hold_their_devices_and_nothing_else() -> None:
    page = root(rich())
    pools = [area(each) for each in page.iter(f"{SVG}g") if each.get("class") == "pool"]
    inside = {
        name
        for name, group in boxes(rich()).items()
        for left, top, right, bottom in pools
        if left < area(group)[0] and area(group)[2] < right and top < area(group)[1] and area(group)[3] < bottom
    }
    assert inside == {"ens1f0", "ens1f1", "ens1f10", "ens2f0", "ens2f1"}


def test_a_bridge_is_as_high_as_its_ports_and_their_edges_are_straight() -> None:
    found = boxes(rich())
    ports = [area(found[name]) for name in ("bond0", "tap-web1", "tap-web2", "tap-db1", "tap-fw")]
    bridge = area(found["br-int"])
    assert bridge[1] == min(top for _, top, _, _ in ports) and bridge[3] == max(bottom for *_, bottom in ports)
    paths = [each.get("d") or "" for each in root(rich()).iter(f"{SVG}path") if each.get("class") == "wire"]
    crossing = [path for path in paths if path.startswith(f"M{bridge[2]:g} ")]
    assert len(crossing) == 10 and not [path for path in crossing if "C" in path]


def test_each_edge_is_drawn_in_the_colour_of_its_vlan_and_the_legend_names_it() -> None:
    page = root(rich())
    wires = [each for each in page.iter(f"{SVG}path") if each.get("class") == "wire"]
    drawn = graph(rich())
    lines = style.lines(drawn.vlans())
    wanted = sorted(style.BROKEN if edge.broken else lines[edge.vlan].colour for edge in drawn.edges)
    assert sorted(each.get("stroke") or "" for each in wires) == wanted
    legend = {message for each in page.iter(f"{SVG}g") if each.get("class") == "legend" for message in texts(each)}
    assert {"VLAN 10", "VLAN 300", TRUNK, "no VLAN", "network", "guest", "broken, down or unfinished"} <= legend


def test_what_is_broken_down_or_unfinished_is_marked() -> None:
    marked = {
        name: " ".join(texts(each)) for name, each in boxes(rich()).items() if "broken" in (each.get("class") or "")
    }
    assert set(marked) == {"dmz", "br-dmz", "ens1f1", "macvtap1"}
    assert "is down" in marked["ens1f1"] and "broken: its bridge" in marked["dmz"]


def test_a_guest_has_one_box_unless_its_vifs_are_far_apart() -> None:
    near = [each for each in root(rich()).iter(f"{SVG}g") if each.get("class") == "box guest"]
    assert len(near) == 5
    far = [each for each in root(huge(60)).iter(f"{SVG}g") if each.get("class") == "box guest"]
    assert len({each.get("id") for each in far}) == len(far) > 20
    both = sorted(
        message for each in far if "guest-0" in texts(each) for message in texts(each) if message.startswith("also has")
    )
    assert len(both) > 1 and all("nic" in message for message in both)


def test_piles_lie_as_near_as_they_can() -> None:
    assert spread([0, 100], [10, 10], top=0, space=5) == [0, 100]
    assert spread([50, 50], [10, 10], top=0, space=10) == [40, 60]
    assert spread([0, 0, 0], [10, 10, 10], top=0, space=5) == [0, 15, 30]


def test_texts_are_cut_and_broken_to_fit() -> None:
    face = Face(10)
    assert lettering.fitted("tap0", 100, face) == "tap0"
    cut = lettering.fitted("a-name-that-is-too-long", 60, face)
    assert cut.endswith("…") and lettering.width(cut, face) <= 60
    assert all(lettering.width(line, face) <= 60 for line in lettering.wrapped("its bridge is not there", 60, face))
    assert " ".join(lettering.wrapped("its bridge is not there", 60, face)) == "its bridge is not there"
