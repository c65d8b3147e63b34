"""Record what libvirt has plugged for a running guest, with its desired and its actual state, without changing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vifplug.driver.engine import Engine, Job, check_distinct
from vifplug.errors import Conflict, Missing, Unsupported
from vifplug.model.vif import VIF
from vifplug.plan import steps
from vifplug.plan.registry import Identity, Ownership, Resource
from vifplug.plan.steps import Difference, Observation

if TYPE_CHECKING:
    from vifplug.host.host import Host


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What an adoption comes to. ``changed``: whether the record did not say just this already.

    ``differences``: where the host is not as the guest's element says, from the beginning.
    """

    vif: VIF
    actual: VIF
    interface_xml: str
    changed: bool
    differences: tuple[Difference, ...] = ()


def in_place(vif: VIF, host: Host) -> VIF:
    """A VIF of a guest that runs, as one whose port is there already."""
    if vif.type == "vhostuser":
        found = host.vhost_port(vif.source.path)
        name, bridge = found or (vif.target, None)
        return vif.replace(source=vif.source.replace(bridge=bridge, adopted=True), target=name)
    return vif.replace(source=vif.source.replace(adopted=True)) if vif.type == "bridge" else vif


def adopt(jobs: Sequence[Job], engine: Engine, *, dry_run: bool = False) -> list[Adopted]:
    """Record what the jobs want as what has to hold, and what is found as what there was before.

    Raises Missing for what is not there, Conflict for what is vifplug's own or another guest's, Unsupported for what
    vifplug would have to make; nothing is recorded then.
    """
    check_distinct(jobs)
    observed = engine.observe(jobs)
    for job in jobs:
        _check(job, observed)
        recorded = job.former.originals if job.former else {}
        job.originals = {**steps.originals(job.desired, observed), **_kept(recorded, observed)}
    adopted = [_adopted(job, observed) for job in jobs]
    if not dry_run:
        engine.record(jobs)
    return adopted


def _adopted(job: Job, observed: Observation) -> Adopted:
    return Adopted(
        vif=job.vif,
        actual=job.actual,
        interface_xml=job.interface_xml,
        changed=not job.is_recorded(),
        differences=tuple(steps.differences(job.desired, observed)),
    )


def _check(job: Job, observed: Observation) -> None:
    vif_id = job.vif.id
    _check_former(job)
    for resource in job.desired:
        if resource.ownership is Ownership.OWNED:
            raise Unsupported((), f"VIF {vif_id} cannot be adopted: vifplug creates {resource}; plug the VIF")
        seen = observed.get(resource.identity)
        if seen is None:
            raise Missing(f"{resource} of VIF {vif_id} is not there: is the guest running, on this host?")
        if seen.foreign or seen.resource is None:
            raise Conflict(f"{resource} can't be adopted for VIF {vif_id}: got {seen.foreign}")


def _check_former(job: Job) -> None:
    if job.former is None:
        return
    if any(each.ownership is Ownership.OWNED for each in job.former.resources):
        raise Conflict(f"VIF {job.vif.id} was plugged by vifplug: libvirt has created nothing to adopt")
    had = job.former.instance
    if had and job.instance and had.uuid != job.instance.uuid:
        message = f"VIF {job.vif.id} is recorded for guest {had.name or had.uuid}"
        raise Conflict(f"{message}: give this guest's interface another MAC or interfaceid, or unplug the VIF first")


def _kept(recorded: Mapping[Identity, Resource], observed: Observation) -> dict[Identity, Resource]:
    """Return the recorded previous state, without the ports that libvirt has recreated since."""
    return {
        identity: was
        for identity, was in recorded.items()
        if (seen := observed.get(identity)) and _row(seen.resource) == _row(was)
    }


def _row(resource: Resource | None) -> str | None:
    return getattr(resource, "port_row", None)
