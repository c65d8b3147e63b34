"""A test on a machine that lacks something: skipped, with a reason that names it, and listed at the end of the run."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.places import ROOT
from vifplug.testing import Lacking, needs

#: a mount namespace in which $1 is an empty directory; the rest is run in it
HIDDEN = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$1"; shift; exec "$@"', "hidden")


def run(tmp_path: Path, tests: str, *options: str, under: Sequence[str] = ()) -> str:
    """What pytest prints about some tests, with this project's configuration."""
    heading = "import pytest\nfrom vifplug.testing import Lacking\n"
    (tmp_path / "test_some.py").write_text(heading + textwrap.dedent(tests))
    pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.support.skips", *options]
    command = [
        *under,
        *pytest_,
        f"--config-file={ROOT}/pyproject.toml",
        f"--rootdir={tmp_path}",
        str(tmp_path / "test_some.py"),
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_what_was_skipped_is_listed_by_reason_above_what_failed_and_the_closing_line(tmp_path: Path) -> None:
    printed = run(
        tmp_path,
        """
        @pytest.mark.parametrize("number", range(3))
        def test_many(number): pytest.skip("no luck today")

        @pytest.fixture(scope="module")
        def host(): raise Lacking("no host")
        def test_first(host): raise AssertionError
        def test_second(host): raise AssertionError
        def test_none(): raise Lacking("not even that")
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
    assert "skipped" not in run(tmp_path, "def test_one(): pass")


NEEDY = """
@pytest.fixture
def never(): raise AssertionError("a fixture of a test that is skipped")

@pytest.mark.needs("{}")
def test_it(never): raise AssertionError
"""


@pytest.mark.needs("mounts", "tun")
def test_a_machine_without_tun_skips_what_needs_taps(tmp_path: Path) -> None:
    printed = run(tmp_path, NEEDY.format("tun"), under=(*HIDDEN, "/dev/net"))
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
    assert f"\n1 skipped: {reason}\n" in run(tmp_path, NEEDY.format(name), under=under)


@pytest.mark.parametrize("name", ["openvswitch", "libvirt", "qemu", "ip", "tcpdump"])
def test_programs_that_are_not_installed_are_named_with_their_package(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "path", lambda: "/nowhere")
    with pytest.raises(Lacking, match=r"^no \S.* \(Debian: [a-z]") as lacking:
        needs.require(name)
    packages = str(lacking.value).partition("(Debian: ")[2].removesuffix(")").split(", ")
    assert set(packages) <= listed()


def listed() -> set[str]:
    """The packages of bindep.txt."""
    return set(re.findall(r"^([a-z][^ ]*)", (ROOT / "bindep.txt").read_text(), re.MULTILINE))


def test_everything_that_is_lacking_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "path", lambda: "/nowhere")
    with pytest.raises(Lacking, match=r"^no ping \(.*\); no ip \(Debian: iproute2\)$"):
        needs.require("ping", "ip", "ping")


def test_a_need_that_nobody_knows_is_a_mistake_and_no_skip() -> None:
    with pytest.raises(KeyError, match="tune"):
        needs.require("tune")
