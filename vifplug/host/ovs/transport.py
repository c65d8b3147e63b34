"""A connected socket to a remote, or the error that says why there is none."""

from __future__ import annotations

import errno
import functools
import ipaddress
import logging
import os
import socket
import ssl
import stat
import time

from vifplug.errors import Absent, HostNotReady, NotPermitted, Unavailable, VifplugError, fill
from vifplug.host.ovs.settings import CONNECTION, OvsSettings
from vifplug.model.codec import shortened

LOG = logging.getLogger(__name__)


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
