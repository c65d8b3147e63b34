"""Filter the hosts that could take a guest's VIFs, by the ``vifplug host-info`` that they publish. Pure.

It checks what the documents contain; `can-plug` on the host itself checks everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vifplug.errors import VifplugError, sentences
from vifplug.model.codec import joined
from vifplug.model.names import DEFAULT_BRIDGE
from vifplug.model.network import Network
from vifplug.model.vif import VIF
from vifplug.model.virtualport import OPENVSWITCH
from vifplug.networks.pool import Holder, PoolDevice, pick
from vifplug.networks.resolve import is_exclusive, mtu_problem, resolve_assuming_free

HostInfo = Mapping[str, Any]


def pool_data(devices: Iterable[PoolDevice]) -> list[dict[str, Any]]:
    """Return a pool as a host publishes it: which VIFs use a device, and nothing about guests."""
    found = []
    for device in devices:
        holders = [{"vif_id": holder.vif_id, "alone": holder.exclusive} for holder in device.holders]
        found.append({"name": device.name, "problem": device.problem, "max": device.limit, "holders": holders})
    return found


class Search:
    """One guest's VIFs, tried on many hosts; what is the same on all of them is looked at once."""

    def __init__(self, vifs: Sequence[VIF]) -> None:
        self._vifs = vifs
        self._tried: dict[tuple[str, str], _Trial] = {}

    def reasons(self, host: HostInfo) -> list[str]:
        """Return why a host cannot take all of the VIFs, a sentence each; empty if its host-info shows no reason."""
        taken: dict[str, tuple[Holder, ...]] = {}
        try:
            return [reason for vif in self._vifs for reason in self._of(vif, host, taken)]
        except (AttributeError, KeyError, TypeError) as error:
            return [
                f"its host-info cannot be read ({type(error).__name__}: {error}): "
                "another version of vifplug may have written it"
            ]

    def _of(self, vif: VIF, host: HostInfo, taken: dict[str, tuple[Holder, ...]]) -> Iterator[str]:
        """Yield the reasons for one VIF. ``taken``: the devices that the guest's other VIFs would use, by name."""
        trial = self._trial(vif, host) if vif.type == "network" else _Trial(actual=vif)
        yield from trial.problems
        if trial.actual is None:
            return
        if trial.actual.type not in host.get("types", ()):
            yield f"VIF type {trial.actual.type} is not installed there"
        if trial.exclusive is None:
            yield from _lacking(trial.actual, host)
            return
        name = vif.source.network
        pool = [replace(p, holders=(*p.holders, *taken.get(p.name, ()))) for p in _pool(host["networks"][name])]
        try:
            device = pick(f"network {name}", pool, vif.id, exclusive=trial.exclusive)
        except VifplugError as error:
            yield str(error)
        else:
            taken[device] = (*taken.get(device, ()), Holder(vif_id=vif.id, exclusive=trial.exclusive))

    def _trial(self, vif: VIF, host: HostInfo) -> _Trial:
        name, networks = vif.source.network, host.get("networks") or {}
        if name not in networks:
            known = joined(networks, "and") if networks else "none"
            return _Trial((f"network {name} is not defined there (defined: {known})",))
        if "definition" not in networks[name]:
            return _Trial((f"network {name} cannot be used there: {networks[name].get('problem')}",))
        definition = {key: value for key, value in networks[name]["definition"].items() if key != "uuid"}
        key = (vif.id, json.dumps([definition, host.get("integration_bridge")]))
        if key not in self._tried:
            try:
                network = Network.from_data(definition)
                actual = resolve_assuming_free(vif, network, host.get("integration_bridge") or DEFAULT_BRIDGE)
                exclusive = is_exclusive(network, actual.virtualport) if network.pooled else None
                self._tried[key] = _Trial(actual=actual, exclusive=exclusive)
            except VifplugError as error:
                self._tried[key] = _Trial(tuple(sentences(error)))
        return self._tried[key]


@dataclass(frozen=True)
class _Trial:
    """What a network makes of a VIF were its pool free; ``exclusive`` is None for one on a bridge."""

    problems: tuple[str, ...] = ()
    actual: VIF | None = None
    exclusive: bool | None = None


def _lacking(actual: VIF, host: HostInfo) -> Iterator[str]:
    """Yield what a host lacks of the bridge or device that a VIF names."""
    if bridge := getattr(actual.source, "bridge", None):
        yield from _bridge_lacking(actual, bridge, host)
    if actual.type == "direct" and actual.source.dev and actual.source.dev not in host.get("devices", ()):
        yield f"device {actual.source.dev} does not exist there"


def _bridge_lacking(actual: VIF, name: str, host: HostInfo) -> Iterator[str]:
    bridge = host.get("bridges", {}).get(name)
    switched = actual.type != "bridge" or (actual.virtualport is not None and actual.virtualport.type == OPENVSWITCH)
    if bridge is None or bridge["openvswitch"] != switched:
        yield f"{'Open vSwitch' if switched else 'Linux'} bridge {name} does not exist there"
    elif message := mtu_problem(actual, name, bridge["mtu"]):
        yield message


def _pool(published: Mapping[str, Any]) -> Iterator[PoolDevice]:
    for device in published.get("pool", ()):
        holders = tuple(Holder(vif_id=each["vif_id"], exclusive=each["alone"]) for each in device["holders"])
        yield PoolDevice(name=device["name"], problem=device["problem"], limit=device["max"], holders=holders)
