"""Laws of editing: every byte outside the interface stays, twice is once, and the reader finds what was asked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.property import strategies
from vifplug.errors import InvalidRequest
from vifplug.guest import read, write
from vifplug.guest.domain import spans
from vifplug.guest.domain.change import InterfaceEdit
from vifplug.guest.domain.edit import edited
from vifplug.guest.interface import Interface
from vifplug.model.codec import FrozenMap
from vifplug.model.vlan import Vlan
from vifplug.testing import schema

MAC = "52:54:00:00:00:01"
OTHER = "52:54:00:00:00:02"

spaces = st.text(" \t", max_size=6)
#: what may stand between two children
between = st.lists(
    st.sampled_from(("\n", " ", "\t", "\n\n", f"<!-- <mac address='{MAC}'/> > ' -->", "<!--\n-->", "<?pi > '?>")),
    max_size=3,
).map("".join)
children = (
    "<source bridge='b'/>",
    '<source\n\tbridge = "b" ></source >',
    "<virtualport type='openvswitch'/>",
    "<model type='virtio'/>",
    "<link state='down'/>",
    "<mtu size='1500'/>",
)


@st.composite
def interfaces(draw: st.DrawFn, mac: str = MAC) -> str:
    """An interface on a bridge as an odd hand would write it; many have a VLAN."""
    chosen = [f'<mac\taddress="{mac}"  />', draw(st.sampled_from(children[:2]))]
    chosen += draw(st.lists(st.sampled_from(children[2:]), unique=True))
    if vlan := draw(st.none() | strategies.vlans()):
        chosen.append(write.vlan_element(vlan).strip())
    inner = "".join(draw(between) + child for child in draw(st.permutations(chosen)))
    return f"<interface  type = 'bridge'>{inner}{draw(between)}</interface>"


@st.composite
def domains(draw: st.DrawFn) -> tuple[str, str, str]:
    """What is before the interface, the interface, and what is after it."""
    noise = st.sampled_from(("", "<disk/>", f"<x><interface><mac address='{MAC}'/></interface></x>", "<![CDATA[]]>"))
    before = f"<domain type='kvm'>{draw(between)}{draw(noise)}<devices>{draw(noise)}\n{draw(spaces)}"
    after = f"{draw(between)}{draw(interfaces(OTHER))}</devices>{draw(noise)}</domain>{draw(spaces)}\n"
    if draw(st.booleans()):
        return before.replace("\n", "\r\n"), draw(interfaces()).replace("\n", "\r\n"), after.replace("\n", "\r\n")
    return before, draw(interfaces()), after


connections: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"network": strategies.words}, optional={"portgroup": strategies.words}),
    st.fixed_dictionaries({"bridge": strategies.devices}),
)
vlans: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}), st.just({"no_vlan": True}), st.fixed_dictionaries({"vlan": strategies.vlans()})
)
virtualports: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    ({}, {"virtualport": "openvswitch"}, {"virtualport": "none"})
)


@st.composite
def possible(draw: st.DrawFn) -> InterfaceEdit:
    """A change of an interface on a bridge that does not contradict itself."""
    asked = {**draw(connections), **draw(vlans), **draw(virtualports)}
    return InterfaceEdit(**asked or {"no_vlan": True})


def without_vlan(text: str) -> list[str]:
    """What libvirt does not skip, apart from the VLAN: comments and white space between elements are left out."""
    return re.findall(r"<[^!?][^>]*>", re.sub(r"<vlan.*?</vlan>|<!--.*?-->|<\?.*?\?>", "", text, flags=re.DOTALL))


@given(domains(), possible())
def test_every_byte_outside_the_interface_stays_and_twice_is_once(
    parts: tuple[str, str, str], change: InterfaceEdit
) -> None:
    before, interface, after = parts
    result = edited((before + interface + after).encode(), MAC, change)
    inner = result[len(before.encode()) : len(result) - len(after.encode())]
    assert result == before.encode() + inner + after.encode()
    assert edited(result, MAC, change) == result


@given(domains(), possible())
def test_the_reader_finds_what_was_asked(parts: tuple[str, str, str], change: InterfaceEdit) -> None:
    result = edited("".join(parts).encode(), MAC, change)
    [devices] = spans.read(result).all("devices")
    [element] = [each for each in devices.all("interface") if _is_ours(each)]
    found, old = read.interface(result[element.start : element.end]), read.interface(parts[1])
    wanted: dict[str, Any] = {}
    if change.network:
        given = {"network": change.network, "portgroup": change.portgroup}
        source = FrozenMap({name: value for name, value in given.items() if value})
        wanted = {"type": "network", "source": source, "vlan": None}
    if change.bridge:
        wanted = {"source": FrozenMap({"bridge": change.bridge})}
    if change.vlan or change.no_vlan:
        wanted["vlan"] = change.vlan
    if change.virtualport:
        port = {"type": "openvswitch"} if change.virtualport == "openvswitch" else None
        wanted["virtualport"] = port and old.replace(virtualport=port).virtualport
    assert found == old.replace(**wanted)


def _is_ours(element: spans.Element) -> bool:
    return any(mac.attributes["address"] == MAC for mac in element.all("mac"))


@given(domains(), strategies.vlans())
def test_a_new_vlan_changes_no_other_byte_of_the_interface(parts: tuple[str, str, str], vlan: Vlan) -> None:
    before, interface, after = parts
    result = edited((before + interface + after).encode(), MAC, InterfaceEdit(vlan=vlan)).decode()
    assert without_vlan(result) == without_vlan(before + interface + after)
    assert re.findall(r"<!--.*?-->", result, re.DOTALL) == re.findall(
        r"<!--.*?-->", before + interface + after, re.DOTALL
    )
    assert ("\r\n" in result) == ("\r\n" in before + interface + after)


@given(domains(), strategies.vlans())
def test_a_vlan_put_in_and_taken_out_leaves_nothing(parts: tuple[str, str, str], vlan: Vlan) -> None:
    text = edited("".join(parts).encode(), MAC, InterfaceEdit(no_vlan=True))
    assert edited(edited(text, MAC, InterfaceEdit(vlan=vlan)), MAC, InterfaceEdit(no_vlan=True)) == text


@pytest.mark.needs("schemas")
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])  # some virtualports have no VLAN
@given(strategies.interfaces(("bridge", "network")), strategies.vlans())
def test_of_any_element_that_libvirt_knows_only_the_vlan_changes(interface: Interface, vlan: Vlan) -> None:
    text = write.element(interface)
    try:
        result = edited(text.encode(), interface.mac, InterfaceEdit(vlan=vlan)).decode()
    except InvalidRequest:
        assume(False)
    assert result == write.element(interface.replace(vlan=vlan))
    assert schema.complaint(result) == ""
