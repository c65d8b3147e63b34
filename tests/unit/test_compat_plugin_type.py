"""The VIF type for os-vif's plugins: it passes the suite that third parties are given, and writes what nova writes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from vifplug.compat import plain
from vifplug.compat.plugin_type import OsVifType, PluggedByOsVif
from vifplug.driver.standalone import interface_xml
from vifplug.errors import InvalidRequest, Unsupported
from vifplug.model.vif import VIF, Instance
from vifplug.testing.conformance import VIFTypeConformance
from vifplug.types.base import Context

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
INSTANCE = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web")
NETWORK = {"class": "Network", "id": ID, "bridge": "br-int", "mtu": 1442}


def document(cls: str, *, source: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    given = {"plugin": "acme", "vif": {"class": cls, **fields}, **(source or {})}
    return {"id": ID, "type": "os_vif", "mac": "fa:16:3e:0c:44:d1", "source": given}


def openvswitch(**profile: Any) -> dict[str, Any]:
    port = {"class": "VIFPortProfileOpenVSwitch", "interface_id": ID, **profile}
    return document("VIFOpenVSwitch", vif_name="tap1", network=NETWORK, port_profile=port)


GENERIC = document("VIFGeneric", vif_name="tap1", network=NETWORK)
VHOSTUSER = document("VIFVHostUser", path="/run/vhu/vhu1", mode="client", vif_name="vhu1")
HOSTDEV = document("VIFHostDevice", dev_type="ethernet", dev_address="0000:81:02.3")
BRIDGE = document("VIFBridge", vif_name="tap1", bridge_name="br-ex")


class TestOsVif(VIFTypeConformance):
    kind = OsVifType
    context = Context(instance=INSTANCE)
    resources = (PluggedByOsVif,)
    examples = (
        GENERIC,
        {**GENERIC, "tap_owner": "libvirt", "model": "virtio", "driver": {"queues": 2}, "mtu": 9000},
        BRIDGE,
        openvswitch(),
        openvswitch(create_port=True),
        openvswitch(create_port=True, create_tap=True),
        VHOSTUSER,
        HOSTDEV,
        document("AcmeVIF", vif_name="tap1", source={"form": "VIFGeneric"}),
    )
    refused = (
        document("AcmeVIF", vif_name="tap1"),
        document("VIFNestedDPDK"),
        document("VIFGeneric"),
        document("VIFOpenVSwitch", vif_name="tap1"),
        document("VIFOpenVSwitch", vif_name="tap1", network={"class": "Network"}),
        document("VIFGeneric", vif_name="tap1", network="br-int"),
        document("VIFGeneric", vif_name="tap1", id=ID),
        document("VIFHostDevice", dev_address="0000:81:02.3", dev_type="generic"),
        {**GENERIC, "vlan": 7},
        {**GENERIC, "target": "tap2"},
        {**VHOSTUSER, "bandwidth": {"inbound": {"average": 100}}},
        {**HOSTDEV, "mtu": 9000},
    )


@pytest.mark.parametrize(
    ("given", "children"),
    [
        (GENERIC, "<target dev='tap1' managed='no'/><mtu size='1442'/>"),
        ({**GENERIC, "tap_owner": "libvirt"}, "<target dev='tap1'/><mtu size='1442'/>"),
        (BRIDGE, "<source bridge='br-ex'/><target dev='tap1'/>"),
        (openvswitch(create_port=True), "<target dev='tap1'/><mtu size='1442'/>"),
        (openvswitch(create_port=True, create_tap=True), "<target dev='tap1' managed='no'/><mtu size='1442'/>"),
        (
            openvswitch(),
            f"<source bridge='br-int'/><virtualport type='openvswitch'><parameters interfaceid='{ID}'/></virtualport>"
            "<target dev='tap1'/><mtu size='1442'/>",
        ),
        (VHOSTUSER, "<source type='unix' path='/run/vhu/vhu1' mode='client'/><model type='virtio'/>"),
        (
            HOSTDEV,
            "<source><address type='pci' domain='0x0000' bus='0x81' slot='0x02' function='0x3'/></source>",
        ),
    ],
)
def test_the_element_is_the_one_that_nova_writes_for_the_class(given: dict[str, Any], children: str) -> None:
    element = "".join(line.strip() for line in interface_xml(VIF.from_json(given)).splitlines())
    assert element.removesuffix("</interface>").endswith(f"<mac address='fa:16:3e:0c:44:d1'/>{children}")


def test_what_the_object_gets_from_the_document_is_not_said_twice() -> None:
    twice = VIF.from_json(document("VIFGeneric", vif_name="tap1", address="fa:16:3e:00:00:01"))
    with pytest.raises(Unsupported, match=r"\$\.source\.vif\.address: .*the object gets it from \$\.mac"):
        interface_xml(twice)


def test_objects_come_back_from_their_plain_data() -> None:
    from os_vif import objects

    objects.register_all()
    subnets = objects.subnet.SubnetList(objects=[objects.subnet.Subnet(cidr="10.0.0.0/24", gateway="10.0.0.1")])
    profile = objects.vif.VIFPortProfileOpenVSwitch(interface_id=ID, create_port=True)
    network = objects.network.Network(id=ID, bridge="br-int", subnets=subnets, mtu=1442, vlan=7)
    vif = objects.vif.VIFOpenVSwitch(id=ID, plugin="acme", network=network, port_profile=profile, vif_name="tap1")
    message = plain.data(vif)
    assert message["network"]["subnets"] == [{"class": "Subnet", "cidr": "10.0.0.0/24", "gateway": "10.0.0.1"}]
    made = plain.build(message["class"], message)
    assert plain.data(made) == message
    assert made.network.subnets.objects[0].gateway == subnets.objects[0].gateway
    assert made.obj_what_changed() == vif.obj_what_changed()


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        ("VIFNope", {}, "os-vif has no class 'VIFNope'"),
        ("VIFGeneric", {"colour": "red"}, r"VIFGeneric has no field colour \(expected active, address"),
        ("VIFVHostUser", {"mode": "sideways"}, "VIFVHostUser does not accept .sideways. for mode"),
    ],
)
def test_what_is_no_object_is_said(name: str, fields: dict[str, Any], sentence: str) -> None:
    from os_vif import objects

    objects.register_all()
    with pytest.raises(InvalidRequest, match=sentence):
        plain.build(name, fields)


def test_listing_the_type_and_writing_its_element_imports_no_os_vif() -> None:
    code = (
        "import sys, vifplug; from vifplug import plugins; from vifplug.cli import main\n"
        "assert 'os_vif' in [kind.name for kind in plugins.TypeRegistry().loaded()]; plugins.load_resources()\n"
        f"vifplug.interface_xml(vifplug.VIF.from_json({GENERIC!r}))\n"
        "print([name for name in sys.modules if name.startswith(('os_vif', 'vif_plug', 'oslo_versionedobjects'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
