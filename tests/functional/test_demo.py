"""The demo: it is as it says, and nothing is left of it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import VIFPLUG, WITHOUT_CAPABILITIES
from tests.support.patience import becomes
from vifplug.cli.demo import guest, vifs
from vifplug.cli.demo.narrator import CheckFailed, Narrator
from vifplug.cli.demo.story import CARDS
from vifplug.model.vif import VIF
from vifplug.testing.kernel import Kernel


@pytest.fixture
def place(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose temporary directory is the test's own: empty again afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="vd-"))  # short: there will be sockets in it
    yield {**os.environ, "TMPDIR": str(directory), "NO_COLOR": "1"}
    left = [path.name for path in directory.iterdir()]
    directory.rmdir() if not left else pytest.fail(f"left behind: {left}")


def processes(place: dict[str, str]) -> list[str]:
    """The commands of all processes that work in the demo's temporary directory."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (each / "cmdline").read_bytes(), (each / "environ").read_bytes()
        except OSError:
            continue
        if f"TMPDIR={place['TMPDIR']}\0".encode() in environment and command:
            found.append(command.replace(b"\0", b" ").decode())
    return found


@pytest.mark.needs("namespaces", "tun", "openvswitch")
def test_the_demo_comes_out_as_it_says_and_leaves_nothing(place: dict[str, str]) -> None:
    done = subprocess.run([VIFPLUG, "demo"], env=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "" and "FAILED" not in done.stdout and "\033" not in done.stdout
    assert done.stdout.count("\n  ok  ") >= 16
    assert processes(place) == []


@pytest.mark.needs("namespaces", "tun", "openvswitch")
def test_a_demo_in_which_guests_cannot_reach_each_other_fails_and_leaves_nothing(
    place: dict[str, str], tmp_path: Path
) -> None:
    """With a ping that is never answered."""
    (tmp_path / "ping").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "ping").chmod(0o755)
    place["PATH"] = f"{tmp_path}{os.pathsep}{place['PATH']}"
    done = subprocess.run([VIFPLUG, "demo"], env=place, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "  FAILED  web reaches db: both are in VLAN 10" in done.stdout
    assert done.stderr.startswith("vifplug: a check in `demo` failed: web reaches db")
    assert processes(place) == []


@pytest.mark.needs("namespaces", "tun", "openvswitch")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_nothing(place: dict[str, str], number: signal.Signals, code: int) -> None:
    """Ctrl-C goes to the whole foreground group; SIGTERM to the command alone."""
    command = subprocess.Popen(
        [VIFPLUG, "demo"], env=place, stdout=subprocess.PIPE, text=True, start_new_session=True, stderr=subprocess.PIPE
    )
    with command:
        assert command.stdout is not None and command.stderr is not None
        reached = any("ok  web reaches db" in line for line in command.stdout)
        assert reached, command.stderr.read()
        assert len([each for each in processes(place) if "vifplug.cli.demo.guest" in each]) == len(CARDS)
        os.killpg(command.pid, number) if number == signal.SIGINT else command.send_signal(number)
        assert command.wait(60) == code
        assert "Traceback" not in command.stderr.read()
    # a ping that was being started when the signal came ends by itself, within a second
    assert becomes(lambda: processes(place) == [], 5), processes(place)


@pytest.mark.needs("namespaces", "tun", "openvswitch")
def test_a_demo_that_cannot_be_set_up_says_what_is_missing(tmp_path: Path) -> None:
    for program in ("ip", "bridge", "nsenter"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    done = subprocess.run([VIFPLUG, "demo"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "vifplug: demo: ping is not in PATH: install iputils-ping\n"


@pytest.mark.needs("namespaces", "tun", "openvswitch")
def test_a_demo_that_may_not_make_namespaces_says_so() -> None:
    done = subprocess.run([*WITHOUT_CAPABILITIES, VIFPLUG, "demo"], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "Traceback" not in done.stderr and "ip netns add" in done.stderr, done.stderr


@pytest.mark.needs("namespaces", "tun", "openvswitch", "libvirt", "qemu")
@pytest.mark.slow
def test_the_demo_with_guests_comes_out_as_it_says_and_leaves_nothing(place: dict[str, str]) -> None:
    kernel = Kernel.named("VIFPLUG_TEST_GUEST").place
    done = subprocess.run(
        [VIFPLUG, "demo", "--guests", str(kernel)], env=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "" and "FAILED" not in done.stdout
    assert done.stdout.count("\n  ok  ") >= 16 and "3 packets received" in done.stdout
    assert processes(place) == []


@pytest.mark.needs("namespaces", "tun", "openvswitch")
def test_a_demo_whose_guests_have_no_kernel_says_so_and_leaves_nothing(place: dict[str, str], tmp_path: Path) -> None:
    command = [VIFPLUG, "demo", "--guests", str(tmp_path)]
    done = subprocess.run(command, env=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"vifplug: demo: cannot create its host: no boot/vmlinuz-* in {tmp_path}\n"
    assert processes(place) == []


def test_an_expectation_that_fails_ends_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckFailed, match="web reaches db"):
        Narrator(sys.stdout).expect("web reaches db", False)
    assert "FAILED  web reaches db" in capsys.readouterr().out


def test_the_demos_documents_are_valid() -> None:
    for document in vifs.documents("/tmp/demo").values():
        assert VIF.from_json(document).to_data()


def test_a_guests_tag_is_put_behind_the_addresses_and_taken_off_again() -> None:
    frame = bytes(range(12)) + b"\x08\x00payload"
    assert guest.tagged(frame, 20) == bytes(range(12)) + b"\x81\x00\x00\x14\x08\x00payload"
    assert guest.untagged(guest.tagged(frame, 20)) == (20, frame)
    assert guest.untagged(frame) == (None, frame) and guest.tagged(frame, None) == frame
