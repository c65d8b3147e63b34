"""The kinds of interface that guests of the tests have, and whom they are to reach by each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LINUX = {"type": "bridge", "source": {"bridge": "br0"}}
OVS = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
LIBVIRTS, VIFPLUGS = {"tap_owner": "libvirt"}, {"tap_owner": "vifplug"}


def direct(device: str, mode: str) -> dict[str, Any]:
    return {"type": "direct", "source": {"dev": device, "mode": mode}}


def network(name: str, portgroup: str | None = None) -> dict[str, Any]:
    return {"type": "network", "source": {"network": name} | ({"portgroup": portgroup} if portgroup else {})}


def on_switch(**source: Any) -> dict[str, Any]:
    return {**OVS, "source": {"bridge": "br-int", **source}}


@dataclass(frozen=True)
class Kind:
    """``reaches``: the names of the peers, by the VLAN that the guest itself sends in (None: untagged).

    ``mtu`` is what the guest is to believe.
    """

    name: str
    keys: Mapping[str, Any]
    reaches: Mapping[int | None, set[str]]
    mtu: int = 1500


SWITCHED = [
    Kind("Linux bridge", {**LINUX, "mtu": 1450}, {None: {"lan"}}, 1450),
    Kind("Linux bridge, libvirt's tap", {**LINUX, **LIBVIRTS, "mtu": 9000}, {None: {"lan"}}, 9000),
    Kind("access", {**OVS, "vlan": 10, "mtu": 9000}, {None: {"vlan10"}, 20: set()}, 9000),
    Kind("access, libvirt's tap", {**OVS, **LIBVIRTS, "vlan": 10, "mtu": 1400}, {None: {"vlan10"}, 20: set()}, 1400),
    Kind("trunk", {**OVS, "vlan": "10,20"}, {None: set(), 10: {"vlan10"}, 20: {"vlan20"}}),
    Kind("trunk, libvirt's tap", {**OVS, **LIBVIRTS, "vlan": "10,20"}, {None: set(), 20: {"vlan20"}}),
    Kind("native", {**OVS, "vlan": "10u,20", "mtu": 1400}, {None: {"vlan10"}, 20: {"vlan20"}}, 1400),
    Kind("native, libvirt's tap", {**OVS, **LIBVIRTS, "vlan": "10u,20"}, {None: {"vlan10"}, 20: {"vlan20"}}),
    Kind("two queues", {**OVS, "vlan": 20, "driver": {"queues": 2}}, {None: {"vlan20"}}),
    Kind("hybrid", {**on_switch(hybrid=True), "vlan": 20}, {None: {"vlan20"}}),
    Kind("a bridge for each port", {**on_switch(per_port_bridge=True), "vlan": 10}, {None: {"vlan10"}, 20: set()}),
    Kind("a port before libvirt's tap", {**on_switch(port_owner="vifplug"), **LIBVIRTS, "vlan": 10, "mtu": 1400},
         {None: {"vlan10"}, 20: set()}, 1400),
]  # fmt: skip

ELSEWHERE = [
    Kind("ethernet", {"type": "ethernet", "target": "plain0", "mtu": 1400}, {None: {"lan"}}, 1400),
    Kind("ethernet, libvirt's tap", {"type": "ethernet", "target": "plain1", **LIBVIRTS}, {None: {"lan"}}),
    Kind("direct, bridge", direct("low0", "bridge"), {None: {"wire"}}),
    Kind("direct, vepa", direct("low1", "vepa"), {None: {"wire"}}),
    Kind("direct, private", direct("low2", "private"), {None: {"wire"}}),
    Kind("direct, passthrough", direct("low3", "passthrough"), {None: {"wire"}}),
    Kind("direct, vifplug's macvtap", {**direct("low0", "bridge"), **VIFPLUGS, "driver": {"queues": 2}},
         {None: {"wire"}}),
    Kind("direct, passthrough, vifplug's macvtap", {**direct("low4", "passthrough"), **VIFPLUGS}, {None: {"wire"}}),
    Kind("network, default portgroup", network("red"), {None: {"vlan10"}, 20: set()}),
    Kind("network, trunk portgroup", network("red", "firewalls"), {None: {"vlan10"}, 20: {"vlan20"}}),
    Kind("network, Linux bridge", network("lab"), {None: {"lan2"}}, 1300),
    Kind("network, shared pool", network("shared"), {None: {"wire"}}),
    Kind("network, exclusive pool", {**network("exclusive"), **VIFPLUGS}, {None: {"wire"}}),
]  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two interfaces of one sort, one of each guest's. ``together``: whether they reach each other.

    ``peer`` is whom both reach.
    """

    name: str
    keys: Mapping[str, Any]
    peer: str
    together: bool


PAIRS = [
    Pair("Linux bridge", LINUX, "lan", together=True),
    Pair("isolated on a Linux bridge", {**LINUX, "port": {"isolated": True}}, "lan", together=False),
    Pair("one VLAN", {**OVS, "vlan": 10}, "vlan10", together=True),
    Pair("direct, bridge", direct("low0", "bridge"), "wire", together=True),
    Pair("direct, vepa", direct("low1", "vepa"), "wire", together=False),
    Pair("direct, vepa, reflected", direct("low5", "vepa"), "wire", together=True),
    Pair("direct, private, reflected", direct("low2", "private"), "wire", together=False),
]

NETWORKS = {
    "red": "<forward mode='bridge'/><bridge name='br-int'/><virtualport type='openvswitch'/>"
    "<portgroup name='engineering' default='yes'><vlan><tag id='10'/></vlan></portgroup>"
    "<portgroup name='firewalls'><vlan trunk='yes'><tag id='10' nativeMode='untagged'/><tag id='20'/></vlan>"
    "</portgroup>",
    "lab": "<forward mode='bridge'/><bridge name='br1'/><mtu size='1300'/>",
    "shared": "<forward mode='bridge'><interface dev='low7'/></forward>",
    "exclusive": "<forward mode='passthrough'><interface dev='low6'/></forward>",
}
#: devices of the host's, and those of which the far end sends back what came by it, as a VEPA's switch does (802.1Qbg)
LOWER, REFLECTING = [f"low{number}" for number in range(8)], ("low2", "low5")
