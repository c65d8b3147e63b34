"""Of nothing that libvirt's installed schema has does vifplug say that it is not known; its own lists are the floor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from lxml import etree

from vifplug.guest import schema
from vifplug.guest.schema import Shape
from vifplug.networks import read
from vifplug.testing.needs import SCHEMAS

pytestmark = pytest.mark.needs("schemas")

_RNG = "{http://relaxng.org/ns/structure/1.0}"


@dataclass
class Known:
    """The attributes and children that the schema has for an element."""

    attributes: set[str] = field(default_factory=set)
    children: dict[str, Known] = field(default_factory=dict)


class Grammar:
    """One of libvirt's RELAX NG files, with those that it includes."""

    def __init__(self, name: str) -> None:
        self._defines: dict[str, list[Any]] = {}
        self._load(name)

    def _load(self, name: str) -> None:
        root = etree.parse(str(SCHEMAS / name)).getroot()
        for each in root.iter(f"{_RNG}define"):
            self._defines.setdefault(each.get("name"), []).append(each)
        for each in root.iter(f"{_RNG}include"):
            self._load(each.get("href"))

    def named(self, name: str) -> Any:
        """The first pattern of a definition."""
        return self._defines[name][0][0]

    def collect(self, pattern: Any, into: Known, inside: tuple[str, ...] = ()) -> Known:
        """Add what a pattern allows to an element, in any of its choices."""
        for node in pattern.iterchildren(etree.Element):
            kind, name = node.tag.removeprefix(_RNG), node.get("name") or node.findtext(f"{_RNG}name")
            if kind == "attribute":
                into.attributes.add(name)
            elif kind == "element" and name:
                tag = f"{{{node.get('ns')}}}{name}" if node.get("ns") else name
                self.collect(node, into.children.setdefault(tag, Known()), inside)
            elif kind == "ref" and name not in inside:
                for each in self._defines[name]:
                    self.collect(each, into, (*inside, name))
            elif kind not in ("ref", "element"):
                self.collect(node, into, inside)
        return into


def interfaces() -> dict[str, Known]:
    """What the schema has in an ``<interface>`` of each type."""
    grammar = Grammar("domaincommon.rng")
    element = grammar.named("interface")
    choice = element.find(f"{_RNG}choice")
    common = [each for each in element if each is not choice]
    found: dict[str, Known] = {}
    for group in choice.iterchildren(f"{_RNG}group"):
        for kind in group.find(f"{_RNG}attribute").iter(f"{_RNG}value"):
            found[kind.text] = grammar.collect(group, Known())
            grammar.collect(common_of(common), found[kind.text])
    return found


def common_of(patterns: list[Any]) -> Any:
    """The patterns, copied, as one."""
    together = etree.Element(f"{_RNG}group")
    together.extend(etree.fromstring(etree.tostring(each)) for each in patterns if isinstance(each.tag, str))
    return together


def unknown(known: Known, shape: Shape, path: str) -> Iterator[str]:
    if shape.opaque:
        return
    ours = {*shape.must, *shape.may, *shape.status, *shape.refused}
    yield from (f"{path}@{name}" for name in sorted(known.attributes - ours))
    for name, inner in known.children.items():
        if name in shape.children:
            yield from unknown(inner, shape.children[name], f"{path}/{name}")
        elif name not in shape.refused:
            yield f"{path}/{name}"


@pytest.mark.parametrize("kind", schema.TYPES)
def test_an_interface_has_nothing_that_is_not_known(kind: str) -> None:
    assert list(unknown(interfaces()[kind], schema.interface(kind), "")) == []


@pytest.mark.parametrize("kind", schema.TYPES)
def test_what_the_source_of_another_type_has_is_told_with_that_type(kind: str) -> None:
    source = schema.interface(kind).children["source"]
    for other, known in interfaces().items():
        has = known.children.get("source", Known())
        here = {*source.must, *source.may, *source.status, *source.children}
        for name in {*has.attributes, *has.children} - here:
            assert other in source.refused[name] and f"got type {kind}" in source.refused[name]


def test_a_network_has_nothing_that_is_not_known() -> None:
    grammar = Grammar("network.rng")
    known = grammar.collect(grammar.named("network"), Known())
    assert list(unknown(known, read.SHAPE, "")) == []
