"""The laws of the verbs, whatever is plugged in memory and wherever it fails; and mutants that break them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.memory import Bench
from vifplug import VIF, errors
from vifplug.driver import engine, recovery, removal
from vifplug.plan import plan, steps
from vifplug.plan.registry import LowerDevice, Macvtap, OvsBridge, Resource, Tap
from vifplug.plan.steps import Observation, Step
from vifplug.store.store import Store
from vifplug.testing.memory import MemoryBackend

ON_OVS = {"virtualport": {"type": "openvswitch"}, "source": {"bridge": "br-int"}}
#: what of each kind is made, and altered: taps, macvtaps, ports, bridges of a port's own, the MAC of a NIC
KINDS: tuple[dict[str, Any], ...] = (
    {"type": "ethernet"},
    {"type": "bridge", "source": {"bridge": "br0"}, "port": {"isolated": True}},
    {"type": "bridge", "vlan": 7, "bandwidth": {"inbound": {"average": 2000}}, **ON_OVS},
    {"type": "bridge", **ON_OVS, "source": {"bridge": "br-int", "hybrid": True}},
    {"type": "direct", "source": {"dev": "e0", "mode": "passthrough"}, "tap_owner": "vifplug"},
)
VIFS = tuple(
    VIF.from_data({"id": f"0000000{n}-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "mac": f"52:54:00:12:34:0{n}", **document})
    for n, document in enumerate(KINDS)
)


class Killed(BaseException):
    """The process is killed: nothing of the host answers it any more."""


class Machine(MemoryBackend):
    """One on which the n-th step from now on fails, before or after it was taken, or kills the process."""

    def __init__(self) -> None:
        super().__init__()
        self.calm()
        for name in ("e0", "br0"):
            self.place(LowerDevice(name=name, mac="02:00:00:00:00:01", up=True))
        self.place(OvsBridge(name="br-int", datapath_type="system"))

    def calm(self) -> None:
        self.left, self.how = -1, ""

    def fail(self, at: int, how: str) -> None:
        self.left, self.how = at, how

    def observe(self, desired: Sequence[Resource]) -> Any:
        if self.how == "killed" and self.left < 0:
            raise Killed
        return super().observe(desired)

    def apply(self, taken: Sequence[Step], done: list[Step]) -> None:
        for step in taken:
            self.left -= bool(self.how)
            if self.how == "killed" and self.left < 0:
                raise Killed
            if self.how and self.left == -1:
                if self.how == "unanswered" and not step.subject.batched:
                    super().apply([step], [])
                raise errors.StepFailed(f"{step.subject}: failed on request of the test")
            super().apply([step], done)

    def lose(self, owned: Callable[[Resource], bool]) -> None:
        for identity, seen in self.there.items():
            if seen.resource and seen.resource.owner and owned(seen.resource):
                self._there.pop(identity)

    def state(self) -> Any:
        """Return all that exists; a bridge or NIC that is as it was counts as such, whoever has it."""
        return {
            identity: seen.resource.mac if isinstance(seen.resource, LowerDevice) else seen
            for identity, seen in self.there.items()
        }


@dataclass(frozen=True)
class Case:
    """Some VIFs, of which the first is treated; and a place among the steps, or among what there is."""

    vifs: tuple[VIF, ...]
    at: int
    how: str


CASES = st.builds(
    Case,
    vifs=st.lists(st.sampled_from(VIFS), min_size=1, max_size=3, unique_by=lambda vif: vif.id).map(tuple),
    at=st.integers(0, 5),
    how=st.sampled_from(["refused", "unanswered"]),
)


@contextlib.contextmanager
def site() -> Iterator[tuple[Bench, Machine]]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        on = Bench(Path(path), machine := Machine())
        yield on, machine
        on.driver.close()


def plug(on: Bench, *vifs: VIF) -> None:
    for each in vifs:
        on.driver.plug(each)


# -- the laws -----------------------------------------------------------------------------------------------------


def converges(case: Case) -> None:
    """A plug does all: a second plan is empty, and an unplug takes back all that was done."""
    with site() as (on, machine):
        before = machine.state()
        plug(on, *case.vifs)
        assert not on.driver.plan(case.vifs[0]).steps and on.driver.check() == []
        on.driver.unplug_many([each.id for each in case.vifs])
        assert machine.state() == before and on.driver.list() == []


def undone(case: Case) -> None:
    """A plug that fails anywhere has done nothing, even if the answer to a change was lost."""
    with site() as (on, machine):
        plug(on, *case.vifs[1:])
        before, listed = machine.state(), [each.id for each in on.driver.list()]
        machine.fail(case.at, case.how)
        try:
            on.driver.plug(case.vifs[0])
        except errors.VifplugError:
            assert machine.state() == before and [each.id for each in on.driver.list()] == listed


def reconciled(case: Case, kinds: set[str]) -> None:
    """Whatever got lost, a reconcile makes the host as it was after the plug."""
    with site() as (on, machine):
        plug(on, *case.vifs)
        before = machine.state()
        machine.lose(lambda each: each.kind in kinds or (each.kind == "bridge-port" and "tap" in kinds))
        assert not any(each.error for each in on.driver.reconcile())
        assert machine.state() == before and on.driver.check() == []


def recovered(case: Case, verb: str) -> None:
    """After a kill anywhere, recover leaves nothing without a record, and no record without its VIF."""
    first, *others = case.vifs
    with site() as (on, machine):
        plug(on, *others)
        without = machine.state()
        plug(on, first)
        former = machine.state()
        if verb == "plug":
            on.driver.unplug(first.id)
        changed = {"link_state": "down"} if first.type == "direct" else {"mtu": 1400}
        verbs: dict[str, Callable[[], object]] = {
            "plug": lambda: on.driver.plug(first),
            "update": lambda: on.driver.update(first.replace(**changed)),
            "unplug": lambda: on.driver.unplug(first.id),
        }
        machine.fail(case.at, "killed")
        with contextlib.suppress(Killed):
            verbs[verb]()
        killed = machine.left < 0
        machine.calm()
        on.driver.recover()
        states = {each.id: each.state for each in on.driver.list()}
        assert set(states.values()) <= {"plugged"} and on.driver.check() == []
        if first.id not in states:
            assert machine.state() == without
        elif verb != "update":
            assert machine.state() == former and not (killed and verb == "plug")


def collected(case: Case, forgotten: int, held: bool) -> None:
    """The garbage of lost records goes; what a record or a living guest has stays."""
    with site() as (on, machine):
        plug(on, *case.vifs)
        gone = [each.id for each in case.vifs[:forgotten]]
        taps = [seen.resource for seen in machine.there.values() if isinstance(seen.resource, (Tap, Macvtap))]
        opened = [each for each in taps if held and each.owner == case.vifs[0].id]
        for each in opened:
            machine.place(each, held=True)
        Store(on.home.path / "state").delete(gone)
        before = machine.there
        on.driver.gc()
        stays = {each.id for each in case.vifs} - set(gone) | {each.owner for each in opened}
        owned = {key: seen for key, seen in before.items() if seen.resource and seen.resource.owner in stays}
        assert owned.items() <= machine.there.items()
        marks = {each.owner for each in (seen.resource for seen in machine.there.values()) if each} - {""}
        assert {each for each in marks if machine.find(each)} <= stays


#: each law, and what it is tried with
LAWS: dict[str, tuple[Callable[..., None], tuple[st.SearchStrategy[Any], ...]]] = {
    "converges": (converges, (CASES,)),
    "undone": (undone, (CASES,)),
    "reconciled": (reconciled, (CASES, st.sets(st.sampled_from(["tap", "macvtap", "ovs-port"]), min_size=1))),
    "recovered": (recovered, (CASES, st.sampled_from(["plug", "update", "unplug"]))),
    "collected": (collected, (CASES, st.integers(0, 3), st.booleans())),
}


def tried(law: str, **options: Any) -> None:
    """Try a law. Each of a law's tests makes it anew: hypothesis keeps what it has found with a function."""
    holds, cases = LAWS[law]

    def fresh(values: tuple[Any, ...]) -> None:
        holds(*values)

    settings(**options)(given(st.tuples(*cases))(fresh))()


# -- the mutants --------------------------------------------------------------------------------------------------


def without_last(desired: Sequence[Resource], observed: Observation, whole: Any = steps.steps_toward) -> list[Step]:
    return list(whole(desired, observed)[:-1])


def of_nobody(self: Any, vif_ids: Sequence[str], *states: str) -> dict[str, None]:
    return {}


#: law, what the mutant does wrong, and where
MUTANTS: tuple[tuple[str, str, object, str, object], ...] = (
    ("converges", "the last step of a plan is missing", plan, "steps_toward", without_last),
    ("converges", "originals are not put back", removal, "valid_originals", lambda stored, seen: {}),
    ("undone", "what was made stays", steps.Step, "undo", lambda self: Step(self.after, self.after)),
    ("undone", "no answer means not done", engine.Engine, "_attempt_cut_short", lambda self, planned: []),
    ("undone", "the record stays", engine.Engine, "_restore_records", lambda self, jobs: []),
    ("reconciled", "nothing is brought back", recovery.Recovery, "_restored", lambda self, vif_ids, dry_run: ()),
    ("recovered", "nothing counts as begun", recovery.Recovery, "_cut_off", of_nobody),
    ("recovered", "only changes are ended", recovery.Recovery, "_removed", lambda self, stored, dry_run=False: ()),
    ("collected", "a living guest does not count", removal.steps, "refuse_held", lambda own, seen, vif_id: None),
    ("collected", "marks are not looked for", recovery.Recovery, "unowned", lambda self: set()),
    (
        "collected",
        "a record does not count",
        recovery.Recovery,
        "_unrecorded",
        lambda self, vif_ids: dict.fromkeys(each.id for each in VIFS),
    ),
)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_APART", 0)


@pytest.mark.parametrize("name", LAWS)
def test_the_law_holds(name: str) -> None:
    tried(name)


@pytest.mark.parametrize(("law", "what", "where", "name", "mutant"), MUTANTS, ids=[each[1] for each in MUTANTS])
def test_a_mutant_breaks_the_law(
    law: str, what: str, where: object, name: str, mutant: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, mutant)
    with pytest.raises((AssertionError, errors.VifplugError)):
        tried(
            law, max_examples=60, phases=[Phase.generate], database=None, derandomize=True, report_multiple_bugs=False
        )
