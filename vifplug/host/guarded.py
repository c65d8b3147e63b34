"""A third party's backend behind the door: whatever its code raises becomes an error that says whose it is."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from vifplug.errors import BrokenPlugin, PluginFailed, VifplugError
from vifplug.host.door import Backend
from vifplug.plan.resources import Identity, Resource
from vifplug.plan.steps import Observed, Step

_log = logging.getLogger(__name__)


class Guarded:
    """``make`` gives the backend; ``whose`` names its distribution. Raises BrokenPlugin when ``make`` fails."""

    resources: ClassVar[tuple[type[Resource], ...]] = ()

    def __init__(self, make: Callable[[], Backend], whose: object) -> None:
        self._whose = whose
        with self._named(BrokenPlugin, "can't be constructed"):
            self._backend = make()

    def observe(self, wanted: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.door.Backend.observe`."""
        with self._named(BrokenPlugin, f"failed to observe {', '.join(map(str, wanted))}"):
            return self._backend.observe(wanted)

    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        """See `vifplug.host.door.Backend.apply`. Raises PluginFailed for what is no VifplugError."""
        with self._named(PluginFailed, f"failed to {'; '.join(map(str, steps))}"):
            self._backend.apply(steps, done)

    def close(self) -> None:
        """See `vifplug.host.door.Backend.close`. A failure is logged: the others have to be closed as well."""
        try:
            with self._named(BrokenPlugin, "failed to close"):
                self._backend.close()
        except VifplugError as error:
            _log.warning("%s", error)

    @contextlib.contextmanager
    def _named(self, kind: type[VifplugError], failed: str) -> Iterator[None]:
        try:
            yield
        except VifplugError:
            raise
        except Exception as error:  # a third party's code can raise anything
            raise kind(f"{self._whose} {failed}: {told(error)}") from error


def told(error: BaseException) -> str:
    """An exception of somebody else's code, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
