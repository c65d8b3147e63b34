"""What a verb says of itself: one line in the log when it ends, with the milliseconds of its stages."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from vifplug.errors import about
from vifplug.model.vif import Instance

_log = logging.getLogger("vifplug")

#: version, trace-id, parent-id and flags of a traceparent (W3C Trace Context, section 3.2)
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
#: more ids than that are counted in a line
_NAMED = 3


@dataclass(kw_only=True)
class Report:
    """One call of a verb. A third party's observer gets it when the verb has ended."""

    verb: str
    vif_ids: Sequence[str]
    guest: Instance | None = None
    #: milliseconds by stage (``lock``, ``resolve``, ``observe``, ``plan``, ``record``, ``apply``), in their order
    stages: dict[str, float] = field(default_factory=dict)
    #: how many steps were applied
    steps: int = 0
    #: how many connections to Open vSwitch were found ended, and made again
    lost_connections: int = 0
    #: what was raised
    error: BaseException | None = None
    #: the id of the trace that the caller is part of, 32 hexadecimal digits; empty if there is none
    trace: str = ""
    _begun: float = field(default_factory=time.perf_counter, init=False)
    _last: float = field(default=0.0, init=False)

    @property
    def milliseconds(self) -> float:
        """How long the verb took."""
        return (self._last - self._begun) * 1000

    @property
    def result(self) -> str:
        """``done``, ``nothing to do``, or the class of the error."""
        if self.error is not None:
            return type(self.error).__name__
        return "done" if self.steps else "nothing to do"

    def ends(self, stage: str) -> None:
        """Add the time since the last stage ended to this one."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + (now - (self._last or self._begun)) * 1000
        self._last = now

    def __str__(self) -> str:
        ids = ", ".join(self.vif_ids) if len(self.vif_ids) <= _NAMED else f"{len(self.vif_ids)} VIFs"
        guest = f" of {self.guest.described}" if self.guest else ""
        stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in self.stages.items())
        trace = f", trace {self.trace}" if self.trace else ""
        outcome = f"{self.result} ({self.error})" if self.error else self.result
        subject = f"{self.verb} {ids}".rstrip()
        return f"{subject}{guest}: {outcome}, {self.steps} steps, {self.milliseconds:.1f} ms ({stages}){trace}"


#: gets each report when its verb has ended
Observer = Callable[[Report], None]

_current: contextvars.ContextVar[Report | None] = contextvars.ContextVar("report", default=None)
_traceparent: contextvars.ContextVar[str] = contextvars.ContextVar("traceparent", default="")


@contextlib.contextmanager
def reported(verb: str, vif_ids: Sequence[str], observers: Iterable[Observer] = ()) -> Iterator[Report]:
    """Report what is done inside the ``with``, and say of an error which VIFs it is about."""
    report = Report(verb=verb, vif_ids=vif_ids, trace=_trace())
    token = _current.set(report)
    try:
        with about_all(vif_ids):
            yield report
    except BaseException as error:
        report.error = error
        raise
    finally:
        _current.reset(token)
        report.ends("rest")
        _log.info("%s", report)
        for observe in observers:
            observe(report)


def about_all(vif_ids: Sequence[str]) -> about:
    """Say of an error which VIFs the verb is about, and which one if it is one."""
    return about(vif_id=vif_ids[0] if len(vif_ids) == 1 else None, vif_ids=vif_ids)


def ends(stage: str) -> None:
    """Say that a stage of the verb that this thread does has ended."""
    if report := _current.get():
        report.ends(stage)


@contextlib.contextmanager
def traced(traceparent: str) -> Iterator[None]:
    """Make the verbs inside the ``with`` part of a trace, as TRACEPARENT in the environment does for all.

    Args:
        traceparent: as of W3C Trace Context; one that is not valid is left out, as section 3.2.2 asks.
    """
    token = _traceparent.set(traceparent)
    try:
        yield
    finally:
        _traceparent.reset(token)


def _trace() -> str:
    found = _TRACEPARENT.fullmatch(_traceparent.get() or os.environ.get("TRACEPARENT", ""))
    return found[1] if found else ""
