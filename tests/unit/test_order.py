"""What takes long is begun first, and groups stay together, with the options that `make test` gives to pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.places import ROOT

TESTS = """
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
    (tmp_path / "test_some.py").write_text(TESTS.format(log=str(tmp_path / "log")))
    command = [sys.executable, "-m", "pytest", *options.replace("$(JOBS)", "2").split(), "-p", "tests.support.order"]
    command += [f"--config-file={ROOT}/pyproject.toml", f"--rootdir={tmp_path}", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    ran = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    first = dict(reversed(ran))
    assert sorted(first.values()) == ["test_kernel", "test_slow"]
    assert len({worker for worker, name in ran if name.startswith("test_quick")}) == 1
