"""All backends behind one interface: each resource goes to the backend of its kind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from vifplug.errors import BrokenPlugin
from vifplug.host.backend import Backend
from vifplug.model.codec import joined
from vifplug.plan.registry import Identity, Resource
from vifplug.plan.steps import Observed, Step

Progress = Callable[[int, int], None]


class Machine:
    """Backends by kind of resource. Each is made when the first resource of one of its kinds comes along, so that a
    plug that needs no Open vSwitch does not even import its library. Thread-safe, as its backends are.
    """

    def __init__(self, factories: Mapping[str, Callable[[], Backend]]) -> None:
        self._factories = dict(factories)
        self._made: dict[Callable[[], Backend], Backend] = {}
        self._making = threading.Lock()

    def observe(self, wanted: Iterable[Resource]) -> dict[Identity, Observed]:
        """Return the observed state of each desired identity; each backend is called once."""
        observed: dict[Identity, Observed] = {}
        for backend, resources in self._by_backend(wanted).items():
            observed |= backend.observe(resources)
        return observed

    def apply(self, steps: Sequence[Step], done: list[Step], progress: Progress | None = None) -> None:
        """Take the steps in order; neighbours of one backend that works in transactions go together."""
        for backend, some in self._runs(steps):
            backend.apply(some, done)
            if progress:
                progress(len(done), len(steps))

    def backend(self, kind: str) -> Backend:
        """The backend of a kind of resource. Raises BrokenPlugin when there is none."""
        if kind not in self._factories:
            known = joined(sorted(self._factories))
            raise BrokenPlugin(
                f"resources of kind {kind!r} have no backend; known are {known}: install the package that has it, or "
                "fix the plugin whose resources have this kind ('vifplug types' shows those that can't be used)"
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

    def _by_backend(self, wanted: Iterable[Resource]) -> dict[Backend, list[Resource]]:
        found: dict[Backend, list[Resource]] = {}
        for resource in wanted:
            found.setdefault(self.backend(resource.kind), []).append(resource)
        return found

    def _runs(self, steps: Sequence[Step]) -> Iterable[tuple[Backend, list[Step]]]:
        """Neighbouring steps of one backend together, where it applies them in one transaction; else each alone."""
        runs: list[tuple[Backend, list[Step]]] = []
        for step in steps:
            backend = self.backend(step.subject.kind)
            if runs and step.subject.batched and runs[-1][0] is backend:
                runs[-1][1].append(step)
            else:
                runs.append((backend, [step]))
        return runs
