"""What the marks of a plugged VIF tell of it is what was requested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.memory import Bench
from vifplug import VIF, Instance, errors
from vifplug.driver import rebuilding
from vifplug.plan.registry import LowerDevice, Macvtap, Tap

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
GUEST = Instance(uuid="11111111-2222-4333-8444-555555555555")
OVS: dict[str, Any] = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
LINUX: dict[str, Any] = {"type": "bridge", "source": {"bridge": "br0"}}

FORMS: dict[str, dict[str, Any]] = {
    "switched": OVS,
    "named": {**OVS, "target": "net0"},
    "interface id": {**OVS, "virtualport": {"type": "openvswitch", "interfaceid": GUEST.uuid, "profileid": "gold"}},
    "hybrid": {**OVS, "source": {"bridge": "br-int", "hybrid": True}, "vlan": 7},
    "bridge of its own": {**OVS, "source": {"bridge": "br-int", "per_port_bridge": True}, "vlan": 7},
    **{f"VLANs {each}": {**OVS, "vlan": each} for each in (7, "5u,7-8", "5t,7", "5u,all", "7-8", "all", "untagged")},
    "tunnel": {**OVS, "vlan": {"mode": "dot1q-tunnel", "tags": [{"id": 7}], "cvlans": [1, 2]}},
    "one VLAN of a trunk": {**OVS, "vlan": {"trunk": True, "tags": [{"id": 7}]}},
    "isolated": {**OVS, "port": {"isolated": True}},
    "large frames": {**OVS, "mtu": 9000},
    "bridged": LINUX,
    **{f"bridged, VLANs {each}": {**LINUX, "vlan": each} for each in (7, "5u,7-8", "5t,7", "7-8")},
    "flags": {**LINUX, "port": {"isolated": True, "learning": False, "hairpin": True, "flood": False}},
    "ethernet": {"type": "ethernet"},
    **{
        f"macvtap {mode}": {"type": "direct", "source": {"dev": "eth0", "mode": mode}, "tap_owner": "vifplug"}
        for mode in ("vepa", "bridge", "private", "passthrough")
    },
}


@pytest.mark.parametrize("name", FORMS)
def test_a_vif_is_read_from_its_marks(tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path)
    wanted = VIF.from_data({"id": ID, "mac": "fa:16:3e:12:34:56", **FORMS[name]})
    bench.memory.place(LowerDevice(name="br0", link_kind="bridge", vlan_filtering=True))
    bench.memory.place(LowerDevice(name="eth0"))
    bench.driver.plug(wanted, GUEST)
    marked = [each.resource for each in bench.memory.there.values() if each.resource and each.resource.owner == ID]
    found, guest = rebuilding.vif_of(ID, marked)
    assert found.replace(tap_owner=wanted.tap_owner) == wanted
    assert guest == (GUEST if wanted.virtualport else None)
    rebuilding.check_complete(bench.driver.show(ID).resources, marked)
    bench.driver.close()


@pytest.mark.parametrize(
    ("found", "untold"),
    [
        ([], "type"),
        ([Tap(name="tap0", owner=ID, mac="fe:00:00:12:34:56")], "MAC"),
    ],
)
def test_what_no_mark_tells_is_named(found: list[Any], untold: str) -> None:
    with pytest.raises(errors.Missing, match=untold):
        rebuilding.vif_of(ID, found)


def test_what_the_vif_does_not_explain_is_named() -> None:
    macvtap = Macvtap(name="tap0", owner=ID, lower="eth0")
    with pytest.raises(errors.Missing, match="macvtap tap0 has the VIF's mark"):
        rebuilding.check_complete([Tap(name="tap1", owner=ID)], [macvtap])
