"""Is all well? What a monitor asks: the record, the host, Open vSwitch, and what differs between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vifplug.driver.records import StoredVif
from vifplug.errors import Absent, HostNotReady, StoreFailed
from vifplug.plan.resource import Difference
from vifplug.store.store import Store

if TYPE_CHECKING:
    from vifplug.host.host import Host

#: ``different``: something is to be mended; ``not ready``: a verb would fail
State = Literal["ok", "different", "not ready"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and how it is."""

    subject: str
    state: State
    #: in words: a version, a number, or what is wrong and what to do
    detail: str


class Examination:
    """Looks at everything that the verbs rely on, and changes nothing.

    Args:
        host: the host.
        store: the records, undecoded.
        check: returns the differences of all VIFs.
        unowned: returns the ids of VIFs that have marks and no record.
        broken: a sentence for each plugin that cannot be used.
    """

    def __init__(
        self,
        host: Host,
        store: Store,
        check: Callable[[], Sequence[Difference]],
        unowned: Callable[[], Iterable[str]],
        broken: Iterable[str],
    ) -> None:
        self._host, self._store = host, store
        self._check, self._unowned, self._broken = check, unowned, broken
        self.recorded: Sequence[StoredVif] = ()
        self.differences = self.unrecorded = 0

    def findings(self, records: Callable[[], Sequence[StoredVif]]) -> Iterator[Finding]:
        """Yield what was found, in the order in which one thing relies on another.

        Args:
            records: returns the records of all VIFs.
        """
        try:
            yield Finding("record", "ok", self._store.examine())
            if lost := self._store.lost():
                yield Finding("record", "different", lost)
            self.recorded = recorded = records()
        except StoreFailed as error:
            yield Finding("record", "not ready", str(error))
            recorded = []
        yield from self._changes(recorded)
        yield from self._host_findings()
        switched = any(each.batched for stored in recorded if not stored.problem for each in stored.resources)
        yield self._open_vswitch(switched=switched)
        try:
            yield from self._differences(recorded)
        except HostNotReady as error:
            yield Finding("VIFs", "not ready", str(error))
        for sentence in self._broken:
            yield Finding("plugins", "different", sentence)

    def _changes(self, recorded: Sequence[StoredVif]) -> Iterator[Finding]:
        begun = Counter(str(each.row.state) for each in recorded if each.row.state != "plugged")
        if begun:
            words = ", ".join(f"{number} {state}" for state, number in sorted(begun.items()))
            yield Finding("changes", "different", f"{words}: running, or cut off: run `vifplug recover` if none runs")

    def _host_findings(self) -> Iterator[Finding]:
        yield Finding("boot", "ok", ", ".join(f"{name} {value}" for name, value in self._host.place().items()))
        obstacle = self._host.obstacle()
        yield Finding("kernel", "not ready" if obstacle else "ok", obstacle or "links and sysctls can be changed")

    def _open_vswitch(self, *, switched: bool) -> Finding:
        try:
            return Finding("Open vSwitch", "ok", self._host.ovs.examine())
        except HostNotReady as error:
            if isinstance(error, Absent) and not switched:
                return Finding("Open vSwitch", "ok", "is not on this host, and no VIF needs it")
            return Finding("Open vSwitch", "not ready", str(error))

    def _differences(self, recorded: Sequence[StoredVif]) -> Iterator[Finding]:
        ids = {each.id for each in recorded}
        found = [each for each in self._check() if each.vif_id in ids]
        self.differences = len(found)
        detail = f"{len(recorded)} plugged"
        if found:
            kinds = Counter(each.path.partition(" ")[0] for each in found)
            words = ", ".join(f"{number} of {kind}" for kind, number in sorted(kinds.items()))
            detail = f"{len({each.vif_id for each in found})} of {len(recorded)} differ ({words}): run `vifplug check`"
        yield Finding("VIFs", "different" if found else "ok", detail)
        unowned = sorted(self._unowned())
        self.unrecorded = len(unowned)
        if unowned:
            some = ", ".join(unowned[:3]) + (" ..." if len(unowned) > 3 else "")
            message = f"{len(unowned)} VIFs have marks on this host and no record ({some})"
            yield Finding("marks", "different", f"{message}: plug them again, or run `vifplug gc`")
