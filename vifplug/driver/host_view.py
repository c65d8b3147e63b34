"""What `vifplug.topology` draws, put together from what the host has and what is recorded. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vifplug.driver.definitions import NetworkDefinition
from vifplug.driver.records import StoredVif
from vifplug.model.vif import VIF
from vifplug.networks.pool import PoolDevice
from vifplug.networks.resolve import device_of, is_exclusive
from vifplug.plan.facts import BridgeFacts
from vifplug.plan.resource import Difference
from vifplug.topology import view
from vifplug.topology.view import vlan_text
from vifplug.topology.words import counted

#: how the paths of differences begin that are about what has a box of its own, or about a VIF's state
_BOXES = ("bridge", "device", "lower-device", "ovs-bridge", "ovs-switch", "state")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What a picture is made of."""

    #: the host's
    name: str
    definitions: Iterable[NetworkDefinition]
    bridges: Iterable[BridgeFacts]
    #: the devices of the networks that have any, by the network's name
    pools: Mapping[str, Sequence[PoolDevice]]
    #: the records of all VIFs
    plugged: Sequence[StoredVif]
    #: what `check` says of them
    differences: Iterable[Difference]
    #: returns whether a device exists
    has_device: Callable[[str], bool]


def host(seen: Sources) -> view.HostView:
    """Everything on one picture, with what is missing."""
    networks = list(seen.definitions)
    sound = [each for each in seen.plugged if not each.problem]
    recorded = {each.id: each.actual for each in sound}
    adopted = {each.actual.device: each.id for each in sound if each.is_adopted}
    by_vif: dict[str, list[Difference]] = defaultdict(list)
    for each in seen.differences:
        by_vif[each.vif_id].append(each)
    stopped = next((str(each.found) for some in by_vif.values() for each in some if each.path == "ovs-switch"), "")
    below = {device for each in recorded.values() if (device := device_of(each))}
    used = {getattr(each.source, "bridge", None) for each in recorded.values()}  # not those that a VIF has for itself
    bridges = (_bridge(each, recorded, adopted, stopped) for each in seen.bridges)
    return view.HostView(
        name=seen.name,
        networks=tuple(_network(each, seen.pools.get(each.name, ())) for each in networks),
        bridges=tuple(each if each.name in used else replace(each, outward=True) for each in bridges),
        devices=tuple(_devices(networks, seen.pools)),
        vifs=tuple(_vif(each, by_vif[each.id]) for each in seen.plugged),
        missing=frozenset(each for each in below if not seen.has_device(each)),
    )


def _network(definition: NetworkDefinition, pool: Iterable[PoolDevice]) -> view.NetworkView:
    network = definition.network
    if network is None:
        return view.NetworkView(name=definition.name or definition.place, problem=str(definition))
    groups = (view.PortGroupView(name=g.name, default=g.default, vlan=vlan_text(g.vlan)) for g in network.portgroups)
    return view.NetworkView(
        name=network.name,
        mode=network.mode,
        bridge=network.bridge,
        devices=tuple(device.name for device in pool),
        vlan=vlan_text(network.vlan),
        portgroups=tuple(groups),
    )


def _bridge(
    bridge: BridgeFacts, recorded: Mapping[str, VIF], adopted: Mapping[str, str], stopped: str
) -> view.BridgeView:
    """Return a bridge. The VLANs of a Linux bridge are not read: those of a VIF's port are taken from the VIF.

    ``adopted`` are the VIFs whose ports libvirt created, by the names of the ports; ``stopped``: why Open vSwitch does
    not work.
    """
    down = {each.name for each in bridge.uplinks if not each.passing}
    ports = []
    for port in bridge.ports:
        owner = port.owner or adopted.get(port.name)
        actual = recorded.get(owner or "")
        vlan = port.vlan if bridge.openvswitch or actual is None else actual.vlan
        problem = "is down" if port.name in down else ""
        if owner and not actual:
            problem = f"has the mark of VIF {owner}, which is not recorded"
        ports.append(
            view.PortView(name=port.name, vlan=vlan_text(vlan), vif=owner if actual else None, problem=problem)
        )
    return view.BridgeView(
        name=bridge.name,
        kind="Open vSwitch" if bridge.openvswitch else "Linux",
        ports=tuple(ports),
        outward=bool(bridge.uplinks),
        problem=stopped if bridge.openvswitch else "" if bridge.up else "is down",
    )


def _devices(
    definitions: Iterable[NetworkDefinition], pools: Mapping[str, Sequence[PoolDevice]]
) -> list[view.DeviceView]:
    """Return each device once, although several pools may contain it."""
    found: dict[str, view.DeviceView] = {}
    for definition in definitions:
        for device in pools.get(definition.name, ()):
            exclusive = any(holder.exclusive for holder in device.holders)
            network, known = definition.network, found.get(device.name)
            limits = [each for each in (device.limit, known.limit if known else None) if each is not None]
            found[device.name] = view.DeviceView(
                name=device.name,
                problem=device.problem,
                limit=min(limits, default=None),
                holders=tuple(holder.vif_id for holder in device.holders),
                exclusive=exclusive or (network is not None and is_exclusive(network, network.virtualport)),
            )
    return list(found.values())


def _vif(stored: StoredVif, differences: Sequence[Difference]) -> view.VifView:
    if stored.problem:
        return view.VifView(id=stored.id, state="damaged")
    asked, actual, guest = stored.vif, stored.actual, stored.instance
    named = asked.type == "network"
    return view.VifView(
        id=asked.id,
        device=str(actual.target or device_of(actual) or getattr(actual.source, "path", "")),
        type=actual.type,
        mac=actual.mac,
        vlan=vlan_text(actual.vlan),
        network=asked.source.network if named else None,
        portgroup=asked.source.portgroup if named else None,
        bridge=getattr(actual.source, "bridge", None),
        dev=device_of(actual),
        guest=(guest.name or guest.uuid) if guest else "",
        state=stored.state,
        problem=_problem(differences),
    )


def _problem(differences: Iterable[Difference]) -> str:
    """Return what of a VIF is missing, and how much of it differs; bridges and devices have boxes of their own."""
    own = [each for each in differences if each.path.partition(" ")[0] not in _BOXES]
    missing = [f"{each.path} is missing" for each in own if each.found is None and each.wanted == "present"]
    others = len(own) - len(missing)
    return ", ".join([*missing, *([counted(others, "difference")] if others else [])])
