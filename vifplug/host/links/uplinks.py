"""The ports of a Linux bridge that lead out of the host."""

from __future__ import annotations

import os
from pathlib import Path

from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import Link
from vifplug.host.survey import is_outer, uplink
from vifplug.plan.condition import Uplink

_NET = "/sys/class/net"


def uplinks(netlink: Netlink, bridge: Link) -> tuple[Uplink, ...]:
    """Return the ports of a bridge that are neither a guest's nor vifplug's, by name.

    /sys tells the taps from the others at a fraction of what netlink costs on a bridge of hundreds of guests. It is
    used if it shows this network namespace.
    """
    names = _without_taps(bridge)
    ports = netlink.ports_without_taps(bridge.index) if names is None else netlink.links(names).values()
    return tuple(map(uplink, sorted((port for port in ports if is_outer(port)), key=lambda port: port.name)))


def _without_taps(bridge: Link) -> list[str] | None:
    place = f"{_NET}/{bridge.name}"
    try:
        shown = [Path(f"{place}/{name}").read_text().strip() for name in ("ifindex", "address")]
        if shown != [str(bridge.index), bridge.mac]:
            return None
        return [port for port in os.listdir(f"{place}/brif") if not os.path.exists(f"{_NET}/{port}/tun_flags")]
    except OSError:
        return None
