"""Tests that run in a machine read like tests that run here, whatever becomes of them or of the machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.vm import VARIABLE, Hardware, VirtualMachine
from vifplug.testing.kernel import Kernel

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("machines")]

TESTS = """
import os
import pytest

pytestmark = pytest.mark.machine("plain")

@pytest.fixture
def spoilt():
    yield
    raise RuntimeError("spoilt")

@pytest.mark.parametrize("name", ["a b'c"])
def test_good(name):
    print("in", os.uname().release)

def test_bad():
    print("said before")
    here = [1, 2]
    assert here == [1, 3]

def test_skipped():
    pytest.skip("for a reason")

def test_spoilt(spoilt):
    pass

def test_deadly():
    with open("/proc/sysrq-trigger", "w") as trigger:
        trigger.write("c")

def test_late():
    pass
"""


def run(directory: Path, *words: str, **environment: str) -> str:
    """What pytest says of the tests, in a directory of their own."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.plugins.machines", "-p", "no:cacheprovider", "-rA", *words]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, cwd=directory, env=variables, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("written")
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "test_written.py").write_text(TESTS)
    return directory


@pytest.fixture(scope="module")
def message(written: Path) -> str:
    VirtualMachine(Hardware(), "true")  # or it says what is lacking
    return run(written)


def test_each_outcome_is_the_tests_own(message: str) -> None:
    assert re.search(r"^test_written.py \.Fs\.EFF", message, re.MULTILINE), message
    assert "3 failed, 2 passed, 1 skipped, 1 error" in message
    assert f"in {Kernel.named(VARIABLE).version}\n" in message


def test_a_failure_is_reported_as_one_of_this_machine(message: str) -> None:
    line = TESTS.splitlines().index("    assert here == [1, 3]") + 1
    assert "E       assert [1, 2] == [1, 3]" in message and f"test_written.py:{line}: AssertionError" in message, (
        message
    )
    assert "- Captured stdout call -" in message and "said before" in message
    assert "ERROR test_written.py::test_spoilt - RuntimeError: spoilt" in message
    assert re.search(r"SKIPPED \[1\] test_written.py:\d+: for a reason", message), message


def test_a_machine_that_dies_fails_its_test_with_the_kernels_last_words(message: str) -> None:
    deadly, _, late = message.partition("_ test_deadly _")[2].partition("_ test_late _")
    assert "the machine has ended" in deadly and "Kernel panic - not syncing: sysrq triggered crash" in deadly
    assert "the machine ended before this test: see test_written.py::test_deadly" in late


def test_where_there_is_no_kernel_the_reason_is_reported(written: Path) -> None:
    message = run(written, "-k", "late", VIFPLUG_TEST_KERNEL="/nowhere")
    assert re.search(r"SKIPPED \[1\] test_written.py:\d+: no boot/vmlinuz-\* in /nowhere", message), message


def test_a_machine_that_is_not_known_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_lost.py").write_text("import pytest\n@pytest.mark.machine('dream')\ndef test_it(): pass\n")
    assert "ERROR: test_lost.py::test_it: no machine 'dream'; there are: plain, " in run(tmp_path)
