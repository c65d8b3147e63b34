"""libvirt's own network driver as the judge of `vifplug.networks`: what it makes of a port, we make of a VIF.

Some hundred pairs of a network and a port, such that any two of the choices below meet, go to both. What libvirt
allocates has to come out the same, what it refuses has to be refused, and no later; but for `DIFFERENCES`, which are
meant, and each of which has to come up.
"""

from __future__ import annotations

import collections
import itertools
import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from lxml import etree

from tests.functional.libvirt_networks import LibvirtNetworks, Refused, started
from tests.support import libvirt as as_domains_have_it
from vifplug import VIF, Network, errors, resolve
from vifplug.networks.pool import Holder, PoolDevice
from vifplug.networks.resolve import device_of, is_exclusive

MAC = "52:54:00:11:22:33"
PORT = "11111111-1111-4111-8111-111111111111"
INTERFACE_ID, INSTANCE_ID = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"


@pytest.fixture(scope="module")
def libvirt() -> Iterator[LibvirtNetworks]:
    with started() as networks:
        yield networks


# -- what can be said ---------------------------------------------------------------------------------------------

POOL = "<interface dev='e0'/><interface dev='e1'/>"
FORWARD = {
    "bridge": "<forward mode='bridge'/><bridge name='br0'/>",
    "nothing": "<forward mode='bridge'/>",
    "bridge pool": f"<forward mode='bridge'>{POOL}</forward>",
    "private pool": f"<forward mode='private'>{POOL}</forward>",
    "vepa pool": f"<forward mode='vepa'>{POOL}</forward>",
    "passthrough pool": f"<forward mode='passthrough'>{POOL}</forward>",
    "one device": "<forward mode='vepa' dev='e0'/>",
    "no device": "<forward mode='passthrough'/>",
    "both": f"<forward mode='bridge'>{POOL}</forward><bridge name='br0'/>",
    "bridge elsewhere": f"<forward mode='vepa'>{POOL}</forward><bridge name='br0'/>",
    "other first": f"<forward mode='vepa' dev='e1'>{POOL}</forward>",
    "twice": "<forward mode='vepa'><interface dev='e0'/><interface dev='e0'/></forward>",
    "frob": "<forward mode='frob'/>",
}  # fmt: skip
POOLS = ("bridge pool", "private pool", "vepa pool", "passthrough pool", "one device")

VLAN = {
    "": "",
    "access": "<vlan><tag id='10'/></vlan>",
    "said access": "<vlan trunk='no'><tag id='11'/></vlan>",
    "trunk": "<vlan trunk='yes'><tag id='10'/><tag id='20'/></vlan>",
    "implied trunk": "<vlan><tag id='21'/><tag id='4094'/></vlan>",
    "trunk of one": "<vlan trunk='YES'><tag id='7'/></vlan>",
    "native": "<vlan trunk='yes'><tag id='10' nativeMode='untagged'/><tag id='20'/></vlan>",
    "native tagged": "<vlan><tag id='10'/><tag id='20' nativeMode='tagged'/></vlan>",
    "native alone": "<vlan><tag id='10' nativeMode='untagged'/></vlan>",
}
BAD_VLAN = {
    "zero": "<vlan><tag id='0'/></vlan>",
    "reserved": "<vlan><tag id='4095'/></vlan>",
    "too large": "<vlan><tag id='4096'/></vlan>",
    "twice": "<vlan><tag id='5'/><tag id='5'/></vlan>",
    "hexadecimal": "<vlan><tag id='0x10'/></vlan>",
    "negative": "<vlan><tag id='-1'/></vlan>",
    "empty": "<vlan/>",
    "text": "<vlan>3</vlan>",
    "two natives": "<vlan><tag id='1' nativeMode='tagged'/><tag id='2' nativeMode='untagged'/></vlan>",
    "no trunk of two": "<vlan trunk='no'><tag id='1'/><tag id='2'/></vlan>",
    "no trunk, native": "<vlan trunk='no'><tag id='1' nativeMode='tagged'/></vlan>",
    "other trunk": "<vlan trunk='maybe'><tag id='1'/></vlan>",
    "other native": "<vlan><tag id='1' nativeMode='both'/></vlan>",
}


def virtualport(kind: str | None = None, **parameters: object) -> str:
    said = "".join(f" {name}='{value}'" for name, value in parameters.items())
    type_ = f" type='{kind}'" if kind else ""
    return f"<virtualport{type_}>" + (f"<parameters{said}/>" if said else "") + "</virtualport>"


WHOLE: dict[str, Any] = {"managerid": 11, "typeid": "0x16", "typeidversion": 33}
UNTYPED = {
    "untyped": virtualport(),
    "untyped ids": virtualport(interfaceid=INTERFACE_ID, instanceid=INSTANCE_ID),
    "untyped p": virtualport(profileid="p"),
    "untyped q": virtualport(profileid="q"),
    "untyped manager": virtualport(managerid=11),
    "untyped types": virtualport(typeid=22, typeidversion=33),
}
OVS = {
    "ovs": virtualport("openvswitch"),
    "ovs id": virtualport("openvswitch", interfaceid=INTERFACE_ID.upper()),
    "ovs other id": virtualport("openvswitch", interfaceid=INSTANCE_ID),
    "ovs p": virtualport("openvswitch", profileid="p"),
    "ovs q": virtualport("openvswitch", profileid="q", interfaceid=INTERFACE_ID),
}
QBG = {
    "qbg": virtualport("802.1Qbg"),
    "qbg manager": virtualport("802.1Qbg", managerid="013"),
    "qbg types": virtualport("802.1Qbg", typeid=22, typeidversion=33),
    "qbg whole": virtualport("802.1Qbg", **WHOLE),
    "qbg instance": virtualport("802.1Qbg", **WHOLE, instanceid=INSTANCE_ID),
    "qbg other": virtualport("802.1Qbg", **{**WHOLE, "typeid": 23}),
}
QBH = {
    "qbh": virtualport("802.1Qbh"),
    "qbh p": virtualport("802.1Qbh", profileid="p"),
    "qbh q": virtualport("802.1Qbh", profileid="q"),
    "qbh empty": virtualport("802.1Qbh", profileid=""),
}
BAD_VIRTUALPORT = {
    "midonet": virtualport("midonet", interfaceid=INTERFACE_ID),
    "lower case": virtualport("802.1qbg"),
    "none": virtualport("none"),
    "ovs of qbg": virtualport("openvswitch", managerid=1),
    "qbg of qbh": virtualport("802.1Qbg", profileid="p"),
    "no uuid": virtualport("openvswitch", interfaceid="x"),
    "manager": virtualport("802.1Qbg", **{**WHOLE, "managerid": 256}),
    "type": virtualport("802.1Qbg", **{**WHOLE, "typeid": 0x1000000}),
    "version": virtualport("802.1Qbg", **{**WHOLE, "typeidversion": "x"}),
    "long": virtualport("802.1Qbh", profileid="p" * 40),
    "long in bytes": virtualport("802.1Qbh", profileid="é" * 20),
}
LONGEST = {
    "longest": virtualport("802.1Qbh", profileid="p" * 39),
    "in bytes": virtualport("802.1Qbh", profileid="é" * 19),
}

BANDWIDTH = {
    "": "",
    "in": "<bandwidth><inbound average='1000' peak='5000' burst='5120'/></bandwidth>",
    "out": "<bandwidth><outbound average='128'/></bandwidth>",
    "both": "<bandwidth><inbound average='1'/><outbound average='2' burst='4194303'/></bandwidth>",
    "empty": "<bandwidth/>",
    "nothing": "<bandwidth><inbound average='0' peak='7'/></bandwidth>",
}
BAD_BANDWIDTH = {
    "floor": "<bandwidth><inbound average='1' floor='2'/></bandwidth>",
    "outbound floor": "<bandwidth><outbound average='1' floor='2'/></bandwidth>",
    "peak alone": "<bandwidth><inbound peak='1'/></bandwidth>",
    "no rates": "<bandwidth><inbound/></bandwidth>",
    "negative": "<bandwidth><inbound average='-1'/></bandwidth>",
    "words": "<bandwidth><inbound average='much'/></bandwidth>",
    "burst": "<bandwidth><inbound average='1' burst='4194304'/></bandwidth>",
}
#: a whole network's libvirt gives to tc if it can read it, which needs rights
UNREADABLE = ("outbound floor", "peak alone", "no rates", "negative", "words")
ISOLATED = {"": "", "yes": "<port isolated='yes'/>", "no": "<port isolated='no'/>"}
TRUST = {"": "", "yes": " trustGuestRxFilters='yes'", "no": " trustGuestRxFilters='no'"}
LEVELS = ("port", "group", "network")

#: whether ``g``, the portgroup that says something, is there and the default; others; the one that the port asks for
PORTGROUP = {
    "none": (None, "", ""),
    "default": ("yes", "", ""),
    "asked": ("no", "", "g"),
    "default, asked": ("YES", "", "g"),
    "not asked": ("maybe", "", ""),
    "other default": ("no", "<portgroup name='h' default='yes' trustGuestRxFilters='yes'/>", ""),
    "other asked": ("yes", "<portgroup name='h'/>", "h"),
    "unknown": ("yes", "", "G"),
    "unknown, none there": (None, "", "G"),
}
BAD_PORTGROUP = {
    "two defaults": ("yes", "<portgroup name='h' default='yes'/>", ""),
    "same name": ("no", "<portgroup name='g'/>", ""),
    "no name": ("no", "<portgroup/>", ""),
}

ALL: dict[str, Mapping[str, Any]] = {
    "forward": FORWARD,
    "portgroup": PORTGROUP | BAD_PORTGROUP,
    **{f"{level} virtualport": {"": ""} | UNTYPED | OVS | QBG | QBH | BAD_VIRTUALPORT | LONGEST for level in LEVELS},
    **{f"{level} vlan": VLAN | BAD_VLAN for level in LEVELS},
    **{f"{level} bandwidth": BANDWIDTH | BAD_BANDWIDTH for level in ("port", "group")},
    "network bandwidth": {"": "", "empty": BANDWIDTH["empty"]} | {name: BAD_BANDWIDTH[name] for name in UNREADABLE},
    **{f"{level} trust": TRUST | {"maybe": " trustGuestRxFilters='maybe'"} for level in LEVELS},
    **{f"{level} isolated": ISOLATED | {"maybe": "<port isolated='maybe'/>"} for level in ("port", "network")},
}
Choice = Mapping[str, str]

#: where a port comes from that most of these are right for; anything may be left out
_RIGHT: dict[str, Sequence[str]] = {
    "portgroup": [*PORTGROUP],
    "port bandwidth": [*BANDWIDTH],
    "group bandwidth": ["", "empty"],
    "network bandwidth": ["", "empty"],
    **{f"{level} trust": [*TRUST] for level in LEVELS},
    **{f"{level} isolated": [*ISOLATED] for level in ("port", "network")},
    **{f"{level} vlan": [""] for level in LEVELS},
}
_NO_PROFILE = {
    "port virtualport": ["", "untyped p"],
    "group virtualport": ["", "untyped ids"],
    "network virtualport": [""],
}
_ON_BRIDGE = {**{f"{level} vlan": [*VLAN] for level in LEVELS}, "group bandwidth": [*BANDWIDTH]}
_ACCESS = {f"{level} vlan": ["", "access", "said access"] for level in LEVELS}
WORLDS: dict[str, dict[str, Sequence[str]]] = {
    "a Linux bridge": {**_RIGHT, **_NO_PROFILE, "forward": ["bridge"], "port vlan": [*VLAN]},
    "any bridge": {**_RIGHT, **_NO_PROFILE, **_ON_BRIDGE, "forward": ["bridge"], "network virtualport": ["", "ovs"]},
    "Open vSwitch": {
        **_RIGHT,
        **_ON_BRIDGE,
        "forward": ["bridge"],
        "port virtualport": ["", *UNTYPED, *OVS],
        "group virtualport": ["", "untyped", "untyped p", "ovs", "ovs id"],
        "network virtualport": ["ovs", "ovs p"],
    },
    "the host's own switch": {
        **_RIGHT,
        "forward": ["nothing"],
        "port virtualport": ["", "untyped p", "ovs id"],
        "group virtualport": ["", "ovs"],
        "network virtualport": ["", "ovs"],
    },
    "macvtaps": {**_RIGHT, "forward": POOLS, **_NO_PROFILE, "port vlan": ["", "", "access", "trunk"]},
    "devices of their own": {**_RIGHT, **_ACCESS, "forward": ["passthrough pool"], **_NO_PROFILE, "port vlan": [*VLAN]},
    "802.1Qbg": {
        **_RIGHT,
        "forward": POOLS,
        "port virtualport": ["", *UNTYPED, *QBG],
        "group virtualport": ["", "untyped", "untyped types", "qbg", "qbg instance", "qbg manager"],
        "network virtualport": ["", "qbg", "qbg manager", "qbg whole"],
    },
    "802.1Qbh": {
        **_RIGHT,
        "forward": POOLS,
        "port virtualport": ["", "untyped p", "untyped ids", *QBH, *LONGEST],
        "group virtualport": ["", "untyped p", "qbh", "qbh p"],
        "network virtualport": ["", "qbh", "qbh p", "qbh empty"],
    },
    "anything": {
        **_RIGHT,
        "forward": [*FORWARD],
        "portgroup": [*PORTGROUP, *BAD_PORTGROUP],
        **{f"{level} virtualport": ["", "untyped p", "ovs p", "qbg whole", "qbh p", "midonet"] for level in LEVELS},
        **{f"{level} vlan": ["", "access", "trunk", "native alone", "twice"] for level in LEVELS},
        **{f"{level} bandwidth": ["", "in", "floor"] for level in ("port", "group")},
    },
}  # fmt: skip


def pairwise(factors: Mapping[str, Sequence[str]], seed: str) -> Iterator[Choice]:
    """Choices, such that each two values of two factors come together in one of them at least."""
    luck = random.Random(seed)
    names = [*factors]
    left = {
        ((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in factors[a] for y in factors[b]
    }  # fmt: skip

    def gain(chosen: Mapping[str, str], name: str, value: str) -> int:
        return sum(tuple(sorted(((name, value), other), key=order)) in left for other in chosen.items())

    def order(item: tuple[str, str]) -> int:
        return names.index(item[0])

    while left:
        chosen = dict(luck.choice(sorted(left)))
        for name in luck.sample(names, len(names)):
            if name not in chosen:
                values = luck.sample(list(factors[name]), len(factors[name]))
                chosen[name] = max(values, key=lambda value: gain(chosen, name, value))
        left -= set(itertools.combinations(((name, chosen[name]) for name in names), 2))
        yield chosen


#: networks on which each value is tried alone
BASES: Sequence[Choice] = (
    {"forward": "bridge"},
    {"forward": "bridge", "network virtualport": "ovs"},
    {"forward": "bridge pool"},
    {"forward": "vepa pool", "network virtualport": "qbg whole"},
    {"forward": "private pool", "group virtualport": "qbh p"},
    {"forward": "passthrough pool"},
)


def one_by_one() -> Iterator[Choice]:
    """Each value once beside little else."""
    nothing = {name: next(iter(values)) for name, values in ALL.items()} | {"portgroup": "default"}
    for base in BASES:
        for name, values in ALL.items():
            for value in values:
                if value != {**nothing, **base}[name]:
                    yield {**nothing, **base, name: value}


@dataclass(frozen=True)
class Question:
    """A choice as both sides are told it."""

    choice: Choice

    def _said(self, what: str) -> str:
        return str(ALL[what][self.choice[what]])

    def _parts(self, level: str, *names: str) -> str:
        return "".join(self._said(f"{level} {name}") for name in names)

    @property
    def network(self) -> str:
        default, others, _ = ALL["portgroup"][self.choice["portgroup"]]
        group = ""
        if default is not None:
            inner = self._parts("group", "vlan", "virtualport", "bandwidth")
            group = f"<portgroup name='g' default='{default}'{self._said('group trust')}>{inner}</portgroup>"
        inner = self._parts("network", "vlan", "virtualport", "bandwidth", "isolated")
        forward = self._said("forward")
        return f"<network{self._said('network trust')}><name>n</name>{forward}{inner}{group}{others}</network>"

    @property
    def _asked(self) -> str:
        return str(ALL["portgroup"][self.choice["portgroup"]][2])

    @property
    def port(self) -> str:
        trust = self._said("port trust").replace("trustGuestRxFilters", "trustGuest")
        return networkport(
            (f"<group>{self._asked}</group>" if self._asked else "")
            + self._parts("port", "virtualport", "bandwidth", "vlan", "isolated")
            + (f"<rxfilters{trust}/>" if trust else "")
        )

    @property
    def interface(self) -> str:
        portgroup = f" portgroup='{self._asked}'" if self._asked else ""
        parts = self._parts("port", "virtualport", "bandwidth", "vlan", "isolated")
        return (
            f"<interface type='network'{self._said('port trust')}><mac address='{MAC}'/>"
            f"<source network='n'{portgroup}/>{parts}</interface>"
        )


def networkport(more: str = "", id: str = PORT) -> str:
    owner = "<owner><name>guest</name><uuid>22222222-2222-4222-8222-222222222222</uuid></owner>"
    return f"<networkport><uuid>{id}</uuid>{owner}<mac address='{MAC}'/>{more}</networkport>"


# -- what is made of it -------------------------------------------------------------------------------------------

STAGES = ("network", "port", "ok")


@dataclass(frozen=True)
class Resolution:
    """How far one side came, why no further, and what it made."""

    stage: str
    reason: str = ""
    port: Mapping[str, Any] = field(default_factory=dict)


def of_libvirt(question: Question, libvirt: LibvirtNetworks) -> Resolution:
    stage = "network"
    try:
        with libvirt.network(question.network) as network:
            stage = "port"
            as_domains_have_it.canonical(question.interface)
            return Resolution("ok", port=_said_by_libvirt(network.allocate(question.port)))
    except (Refused, as_domains_have_it.Refused) as refusal:
        return Resolution(stage, str(refusal))


def of_vifplug(question: Question) -> Resolution:
    stage = "network"
    try:
        network = Network.from_xml(question.network)
        stage = "port"
        return Resolution("ok", port=_said_by_vifplug(resolve(VIF.from_xml(question.interface, id=PORT), network)))
    except errors.VifplugError as refusal:
        return Resolution(stage, f"{type(refusal).__name__}: {refusal}")


def _said_by_libvirt(networkport: str) -> dict[str, Any]:
    port = etree.fromstring(networkport)
    (plug,) = port.iterfind("plug")
    where = (plug.get("bridge"),) if plug.get("type") == "bridge" else (plug.get("dev"), plug.get("mode"))
    vlan, profile = port.find("vlan"), port.find("virtualport")
    tags = None if vlan is None else [(tag.get("id"), tag.get("nativeMode")) for tag in vlan]
    parameters = {} if profile is None else {k: v for each in profile for k, v in each.attrib.items()}
    isolated, trust = port.find("port"), port.find("rxfilters")
    return {
        "where": (plug.get("type"), *where),
        "vlan": None if vlan is None else (vlan.get("trunk", "no"), tags),
        "virtualport": None if profile is None else (profile.get("type"), _known(parameters)),
        "bandwidth": {limit.tag: dict(limit.attrib) for each in port.iterfind("bandwidth") for limit in each},
        "isolated": None if isolated is None else isolated.get("isolated"),
        "trust": None if trust is None else trust.get("trustGuest"),
    }


def _said_by_vifplug(actual: VIF) -> dict[str, Any]:
    word = {None: None, True: "yes", False: "no"}
    where = (actual.source.bridge,) if actual.type == "bridge" else (actual.source.dev, actual.source.mode)
    vlan, profile = actual.vlan, actual.virtualport
    tags = [(str(tag.id), tag.native_mode) for tag in vlan.tags] if vlan else []
    rates = actual.bandwidth.to_data() if actual.bandwidth else {}
    return {
        "where": (actual.type, *where),
        "vlan": vlan and (word[vlan.trunk], tags),
        "virtualport": profile and (profile.type, _known({k: str(v) for k, v in profile.parameters.items()})),
        "bandwidth": {way: {name: str(rate) for name, rate in limit.items()} for way, limit in rates.items()},
        "isolated": word[actual.port.isolated if actual.port else None],
        "trust": word[actual.trust_guest_rx_filters],
    }


def _known(parameters: Mapping[str, str]) -> dict[str, str]:
    """Ids that nobody gave are each side's own."""
    ids = ("interfaceid", "instanceid")
    given = (INTERFACE_ID, INSTANCE_ID)
    return {k: "made up" if k in ids and v not in given else v for k, v in parameters.items()}


# -- what differs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """One that is meant: why, and which it is. ``until``: the libvirt that does the same."""

    why: str
    applies: Callable[[Choice, Resolution, Resolution], bool]
    until: tuple[int, int] = (99, 0)


def later(ours: Resolution, theirs: Resolution) -> bool:
    return STAGES.index(ours.stage) > STAGES.index(theirs.stage)


def _stricter(words: str) -> Callable[[Choice, Resolution, Resolution], bool]:
    return lambda choice, ours, theirs: theirs.stage == "ok" and words in ours.reason


def _laxer(
    words: str, *, to: Callable[[Choice], bool] = lambda choice: True
) -> Callable[[Choice, Resolution, Resolution], bool]:
    """vifplug comes further than libvirt, which refuses with these words."""
    return lambda choice, ours, theirs: later(ours, theirs) and words in theirs.reason and to(choice)


_NO_VLAN = "whose type doesn't support vlan configuration"

DIFFERENCES = {
    "a VIF's bandwidth that limits nothing": Difference(
        "average='0' hides the portgroup's from libvirt, which then limits nothing; to vifplug it says nothing",
        lambda choice, ours, theirs: (
            choice["port bandwidth"] == "nothing"
            and ours.port == {**theirs.port, "bandwidth": ours.port.get("bandwidth")}
        ),
    ),
    "a portgroup's bandwidth that limits nothing": Difference(
        "to vifplug it says nothing, so that it may be on a pool",
        _laxer("Unsupported <bandwidth>", to=lambda choice: choice["group bandwidth"] == "nothing"),
    ),
    "an unknown portgroup": Difference(
        "libvirt takes it for none: on Open vSwitch such a port has all VLANs", _stricter("UnknownPortGroup")
    ),
    "a VLAN on a shared device": Difference(
        "libvirt allocates the port and fails when the guest starts; from 11.0 on, it takes the network for a bridge's",
        _stricter("not supported in mode"),
    ),
    "a trunk on a virtual function": Difference(
        "libvirt allocates the port and fails when the guest starts", _stricter("expected one access VLAN")
    ),
    "VLANs 0 and 4095": Difference(
        "IEEE 802.1Q: the one is no VLAN, the other is reserved", _stricter("is not 1..4094")
    ),
    "a VLAN that is said twice": Difference("libvirt writes it twice", _stricter("expected each VLAN once")),
    "a burst that tc cannot hold": Difference(
        "libvirt lets it fail when the guest starts", _stricter("4194304 is not 1..4194303")
    ),
    "ids that a guest carries for any switch": Difference(
        "libvirt's documentation says that they do no harm; it calls them type 'none' and refuses",
        _laxer("<virtualport type='none'> not supported"),
    ),
    "a VLAN and a portgroup's virtualport": Difference(
        "libvirt looks at that one alone, where the network's own type or mode passthrough would do",
        _laxer(
            _NO_VLAN,
            to=lambda choice: choice["group virtualport"] in UNTYPED or choice["forward"] not in ("bridge", "nothing"),
        ),
    ),
    "a VLAN on a Linux bridge": Difference(
        "vifplug sets it, as libvirt does from 11.0 on",
        _laxer(_NO_VLAN, to=lambda choice: choice["forward"] == "bridge"),
        until=(11, 0),
    ),
    "Open vSwitch without a bridge": Difference(
        "libvirt takes it for macvtap; vifplug for the host's own bridge",
        lambda choice, ours, theirs: later(ours, theirs) and choice["forward"] == "nothing",
    ),
}


def difference(choice: Choice, ours: Resolution, theirs: Resolution) -> str:
    """The name of what differs; empty where nothing does, ``?`` where it has no name."""
    if ours == theirs or (theirs.stage != "ok" and not later(ours, theirs)):
        return ""
    return next((name for name, each in DIFFERENCES.items() if each.applies(choice, ours, theirs)), "?")


@pytest.fixture(scope="module")
def compared(libvirt: LibvirtNetworks) -> list[tuple[Question, Resolution, Resolution, str]]:
    """All questions, with our answer, libvirt's, and what differs."""
    choices = [choice for name, factors in WORLDS.items() for choice in pairwise(factors, name)]
    found = []
    for question in map(Question, [*choices, *one_by_one()]):
        ours, theirs = of_vifplug(question), of_libvirt(question, libvirt)
        found.append((question, ours, theirs, difference(question.choice, ours, theirs)))
    return found


Compared = list[tuple[Question, Resolution, Resolution, str]]


def test_every_answer_is_libvirts_or_differs_on_purpose(compared: Compared) -> None:
    wrong = [
        f"{question.network}\n{question.port}\n  vifplug: {ours}\n  libvirt: {theirs}"
        for question, ours, theirs, what in compared
        if what == "?"
    ]
    assert not wrong, f"{len(wrong)} of {len(compared)}:\n" + "\n".join(wrong[:5])


def test_every_difference_comes_up(compared: Compared, libvirt: LibvirtNetworks) -> None:
    """An entry of the table that nothing needs would hide the next mistake."""
    come_up = collections.Counter(what for *_, what in compared)
    assert {name for name in DIFFERENCES if come_up[name]} == {
        name for name, each in DIFFERENCES.items() if libvirt.version < each.until
    }


def test_what_is_compared_is_of_every_kind(compared: Compared) -> None:
    """Ports that both make, on every form of network, and refusals at both stages: or the judge has nothing to say."""
    assert len({(question.network, question.port) for question, *_ in compared}) > 1000
    equal = [(question, theirs) for question, _, theirs, what in compared if not what]
    kinds = collections.Counter(question.choice["forward"] for question, theirs in equal if theirs.stage == "ok")
    assert all(kinds[forward] > 10 for forward in ("bridge", *POOLS)), kinds
    profiles = {(theirs.port["virtualport"] or ("none",))[0] for _, theirs in equal if theirs.stage == "ok"}
    assert profiles == {"none", "openvswitch", "802.1Qbg", "802.1Qbh"}
    stages = collections.Counter(theirs.stage for _, theirs in equal)
    assert all(stages[stage] > 100 for stage in STAGES), stages


# -- who gets which device ----------------------------------------------------------------------------------------

PROFILE = "<virtualport type='802.1Qbh'><parameters profileid='p'/></virtualport>"


@pytest.mark.parametrize(
    ("forward", "more"),
    [
        ("bridge", ""),
        ("private", ""),
        ("private", PROFILE),
        ("vepa", ""),
        ("vepa", PROFILE),
        ("passthrough", ""),
    ],
)
def test_devices_of_a_pool_are_given_and_given_back_as_by_libvirt(
    libvirt: LibvirtNetworks, forward: str, more: str
) -> None:
    """Ports come and go by chance. Ports of two kinds on one network are left out: libvirt mixes them up (D7)."""
    devices = ("e0", "e1", "e2", "e3")
    listed = "".join(f"<interface dev='{device}'/>" for device in devices)
    xml = f"<network><name>n</name><forward mode='{forward}'>{listed}</forward>{more}</network>"
    luck, ours = random.Random(f"{forward} {more}"), Network.from_xml(xml)
    taken: dict[str, str] = {}
    refused = 0
    with libvirt.network(xml) as theirs:
        for number in range(200):
            if taken and luck.random() < 0.45:
                id = luck.choice(sorted(taken))
                theirs.release(id)
                del taken[id]
                continue
            vif = VIF.from_xml(
                f"<interface type='network'><mac address='{MAC}'/><source network='n'/></interface>",
                id=str(uuid.UUID(int=number + 1)),
            )
            alone = is_exclusive(ours, ours.virtualport)
            pool = [
                PoolDevice(
                    name=each,
                    holders=tuple(Holder(vif_id=id, exclusive=alone) for id, device in taken.items() if device == each),
                )
                for each in devices
            ]
            try:
                device = device_of(resolve(vif, ours, pool))
            except errors.PoolExhausted:
                with pytest.raises(Refused, match="requires exclusive access"):
                    theirs.allocate(networkport(id=vif.id))
                refused += 1
            else:
                assert _said_by_libvirt(theirs.allocate(networkport(id=vif.id)))["where"][1] == device
                assert device
                taken[vif.id] = device
    assert bool(refused) == is_exclusive(ours, ours.virtualport)
