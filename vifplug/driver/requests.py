"""From a VIF to the job of plugging it: its network, its type, its record, and a device of a pool if it needs one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vifplug import plugins
from vifplug.conf import Config
from vifplug.driver import own_names
from vifplug.driver.job import Job
from vifplug.driver.records import HOOK, Records, StoredVif
from vifplug.driver.resolver import PoolChoice, Resolver
from vifplug.errors import Conflict, HostNotReady, InvalidRequest, about
from vifplug.guest import write
from vifplug.model.codec import described
from vifplug.model.vif import VIF, Instance
from vifplug.plugins import TypeRegistry
from vifplug.store.store import StoreTransaction
from vifplug.types.base import Context, VIFType

if TYPE_CHECKING:
    from vifplug.host.host import Host


#: A VIF that its type accepts: the type, the VIF with its source as the model of the type, and the context
_Validated = tuple[VIFType, VIF, Context]


@dataclass(frozen=True)
class Request:
    """What a caller requests, and what is recorded."""

    vif: VIF
    instance: Instance | None
    #: what is recorded of the VIF
    former: StoredVif | None = None
    #: what validation came to; None for a VIF of a named network, whose type is not known yet
    validated: _Validated | None = None
    #: whether the VIF may belong to another guest, which loses it
    take_over: bool = False
    #: the guest's name if libvirt's hook plugs it; empty for another caller
    hook: str = ""

    @property
    def guest(self) -> Instance | None:
        return self.instance or (self.former.instance if self.former else None)

    @property
    def marks(self) -> tuple[str, ...]:
        """What the record keeps of who plugged the VIF: the hook, as long as the VIF is the same guest's."""
        if self.hook:
            return (HOOK + self.hook,)
        return self.former.marks if self.former and not self._is_anothers(self.former.instance) else ()

    def _is_anothers(self, had: Instance | None) -> bool:
        return had is not None and self.instance is not None and had.uuid != self.instance.uuid

    def check_guest(self) -> None:
        """Raise Conflict if the VIF belongs to another guest, and the request does not take it over.

        The hook takes no VIF that was plugged for no guest: whoever writes a guest's metadata may name any id.
        """
        had = self.former.instance if self.former else None
        if self.hook and self.former and had is None:
            raise Conflict(
                f"VIF {self.vif.id} was plugged for no guest, and {self.hook} requests it through libvirt's hook: give "
                f"the guest a VIF of its own, or `vifplug unplug {self.vif.id}`",
                vif_id=self.vif.id,
            )
        if had and self.instance and self._is_anothers(had) and not self.take_over:
            raise Conflict(
                f"VIF {self.vif.id} belongs to {had.described}, and {self.instance.described} requests it: give each "
                f"guest VIFs of its own; if the first guest is gone, `vifplug unplug {self.vif.id}`, or plug with "
                "--take-over",
                vif_id=self.vif.id,
                holder=had.uuid,
            )


class JobFactory:
    """Makes jobs for the engine. Callers hold the locks of the VIFs."""

    def __init__(self, types: TypeRegistry, settings: Config, host: Host, resolver: Resolver, records: Records) -> None:
        self._types = types
        self._settings = settings
        self._host = host
        self._context = Context(settings=settings.common, facts=host)
        self._resolver = resolver
        self._records = records

    def request(
        self, vif: VIF, instance: Instance | None = None, *, take_over: bool = False, hook: str = ""
    ) -> Request:
        """Validate a VIF before there is a lock or a record, and return it as a request.

        What a named network makes of a VIF is validated by `make`.

        Raises:
            InvalidRequest: the VIF is invalid on any host.
        """
        if not isinstance(vif, VIF):
            raise InvalidRequest(f"vif: expected a VIF, got {described(vif)}: VIF.from_json and VIF.from_xml make one")
        if not isinstance(instance, Instance | None):
            raise InvalidRequest(f"instance: expected an Instance or None, got {described(instance)}")
        with about(vif_id=vif.id):
            return self._request(vif, instance, take_over, hook)

    def _request(self, vif: VIF, instance: Instance | None, take_over: bool, hook: str) -> Request:
        validated = None if vif.type == "network" else self._validate(vif, instance)
        return Request(vif, instance, validated=validated, take_over=take_over, hook=hook)

    def make(self, requests: Iterable[Request], *, refresh: bool = False, dry_run: bool = False) -> Sequence[Job]:
        """Return a job for each request.

        Devices of pools are chosen in one transaction, which records them as the VIFs'.

        Args:
            refresh: use the networks as they are now, not as they were when the VIFs were plugged.
            dry_run: record nothing.

        Raises:
            Conflict: a VIF belongs to another guest.
            DamagedRecord: the record of a VIF cannot be read.
            Missing: the host lacks what a VIF needs. Resolving a network raises further errors.
        """
        requests = list(requests)
        formers = self.formers(each.vif for each in requests)
        requests = [dataclasses.replace(each, former=formers[each.vif.id]) for each in requests]
        for each in requests:
            each.check_guest()
        begun = [self._resolver.begin(each.vif, each.former, refresh=refresh) for each in requests]
        choices = {number: each for number, each in enumerate(begun) if isinstance(each, PoolChoice)}
        jobs = {number: self._job(requests[number], each) for number, each in enumerate(begun) if isinstance(each, VIF)}
        if choices and (lost := self._records.store.lost()):
            raise HostNotReady(f"{lost}; until then, no device of a pool is given to a VIF")
        if choices or dry_run or any(job.shares_early for job in jobs.values()):
            with self._records.store.transaction(dry_run=dry_run) as transaction:
                for job in jobs.values():  # a device that is named comes before one that is chosen
                    _reserve(job, transaction)
                for number, choice in choices.items():
                    actual = choice.actual(transaction.holdings(choice.names))
                    jobs[number] = self._job(requests[number], actual)
                    _reserve(jobs[number], transaction)
        return [jobs[number] for number in range(len(requests))]

    def of(self, request: Request, actual: VIF) -> Job:
        """Return the job of a VIF that is resolved already. Raises Conflict if the VIF belongs to another guest."""
        request.check_guest()
        return self._job(request, actual)

    def formers(self, vifs: Iterable[VIF]) -> Mapping[str, StoredVif | None]:
        """Return what is recorded of VIFs, by id, read together. Raises DamagedRecord."""
        recorded = self._records.some({each.id: each for each in vifs})
        return {vif_id: stored and stored.validate() for vif_id, stored in recorded.items()}

    def _job(self, request: Request, actual: VIF) -> Job:
        with about(vif_id=request.vif.id):
            return self._made(request, actual)

    def _made(self, request: Request, actual: VIF) -> Job:
        unchanged = actual is request.vif and request.guest == request.instance
        known = request.validated if unchanged else None
        kind, bound, context = known or self._validate(actual, request.guest)
        actual = own_names.with_own_names(bound, self._host.own_name)
        return Job(
            vif=request.vif if request.vif.type == "network" else bound,
            actual=actual,
            instance=request.guest,
            interface_xml=write.element(plugins.interface(kind, actual, context)),
            desired=own_names.with_real_paths(plugins.desired(kind, actual, context), os.path.realpath),
            former=request.former,
            marks=request.marks,
            exclusive_mac=self._settings.duplicate_mac == "refuse",
            remake=lambda actual: self._job(request, actual),
        )

    def _validate(self, vif: VIF, instance: Instance | None) -> _Validated:
        kind, vif = self._types.bind(vif)
        context = dataclasses.replace(self._context, instance=instance, options=self._settings.types[kind.name])
        plugins.validate(kind, vif, context)
        return kind, vif, context


def _reserve(job: Job, transaction: StoreTransaction) -> None:
    """Record what the job claims, if it claims anything that other VIFs might claim."""
    if reservation := job.reservation():
        transaction.put([reservation])
        job.reserved = True
