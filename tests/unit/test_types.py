"""What each VIF type wants of the host, and what it refuses: documents in, records out, nothing touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from vifplug import interface_xml
from vifplug.errors import InvalidDocument, Missing
from vifplug.host.ovs import survey
from vifplug.model.codec import FrozenMap
from vifplug.model.vif import VIF, Instance
from vifplug.plan.defaults import with_defaults
from vifplug.plan.facts import VirtualFunctionFacts
from vifplug.plan.registry import (
    HARDENED,
    BridgePort,
    BridgeVlan,
    LinuxBridge,
    LowerDevice,
    Macvtap,
    OvsBridge,
    OvsPolicing,
    OvsPort,
    OvsQdisc,
    OvsQos,
    OvsVlan,
    Resource,
    Tap,
    VethPair,
    VhostSocket,
    VirtualFunction,
    VlanLink,
)
from vifplug.plan.steps import Observed
from vifplug.types import bridge, direct, ethernet, hostdev, openvswitch, vhostuser
from vifplug.types.base import Context, NoFacts, TypeSettings, VIFType

ID = "0a1b2c3d-1111-4222-8333-444455556666"
DEV = "tap0a1b2c3d-11"
MAC = "52:54:00:12:34:56"
GUEST = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web-1")
VF = VirtualFunctionFacts(address="0000:81:02.3", pf="ens1f0", number=3, device="ens1f0v3")
KINDS: dict[str, VIFType] = {
    kind.name: kind()
    for kind in (
        bridge.BridgeType,
        ethernet.EthernetType,
        vhostuser.VhostUserType,
        hostdev.HostDeviceType,
        direct.DirectType,
    )
}
SOURCES: dict[str, Any] = {
    "bridge": {"bridge": "br0"},
    "ethernet": {},
    "vhostuser": {"path": "/run/vhu/vhu0a1b2c3d-11", "mode": "server"},
    "hostdev": {"address": "0000:81:02.3"},
    "direct": {"dev": "ens1f0"},
}
OVS = {"virtualport": {"type": "openvswitch"}, "source": {"bridge": "br-int"}}


@dataclass(frozen=True)
class Host(NoFacts):
    """A host as a plain object: one VF, or none."""

    function: VirtualFunctionFacts | None = VF

    def virtual_function(self, address: str) -> VirtualFunctionFacts:
        if self.function is None:
            raise Missing(f"no VF {address}")
        return self.function

    def function_of(self, device: str) -> str | None:
        return self.function.address if self.function else None


def vif(type: str, **keys: Any) -> VIF:
    return VIF.from_json({"id": ID, "type": type, "mac": MAC, "source": SOURCES[type], **keys})


def context(facts: Host | None = None, options: dict[str, Any] | None = None, **settings: Any) -> Context:
    return Context(facts=facts or Host(), options=FrozenMap(options or {}), settings=TypeSettings(**settings))


def desired(type: str, surroundings: Context | None = None, **keys: Any) -> list[Resource]:
    document, kind = vif(type, **keys), KINDS[type]
    kind.validate(document, surroundings or context())
    return list(kind.desired(document, surroundings or context()))


def port(surroundings: Context | None = None, **keys: Any) -> OvsPort:
    """The one Open vSwitch port of a VIF of type bridge."""
    [found] = [each for each in desired("bridge", surroundings, **{**OVS, **keys}) if isinstance(each, OvsPort)]
    return found


def refusal(type: str, surroundings: Context | None = None, **keys: Any) -> dict[str, str]:
    """What is wrong with a document, by path, whether its model or its type says so."""
    with pytest.raises(InvalidDocument) as caught:
        KINDS[type].validate(vif(type, **keys), surroundings or context())
    return {problem.path: problem.message for problem in caught.value.problems}


# -- the tap ------------------------------------------------------------------------------------------------------


def test_a_tap_is_hardened_owned_and_has_a_high_mac() -> None:
    assert desired("ethernet") == [
        Tap(name=DEV, owner=ID, mac="fe:54:00:12:34:56", mtu=None, multi_queue=False, user=0, sysctls=HARDENED)
    ]


def test_a_guest_whose_mac_begins_with_fe_gets_a_tap_with_fa() -> None:
    [tap] = desired("ethernet", mac="fe:54:00:12:34:56")
    assert isinstance(tap, Tap) and tap.mac == "fa:54:00:12:34:56"


def test_a_tap_has_the_mtu_queues_and_owner_that_are_asked() -> None:
    keys = {"mtu": 9000, "model": "virtio", "driver": {"queues": 4}, "target": "tap-db1"}
    [tap] = desired("ethernet", context(tap_user=64055, tap_group=108), **keys)
    assert tap == Tap(
        name="tap-db1", owner=ID, mac="fe:54:00:12:34:56", mtu=9000, multi_queue=True, user=64055, group=108
    )


@pytest.mark.parametrize("queues", [None, 1])
def test_one_queue_is_a_tap_without_multi_queue(queues: int | None) -> None:
    [tap] = desired("ethernet", model="virtio", driver={"queues": queues} if queues else {"name": "vhost"})
    assert isinstance(tap, Tap) and not tap.multi_queue


def test_a_tap_that_libvirt_makes_is_no_business_of_ours() -> None:
    assert desired("ethernet", tap_owner="libvirt") == []


# -- who makes the tap --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "document", "setting", "owner"),
    [
        ("bridge", None, None, "vifplug"),
        ("ethernet", None, None, "vifplug"),
        ("direct", None, None, "libvirt"),
        ("bridge", None, "libvirt", "libvirt"),
        ("direct", None, "vifplug", "vifplug"),
        ("bridge", "vifplug", "libvirt", "vifplug"),
        ("direct", "libvirt", "vifplug", "libvirt"),
        ("hostdev", None, "vifplug", None),
        ("vhostuser", None, "libvirt", None),
    ],
)
def test_the_document_says_who_makes_the_tap_then_the_configuration_then_the_type(
    type: str, document: str | None, setting: str | None, owner: str | None
) -> None:
    asked = vif(type, **({"tap_owner": document} if document else {}))
    assert KINDS[type].owner(asked, context(tap_owner=setting)) == owner


# -- bridge: Linux ------------------------------------------------------------------------------------------------


def test_a_linux_bridge_has_to_exist_and_is_not_touched() -> None:
    found = desired("bridge")
    assert found[0] == LowerDevice(name="br0", owner=ID, up=None, link_kind="bridge")
    assert [type(each) for each in found[1:]] == [Tap, BridgePort]
    assert found[2] == BridgePort(name=DEV, owner=ID, bridge="br0")


LINUX_VLANS = [
    (10, [BridgeVlan(id=10, pvid=True, untagged=True)]),
    ("20,10", [BridgeVlan(id=10), BridgeVlan(id=20)]),
    ("10u,20", [BridgeVlan(id=10, pvid=True, untagged=True), BridgeVlan(id=20)]),
    ("10t,20", [BridgeVlan(id=10, pvid=True), BridgeVlan(id=20)]),
    ({"trunk": True, "tags": [{"id": 10}]}, [BridgeVlan(id=10)]),
]


@pytest.mark.parametrize(("vlan", "wanted"), LINUX_VLANS)
def test_each_form_of_vlan_on_a_linux_bridge(vlan: Any, wanted: list[BridgeVlan]) -> None:
    member = desired("bridge", vlan=vlan)[-1]
    assert isinstance(member, BridgePort) and member.vlans == tuple(wanted)


def test_no_vlan_leaves_the_bridges_own_vlans_alone() -> None:
    member = desired("bridge")[-1]
    assert isinstance(member, BridgePort) and member.vlans is None


def test_isolation_hairpin_and_learning_are_the_ports() -> None:
    surroundings = context(options={"hairpin": True, "learning": False})
    member = desired("bridge", surroundings, port={"isolated": True})[-1]
    assert isinstance(member, BridgePort)
    assert (member.isolated, member.hairpin, member.learning) == (True, True, False)
    own = desired("bridge", surroundings, port={"hairpin": False, "learning": True, "flood": False})[-1]
    assert isinstance(own, BridgePort)
    assert (own.isolated, own.hairpin, own.learning, own.flood) == (None, False, True, False)


def test_a_tap_on_a_linux_bridge_that_libvirt_makes_wants_the_bridge_there() -> None:
    bridge = LowerDevice(name="br0", owner=ID, up=None, link_kind="bridge")
    assert desired("bridge", tap_owner="libvirt") == [bridge]


# -- bridge: Open vSwitch -----------------------------------------------------------------------------------------


def test_the_tap_comes_before_the_bridge_and_the_port() -> None:
    found = desired("bridge", context(datapath_type="netdev"), **OVS)
    assert [type(each) for each in found] == [Tap, OvsBridge, OvsPort]
    assert found[1] == OvsBridge(name="br-int", datapath_type="netdev")


RESERVED = ["iface-id", "attached-mac", "iface-status", "vm-id", "vm-uuid", "port-profile", "bridge_name"]
RESERVED += ["vifplug-id", "vifplug-role", "ovn-installed", "ovn-installed-ts"]


@pytest.mark.parametrize("key", RESERVED)
@pytest.mark.parametrize(
    ("type", "keys"),
    [
        ("bridge", OVS),
        ("bridge", {**OVS, "source": {"bridge": "br-int", "hybrid": True}}),
        ("hostdev", {"source": {"address": "0000:81:02.3", "bridge": "br-int"}}),
        ("vhostuser", {"source": {"path": "/run/vhu/a", "mode": "server", "bridge": "br-int"}}),
    ],
)
def test_an_external_id_that_is_not_the_documents_to_give_is_refused(type: str, keys: Any, key: str) -> None:
    """They say whose port it is: another VIF's iface-id would take its flows."""
    problems = refusal(type, **keys, external_ids={key: "x", "mine": "y"})
    assert list(problems) == [f"$.external_ids.{key}"]
    assert problems[f"$.external_ids.{key}"].startswith("cannot be given: ")


def test_an_external_id_of_anybody_elses_is_taken() -> None:
    assert port(external_ids={"neutron-x": "y"}).external_ids["neutron-x"] == "y"


OVS_VLANS = [
    (10, OvsVlan(mode="access", tag=10)),
    ("20,10", OvsVlan(mode="trunk", trunks=(10, 20))),
    ("10u,20", OvsVlan(mode="native-untagged", tag=10, trunks=(10, 20))),
    ("10t,20", OvsVlan(mode="native-tagged", tag=10, trunks=(10, 20))),
    ({"trunk": True, "tags": [{"id": 7}]}, OvsVlan(mode="trunk", trunks=(7,))),
    ({"tags": [{"id": 7, "native_mode": "untagged"}]}, OvsVlan(mode="native-untagged", tag=7, trunks=(7,))),
    (4094, OvsVlan(mode="access", tag=4094)),
    ("untagged", OvsVlan(mode="access", tag=0)),
    ("10u,all", OvsVlan(mode="native-untagged", tag=10)),
    ("20,10t,all", OvsVlan(mode="native-tagged", tag=10)),
    ("all", OvsVlan(mode="trunk")),
    ({"mode": "dot1q-tunnel", "tags": [{"id": 100}]}, OvsVlan(mode="dot1q-tunnel", tag=100)),
    (
        {"mode": "dot1q-tunnel", "tags": [{"id": 100}], "cvlans": "20,10-12"},
        OvsVlan(mode="dot1q-tunnel", tag=100, cvlans=(10, 11, 12, 20)),
    ),
]


@pytest.mark.parametrize("vlan", [vlan for vlan, _ in OVS_VLANS])
def test_each_form_of_vlan_is_read_back_from_json_the_switch_and_xml(vlan: Any) -> None:
    """What libvirt's element cannot say is refused by a sentence, and never left out."""
    asked = vif("bridge", **OVS, vlan=vlan)
    assert VIF.from_json(asked.to_json()) == asked
    columns = port(vlan=vlan).vlan
    row = {"tag": columns.tag, "vlan_mode": columns.mode, "trunks": columns.trunks, "cvlans": columns.cvlans}
    assert openvswitch.vlan(survey.vlan(row)) == columns
    element = asked.replace(tap_owner="libvirt")
    if asked.vlan.beyond_libvirt:
        with pytest.raises(InvalidDocument, match=r"libvirt's <vlan> cannot express .*port_owner to vifplug"):
            interface_xml(element)
    else:
        assert VIF.from_xml(interface_xml(element)).vlan == asked.vlan


@pytest.mark.parametrize("vlan", ["untagged", "10u,all", {"mode": "dot1q-tunnel", "tags": [{"id": 100}]}])
def test_a_linux_bridge_has_only_lists_of_vlans(vlan: Any) -> None:
    assert "needs virtualport openvswitch" in refusal("bridge", vlan=vlan)["$.vlan"]


@pytest.mark.parametrize(("vlan", "wanted"), OVS_VLANS)
def test_each_form_of_vlan_on_open_vswitch(vlan: Any, wanted: OvsVlan) -> None:
    assert port(vlan=vlan).vlan == wanted


def test_a_trunk_is_never_without_its_vlans() -> None:
    """An empty list would mean all 4094 (ovs-vswitchd.conf.db)."""
    for vlan, _ in OVS_VLANS[1:6]:
        found = port(vlan=vlan).vlan
        assert found and found.trunks


def test_the_external_ids_are_those_that_ovn_neutron_and_libvirt_read() -> None:
    surroundings = Context(instance=GUEST, facts=Host())
    keys = {"virtualport": {"type": "openvswitch", "profileid": "gold"}, "external_ids": {"iface-id-ver": "3"}}
    assert dict(port(surroundings, **keys).external_ids) == {
        "iface-id": ID,
        "attached-mac": MAC,
        "iface-status": "active",
        "vm-id": GUEST.uuid,
        "vm-uuid": GUEST.uuid,
        "port-profile": "gold",
        "iface-id-ver": "3",
    }


def test_without_a_guest_and_a_profile_their_external_ids_are_not_there() -> None:
    assert dict(port().external_ids) == {"iface-id": ID, "attached-mac": MAC, "iface-status": "active"}


def test_the_interface_id_may_be_another_than_the_vifs() -> None:
    other = "99999999-1111-4222-8333-444455556666"
    assert port(virtualport={"type": "openvswitch", "interfaceid": other}).external_ids["iface-id"] == other


def test_a_port_on_neutrons_trunk_bridge_names_its_bridge() -> None:
    assert port(source={"bridge": "tbr-12345678-9"}).external_ids["bridge_name"] == "tbr-12345678-9"
    assert "bridge_name" not in port().external_ids


LIMITS = [
    ({"average": 1000}, {"min-rate": "8000000", "max-rate": "8000000"}),
    ({"average": 1000, "peak": 5000}, {"min-rate": "8000000", "max-rate": "40000000"}),
    (
        {"average": 1000, "peak": 5000, "burst": 1024},
        {"min-rate": "8000000", "max-rate": "40000000", "burst": "8388608"},
    ),
]


@pytest.mark.parametrize(("inbound", "wanted"), LIMITS)
def test_what_the_guest_receives_is_htb_in_bits_and_limited_without_a_peak(
    inbound: dict[str, int], wanted: dict[str, str]
) -> None:
    """Rates x 8000, burst x 8192, as libvirt; but libvirt writes no max-rate without a peak (its defect D12)."""
    assert port(bandwidth={"inbound": inbound}).qos == OvsQos(
        type="linux-htb", other_config=FrozenMap(wanted), queue=FrozenMap(wanted)
    )


@pytest.mark.parametrize(
    ("outbound", "wanted"),
    [
        ({"average": 128}, OvsPolicing(rate=1024, burst=0)),
        ({"average": 128, "peak": 256, "burst": 256}, OvsPolicing(rate=1024, burst=2048)),
    ],
)
def test_what_the_guest_sends_is_policed_at_the_average(outbound: dict[str, int], wanted: OvsPolicing) -> None:
    found = port(bandwidth={"outbound": outbound})
    assert found.policing == wanted and found.qos is None


def test_without_bandwidth_neither_qos_nor_policing_is_touched() -> None:
    assert port().qos is None and port().policing is None


def test_qos_on_the_port_is_settled_when_the_guest_runs() -> None:
    """libvirt replaces the tap's root qdisc when the guest starts."""
    shaped = desired("bridge", **OVS, bandwidth={"inbound": {"average": 1}})
    assert shaped[-1] == OvsQdisc(name=DEV, owner=ID)
    policed = desired("bridge", **OVS, bandwidth={"outbound": {"average": 1}})
    assert not any(isinstance(each, OvsQdisc) for each in policed)


def test_the_default_qos_is_for_a_port_without_bandwidth() -> None:
    surroundings = context(default_qos_type="linux-noop")
    found = port(surroundings)
    assert found.qos is None and found.default_qos and found.default_qos.type == "linux-noop"
    assert found.default_qos.external_ids["_type"] == "linux-noop" and port().default_qos is None
    limited = port(surroundings, bandwidth={"inbound": {"average": 1}})
    assert limited.qos and limited.qos.type == "linux-htb"


@pytest.mark.parametrize(
    ("seen", "configured", "applies"),
    [
        ("system", "netdev", True),
        ("netdev", None, False),
        (None, None, True),
        (None, "system", True),
        (None, "netdev", False),
    ],
)
def test_the_default_qos_is_for_the_kernels_datapath(seen: str | None, configured: str | None, applies: bool) -> None:
    """An existing bridge keeps its datapath; one that the plug makes has the configured one."""
    surroundings = context(default_qos_type="linux-htb", datapath_type=configured)
    asked = desired("bridge", surroundings, **OVS)
    bridge = OvsBridge(name="br-int", datapath_type=seen)
    observed = {bridge.identity: Observed(resource=bridge)} if seen else {}
    completed = with_defaults(asked, observed)
    [found] = [each for each in completed if isinstance(each, OvsPort)]
    assert (found.qos is not None) is applies and found.default_qos is None
    assert any(isinstance(each, OvsQdisc) for each in completed) is applies
    assert with_defaults(completed, {}) == completed, "what is recorded has nothing left to fill in"


def test_where_libvirt_makes_the_tap_the_bridge_is_ensured_and_nothing_else() -> None:
    assert desired("bridge", **OVS, tap_owner="libvirt") == [OvsBridge(name="br-int")]


# -- bridge: hybrid -----------------------------------------------------------------------------------------------

HYBRID = {"virtualport": {"type": "openvswitch"}, "source": {"bridge": "br-int", "hybrid": True}}
QBR, QVB, QVO = (prefix + ID[:11] for prefix in ("qbr", "qvb", "qvo"))


def test_the_hybrid_form_is_a_bridge_of_its_own_and_a_wire_into_the_switch() -> None:
    found = desired("bridge", **HYBRID, mtu=1450, vlan=7, filterref="clean-traffic")
    linux, wire, inner, tap, member, switch, outer = found
    assert isinstance(linux, LinuxBridge) and (linux.name, linux.mtu) == (QBR, 1450)
    assert (linux.ageing_time, linux.forward_delay, linux.stp, linux.multicast_snooping) == (0, 0, False, False)
    assert linux.sysctls == {**HARDENED, "ipv4/arp_ignore": "1", "ipv4/arp_announce": "2"}
    assert wire == VethPair(name=QVO, peer=QVB, owner=ID, mtu=1450, promiscuous=True)
    assert inner == BridgePort(name=QVB, owner=ID, bridge=QBR)
    assert isinstance(tap, Tap) and tap.mtu == 1450
    assert member == BridgePort(name=DEV, owner=ID, bridge=QBR)
    assert switch == OvsBridge(name="br-int")
    assert isinstance(outer, OvsPort) and (outer.name, outer.bridge) == (QVO, "br-int")
    assert outer.vlan == OvsVlan(mode="access", tag=7) and outer.external_ids["iface-id"] == ID


def test_in_the_hybrid_form_bandwidth_is_the_taps() -> None:
    keys = {**HYBRID, "bandwidth": {"inbound": {"average": 1}, "outbound": {"average": 1}}}
    outer = desired("bridge", **keys)[-1]
    assert isinstance(outer, OvsPort) and outer.qos is None and outer.policing is None
    element = KINDS["bridge"].interface(vif("bridge", **keys), context())
    assert element.bandwidth is not None


def test_in_the_hybrid_form_libvirt_may_put_its_tap_on_the_bridge() -> None:
    found = desired("bridge", **HYBRID, tap_owner="libvirt")
    assert [type(each) for each in found] == [LinuxBridge, VethPair, BridgePort, OvsBridge, OvsPort]
    element = KINDS["bridge"].interface(vif("bridge", **HYBRID, tap_owner="libvirt"), context())
    assert element.type == "bridge" and element.source == {"bridge": QBR} and element.virtualport is None


# -- vhostuser ----------------------------------------------------------------------------------------------------

PATH = "/run/vhu/vhu0a1b2c3d-11"


def vhost(mode: str, bridge: str | None = "br-int") -> dict[str, Any]:
    source = {"path": PATH, "mode": mode, **({"bridge": bridge} if bridge else {})}
    return {"source": source}


def test_where_qemu_is_the_server_open_vswitch_is_the_client() -> None:
    options = {"socket_dir_user": 64055, "socket_dir_group": 108, "socket_dir_mode": 0o770}
    keys = vhost("server")
    keys["source"]["port_mtu"] = 9000
    socket, switch, found = desired("vhostuser", context(options=options), **keys, vlan=7)
    owned = VhostSocket(name=PATH, owner=ID, user=64055, group=108, mode=0o770)
    assert socket == owned.replace(socket_dirs=TypeSettings().socket_dirs)
    assert switch == OvsBridge(name="br-int")
    assert isinstance(found, OvsPort) and found.name == DEV
    assert (found.type, dict(found.options)) == ("dpdkvhostuserclient", {"vhost-server-path": PATH})
    assert (found.vlan, found.mtu_request) == (OvsVlan(mode="access", tag=7), 9000)
    assert found.external_ids["iface-id"] == ID


def test_where_qemu_is_the_client_open_vswitch_makes_the_socket_named_after_the_port() -> None:
    switch, found = desired("vhostuser", **vhost("client"))
    assert switch == OvsBridge(name="br-int")
    assert isinstance(found, OvsPort) and (found.name, found.type) == ("vhu0a1b2c3d-11", "dpdkvhostuser")
    assert found.options == {} and found.mtu_request is None


def test_without_a_bridge_only_the_socket_of_a_server_is_prepared() -> None:
    assert [type(each) for each in desired("vhostuser", **vhost("server", None))] == [VhostSocket]
    assert desired("vhostuser", **vhost("client", None)) == []


def test_the_default_qos_is_not_for_vhost_user() -> None:
    found = desired("vhostuser", context(default_qos_type="linux-noop"), **vhost("client"))[-1]
    assert isinstance(found, OvsPort) and found.qos is None and found.default_qos is None


# -- hostdev ------------------------------------------------------------------------------------------------------


def test_a_vf_gets_its_settings_through_the_physical_function() -> None:
    settings = {"trust": True, "spoof_check": False, "link_state": "enable", "min_tx_rate": 10, "max_tx_rate": 100}
    keys = {"vlan": 7, "vf": {**settings, "vlan_qos": 3, "vlan_proto": "802.1ad"}}
    assert desired("hostdev", **keys) == [
        VirtualFunction(
            name="0000:81:02.3", owner=ID, pf="ens1f0", number=3, mac=MAC, vlan=7, vlan_qos=3, vlan_proto="802.1ad",
            **settings,  # type: ignore[arg-type]
        )
    ]  # fmt: skip


def test_a_vlan_that_is_not_asked_for_is_left_as_it_is() -> None:
    [function] = desired("hostdev")
    assert isinstance(function, VirtualFunction)
    assert (function.mac, function.vlan, function.trust, function.spoof_check) == (MAC, None, None, None)


def test_a_representor_is_plugged_into_the_switch_and_the_vlan_is_its_ports() -> None:
    switched = VirtualFunctionFacts(address="0000:81:02.3", pf="ens1f0", number=3, representor="pf0vf3")
    keys = {"source": {"address": "0000:81:02.3", "bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
    function, representor, switch, found = desired("hostdev", context(Host(switched)), **keys, vlan="5,7")
    assert isinstance(function, VirtualFunction) and (function.mac, function.vlan) == (MAC, None)
    assert representor == LowerDevice(name="pf0vf3", owner=ID, sysctls=HARDENED)
    assert switch == OvsBridge(name="br-int")
    assert isinstance(found, OvsPort) and found.name == "pf0vf3"
    assert found.vlan == OvsVlan(mode="trunk", trunks=(5, 7)) and found.external_ids["attached-mac"] == MAC
    element = KINDS["hostdev"].interface(vif("hostdev", **keys, vlan=5), context())
    assert element.vlan is None and element.virtualport is None


def test_a_vf_without_a_representor_can_not_be_plugged_into_a_switch() -> None:
    with pytest.raises(Missing, match=r"VF 0000:81:02\.3 has no representor .* switchdev"):
        desired("hostdev", source={"address": "0000:81:02.3", "bridge": "br-int"})


def test_a_vf_that_is_not_there_is_missing() -> None:
    with pytest.raises(Missing, match="no VF"):
        desired("hostdev", context(Host(None)))


def test_with_a_port_profile_the_profile_gives_the_mac() -> None:
    [function] = desired("hostdev", virtualport={"type": "802.1Qbh", "profileid": "finance"})
    assert isinstance(function, VirtualFunction) and function.mac is None


# -- direct -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["vepa", "bridge", "private"])
def test_a_macvtap_that_libvirt_makes_wants_its_lower_device_up(mode: str) -> None:
    assert desired("direct", source={"dev": "ens1f0", "mode": mode}) == [SHARED]


def test_a_macvtap_that_vifplug_makes_has_the_guests_own_mac() -> None:
    keys = {"tap_owner": "vifplug", "model": "virtio", "driver": {"queues": 2}}
    lower, macvtap = desired("direct", context(tap_user=64055), **keys)
    assert lower == SHARED
    assert macvtap == Macvtap(
        name=DEV, owner=ID, lower="ens1f0", mode="vepa", mac=MAC, queues=2, user=64055, sysctls=HARDENED
    )


#: the test's facts have one VF, which is every device
SHARED = LowerDevice(name="ens1f0", owner=ID, up=True, shared=True, function=VF.address)
ALONE = LowerDevice(name="ens1f0", owner=ID, up=True, exclusive=True, function=VF.address)

PASSTHROUGH = {"source": {"dev": "ens1f0", "mode": "passthrough"}}


def test_a_device_that_is_passed_through_is_the_guests_alone() -> None:
    [lower] = desired("direct", **PASSTHROUGH)
    names = ("device ens1f0", f"VF {VF.address}")
    assert (lower.claims, lower.shares) == (names, ()) and isinstance(lower, LowerDevice) and lower.mac is None
    shared = desired("direct")[0]
    assert (shared.claims, shared.shares) == ((), names)


def test_with_802_1qbh_a_private_macvtap_is_alone_on_its_device() -> None:
    profile = {"type": "802.1Qbh", "profileid": "p"}
    [lower] = desired("direct", source={"dev": "ens1f0", "mode": "private"}, virtualport=profile)
    assert lower == ALONE
    [lower] = desired("direct", source={"dev": "ens1f0", "mode": "vepa"}, virtualport=profile)
    assert lower == SHARED


def test_passed_through_by_vifplug_the_device_gets_the_guests_mac_and_the_vf_its_vlan() -> None:
    function, lower, macvtap = desired("direct", **PASSTHROUGH, tap_owner="vifplug", vlan=7, vf={"vlan_qos": 3})
    assert isinstance(function, VirtualFunction)
    assert (function.mac, function.vlan, function.vlan_qos) == (None, 7, 3)
    assert isinstance(lower, LowerDevice) and lower.mac == MAC
    assert isinstance(macvtap, Macvtap) and macvtap.mode == "passthrough"


def test_passed_through_by_libvirt_the_vlan_is_in_the_element() -> None:
    assert desired("direct", **PASSTHROUGH, vlan=7) == [ALONE]
    element = KINDS["direct"].interface(vif("direct", **PASSTHROUGH, vlan=7), context())
    assert element.vlan and element.vlan.access == 7


def test_settings_of_a_vf_need_a_device_that_is_one() -> None:
    with pytest.raises(Missing, match="device ens1f0 is no virtual function"):
        desired("direct", context(Host(None)), **PASSTHROUGH, vf={"trust": True})


# -- what each type refuses, and why ------------------------------------------------------------------------------

QBG = {"type": "802.1Qbg", "managerid": 11, "typeid": 1193047, "typeidversion": 2}
QBH = {"type": "802.1Qbh", "profileid": "finance"}
MIDONET = {"type": "midonet", "interfaceid": ID}
BANDWIDTH = {"inbound": {"average": 1000}}
SWITCHED = {"address": "0000:81:02.3", "bridge": "br-int"}

LIBVIRTS = {"tap_owner": "libvirt"}
WITH_TAPS = ("bridge", "ethernet", "direct")
COLUMNS: list[tuple[str, dict[str, Any]]] = [
    ("ofport_request", {"ofport_request": 7}),
    ("port_options", {"port_options": {"interface": {"a": "b"}}}),
]
FLAGS: list[tuple[str, dict[str, Any]]] = [
    (name, {"port": {name: value}}) for name in ("hairpin", "learning", "flood") for value in (True, False)
]

REFUSALS: list[tuple[str, dict[str, Any], str, str]] = [
    # ethernet
    ("ethernet", {"vlan": 7}, "$.vlan", "vifplug does not manage the switch that the tap is connected to"),
    ("ethernet", {"virtualport": {"type": "openvswitch"}}, "$.virtualport", "use type bridge"),
    ("ethernet", {"port": {"isolated": True}}, "$.port", "its settings are those of a bridge's port"),
    ("ethernet", {"vf": {"trust": True}}, "$.vf", "have a virtual function"),
    ("ethernet", {"external_ids": {"a": "b"}}, "$.external_ids", "it has no Open vSwitch port"),
    (
        "ethernet",
        {"model": "virtio", "driver": {"name": "vfio"}},
        "$.driver.name",
        "expected qemu or vhost on type ethernet, got vfio",
    ),
    ("ethernet", {"target": None, "tap_owner": "vifplug"}, "$.target", "expected a device name"),
    *((kind, {"txqueuelen": 9}, "$.txqueuelen", "it has no tap") for kind in ("vhostuser", "hostdev")),
    *((kind, {**LIBVIRTS, "txqueuelen": 9}, "$.txqueuelen", "libvirt creates the tap") for kind in WITH_TAPS),
    ("bridge", {**OVS, **LIBVIRTS, "txqueuelen": 9}, "$.txqueuelen", "libvirt creates the tap"),
    ("bridge", {**HYBRID, **LIBVIRTS, "txqueuelen": 9}, "$.txqueuelen", "libvirt creates the tap"),
    *(
        (kind, keys, f"$.{key}", "it has no Open vSwitch port")
        for kind in ("ethernet", "direct")
        for key, keys in COLUMNS
    ),
    *((kind, keys, f"$.{key}", "needs source.bridge") for kind in ("vhostuser", "hostdev") for key, keys in COLUMNS),
    *(("bridge", keys, f"$.{key}", "needs virtualport openvswitch") for key, keys in COLUMNS),
    *(("bridge", {**OVS, **LIBVIRTS, **keys}, f"$.{key}", "libvirt creates the port") for key, keys in COLUMNS),
    *(("bridge", {**OVS, **flag}, f"$.port.{name}", "needs a Linux bridge") for name, flag in FLAGS),
    *(("bridge", {**LIBVIRTS, **flag}, f"$.port.{name}", "libvirt creates the port") for name, flag in FLAGS),
    *(("bridge", {**HYBRID, **LIBVIRTS, **flag}, f"$.port.{name}", "libvirt creates the port") for name, flag in FLAGS),
    *((kind, flag, "$.port", "of a bridge's port") for kind in ("ethernet", "direct") for _, flag in FLAGS),
    ("hostdev", FLAGS[0][1], "$.port", "needs source.bridge"),
    ("hostdev", {"source": SWITCHED, **FLAGS[0][1]}, "$.port.hairpin", "needs a Linux bridge"),
    ("bridge", {**HYBRID, "port": {"flood": False}}, "$.port.flood", "the guest would get no frames"),
    ("bridge", {**OVS, "port_options": {"port": {"tag": "7"}}}, "$.port_options.port.tag", "Neutron's agent sets it"),
    (
        "bridge",
        {**OVS, "port_options": {"interface": {"vifplug-id": "x"}}},
        "$.port_options.interface.vifplug-id",
        "it marks the port as vifplug's",
    ),
    # driver: the model's own rules
    ("bridge", {"model": "virtio", "driver": {"queues": 257}}, "$.driver.queues", "257 is not 1..256 queues"),
    ("bridge", {"model": "e1000", "driver": {"rx_queue_size": 512}}, "$.driver.rx_queue_size", "requires a virtio"),
    ("bridge", {"model": "e1000", "driver": {"tx_queue_size": 512}}, "$.driver.tx_queue_size", "requires a virtio"),
    (
        "bridge",
        {"model": "virtio", "driver": {"rx_queue_size": 1000}},
        "$.driver.rx_queue_size",
        "is not a power of two",
    ),
    # bridge
    ("bridge", {"vf": {"trust": True}}, "$.vf", "have a virtual function"),
    ("bridge", {"external_ids": {"a": "b"}}, "$.external_ids", "needs virtualport openvswitch"),
    ("bridge", {"source": {"bridge": "br0", "hybrid": True}}, "$.source.hybrid", "needs virtualport openvswitch"),
    (
        "bridge",
        {"virtualport": QBG},
        "$.virtualport.type",
        "expected openvswitch or midonet on type bridge, got 802.1Qbg",
    ),
    (
        "bridge",
        {"virtualport": QBH},
        "$.virtualport.type",
        "expected openvswitch or midonet on type bridge, got 802.1Qbh",
    ),
    ("bridge", {"virtualport": MIDONET}, "$.virtualport.type", "set tap_owner to libvirt"),
    ("bridge", {"virtualport": MIDONET, "tap_owner": "libvirt", "vlan": 7}, "$.vlan", "midonet"),
    (
        "bridge",
        {**OVS, "tap_owner": "libvirt", "port": {"isolated": True}},
        "$.port.isolated",
        "requires a Linux bridge",
    ),
    ("bridge", {**OVS, "filterref": "clean-traffic"}, "$.filterref", "set source.hybrid"),
    (
        "bridge",
        {**OVS, "tap_owner": "libvirt", "external_ids": {"a": "b"}},
        "$.external_ids",
        "set tap_owner or source.port_owner to vifplug",
    ),
    # vhostuser
    ("vhostuser", {"bandwidth": BANDWIDTH}, "$.bandwidth", "nothing to shape"),
    ("vhostuser", {"filterref": "clean-traffic"}, "$.filterref", "nwfilter cannot see it"),
    ("vhostuser", {"port": {"isolated": True}}, "$.port", "needs source.bridge"),
    ("vhostuser", {"tap_owner": "vifplug"}, "$.tap_owner", "it has no tap"),
    ("vhostuser", {"vf": {"trust": True}}, "$.vf", "have a virtual function"),
    ("vhostuser", {"model": "e1000"}, "$.model", "expected virtio"),
    ("vhostuser", {"vlan": 7}, "$.vlan", "needs source.bridge"),
    ("vhostuser", {"virtualport": {"type": "openvswitch"}}, "$.virtualport", "needs source.bridge"),
    ("vhostuser", {"external_ids": {"a": "b"}}, "$.external_ids", "needs source.bridge"),
    (
        "vhostuser",
        {**vhost("server"), "virtualport": MIDONET},
        "$.virtualport.type",
        "expected openvswitch, got midonet",
    ),
    ("vhostuser", {**vhost("client"), "target": "vhu-other"}, "$.target", "expected vhu0a1b2c3d-11"),
    # hostdev
    ("hostdev", {"bandwidth": BANDWIDTH}, "$.bandwidth", "use vf.max_tx_rate"),
    ("hostdev", {"filterref": "clean-traffic"}, "$.filterref", "passes no kernel device"),
    ("hostdev", {"mtu": 1500}, "$.mtu", "the guest sets its own"),
    ("hostdev", {"port": {"isolated": True}}, "$.port", "needs source.bridge"),
    ("hostdev", {"tap_owner": "libvirt"}, "$.tap_owner", "it has no tap"),
    ("hostdev", {"vlan": "5,7"}, "$.vlan", "supports neither a trunk nor a native VLAN"),
    ("hostdev", {"vlan": "7u"}, "$.vlan", "supports neither a trunk nor a native VLAN"),
    ("hostdev", {"vf": {"vlan_qos": 3}}, "$.vf.vlan_qos", "needs a vlan"),
    ("hostdev", {"vf": {"vlan_proto": "802.1ad"}}, "$.vf.vlan_proto", "needs a vlan"),
    ("hostdev", {"source": SWITCHED, "vlan": 7, "vf": {"vlan_qos": 3}}, "$.vf.vlan_qos", "representor's port"),
    ("hostdev", {"driver": {"queues": 4}}, "$.driver.queues", "is not supported on type hostdev"),
    ("hostdev", {"driver": {"name": "vhost"}}, "$.driver.name", "expected vfio, kvm or xen on type hostdev, got vhost"),
    ("hostdev", {"virtualport": QBG}, "$.virtualport.type", "expected 802.1Qbh"),
    ("hostdev", {"virtualport": {"type": "openvswitch"}}, "$.virtualport.type", "expected 802.1Qbh"),
    ("hostdev", {"virtualport": QBH, "vlan": 7}, "$.vlan", "cannot be combined with virtualport 802.1Qbh"),
    ("hostdev", {"source": SWITCHED, "virtualport": QBH}, "$.virtualport.type", "expected openvswitch"),
    ("hostdev", {"source": SWITCHED, "virtualport": QBG}, "$.virtualport.type", "expected openvswitch"),
    ("hostdev", {"external_ids": {"a": "b"}}, "$.external_ids", "needs source.bridge"),
    # direct
    ("direct", {"mtu": 1500}, "$.mtu", "has the MTU of its device"),
    ("direct", {"filterref": "clean-traffic"}, "$.filterref", "nwfilter cannot see a macvtap"),
    ("direct", {"port": {"isolated": True}}, "$.port", "its settings are those of a bridge's port"),
    ("direct", {"external_ids": {"a": "b"}}, "$.external_ids", "it has no Open vSwitch port"),
    ("direct", {"vlan": 7}, "$.vlan", "not supported in mode vepa"),
    ("direct", {"vf": {"trust": True}}, "$.vf", "have a virtual function"),
    ("direct", {**PASSTHROUGH, "vlan": "5,7"}, "$.vlan", "supports neither a trunk"),
    ("direct", {**PASSTHROUGH, "vlan": 7, "vf": {"vlan_qos": 3}}, "$.vf", "set tap_owner to vifplug"),
    ("direct", {"virtualport": {"type": "openvswitch"}}, "$.virtualport.type", "expected 802.1Qbg or 802.1Qbh"),
    ("direct", {"virtualport": MIDONET}, "$.virtualport.type", "expected 802.1Qbg or 802.1Qbh"),
    ("direct", {"virtualport": QBG, "tap_owner": "vifplug"}, "$.virtualport", "set tap_owner to libvirt"),
    ("direct", {"bandwidth": BANDWIDTH, "tap_owner": "vifplug"}, "$.bandwidth", "set tap_owner libvirt"),
]


@pytest.mark.parametrize(("type", "keys", "path", "why"), REFUSALS, ids=[f"{r[0]}-{r[2][2:]}" for r in REFUSALS])
def test_what_a_type_can_not_honour_is_refused_with_its_reason(
    type: str, keys: dict[str, Any], path: str, why: str
) -> None:
    assert why in refusal(type, **keys).get(path, "nothing")


def test_everything_that_can_not_be_honoured_is_told_at_once() -> None:
    found = refusal("direct", mtu=1500, vlan=7, filterref="clean-traffic", external_ids={"a": "b"})
    assert found.keys() == {"$.mtu", "$.vlan", "$.filterref", "$.external_ids"}


# -- what is looked up, and what is left alone -------------------------------------------------------------------------


def test_a_macvtap_is_on_the_device_of_the_function_at_an_address() -> None:
    document = vif("direct", source={"address": "0000:81:02.3", "mode": "passthrough"})
    assert KINDS["direct"].interface(document, context()).source == {"dev": "ens1f0v3", "mode": "passthrough"}
    [lower] = desired("direct", source=document.source)
    assert (lower.name, lower.claims) == ("ens1f0v3", ("device ens1f0v3", "VF 0000:81:02.3"))


def test_a_function_without_a_device_can_not_be_below_a_macvtap() -> None:
    bare = Host(VirtualFunctionFacts(address="0000:81:02.3", pf="ens1f0", number=3))
    with pytest.raises(Missing, match=r"VF 0000:81:02\.3 has no network device"):
        desired("direct", context(bare), source={"address": "0000:81:02.3", "mode": "passthrough"})


@pytest.mark.parametrize(("mode", "alone"), [("bridge", False), ("passthrough", True)])
def test_a_vlan_device_is_shared_as_any_lower_device_is(mode: str, alone: bool) -> None:
    source = {"dev": "ens1.7", "mode": mode, "vlan_device": {"physical": "ens1", "vlan": 7}}
    physical, link = desired("direct", source=source)
    assert physical == LowerDevice(name="ens1", owner=ID)
    assert link == VlanLink(name="ens1.7", owner=ID, physical="ens1", vlan=7, exclusive=alone)
    assert (link.claims, link.shares) == ((("device ens1.7",), ()) if alone else ((), ("device ens1.7",)))


@pytest.mark.parametrize("form", ["remote", "whole"])
def test_a_function_that_this_host_leaves_alone_has_to_be_there_and_is_for_one_vif(form: str) -> None:
    [function] = desired("hostdev", source={"address": "0000:81:02.3", form: True})
    assert (function.kind, function.claims) == ("pci-function", ("VF 0000:81:02.3",))
