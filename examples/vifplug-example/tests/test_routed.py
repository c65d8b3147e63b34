"""The type passes vifplug's suite."""

from vifplug.testing.conformance import VIFTypeConformance
from vifplug_routed import Routed

VIF = {"id": "5f6e7d8c-1111-4222-8333-444455556666", "type": "routed", "mac": "fa:16:3e:12:34:56", "model": "virtio"}


class TestRouted(VIFTypeConformance):
    kind = Routed
    examples = (VIF, {**VIF, "mtu": 1400, "driver": {"queues": 4}}, {**VIF, "source": {"source_check": "loose"}})
    refused = ({**VIF, "tap_owner": "libvirt"}, {**VIF, "source": {"source_check": "none"}})
