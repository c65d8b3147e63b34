"""Remove links without waiting for the kernel's RCU.

The kernel unlists a link and frees its name within the rtnl lock, in less than a millisecond, and answers RTM_DELLINK
some 15 ms later: it first releases the lock and waits until nothing can use the device any more (net/core/dev.c,
netdev_run_todo: rcu_barrier). It waits inside the send(2) of who asked. So a thread sends the request, and the caller
goes on once the link is gone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)

_GLANCE = 0.0003  # seconds between two looks whether the link is gone
_MOST = 16  # threads that wait; whoever comes then waits for the kernel
_PATIENCE = 1.0  # seconds that `Deletions.join` waits: a device that is still referred to is never released


class Deletions:
    """The requests that the kernel is still at work on. Thread-safe, also in a forked child, which has none."""

    def __init__(self) -> None:
        self._threads: set[_Deletion] = set()  # changed without a lock, which a fork could leave locked

    def run(self, send: Callable[[], None], exists: Callable[[], bool]) -> None:
        """Remove links: return when they are gone.

        Args:
            send: sends the request, and returns or raises when the kernel has answered.
            exists: returns whether a link that the request removes still exists.

        Raises:
            Exception: what ``send`` has raised before the links were gone.
        """
        thread = _Deletion(send, self._threads)
        try:
            self._start(thread)
            while not thread.ended.is_set() and exists():
                thread.ended.wait(_GLANCE)
        except BaseException:
            thread.ended.wait(_PATIENCE)  # who undoes this must find the link, or not; and not lose it afterwards
            raise
        thread.awaited = False
        if thread.error is not None:
            raise thread.error

    def join(self) -> None:
        """Wait until the kernel has answered all requests, as long as it usually takes."""
        for each in tuple(self._threads):
            if each.is_alive():  # neither the caller's own nor the parent's of this process
                each.join(_PATIENCE)

    def _start(self, thread: _Deletion) -> None:
        if sum(each.is_alive() for each in tuple(self._threads)) >= _MOST:
            thread.run()
            return
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending, or the process may have no more threads
            thread.run()


class _Deletion(threading.Thread):
    """A request on its way. It has the network namespace and the capabilities of who starts it (clone(2)).

    It is no daemon: the end of the interpreter waits for it, as the end of the process would.
    """

    def __init__(self, send: Callable[[], None], running: set[_Deletion]) -> None:
        super().__init__(name="vifplug: remove links")
        self._send, self._running = send, running
        #: whether somebody takes ``error``, which is what was raised
        self.awaited = True
        self.error: Exception | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        self._running.add(self)
        try:
            self._send()
        except Exception as error:  # noqa: BLE001 - it is the caller's
            self.error = error
            if not self.awaited:
                _log.warning("links that are gone: the kernel's answer: %s", error)
        finally:
            self.ended.set()
            self._running.discard(self)
