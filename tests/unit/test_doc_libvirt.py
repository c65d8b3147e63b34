"""What doc/libvirt.md says of the hook and of adopting is so."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.memory import Bench
from tests.support.site import ROOT
from vifplug.compat.libvirt_hook import HARMLESS, OPERATIONS, GuestHook
from vifplug.guest.domain import metadata

TEXT = (ROOT / "doc" / "libvirt.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


HOOK, ADOPT = section("Let libvirt plug: the hook"), section("Take over running guests")


def test_the_definition_is_plugged_as_it_stands(tmp_path: Path) -> None:
    [definition] = re.findall(r"^```xml\n(.*?)\n```$", HOOK, re.DOTALL | re.MULTILINE)
    bench = Bench(tmp_path)
    guest = metadata.guest(definition)
    assert not guest.problems
    GuestHook(bench.driver, guest).run("prepare")
    assert [entry.actual.device for entry in bench.driver.list()] == ["tapweb"]
    bench.driver.close()


def test_the_table_has_the_operations_and_what_their_failure_does() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in HOOK.splitlines() if line.startswith("| `")
    ]
    message = {tuple(re.findall(r"`(.*?)`", row[0])[0].split()): row[2] for row in rows}
    assert set(message) == set(OPERATIONS)
    assert {pair[0] for pair, failure in message.items() if failure.endswith("the guest runs")} == set(HARMLESS)


def test_the_file_is_where_the_page_has_it() -> None:
    assert "/usr/share/vifplug/libvirt-hook " in HOOK
    assert "    share/vifplug = etc/vifplug/libvirt-hook\n" in (ROOT / "setup.cfg").read_text()
    assert "\nvifplug=vifplug " in (ROOT / "etc/vifplug/libvirt-hook").read_text()


def test_every_kind_of_interface_that_is_adopted_is_in_the_table() -> None:
    from vifplug.guest.domain import live

    cells = [line.split("|")[1] for line in ADOPT.splitlines() if line.startswith("| `")]
    assert set(live._PLUGGED) <= {name for cell in cells for name in re.findall(r"`(.*?)`", cell)}
