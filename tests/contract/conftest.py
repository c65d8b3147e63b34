"""The machines that the contract is tried on: memory, and this kernel in a network namespace of the test's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from vifplug.host.backend import Backend
from vifplug.host.host import Host
from vifplug.host.ovs.settings import OvsSettings
from vifplug.plan.preconditions import Preconditions
from vifplug.plan.registry import Resource
from vifplug.plan.steps import Observed, Step, steps_toward
from vifplug.testing import needs, netns
from vifplug.testing.memory import MemoryBackend
from vifplug.testing.ovs import PrivateOvs

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"
OTHER = "7e1b8d4c-02f6-4c0d-8f57-b2a9d3c4e522"


@dataclass
class BackendUnderTest:
    """A machine under test, and the few moves that every test makes."""

    backend: Backend | Host
    kernel: bool
    done: list[Step] = field(default_factory=list)

    def see(self, resource: Resource) -> Observed | None:
        return self.backend.observe([resource]).get(resource.identity)

    def plan(self, *wanted: Resource) -> list[Step]:
        return steps_toward(wanted, self.backend.observe(wanted))

    def check(self, *wanted: Resource) -> None:
        """Raise the first precondition that does not hold, as the engine does before it plans."""
        needs = Preconditions(wanted)
        observed = self.backend.observe([*needs.desired, *needs.required])
        for error in (*needs.unmet(observed), *needs.objections(observed)):
            raise error

    def apply(self, *steps: Step) -> None:
        self.backend.apply(steps, self.done)

    def reach(self, *wanted: Resource) -> list[Step]:
        """Plan and apply, resource by resource; the steps that were taken."""
        steps: list[Step] = []
        for resource in wanted:
            planned = self.plan(resource)
            self.apply(*planned)
            steps += planned
        return steps

    def undo(self, steps: Sequence[Step]) -> None:
        self.apply(*(step.undo() for step in reversed(steps)))


@pytest.fixture
def namespace() -> Iterator[None]:
    """The test runs in a fresh network namespace."""
    with netns.entered():
        yield


@pytest.fixture
def kernel(namespace: None) -> Iterator[BackendUnderTest]:
    needs.require("tun")
    backend = Host(OvsSettings())
    yield BackendUnderTest(backend, kernel=True)
    backend.close()


@pytest.fixture
def memory() -> BackendUnderTest:
    return BackendUnderTest(MemoryBackend(), kernel=False)


@pytest.fixture(params=["memory", "kernel"])
def bench(request: pytest.FixtureRequest) -> BackendUnderTest:
    chosen: BackendUnderTest = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture(scope="module")
def ovs() -> Iterator[PrivateOvs]:
    """An Open vSwitch with the bridges br0 and br1."""
    with PrivateOvs() as switch:
        for bridge in ("br0", "br1"):
            switch.ctl("add-br", bridge)
        yield switch


@pytest.fixture
def owner() -> str:
    return OWNER


@pytest.fixture
def other() -> str:
    return OTHER
