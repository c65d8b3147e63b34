"""The preconditions of the first step: one list for plug, dry run, can-plug and the hook.

Each kind of resource states its own (`Resource.requires`, `Resource.unmet`). They are observed together with the
resources, so a precondition costs no request of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence

from vifplug.errors import Missing, VifplugError, fill
from vifplug.plan.kinds.openvswitch import OvsBridge
from vifplug.plan.resource import Difference, Identity, Observation, Resource
from vifplug.plan.steps import steps_toward


class Preconditions:
    """What must hold before some resources can be as desired. Each is asked once for what it requires.

    Args:
        desired: all resources of one plan; what one of them makes meets the precondition of another.
        scan: whether what takes a scan to find is required as well.
    """

    def __init__(self, desired: Iterable[Resource], *, scan: bool = True) -> None:
        self.desired = tuple(desired)
        #: what to observe besides ``desired``, each resource once: what it requires, and what is related to it
        self.required: list[Resource] = []
        #: what each desired resource requires itself
        self._needs: list[Resource] = []
        known: set[Identity] = {resource.identity for resource in self.desired}
        for number, resource in enumerate(itertools.chain(self.desired, self.required)):  # which grows
            needs = resource.requires if scan else [each for each in resource.requires if not each.scanned]
            if number < len(self.desired):
                self._needs += needs
            for need in (*resource.related, *needs):
                if need.identity not in known:
                    known.add(need.identity)
                    self.required.append(need)
        #: the names of the links and Open vSwitch bridges that the plan creates if they do not exist
        self.made = {each.name for each in self.desired if isinstance(each, OvsBridge) and each.ensure}
        self.made.update(*(resource.links for resource in self.desired))

    @classmethod
    def of_all(cls, parts: Sequence[Preconditions]) -> Preconditions:
        """Return the preconditions of one plan for the resources of all parts."""
        if len(parts) == 1:
            return parts[0]
        whole = cls(())
        whole.desired = tuple(itertools.chain.from_iterable(part.desired for part in parts))
        whole._needs = list(itertools.chain.from_iterable(part._needs for part in parts))
        whole.made = set().union(*(part.made for part in parts))
        known = {resource.identity: resource for resource in whole.desired}
        for need in itertools.chain.from_iterable(part.required for part in parts):
            if known.setdefault(need.identity, need) is need:
                whole.required.append(need)
        return whole

    def unmet(self, observed: Observation) -> Iterator[VifplugError]:
        """Yield Missing, HostNotReady or Conflict for each precondition that does not hold in ``observed``."""
        for need in self._needs:
            if need.name not in self.made:
                yield from _obstacle(need, observed)
        for resource in self.desired:
            for error in resource.unmet(observed, self.made):
                yield fill(error, VifplugError(vif_id=resource.owner, resource=str(resource)))
        for need in self.required:
            yield from need.unmet(observed, self.made)

    def objections(self, observed: Observation, made: Collection[str] = ()) -> Iterator[VifplugError]:
        """Yield what a plug is refused for although its steps would succeed: see `Resource.objections`.

        Args:
            observed: the host as it is.
            made: what all resources of the same plan make, these included; by default what these do.
        """
        for resource in itertools.chain(self.desired, self.required):
            for error in resource.objections(observed, made or self.made):
                yield fill(error, VifplugError(vif_id=resource.owner, resource=str(resource)))

    def reasons(self, observed: Observation) -> Iterator[VifplugError]:
        """Yield every reason why a plug would be refused: what does not hold, what is objected to, what has no step."""
        yield from self.unmet(observed)
        yield from self.objections(observed)
        for resource in self.desired:
            yield from _obstacle(resource, observed)

    def warnings(self, observed: Observation) -> tuple[str, ...]:
        """Return what lets the plan be made, and will not work well or is risky: each sentence once."""
        everything = itertools.chain(self.desired, self.required)
        return tuple(dict.fromkeys(each for one in everything for each in one.warnings(observed, self.made)))

    def drift(self, observed: Observation) -> Iterator[Difference]:
        """Yield the differences in what is required, and in what is related to it."""
        for need in self.required:
            yield from need.drift(observed)


def without_uplink(desired: Sequence[Resource], observed: Observation, vif_id: str) -> Iterator[VifplugError]:
    """Yield an error for each Open vSwitch bridge that a plug would create: a guest on it reaches nobody."""
    for bridge in desired:
        if isinstance(bridge, OvsBridge) and bridge.ensure and not bridge.transient and bridge.identity not in observed:
            message = f"{bridge.described} does not exist on this host, and VIF {vif_id} needs it"
            sentence = f"{message}: a bridge that plugging creates has no uplink"
            yield Missing(sentence, vif_id=vif_id, resource=bridge.described)


def _obstacle(desired: Resource, observed: Observation) -> Iterator[VifplugError]:
    try:
        steps_toward([desired], observed)
    except VifplugError as error:
        yield error
