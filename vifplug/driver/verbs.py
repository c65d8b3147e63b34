"""VIFDriver: the verbs. A document becomes a job, the engine applies it, and the caller gets the element."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vifplug import plugins
from vifplug.driver import definitions, interrupts
from vifplug.driver.comparison import Comparison
from vifplug.driver.definitions import NetworkDefinition, NetworkDefinitions, NetworkDirectory, StaticNetworks
from vifplug.driver.engine import Engine
from vifplug.driver.job import Job
from vifplug.driver.records import HOOK, Records, StoredVif, guest_of
from vifplug.driver.recovery import Outcome, Recovery
from vifplug.driver.removal import Removal
from vifplug.driver.report import Observer, Report, about_all, ends, reported
from vifplug.driver.requests import JobFactory, Request
from vifplug.driver.resolver import Resolver
from vifplug.errors import InvalidConfig, InvalidRequest
from vifplug.model.codec import described
from vifplug.model.names import parse_uuid
from vifplug.model.network import Network
from vifplug.model.vif import VIF, Instance
from vifplug.plan import registry
from vifplug.plan.registry import OvsPort
from vifplug.plan.steps import Difference, Step
from vifplug.store.store import Store

if TYPE_CHECKING:
    from oslo_config import cfg

    from vifplug.driver.admission import CanPlug
    from vifplug.driver.adoption import Adopted
    from vifplug.driver.explanation import Hop
    from vifplug.driver.metrics import Textfile
    from vifplug.driver.status import Finding
    from vifplug.host.host import Host, Progress
    from vifplug.networks.pool import PoolDevice
    from vifplug.topology.view import HostView

_log = logging.getLogger(__name__)

#: the value of [vifplug_ovs] wait that waits for OVN's flows
FLOWS = "ovn-installed"


@dataclass(frozen=True, kw_only=True)
class Plugged:
    """The outcome of a plug, an update or a plan."""

    #: the VIF as requested
    vif: VIF
    #: the VIF as resolved on this host: for a VIF of a named network, its actual form
    actual: VIF
    #: the guest's ``<interface>`` element
    interface_xml: str
    #: the steps that were applied, or for a plan would be applied; empty if none is needed
    steps: tuple[Step, ...] = ()
    #: sentences about what was plugged, or would be, and will not work well or is risky
    warnings: tuple[str, ...] = ()
    #: milliseconds by stage of the verb, for all VIFs of a batch together; empty for a plan
    stages: Mapping[str, float] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether the host was changed."""
        return bool(self.steps)


class VIFDriver:
    """Plugs VIFs on this host, and records what it did. Thread-safe; the processes of a host share the record.

    Every verb that changes the host can raise these errors, in addition to those that it lists:

    * InvalidRequest: the request is wrong; nothing was changed.
    * HostNotReady: the host cannot serve the request; nothing was changed.
    * Conflict: something belongs to another owner; nothing was changed.
    * StepFailed: a step failed; all changes were rolled back.
    * PartlyDone: a step failed, and the changes that the error lists remain.

    The ids that verbs take are UUIDs in any spelling.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts | None = None,
        *,
        networks: Iterable[Network] | None = None,
        wait: str | None = None,
        machine: Host | None = None,
    ) -> None:
        """Read the configuration. The host is not touched before the first verb.

        Args:
            conf: the configuration; None reads the usual files.
            networks: the named networks; None reads them from [vifplug] networks_dir.
            wait: ``none``, ``ofport`` or ``ovn-installed``; None uses [vifplug_ovs] wait.
            machine: the host to act on; tests pass an in-memory one.

        Raises:
            InvalidConfig: an option has a value that is not allowed, or two packages provide plugins of one name.
        """
        from vifplug import conf as options
        from vifplug.host import host

        conf = options.load() if conf is None else conf
        if not hasattr(conf, "register_opts"):
            message = f"conf: expected an oslo.config ConfigOpts, got {described(conf)}"
            raise InvalidRequest(f"{message}: vifplug.conf.load([PATH]) reads a file")
        options.register(conf)
        self._types = plugins.TypeRegistry(options.enabled_types(conf))
        loaded = self._types.loaded()
        options.register(conf, loaded)
        for sentence in options.misspelt(conf, options.names(loaded)):
            _log.warning("%s", sentence)
        self._settings = options.settings(conf, loaded)
        extra = plugins.load_resources()
        ovs = self._settings.ovs if wait is None else dataclasses.replace(self._settings.ovs, wait=wait)
        allowed = self._settings.allow_host_devices
        self._host = machine or host.Host(ovs, extra, plugins.FactPlugins(), allowed)
        self._wait = wait
        #: whether ports that need no step are waited for as well
        self._confirms = wait is not None or ovs.wait == FLOWS
        self._store = Store(self._settings.state_path, self._settings.lock_timeout)
        kinds = plugins.ResourceKinds(extra, registry.RESOURCES)
        self._records = Records(self._store, kinds)
        self._engine = Engine(self._host, self._store, self._settings.duplicate_mac)
        self._removal = Removal(self._host, self._store)
        self._comparison = Comparison(self._host, self._store, reports_macs=self._engine.reports_macs)
        self.networks: NetworkDefinitions = (
            NetworkDirectory(self._settings.networks_dir) if networks is None else StaticNetworks(networks)
        )
        self._resolver = Resolver(self.networks, self._host, self._settings.integration_bridge)
        self._jobs = JobFactory(self._types, self._settings, self._host, self._resolver, self._records)
        self._recovery = Recovery(
            self._host, self._records, self._made_again, self._prepared_again, self._settings.lock_timeout
        )
        #: each gets a `Report` when a verb has ended
        self.observers: list[Observer] = []
        self._textfile = _textfile(self._settings.metrics)
        if self._textfile:
            self.observers.append(self._textfile)
        self._beginning = threading.Lock()
        self._begun = False

    def __enter__(self) -> VIFDriver:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and sockets. A later verb opens them again."""
        self._host.close()
        self._store.close()

    # -- verbs that change the host ---------------------------------------------------------------------------

    def plug(self, vif: VIF, instance: Instance | None = None, *, take_over: bool = False) -> Plugged:
        """Connect a VIF: bring the host to the state that it requires. Repeating the call changes nothing.

        A VIF of a named network keeps its resolved form as long as its document is the same; `update` applies a
        change of the network.

        Args:
            vif: the VIF to connect.
            instance: the guest that it belongs to; None keeps the guest of an earlier plug.
            take_over: plug the VIF even if it belongs to another guest, which loses it.

        Returns:
            The resolved VIF, the guest's element, and the steps that were applied.

        Raises:
            Conflict: the VIF belongs to another guest, and ``take_over`` is False; or something else is another's.
            Busy: another process works on the VIF for longer than [vifplug] lock_timeout.
            DamagedRecord: the record of the VIF cannot be read.
        """
        return self.plug_many([(vif, instance)], take_over=take_over)[0]

    def plug_many(
        self,
        pairs: Iterable[tuple[VIF, Instance | None]],
        *,
        progress: Progress | None = None,
        take_over: bool = False,
        hook: str = "",
    ) -> list[Plugged]:
        """Plug several VIFs: all of them or none. On Open vSwitch they are one transaction.

        Args:
            pairs: each VIF with its guest; see `plug`.
            progress: called with the number of applied steps and the number of all steps.
            take_over: see `plug`.
            hook: the name of the guest if libvirt's hook plugs them: see `hooked`. The hook takes no VIF that was
                plugged for no guest.

        Returns:
            The outcome for each VIF, in the given order.
        """
        pairs = tuple(pairs)
        ids = _ids(vif for vif, _ in pairs)
        with self._reported("plug", ids) as report:
            requests = [self._jobs.request(vif, instance, take_over=take_over, hook=hook) for vif, instance in pairs]
            with self._locked(ids):
                jobs = self._prepared(requests)
                self._engine.apply(jobs, progress)
            _tell(report, jobs)
        return [_plugged(job, report) for job in jobs]

    def update(
        self, vif: VIF, instance: Instance | None = None, *, take_over: bool = False, dry_run: bool = False
    ) -> Plugged:
        """Change a plugged VIF to what its document and its network say now, in place if possible.

        A VIF keeps its device of a pool while the device exists.

        Args:
            vif: the VIF with its new settings.
            instance: the guest that it belongs to; None keeps the recorded guest.
            take_over: see `plug`.
            dry_run: change nothing.

        Raises:
            NotPlugged: there is no record of the VIF.
            Held: a device would have to be recreated while a guest uses it.
            DamagedRecord: the record of the VIF cannot be read.
        """
        ids = _ids([vif])
        if dry_run:
            with about_all(ids):
                request = self._jobs.request(vif, instance, take_over=take_over)
                self._records.recorded(vif.id)
                return self._planned([request], refresh=True)[0]
        with self._reported("update", ids) as report:
            request = self._jobs.request(vif, instance, take_over=take_over)
            with self._locked(ids):
                self._records.recorded(vif.id)
                [job] = self._prepared([request], refresh=True)
                self._engine.apply([job])
            _tell(report, [job])
        return _plugged(job, report)

    def update_network(self, name: str) -> Sequence[Plugged]:
        """Change all VIFs of a network to what the network says now: all of them or none.

        VIFs whose record is damaged are logged and left out.

        Raises:
            UnknownNetwork: this host does not define the network. See also `update`.
        """
        definitions.get(self.networks, name)
        ids = _ids(self._plugged_into(name))
        with self._reported("update network of", ids) as report, self._locked(ids):
            requests = [self._jobs.request(vif) for vif in self._plugged_into(name) if vif.id in ids]
            jobs = self._prepared(requests, refresh=True)
            self._engine.apply(jobs)
            _tell(report, jobs)
        return [_plugged(job, report) for job in jobs]

    def _plugged_into(self, name: str) -> Iterator[VIF]:
        """Yield the VIFs of a network that are plugged, without those of an unfinished plug or unplug."""
        for stored in self._records.all():
            if stored.problem:
                _log.warning("%s", stored.problem)
            elif stored.state in ("plugged", "updating") and stored.is_of_network(name):
                yield stored.vif

    def adopt(
        self,
        pairs: Iterable[tuple[VIF, Instance | None]],
        *,
        requested: Mapping[str, VIF] = MappingProxyType({}),
        dry_run: bool = False,
        take_over: bool = False,
    ) -> list[Adopted]:
        """Take over VIFs that libvirt plugged for a running guest: all of them or none. The host is not changed.

        Afterwards `check` reports where the host differs from the VIF, `update` changes it in place, and `unplug`
        restores what existed before.

        Args:
            pairs: each VIF, as its guest has it, with the guest.
            requested: by id, the VIFs of named networks that the VIFs come from. A VIF is recorded as it is if this
                host does not define its network.
            dry_run: record nothing.
            take_over: see `plug`.

        Raises:
            Missing: a device or port of a VIF does not exist.
            Conflict: a device or port belongs to vifplug or to another guest.
        """
        from vifplug.driver import adoption

        pairs = tuple(pairs)
        ids = _ids(vif for vif, _ in pairs)
        with self._reported("adopt", ids):
            found = [(adoption.in_place(vif, self._host), instance) for vif, instance in pairs]
            for vif, instance in found:
                self._jobs.request(vif, instance)
            defined = {each.name for each in self.networks.all() if each.network} if requested else set()
            known = {vif_id: vif for vif_id, vif in requested.items() if vif.source.network in defined}
            with self._locked(ids):
                formers = self._jobs.formers(vif for vif, _ in found)
                requests = [
                    Request(known.get(vif.id, vif), instance, formers[vif.id], take_over=take_over)
                    for vif, instance in found
                ]
                jobs = [self._jobs.of(request, vif) for request, (vif, _) in zip(requests, found, strict=True)]
                return adoption.adopt(jobs, self._engine, dry_run=dry_run)

    def settle(self, vif_id: str, instance: Instance | None = None) -> tuple[Step, ...]:
        """Restore what libvirt resets when a guest starts: the QoS of the tap, the settings of a VF.

        Args:
            vif_id: the id of the VIF.
            instance: the guest that started; None: that of the record.

        Returns:
            The steps that were applied.

        Raises:
            Conflict: the VIF belongs to another guest.
            NotPlugged: there is no record of the VIF.
            DamagedRecord: its record cannot be read.
        """
        vif_id = self._id(vif_id)
        with self._reported("settle", [vif_id]) as report, self._locked([vif_id]):
            stored = self._records.recorded(vif_id).validate()
            Request(stored.vif, instance, stored).check_guest()
            job = Job.recorded(stored, settles=True)
            self._prepare([job])
            self._engine.apply([job])
            _tell(report, [job])
        return job.plan.steps

    def unplug(self, vif_id: str, *, force: bool = False) -> tuple[Step, ...]:
        """Disconnect a VIF: remove what vifplug created for it, and restore what vifplug changed.

        Unplugging a VIF that is not plugged succeeds. If the record is missing or damaged, unplug removes everything on
        the host that has the VIF's mark. Unplug does not roll back: it removes what it can, and raises
        PartlyDone listing the rest; calling it again resumes.

        Args:
            vif_id: the id of the VIF.
            force: disconnect the VIF even if a guest uses its device, or if a plugin of it is not installed.

        Returns:
            The steps that were applied.

        Raises:
            Held: a guest uses the device, and ``force`` is False.
            PartlyDone: something could not be removed.
        """
        return self.unplug_many([vif_id], force=force)[0]

    def unplug_many(self, vif_ids: Iterable[str], *, force: bool = False) -> list[tuple[Step, ...]]:
        """Unplug several VIFs together: one transaction on Open vSwitch, and one wait of the kernel for all devices.

        As `unplug`, it removes what it can. If one of the VIFs is refused before the first step, none is unplugged.

        Args:
            vif_ids: the ids of the VIFs.
            force: see `unplug`.

        Returns:
            The steps that were applied for each VIF, in the given order; none for an id that was given before.

        Raises:
            Held: a guest uses a device of one of them, and ``force`` is False; nothing was removed.
            PartlyDone: something could not be removed: the sentence names each VIF of which something is left, and
                ``unplugged`` has the others.
        """
        ids = [self._id(each) for each in vif_ids]
        with self._reported("unplug", ids) as report, self._locked(ids):
            removed = self._removal.remove(self._records.some(dict.fromkeys(ids)), force=force)
            report.steps = sum(map(len, removed.values()))
        taken = {each: tuple(steps) for each, steps in removed.items()}
        return [taken.pop(each, ()) for each in ids]

    def reconcile(self, vif_ids: Iterable[str] | None = None, *, dry_run: bool = False) -> Sequence[Outcome]:
        """Bring VIFs back to what is recorded: after a reboot, a lost Open vSwitch database, a bridge that was remade.

        What is right is not touched. The VIFs come back together; one that cannot is named, and stops no other. No
        bridge is made: it would have no uplink.

        Args:
            vif_ids: the ids of the VIFs; None: all that are recorded.
            dry_run: change nothing.

        Returns:
            What became of each VIF, or would.
        """
        ids = None if vif_ids is None else list(dict.fromkeys(map(self._id, vif_ids)))
        ends = self._settings.recover == "auto" and not dry_run
        return self._mend("reconcile", lambda: self._recovery.reconcile(ids, dry_run=dry_run, ends=ends))

    def recover(self) -> Sequence[Outcome]:
        """End what a process began and did not finish, because it was killed, say.

        A VIF that was being plugged for the first time is taken back, and one that was being unplugged is unplugged. A
        VIF that was plugged and was being changed gets the change.

        If the database of the record was lost, or is an older copy, it is the record from now on, and its pools are
        open again. The VIFs that have marks and no record are recorded as far as their marks tell them, and have an
        error where they tell too little.

        Returns:
            What became of each of these VIFs.
        """
        return self._mend("recover", lambda: [*self._recovery.accept(), *self._recovery.recover()])

    def gc(self, *, dry_run: bool = False) -> Sequence[Outcome]:
        """Remove what carries vifplug's mark and belongs to no recorded VIF; what a guest has open stays.

        Args:
            dry_run: remove nothing.

        Returns:
            What became of each VIF of which something was found.

        Raises:
            HostNotReady: the record is lost, or an older copy: see `recover`.
        """
        return self._mend("gc", lambda: self._recovery.collect(dry_run=dry_run))

    # -- verbs that only read ---------------------------------------------------------------------------------

    def plan(self, vif: VIF, instance: Instance | None = None, *, take_over: bool = False) -> Plugged:
        """Return what plugging a VIF would do now, without changing anything.

        Raises:
            VifplugError: what `plug` would raise before its first step.
        """
        return self.plan_many([(vif, instance)], take_over=take_over)[0]

    def plan_many(
        self, pairs: Iterable[tuple[VIF, Instance | None]], *, take_over: bool = False, hook: str = ""
    ) -> list[Plugged]:
        """Return what `plug_many` would do now, without changing anything."""
        pairs = tuple(pairs)
        with about_all(_ids(vif for vif, _ in pairs)):
            requests = [self._jobs.request(vif, instance, take_over=take_over, hook=hook) for vif, instance in pairs]
            return [*self._planned(requests)]

    def check(self, vif_id: str | None = None) -> list[Difference]:
        """Return the differences between recorded and actual state, and the networks whose definition has changed.

        A damaged record is a difference as well; so is what would leave a guest without network though each setting is
        as recorded, a VIF that has marks on this host and no record, and, of no VIF, a database that is not the one
        written last.

        Args:
            vif_id: the VIF to check; None checks all, and the record itself.

        Raises:
            NotPlugged: there is no record of the VIF.
        """
        changed: list[Difference] = []

        def parts() -> Iterator[Sequence[StoredVif]]:
            some = [[self._records.recorded(self._id(vif_id))]] if vif_id is not None else self._records.parts()
            for records in some:
                changed.extend(itertools.chain.from_iterable(map(self._resolver.changed, records)))
                yield records

        found = self._comparison.differences(parts(), every=vif_id is None)
        lost = self._store.lost() if vif_id is None else ""
        whole = [Difference("", "record", "the database that was written last", lost)] if lost else []
        return [*whole, *found, *changed]

    def explain(self, vif_id: str) -> Sequence[Hop]:
        """Return the way from a guest to its network, one thing after the other, and how each is.

        What `check` says of the VIF is at the thing that it is about. Nothing is changed, and no program is run.

        Args:
            vif_id: the id of the VIF.

        Raises:
            NotPlugged: there is no record of the VIF.
            DamagedRecord: its record cannot be read.
        """
        from vifplug.driver import explanation

        stored = self.show(vif_id)
        return explanation.explain(stored, self._host, self.check(stored.id))

    def list(self) -> list[StoredVif]:
        """Return the records of all VIFs, sorted by id. A damaged record has a ``problem``."""
        return self._records.all()

    def show(self, vif_id: str) -> StoredVif:
        """Return the record of one VIF.

        Raises:
            NotPlugged: there is no record of it.
            DamagedRecord: its record cannot be read.
            Missing: the plugin of a resource is not installed.
        """
        return self._records.recorded(self._id(vif_id)).validate()

    def hooked(self, guest: str, uuid: str | None = None) -> Sequence[str]:
        """Return the ids of the VIFs that libvirt's hook plugged for a guest, damaged records included.

        Args:
            guest: the name of the guest.
            uuid: the guest's UUID; None: of any guest of that name.
        """
        found = [(each.vif_id, guest_of(each.instance)) for each in self._store.holdings([HOOK + guest])]
        return [vif_id for vif_id, had in found if had is None or uuid in (None, had.uuid)]

    def host_info(self) -> dict[str, Any]:
        """Return what this host offers, as plain data for other programs: networks, bridges, types, kernel, SR-IOV."""
        types = {report.origin.name: report.origin.version for report in self._types.report() if not report.reason}
        return {
            **self._host.host_info(),
            "integration_bridge": self._settings.integration_bridge,
            "networks": {each.name or each.place: self._offer(each) for each in self.networks.all()},
            "types": types,
        }

    def _offer(self, definition: NetworkDefinition) -> dict[str, Any]:
        if definition.network is None:
            return {"problem": str(definition)}
        offer: dict[str, Any] = {"definition": definition.network.to_data()}
        if definition.network.pooled:
            from vifplug.networks import candidates

            offer["pool"] = candidates.pool_data(self._resolver.pool(definition.network, self._store.holdings))
        return offer

    def pool(self, network: str) -> Sequence[PoolDevice]:
        """Return the devices of a network's pool and the VIFs that use them; none for a network on a bridge.

        Raises:
            UnknownNetwork: this host does not define the network.
        """
        return self._resolver.pool(definitions.get(self.networks, network), self._store.holdings)

    def can_plug(self, vifs: Iterable[VIF], instance: Instance | None = None) -> CanPlug:
        """Return whether the VIFs of one guest can be plugged here, and each reason why not. Nothing is changed.

        Unlike `plan`, it requires the Open vSwitch bridges to exist: a bridge that a plug creates has no uplink.

        Args:
            vifs: the VIFs.
            instance: their guest; None: that of their records.
        """
        from vifplug.driver.admission import Admission, CanPlug

        admission = Admission(self._resolver, self._engine, self._host, self._store.holdings, self._jobs.of)
        fixed_first = sorted(vifs, key=lambda vif: vif.type == "network")  # pools give what is left
        requests = [Request(vif, instance, self._records.get(vif.id)) for vif in fixed_first]
        answers = [(each.vif, *admission.answer(each)) for each in requests]
        return CanPlug(
            reasons=tuple((vif, each) for vif, reasons, _ in answers for each in reasons),
            warnings=tuple((vif, each) for vif, _, warnings in answers for each in warnings),
        )

    def status(self) -> Sequence[Finding]:
        """Look at everything that the verbs rely on, and at what differs from the records: for monitoring.

        Nothing is changed; the record and Open vSwitch are written to, so that it is known that they can be.
        """
        from vifplug.driver.status import Examination

        reports = (*self._types.report(), *plugins.report_resources())
        broken = [f"{each.origin.name}: {each.reason}" for each in reports if each.reason]
        looks = Examination(self._host, self._store, self.check, self._recovery.unowned, broken)
        found = list(looks.findings(self._records.all))
        if self._textfile:
            self._textfile.examined(looks.recorded, looks.differences, looks.unrecorded)
        return found

    def topology(self) -> HostView:
        """Return the networks, bridges, devices, VIFs and guests of this host, for `vifplug.topology` to draw.

        What is missing, or down, is marked.
        """
        from vifplug.driver import host_view

        defined = list(map(self._resolver.named_here, self.networks.all()))
        networks = [each.network for each in defined if each.network and each.network.pooled]
        pools = {each.name: self._resolver.pool(each, self._store.holdings) for each in networks}
        return host_view.host(
            host_view.Sources(
                name=self._host.name,
                definitions=defined,
                bridges=self._host.bridges(),
                pools=pools,
                plugged=self.list(),
                differences=self.check(),
                has_device=self._host.has_device,
            )
        )

    # -- documents and records --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _reported(self, verb: str, vif_ids: Sequence[str]) -> Iterator[Report]:
        with reported(verb, vif_ids, self.observers) as report:
            try:
                yield report
            finally:
                report.lost_connections = self._host.lost_connections()

    def _mend(self, verb: str, work: Callable[[], Sequence[Outcome]]) -> Sequence[Outcome]:
        """Do what day two needs, in the network namespace of the records."""
        with self._reported(verb, []) as report:
            self._begin(automatic=False)
            self._recovery.check_place()
            outcomes = work()
            report.vif_ids = [each.vif_id for each in outcomes]
            report.steps = sum(len(each.steps) for each in outcomes)
        for each in outcomes:
            if each.error:
                _log.info("%s %s: %s", verb, each.vif_id, each.error)
        return outcomes

    def _begin(self, *, automatic: bool) -> None:
        """Before the first change of this driver, see what became of the host since the last: `Recovery.begin`."""
        with self._beginning:  # other threads wait
            if not self._begun:
                self._recovery.begin(automatic=automatic)
                self._begun = True

    @contextlib.contextmanager
    def _locked(self, vif_ids: Iterable[str]) -> Iterator[None]:
        self._begin(automatic=self._settings.recover == "auto")
        with self._store.lock(vif_ids, self._settings.lock_timeout), interrupts.deferred():
            yield

    def _planned(self, requests: Iterable[Request], *, refresh: bool = False) -> Sequence[Plugged]:
        """Return what would be done now. Nothing is recorded."""
        jobs = self._jobs.make(requests, refresh=refresh, dry_run=True)
        self._engine.prepare(jobs)
        return [_plugged(job) for job in jobs]

    def _made_again(self, pairs: Iterable[tuple[VIF, Instance | None]]) -> Sequence[Job]:
        return self._jobs.make([self._jobs.request(vif, instance) for vif, instance in pairs])

    def _prepared_again(self, pairs: Iterable[tuple[VIF, Instance | None]]) -> Sequence[Job]:
        return self._prepared([self._jobs.request(vif, instance) for vif, instance in pairs])

    def _prepared(self, requests: Iterable[Request], *, refresh: bool = False) -> Sequence[Job]:
        """Return the jobs of a batch with their steps planned. The devices that they chose from pools are claimed."""
        ends("lock")
        jobs = self._jobs.make(requests, refresh=refresh)
        ends("resolve")
        try:
            self._prepare(jobs)
        except BaseException as error:
            self._engine.give_back(jobs, error)
            raise
        return jobs

    def _prepare(self, jobs: Sequence[Job]) -> None:
        """Plan the steps of the jobs, and wait for the ports that need none: an earlier call may not have waited."""
        ports = [[each for each in job.desired if isinstance(each, OvsPort)] for job in jobs]
        for job, own in zip(jobs, ports, strict=True) if self._wait == FLOWS else ():
            if all(port.iface_id is None for port in own):
                raise InvalidRequest(
                    f"VIF {job.vif.id}: OVN looks for none of its ports, so there are no flows to wait for: plug it "
                    f"without wait {FLOWS}",
                    vif_id=job.vif.id,
                    option="[vifplug_ovs] wait",
                )
        self._engine.prepare(jobs)
        changing = {step.subject.identity for job in jobs for step in job.plan.steps}
        ready = [port for own in ports for port in own if port.identity not in changing] if self._confirms else []
        if ready:
            self._host.ovs.confirm(ready)

    def _id(self, text: str) -> str:
        """Return a VIF's id in its normal form; as it is if a damaged record has it."""
        if not isinstance(text, str):
            raise InvalidRequest(f"the id of a VIF: expected a string, got {described(text)}")
        try:
            return parse_uuid(text)
        except ValueError as error:
            if self._records.get(text):
                return text
            raise InvalidRequest(f"the id of a VIF: {error}", vif_id=str(text)) from None


def _ids(vifs: Iterable[VIF]) -> Sequence[str]:
    """Return the ids of a batch, each once."""
    return list(dict.fromkeys(vif.id for vif in vifs if isinstance(vif, VIF)))


def _textfile(path: str | None) -> Textfile | None:
    if path is None:
        return None
    try:
        from vifplug.driver.metrics import Textfile
    except ImportError as error:
        message = f"[vifplug] metrics: expected the extra metrics to be installed, got none ({error})"
        raise InvalidConfig(f"{message}: pip install vifplug[metrics]", option="[vifplug] metrics") from None
    return Textfile(path)


def _tell(report: Report, jobs: Sequence[Job]) -> None:
    report.steps = sum(len(job.plan.steps) for job in jobs)
    if len(guests := {job.instance for job in jobs}) == 1:
        [report.guest] = guests


def _plugged(job: Job, report: Report | None = None) -> Plugged:
    return Plugged(
        vif=job.vif,
        actual=job.actual,
        interface_xml=job.interface_xml,
        steps=job.plan.steps,
        warnings=job.warnings,
        stages=report.stages if report else {},
    )
