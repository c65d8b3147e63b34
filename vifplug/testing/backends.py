"""A test suite for your kind of resource and its backend. It needs pytest, and root.

::

    from acme_vif import Beacon, Beacons
    from vifplug.testing.backends import ResourceConformance

    class TestBeacon(ResourceConformance):
        backend = Beacons
        examples = (Beacon(name="beacon0", owner="5f6e7d8c-1111-4222-8333-444455556666", level=3),)
        changes = ({"level": 4},)

        def occupy(self, resource):
            ip("link", "add", resource.name, "type", "bridge")

Each test has its own network namespace; the machine is not touched. A failure is a sentence that says what to fix; the
laws themselves are in `vifplug.testing.backend_laws`.
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


def _law(law: Callable[[BackendBench, Resource], Iterator[str]]) -> Callable[[ResourceConformance, Resource], None]:
    """Return the test that a backend keeps a law for each example."""

    def test(self: ResourceConformance, example: Resource) -> None:
        with self._bench() as bench:
            hold(law(bench, example))

    return test


class ResourceConformance:
    """The base of your test class, one for each kind of resource, whose name must begin with Test.

    Set the attributes below.
    """

    #: the class of the backend, or another callable that returns one
    backend: ClassVar[Callable[[], Backend]]
    #: resources of the kind; every law is tested with each
    examples: ClassVar[Sequence[Resource]] = ()
    #: other values of fields; each is tried on each example
    changes: ClassVar[Sequence[Mapping[str, Any]]] = ()
    #: whether each test has a network namespace; False for a backend of something else
    private_network: ClassVar[bool] = True

    def prepare(self) -> None:
        """Create what the examples depend on. Override it if they depend on anything."""

    def occupy(self, resource: Resource) -> None:
        """Create an object of another owner under the resource's name. Override it."""
        pytest.fail("override `occupy`: create an object of another owner under the resource's name", pytrace=False)

    def look(self) -> object:
        """Return the part of the machine that the backend can change. Override it if that is not network links."""
        return re.sub(_PASSING, "", netns.ip("-oneline", "link"), flags=re.MULTILINE) if self.private_network else None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test for each example and each change."""
        for argument, values in (("example", self.examples), ("change", self.changes)):
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, values, ids=range(len(values)))

    def test_there_is_an_example(self) -> None:
        if not self.examples:
            pytest.fail("`examples`: give at least one resource, or nothing is tested", pytrace=False)

    test_it_is_looked_after = _law(backend_laws.looked_after)
    test_what_is_not_there_is_not_observed = _law(backend_laws.absent)
    test_what_was_applied_is_observed = _law(backend_laws.reached)
    test_observing_changes_nothing = _law(backend_laws.quiet)
    test_undo_brings_back_what_was = _law(backend_laws.undone)

    def test_a_change_is_reached_and_undone(self, example: Resource, change: Mapping[str, Any]) -> None:
        with self._bench() as bench:
            hold(backend_laws.changed(bench, example, change))

    test_what_is_removed_is_gone_and_can_be_removed_again = _law(backend_laws.removed)

    def test_what_is_not_ours_is_reported_and_left_alone(self, example: Resource) -> None:
        if example.ownership is Ownership.BORROWED:
            return
        with self._bench() as bench:
            self.occupy(example)
            hold(backend_laws.left_alone(bench, example))

    test_what_is_another_vifs_is_reported = _law(backend_laws.marked)
    test_a_setting_is_restored = _law(backend_laws.restored)
    test_it_can_be_used_after_it_was_closed = _law(backend_laws.reopened)

    @contextlib.contextmanager
    def _bench(self) -> Iterator[BackendBench]:
        with netns.entered() if self.private_network else contextlib.nullcontext():
            self.prepare()
            backend = type(self).backend()
            try:
                yield BackendBench(backend, self.look)
            finally:
                backend.close()
