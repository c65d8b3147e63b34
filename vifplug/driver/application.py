"""Takes steps, so that what several VIFs share goes with its last user."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from vifplug.errors import VifplugError
from vifplug.plan.steps import Step
from vifplug.store.store import Store

if TYPE_CHECKING:
    from vifplug.host.host import Host, Progress


class Application:
    """Takes steps on a host. Thread-safe."""

    def __init__(self, host: Host, store: Store) -> None:
        self._host, self._store = host, store

    def take(
        self,
        taken: Sequence[Step],
        done: list[Step],
        progress: Progress | None = None,
        *,
        leaving: Collection[str] = (),
    ) -> None:
        """Take the steps. What other VIFs may have begun to use is removed last, and only while none is recorded.

        A plug records what it shares before it observes; in a transaction of the store, either it is seen here, or it
        observes what is removed here as missing.

        Args:
            taken: the steps.
            done: gets each step that was taken.
            progress: see `vifplug.host.host.Host.apply`.
            leaving: the VIFs that are unplugged together, which do not keep one another's.
        """
        shared = [step for step in taken if step.after is None and step.subject.shares]
        self._host.apply([step for step in taken if step not in shared], done, progress)
        for step in shared:
            with self._store.transaction() as transaction:
                names, gone = step.subject.shares, {step.subject.owner, *leaving}
                others = {each.name for each in transaction.holdings(names) if each.vif_id not in gone}
                left = step.subject.left_to(others)
                self._host.apply([step if left == step.subject else Step(left, None)], [])
            done.append(step)

    def attempt(self, taken: Iterable[Step], *, leaving: Collection[str] = ()) -> list[str]:
        """Take each step, whether or not others fail; return a phrase for each that failed."""
        left = []
        for step in taken:
            try:
                self.take([step], [], leaving=leaving)
            except VifplugError as error:
                left.append(f"{step} ({error})")
        return left
