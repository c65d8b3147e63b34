"""The type and its resource kind pass vifplug's suites."""

from vifplug.plan.registry import Resource
from vifplug.testing.backends import ResourceConformance
from vifplug.testing.conformance import VIFTypeConformance
from vifplug.testing.netns import ip
from vifplug_vxlan.backend import Tunnels
from vifplug_vxlan.tunnel import Tunnel
from vifplug_vxlan.vxlan import Vxlan

VIF = {
    "id": "5f6e7d8c-1111-4222-8333-444455556666",
    "type": "vxlan",
    "mac": "fa:16:3e:12:34:56",
    "model": "virtio",
    "source": {"vni": 42, "remote": "192.0.2.2"},
}
GROUP = {"vni": 43, "remote": "ff05::42", "local": "2001:db8::1", "device": "eth1"}


class TestVxlan(VIFTypeConformance):
    kind = Vxlan
    examples = (
        VIF,
        {**VIF, "mtu": 1400, "driver": {"queues": 4}, "port": {"isolated": True}},
        {**VIF, "source": GROUP},
    )
    refused = (
        {**VIF, "tap_owner": "libvirt"},
        {**VIF, "mtu": 9000},
        {**VIF, "source": {"vni": 2**24, "remote": "192.0.2.2"}},
        {**VIF, "source": {"vni": 42, "remote": "nowhere"}},
        {**VIF, "source": {"vni": 42, "remote": "239.1.1.1"}},
        {**VIF, "source": {"vni": 42, "remote": "192.0.2.2", "local": "2001:db8::1"}},
    )


class TestTunnel(ResourceConformance):
    backend = Tunnels
    examples = (
        Tunnel(name="vxlan42", vni=42, remote="192.0.2.2", mtu=1450),
        Tunnel(name="vxlan43", vni=43, remote="ff05::42", local="2001:db8::1", lower="eth1"),
    )
    changes = ({"mtu": 1400}, {"up": False}, {"bridged": False})

    def prepare(self) -> None:
        ip("link", "add", "eth1", "type", "veth", "peer", "name", "eth2")

    def occupy(self, resource: Resource) -> None:
        ip("link", "add", resource.name, "type", "bridge")
