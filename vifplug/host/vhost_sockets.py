"""Backend for vhost-user sockets: their directories, and stale sockets under their names."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from vifplug import errors
from vifplug.host.stepwise import StepwiseBackend
from vifplug.plan.registry import Identity, Resource, VhostSocket
from vifplug.plan.steps import Observed

_PROBE_TIMEOUT = 1  # seconds; connecting to a UNIX socket waits only if the listener's backlog is full
_PATIENCE = 0.5  # seconds for another process to finish a directory that it is creating
_PARENT_MODE = 0o755


class SocketBackend(StepwiseBackend):
    """The directories and stale sockets of the local file system."""

    resources: ClassVar[tuple[type[Resource], ...]] = (VhostSocket,)

    def __init__(self) -> None:
        self._made: dict[Identity, tuple[Resource, list[Path]]] = {}

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.backend.Backend.observe`. A socket without a directory is left out."""
        sockets = (each for each in desired if isinstance(each, VhostSocket) and Path(each.name).parent.is_dir())
        return {each.identity: _observed(each) for each in sockets}

    def make(self, after: Resource) -> None:
        """Create the directory. Equivalent to: install --directory --owner USER --group GROUP --mode MODE DIRECTORY

        Raises HostNotReady if another process has created it meanwhile, with other rights.
        """
        assert isinstance(after, VhostSocket)
        if created := _make_directory(Path(after.name).parent, after):
            self._made[after.identity] = (after, created)
        else:
            _wait_for_rights(after)

    def change(self, before: Resource, after: Resource) -> None:
        """Remove a stale socket; undo does not restore it. Raises HostNotReady if the directory is not as desired.

        An existing directory is never changed: see VhostSocket.
        """
        assert isinstance(before, VhostSocket) and isinstance(after, VhostSocket)
        _demand_rights(before, after)
        if before.stale and not after.stale:
            _remove_stale(before)

    def remove(self, before: Resource) -> None:
        """Remove a stale socket, and nothing else: other sockets may use the directory.

        The undo of `make`, recognized by its resource, also removes the directories that `make` created, if empty.
        """
        _remove_stale(before)
        maker, created = self._made.pop(before.identity, (None, []))
        if maker is before:
            _remove_directories(created)

    def close(self) -> None:
        """Do nothing: nothing is kept open."""

    def _verify(self, after: Resource, before: Resource | None = None) -> None:
        super()._verify(after.replace(stale=False), before)


def is_stale(path: Path) -> bool:
    """Return whether a socket exists on which no process listens.

    A socket that /proc/net/unix of this network namespace lists as bound is live. Connecting is the last resort,
    because a vhost-user server takes the caller for its peer.
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
            return False  # unknown, so it counts as live
    return False


def _observed(desired: VhostSocket) -> Observed:
    path = Path(desired.name)
    if path.exists() and not path.is_socket():
        return Observed(resource=None, foreign=f"a {'directory' if path.is_dir() else 'file'} that is not a socket")
    status = path.parent.stat()
    mode = stat.S_IMODE(status.st_mode)
    found = desired.trusted(user=status.st_uid, group=status.st_gid, mode=mode, stale=is_stale(path))
    return Observed(resource=found, held=_is_bound(path))


def _make_directory(directory: Path, desired: VhostSocket) -> list[Path]:
    """Create the directory and its parents; return those that were created, outermost first."""
    created: list[Path] = []
    try:
        for each in reversed([directory, *directory.parents]):
            with contextlib.suppress(FileExistsError):  # another process has been faster
                if not each.exists():
                    each.mkdir(mode=0o700)
                    created.append(each)
                    _set_rights(each, desired if each == directory else VhostSocket(name=desired.name))
    except OSError as error:
        _remove_directories(created)
        raise _explained(error, desired, f"create directory {directory}") from error
    return created


def _set_rights(directory: Path, desired: VhostSocket) -> None:
    """Set owner and mode of a new directory. The mode comes last, because chown(2) clears set-id bits."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        user, group = (-1 if given is None else given for given in (desired.user, desired.group))
        if (user, group) != (-1, -1):
            os.fchown(descriptor, user, group)
        os.fchmod(descriptor, _PARENT_MODE if desired.mode is None else desired.mode)
    finally:
        os.close(descriptor)


def _wait_for_rights(desired: VhostSocket) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            found = _observed(desired).resource
            assert found is None or isinstance(found, VhostSocket)
            return _demand_rights(found or desired, desired)
        except OSError as error:
            raise _explained(error, desired, f"use {Path(desired.name).parent}") from error
        except errors.HostNotReady:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PATIENCE / 20)


def _demand_rights(found: VhostSocket, desired: VhostSocket) -> None:
    if message := desired.refusal(found):
        raise errors.HostNotReady(message)


def _remove_stale(before: Resource) -> None:
    path = Path(before.name)
    try:
        if is_stale(path):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise _explained(error, before, "remove the stale socket") from error


def _remove_directories(created: Sequence[Path]) -> None:
    for each in reversed(created):
        with contextlib.suppress(OSError):  # others use it already
            each.rmdir()


def _explained(error: OSError, resource: Resource, doing: str) -> errors.VifplugError:
    message = f"{resource}: could not {doing}: {error.strerror}"
    return errors.NotPermitted(message) if isinstance(error, PermissionError) else errors.StepFailed(message)
