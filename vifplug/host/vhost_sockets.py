"""Backend for vhost-user sockets: their directories, and stale sockets under their names.

A document names the path, and the guest's user may write in a part of it. A directory is therefore opened component by
component from a trusted one, without following a symbolic link, and everything is done by its descriptor.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

from vifplug import errors
from vifplug.host.stepwise import StepwiseBackend
from vifplug.plan.registry import Identity, Resource, SocketDirectory, VhostSocket
from vifplug.plan.steps import Observed

_PATIENCE = 0.5  # seconds for another process to finish a directory that it is creating
_PARENT_MODE = 0o755
#: the mode of a directory until it has its rights: nobody else has a reason for it, so a leftover is recognized
_UNFINISHED = 0o1700


class SocketBackend(StepwiseBackend):
    """The directories and stale sockets of the local file system."""

    resources: ClassVar[tuple[type[Resource], ...]] = (VhostSocket, SocketDirectory)

    def __init__(self) -> None:
        self._made: dict[Identity, tuple[Resource, list[str]]] = {}

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.backend.Backend.observe`. A socket without a directory is left out."""
        found: dict[Identity, Observed] = {}
        for each in desired:
            with contextlib.suppress(FileNotFoundError):
                if isinstance(each, SocketDirectory):
                    found[each.identity] = _observed_directory(each)
                elif isinstance(each, VhostSocket):
                    with contextlib.suppress(NotADirectoryError):  # the observation of the directory says so
                        found[each.identity] = _observed(each)
        return found

    def make(self, after: Resource) -> None:
        """Create the directory. Equivalent to: install --directory --owner USER --group GROUP --mode MODE DIRECTORY

        Raises HostNotReady if another process has created it meanwhile, with other rights.
        """
        assert isinstance(after, VhostSocket)
        if created := _make_directories(after):
            self._made[after.identity] = (after, created)
        else:
            _wait_for_rights(after)

    def change(self, before: Resource, after: Resource) -> None:
        """Remove a stale socket; undo does not restore it. Raises HostNotReady if the directory is not as desired.

        An existing directory is never changed, except one that was not finished: see VhostSocket.
        """
        assert isinstance(before, VhostSocket) and isinstance(after, VhostSocket)
        if before.unfinished and not after.unfinished:
            _make_directories(after)
        _demand_rights(before, after)
        if before.stale and not after.stale:
            _remove_stale(before)

    def remove(self, before: Resource) -> None:
        """Remove a stale socket, and the directories that were created for it if they are empty.

        The undo of `make`, recognized by its resource, removes those that `make` created itself: others may use the
        rest.
        """
        assert isinstance(before, VhostSocket)
        _remove_stale(before)
        maker, created = self._made.pop(before.identity, (None, []))
        _remove_directories(created if maker is before else before.made, before)

    def close(self) -> None:
        """Do nothing: nothing is kept open."""

    def _verify(self, after: Resource, before: Resource | None = None) -> None:
        super()._verify(after.replace(stale=False), before)


# -- looking ------------------------------------------------------------------------------------------------------


def _observed_directory(desired: SocketDirectory) -> Observed:
    try:
        with _opened(desired.name, desired.base):
            return Observed(resource=desired)
    except NotADirectoryError:
        return Observed(resource=None, foreign="a symbolic link or a file")


def _observed(desired: VhostSocket) -> Observed:
    with _directory(desired) as directory:
        status, stale, held = os.fstat(directory), False, False
        with contextlib.suppress(FileNotFoundError), _entry(desired, directory) as entry:
            if foreign := _foreign(os.fstat(entry).st_mode):
                return Observed(resource=None, foreign=foreign)
            held = _is_bound(entry)
            stale = not held
    mode = stat.S_IMODE(status.st_mode)
    unfinished = mode == _UNFINISHED != desired.mode
    rights = {} if unfinished else {"user": status.st_uid, "group": status.st_gid, "mode": mode}
    found = desired.trusted(**rights, stale=stale, unfinished=unfinished)
    return Observed(resource=found, held=held)


def _foreign(mode: int) -> str:
    """Return what a file is that is no socket; empty for a socket."""
    if stat.S_ISSOCK(mode):
        return ""
    noun = "directory" if stat.S_ISDIR(mode) else "symbolic link" if stat.S_ISLNK(mode) else "file"
    return f"a {noun} that is not a socket"


def _is_bound(entry: int) -> bool:
    """Return whether a process has a socket bound to a file, in any network namespace, listening or not.

    Connecting a datagram socket tells it and disturbs nobody: the kernel finds the bound socket by the inode, and then
    refuses the type (EPROTOTYPE); ECONNREFUSED means that nobody is bound (net/unix/af_unix.c, unix_find_bsd).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(f"/proc/self/fd/{entry}")
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # EPROTOTYPE; or unknown, which counts as bound
    return True


def holder(path: str) -> str:
    """Return the process that has bound a socket in this network namespace: ``qemu-system-x86 (pid 12)``.

    It is empty if there is none, or this process may not see it. Equivalent to: ss -lxp src PATH
    """
    rows = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    ends = {f"socket:[{row[6]}]" for row in rows if len(row) > 7 and row[7] == path}
    for entry in Path("/proc").glob("[0-9]*/fd/*") if ends else ():
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if os.readlink(entry) in ends:
                process = entry.parents[1]
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""


# -- by descriptor ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: str, base: str) -> Iterator[int]:
    """Yield a descriptor of a directory. Below ``base``, a symbolic link raises NotADirectoryError.

    Equivalent to openat2(2) below ``base`` with RESOLVE_NO_SYMLINKS, for which neither Python nor glibc has a function.
    """
    below = PurePosixPath(path)
    parts = below.relative_to(base).parts if below.is_relative_to(base) else ()
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(base if below.is_relative_to(base) else path, flags)
    try:
        for part in parts:
            inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _directory(desired: VhostSocket) -> contextlib.AbstractContextManager[int]:
    return _opened(_parent(desired), _base(desired))


def _parent(desired: VhostSocket) -> str:
    return str(PurePosixPath(desired.name).parent)


def _base(desired: VhostSocket) -> str:
    """Return the trusted directory; `VhostSocket.unmet` refuses a socket without one before the first step."""
    return desired.base or "/"


@contextlib.contextmanager
def _entry(desired: VhostSocket, directory: int) -> Iterator[int]:
    """Yield a descriptor of what has the socket's name, which may be a symbolic link itself."""
    name = PurePosixPath(desired.name).name
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# -- changing -----------------------------------------------------------------------------------------------------


def _make_directories(desired: VhostSocket) -> list[str]:
    """Create the directory and its parents, or finish them; return those that were, outermost first."""
    created: list[str] = []
    path = PurePosixPath(_parent(desired))
    try:
        for each in [*reversed(path.parents[:-1]), path]:
            with _opened(str(each.parent), _base(desired)) as parent:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(each.name, mode=_UNFINISHED, dir_fd=parent)
                status = os.stat(each.name, dir_fd=parent, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == _UNFINISHED:
                    created.append(str(each))
                    _set_rights(parent, each.name, desired if each == path else VhostSocket(name=desired.name))
    except OSError as error:
        _remove_directories(created, desired)
        raise _explained(error, desired, f"create directory {path}") from error
    return created


def _set_rights(parent: int, name: str, desired: VhostSocket) -> None:
    """Set owner and mode of a new directory. The mode comes last, because chown(2) clears set-id bits."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
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
            raise _explained(error, desired, f"use {_parent(desired)}") from error
        except errors.HostNotReady:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PATIENCE / 20)


def _demand_rights(found: VhostSocket, desired: VhostSocket) -> None:
    if refused := desired.refused(found):
        raise refused


def _remove_stale(before: VhostSocket) -> None:
    """Remove a socket to which no process is bound. Only its owner can have replaced it in between, by its own file."""
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), _directory(before) as directory:
            with _entry(before, directory) as entry:
                stale = not _foreign(os.fstat(entry).st_mode) and not _is_bound(entry)
            if stale:
                os.unlink(PurePosixPath(before.name).name, dir_fd=directory)
    except OSError as error:
        raise _explained(error, before, "remove the stale socket") from error


def _remove_directories(created: Sequence[str], desired: VhostSocket) -> None:
    for each in map(PurePosixPath, reversed(created)):
        # an error means that others use it already
        with contextlib.suppress(OSError), _opened(str(each.parent), _base(desired)) as parent:
            os.rmdir(each.name, dir_fd=parent)


def _explained(error: OSError, resource: Resource, doing: str) -> errors.VifplugError:
    message = f"{resource}: could not {doing}: {error.strerror}"
    if not isinstance(error, PermissionError):
        return errors.StepFailed(message, path=resource.name)
    return errors.NotPermitted(
        f"{message}; giving it to another user requires CAP_CHOWN and CAP_FOWNER, and writing to another user's "
        "directory CAP_DAC_OVERRIDE",
        path=resource.name,
    )
