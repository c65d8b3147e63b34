"""The kernel's own name of a network device, which may have alternative names (``ip link property add altname``)."""

from __future__ import annotations

import socket


def own_name(name: str) -> str:
    """Return the own name of the device that ``name`` means in this network namespace; ``name`` if there is none.

    The kernel finds a device by its alternative names as well (net/core/dev.c, __dev_get_by_name; Linux 5.5), and
    systemd gives such names to every NIC. /sys, messages and other programs know the own name alone.
    """
    try:
        return socket.if_indextoname(socket.if_nametoindex(name))
    except OSError:
        return name
