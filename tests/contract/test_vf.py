"""Settings of SR-IOV virtual functions.

The messages are checked byte by byte against the kernel's structures (linux/if_link.h), the refusals on a real veth,
and the rest on a simulated NIC, in a machine that has one. tests/kernel/test_sriov.py has an emulated NIC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vifplug import errors
from vifplug.host.netlink import messages
from vifplug.host.netlink.attributes import attribute_list
from vifplug.host.netlink.messages import VfInfo
from vifplug.host.sriov.vf import VirtualFunctionBackend, record, vf_messages
from vifplug.plan.registry import VirtualFunction
from vifplug.plan.steps import Step, compare, originals, removal, steps_toward
from vifplug.testing.netns import ip

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"
VF = VirtualFunction(name="0000:81:02.3", pf="ens1f0", number=3, owner=OWNER)
FOUND = VF.replace(
    mac="52:54:00:00:00:09",
    vlan=0,
    vlan_qos=0,
    vlan_proto="802.1Q",
    trust=False,
    spoof_check=True,
    link_state="auto",
    min_tx_rate=0,
    max_tx_rate=0,
)
# linux/if_link.h
IFLA_IFNAME, IFLA_VFINFO_LIST, IFLA_VF_INFO = 3, 22, 1
MAC, VLAN, SPOOFCHK, LINK_STATE, RATE, TRUST, VLAN_LIST = 1, 2, 4, 5, 6, 9, 12


def sent(before: VirtualFunction, after: VirtualFunction) -> list[dict[int, bytes]]:
    """What goes to the kernel for a change: the IFLA_VF_* attributes of each message, as bytes."""
    return [attributes_of(messages.vf_request(after.pf, attributes)) for _, attributes in vf_messages(before, after)]


def attributes_of(request: tuple[int, int, bytes]) -> dict[int, bytes]:
    kind, _, body = request
    assert kind == 19  # RTM_SETLINK
    link = dict(attribute_list(body[16:]))  # after struct ifinfomsg
    assert link[IFLA_IFNAME] == b"ens1f0\0"
    ((inner, info),) = attribute_list(link[IFLA_VFINFO_LIST])
    assert inner == IFLA_VF_INFO
    return dict(attribute_list(info))


def test_nothing_is_sent_where_nothing_differs() -> None:
    assert vf_messages(FOUND, FOUND) == []
    assert vf_messages(FOUND, VF) == []


def test_a_mac_goes_alone() -> None:
    (message,) = sent(FOUND, FOUND.replace(mac="52:54:00:12:34:56"))
    assert message == {MAC: struct.pack("=I32s", 3, bytes.fromhex("525400123456"))}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"vlan": 7}, {VLAN: struct.pack("=III", 3, 7, 0)}),
        ({"vlan": 7, "vlan_qos": 5}, {VLAN: struct.pack("=III", 3, 7, 5)}),
        (
            {"vlan": 7, "vlan_proto": "802.1ad"},
            {VLAN_LIST: b"\x14\0\x01\0" + struct.pack("=III", 3, 7, 0) + b"\x88\xa8\0\0"},
        ),
    ],
    ids=["802.1Q", "with priority", "802.1ad"],
)
def test_a_vlan_goes_alone(change: dict[str, Any], expected: dict[int, bytes]) -> None:
    assert sent(FOUND, FOUND.replace(**change)) == [expected]


def test_a_priority_keeps_the_vlan_that_is_there() -> None:
    assert sent(FOUND.replace(vlan=7), VF.replace(vlan_qos=3)) == [{VLAN: struct.pack("=III", 3, 7, 3)}]


def test_a_rate_keeps_the_other_one_that_is_there() -> None:
    assert sent(FOUND.replace(min_tx_rate=10), VF.replace(max_tx_rate=99)) == [{RATE: struct.pack("=III", 3, 10, 99)}]


def test_the_rest_goes_in_one_message() -> None:
    after = FOUND.replace(trust=True, spoof_check=False, link_state="disable", min_tx_rate=1, max_tx_rate=1000)
    assert sent(FOUND, after) == [
        {
            TRUST: struct.pack("=II", 3, 1),
            SPOOFCHK: struct.pack("=II", 3, 0),
            LINK_STATE: struct.pack("=II", 3, 2),
            RATE: struct.pack("=III", 3, 1, 1000),
        }
    ]


states = st.builds(
    FOUND.replace,
    mac=st.sampled_from(["52:54:00:00:00:09", "52:54:00:00:00:0a"]),
    vlan=st.integers(0, 4094),
    vlan_qos=st.integers(0, 7),
    vlan_proto=st.sampled_from(["802.1Q", "802.1ad"]),
    trust=st.booleans(),
    spoof_check=st.booleans(),
    link_state=st.sampled_from(["auto", "enable", "disable"]),
    min_tx_rate=st.integers(0, 9),
    max_tx_rate=st.integers(10, 99),
)


@given(before=states, after=states)
def test_exactly_what_differs_is_sent(before: VirtualFunction, after: VirtualFunction) -> None:
    fields = {name for names, _ in vf_messages(before, after) for name in names}
    assert fields == {difference.path for difference in compare(after, before)}


def described(*attributes: bytes) -> VfInfo:
    """What is read from an answer of a PF with one VF."""
    info = nested(IFLA_VFINFO_LIST, nested(IFLA_VF_INFO, *attributes))
    header = struct.pack("=IHHII", 16 + 16 + 12 + len(info), 16, 0, 1, 0)
    body = struct.pack("=BxHiII", 0, 1, 7, 1, 0) + attribute(IFLA_IFNAME, b"ens1f0\0\0") + info
    return messages.parsed(header + body).vfs[3]


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def nested(kind: int, *values: bytes) -> bytes:
    return attribute(kind | 0x8000, b"".join(values))


def test_every_setting_is_read() -> None:
    listed = struct.pack("=III", 3, 7, 5) + b"\x88\xa8\0\0"
    found = described(
        attribute(MAC, struct.pack("=I32s", 3, bytes.fromhex("525400123456"))),
        attribute(VLAN, struct.pack("=III", 3, 7, 5)),
        attribute(RATE, struct.pack("=III", 3, 10, 1000)),
        attribute(SPOOFCHK, struct.pack("=II", 3, 0)),
        attribute(LINK_STATE, struct.pack("=II", 3, 1)),
        attribute(TRUST, struct.pack("=II", 3, 1)),
        nested(VLAN_LIST, attribute(1, listed)),
    )
    assert record(VF, found) == VF.replace(
        mac="52:54:00:12:34:56",
        vlan=7,
        vlan_qos=5,
        vlan_proto="802.1ad",
        trust=True,
        spoof_check=False,
        link_state="enable",
        min_tx_rate=10,
        max_tx_rate=1000,
    )


def test_what_a_driver_does_not_report_is_not_known() -> None:
    unsaid = struct.pack("=II", 3, 0xFFFFFFFF)
    found = described(
        attribute(MAC, struct.pack("=I32s", 3, b"\0" * 6)),
        attribute(SPOOFCHK, unsaid),
        attribute(TRUST, unsaid),
    )
    assert (found["trust"], found["spoof_check"], found["mac"]) == (None, None, "00:00:00:00:00:00")


def test_the_two_ways_to_have_no_mac_are_one() -> None:
    none = VF.replace(mac="00:00:00:00:00:00")
    assert list(compare(none, record(none, {"mac": "02:00:00:00:00:00"}))) == []
    assert list(compare(none, record(none, {"mac": "52:54:00:00:00:01"}))) != []


# -- on the real kernel -----------------------------------------------------------------------------------------------


def test_a_device_without_vfs_has_none_and_says_so(namespace: None) -> None:
    ip("link", "add", "ens1f0", "type", "veth", "peer", "name", "wire")
    backend = VirtualFunctionBackend()
    assert backend.observe([VF]) == {}
    with pytest.raises(errors.Missing, match=r"virtual function 0000:81:02\.3"):
        steps_toward([VF], backend.observe([VF]))


@pytest.mark.parametrize(
    "change", [{"mac": "52:54:00:12:34:56"}, {"vlan": 7, "vlan_proto": "802.1ad"}, {"trust": True}]
)
def test_a_driver_that_refuses_is_named_with_the_field(namespace: None, change: dict[str, Any]) -> None:
    """A veth has no VFs: EOPNOTSUPP, which shows that the kernel took the message as well-formed."""
    ip("link", "add", "ens1f0", "up", "type", "veth", "peer", "name", "wire")
    with pytest.raises(errors.KernelLacks, match=f"{next(iter(change))}.*through ens1f0: Operation not supported"):
        VirtualFunctionBackend().change(FOUND, FOUND.replace(**change))


def test_a_pf_that_is_down_is_named_as_the_likely_cause(namespace: None) -> None:
    ip("link", "add", "ens1f0", "type", "veth", "peer", "name", "wire")
    with pytest.raises(errors.HostNotReady, match=r"ens1f0 is down.*ip link set dev ens1f0 up"):
        VirtualFunctionBackend().change(FOUND, FOUND.replace(vlan=7))


@pytest.fixture
def simulated() -> Iterator[str]:
    """The PF of a netdevsim device with 4 VFs."""
    Path("/sys/bus/netdevsim/new_device").write_text("9871 1")
    try:
        device = Path("/sys/bus/netdevsim/devices/netdevsim9871")
        (device / "sriov_numvfs").write_text("4")
        yield next((device / "net").iterdir()).name
    finally:
        Path("/sys/bus/netdevsim/del_device").write_text("9871")


@pytest.mark.machine("full")
def test_settings_reach_the_kernel_and_go_back_field_by_field(simulated: str) -> None:
    ip("link", "set", simulated, "up")
    backend = VirtualFunctionBackend()
    wanted = VF.replace(
        pf=simulated,
        mac="52:54:00:12:34:56",
        vlan=7,
        vlan_qos=3,
        vlan_proto="802.1ad",
        trust=True,
        spoof_check=False,
        link_state="enable",
        min_tx_rate=10,
        max_tx_rate=1000,
    )
    kept = originals([wanted], backend.observe([wanted]))
    steps = steps_toward([wanted], backend.observe([wanted]))
    backend.apply(steps, [])
    assert steps_toward([wanted], backend.observe([wanted])) == []
    shown = ip("link", "show", simulated)
    for part in ("52:54:00:12:34:56", "vlan 7", "qos 3", "802.1ad", "trust on", "max_tx_rate 1000"):
        assert part in shown, part
    backend.apply(removal([wanted], backend.observe([wanted]), kept), [])
    assert backend.observe([wanted])[wanted.identity].resource == kept[wanted.identity]
    assert Step(None, wanted).subject == wanted
