"""One thing of the host is one thing, whatever it is called: alternative names of devices, VLAN bridges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import bridges
from vifplug import VIF, errors
from vifplug.testing.host import PrivateHost

ONE, TWO = "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11", "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e12"
MACS = {ONE: "52:54:00:12:34:11", TWO: "52:54:00:12:34:12"}
#: systemd's name for a NIC, and the kernel's
ALTERNATIVE, OWN = "enp25s0f0", "eno1"


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateHost]:
    with PrivateHost(vifplug_ovs={"ensure_bridge": True}) as host:
        host.ip("link", "add", OWN, "type", "veth", "peer", "name", "eno1p")
        bridges.add(host, "br0")
        for name, other in ((OWN, ALTERNATIVE), ("br0", "switch0")):
            host.ip("link", "property", "add", "dev", name, "altname", other)
            host.ip("link", "set", "dev", name, "up")
        host.ip("link", "set", "dev", "eno1p", "up")
        host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
        host.ovs.ctl("add-br", "br-v10", "br-int", "10")
        yield host


@pytest.fixture(autouse=True)
def unplugged(host: PrivateHost) -> Iterator[None]:
    yield
    for each in host.driver.list():
        host.driver.unplug(each.vif.id)


def direct(vif_id: str, dev: str, mode: str = "passthrough", **keys: Any) -> VIF:
    source = {"dev": dev, "mode": mode}
    return VIF.from_json({"id": vif_id, "type": "direct", "mac": MACS[vif_id], "source": source, **keys})


def bridged(vif_id: str, bridge: str, *, on_ovs: bool = False, **keys: Any) -> VIF:
    port = {"virtualport": {"type": "openvswitch"}} if on_ovs else {}
    form = {"id": vif_id, "type": "bridge", "mac": MACS[vif_id], "source": {"bridge": bridge}}
    return VIF.from_json({**form, **port, **keys})


# -- alternative names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(OWN, ALTERNATIVE), (ALTERNATIVE, OWN)], ids=" then ".join)
def test_a_device_is_not_given_out_again_under_its_other_name(host: PrivateHost, names: tuple[str, str]) -> None:
    first, second = names
    host.driver.plug(direct(ONE, first))
    with pytest.raises(errors.Conflict, match=f"device {OWN} .*{ONE}"):
        host.driver.plug(direct(TWO, second))
    assert [f"device {OWN}" in reason for _, reason in host.driver.can_plug([direct(TWO, second)])] == [True]


def test_the_record_has_what_was_requested_and_the_own_name(host: PrivateHost) -> None:
    plugged = host.driver.plug(direct(ONE, ALTERNATIVE))
    shown = host.driver.show(ONE)
    assert (shown.vif.source.dev, shown.actual.source.dev) == (ALTERNATIVE, OWN)
    assert f"dev='{OWN}'" in plugged.interface_xml and host.driver.check() == []
    assert not host.driver.plug(direct(ONE, ALTERNATIVE)).changed
    assert not host.driver.update(direct(ONE, OWN)).changed
    assert host.driver.show(ONE).vif.source.dev == OWN
    host.driver.unplug(ONE)
    host.driver.plug(direct(TWO, OWN))


def test_a_macvtap_is_below_what_it_was_said_to_be(host: PrivateHost) -> None:
    host.driver.plug(direct(ONE, ALTERNATIVE, mode="bridge", tap_owner="vifplug"))
    assert (
        host.driver.check() == [] and not host.driver.plug(direct(ONE, OWN, mode="bridge", tap_owner="vifplug")).changed
    )


def test_a_bridge_by_its_other_name_is_the_bridge(host: PrivateHost) -> None:
    host.driver.plug(bridged(ONE, "switch0"))
    assert host.driver.check() == [] and not host.driver.update(bridged(ONE, "br0")).changed
    [port] = json.loads(host.ip("-json", "link", "show", "master", "br0"))
    assert port["ifname"] == f"tap{ONE[:11]}"
    host.driver.unplug(ONE)
    assert host.ip("link", "show", "master", "br0") == ""


def test_an_open_vswitch_bridge_by_its_other_name_is_the_bridge(host: PrivateHost) -> None:
    host.ip("link", "property", "add", "dev", "br-int", "altname", "integration")
    host.driver.plug(bridged(ONE, "integration", on_ovs=True))
    assert host.ovs.ctl("list-br").split() == ["br-int", "br-v10"] and host.driver.check() == []
    host.ip("link", "property", "del", "dev", "br-int", "altname", "integration")


def test_a_pool_that_lists_both_names_has_one_device(host: PrivateHost) -> None:
    devices = f"<interface dev='{ALTERNATIVE}'/><interface dev='{OWN}'/>"
    lan = "<network><name>lan</name><forward mode='bridge'/><bridge name='switch0'/></network>"
    pool = f"<network><name>pt</name><forward mode='passthrough'>{devices}</forward></network>"
    for name, text in (("pt", pool), ("lan", lan)):
        (host.networks / f"{name}.xml").write_text(text)
    networked = host.driver
    assert [each.name for each in networked.pool("pt")] == [OWN]
    named = {"type": "network", "source": {"network": "pt"}}
    plugged = networked.plug(VIF.from_json({"id": ONE, "mac": MACS[ONE], **named}))
    assert plugged.actual.source.dev == OWN and networked.check() == []
    with pytest.raises(errors.PoolExhausted, match=f"{OWN} is in use by VIF {ONE}"):
        networked.plug(VIF.from_json({"id": TWO, "mac": MACS[TWO], **named}))
    networked.plug(VIF.from_json({"id": TWO, "type": "network", "mac": MACS[TWO], "source": {"network": "lan"}}))
    assert networked.check() == []


# -- VLAN bridges of Open vSwitch -------------------------------------------------------------------------------------

TAP = f"tap{ONE[:11]}"


def test_a_vif_on_a_vlan_bridge_is_on_the_parent_with_its_tag(host: PrivateHost) -> None:
    vif = bridged(ONE, "br-v10", on_ovs=True)
    assert host.driver.can_plug([vif])
    assert host.driver.plan(vif).actual.source.bridge == "br-int"
    published = host.driver.host_info()["bridges"]  # of which `candidates` chooses
    assert published["br-v10"] == published["br-int"] and published["br-int"]["openvswitch"]
    host.driver.plug(vif)
    assert host.ovs.ctl("list-ports", "br-v10") == TAP and host.port(TAP, "tag", "Port") == "10"
    shown = host.driver.show(ONE)
    assert (shown.vif.source.bridge, shown.vif.vlan) == ("br-v10", None)
    assert shown.actual.source.bridge == "br-int" and shown.actual.vlan and shown.actual.vlan.access == 10
    assert not host.driver.plug(vif).changed and not host.driver.update(vif).changed and host.driver.check() == []
    assert not host.driver.update(bridged(ONE, "br-int", on_ovs=True, vlan=10)).changed
    host.driver.unplug(ONE)
    assert host.ovs.ctl("list-ports", "br-v10") == "" and "br-v10" in host.ovs.ctl("list-br").split()


def test_an_update_leaves_a_vlan_bridge(host: PrivateHost) -> None:
    host.driver.plug(bridged(ONE, "br-v10", on_ovs=True))
    host.driver.update(bridged(ONE, "br-int", on_ovs=True))
    assert host.port(TAP, "tag", "Port") == "[]" and host.driver.check() == []


def test_a_vlan_on_a_vlan_bridge_is_refused_with_both_names(host: PrivateHost) -> None:
    vif = bridged(ONE, "br-v10", on_ovs=True, vlan=20)
    sentence = "cannot be combined with source.bridge br-v10, which is VLAN 10 of Open vSwitch bridge br-int"
    for attempt in (host.driver.plan, host.driver.plug):
        with pytest.raises(errors.Unsupported, match=sentence):
            attempt(vif)
    [(_, reason)] = host.driver.can_plug([vif])
    assert sentence in reason and host.driver.list() == [] and TAP not in host.links()


def test_a_network_on_a_vlan_bridge_is_as_it_was_plugged(host: PrivateHost) -> None:
    bridge = "<forward mode='bridge'/><bridge name='br-v10'/><virtualport type='openvswitch'/>"
    (host.networks / "v10.xml").write_text(f"<network><name>v10</name>{bridge}</network>")
    host.driver.plug(VIF.from_json({"id": ONE, "type": "network", "mac": MACS[ONE], "source": {"network": "v10"}}))
    assert host.port(TAP, "tag", "Port") == "10" and host.driver.check() == []
    [drawn] = [each for each in host.driver.topology().networks if each.name == "v10"]
    assert drawn.bridge == "br-int"


def test_a_port_that_libvirt_put_on_a_vlan_bridge_is_adopted_there(host: PrivateHost) -> None:
    known = {"iface-id": ONE, "attached-mac": MACS[ONE], "iface-status": "active"}
    ids = [f'external_ids:{key}="{value}"' for key, value in known.items()]
    host.ovs.ctl("add-port", "br-v10", "vnet9", "--", "set", "Interface", "vnet9", "type=internal", *ids)
    vif = bridged(ONE, "br-v10", on_ovs=True, target="vnet9", tap_owner="libvirt")
    [adopted] = host.driver.adopt([(vif, None)])
    assert adopted.differences == () and host.driver.check() == []
    assert not host.driver.update(host.driver.show(ONE).vif).changed
    host.driver.unplug(ONE)
    assert host.ovs.ctl("list-ports", "br-v10") == "vnet9"
    host.ovs.ctl("del-port", "vnet9")


def test_another_device_is_not_taken_for_an_open_vswitch_bridge(host: PrivateHost) -> None:
    """Open vSwitch stores a bridge of any name, and then cannot make its device."""
    for name, kind in (("br0", "a bridge device of that name; for a Linux bridge"), (OWN, "a veth device")):
        vif = bridged(ONE, name, on_ovs=True)
        for attempt in (host.driver.plan, host.driver.plug):
            with pytest.raises(errors.Conflict, match=f"Open vSwitch bridge {name} is taken: got {kind}"):
                attempt(vif)
        assert len(host.driver.can_plug([vif]).reasons) == 1
    assert host.ovs.ctl("list-br").split() == ["br-int", "br-v10"] and TAP not in host.links()
