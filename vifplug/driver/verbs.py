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
from vifplug.driver.waiting import Waiting
from vifplug.errors import InvalidRequest, NotPlugged
from vifplug.model.names import parse_uuid
from vifplug.model.network import Network
from vifplug.model.vif import VIF, Instance
from vifplug.plan import registry
from vifplug.plan.registry import Resource
from vifplug.plan.steps import Difference, Step
from vifplug.store.store import Store

if TYPE_CHECKING:
    from oslo_config import cfg

    from vifplug.driver.adoption import Adopted
    from vifplug.host.machine import Machine, Progress
    from vifplug.networks.pool import PoolDevice
    from vifplug.topology.view import HostView

_log = logging.getLogger(__name__)


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


class VIFDriver:
    """Plugs VIFs on this host and remembers what it did. Thread-safe; processes of one host share the record.

    ``conf`` is an oslo.config ConfigOpts; None reads the usual files. ``networks`` are the named networks, instead of
    those in the directory that the configuration names. ``wait`` (none, ofport or ovn-installed) takes the place of the
    option [vifplug_ovs] wait. ``machine`` stands for the host: another than this one is for tests.

    Errors, beside those that a verb names: InvalidRequest before anything is touched; HostNotReady and Conflict when
    nothing is changed in the end; StepFailed when a step failed and all was undone; PartlyDone when something is left.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts | None = None,
        *,
        networks: Iterable[Network] | None = None,
        wait: str | None = None,
        machine: Machine | None = None,
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
        self._machine = machine or host.machine(ovs, extra)
        self._waiting = Waiting(self._machine, ovs.wait, asked=wait is not None)
        self._facts = host.HostFacts(self._machine, plugins.FactPlugins())
        self._store = Store(self._settings.state_path)
        kinds = plugins.ResourceKinds(extra, registry.RESOURCES)
        self._records = Records(self._store, kinds)
        self._engine = Engine(self._machine, self._store)
        self.networks: NetworkDefinitions = (
            NetworkDirectory(self._settings.networks_dir) if networks is None else StaticNetworks(networks)
        )
        self._resolver = Resolver(self.networks, self._facts, self._settings.integration_bridge)
        self._jobs = JobFactory(self._types, self._settings, self._facts, self._resolver, self._records)

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
        """Make the host side of ``vif`` true. Twice is the same as once; the second time nothing is changed.

        The guest that an earlier plug named is kept where ``instance`` is not given. With the same document
        a VIF of a named network stays what the network made of it; `update` follows a network that has changed.
        """
        return self.plug_many([(vif, instance)])[0]

    def plug_many(
        self, pairs: Iterable[tuple[VIF, Instance | None]], *, progress: Progress | None = None
    ) -> list[Plugged]:
        """Plug several VIFs as one: all are plugged or none; on Open vSwitch it is one transaction.

        ``progress`` is called with the number of steps taken and to be taken.
        """
        pairs = list(pairs)
        for vif, instance in pairs:
            self._jobs.check(vif, instance)
        with self._store.lock([vif.id for vif, _ in pairs], self._settings.lock_timeout):
            jobs = self._prepared(pairs)
            self._engine.apply(jobs, "plugging", progress)
        return [_plugged(job) for job in jobs]

    def update(self, vif: VIF, instance: Instance | None = None) -> Plugged:
        """Bring a plugged VIF to what ``vif``, and its network, now say, in place where that can be.

        The instance is kept if not given, and so is the device of a pool.

        Raises NotPlugged when it isn't plugged, Held when a device would have to be made anew under its guest.
        """
        self._jobs.check(vif, instance)
        with self._store.lock([vif.id], self._settings.lock_timeout):
            self._recorded(vif.id)
            [job] = self._prepared([(vif, instance)], refresh=True)
            self._engine.apply([job], "updating")
        return _plugged(job)

    def update_network(self, name: str) -> Sequence[Plugged]:
        """Bring all VIFs that were plugged into a network to what it says now, as one: all of them or none.

        Raises UnknownNetwork, and what `update` raises.
        """
        definitions.get(self.networks, name)
        ids = [vif.id for vif in self._plugged_into(name)]
        with self._store.lock(ids, self._settings.lock_timeout):
            pairs = [(vif, None) for vif in self._plugged_into(name) if vif.id in ids]
            jobs = self._prepared(pairs, refresh=True)
            self._engine.apply(jobs, "updating")
        return [_plugged(job) for job in jobs]

    def _plugged_into(self, name: str) -> Sequence[VIF]:
        """Those that are plugged; what was begun and not finished is for plug or unplug to end."""
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
        """Take over VIFs that libvirt plugged for a guest that runs, each as it is there: all of them or none.

        Nothing on the host is changed. `check` then tells where it is not as the VIF says, `update` changes it in
        place, `unplug` puts back what there was. ``asked`` has, by id, the VIFs of named networks that they came from;
        where this host has no such network, the VIF is recorded as it is. ``dry``: nothing is recorded.

        Raises Missing for what is not there, Conflict for what is vifplug's own or another guest's.
        """
        from vifplug.driver import adoption

        found = [(adoption.in_place(vif, self._facts), instance) for vif, instance in pairs]
        for vif, instance in found:
            self._jobs.check(vif, instance)
        with self._store.lock([vif.id for vif, _ in found], self._settings.lock_timeout):
            jobs = [
                self._jobs.of(self._known(asked.get(vif.id)) or vif, vif, self._jobs.former(vif), instance)
                for vif, instance in found
            ]
            return adoption.adopt(jobs, self._engine, dry_run=dry_run)

    def _known(self, asked: VIF | None) -> VIF | None:
        """A VIF of a named network; None where this host has no such network."""
        names = {each.name for each in self.networks.all() if each.network} if asked else set()
        return asked if asked and asked.source.network in names else None

    def settle(self, vif_id: str) -> tuple[Step, ...]:
        """Do again what libvirt undid when the guest started: QoS on the tap, the settings of a VF.

        Raises NotPlugged.
        """
        vif_id = self._id(vif_id)
        with self._store.lock([vif_id], self._settings.lock_timeout):
            job = Job.recorded(self._recorded(vif_id).validate())
            self._waiting.check([job])
            self._engine.prepare([job], settle=True)
            self._waiting.confirm([job])
            self._engine.apply([job], "updating")
        return job.change.steps

    def unplug(self, vif_id: str, *, force: bool = False) -> tuple[Step, ...]:
        """Take back everything of a VIF: what was made goes, what was set is put back. The id alone is enough.

        What is not there is no error. Raises Held while a guest has the device open, unless ``force``. It is not
        undone when a step fails: what can be taken back is, PartlyDone says what is left, and unplugging again goes
        on from there.
        """
        vif_id = self._id(vif_id)
        with self._store.lock([vif_id], self._settings.lock_timeout):
            return tuple(self._engine.remove(vif_id, self._records.get(vif_id), self._facts.find, force=force))

    def take_over(self, vif_id: str, resources: Iterable[Resource]) -> Sequence[Resource]:
        """Mark as vifplug's what another program made for a VIF; what of ``resources`` there was.

        A device is found by its name, a port of Open vSwitch by its name and its iface-id. Nothing else about them
        changes until the VIF is plugged or unplugged. What carries anybody's mark already is left alone.
        """
        from vifplug.host import host

        vif_id = self._id(vif_id)
        with self._store.lock([vif_id], self._settings.lock_timeout):
            return host.take_over(self._machine, list(resources))

    def clean_up(self, vif_id: str, devices: Sequence[str], bridges: Sequence[str]) -> Sequence[str]:
        """Remove what another program leaves when a VIF is gone: stray QoS rows of ports of the names ``devices``, and
        those of the Open vSwitch bridges ``bridges`` that have no port left. The names of the bridges that went.
        """
        from vifplug.host import host

        vif_id = self._id(vif_id)
        with self._store.lock([vif_id], self._settings.lock_timeout):
            return host.clean_up(self._machine, devices, bridges)

    # -- verbs that only look ---------------------------------------------------------------------------------

    def plan(self, vif: VIF, instance: Instance | None = None) -> Plugged:
        """What plugging ``vif`` would do now; nothing is changed. Raises what plugging would raise beforehand."""
        return self.plan_many([(vif, instance)])[0]

    def plan_many(self, pairs: Iterable[tuple[VIF, Instance | None]]) -> list[Plugged]:
        """What `plug_many` would do now."""
        jobs = self._jobs.make(pairs, dry_run=True)
        self._engine.prepare(jobs)
        return [_plugged(job) for job in jobs]

    def wanted(self, vif: VIF, instance: Instance | None = None) -> Sequence[Resource]:
        """What has to hold on this host for ``vif``, whatever is there. Raises InvalidRequest, Missing."""
        [job] = self._jobs.make([(vif, instance)], dry_run=True)
        return tuple(job.desired)

    def check(self, vif_id: str | None = None) -> list[Difference]:
        """Where the host is not as recorded, and a network no longer what it was, for one VIF or for all.

        Raises NotPlugged for one that is not recorded.
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
        """What this host offers, as plain data for other programs: networks, bridges, types, kernel, SR-IOV ..."""
        types = {report.origin.name: report.origin.version for report in self._types.report() if not report.reason}
        return {
            **self._facts.host_info(),
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
        """The devices of a network's pool, and who has them; none for one on a bridge. Raises UnknownNetwork."""
        return self._resolver.pool(definitions.get(self.networks, network), self._store.holdings)

    def can_plug(self, vifs: Iterable[VIF]) -> Sequence[tuple[VIF, str]]:
        """Why the VIFs of one guest could not be plugged here: each reason with its VIF. Nothing is changed.

        More than `plan` it wants the bridges of Open vSwitch to be there: one that a plug makes leads nowhere.
        """
        from vifplug.driver.admission import Admission

        admission = Admission(self._resolver, self._engine, self._facts, self._store.holdings)
        fixed_first = sorted(vifs, key=lambda vif: vif.type == "network")  # pools give what is left
        formers = [(vif, self._records.get(vif.id)) for vif in fixed_first]
        return [(vif, each) for vif, former in formers for each in admission.reasons(vif, former, self._jobs.of)]

    def topology(self) -> HostView:
        """Networks, bridges, devices, VIFs and guests of this host, as `vifplug.topology` draws them."""
        from vifplug.driver import host_view

        defined = list(map(self._resolver.named_here, self.networks.all()))
        networks = [each.network for each in defined if each.network and each.network.pooled]
        pools = {each.name: self._resolver.pool(each, self._store.holdings) for each in networks}
        return host_view.host(self._facts.name, defined, self._facts.bridges(), pools, self.list())

    # -- documents and records --------------------------------------------------------------------------------

    def _prepared(self, pairs: Iterable[tuple[VIF, Instance | None]], *, refresh: bool = False) -> Sequence[Job]:
        """The jobs of a batch, observed and planned; what they take of pools is theirs from here on."""
        jobs = self._jobs.make(pairs, refresh=refresh)
        try:
            self._waiting.check(jobs)
            self._engine.prepare(jobs)
            self._waiting.confirm(jobs)
        except BaseException:
            self._engine.give_back(jobs)
            raise
        return jobs

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
