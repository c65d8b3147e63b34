"""Backends that break a law each: the suite for backends fails, and the message says which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from tests.unit.sample import failure, failures
from vifplug.plan.registry import Identity, Ownership, Resource
from vifplug.plan.steps import Observed, Step
from vifplug.testing.backends import ResourceConformance
from vifplug.testing.memory import MemoryBackend

OWNER = "0a1b2c3d-1111-4222-8333-444455556666"


@dataclass(frozen=True, kw_only=True)
class Lamp(Resource):
    """Something that has a level."""

    kind = "lamp"
    level: int = 0


@dataclass(frozen=True, kw_only=True)
class Dimmer(Lamp):
    """Something that is there, and whose level is set."""

    kind = "dimmer"
    ownership = Ownership.BORROWED


class Lamps(MemoryBackend):
    """A backend without a mistake, which the others vary."""

    resources: ClassVar[tuple[type[Resource], ...]] = (Lamp, Dimmer)
    latest: ClassVar[Any] = None

    def __init__(self) -> None:
        super().__init__()
        Lamps.latest = self


class Blind(Lamps):
    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        return {}


class Imagining(Lamps):
    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        return {each.identity: Observed(resource=each) for each in desired}


class Lazy(Lamps):
    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        done += steps


class Forgetful(Lamps):
    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        super().apply(steps, [])


class Meddling(Lamps):
    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        self.place(Lamp(name=f"seen{len(self.there)}", owner=OWNER))
        return super().observe(desired)


class Clinging(Lamps):
    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        super().apply([step for step in steps if step.after], done)


class Fixed(Lamps):
    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        super().apply([step for step in steps if not (step.before and step.after)], done)


class Strict(Lamps):
    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        for step in steps:
            if step.after is None and step.subject.identity not in self.there:
                raise FileNotFoundError(step.subject.name)
        super().apply(steps, done)


class Greedy(Lamps):
    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        there = self.there
        return {each.identity: Observed(resource=each) for each in desired if each.identity in there}


class OneShot(Lamps):
    closed = False

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        return super().observe(desired)

    def close(self) -> None:
        self.closed = True


class Foreigner(Lamps):
    resources: ClassVar[tuple[type[Resource], ...]] = ()


class Future(Lamps):
    api_version = (1, 99)


def suite(cls: type[MemoryBackend], example: Resource) -> ResourceConformance:
    class Suite(ResourceConformance):
        private_network = False
        backend = cls
        examples = (example,)
        changes = ({"level": 4},)

        def look(self) -> object:
            return Lamps.latest.there

        def occupy(self, resource: Resource) -> None:
            Lamps.latest.place(resource, foreign="somebody else's lamp")

    return Suite()


LAMP = Lamp(name="lamp0", owner=OWNER, level=3)


def test_a_backend_without_a_mistake_passes() -> None:
    assert failures(suite(Lamps, LAMP)) == {}


@pytest.mark.parametrize(
    ("cls", "test", "says"),
    [
        (
            Blind,
            "what_was_applied_is_observed",
            "after apply it is not observed as desired: lamp lamp0: expected",
        ),
        (Imagining, "what_is_not_there_is_not_observed", "lamp lamp0 has not been made yet, but observe finds Lamp("),
        (Lazy, "what_was_applied_is_observed", "after apply it is not observed as desired"),
        (Forgetful, "what_was_applied_is_observed", "apply must append each step to `done`"),
        (Meddling, "observing_changes_nothing", "observing lamp lamp0 changes the machine: from "),
        (Clinging, "undo_brings_back_what_was", "after its undo lamp lamp0 is observed as Lamp("),
        (Fixed, "a_change_is_reached_and_undone", "after the change to {'level': 4} it is not observed as desired"),
        (Strict, "what_is_removed_is_gone_and_can_be_removed_again", "removing it again must succeed"),
        (Greedy, "what_is_not_ours_is_reported_and_left_alone", "observe takes it for vifplug's own"),
        (Greedy, "what_is_another_vifs_is_reported", f"lamp lamp0 belongs to VIF {OWNER}, but for VIF "),
        (OneShot, "it_can_be_used_after_it_was_closed", "observe raised ValueError: I/O operation on closed file"),
        (Foreigner, "it_is_looked_after", "Foreigner does not have Lamp in its `resources`"),
        (Future, "it_is_looked_after", "Future was written for plugin interface 1.99, and this vifplug has 1.0"),
    ],
)
def test_a_backend_that_breaks_a_law_is_told(cls: type[MemoryBackend], test: str, says: str) -> None:
    assert says in failure(suite(cls, LAMP), f"test_{test}")


DIMMER = Dimmer(name="dimmer0", owner=OWNER, level=3)


class Dimmers(Lamps):
    """What is set is there from the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.place(Dimmer(name="dimmer0", level=0))


class Stuck(Dimmers):
    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        super().apply([Step(each.before, each.after.replace(level=3)) for each in steps if each.after], done)


def test_a_setting_that_is_not_restored_is_reported() -> None:
    assert failures(suite(Dimmers, DIMMER)) == {}
    message = failure(suite(Stuck, DIMMER), "test_a_setting_is_restored")
    assert message == "dimmer dimmer0 is not restored: level: expected 0, got 3"


def test_a_suite_without_an_example_or_without_occupy_says_so() -> None:
    class Empty(ResourceConformance):
        private_network = False
        backend = Lamps

    with pytest.raises(pytest.fail.Exception, match="give at least one resource"):
        Empty().test_there_is_an_example()
    with pytest.raises(pytest.fail.Exception, match="override `occupy`"):
        Empty().test_what_is_not_ours_is_reported_and_left_alone(LAMP)
