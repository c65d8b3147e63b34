"""From the requested VIF to the actual one: what a network makes of it on this host. Pure.

Precedence and merging are libvirt's (networkAllocatePort, 9.0 and 11.3); doc/networks.md has what is different.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from vifplug.errors import InvalidDocument, InvalidRequest, Problem, UnknownPortGroup, Unsupported, about
from vifplug.guest import capabilities
from vifplug.model.codec import joined
from vifplug.model.names import DEFAULT_BRIDGE, default_target, is_pci
from vifplug.model.network import Network, PortGroup
from vifplug.model.nic import Driver, Port
from vifplug.model.source import BridgeSource, DirectSource, HostDeviceSource
from vifplug.model.vif import VIF
from vifplug.model.virtualport import OPENVSWITCH, PARAMETERS, QBH, VirtualPort
from vifplug.networks.pool import PoolDevice, pick

T = TypeVar("T")

#: who says it, such as ``portgroup engineering``, and what
Said = tuple[str, VirtualPort | None]


def resolve(
    vif: VIF,
    network: Network,
    devices: Iterable[PoolDevice | str] | None = None,
    *,
    held: str | None = None,
    default_bridge: str = DEFAULT_BRIDGE,
) -> VIF:
    """Return the resolved VIF, of type bridge, direct or hostdev, with the values of network and portgroup.

    Args:
        vif: the requested VIF, of type network.
        network: the network that it names, as this host defines it.
        devices: the devices of the network's pool in their current state. A name is a free device; None: the names in
            the definition, all free.
        held: the device that the VIF uses, and keeps even if it is no longer in the pool.
        default_bridge: the bridge of an openvswitch network that names none.

    Raises:
        InvalidRequest: the VIF is not of this network.
        UnknownPortGroup: the network has no such portgroup.
        Unsupported: the network does not support something of the VIF; the error has every problem.
        PoolExhausted: other VIFs use all devices of the pool.
        Missing: no device of the pool can be used.
    """
    if vif.type != "network" or vif.source.network != network.name:
        asked = f"network {vif.source.network}" if vif.type == "network" else f"type {vif.type}"
        message = f"VIF {vif.id} is of {asked}: expected one of network {network.name}"
        raise InvalidRequest(message, vif_id=vif.id, resource=f"network {network.name}")
    with about(vif_id=vif.id, resource=f"network {network.name}"):
        return _resolved(vif, network, devices, held, default_bridge)


def _resolved(
    vif: VIF, network: Network, devices: Iterable[PoolDevice | str] | None, held: str | None, default_bridge: str
) -> VIF:
    group = _portgroup(vif, network)
    vlan = _first(vif.vlan, group.vlan, network.vlan)
    said = (("the VIF", vif), (f"network {network.name}", network), (f"portgroup {group.name}", group))
    port, problems = _virtualport([(place, each.virtualport) for place, each in said])
    changes: dict[str, Any] = {
        "vlan": vlan,
        "virtualport": port,
        "bandwidth": _first(vif.bandwidth, group.bandwidth),
        "port": _port(vif.port, network.port),
        "trust_guest_rx_filters": _first(
            vif.trust_guest_rx_filters, group.trust_guest_rx_filters, network.trust_guest_rx_filters
        ),
    }
    problems += _problems(network, changes, agreed=not problems)
    if problems:
        raise Unsupported(problems, f"VIF {vif.id} on network {network.name}")
    changes |= _form(vif, network, default_bridge)
    if network.form != "bridge":
        device = held if fits(held, network) else _picked(vif, network, devices, exclusive=is_exclusive(network, port))
        if network.mode == "hostdev":
            changes["source"] = HostDeviceSource(address=device or "", managed=network.managed)
        else:
            changes["source"] = DirectSource(dev=device, mode=network.mode)
    try:
        return vif.replace(type=network.form, **changes)
    except InvalidDocument as error:
        raise Unsupported(error.problems, f"VIF {vif.id} on network {network.name}") from None


def resolve_assuming_free(vif: VIF, network: Network, default_bridge: str = DEFAULT_BRIDGE) -> VIF:
    """Return the actual VIF as if the pool had a free device, of any name if the network names none; see `resolve`."""
    some = "0000:00:00.0" if network.form == "hostdev" else "any"
    return resolve(vif, network, network.members or [some], default_bridge=default_bridge)


def is_exclusive(network: Network, port: VirtualPort | None) -> bool:
    """Return whether a VIF of the network has exclusive use of its device."""
    if network.mode == "private":
        return port is not None and port.type == QBH
    return network.mode in ("passthrough", "hostdev")


def mtu_problem(actual: VIF, bridge: str, mtu: int | None) -> str:
    """Return why the VIF's MTU exceeds that of the devices which lead out of its bridge; empty if it does not."""
    if not (actual.mtu and mtu and actual.mtu > mtu):
        return ""
    return f"VIF {actual.id} requests an MTU of {actual.mtu}, and a device that leads out of bridge {bridge} has {mtu}"


def device_of(actual: VIF) -> str | None:
    """Return the pool device of a resolved VIF."""
    if isinstance(actual.source, DirectSource):
        return actual.source.dev
    return actual.source.address if isinstance(actual.source, HostDeviceSource) else None


def fits(held: str | None, network: Network) -> bool:
    """Return whether the device of a VIF is of the network's kind."""
    return held is not None and network.form == ("hostdev" if is_pci(held) else "direct")


def _portgroup(vif: VIF, network: Network) -> PortGroup:
    """Return the VIF's portgroup; an empty one if it names none and the network has no default."""
    group = network.portgroup(vif.source.portgroup)
    if group is None and vif.source.portgroup is not None:
        known = joined(each.name for each in network.portgroups) if network.portgroups else "none"
        raise UnknownPortGroup(
            f"VIF {vif.id} requests portgroup {vif.source.portgroup} of network {network.name}, which has {known}: "
            "correct the VIF's source, or add the portgroup"
        )
    return group or PortGroup(name="none")


def _problems(network: Network, merged: Mapping[str, Any], *, agreed: bool) -> Iterator[Problem]:
    """Yield what the network does not support in the merged values. ``agreed``: the virtualports could be merged."""
    port, vlan, bandwidth = merged["virtualport"], merged["vlan"], merged["bandwidth"]
    if message := capabilities.profile_problem(port, network.form, capabilities.NETWORK_PROFILES):
        yield Problem("$.virtualport.type", message)
    elif port:
        yield from (problem.under("$.virtualport") for problem in port.missing())
    if message := capabilities.network_vlan_problem(vlan, network.form, network.mode, port):
        yield Problem("$.vlan", message)
    if network.form == "bridge" and network.bridge is None and agreed and not (port and port.type == OPENVSWITCH):
        yield Problem("$.virtualport.type", "is missing; expected openvswitch, since the network names no bridge")
    if capabilities.floor(bandwidth):
        yield Problem("$.bandwidth.inbound.floor", capabilities.FLOOR)


def _form(vif: VIF, network: Network, default_bridge: str) -> dict[str, Any]:
    """Return the fields that depend on how the network connects its VIFs."""
    target = None if vif.tap_owner == "libvirt" else default_target(vif.id)
    if network.form == "bridge":
        source = BridgeSource(bridge=network.bridge or default_bridge)
        return {"source": source, "mtu": vif.mtu or network.mtu, "target": vif.target or target}
    if network.form == "direct":
        return {"target": vif.target or target}
    driver = Driver(name=network.driver, model=network.driver_model)
    return {"target": None, "tap_owner": None, "driver": driver}  # the guest sees the function itself: no tap, no NIC


def _picked(vif: VIF, network: Network, devices: Iterable[PoolDevice | str] | None, *, exclusive: bool) -> str:
    if devices is None and network.pf:
        message = f"only a host with {network.pf} knows the devices of network {network.name}"
        raise InvalidRequest(f"{message}: `vifplug plug --dry-run` shows there which one VIF {vif.id} would get")
    limits = network.limits
    pool = [
        PoolDevice(name=each, limit=limits.get(each)) if isinstance(each, str) else each
        for each in (network.members if devices is None else devices)
    ]
    return pick(f"network {network.name}", pool, vif.id, exclusive=exclusive)


# -- merging: what a VIF, its network and its portgroup say of one thing (libvirt: virNetDevVPortProfileMerge3) --------


def _first(*values: T | None) -> T | None:
    """Return the first value that is given: the one that is nearest to the guest."""
    return next((value for value in values if value is not None), None)


def _port(own: Port | None, common: Port | None) -> Port | None:
    """Return the VIF's port; what it does not say of isolation, the network says."""
    if own and common and own.isolated is None:
        return own.replace(isolated=common.isolated)
    return own or common


def _virtualport(said: Sequence[Said]) -> tuple[VirtualPort | None, list[Problem]]:
    """Return the union of the virtualports, and a problem for each attribute with several values.

    The union is None without a type, because the parameters are then for no switch. Parameters that the type does not
    support are dropped: a guest may carry those of several kinds of switches.
    """
    given = [(place, port) for place, port in said if port]
    kind, problems = _agreed("type", [(place, port.type) for place, port in given])
    if kind is None or problems:
        return None, problems
    values: dict[str, object] = {"type": kind}
    for name in PARAMETERS[kind]:
        values[name], found = _agreed(name, [(place, getattr(port, name)) for place, port in given])
        problems += found
    return (None if problems else VirtualPort.from_data(values)), problems


def _agreed(name: str, said: Iterable[tuple[str, T | None]]) -> tuple[T | None, list[Problem]]:
    """Return the common value, and a problem that names the places if the values differ."""
    given = [(place, value) for place, value in said if value is not None]
    if len({value for _, value in given}) > 1:
        message = joined((f"{place} has {value}" for place, value in given), "and")
        return None, [
            Problem(f"$.virtualport.{name}", f"{message}: use the same value in all of them, or give it once")
        ]
    return (given[0][1] if given else None), []
