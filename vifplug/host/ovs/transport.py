"""A connected socket to a remote, or the error that says why there is none."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time

from vifplug.errors import Absent, HostNotReady, NotPermitted, Unavailable
from vifplug.host.ovs.settings import OvsSettings


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
    connected = socket.create_connection((host.strip("[]"), int(port)), left)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _encrypted(connected, settings) if method == "ssl" else connected


def _encrypted(connected: socket.socket, settings: OvsSettings) -> ssl.SSLSocket:
    """TLS with certificates of ovs-pki: both sides have one of the same CA, and its name is not the host's."""
    context = ssl.create_default_context(cafile=settings.ssl_ca)
    context.check_hostname = False
    context.load_cert_chain(settings.ssl_certificate or "", settings.ssl_key)
    return context.wrap_socket(connected)


def unreachable(remote: str, error: OSError, timeout: float) -> HostNotReady:
    """Return the error for a remote that could not be connected to."""
    message = f"the Open vSwitch database at {remote} cannot be reached"
    if isinstance(error, PermissionError):
        remedy = "run as root or with access to that socket" if os.geteuid() else "run with access to that socket"
        return NotPermitted(f"{message}: this process has no permission; {remedy}")
    if isinstance(error, FileNotFoundError):
        return Absent(f"{message}: no such file; start Open vSwitch, or correct the option connection")
    if isinstance(error, ConnectionRefusedError):
        return Unavailable(f"{message}: no server listens there; start ovsdb-server, or correct the option connection")
    if isinstance(error, TimeoutError) or error.errno == errno.EAGAIN:
        return Unavailable(f"{message}: no answer within {timeout:g} s; ovsdb-server or the network to it hangs")
    return Unavailable(f"{message}: {error}; correct the option connection, or repair that server")
