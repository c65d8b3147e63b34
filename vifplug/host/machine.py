"""A machine: each resource goes to the backend of its kind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from vifplug.errors import BrokenPlugin
from vifplug.host.backend import Backend
from vifplug.plan.registry import Identity, Resource
from vifplug.plan.steps import Observed, Step

Progress = Callable[[int, int], None]


class Machine:
    """Backends by kind of resource. Thread-safe, as its backends are.

    A backend is made when the first resource of one of its kinds is observed or applied, so that a plug that needs no
    Open vSwitch does not import its library.
    """

    def __init__(self, factories: Mapping[str, Callable[[], Backend]]) -> None:
        self._factories = dict(factories)
        self._made: dict[Callable[[], Backend], Backend] = {}
        self._making = threading.RLock()  # making one backend may need another

    def observe(self, resources: Iterable[Resource]) -> dict[Identity, Observed]:
        """Return what the machine has under the identity of each resource. Each backend is called once."""
        observed: dict[Identity, Observed] = {}
        for backend, some in self._by_backend(resources).items():
            observed |= backend.observe(some)
        return observed

    def apply(self, steps: Sequence[Step], done: list[Step], progress: Progress | None = None) -> None:
        """Take the steps in order; consecutive steps of a transactional backend are taken together.

        Args:
            steps: the steps to take.
            done: gets each step that was taken.
            progress: is called with the number of steps that are taken, and the number of all steps.
        """
        for backend, some in self._runs(steps):
            backend.apply(some, done)
            if progress:
                progress(len(done), len(steps))

    def backend(self, kind: str) -> Backend:
        """Return the backend of a kind of resource. Raises BrokenPlugin if it does not exist."""
        if kind not in self._factories:
            known = ", ".join(sorted(self._factories))
            raise BrokenPlugin(
                f"resource kind {kind!r} has no backend (expected one of: {known}): install the package that provides "
                "it, or fix the plugin that uses this kind (`vifplug types` shows the plugins that cannot be used)"
            )
        factory = self._factories[kind]
        with self._making:
            if factory not in self._made:
                self._made[factory] = factory()
            return self._made[factory]

    def close(self) -> None:
        """Close every backend that was made."""
        for backend in self._made.values():
            backend.close()

    def _by_backend(self, resources: Iterable[Resource]) -> dict[Backend, list[Resource]]:
        found: dict[Backend, list[Resource]] = {}
        for resource in resources:
            found.setdefault(self.backend(resource.kind), []).append(resource)
        return found

    def _runs(self, steps: Sequence[Step]) -> Iterable[tuple[Backend, list[Step]]]:
        """Group consecutive steps of a transactional backend; each other step is a group of its own."""
        runs: list[tuple[Backend, list[Step]]] = []
        for step in steps:
            backend = self.backend(step.subject.kind)
            if runs and step.subject.batched and runs[-1][0] is backend:
                runs[-1][1].append(step)
            else:
                runs.append((backend, [step]))
        return runs
