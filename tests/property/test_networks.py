"""Laws of named networks: reading them, what they make of a VIF, and which device of a pool it gets."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.property import strategies
from vifplug import VIF, Network, errors, resolve
from vifplug.guest import xml
from vifplug.model.bandwidth import Bandwidth
from vifplug.model.network import PoolMember, PortGroup
from vifplug.model.nic import Port
from vifplug.model.source import NetworkSource
from vifplug.model.virtualport import PARAMETERS, QBG, QBH, VirtualPort
from vifplug.model.vlan import Vlan
from vifplug.networks import read
from vifplug.networks.pool import Holder, PoolDevice, pick
from vifplug.networks.resolve import device_of, is_exclusive

# -- networks -----------------------------------------------------------------------------------------------------

MODES = ("bridge", "bridge pool", "private", "vepa", "passthrough", "hostdev")
names = st.text(strategies.LETTERS + "_.- &'\"<é", min_size=1, max_size=20).map(str.strip).filter(bool)
access = st.integers(1, 4094).map(Vlan.from_data)
switches = strategies.switches
profiles = {
    "bridge": strategies.openvswitch,
    "direct": strategies.qbg | strategies.qbh,
    "hostdev": strategies.qbh,
}


def _pool(draw: st.DrawFn, mode: str) -> dict[str, Any]:
    if mode == "hostdev":
        found = draw(st.lists(strategies.addresses, min_size=1, max_size=4, unique=True))
        return draw(st.sampled_from(({"addresses": tuple(found)}, {"pf": "e0"})))
    devices = draw(st.lists(strategies.devices, min_size=1, max_size=4, unique=True))
    members = tuple(PoolMember(dev=dev, max=draw(st.none() | st.integers(1, 3))) for dev in devices)
    return draw(st.sampled_from(({"devices": members}, {"devices": members}, {"pf": "e0"})))


@st.composite
def networks(draw: st.DrawFn, *, virtualports: bool = True, modes: Sequence[str] = MODES) -> Network:
    """Any network that the model accepts. Mode ``bridge`` is on a bridge, ``bridge pool`` on devices."""
    mode: Any = draw(st.sampled_from(modes))
    bridged = mode == "bridge"
    mode = mode.removesuffix(" pool")
    form = "bridge" if bridged else "hostdev" if mode == "hostdev" else "direct"
    vlans = strategies.vlans() if bridged else access if mode in ("passthrough", "hostdev") else st.nothing()
    ports = profiles[form] if virtualports else st.nothing()
    port = draw(st.none() | ports)
    if mode == "hostdev" and port:
        vlans = st.nothing()  # the port profile has the VLAN
    groups = draw(st.lists(names, max_size=3, unique=True))
    default = draw(st.none() | st.sampled_from(groups)) if groups else None
    more: dict[str, Any] = {"bridge": draw(strategies.devices)} if bridged else _pool(draw, mode)
    if mode == "hostdev":
        more |= {"managed": draw(st.booleans()), "driver": draw(st.sampled_from((None, "vfio", "kvm", "xen")))}
    return Network(
        name=draw(names.filter(lambda name: "/" not in name)),
        uuid=draw(st.none() | strategies.uuids),
        mode=mode,
        **more,
        mtu=draw(st.none() | st.integers(68, 65535)) if bridged else None,
        vlan=draw(st.none() | vlans),
        virtualport=port,
        port=draw(st.none() | st.builds(Port, isolated=st.booleans())),
        trust_guest_rx_filters=draw(switches),
        portgroups=tuple(
            PortGroup(
                name=name,
                default=name == default,
                vlan=draw(st.none() | vlans),
                virtualport=draw(st.none() | ports | (strategies.untyped if virtualports else st.nothing())),
                bandwidth=draw(st.none() | (strategies.bandwidths() if bridged else st.nothing())),
                trust_guest_rx_filters=draw(switches),
            )
            for name in groups
        ),
    )


@st.composite
def asked(draw: st.DrawFn, network: Network) -> VIF:
    """A VIF of a network, which may ask for more than it gives."""
    known = [group.name for group in network.portgroups]
    vlans = {"bridge": strategies.vlans(), "direct": st.nothing(), "hostdev": access}[network.form]
    ports = st.none() | strategies.untyped | profiles[network.form]
    given: dict[str, st.SearchStrategy[Any]] = {
        "mtu": st.none() | st.integers(68, 9000),
        "vlan": st.none() | (access if network.mode == "passthrough" else vlans),
        "virtualport": st.none() if network.virtualport or network.vlan else ports,
        "bandwidth": st.none() | strategies.bandwidths(),
        "port": st.none() | st.builds(Port, isolated=st.booleans()),
        "trust_guest_rx_filters": switches,
    }
    group = st.none() | st.sampled_from(known) if known else st.none()
    if draw(st.integers(0, 3)) == 0:
        group = st.none() | st.sampled_from(["nosuch", *known])
        given |= {"vlan": strategies.vlans(), "virtualport": st.none() | strategies.untyped | strategies.virtualports}
    return VIF(
        id=draw(strategies.uuids),
        type="network",
        mac=draw(strategies.macs),
        source=NetworkSource(network=network.name, portgroup=draw(group)),
        **{name: draw(strategy) for name, strategy in given.items()},
    )


networks_and_vifs = networks().flatmap(lambda network: st.tuples(st.just(network), asked(network)))


def of_network(network: Network, **keys: Any) -> VIF:
    return VIF(
        id="00000000-0000-4000-8000-000000000001",
        type="network",
        mac="52:54:00:00:00:01",
        source=NetworkSource(network=network.name),
        **keys,
    )


def devices_of(network: Network) -> list[str]:
    """What a pool has; that of a pf the host would tell."""
    return list(network.members) or (["0000:07:00.1"] if network.mode == "hostdev" else ["e0v0"])


# -- elements -----------------------------------------------------------------------------------------------------


def tag(name: str, inner: str | None = None, /, **attributes: Any) -> str:
    words = {True: "yes", False: "no"}
    said = "".join(
        f" {key}={quoteattr(words[value] if isinstance(value, bool) else str(value))}"
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{said}/>\n" if inner is None else f"<{name}{said}>\n{inner}</{name}>\n"


def text(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;")


def common(said: Network | PortGroup) -> str:
    vlan, port, bandwidth = said.vlan, said.virtualport, getattr(said, "bandwidth", None)
    found = ""
    if vlan:
        tags = "".join(tag("tag", id=each.id, nativeMode=each.native_mode) for each in vlan.tags)
        found += tag("vlan", tags, trunk=vlan.trunk or None)
    if port:
        parameters = {name: getattr(port, name) for name in PARAMETERS[None]}
        found += tag("virtualport", tag("parameters", **parameters), type=port.type)
    if bandwidth:
        found += tag("bandwidth", "".join(tag(way, **limit) for way, limit in bandwidth.to_data().items()))
    return found


def element(network: Network) -> str:
    """The element that defines a network, written without any of the code that reads it."""
    inner = "".join(tag("interface", dev=each.dev, max=each.max) for each in network.devices)
    for address in network.addresses:
        domain, bus, slot, function = re.split("[:.]", address)
        numbers = {"domain": domain, "bus": bus, "slot": slot, "function": function}
        inner += tag("address", type="pci", **{name: "0x" + number for name, number in numbers.items()})
    inner += tag("pf", dev=network.pf) if network.pf else ""
    inner += tag("driver", name=network.driver) if network.driver else ""
    return tag(
        "network",
        f"<name>{text(network.name)}</name>\n"
        + (f"<uuid>{network.uuid}</uuid>\n" if network.uuid else "")
        + tag("forward", inner, mode=network.mode, managed=network.managed or None)
        + (tag("bridge", name=network.bridge) if network.bridge else "")
        + (tag("mtu", size=network.mtu) if network.mtu else "")
        + common(network)
        + (tag("port", isolated=network.port.isolated) if network.port else "")
        + "".join(
            tag(
                "portgroup",
                common(group),
                name=group.name,
                default=group.default or None,
                trustGuestRxFilters=group.trust_guest_rx_filters,
            )
            for group in network.portgroups
        ),
        trustGuestRxFilters=network.trust_guest_rx_filters,
    )


@given(networks())
def test_a_network_is_what_its_element_says(network: Network) -> None:
    assert read.network(element(network)) == network
    assert read.name(element(network)) == network.name


@given(networks())
def test_a_network_is_what_its_data_says(network: Network) -> None:
    again = Network.from_data(network.to_data())
    assert again == network and hash(again) == hash(network)


SNIPPETS = (
    *(
        "",
        "<",
        ">",
        "/>",
        "'",
        "&",
        "&lt;",
        "&b;",
        "]]>",
        "<!--",
        "-->",
        "<?x?>",
        "<![CDATA[",
        "\x00",
        "\ud800",
        "é",
        "\n",
    ),
    *("<vlan/>", "<forward/>", "<forward mode='nat'/>", "<interface/>", "<address/>", "<portgroup/>", "<virtualport/>"),
    *("<parameters/>", "<bandwidth><inbound/></bandwidth>", "<name/>", "<uuid/>", "<mtu/>", "<port/>", "<pf/>"),
    *("<driver/>", " mode='vepa'", " dev='e0'", " id='0'", " default='yes'", " type='none'", " managed='maybe'"),
    *(" xmlns='x'", "<x:y/>", "<!DOCTYPE a>", "-1", "99999999999999999999999", "0x", "٣"),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The text of a network, cut, doubled and sown with what does not belong there."""
    found = element(draw(networks()))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(found)))
        end = draw(st.integers(start, min(len(found), start + 40)))
        middle = draw(st.sampled_from(SNIPPETS) | st.text(max_size=3) | st.just(found[start:end] * 2))
        found = found[:start] + middle + found[end:]
    return found


@st.composite
def with_other_words(draw: st.DrawFn) -> str:
    """The text of a network that stays an element, with other values, or without some of its lines."""
    lines = element(draw(networks())).splitlines()
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, len(lines) - 1))
        words = draw(st.sampled_from(("", "0", "-1", "x", "yes", "é", "e 0", "1" * 300)) | st.text(max_size=5))
        lines[number] = re.sub(r"'[^']*'|\"[^\"]*\"", lambda _: quoteattr(words), lines[number])  # noqa: B023
        if lines[number].endswith("/>") and draw(st.booleans()):
            lines[number] = draw(st.sampled_from(("", lines[number] * 2)))
    return "\n".join(lines)


@given(mutated() | with_other_words())
@example("<network><name>\x1f</name></network>")
def test_whatever_is_written_is_a_network_or_refused_with_its_lines(given: str) -> None:
    try:
        network = read.network(given)
    except errors.InvalidDocument as refusal:
        assert refusal.problems
        for problem in refusal.problems:
            line = re.fullmatch(r"line (\d+)(: \$\S*)?", problem.path)
            assert problem.path == "$" or (line and 1 <= int(line[1]) <= given.count("\n") + 1), problem
            assert problem.message
        assert read.name(given) is None or isinstance(read.name(given), str)
    else:
        assert Network.from_data(network.to_data()) == network
        assert read.name(given) is not None


@given(st.binary(max_size=200) | st.text(max_size=200))
@example(b"<network/>".decode().encode("utf-16"))
@example("<network>" + "<portgroup>" * 300)
@example("x" * (xml.MAX_BYTES + 1))
def test_what_is_no_element_is_refused(given: bytes | str) -> None:
    with pytest.raises(errors.InvalidDocument):
        read.network(given)


# -- resolving ----------------------------------------------------------------------------------------------------


@given(networks_and_vifs)
def test_a_vif_is_resolved_or_refused_and_each_time_alike(given: tuple[Network, VIF]) -> None:
    network, vif = given
    try:
        actual = resolve(vif, network, devices_of(network))
    except (errors.Unsupported, errors.UnknownPortGroup) as refusal:
        with pytest.raises(type(refusal), match=re.escape(str(refusal))):
            resolve(vif, network, devices_of(network))
        return
    assert resolve(vif, network, devices_of(network)) == actual
    assert VIF.from_json(actual.to_json()) == actual
    assert (actual.type, actual.id, actual.mac) == (network.form, vif.id, vif.mac)
    levels = (vif, network.portgroup(vif.source.portgroup), network)
    for name in ("vlan", "trust_guest_rx_filters", "bandwidth", "port", "mtu"):
        said = [value for level in levels if (value := getattr(level, name, None)) is not None]
        assert getattr(actual, name) == (said[0] if said else None)
    if (device := device_of(actual)) is not None:
        assert device in devices_of(network)
        assert resolve(vif, network, [], held=device) == actual


@given(networks_and_vifs, st.randoms())
def test_the_order_of_portgroups_does_not_count(given: tuple[Network, VIF], luck: Any) -> None:
    network, vif = given
    shuffled = luck.sample(network.portgroups, len(network.portgroups))
    assert outcome(vif, network.replace(portgroups=tuple(shuffled))) == outcome(vif, network)


def outcome(vif: VIF, network: Network) -> VIF | str:
    try:
        return resolve(vif, network, devices_of(network))
    except errors.UnknownPortGroup:
        return "unknown portgroup"
    except errors.Unsupported as refusal:
        return str(refusal)


LEVELS = ("vif", "group", "network")


@st.composite
def spread(draw: st.DrawFn) -> tuple[Network, VirtualPort, dict[str, dict[str, Any]]]:
    """A network, a virtualport for it, and the same in parts: who says what of it, each thing once or more often."""
    network = draw(
        networks(virtualports=False).filter(
            lambda network: network.mode != "hostdev" or not any(each.vlan for each in (network, *network.portgroups))
        )
    )
    whole = draw(profiles[network.form])
    parts: dict[str, dict[str, Any]] = {level: {} for level in LEVELS}
    for name in ("type", *PARAMETERS[whole.type]):
        value = getattr(whole, name)
        for level in draw(st.lists(st.sampled_from(LEVELS), min_size=1, max_size=3, unique=True)):
            parts[level][name] = value
    if parts["network"]:
        parts["network"]["type"] = whole.type
    return network, whole, parts


def said(network: Network, parts: dict[str, dict[str, Any]]) -> tuple[VIF, Network]:
    ports = {level: VirtualPort(**values) if values else None for level, values in parts.items()}
    group = PortGroup(name="g", default=True, virtualport=ports["group"])
    return of_network(network, virtualport=ports["vif"]), network.replace(
        portgroups=(group,), virtualport=ports["network"]
    )


@given(spread())
def test_a_virtualport_is_the_same_wherever_its_parts_are_said(
    given: tuple[Network, VirtualPort, dict[str, dict[str, Any]]],
) -> None:
    network, whole, parts = given
    vif, there = said(network, parts)
    actual = resolve(vif, there, devices_of(there))
    assert actual.virtualport == whole
    for level in LEVELS:
        at_once = {each: {} for each in LEVELS} | {level: {"type": whole.type, **whole.parameters}}
        vif, there = said(network, at_once)
        assert resolve(vif, there, devices_of(there)) == actual


OTHER: dict[str, tuple[Any, Any]] = {
    "managerid": (0, 1),
    "typeid": (0, 1),
    "typeidversion": (0, 1),
    "instanceid": ("0" * 32, "1" * 32),
    "interfaceid": ("0" * 32, "1" * 32),
    "profileid": ("p", "q"),
    "type": (QBG, QBH),
}


@given(spread(), st.data(), st.permutations(LEVELS))
def test_what_is_said_in_two_ways_is_refused_and_named(
    given: tuple[Network, VirtualPort, dict[str, dict[str, Any]]], data: st.DataObject, order: Sequence[str]
) -> None:
    network, whole, parts = given
    taken = PARAMETERS[whole.type]
    wrong = data.draw(st.sampled_from(("type", *taken) if network.form == "direct" else taken))
    for level, value in zip(order, OTHER[wrong], strict=False):
        parts[level][wrong] = value
        parts[level].setdefault("type", whole.type)
    if wrong == "type":  # parameters that the other type takes as well, and none that it does not
        parts = {level: {"type": values["type"]} if "type" in values else {} for level, values in parts.items()}
    vif, there = said(network, parts)
    with pytest.raises(errors.Unsupported) as refusal:
        resolve(vif, there, devices_of(there))
    [problem] = [each for each in refusal.value.problems if each.path == f"$.virtualport.{wrong}"]
    places = {"vif": "the VIF has", "group": "portgroup g has", "network": f"network {network.name} has"}
    assert all(places[level] in problem.message for level in order[:2])


@given(networks(virtualports=False), st.data())
def test_what_is_said_once_counts_wherever_it_is_said(network: Network, data: st.DataObject) -> None:
    bare = network.replace(vlan=None, trust_guest_rx_filters=None, portgroups=())
    vlans = strategies.vlans() if bare.form == "bridge" else access
    choices: dict[str, st.SearchStrategy[Any]] = {"trust_guest_rx_filters": st.booleans()}
    if bare.form == "bridge" or bare.mode in ("passthrough", "hostdev"):
        choices["vlan"] = vlans
    name = data.draw(st.sampled_from(sorted(choices)))
    value = {name: data.draw(choices[name])}
    group = PortGroup(name="g", default=True)
    devices = devices_of(bare)
    of_vif = resolve(of_network(bare, **value), bare.replace(portgroups=(group,)), devices)
    of_group = resolve(of_network(bare), bare.replace(portgroups=(group.replace(**value),)), devices)
    of_whole = resolve(of_network(bare), bare.replace(portgroups=(group,), **value), devices)
    assert of_vif == of_group == of_whole
    assert getattr(of_whole, name) == value[name]


@given(networks(virtualports=False, modes=["bridge"]), strategies.bandwidths())
def test_a_limit_is_the_same_of_a_portgroup_and_of_a_vif(network: Network, limit: Bandwidth) -> None:
    group = PortGroup(name="g", default=True)
    bare, said = (network.replace(portgroups=(each,)) for each in (group, group.replace(bandwidth=limit)))
    assert resolve(of_network(bare, bandwidth=limit), bare) == resolve(of_network(said), said)


# -- picking ------------------------------------------------------------------------------------------------------

ME = "me"
holders = st.builds(Holder, vif_id=st.sampled_from((ME, "a", "b", "c")), exclusive=st.booleans())


@st.composite
def pools(draw: st.DrawFn) -> list[PoolDevice]:
    return [
        PoolDevice(
            name=name,
            problem=draw(st.sampled_from(("", "", "", "is down"))),
            limit=draw(st.none() | st.integers(1, 3)),
            holders=tuple(draw(st.lists(holders, max_size=3, unique_by=lambda holder: holder.vif_id))),
        )
        for name in draw(st.lists(strategies.devices, max_size=5, unique=True))
    ]


@given(pools(), st.booleans())
@example([PoolDevice(name="e0", limit=1, holders=(Holder(vif_id=ME, exclusive=True),))], True)
def test_the_device_is_the_first_of_the_least_used_that_may_be_had(pool: list[PoolDevice], alone: bool) -> None:
    others = {device.name: [holder for holder in device.holders if holder.vif_id != ME] for device in pool}
    usable = [
        device.name
        for device in pool
        if not device.problem
        and not (alone and others[device.name])
        and not any(holder.exclusive for holder in others[device.name])
        and (device.limit is None or len(others[device.name]) < device.limit)
    ]
    try:
        taken = pick("network n", pool, ME, exclusive=alone)
    except (errors.PoolExhausted, errors.Missing) as refusal:
        assert usable == []
        assert all(f"{device.name} " in str(refusal) for device in pool)
        held = any(others[device.name] and not device.problem for device in pool)
        assert isinstance(refusal, errors.PoolExhausted) == held
    else:
        fewest = min(len(others[name]) for name in usable)
        assert taken == next(name for name in usable if len(others[name]) == fewest)


@given(pools(), st.booleans())
def test_who_has_a_device_keeps_it_from_nobody_else_than_before(pool: list[PoolDevice], alone: bool) -> None:
    """One's own holding neither bars one from the device nor makes it look used."""
    mine = [dataclasses.replace(each, holders=tuple(h for h in each.holders if h.vif_id != ME)) for each in pool]
    results = []
    for view in (pool, mine):
        try:
            results.append(pick("network n", view, ME, exclusive=alone))
        except errors.VifplugError:
            results.append("")
    assert results[0] == results[1]


@given(
    networks(modes=MODES[1:]).filter(lambda network: bool(network.members)),
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30),
)
def test_however_vifs_come_and_go_no_device_is_overdrawn(network: Network, events: list[tuple[int, bool]]) -> None:
    holders: dict[str, list[Holder]] = {name: [] for name in network.members}
    for number, comes in events:
        vif = of_network(network).replace(id=f"00000000-0000-4000-8000-{number:012}")
        for device in holders:
            holders[device] = [holder for holder in holders[device] if holder.vif_id != vif.id]
        pool = [PoolDevice(name=each, limit=network.limits.get(each), holders=tuple(holders[each])) for each in holders]
        try:
            actual = resolve(vif, network, pool) if comes else None
        except (errors.PoolExhausted, errors.Unsupported):
            continue
        if actual:
            taken = device_of(actual)
            assert taken is not None
            least = [len(holders[each]) for each in holders if len(holders[each]) < (network.limits.get(each) or 99)]
            assert len(holders[taken]) == min(least)
            holders[taken].append(Holder(vif_id=vif.id, exclusive=is_exclusive(network, actual.virtualport)))
        for device, found in holders.items():
            assert len(found) <= (1 if any(holder.exclusive for holder in found) else network.limits.get(device) or 99)
