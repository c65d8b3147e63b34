"""Which hosts could take a guest, from what they publish: each reason, and the pools while one guest is tried."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from vifplug import VIF
from vifplug.networks.candidates import Search

RED = {
    "name": "red",
    "mode": "bridge",
    "bridge": "br-red",
    "virtualport": {"type": "openvswitch"},
    "portgroups": [{"name": "sales", "vlan": {"tags": [{"id": 10}]}}],
}
POOL = {"name": "pool", "mode": "passthrough", "devices": [{"dev": "e0"}, {"dev": "e1"}]}
OTHER = {"vif_id": "f" * 8 + "-0000-4000-8000-000000000000", "alone": True}

HOST: dict[str, Any] = {
    "host": "one",
    "integration_bridge": "br-ex",
    "bridges": {"br-red": {"openvswitch": True, "mtu": 1500}, "br0": {"openvswitch": False, "mtu": None}},
    "devices": {"e0": {"up": True, "mtu": 1500}},
    "types": {"bridge": "1", "direct": "1"},
    "networks": {
        "red": {"definition": RED},
        "pool": {
            "definition": POOL,
            "pool": [
                {"name": "e0", "problem": "", "max": None, "holders": [OTHER]},
                {"name": "e1", "problem": "", "max": None, "holders": []},
            ],
        },
        "broken": {"problem": "line 3: $.mode: is missing"},
    },
}


def vif(number: int = 1, network: str = "red", portgroup: str | None = None, **keys: Any) -> VIF:
    source = {"network": network, "portgroup": portgroup}
    document = {"type": "network", "source": source, **keys}
    return VIF.from_json(
        {"id": f"{number:08}-0000-4000-8000-000000000000", "mac": f"52:54:00:00:00:{number:02x}", **document}
    )


def bridge(**keys: Any) -> VIF:
    return vif(type="bridge", **{"source": {"bridge": "br-red"}, "virtualport": {"type": "openvswitch"}, **keys})


def host(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(HOST), **changes}


@pytest.mark.parametrize(
    "wanted",
    [
        vif(),
        vif(portgroup="sales"),
        vif(network="pool"),
        vif(mtu=1500),
        bridge(),
        bridge(source={"bridge": "br0"}, virtualport=None, mtu=9000),
        vif(type="direct", source={"dev": "e0"}),
    ],
    ids=str,
)
def test_a_host_that_has_everything_fits(wanted: VIF) -> None:
    assert Search([wanted]).reasons(HOST) == []


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (vif(network="green"), "network green is not defined there (defined: red, pool and broken)"),
        (vif(network="broken"), "network broken cannot be used there: line 3"),
        (vif(portgroup="legal"), "portgroup legal of network red, which has sales"),
        (vif(virtualport={"type": "802.1Qbg"}), "$.virtualport.type: the VIF has 802.1Qbg and network red has"),
        (vif(mtu=9000), "requests an MTU of 9000, and a device that leads out of bridge br-red has 1500"),
        (bridge(source={"bridge": "br-blue"}), "Open vSwitch bridge br-blue does not exist there"),
        (bridge(source={"bridge": "br0"}), "Open vSwitch bridge br0 does not exist there"),
        (bridge(virtualport=None), "Linux bridge br-red does not exist there"),
        (vif(type="direct", source={"dev": "e9"}), "device e9 does not exist there"),
        (vif(type="ethernet", source={}), "VIF type ethernet is not installed there"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_host_that_lacks_something_says_what(wanted: VIF, reason: str) -> None:
    [message] = Search([wanted]).reasons(HOST)
    assert reason in message


def test_the_guests_vifs_share_what_the_host_has_and_the_next_guest_starts_anew() -> None:
    search = Search([vif(1, network="pool"), vif(2, network="pool")])
    for _ in range(2):
        [message] = search.reasons(HOST)
        assert (
            f"for VIF {vif(2).id}: e0 is in use by VIF ffffffff" in message
            and f"e1 is in use by VIF {vif(1).id}" in message
        )
    roomy = host()
    roomy["networks"]["pool"]["pool"][0]["holders"] = []
    assert search.reasons(roomy) == []
    assert HOST["networks"]["pool"]["pool"][1]["holders"] == []


def test_a_vif_that_is_there_already_fits() -> None:
    mine = host()
    mine["networks"]["pool"]["pool"] = [
        {"name": "e0", "problem": "", "max": None, "holders": [{"vif_id": vif().id, "alone": True}]}
    ]
    assert Search([vif(network="pool")]).reasons(mine) == []


def test_definitions_that_differ_are_told_apart_and_a_uuid_is_no_difference() -> None:
    search = Search([vif(portgroup="sales")])
    assert search.reasons(HOST) == []
    other = host()
    other["networks"]["red"]["definition"]["portgroups"] = []
    [message] = search.reasons(other)
    assert "which has none" in message
    same = host()
    same["networks"]["red"]["definition"]["uuid"] = "1" * 32
    assert search.reasons(same) == []


def test_a_network_without_a_bridge_is_on_the_hosts_own() -> None:
    seed = host()
    del seed["networks"]["red"]["definition"]["bridge"]
    assert Search([vif()]).reasons(seed) == ["Open vSwitch bridge br-ex does not exist there"]
    seed["bridges"]["br-ex"] = {"openvswitch": True, "mtu": None}
    assert Search([vif()]).reasons(seed) == []


def test_virtual_functions_of_a_pf_are_known_by_their_addresses() -> None:
    functions = host(types={"hostdev": "1"})
    functions["networks"]["vf"] = {
        "definition": {"name": "vf", "mode": "hostdev", "pf": "ens1f0"},
        "pool": [{"name": "0000:81:02.0", "problem": "", "max": None, "holders": []}],
    }
    assert Search([vif(network="vf")]).reasons(functions) == []
    [message] = Search([vif(1, network="vf"), vif(2, network="vf")]).reasons(functions)
    assert "0000:81:02.0 is in use by" in message


def test_what_a_host_of_another_version_publishes_is_no_crash() -> None:
    assert Search([vif()]).reasons({"host": "old"}) == ["network red is not defined there (defined: none)"]
    wrong = host()
    wrong["networks"]["red"]["definition"] = {"name": "red", "mode": "teleport"}
    assert any("$.mode" in reason for reason in Search([vif()]).reasons(wrong))
    cut = host()
    del cut["networks"]["pool"]["pool"][0]["problem"]
    [message] = Search([vif(network="pool")]).reasons(cut)
    assert "its host-info cannot be read (KeyError: 'problem')" in message


def test_a_device_of_two_networks_is_one_device() -> None:
    both = host()
    both["networks"]["twin"] = copy.deepcopy(both["networks"]["pool"])
    both["networks"]["twin"]["definition"]["name"] = "twin"
    assert Search([vif(1, network="pool")]).reasons(both) == []
    [message] = Search([vif(1, network="pool"), vif(2, network="twin")]).reasons(both)
    assert f"e1 is in use by VIF {vif(1).id}" in message
