"""What `vifplug.topology` draws, put together from what the host has and what is recorded. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vifplug.driver.definitions import NetworkDefinition
from vifplug.driver.records import StoredVif
from vifplug.model.vif import VIF
from vifplug.networks.pool import PoolDevice
from vifplug.networks.resolve import device_of, is_exclusive
from vifplug.plan.facts import BridgeFacts
from vifplug.topology import view
from vifplug.topology.view import vlan_text


def host(
    name: str,
    definitions: Iterable[NetworkDefinition],
    bridges: Iterable[BridgeFacts],
    pools: Mapping[str, Sequence[PoolDevice]],
    plugged: Sequence[StoredVif],
) -> view.HostView:
    """Everything on one picture. ``pools`` are the devices of the networks that have any, by the network's name."""
    networks = list(definitions)
    sound = [each for each in plugged if not each.problem]
    recorded = {each.id: each.actual for each in sound}
    adopted = {each.actual.device: each.id for each in sound if each.is_adopted}
    return view.HostView(
        name=name,
        networks=tuple(_network(each, pools.get(each.name, ())) for each in networks),
        bridges=tuple(_bridge(each, recorded, adopted) for each in bridges),
        devices=tuple(_devices(networks, pools)),
        vifs=tuple(map(_vif, plugged)),
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


def _bridge(bridge: BridgeFacts, recorded: Mapping[str, VIF], adopted: Mapping[str, str]) -> view.BridgeView:
    """Return a bridge. The VLANs of a Linux bridge are not read: those of a VIF's port are taken from the VIF.

    ``adopted`` are the VIFs whose ports libvirt created, by the names of the ports.
    """
    ports = []
    for port in bridge.ports:
        owner = port.owner or adopted.get(port.name)
        actual = recorded.get(owner or "")
        vlan = port.vlan if bridge.openvswitch or actual is None else actual.vlan
        ports.append(view.PortView(name=port.name, vlan=vlan_text(vlan), vif=owner if actual else None))
    kind = "Open vSwitch" if bridge.openvswitch else "Linux"
    return view.BridgeView(name=bridge.name, kind=kind, ports=tuple(ports))


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


def _vif(stored: StoredVif) -> view.VifView:
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
    )
