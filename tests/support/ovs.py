"""What the tests of Open vSwitch share: a private switch, a backend on it, and words for what is looked at."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vifplug.host.ovs.backend import OvsBackend
from vifplug.host.ovs.settings import OvsSettings
from vifplug.plan.registry import OvsPort, Resource
from vifplug.plan.steps import Step, removal, steps_toward
from vifplug.testing.ovs import PrivateOvs


def new_id() -> str:
    """A VIF's id that no other test has."""
    return str(uuid.uuid4())


def no_qdisc(device: str) -> str | None:
    """A kernel that tells nothing about qdiscs."""
    return None


@contextmanager
def backend(ovs: PrivateOvs, **settings: Any) -> Iterator[OvsBackend]:
    made = OvsBackend(OvsSettings(**{"connection": ovs.connection, "timeout": 5.0, **settings}), no_qdisc)
    try:
        yield made
    finally:
        made.close()


def port(name: str = "", **fields: Any) -> OvsPort:
    """A port of a new VIF on br0."""
    owner = fields.pop("owner", new_id())
    return OvsPort(name=name or f"p{owner[:8]}", owner=owner, **{"bridge": "br0", **fields})


def reach(door: OvsBackend, *wanted: Resource) -> list[Step]:
    """Observe, plan and apply; the steps that were taken."""
    steps = steps_toward(wanted, door.observe(wanted))
    done: list[Step] = []
    door.apply(steps, done)
    assert done == steps
    return steps


def undo(door: OvsBackend, steps: Sequence[Step]) -> None:
    door.apply([step.undo() for step in reversed(steps)], [])


def unplug(door: OvsBackend, *wanted: Resource) -> list[Step]:
    steps = removal(wanted, door.observe(wanted), {})
    door.apply(steps, [])
    return steps


def found(door: OvsBackend, wanted: Resource) -> Any:
    """The resource as it is there, or None."""
    seen = door.observe([wanted]).get(wanted.identity)
    return seen.resource if seen else None


def rows(ovs: PrivateOvs) -> dict[str, int]:
    """How many rows each table has that plugging writes to."""
    tables = ("Bridge", "Port", "Interface", "QoS", "Queue")
    return {table: len(ovs.ctl("--columns=_uuid", "--format=csv", "--no-headings", "list", table).split())
            for table in tables}  # fmt: skip
