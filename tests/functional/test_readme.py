"""The README is true: its commands and its code are run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import VIFPLUG
from vifplug import errors

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """A shell in a network namespace of its own, with this environment's programs."""
    path = f"{Path(VIFPLUG).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["unshare", "--net", "sh", "-e", "-c", script]
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.needs("namespaces", "tun")
def test_a_first_vif_by_hand(tmp_path: Path) -> None:
    text = section("A first VIF by hand")
    done = run("\n".join(blocks("sh", text)), tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done
    [element] = blocks("xml", text)
    assert element in done.stdout and element == (tmp_path / "web.xml").read_text()
    for said in ("make tap tap4e0b62d3-6c", "isolated on", "9000", "the VIF is as recorded", "no VIF is plugged"):
        assert said in done.stdout, said


@pytest.mark.needs("namespaces", "tun")
def test_named_networks(tmp_path: Path) -> None:
    done = run("\n".join(blocks("sh", section("Named networks"))), tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done
    for said in ("engineering (default)", '"bridge": "br-red"', '"id": 10'):
        assert said in done.stdout, said


@pytest.mark.needs("namespaces", "tun")
def test_from_python(tmp_path: Path) -> None:
    (tmp_path / "library.py").write_text("".join(blocks("python", section("From Python"))))
    setup = blocks("sh", section("A first VIF by hand"))[0]
    done = run(f"{setup}\n{sys.executable} library.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "<interface type='ethernet'>" in done.stdout and "True make tap tap4e0b62d3-6c" in done.stdout


def test_the_exit_codes_are_those_of_the_errors() -> None:
    message = {int(code) for code in re.findall(r"^\| (\d) \|", section("Exit codes"), re.MULTILINE)}
    families = (errors.InvalidRequest, errors.HostNotReady, errors.Conflict, errors.StepFailed, errors.PartlyDone)
    assert message == {0, 1, *(family.exit_code for family in families)}


def there(name: str) -> bool:
    """Whether a file is there, or a directory with something in it beside bytecode."""
    path = ROOT / name
    return path.is_file() or any(each.is_file() and each.suffix != ".pyc" for each in path.rglob("*"))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_rooms_and_files_that_it_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    names = re.findall(r"`((?:vifplug|doc|examples|etc|tests)/[\w./-]+|\w+\.(?:md|txt|cfg|toml|py))`", text)
    assert len(names) > 5
    assert [name for name in names if not there(name) and not there(f"vifplug/{name}")] == []
