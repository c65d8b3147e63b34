"""What verbs did, for Prometheus: in the registry that an agent serves, or in a file of node_exporter's.

prometheus_client is the extra ``metrics``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections import Counter as Counts
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from vifplug.driver.report import Report
from vifplug.store import locks

if TYPE_CHECKING:
    from vifplug.driver.records import StoredVif

_log = logging.getLogger(__name__)

#: seconds, from a stage without a change to one that waits for OVN's flows
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
#: how long the file may be locked by others, in seconds: metrics are not worth a longer wait
_PATIENCE = 2.0


class Metrics:
    """Metrics of the verbs of drivers: append it to `vifplug.driver.verbs.VIFDriver.observers`.

    Args:
        registry: where the metrics are registered; None: the default one of prometheus_client.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = prometheus_client.REGISTRY if registry is None else registry
        self._verbs = Counter("vifplug_verbs", "Calls of verbs", ("verb", "result"), registry=registry)
        self._stages = Histogram(
            "vifplug_stage_seconds", "Duration of a stage", ("verb", "stage"), buckets=_BUCKETS, registry=registry
        )
        self._lost = Counter(
            "vifplug_lost_connections", "Connections to Open vSwitch that ended by themselves", registry=registry
        )
        self._vifs = Gauge("vifplug_vifs", "Recorded VIFs", ("state",), registry=registry)
        self._differences = Gauge("vifplug_differences", "Differences that check reports", registry=registry)
        self._unrecorded = Gauge("vifplug_unrecorded", "VIFs with marks and without a record", registry=registry)

    def __call__(self, report: Report) -> None:
        """Count a verb that has ended, and its stages; the trace that it is part of is the exemplar."""
        self._verbs.labels(report.verb, report.result).inc()
        self._lost.inc(report.lost_connections)
        exemplar = {"trace_id": report.trace} if report.trace else None
        for stage, spent in report.stages.items():
            self._stages.labels(report.verb, stage).observe(spent / 1000, exemplar)

    def examined(self, records: Iterable[StoredVif], differences: int, unrecorded: int) -> None:
        """Set what `vifplug.driver.verbs.VIFDriver.status` has counted."""
        self._vifs.clear()
        for state, number in Counts(str(each.row.state) for each in records).items():
            self._vifs.labels(state).set(number)
        self._differences.set(differences)
        self._unrecorded.set(unrecorded)


class Textfile:
    """Adds what each verb did to a file of node_exporter's textfile collector, also from many short processes.

    A file that cannot be written fails no verb: it is logged.

    Args:
        path: the file; its name has to end with ``.prom``.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def __call__(self, report: Report) -> None:
        registry = CollectorRegistry()
        Metrics(registry)(report)
        self._add(registry, "counter", "histogram")

    def examined(self, records: Iterable[StoredVif], differences: int, unrecorded: int) -> None:
        """See `Metrics.examined`."""
        registry = CollectorRegistry()
        Metrics(registry).examined(records, differences, unrecorded)
        self._add(registry, "gauge")

    def _add(self, registry: CollectorRegistry, *types: str) -> None:
        try:
            with _locked(self._path.with_name(self._path.name + ".lock")):
                had = self._path.read_text() if self._path.exists() else ""
                text = prometheus_client.generate_latest(_Sum(had, registry, types))
                new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
                new.write_bytes(text)
                new.replace(self._path)
        except (OSError, ValueError) as error:
            _log.warning("metrics: %s cannot be written: %s", self._path, error)


class _Sum:
    """What a file has and what is new, as of a registry: counters are added, gauges replaced.

    ``types`` are those of which there is something new.
    """

    def __init__(self, text: str, registry: CollectorRegistry, types: Collection[str]) -> None:
        self._had = {family.name: family.samples for family in text_string_to_metric_families(text)}
        self._new, self._types = registry, types

    def collect(self) -> Iterator[Metric]:
        """Yield each family with its samples."""
        for family in self._new.collect():
            had = {_key(each): each for each in self._had.get(family.name, ())}
            new = {_key(each): each for each in family.samples if not each.name.endswith("_created")}
            if family.type not in self._types:
                new = had
            elif family.type != "gauge":
                more = {
                    key: each._replace(value=each.value + had[key].value) for key, each in new.items() if key in had
                }
                new = {**had, **new, **more}
            family.samples = list(new.values())
            yield family


def _key(sample: Sample) -> tuple[str, tuple[tuple[str, str], ...]]:
    return sample.name, tuple(sorted(sample.labels.items()))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a file against other threads and processes. Raises OSError if another keeps it locked."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if not locks.wait(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), time.monotonic() + _PATIENCE):
            raise BlockingIOError(errno.EAGAIN, "another process keeps it locked", str(path))
        yield
    finally:
        os.close(descriptor)
