"""The way from a guest to its network, one thing after the other, and how each is: for whoever looks for a fault.

What differs from the record is what `check` says, at the thing that it is about. Besides, there is what is no
difference and may be the reason all the same: that no guest has opened the tap, that nothing leads out of the bridge.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vifplug.driver.records import StoredVif
from vifplug.model.codec import joined
from vifplug.plan.condition import Uplink
from vifplug.plan.facts import BridgeFacts
from vifplug.plan.preconditions import Preconditions
from vifplug.plan.registry import (
    AdoptedBridgePort,
    AdoptedPort,
    BridgePort,
    BridgeVlan,
    Device,
    LibvirtTap,
    LinuxBridge,
    LowerDevice,
    Macvtap,
    OvsBridge,
    OvsPort,
    OvsVlan,
    PciFunction,
    Resource,
    SharedBridge,
    Tap,
    VethPair,
    VhostSocket,
    VirtualFunction,
    VlanLink,
)
from vifplug.plan.resource import Difference, Observation
from vifplug.topology.words import counted

if TYPE_CHECKING:
    from vifplug.host.host import Host

#: ``unclear``: it may be right, or the reason why frames do not pass
State = Literal["ok", "wrong", "unclear"]

#: a port of this VLAN passes nothing (Neutron: DEAD_VLAN_TAG)
_DEAD = 4095


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One thing on the way from a guest to its network."""

    #: ``tap``, ``carrier``, ``port``, ``vlan``, ``bridge``, ``uplink``, ``flows`` ...
    hop: str
    name: str
    state: State
    #: how it is, or what is wrong
    detail: str


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A hop before the differences are known; ``rank`` orders the hops from the guest on."""

    rank: int
    hop: Hop
    #: the beginnings of the paths of the differences that are about it
    about: tuple[str, ...] = ()


def explain(stored: StoredVif, host: Host, differences: Iterable[Difference]) -> Sequence[Hop]:
    """Return the way from the guest to the network.

    Args:
        stored: the record of the VIF.
        host: what is on the host; it is asked, and not changed.
        differences: what `check` says of the VIF.
    """
    adopted = [each for each in stored.resources if isinstance(each, (AdoptedPort, AdoptedBridgePort))]
    links = [LowerDevice(name=each.name, owner=stored.id, up=None) for each in adopted]
    needs = Preconditions([*stored.resources, *links])
    observed = host.observe([*needs.desired, *needs.required])
    # the device of a port is nearer to the guest than one that leads out; a veth pair is one thing with its port
    ports = {each.name for each in stored.resources if isinstance(each, OvsPort)}
    ends = {each.peer for each in stored.resources if isinstance(each, VethPair)}
    shown = [each for each in stored.resources if not (isinstance(each, BridgePort) and each.name in ends)]
    lines = [line for each in shown for line in _lines(each, observed, ports)]
    lines += _sockets(stored, host)
    bridges = [each for each in stored.resources if isinstance(each, (OvsBridge, AdoptedPort))]
    known = {name: facts for facts in host.bridges() for name in facts.names} if bridges else {}
    for bridge in bridges:
        lines += _switch(bridge, known)
    lines += _flows(stored.resources, observed, host)
    return [*_with_differences(sorted(lines, key=lambda line: line.rank), differences)]


def _with_differences(lines: Iterable[_Line], differences: Iterable[Difference]) -> Iterator[Hop]:
    """Yield the hops with the differences that are about them; what is about none comes last."""
    lines, wrong, rest = list(lines), defaultdict[int, list[str]](list), []
    for each in differences:
        about = [(beginning, number) for number, line in enumerate(lines) for beginning in line.about]
        own = [(len(beginning), -number) for beginning, number in about if _is_about(each, beginning)]
        if own:
            length, number = max(own)
            wrong[-number].append(str(each)[length:].lstrip(": "))
        else:
            kind, _, name = each.path.partition(" ")
            rest.append(Hop(hop=kind, name=name, state="wrong", detail=str(each).removeprefix(f"{each.path}: ")))
    for number, line in enumerate(lines):
        detail = "; ".join(wrong.get(number, ()))
        yield dataclasses.replace(line.hop, state="wrong", detail=detail) if detail else line.hop
    yield from rest


def _is_about(difference: Difference, beginning: str) -> bool:
    return difference.path == beginning or difference.path.startswith((f"{beginning}:", f"{beginning} "))


def _lines(each: Resource, observed: Observation, ports: Collection[str]) -> Iterator[_Line]:
    """Yield the hops of a resource, as they are if nothing differs. ``ports``: those of Open vSwitch."""
    seen = observed.get(each.identity)
    found = (seen and seen.resource) or each
    match each:
        case Tap() | LibvirtTap() | Macvtap():
            place = f"on {each.lower} in mode {each.mode}, " if isinstance(each, Macvtap) else ""
            line = _line(0, each.kind.removeprefix("libvirt-"), each, f"{place}{_settings(found)}")
            if isinstance(each, LibvirtTap) and not seen:
                absent = "does not exist: libvirt creates it with the guest"
                line = dataclasses.replace(line, hop=dataclasses.replace(line.hop, state="unclear", detail=absent))
            yield line
            if seen and not isinstance(each, Macvtap):
                yield _carrier(each.name, open=seen.held)
        case BridgePort():
            yield from _adopted(each.name, observed)
            yield _line(2, "port", each, f"on bridge {each.bridge}{_flags(each)}")
            if each.vlans is not None:
                text = _vlans(each.vlans)
                yield _line(2, "vlan", each, text, about=(f"{each}: vlans", f"bridge {each.bridge} vlan_filtering"))
        case LinuxBridge() | VethPair():
            end = (f"{BridgePort.kind} {each.peer}",) if isinstance(each, VethPair) else ()
            yield _line(5 if end else 4, each.kind, each, _settings(found), (str(each), *end))
        case OvsPort() | AdoptedPort():
            yield from _adopted(each.name, observed)
            yield from itertools.islice(_port(each, found), 2 if seen else 1)
        case LowerDevice(link_kind="bridge") | SharedBridge():
            yield _line(9, "bridge", each, "a Linux bridge, up", about=(str(each), f"bridge {each.name}"))
            bridge = observed.get((LowerDevice.kind, each.name))
            yield from _uplinks(each.name, bridge.condition.uplinks if bridge and bridge.condition else ())
        case LowerDevice():
            condition = seen.condition if seen else None
            text = "up" if condition and condition.up else "down"
            about = (str(each), f"device {each.name}")
            text += ", with a carrier" if condition and condition.carrier else ""
            inner = each.name in ports
            yield _line(1 if inner else 10, "device" if inner else "uplink", each, text, about)
        case VlanLink():
            about = (str(each), f"device {each.name}")
            yield _line(9, "uplink", each, f"VLAN {each.vlan} on {each.physical}, up", about)
        case VirtualFunction():
            yield _line(0, "function", each, f"VF {each.number} of {each.pf}")
            hop = Hop(hop="uplink", name=each.pf, state="ok", detail="up, with a carrier")
            yield _Line(rank=10, hop=hop, about=(f"device {each.pf}",))
        case PciFunction():
            yield _line(0, "function", each, "there")
        case OvsBridge() | VhostSocket():
            return  # their lines need more than what was observed of them
        case _:
            yield _line(1, each.kind, each, "as recorded")


def _line(rank: int, kind: str, each: Resource, detail: str, about: tuple[str, ...] = ()) -> _Line:
    return _Line(rank=rank, hop=Hop(hop=kind, name=each.name, state="ok", detail=detail), about=about or (str(each),))


def _adopted(name: str, observed: Observation) -> Iterator[_Line]:
    """Yield whether a guest has libvirt's tap open, which is no resource of the VIF."""
    link = observed.get((LowerDevice.kind, name))
    if link and link.condition:
        yield _carrier(name, open=link.condition.carrier)


def _carrier(name: str, *, open: bool) -> _Line:
    text = "a guest has the device open" if open else "no guest has the device open"
    return _Line(rank=1, hop=Hop(hop="carrier", name=name, state="ok" if open else "unclear", detail=text))


def _port(each: OvsPort | AdoptedPort, found: Resource) -> Iterator[_Line]:
    """Yield an Open vSwitch port and its VLAN. The rows of a patch come after the port of the tap."""
    rank = 8 if isinstance(each, OvsPort) and each.type == "patch" else 6
    number = getattr(found, "ofport", None)
    text = f"on bridge {each.bridge}" + (f", OpenFlow port {number}" if number else "")
    port = _line(rank, "port", each, text, about=(str(each), "iface-id", "Open_vSwitch"))
    if error := getattr(found, "error", "") or "":  # no difference where the device may be created later
        port = dataclasses.replace(port, hop=dataclasses.replace(port.hop, state="unclear", detail=f"{text}: {error}"))
    vlan = getattr(found, "vlan", None) or OvsVlan()
    dead = vlan.tag == _DEAD
    detail = f"VLAN {_DEAD}: nothing passes until an agent sets the port's VLAN" if dead else _ovs_vlan(vlan)
    hop = Hop(hop="vlan", name=each.name, state="unclear" if dead else "ok", detail=detail)
    yield port
    yield _Line(rank=rank, hop=hop, about=(f"{each}: vlan",))


def _switch(each: OvsBridge | AdoptedPort, known: Mapping[str, BridgeFacts]) -> Iterator[_Line]:
    name = each.bridge if isinstance(each, AdoptedPort) else each.name
    own = isinstance(each, OvsBridge) and each.transient
    facts = known.get(name)
    text = f"of Open vSwitch, {counted(len(facts.ports), 'port')}" if facts else "of Open vSwitch"
    about = (str(OvsBridge(name=name)), f"bridge {name}", "ovs-switch")
    yield _Line(rank=7 if own else 9, hop=Hop(hop="bridge", name=name, state="ok", detail=text), about=about)
    if facts and not own:
        yield from _uplinks(name, facts.uplinks)


def _uplinks(bridge: str, uplinks: Sequence[Uplink]) -> Iterator[_Line]:
    for each in uplinks:
        text = "up, with a carrier" if each.kernel else "no device of the kernel"
        hop = Hop(hop="uplink", name=each.name, state="ok", detail=text)
        if not each.passing:
            hop = dataclasses.replace(
                hop, state="unclear", detail=f"down, and not all that leads out of bridge {bridge}"
            )
        yield _Line(rank=10, hop=hop, about=(f"device {each.name}",))
    if not uplinks:
        text = f"nothing leads out of bridge {bridge}: what is on it reaches only the others on it"
        yield _Line(rank=10, hop=Hop(hop="uplink", name="", state="unclear", detail=text))


def _flows(resources: Iterable[Resource], observed: Observation, host: Host) -> Iterator[_Line]:
    """Yield what is known of the flows of each port that is not an inner one."""
    for each in resources:
        if isinstance(each, (OvsPort, AdoptedPort)) and each.identity in observed:
            if isinstance(each, AdoptedPort):
                port = OvsPort(name=each.name, bridge=each.bridge, external_ids=each.external_ids)
            elif each.iface_id is None:
                continue
            else:
                port = each
            known, text = host.flows(port)
            state: State = "unclear" if known is None else "ok" if known else "wrong"
            yield _Line(rank=11, hop=Hop(hop="flows", name=each.name, state=state, detail=text))


def _sockets(stored: StoredVif, host: Host) -> Iterator[_Line]:
    """Yield the socket of a vhost-user VIF, and who has bound it: the guest in mode server, else the switch."""
    path = getattr(stored.actual.source, "path", None)
    if path is None:
        return
    expected = "the guest" if stored.actual.source.mode == "server" else "the switch"
    holder = host.socket_holder(path)
    text = f"{holder} listens" if holder else f"nobody listens: {expected} does once it runs"
    hop = Hop(hop="socket", name=path, state="ok" if holder else "unclear", detail=text)
    yield _Line(rank=0, hop=hop, about=(str(VhostSocket(name=path)), "socket-directory"))


# -- words --------------------------------------------------------------------------------------------------------


def _settings(found: Resource) -> str:
    if not isinstance(found, Device):
        return "there"
    mtu = (f"mtu {found.mtu}",) if found.mtu else ()
    mac = getattr(found, "mac", None)
    return ", ".join(("up" if found.up else "down", *mtu, *((f"mac {mac}",) if mac else ())))


def _flags(port: BridgePort) -> str:
    return "".join(f", {name}" for name in ("isolated", "hairpin") if getattr(port, name))


def _vlans(vlans: Iterable[BridgeVlan]) -> str:
    texts = [f"{each.id}{' untagged' * each.untagged}" for each in vlans]
    return f"VLAN {joined(texts, 'and')}" if texts else "those that the bridge gives new ports"


def _ovs_vlan(vlan: OvsVlan) -> str:
    if vlan.tag is not None and not vlan.trunks:
        return f"{vlan.mode or 'access'}, VLAN {vlan.tag}"
    if vlan.trunks:
        tag = f", VLAN {vlan.tag}" if vlan.tag is not None else ""
        return f"{vlan.mode or 'trunk'}{tag}, of {counted(len(vlan.trunks), 'VLAN')}"
    return "no VLAN: frames pass with the tags that they have"
