"""Device pools when much happens at once: files that change, devices that go, processes that are killed.

First a model against the driver on a machine in memory, then eight processes on one record, then the same on links of
this kernel. No test ends before nothing is held any more.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import multiprocessing
import os
import pickle
import random
import signal
import sqlite3
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from vifplug import VIF, VIFDriver, errors
from vifplug import conf as options
from vifplug.driver.verbs import Entry, Plugged
from vifplug.host.machine import Machine
from vifplug.model.source import DirectSource
from vifplug.plan import registry
from vifplug.plan.registry import LowerDevice, Macvtap
from vifplug.plan.steps import Step
from vifplug.store.store import Store
from vifplug.testing import netns
from vifplug.testing.memory import MemoryBackend

QBH = {"type": "802.1Qbh", "profileid": "finance"}


def vif_id(number: int) -> str:
    """Ids that differ where the names of devices are taken from them."""
    return f"{number:08x}-6a1b-4c2d-9e3f-7a8b9c0d1e2f"


def definition(name: str, mode: str, members: Sequence[tuple[str, int | None]], groups: Sequence[str] = ()) -> str:
    if mode == "switched":
        inner = "<forward mode='bridge'/><bridge name='br0'/>"
    else:
        listed = (f"<interface dev='{dev}'" + (f" max='{most}'" if most else "") + "/>" for dev, most in members)
        inner = f"<forward mode='{mode}'>{''.join(listed)}</forward>"
    special = "<virtualport type='802.1Qbh'><parameters profileid='finance'/></virtualport>"
    listed = (f"<portgroup name='{group}'>{special if group == 'special' else ''}</portgroup>" for group in groups)
    return f"<network><name>{name}</name>{inner}{''.join(listed)}</network>"


@dataclass(frozen=True)
class Site:
    """A directory with a record and networks; ``machine`` makes what stands for the host, None: this one."""

    path: Path
    machine: Callable[[], Machine] | None = None

    def driver(self) -> VIFDriver:
        conf = options.load([])
        values = {"state_path": self.path / "state", "networks_dir": self.path / "networks.d"}
        for name, value in values.items():
            conf.set_override(name, str(value), group="vifplug")
        conf.set_override("connection", f"unix:{self.path}/no-switch", group="vifplug_ovs")
        return VIFDriver(conf, machine=self.machine() if self.machine else None)

    def define(self, name: str, text: str) -> None:
        (self.path / "networks.d").mkdir(exist_ok=True)
        (self.path / "networks.d" / f"{name}.xml").write_text(text)


# -- the model ----------------------------------------------------------------------------------------------------

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


class SharedMemory(MemoryBackend):
    """One that outlives a process that is killed: a child leaves it in a file after each step, its parent takes it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file, self.process = file, os.getpid()

    def _write(self, step: Step) -> None:
        super()._write(step)
        if os.getpid() != self.process:
            self.file.write_bytes(pickle.dumps(self._there))

    def take_over(self) -> None:
        if self.file.exists():
            self._there = pickle.loads(self.file.read_bytes())
            self.file.unlink()

    def forget(self, dev: str) -> None:
        """A device goes, and with it the macvtaps on it."""
        gone = [key for key, seen in self.there.items() if getattr(seen.resource, "lower", None) == dev]
        for identity in [("lower-device", dev), *gone]:
            self._there.pop(identity, None)

    def macvtaps(self) -> list[Macvtap]:
        return [seen.resource for seen in self.there.values() if isinstance(seen.resource, Macvtap)]


def killed_at(moment: int, site: Site, work: Callable[[VIFDriver], object]) -> str:
    """How a process that does ``work`` ends: ``killed``, or by itself as ``done`` or with the name of an error.

    It kills itself at the ``moment``-th of: each statement that writes the record, and each step, before and after.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.write(writing, _victim(moment, site, work).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        message = answer.read()
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else message


def _victim(moment: int, site: Site, work: Callable[[VIFDriver], object]) -> str:
    left = moment

    def tick() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def connect(*arguments: Any, **keys: Any) -> sqlite3.Connection:
        made = whole_connect(*arguments, **keys)
        made.set_trace_callback(lambda sql: None if sql.startswith(("SELECT", "PRAGMA")) else tick())
        return made

    def apply(self: Machine, steps: Sequence[Step], done: list[Step], progress: Any = None) -> None:
        for step in steps:
            tick()
            whole_apply(self, [step], done, progress)
            tick()

    whole_connect, whole_apply = sqlite3.connect, Machine.apply
    sqlite3.connect, Machine.apply = connect, apply  # type: ignore[assignment,method-assign]
    try:
        work(site.driver())
    except errors.VifplugError as error:
        return type(error).__name__
    except BaseException:  # noqa: BLE001 (told to the parent, which knows none by that name)
        return traceback.format_exc()
    return "done"


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
        self.site = Site(path, lambda: Machine(dict.fromkeys(registry.RESOURCES, self._its_backend)))
        self.backend.place(LowerDevice(name="br0"))
        for dev in DEVICES:
            self.backend.place(self._device(dev))
        self.model = Model()
        self.driver = self.site.driver()

    def _its_backend(self) -> SharedMemory:
        return self.backend

    def _device(self, dev: str, up: bool = True) -> LowerDevice:
        return LowerDevice(name=dev, up=up, mac=f"02:00:00:00:00:0{dev[1]}")

    @initialize(one=a_net(), two=a_net())
    def begin(self, one: Net, two: Net) -> None:
        self.edit("one", one)
        self.edit("two", two)

    # -- what an administrator, and the hardware, may do ----------------------------------------------------------

    @rule(name=st.sampled_from(["one", "two"]), net=a_net())
    def edit(self, name: str, net: Net) -> None:
        self.site.define(name, net.text(name))
        self.model.nets[name] = net

    @rule(name=st.sampled_from(["one", "two"]), how=st.sampled_from(["<network>", "", None]), really=st.integers(0, 3))
    def spoil(self, name: str, how: str | None, really: int) -> None:
        if really:
            return
        if how is None:
            (self.site.path / "networks.d" / f"{name}.xml").unlink(missing_ok=True)
        else:
            self.site.define(name, how)
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
        self.driver = self.site.driver()

    # -- who is killed --------------------------------------------------------------------------------------------

    @rule(
        id=st.sampled_from(IDS), ask=an_ask(), refresh=st.sampled_from(["", "same", "other"]), moment=st.integers(0, 24)
    )
    def plug_and_be_killed(self, id: str, ask: Ask, refresh: str, moment: int) -> None:
        refresh = refresh if id in self.model.got else ""
        ask = self.model.got[id].ask if refresh == "same" else ask
        verb = VIFDriver.update if refresh else VIFDriver.plug
        end = killed_at(moment, self.site, lambda driver: verb(driver, ask.vif(id)))
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
        end = killed_at(moment, self.site, lambda driver: driver.unplug(id))
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
        found = Store(self.site.path / "state").all_holdings()
        return {(each.name.removeprefix("device "), each.vif_id): each.alone for each in found}

    @invariant()
    def the_record_is_the_model(self) -> None:
        wanted = {(dev, id): alone for id, held in self.model.held.items() for dev, alone in held.items()}
        assert self._all_held() == wanted
        records = Store(self.site.path / "state").all()
        assert {record.vif_id for record in records} == set(self.model.got)
        claims = {(name, record.vif_id, True) for record in records for name in record.claims}
        shares = {(name, record.vif_id, False) for record in records for name in {*record.shares} - {*record.claims}}
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


def _says(entry: Entry, id: str, ask: Ask) -> bool:
    """Whether a record is of this document; that of a direct VIF has its source as its type writes it."""
    return json.loads(entry.vif.to_json()) == json.loads(ask.vif(id).to_json())


@pytest.mark.slow
def test_whatever_happens_the_record_says_who_has_which_device() -> None:
    Pools.counts.clear()
    few = settings(
        max_examples=35,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    run_state_machine_as_test(Pools, settings=few)  # type: ignore[no-untyped-call]
    print(dict(Pools.counts))
    for each in ("plugged", "PoolExhausted", "failed", "killed", "survived", "batch refused"):
        assert Pools.counts[each], f"nothing of this kind came up: {each}"


# -- what is not to be had by luck --------------------------------------------------------------------------------


class Little:
    """A network of a pool, a bridge and its devices on a machine in memory."""

    def __init__(self, path: Path) -> None:
        self.backend = SharedMemory(path / "machine")
        for dev in ("e0", "e1", "br0"):
            self.backend.place(LowerDevice(name=dev))
        self.site = Site(path, lambda: Machine(dict.fromkeys(registry.RESOURCES, lambda: self.backend)))
        self.driver = self.site.driver()

    def define(self, mode: str) -> None:
        self.site.define("pool", definition("pool", mode, [("e0", None)]))


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Little]:
    made = Little(tmp_path)
    yield made
    made.driver.close()


def test_a_batch_that_fails_for_a_device_that_is_not_of_a_pool_holds_nothing(little: Little) -> None:
    little.define("vepa")
    direct = {"type": "direct", "source": {"dev": "e1", "mode": "passthrough"}}
    first, second = (VIF.from_json({"id": vif_id(n), "mac": f"52:54:00:00:00:0{n}", **direct}) for n in (1, 2))
    little.driver.plug(first)
    with pytest.raises(errors.Conflict, match="device e1 is wanted by"):
        little.driver.plug_many([(network_vif(vif_id(3), "pool"), None), (second, None)])
    assert [entry.vif.id for entry in little.driver.list()] == [first.id]


def test_a_device_is_ones_own_until_the_macvtap_that_is_alone_on_it_has_gone(little: Little) -> None:
    """An update from passthrough to vepa: nobody shares the device while a macvtap in mode passthru is on it."""
    little.define("passthrough")
    little.driver.plug(network_vif(vif_id(1), "pool", ours=True))
    little.define("vepa")
    message: list[str] = []

    def meanwhile(step: Step) -> bool:
        if not message:
            message.append("begun")
            try:
                with little.site.driver() as other:
                    other.plug(network_vif(vif_id(2), "pool", ours=True))
            except errors.Conflict as conflict:
                message.append(type(conflict).__name__)
        return False

    little.backend.fail_on = meanwhile
    little.driver.update(network_vif(vif_id(1), "pool", ours=True))
    assert message == ["begun", "PoolExhausted"]


def test_what_a_killed_update_holds_is_told_by_check(little: Little) -> None:
    """It was killed when it had a device of the pool that its network is now; what it had before it still has."""
    little.define("switched")
    vif = network_vif(vif_id(1), "pool")
    little.driver.plug(vif)
    little.define("passthrough")
    holding = 0
    for moment in range(60):
        if killed_at(moment, little.site, lambda victim: victim.update(vif)) != "killed":
            break
        little.backend.take_over()
        little.define("switched")
        if Store(little.site.path / "state").all_holdings():
            assert little.driver.check(), f"killed at {moment}, a device is held and nothing says so"
            holding += 1
        little.driver.update(vif)
        assert little.driver.check() == [] and Store(little.site.path / "state").all_holdings() == []
        little.define("passthrough")
    assert holding > 5


# -- eight processes on one record --------------------------------------------------------------------------------

MANY = 8
FORK = multiprocessing.get_context("fork")

#: networks of a crowd: two exclusive and two shared ones that overlap, and one whose VIFs differ. x0 takes two at most
CROWDED = {
    "alone": ("passthrough", [("e0", None), ("e1", None), ("e2", None), ("s2", None)]),
    "shared": ("vepa", [("s0", None), ("s1", None), ("s2", None)]),
    "mixed": ("private", [("x0", 2), ("x1", None), ("e2", None)]),
}
CROWDED_DEVICES = ("e0", "e1", "e2", "s0", "s1", "s2", "x0", "x1")


def network_vif(id: str, network: str, *, qbh: bool = False, ours: bool = False) -> VIF:
    document: dict[str, Any] = {"id": id, "mac": f"52:54:00:00:{id[4:6]}:{id[6:8]}", "type": "network"}
    document |= {"source": {"network": network}} | ({"virtualport": QBH} if qbh else {})
    return VIF.from_json(document | ({"tap_owner": "vifplug"} if ours else {}))


@dataclass(frozen=True)
class Signs:
    """Whoever has a device says so beside it, after the plug and until the unplug: another record than vifplug's."""

    path: Path

    def put(self, plugged: Plugged) -> None:
        source, id = plugged.actual.source, plugged.actual.id
        alone = source.mode == "passthrough" or plugged.actual.virtualport is not None
        before = [sign.parent.name for sign in self.path.glob(f"*/{id}.*")]
        assert before in ([], [source.dev]), f"{id} had {before} and was given {source.dev}"
        self.take(id)
        mine = self.path / source.dev / f"{id}.{'alone' if alone else 'shared'}"
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.touch()
        there = [sign.name for sign in mine.parent.iterdir()]
        assert len(there) == 1 or not any(name.endswith(".alone") for name in there), (source.dev, there)
        assert source.dev != "x0" or len(there) <= 2, there

    def take(self, id: str) -> None:
        for sign in self.path.glob(f"*/{id}.*"):
            sign.unlink()

    def seen(self) -> set[tuple[str, str, bool, int]]:
        """Device, VIF, whether alone, and when the sign was put."""
        found = set()
        for sign in self.path.glob("*/*"):
            try:
                found.add((sign.parent.name, sign.stem, sign.suffix == ".alone", sign.stat().st_mtime_ns))
            except FileNotFoundError:
                continue
        return found


def mended(driver: VIFDriver, signs: Signs, id: str, again: bool) -> None:
    """What a process does after its start with what its forerunner left, at whatever moment that was killed."""
    try:
        entry = driver.show(id)
    except errors.NotPlugged:
        return
    if again:
        signs.put(driver.plug(entry.vif))
    else:
        signs.take(id)
        driver.unplug(id)


def work_at_random(site: Site, slot: int, seed: int, ends: float, ours: bool) -> None:
    """Plug and unplug the VIFs of this slot until ``ends``; a letter for each in the log."""
    dice, signs = random.Random(seed), Signs(site.path / "signs")
    ids = [vif_id(16 * slot + number) for number in range(3)]
    log = os.open(site.path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with site.driver() as driver:
        for id in ids:
            mended(driver, signs, id, dice.random() < 0.5)
        has = {entry.vif.id for entry in driver.list()} & set(ids)
        while time.monotonic() < ends:
            id = dice.choice(ids)
            if id in has:
                signs.take(id)
                driver.unplug(id)
                has.remove(id)
                os.write(log, b"u")
                continue
            network = dice.choice(list(CROWDED))
            try:
                qbh = network == "mixed" and not ours and dice.random() < 0.5
                signs.put(driver.plug(network_vif(id, network, qbh=qbh, ours=ours)))
                has.add(id)
                os.write(log, b"p")
            except errors.PoolExhausted:
                os.write(log, b"x")


def crowd(site: Site, seconds: float, watch: Callable[[Store, Signs], None], *, ours: bool = False) -> Counter[str]:
    """Eight processes at random work, one of them killed every now and then and started anew, all of them watched.

    At the end everything is plugged again or unplugged; what was done, by letter.
    """
    for name, (mode, members) in CROWDED.items():
        site.define(name, definition(name, mode, members))
    dice, ends, record = random.Random(4), time.monotonic() + seconds, Store(site.path / "state")
    killed: Counter[str] = Counter()

    def start(slot: int) -> ForkProcess:
        made = FORK.Process(target=work_at_random, args=(site, slot, dice.random(), ends, ours))
        made.start()
        return made

    running = [start(slot) for slot in range(MANY)]
    while time.monotonic() < ends:
        watch(record, Signs(site.path / "signs"))
        time.sleep(dice.uniform(0, 0.05))
        slot = dice.randrange(MANY)
        if dice.random() < 0.3 and running[slot].is_alive():
            running[slot].kill()
            running[slot].join()
            killed["killed"] += running[slot].exitcode == -signal.SIGKILL
            assert running[slot].exitcode in (0, -signal.SIGKILL)
            running[slot] = start(slot)
    for each in running:
        each.join()
    assert [each.exitcode for each in running] == [0] * MANY
    with site.driver() as driver:
        for number in range(16 * MANY):
            mended(driver, Signs(site.path / "signs"), vif_id(number), dice.random() < 0.5)
            mended(driver, Signs(site.path / "signs"), vif_id(number), False)
        assert driver.list() == [] and record.all_holdings() == []
    return killed + Counter((site.path / "log").read_text())


def watch_the_record(record: Store, signs: Signs) -> None:
    """Nobody is beside one that is alone, and whoever said all the while that he has a device has it."""
    before, holdings, after = signs.seen(), record.all_holdings(), signs.seen()
    for each in holdings:
        beside = [other for other in holdings if other.name == each.name and other is not each]
        assert not (each.alone and beside), (each, beside)
    held = {(each.name.removeprefix("device "), each.vif_id, each.alone) for each in holdings}
    assert {sign[:3] for sign in before & after} <= held
    limited = [each for each in holdings if each.name == "device x0"]
    assert len(limited) <= 2


def in_memory(devices: Sequence[str]) -> Callable[[], Machine]:
    """A machine for each process, in which the devices are up."""

    def made() -> Machine:
        backend = MemoryBackend()
        for dev in devices:
            backend.place(LowerDevice(name=dev, up=True))
        return Machine(dict.fromkeys(registry.RESOURCES, lambda: backend))

    return made


@pytest.mark.slow
def test_eight_processes_and_many_deaths_never_give_a_device_twice_nor_lose_one(tmp_path: Path) -> None:
    done = crowd(Site(tmp_path, in_memory(CROWDED_DEVICES)), 4, watch_the_record)
    print(dict(done))
    assert done["killed"] > 5 and min(done["p"], done["u"]) > 50 and done["x"]


def fill(site: Site, network: str, slot: int, count: int, begin: Any) -> None:
    """Plug ``count`` VIFs, all processes beginning together; a letter for each in the log."""
    log = os.open(site.path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with site.driver() as driver:
        driver.list()
        begin.wait()
        for number in range(count):
            try:
                driver.plug(network_vif(vif_id(16 * slot + number), network))
                os.write(log, b"p")
            except errors.PoolExhausted:
                os.write(log, b"x")


@pytest.mark.parametrize(
    ("mode", "devices", "given"),
    [("vepa", 8, {4}), ("passthrough", 20, {1}), ("passthrough", 40, {0, 1})],
)
def test_eight_processes_fill_a_pool_evenly_and_to_the_last_device(
    tmp_path: Path, mode: str, devices: int, given: set[int]
) -> None:
    names = [f"e{number}" for number in range(devices)]
    site = Site(tmp_path, in_memory(names))
    site.define("pool", definition("pool", mode, [(name, None) for name in names]))
    begin = FORK.Barrier(MANY)
    running = [FORK.Process(target=fill, args=(site, "pool", slot, 4, begin)) for slot in range(MANY)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    assert [each.exitcode for each in running] == [0] * MANY
    had = Counter(each.name for each in Store(tmp_path / "state").all_holdings())
    assert {had[f"device {name}"] for name in names} == given
    assert (
        Counter((tmp_path / "log").read_text())["p"] == sum(had.values()) == min(32, 32 if mode == "vepa" else devices)
    )


# -- on links of this kernel --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Links:
    """A network namespace of the test's own, and what ip(8) says of it."""

    site: Site
    namespace: str

    def make(self, *devices: str, up: bool = True) -> None:
        for dev in devices:
            self.ip("link", "add", dev, "type", "veth", "peer", "name", f"peer-{dev}")
            self.ip("link", "set", dev, "up" if up else "down")

    def ip(self, *arguments: str) -> str:
        return netns.ip("-n", self.namespace, *arguments)

    def macvtaps(self) -> list[tuple[str, str, str]]:
        """Lower device, mode and VIF of each."""
        links = json.loads(self.ip("-json", "-details", "link", "show", "type", "macvtap") or "[]")
        message = [link for link in links if link]
        return [
            (link["link"], link["linkinfo"]["info_data"]["mode"], link.get("ifalias", "").removeprefix("vifplug:"))
            for link in message
        ]

    def macs(self) -> dict[str, str]:
        return {link["ifname"]: link["address"] for link in json.loads(self.ip("-json", "link"))}


@pytest.fixture
def links(tmp_path: Path) -> Iterator[Links]:
    with contextlib.ExitStack() as stack:
        # All namespaces have one /dev, where a macvtap is called by its index. Those of these tests come one after the
        # other, and have indexes that no other test comes to.
        everybodys = os.open("/dev", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, everybodys)
        fcntl.flock(everybodys, fcntl.LOCK_EX)
        [name] = stack.enter_context(netns.named())
        stack.enter_context(netns.inside(name))
        spare = (f"link add a{number} group 7 type veth peer name b{number}\n" for number in range(500))
        (tmp_path / "spare").write_text("".join(spare))
        netns.ip("-batch", str(tmp_path / "spare"))
        netns.ip("link", "delete", "group", "7")
        yield Links(Site(tmp_path), name)


def dev_of(plugged: Plugged | Entry) -> str:
    found: str = plugged.actual.source.dev
    return found


@pytest.mark.slow
def test_eight_processes_and_many_deaths_on_links_of_this_kernel(links: Links) -> None:
    """The kernel itself has one macvtap in mode passthru on a device, and none beside it."""

    def watch(record: Store, signs: Signs) -> None:
        watch_the_record(record, signs)
        before, there, after = signs.seen(), links.macvtaps(), signs.seen()
        lowers = [lower for lower, _, _ in there]
        assert all(lowers.count(lower) == 1 for lower, mode, _ in there if mode == "passthru")
        on = {(lower, id) for lower, _, id in there}
        assert {sign[:2] for sign in before & after} <= on, "whoever has a device has his macvtap on it"

    links.make(*CROWDED_DEVICES)
    macs = links.macs()
    done = crowd(links.site, 5, watch, ours=True)
    print(dict(done))
    assert done["killed"] > 3 and min(done["p"], done["u"]) > 5
    assert links.macvtaps() == [] and links.macs() == macs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "ending"), [("passthrough", "plug"), ("vepa", "unplug"), ("passthrough", "others first")]
)
def test_a_plug_that_was_killed_at_any_moment_holds_one_device_until_it_is_ended(
    links: Links, mode: str, ending: str
) -> None:
    links.make("e0", "e1")
    macs, vif, other = links.macs(), *(network_vif(vif_id(number), "pool", ours=True) for number in (1, 2))
    links.site.define("pool", definition("pool", mode, [("e0", None), ("e1", None)]))
    moment = 0
    with links.site.driver() as driver:
        while killed_at(moment, links.site, lambda victim: victim.plug(vif)) == "killed":
            moment += 1
            begun = driver.list()
            assert [dev_of(each) for each in begun] in ([], ["e0"])
            if ending == "others first":
                assert dev_of(driver.plug(other)) == ("e1" if begun else "e0")
            if ending != "unplug":
                again = driver.plug(vif)
                assert dev_of(again) == "e0" or (not begun and ending == "others first")
                assert driver.check() == [] and (dev_of(again), vif.id) in {
                    (lower, id) for lower, _, id in links.macvtaps()
                }
            driver.unplug(vif.id)
            driver.unplug(other.id)
            assert driver.list() == [] and links.macvtaps() == [] and links.macs() == macs
        assert moment >= 15, "three transactions of several statements, and the steps"
        assert [dev_of(each) for each in driver.list()] == ["e0"], "the last one was not killed"


def test_devices_that_are_down_or_gone_or_made_anew(links: Links) -> None:
    links.make("e0", "e1", "e2")
    links.site.define("pool", definition("pool", "passthrough", [(name, None) for name in ("e0", "e1", "e2", "e3")]))
    vifs = [network_vif(vif_id(number), "pool", ours=True) for number in range(4)]
    links.ip("link", "set", "e0", "down")
    with links.site.driver() as driver:
        assert dev_of(driver.plug(vifs[0])) == "e1", "e0 is down"
        assert dev_of(driver.plug(vifs[1])) == "e2"
        message = rf"e0 is down; e1 is held by VIF {vifs[0].id}; e2 is held by VIF {vifs[1].id}; e3 is not on this host"
        with pytest.raises(errors.PoolExhausted, match=message):
            driver.plug(vifs[2])
        links.ip("link", "set", "e0", "up")
        assert dev_of(driver.plug(vifs[2])) == "e0"
    links.ip("link", "delete", "e1")
    links.make("e1", "e3")
    with links.site.driver() as driver:
        assert {each.path for each in driver.check(vifs[0].id)} >= {f"macvtap {vifs[0].device}"}
        assert dev_of(driver.plug(vifs[3])) == "e3", "e1 is still held, although it is another link now"
        assert dev_of(driver.plug(vifs[0])) == "e1" and driver.check() == []
        links.ip("link", "delete", "e1")
        with pytest.raises(errors.PoolExhausted, match="e1 is not on this host"):
            driver.plug(vifs[0])
        driver.unplug(vifs[2].id)
        assert dev_of(driver.plug(vifs[0])) == "e0" and driver.check() == []
        for vif in vifs:
            driver.unplug(vif.id)
        assert driver.list() == [] and links.macvtaps() == []
