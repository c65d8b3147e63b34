"""Taking over what libvirt plugged for a running guest: it is recorded, as desired and as found, and not changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vifplug.driver.engine import Engine
from vifplug.driver.job import Job, check_distinct
from vifplug.errors import Conflict, Missing, Unsupported, about
from vifplug.model.vif import VIF
from vifplug.plan import steps
from vifplug.plan.registry import Identity, Ownership, Resource
from vifplug.plan.steps import Difference, Observation, Observed

if TYPE_CHECKING:
    from vifplug.host.host import Host


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """The outcome of an adoption."""

    vif: VIF
    actual: VIF
    interface_xml: str
    #: False if the record said exactly this already
    changed: bool
    #: where the host differs from the guest's element
    differences: tuple[Difference, ...] = ()
    #: sentences about what will not work well or is risky
    warnings: tuple[str, ...] = ()


def in_place(vif: VIF, host: Host) -> VIF:
    """Return a VIF of a running guest as one whose port exists already."""
    if vif.type == "vhostuser":
        found = host.vhost_port(vif.source.path)
        name, bridge = found or (vif.target, None)
        return vif.replace(source=vif.source.replace(bridge=bridge, adopted=True), target=name)
    return vif.replace(source=vif.source.replace(adopted=True)) if vif.type == "bridge" else vif


def adopt(jobs: Sequence[Job], engine: Engine, *, dry_run: bool = False) -> list[Adopted]:
    """Record what the jobs desire as what must hold, and what exists as the originals: for all jobs or none.

    Raises:
        Missing: a resource does not exist.
        Conflict: a resource belongs to vifplug or to another guest.
        Unsupported: vifplug would have to make a resource.
    """
    check_distinct(jobs)
    for job in jobs:
        job.settles = True  # the guest runs
    look = engine.observe(jobs)
    observed = look.observed
    for job in jobs:
        _check(job, observed)
        recorded = job.former.originals if job.former else {}
        job.originals = {**steps.originals(job.desired, observed), **_kept(recorded, observed)}
    shared = engine.mac_warnings(jobs)
    adopted = [
        Adopted(
            vif=job.vif,
            actual=job.actual,
            interface_xml=job.interface_xml,
            changed=not job.is_recorded(),
            differences=tuple(steps.differences(job.desired, observed)),
            warnings=(
                *needs.warnings(observed),
                *map(str, needs.objections(observed)),  # the guest runs: it is too late to refuse
                *shared.get(job.vif.id, ()),
            ),
        )
        for job, needs in zip(jobs, look.needs, strict=True)
    ]
    if not dry_run:
        engine.apply(jobs)  # which takes no steps: nothing is planned
    return adopted


def _check(job: Job, observed: Observation) -> None:
    if job.former and any(each.ownership is Ownership.OWNED for each in job.former.resources):
        message = f"VIF {job.vif.id} was plugged by vifplug: libvirt has created nothing to adopt"
        raise Conflict(message, vif_id=job.vif.id, holder="vifplug")
    for resource in job.desired:
        with about(vif_id=job.vif.id, resource=str(resource)):
            _check_found(resource, observed.get(resource.identity), job.vif.id)


def _check_found(resource: Resource, seen: Observed | None, vif_id: str) -> None:
    if resource.ownership is Ownership.OWNED:
        raise Unsupported((), f"VIF {vif_id} cannot be adopted: vifplug creates {resource}; plug the VIF")
    if seen is None:
        raise Missing(f"{resource} of VIF {vif_id} does not exist: is the guest running on this host?")
    if seen.foreign or seen.resource is None:
        message = f"{resource} cannot be adopted for VIF {vif_id}: got {seen.foreign}"
        raise Conflict(message, holder=seen.foreign or None)


def _kept(recorded: Mapping[Identity, Resource], observed: Observation) -> dict[Identity, Resource]:
    """Return the recorded originals, without those of ports that libvirt has recreated since."""
    return {
        identity: was
        for identity, was in recorded.items()
        if (seen := observed.get(identity)) and _row(seen.resource) == _row(was)
    }


def _row(resource: Resource | None) -> str | None:
    return getattr(resource, "port_row", None)
