"""A third-party backend: whatever its code raises becomes an error that names its distribution."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

from vifplug.errors import BrokenPlugin, InvalidDocument, PluginFailed, Unsupported, VifplugError
from vifplug.host.backend import Backend
from vifplug.plan.registry import Identity, Resource
from vifplug.plan.steps import Observed, Step

_log = logging.getLogger(__name__)


class IsolatedBackend:
    """Wraps the backend of a plugin. ``whose`` names its distribution. Raises BrokenPlugin if ``make`` fails."""

    resources: ClassVar[tuple[type[Resource], ...]] = ()

    def __init__(self, make: Callable[[], Backend], whose: object) -> None:
        self._whose = whose
        with self._named(BrokenPlugin, "cannot be constructed"):
            self._backend = make()

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.backend.Backend.observe`."""
        failed = f"failed to observe {', '.join(map(str, desired))}"
        with self._named(BrokenPlugin, failed):
            seen = self._backend.observe(desired)
        if problem := _wrong_answer(desired, seen):
            raise BrokenPlugin(f"{self._whose} {failed}: {problem}", resource=str(self._whose))
        return seen

    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        """See `vifplug.host.backend.Backend.apply`. Raises PluginFailed for any other exception than a VifplugError."""
        with self._named(PluginFailed, f"failed to {'; '.join(map(str, steps))}"):
            self._backend.apply(steps, done)

    def close(self) -> None:
        """See `vifplug.host.backend.Backend.close`. A failure is logged, so that the others are closed as well."""
        try:
            with self._named(BrokenPlugin, "failed to close"):
                self._backend.close()
        except VifplugError as error:
            _log.warning("%s", error)

    @contextlib.contextmanager
    def _named(self, kind: type[VifplugError], failed: str) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:  # third-party code can raise anything
            if is_for_the_operator(error):
                raise
            package = str(self._whose) if kind is BrokenPlugin else None  # of a step, its subject says more
            raise kind(f"{self._whose} {failed}: {message(error)}", resource=package) from error


def is_for_the_operator(error: BaseException) -> bool:
    """Return whether a plugin raised an error on purpose; an InvalidDocument is a mistake in its own code."""
    return isinstance(error, VifplugError) and (
        isinstance(error, Unsupported) or not isinstance(error, InvalidDocument)
    )


def _wrong_answer(desired: Sequence[Resource], seen: object) -> str:
    """Return what is wrong with what a backend observed; empty if nothing is."""
    if not isinstance(seen, Mapping):
        return f"expected a dict of Observed by identity, got {seen!r}"
    if strange := sorted(set(seen) - {each.identity for each in desired}, key=str):
        return f"it observed an unrequested {strange[0]!r}"
    for identity, each in seen.items():
        if not isinstance(each, Observed):
            return f"expected Observed(resource=...) for {identity!r}, got {each!r}"
        if each.resource is not None and getattr(each.resource, "identity", None) != identity:
            return f"expected a resource under {identity!r}, got {each.resource!r}"
    return ""


def message(error: BaseException) -> str:
    """Return an exception of third-party code on one line."""
    if isinstance(error, InvalidDocument):
        return f"it created an invalid object: {error}"
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
