"""The forms of a port that others brought into the field: nova's, Neutron's and os-vif's, on a real Open vSwitch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.patience import becomes
from vifplug import VIF, Instance, VIFDriver, conf, errors
from vifplug.host.links import tap
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost

GUEST = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web-1")
ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
TAP = "tap9c4e2f10-6a"
DELEGATED = {"tap_owner": "libvirt", "source": {"bridge": "br-int", "port_owner": "vifplug"}}


def vif(**keys: Any) -> VIF:
    document = {"id": ID, "type": "bridge", "mac": "52:54:00:12:34:56", "virtualport": {"type": "openvswitch"}}
    return VIF.from_json({**document, **keys})


def on(bridge: str = "br-int", **source: Any) -> dict[str, Any]:
    return {"bridge": bridge, **source}


def link(host: PrivateHost, name: str) -> dict[str, Any]:
    [found] = json.loads(host.ip("-details", "-json", "link", "show", "dev", name))
    return dict(found)


def until(condition: Callable[[], bool]) -> None:
    assert becomes(condition, 10)


# -- a port of vifplug's for a tap of libvirt's -----------------------------------------------------------------------


def test_the_port_is_there_before_libvirts_tap_and_works_when_the_tap_comes(host: PrivateHost) -> None:
    plugged = host.driver.plug(vif(**DELEGATED, vlan=10, mtu=1450), GUEST)
    assert "<interface type='ethernet'>" in plugged.interface_xml and "managed" not in plugged.interface_xml
    assert TAP not in host.links() and host.port(TAP, "tag", "Port") == "10"
    ids = host.port(TAP, "external_ids")
    assert f'iface-id="{ID}"' in ids and f'vm-id="{GUEST.uuid}"' in ids
    assert host.driver.check(ID) == [] and not host.driver.plug(vif(**DELEGATED, vlan=10, mtu=1450), GUEST).changed
    with netns.inside(host.namespace), tap.opened(TAP, multi_queue=False):
        until(lambda: host.port(TAP, "ofport") not in ("-1", "[]"))
        assert host.driver.settle(ID)  # what libvirt leaves as the kernel has it
        assert link(host, TAP)["mtu"] == 1450 and host.driver.check(ID) == []
        with pytest.raises(errors.Held, match="in use by a running guest"):
            host.driver.unplug(ID)
    until(lambda: TAP not in host.links())
    host.driver.unplug(ID)
    assert host.ports("br-int") == set()


def test_the_port_takes_up_the_tap_of_each_start_of_the_guest_and_keeps_its_vlan(host: PrivateHost) -> None:
    """ovs-vswitchd keeps the first tap's socket, on its userspace datapath, and says nothing of that."""
    host.driver.plug(vif(**DELEGATED), GUEST)
    host.ovs.ctl("set", "Port", TAP, "tag=7")
    for _ in range(2):
        with netns.inside(host.namespace), tap.opened(TAP, multi_queue=False):
            host.ip("link", "set", TAP, "up")
            until(lambda: is_read(host))
        until(lambda: host.port(TAP, "ifindex") == "0")
        row = host.port(TAP, "_uuid", "Port")
        assert (
            host.driver.plug(vif(**DELEGATED), GUEST).changed and not host.driver.plug(vif(**DELEGATED), GUEST).changed
        )
        assert (host.port(TAP, "_uuid", "Port"), host.port(TAP, "tag", "Port")) == (row, "7")
    host.driver.unplug(ID)


def is_read(host: PrivateHost) -> bool:
    """Whether a packet socket of ovs-vswitchd's is bound to the tap (packet(7))."""
    sockets = netns.run("ip", "netns", "exec", host.namespace, "cat", "/proc/net/packet").splitlines()[1:]
    return str(link(host, TAP)["ifindex"]) in {line.split()[4] for line in sockets}


def test_a_tap_that_is_left_over_is_set_up_and_goes_with_the_vif(host: PrivateHost) -> None:
    host.ip("tuntap", "add", "dev", TAP, "mode", "tap")
    host.driver.plug(vif(**DELEGATED, mtu=9000))
    found = link(host, TAP)
    assert (found["mtu"], found["address"]) == (9000, "fe:54:00:12:34:56") and "UP" in found["flags"]
    host.driver.unplug(ID)
    assert TAP not in host.links()


def test_the_tap_changes_hands_in_an_update(host: PrivateHost) -> None:
    host.driver.plug(vif(**DELEGATED, vlan=10))
    host.driver.update(vif(source=on(), vlan=10))
    assert link(host, TAP)["ifalias"] == f"vifplug:{ID}" and host.driver.check(ID) == []
    host.driver.update(vif(**DELEGATED, vlan=10))
    assert TAP not in host.links() and host.port(TAP, "tag", "Port") == "10" and host.driver.check(ID) == []
    host.driver.unplug(ID)


def test_another_failure_than_a_missing_device_is_one(host: PrivateHost) -> None:
    host.ip("link", "add", TAP, "type", "bridge")  # a bridge cannot be a port of Open vSwitch
    with pytest.raises(errors.Conflict, match=f"libvirt-tap {TAP}"):
        host.driver.plug(vif(**DELEGATED))
    host.ip("link", "delete", "dev", TAP)
    assert host.ports("br-int") == set()


# -- the dead VLAN ----------------------------------------------------------------------------------------------------


def vlan_of(host: PrivateHost, port: str) -> tuple[str, ...]:
    return tuple(host.port(port, column, "Port") for column in ("tag", "vlan_mode", "trunks"))


DEAD = ("4095", "trunk", "[4095]")


@pytest.mark.parametrize(
    "form", [{"source": on(isolate=True)}, {**DELEGATED, "source": {**DELEGATED["source"], "isolate": True}}]
)
def test_a_new_port_begins_in_the_dead_vlan_and_an_agents_vlan_stays(host: PrivateHost, form: dict[str, Any]) -> None:
    host.driver.plug(vif(**form))
    assert vlan_of(host, TAP) == DEAD and host.driver.check(ID) == []
    host.ovs.ctl("set", "Port", TAP, "tag=7", "--", "clear", "Port", TAP, "vlan_mode", "trunks")
    assert not host.driver.plug(vif(**form)).changed
    host.driver.update(vif(**form, external_ids={"a": "b"}))
    assert vlan_of(host, TAP) == ("7", "[]", "[]") and host.driver.check(ID) == []
    host.driver.unplug(ID)


def test_a_vlan_of_the_documents_comes_first_and_trunk_bridges_have_none(host: PrivateHost) -> None:
    host.driver.plug(vif(source=on(isolate=True), vlan=5))
    assert vlan_of(host, TAP) == ("5", "access", "[]")
    host.driver.unplug(ID)
    host.driver.plug(vif(source=on("tbr-9c4e2f10-6", isolate=True)))
    assert vlan_of(host, TAP) == ("[]", "[]", "[]")
    host.driver.unplug(ID)


@pytest.fixture
def configured(host: PrivateHost) -> Iterator[VIFDriver]:
    """A driver whose configuration isolates ports and gives each a bridge of its own."""
    file = host.directory / "forms.conf"
    file.write_text(host.config.read_text() + "\n[vifplug_ovs]\nisolate_vif = true\nper_port_bridge = true\n")
    with VIFDriver(conf.load([str(file)])) as driver:
        yield driver


# -- a bridge for each port -------------------------------------------------------------------------------------------


def test_a_tap_has_a_bridge_of_its_own_and_a_patch_to_the_vifs(host: PrivateHost) -> None:
    wanted = vif(source=on(per_port_bridge=True), vlan=10, mtu=1400)
    assert host.driver.plug(wanted, GUEST).changed and not host.driver.plug(wanted, GUEST).changed
    here, there = f"pbp{ID}", f"ibp{ID}"
    assert host.ports("pb9c4e2f10-6a1") == {TAP, here} and host.ports("br-int") == {there}
    assert (host.port(here, "options"), host.port(there, "options")) == (f"{{peer={there}}}", f"{{peer={here}}}")
    assert "iface-id" not in host.port(TAP, "external_ids") and f'iface-id="{ID}"' in host.port(there, "external_ids")
    assert host.port(there, "tag", "Port") == "10" and host.port(TAP, "tag", "Port") == "[]"
    assert host.driver.check(ID) == []
    host.driver.unplug(ID)
    assert host.ovs.ctl("list-br").split() == ["br-int"]


def test_the_configuration_says_so_for_all_and_a_document_otherwise(host: PrivateHost, configured: VIFDriver) -> None:
    configured.plug(vif(**DELEGATED))
    assert vlan_of(host, f"ibp{ID}") == DEAD and vlan_of(host, TAP) == ("[]", "[]", "[]")
    host.driver.unplug(ID)  # by a driver that would not have plugged it so
    assert host.ovs.ctl("list-br").split() == ["br-int"]
    configured.plug(vif(source=on(per_port_bridge=False, isolate=False)))
    assert host.ports("br-int") == {TAP} and vlan_of(host, TAP) == ("[]", "[]", "[]")
    configured.update(vif(source=on()))
    assert host.ports("br-int") == {f"ibp{ID}"}
    configured.update(vif(source=on(per_port_bridge=False)))
    assert host.ports("br-int") == {TAP} and configured.check(ID) == []
    configured.unplug(ID)


# -- bridges that are made --------------------------------------------------------------------------------------------


def test_a_bridge_is_made_with_the_datapath_of_the_document_and_one_that_exists_keeps_its_own(
    host: PrivateHost,
) -> None:
    host.driver.plug(vif(source=on("br-new", datapath_type="netdev")))
    assert host.port("br-new", "datapath_type", "Bridge") == "netdev"
    host.driver.unplug(ID)
    host.driver.plug(vif(source=on("br-new", datapath_type="system")))
    assert host.port("br-new", "datapath_type", "Bridge") == "netdev"
    host.driver.unplug(ID)


def test_a_linux_bridge_is_made_where_there_is_none_and_serves_the_next_vif_too(host: PrivateHost) -> None:
    other = "1b2c3d4e-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
    first = vif(source=on("brq0", ensure=True), virtualport=None)
    second = first.replace(id=other, mac="52:54:00:12:34:57", target="tap1b2c3d4e-6a")
    with pytest.raises(errors.Missing, match="brq0"):
        host.driver.plug(vif(source=on("brq0"), virtualport=None))
    host.driver.plug(first)
    host.driver.plug(second)
    assert link(host, TAP)["master"] == "brq0" and host.driver.check() == []
    host.driver.unplug(ID)
    host.driver.unplug(other)
    assert "brq0" in host.links()
    host.ip("link", "delete", "dev", "brq0")


# -- what is refused --------------------------------------------------------------------------------------------------

REFUSED = [
    ({"source": on(port_owner="libvirt")}, "$.source.port_owner", "creates a port only for its own tap"),
    ({"source": on(hybrid=True, port_owner="vifplug")}, "$.source.port_owner", "always vifplug's"),
    ({"source": on(hybrid=True, per_port_bridge=True)}, "$.source.per_port_bridge", "combined with hybrid"),
    ({"source": on(isolate=True), "tap_owner": "libvirt"}, "$.source.isolate", "libvirt creates the port"),
    ({**DELEGATED, "target": None}, "$.target", "for the port that vifplug creates"),
    ({"source": on(port_owner="vifplug"), "virtualport": None}, "$.source.port_owner", "needs virtualport openvswitch"),
    ({"source": on(datapath_type="netdev"), "virtualport": None}, "$.source.datapath_type", "needs virtualport"),
]


@pytest.mark.parametrize(("keys", "path", "why"), REFUSED, ids=[f"{path[2:]}-{why[:12]}" for _, path, why in REFUSED])
def test_forms_that_can_not_be_are_refused(host: PrivateHost, keys: dict[str, Any], path: str, why: str) -> None:
    with pytest.raises(errors.Unsupported) as caught:
        host.driver.plug(vif(**keys))
    assert [(problem.path, why in problem.message) for problem in caught.value.problems] == [(path, True)]
