"""VIFDriver: the verbs. A document becomes a job, the engine does the job, and the caller gets the element."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vifplug import plugins
from vifplug.driver import definitions
from vifplug.driver.definitions import NetworkDefinition, NetworkDefinitions, NetworkDirectory, StaticNetworks
from vifplug.driver.engine import Engine, Job
from vifplug.driver.jobs import JobFactory
from vifplug.driver.records import Records, StoredVif
from vifplug.driver.resolver import Resolver
from vifplug.errors import InvalidRequest, NotPlugged
from vifplug.model.names import parse_uuid
from vifplug.model.network import Network
from vifplug.model.vif import VIF, Instance
from vifplug.plan import registry
from vifplug.plan.registry import OvsPort
from vifplug.plan.steps import Difference, Step
from vifplug.store.store import Store

if TYPE_CHECKING:
    from oslo_config import cfg

    from vifplug.driver.adoption import Adopted
    from vifplug.host.host import Host
    from vifplug.host.machine import Progress
    from vifplug.networks.pool import PoolDevice
    from vifplug.topology.view import HostView

_log = logging.getLogger(__name__)

#: the value of [vifplug_ovs] wait that waits for OVN's flows
FLOWS = "ovn-installed"


@dataclass(frozen=True, kw_only=True)
class Plugged:
    """The result of a plug, an update or a plan."""

    #: the VIF as requested
    vif: VIF
    #: the VIF as plugged: with its network resolved, and the device that it got
    actual: VIF
    #: the guest's ``<interface>`` element
    interface_xml: str
    #: the steps that were applied (by a plan: would be); empty if the host was as desired
    steps: tuple[Step, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether a step was applied."""
        return bool(self.steps)


class VIFDriver:
    """Plug, check and unplug VIFs on this host. Thread-safe; all processes of a host share one record.

    Use it as a context manager, or call `close`.

    Args:
        conf: the options; None reads the default files (`vifplug.conf.load`).
        networks: the named networks; None reads them from [vifplug] networks_dir.
        wait: what `plug`, `update` and `settle` wait for: none, ofport or ovn-installed. None: [vifplug_ovs] wait.
        machine: the host to act on; tests pass an in-memory one.

    Raises:
        InvalidConfig: an option has a value that is not allowed.

    Every verb can raise, in addition to the errors that it documents:

    * InvalidRequest: the request is wrong; nothing was changed.
    * HostNotReady, Conflict: the host cannot serve the request; nothing was changed, or all changes were rolled back.
    * StepFailed: a step failed; all changes were rolled back.
    * PartlyDone: a step failed, and some changes remain.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts | None = None,
        *,
        networks: Iterable[Network] | None = None,
        wait: str | None = None,
        machine: Host | None = None,
    ) -> None:
        from vifplug import conf as options
        from vifplug.host import host

        conf = options.load() if conf is None else conf
        options.register(conf)
        self._types = plugins.TypeRegistry(options.enabled_types(conf))
        loaded = self._types.loaded()
        options.register(conf, loaded)
        self._settings = options.settings(conf, loaded)
        extra = plugins.load_resources()
        ovs = self._settings.ovs if wait is None else dataclasses.replace(self._settings.ovs, wait=wait)
        self._host = machine or host.Host(ovs, extra, plugins.FactPlugins())
        self._wait = wait
        #: whether ports that need no step are waited for as well
        self._confirms = wait is not None or ovs.wait == FLOWS
        self._store = Store(self._settings.state_path)
        kinds = plugins.ResourceKinds(extra, registry.RESOURCES)
        self._records = Records(self._store, kinds)
        self._engine = Engine(self._host, self._store)
        self.networks: NetworkDefinitions = (
            NetworkDirectory(self._settings.networks_dir) if networks is None else StaticNetworks(networks)
        )
        self._resolver = Resolver(self.networks, self._host, self._settings.integration_bridge)
        self._jobs = JobFactory(self._types, self._settings, self._host, self._resolver, self._records)

    def __enter__(self) -> VIFDriver:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back connections and sockets. Later use opens them anew."""
        self._host.close()
        self._store.close()

    # -- verbs that change the host ---------------------------------------------------------------------------

    def plug(self, vif: VIF, instance: Instance | None = None) -> Plugged:
        """Create the host state of a VIF. Idempotent: a second plug changes nothing.

        If the document is the same as in the last plug, a VIF of a named network stays as it was resolved then;
        `update` applies a changed network.

        Args:
            vif: the VIF.
            instance: its guest; None keeps the guest of an earlier plug.

        Returns:
            The actual VIF, the guest's element and the steps.

        Raises:
            Missing: a bridge, device or network that the VIF needs does not exist.
            PoolExhausted: other VIFs use all devices of the network.
        """
        return self.plug_many([(vif, instance)])[0]

    def plug_many(
        self, pairs: Iterable[tuple[VIF, Instance | None]], *, progress: Progress | None = None
    ) -> list[Plugged]:
        """Plug several VIFs, all or none. On Open vSwitch, this is one transaction.

        Args:
            pairs: each VIF with its guest, as for `plug`.
            progress: called with the number of steps applied and the number of all steps.
        """
        pairs = list(pairs)
        for vif, instance in pairs:
            self._jobs.check(vif, instance)
        with self._store.lock([vif.id for vif, _ in pairs], self._settings.lock_timeout):
            jobs = self._prepared(pairs)
            self._engine.apply(jobs, "plugging", progress)
        return [_plugged(job) for job in jobs]

    def update(self, vif: VIF, instance: Instance | None = None) -> Plugged:
        """Change a plugged VIF to a new document, or to the new definition of its network; in place if possible.

        The VIF keeps its device of a pool.

        Args:
            vif: the VIF.
            instance: its guest; None keeps the recorded one.

        Raises:
            NotPlugged: there is no record of the VIF.
            Held: a device would have to be recreated while a guest has it open.
        """
        self._jobs.check(vif, instance)
        with self._store.lock([vif.id], self._settings.lock_timeout):
            self._recorded(vif.id)
            [job] = self._prepared([(vif, instance)], refresh=True)
            self._engine.apply([job], "updating")
        return _plugged(job)

    def update_network(self, name: str) -> Sequence[Plugged]:
        """Apply the definition of a network to all its plugged VIFs, all or none.

        Raises:
            UnknownNetwork: the network is not defined.
            Held: as `update`.
        """
        definitions.get(self.networks, name)
        ids = [vif.id for vif in self._plugged_into(name)]
        with self._store.lock(ids, self._settings.lock_timeout):
            pairs = [(vif, None) for vif in self._plugged_into(name) if vif.id in ids]
            jobs = self._prepared(pairs, refresh=True)
            self._engine.apply(jobs, "updating")
        return [_plugged(job) for job in jobs]

    def _plugged_into(self, name: str) -> Sequence[VIF]:
        """Return the plugged VIFs of a network; plug or unplug has to finish the others first."""
        vifs = [stored.vif for stored in self._sound() if stored.state in ("plugged", "updating")]
        return [vif for vif in vifs if vif.type == "network" and vif.source.network == name]

    def _sound(self) -> Iterator[StoredVif]:
        """Yield the records that can be read, and log the others."""
        for stored in self._records.all():
            if stored.problem:
                _log.warning("%s", stored.problem)
            else:
                yield stored

    def adopt(
        self,
        pairs: Iterable[tuple[VIF, Instance | None]],
        *,
        asked: Mapping[str, VIF] = MappingProxyType({}),
        dry_run: bool = False,
    ) -> list[Adopted]:
        """Record the VIFs that libvirt has plugged for a running guest, all or none. The host is not changed.

        From then on, `check` reports differences, `update` changes the ports in place, and `unplug` restores their
        previous settings.

        Args:
            pairs: each VIF, as it exists on the host, with its guest.
            asked: by id, the VIFs of named networks that they were resolved from; a VIF whose network is not defined on
                this host is recorded as it is.
            dry_run: record nothing.

        Raises:
            Missing: a port does not exist.
            Conflict: a port belongs to vifplug or to another guest.
        """
        from vifplug.driver import adoption

        found = [(adoption.in_place(vif, self._host), instance) for vif, instance in pairs]
        for vif, instance in found:
            self._jobs.check(vif, instance)
        with self._store.lock([vif.id for vif, _ in found], self._settings.lock_timeout):
            jobs = [
                self._jobs.of(self._known(asked.get(vif.id)) or vif, vif, self._jobs.former(vif), instance)
                for vif, instance in found
            ]
            return adoption.adopt(jobs, self._engine, dry_run=dry_run)

    def _known(self, asked: VIF | None) -> VIF | None:
        """Return the VIF if this host defines its network, otherwise None."""
        names = {each.name for each in self.networks.all() if each.network} if asked else set()
        return asked if asked and asked.source.network in names else None

    def settle(self, vif_id: str) -> tuple[Step, ...]:
        """Restore what libvirt has changed when the guest started: QoS of the tap, settings of a VF.

        Returns:
            The steps that were applied.

        Raises:
            NotPlugged: there is no record of the VIF.
        """
        vif_id = self._id(vif_id)
        with self._store.lock([vif_id], self._settings.lock_timeout):
            job = Job.recorded(self._recorded(vif_id).validate())
            self._prepare([job], settle=True)
            self._engine.apply([job], "updating")
        return job.change.steps

    def unplug(self, vif_id: str, *, force: bool = False) -> tuple[Step, ...]:
        """Remove what was created for a VIF, and restore what was set. It succeeds if nothing exists.

        Unplug does not roll back. It removes what it can and raises PartlyDone listing the rest; calling it again
        resumes.

        Args:
            vif_id: UUID of the VIF.
            force: unplug even while a guest has the device open.

        Returns:
            The steps that were applied.

        Raises:
            Held: a guest has the device open.
            PartlyDone: some changes remain.
        """
        vif_id = self._id(vif_id)
        with self._store.lock([vif_id], self._settings.lock_timeout):
            return tuple(self._engine.remove(vif_id, self._records.get(vif_id), self._host.find, force=force))

    # -- verbs that only look ---------------------------------------------------------------------------------

    def plan(self, vif: VIF, instance: Instance | None = None) -> Plugged:
        """Return what `plug` would do now. Changes nothing, and raises what `plug` raises before its first step."""
        return self.plan_many([(vif, instance)])[0]

    def plan_many(self, pairs: Iterable[tuple[VIF, Instance | None]]) -> list[Plugged]:
        """Return what `plug_many` would do now, without changing anything."""
        jobs = self._jobs.make(pairs, dry_run=True)
        self._engine.prepare(jobs)
        return [_plugged(job) for job in jobs]

    def check(self, vif_id: str | None = None) -> list[Difference]:
        """Return the differences between recorded and actual state, and the networks whose definition has changed.

        Args:
            vif_id: UUID of a VIF; None checks all VIFs.

        Raises:
            NotPlugged: there is no record of the VIF.
        """
        records = self._records.all() if vif_id is None else [self._recorded(self._id(vif_id))]
        changed = (each for stored in records if not stored.problem for each in self._resolver.changed(stored))
        return [*self._engine.differences(records), *changed]

    def list(self) -> list[StoredVif]:
        """Return what is recorded of every VIF, by id; ``problem`` says which records are damaged."""
        return self._records.all()

    def show(self, vif_id: str) -> StoredVif:
        """Return what is recorded of one VIF.

        Raises:
            NotPlugged: there is no record of it.
            DamagedRecord: its record cannot be read.
            Missing: the plugin of a resource is not installed.
        """
        return self._recorded(self._id(vif_id)).validate()

    def host_info(self) -> dict[str, Any]:
        """Return what this host offers, as plain data for other programs: networks, bridges, types, kernel ..."""
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
        """Return the devices of a network's pool with the VIFs that use them; empty for a network on a bridge.

        Raises:
            UnknownNetwork: the network is not defined.
        """
        return self._resolver.pool(definitions.get(self.networks, network), self._store.holdings)

    def can_plug(self, vifs: Iterable[VIF]) -> Sequence[tuple[VIF, str]]:
        """Return every reason why the VIFs of one guest cannot be plugged here; empty if they can. Changes nothing.

        Unlike `plan`, it requires Open vSwitch bridges to exist: a bridge that a plug creates has no uplink.

        Returns:
            Pairs of a VIF and a reason.
        """
        from vifplug.driver.admission import Admission

        admission = Admission(self._resolver, self._engine, self._host, self._store.holdings)
        fixed_first = sorted(vifs, key=lambda vif: vif.type == "network")  # pools give what is left
        formers = [(vif, self._records.get(vif.id)) for vif in fixed_first]
        return [(vif, each) for vif, former in formers for each in admission.reasons(vif, former, self._jobs.of)]

    def topology(self) -> HostView:
        """Return the networks, bridges, devices, VIFs and guests of this host, for `vifplug.topology`."""
        from vifplug.driver import host_view

        defined = list(map(self._resolver.named_here, self.networks.all()))
        networks = [each.network for each in defined if each.network and each.network.pooled]
        pools = {each.name: self._resolver.pool(each, self._store.holdings) for each in networks}
        return host_view.host(self._host.name, defined, self._host.bridges(), pools, self.list())

    # -- documents and records --------------------------------------------------------------------------------

    def _prepared(self, pairs: Iterable[tuple[VIF, Instance | None]], *, refresh: bool = False) -> Sequence[Job]:
        """Return the jobs of a batch, observed and planned, with the devices of pools reserved."""
        jobs = self._jobs.make(pairs, refresh=refresh)
        try:
            self._prepare(jobs)
        except BaseException:
            self._engine.give_back(jobs)
            raise
        return jobs

    def _prepare(self, jobs: Sequence[Job], *, settle: bool = False) -> None:
        """Plan the steps of the jobs, and wait for the ports that need none: an earlier call may not have waited."""
        ports = [[each for each in job.desired if isinstance(each, OvsPort)] for job in jobs]
        for job, own in zip(jobs, ports, strict=True) if self._wait == FLOWS else ():
            if all(port.iface_id is None for port in own):
                raise InvalidRequest(
                    f"VIF {job.vif.id}: OVN does not look for any of its ports, so it has no flows to wait for: plug "
                    f"it without wait {FLOWS}"
                )
        self._engine.prepare(jobs, settle=settle)
        changing = {step.subject.identity for job in jobs for step in job.change.steps}
        ready = [port for own in ports for port in own if port.identity not in changing] if self._confirms else []
        if ready:
            self._host.ovs.confirm(ready)

    def _recorded(self, vif_id: str) -> StoredVif:
        stored = self._records.get(vif_id)
        if stored is None:
            raise NotPlugged(f"VIF {vif_id} is not plugged on this host; `vifplug list` shows the VIFs that are")
        return stored

    def _id(self, text: str) -> str:
        """Return a VIF's id in its normal form; as it is if a damaged record has it."""
        try:
            return parse_uuid(text)
        except ValueError as error:
            if self._records.get(text):
                return text
            raise InvalidRequest(f"the id of a VIF: {error}") from None


def _plugged(job: Job) -> Plugged:
    return Plugged(vif=job.vif, actual=job.actual, interface_xml=job.interface_xml, steps=job.change.steps)
