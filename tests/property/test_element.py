"""Laws of the element: what is written is read back equal, is valid by libvirt's schema, and libvirt agrees."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.property import strategies
from tests.support import libvirt
from vifplug import interface_xml
from vifplug.errors import InvalidDocument, InvalidRequest, UnknownType, Unsupported
from vifplug.guest import read, schema, write
from vifplug.guest.interface import Interface
from vifplug.model import guestxml
from vifplug.model.vif import VIF
from vifplug.testing import schema as rng


@given(strategies.interfaces())
def test_an_element_is_read_back_as_it_was_written(interface: Interface) -> None:
    text = write.element(interface)
    assert read.interface(text) == interface
    assert write.element(read.interface(text)) == text


@given(strategies.interfaces())
def test_every_element_is_valid_by_libvirts_schema(interface: Interface) -> None:
    assert rng.complaint(write.element(interface)) == ""


@given(strategies.interfaces())
def test_libvirt_prints_every_element_as_vifplug_does(interface: Interface) -> None:
    """But for what libvirt gets wrong (profileid without escapes) or makes up (ids of a network's port)."""
    port = interface.virtualport
    if port is not None:
        if port.type is None:
            interface = interface.replace(virtualport=None)
        elif port.profileid is not None:
            interface = interface.replace(virtualport=port.replace(profileid="p"))
    text = write.element(interface)
    assert libvirt.canonical(text) == text


@given(strategies.described_vifs())
def test_a_vif_is_all_that_its_element_says(both: tuple[VIF, Interface]) -> None:
    vif, interface = both
    assert VIF.from_xml(write.element(interface), id=vif.id) == vif


@given(strategies.described_vifs())
def test_a_vif_that_its_type_takes_is_read_back_from_its_element(both: tuple[VIF, Interface]) -> None:
    vif, _ = both
    try:
        text = interface_xml(vif)
    except Unsupported:
        return  # what a type cannot honour is for the tests of the types
    if vif.virtualport:  # the element of a network's VIF says the ids that the network may still give
        vif = vif.replace(virtualport=vif.virtualport.completed(vif.id))
    assert VIF.from_xml(text, id=vif.id) == vif


@given(strategies.vifs())
def test_every_vif_gives_a_valid_element_or_a_refusal(vif: VIF) -> None:
    try:
        text = interface_xml(vif)
    except InvalidDocument as error:
        assert error.problems
    else:
        assert rng.complaint(text) == ""


def refuses(text: str | bytes) -> None:
    """Reads it, or refuses it; any other exception fails the test."""
    for reader in (read.interface, read.vif):
        try:
            reader(text)
        except InvalidDocument as error:
            assert all(problem.path.startswith("$") and problem.message for problem in error.problems)
        except InvalidRequest as error:
            assert "expected bridge, network" in str(error)


@given(st.text() | st.binary())
@example("")
@example(b"\x00")
@example("\ud800")
@example("<interface/>")
@example("<interface type='bridge'>" * 5000)
@example("<?xml version='1.0' encoding='utf-16'?><interface/>")
@example("<x:interface xmlns:x='y' type='bridge'/>")
def test_any_text_is_an_element_or_refused(text: str | bytes) -> None:
    refuses(text)


@given(strategies.interfaces(), st.data())
def test_a_mangled_element_is_read_or_refused(interface: Interface, data: Any) -> None:
    text = write.element(interface)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    inserted = data.draw(st.text("<>/='\" &;abcvlantg0123459:-.\n", max_size=8))
    refuses(text[:start] + inserted + text[end:])


ELEMENTS = (*schema.COVERED, *guestxml.TAGS, "tag", "parameters", "inbound", "host", "parameter", "unknown")
ATTRIBUTES = ("address", "type", "bridge", "id", "trunk", "average", "dev", "managed", "name", "size", "order", "x")
VALUES = ("", "yes", "no", "1", "-1", "0x10", "pci", "openvswitch", "virtio", "ua-x", "&#10;", "9" * 30)


@st.composite
def trees(draw: st.DrawFn, depth: int = 2) -> str:
    """Elements and attributes of the right names in the wrong places."""
    name = draw(st.sampled_from(ELEMENTS))
    attributes = draw(st.dictionaries(st.sampled_from(ATTRIBUTES), st.sampled_from(VALUES), max_size=3))
    inner = draw(st.lists(trees(depth - 1), max_size=2)) if depth else []
    head = name + "".join(f" {key}='{each}'" for key, each in attributes.items())
    return f"<{head}>{draw(st.sampled_from(('', 'text')))}{''.join(inner)}</{name}>"


@given(st.sampled_from((*strategies.TYPES, "user", "", "x")), st.lists(trees(), max_size=4))
def test_the_right_names_in_the_wrong_places_are_read_or_refused(kind: str, inner: list[str]) -> None:
    refuses(f"<interface type='{kind}'>{''.join(inner)}</interface>")


ID = "aaaaaaaa-0000-4000-8000-000000000001"
PORT = {"type": "openvswitch", "interfaceid": ID, "profileid": "p"}
PARAMETERS = [{"name": "IP", "value": "10.0.0.1"}]
NIC = {"id": ID, "mac": "52:54:00:00:00:01", "model": "virtio", "driver": {"name": "vhost"}, "alias": "ua-net"}
#: documents that have every key that holds a text
DOCUMENTS: list[dict[str, Any]] = [
    {**NIC, "type": "bridge", "source": {"bridge": "br"}, "virtualport": PORT, "external_ids": {"a": "b"}, "vlan": "5"},
    {**NIC, "type": "bridge", "source": {"bridge": "br"}, "target": "t", "filterref": {"filter": "f"}},
    {**NIC, "type": "bridge", "source": {"bridge": "br"}, "tap_owner": "libvirt", "link_state": "up"},
    {
        **NIC,
        "type": "ethernet",
        "filterref": {"filter": "f", "parameters": PARAMETERS},
        "guest_xml": ["<acpi index='1'/>"],
    },
    {**NIC, "type": "network", "source": {"network": "n", "portgroup": "g"}, "virtualport": PORT},
    {
        **NIC,
        "type": "direct",
        "source": {"dev": "d", "mode": "vepa"},
        "virtualport": {"type": "802.1Qbh", "profileid": "p"},
    },
    {
        **NIC,
        "type": "direct",
        "source": {"dev": "d", "mode": "passthrough"},
        "virtualport": {"type": "802.1Qbg", "managerid": "1", "typeid": "2", "typeidversion": "3", "instanceid": ID},
        "vf": {"link_state": "auto", "vlan_proto": "802.1Q"},
    },
    {
        **NIC,
        "type": "vhostuser",
        "source": {"path": "/run/a.sock", "mode": "client", "bridge": "br"},
        "target": "a.sock",
    },
    {"id": ID, "mac": NIC["mac"], "type": "hostdev", "source": {"address": "81:02.3"}, "driver": {"name": "vfio"}},
]


def _texts(data: Any) -> list[tuple[Any, ...]]:
    """The paths of all texts in plain data."""
    if isinstance(data, str):
        return [()]
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [(key, *path) for key, value in pairs for path in _texts(value)]


def _replaced(data: Any, path: tuple[Any, ...], text: str) -> Any:
    if not path:
        return text
    copied = dict(data) if isinstance(data, dict) else list(data)
    copied[path[0]] = _replaced(data[path[0]], path[1:], text)
    return copied


#: of these keys libvirt's parser takes more than its schema, and so does the model; what the schema complains of
BEYOND = {"filter": "filterref", "portgroup": "portgroup", "target": "target", "bridge": "source", "dev": "dev"}


def _place(document: Any, path: tuple[Any, ...]) -> Any:
    """A document and the path of a text in it; with a mark where some text is in the element and beyond the schema."""
    key = path[-1] if path else None
    written = {"target": document["type"] == "bridge", "bridge": document.get("tap_owner") == "libvirt"}
    beyond = key in BEYOND and written.get(key, "vf" not in document)
    mark = pytest.mark.beyond_schema(BEYOND.get(key), why="libvirt's parser takes more than its schema")
    return pytest.param(document, path, marks=[mark] if beyond else [])


PLACES = [_place(document, path) for document in DOCUMENTS for path in _texts(document)]
#: every character, those that XML, C and terminals trip over often
any_text = st.text(
    st.characters() | st.characters(categories=["Cs", "Cc", "Cf", "Zs"]) | st.sampled_from("/-_.:<&'\"0\u0665aé")
)


def _beyond_the_schema(key: Any, text: str) -> bool:
    """libvirt's parser takes more than its schema, and so does the model."""
    return key in ("filter", "portgroup") or (key in ("target", "bridge", "dev") and not {"+", "@"}.isdisjoint(text))


@pytest.mark.parametrize(("document", "path"), PLACES)
@given(text=any_text)
@example("\ud800")
@example("a\x01b")
@example("a\nb")
@example("<&'\">")
@example("a+b@c")
def test_any_text_under_any_key_gives_an_element_or_a_refusal(
    document: dict[str, Any], path: tuple[Any, ...], text: str
) -> None:
    """The element is XML, says the text as it was given, and is valid by libvirt's schema."""
    try:
        vif = VIF.from_data(_replaced(document, path, text))
        element = interface_xml(vif)
    except InvalidDocument as error:
        assert error.problems
        assert not any("codec" in problem.message for problem in error.problems), "Python's own sentence"
    except UnknownType:
        assert path == ("type",)
    else:
        assert write.element(read.interface(element)) == element
        assert rng.complaint(element) == "" or _beyond_the_schema(path[-1], text)
