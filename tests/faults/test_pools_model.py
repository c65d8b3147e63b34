"""Device pools when much happens: a model says what each verb comes to, and the driver on a machine in memory agrees.

Files change, devices go and return, and processes are killed. No run ends before nothing is held any more.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.faults.pools import QBH, SharedMemory, definition, killed_at, vif_id
from tests.support.holdings import all_holdings
from tests.support.memory import Home
from vifplug import VIF, VIFDriver, errors
from vifplug.driver.macs import MAC
from vifplug.driver.records import StoredVif
from vifplug.driver.verbs import Plugged
from vifplug.model.source import DirectSource
from vifplug.plan.registry import LowerDevice
from vifplug.store.store import Store
from vifplug.testing.memory import MemoryHost

DEVICES = ("e0", "e1", "e2", "e3")
IDS = tuple(map(vif_id, range(1, 6)))
MODES = ("vepa", "bridge", "private", "passthrough")

#: what a VIF has: each device, and whether for itself
Held = dict[str, bool]


@dataclass(frozen=True)
class Ask:
    """A document: for a ``network``, or without one for ``dev`` in ``mode``. ``ours``: vifplug makes the macvtap.

    ``down`` is the guest's link, which is no matter of pools.
    """

    network: str | None
    dev: str
    mode: str
    qbh: bool
    special: bool
    ours: bool
    down: bool

    def vif(self, id: str) -> VIF:
        source: dict[str, Any] = {"dev": self.dev, "mode": self.mode}
        if self.network:
            source = {"network": self.network} | ({"portgroup": "special"} if self.special else {})
        document: dict[str, Any] = {"id": id, "mac": f"52:54:00:00:00:{id[6:8]}", "source": source}
        document |= {"type": "network" if self.network else "direct", "link_state": "down" if self.down else "up"}
        document |= {"virtualport": QBH} if self.qbh else {}
        return VIF.from_json(document | ({"tap_owner": "vifplug"} if self.ours else {}))


@dataclass(frozen=True)
class Net:
    mode: str
    members: tuple[tuple[str, int | None], ...]
    special: bool = True

    def text(self, name: str) -> str:
        return definition(name, self.mode, self.members, ("special",) if self.special else ())


@dataclass(frozen=True)
class Got:
    """What came of an Ask: its device (None: on a bridge), and whether it is the VIF's alone."""

    ask: Ask
    dev: str | None
    alone: bool = False

    @property
    def held(self) -> Held:
        return {self.dev: self.alone} if self.dev else {}


@dataclass
class Model:
    """What there is and who has it. ``stale``: a VIF whose macvtap may be missing or old, until it is plugged again."""

    nets: dict[str, Net] = field(default_factory=dict)
    up: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(DEVICES, True))
    got: dict[str, Got] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)

    def plug(self, id: str, ask: Ask, *, refresh: bool) -> None:
        """Raises as the driver would, and has then changed nothing."""
        self.end(id, self.expected(id, ask, refresh=refresh))

    def end(self, id: str, got: Got) -> None:
        self.got[id], self.held[id] = got, got.held
        self.stale.discard(id)
        if got.dev:
            self.up[got.dev] = True

    def unplug(self, id: str) -> None:
        self.got.pop(id, None)
        self.held.pop(id, None)
        self.stale.discard(id)

    def expected(self, id: str, ask: Ask, *, refresh: bool) -> Got:
        got = self._chosen(id, ask, refresh=refresh)
        if got.dev and got.dev not in self.up:
            raise errors.Missing(got.dev)
        if got.dev and any(got.alone or alone for alone in self.others(id, got.dev).values()):
            raise errors.Conflict(got.dev)
        return got

    def others(self, id: str, dev: str) -> dict[str, bool]:
        """Who else has a device."""
        return {other: held[dev] for other, held in self.held.items() if other != id and dev in held}

    def _chosen(self, id: str, ask: Ask, *, refresh: bool) -> Got:
        if ask.network is None:
            if ask.qbh and ask.ours:
                raise errors.Unsupported(())
            return Got(ask, ask.dev, ask.mode == "passthrough" or (ask.mode == "private" and ask.qbh))
        former = self.got.get(id)
        if former and (former.ask.network != ask.network or (former.dev and former.dev not in self.up)):
            former = None
        if former and former.ask.vif(id) == ask.vif(id) and not refresh:
            return former
        return self._resolved(id, ask, former.dev if former else None)

    def _resolved(self, id: str, ask: Ask, kept: str | None) -> Got:
        net = self.nets.get(ask.network or "")
        if net is None:
            raise errors.UnknownNetwork(ask.network)
        if ask.special and not net.special:
            raise errors.UnknownPortGroup("special")
        profiled = ask.qbh or ask.special
        if net.mode == "switched":
            if profiled:
                raise errors.Unsupported(())
            return Got(ask, None)
        alone = net.mode == "passthrough" or (net.mode == "private" and profiled)
        dev = kept or self._picked(id, net, alone)
        if profiled and ask.ours:
            raise errors.Unsupported(())
        return Got(ask, dev, alone)

    def _picked(self, id: str, net: Net, alone: bool) -> str:
        free = []
        for dev, most in net.members:
            others = self.others(id, dev)
            if self.up.get(dev) and not (others and (alone or any(others.values()))) and len(others) < (most or 99):
                free.append((len(others), dev))
        if free:
            return min(free, key=lambda each: each[0])[1]
        usable = [dev for dev, _ in net.members if self.up.get(dev)]
        if any(dev in held for dev in usable for held in self.held.values()):
            raise errors.PoolExhausted(usable)
        raise errors.Missing(net.members)


def an_ask() -> st.SearchStrategy[Ask]:
    seldom = st.sampled_from([False, False, False, True])
    return st.builds(
        Ask,
        network=st.sampled_from(["one", "two", "one", "two", None]),
        dev=st.sampled_from(DEVICES),
        mode=st.sampled_from(MODES),
        qbh=seldom,
        special=seldom,
        ours=st.booleans(),
        down=seldom,
    )


def a_net() -> st.SearchStrategy[Net]:
    members = st.lists(
        st.tuples(st.sampled_from(DEVICES), st.sampled_from([None, None, 1, 2])),
        min_size=1,
        unique_by=lambda member: member[0],
    )
    modes = st.sampled_from([*MODES, *MODES, "switched"])
    return st.builds(Net, mode=modes, members=members.map(tuple), special=st.sampled_from([True, True, False]))


class Pools(RuleBasedStateMachine):
    """Everything that happens to pools, one at a time; a killed process leaves a VIF half done for as long as it likes.

    The model says what each verb comes to: the very device, or the class of the error.
    """

    counts: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="vifplug-pools-")
        path = Path(self.directory.name)
        self.backend = SharedMemory(path / "machine")
        self.home = Home(path, lambda: MemoryHost(self.backend))
        self.backend.place(LowerDevice(name="br0"))
        for dev in DEVICES:
            self.backend.place(self._device(dev))
        self.model = Model()
        self.driver = self.home.driver()

    def _device(self, dev: str, up: bool = True) -> LowerDevice:
        return LowerDevice(name=dev, up=up, mac=f"02:00:00:00:00:0{dev[1]}")

    @initialize(one=a_net(), two=a_net())
    def begin(self, one: Net, two: Net) -> None:
        self.edit("one", one)
        self.edit("two", two)

    # -- what an administrator, and the hardware, may do ----------------------------------------------------------

    @rule(name=st.sampled_from(["one", "two"]), net=a_net())
    def edit(self, name: str, net: Net) -> None:
        self.home.network(name).write_text(net.text(name))
        self.model.nets[name] = net

    @rule(name=st.sampled_from(["one", "two"]), how=st.sampled_from(["<network>", "", None]), really=st.integers(0, 3))
    def spoil(self, name: str, how: str | None, really: int) -> None:
        if really:
            return
        if how is None:
            self.home.network(name).unlink(missing_ok=True)
        else:
            self.home.network(name).write_text(how)
        self.model.nets.pop(name, None)

    @rule(dev=st.sampled_from(DEVICES))
    def set_down(self, dev: str) -> None:
        if dev in self.model.up:
            seen = self.backend.there["lower-device", dev].resource
            assert seen
            self.backend.place(seen.replace(up=False))
            self.model.up[dev] = False

    @rule(dev=st.sampled_from(DEVICES))
    def take_away(self, dev: str) -> None:
        self.backend.forget(dev)
        self.model.up.pop(dev, None)
        self.model.stale |= {id for id, held in self.model.held.items() if dev in held}

    @rule(dev=st.sampled_from(DEVICES), up=st.sampled_from([True, True, False]))
    def bring_back(self, dev: str, up: bool) -> None:
        if dev not in self.model.up:
            self.backend.place(self._device(dev, up))
            self.model.up[dev] = up

    # -- verbs ----------------------------------------------------------------------------------------------------

    @rule(id=st.sampled_from(IDS), ask=an_ask())
    def plug(self, id: str, ask: Ask) -> None:
        self._same(id, lambda: self.driver.plug(ask.vif(id)), lambda model: model.plug(id, ask, refresh=False))

    @rule(id=st.sampled_from(IDS))
    def plug_again(self, id: str) -> None:
        if id in self.model.got:
            self.plug(id, self.model.got[id].ask)

    @rule(id=st.sampled_from(IDS), ask=an_ask(), same=st.booleans())
    def update(self, id: str, ask: Ask, same: bool) -> None:
        if id not in self.model.got:
            with pytest.raises(errors.InvalidRequest):
                self.driver.update(ask.vif(id))
            return
        chosen = self.model.got[id].ask if same else ask
        self._same(id, lambda: self.driver.update(chosen.vif(id)), lambda model: model.plug(id, chosen, refresh=True))

    @rule(id=st.sampled_from(IDS))
    def unplug(self, id: str) -> None:
        self.driver.unplug(id)
        self.model.unplug(id)

    @rule(ids=st.lists(st.sampled_from(IDS), min_size=2, max_size=3, unique=True), asks=st.tuples(*[an_ask()] * 3))
    def plug_several(self, ids: list[str], asks: tuple[Ask, ...]) -> None:
        """All or none; what one of them lets go no other of the same batch gets."""
        pairs = list(zip(ids, asks, strict=False))
        trial, wanted = copy.deepcopy(self.model), [(ask.vif(id), None) for id, ask in pairs]
        try:
            self._together(trial, pairs)
        except errors.VifplugError:
            with pytest.raises(errors.VifplugError):
                self.driver.plug_many(wanted)
            self.counts["batch refused"] += 1
            return
        before = self.model.held
        if any(before.get(id, {}).get(dev) and not alone for id in ids for dev, alone in trial.held[id].items()):
            return  # whether what one of them stops having alone can be shared at once by another is left open
        self.driver.plug_many(wanted)
        self.model = trial
        self.counts["batch"] += 1

    def _together(self, model: Model, pairs: Sequence[tuple[str, Ask]]) -> None:
        """Devices that are named come first, those of pools are what is left; all keep what they had until the end."""
        ended: dict[str, Got] = {}
        for id, ask in sorted(pairs, key=lambda pair: pair[1].network is not None):
            ended[id] = model.expected(id, ask, refresh=False)
            model.held[id] = {**model.held.get(id, {}), **ended[id].held}
        for id, got in ended.items():
            if got.dev and any(got.alone or alone for alone in model.others(id, got.dev).values()):
                raise errors.Conflict(got.dev)
        for id, got in ended.items():
            model.end(id, got)

    @rule(id=st.sampled_from(IDS), ask=an_ask())
    def plug_and_fail(self, id: str, ask: Ask) -> None:
        """A step that makes or removes the macvtap fails: all is as it was."""
        self.backend.fail_on = {("macvtap", ask.vif(id).device)}
        try:
            self._same(id, lambda: self.driver.plug(ask.vif(id)), lambda model: model.plug(id, ask, refresh=False))
        finally:
            self.backend.fail_on = ()

    @rule()
    def start_anew(self) -> None:
        self.driver.close()
        self.driver = self.home.driver()

    # -- who is killed --------------------------------------------------------------------------------------------

    @rule(
        id=st.sampled_from(IDS), ask=an_ask(), refresh=st.sampled_from(["", "same", "other"]), moment=st.integers(0, 24)
    )
    def plug_and_be_killed(self, id: str, ask: Ask, refresh: str, moment: int) -> None:
        refresh = refresh if id in self.model.got else ""
        ask = self.model.got[id].ask if refresh == "same" else ask
        verb = VIFDriver.update if refresh else VIFDriver.plug
        end = killed_at(moment, self.home, lambda driver: verb(driver, ask.vif(id)))
        self.backend.take_over()
        trial = copy.deepcopy(self.model)
        try:
            trial.plug(id, ask, refresh=bool(refresh))
        except errors.VifplugError as error:
            assert end in (type(error).__name__, "killed")
            wanted: Held = {}
        else:
            assert end in ("done", "killed"), end
            wanted = trial.held[id]
        self.counts["killed" if end == "killed" else "survived"] += 1
        if end == "done":
            self.model = trial
        elif end == "killed":
            self._adopt(id, ask, wanted)

    @rule(id=st.sampled_from(IDS), moment=st.integers(0, 12))
    def unplug_and_be_killed(self, id: str, moment: int) -> None:
        end = killed_at(moment, self.home, lambda driver: driver.unplug(id))
        self.backend.take_over()
        assert end in ("done", "killed"), end
        if end == "killed" and id in self.model.got:
            left = self._held(id)
            assert left in (self.model.held[id], {}), "all of it or nothing"
            if left or any(entry.vif.id == id for entry in self.driver.list()):
                self.model.stale.add(id)
                return
        self.model.unplug(id)

    def _adopt(self, id: str, ask: Ask, wanted: Held) -> None:
        """What the dead left: what the VIF had, what it was about to have, or both."""
        before = self.model.held.get(id, {})
        left = self._held(id)
        assert left.items() <= {*before.items(), *wanted.items()}
        self._notice_the_machine()
        entry = next((each for each in self.driver.list() if each.vif.id == id), None)
        if entry is None:
            assert id not in self.model.got and left == {}
            return
        was = self.model.got.get(id)
        kept = was is not None and _says(entry, id, was.ask) and not (_says(entry, id, ask) and left == wanted)
        dev = entry.actual.source.dev if isinstance(entry.actual.source, DirectSource) else None
        assert dev is None or dev in left, "it holds what its record says that it has"
        ends = was.held if kept and was else wanted  # until it is ended, it may hold the same device both ways
        alone = ends.get(dev or "", left.get(dev or "", False))
        self.model.got[id] = Got(was.ask if kept and was else ask, dev, alone)
        self.model.held[id] = left
        self.model.stale.add(id)

    def _notice_the_machine(self) -> None:
        for dev in self.model.up:
            seen = self.backend.there["lower-device", dev].resource
            assert isinstance(seen, LowerDevice)
            self.model.up[dev] = bool(seen.up)

    # -- what always holds ----------------------------------------------------------------------------------------

    def _same(self, id: str, act: Callable[[], Plugged], play: Callable[[Model], None]) -> None:
        """Driver and model come to the same: the same device, or the same error and nothing changed."""
        trial = copy.deepcopy(self.model)
        try:
            play(trial)
        except errors.VifplugError as error:
            with pytest.raises(type(error)) as caught:
                act()
            assert type(caught.value) is type(error)
            self.counts[type(error).__name__] += 1
            return
        try:
            plugged = act()
        except errors.StepFailed:
            assert self.backend.fail_on
            self.counts["failed"] += 1
            return
        self.model = trial
        source = plugged.actual.source
        assert (source.dev if isinstance(source, DirectSource) else None) == trial.got[id].dev
        self.counts["plugged"] += 1

    def _held(self, id: str) -> Held:
        return {name: alone for (name, owner), alone in self._all_held().items() if owner == id}

    def _all_held(self) -> dict[tuple[str, str], bool]:
        found = all_holdings(Store(self.home.path / "state"))
        return {(each.name.removeprefix("device "), each.vif_id): each.exclusive for each in found}

    @invariant()
    def the_record_is_the_model(self) -> None:
        wanted = {(dev, id): alone for id, held in self.model.held.items() for dev, alone in held.items()}
        assert self._all_held() == wanted
        records = Store(self.home.path / "state").all()
        assert {record.vif_id for record in records} == set(self.model.got)
        claims = {(name, record.vif_id, True) for record in records for name in record.claims}
        shares = {(name, record.vif_id, False) for record in records for name in {*record.shares} - {*record.claims}}
        claims, shares = ({each for each in some if not each[0].startswith(MAC)} for some in (claims, shares))
        held = {(f"device {dev}", id, alone) for (dev, id), alone in wanted.items()}
        assert held == claims | shares

    @invariant()
    def who_is_alone_is_alone(self) -> None:
        for dev in DEVICES:
            having = [alone for (name, _), alone in self._all_held().items() if name == dev]
            assert len(having) < 2 or not any(having)
            modes = [macvtap.mode for macvtap in self.backend.macvtaps() if macvtap.lower == dev]
            assert len(modes) < 2 or "passthrough" not in modes

    @invariant()
    def macvtaps_are_on_what_their_vif_has(self) -> None:
        there = {macvtap.owner: macvtap.lower for macvtap in self.backend.macvtaps()}
        assert all(lower in self.model.held.get(owner, {}) for owner, lower in there.items())
        for id, got in self.model.got.items():
            if id not in self.model.stale:
                assert there.get(id) == (got.dev if got.ask.ours else None)

    def teardown(self) -> None:
        for id in IDS:
            self.driver.unplug(id)
        assert self.driver.list() == [] and self._all_held() == {} and self.backend.macvtaps() == []
        for dev in self.model.up:
            seen = self.backend.there["lower-device", dev].resource
            assert isinstance(seen, LowerDevice) and seen.mac == self._device(dev).mac
        self.driver.close()
        self.directory.cleanup()


def _says(entry: StoredVif, id: str, ask: Ask) -> bool:
    """Whether a record is of this document; that of a direct VIF has its source as its type writes it."""
    return json.loads(entry.vif.to_json()) == json.loads(ask.vif(id).to_json())


#: of as many examples each
_ROUNDS = 5


@pytest.mark.slow
def test_whatever_happens_the_record_says_who_has_which_device() -> None:
    Pools.counts.clear()
    few = settings(
        max_examples=20,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    kinds = ("plugged", "PoolExhausted", "failed", "killed", "survived", "batch refused")
    for _ in range(_ROUNDS):  # what comes up is chance
        run_state_machine_as_test(Pools, settings=few)  # type: ignore[no-untyped-call]
        if all(Pools.counts[each] for each in kinds):
            break
    print(dict(Pools.counts))
    for each in kinds:
        assert Pools.counts[each], f"nothing of this kind came up: {each}"
