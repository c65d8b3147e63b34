"""Removes what is recorded of VIFs, and what carries their marks."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vifplug.driver import interrupts
from vifplug.driver.application import Application
from vifplug.driver.records import StoredVif, valid_originals
from vifplug.driver.report import ends
from vifplug.errors import Conflict, DamagedRecord, Missing, PartlyDone, StoreFailed, VifplugError, fill
from vifplug.plan import steps
from vifplug.plan.registry import Identity, OvsPort, Ownership, Resource
from vifplug.plan.steps import Observation, Observed, Step, lasting
from vifplug.store.store import Record, Store

if TYPE_CHECKING:
    from vifplug.host.host import Host

_log = logging.getLogger(__name__)


class Removal:
    """Removes VIFs from a host. Callers hold the locks of the VIFs. Thread-safe."""

    def __init__(self, host: Host, store: Store) -> None:
        self._host, self._store = host, store
        self._application = Application(host, store)

    def remove(
        self, stored: Mapping[str, StoredVif | None], *, force: bool, dry_run: bool = False
    ) -> Mapping[str, Sequence[Step]]:
        """Remove what is recorded of VIFs, all together, and return the steps that were taken, by id.

        What carries a VIF's mark is looked for if there is no sound record, or if a recorded device does not exist
        under its name. A failure is not undone: the remaining steps are taken all the same. While something of a VIF is
        left its record stays, so that the next attempt resumes.

        Args:
            stored: the record of each VIF; None if it has none.
            force: remove what a guest has open, and ignore resources whose plugin is not installed.
            dry_run: remove nothing.

        Raises:
            Held: a guest has a device of one of them open, and ``force`` is False. Nothing was removed.
            PartlyDone: something is left.
        """
        ends("lock")
        recorded = {vif_id: _recorded(each, force=force) for vif_id, each in stored.items()}
        desired = {
            vif_id: lasting(self._host.find(vif_id)) if has is None else list(filter(steps.may_change, has))
            for vif_id, has in recorded.items()
        }
        observed = dict(self._host.observe(_once_each(itertools.chain.from_iterable(desired.values()))))
        for vif_id, own in desired.items():
            if any(_is_lost(each, observed) for each in own):
                desired[vif_id] = own = _once_each((*own, *self._host.find(vif_id)))
                observed |= self._host.observe(own)
            if not force:
                steps.refuse_held(own, observed, vif_id)
        ends("observe")
        taken = self._removals(stored, recorded, desired, observed)
        ends("plan")
        if dry_run:
            return taken
        interrupts.pending()
        sound = [vif_id for vif_id, has in recorded.items() if has is not None and taken[vif_id]]
        known = [each.row for vif_id in sound if (each := stored[vif_id])]
        if known:
            self._begin(known)
        ends("record")
        left, failed = self._take_all(taken)
        ends("apply")
        if removed := [vif_id for vif_id in taken if stored[vif_id] and not left.get(vif_id)]:
            try:
                self._store.delete(removed)
            except VifplugError as error:
                failed = failed or error
                left |= {vif_id: [f"its record ({error})"] for vif_id in removed}
        ends("record")
        if failed:
            raise fill(_partly_unplugged(left, taken), failed) from failed
        return taken

    def _begin(self, known: Iterable[Record]) -> None:
        """Record what is begun. On a full disk it is not: what is removed is looked for in vain the next time."""
        try:
            self._store.restore([dataclasses.replace(row, state="unplugging") for row in known], [])
        except StoreFailed as error:
            if not error.full:
                raise
            _log.warning("%s", error)

    def _removals(
        self,
        stored: Mapping[str, StoredVif | None],
        recorded: Mapping[str, Sequence[Resource] | None],
        desired: Mapping[str, Sequence[Resource]],
        observed: dict[Identity, Observed],
    ) -> dict[str, list[Step]]:
        """Return the steps that remove each VIF, as if those before it were removed already."""
        places = {vif_id: place for place, vif_id in enumerate(desired)}
        last: dict[str, int] = {}  # the place of the last VIF that has what a name stands for
        names = steps.shares(itertools.chain.from_iterable(desired.values()))
        for each in self._store.holdings(names) if names else ():
            last[each.name] = max(last.get(each.name, 0), places.get(each.vif_id, len(places)))
        taken: dict[str, list[Step]] = {}
        for vif_id, own in desired.items():
            others = {name for name in steps.shares(own) if last.get(name, 0) > places[vif_id]}
            before, has = stored[vif_id], recorded[vif_id]
            interrupted = before is not None and has is not None and before.is_interrupted
            seen = {each.identity: observed[each.identity] for each in own if each.identity in observed}
            originals = valid_originals(before, seen) if before and has is not None else _presumed(own, seen)
            taken[vif_id] = steps.batched_first(
                steps.removal(own, steps.left_to(others, seen), originals, interrupted=interrupted)
            )
            observed |= {step.subject.identity: Observed(resource=step.after) for step in taken[vif_id]}
        return taken

    def _take_all(self, taken: Mapping[str, Sequence[Step]]) -> tuple[dict[str, list[str]], VifplugError | None]:
        """Take the steps of all VIFs, together if possible; after a failure take each remaining step by itself.

        Returns:
            By id, a phrase for each step that failed; and the error if there is any.
        """
        done: list[Step] = []
        try:
            self._application.take(steps.together(taken.values()), done, leaving=taken)
        except VifplugError as error:
            made = set(done)
            attempts = {
                vif_id: self._application.attempt((step for step in own if step not in made), leaving=taken)
                for vif_id, own in taken.items()
            }
            if any(attempts.values()):
                return attempts, error
        return {}, None


def _recorded(stored: StoredVif | None, *, force: bool) -> list[Resource] | None:
    """Return what there is to remove and to restore of a VIF; None if its record does not say, or does not exist."""
    if stored is None:
        return None
    try:
        return lasting(stored.validate("state", "claims", "shares", "originals").resources)
    except DamagedRecord as error:
        reason = error.reason
    except Missing as error:
        if not force:
            raise
        reason = str(error)
    # not above: what is logged in an except clause gets the exception's own text appended (oslo.log)
    _log.warning("VIF %s: its changes are not restored, because its record cannot be used: %s", stored.id, reason)
    return None


def _presumed(own: Iterable[Resource], observed: Observation) -> dict[Identity, Resource]:
    """Return what things were like before a VIF without a record, as far as they say it themselves: a NIC its MAC."""
    found: dict[Identity, Resource] = {}
    for each in own:
        seen = observed.get(each.identity)
        if each.ownership is Ownership.BORROWED and seen and seen.resource:
            try:
                found[each.identity] = each.original(seen.resource)
            except Conflict as error:
                _log.warning("%s", error)
    return found


def _partly_unplugged(left: Mapping[str, Sequence[str]], taken: Mapping[str, Sequence[Step]]) -> PartlyDone:
    """Return the error for what is left of VIFs, by id; nothing is left of some."""
    some = [vif_id for vif_id, phrases in left.items() if phrases]
    sentences = (f"VIF {vif_id} is not completely unplugged: {'; '.join(left[vif_id])}" for vif_id in some)
    return PartlyDone(
        "; ".join([*sentences, "unplug it again" if len(some) == 1 else "unplug them again"]),
        itertools.chain.from_iterable(left.values()),
        vif_id=some[0] if len(some) == 1 else None,
        unplugged={vif_id: tuple(own) for vif_id, own in taken.items() if not left.get(vif_id)},
    )


def _is_lost(resource: Resource, observed: Observation) -> bool:
    """Return whether a device, or a port with QoS, that vifplug created no longer exists under its name."""
    shaped = isinstance(resource, OvsPort) and resource.qos is not None and resource.identity not in observed
    return shaped or steps.is_lost(resource, observed)


def _once_each(resources: Iterable[Resource]) -> list[Resource]:
    """Return the resources, one for each identity: a batch has one bridge for many VIFs."""
    return list({each.identity: each for each in resources}.values())
