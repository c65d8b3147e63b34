"""Which attributes and children libvirt's schema gives ``<network>``, and which of them are the host's business.

Source: network.rng, 9.0 to 12.5. ``max`` of ``<interface>`` is vifplug's own.
"""

from __future__ import annotations

from dataclasses import replace

from vifplug.guest.schema import COVERED, OPAQUE, OPAQUE_OFTEN, Shape

#: what a running network's dump adds
_STATUS = ("connections",)

_PORTGROUP = Shape(
    key=".portgroups",
    may=("name", "default", "trustGuestRxFilters"),
    children={name: COVERED[name] for name in ("vlan", "virtualport", "bandwidth")},
    many=True,
)

_FORWARD = Shape(
    may=("mode", "dev", "managed"),
    children={
        "interface": Shape(key=".devices", must=("dev",), may=("max",), status=_STATUS, many=True),
        "address": Shape(
            key=".addresses", must=("type",), may=("domain", "bus", "slot", "function"), status=_STATUS, many=True
        ),
        "pf": Shape(key=".pf", must=("dev",)),
        "driver": Shape(key=".driver", may=("name", "model")),
    },
)

#: elements that say nothing of how a VIF is connected
_REMARKS = ("title", "description", "metadata")

#: what a network has that libvirt runs itself, and why it has no place in one that the host has made
REFUSED = {
    "ip": "gives the bridge an address",
    "route": "gives the bridge a route",
    "dns": "starts a name server on the bridge",
    "domain": "starts a name server on the bridge",
    "mac": "gives the bridge an address",
}

NETWORK = Shape(
    may=("trustGuestRxFilters", "ipv6"),
    status=_STATUS,
    children={
        "name": Shape(key=".name", text=True),
        "uuid": Shape(key=".uuid", text=True),
        **dict.fromkeys(_REMARKS, OPAQUE),
        "forward": _FORWARD,
        "bridge": Shape(key=".bridge", may=("name", "zone", "stp", "delay", "macTableManager")),
        "mtu": COVERED["mtu"],
        "virtualport": COVERED["virtualport"],
        "vlan": COVERED["vlan"],
        "bandwidth": replace(COVERED["bandwidth"], key=".bandwidth"),
        "port": COVERED["port"],
        "portgroup": _PORTGROUP,
        **dict.fromkeys(REFUSED, OPAQUE_OFTEN),
    },
)
