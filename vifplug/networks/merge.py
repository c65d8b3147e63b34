"""Combines what a VIF, its network and its portgroup say of one thing (libvirt: virNetDevVPortProfileMerge3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from vifplug.errors import Problem
from vifplug.model.codec import joined
from vifplug.model.virtualport import PARAMETERS, VirtualPort

T = TypeVar("T")

#: who says it, such as ``portgroup engineering``, and what
Said = tuple[str, VirtualPort | None]


def first(*values: T | None) -> T | None:
    """The first that is given: what is said nearer to the guest counts."""
    return next((value for value in values if value is not None), None)


def virtualport(said: Sequence[Said]) -> tuple[VirtualPort | None, list[Problem]]:
    """The union of what is said, and every attribute that is said in two ways.

    None without a type: nobody names a switch that the parameters would be for. Parameters which the type does not
    take are dropped: a guest may carry those of any switch that it may meet.
    """
    given = [(place, port) for place, port in said if port]
    kind, problems = _agreed("type", [(place, port.type) for place, port in given])
    if kind is None or problems:
        return None, problems
    values: dict[str, object] = {"type": kind}
    for name in PARAMETERS[kind]:
        values[name], found = _agreed(name, [(place, getattr(port, name)) for place, port in given])
        problems += found
    return (None if problems else VirtualPort.from_data(values)), problems


def _agreed(name: str, said: Iterable[tuple[str, T | None]]) -> tuple[T | None, list[Problem]]:
    """What all who say something say; a problem that names them where they differ."""
    given = [(place, value) for place, value in said if value is not None]
    if len({value for _, value in given}) > 1:
        message = joined((f"{place} has {value}" for place, value in given), "and")
        return None, [
            Problem(f"$.virtualport.{name}", f"{message}: use the same value in all of them, or give it once")
        ]
    return (given[0][1] if given else None), []
