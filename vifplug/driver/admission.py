"""Whether this host can take a VIF, and every reason why not: what a plug would find out one by one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from vifplug.driver.engine import Job, lasting
from vifplug.driver.resolver import PoolChoice, Resolver
from vifplug.errors import UnknownPortGroup, VifplugError, sentences
from vifplug.host.machine import Machine
from vifplug.model.vif import VIF
from vifplug.networks.resolve import mtu_problem
from vifplug.plan.facts import BridgeFacts
from vifplug.plan.registry import BridgePort, OvsBridge, Resource
from vifplug.plan.steps import plan
from vifplug.store.store import Holding, Record, taken

#: From a VIF, its actual form and its record to the job of plugging it. Raises what plugging would raise first.
MakeJob = Callable[[VIF, VIF, Record | None], Job]
#: From names (`Resource.claims`) to who has what they name
Holdings = Callable[[Iterable[str]], Iterable[Holding]]


class Surveyor(Protocol):
    """Who knows the bridges of this host."""

    def bridges(self) -> list[BridgeFacts]:
        """Every bridge, by name."""
        ...


class Admission:
    """One look at the host, for one guest: what its first VIF would take is not there for its second."""

    def __init__(self, resolver: Resolver, machine: Machine, surveyor: Surveyor, holdings: Holdings) -> None:
        self._resolver = resolver
        self._machine = machine
        self._surveyor = surveyor
        self._recorded = holdings
        self._taken: list[Holding] = []

    def reasons(self, vif: VIF, former: Record | None, make_job: MakeJob) -> list[str]:
        """Why ``vif`` can't be plugged here, a sentence each; none where it can."""
        try:
            job = make_job(vif, self._actual(vif, former), former)
        except UnknownPortGroup as error:
            rest = self.reasons(vif.replace(source=vif.source.replace(portgroup=None)), former, make_job)
            return list(dict.fromkeys([str(error), *rest]))
        except VifplugError as error:
            return sentences(error)
        checks = (self._conflicts(job), self._lacking(job), self._too_small(job.actual), self._unfiltered(job))
        found = [sentence for check in checks for sentence in _describe(check)]
        self._taken += _wanted(job)
        return list(dict.fromkeys(found))

    def _actual(self, vif: VIF, former: Record | None) -> VIF:
        begun = self._resolver.begin(vif, former, refresh=False)
        return begun.actual(self._holdings(begun.names)) if isinstance(begun, PoolChoice) else begun

    def _holdings(self, names: Iterable[str]) -> list[Holding]:
        wanted = set(names)
        return [*self._recorded(wanted), *(each for each in self._taken if each.name in wanted)]

    def _conflicts(self, job: Job) -> Iterator[str]:
        """What another VIF has."""
        wanted = {each.name: each for each in _wanted(job)}
        for other in self._holdings(wanted):
            if other.vif_id != job.vif.id and (other.alone or wanted[other.name].alone):
                yield taken(other.name, job.vif.id, other.vif_id)

    def _lacking(self, job: Job) -> Iterator[str]:
        """What the host lacks, or has of another owner."""
        for resource in lasting(job.wanted):
            yield from _describe(self._missing(job, resource))

    def _missing(self, job: Job, resource: Resource) -> Iterator[str]:
        observed = self._machine.observe([resource])
        if isinstance(resource, OvsBridge) and not resource.transient and resource.identity not in observed:
            message = f"Open vSwitch bridge {resource.name} is not on this host, and VIF {job.vif.id} needs it"
            yield f"{message}: one that plugging makes leads nowhere"
        plan([resource], observed)

    def _too_small(self, actual: VIF) -> Iterator[str]:
        name = getattr(actual.source, "bridge", None)
        bridge = self._bridges.get(name) if name and actual.mtu else None
        if bridge and (message := mtu_problem(actual, bridge.name, bridge.mtu)):
            yield message

    def _unfiltered(self, job: Job) -> Iterator[str]:
        for port in job.wanted:
            if not (isinstance(port, BridgePort) and port.vlans):
                continue
            bridge = self._bridges.get(port.bridge)
            if bridge and not bridge.filters_vlans:
                message = f"VIF {job.vif.id} wants VLANs on Linux bridge {bridge.name}, which does not filter VLANs"
                yield f"{message}: turn it on with 'ip link set dev {bridge.name} type bridge vlan_filtering 1'"

    @functools.cached_property
    def _bridges(self) -> dict[str, BridgeFacts]:
        return {bridge.name: bridge for bridge in self._surveyor.bridges()}


def _describe(reasons: Iterator[str]) -> Iterator[str]:
    """The reasons; what keeps a check from being made is one as well."""
    try:
        yield from reasons
    except VifplugError as error:
        yield from sentences(error)


def _wanted(job: Job) -> list[Holding]:
    """What the VIF would have."""
    record = job.record("plugged")
    names = [(name, True) for name in record.claims] + [(name, False) for name in record.shares]
    return [Holding(name=name, vif_id=job.vif.id, alone=alone, instance=record.instance) for name, alone in names]
