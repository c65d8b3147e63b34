"""The engine behind every verb: observe, plan, write the intent, take the steps, write the record; or undo it all.

It knows resources and records and nothing of VIF types: what is wanted comes in, and steps come out.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vifplug.errors import (
    BrokenPlugin,
    Conflict,
    Held,
    HostNotReady,
    InvalidRequest,
    Missing,
    PartlyDone,
    PluginFailed,
    StepFailed,
    VifplugError,
)
from vifplug.model.vif import VIF, Instance
from vifplug.plan import preconditions, registry, steps
from vifplug.plan.plan import Plan, change
from vifplug.plan.registry import Device, Identity, Ownership, Resource
from vifplug.plan.steps import Difference, Observation, Observed, Step
from vifplug.store.store import Record, State, Store

if TYPE_CHECKING:
    from vifplug.host.machine import Machine, Progress

_log = logging.getLogger(__name__)

#: From a VIF's id to everything on the host that carries its mark
Find = Callable[[str], Sequence[Resource]]


@dataclass(kw_only=True)
class Job:
    """One VIF on its way: what is wanted of it, what is recorded of it, and the steps between.

    ``intent`` is what may be there until it is done: what is wanted, and what is recorded and no longer wanted.
    """

    vif: VIF
    actual: VIF
    instance: Instance | None
    interface_xml: str
    wanted: Sequence[Resource]
    former: Record | None = None
    intent: Sequence[Resource] = ()
    originals: Mapping[Identity, Resource] = field(default_factory=dict)
    change: Plan = Plan()
    #: whether a record was written that holds what is wanted, before anything was planned
    reserved: bool = False

    def record(self, state: State) -> Record:
        """The record of the finished job, or of one on its way: that one also keeps what the VIF had before."""
        finished = state == "plugged"
        wanted = self.wanted if finished else self.intent
        had = None if finished else self.former
        return Record(
            vif_id=self.vif.id,
            state=state,
            asked=self.vif.to_json(),
            actual=self.actual.to_json(),
            instance=json.dumps(self.instance.to_data()) if self.instance else None,
            interface_xml=self.interface_xml,
            wanted=registry.to_json(wanted),
            originals=registry.to_json(_kept(self.originals, wanted).values()),
            claims=_once(had.claims if had else (), *(resource.claims for resource in wanted)),
            shares=_once(had.shares if had else (), *(resource.shares for resource in wanted)),
            changed_at=time.time(),
        )

    def reservation(self) -> Record | None:
        """The record that holds what is wanted and keeps what is recorded, before anything was planned.

        None where all of it is held already, or there is nothing that others might have.
        """
        wanted = self.record("plugged")
        if not (wanted.claims or wanted.shares):
            return None
        if self.former is None:
            return dataclasses.replace(wanted, state="plugging", wanted="[]")
        claims, shares = _once(self.former.claims, wanted.claims), _once(self.former.shares, wanted.shares)
        if (claims, shares) == (self.former.claims, self.former.shares):
            return None
        return dataclasses.replace(self.former, state="updating", claims=claims, shares=shares)

    def is_recorded(self) -> bool:
        """Whether the record says just this already."""
        return self.former is not None and self.former == dataclasses.replace(
            self.record("plugged"), changed_at=self.former.changed_at
        )


class Engine:
    """Brings a machine to what jobs want. Callers hold the locks of the VIFs. Thread-safe, as machine and store are.

    ``kinds`` are the resource classes by kind, third parties' included.
    """

    def __init__(self, machine: Machine, store: Store, kinds: Mapping[str, type[Resource]]) -> None:
        self._machine = machine
        self._store = store
        self._kinds = kinds

    def recall(self, record: Record) -> Job:
        """The job that left this record."""
        return Job(
            vif=VIF.from_json(record.asked),
            actual=VIF.from_json(record.actual),
            instance=instance_of(record),
            interface_xml=record.interface_xml,
            wanted=registry.from_json(record.wanted, self._kinds),
            former=record,
        )

    def prepare(self, jobs: Sequence[Job], *, settle: bool = False) -> None:
        """Observe once for all jobs, and plan the steps of each. Raises before anything is changed.

        ``settle``: with what is applied only when a guest has started.
        """
        check_distinct(jobs)
        former = {job.vif.id: self.former(job) for job in jobs}
        gone = {job.vif.id: steps.dropped(job.wanted, former[job.vif.id]) for job in jobs}
        wanted = {job.vif.id: list(job.wanted) if settle else lasting(job.wanted) for job in jobs}
        everything = list(itertools.chain.from_iterable(wanted.values()))
        leaving = [resource for each in gone.values() for resource in lasting(each)]
        observed = self._machine.observe([*everything, *leaving, *preconditions.required(everything)])
        preconditions.raise_unmet(everything, observed)
        for job in jobs:
            key, recorded = job.vif.id, self.originals(job.former)
            _refuse_held(lasting(gone[key]), observed, key)
            job.originals = {**steps.originals(lasting(job.wanted), observed), **recorded}
            full = steps.with_former(job.wanted, former[key], recorded)
            job.intent = [*full, *gone[key]]
            job.change = change(
                full if settle else lasting(full),
                lasting(former[key]),
                observed,
                recorded,
                interrupted=_is_interrupted(job.former),
            )

    def give_back(self, jobs: Sequence[Job]) -> None:
        """Put the records back as they were before what the jobs want was reserved."""
        reserved = [job for job in jobs if job.reserved]
        if reserved and (left := self._restore_records(reserved)):
            _log.warning("not undone: %s", "; ".join(left))

    def carry_out(self, jobs: Sequence[Job], state: State, progress: Progress | None = None) -> None:
        """Write the intent, take the steps, write the record; or undo all of it.

        Raises Conflict and HostNotReady when all was undone after one, StepFailed after another failure, PartlyDone
        when something is left.
        """
        pending = [job for job in jobs if job.change.steps or not job.is_recorded()]
        if not pending:
            return
        releases = [step for job in jobs for step in job.change.releases]
        removals = steps.batched_first(step for job in jobs for step in job.change.removals)
        additions = steps.batched_last(step for job in jobs for step in job.change.additions)
        try:  # without steps there is nothing that would need an intent
            planned = any(job.change.steps for job in pending)
            self._store.put([job.record(state if planned else "plugged") for job in pending])
        except BaseException:
            self.give_back(jobs)
            raise
        if not planned:
            return
        done: list[Step] = []
        try:
            self._machine.apply(releases, done)
            self._machine.apply([*removals, *additions], done, progress)
            self._store.put([job.record("plugged") for job in pending])
        except BaseException as error:
            self._undo(pending, [*releases, *removals, *additions], done, error)
            raise

    def take_down(self, vif_id: str, record: Record | None, find: Find, *, force: bool) -> list[Step]:
        """Take back what is recorded of a VIF; the steps that were taken.

        ``find`` is asked for what carries the VIF's mark where there is no record, or where a recorded device is not
        found under its name. A failure is not undone: the rest is taken back all the same. Raises Held, unless
        ``force``, and PartlyDone when something is left; the record then stays, so that the next attempt goes on.
        """
        wanted = lasting(registry.from_json(record.wanted, self._kinds) if record else find(vif_id))
        observed = self._machine.observe(wanted)
        if any(_is_lost(each, observed) for each in wanted):
            wanted = list({each.identity: each for each in (*wanted, *find(vif_id))}.values())
            observed = self._machine.observe(wanted)
        if not force:
            _refuse_held(wanted, observed, vif_id)
        removal = steps.removal(wanted, observed, self.originals(record), interrupted=_is_interrupted(record))
        taken = steps.batched_first(removal)
        if record and taken:
            self._store.put([dataclasses.replace(record, state="unplugging")])
        self._take_all(vif_id, taken)
        if record:
            self._store.delete([vif_id])
        return taken

    def differences(self, records: Iterable[Record]) -> list[Difference]:
        """Where the machine is not as recorded; what a guest's start undoes counts only while a guest runs."""
        found: list[Difference] = []
        wanted: list[tuple[Record, list[Resource]]] = []
        for record in records:
            try:
                wanted.append((record, registry.from_json(record.wanted, self._kinds)))
            except Missing as error:  # a type that was uninstalled, or replaced, hides no other VIF
                found.append(Difference(record.vif_id, "resources", "known kinds", str(error)))
        observed, failed = self._observed({record.vif_id: each for record, each in wanted})
        found += failed.values()
        for record, each in wanted:
            if record.vif_id in failed:
                continue
            if record.state != "plugged":
                found.append(Difference(record.vif_id, "state", "plugged", record.state))
            held = any(seen.held for resource in each if (seen := observed.get(resource.identity)))
            differences = steps.differences(each if held else lasting(each), observed)
            found += [dataclasses.replace(one, vif_id=record.vif_id) for one in differences]  # a bridge has no owner
        return found

    def _observed(self, wanted: Mapping[str, Sequence[Resource]]) -> tuple[Observation, dict[str, Difference]]:
        """What is there, asked at once for all VIFs; and which could not be asked, since their plugin fails."""
        try:
            return self._machine.observe(itertools.chain.from_iterable(wanted.values())), {}
        except BrokenPlugin:
            observed: dict[Identity, Observed] = {}
            failed: dict[str, Difference] = {}
            for vif_id, each in wanted.items():
                try:
                    observed |= self._machine.observe(each)
                except BrokenPlugin as error:
                    failed[vif_id] = Difference(vif_id, "resources", "an answer of their plugin", str(error))
            return observed, failed

    def observe(self, jobs: Sequence[Job]) -> Observation:
        """What there is of what the jobs want, at all times and while a guest runs."""
        wanted = [resource for job in jobs for resource in job.wanted]
        return self._machine.observe([*wanted, *preconditions.required(wanted)])

    def record(self, jobs: Sequence[Job]) -> None:
        """Write what the jobs want as what is plugged, without a step taken: all of it or none."""
        self._store.put([job.record("plugged") for job in jobs if not job.is_recorded()])

    def former(self, job: Job) -> list[Resource]:
        """What is recorded as wanted."""
        return registry.from_json(job.former.wanted, self._kinds) if job.former else []

    def originals(self, record: Record | None) -> dict[Identity, Resource]:
        """What is recorded of how things were before."""
        found = registry.from_json(record.originals, self._kinds) if record else []
        return {resource.identity: resource for resource in found}

    def _undo(self, jobs: Sequence[Job], planned: Sequence[Step], done: Sequence[Step], error: BaseException) -> None:
        """Take back the steps that were taken and the records, and raise what that comes to.

        The records go last: who is killed meanwhile leaves the intent, which names all that may be there.
        """
        left = list(error.left) if isinstance(error, PartlyDone) else []
        if not isinstance(error, VifplugError) or isinstance(error, PluginFailed):
            # a step that was cut short has not cleaned up after itself
            left += self._attempt_cut_short(step for step in reversed(planned) if step not in done)
        left += self._attempt(step.undo() for step in reversed(done))
        if not left:
            left += self._restore_records(jobs)
        if left and isinstance(error, Exception):
            message = f"{str(error) or 'interrupted'}; not undone: {'; '.join(left)}; plug or unplug again to mend it"
            raise PartlyDone(message, left) from error
        if isinstance(error, VifplugError) and not isinstance(error, (Conflict, HostNotReady, StepFailed)):
            raise StepFailed(f"{error}; all that was done has been undone") from error

    def _attempt_cut_short(self, planned: Iterable[Step]) -> list[str]:
        """Take back what is there of steps of which it is not known how far they came."""
        left = []
        for step in planned:
            try:
                seen = self._machine.observe([step.subject]).get(step.subject.identity)
                found = seen.resource if seen else None
                if steps.is_at(step.before, found):
                    continue
                left += self._attempt([Step(found, step.before)])
            except VifplugError as error:
                left.append(f"perhaps {step} ({error})")
        return left

    def _take_all(self, vif_id: str, taken: Sequence[Step]) -> None:
        """Take the steps, together where they can be; after a failure the remaining ones each alone."""
        done: list[Step] = []
        try:
            self._machine.apply(taken, done)
        except VifplugError:
            if left := self._attempt(step for step in taken if step not in done):
                message = f"VIF {vif_id} is not wholly unplugged: {'; '.join(left)}; unplug it again"
                raise PartlyDone(message, left) from None

    def _attempt(self, taken: Iterable[Step]) -> list[str]:
        """Take each step whatever becomes of the others; what could not be taken, in words."""
        left = []
        for step in taken:
            try:
                self._machine.apply([step], [])
            except VifplugError as error:
                left.append(f"{step} ({error})")
        return left

    def _restore_records(self, jobs: Sequence[Job]) -> list[str]:
        try:
            self._store.put([job.former for job in jobs if job.former])
            self._store.delete([job.vif.id for job in jobs if not job.former])
        except VifplugError as error:
            return [f"the record of {', '.join(job.vif.id for job in jobs)} ({error})"]
        return []


def instance_of(record: Record) -> Instance | None:
    """The guest that a recorded VIF belongs to."""
    return Instance.from_data(json.loads(record.instance)) if record.instance else None


def _is_interrupted(record: Record | None) -> bool:
    """Whether whoever wrote it did not end what it did."""
    return record is not None and record.state != "plugged"


def lasting(wanted: Iterable[Resource]) -> list[Resource]:
    """Those that hold whether or not a guest runs."""
    return [resource for resource in wanted if not resource.settled]


def check_distinct(jobs: Sequence[Job]) -> None:
    """No VIF twice in a batch, and no device for two of them. Raises InvalidRequest."""
    ids: set[str] = set()
    owners: dict[Identity, str] = {}
    for job in jobs:
        if job.vif.id in ids:
            raise InvalidRequest(f"VIF {job.vif.id} comes more than once in one batch")
        ids.add(job.vif.id)
        for resource in job.wanted:
            owner = owners.setdefault(resource.identity, job.vif.id)
            if resource.ownership is Ownership.OWNED and owner != job.vif.id:
                raise InvalidRequest(f"{resource} is wanted by both VIF {owner} and VIF {job.vif.id}")


def _refuse_held(wanted: Iterable[Resource], observed: Observation, vif_id: str) -> None:
    for resource in wanted:
        seen = observed.get(resource.identity)
        if seen and seen.held and not seen.foreign:
            raise Held(
                f"{resource} of VIF {vif_id} is held by a running guest: stop the guest or detach the interface first, "
                "or unplug with force"
            )


def _is_lost(resource: Resource, observed: Observation) -> bool:
    """Whether a device that was made is not there under its name."""
    return isinstance(resource, Device) and resource.ownership is Ownership.OWNED and resource.identity not in observed


def _once(*names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(itertools.chain.from_iterable(names)))


def _kept(originals: Mapping[Identity, Resource], wanted: Iterable[Resource]) -> dict[Identity, Resource]:
    """The originals that are still needed: of what is wanted still."""
    identities = {resource.identity for resource in wanted}
    return {identity: resource for identity, resource in originals.items() if identity in identities}
