"""os-vif's objects as vifplug's documents: one for each class and plugin, written out."""

from __future__ import annotations

from typing import Any

import pytest
from os_vif import objects

from tests.support import osvif
from tests.support.osvif import GUEST, ID, MAC, PORT, QBR, TAP, VHU, hostdev, hybrid, openvswitch, vhostuser
from vifplug.compat import leftovers, translate
from vifplug.compat.translate import Options, Translation
from vifplug.errors import InvalidRequest
from vifplug.model.vif import VIF, Instance
from vifplug.plan.facts import VirtualFunctionFacts
from vifplug.plan.registry import OvsPort
from vifplug.types.base import Context, NoFacts
from vifplug.types.hostdev import HostDeviceType

OVS = {"virtualport": {"type": "openvswitch", "interfaceid": PORT}}
DELEGATED = {"tap_owner": "libvirt", "target": TAP, "mtu": 1450, **OVS}
ON = {"bridge": "br-int", "ensure": True, "datapath_type": "netdev"}
TRUNK = "tbr-9c4e2f10-6"


def direct(**fields: Any) -> Any:
    return objects.vif.VIFDirect(**{"id": ID, "address": MAC, "plugin": "vifplug", "mode": "vepa", **fields})


def qbg() -> Any:
    return objects.vif.VIFPortProfile8021Qbg(manager_id=11, type_id=1193047, type_id_version=2, instance_id=PORT)


def bridge(**network: Any) -> Any:
    fields = {"id": ID, "address": MAC, "plugin": "linux_bridge", "vif_name": TAP, "bridge_name": "brq1"}
    return objects.vif.VIFBridge(network=osvif.network("brq1", **network), **fields)


DOCUMENTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "bridge": (
        openvswitch(),
        {"type": "bridge", **DELEGATED, "source": {**ON, "port_owner": "libvirt"}},
    ),
    "port": (
        openvswitch(create_port=True, datapath_type=None),
        {"type": "bridge", **DELEGATED, "source": {**ON, "datapath_type": "system", "port_owner": "vifplug"}},
    ),
    "port and tap": (
        openvswitch(create_port=True, create_tap=True),
        {
            "type": "bridge",
            **DELEGATED,
            "tap_owner": "vifplug",
            "source": {**ON, "port_owner": "vifplug", "host_mac": "fa:16:3e:0c:44:d1"},
        },
    ),
    "a tap without a port is none": (
        openvswitch(create_tap=True),
        {"type": "bridge", **DELEGATED, "source": {**ON, "port_owner": "libvirt"}},
    ),
    "trunk": (
        openvswitch(bridge=TRUNK, create_port=True, profile_id="gold"),
        {
            "type": "bridge",
            **DELEGATED,
            "source": {**ON, "bridge": TRUNK, "port_owner": "vifplug", "isolate": False},
            "virtualport": {"type": "openvswitch", "interfaceid": PORT, "profileid": "gold"},
        },
    ),
    "hybrid": (
        hybrid(),
        {"type": "bridge", **DELEGATED, "source": {**ON, "hybrid": True, "hybrid_bridge": QBR}},
    ),
    "QEMU is the server": (
        vhostuser("/run/vhu/sock", "server", datapath_type=None),
        {
            "type": "vhostuser",
            "target": VHU,
            "source": {**ON, "path": "/run/vhu/sock", "mode": "server", "port_mtu": 1450},
            **OVS,
        },
    ),
    "QEMU is the client": (
        vhostuser("/run/openvswitch/vhu-other", "client"),
        {
            "type": "vhostuser",
            "target": "vhu-other",
            "source": {**ON, "path": "/run/openvswitch/vhu-other", "mode": "client", "port_mtu": 1450},
            **OVS,
        },
    ),
    "VF on the kernel's datapath": (
        hostdev(datapath_type=None),
        {"type": "hostdev", "source": {"address": "0000:81:02.3", **ON, "datapath_type": "system"}, **OVS},
    ),
    "VF on DPDK's": (
        hostdev(),
        {"type": "hostdev", "source": {"address": "0000:81:02.3", **ON, "port_mtu": 1450}, **OVS},
    ),
    "Linux bridge": (
        bridge(should_provide_bridge=True),
        {"type": "bridge", "tap_owner": "libvirt", "target": TAP, "source": {"bridge": "brq1", "ensure": True}},
    ),
    "Linux bridge of nova-network's": (
        bridge(should_provide_bridge=True, multi_host=True),
        {"type": "bridge", "tap_owner": "libvirt", "target": TAP, "source": {"bridge": "brq1"}},
    ),
    "macvtap on a VF": (
        direct(dev_address="0000:81:02.3", mode="passthrough", vif_name="mv0"),
        {"type": "direct", "target": "mv0", "source": {"address": "0000:81:02.3", "mode": "passthrough"}},
    ),
    "macvtap on a VLAN device": (
        direct(mode="bridge", vlan_name="ens3.7", network=osvif.network(vlan=7, bridge_interface="ens3")),
        {
            "type": "direct",
            "source": {"dev": "ens3.7", "mode": "bridge", "vlan_device": {"physical": "ens3", "vlan": 7}},
        },
    ),
    "802.1Qbg": (
        direct(dev_address="0000:81:02.3", port_profile=qbg()),
        {
            "type": "direct",
            "source": {"address": "0000:81:02.3"},
            "virtualport": {
                "type": "802.1Qbg", "managerid": 11, "typeid": 1193047, "typeidversion": 2, "instanceid": PORT,
            },
        },
    ),
    "802.1Qbh": (
        direct(dev_address="0000:81:02.3", port_profile=objects.vif.VIFPortProfile8021Qbh(profile_id="gold")),
        {
            "type": "direct",
            "source": {"address": "0000:81:02.3"},
            "virtualport": {"type": "802.1Qbh", "profileid": "gold"},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_object_is_this_document(name: str) -> None:
    vif, document = DOCUMENTS[name]
    assert translate.document(Translation(vif, Options())) == VIF.from_json({"id": ID, "mac": MAC, **document})


@pytest.mark.parametrize("mode", ["create_port", "create_tap", "neither"])
def test_with_a_bridge_for_each_port_vifplug_makes_the_port_and_its_id_is_the_vifs(mode: str) -> None:
    """os-vif makes the port then, whatever the profile says, and gives it the VIF's own id."""
    made = translate.document(
        Translation(openvswitch(**({mode: True} if mode != "neither" else {})), Options(per_port_bridge=True))
    )
    assert made and made.source.port_owner == "vifplug" and made.virtualport and made.virtualport.interfaceid == ID
    assert made.tap_owner == ("vifplug" if mode == "create_tap" else "libvirt")


def test_a_tap_for_several_queues_says_so() -> None:
    for multiqueue in (True, False):
        vif = openvswitch(create_port=True, create_tap=True, multiqueue=multiqueue)
        made = translate.document(Translation(vif, Options()))
        assert made and (made.queues > 1) is multiqueue


def test_the_mtu_is_the_networks_or_the_configurations() -> None:
    for mtu, wanted in ((9000, 9000), (None, 1400)):
        made = translate.document(Translation(hybrid(mtu=mtu), Options(mtu=1400)))
        assert made and made.mtu == wanted


def test_profiles_that_inherit_open_vswitchs_are_open_vswitchs() -> None:
    """The fast path's, and the representor's that os-vif has deprecated."""
    for name in ("VIFPortProfileFPOpenVSwitch", "VIFPortProfileOVSRepresentor"):
        vif = openvswitch(create_port=True)
        vif.port_profile = getattr(objects.vif, name)(interface_id=PORT, create_port=True)
        made = translate.document(Translation(vif, Options()))
        assert made and made.source.port_owner == "vifplug"


def test_the_guest_is_the_instance() -> None:
    assert translate.instance(osvif.info()) == Instance(uuid=GUEST, name="web-1", project_id="demo")
    assert translate.instance(objects.instance_info.InstanceInfo(uuid=GUEST)) == Instance(uuid=GUEST)
    with pytest.raises(InvalidRequest, match="uuid is missing"):
        translate.instance(objects.instance_info.InstanceInfo(name="web-1"))


@pytest.mark.parametrize(
    ("vif", "words"),
    [
        (
            direct(mode="bridge", vlan_name="ens3.7", network=osvif.network(vlan=7)),
            "bridge_interface of its Network is missing",
        ),
        (direct(), "VIFDirect .*: dev_address is missing"),
        (
            direct(dev_address="0000:81:02.3", port_profile=objects.vif.VIFPortProfile8021Qbh()),
            "profile_id of its .* is missing",
        ),
    ],
)
def test_what_is_missing_is_named(vif: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        translate.document(Translation(vif, Options()))


class OneVf(NoFacts):
    """A host with one VF, whose physical function DPDK has."""

    def physical_function(self, address: str) -> tuple[str, int]:
        return "0000:81:00.0", 11

    def virtual_function(self, address: str) -> VirtualFunctionFacts:
        raise AssertionError("the kernel is not asked for what it does not have")


def test_a_vf_on_dpdks_datapath_is_the_port_that_osvif_makes() -> None:
    """Which needs a card to be seen: os-vif's plugin writes these columns (_plug_vf, create_ovs_vif_port)."""
    made = translate.document(Translation(hostdev(), Options()))
    assert made is not None
    [port] = [each for each in HostDeviceType().desired(made, Context(facts=OneVf())) if isinstance(each, OvsPort)]
    assert (port.name, port.type, port.mtu_request) == (f"vfr{ID[:11]}", "dpdk", 1450)
    assert port.options == {"dpdk-devargs": "0000:81:00.0,representor=[11]"}
    assert port.external_ids["iface-id"] == PORT


def test_what_may_be_left_of_a_vif_is_named_without_knowing_much_of_it() -> None:
    found = leftovers.of(objects.vif.VIFOpenVSwitch(id=ID.upper(), plugin="ovs", vif_name="far/too-wrong"))
    assert {each.owner for each in found.resources} == {ID} and "far/too-wrong" not in found.devices
    named = leftovers.of(openvswitch(bridge=TRUNK))
    assert named.bridges == (f"pb{ID[:12]}", TRUNK)
    assert {f"{each.kind} {each.name}" for each in named.resources} >= {
        f"tap {TAP}",
        f"bridge {QBR}",
        f"ovs-port {VHU}",
    }


def test_a_bridge_that_is_not_named_for_the_vif_is_never_taken_for_its_own() -> None:
    assert not [each for each in leftovers.of(bridge()).resources if each.name == "brq1"]
