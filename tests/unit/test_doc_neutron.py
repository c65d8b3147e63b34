"""doc/neutron.md is true: its table is the table, its guest is the guest, its example runs."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from vifplug import interface_xml
from vifplug.neutron import vif_from_binding
from vifplug.neutron.guest import Guest
from vifplug.neutron.table import TABLE

TEXT = (Path(__file__).resolve().parents[2] / "doc" / "neutron.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, without their own headings."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return [row for row in cells if row[0].startswith("`")]


def test_the_table_is_the_table() -> None:
    message = [(row.name, row.vif_type, f"`{row.becomes}`" if row.form else "refused") for row in TABLE]
    assert [
        (name.strip("`"), kind.strip("`"), becomes) for name, kind, _, becomes, _ in rows("Every VIF type of the field")
    ] == message


def test_every_key_of_a_guest_is_in_the_page() -> None:
    named = {name for row in rows("What goes in") for name in re.findall(r"`([^`]+)`", row[0])}
    assert {field.name for field in dataclasses.fields(Guest)} <= named


def test_the_example_gives_what_the_page_shows() -> None:
    document = json.loads(TEXT.partition("<<EOF\n")[2].partition("EOF\n")[0])
    shown = TEXT.partition("```xml\n")[2].partition("```")[0]
    assert interface_xml(vif_from_binding(document["port"], document["guest"])) + "\n" == shown
