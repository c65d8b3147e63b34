"""The engine of the verbs that plug: observe, plan, write the intent, apply the steps, write the record; or roll back.

Its input are desired resources, its output is steps. It knows nothing about VIF types.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vifplug.driver import interrupts, macs
from vifplug.driver.application import Application
from vifplug.driver.job import Job, check_distinct
from vifplug.driver.records import valid_originals
from vifplug.driver.report import ends
from vifplug.errors import Conflict, Held, HostNotReady, PartlyDone, PluginFailed, StepFailed, VifplugError, about, fill
from vifplug.plan import steps
from vifplug.plan.defaults import with_defaults
from vifplug.plan.plan import make_plan, with_bridges_mtu, with_guests_mtu
from vifplug.plan.preconditions import Preconditions, without_uplink
from vifplug.plan.registry import Resource
from vifplug.plan.steps import Observation, Step, lasting
from vifplug.store.store import Holding, Store

if TYPE_CHECKING:
    from vifplug.host.host import Host, Progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What one look at the host found for some jobs."""

    observed: Observation
    #: of all jobs together
    whole: Preconditions
    #: of each job
    needs: Sequence[Preconditions]

    def of(self, job: Job, needs: Preconditions) -> Observation:
        """Return what concerns one of the jobs: planning takes as long as there is observed."""
        if len(self.needs) == 1:
            return self.observed
        own = itertools.chain(needs.desired, needs.required, job.desired, job.dropped())
        return {each.identity: self.observed[each.identity] for each in own if each.identity in self.observed}


class Engine:
    """Brings a host to what jobs desire. Callers hold the locks of the VIFs. Thread-safe."""

    def __init__(self, host: Host, store: Store, duplicate_mac: str = "warn") -> None:
        self._host = host
        self._store = store
        self._application = Application(host, store)
        #: whether VIFs with one MAC on one network or bridge are reported
        self.reports_macs = duplicate_mac != "allow"

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Observe once for all jobs, and plan the steps of each. Raises before anything is changed.

        Of VIFs that are plugged as requested, what takes a scan to find is looked for only if something is to be done.
        """
        check_distinct(jobs)
        if all(job.stands for job in jobs):
            self.plan(jobs, self.observe(jobs, scan=False))
            if not any(job.plan.steps for job in jobs):
                return
        self.plan(jobs, self.observe(jobs))

    def observe(self, jobs: Sequence[Job], *, scan: bool = True) -> Look:
        """Observe what the jobs desire, what their plans require, and what they no longer desire.

        A job on a VLAN bridge becomes the job on the bridge's parent.

        Args:
            scan: see `Preconditions`.
        """
        needs = [Preconditions(job.applied(job.desired), scan=scan) for job in jobs]
        whole = Preconditions.of_all(needs)
        leaving = lasting(itertools.chain.from_iterable(map(Job.dropped, jobs)))
        seen = self._host.observe([*whole.desired, *leaving, *whole.required])
        given = itertools.chain.from_iterable(job.former.originals.values() for job in jobs if job.former)
        observed = steps.without_given_macs(given, seen)
        ends("observe")
        moved = [(job, other) for job in jobs if (other := job.on_parent_bridge(observed))]
        for job, other in moved:
            job.actual, job.interface_xml, job.desired = other.actual, other.interface_xml, other.desired
        self._refuse_astray(jobs, observed)
        return self.observe(jobs, scan=scan) if moved else Look(observed, whole, needs)

    def _refuse_astray(self, jobs: Sequence[Job], observed: Observation) -> None:
        """Raise Conflict if a recorded device has got another name. Lists the links of the host if one is missing."""
        recorded = {job.vif.id: job.former.resources for job in jobs if job.former}
        lost = [each for some in recorded.values() for each in some if steps.is_lost(each, observed)]
        marked = self._host.marked_links() if lost else {}
        for each in lost:
            steps.refuse_astray(recorded[each.owner], each, marked.get(each.owner, ()))

    def restore(self, jobs: Sequence[Job]) -> None:
        """Plan what brings recorded VIFs back; of what libvirt resets only that of running guests.

        Args:
            jobs: jobs that settle.

        Raises:
            Missing: the bridge of a VIF does not exist. One that was made here would lead nowhere.
        """
        observed = self.observe(jobs).observed
        for job in jobs:
            job.settles = any(seen.held for each in job.desired if (seen := observed.get(each.identity)))
            for error in without_uplink(job.desired, observed, job.vif.id):
                raise error
        needs = [Preconditions(job.applied(job.desired)) for job in jobs]
        self.plan(jobs, Look(observed, Preconditions.of_all(needs), needs))

    def plan(self, jobs: Sequence[Job], look: Look) -> None:
        """Plan the steps of each job from what `observe` returned; see `prepare`."""
        new = (needs for job, needs in zip(jobs, look.needs, strict=True) if not job.stands)
        objections = (needs.objections(look.observed, look.whole.made) for needs in new)
        for error in itertools.chain(look.whole.unmet(look.observed), *objections):
            raise error
        twins = self.mac_warnings([job for job in jobs if not job.settles])
        for job, needs in zip(jobs, look.needs, strict=True):
            with about(vif_id=job.vif.id):
                self._plan(job, needs, look.of(job, needs), twins.get(job.vif.id, ()))
        ends("plan")

    def _plan(self, job: Job, needs: Preconditions, observed: Observation, warnings: Iterable[str]) -> None:
        former, recorded = (job.former.resources, valid_originals(job.former, observed)) if job.former else ((), {})
        dropped = job.dropped()
        said = needs.objections(observed) if job.stands else ()
        job.warnings = (*needs.warnings(observed), *map(str, said), *warnings)
        shared = self._shared([*dropped, *needs.required])
        job.desired = with_defaults(job.desired, observed, {each.name for each in shared})
        stays = {each.name for each in shared if each.vif_id != job.vif.id} | steps.shares(job.desired)
        steps.refuse_held(lasting(dropped), observed, job.vif.id)
        new = (each for each in lasting(job.desired) if each.identity not in recorded)
        job.originals = {**steps.originals(new, observed), **recorded}
        full = steps.with_former(job.desired, former, recorded)
        job.intent = [*full, *dropped]
        _refuse_other_mac(job, observed)
        planned, kept = with_guests_mtu(job.applied(full), observed)
        job.warnings += kept
        job.plan = make_plan(
            with_bridges_mtu(planned, observed),
            lasting(former),
            steps.left_to(stays, observed),
            recorded,
            interrupted=job.former is not None and job.former.is_interrupted,
        )

    def _shared(self, resources: Iterable[Resource]) -> list[Holding]:
        """Return which VIFs have what the resources share with others."""
        names = steps.shares(resources)
        return self._store.holdings(names) if names else []

    def mac_warnings(self, jobs: Sequence[Job]) -> dict[str, tuple[str, ...]]:
        """Return, by VIF, a sentence for each other VIF that has its MAC on the same network or bridge."""
        if not self.reports_macs:
            return {}
        names = [(name, job) for job in jobs for name in job.macs]
        own = [Holding(name=name, vif_id=job.vif.id, exclusive=False, instance=None) for name, job in names]
        neighbours = macs.Neighbours([*self._store.holdings({name for name, _ in names}), *own])
        return {job.vif.id: tuple(neighbours.warnings(job.vif.id, job.macs)) for job in jobs}

    def give_back(self, jobs: Sequence[Job], error: BaseException) -> None:
        """Restore the records as they were before anything was reserved for the jobs, after an error.

        Raises PartlyDone if that fails.
        """
        reserved = [job for job in jobs if job.reserved]
        if reserved and (left := self._restore_records(reserved)):
            _raise_partly_done(error, left)

    def apply(self, jobs: Sequence[Job], progress: Progress | None = None) -> None:
        """Write the intent, take the steps, write the record; or undo all of it.

        Args:
            progress: is called with the number of steps that are taken, and of all steps.

        Raises:
            Conflict, HostNotReady: a step raised it, and all steps were undone.
            StepFailed: a step failed otherwise, and all steps were undone.
            PartlyDone: a step failed, and something is left.
        """
        pending = [job for job in jobs if job.plan.steps or not job.is_recorded()]
        if not pending:
            return
        releases = [step for job in jobs for step in job.plan.releases]
        removals = steps.together(job.plan.removals for job in jobs)
        additions = steps.batched_last(step for job in jobs for step in job.plan.additions)
        try:  # without steps there is nothing that would need an intent
            interrupts.pending()
            planned = any(job.plan.steps for job in pending)
            begun = [job.record(job.begun if planned else "plugged") for job in pending]
            self._store.put(begun)
        except BaseException as error:
            self.give_back(jobs, error)
            raise
        ends("record")
        if not planned:
            return
        done: list[Step] = []

        def advance(*numbers: int) -> None:
            interrupts.pending()
            if progress:
                progress(*numbers)

        try:
            self._host.apply(releases, done)
            self._application.take([*removals, *additions], done, advance)
            interrupts.pending()
            ends("apply")
            self._store.put([job.record("plugged", record) for job, record in zip(pending, begun, strict=True)])
            ends("record")
        except BaseException as error:
            ends("apply")
            if interrupts.abandoned():
                error.add_note(f"not finished: {', '.join(job.vif.id for job in pending)}: run `vifplug recover`")
                raise
            self._undo(pending, [*releases, *removals, *additions], done, error)
            raise

    def _undo(self, jobs: Sequence[Job], planned: Sequence[Step], done: Sequence[Step], error: BaseException) -> None:
        """Undo the steps that were taken, restore the records, and raise the outcome.

        The records come last: a process that is killed meanwhile leaves the intent, which names all that may exist.
        """
        left = list(error.left) if isinstance(error, PartlyDone) else []
        # What was taken in part, or whose answer was lost: only a transaction says for sure that nothing was done.
        certain = isinstance(error, VifplugError) and not isinstance(error, PluginFailed)
        doubtful = [] if isinstance(error, PartlyDone) else [step for step in planned if step not in done]
        first = {step.subject.identity: step for step in reversed(doubtful)}  # a device may be removed and made again
        sent = (step for step in first.values() if not (certain and step.subject.batched))
        left += self._attempt_cut_short(sent)
        left += self._application.attempt(step.undo() for step in reversed(done))
        if not left:
            left += self._restore_records(jobs)
        if left:
            _raise_partly_done(error, left)
        if isinstance(error, VifplugError) and not isinstance(error, (Conflict, HostNotReady, StepFailed)):
            raise fill(StepFailed(f"{error}; all changes were rolled back"), error) from error

    def _attempt_cut_short(self, planned: Iterable[Step]) -> list[str]:
        """Undo steps that may have been taken in part; return what could not be undone."""
        left = []
        for step in planned:
            try:
                seen = self._host.observe([step.subject]).get(step.subject.identity)
                found = seen.resource if seen else None
                if steps.is_at(step.before, found):
                    continue
                left += self._application.attempt([Step(found, step.before)])
            except VifplugError as error:
                left.append(f"perhaps {step} ({error})")
        return left

    def _restore_records(self, jobs: Sequence[Job]) -> list[str]:
        try:
            former = [job.former.row for job in jobs if job.former]
            self._store.restore(former, [job.vif.id for job in jobs if not job.former])
        except VifplugError as error:
            return [f"the record of {', '.join(job.vif.id for job in jobs)} ({error})"]
        return []


def _raise_partly_done(error: BaseException, left: Sequence[str]) -> None:
    """Raise PartlyDone for what an error has left, unless it is an interrupt, which gets a note instead."""
    rest = f"not rolled back: {'; '.join(left)}; plug or unplug again to repair it"
    if not isinstance(error, Exception):
        error.add_note(rest)
        return
    outcome = PartlyDone(f"{error}; {rest}", left)
    raise (fill(outcome, error) if isinstance(error, VifplugError) else outcome) from error


def _refuse_other_mac(job: Job, observed: Observation) -> None:
    """Raise Held if the VIF gets another MAC while a guest runs with the recorded one."""
    had = job.former.actual.mac if job.former else job.actual.mac
    for each in job.desired if had != job.actual.mac else ():
        seen = observed.get(each.identity)
        if seen and seen.held and not seen.foreign:
            raise Held(
                f"{each} of VIF {job.vif.id} is in use by a running guest with MAC {had}, which cannot become "
                f"{job.actual.mac}: stop the guest or detach the interface first",
                vif_id=job.vif.id,
                resource=str(each),
            )
