"""Whatever Neutron, nova and a flavor say: there is a VIF that is a document as any other, or a reason why not."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vifplug import VIF, errors, interface_xml
from vifplug.neutron import vif_from_binding
from vifplug.neutron.table import TABLE

ID = "3f8a1c52-77d0-4a6e-9b1d-0c2e5f6a7b81"
#: a number of more digits than Python prints, which hypothesis would print of a strategy that holds it
HUGE = st.just(10).map(lambda base: base**5000)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5000) | st.text(max_size=12) | st.just("9" * 5000) | HUGE,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
GOOD = {
    "pci_slot": "0000:81:02.3",
    "vlan": 731,
    "profileid": "gold",
    "vhostuser_socket": "/run/vhost/vhu1",
    "vhostuser_mode": "client",
    "macvtap_source": "eno1.731",
    "macvtap_mode": "bridge",
    "physical_interface": "eno1",
    "trusted": "true",
    "datapath_type": "netdev",
}
FLAGS = ("ovs_hybrid_plug", "ovs_create_tap", "vhostuser_fp_plug", "vhostuser_ovs_plug")
VNICS = ("normal", "direct", "macvtap", "vdpa", "remote-managed", "virtio-forwarder", "direct-physical")
SPECS = [f"quota:vif_{way}_{rate}" for way in ("inbound", "outbound") for rate in ("average", "peak", "burst")]


def seldom_wrong(good: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the keys, most of them with the right value."""
    return st.fixed_dictionaries({}, optional={key: st.just(value) | ANYTHING for key, value in good.items()})


FLAGGED = st.fixed_dictionaries({}, optional={flag: st.booleans() | ANYTHING for flag in FLAGS})
PORTS = st.fixed_dictionaries(
    {
        "id": st.just(ID),
        "mac_address": st.just("fa:16:3e:5a:11:c7"),
        "binding:vif_type": st.sampled_from(sorted({row.vif_type for row in TABLE})),
        "binding:vnic_type": st.sampled_from(VNICS),
        "binding:vif_details": st.builds(lambda one, other: {**one, **other}, seldom_wrong(GOOD), FLAGGED),
        "binding:profile": seldom_wrong(GOOD),
    },
    optional={
        "network": seldom_wrong({"id": "5d3c", "bridge": "br-int", "mtu": 1450, "meta": {"mtu": 1450}}) | ANYTHING,
        "devname": st.just("tap3f8a1c52-77") | ANYTHING,
        "delegate_create": st.booleans(),
        "qbg_params": seldom_wrong({"managerid": "11", "typeid": 7, "typeidversion": "2", "instanceid": ID}),
        "vf_netdev": st.just("ens1f0v3"),
        "vdpa_dev": st.just("/dev/vhost-vdpa-3"),
    },
)
GUESTS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "virt_type": st.sampled_from(["kvm", "qemu", "parallels", "lxc"]),
        "vcpus": st.integers(0, 400),
        "image": seldom_wrong({"hw_vif_model": "virtio", "hw_vif_multiqueue_enabled": "true"}),
        "extra_specs": seldom_wrong(dict.fromkeys(SPECS, "100") | {"hw:virtio_packed_ring": "true"}),
        "rx_queue_size": st.sampled_from([256, 512, 7]),
        "max_queues": st.integers(1, 8),
    },
)


@given(PORTS, GUESTS)
def test_there_is_a_vif_or_a_reason(port: dict[str, Any], guest: dict[str, Any] | None) -> None:
    try:
        vif = vif_from_binding(port, guest)
    except errors.InvalidDocument as error:
        places = [problem.path for problem in error.problems if "which no " not in problem.message]
        assert error.problems and all(place.startswith("$.") for place in places)
        return
    assert VIF.from_json(vif.to_json()) == vif and vif_from_binding(json.loads(json.dumps(port)), guest) == vif
    with contextlib.suppress(errors.VifplugError):  # what a type cannot honour it says, as for any document
        interface_xml(vif)


@given(ANYTHING, ANYTHING)
def test_what_is_no_port_is_told(port: object, guest: object) -> None:
    with contextlib.suppress(errors.InvalidDocument):
        vif_from_binding(port, guest)
