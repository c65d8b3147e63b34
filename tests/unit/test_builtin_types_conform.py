"""The types that come with vifplug pass the suite that third parties are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from vifplug.plan.facts import VirtualFunctionFacts
from vifplug.plan.kinds.vdpa import VdpaDevice, VdpaFacts
from vifplug.testing.conformance import VIFTypeConformance
from vifplug.types.base import Context, NoFacts, TypeSettings
from vifplug.types.bridge import BridgeType
from vifplug.types.direct import DirectType
from vifplug.types.ethernet import EthernetType
from vifplug.types.hostdev import HostDeviceType
from vifplug.types.vdpa import VdpaType
from vifplug.types.vhostuser import VhostUserType

VF = VirtualFunctionFacts(address="0000:81:02.3", pf="ens1f0", number=3, device="ens1f0v3", representor="pf0vf3")
VDPA = VdpaFacts(name="vdpa0", device="/dev/vhost-vdpa-3", driver="vhost_vdpa", function="0000:81:02.3", virtual=True)
OVS = {"virtualport": {"type": "openvswitch"}}
BY_ADDRESS = {"address": "0000:81:02.3", "mode": "passthrough"}
DELEGATED = {"tap_owner": "libvirt", "source": {"bridge": "br-int", "port_owner": "vifplug"}}
ADOPTED = {"bridge": "br-int", "adopted": True}
QOS = {"inbound": {"average": 1000, "peak": 5000, "burst": 1024}, "outbound": {"average": 128, "burst": 256}}

POLLED = {"bridge": "br-int", "datapath_type": "netdev", "port_mtu": 1500}


@dataclass(frozen=True)
class Host(NoFacts):
    """A host with one VF, and a vdpa device on it."""

    function: VirtualFunctionFacts = field(default=VF)

    def virtual_function(self, address: str) -> VirtualFunctionFacts:
        return self.function

    def physical_function(self, address: str) -> tuple[str, int]:
        return "0000:81:00.0", self.function.number

    def function_of(self, device: str) -> str | None:
        return self.function.address

    def look(self, name: str, key: str) -> Any:
        return {"vdpa-device": VDPA}[name]


def document(kind: str, **keys: Any) -> dict[str, Any]:
    return {"id": "0a1b2c3d-1111-4222-8333-444455556666", "type": kind, "mac": "52:54:00:12:34:56", **keys}


def bridge(**keys: Any) -> dict[str, Any]:
    return document("bridge", **{"source": {"bridge": "br-int"}, "model": "virtio", **keys})


def hostdev(**keys: Any) -> dict[str, Any]:
    return document("hostdev", **{"source": {"address": "0000:81:02.3"}, **keys})


def direct(**keys: Any) -> dict[str, Any]:
    return document("direct", **{"source": {"dev": "ens1f0"}, **keys})


def vdpa(**keys: Any) -> dict[str, Any]:
    return document("vdpa", **{"source": {"name": "vdpa0"}, **keys})


def vhostuser(mode: str, **keys: Any) -> dict[str, Any]:
    source = {"path": "/run/vhu/vhu0a1b2c3d", "mode": mode, "bridge": "br-int"}
    return document("vhostuser", **{"source": source, **OVS, **keys})


class TestBridge(VIFTypeConformance):
    kind = BridgeType
    examples = (
        bridge(),
        bridge(vlan=1011, port={"isolated": True}, mtu=9000, driver={"queues": 4}),
        bridge(vlan="101u,1011-1015", bandwidth=QOS, filterref="clean-traffic"),
        bridge(**OVS, vlan="101t,1011", bandwidth=QOS, external_ids={"a": "b"}),
        bridge(**OVS, source={"bridge": "br-int", "hybrid": True}, filterref="clean-traffic", vlan=7, mtu=1450),
        bridge(tap_owner="libvirt", **OVS, vlan="1,2"),
        bridge(tap_owner="libvirt"),
        bridge(source={"bridge": "brq0", "ensure": True}),
        bridge(**OVS, source={"bridge": "br-int", "isolate": True, "per_port_bridge": True, "datapath_type": "netdev"}),
        bridge(**OVS, **DELEGATED, vlan=7, mtu=1450, bandwidth=QOS),
        bridge(**OVS, tap_owner="libvirt", source={**DELEGATED["source"], "given": True}, mtu=1450, bandwidth=QOS),
        bridge(**OVS, tap_owner="libvirt", source={"bridge": "br-int", "hybrid": True, "hybrid_bridge": "qbr-web"}),
        bridge(tap_owner="libvirt", source=ADOPTED, **OVS, vlan="1,2", bandwidth=QOS),
        bridge(tap_owner="libvirt", source=ADOPTED, port={"isolated": True}, vlan=7),
    )
    refused = (
        bridge(**OVS, tap_owner="libvirt", port={"isolated": True}),
        bridge(external_ids={"a": "b"}),
        bridge(source={}),
        bridge(**OVS, source={"bridge": "br-int", "hybrid_bridge": "qbr-web"}),
        bridge(**OVS, source={"bridge": "br-int", "given": True}),
    )


class TestEthernet(VIFTypeConformance):
    kind = EthernetType
    examples = (
        document("ethernet", model="virtio", mtu=1400, driver={"queues": 2}, target="tap-db1"),
        document("ethernet", tap_owner="libvirt"),
    )
    refused = (document("ethernet", vlan=5),)


class TestVhostUser(VIFTypeConformance):
    kind = VhostUserType
    examples = (
        vhostuser("server", vlan=7),
        vhostuser("client"),
        vhostuser("server", model="virtio"),
        vhostuser("client", source={"path": "/run/vhu/vhu0", "mode": "client", **ADOPTED}, virtualport=None),
    )
    refused = (
        vhostuser("client", source={"path": "/run/vhu/vhu0", "mode": "client", **ADOPTED}),
        vhostuser("client", target="other"),
        vhostuser("server", model="e1000"),
        vhostuser("server", mtu=9000),
    )


class TestHostDevice(VIFTypeConformance):
    kind = HostDeviceType
    context = Context(facts=Host())
    examples = (
        hostdev(),
        hostdev(vlan=7, vf={"trust": True, "spoof_check": False, "vlan_qos": 3, "max_tx_rate": 100}),
        hostdev(source={"address": "0000:81:02.3", "bridge": "br-int"}, **OVS, vlan="1-4"),
        hostdev(source={"address": "0000:81:02.3", **POLLED}, **OVS, vlan=7),
        hostdev(source={"address": "0000:81:02.3", "remote": True}),
        hostdev(source={"address": "0000:81:00.1", "whole": True}, boot_order=1, driver={"name": "vfio"}),
    )
    refused = (
        hostdev(vlan="1-4"),
        hostdev(vf={"vlan_qos": 1}),
        hostdev(source={"address": "0000:81:02.3", **POLLED}, **OVS, vf={"trust": True}),
        hostdev(source={"address": "0000:81:02.3", **POLLED, "datapath_type": "system"}, **OVS),
        hostdev(source={"address": "0000:81:02.3", "remote": True}, vlan=5),
        hostdev(source={"address": "0000:81:02.3", "whole": True}, vf={"trust": True}),
        hostdev(source={"address": "0000:81:02.3", "whole": True, "bridge": "br-int"}),
    )


class TestVdpa(VIFTypeConformance):
    kind = VdpaType
    context = Context(facts=Host())
    resources = (VdpaDevice,)
    examples = (
        vdpa(),
        vdpa(source={"address": "0000:81:02.3"}, driver={"queues": 4, "rx_queue_size": 512}, link_state="down"),
        vdpa(source={"device": "/dev/vhost-vdpa-3", "bridge": "br-int"}, **OVS, vlan="1-4", external_ids={"a": "b"}),
    )
    refused = (
        vdpa(source={}),
        vdpa(source={"name": "vdpa0", "address": "0000:81:02.3"}),
        vdpa(source={"device": "/dev/vdb"}),
        vdpa(source={"name": "../vdpa0"}),
        vdpa(vlan=5),
        vdpa(model="e1000"),
        vdpa(driver={"name": "vfio"}),
    )


class TestDirect(VIFTypeConformance):
    kind = DirectType
    context = Context(facts=Host())
    examples = (
        direct(),
        direct(tap_owner="vifplug", model="virtio", driver={"queues": 2}),
        direct(tap_owner="vifplug", source={"dev": "ens1f0", "mode": "passthrough"}, vlan=7, vf={"trust": True}),
        direct(source=BY_ADDRESS, vlan=7),
        direct(source={"dev": "ens1.7", "mode": "bridge", "vlan_device": {"physical": "ens1", "vlan": 7}}),
    )
    refused = (direct(vlan=5), direct(mtu=1500), direct(source={}), direct(source={**BY_ADDRESS, "dev": "ens1f0"}))


@pytest.mark.parametrize("suite", [TestBridge, TestEthernet])
def test_the_suite_has_teeth_whatever_the_settings_say(suite: type[VIFTypeConformance]) -> None:
    """A setting that is for the type cannot make its examples fail."""
    case = suite()
    for example in suite.examples:
        kind, vif, _ = case._case(example)
        kind.validate(vif, Context(settings=TypeSettings(tap_owner="vifplug")))
