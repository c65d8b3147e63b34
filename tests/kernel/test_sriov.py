"""Virtual functions of a real driver (igb, on the NIC that QEMU emulates): settings, frames on the wire, pools."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.nic import DEVICES, FUNCTIONS, Nic
from tests.kernel.wire import is_cut_off, link, reaches, until
from tests.support.command import Answer, having, vifplug
from tests.support.loaded import loaded
from tests.support.patience import becomes
from vifplug import VIF, errors
from vifplug.testing.host import PrivateHost
from vifplug.testing.netns import ip

pytestmark = [pytest.mark.slow, pytest.mark.machine("sriov")]

ID, OTHER = "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11", "5e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e12"
MAC = "52:54:00:aa:00:01"  # QEMU gives the NIC 52:54:00:12:34:56


def vif(nic: Nic, number: int = 0, **keys: Any) -> VIF:
    document = {"id": ID, "type": "hostdev", "mac": MAC, "source": {"address": nic.functions[number]}, **keys}
    return VIF.from_json(document)


@pytest.fixture
def before(nic: Nic) -> Iterator[dict[str, Any]]:
    """Function 1 as somebody has left it, with nothing as the driver begins: what the kernel says of it."""
    nic.set(1, "mac 52:54:00:00:00:77 vlan 7 qos 3 spoofchk off trust on")
    yield nic.settings(1)
    nic.set(1, "mac 00:00:00:00:00:00 vlan 0 spoofchk on trust off")


# -- the host's own ------------------------------------------------------------------------------------------------


def test_a_function_whose_device_the_host_uses_is_not_given_away(host: PrivateHost, nic: Nic) -> None:
    """The VF as such, as a device, and whole; its physical function as well."""
    device, address = nic.netdev(0), nic.functions[0]
    physical = (DEVICES / address / "physfn").resolve().name
    ip("address", "add", "192.0.2.9/24", "dev", device)
    ip("address", "add", "198.51.100.9/24", "dev", nic.device)
    try:
        passthrough = {"type": "direct", "source": {"dev": device, "mode": "passthrough"}}
        whole = [{"source": {"address": each, "whole": True}} for each in (address, physical)]
        for keys, own in (({}, "192.0.2.9"), (passthrough, "192.0.2.9"), (whole[0], "192.0.2.9"), (whole[1], "198.51")):
            with pytest.raises(errors.Conflict, match=f"is the host's own .address {own}"):
                host.driver.plug(vif(nic, **keys))
    finally:
        ip("address", "flush", "dev", device, "scope", "global")
        ip("address", "flush", "dev", nic.device, "scope", "global")
    host.driver.plug(vif(nic))


# -- settings -----------------------------------------------------------------------------------------------------


def test_every_setting_reaches_the_driver_and_goes_back_field_by_field(
    host: PrivateHost, nic: Nic, before: dict[str, Any]
) -> None:
    assert (before["vlan_list"], before["spoofchk"], before["trust"]) == ([{"vlan": 7, "qos": 3}], False, True)
    host.driver.plug(vif(nic, 1, vlan=10, vf={"spoof_check": True, "trust": False, "vlan_qos": 5, "max_tx_rate": 100}))
    there = nic.settings(1)
    assert (there["address"], there["vlan_list"]) == (MAC, [{"vlan": 10, "qos": 5}])
    assert (there["spoofchk"], there["trust"], there["rate"]["max_tx"]) == (True, False, 100)
    assert host.driver.check() == []
    host.driver.unplug(ID)
    assert nic.settings(1) == before


def test_pyroute2_is_not_loaded(host: PrivateHost, nic: Nic) -> None:
    modules = loaded(host, vif(nic, 1, vlan=10, vf={"spoof_check": True}).to_data())
    assert not {name for name in modules if name.startswith("pyroute2")}


def test_what_is_not_requested_is_left_as_it_is(host: PrivateHost, nic: Nic, before: dict[str, Any]) -> None:
    host.driver.plug(vif(nic, 1))
    assert nic.settings(1) == {**before, "address": MAC}


def test_a_second_plug_changes_nothing(host: PrivateHost, nic: Nic) -> None:
    asked = vif(nic, vlan=10, vf={"trust": True})
    assert host.driver.plug(asked).changed
    assert not host.driver.plug(asked).changed


def test_what_somebody_changes_on_a_function_is_noticed_and_repaired(host: PrivateHost, nic: Nic) -> None:
    asked = vif(nic, vlan=10, vf={"spoof_check": True})
    host.driver.plug(asked)
    nic.set(0, "vlan 11")
    nic.set(0, "spoofchk off")
    function = f"vf {nic.functions[0]}"
    assert set(map(str, host.driver.check())) == {
        f"{function}: vlan: expected 10, got 11",
        f"{function}: spoof_check: expected on, got off",
    }
    host.driver.update(asked)
    assert host.driver.check() == [] and nic.settings(0)["vlan_list"] == [{"vlan": 10}]


@pytest.mark.parametrize(
    ("vf", "message"),
    [
        ({"link_state": "enable"}, r"vf {address}: could not set its link_state through {device}: Operation not supp"),
        ({"vlan_proto": "802.1ad"}, r"vf {address}: .*vlan_proto through {device}: Protocol not supported"),
        ({"max_tx_rate": 5000}, r"vf {address}: could not set its max_tx_rate through {device}: Invalid argument"),
    ],
    ids=["link state", "802.1ad", "more than the link's rate"],
)
def test_what_the_driver_refuses_is_one_sentence_and_is_rolled_back(
    host: PrivateHost, nic: Nic, before: dict[str, Any], vf: dict[str, Any], message: str
) -> None:
    """The MAC, and mostly the VLAN, were set before it is refused."""
    with pytest.raises(errors.VifplugError) as refused:
        host.driver.plug(vif(nic, 1, vlan=10, vf=vf))
    assert re.search(message.format(address=nic.functions[1], device=nic.device), str(refused.value)), refused.value
    assert "\n" not in str(refused.value)
    assert nic.settings(1) == before and host.driver.list() == []


def test_a_function_is_one_vifs(host: PrivateHost, nic: Nic) -> None:
    host.driver.plug(vif(nic))
    with pytest.raises(errors.Conflict, match=f"{nic.functions[0]}.*{OTHER}.*{ID}"):
        host.driver.plug(vif(nic, id=OTHER, mac="52:54:00:aa:00:02"))
    assert nic.settings(0)["address"] == MAC


def test_a_nic_without_an_embedded_switch_has_no_representor(host: PrivateHost, nic: Nic) -> None:
    source = {"address": nic.functions[0], "bridge": "br-int"}
    with pytest.raises(errors.Missing, match=f"{nic.functions[0]} has no representor .* eswitch of {nic.device}"):
        host.driver.plug(vif(nic, source=source))


# -- drivers ------------------------------------------------------------------------------------------------------


def test_one_that_vfio_has_is_prepared_and_stays_bound(host: PrivateHost, nic: Nic) -> None:
    """managed='no': the operator has bound it. Its settings are made through the physical function all the same."""
    with nic.bound(2, "vfio-pci"):
        source = {"address": nic.functions[2], "managed": False}
        plugged = host.driver.plug(vif(nic, source=source, vlan=10))
        assert "managed" not in plugged.interface_xml
        assert (nic.settings(2)["address"], nic.settings(2)["vlan_list"]) == (MAC, [{"vlan": 10}])
        assert host.driver.check() == []
        host.driver.unplug(ID)
        assert nic.driver(2) == "vfio-pci"


# -- on the wire --------------------------------------------------------------------------------------------------


def from_guest(frames: Sequence[str], mac: str = MAC) -> list[str]:
    return [line for line in frames if f" {mac} > " in line]


def test_a_functions_vlan_is_tagged_on_the_wire_and_kept_apart(host: PrivateHost, nic: Nic) -> None:
    host.driver.plug(vif(nic, vlan=10))
    with nic.sniffed() as frames, nic.used(0, "10.10.0.2/24") as (guest, device):
        assert MAC in ip("-n", guest, "link", "show", "dev", device)
        assert reaches(guest, "10.10.0.1")
        ip("-n", guest, "address", "add", "10.0.0.2/24", "dev", device)
        assert is_cut_off(guest, "10.0.0.1")
        until(lambda: any("> 10.10.0.1: ICMP echo request" in line for line in frames()), "the guest's frames")
        seen = from_guest(frames())
    assert all("ethertype 802.1Q (0x8100)" in line and "vlan 10," in line for line in seen), seen


def test_a_function_without_a_vlan_is_untagged_on_the_wire(host: PrivateHost, nic: Nic) -> None:
    host.driver.plug(vif(nic))
    with nic.sniffed() as frames, nic.used(0, "10.0.0.2/24") as (guest, _):
        assert reaches(guest, "10.0.0.1")
        until(lambda: any("> 10.0.0.1: ICMP echo request" in line for line in frames()), "the guest's frames")
        assert not any("802.1Q" in line for line in from_guest(frames()))


# -- passthrough --------------------------------------------------------------------------------------------------


def test_a_passthrough_macvtap_on_a_function_has_its_vlan_by_the_physical_function(host: PrivateHost, nic: Nic) -> None:
    before, own = {**nic.settings(3), "address": None}, link(nic.netdev(3))["address"]
    source = {"dev": nic.netdev(3), "mode": "passthrough"}
    host.driver.plug(vif(nic, type="direct", source=source, vlan=10, tap_owner="vifplug", target="tap0"))
    assert nic.settings(3)["vlan_list"] == [{"vlan": 10}]
    assert link(nic.netdev(3))["address"] == MAC
    assert link("tap0")["linkinfo"]["info_data"]["mode"] == "passthru" and link("tap0")["link"] == nic.netdev(3)
    assert becomes(lambda: host.driver.check() == [])  # a function has its carrier a little later
    with nic.sniffed() as frames:
        send(link("tap0")["ifindex"], BROADCAST)
        until(lambda: any("vlan 10," in line for line in from_guest(frames())), "the frame in VLAN 10")
    host.driver.unplug(ID)
    # the function's own driver has told the physical function its address
    assert {**nic.settings(3), "address": None} == before and link(nic.netdev(3))["address"] == own


#: an Ethernet frame of the guest's, for everybody: IEEE's type for local experiments
BROADCAST = b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) + b"\x88\xb5" + bytes(46)
_VNET_HEADER = bytes(10)  # linux/virtio_net.h: no offloads


def send(index: int, frame: bytes) -> None:
    """As the guest of a macvtap does."""
    with open(f"/dev/tap{index}", "r+b", buffering=0) as tap:
        tap.write(_VNET_HEADER + frame)


# -- pools --------------------------------------------------------------------------------------------------------

POOL = "<network><name>fast</name><forward mode='hostdev' managed='yes'><pf dev='{}'/></forward>{}</network>"


def test_a_pool_gives_each_vif_a_function_of_its_own_and_says_when_there_is_none(host: PrivateHost, nic: Nic) -> None:
    (host.networks / "fast.xml").write_text(POOL.format(nic.device, "<vlan><tag id='10'/></vlan>"))
    try:
        wanted = [wants(number) for number in range(FUNCTIONS)]
        given = [host.driver.plug(each).actual.source.address for each in wanted]
        assert sorted(given) == sorted(nic.functions)
        for number, address in enumerate(given):
            there = nic.settings(nic.functions.index(address))
            assert (there["address"], there["vlan_list"]) == (wanted[number].mac, [{"vlan": 10}])
        with pytest.raises(errors.VifplugError, match="fast"):
            host.driver.plug(wants(FUNCTIONS))
        host.driver.unplug(wanted[2].id)
        assert host.driver.plug(wants(FUNCTIONS)).actual.source.address == given[2]
    finally:
        (host.networks / "fast.xml").unlink()


def wants(number: int) -> VIF:
    """A VIF on the network."""
    return VIF.from_json(
        {"id": f"4e0b62d3-6c8f-4f0a-9d3b-00000000000{number}", "type": "network", "mac": f"52:54:00:aa:00:1{number}",
         "source": {"network": "fast"}, "target": None}
    )  # fmt: skip


# -- privileges ----------------------------------------------------------------------------------------------------


def test_its_settings_need_net_admin_alone(machine_host: PrivateHost, nic: Nic) -> None:
    file = machine_host.directory / "vif.json"
    file.write_text(json.dumps(vif(nic, vlan=10, vf={"trust": True}).to_data()))
    in_machine = ("ip", "netns", "exec", machine_host.namespace)

    def answer(*verb: str | Path, capabilities: tuple[str, ...]) -> Answer:
        return vifplug(*verb, config=machine_host.config, under=(*in_machine, *having(*capabilities)))

    refused = answer("plug", file, capabilities=())
    assert refused.code == 3 and "CAP_NET_ADMIN" in refused.err, refused
    for verb in (("plug", file), ("settle", ID), ("update", file), ("check",), ("unplug", ID)):
        done = answer(*verb, capabilities=("net_admin",))
        assert done.code == 0, (verb, done)
