"""A line to a remote, or the error that says why there is none."""

from __future__ import annotations

import errno
import functools
import ipaddress
import logging
import math
import os
import select
import socket
import ssl
import stat
import time

from vifplug.errors import Absent, HostNotReady, NotPermitted, Unavailable, VifplugError, fill
from vifplug.host.ovs.settings import CONNECTION, OvsSettings
from vifplug.model.codec import shortened

LOG = logging.getLogger(__name__)

_RECEIVE = 1 << 18
#: The longest wait that poll(2) takes in milliseconds is some 24 days. Seconds.
_LONGEST = 86_400.0


class Line:
    """A connected socket. Each call has a ``deadline``, on time.monotonic()'s clock, and raises OSError.

    With a time limit of its own a socket makes six system calls of a request's three: each call has to set the limit,
    and to wait before it tries. So a plain one has none, and waits only for an answer. TLS may hold in its buffer what
    was received, and eventlet.monkey_patch takes poll away: such sockets have a limit.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll:
            self._poll.register(connected, select.POLLIN)
        self._limited = self._poll is None or type(connected) is not socket.socket
        if not self._limited:
            connected.settimeout(None)

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes, deadline: float) -> None:
        if not self._limited:
            try:
                sent = self._socket.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        self._socket.sendall(data)
        if not self._limited:
            self._socket.settimeout(None)

    def receive(self, deadline: float) -> bytes:
        """Return what arrives next; nothing when the server has ended the connection."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if self._limited:
            self._socket.settimeout(left)
        elif self._poll and not self._poll.poll(math.ceil(min(left, _LONGEST) * 1000)):
            raise TimeoutError
        return self._socket.recv(_RECEIVE)

    def readable(self) -> bool:
        """Return whether something has arrived, be it the end of the connection."""
        if self._poll is None:  # eventlet's own select has no limit of 1024
            return bool(select.select([self._socket], [], [], 0)[0])
        return bool(self._poll.poll(0))


def dial(remote: str, settings: OvsSettings, deadline: float) -> socket.socket:
    """Connect to one remote; the socket. Raises OSError."""
    method, _, address = remote.partition(":")
    left = max(deadline - time.monotonic(), 0.001)
    if method == "unix":
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.settimeout(left)
        try:
            connected.connect(address)
        except OSError:
            connected.close()
            raise
        return connected
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if method == "tcp" and not _is_local(host):
        _warn_of_tcp(remote)
    if method == "ssl":
        _check_private(settings.ssl_key or "")
    try:
        connected = socket.create_connection((host, int(port)), left)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _encrypted(connected, host, settings) if method == "ssl" else connected
    except OSError:  # a certificate that is refused is a ValueError as well
        raise
    except ValueError as error:  # Python's, of what no host can be called: IDNA has rules
        name = settings.ssl_server_name if method == "ssl" and settings.ssl_server_name else host
        option = "[vifplug_ovs] " + ("connection" if name == host else "ssl_server_name")
        message = f"{shortened(name)} is no name of a host: correct {option}"
        raise HostNotReady(f"the Open vSwitch database at {shortened(remote)}: {message}", option=option) from error


def _encrypted(connected: socket.socket, host: str, settings: OvsSettings) -> ssl.SSLSocket:
    """TLS with a certificate for each side. The server's has to be for it: each host has one of the same CA."""
    context = ssl.create_default_context(cafile=settings.ssl_ca)
    context.load_cert_chain(settings.ssl_certificate or "", settings.ssl_key)
    return context.wrap_socket(connected, server_hostname=settings.ssl_server_name or host)


def _check_private(key: str) -> None:
    """Raise HostNotReady if the file of a private key cannot be read, or others may read or change it."""
    option = "[vifplug_ovs] ssl_key"
    try:
        mode = os.stat(key).st_mode
    except OSError as error:
        message = f"private key {key} for the Open vSwitch database: {error.strerror}: correct {option}"
        raise HostNotReady(message, option=option, path=key) from error
    if mode & stat.S_IRWXO:
        message = f"private key {key} for the Open vSwitch database is open to other users (mode {mode & 0o777:04o})"
        hint = f"replace it if they may have read it, and run 'chmod o= {key}'"
        raise HostNotReady(f"{message}: {hint}", option=option, path=key)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@functools.cache
def _warn_of_tcp(remote: str) -> None:
    """Warn, once for each remote, of a connection that anybody can read and write."""
    LOG.warning("Open vSwitch is reached by %s: anybody on the way may change the switch; use ssl instead", remote)


def unreachable(remote: str, error: OSError, timeout: float) -> HostNotReady:
    """Return the error for a remote that could not be connected to."""
    method, _, address = remote.partition(":")
    known = VifplugError(
        resource=f"Open vSwitch database at {remote}", option=CONNECTION, path=address if method == "unix" else None
    )
    return fill(_unreachable(remote, error, timeout), known)


def _unreachable(remote: str, error: OSError, timeout: float) -> HostNotReady:
    message = f"the Open vSwitch database at {remote} cannot be reached"
    if isinstance(error, PermissionError):
        remedy = "run as root or with access to that socket" if os.geteuid() else "run with access to that socket"
        return NotPermitted(f"{message}: this process has no permission; {remedy}")
    if isinstance(error, FileNotFoundError):
        return Absent(f"{message}: no such file; start Open vSwitch, or correct the option connection")
    if isinstance(error, ConnectionRefusedError):
        return Unavailable(f"{message}: no server listens there; start ovsdb-server, or correct the option connection")
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "set [vifplug_ovs] ssl_server_name to a name in its certificate, or correct ssl_ca"
        sentence = f"{message}: {error.verify_message}: {hint}"
        return Unavailable(sentence, option="[vifplug_ovs] ssl_server_name")
    if isinstance(error, TimeoutError) or error.errno == errno.EAGAIN:
        return Unavailable(f"{message}: no answer within {timeout:g} s; ovsdb-server or the network to it hangs")
    return Unavailable(f"{message}: {error.strerror or error}; correct the option connection, or repair that server")
