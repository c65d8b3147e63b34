"""The demo's VIF documents, which are written to files and plugged from there."""

from __future__ import annotations

from typing import Any

SWITCH = "br-demo"  # Open vSwitch: vifplug makes it
PLAIN = "br-plain"  # a Linux bridge, which must exist
UPLINK = "uplink"  # a network card, for the macvtap

_OPENVSWITCH = {"type": "openvswitch"}


def documents(directory: str) -> dict[str, dict[str, Any]]:
    """Return every VIF document, by name. ``directory`` is where the vhost-user socket goes."""
    tagged = [{"id": 10, "native_mode": "untagged"}, {"id": 20}]
    socket = {"path": f"{directory}/vhost/dpdk.sock", "mode": "server"}
    found: dict[str, dict[str, Any]] = {
        "web": {"type": "bridge", "source": {"bridge": SWITCH}, "virtualport": _OPENVSWITCH, "vlan": 10},
        "db": {"type": "bridge", "source": {"bridge": SWITCH}, "virtualport": _OPENVSWITCH, "vlan": 10},
        "mail": {"type": "bridge", "source": {"bridge": SWITCH}, "virtualport": _OPENVSWITCH, "vlan": 20},
        "router": {
            "type": "bridge",
            "source": {"bridge": SWITCH},
            "virtualport": _OPENVSWITCH,
            "vlan": {"trunk": True, "tags": tagged},
        },
        "anna": {"type": "bridge", "source": {"bridge": PLAIN}, "port": {"isolated": True}},
        "bert": {"type": "bridge", "source": {"bridge": PLAIN}, "port": {"isolated": True}},
        "plain": {"type": "ethernet"},
        "direct": {"type": "direct", "source": {"dev": UPLINK, "mode": "bridge"}, "tap_owner": "vifplug"},
        "dpdk": {"type": "vhostuser", "source": socket},
        "guest": {"type": "network", "source": {"network": "office"}},
    }
    return {name: _completed(number, name, document) for number, (name, document) in enumerate(found.items(), 1)}


#: the guests that boot, each with its VLAN
MACHINES = {"web": 10, "db": 10, "mail": 20}


def machine(name: str) -> dict[str, Any]:
    """Return the VIF document of a guest that boots."""
    document = {"type": "bridge", "source": {"bridge": SWITCH}, "virtualport": _OPENVSWITCH, "vlan": MACHINES[name]}
    return {**_completed(list(MACHINES).index(name) + 1, name, document), "mtu": 1450}


def office(vlan: int) -> str:
    """Return the definition of the network that guest names."""
    return f"""<network>
  <name>office</name>
  <forward mode='bridge'/>
  <bridge name='{SWITCH}'/>
  <virtualport type='openvswitch'/>
  <portgroup name='staff' default='yes'><vlan><tag id='{vlan}'/></vlan></portgroup>
</network>
"""


def vif_id(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000"


def _completed(number: int, name: str, document: dict[str, Any]) -> dict[str, Any]:
    own = {"id": vif_id(number), "type": document["type"], "mac": f"52:54:00:00:00:{number:02x}"}
    named = {} if document["type"] == "vhostuser" else {"target": f"tap-{name}"}
    return {**own, **named, **document, "model": "virtio"}
