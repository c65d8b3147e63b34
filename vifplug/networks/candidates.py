"""Which hosts could take a guest's VIFs, from what the hosts publish of themselves (``vifplug host-info``). Pure.

It tells what can be told from afar; `can-plug` on the host itself has the last word.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vifplug.errors import InvalidDocument, UnknownNetwork, VifplugError, sentences
from vifplug.model.codec import joined
from vifplug.model.network import Network
from vifplug.model.vif import VIF
from vifplug.model.virtualport import OPENVSWITCH
from vifplug.networks.pool import Holder, PoolDevice
from vifplug.networks.resolve import device_of, is_alone, resolve

HostInfo = Mapping[str, Any]


def pool_data(devices: Iterable[PoolDevice]) -> list[dict[str, Any]]:
    """A pool as a host publishes it: who has a device, and nothing of the guests."""
    return [
        {
            "name": device.name,
            "problem": device.problem,
            "max": device.limit,
            "holders": [{"vif_id": holder.vif_id, "alone": holder.alone} for holder in device.holders],
        }
        for device in devices
    ]


def reasons(vifs: Sequence[VIF], host: HostInfo) -> list[str]:
    """Why a host can't take all of a guest's VIFs, a sentence each; none where it can, as far as it says."""
    return list(_Host(host).reasons(vifs))


class _Host:
    """One host while a guest's VIFs are tried on it, one after the other."""

    def __init__(self, info: HostInfo) -> None:
        self._info = info
        self._pools: dict[str, list[PoolDevice]] = {}

    def reasons(self, vifs: Iterable[VIF]) -> Iterator[str]:
        for vif in vifs:
            try:
                actual = self._resolved(vif) if vif.type == "network" else vif
            except VifplugError as error:
                yield from sentences(error)
            else:
                yield from self._lacking(actual)

    def _resolved(self, vif: VIF) -> VIF:
        network = self._network(vif.source.network)
        if not network.pooled:
            return resolve(vif, network, default_bridge=self._info.get("integration_bridge") or "br-int")
        pool = self._pools.setdefault(network.name, _pool(self._info["networks"][network.name]))
        actual = resolve(vif, network, pool)
        holder = Holder(vif_id=vif.id, alone=is_alone(network, actual.virtualport))
        taken = device_of(actual)
        self._pools[network.name] = [
            replace(each, holders=(*each.holders, holder)) if each.name == taken else each for each in pool
        ]
        return actual

    def _network(self, name: str) -> Network:
        networks: Mapping[str, Any] = self._info.get("networks") or {}
        if name not in networks:
            known = joined(networks, "and") if networks else "none"
            raise UnknownNetwork(f"network {name} is not defined there; defined are {known}")
        if "definition" not in networks[name]:
            raise UnknownNetwork(f"network {name} can't be used there: {networks[name].get('problem')}")
        return _parsed(json.dumps(networks[name]["definition"]))

    def _lacking(self, actual: VIF) -> Iterator[str]:
        if actual.type not in self._info.get("types", ()):
            yield f"VIF type {actual.type} is not installed there"
        if bridge := getattr(actual.source, "bridge", None):
            yield from self._bridge_lacking(actual, bridge)
        if actual.type == "direct" and actual.source.dev not in self._info.get("devices", ()):
            yield f"device {actual.source.dev} is not there"

    def _bridge_lacking(self, actual: VIF, name: str) -> Iterator[str]:
        bridge = self._info.get("bridges", {}).get(name)
        switched = actual.type != "bridge" or (actual.virtualport and actual.virtualport.type == OPENVSWITCH)
        kind = "Open vSwitch" if switched else "Linux"
        if bridge is None or bridge["openvswitch"] != bool(switched):
            yield f"{kind} bridge {name} is not there"
        elif actual.mtu and bridge["mtu"] and actual.mtu > bridge["mtu"]:
            yield f"VIF {actual.id} wants an MTU of {actual.mtu}, and what leaves bridge {name} has {bridge['mtu']}"


@functools.lru_cache(maxsize=1024)  # hosts of one kind define a network alike
def _parsed(definition: str) -> Network:
    try:
        return Network.from_data(json.loads(definition))
    except InvalidDocument as error:
        raise UnknownNetwork(f"the network as it is published can't be used: {error}") from None


def _pool(published: Mapping[str, Any]) -> list[PoolDevice]:
    return [
        PoolDevice(
            name=device["name"],
            problem=device["problem"],
            limit=device["max"],
            holders=tuple(Holder(vif_id=each["vif_id"], alone=each["alone"]) for each in device["holders"]),
        )
        for device in published.get("pool", ())
    ]
