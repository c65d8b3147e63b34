"""One VIF and what a verb does to it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import operator
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vifplug.driver import macs, own_names
from vifplug.driver.records import StoredVif
from vifplug.errors import InvalidRequest
from vifplug.model.vif import VIF, Instance
from vifplug.plan import registry, steps
from vifplug.plan.plan import Plan
from vifplug.plan.registry import Identity, OvsBridge, Ownership, Resource, VhostSocket
from vifplug.plan.steps import Observation
from vifplug.store.store import Record, State


@dataclass(kw_only=True)
class Job:
    """One VIF and what a verb does to it."""

    #: the VIF as requested
    vif: VIF
    #: the VIF as resolved on this host
    actual: VIF
    instance: Instance | None
    interface_xml: str
    #: what must hold on the host when the verb is done
    desired: Sequence[Resource]
    #: what is recorded of the VIF before the verb
    former: StoredVif | None = None
    #: what may exist while the verb is at work: what is desired, and what is recorded and no longer desired
    intent: Sequence[Resource] = ()
    #: what the VIF changes, as it was before the first change
    originals: Mapping[Identity, Resource] = field(default_factory=dict)
    plan: Plan = Plan()
    #: sentences about what will be plugged, and will not work well or is risky
    warnings: tuple[str, ...] = ()
    #: whether a record that holds what is desired was written before anything was planned
    reserved: bool = False
    #: names that the record shares besides those of the resources: who plugged the VIF
    marks: tuple[str, ...] = ()
    #: whether no other VIF may have its MAC on the same network or bridge
    exclusive_mac: bool = False
    #: whether the verb includes what can be applied only when the guest has started
    settles: bool = False
    #: makes the job of the same VIF with another actual VIF; None for a job that a record left
    remake: Callable[[VIF], Job] | None = None

    def on_parent_bridge(self, observed: Observation) -> Job | None:
        """Return the job on the parent of the VIF's bridge if that is a VLAN bridge in ``observed``, otherwise None."""
        seen = observed.get((OvsBridge.kind, getattr(self.actual.source, "bridge", "")))
        bridge = seen.resource if seen else None
        if self.remake is None or not isinstance(bridge, OvsBridge) or not bridge.parent:
            return None
        return self.remake(own_names.on_parent_bridge(self.actual, bridge))

    @classmethod
    def recorded(cls, stored: StoredVif, *, settles: bool) -> Job:
        """Return the job that left a record, to be done again."""
        return cls(
            vif=stored.vif,
            actual=stored.actual,
            instance=stored.instance,
            interface_xml=stored.interface_xml,
            desired=stored.resources,
            former=stored,
            marks=stored.marks,
            exclusive_mac=any(each in stored.claims for each in stored.macs),
            settles=settles,
        )

    @property
    def begun(self) -> State:
        """The state of the record until the verb is done; ``updating`` says that the VIF was plugged before."""
        return "updating" if self.former and self.former.state in ("plugged", "updating") else "plugging"

    def applied(self, resources: Iterable[Resource]) -> Sequence[Resource]:
        """Return those of the resources that the verb applies."""
        return list(resources) if self.settles else steps.lasting(resources)

    @property
    def macs(self) -> tuple[str, ...]:
        """The names of the VIF's MAC where it is: see `vifplug.driver.macs`."""
        return macs.names(self.vif, self.actual)

    @property
    def stands(self) -> bool:
        """Whether the VIF is plugged already, and requested as it is: the job repairs it."""
        former = self.former
        return former is not None and not former.is_interrupted and former.actual == self.actual

    @property
    def shares_early(self) -> bool:
        """Whether what the VIF shares is recorded before it is observed, so that nobody removes it in between."""
        return any(isinstance(each, VhostSocket) for each in self.desired)

    def dropped(self) -> list[Resource]:
        """Return the recorded resources that are no longer desired."""
        return steps.dropped(self.desired, self.former.resources) if self.former else []

    def record(self, state: State, begun: Record | None = None) -> Record:
        """Return the record of the finished job, or of an unfinished one, which also keeps what the VIF had before.

        Args:
            begun: the record of the same job while it was unfinished, which has the same documents.
        """
        finished = state == "plugged"
        desired = self.desired if finished else self.intent
        had = None if finished else self.former
        claims, shares = self._holdings(desired, had)
        asked = begun.asked if begun else self.vif.to_json()
        actual = begun.actual if begun else asked if self.actual is self.vif else self.actual.to_json()
        return Record(
            vif_id=self.vif.id,
            state=state,
            asked=asked,
            actual=actual,
            instance=begun.instance if begun else _guest(self.instance),
            interface_xml=self.interface_xml,
            wanted=begun.wanted if begun and _same(desired, self.intent) else registry.to_json(desired),
            originals=registry.to_json(_kept(self.originals, desired).values()),
            claims=claims,
            shares=shares,
            changed_at=time.time(),
        )

    def reservation(self) -> Record | None:
        """Return the record that claims the desired resources, to be written before planning.

        It keeps the existing record. None if the record claims them already, or if nothing has to be claimed.
        """
        record, former = self.record("plugged"), self.former
        if not (record.claims or record.shares):
            return None
        if former is None:
            return dataclasses.replace(record, state="plugging", wanted="[]")
        claims, shares = _once(former.claims, record.claims), _once(former.shares, record.shares)
        if (claims, shares) == (former.claims, former.shares):
            return None
        return dataclasses.replace(former.row, state=self.begun, claims=claims, shares=shares)

    def is_recorded(self) -> bool:
        """Return whether the record already has exactly this content."""
        had = self.former
        if had is None or had.state != "plugged":
            return False
        return (
            (had.vif, had.actual, had.instance) == (self.vif, self.actual, self.instance)
            and had.interface_xml == self.interface_xml
            and (had.claims, had.shares) == self._holdings(self.desired, None)
            and tuple(had.resources) == tuple(each.recorded for each in self.desired)
            and had.originals == _kept(self.originals, self.desired)
        )

    def _holdings(self, desired: Sequence[Resource], had: StoredVif | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names that the record claims and shares: those of the resources, of the MAC, and of ``had``."""
        claimed, shared = (self.macs, self.marks) if self.exclusive_mac else ((), (*self.marks, *self.macs))
        return (
            _once(had.claims if had else (), claimed, *map(operator.attrgetter("claims"), desired)),
            _once(had.shares if had else (), shared, *map(operator.attrgetter("shares"), desired)),
        )


def _guest(instance: Instance | None) -> str | None:
    return json.dumps(instance.to_data()) if instance else None


def check_distinct(jobs: Sequence[Job]) -> None:
    """Raise InvalidRequest if a batch has a VIF twice, or one device for two VIFs."""
    ids: set[str] = set()
    owners: dict[Identity, str] = {}
    for job in jobs:
        if job.vif.id in ids:
            message = f"VIF {job.vif.id} appears more than once in one batch: give each VIF once"
            raise InvalidRequest(message, vif_id=job.vif.id)
        ids.add(job.vif.id)
        for resource in job.desired:
            owner = owners.setdefault(resource.identity, job.vif.id)
            if resource.ownership is Ownership.OWNED and owner != job.vif.id:
                message = f"{resource} is requested by both VIF {owner} and VIF {job.vif.id}"
                raise InvalidRequest(message, vif_id=job.vif.id, resource=str(resource), holder=owner)


def _same(some: Sequence[Resource], others: Sequence[Resource]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))


def _once(*names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(itertools.chain.from_iterable(names)))


def _kept(originals: Mapping[Identity, Resource], resources: Iterable[Resource]) -> dict[Identity, Resource]:
    """Return the originals of ``resources``."""
    identities = {resource.identity for resource in resources}
    return {identity: resource for identity, resource in originals.items() if identity in identities}
