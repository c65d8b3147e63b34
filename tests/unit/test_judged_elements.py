"""Every element that a test has vifplug make goes through libvirt's schema, without a word of the test's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.places import ROOT

pytestmark = pytest.mark.needs("schemas")

#: the report of a test that fails has the element, and this judge sees it too
refused = pytest.mark.beyond_schema("Extra element source", why="it is in what pytest printed")

#: a name that libvirt's parser takes, and its schema does not
BEYOND = "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='{}'/></interface>"


def run(tmp_path: Path, tests: str) -> dict[str, str]:
    """What pytest says of each test that fails."""
    heading = f"""
        import pytest, subprocess
        from tests.support.command import VIFPLUG, vifplug
        from vifplug import VIF, interface_xml

        def make(bridge):
            text = {BEYOND!r}.format(bridge)
            vif = VIF.from_xml(text, id="aaaaaaaa-0000-4000-8000-000000000001")
            return interface_xml(vif.replace(tap_owner="libvirt"))
    """
    (tmp_path / "test_some.py").write_text(textwrap.dedent(heading) + textwrap.dedent(tests))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.support.elements", "--tb=short"]
    command += [f"--config-file={ROOT}/pyproject.toml", f"--rootdir={tmp_path}", str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert "libvirt's schemas: /" in printed, printed
    parts = re.split(
        r"^_+ (?:ERROR at \w+ of )?(test_\w+) _+$", printed.partition("short test summary")[0], flags=re.MULTILINE
    )
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@refused
def test_what_the_schema_refuses_fails_the_test_that_made_it(tmp_path: Path) -> None:
    message = run(
        tmp_path,
        """
        def test_good(): make("br0")
        def test_bad(): make("br+0")
        def test_bad_again(): make("br+0")
        def test_good_again(): make("br0")
        @pytest.fixture
        def made(): return make("br+0")
        def test_fixture(made): pass
        def test_fails_anyway():
            make("br+0")
            raise AssertionError("its own reason")
        def test_after(): make("br0")
        """,
    )
    assert set(message) == {"test_bad", "test_bad_again", "test_fixture", "test_fails_anyway"}
    assert "its own reason" in message.pop("test_fails_anyway")
    for text in message.values():
        assert "libvirt's schema refuses an element: Extra element source" in text and "<source bridge='br+0'/>" in text


@refused
def test_what_a_command_prints_is_judged_as_well(tmp_path: Path) -> None:
    element = BEYOND.format("br+0")
    as_json = json.dumps({"xml": element.replace("><", ">\n<")})
    message = run(
        tmp_path,
        f"""
        def test_command(tmp_path):
            (tmp_path / "vif.xml").write_text({element!r})
            (tmp_path / "conf").write_text("[vifplug]\\ntap_owner = libvirt\\n")
            answer = vifplug("xml", tmp_path / "vif.xml", config=tmp_path / "conf")
            assert "br+0" in answer.out, answer
        def test_json():
            subprocess.run(["echo", {as_json!r}], capture_output=True)
        def test_table():
            subprocess.run(["echo", "| xml | {element} |"], capture_output=True)
        def test_other():
            subprocess.run(["echo", "{element.replace("+", "")}"], capture_output=True)
        """,
    )
    assert set(message) == {"test_command", "test_json"}


@refused
def test_a_test_may_go_beyond_the_schema_as_far_as_it_says(tmp_path: Path) -> None:
    message = run(
        tmp_path,
        """
        @pytest.mark.beyond_schema("Extra element source", why="the parser takes it")
        def test_expected(): make("br+0")
        @pytest.mark.beyond_schema("Extra element target", why="of something else")
        def test_another(): make("br+0")
        @pytest.mark.beyond_schema("Extra element source", why="no longer")
        def test_needless(): make("br0")
        """,
    )
    assert set(message) == {"test_another", "test_needless"}
    assert "refuses an element" in message["test_another"]
    assert all("take the mark beyond_schema away" in text for text in message.values())


@refused
def test_a_domain_that_was_valid_is_valid_when_it_was_edited(tmp_path: Path) -> None:
    message = run(
        tmp_path,
        """
        from vifplug.guest.domain.edit import InterfaceEdit, edited
        from vifplug.testing.libvirt import domain

        MAC = "52:54:00:00:00:01"
        def change(bridge, extra=""):
            interface = f"<interface type='bridge'><mac address='{MAC}'/><source bridge='br0'/></interface>"
            edited(domain("web", extra + interface).encode(), MAC, InterfaceEdit(bridge=bridge))

        def test_good(): change("br1")
        def test_bad(): change("br+0")
        def test_bad_before(): change("br+0", "<nonsense/>")
        """,
    )
    assert set(message) == {"test_bad"}
