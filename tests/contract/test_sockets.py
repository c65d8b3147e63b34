"""Directories of vhost-user sockets and stale sockets in them, on the real file system."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vifplug import conf, errors
from vifplug.driver.verbs import VIFDriver
from vifplug.host.vhost_sockets import SocketBackend
from vifplug.model.vif import VIF
from vifplug.plan.preconditions import Preconditions
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


def wanted(path: Path, **fields: Any) -> VhostSocket:
    return VhostSocket(name=os.fspath(path), owner=OWNER, **fields)


def reach(resource: VhostSocket) -> list[Step]:
    steps = steps_toward([resource], backend.observe([resource]))
    backend.apply(steps, [])
    assert steps_toward([resource], backend.observe([resource])) == []
    return steps


def is_stale(path: Path) -> bool:
    seen = backend.observe([wanted(path)]).get(wanted(path).identity)
    return seen is not None and isinstance(seen.resource, VhostSocket) and seen.resource.stale


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
@pytest.mark.parametrize("listen", ["s.listen(); ", ""], ids=["listening", "bound"])
def test_a_socket_of_another_network_namespace_is_live(path: Path, listen: str) -> None:
    """/proc/net/unix does not show it."""
    path.parent.mkdir(parents=True)
    code = f"import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); {listen}print(flush=True)"
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


# -- below a directory of the configuration --------------------------------------------------------------------------


def below(base: Path, *parts: str, **fields: Any) -> VhostSocket:
    return wanted(base.joinpath(*parts), socket_dirs=(os.fspath(base),), **fields)


@pytest.mark.parametrize("through", ["outer", "outer/inner"])
def test_a_symbolic_link_below_the_base_is_never_followed(tmp_path: Path, through: str) -> None:
    """The guest's user may have made it, so that root creates a directory or removes a socket elsewhere."""
    base, elsewhere = tmp_path / "base", tmp_path / "elsewhere"
    leave_stale(elsewhere / "a.sock")
    (base / through).parent.mkdir(parents=True)
    (base / through).symlink_to(elsewhere)
    for resource in (below(base, through, "a.sock"), below(base, through, "new", "a.sock")):
        with pytest.raises(errors.Conflict, match=rf"directory {base / through} .* got a symbolic link or a file"):
            raise next(Preconditions([resource]).unmet(backend.observe([resource, *resource.requires])))
        assert resource.identity not in backend.observe([resource])
        with pytest.raises(errors.StepFailed, match="Not a directory"):
            backend.apply([Step(None, resource)], [])
        backend.apply([Step(resource.replace(stale=True, made=(f"{base}/{through}",)), None)], [])
    assert [each.name for each in elsewhere.iterdir()] == ["a.sock"]


def test_a_symbolic_link_in_the_base_is_the_operators(tmp_path: Path) -> None:
    """/var/run is one."""
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to(tmp_path / "run")
    reach(below(tmp_path / "var" / "vhost", "a", "a.sock"))
    assert (tmp_path / "run" / "vhost" / "a").is_dir()


def test_a_directory_that_is_swapped_between_looking_and_removing_is_not_followed(tmp_path: Path) -> None:
    base, elsewhere = tmp_path / "base", tmp_path / "elsewhere"
    leave_stale(elsewhere / "a.sock")
    leave_stale(base / "d" / "a.sock")
    resource = below(base, "d", "a.sock")
    steps = removal([resource], backend.observe([resource]), {})
    (base / "d").rename(base / "was")
    (base / "d").symlink_to(elsewhere)
    backend.apply(steps, [])
    assert (elsewhere / "a.sock").is_socket() and (base / "was" / "a.sock").is_socket()


def test_a_link_with_the_name_of_the_socket_is_no_socket(tmp_path: Path) -> None:
    leave_stale(tmp_path / "elsewhere" / "a.sock")
    (tmp_path / "a.sock").symlink_to(tmp_path / "elsewhere" / "a.sock")
    with pytest.raises(errors.Conflict, match="a symbolic link that is not a socket"):
        steps_toward([below(tmp_path, "a.sock")], backend.observe([below(tmp_path, "a.sock")]))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_an_abstract_socket_of_anybody_holds_nothing(path: Path, kind: int) -> None:
    leave_stale(path)
    with socket.socket(socket.AF_UNIX, kind) as other, socket.socket(socket.AF_UNIX, kind) as named:
        other.bind(f"\0x {path}")
        named.bind(f"\0{path}")
        [seen] = backend.observe([wanted(path)]).values()
    assert not seen.held and is_stale(path)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_bound_socket_of_another_kind_is_live(path: Path, kind: int) -> None:
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(os.fspath(path))
        assert not is_stale(path)


# -- by the driver -----------------------------------------------------------------------------------------------------


@pytest.fixture
def restarted(tmp_path: Path) -> Callable[[], VIFDriver]:
    """A driver of the same record, as after a restart of the agent."""
    (tmp_path / "vifplug.conf").write_text(f"[vifplug]\nstate_path={tmp_path}/state\nsocket_dirs={tmp_path}/base")
    return lambda: VIFDriver(conf.load([f"{tmp_path}/vifplug.conf"]))


def vhost(number: int, path: Path) -> VIF:
    source = {"path": os.fspath(path), "mode": "server"}
    fields = {"id": f"{OWNER[:-1]}{number}", "mac": f"52:54:00:00:00:0{number}", "type": "vhostuser"}
    return VIF.from_json({**fields, "source": source})


def test_what_was_made_is_removed_at_unplug_after_a_restart(tmp_path: Path, restarted: Callable[[], VIFDriver]) -> None:
    vif = vhost(1, tmp_path / "base" / "a" / "b" / "s.sock")
    (tmp_path / "base").mkdir()
    for _ in range(2):
        with restarted() as driver:
            driver.plug(vif)
    leave_stale(Path(vif.source.path))
    with restarted() as driver:
        driver.unplug(vif.id)
    assert list((tmp_path / "base").iterdir()) == []


def test_a_directory_that_was_there_stays(tmp_path: Path, restarted: Callable[[], VIFDriver]) -> None:
    (tmp_path / "base" / "a").mkdir(parents=True)
    with restarted() as driver:
        driver.plug(vhost(1, tmp_path / "base" / "a" / "b" / "s.sock"))
        driver.unplug(vhost(1, tmp_path).id)
    assert list((tmp_path / "base" / "a").iterdir()) == []


def test_the_last_vif_of_a_directory_takes_it_away(tmp_path: Path, restarted: Callable[[], VIFDriver]) -> None:
    first, second = (vhost(number, tmp_path / "base" / "a" / f"{number}.sock") for number in (1, 2))
    with restarted() as driver:
        driver.plug(first)
        driver.plug(second)
        driver.unplug(first.id)
        assert (tmp_path / "base" / "a").is_dir()  # the second guest has yet to start
        driver.update(second.replace(source=second.source.replace(path=f"{tmp_path}/base/a/3.sock")))
        assert (tmp_path / "base" / "a").is_dir() and driver.check() == []
        driver.update(second.replace(source=second.source.replace(path=f"{tmp_path}/base/c/3.sock")))
        assert [each.name for each in (tmp_path / "base").iterdir()] == ["c"]
        driver.unplug(second.id)
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("place", ["elsewhere/s.sock", "base-2/s.sock", "s.sock"])
def test_a_socket_elsewhere_is_refused(tmp_path: Path, restarted: Callable[[], VIFDriver], place: str) -> None:
    vif = vhost(1, tmp_path / place)
    with restarted() as driver:
        message = rf"expected a socket below {tmp_path}/base \(\[vifplug\] socket_dirs\), got {vif.source.path}"
        with pytest.raises(errors.InvalidDocument, match=message):
            driver.plug(vif)
        assert [message for _, message in driver.can_plug([vif])] and driver.list() == []
    assert not (tmp_path / place).parent.exists() or place == "s.sock"


def test_who_removes_a_directory_and_who_begins_to_use_it_see_one_another(
    tmp_path: Path, restarted: Callable[[], VIFDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second plug ends while the first VIF's unplug is on its way, or its unplug while the plug is."""
    first, second = (vhost(number, tmp_path / "base" / "a" / f"{number}.sock") for number in (1, 2))
    with restarted() as one, restarted() as another:
        for verb, late in (
            (lambda: one.unplug(first.id), lambda: another.plug(second)),
            (lambda: one.plug(second), lambda: another.unplug(first.id)),
        ):
            one.plug(first)
            observe, pending = one._host.observe, [late]

            def then(resources: Any, observe: Any = observe, pending: Any = pending) -> Any:
                found = observe(resources)
                if pending:
                    pending.pop()()
                return found

            monkeypatch.setattr(one._host, "observe", then)
            verb()
            monkeypatch.setattr(one._host, "observe", observe)
            assert pending == [] and (tmp_path / "base" / "a").is_dir() and one.check() == []
            one.unplug(second.id)


def test_one_socket_is_one_claim_whatever_its_directory_is_called(
    tmp_path: Path, restarted: Callable[[], VIFDriver]
) -> None:
    """/var/run is a link to /run on most hosts."""
    (tmp_path / "run").mkdir()
    (tmp_path / "base").symlink_to("run")
    with (tmp_path / "vifplug.conf").open("a") as file:
        file.write(f",{tmp_path}/run\n")
    first, second = (vhost(number, tmp_path / name / "s.sock") for number, name in ((1, "base"), (2, "run")))
    with restarted() as driver:
        assert driver.plug(first).actual == first
        with pytest.raises(errors.Conflict, match=rf"socket {tmp_path}/run/s.sock is requested by VIF {second.id}"):
            driver.plug(second)


def test_a_directory_that_was_not_finished_gets_its_rights(path: Path) -> None:
    """Who made it was killed before: at the first one, at the last."""
    for left in (path.parent.parent, path.parent):
        for resource in (wanted(path), wanted(path, mode=0o750)):
            path.parent.parent.mkdir(exist_ok=True)
            left.mkdir(exist_ok=True)
            left.chmod(0o1700)
            reach(resource)
            assert [rights(each)[2] for each in path.parents[:2]] == [resource.mode or 0o755, 0o755]
            path.parent.rmdir()
