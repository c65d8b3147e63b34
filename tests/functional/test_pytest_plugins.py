"""The plugins of pytest in tests/plugins: skips, the order of tests, and elements that libvirt's schema judges."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.places import ROOT
from vifplug.testing import MissingRequirement, needs


def run(directory: Path, plugin: str, tests: str, *options: str, under: Sequence[str] = ()) -> str:
    """Return what pytest prints about some tests, with this project's configuration and one of its plugins."""
    (directory / "test_some.py").write_text(textwrap.dedent(tests))
    command = [
        *under,
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        f"tests.plugins.{plugin}",
        *options,
    ]
    command += [f"--config-file={ROOT}/pyproject.toml", f"--rootdir={directory}", str(directory)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


# -- skips: a test that lacks something is skipped with a reason, and listed at the end of the run ---------------------

#: a mount namespace in which $1 is an empty directory; the rest is run in it
HIDDEN = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$1"; shift; exec "$@"', "hidden")


def test_what_was_skipped_is_listed_by_reason_above_what_failed_and_the_closing_line(tmp_path: Path) -> None:
    printed = run(
        tmp_path,
        "skips",
        """
        import pytest
        from vifplug.testing import MissingRequirement

        @pytest.mark.parametrize("number", range(3))
        def test_many(number): pytest.skip("no luck today")

        @pytest.fixture(scope="module")
        def host(): raise MissingRequirement("no host")
        def test_first(host): raise AssertionError
        def test_second(host): raise AssertionError
        def test_none(): raise MissingRequirement("not even that")
        def test_broken(): raise AssertionError
        """,
        "--numprocesses=2",
    )
    file = r"test_some\.py"
    assert re.search(
        rf"= skipped =+\n3 skipped: no luck today\n    {file} \(3\)\n2 skipped: no host\n    {file} \(2\)\n"
        rf"1 skipped: not even that\n    {file} \(1\)\n"
        rf"=+ short test summary info =+\nFAILED \S*{file}::test_broken.*\n"
        r"=+ 1 failed, 6 skipped in \S+s =+\n$",
        printed,
    ), printed


def test_nothing_is_said_of_tests_that_all_ran(tmp_path: Path) -> None:
    assert "skipped" not in run(tmp_path, "skips", "def test_one(): pass")


NEEDY = """
import pytest

@pytest.fixture
def never(): raise AssertionError("a fixture of a test that is skipped")

@pytest.mark.needs("{}")
def test_it(never): raise AssertionError
"""


@pytest.mark.needs("mounts", "tun")
def test_a_machine_without_tun_skips_what_needs_taps(tmp_path: Path) -> None:
    printed = run(tmp_path, "skips", NEEDY.format("tun"), under=(*HIDDEN, "/dev/net"))
    assert "1 skipped: no /dev/net/tun\n" in printed and "1 failed" not in printed, printed


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("without", "name", "reason"),
    [
        ("all", "root", "needs root with its capabilities"),
        ("sys_admin", "mounts", "nothing can be mounted: Operation not permitted"),
        ("sys_admin", "namespaces", "no network namespaces: ip netns add NAME says: Operation not permitted"),
        (
            "net_admin",
            "namespaces",
            "no network namespaces: ip -n NAME link set dev lo up says: Operation not permitted",
        ),
    ],
)
def test_root_in_a_container_skips_what_it_may_not(tmp_path: Path, without: str, name: str, reason: str) -> None:
    under = ("setpriv", f"--bounding-set=-{without}", f"--inh-caps=-{without}")
    assert f"\n1 skipped: {reason}\n" in run(tmp_path, "skips", NEEDY.format(name), under=under)


@pytest.mark.parametrize("name", ["openvswitch", "libvirt", "qemu", "ip", "tcpdump"])
def test_programs_that_are_not_installed_are_named_with_their_package(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "path", lambda: "/nowhere")
    with pytest.raises(MissingRequirement, match=r"^no \S.* \(Debian: [a-z]") as lacking:
        needs.require(name)
    packages = str(lacking.value).partition("(Debian: ")[2].removesuffix(")").split(", ")
    assert set(packages) <= listed()


def listed() -> set[str]:
    """The packages of bindep.txt."""
    return set(re.findall(r"^([a-z][^ ]*)", (ROOT / "bindep.txt").read_text(), re.MULTILINE))


def test_everything_that_is_lacking_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "path", lambda: "/nowhere")
    with pytest.raises(MissingRequirement, match=r"^no ping \(.*\); no ip \(Debian: iproute2\)$"):
        needs.require("ping", "ip", "ping")


def test_an_unknown_need_is_a_mistake_and_no_skip() -> None:
    with pytest.raises(KeyError, match="tune"):
        needs.require("tune")


# -- order: slow tests are begun first, and groups stay together, with the options of `make test` ------------------

ORDERED = """
import os, pathlib, pytest

@pytest.fixture(autouse=True)
def logged(request):
    with open({log!r}, "a") as log:
        print(os.environ["PYTEST_XDIST_WORKER"], request.node.name, file=log)

@pytest.mark.parametrize("number", range(8))
@pytest.mark.xdist_group("many")
def test_quick(number): pass

@pytest.mark.slow
def test_slow(): pass

@pytest.mark.slow
@pytest.mark.xdist_group("kernel")
def test_kernel(): pass
"""


def test_slow_tests_are_the_first_of_each_worker_and_a_group_is_on_one(tmp_path: Path) -> None:
    [options] = re.findall(r"-m pytest (.*) \$\(TESTS\)", (ROOT / "Makefile").read_text())
    tests = ORDERED.format(log=str(tmp_path / "log"))
    printed = run(tmp_path, "order", tests, *options.replace("$(JOBS)", "2").split())
    assert " 10 passed" in printed, printed
    ran = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    first = dict(reversed(ran))
    assert sorted(first.values()) == ["test_kernel", "test_slow"]
    assert len({worker for worker, name in ran if name.startswith("test_quick")}) == 1


# -- elements: whatever a test has vifplug make goes through libvirt's schema, without a word of the test's -----------

#: the report of a test that fails has the element, and this judge sees it too
refused = pytest.mark.beyond_schema("Extra element source", why="it is in what pytest printed")

#: a name that libvirt's parser takes, and its schema does not
BEYOND = "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='{}'/></interface>"


HEADING = f"""
import pytest, subprocess
from tests.support.command import VIFPLUG, vifplug
from vifplug import VIF, interface_xml

def make(bridge):
    text = {BEYOND!r}.format(bridge)
    vif = VIF.from_xml(text, id="aaaaaaaa-0000-4000-8000-000000000001")
    return interface_xml(vif.replace(tap_owner="libvirt"))
"""


def failures(tmp_path: Path, tests: str) -> dict[str, str]:
    """Return what pytest says of each test that fails."""
    printed = run(tmp_path, "elements", HEADING + textwrap.dedent(tests), "--tb=short")
    assert "libvirt's schemas: /" in printed, printed
    parts = re.split(
        r"^_+ (?:ERROR at \w+ of )?(test_\w+) _+$", printed.partition("short test summary")[0], flags=re.MULTILINE
    )
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.needs("schemas")
@refused
def test_what_the_schema_refuses_fails_the_test_that_made_it(tmp_path: Path) -> None:
    message = failures(
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


@pytest.mark.needs("schemas")
@refused
def test_what_a_command_prints_is_judged_as_well(tmp_path: Path) -> None:
    element = BEYOND.format("br+0")
    as_json = json.dumps({"xml": element.replace("><", ">\n<")})
    message = failures(
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


@pytest.mark.needs("schemas")
@refused
def test_a_test_may_go_beyond_the_schema_as_far_as_it_says(tmp_path: Path) -> None:
    message = failures(
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


@pytest.mark.needs("schemas")
@refused
def test_a_domain_that_was_valid_is_valid_when_it_was_edited(tmp_path: Path) -> None:
    message = failures(
        tmp_path,
        """
        from vifplug.guest.domain.change import InterfaceEdit
        from vifplug.guest.domain.edit import edited
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
