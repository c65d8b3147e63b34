"""Backend for vhost-user sockets: the directory they will be in, and stale files in their place."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from vifplug import errors
from vifplug.host.stepwise import Stepwise
from vifplug.plan.resources import Identity, Resource, VhostSocket
from vifplug.plan.steps import Observed

_PROBE_TIMEOUT = 1  # seconds; connecting to a UNIX socket only waits where the listener's backlog is full


class SocketBackend(Stepwise):
    """The directories and stale sockets of the local file system."""

    resources: ClassVar[tuple[type[Resource], ...]] = (VhostSocket,)

    def observe(self, wanted: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.door.Backend.observe`. Left out: what has no directory yet."""
        found: dict[Identity, Observed] = {}
        for resource in wanted:
            assert isinstance(resource, VhostSocket)
            if Path(resource.name).parent.is_dir():
                found[resource.identity] = _observed(resource)
        return found

    def make(self, after: Resource) -> None:
        """Make the directory. Equivalent to: install --directory --owner USER --group GROUP --mode MODE DIRECTORY"""
        assert isinstance(after, VhostSocket)
        directory = Path(after.name).parent
        created = _make_directory(directory, after)
        try:
            _set_directory(directory, after)
        except errors.VifplugError:
            for each in reversed(created):
                each.rmdir()
            raise

    def change(self, before: Resource, after: Resource) -> None:
        """Set the directory's owner, group and mode, and remove a stale socket (which no undo brings back)."""
        assert isinstance(before, VhostSocket) and isinstance(after, VhostSocket)
        if before.stale and not after.stale:
            self.remove(before)
        _set_directory(Path(after.name).parent, after)

    def remove(self, before: Resource) -> None:
        """Remove a stale socket, and nothing else: other sockets may use the directory."""
        path = Path(before.name)
        try:
            if is_stale(path):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _explained(error, before, "remove the stale socket") from error

    def close(self) -> None:
        """Nothing is kept open."""

    def _verify(self, after: Resource) -> None:
        super()._verify(after.replace(stale=False))


def is_stale(path: Path) -> bool:
    """Whether a socket is there on which nobody listens.

    Connecting is the last resort, since a vhost-user server takes the caller for its peer: a socket that this network
    namespace knows as bound is live without asking (/proc/net/unix).
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
    except FileNotFoundError:
        return False
    return not _is_bound(path) and _refuses(path)


def _is_bound(path: Path) -> bool:
    with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as table:
        return any(line.rstrip("\n").endswith(f" {path}") for line in table)


def _refuses(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False  # it can't be told, so it counts as live
    return False


def _observed(wanted: VhostSocket) -> Observed:
    path = Path(wanted.name)
    if path.exists() and not path.is_socket():
        return Observed(resource=None, foreign=f"a {'directory' if path.is_dir() else 'file'} that is no socket")
    status = path.parent.stat()
    mode = stat.S_IMODE(status.st_mode)
    found = wanted.replace(user=status.st_uid, group=status.st_gid, mode=mode, stale=is_stale(path))
    return Observed(resource=found)


def _make_directory(directory: Path, wanted: VhostSocket) -> list[Path]:
    """The directories that had to be made, outermost first."""
    created: list[Path] = []
    try:
        for each in reversed([directory, *directory.parents]):
            if not each.exists():
                each.mkdir(mode=0o755)
                created.append(each)
    except OSError as error:
        for each in reversed(created):
            each.rmdir()
        raise _explained(error, wanted, f"make directory {directory}") from error
    return created


def _set_directory(directory: Path, wanted: VhostSocket) -> None:
    status = directory.stat()
    user = -1 if wanted.user is None else wanted.user
    group = -1 if wanted.group is None else wanted.group
    try:
        if user not in (-1, status.st_uid) or group not in (-1, status.st_gid):
            os.chown(directory, user, group)
        if wanted.mode not in (None, stat.S_IMODE(status.st_mode)):
            directory.chmod(wanted.mode)
    except OSError as error:
        raise _explained(error, wanted, f"set owner, group and mode of {directory}") from error


def _explained(error: OSError, resource: Resource, doing: str) -> errors.VifplugError:
    told = f"{resource}: could not {doing}: {error.strerror}"
    return errors.NotPermitted(told) if isinstance(error, PermissionError) else errors.StepFailed(told)
