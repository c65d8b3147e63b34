"""rtnetlink(7) messages: what is sent is byte for byte what pyroute2 sends, what is read is what pyroute2 reads.

And what neither of them expects: answers that are cut short or contradict themselves; threads, each with a socket.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket as sockets
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from tests.support import judge
from vifplug import errors
from vifplug.host.netlink import attributes, messages, socket
from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.generic import Genetlink
from vifplug.host.netlink.messages import Link, LinkChange
from vifplug.host.netlink.socket import NetlinkRefused, RtSocket
from vifplug.testing import netns
from vifplug.testing.netns import ip

ACK, DUMP, CREATE = 0x4, 0x300, 0x604  # linux/netlink.h: NLM_F_ACK, NLM_F_DUMP; _CREATE, _EXCL and _ACK
NEWLINK, DELLINK, GETLINK, SETLINK, GETADDR, GETROUTE, GETVLAN = 16, 17, 18, 19, 22, 26, 114
MASK, MASK_VFS = ("IFLA_EXT_MASK", 8), ("IFLA_EXT_MASK", 9)

# -- what is sent -----------------------------------------------------------------------------------------------------


class Recorder(RtSocket):
    """Keeps the requests instead of sending them."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[socket.Request] = []

    def exchange(self, messages: Sequence[socket.Request]) -> list[socket.Reply]:
        self.requests += messages
        return [None for _ in messages]

    def dump(self, message: socket.Request) -> list[bytes]:
        self.requests.append(message)
        return []


def named(name: str, *rest: tuple[str, Any]) -> list[tuple[str, Any]]:
    return [("IFLA_IFNAME", name), *rest]


def encoded_by(message: Any, **fields: Any) -> bytes:
    message.update(fields)
    message.encode()
    return bytes(message.data[judge.HEADER :])


WHOLE = LinkChange(mac="52:54:00:12:34:56", mtu=1450, alias="vifplug:é", group=7, up=True, promiscuous=False)
VETH = LinkChange(kind="veth", mtu=1450, group=7, peer="v1")
MACVTAP = LinkChange(kind="macvtap", link=3, queues=4, data={"IFLA_MACVTAP_MODE": "passthru"})
VXLAN = LinkChange(kind="vxlan", data={"IFLA_VXLAN_ID": 7, "IFLA_VXLAN_LINK": 3, "IFLA_VXLAN_LEARNING": 0})
BRIDGE = LinkChange(kind="bridge", data={"IFLA_BR_FORWARD_DELAY": 0, "IFLA_BR_VLAN_FILTERING": 1})
RARE_BRIDGE = LinkChange(kind="bridge", data={"IFLA_BR_PRIORITY": 7, "IFLA_BR_STP_STATE": 1})
PORT = LinkChange(port={"IFLA_BRPORT_ISOLATED": 1, "IFLA_BRPORT_MODE": 0})
RARE_PORT = LinkChange(port={"IFLA_BRPORT_COST": 100, "IFLA_BRPORT_ISOLATED": 1})
VF = {
    "IFLA_VF_MAC": {"vf": 3, "mac": "52:54:00:12:34:56"},
    "IFLA_VF_VLAN": {"vf": 3, "vlan": 4094, "qos": 7},
    "IFLA_VF_TRUST": {"vf": 3, "trust": 1},
    "IFLA_VF_SPOOFCHK": {"vf": 3, "spoofchk": 0},
    "IFLA_VF_LINK_STATE": {"vf": 3, "link_state": 2},
    "IFLA_VF_RATE": {"vf": 3, "min_tx_rate": 10, "max_tx_rate": 1000},
}
VLANS = [("IFLA_BRIDGE_VLAN_INFO", {"flags": flags, "vid": vid}) for vid, flags in ((5, 6), (10, 8), (20, 16))]
CHANGES = {
    "all that is plain": (SETLINK, WHOLE),
    "a bridge": (NEWLINK, BRIDGE),
    "a bridge with more than vifplug knows": (NEWLINK, RARE_BRIDGE),
    "a port": (NEWLINK, PORT),
    "a port with more than vifplug knows": (NEWLINK, RARE_PORT),
    "no master": (SETLINK, LinkChange(master=0)),
}
#: a name: the call, and the type, flags and body of each message
SENT: dict[str, tuple[Any, list[tuple[int, int, bytes]]]] = {
    **{
        name: (
            lambda netlink, change=change: netlink.set([("t0", change)]),
            [(kind, ACK, judge.body(named("t0"), change))],
        )
        for name, (kind, change) in CHANGES.items()
    },
    **{
        f"a new {change.kind}": (
            lambda netlink, change=change: netlink.create("n0", change),
            [(NEWLINK, CREATE, judge.body(named("n0"), change))],
        )
        for change in (BRIDGE, VETH, MACVTAP, VXLAN, LinkChange(kind="vlan", link=3, data={"IFLA_VLAN_ID": 7}))
    },
    "links": (
        lambda netlink: netlink.links(["t0", "a-name-of-15-by"]),
        [(GETLINK, 0, judge.body(named(name, MASK))) for name in ("t0", "a-name-of-15-by")],
    ),
    "links with VFs": (
        lambda netlink: netlink.links(["t0"], vfs=True),
        [(GETLINK, 0, judge.body(named("t0", MASK_VFS)))],
    ),
    "a link": (lambda netlink: netlink.link("t0"), [(GETLINK, 0, judge.body(named("t0", MASK)))]),
    "by index": (lambda netlink: netlink.named([7]), [(GETLINK, 0, judge.body([MASK], index=7))]),
    "all": (lambda netlink: netlink.all(), [(GETLINK, DUMP, judge.body([MASK]))]),
    "ports": (
        lambda netlink: netlink.ports_without_taps(7),
        [(GETLINK, DUMP, judge.body([("IFLA_MASTER", 7), MASK]))],
    ),
    "what is on it": (
        lambda netlink: list(netlink.stacked_on(7, ["macvlan"])),
        [(GETLINK, DUMP, judge.body([("IFLA_LINKINFO", [("IFLA_INFO_KIND", "macvlan")]), MASK]))],
    ),
    "addresses": (lambda netlink: netlink.addresses(7), [(GETADDR, DUMP, encoded_by(ifaddrmsg(), index=7))]),
    "routes": (
        lambda netlink: netlink.routes(7),
        [(GETROUTE, DUMP, encoded_by(rtmsg(), family=0, attrs=[["RTA_OIF", 7]]))],
    ),
    # struct br_vlan_msg, which pyroute2 has not
    "VLANs": (lambda netlink: netlink.vlans(7), [(GETVLAN, DUMP, struct.pack("=BBHI", 7, 0, 0, 7))]),
    "new VLANs": (
        lambda netlink: netlink.set_vlans(7, [(1, 0)], [(5, 6), (10, 8), (20, 16)]),
        [
            (DELLINK, ACK, judge.body([("IFLA_AF_SPEC", [(VLANS[0][0], {"flags": 0, "vid": 1})])], family=7, index=7)),
            (SETLINK, ACK, judge.body([("IFLA_AF_SPEC", VLANS)], family=7, index=7)),
        ],
    ),
    "deletion": (lambda netlink: netlink.delete(7), [(DELLINK, ACK, judge.body(index=7))]),
    "a VF": (
        lambda netlink: netlink.set_vf("p0", list(VF.items())),
        [(SETLINK, ACK, judge.body(named("p0", ("IFLA_VFINFO_LIST", [("IFLA_VF_INFO", list(VF.items()))]))))],
    ),
}


@pytest.mark.parametrize("case", SENT)
def test_a_message_is_byte_for_byte_pyroute2s(case: str) -> None:
    call, expected = SENT[case]
    netlink = Netlink()
    netlink._socket = recorder = Recorder()
    call(netlink)
    assert recorder.requests == expected


numbers = st.integers(0, 2**32 - 1)
macs = st.binary(min_size=6, max_size=6).map(lambda value: value.hex(":"))
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15)
choices = {
    "bridge": {
        **dict.fromkeys(("IFLA_BR_FORWARD_DELAY", "IFLA_BR_AGEING_TIME", "IFLA_BR_STP_STATE"), numbers),
        **dict.fromkeys(("IFLA_BR_VLAN_FILTERING", "IFLA_BR_MCAST_SNOOPING"), st.integers(0, 255)),
    },
    "macvtap": {"IFLA_MACVTAP_MODE": st.sampled_from(["private", "vepa", "bridge", "passthru", "source"])},
    "vlan": {"IFLA_VLAN_ID": st.integers(0, 65535)},
}
flags = ("IFLA_BRPORT_ISOLATED", "IFLA_BRPORT_MODE", "IFLA_BRPORT_LEARNING", "IFLA_BRPORT_UNICAST_FLOOD")
ports = dict.fromkeys(flags, st.integers(0, 255))
plain: dict[str, Any] = {
    **dict.fromkeys(("mtu", "txqueuelen", "group", "master", "link", "queues"), st.none() | numbers),
    **dict.fromkeys(("up", "promiscuous"), st.none() | st.booleans()),
    "mac": st.none() | macs,
    "alias": st.none() | names,
    "port": st.fixed_dictionaries({}, optional=ports),
}
changes = st.one_of(
    st.builds(LinkChange, peer=st.none() | names, kind=st.sampled_from([None, "veth"]), **plain),
    *(
        st.builds(LinkChange, kind=st.just(kind), data=st.fixed_dictionaries({}, optional=data), **plain)
        for kind, data in choices.items()
    ),
).filter(lambda change: change.peer is None or change.kind == "veth")


@given(name=names, change=changes)
def test_any_change_is_byte_for_byte_pyroute2s(name: str, change: LinkChange) -> None:
    assert messages.set_request(name, change)[2] == judge.body([("IFLA_IFNAME", name)], change)


@given(number=numbers, mac=macs, values=st.tuples(numbers, numbers))
def test_any_setting_of_a_vf_is_byte_for_byte_pyroute2s(number: int, mac: str, values: tuple[int, int]) -> None:
    settings = [("IFLA_VF_MAC", {"vf": number, "mac": mac})]
    for name, example in VF.items():
        if name != "IFLA_VF_MAC":
            fields = [field for field in example if field != "vf"]
            settings.append((name, {"vf": number, **dict(zip(fields, values, strict=False))}))
    expected = judge.body(named("p0", ("IFLA_VFINFO_LIST", [("IFLA_VF_INFO", settings)])))
    assert messages.vf_request("p0", settings)[2] == expected


def test_a_vfs_vlan_has_its_16_bytes_whoever_used_pyroute2_before() -> None:
    """pyroute2 writes 14 bytes of struct ifla_vf_vlan_info, and keeps the format of a class that it has used."""
    listed = '("IFLA_VF_VLAN_LIST", {0}[("IFLA_VF_VLAN_INFO", {{"vf": 3, "vlan": 7, "qos": 5, "proto": 0x88A8}})]{1})'
    code = f"""
from tests.support import judge
settings = [{listed.format("", "")}]
judge.body([("IFLA_VFINFO_LIST", [("IFLA_VF_INFO", settings)])])
from vifplug.host.netlink import messages
print(messages.vf_request("p0", settings)[2].hex())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    info = struct.pack("=HHIII", 20, 1, 3, 7, 5) + b"\x88\xa8\0\0"
    assert done.stdout.strip().endswith((struct.pack("=HH", 4 + len(info), 12) + info).hex())


# -- what is read -----------------------------------------------------------------------------------------------------

#: one link of each kind; not every kernel has those of the second part
MADE = """
link add v0 up promisc on mtu 1400 type veth peer name v1
link set v1 up
link property add dev v0 altname one-name-of-many altname another
link add br0 type bridge ageing_time 20000 stp_state 1
tuntap add t0 mode tap user 1000 group 7 multi_queue
tuntap add tun0 mode tun
link set t0 master br0 alias vifplug:é
link set t0 type bridge_slave isolated on hairpin on
"""
PERHAPS = """
link add vl0 link v0 type vlan id 7
link add mv0 link v0 type macvlan mode vepa
link add mt0 link v0 type macvtap mode bridge
link add bond0 type bond
link add dummy0 type dummy
link add vx0 type vxlan id 7 dev v0 dstport 4789
link add ipip0 type ipip local 192.0.2.1
link add vrf0 type vrf table 7
link add geneve0 type geneve id 7 remote 192.0.2.1
"""


@pytest.fixture
def made(namespace: None) -> set[str]:
    """Names of links that could not be made on this kernel."""
    for line in MADE.strip().splitlines():
        ip(*line.split())
    lines = [line.split() for line in PERHAPS.strip().splitlines()]
    tried = [(line, subprocess.run(["ip", *line], capture_output=True, check=False)) for line in lines]
    return {line[2] for line, done in tried if done.returncode}


def answers() -> list[bytes]:
    """What the kernel says about every link, with VFs."""
    with contextlib.closing(RtSocket()) as asked:
        return asked.dump(messages.encoded(GETLINK, DUMP, [MASK_VFS]))


#: their address is one of IPv4, at which pyroute2 reads six bytes as well
IP_TUNNELS = ("gre", "ipip", "sit", "vti")


def same(answer: bytes) -> Link:
    """What vifplug reads in an answer, which is what pyroute2 reads."""
    found, expected = messages.parsed(answer), judge.link(answer)
    if found.kind in IP_TUNNELS:
        expected = dataclasses.replace(expected, mac=None)
    for name in (field.name for field in dataclasses.fields(Link)):
        assert getattr(found, name) == getattr(expected, name), (found.name, name)
    return found


def test_what_is_read_is_what_pyroute2_reads(made: set[str]) -> None:
    found = {link.name: link for link in map(same, answers())}
    assert found["v0"].aliases == ("one-name-of-many", "another") and found["v0"].promiscuous
    assert found["t0"].port["IFLA_BRPORT_ISOLATED"] == 1 and found["t0"].data["IFLA_TUN_GROUP"] == 7
    assert found["t0"].master == found["br0"].index and found["t0"].alias == "vifplug:é"
    assert found["br0"].data["IFLA_BR_AGEING_TIME"] == 20000
    # what no table has is read, too; and what belongs to another kind is not there
    assert found["br0"].data["IFLA_BR_PRIORITY"] == 0x8000 and "IFLA_TUN_TYPE" not in found["br0"].data


@pytest.mark.machine("full")
def test_a_full_kernels_links_are_read_as_pyroute2_reads_them(made: set[str]) -> None:
    """More kinds, and a NIC with VFs: their settings go there and come back."""
    netlink = Netlink()
    before = {link.name for link in netlink.all()}
    Path("/sys/bus/netdevsim/new_device").write_text("9872 1")
    try:
        Path("/sys/bus/netdevsim/devices/netdevsim9872/sriov_numvfs").write_text("4")
        [pf] = {link.name for link in netlink.all()} - before
        netlink.set_vf(pf, [("IFLA_VF_VLAN", {"vf": 3, "vlan": 7, "qos": 5}), ("IFLA_VF_TRUST", {"vf": 3, "trust": 1})])
        listed = ("IFLA_VF_VLAN_INFO", {"vf": 2, "vlan": 9, "qos": 1, "proto": 0x88A8})
        netlink.set_vf(pf, [("IFLA_VF_VLAN_LIST", [listed])])
        found = {link.name: link for link in map(same, answers())}
        vfs = found[pf].vfs
        assert set(vfs) == {0, 1, 2, 3} and netlink.links([pf], vfs=True)[pf].vfs == vfs
        assert (vfs[2]["vlan_proto"], vfs[3]["vlan"], vfs[3]["vlan_qos"], vfs[3]["trust"]) == ("802.1ad", 7, 5, True)
        assert not made & {"vl0", "mv0", "mt0", "dummy0"}
        assert found["mv0"].data["IFLA_MACVLAN_MODE"] == "vepa" and found["vl0"].link == found["v0"].index
        netlink.close()
    finally:
        Path("/sys/bus/netdevsim/del_device").write_text("9872")


# -- what cannot be an answer -----------------------------------------------------------------------------------------


def answer(*parts: bytes, kind: int = NEWLINK, body: bytes = bytes(16)) -> bytes:
    payload = body + b"".join(parts)
    return struct.pack("=IHHII", 16 + len(payload), kind, 0, 1, 0) + payload


NAME = attributes.attribute(3, b"t0\0")


@pytest.mark.parametrize(
    ("reply", "read", "sentence"),
    [
        (answer(NAME)[:20], messages.parsed, r"netlink: .* short \(expected 32 bytes, got 20\); try again"),
        (answer(), messages.parsed, "netlink: .* lacks the name of link 0; try again"),
        (answer(struct.pack("=HH", 99, 3) + b"t0\0\0"), messages.parsed, "netlink: .* lacks the name"),
        (answer(body=b"\2"), messages.parsed_address, r"short \(expected 24"),
        (answer(body=b"\2\7"), messages.parsed_route, r"short \(expected 28"),
    ],
    ids=["no header", "no name", "a name beyond the end", "an address", "a route"],
)
def test_an_answer_that_cannot_be_is_one_sentence(reply: bytes, read: Any, sentence: str) -> None:
    with pytest.raises(errors.Unavailable, match=sentence):
        read(reply)


@pytest.mark.parametrize("kind", [2, 3], ids=["refused at once", "and at the end"])
def test_a_listing_that_the_kernel_refuses_is_no_short_listing(monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    """NLMSG_DONE has the errno of a listing that could not be finished."""
    end = answer(kind=kind, body=struct.pack("=i16x", -95))
    monkeypatch.setattr(socket, "_opened", lambda protocol: Lying(answer(NAME) + end))
    with pytest.raises(errors.KernelLacks, match=r"^network links: could not list them: Operation not supported"):
        Netlink().all()
    with pytest.raises(errors.KernelLacks, match=r"^network devices: could not read their addresses and routes"):
        Netlink().addresses(1)


def test_a_name_ends_where_the_kernels_does() -> None:
    assert messages.parsed(answer(attributes.attribute(3, b"t0\0x\0"))).name == "t0"


class Lying:
    """A socket that answers each request with these bytes, in its number."""

    def __init__(self, reply: bytes) -> None:
        self._reply, self._number = reply, b""

    def send(self, request: bytes) -> None:
        self._number = request[8:12]

    def recv(self, size: int) -> bytes:
        return b"".join(data[:8] + self._number + data[12:] for *_, data in socket._split(self._reply) if data)

    def close(self) -> None:
        pass


def test_an_attribute_of_another_size_is_left_out() -> None:
    """Beside it all is read; a VF without a number is none."""
    wrong = [attributes.attribute(number, b"\1\2\3") for number in (1, 4, 5, 10, 27, 32, 37, 51)]
    vfs = attributes.attribute(22, attributes.attribute(1, attributes.attribute(1, b"short")))
    info = attributes.attribute(18, attributes.attribute(1, b"tun\0") + attributes.attribute(2, b"\5\0\1\0\7\0\0\0"))
    found = messages.parsed(answer(NAME, *wrong, vfs, info, attributes.attribute(20, b"\xffx")))
    assert "IFLA_TUN_OWNER" not in found.data and dict(found.data) == {}
    assert dataclasses.replace(found, data={}) == Link(index=0, name="t0", kind="tun", alias="\\xffx", ethernet=False)


def test_an_address_or_route_that_cannot_be_is_left_out() -> None:
    for family, value in ((2, b"\1\2\3"), (10, b"\1\2\3\4"), (99, bytes(4))):
        address = answer(attributes.attribute(1, value), body=struct.pack("=BBBBI", family, 24, 0, 0, 7))
        assert messages.parsed_address(address) is None
    route = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 0, 4, 0, 1, 0)
    assert messages.parsed_route(answer(body=route)) is None
    assert messages.parsed_route(answer(attributes.attribute(1, b"\xc0\0\2\0"), body=route)) == "192.0.2.0/24"
    assert list(messages.parsed_vlans(answer(attributes.attribute(1, attributes.attribute(2, b"\1\0"))))) == []


@given(data=st.data())
def test_no_damage_to_an_answer_is_more_than_a_sentence(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(ANSWERS)))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    for read in (messages.parsed, messages.parsed_address, messages.parsed_route, messages.parsed_vlans):
        try:
            found = read(cut)
            if isinstance(found, Link):
                dict(found.data), dict(found.port)
            elif found is not None:
                list(found)
        except errors.VifplugError:
            pass


def sample(kind: str, data: bytes) -> bytes:
    port = attributes.DATA["bridge_slave"].pack([("IFLA_BRPORT_ISOLATED", 1), ("IFLA_BRPORT_LEARNING", 0)])
    info = [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", data), ("IFLA_INFO_SLAVE_KIND", "bridge")]
    vf = [*VF.items(), ("IFLA_VF_VLAN_LIST", [("IFLA_VF_VLAN_INFO", {"vf": 3, "vlan": 7, "qos": 5, "proto": 0x88A8})])]
    values = [
        *(("IFLA_IFNAME", "t0"), ("IFLA_ADDRESS", "52:54:00:12:34:56"), ("IFLA_MTU", 1500)),
        ("IFLA_LINKINFO", [*info, ("IFLA_INFO_SLAVE_DATA", port)]),
        ("IFLA_VFINFO_LIST", [("IFLA_VF_INFO", vf)]),
        ("IFLA_PROP_LIST", [("IFLA_ALT_IFNAME", "another"), ("IFLA_ALT_IFNAME", "third")]),
    ]
    return answer(attributes.LINK.pack(values))


ANSWERS = [
    sample("tun", attributes.DATA["tun"].pack([("IFLA_TUN_TYPE", 2), ("IFLA_TUN_OWNER", 0)])),
    sample("bridge", attributes.DATA["bridge"].pack([("IFLA_BR_STP_STATE", 2)]) + attributes.attribute(10, bytes(8))),
    sample("vxlan", attributes.attribute(1, b"\7\0\0\0")),
    answer(attributes.attribute(1, bytes(4)), body=struct.pack("=BBBBI", 2, 24, 0, 0, 7)),
    answer(attributes.attribute(1, bytes(4)), body=struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 0, 4, 0, 1, 0)),
]


@given(data=st.binary(max_size=80))
def test_no_datagram_is_more_than_a_sentence(data: bytes) -> None:
    try:
        for _, _, kind, message in socket._split(data):
            assert len(message) >= socket.HEADER.size
            if kind == 2:
                socket._refusal(message)
    except errors.Unavailable as error:
        assert "answer is short" in str(error)


def test_a_family_without_a_number_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RtSocket, "exchange", lambda self, messages: [answer(body=bytes(4))])
    with pytest.raises(errors.KernelLacks, match="netlink family vdpa"):
        Genetlink("vdpa").ask(1, {})


# -- sockets ----------------------------------------------------------------------------------------------------------


def test_a_thread_does_not_wait_for_the_conversation_of_another(namespace: None) -> None:
    """One that the kernel keeps waiting holds no lock: 15 ms for each device that is removed."""
    asked = RtSocket()
    question = messages.encoded(GETLINK, 0, [("IFLA_IFNAME", "lo")])
    answers: list[Any] = []
    with asked._connection():
        thread = threading.Thread(target=lambda: answers.extend(asked.exchange([question])), daemon=True)
        thread.start()
        thread.join(timeout=10)
        assert messages.parsed(answers[0]).name == "lo"
    assert len(asked._idle) == 2
    asked.close()
    assert asked._idle == [] and not asked._opened


def test_of_many_sockets_a_few_are_kept() -> None:
    asked = RtSocket()
    taken = [asked._take() for _ in range(20)]
    for each in taken:
        asked._give(each)
    assert len(asked._idle) == len(asked._opened) == 8 and [each.fileno() for each in taken].count(-1) == 12
    asked.close()


def test_a_socket_with_an_answer_outstanding_is_not_used_again(namespace: None) -> None:
    asked = RtSocket()
    question = messages.encoded(GETLINK, DUMP)
    with pytest.raises(KeyboardInterrupt), asked._connection() as connection:
        connection.send(socket._packed(question, 1))
        raise KeyboardInterrupt
    assert not asked._opened and not asked._idle
    assert len(asked.dump(question)) >= 1


def test_a_thread_of_another_namespace_waits_for_a_socket_of_this_one() -> None:
    """The driver's links are those of one namespace, whoever asks."""
    asked = RtSocket()
    question = messages.encoded(GETLINK, 0, [("IFLA_IFNAME", "t0")])
    with netns.entered():
        ip("link", "add", "t0", "type", "bridge")
        taken = asked._take()
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.extend(asked.exchange([question])), daemon=True)
    thread.start()
    thread.join(timeout=0.2)
    assert answers == [] and len(asked._opened) == 1
    asked._give(taken)
    thread.join(timeout=10)
    assert messages.parsed(answers[0]).name == "t0"
    asked.close()


def test_a_refusal_leaves_the_socket_usable(namespace: None) -> None:
    asked = RtSocket()
    [refused] = asked.exchange([messages.encoded(GETLINK, 0, [("IFLA_IFNAME", "absent")])])
    assert isinstance(refused, NetlinkRefused) and len(asked._idle) == 1
    assert asked._idle[0].family == sockets.AF_NETLINK
    asked.close()
