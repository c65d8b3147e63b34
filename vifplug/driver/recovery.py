"""What day two needs: bring back what is recorded, end what was cut off, remove what no record owns."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vifplug.driver import interrupts, rebuilding
from vifplug.driver.engine import Engine
from vifplug.driver.job import Job
from vifplug.driver.records import Records, StoredVif
from vifplug.driver.removal import Removal
from vifplug.errors import Busy, HostNotReady, PartlyDone, StepFailed, StoreFailed, Unavailable, VifplugError
from vifplug.model.vif import VIF, Instance
from vifplug.plan import registry
from vifplug.plan.defaults import with_defaults
from vifplug.plan.registry import Tap
from vifplug.plan.steps import Step
from vifplug.store.store import State

if TYPE_CHECKING:
    from vifplug.host.host import Host

_log = logging.getLogger(__name__)

#: the names in the store's meta of `vifplug.host.host.Host.place`
_BOOT, _NAMESPACE = "boot", "namespace"
#: ... and of the boot in which all that is recorded was brought back by itself
_BACK = "back"
#: ... and of how often the database was changed, as `vifplug.store.witness` knows it
_CHANGES = "changes"
#: seconds between the two looks of `Recovery.collect`: a plug marks a device some milliseconds before it is recorded
_APART = 1.0
#: by what the time is divided that parts are waited for, after all together were busy
_SHORTLY = 10


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a verb over many VIFs did with one of them."""

    vif_id: str
    #: the steps that were applied, or would be
    steps: tuple[Step, ...] = ()
    #: why the VIF is not as it should be; None if it is
    error: VifplugError | None = None


_Jobs = Callable[[Sequence[tuple[VIF, Instance | None]]], Sequence[Job]]
#: does something with VIFs together, whose locks are held: all or none
_Work = Callable[[Sequence[str]], Iterator[Outcome]]


class Recovery:
    """Brings a host and its records together again. Thread-safe.

    Args:
        host: the host.
        records: the records.
        make: returns the jobs of plugging VIFs.
        prepare: returns the same with their steps planned.
        timeout: how long to wait for the locks of VIFs, in seconds.
    """

    def __init__(self, host: Host, records: Records, make: _Jobs, prepare: _Jobs, timeout: float) -> None:
        self._host, self._store, self._records, self._timeout = host, records.store, records, timeout
        self._make, self._prepare = make, prepare
        self._engine, self._removal = Engine(host, records.store, "allow"), Removal(host, records.store)

    def begin(self, *, automatic: bool) -> None:
        """Do what has to precede the first change in a process: see what became of the host since the last change.

        After a reboot, the originals of devices are void: the kernel has initialized all of them. Nothing is touched in
        another network namespace than the records are of.

        Args:
            automatic: end what was cut off, and after a reboot bring back what is recorded.

        Raises:
            HostNotReady: this is another network namespace than the records are of.
        """
        had, now = self.check_place()
        if had[_CHANGES] == "0":
            self._distrust_new_store()
        if had.get(_BOOT, now[_BOOT]) != now[_BOOT]:
            self._void_originals(now[_BOOT])
        self._set_meta(had, now)  # what becomes an original from here on is one of this boot
        if not automatic:
            return
        outcomes = self.recover(timeout=0)
        if rebooted := had.get(_BACK, now[_BOOT]) != now[_BOOT]:
            plugged = [each.id for each in self._records.all() if each.row.state == "plugged"]
            outcomes += self._each(plugged, lambda some: self._restored(some, dry_run=False), 0)
        for each in outcomes:
            if each.error and not isinstance(each.error, Busy):
                _log.warning("VIF %s could not be recovered: %s", each.vif_id, each.error)
        if not (rebooted and self._goes_on(outcomes)):
            self._set_meta(had, {_BACK: now[_BOOT]})

    def _goes_on(self, outcomes: Sequence[Outcome]) -> bool:
        """Return whether a VIF is not back after a reboot, and may be when the next process tries.

        Until then another device can take the name of its port in Open vSwitch, and with it the VLAN.
        """
        failed = {each.vif_id: each.error for each in outcomes if each.error}
        passing = (error.retryable or isinstance(error, (StepFailed, StoreFailed)) for error in failed.values())
        return any(passing) or not failed.keys() >= set(self._store.begun())

    def _distrust_new_store(self) -> None:
        """Take a record to which nothing was written for another one if the host has VIFs: its directory was lost."""
        with contextlib.suppress(HostNotReady):
            if self.unowned():
                self._store.distrust()

    def _set_meta(self, had: Mapping[str, str], values: Mapping[str, str]) -> None:
        if any(had.get(name) != value for name, value in values.items()):
            try:
                self._store.set_meta(values)
            except StoreFailed as error:
                if not error.full:  # which must not stop an unplug
                    raise
                _log.warning("%s", error)

    def check_place(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return what is recorded of the records as a whole, and the place of this process.

        Raises HostNotReady in another network namespace than the records are of.
        """
        had, now = self._store.meta(), self._host.place()
        if elsewhere := _elsewhere(had, now):
            raise HostNotReady(elsewhere)
        return had, now

    def reconcile(
        self, vif_ids: Sequence[str] | None = None, *, dry_run: bool = False, ends: bool = False
    ) -> list[Outcome]:
        """Bring VIFs back to what is recorded: together, and those that cannot come back apart from the others.

        Args:
            vif_ids: the ids of the VIFs; None: all that are recorded.
            dry_run: change nothing.
            ends: end what was cut off before, an earlier reconcile among it.
        """
        if ends:
            self.recover(timeout=0)
        if vif_ids is None:
            vif_ids = [each.id for each in self._records.all()]
        return self._each(vif_ids, lambda some: self._restored(some, dry_run=dry_run))

    def recover(self, *, timeout: float | None = None) -> list[Outcome]:
        """End what was cut off: a first plug is rolled back, an unplug finished, a change of a plugged VIF made.

        Args:
            timeout: how long to wait for the locks of the VIFs, in seconds; None: as long as of other verbs.
        """
        begun = self._store.begun()
        removed = self._each(begun, lambda some: self._removed(self._cut_off(some, "plugging", "unplugging")), timeout)
        return removed + self._each(begun, lambda some: self._plugged(self._cut_off(some, "updating")), timeout)

    def accept(self) -> list[Outcome]:
        """Take a database for the record that is not the one written last, with the VIFs that have marks and no record.

        Returns what became of these: what their marks do not tell is an error.
        """
        if not (lost := self._store.lost()):
            return []
        _log.warning("%s", lost)
        unowned = sorted(self.unowned())
        outcomes = [outcome for each in unowned for outcome in self._each([each], self._rebuilt)]
        self._store.accept()
        return outcomes

    def _rebuilt(self, vif_ids: Sequence[str]) -> Iterator[Outcome]:
        """Record VIFs from their marks. What devices were like before they were plugged stays unknown."""
        for vif_id in self._unrecorded(vif_ids):
            found = self._host.find(vif_id)
            questions = [rebuilding.place_of(each) for each in found if isinstance(each, Tap)]
            places = [each.resource for each in self._host.observe(questions).values() if each.resource]
            try:
                [job] = self._make([rebuilding.vif_of(vif_id, [*found, *places])])
                rebuilding.check_complete(job.desired, found)
                job.desired = with_defaults(job.desired, self._engine.observe([job]).observed, ())
            except VifplugError as error:
                words = "has marks on this host and no record, and could not be recorded from them"
                message = f"VIF {vif_id} {words}: {error}; plug it again, or run `vifplug gc`"
                raise HostNotReady(message, vif_id=vif_id) from error
            self._store.put([job.record("plugged")])
            _log.info("VIF %s: recorded from its marks", vif_id)
            yield Outcome(vif_id=vif_id)

    def collect(self, *, dry_run: bool) -> list[Outcome]:
        """Remove what carries vifplug's mark and is of no recorded VIF, seen twice, unless a guest has it open.

        Raises HostNotReady while the record is lost: it says nothing of what nobody owns.
        """
        if lost := self._store.lost():
            raise HostNotReady(lost)
        unowned = self.unowned()
        if unowned:
            time.sleep(_APART)
            unowned &= self.unowned()
        return self._each(sorted(unowned), lambda some: self._removed(self._unrecorded(some), dry_run=dry_run))

    def unowned(self) -> set[str]:
        """Return the ids of VIFs that have marks on the host and no record."""
        marked = self._host.owners()
        return marked.difference(self._store.some(list(marked)))

    def _restored(self, vif_ids: Sequence[str], *, dry_run: bool) -> Iterator[Outcome]:
        stored = self._records.some(dict.fromkeys(vif_ids))
        finished = (_finished(stored[each] or self._records.recorded(each)) for each in vif_ids)
        jobs = [Job.recorded(each, settles=True) for each in finished]
        self._engine.restore(jobs)
        if not dry_run:
            self._engine.apply(jobs)
        return (Outcome(vif_id=job.vif.id, steps=job.plan.steps) for job in jobs)

    def _cut_off(self, vif_ids: Sequence[str], *states: State) -> dict[str, StoredVif]:
        """Return the records that are in these states now that their locks are held: others were at work before."""
        stored = self._records.some(dict.fromkeys(vif_ids)).items()
        return {vif_id: each for vif_id, each in stored if each and each.row.state in states and not each.problem}

    def _unrecorded(self, vif_ids: Sequence[str]) -> dict[str, StoredVif | None]:
        return {vif_id: each for vif_id, each in self._records.some(dict.fromkeys(vif_ids)).items() if each is None}

    def _plugged(self, stored: Mapping[str, StoredVif]) -> Iterator[Outcome]:
        jobs = self._prepare([(each.vif, each.instance) for each in stored.values()])
        self._engine.apply(jobs)
        return (Outcome(vif_id=job.vif.id, steps=job.plan.steps) for job in jobs)

    def _void_originals(self, boot: str) -> None:
        """Forget what devices were like before a reboot; what Open vSwitch keeps in its database is as it was.

        Ends when another process has done so: what it has recorded since then is of this boot.
        """
        for vif_id in [each.id for each in self._records.all() if each.row.originals != "[]"]:
            with self._store.lock([vif_id], self._timeout):
                if self._store.meta().get(_BOOT) == boot:
                    return
                stored = self._records.get(vif_id)
                if stored and not stored.problem:
                    kept = [each for each in stored.originals.values() if each.batched]
                    gone = ", ".join(str(each) for each in stored.originals.values() if not each.batched)
                    _log.info("VIF %s: after a reboot, unplug leaves %s as it finds it", vif_id, gone or "nothing")
                    self._store.put([dataclasses.replace(stored.row, originals=registry.to_json(kept))])

    def _removed(self, stored: Mapping[str, StoredVif | None], *, dry_run: bool = False) -> Iterator[Outcome]:
        failed: VifplugError | None = None
        try:
            removed = self._removal.remove(stored, force=False, dry_run=dry_run)
        except PartlyDone as error:
            failed, removed = error, error.unplugged
        for each in stored:
            yield Outcome(vif_id=each, steps=tuple(removed.get(each, ())), error=None if each in removed else failed)

    def _each(self, vif_ids: Sequence[str], work: _Work, timeout: float | None = None) -> list[Outcome]:
        """Return what became of VIFs that are worked on together; after a failure, in ever smaller parts.

        Parts of what was waited for in vain are waited for shortly: the locks of all take not much longer than one may.
        """
        if not vif_ids:
            return []
        timeout = self._timeout if timeout is None else timeout
        try:
            with self._store.lock(vif_ids, timeout), interrupts.deferred():
                return list(work(vif_ids))
        except VifplugError as error:
            if isinstance(error, Busy):
                timeout /= _SHORTLY
            parts = self._parts(vif_ids, error)
            if not parts:
                return [Outcome(vif_id=each, error=error) for each in vif_ids]
        return [outcome for part in parts for outcome in self._each(part, work, timeout)]

    def _parts(self, vif_ids: Sequence[str], error: VifplugError) -> list[Sequence[str]]:
        """Return the parts in which VIFs may succeed that failed together; none if they cannot.

        First those on Open vSwitch apart from the others; then halves, unless it is the server that does not answer.
        """
        if len(vif_ids) == 1 or type(error) is StoreFailed:
            return []
        places: dict[bool, list[str]] = {}
        for vif_id, stored in self._records.some(dict.fromkeys(vif_ids)).items():
            places.setdefault(_is_switched(stored), []).append(vif_id)
        if len(places) > 1:
            return list(places.values())
        half = len(vif_ids) // 2
        return [] if isinstance(error, Unavailable) else [vif_ids[:half], vif_ids[half:]]


def _finished(stored: StoredVif) -> StoredVif:
    """Return a sound record. Raises HostNotReady if the last change of the VIF is not finished."""
    if stored.validate().is_interrupted:
        message = f"VIF {stored.id}: its last change was cut off ({stored.state}): run `vifplug recover`"
        raise HostNotReady(message, vif_id=stored.id)
    return stored


def _is_switched(stored: StoredVif | None) -> bool:
    """Return whether a VIF is on Open vSwitch, or on another machine of which one transaction is all."""
    return stored is not None and not stored.problem and any(each.batched for each in stored.resources)


def _elsewhere(had: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return why the records are not of this network namespace, and what to do; empty if they are, or may be.

    Inodes of namespaces are comparable within a boot alone.
    """
    if had.get(_BOOT) != now[_BOOT] or had[_NAMESPACE] == now[_NAMESPACE]:
        return ""
    return (
        f"the records are of network namespace {had[_NAMESPACE]}, and this process is in {now[_NAMESPACE]}: run it "
        "there, or set [vifplug] state_path to a directory for this namespace"
    )
