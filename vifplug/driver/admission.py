"""Whether this host can take a VIF, and every reason why not: what a plug would find out one by one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from vifplug.driver.engine import Engine, Job, lasting
from vifplug.driver.records import StoredVif
from vifplug.driver.resolver import PoolChoice, Resolver
from vifplug.errors import UnknownPortGroup, VifplugError, sentences
from vifplug.model.vif import VIF
from vifplug.networks.resolve import mtu_problem
from vifplug.plan import preconditions
from vifplug.plan.facts import BridgeFacts
from vifplug.store.store import Holding, taken

if TYPE_CHECKING:
    from vifplug.host.host import Host

#: From a VIF, its actual form and its record to the job of plugging it. Raises what plugging would raise first.
MakeJob = Callable[[VIF, VIF, StoredVif | None], Job]
#: From names (`Resource.claims`) to who has what they name
Holdings = Callable[[Iterable[str]], Iterable[Holding]]


class Admission:
    """One look at the host, for one guest: what its first VIF would take is not there for its second."""

    def __init__(self, resolver: Resolver, engine: Engine, host: Host, holdings: Holdings, make_job: MakeJob) -> None:
        self._resolver = resolver
        self._engine = engine
        self._host = host
        self._recorded = holdings
        self._make_job = make_job
        self._taken: list[Holding] = []

    def reasons(self, vif: VIF, former: StoredVif | None) -> list[str]:
        """Return every reason why ``vif`` cannot be plugged here, as sentences; empty if it can."""
        try:
            if former:
                former.validate()
            job = self._make_job(vif, self._actual(vif, former), former)
        except UnknownPortGroup as error:
            rest = self.reasons(vif.replace(source=vif.source.replace(portgroup=None)), former)
            return list(dict.fromkeys([str(error), *rest]))
        except VifplugError as error:
            return sentences(error)
        checks = (self._conflicts(job), self._unready(job), self._too_small(job.actual))
        found = [sentence for check in checks for sentence in _with_obstacles(check)]
        self._taken += job.record("plugged").holdings
        return list(dict.fromkeys(found))

    def _actual(self, vif: VIF, former: StoredVif | None) -> VIF:
        begun = self._resolver.begin(vif, former, refresh=False)
        return begun.actual(self._holdings(begun.names)) if isinstance(begun, PoolChoice) else begun

    def _holdings(self, names: Iterable[str]) -> list[Holding]:
        names = set(names)
        return [*self._recorded(names), *(each for each in self._taken if each.name in names)]

    def _conflicts(self, job: Job) -> Iterator[str]:
        """Yield what another VIF has of what this one would claim."""
        desired = {each.name: each for each in job.record("plugged").holdings}
        for other in self._holdings(desired):
            if other.vif_id != job.vif.id and (other.exclusive or desired[other.name].exclusive):
                yield taken(other.name, job.vif.id, other.vif_id)

    def _unready(self, job: Job) -> Iterator[str]:
        """Yield what is missing on the host or belongs to another owner."""
        observed = self._engine.observe([job])
        yield from map(str, preconditions.without_uplink(job.desired, observed, job.vif.id))
        try:
            self._engine.plan([job], observed)
        except VifplugError as first:
            for error in (*preconditions.reasons(lasting(job.desired), observed), first):
                yield from sentences(error)

    def _too_small(self, actual: VIF) -> Iterator[str]:
        name = getattr(actual.source, "bridge", None)
        bridge = self._bridges.get(name) if name and actual.mtu else None
        if bridge and (message := mtu_problem(actual, bridge.name, bridge.mtu)):
            yield message

    @functools.cached_property
    def _bridges(self) -> dict[str, BridgeFacts]:
        return {bridge.name: bridge for bridge in self._host.bridges()}


def _with_obstacles(reasons: Iterator[str]) -> Iterator[str]:
    """Yield the reasons, and as one more what keeps a check from being made."""
    try:
        yield from reasons
    except VifplugError as error:
        yield from sentences(error)
