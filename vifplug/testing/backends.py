"""A test suite for a kind of resource of your own and its backend. It needs pytest, and root.

::

    from acme_vif import Beacon, Beacons
    from vifplug.testing.backends import ResourceConformance

    class TestBeacon(ResourceConformance):
        backend = Beacons
        examples = (Beacon(name="beacon0", owner="5f6e7d8c-1111-4222-8333-444455556666", level=3),)
        changes = ({"level": 4},)

        def occupy(self, resource):
            ip("link", "add", resource.name, "type", "bridge")

Each test has a network namespace of its own; nothing of the machine is touched. A failure is a sentence that says what
to mend; the laws themselves are in `vifplug.testing.backend_laws`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from vifplug.host.backend import Backend
from vifplug.plan.registry import Ownership, Resource
from vifplug.testing import backend_laws, netns
from vifplug.testing.backend_laws import BackendBench
from vifplug.testing.conformance import hold

#: what the kernel settles a moment later, and the MACs that it makes up
_PASSING = r"(\b[0-9a-f]{2}:){5}[0-9a-f]{2}\b|<[^>]*>| state \S+|^\d+: "


class ResourceConformance:
    """Inherit from it in a class whose name begins with Test, one for each kind of resource, and say what to test.

    ``changes`` are fields that may get other values; each is tried on each example. ``private_network`` of False
    leaves out the network namespace, for a backend of something else.
    """

    backend: ClassVar[Callable[[], Backend]]
    examples: ClassVar[Sequence[Resource]] = ()
    changes: ClassVar[Sequence[Mapping[str, Any]]] = ()
    private_network: ClassVar[bool] = True

    def prepare(self) -> None:
        """Override it to make what has to be there before the examples can be made."""

    def occupy(self, resource: Resource) -> None:
        """Override it to put something there under the resource's name that is not vifplug's."""
        pytest.fail("override `occupy`: make something under the resource's name that is not vifplug's", pytrace=False)

    def look(self) -> object:
        """The machine, as far as the backend can change it. Override it where that is not network links."""
        return re.sub(_PASSING, "", netns.ip("-oneline", "link"), flags=re.MULTILINE) if self.private_network else None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """A test for each example, and for each change."""
        for argument, values in (("example", self.examples), ("change", self.changes)):
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, values, ids=range(len(values)))

    def test_there_is_an_example(self) -> None:
        if not self.examples:
            pytest.fail("give at least one resource in `examples`: without one nothing is tested", pytrace=False)

    def test_it_is_looked_after(self, example: Resource) -> None:
        self._keeps(backend_laws.looked_after, example)

    def test_what_is_not_there_is_not_observed(self, example: Resource) -> None:
        self._keeps(backend_laws.absent, example)

    def test_what_was_applied_is_observed(self, example: Resource) -> None:
        self._keeps(backend_laws.reached, example)

    def test_observing_changes_nothing(self, example: Resource) -> None:
        self._keeps(backend_laws.quiet, example)

    def test_undo_brings_back_what_was(self, example: Resource) -> None:
        self._keeps(backend_laws.undone, example)

    def test_a_change_is_reached_and_undone(self, example: Resource, change: Mapping[str, Any]) -> None:
        self._keeps(lambda bench, resource: backend_laws.changed(bench, resource, change), example)

    def test_what_is_removed_is_gone_and_can_be_removed_again(self, example: Resource) -> None:
        self._keeps(backend_laws.removed, example)

    def test_what_is_not_ours_is_told_and_left_alone(self, example: Resource) -> None:
        if example.ownership is Ownership.BORROWED:
            return
        with self._bench() as bench:
            self.occupy(example)
            hold(backend_laws.left_alone(bench, example))

    def test_what_is_another_vifs_is_told(self, example: Resource) -> None:
        self._keeps(backend_laws.marked, example)

    def test_a_setting_is_put_back(self, example: Resource) -> None:
        self._keeps(backend_laws.put_back, example)

    def test_it_can_be_used_after_it_was_closed(self, example: Resource) -> None:
        self._keeps(backend_laws.reopened, example)

    def _keeps(self, law: Callable[[BackendBench, Resource], Iterator[str]], example: Resource) -> None:
        with self._bench() as bench:
            hold(law(bench, example))

    @contextlib.contextmanager
    def _bench(self) -> Iterator[BackendBench]:
        with netns.entered() if self.private_network else contextlib.nullcontext():
            self.prepare()
            backend = type(self).backend()
            try:
                yield BackendBench(backend, self.look)
            finally:
                backend.close()
