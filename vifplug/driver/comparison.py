"""Compares the host with the records."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vifplug.driver import macs
from vifplug.driver.records import PART, StoredVif
from vifplug.errors import BrokenPlugin, DamagedRecord, Missing
from vifplug.plan import steps
from vifplug.plan.preconditions import Preconditions
from vifplug.plan.registry import AdoptedPort, Identity, OvsBridge, OvsSwitch, Resource
from vifplug.plan.steps import Difference, Observation, Observed, lasting
from vifplug.store.store import Store

if TYPE_CHECKING:
    from vifplug.host.host import Host


class Comparison:
    """Compares a host with its records. Thread-safe.

    Args:
        host: the host.
        store: the records.
        reports_macs: whether VIFs with one MAC on one network or bridge are reported.
    """

    def __init__(self, host: Host, store: Store, *, reports_macs: bool) -> None:
        self._host, self._store, self._reports_macs = host, store, reports_macs

    def differences(self, parts: Iterable[Sequence[StoredVif]], *, every: bool) -> list[Difference]:
        """Return the differences between recorded and actual state, and the damaged records.

        They are sorted by VIF. Settings that libvirt resets when a guest starts are compared only while a guest runs.
        What takes a scan of the host is looked for once, for all parts.

        Args:
            parts: the records, in parts.
            every: whether these are the records of all VIFs, so that marks of others have none.
        """
        found: list[Difference] = []
        scanned: dict[str, Preconditions] = {}
        known: set[str] = set()
        on_switch: dict[str, int] = {}
        for number, records in enumerate(parts):
            whole = number == 0 and len(records) < PART
            found += self._differences(records, on_switch, scan=whole)
            known.update(stored.id for stored in records)
            for stored in records if not whole else ():
                required = itertools.chain.from_iterable(each.requires for each in _resources(stored))
                if scans := [each for each in required if each.scanned]:
                    scanned[stored.id] = Preconditions(scans)
        observed, failed = self._observed(scanned, []) if scanned else ({}, {})
        found += failed.values()
        for vif_id, needs in scanned.items():
            if vif_id not in failed:
                found += [*steps.differences(needs.desired, observed), *needs.drift(observed)]
        if on_switch and (reason := self._host.ovs_stopped(max(on_switch.values()))):
            found += [Difference(vif_id, "ovs-switch", "running", reason) for vif_id in on_switch]
        if every and (marked := self._host.owners(switched=bool(on_switch)).difference(known)):
            recorded = self._store.some(list(marked))  # plugged meanwhile
            found += [Difference(vif_id, "record", "present", None) for vif_id in marked.difference(recorded)]
        return sorted(found, key=lambda each: str(each.vif_id))  # which may be of any type in a damaged row

    def _differences(self, records: Iterable[StoredVif], on_switch: dict[str, int], *, scan: bool) -> list[Difference]:
        """Return the differences of some VIFs, which are observed together.

        ``on_switch`` gets those on Open vSwitch, with the configuration that it has still to apply (0: none).
        """
        found: list[Difference] = []
        readable: list[StoredVif] = []
        for stored in records:
            try:  # a record that cannot be read, or a plugin that was uninstalled, hides no other VIF
                readable.append(stored.comparable())
            except DamagedRecord as error:
                found.append(Difference(stored.id, "record", "a readable record", str(error)))
            except Missing as error:
                found.append(Difference(stored.id, "resources", "known kinds", str(error)))
        needs = {stored.id: Preconditions(stored.resources, scan=scan) for stored in readable}
        switched = {each.id: _switches(each.resources) for each in readable}
        bridges = set(itertools.chain.from_iterable(switched.values()))
        observed, failed = self._observed(needs, [OvsSwitch(examined=True)] if bridges else [])
        switch = OvsSwitch.of(observed)
        on_switch |= dict.fromkeys(filter(switched.get, switched), switch.pending if switch else 0)
        cut_off = self._host.cut_off(bridges) if switch and switch.nic_down else {}
        named = {each.id: each.macs for each in readable} if self._reports_macs else {}
        neighbours = macs.Neighbours(self._store.holdings(set(itertools.chain.from_iterable(named.values()))))
        found += failed.values()
        marked: Mapping[str, Collection[str]] | None = None
        for stored in readable:
            if stored.id in failed:
                continue
            if stored.is_interrupted:
                found.append(Difference(stored.id, "state", "plugged", stored.state))
            desired = stored.resources
            running = any(seen.held for each in desired if (seen := observed.get(each.identity)))
            required = desired if running else lasting(desired)
            differences = (*steps.differences(required, observed), *needs[stored.id].drift(observed))
            found += [dataclasses.replace(one, vif_id=stored.id) for one in differences]  # a bridge has no owner
            if any(steps.is_lost(each, observed) for each in desired):
                marked = self._host.marked_links() if marked is None else marked
                for name in steps.astray(desired, marked.get(stored.id, ())):
                    found.append(Difference(stored.id, f"device {name}", None, "the mark of this VIF"))
            found += neighbours.differences(stored.id, named.get(stored.id, ()))
            defects = (each for name in switched[stored.id] for each in cut_off.get(name, ()))
            found += [Difference(stored.id, each.path, each.expected, each.found) for each in defects]
        return found

    def _observed(
        self, needs: Mapping[str, Preconditions], besides: Sequence[Resource]
    ) -> tuple[Observation, dict[str, Difference]]:
        """Observe the resources of all VIFs at once; return also the VIFs whose plugin fails to observe them."""
        whole = Preconditions.of_all(tuple(needs.values()))
        try:
            return self._host.observe([*besides, *whole.desired, *whole.required]), {}
        except BrokenPlugin:
            observed: dict[Identity, Observed] = {}
            failed: dict[str, Difference] = {}
            for vif_id, each in needs.items():
                try:
                    observed |= self._host.observe([*each.desired, *each.required])
                except BrokenPlugin as error:
                    failed[vif_id] = Difference(vif_id, "resources", "an answer of their plugin", str(error))
            return observed, failed


def _resources(stored: StoredVif) -> Sequence[Resource]:
    """Return the recorded resources; none of a record that cannot be read."""
    try:
        return stored.resources
    except (DamagedRecord, Missing):
        return ()


def _switches(resources: Iterable[Resource]) -> set[str]:
    """Return the names of the Open vSwitch bridges that a VIF is on."""
    switched = (each for each in resources if isinstance(each, (OvsBridge, AdoptedPort)))
    return {each.bridge if isinstance(each, AdoptedPort) else each.name for each in switched}
