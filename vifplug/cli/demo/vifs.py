"""The demo's VIF documents, which are written to files and plugged from there."""

from __future__ import annotations

from typing import Any

SWITCH = "br-demo"  # Open vSwitch: vifplug makes it
PLAIN = "br-plain"  # a Linux bridge, which must exist
UPLINK = "uplink"  # a network card, for the macvtap


def documents(directory: str) -> dict[str, dict[str, Any]]:
    """Return every VIF document, by name. ``directory`` is where the vhost-user socket goes."""
    tagged = [{"id": 10, "native_mode": "untagged"}, {"id": 20}]
    socket = {"path": f"{directory}/vhost/dpdk.sock", "mode": "server"}
    found: dict[str, dict[str, Any]] = {
        "web": _port(10),
        "db": _port(10),
        "mail": _port(20),
        "router": _port({"trunk": True, "tags": tagged}),
        "anna": {"type": "bridge", "source": {"bridge": PLAIN}, "port": {"isolated": True}},
        "bert": {"type": "bridge", "source": {"bridge": PLAIN}, "port": {"isolated": True}},
        "plain": {"type": "ethernet"},
        "direct": {"type": "direct", "source": {"dev": UPLINK, "mode": "bridge"}, "tap_owner": "vifplug"},
        "dpdk": {"type": "vhostuser", "source": socket},
        "guest": {"type": "network", "source": {"network": "office"}},
    }
    return {name: _completed(number, name, document) for number, (name, document) in enumerate(found.items(), 1)}


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


def _port(vlan: object) -> dict[str, Any]:
    source = {"bridge": SWITCH, "ensure": True}
    return {"type": "bridge", "source": source, "virtualport": {"type": "openvswitch"}, "vlan": vlan}


def _completed(number: int, name: str, document: dict[str, Any]) -> dict[str, Any]:
    vif_id, mac = f"{number:08d}-0000-4000-8000-000000000000", f"52:54:00:00:00:{number:02x}"
    named = {} if document["type"] == "vhostuser" else {"target": f"tap-{name}"}
    return {"id": vif_id, "type": document["type"], "mac": mac, **named, **document, "model": "virtio"}
