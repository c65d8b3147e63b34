"""What backends that take one step at a time verify: the change, and not what moved beside it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vifplug import errors
from vifplug.host.stepwise import StepwiseBackend
from vifplug.plan.registry import Identity, Resource, VirtualFunction
from vifplug.plan.steps import Observed, Step

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"
FOUND = VirtualFunction(name="0000:81:02.3", owner=OWNER, pf="ens1", number=3, mac="02:00:00:00:00:01", vlan=11)


class OneFunction(StepwiseBackend):
    """One VF, whose MAC follows its own device; ``deaf`` to VLANs when the test says so."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.state, self.deaf = FOUND, deaf

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        return {FOUND.identity: Observed(resource=self.state)}

    def make(self, after: Resource) -> None:
        raise AssertionError

    def change(self, before: Resource, after: Resource) -> None:
        assert isinstance(after, VirtualFunction)
        self.state = self.state.replace(vlan=self.state.vlan if self.deaf else after.vlan)

    def remove(self, before: Resource) -> None:
        raise AssertionError


def test_what_moved_beside_a_change_does_not_fail_it() -> None:
    """A passthrough device that gets its MAC back takes the MAC that its PF knows along (seen on igb)."""
    backend, done = OneFunction(), list[Step]()
    backend.state = FOUND.replace(mac="02:00:00:00:00:02")
    backend.apply([Step(FOUND, FOUND.replace(vlan=0))], done)
    assert len(done) == 1 and backend.state.vlan == 0


def test_a_change_that_did_not_take_place_fails_and_is_put_back() -> None:
    backend, done = OneFunction(deaf=True), list[Step]()
    with pytest.raises(errors.StepFailed, match="vlan: expected 0, got 11"):
        backend.apply([Step(FOUND, FOUND.replace(vlan=0))], done)
    assert done == [] and backend.state == FOUND
