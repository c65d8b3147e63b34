"""libvirt's own network driver as a judge: a daemon of the test's own, which runs without any rights.

As an unprivileged user's (a session) it keeps its state below a directory of its own and can alter nothing of the host;
networks on bridges and pools that are there already it defines, starts and allocates ports on as root's does. It does
not look whether bridges and devices exist; of virtual functions for mode hostdev it does, so those are left out.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from vifplug.testing import MissingRequirement, needs

#: the daemon with all drivers, and the one with this driver alone
DAEMONS = {"libvirtd": "libvirt-sock", "virtnetworkd": "virtnetworkd-sock"}

NOBODY = 65534
_SECONDS = 20
#: it ends by itself when nobody has been connected for so many seconds: no test's death leaves it behind
_ORPHANED = "60"

#: libvirt prints errors to stderr unless it is given a function
_quiet = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(lambda context, error: None)


class Refused(Exception):
    """libvirt refuses; ``str()`` is its reason."""


class LibvirtNetworks:
    """A connection to the driver."""

    def __init__(self, library: ctypes.CDLL, connection: ctypes.c_void_p) -> None:
        self._library, self._connection = library, connection
        number = ctypes.c_ulong()
        library.virConnectGetLibVersion(connection, ctypes.byref(number))
        self.version = (number.value // 1_000_000, number.value // 1000 % 1000)

    @contextlib.contextmanager
    def network(self, xml: str) -> Iterator[LibvirtNetwork]:
        """The network, started; on exit it is gone with its ports. Raises Refused."""
        handle = ctypes.c_void_p(self._library.virNetworkCreateXML(self._connection, xml.encode()))
        if not handle:
            raise Refused(last_error(self._library))
        try:
            yield LibvirtNetwork(self._library, handle)
        finally:
            self._library.virNetworkDestroy(handle)
            self._library.virNetworkFree(handle)


class LibvirtNetwork:
    """A network that runs."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle

    def allocate(self, port: str) -> str:
        """The ``<networkport>`` that libvirt makes of one. Raises Refused."""
        made = ctypes.c_void_p(self._library.virNetworkPortCreateXML(self._handle, port.encode(), 0))
        if not made:
            raise Refused(last_error(self._library))
        try:
            described: str = self._library.virNetworkPortGetXMLDesc(made, 0).decode()
            return described
        finally:
            self._library.virNetworkPortFree(made)

    def release(self, uuid: str) -> None:
        port = ctypes.c_void_p(self._library.virNetworkPortLookupByUUIDString(self._handle, uuid.encode()))
        assert port and self._library.virNetworkPortDelete(port, 0) == 0, last_error(self._library)
        self._library.virNetworkPortFree(port)


def last_error(library: ctypes.CDLL) -> str:
    message: bytes = library.virGetLastErrorMessage()
    return message.decode()


@contextlib.contextmanager
def started() -> Iterator[LibvirtNetworks]:
    """A daemon for as long as the context lasts. Raises MissingRequirement."""
    command, library = _daemon(), _library()
    with tempfile.TemporaryDirectory(prefix="vifplug-libvirt-") as directory:
        rights = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if rights:
            needs.require("root")
            os.chown(directory, NOBODY, NOBODY)
        places = ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
        environment = {"PATH": os.defpath, "LC_ALL": "C", **dict.fromkeys(places, directory)}
        log = Path(directory) / "log"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [command, "--timeout", _ORPHANED],
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **rights,
            ) as daemon,
        ):
            try:
                socket = Path(directory) / "libvirt" / DAEMONS[Path(command).name]
                _wait_for(socket, daemon, log)
                with _connected(library, socket) as networks:
                    yield networks
            finally:
                _end(daemon)


def _daemon() -> str:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    found = next(filter(None, (shutil.which(name, path=path) for name in DAEMONS)), None)
    if found is None:
        raise MissingRequirement("no libvirtd and no virtnetworkd (Debian: libvirt-daemon)")
    return found


def _library() -> ctypes.CDLL:
    needs.require("libvirt library")
    library = ctypes.CDLL("libvirt.so.0")
    for name in (
        "virConnectOpen",
        "virNetworkCreateXML",
        "virNetworkPortCreateXML",
        "virNetworkPortLookupByUUIDString",
    ):
        getattr(library, name).restype = ctypes.c_void_p
    for name in ("virNetworkPortGetXMLDesc", "virGetLastErrorMessage"):
        getattr(library, name).restype = ctypes.c_char_p
    library.virSetErrorFunc(None, _quiet)
    return library


def _wait_for(socket: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while not socket.exists():
        assert daemon.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.01)


@contextlib.contextmanager
def _connected(library: ctypes.CDLL, socket: Path) -> Iterator[LibvirtNetworks]:
    connection = ctypes.c_void_p(library.virConnectOpen(f"network:///session?socket={socket}".encode()))
    if not connection:
        message = last_error(library)
        if "no connection driver available" in message:
            raise MissingRequirement("no network driver of libvirt (Debian 13: libvirt-daemon-driver-network)")
        raise AssertionError(message)
    try:
        yield LibvirtNetworks(library, connection)
    finally:
        library.virConnectClose(connection)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
