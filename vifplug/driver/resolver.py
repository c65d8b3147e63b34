"""From what a VIF requests to what it gets on this host, by definitions, records and the host's devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vifplug.driver import definitions, own_names
from vifplug.driver.definitions import NetworkDefinition, NetworkDefinitions
from vifplug.driver.records import StoredVif, guest_name
from vifplug.errors import PoolExhausted, VifplugError, about
from vifplug.model.names import default_target
from vifplug.model.network import Network
from vifplug.model.vif import VIF
from vifplug.networks.pool import Holder, PoolDevice
from vifplug.networks.resolve import device_of, fits, resolve
from vifplug.plan.facts import PoolDeviceFacts
from vifplug.plan.steps import Difference
from vifplug.store.store import Holding

if TYPE_CHECKING:
    from vifplug.host.host import Host


@dataclass(frozen=True, kw_only=True)
class PoolChoice:
    """A VIF that needs a device of a pool."""

    vif: VIF
    network: Network
    members: Sequence[PoolDeviceFacts]
    host: Host

    @property
    def names(self) -> list[str]:
        """The names, for `Resource.claims`, of the pool's devices."""
        return [name for member in self.members for name in member.names]

    def actual(self, holdings: Iterable[Holding]) -> VIF:
        """Return the VIF with the device that it gets. Raises PoolExhausted, Missing and what `resolve` raises.

        Only the best device is examined, then the next best if that one cannot be used; all of them before the pool
        counts as exhausted.
        """
        view = {device.name: device for device in pool_view(self.members, holdings)}
        try:
            while True:
                actual = resolve(self.vif, self.network, view.values())
                device = device_of(actual) or ""
                if not (problem := self.host.problem(self.network, device) or self._vlan_problem(actual, device)):
                    return actual
                view[device] = replace(view[device], problem=problem)
        except PoolExhausted:
            return resolve(self.vif, self.network, with_problems(self.network, view.values(), self.host))

    def _vlan_problem(self, actual: VIF, device: str) -> str:
        """Return why the device cannot carry the VIF's VLAN: of a whole device, only a virtual function can."""
        names = next((member.names for member in self.members if member.name == device), ())
        plain = actual.type == "direct" and not any(name.startswith("VF ") for name in names)
        return "is not a virtual function, which the VLAN requires" if actual.vlan and plain else ""


class Resolver:
    """Resolves VIFs of type network; others stay as they are. ``default_bridge``: see `resolve`."""

    def __init__(self, networks: NetworkDefinitions, host: Host, default_bridge: str) -> None:
        self.networks = networks
        self._host = host
        self._default_bridge = default_bridge

    def begin(self, vif: VIF, former: StoredVif | None, *, refresh: bool) -> VIF | PoolChoice:
        """Return the actual VIF, or the choice of a device that remains.

        A VIF keeps its device while the device exists; editing the network does not release it.

        Args:
            refresh: use the network as it is now, not as it was when the VIF was plugged.
        """
        if vif.type != "network":
            return still_adopted(vif, former)
        with about(vif_id=vif.id, resource=f"network {vif.source.network}"):
            return self._begin(vif, former, refresh=refresh)

    def _begin(self, vif: VIF, former: StoredVif | None, *, refresh: bool) -> VIF | PoolChoice:
        recorded = former.actual if former and former.is_of_network(vif.source.network) else None
        held = device_of(recorded) if recorded else None
        if held is not None and not self._host.has_device(held):
            recorded = held = None
        if recorded and not refresh and former and former.vif == vif:
            return recorded
        network = definitions.get(self.networks, vif.source.network)
        if not network.pooled or fits(held, network):
            return still_adopted(resolve(vif, network, held=held, default_bridge=self._default_bridge), former)
        return PoolChoice(vif=vif, network=network, members=self._host.pool(network), host=self._host)

    def pool(self, network: Network, holdings: Callable[[Iterable[str]], Iterable[Holding]]) -> list[PoolDevice]:
        """Return the devices of a network's pool as they are now, and the VIFs that use them."""
        members = self._host.pool(network) if network.pooled else []
        view = pool_view(members, holdings([name for member in members for name in member.names]))
        return with_problems(network, view, self._host)

    def changed(self, stored: StoredVif) -> Iterator[Difference]:
        """Return where a network no longer says what a VIF was plugged with."""
        if stored.row.asked == stored.row.actual or stored.problem or stored.vif.type != "network":
            return
        vif = stored.vif
        path = f"network {vif.source.network}"
        try:
            now = self.begin(vif, stored, refresh=True)
            if not isinstance(now, PoolChoice):
                now = self._named_as(now, stored.actual)
        except VifplugError as error:
            yield Difference(vif.id, path, "a definition that has a place for the VIF", str(error))
            return
        was = stored.actual.to_data()
        if isinstance(now, PoolChoice):
            yield Difference(vif.id, f"{path}: source", f"a device of {now.network.mode}", was.get("source"))
            return
        says = now.to_data()
        for key in says.keys() | was.keys():
            if says.get(key) != was.get(key):
                yield Difference(vif.id, f"{path}: {key}", says.get(key), was.get(key))

    def named_here(self, definition: NetworkDefinition) -> NetworkDefinition:
        """Return a definition with its bridge under the name that this host's survey has for it."""
        network = definition.network
        if network is None or network.bridge is None:
            return definition
        name = self._host.own_name(network.bridge)
        parent = self._host.vlan_bridge(name)
        return replace(definition, network=network.replace(bridge=parent.parent if parent else name))

    def _named_as(self, now: VIF, was: VIF) -> VIF:
        """Return ``now`` under the names of this host; Open vSwitch is asked only for a bridge that ``was`` has not."""
        now = own_names.with_own_names(now, self._host.own_name)
        name, had = (getattr(each.source, "bridge", None) for each in (now, was))
        bridge = self._host.vlan_bridge(name) if name and name != had else None
        return own_names.on_parent_bridge(now, bridge) if bridge else now


def still_adopted(vif: VIF, former: StoredVif | None) -> VIF:
    """Return ``vif`` on the port that libvirt made for it: an adopted VIF stays adopted until it is unplugged.

    Its document, and the guest's element, need not say so, nor name the tap that libvirt made.
    """
    if former is None or not former.is_adopted or former.actual.type != vif.type:
        return vif
    actual = former.actual
    target = actual.target if vif.target in (None, default_target(vif.id)) else vif.target
    owner = vif.tap_owner or actual.tap_owner
    return vif.replace(source=vif.source.replace(adopted=True), target=target, tap_owner=owner)


def with_problems(network: Network, devices: Iterable[PoolDevice], host: Host) -> list[PoolDevice]:
    """Return the devices, each with the reason why it cannot be used now."""
    return [
        replace(each, problem=each.problem or host.problem(network, each.name, held=bool(each.holders)))
        for each in devices
    ]


def pool_view(members: Iterable[PoolDeviceFacts], holdings: Iterable[Holding]) -> list[PoolDevice]:
    """Return the devices of a pool, and the VIFs that use them."""
    by_name: dict[str, list[Holding]] = {}
    for holding in holdings:
        by_name.setdefault(holding.name, []).append(holding)
    return [
        PoolDevice(
            name=member.name,
            problem=member.problem,
            limit=member.limit,
            holders=_holders(holding for name in member.names for holding in by_name.get(name, ())),
        )
        for member in members
    ]


def _holders(holdings: Iterable[Holding]) -> tuple[Holder, ...]:
    """Return each VIF once, even if it has the device under several names."""
    found: dict[str, Holder] = {}
    for each in holdings:
        exclusive = each.exclusive or (each.vif_id in found and found[each.vif_id].exclusive)
        found[each.vif_id] = Holder(vif_id=each.vif_id, guest=guest_name(each.instance), exclusive=exclusive)
    return tuple(found.values())
