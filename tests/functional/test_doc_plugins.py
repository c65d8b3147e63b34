"""doc/plugins.md is true: whoever writes its files and runs its commands, in order, has a plugin that works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.site import ROOT
from vifplug.types import base

PAGE, _, _ = (ROOT / "doc" / "plugins.md").read_text().partition("## Facts of your own")  # the rest: test_plugins
EXAMPLE = ROOT / "examples" / "vifplug-vxlan"
_BLOCK = re.compile(
    r"(?:^`(?P<path>[\w./-]+)`\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """One block of the page: a file, where it has a path; commands (sh); or what these say (text)."""

    path: str | None
    language: str
    text: str


BLOCKS = [Block(**found.groupdict()) for found in _BLOCK.finditer(PAGE)]


def script() -> str:
    """The page as a shell would have it typed in: files are written, commands run, after their number."""
    lines = ["set -e"]
    for number, block in enumerate(BLOCKS):
        if block.path:
            lines.append(f"cat > {block.path} <<'END OF FILE'\n{block.text}END OF FILE")
        elif block.language == "sh":
            lines.append(f"echo '@@ {number}'\n{block.text}")
    return "\n".join(lines)


def environment(directory: Path) -> dict[str, str]:
    """A virtual environment that also sees the packages of this one; pip downloads nothing."""
    venv.create(directory, with_pip=False, symlinks=True)
    [site] = directory.glob("lib/python*/site-packages")
    (site / "this.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    here, there = Path(sys.executable).parent, directory / "bin"
    for name in ("vifplug", "pytest", "pip"):
        lines = (here / name).read_text().splitlines(keepends=True)
        (there / name).write_text("".join([f"#!{there / 'python'}\n", *lines[1:]]))
        (there / name).chmod(0o755)
    pip = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    path = f"{there}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **pip, "PIP_ROOT_USER_ACTION": "ignore", "PATH": path, "XDG_CACHE_HOME": f"{directory}/cache"}


def followed(directory: Path) -> dict[int, str]:
    """What the commands of each block say. Namespaces that the page names are in a /run/netns of the test's own."""
    work = directory / "work"
    work.mkdir()
    private = f"mkdir -p /run/netns && mount -t tmpfs none /run/netns\n{script()}"
    command = ["unshare", "--net", "--mount", "sh", "-c", private]
    done = subprocess.run(
        command, cwd=work, env=environment(directory / "venv"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    _, *parts = re.split(r"^@@ (\d+)\n", done.stdout, flags=re.MULTILINE)
    return {int(number): text for number, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.needs("namespaces", "mounts", "tun")
def test_whoever_follows_the_page_sees_what_it_shows(tmp_path: Path) -> None:
    answers = followed(tmp_path)
    expected = [number for number, block in enumerate(BLOCKS) if block.language == "text"]
    assert len(expected) > 6
    for number in expected:
        for line in BLOCKS[number].text.splitlines():
            assert line in answers[number - 1], answers[number - 1]
    [last] = [number for number, block in enumerate(BLOCKS) if "-brief link" in block.text]
    left = re.findall(r"^(\w+)(?:@\w+)? +(?:UP|DOWN)", answers[last], re.MULTILINE)
    assert left == ["lo", "wire"], answers[last]


def test_every_block_is_a_file_or_is_run_or_is_what_was_said() -> None:
    assert len(BLOCKS) > 15 and PAGE.count("\n```") == 2 * len(BLOCKS)
    for before, block in zip(["", *(each.language for each in BLOCKS)], BLOCKS, strict=False):
        assert block.path or block.language == "sh" or (block.language == "text" and before == "sh"), block


def test_the_files_of_the_page_are_those_of_the_example() -> None:
    found = {block.path: block.text for block in BLOCKS if block.path}
    sources = (each for each in EXAMPLE.rglob("*") if each.suffix in (".py", ".toml") and "build" not in each.parts)
    assert found == {str(each.relative_to(EXAMPLE)): each.read_text() for each in sources}


def test_the_version_of_the_plugin_interface_is_the_present_one() -> None:
    assert set(re.findall(r"api_version = (\(.*?\))", PAGE)) == {str(base.API_VERSION)}


def test_what_the_page_says_a_plugin_may_use_is_there() -> None:
    table = PAGE.partition("### What a plugin may use")[2]
    for line in re.findall(r"^\| (`vifplug.*?) \| ", table, re.MULTILINE):
        first, *rest = re.findall(r"`([\w.]+)`", line)
        for name in (first, *(f"{first.rpartition('.')[0]}{each}" if each[0] == "." else each for each in rest)):
            assert (ROOT / f"{name.replace('.', '/')}.py").exists() or (ROOT / name.replace(".", "/")).is_dir(), name
