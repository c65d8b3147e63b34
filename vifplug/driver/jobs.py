"""From a VIF to the job of plugging it: its network and type, what is recorded of it, a device where it needs one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vifplug import plugins
from vifplug.conf import Config
from vifplug.driver import own_names
from vifplug.driver.engine import Job
from vifplug.driver.records import Records, StoredVif
from vifplug.driver.resolver import PoolChoice, Resolver
from vifplug.guest import write
from vifplug.model.vif import VIF, Instance
from vifplug.plugins import TypeRegistry
from vifplug.store.store import StoreTransaction
from vifplug.types.base import Context, VIFType

if TYPE_CHECKING:
    from vifplug.host.host import Host


@dataclass(frozen=True)
class _Request:
    """What a caller requests, and what is recorded."""

    vif: VIF
    instance: Instance | None
    former: StoredVif | None

    @property
    def guest(self) -> Instance | None:
        return self.instance or (self.former.instance if self.former else None)


class JobFactory:
    """Makes jobs for the engine. Callers hold the locks of the VIFs."""

    def __init__(self, types: TypeRegistry, settings: Config, host: Host, resolver: Resolver, records: Records) -> None:
        self._types = types
        self._settings = settings
        self._host = host
        self._context = Context(settings=settings.common, facts=host)
        self._resolver = resolver
        self._records = records

    def check(self, vif: VIF, instance: Instance | None) -> None:
        """Raises InvalidRequest for what is wrong whatever the host looks like, before there is a lock or a record.

        What a network makes of a VIF is seen by `make`.
        """
        if vif.type != "network":
            self._understood(vif, instance)

    def make(
        self, pairs: Iterable[tuple[VIF, Instance | None]], *, refresh: bool = False, dry_run: bool = False
    ) -> Sequence[Job]:
        """Return a job for each VIF. Devices of pools are chosen and recorded in one transaction.

        Args:
            dry_run: choose devices without recording them.
            refresh: use the current definitions of the networks, not the recorded ones.

        Raises:
            Missing: something that a VIF needs does not exist on the host; also the errors of `resolve`.
        """
        requests = [_Request(vif, instance, self.former(vif)) for vif, instance in pairs]
        jobs: dict[int, Job] = {}
        choices: dict[int, PoolChoice] = {}
        for number, request in enumerate(requests):
            begun = self._resolver.begin(request.vif, request.former, refresh=refresh)
            if isinstance(begun, PoolChoice):
                choices[number] = begun
            else:
                jobs[number] = self._job(request, begun)
        if choices or dry_run:
            with self._records.store.transaction(dry_run=dry_run) as transaction:
                for job in jobs.values():  # a device that is named comes before one that is chosen
                    _reserve(job, transaction)
                jobs |= {number: self._chosen(requests[number], each, transaction) for number, each in choices.items()}
        return [jobs[number] for number in range(len(requests))]

    def of(self, vif: VIF, actual: VIF, former: StoredVif | None, instance: Instance | None = None) -> Job:
        """The job of a VIF that is resolved already."""
        return self._job(_Request(vif, instance, former), actual)

    def _chosen(self, request: _Request, choice: PoolChoice, transaction: StoreTransaction) -> Job:
        job = self._job(request, choice.actual(transaction.holdings(choice.names)))
        _reserve(job, transaction)
        return job

    def former(self, vif: VIF) -> StoredVif | None:
        """Return what is recorded of a VIF. Raises DamagedRecord."""
        stored = self._records.get(vif.id)
        return stored and stored.validate()

    def _job(self, request: _Request, actual: VIF) -> Job:
        kind, bound, context = self._understood(actual, request.guest)
        actual = own_names.with_own_names(bound, self._host.own_name)
        return Job(
            vif=request.vif if request.vif.type == "network" else bound,
            actual=actual,
            instance=request.guest,
            interface_xml=write.element(plugins.interface(kind, actual, context)),
            desired=plugins.desired(kind, actual, context),
            former=request.former,
            of=lambda actual: self._job(request, actual),
        )

    def _understood(self, vif: VIF, instance: Instance | None) -> tuple[VIFType, VIF, Context]:
        """The VIF's type, the VIF with its source as the type's, and its surroundings. Raises InvalidRequest."""
        kind, vif = self._types.bind(vif)
        context = dataclasses.replace(self._context, instance=instance, options=self._settings.types[kind.name])
        plugins.check(kind, vif, context)
        return kind, vif, context


def _reserve(job: Job, transaction: StoreTransaction) -> None:
    """Record what the job claims or shares, if another VIF could use it."""
    if reservation := job.reservation():
        transaction.put([reservation])
        job.reserved = True
