"""From the VIF that was asked for to the actual one: precedence, merging, what is refused, and which device it gets.

The tables follow libvirt's networkAllocatePort; the tests that say ``libvirt`` are those where vifplug differs.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from vifplug import VIF, Network, errors, resolve
from vifplug.networks.pool import Holder, PoolDevice, pick
from vifplug.networks.resolve import device_of, fits, is_exclusive

ID = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
PORT = "bbbbbbbb-0000-4000-8000-000000000003"
QBG = {"type": "802.1Qbg", "managerid": 1, "typeid": 2, "typeidversion": 3}
QBH = {"type": "802.1Qbh", "profileid": "p"}
OVS = {"type": "openvswitch"}


def vif(portgroup: str | None = None, **keys: Any) -> VIF:
    source = {"network": "n"} | ({"portgroup": portgroup} if portgroup else {})
    return VIF.from_json({"id": ID, "type": "network", "mac": "52:54:00:00:00:01", "source": source, **keys})


def network(mode: str = "bridge", **keys: Any) -> Network:
    where: dict[str, dict[str, Any]] = {"bridge": {"bridge": "br0"}, "hostdev": {"addresses": ["0000:07:00.1"]}}
    given = where.get(mode, {"devices": ["e0"]})
    if "devices" in keys or "pf" in keys or "addresses" in keys:
        given = {}
    return Network.from_data({"name": "n", "mode": mode, **given, **keys})


def group(default: bool = True, **keys: Any) -> dict[str, Any]:
    return {"portgroups": [{"name": "g", "default": default, **keys}]}


def problems(vif: VIF, network: Network) -> dict[str, str]:
    """What cannot be honoured, by its path."""
    with pytest.raises(errors.Unsupported) as refusal:
        resolve(vif, network)
    assert str(refusal.value).startswith(f"VIF {ID} on network n: ")
    return {problem.path: problem.message for problem in refusal.value.problems}


# -- precedence ---------------------------------------------------------------------------------------------------

#: what may be said at several levels, with a value for each level, nearest to the guest first
LEVELS: dict[str, dict[str, Any]] = {
    "vlan": {
        "vif": {"trunk": True, "tags": [{"id": 1}]},
        "group": {"trunk": True, "tags": [{"id": 2, "native_mode": "untagged"}, {"id": 5}]},
        "network": {"trunk": False, "tags": [{"id": 3}]},
    },
    "trust_guest_rx_filters": {"vif": False, "group": True, "network": False},
    "bandwidth": {
        "vif": {"inbound": {"average": 1}},
        "group": {"inbound": {"average": 2}, "outbound": {"average": 3}},
    },
    "port": {"vif": {"isolated": False}, "network": {"isolated": True}},
    "mtu": {"vif": 1400, "network": 9000},
}
SAID = [
    (key, said)
    for key, levels in LEVELS.items()
    for number in range(len(levels) + 1)
    for said in itertools.combinations(levels, number)
]


@pytest.mark.parametrize(("key", "said"), SAID)
def test_the_nearest_to_the_guest_counts_as_a_whole(key: str, said: tuple[str, ...]) -> None:
    """No part of what another level says is mixed in: a portgroup's outbound limit with a VIF's inbound one, say."""
    given = {level: ({key: LEVELS[key][level]} if level in said else {}) for level in ("vif", "group", "network")}
    actual = resolve(vif(**given["vif"]), network(**given["network"], **group(**given["group"])))
    assert actual.to_data().get(key) == (LEVELS[key][said[0]] if said else None)


def test_a_portgroup_that_is_not_asked_for_says_nothing() -> None:
    there = network(**group(default=False, vlan=2, trust_guest_rx_filters=True, bandwidth={"inbound": {"average": 1}}))
    actual = resolve(vif(), there)
    assert (actual.vlan, actual.trust_guest_rx_filters, actual.bandwidth) == (None, None, None)
    asked = resolve(vif("g"), there)
    assert asked.vlan and asked.vlan.access == 2 and asked.trust_guest_rx_filters and asked.bandwidth


def test_the_portgroup_that_is_asked_for_counts_and_not_the_default_one() -> None:
    groups = [{"name": "a", "vlan": 1, "default": True}, {"name": "b"}]
    assert resolve(vif("b"), network(vlan=3, portgroups=groups)).vlan == network(vlan=3).vlan
    assert resolve(vif(), network(vlan=3, portgroups=groups)).vlan == network(vlan=1).vlan


def test_an_unknown_portgroup_is_an_error() -> None:
    """libvirt ignores it (D3), and the port is a trunk of all VLANs where the VLANs are the portgroups'."""
    with pytest.raises(errors.UnknownPortGroup, match="portgroup G of network n, which has g: correct"):
        resolve(vif("G"), network(virtualport=OVS, **group(vlan=2)))
    with pytest.raises(errors.UnknownPortGroup, match="which has none"):
        resolve(vif("g"), network())


def test_what_the_vif_says_of_the_guest_stays() -> None:
    given = {
        "model": "virtio",
        "driver": {"queues": 4},
        "link_state": "down",
        "boot_order": 1,
        "alias": "ua-x",
        "external_ids": {"a": "b"},
        "guest_xml": ["<rom bar='off'/>"],
        "tap_owner": "vifplug",
        "target": "mine",
    }
    for mode in ("bridge", "vepa"):
        actual = resolve(vif(**given), network(mode)).to_data()
        assert {key: actual[key] for key in given} == given


# -- virtualports -------------------------------------------------------------------------------------------------

UNION = [
    # network, VIF, the network's, the portgroup's; the actual one
    ("bridge", None, OVS, None, {**OVS, "interfaceid": ID}),
    ("bridge", {}, OVS, None, {**OVS, "interfaceid": ID}),
    ("bridge", OVS, None, None, {**OVS, "interfaceid": ID}),
    ("bridge", None, None, OVS, {**OVS, "interfaceid": ID}),
    ("bridge", {"interfaceid": PORT}, OVS, {"profileid": "p"}, {**OVS, "interfaceid": PORT, "profileid": "p"}),
    ("bridge", {"profileid": "p"}, OVS, {**OVS, "profileid": "p"}, {**OVS, "interfaceid": ID, "profileid": "p"}),
    ("bridge", {"managerid": 9, "instanceid": PORT}, OVS, None, {**OVS, "interfaceid": ID}),
    ("vepa", None, QBG, None, {**QBG, "instanceid": ID}),
    ("vepa", {"managerid": 1}, {"type": "802.1Qbg", "typeid": 2}, {"typeidversion": 3}, {**QBG, "instanceid": ID}),
    ("vepa", {"instanceid": PORT, "interfaceid": OTHER}, QBG, None, {**QBG, "instanceid": PORT}),
    ("private", None, {"type": "802.1Qbh"}, {"profileid": "p"}, QBH),
    ("hostdev", {"profileid": "p"}, {"type": "802.1Qbh"}, None, QBH),
    ("passthrough", QBG, QBG, QBG, {**QBG, "instanceid": ID}),
]


@pytest.mark.parametrize(("mode", "own", "of_network", "of_group", "merged"), UNION)
def test_a_virtualport_is_the_union_of_what_all_say(
    mode: str, own: Any, of_network: Any, of_group: Any, merged: dict[str, Any]
) -> None:
    there = network(mode, virtualport=of_network, **group(virtualport=of_group))
    actual = resolve(vif(virtualport=own), there)
    assert actual.virtualport and actual.virtualport.to_data() == merged


@pytest.mark.parametrize("mode", ["bridge", "vepa", "private", "passthrough", "hostdev"])
def test_ids_that_a_guest_carries_for_any_switch_do_no_harm_where_there_is_none(mode: str) -> None:
    """libvirt refuses such a port: ``<virtualport type='none'>`` (D6)."""
    carried = {"interfaceid": PORT, "instanceid": PORT, "profileid": "p"}
    actual = resolve(vif(virtualport=carried), network(mode, **group(virtualport={"profileid": "q"})))
    assert actual.virtualport is None


VALUES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "managerid": (1, 9, QBG),
    "typeid": (2, 9, QBG),
    "typeidversion": (3, 9, QBG),
    "instanceid": (PORT, OTHER, {**QBG, "instanceid": PORT}),
    "interfaceid": (PORT, OTHER, {**OVS, "interfaceid": PORT}),
    "profileid": ("p", "q", QBH),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize(
    ("first", "second"), [("the VIF", "network n"), ("the VIF", "portgroup g"), ("network n", "portgroup g")]
)
def test_a_mismatch_is_refused_with_both_values_and_both_places(name: str, first: str, second: str) -> None:
    value, other, whole = VALUES[name]
    said = {"the VIF": None, "network n": {"type": whole["type"]}, "portgroup g": None}
    said[first] = whole
    said[second] = {"type": whole["type"], name: other}
    mode = "bridge" if whole["type"] == "openvswitch" else "vepa"
    there = network(mode, virtualport=said["network n"], **group(virtualport=said["portgroup g"]))
    assert problems(vif(virtualport=said["the VIF"]), there) == {
        f"$.virtualport.{name}": f"{first} has {value} and {second} has {other}: use the same value in all of "
        "them, or give it once"
    }


def test_every_mismatch_is_told_at_once() -> None:
    there = network("vepa", virtualport=QBG, **group(virtualport={"managerid": 5, "typeid": 6}))
    found = problems(vif(virtualport={"managerid": 7, "typeidversion": 8}), there)
    assert set(found) == {"$.virtualport.managerid", "$.virtualport.typeid", "$.virtualport.typeidversion"}
    assert "the VIF has 7, network n has 1 and portgroup g has 5" in found["$.virtualport.managerid"]


def test_types_that_differ_are_refused_with_both_places() -> None:
    found = problems(vif(virtualport=QBH), network("vepa", virtualport=QBG))
    assert list(found) == ["$.virtualport.type"]
    assert "the VIF has 802.1Qbh and network n has 802.1Qbg" in found["$.virtualport.type"]


def test_the_type_alone_differs_where_the_parameters_are_for_other_switches() -> None:
    there = network("vepa", **group(virtualport={"type": "802.1Qbh", "profileid": "q"}))
    assert list(problems(vif(virtualport=QBG), there)) == ["$.virtualport.type"]


@pytest.mark.parametrize(
    ("mode", "given", "lacking"),
    [
        ("vepa", {"type": "802.1Qbg"}, ["managerid", "typeid", "typeidversion"]),
        ("vepa", {"type": "802.1Qbg", "typeid": 1, "typeidversion": 1}, ["managerid"]),
        ("private", {"type": "802.1Qbh"}, ["profileid"]),
        ("hostdev", {"type": "802.1Qbh"}, ["profileid"]),
    ],
)
def test_what_a_profile_needs_may_come_from_anywhere_but_has_to_come(
    mode: str, given: dict[str, Any], lacking: list[str]
) -> None:
    found = problems(vif(), network(mode, virtualport=given))
    assert list(found) == [f"$.virtualport.{name}" for name in lacking]
    rest = {name: VALUES[name][0] for name in lacking}
    assert resolve(vif(virtualport=rest), network(mode, virtualport=given)).virtualport
    assert resolve(vif(), network(mode, virtualport=given, **group(virtualport=rest))).virtualport


@pytest.mark.parametrize(
    ("mode", "given", "words"),
    [
        ("bridge", QBG, "expected openvswitch on type bridge, got 802.1Qbg"),
        ("bridge", QBH, "expected openvswitch"),
        ("bridge", {"type": "midonet", "interfaceid": PORT}, "expected openvswitch"),
        ("vepa", OVS, "expected 802.1Qbg or 802.1Qbh on type direct, got openvswitch"),
        ("passthrough", OVS, "expected 802.1Qbg or 802.1Qbh"),
        ("hostdev", OVS, "expected 802.1Qbh on type hostdev, got openvswitch"),
        ("hostdev", QBG, "expected 802.1Qbh"),
    ],
)
def test_a_profile_of_another_kind_of_switch_is_refused(mode: str, given: dict[str, Any], words: str) -> None:
    assert words in problems(vif(virtualport=given), network(mode))["$.virtualport.type"]
    assert words in problems(vif(), network(mode, **group(virtualport=given)))["$.virtualport.type"]


def test_ids_are_the_vifs_own_and_the_same_each_time() -> None:
    """libvirt makes up another interfaceid at each start of the guest, which a controller takes for another port."""
    found = [resolve(vif(), network(virtualport=OVS)).virtualport for _ in range(3)]
    assert {port and port.interfaceid for port in found} == {ID}


# -- networks of Open vSwitch -------------------------------------------------------------------------------------

ARTICLE = """
<network>
  <name>openvswitch-net</name>
  <uuid>81ff0d90-c92e-6742-64da-4a736edb9a8b</uuid>
  <forward mode='bridge'/>{bridge}
  <virtualport type='openvswitch'/>
  <portgroup name='bob' default='yes'>
    <vlan trunk='yes'>
      <tag id='666'/>
    </vlan>
    <virtualport>
      <parameters profileid='bob-profile'/>
    </virtualport>
 </portgroup>
 <portgroup name='alice'>
    <vlan trunk='yes'>
       <tag id='777'/>
       <tag id='888'/>
       <tag id='999'/>
    </vlan>
    <virtualport>
       <parameters profileid='alice-profile'/>
    </virtualport>
  </portgroup>
</network>"""


@pytest.mark.parametrize(("bridge", "found"), [("", "br-int"), ("<bridge name='ovsbr0'/>", "ovsbr0")])
@pytest.mark.parametrize(
    ("portgroup", "ids", "profile"),
    [(None, (666,), "bob-profile"), ("bob", (666,), "bob-profile"), ("alice", (777, 888, 999), "alice-profile")],
)
def test_the_network_of_the_article_on_portgroups_works(
    bridge: str, found: str, portgroup: str | None, ids: tuple[int, ...], profile: str
) -> None:
    """libvirt refuses it: a portgroup with a VLAN and a virtualport that leaves its type to the network (D5)."""
    there = Network.from_xml(ARTICLE.format(bridge=bridge))
    source = {"network": "openvswitch-net"} | ({"portgroup": portgroup} if portgroup else {})
    asked = VIF.from_json({"id": ID, "type": "network", "mac": "00:11:22:33:44:55", "source": source})
    actual = resolve(asked, there)
    assert (actual.type, actual.source.bridge) == ("bridge", found)
    assert actual.vlan and actual.vlan.trunk and actual.vlan.ids == ids
    assert actual.virtualport and actual.virtualport.parameters == {"interfaceid": ID, "profileid": profile}


def test_a_network_without_a_bridge_is_on_the_bridge_that_the_host_says() -> None:
    there = Network.from_data({"name": "n", "mode": "bridge", "virtualport": OVS})
    assert resolve(vif(), there, default_bridge="br-ex").source.bridge == "br-ex"
    assert resolve(vif(), network(virtualport=OVS), default_bridge="br-ex").source.bridge == "br0"


def test_without_a_bridge_every_port_has_to_be_open_vswitchs() -> None:
    there = Network.from_data({"name": "n", "mode": "bridge", **group(virtualport=OVS, default=False)})
    assert resolve(vif("g"), there).source.bridge == "br-int"
    assert resolve(vif(virtualport=OVS), there).source.bridge == "br-int"
    assert "the network names no bridge" in problems(vif(), there)["$.virtualport.type"]


# -- VLANs that cannot be honoured ---------------------------------------------------------------------------------

TRUNKS = [{"trunk": True, "tags": [{"id": 1}]}, "1,2", "1u", "1t,2"]


@pytest.mark.parametrize(("mode", "pool"), [("bridge", True), ("private", False), ("vepa", False)])
@pytest.mark.parametrize("vlan", [1, *TRUNKS])
def test_a_vlan_of_a_vif_on_a_shared_device_is_refused(mode: str, pool: bool, vlan: Any) -> None:
    """libvirt allocates the port and fails, or not, when the guest is started (D11)."""
    there = network(mode, **({"devices": ["e0"]} if pool else {}))
    assert f"not supported in mode {mode}" in problems(vif(vlan=vlan), there)["$.vlan"]


@pytest.mark.parametrize("mode", ["passthrough", "hostdev"])
def test_a_virtual_function_has_one_access_vlan(mode: str) -> None:
    actual = resolve(vif(vlan=7), network(mode))
    assert actual.vlan and actual.vlan.access == 7
    for trunk in TRUNKS:
        assert "one access VLAN" in problems(vif(vlan=trunk), network(mode))["$.vlan"]


def test_a_port_profile_of_a_virtual_function_has_the_vlan() -> None:
    found = problems(vif(vlan=7), network("hostdev", virtualport=QBH))
    assert found == {"$.vlan": "cannot be combined with virtualport 802.1Qbh: libvirt sets no VLAN there"}


@pytest.mark.parametrize("vlan", [1, *TRUNKS])
@pytest.mark.parametrize("port", [None, OVS])
def test_a_bridge_of_either_kind_has_any_vlan(vlan: Any, port: Any) -> None:
    asked = vif(vlan=vlan)
    assert resolve(asked, network(virtualport=port)).vlan == asked.vlan


# -- other forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa", "passthrough"])
def test_a_pool_of_devices_gives_a_macvtap_of_its_mode(mode: str) -> None:
    actual = resolve(vif(), network(mode, devices=["e0"]))
    assert (actual.type, actual.source.dev, actual.source.mode) == ("direct", "e0", mode)
    assert actual.target == vif().target


@pytest.mark.parametrize("managed", [True, False])
@pytest.mark.parametrize("driver", [None, "vfio", "kvm", "xen"])
def test_a_virtual_function_comes_with_its_driver_and_without_a_tap(managed: bool, driver: str | None) -> None:
    there = network("hostdev", managed=managed, driver=driver)
    actual = resolve(vif(model="virtio", driver={"queues": 4}, tap_owner="vifplug"), there)
    assert (actual.type, actual.source.address, actual.source.managed) == ("hostdev", "0000:07:00.1", managed)
    assert (actual.target, actual.tap_owner, actual.model) == (None, None, None)
    assert (actual.driver and actual.driver.to_data()) == (driver and {"name": driver})


def test_a_guaranteed_rate_is_for_networks_of_libvirts_own() -> None:
    asked = vif(bandwidth={"inbound": {"floor": 100}})
    assert "nat, route, open" in problems(asked, network())["$.bandwidth.inbound.floor"]


def test_everything_that_can_not_be_honoured_is_told_at_once() -> None:
    asked = vif(vlan="1,2", virtualport=OVS, bandwidth={"inbound": {"floor": 100}})
    found = problems(asked, network("vepa"))
    assert set(found) == {"$.vlan", "$.virtualport.type", "$.bandwidth.inbound.floor"}


def test_a_vif_of_something_else_is_refused() -> None:
    direct = VIF.from_json({"id": ID, "type": "direct", "mac": vif().mac, "source": {"dev": "e0"}})
    with pytest.raises(errors.InvalidRequest, match="is of type direct: expected one of network n"):
        resolve(direct, network())
    with pytest.raises(errors.InvalidRequest, match="is of network n: expected one of network m"):
        resolve(vif(), network().replace(name="m"))


def test_an_actual_vif_is_asked_of_nobody() -> None:
    with pytest.raises(errors.InvalidRequest, match="is of type bridge"):
        resolve(resolve(vif(), network()), network())


# -- devices of pools ---------------------------------------------------------------------------------------------


def held(name: str, *holders: str, alone: bool = False, **keys: Any) -> PoolDevice:
    return PoolDevice(name=name, holders=tuple(Holder(vif_id=each, exclusive=alone) for each in holders), **keys)


@pytest.mark.parametrize(
    ("devices", "taken"),
    [
        ([held("e0"), held("e1")], "e0"),
        ([held("e0", OTHER), held("e1"), held("e2")], "e1"),
        ([held("e0", OTHER, PORT), held("e1", OTHER), held("e2", PORT)], "e1"),
        ([held("e0", problem="is down"), held("e1", OTHER)], "e1"),
        ([held("e0", limit=1), held("e1")], "e0"),
        ([held("e0", OTHER, limit=1), held("e1", OTHER, PORT, limit=3)], "e1"),
        ([held("e0", OTHER, alone=True), held("e1", OTHER, PORT)], "e1"),
        ([held("e0", OTHER), held("e1", ID)], "e1"),
    ],
)
def test_the_first_of_the_least_used_is_shared(devices: list[PoolDevice], taken: str) -> None:
    assert pick("network n", devices, ID, exclusive=False) == taken


@pytest.mark.parametrize(
    ("devices", "taken"),
    [
        ([held("e0", OTHER), held("e1"), held("e2")], "e1"),
        ([held("e0", OTHER, alone=True), held("e1", ID, alone=True)], "e1"),
        ([held("e0", problem="is down"), held("e1")], "e1"),
    ],
)
def test_the_first_that_is_free_is_held_alone(devices: list[PoolDevice], taken: str) -> None:
    assert pick("network n", devices, ID, exclusive=True) == taken


def test_a_refusal_has_the_reason_for_every_device_in_order() -> None:
    holder = Holder(vif_id=OTHER, guest="web-1", exclusive=True)
    devices = [
        PoolDevice(name="e0", holders=(holder,)),
        held("e1", PORT, OTHER, limit=2),
        held("e2", problem="is down"),
        held("e3", OTHER, problem="does not exist on this host"),
    ]
    with pytest.raises(errors.PoolExhausted) as refusal:
        pick("network n", devices, ID, exclusive=False)
    assert str(refusal.value) == (
        f"network n has no device for VIF {ID}: e0 is in use by VIF {OTHER} of guest web-1; e1 is shared by VIF {PORT} "
        f"and VIF {OTHER}, and 2 is its maximum; e2 is down; e3 does not exist on this host; unplug one of these, or "
        "add a device to the network"
    )


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ([], "its pool is empty"),
        (
            [held("e0", problem="is down"), held("e1", problem="does not exist on this host")],
            "e0 is down; e1 does not exist on this",
        ),
        ([held("e0", OTHER, problem="is down")], "e0 is down"),
    ],
)
def test_where_no_device_is_usable_the_host_is_not_ready(devices: list[PoolDevice], words: str) -> None:
    with pytest.raises(errors.Missing, match=words):
        pick("network n", devices, ID, exclusive=False)


@pytest.mark.parametrize(
    ("mode", "port", "alone"),
    [
        ("bridge", None, False),
        ("vepa", QBG, False),
        ("vepa", QBH, False),
        ("private", None, False),
        ("private", QBG, False),
        ("private", QBH, True),
        ("passthrough", None, True),
        ("passthrough", QBH, True),
        ("hostdev", None, True),
    ],
)
def test_who_has_a_device_alone(mode: str, port: Any, alone: bool) -> None:
    """The merged profile decides, wherever it was said."""
    two = {"addresses": ["0000:07:00.1", "0000:07:00.2"]} if mode == "hostdev" else {"devices": ["e0", "e1"]}
    there = network(mode, **two, **group(virtualport=port))
    first, second = there.members
    pool = [held(first, OTHER), held(second) if alone else held(second, OTHER, PORT)]
    actual = resolve(vif(), there, pool)
    assert is_exclusive(there, actual.virtualport) == alone
    assert device_of(actual) == (second if alone else first)


def test_devices_by_name_are_free_and_keep_their_limits() -> None:
    there = network("vepa", devices=["e0", {"dev": "e1", "max": 1}])
    assert device_of(resolve(vif(), there, ["e1", "e0"])) == "e1"
    assert device_of(resolve(vif(), there, [held("e0", OTHER), "e1"])) == "e1"


def test_the_functions_of_a_pf_have_to_be_given() -> None:
    there = network("passthrough", pf="e0")
    with pytest.raises(errors.InvalidRequest, match="only a host with e0 knows the devices of network n"):
        resolve(vif(), there)
    assert device_of(resolve(vif(), there, ["e0v3"])) == "e0v3"
    with pytest.raises(errors.Missing, match="its pool is empty"):
        resolve(vif(), there, [])


@pytest.mark.parametrize("mode", ["vepa", "passthrough"])
def test_a_device_that_is_held_is_kept_whatever_the_pool_has_become(mode: str) -> None:
    there = network(mode)
    assert device_of(resolve(vif(), there, [], held="e9")) == "e9"
    assert device_of(resolve(vif(), there, [held("e9", OTHER, alone=True)], held="e9")) == "e9"


def test_a_held_device_of_another_kind_is_given_back() -> None:
    assert device_of(resolve(vif(), network("hostdev"), held="e9")) == "0000:07:00.1"
    assert device_of(resolve(vif(), network("passthrough"), held="0000:07:00.1")) == "e0"
    assert resolve(vif(), network(), held="e9").source.bridge == "br0"
    assert [fits(each, network()) for each in (None, "e9", "0000:07:00.1")] == [False, False, False]


def test_a_vif_that_can_not_be_honoured_is_refused_with_a_device_too() -> None:
    with pytest.raises(errors.Unsupported):
        resolve(vif(vlan=1), network("vepa"), held="e0")


def test_virtualports_that_differ_are_told_once_though_no_bridge_is_named() -> None:
    group = {"name": "p", "default": True, "virtualport": {"profileid": "silver"}}
    there = Network.from_data({"name": "n", "mode": "bridge", "virtualport": OVS, "portgroups": [group]})
    found = problems(vif(virtualport={**OVS, "profileid": "gold"}), there)
    assert found.keys() == {"$.virtualport.profileid"}
