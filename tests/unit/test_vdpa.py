"""The vdpa type, on a host that is a plain object; and that it is built on what third parties have, and no more."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vifplug import VIF, errors, interface_xml
from vifplug.model.codec import FrozenMap
from vifplug.plan.facts import VirtualFunctionFacts
from vifplug.plan.kinds.vdpa import VdpaDevice, VdpaFacts
from vifplug.plan.registry import HARDENED, LowerDevice, OvsBridge, OvsPort, OvsVlan, Resource
from vifplug.plugins import bound
from vifplug.types import vdpa
from vifplug.types.base import Context, NoFacts

ROOT = Path(__file__).resolve().parents[2]
ID, MAC, ADDRESS = "3f8a1c52-77d0-4a6e-9b1d-0c2e5f6a7b81", "fa:16:3e:5a:11:c7", "0000:81:02.3"
HARDWARE = VdpaFacts(name="vdpa0", device="/dev/vhost-vdpa-3", driver="vhost_vdpa", function=ADDRESS, virtual=True)
SIMULATED = VdpaFacts(name="sim0", device="/dev/vhost-vdpa-0", driver="vhost_vdpa")


@dataclass(frozen=True)
class Host(NoFacts):
    """A host with one vdpa device, on a VF that has a representor."""

    found: VdpaFacts = HARDWARE

    def look(self, name: str, key: str) -> Any:
        assert name == "vdpa-device"
        if key not in (self.found.name, self.found.device, self.found.function):
            raise errors.Missing(f"no vdpa device {key}")
        return self.found

    def virtual_function(self, address: str) -> VirtualFunctionFacts:
        return VirtualFunctionFacts(address=address, pf="ens1f0", number=3, representor="pf0vf3")


def vif(**keys: Any) -> VIF:
    document = {"id": ID, "type": "vdpa", "mac": MAC, "source": {"name": "vdpa0"}, **keys}
    return bound(VIF.from_json(document), vdpa.VdpaType())


def desired(wanted: VIF, found: VdpaFacts = HARDWARE) -> list[Resource]:
    return list(vdpa.VdpaType().desired(wanted, Context(facts=Host(found))))


DEVICE = VdpaDevice(name="vdpa0", owner=ID, device="/dev/vhost-vdpa-3", mac=MAC, function=ADDRESS)


@pytest.mark.parametrize("source", [{"name": "vdpa0"}, {"address": "81:02.3"}, {"device": "/dev/vhost-vdpa-3"}])
def test_a_device_is_one_whatever_it_is_called(source: dict[str, str]) -> None:
    assert desired(vif(source=source)) == [DEVICE]
    element = vdpa.VdpaType().interface(vif(source=source), Context(facts=Host()))
    assert (element.type, element.source, element.target) == ("vdpa", {"dev": "/dev/vhost-vdpa-3"}, None)


def test_no_two_vifs_have_one_device_nor_one_its_function() -> None:
    assert DEVICE.claims == ("vdpa-device vdpa0", f"VF {ADDRESS}")
    assert DEVICE.shares == ()


def test_a_device_of_a_subfunction_does_not_claim_the_physical_function() -> None:
    [device] = desired(vif(), HARDWARE.__class__(name="vdpa0", device="/dev/vhost-vdpa-3", function="0000:81:00.0"))
    assert device.claims == ("vdpa-device vdpa0",)


def test_queues_that_are_asked_are_wanted() -> None:
    assert desired(vif(driver={"queues": 4})) == [DEVICE.replace(queues=4)]


def test_the_representor_is_plugged_into_the_bridge_with_vlan_and_ids() -> None:
    source = {"device": "/dev/vhost-vdpa-3", "bridge": "br-int", "datapath_type": "netdev"}
    port = {"type": "openvswitch", "interfaceid": "b1a2c3d4-e5f6-4789-8abc-def012345678"}
    device, representor, bridge, found = desired(vif(source=source, virtualport=port, vlan=7, external_ids={"a": "b"}))
    assert device == DEVICE
    assert representor == LowerDevice(name="pf0vf3", owner=ID, sysctls=HARDENED)
    assert bridge == OvsBridge(name="br-int", datapath_type="netdev")
    assert isinstance(found, OvsPort)
    assert (found.name, found.bridge, found.vlan) == ("pf0vf3", "br-int", OvsVlan(mode="access", tag=7))
    assert found.external_ids == FrozenMap(
        {"iface-id": port["interfaceid"], "attached-mac": MAC, "iface-status": "active", "a": "b"}
    )


def test_a_device_in_software_has_no_representor() -> None:
    with pytest.raises(errors.Missing, match=r"vdpa device sim0 is on no PCI function.* leave source\.bridge out"):
        desired(vif(source={"name": "sim0", "bridge": "br-int"}), SIMULATED)


def test_it_has_no_network_device_on_the_host() -> None:
    assert vif().target is None
    assert vif(target="tap-web").target == "tap-web"  # kept, and then refused
    with pytest.raises(errors.Unsupported, match=r"\$\.target: .*no network device"):
        vdpa.VdpaType().validate(vif(target="tap-web"), Context())


@pytest.mark.parametrize(
    ("keys", "path", "told"),
    [
        ({"virtualport": {"type": "openvswitch"}}, "$.virtualport", "needs source.bridge"),
        ({"external_ids": {"a": "b"}}, "$.external_ids", "needs source.bridge"),
        (
            {"source": {"name": "vdpa0", "bridge": "br0"}, "virtualport": {"type": "802.1Qbh", "profileid": "x"}},
            "$.virtualport.type",
            "expected openvswitch, got 802.1Qbh",
        ),
        (
            {"source": {"name": "vdpa0", "bridge": "br0"}, "external_ids": {"iface-id": "x"}},
            "$.external_ids.iface-id",
            "cannot be given",
        ),
        ({"model": "virtio-transitional"}, "$.model", "expected virtio on type vdpa"),
        (
            {"driver": {"name": "vfio"}, "model": "virtio"},
            "$.driver.name",
            "expected qemu or vhost on type vdpa, got vfio",
        ),
        ({"bandwidth": {"inbound": {"average": 1}}}, "$.bandwidth", "no kernel device"),
        ({"vf": {"trust": True}}, "$.vf", "virtual function"),
    ],
)
def test_what_can_not_be_honoured_is_refused(keys: dict[str, Any], path: str, told: str) -> None:
    with pytest.raises(errors.Unsupported) as refused:
        vdpa.VdpaType().validate(vif(**keys), Context(facts=Host()))
    [problem] = refused.value.problems
    assert problem.path == path and told in problem.message


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({}, "$.source: expected one of device, address or name, got nothing"),
        ({"name": "a", "address": ADDRESS}, "$.source: expected one of device, address or name, got address and name"),
        ({"device": "/dev/vhost-vdpa-03"}, "$.source.device: expected a device such as /dev/vhost-vdpa-3"),
        ({"name": "a/b"}, "$.source.name: expected a vdpa device's name"),
    ],
)
def test_a_source_names_one_device(source: dict[str, str], told: str) -> None:
    with pytest.raises(errors.InvalidDocument) as refused:
        vif(source=source)
    assert told in str(refused.value)


def test_an_element_without_a_host_needs_the_device_itself() -> None:
    assert "<source dev='/dev/vhost-vdpa-3'/>" in interface_xml(vif(source={"device": "/dev/vhost-vdpa-3"}))
    with pytest.raises(errors.Missing, match="no vdpa-device vdpa0: no host to query"):
        interface_xml(vif())


# -- the interface that it proves ---------------------------------------------------------------------------------


def imported(path: Path) -> set[str]:
    """The modules of vifplug that a file imports; ``from a import b`` counts as a.b where that is a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vifplug"):
            names = [f"{node.module}.{each.name}" for each in node.names]
            modules = [name for name in names if (ROOT / (name.replace(".", "/") + ".py")).exists()]
            found |= set(modules) or {str(node.module)}
    return found


#: modules that are the plugin's own, as a third party's would be in a package of its own
OWN = {"vifplug.plan.kinds.vdpa", "vifplug.types.vdpa", "vifplug.host.vdpa"}


def test_the_type_imports_only_what_the_page_for_third_parties_names() -> None:
    page = (ROOT / "doc" / "plugins.md").read_text()
    named = set(re.findall(r"vifplug(?:\.\w+)+", page))
    public = {module for name in named for module in (name, name.rpartition(".")[0])} | OWN
    assert imported(ROOT / "vifplug/types/vdpa.py") - public == set()
    assert imported(ROOT / "vifplug/plan/kinds/vdpa.py") - public == set()


def test_nothing_of_vifplug_imports_the_plugin() -> None:
    """It is reached through its entry points alone."""
    using = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vifplug").rglob("*.py") if imported(path) & OWN}
    assert using == {"vifplug/types/vdpa.py", "vifplug/host/vdpa.py"}
