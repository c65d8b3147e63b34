"""Directories of vhost-user sockets and stale sockets in them, on the real file system."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vifplug import errors
from vifplug.host.sockets import SocketBackend, is_stale
from vifplug.plan.resources import VhostSocket
from vifplug.plan.steps import Step, plan, removal

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"
backend = SocketBackend()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vhost" / "sockets" / "a.sock"


@pytest.fixture
def listening(path: Path) -> Iterator[socket.socket]:
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(path))
        server.listen(1)
        yield server


def wanted(path: Path, **fields: int) -> VhostSocket:
    return VhostSocket(name=os.fspath(path), owner=OWNER, **fields)  # type: ignore[arg-type]


def reach(resource: VhostSocket) -> list[Step]:
    steps = plan([resource], backend.observe([resource]))
    backend.apply(steps, [])
    assert plan([resource], backend.observe([resource])) == []
    return steps


def leave_stale(path: Path) -> None:
    """What a killed process leaves: the file, without anybody behind it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(path))
    assert path.is_socket()


def test_the_directory_is_made_and_making_it_again_is_nothing(path: Path) -> None:
    assert backend.observe([wanted(path)]) == {}
    assert len(reach(wanted(path, user=os.geteuid(), mode=0o2770))) == 1
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o2770
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory away")
def test_owner_group_and_mode_are_set_and_put_back(path: Path) -> None:
    reach(wanted(path, user=0, group=0, mode=0o755))
    steps = reach(wanted(path, user=64055, group=107, mode=0o750))
    status = path.parent.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (64055, 107, 0o750)
    backend.apply([step.undo() for step in reversed(steps)], [])
    status = path.parent.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 0, 0o755)


def test_what_is_not_asked_of_a_directory_is_left_alone(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o711)
    assert reach(wanted(path)) == []
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o711


def test_a_stale_socket_is_removed(path: Path) -> None:
    leave_stale(path)
    assert is_stale(path)
    reach(wanted(path))
    assert not path.exists()


def test_a_live_socket_is_never_removed_and_never_connected_to(path: Path, listening: socket.socket) -> None:
    """A vhost-user server takes whoever connects for its peer."""
    assert not is_stale(path)
    assert reach(wanted(path)) == []
    backend.apply([Step(wanted(path), None)], [])
    assert path.is_socket()
    listening.settimeout(0.2)
    with pytest.raises(TimeoutError):
        listening.accept()


def test_a_socket_that_is_bound_and_does_not_listen_yet_is_live(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(path))
        assert not is_stale(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for another network namespace")
def test_a_listener_in_another_network_namespace_is_live(path: Path) -> None:
    """/proc/net/unix does not show it."""
    path.parent.mkdir(parents=True)
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(flush=True)"
    code += "; sys.stdin.read()"
    command = ["unshare", "--net", sys.executable, "-c", code, os.fspath(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout and server.stdin
        server.stdout.readline()
        assert not is_stale(path)
        server.stdin.close()
    assert is_stale(path)


@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_is_no_socket_is_a_conflict_and_stays(path: Path, what: str) -> None:
    path.parent.mkdir(parents=True)
    path.mkdir() if what == "directory" else path.write_text("precious")
    with pytest.raises(errors.Conflict, match=f"a {what} that is no socket"):
        plan([wanted(path)], backend.observe([wanted(path)]))
    backend.apply([Step(wanted(path), None)], [])
    assert path.exists()


def test_removal_takes_a_stale_socket_and_leaves_the_directory(path: Path) -> None:
    leave_stale(path)
    (path.parent / "b.sock").write_text("")
    for _ in range(2):
        backend.apply(removal([wanted(path)], backend.observe([wanted(path)]), {}), [])
        assert [each.name for each in path.parent.iterdir()] == ["b.sock"]


def test_undo_of_making_leaves_a_directory_that_others_may_use(path: Path) -> None:
    steps = reach(wanted(path))
    backend.apply([step.undo() for step in steps], [])
    assert path.parent.is_dir()


def test_a_directory_that_can_not_be_made_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.StepFailed, match="could not make directory"):
        reach(wanted(tmp_path / "file" / "deeper" / "a.sock"))
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_without_the_right_to_give_it_away_nothing_is_left(tmp_path: Path) -> None:
    """As another user, who may make the directory but not give it to root."""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    path = tmp_path / "new" / "a.sock"
    code = f"""
import os
from vifplug.host.sockets import SocketBackend
from vifplug.plan.resources import VhostSocket
from vifplug.plan.steps import Step
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    SocketBackend().apply([Step(None, VhostSocket(name={os.fspath(path)!r}, user=0))], [])
except Exception as error:
    print(type(error).__name__, error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.startswith("NotPermitted vhost-socket"), done.stderr
    assert not path.parent.exists()
