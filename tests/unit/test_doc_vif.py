"""doc/vif.md is true: its examples are run, its tables have the keys that there are."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from vifplug import VIF, errors, interface_xml
from vifplug.model.nic import Driver, VfSettings
from vifplug.model.source import SOURCES as IN_THE_MODEL
from vifplug.model.source import Reconnect
from vifplug.model.virtualport import PARAMETERS
from vifplug.model.vlan import Vlan
from vifplug.testing import schema
from vifplug.types.vdpa import VdpaSource

TEXT = (Path(__file__).resolve().parents[2] / "doc" / "vif.md").read_text()
ELEMENTS = "## `<interface>` elements"
WRITTEN, _, READ = TEXT.partition(ELEMENTS)

BASE = {"id": "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11", "type": "bridge", "mac": "52:54:00:12:34:56"}
SOURCES = {**IN_THE_MODEL, "vdpa": VdpaSource}
#: the source of a VIF to which something that is refused is added
PLAIN: dict[str, dict[str, Any]] = {
    "bridge": {"bridge": "br0"},
    "ethernet": {},
    "direct": {"dev": "eno1"},
    "hostdev": {"address": "0000:81:02.3"},
    "vhostuser": {"path": "/run/vhost/web", "mode": "server"},
    "vdpa": {"device": "/dev/vhost-vdpa-3"},
}


def blocks(text: str) -> list[tuple[str, str]]:
    """The language and the content of each block, in order."""
    return re.findall(r"^```(\w+)\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)


def pairs(text: str, first: str, second: str) -> list[tuple[str, str]]:
    """Each block of one language with the block of the other that follows it."""
    return [(a, b) for (one, a), (two, b) in pairwise(blocks(text)) if (one, two) == (first, second)]


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## )", TEXT, re.DOTALL | re.MULTILINE)
    assert found, title
    lines = [line for line in found[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def fields(cls: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


EXAMPLES = pairs(WRITTEN, "json", "xml")


@pytest.mark.parametrize(("document", "element"), EXAMPLES)
def test_an_example_gives_the_element_that_follows_it(document: str, element: str) -> None:
    assert interface_xml(VIF.from_json(document)) == element
    assert schema.complaint(element) == ""


def test_an_element_is_read_as_the_document_that_follows_it() -> None:
    [(element, document)] = pairs(READ, "xml", "json")
    vif = VIF.from_xml(element)
    assert vif == VIF.from_json(document)
    assert json.loads(vif.to_json()) == json.loads(document)


def test_there_is_an_example_for_every_type_and_no_block_that_is_not_run() -> None:
    assert {json.loads(document)["type"] for document, _ in EXAMPLES} == set(SOURCES)
    assert len(blocks(TEXT)) == 2 * (len(EXAMPLES) + 1)


def test_every_key_is_in_the_table() -> None:
    keys = {named(row[0])[0]: row[1] for row in rows("Keys")}
    assert set(keys) == fields(VIF)
    assert set(named(keys["driver"])) == fields(Driver)
    assert fields(VfSettings) <= set(named(keys["vf"]))


def test_every_key_of_a_source_is_in_the_table() -> None:
    sources = {named(row[0])[0]: set(named(row[1])) for row in rows("Types")}
    assert set(sources) == set(SOURCES)
    assert all(fields(cls) <= sources[name] for name, cls in SOURCES.items())
    assert fields(Reconnect) <= sources["vhostuser"]


def test_every_virtual_port_has_the_parameters_of_the_table() -> None:
    ports = {named(row[0])[0]: set(named(row[1])) - {"id"} for row in rows("Virtual ports")}
    assert ports == {name: set(taken) for name, taken in PARAMETERS.items() if name}


def vlans(cell: str) -> Iterable[Vlan]:
    return [VIF.from_json({**BASE, "source": {"bridge": "br0"}, "vlan": json.loads(text)}).vlan for text in named(cell)]


def test_the_ways_to_write_a_vlan_mean_what_the_table_says() -> None:
    access, trunk, untagged, tagged, full = [list(vlans(row[0])) for row in rows("VLANs")]
    assert [vlan.access for vlan in access] == [1011]
    assert all(vlan.trunk and vlan.native is None for vlan in trunk)
    assert [vlan.native.native_mode for vlan in (*untagged, *tagged, *full)] == [
        "untagged",
        "tagged",
        "tagged",
        "untagged",
    ]


@pytest.mark.parametrize("added", [named(row[0])[0] for row in rows("What is refused, and why")])
def test_what_is_said_to_be_refused_is_and_only_for_what_was_added(added: str) -> None:
    changes = json.loads(added)
    plain = {**BASE, "type": changes.get("type", "bridge")}
    plain["source"] = PLAIN[plain["type"]]
    assert interface_xml(VIF.from_json(plain))
    with pytest.raises(errors.InvalidDocument) as refusal:
        interface_xml(VIF.from_json({**plain, **changes}))
    assert all(problem.path[2:].split(".")[0] in changes for problem in refusal.value.problems), refusal.value
