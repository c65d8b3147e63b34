"""The engine of all verbs: observe, plan, write the intent, apply the steps, write the record; or roll back.

Its input are desired resources, its output is steps. It knows nothing about VIF types.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import operator
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vifplug.driver import macs, own_names
from vifplug.driver.records import StoredVif
from vifplug.errors import (
    BrokenPlugin,
    Conflict,
    DamagedRecord,
    Held,
    HostNotReady,
    InvalidRequest,
    Missing,
    PartlyDone,
    PluginFailed,
    StepFailed,
    VifplugError,
    about,
    fill,
)
from vifplug.model.vif import VIF, Instance
from vifplug.plan import registry, steps
from vifplug.plan.defaults import with_defaults
from vifplug.plan.plan import Plan, make_plan, with_bridges_mtu, with_guests_mtu
from vifplug.plan.preconditions import Preconditions
from vifplug.plan.registry import (
    AdoptedPort,
    Device,
    Identity,
    OvsBridge,
    OvsSwitch,
    Ownership,
    Resource,
    VhostSocket,
)
from vifplug.plan.steps import Difference, Observation, Observed, Step
from vifplug.store.store import Holding, Record, State, Store

if TYPE_CHECKING:
    from vifplug.host.host import Host, Progress

_log = logging.getLogger(__name__)


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
    def recorded(cls, stored: StoredVif) -> Job:
        """Return the job that left a record."""
        return cls(
            vif=stored.vif,
            actual=stored.actual,
            instance=stored.instance,
            interface_xml=stored.interface_xml,
            desired=stored.resources,
            former=stored,
            marks=stored.marks,
            exclusive_mac=any(each.startswith(macs.MAC) for each in stored.claims),
        )

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
        claimed, shared = (self.macs, self.marks) if self.exclusive_mac else ((), (*self.marks, *self.macs))
        asked = begun.asked if begun else self.vif.to_json()
        actual = begun.actual if begun else asked if self.actual is self.vif else self.actual.to_json()
        return Record(
            vif_id=self.vif.id,
            state=state,
            asked=asked,
            actual=actual,
            instance=json.dumps(self.instance.to_data()) if self.instance else None,
            interface_xml=self.interface_xml,
            wanted=begun.wanted if begun and _same(desired, self.intent) else registry.to_json(desired),
            originals=registry.to_json(_kept(self.originals, desired).values()),
            claims=_once(had.claims if had else (), claimed, *map(operator.attrgetter("claims"), desired)),
            shares=_once(had.shares if had else (), shared, *map(operator.attrgetter("shares"), desired)),
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
        return dataclasses.replace(former.row, state="updating", claims=claims, shares=shares)

    def is_recorded(self) -> bool:
        """Return whether the record already has exactly this content."""
        return self.former is not None and self.former.row == dataclasses.replace(
            self.record("plugged"), changed_at=self.former.changed_at
        )


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
        #: whether VIFs with one MAC on one network or bridge are reported
        self.reports_macs = duplicate_mac != "allow"

    def prepare(self, jobs: Sequence[Job], *, settle: bool = False) -> None:
        """Observe once for all jobs, and plan the steps of each. Raises before anything is changed.

        Args:
            settle: include what can be applied only when a guest has started.
        """
        check_distinct(jobs)
        self.plan(jobs, self.observe(jobs, settle=settle), settle=settle)

    def observe(self, jobs: Sequence[Job], *, settle: bool = False) -> Look:
        """Observe what the jobs desire, what their plans require, and what they no longer desire.

        A job on a VLAN bridge becomes the job on the bridge's parent.
        """
        needs = [Preconditions(job.desired if settle else lasting(job.desired)) for job in jobs]
        whole = Preconditions.of_all(needs)
        leaving = lasting(itertools.chain.from_iterable(map(Job.dropped, jobs)))
        observed = self._host.observe([*whole.desired, *leaving, *whole.required])
        moved = [(job, other) for job in jobs if (other := job.on_parent_bridge(observed))]
        for job, other in moved:
            job.actual, job.interface_xml, job.desired = other.actual, other.interface_xml, other.desired
        return self.observe(jobs, settle=settle) if moved else Look(observed, whole, needs)

    def plan(self, jobs: Sequence[Job], look: Look, *, settle: bool = False) -> None:
        """Plan the steps of each job from what `observe` returned; see `prepare`."""
        new = (needs for job, needs in zip(jobs, look.needs, strict=True) if not job.stands)
        objections = (needs.objections(look.observed, look.whole.made) for needs in new)
        for error in itertools.chain(look.whole.unmet(look.observed), *objections):
            raise error
        twins = {} if settle else self.mac_warnings(jobs)
        for job, needs in zip(jobs, look.needs, strict=True):
            with about(vif_id=job.vif.id):
                self._plan(job, needs, look.of(job, needs), twins.get(job.vif.id, ()), settle=settle)

    def _plan(
        self, job: Job, needs: Preconditions, observed: Observation, warnings: Iterable[str], *, settle: bool
    ) -> None:
        former, recorded = (job.former.resources, job.former.originals) if job.former else ((), {})
        dropped = job.dropped()
        said = needs.objections(observed) if job.stands else ()
        job.warnings = (*needs.warnings(observed), *map(str, said), *warnings)
        shared = self._shared([*dropped, *needs.required])
        job.desired = with_defaults(job.desired, observed, {each.name for each in shared})
        stays = {each.name for each in shared if each.vif_id != job.vif.id} | _shares(job.desired)
        _refuse_held(lasting(dropped), observed, job.vif.id)
        job.originals = {**steps.originals(lasting(job.desired), observed), **recorded}
        full = steps.with_former(job.desired, former, recorded)
        job.intent = [*full, *dropped]
        _refuse_other_mac(job, observed)
        planned, kept = with_guests_mtu(full if settle else lasting(full), observed)
        job.warnings += kept
        job.plan = make_plan(
            with_bridges_mtu(planned, observed),
            lasting(former),
            _left_to(stays, observed),
            recorded,
            interrupted=job.former is not None and job.former.is_interrupted,
        )

    def _shared(self, resources: Iterable[Resource]) -> list[Holding]:
        """Return which VIFs have what the resources share with others."""
        names = _shares(resources)
        return self._store.holdings(names) if names else []

    def mac_warnings(self, jobs: Sequence[Job]) -> dict[str, tuple[str, ...]]:
        """Return, by VIF, a sentence for each other VIF that has its MAC on the same network or bridge."""
        if not self.reports_macs:
            return {}
        names = [(name, job) for job in jobs for name in job.macs]
        own = [Holding(name=name, vif_id=job.vif.id, exclusive=False, instance=None) for name, job in names]
        neighbours = macs.Neighbours([*self._store.holdings({name for name, _ in names}), *own])
        return {job.vif.id: tuple(neighbours.warnings(job.vif.id, job.macs)) for job in jobs}

    def give_back(self, jobs: Sequence[Job]) -> None:
        """Restore the records as they were before anything was reserved for the jobs."""
        reserved = [job for job in jobs if job.reserved]
        if reserved and (left := self._restore_records(reserved)):
            _log.warning("not rolled back: %s", "; ".join(left))

    def apply(self, jobs: Sequence[Job], state: State, progress: Progress | None = None) -> None:
        """Write the intent, take the steps, write the record; or undo all of it.

        Args:
            state: the state that the records have until all steps are taken.
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
            planned = any(job.plan.steps for job in pending)
            begun = [job.record(state if planned else "plugged") for job in pending]
            self._store.put(begun)
        except BaseException:
            self.give_back(jobs)
            raise
        if not planned:
            return
        done: list[Step] = []
        try:
            self._host.apply(releases, done)
            self._apply([*removals, *additions], done, progress)
            self._store.put([job.record("plugged", record) for job, record in zip(pending, begun, strict=True)])
        except BaseException as error:
            self._undo(pending, [*releases, *removals, *additions], done, error)
            raise

    def remove(self, stored: Mapping[str, StoredVif | None], *, force: bool) -> dict[str, list[Step]]:
        """Remove what is recorded of VIFs, all together, and return the steps that were taken, by id.

        What carries a VIF's mark is looked for if there is no sound record, or if a recorded device does not exist
        under its name. A failure is not undone: the remaining steps are taken all the same. While something of a VIF is
        left its record stays, so that the next attempt resumes.

        Args:
            stored: the record of each VIF; None if it has none.
            force: remove what a guest has open, and ignore resources whose plugin is not installed.

        Raises:
            Held: a guest has a device of one of them open, and ``force`` is False. Nothing was removed.
            PartlyDone: something is left.
        """
        recorded = {vif_id: _recorded(each, force=force) for vif_id, each in stored.items()}
        desired = {
            vif_id: list(filter(steps.may_change, has[0])) if has else lasting(self._host.find(vif_id))
            for vif_id, has in recorded.items()
        }
        observed = dict(self._host.observe(_once_each(itertools.chain.from_iterable(desired.values()))))
        for vif_id, own in desired.items():
            if any(_is_lost(each, observed) for each in own):
                desired[vif_id] = own = _once_each((*own, *self._host.find(vif_id)))
                observed |= self._host.observe(own)
            if not force:
                _refuse_held(own, observed, vif_id)
        taken = self._removals(stored, recorded, desired, observed)
        known = [each.row for vif_id, each in stored.items() if each and recorded[vif_id] and taken[vif_id]]
        if known:
            self._store.put([dataclasses.replace(row, state="unplugging") for row in known])
        failed = self._take_all(taken)
        if removed := [vif_id for vif_id in (failed.unplugged if failed else taken) if stored[vif_id]]:
            self._store.delete(removed)
        if failed:
            raise failed
        return taken

    def _removals(
        self,
        stored: Mapping[str, StoredVif | None],
        recorded: Mapping[str, tuple[list[Resource], Mapping[Identity, Resource]] | None],
        desired: Mapping[str, Sequence[Resource]],
        observed: dict[Identity, Observed],
    ) -> dict[str, list[Step]]:
        """Return the steps that remove each VIF, as if those before it were removed already."""
        places = {vif_id: place for place, vif_id in enumerate(desired)}
        last: dict[str, int] = {}  # the place of the last VIF that has what a name stands for
        for each in self._shared(itertools.chain.from_iterable(desired.values())):
            last[each.name] = max(last.get(each.name, 0), places.get(each.vif_id, len(places)))
        taken: dict[str, list[Step]] = {}
        for vif_id, own in desired.items():
            others = {name for name in _shares(own) if last.get(name, 0) > places[vif_id]}
            before, has = stored[vif_id], recorded[vif_id]
            interrupted = before is not None and has is not None and before.is_interrupted
            seen = {each.identity: observed[each.identity] for each in own if each.identity in observed}
            taken[vif_id] = steps.batched_first(
                steps.removal(own, _left_to(others, seen), has[1] if has else {}, interrupted=interrupted)
            )
            observed |= {step.subject.identity: Observed(resource=step.after) for step in taken[vif_id]}
        return taken

    def differences(self, records: Iterable[StoredVif]) -> list[Difference]:
        """Return the differences between recorded and actual state, and the damaged records.

        Settings that libvirt resets when a guest starts are compared only while a guest runs.
        """
        found: list[Difference] = []
        readable: list[StoredVif] = []
        for stored in records:
            try:  # a record that cannot be read, or a plugin that was uninstalled, hides no other VIF
                readable.append(stored.validate())
            except DamagedRecord as error:
                found.append(Difference(stored.id, "record", "a readable record", str(error)))
            except Missing as error:
                found.append(Difference(stored.id, "resources", "known kinds", str(error)))
        needs = {stored.id: Preconditions(stored.resources) for stored in readable}
        switched = {each.id: _switches(each.resources) for each in readable}
        bridges = set(itertools.chain.from_iterable(switched.values()))
        observed, failed = self._observed(needs, [OvsSwitch(examined=True)] if bridges else [])
        switch = OvsSwitch.of(observed)
        cut_off = self._host.cut_off(bridges) if switch and switch.nic_down else {}
        named = {each.id: macs.names(each.vif, each.actual) for each in readable} if self.reports_macs else {}
        neighbours = macs.Neighbours(self._store.holdings(set(itertools.chain.from_iterable(named.values()))))
        found += failed.values()
        for stored in readable:
            if stored.id in failed:
                continue
            if stored.is_interrupted:
                found.append(Difference(stored.id, "state", "plugged", stored.state))
            desired = stored.resources
            running = any(seen.held for each in desired if (seen := observed.get(each.identity)))
            required = desired if running else lasting(desired)
            differences = (*steps.differences(required, observed), *needs[stored.id].drift(observed))
            found += [dataclasses.replace(one, vif_id=stored.id) for one in differences]  # a bridge has no owner
            found += neighbours.differences(stored.id, named.get(stored.id, ()))
            defects = (each for name in switched[stored.id] for each in cut_off.get(name, ()))
            found += [Difference(stored.id, each.path, each.expected, each.found) for each in defects]
        return found

    def _observed(
        self, needs: Mapping[str, Preconditions], besides: Sequence[Resource]
    ) -> tuple[Observation, dict[str, Difference]]:
        """Observe the resources of all VIFs at once; return also the VIFs whose plugin fails to observe them."""
        whole = Preconditions.of_all(tuple(needs.values()))
        try:
            return self._host.observe([*besides, *whole.desired, *whole.required]), {}
        except BrokenPlugin:
            observed: dict[Identity, Observed] = {}
            failed: dict[str, Difference] = {}
            for vif_id, each in needs.items():
                try:
                    observed |= self._host.observe([*each.desired, *each.required])
                except BrokenPlugin as error:
                    failed[vif_id] = Difference(vif_id, "resources", "an answer of their plugin", str(error))
            return observed, failed

    def _undo(self, jobs: Sequence[Job], planned: Sequence[Step], done: Sequence[Step], error: BaseException) -> None:
        """Undo the steps that were taken, restore the records, and raise the outcome.

        The records come last: a process that is killed meanwhile leaves the intent, which names all that may exist.
        """
        left = list(error.left) if isinstance(error, PartlyDone) else []
        if not isinstance(error, VifplugError) or isinstance(error, PluginFailed):
            # a step that was cut short has not cleaned up after itself
            left += self._attempt_cut_short(step for step in reversed(planned) if step not in done)
        left += self._attempt(step.undo() for step in reversed(done))
        if not left:
            left += self._restore_records(jobs)
        if left and isinstance(error, Exception):
            message = (
                f"{str(error) or 'interrupted'}; not rolled back: {'; '.join(left)}; plug or unplug again to repair it"
            )
            outcome = PartlyDone(message, left)
            raise (fill(outcome, error) if isinstance(error, VifplugError) else outcome) from error
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
                left += self._attempt([Step(found, step.before)])
            except VifplugError as error:
                left.append(f"perhaps {step} ({error})")
        return left

    def _take_all(self, taken: Mapping[str, Sequence[Step]]) -> PartlyDone | None:
        """Take the steps of all VIFs, together if possible; after a failure take each remaining step by itself.

        Returns:
            The error if something is left.
        """
        done: list[Step] = []
        try:
            self._apply(steps.together(taken.values()), done, leaving=taken)
        except VifplugError as error:
            made = set(done)
            attempts = {
                vif_id: self._attempt((step for step in own if step not in made), leaving=taken)
                for vif_id, own in taken.items()
            }
            if any(attempts.values()):
                return fill(_partly_unplugged(attempts, taken), error)
        return None

    def _apply(
        self,
        taken: Sequence[Step],
        done: list[Step],
        progress: Progress | None = None,
        *,
        leaving: Collection[str] = (),
    ) -> None:
        """Take the steps. What other VIFs may have begun to use is removed last, and only while none is recorded.

        A plug records what it shares before it observes; in a transaction of the store, either it is seen here, or it
        observes what is removed here as missing.

        Args:
            taken: the steps.
            done: gets each step that was taken.
            progress: see `vifplug.host.host.Host.apply`.
            leaving: the VIFs that are unplugged together, which do not keep one another's.
        """
        shared = [step for step in taken if step.after is None and step.subject.shares]
        self._host.apply([step for step in taken if step not in shared], done, progress)
        for step in shared:
            with self._store.transaction() as transaction:
                names, gone = step.subject.shares, {step.subject.owner, *leaving}
                others = {each.name for each in transaction.holdings(names) if each.vif_id not in gone}
                left = step.subject.left_to(others)
                self._host.apply([step if left == step.subject else Step(left, None)], [])
            done.append(step)

    def _attempt(self, taken: Iterable[Step], *, leaving: Collection[str] = ()) -> list[str]:
        """Take each step, whether or not others fail; return a phrase for each that failed."""
        left = []
        for step in taken:
            try:
                self._apply([step], [], leaving=leaving)
            except VifplugError as error:
                left.append(f"{step} ({error})")
        return left

    def _restore_records(self, jobs: Sequence[Job]) -> list[str]:
        try:
            self._store.put([job.former.row for job in jobs if job.former])
            self._store.delete([job.vif.id for job in jobs if not job.former])
        except VifplugError as error:
            return [f"the record of {', '.join(job.vif.id for job in jobs)} ({error})"]
        return []


def _recorded(stored: StoredVif | None, *, force: bool) -> tuple[list[Resource], Mapping[Identity, Resource]] | None:
    """Return what there is to remove and to restore of a VIF; None if its record does not say, or does not exist."""
    if stored is None:
        return None
    try:
        stored.validate("state", "claims", "shares")
        return lasting(stored.resources), stored.originals
    except DamagedRecord as error:
        reason = error.reason
    except Missing as error:
        if not force:
            raise
        reason = str(error)
    # not above: what is logged in an except clause gets the exception's own text appended (oslo.log)
    _log.warning("VIF %s: its changes are not restored, because its record cannot be used: %s", stored.id, reason)
    return None


def _partly_unplugged(left: Mapping[str, Sequence[str]], taken: Mapping[str, Sequence[Step]]) -> PartlyDone:
    """Return the error for what is left of VIFs, by id; nothing is left of some."""
    some = [vif_id for vif_id, phrases in left.items() if phrases]
    sentences = (f"VIF {vif_id} is not completely unplugged: {'; '.join(left[vif_id])}" for vif_id in some)
    return PartlyDone(
        "; ".join([*sentences, "unplug it again" if len(some) == 1 else "unplug them again"]),
        itertools.chain.from_iterable(left.values()),
        vif_id=some[0] if len(some) == 1 else None,
        unplugged={vif_id: tuple(own) for vif_id, own in taken.items() if not left[vif_id]},
    )


def _desired(jobs: Iterable[Job], *, settle: bool) -> list[Resource]:
    desired = list(itertools.chain.from_iterable(map(operator.attrgetter("desired"), jobs)))
    return desired if settle else lasting(desired)


def _shares(resources: Iterable[Resource]) -> set[str]:
    return {name for resource in resources for name in resource.shares}


def _left_to(others: Collection[str], observed: Observation) -> Observation:
    """Return the observation without what may not be removed: see `Resource.left_to`."""
    if not others:
        return observed
    return {
        identity: dataclasses.replace(seen, resource=seen.resource and seen.resource.left_to(others))
        for identity, seen in observed.items()
    }


def lasting(resources: Iterable[Resource]) -> list[Resource]:
    """Return the resources that must hold even when no guest is running."""
    return list(itertools.filterfalse(operator.attrgetter("settled"), resources))


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


def _switches(resources: Iterable[Resource]) -> set[str]:
    """Return the names of the Open vSwitch bridges that a VIF is on."""
    switched = (each for each in resources if isinstance(each, (OvsBridge, AdoptedPort)))
    return {each.bridge if isinstance(each, AdoptedPort) else each.name for each in switched}


def _refuse_held(resources: Iterable[Resource], observed: Observation, vif_id: str) -> None:
    for resource in resources:
        seen = observed.get(resource.identity)
        if seen and seen.held and not seen.foreign:
            raise Held(
                f"{resource} of VIF {vif_id} is in use by a running guest: stop the guest or detach the interface "
                "first, or unplug with force",
                vif_id=vif_id,
                resource=str(resource),
            )


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


def _is_lost(resource: Resource, observed: Observation) -> bool:
    """Return whether a device that vifplug created no longer exists under its name."""
    return isinstance(resource, Device) and resource.ownership is Ownership.OWNED and resource.identity not in observed


def _same(some: Sequence[Resource], others: Sequence[Resource]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))


def _once_each(resources: Iterable[Resource]) -> list[Resource]:
    """Return the resources, one for each identity: a batch has one bridge for many VIFs."""
    return list({each.identity: each for each in resources}.values())


def _once(*names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(itertools.chain.from_iterable(names)))


def _kept(originals: Mapping[Identity, Resource], resources: Iterable[Resource]) -> dict[Identity, Resource]:
    """Return the originals of ``resources``."""
    identities = {resource.identity for resource in resources}
    return {identity: resource for identity, resource in originals.items() if identity in identities}
