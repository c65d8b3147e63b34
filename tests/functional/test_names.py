"""One thing of the host is one thing, whatever it is called: alternative names of devices, VLAN bridges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from vifplug import VIF, errors
from vifplug.testing.host import PrivateHost

ONE, TWO = "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11", "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e12"
MACS = {ONE: "52:54:00:12:34:11", TWO: "52:54:00:12:34:12"}
#: systemd's name for a NIC, and the kernel's
ALTERNATIVE, OWN = "enp25s0f0", "eno1"


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateHost]:
    with PrivateHost() as host:
        host.ip("link", "add", OWN, "type", "veth", "peer", "name", "eno1p")
        host.ip("link", "add", "br0", "type", "bridge")
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
    with pytest.raises(errors.PoolExhausted, match=f"{OWN} is held by VIF {ONE}"):
        networked.plug(VIF.from_json({"id": TWO, "mac": MACS[TWO], **named}))
    networked.plug(VIF.from_json({"id": TWO, "type": "network", "mac": MACS[TWO], "source": {"network": "lan"}}))
    assert networked.check() == []
