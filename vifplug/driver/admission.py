"""Whether this host can take a VIF, and every reason why not: what a plug would find out one by one."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vifplug.driver import macs
from vifplug.driver.engine import Engine
from vifplug.driver.job import Job
from vifplug.driver.records import StoredVif
from vifplug.driver.requests import Request
from vifplug.driver.resolver import PoolChoice, Resolver
from vifplug.errors import HostNotReady, UnknownPortGroup, VifplugError, sentences
from vifplug.model.vif import VIF
from vifplug.networks.resolve import mtu_problem
from vifplug.plan.condition import cut_off
from vifplug.plan.facts import BridgeFacts
from vifplug.plan.preconditions import without_uplink
from vifplug.plan.registry import OvsBridge
from vifplug.store.store import Holding, taken

if TYPE_CHECKING:
    from vifplug.host.host import Host

#: From a request and the VIF's actual form to the job of plugging it. Raises what plugging would raise first.
MakeJob = Callable[[Request, VIF], Job]
#: From names (`Resource.claims`) to who has what they name
Holdings = Callable[[Iterable[str]], Iterable[Holding]]


@dataclass(frozen=True, kw_only=True)
class CanPlug:
    """Whether the VIFs of a guest can be plugged on this host: the truth of the object. Iterates over ``reasons``."""

    #: why not: each VIF with a sentence
    reasons: tuple[tuple[VIF, str], ...] = ()
    #: what will not work well or is risky: each VIF with a sentence
    warnings: tuple[tuple[VIF, str], ...] = ()

    def __bool__(self) -> bool:
        return not self.reasons

    def __iter__(self) -> Iterator[tuple[VIF, str]]:
        return iter(self.reasons)


class Admission:
    """One look at the host, for one guest: what its first VIF would take is not there for its second."""

    def __init__(self, resolver: Resolver, engine: Engine, host: Host, holdings: Holdings, make_job: MakeJob) -> None:
        self._resolver = resolver
        self._engine = engine
        self._host = host
        self._recorded = holdings
        self._make_job = make_job
        self._taken: list[Holding] = []

    def answer(self, request: Request) -> tuple[list[str], tuple[str, ...]]:
        """Return every reason why a VIF cannot be plugged here, and the warnings about it, as sentences."""
        vif, former = request.vif, request.former
        try:
            if former:
                former.validate()
            job = self._make_job(request, self._actual(vif, former))
        except UnknownPortGroup as error:
            ungrouped = vif.replace(source=vif.source.replace(portgroup=None))
            rest, warnings = self.answer(dataclasses.replace(request, vif=ungrouped))
            return list(dict.fromkeys([str(error), *rest])), warnings
        except VifplugError as error:
            return sentences(error), ()
        checks = (self._conflicts(job), self._unready(job), self._too_small(job))
        found = [sentence for check in checks for sentence in _with_obstacles(check)]
        same = macs.Neighbours(self._taken).warnings(vif.id, job.macs) if self._engine.reports_macs else ()
        self._taken += job.record("plugged").holdings
        down = () if found else tuple(self._cut_off(job))
        return list(dict.fromkeys(found)), (*job.warnings, *same, *down)

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
        look = self._engine.observe([job])
        yield from map(str, without_uplink(job.desired, look.observed, job.vif.id))
        try:
            self._engine.plan([job], look)
        except VifplugError as first:
            for error in (*look.whole.reasons(look.observed), first):
                yield from sentences(error)

    def _too_small(self, job: Job) -> Iterator[str]:
        bridge = self._switch_of(job) if job.actual.mtu else None
        if bridge and (message := mtu_problem(job.actual, bridge.name, bridge.mtu)):
            yield message

    def _cut_off(self, job: Job) -> Iterator[str]:
        """Yield a sentence for each device that should lead out of the VIF's Open vSwitch bridge and is down."""
        with contextlib.suppress(HostNotReady):
            if bridge := self._switch_of(job):
                yield from (each.sentence for each in cut_off(bridge.name, bridge.uplinks))

    def _switch_of(self, job: Job) -> BridgeFacts | None:
        """Return the VIF's bridge, if it is one of Open vSwitch, with what only a look at all ports tells."""
        name = getattr(job.actual.source, "bridge", None)
        on_switch = any(isinstance(each, OvsBridge) and each.name == name for each in job.desired)
        return self._bridges.get(name) if name and on_switch else None

    @functools.cached_property
    def _bridges(self) -> dict[str, BridgeFacts]:
        return {name: bridge for bridge in self._host.bridges() for name in bridge.names}


def _with_obstacles(reasons: Iterator[str]) -> Iterator[str]:
    """Yield the reasons, and as one more what keeps a check from being made."""
    try:
        yield from reasons
    except VifplugError as error:
        yield from sentences(error)
