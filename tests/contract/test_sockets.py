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
from vifplug.host.vhost_sockets import SocketBackend, is_stale
from vifplug.plan.registry import VhostSocket
from vifplug.plan.steps import Step, differences, removal, steps_toward

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
    steps = steps_toward([resource], backend.observe([resource]))
    backend.apply(steps, [])
    assert steps_toward([resource], backend.observe([resource])) == []
    return steps


def rights(directory: Path) -> tuple[int, int, int]:
    """Owner, group and mode."""
    status = directory.stat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


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


@pytest.mark.needs("root")
def test_a_directory_that_is_made_gets_owner_group_and_mode_and_its_parents_do_not(path: Path) -> None:
    old = os.umask(0o077)
    try:
        reach(wanted(path, user=64055, group=107, mode=0o750))
    finally:
        os.umask(old)
    assert rights(path.parent) == (64055, 107, 0o750)
    assert rights(path.parent.parent) == (0, 0, 0o755)


@pytest.mark.parametrize("mode", [0o1777, 0o755])
def test_a_directory_that_was_there_is_never_altered(path: Path, mode: int) -> None:
    """/tmp, say: whoever writes documents must not be able to take it from everybody else."""
    path.parent.mkdir(parents=True)
    path.parent.chmod(mode)
    before = rights(path.parent)
    message = (
        rf"directory {path.parent} has mode {mode:04o}, and VIF .* requires mode 0750: change it, or .*socket_dir_mode$"
    )
    with pytest.raises(errors.HostNotReady, match=message):  # beforehand: a dry run tells it as well
        steps_toward([wanted(path, mode=0o750)], backend.observe([wanted(path)]))
    with pytest.raises(
        errors.HostNotReady, match=rf"has user \d+, and VIF .* requires user {os.geteuid() + 1}: .*socket_dir_user$"
    ):
        reach(wanted(path, user=os.geteuid() + 1))
    assert rights(path.parent) == before


def test_a_directory_that_came_meanwhile_is_not_altered(path: Path) -> None:
    """Between looking and making."""
    path.parent.mkdir(parents=True, mode=0o711)
    before = rights(path.parent)
    with pytest.raises(errors.HostNotReady, match="has mode"):
        backend.apply([Step(None, wanted(path, mode=0o750))], [])
    assert rights(path.parent) == before


def test_a_later_change_of_the_directory_is_told(path: Path) -> None:
    resource = wanted(path, mode=0o750)
    reach(resource)
    path.parent.chmod(0o700)
    [found] = differences([resource], backend.observe([resource]))
    assert (found.path, found.wanted, found.found) == (f"{resource}: mode", 0o750, 0o700)


def test_a_stale_socket_stays_where_the_directory_is_refused(path: Path) -> None:
    leave_stale(path)
    path.parent.chmod(0o711)
    [seen] = backend.observe([wanted(path)]).values()
    assert isinstance(seen.resource, VhostSocket) and seen.resource.stale
    with pytest.raises(errors.HostNotReady):
        backend.apply([Step(seen.resource, seen.resource.replace(mode=0o750, stale=False))], [])
    assert path.is_socket()


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


def test_a_socket_is_held_while_somebody_has_it_open(path: Path) -> None:
    path.parent.mkdir(parents=True)
    resource = wanted(path)
    with socket.socket(socket.AF_UNIX) as server:
        assert not backend.observe([resource])[resource.identity].held
        server.bind(os.fspath(path))
        server.listen(1)
        assert backend.observe([resource])[resource.identity].held
    seen = backend.observe([resource])[resource.identity]
    assert path.is_socket() and not seen.held


def test_a_socket_that_is_bound_and_does_not_listen_yet_is_live(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(path))
        assert not is_stale(path)


@pytest.mark.needs("root")
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
    with pytest.raises(errors.Conflict, match=f"a {what} that is not a socket"):
        steps_toward([wanted(path)], backend.observe([wanted(path)]))
    backend.apply([Step(wanted(path), None)], [])
    assert path.exists()


def test_removal_takes_a_stale_socket_and_leaves_the_directory(path: Path) -> None:
    leave_stale(path)
    (path.parent / "b.sock").write_text("")
    for _ in range(2):
        backend.apply(removal([wanted(path)], backend.observe([wanted(path)]), {}), [])
        assert [each.name for each in path.parent.iterdir()] == ["b.sock"]


def test_undo_of_making_removes_the_directories_that_were_made(path: Path) -> None:
    steps = reach(wanted(path))
    backend.apply([step.undo() for step in steps], [])
    assert path.parent.parent.parent.is_dir()
    assert not path.parent.parent.exists()


def test_undo_of_making_leaves_a_directory_that_others_use(path: Path) -> None:
    steps = reach(wanted(path))
    (path.parent / "b.sock").write_text("")
    backend.apply([step.undo() for step in steps], [])
    assert [each.name for each in path.parent.iterdir()] == ["b.sock"]


def test_two_sockets_of_one_new_directory_are_made_and_undone_together(path: Path) -> None:
    both = [wanted(path, mode=0o750), wanted(path.with_name("b.sock"), mode=0o750)]
    steps = steps_toward(both, backend.observe(both))
    backend.apply(steps, [])
    assert steps_toward(both, backend.observe(both)) == []
    backend.apply([step.undo() for step in reversed(steps)], [])
    assert not path.parent.exists()


def test_removal_leaves_a_directory_that_the_same_process_made(path: Path) -> None:
    reach(wanted(path, mode=0o750))
    backend.apply(removal([wanted(path)], backend.observe([wanted(path)]), {}), [])
    assert path.parent.is_dir()


def test_a_directory_that_can_not_be_made_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.StepFailed, match="could not create directory"):
        reach(wanted(tmp_path / "file" / "deeper" / "a.sock"))
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.needs("root")
def test_without_the_right_to_give_it_away_nothing_is_left(tmp_path: Path) -> None:
    """As another user, who may make the directory but not give it to root."""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    path = tmp_path / "new" / "a.sock"
    code = f"""
import os
from vifplug.host.vhost_sockets import SocketBackend
from vifplug.plan.registry import VhostSocket
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
