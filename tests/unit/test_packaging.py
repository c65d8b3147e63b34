"""The distribution: a wheel that works elsewhere, whatever git can tell of its version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TYPES = {"bridge", "direct", "ethernet", "hostdev", "os_vif", "vdpa", "vhostuser"}
OURS = ("vifplug", "etc", "setup.cfg", "setup.py", "pyproject.toml", "requirements.txt", "README.md", "LICENSE")
OURS += ("MANIFEST.in", "bindep.txt", "CONTRIBUTING.md", "Makefile")
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")


def _run(*command: object, cwd: Path, **changes: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PBR_VERSION")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, env=environment | changes, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _source(directory: Path) -> Path:
    """A copy of the sources, as an archive without git has them."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    directory.mkdir()
    for name in OURS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=ignored)
        else:
            shutil.copy(source, directory / name)
    return directory


def _wheel(source: Path) -> Path:
    """Build a wheel with the tools of this environment."""
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", source / "out", cwd=source)
    (wheel,) = (source / "out").glob("*.whl")
    return wheel


def test_every_entry_point_of_this_installation_loads() -> None:
    ours = metadata.distribution("vifplug").entry_points
    assert {point.name for point in ours if point.group == "vifplug.types"} == TYPES
    for point in ours:
        assert point.load(), point


def test_every_requirement_is_stated_with_the_oldest_version_that_is_known_to_work() -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert all(">=" in line for line in lines if line)


@pytest.mark.slow
def test_a_wheel_installed_elsewhere_works(tmp_path: Path) -> None:
    """From sources without git, into an environment that has the dependencies of this one and no vifplug."""
    wheel = _wheel(_source(tmp_path / "source"))
    assert wheel.name.startswith("vifplug-0.1.0.dev0-")
    _holds_what_it_should(wheel)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    assert _run(python, "-c", "import vifplug; print(vifplug.__file__)", cwd=tmp_path).startswith(str(site))
    code = (
        "from importlib.metadata import distribution\n"
        "for point in distribution('vifplug').entry_points: point.load()\n"
        "from vifplug import plugins; print(*[type.name for type in plugins.TypeRegistry().loaded()])"
    )
    assert set(_run(python, "-c", code, cwd=tmp_path).split()) == TYPES
    assert "vifplug" in _run(tmp_path / "venv" / "bin" / "vifplug", "--help", cwd=tmp_path)


def _holds_what_it_should(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "vifplug").rglob("*.py")}
    assert sources | {"vifplug/py.typed"} <= names
    sandbox = "/lib/systemd/system/vifplug-.service.d/sandbox.conf"
    for installed in ("/etc/vifplug/vifplug.conf.sample", "/lib/systemd/system/vifplug-recover.service", sandbox):
        assert any(name.endswith(installed) for name in names), installed
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "examples"))]


@pytest.mark.slow
def test_the_version_is_the_tags_or_leads_to_the_next(tmp_path: Path) -> None:
    source = _source(tmp_path / "source")
    command = (sys.executable, "setup.py", "--version")

    def version() -> str:
        return _run(*command, cwd=source).split()[-1]

    assert version() == "0.1.0.dev0"
    _run(*GIT, "init", "--quiet", cwd=source)
    assert version() == "0.1.0.dev0"
    _run(*GIT, "add", "--all", cwd=source)
    _run(*GIT, "commit", "--quiet", "--message", "first", cwd=source)
    assert version() == "0.1.0.dev0"
    _run(*GIT, "commit", "--quiet", "--allow-empty", "--message", "second", cwd=source)
    assert version() == "0.1.0.dev1"
    _run(*GIT, "tag", "--annotate", "--message", "0.1.0", "0.1.0", cwd=source)
    assert version() == "0.1.0"


@pytest.mark.slow
def test_a_source_distribution_holds_all_that_a_wheel_is_built_from(tmp_path: Path) -> None:
    source = _source(tmp_path / "source")
    _run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path / "out", cwd=source)
    (archive,) = (tmp_path / "out").glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    _holds_what_it_should(_wheel(unpacked))
