"""doc/os-vif.md is true: its options and classes are those that there are, its document gives its element."""

from __future__ import annotations

import re
from pathlib import Path

from os_vif import objects
from vif_plug_ovs.ovs import OvsPlugin

from vifplug import VIF, conf, interface_xml
from vifplug.compat import options, translate
from vifplug.compat.plugin_type import FORMS

TEXT = (Path(__file__).resolve().parents[2] / "doc" / "os-vif.md").read_text()


def rows(columns: int, title: str) -> list[list[str]]:
    """The cells of a section's table, without its head; code is without its backticks."""
    section = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    found = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]
    return [each for each in found if len(each) == columns]


def test_every_option_has_its_row() -> None:
    message = {theirs: ours for theirs, ours, _ in rows(3, "Options")}
    assert message == {option.dest: options.TABLE.get(option.dest, "none") for option in OvsPlugin.CONFIG_OPTS}
    assert set(options.TABLE.values()) <= {option.dest for option in conf.OVS_OPTIONS}


def test_every_plugin_and_class_has_its_row() -> None:
    message = {(plugin, name) for plugin, names, _ in rows(3, "Which objects") for name in re.findall(r"VIF\w+", names)}
    assert message == {(plugin, name) for plugin, forms in translate.FORMS.items() for name in forms}
    objects.register_all()
    assert all(hasattr(objects.vif, name) for _, name in message)


def test_every_class_with_an_element_has_its_row() -> None:
    assert [name for name, _ in rows(2, "Plugins of os-vif's")] == list(FORMS)


def test_the_document_gives_the_element_that_follows_it() -> None:
    [(document, element)] = re.findall(r"```json\n(.*?)```\n```xml\n(.*?)\n```", TEXT, re.DOTALL)
    assert interface_xml(VIF.from_json(document)) == element


def test_every_difference_says_both_sides() -> None:
    message = rows(3, "What is done otherwise")
    assert len(message) > 20 and all(theirs and ours for theirs, ours, _ in message)
