"""VIFDriver: resolve, ask the type, observe, plan, record, apply. The only room that puts the others in order."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vifplug import plugins
from vifplug.errors import (
    Conflict,
    Held,
    HostNotReady,
    InvalidRequest,
    NotPlugged,
    PartlyDone,
    StepFailed,
    VifplugError,
)
from vifplug.guest import write
from vifplug.model.names import parse_uuid
from vifplug.model.vif import VIF, Instance
from vifplug.plan import resources, steps
from vifplug.plan.resources import Identity, Life, Resource
from vifplug.plan.steps import Difference, Observation, Step
from vifplug.store import Record, State, Store
from vifplug.types.base import Context

if TYPE_CHECKING:
    from oslo_config import cfg

    from vifplug.host.machine import Machine, Progress


@dataclass(frozen=True, kw_only=True)
class Plugged:
    """What a plug, an update or a plan comes to.

    ``vif`` is what was asked and ``actual`` what it became; ``steps`` are those that were taken (by a plan: would
    be), none where all held already.
    """

    vif: VIF
    actual: VIF
    interface_xml: str
    steps: tuple[Step, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.steps)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is recorded of one VIF. ``state`` is ``plugged``, or what was begun and not finished."""

    vif: VIF
    actual: VIF
    instance: Instance | None
    state: State
    interface_xml: str
    resources: tuple[Resource, ...]
    changed_at: float


@dataclass(kw_only=True)
class _Job:
    """One VIF on its way: what is wanted of it, what is recorded of it, and the steps between."""

    vif: VIF
    actual: VIF
    instance: Instance | None
    interface_xml: str
    wanted: list[Resource]
    former: Record | None = None
    originals: Mapping[Identity, Resource] = field(default_factory=dict)
    removals: list[Step] = field(default_factory=list)
    additions: list[Step] = field(default_factory=list)

    def record(self, state: State) -> Record:
        return Record(
            vif_id=self.vif.id,
            state=state,
            asked=self.vif.to_json(),
            actual=self.actual.to_json(),
            instance=json.dumps(self.instance.to_data()) if self.instance else None,
            interface_xml=self.interface_xml,
            wanted=resources.to_json(self.wanted),
            originals=resources.to_json(self.originals.values()),
            claims=tuple(claim for resource in self.wanted if (claim := resource.claim)),
            changed_at=time.time(),
        )

    def is_recorded(self) -> bool:
        """Whether the record says just this already."""
        return self.former is not None and self.former == dataclasses.replace(
            self.record("plugged"), changed_at=self.former.changed_at
        )

    def result(self) -> Plugged:
        taken = (*self.removals, *self.additions)
        return Plugged(vif=self.vif, actual=self.actual, interface_xml=self.interface_xml, steps=taken)


class VIFDriver:
    """Plugs VIFs on this host and remembers what it did. Thread-safe; processes of one host share the record.

    ``conf`` is an oslo.config ConfigOpts; None reads the usual files. ``machine`` stands for the host: another than
    this one is for tests.

    Errors, beside those that a verb names: InvalidRequest before anything is touched; HostNotReady and Conflict when
    nothing is changed in the end; StepFailed when a step failed and all was undone; PartlyDone when something is left.
    """

    def __init__(self, conf: cfg.ConfigOpts | None = None, *, machine: Machine | None = None) -> None:
        from vifplug import conf as options
        from vifplug.host import local

        conf = options.load() if conf is None else conf
        options.register(conf)
        self._types = plugins.Types(options.enabled_types(conf))
        loaded = self._types.loaded()
        options.register(conf, loaded)
        self._settings = options.settings(conf, loaded)
        self._context = Context(settings=self._settings.common)
        extra = plugins.load_resources()
        self._kinds = {**resources.RESOURCES, **plugins.resource_kinds(extra)}
        self._machine = machine or local.machine(self._settings.ovs, extra)
        self._facts = local.HostFacts(self._machine)
        self._store = Store(self._settings.state_path)

    def __enter__(self) -> VIFDriver:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back connections and sockets. Later use opens them anew."""
        self._machine.close()
        self._store.close()

    # -- verbs that change the host ---------------------------------------------------------------------------

    def plug(self, vif: VIF, instance: Instance | None = None) -> Plugged:
        """Make the host side of ``vif`` true. Twice is the same as once; the second time nothing is changed."""
        return self.plug_many([(vif, instance)])[0]

    def plug_many(
        self, pairs: Iterable[tuple[VIF, Instance | None]], *, progress: Progress | None = None
    ) -> list[Plugged]:
        """Plug several VIFs as one: all are plugged or none; on Open vSwitch it is one transaction.

        ``progress`` is called with the number of steps taken and to be taken.
        """
        jobs = [self._job(vif, instance) for vif, instance in pairs]
        _check_distinct(jobs)
        with self._store.lock([job.vif.id for job in jobs], self._settings.lock_timeout):
            for job in jobs:
                job.former = self._store.get(job.vif.id)
            self._prepare(jobs)
            self._carry_out(jobs, "plugging", progress)
        return [job.result() for job in jobs]

    def update(self, vif: VIF, instance: Instance | None = None) -> Plugged:
        """Bring a plugged VIF to what ``vif`` now says, in place where that can be.

        Raises NotPlugged when it isn't plugged, Held when a device would have to be made anew under its guest.
        """
        with self._store.lock([vif.id], self._settings.lock_timeout):
            former = self._recorded(vif.id)
            job = self._job(vif, instance or _instance(former))
            job.former = former
            self._prepare([job])
            self._carry_out([job], "updating")
        return job.result()

    def settle(self, vif_id: str) -> tuple[Step, ...]:
        """Do again what libvirt undid when the guest started: QoS on the tap, the settings of a VF.

        Raises NotPlugged.
        """
        vif_id = _as_vif_id(vif_id)
        with self._store.lock([vif_id], self._settings.lock_timeout):
            job = self._recalled(self._recorded(vif_id))
            self._prepare([job], settle=True)
            self._carry_out([job], "updating")
        return job.result().steps

    def unplug(self, vif_id: str, *, force: bool = False) -> tuple[Step, ...]:
        """Take back everything of a VIF: what was made goes, what was set is put back. The id alone is enough.

        What is not there is no error. Raises Held while a guest has the device open, unless ``force``. It is not
        undone when a step fails: what could be taken back is, PartlyDone says what is left, and unplugging again
        goes on from there.
        """
        vif_id = _as_vif_id(vif_id)
        with self._store.lock([vif_id], self._settings.lock_timeout):
            record = self._store.get(vif_id)
            wanted = resources.from_json(record.wanted, self._kinds) if record else self._facts.find(vif_id)
            originals = self._originals(record)
            observed = self._machine.observe(_lasting(wanted))
            if not force:
                _refuse_held(wanted, observed, vif_id)
            taken = steps.batched_first(steps.removal(_lasting(wanted), observed, originals))
            if record:
                self._store.put([dataclasses.replace(record, state="unplugging")])
            self._take_back_all(vif_id, taken)
            if record:
                self._store.delete([vif_id])
        return tuple(taken)

    # -- verbs that only look ---------------------------------------------------------------------------------

    def plan(self, vif: VIF, instance: Instance | None = None) -> Plugged:
        """What plugging ``vif`` would do now; nothing is changed. Raises what plugging would raise beforehand."""
        job = self._job(vif, instance)
        job.former = self._store.get(vif.id)
        self._prepare([job])
        return job.result()

    def check(self, vif_id: str | None = None) -> list[Difference]:
        """Where the host is not as recorded, of one VIF or of all. Raises NotPlugged for one that is not recorded."""
        records = self._store.all() if vif_id is None else [self._recorded(_as_vif_id(vif_id))]
        wanted = {record.vif_id: resources.from_json(record.wanted, self._kinds) for record in records}
        observed = self._machine.observe([resource for each in wanted.values() for resource in each])
        found: list[Difference] = []
        for record in records:
            if record.state != "plugged":
                found.append(Difference(record.vif_id, "state", "plugged", record.state))
            found += steps.differences(_checkable(wanted[record.vif_id], observed), observed)
        return found

    def list(self) -> list[Entry]:
        """Everything that is recorded, by id."""
        return [self._entry(record) for record in self._store.all()]

    def show(self, vif_id: str) -> Entry:
        """What is recorded of one VIF. Raises NotPlugged."""
        return self._entry(self._recorded(_as_vif_id(vif_id)))

    def host_info(self) -> dict[str, Any]:
        """What this host offers, as plain data for other programs: types, Open vSwitch, kernel, SR-IOV."""
        types = {report.origin.name: report.origin.version for report in self._types.report() if not report.reason}
        return {**self._facts.host_info(), "types": types}

    # -- from a document to steps -----------------------------------------------------------------------------

    def _job(self, vif: VIF, instance: Instance | None) -> _Job:
        """What is wanted of ``vif``. Raises InvalidRequest, or Missing when the host lacks what it needs."""
        if vif.type == "network":
            raise InvalidRequest(f"VIF {vif.id} is of type network, and named networks can't be plugged yet")
        kind, vif = self._types.bind(vif)
        context = dataclasses.replace(
            self._context, instance=instance, options=self._settings.types[kind.name], facts=self._facts
        )
        kind.check(vif, context)
        element = write.element(kind.interface(vif, context))
        return _Job(
            vif=vif, actual=vif, instance=instance, interface_xml=element, wanted=list(kind.desired(vif, context))
        )

    def _prepare(self, jobs: Sequence[_Job], *, settle: bool = False) -> None:
        """Observe once for all, and plan each. Raises before anything is changed."""
        former = {job.vif.id: self._former(job) for job in jobs}
        gone = {job.vif.id: steps.dropped(job.wanted, former[job.vif.id]) for job in jobs}
        everything = [resource for job in jobs for resource in (*job.wanted, *gone[job.vif.id])]
        observed = self._machine.observe(everything if settle else _lasting(everything))
        for job in jobs:
            recorded = self._originals(job.former)
            dropped = _lasting(gone[job.vif.id])
            _refuse_held(dropped, observed, job.vif.id)
            wanted = steps.with_former(job.wanted if settle else _lasting(job.wanted), former[job.vif.id])
            job.originals = {**steps.originals(_lasting(job.wanted), observed), **_kept(recorded, job.wanted)}
            job.removals = steps.batched_first(steps.removal(dropped, observed, recorded))
            job.additions = steps.plan(wanted, observed)

    def _former(self, job: _Job) -> Sequence[Resource]:
        return resources.from_json(job.former.wanted, self._kinds) if job.former else []

    def _originals(self, record: Record | None) -> dict[Identity, Resource]:
        found = resources.from_json(record.originals, self._kinds) if record else []
        return {resource.identity: resource for resource in found}

    # -- from steps to the host -------------------------------------------------------------------------------

    def _carry_out(self, jobs: Sequence[_Job], state: State, progress: Progress | None = None) -> None:
        """Write the intent, take the steps, write the record; or undo all of it."""
        removals = steps.batched_first([step for job in jobs for step in job.removals])
        additions = steps.batched_last([step for job in jobs for step in job.additions])
        pending = [job for job in jobs if job.result().changed or not job.is_recorded()]
        if not pending:
            return
        self._store.put([job.record(state) for job in pending])
        done: list[Step] = []
        try:
            self._machine.apply([*removals, *additions], done, progress)
            self._store.put([job.record("plugged") for job in pending])
        except BaseException as error:
            self._undo(pending, done, error)
            raise

    def _undo(self, jobs: Sequence[_Job], done: Sequence[Step], error: BaseException) -> None:
        """Take back the steps that were taken and the records, and raise what that comes to."""
        left = list(error.left) if isinstance(error, PartlyDone) else []
        left += self._take_back(step.undo() for step in reversed(done))
        if not left:
            left += self._restore_records(jobs)
        if left:
            told = f"{error}; not undone: {'; '.join(left)}; plug or unplug again to mend it"
            raise PartlyDone(told, left) from error
        if isinstance(error, VifplugError) and not isinstance(error, (Conflict, HostNotReady, StepFailed)):
            raise StepFailed(f"{error}; all that was done has been undone") from error

    def _take_back(self, undos: Iterable[Step]) -> Sequence[str]:
        """Take each step; what could not be taken, in words."""
        left = []
        for step in undos:
            try:
                self._machine.apply([step], [])
            except VifplugError as error:
                left.append(f"{step} ({error})")
        return left

    def _take_back_all(self, vif_id: str, taken: Sequence[Step]) -> None:
        done: list[Step] = []
        try:
            self._machine.apply(taken, done)
        except VifplugError:
            left = self._take_back(step for step in taken if step not in done)
            if left:
                told = f"VIF {vif_id} is not wholly unplugged: {'; '.join(left)}; unplug it again"
                raise PartlyDone(told, left) from None

    def _restore_records(self, jobs: Sequence[_Job]) -> Sequence[str]:
        try:
            self._store.put([job.former for job in jobs if job.former])
            self._store.delete([job.vif.id for job in jobs if not job.former])
        except VifplugError as error:
            return [f"the record of {', '.join(job.vif.id for job in jobs)} ({error})"]
        return []

    # -- records ----------------------------------------------------------------------------------------------

    def _recorded(self, vif_id: str) -> Record:
        record = self._store.get(vif_id)
        if record is None:
            raise NotPlugged(f"VIF {vif_id} is not plugged on this host; `vifplug list` says which are")
        return record

    def _recalled(self, record: Record) -> _Job:
        return _Job(
            vif=VIF.from_json(record.asked),
            actual=VIF.from_json(record.actual),
            instance=_instance(record),
            interface_xml=record.interface_xml,
            wanted=resources.from_json(record.wanted, self._kinds),
            former=record,
        )

    def _entry(self, record: Record) -> Entry:
        job = self._recalled(record)
        return Entry(
            vif=job.vif,
            actual=job.actual,
            instance=job.instance,
            state=record.state,
            interface_xml=job.interface_xml,
            resources=tuple(job.wanted),
            changed_at=record.changed_at,
        )


def _instance(record: Record) -> Instance | None:
    return Instance.from_data(json.loads(record.instance)) if record.instance else None


def _as_vif_id(text: str) -> str:
    try:
        return parse_uuid(text)
    except ValueError as error:
        raise InvalidRequest(f"the id of a VIF: {error}") from None


def _check_distinct(jobs: Sequence[_Job]) -> None:
    """No VIF twice in a batch, and no device for two of them."""
    owners: dict[Identity, str] = {}
    for job in jobs:
        for resource in job.wanted:
            owner = owners.setdefault(resource.identity, job.vif.id)
            if resource.life is Life.MADE and owner != job.vif.id:
                raise InvalidRequest(f"{resource} is wanted by both VIF {owner} and VIF {job.vif.id}")
    ids = [job.vif.id for job in jobs]
    if repeated := sorted({each for each in ids if ids.count(each) > 1}):
        raise InvalidRequest(f"VIF {repeated[0]} comes more than once in one batch")


def _refuse_held(wanted: Iterable[Resource], observed: Observation, vif_id: str) -> None:
    for resource in wanted:
        seen = observed.get(resource.identity)
        if seen and seen.held and not seen.foreign:
            raise Held(
                f"{resource} of VIF {vif_id} is held by a running guest: stop the guest or detach the interface first, "
                "or unplug with force"
            )


def _lasting(wanted: Iterable[Resource]) -> list[Resource]:
    """Those that hold whether or not a guest runs."""
    return [resource for resource in wanted if not resource.settled]


def _checkable(wanted: Sequence[Resource], observed: Observation) -> list[Resource]:
    """All, but what is applied when a guest has started only if one holds a device of this VIF."""
    held = any(seen.held for resource in wanted if (seen := observed.get(resource.identity)))
    return list(wanted) if held else _lasting(wanted)


def _kept(originals: Mapping[Identity, Resource], wanted: Iterable[Resource]) -> dict[Identity, Resource]:
    """The originals that are still needed: of what is wanted still."""
    identities = {resource.identity for resource in wanted}
    return {identity: resource for identity, resource in originals.items() if identity in identities}
