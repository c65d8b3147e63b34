"""The record of a VIF, decoded: the one place that reads, and checks, what a row of the store says."""

from __future__ import annotations

import functools
import itertools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

from vifplug.errors import DamagedRecord, InvalidDocument, Missing, NotPlugged
from vifplug.model.codec import described, json_object
from vifplug.model.names import parse_uuid
from vifplug.model.vif import VIF, Instance
from vifplug.plan import registry, steps
from vifplug.plan.registry import Identity, Resource
from vifplug.plan.steps import Observation
from vifplug.store.store import Record, State, Store

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: resources come last: those of plugins may be missing
_PARTS = (
    *("state", "vif", "actual", "instance", "interface_xml", "changed_at"),
    *("claims", "shares", "originals", "resources"),
)
#: the end of the year 9999, in seconds since the epoch: the last that datetime can say
_LAST_SECOND = 253_402_300_799
#: a share of the VIFs that libvirt's hook plugged for a guest, before the guest's name; the hook's shell file knows it
HOOK = "hook of guest "
#: what the names of MACs begin with that VIFs claim or share; see `vifplug.driver.macs`
MAC = "MAC "
#: what a row that is as it was written is read for when it is compared with the host
_COMPARED = ("originals", "resources")
#: how many VIFs are checked at once: a decoded one takes 20 kB
PART = 250
#: an error quotes at most so many characters of what is wrong with a record
_QUOTED = 300


@dataclass(frozen=True)
class StoredVif:
    """What is recorded of one VIF. Each part is decoded, and checked, when it is first used.

    A part that cannot be read, or that belongs to another VIF, raises DamagedRecord; `problem` says so without raising.
    ``resources`` and ``originals`` raise Missing for a resource whose plugin is not installed.
    """

    #: the row of the store, in which any column may have any value
    row: Record = field(repr=False)
    #: the resource classes by kind, those of plugins included
    kinds: Mapping[str, type[Resource]] = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """The id of the VIF: a UUID, unless the row is damaged."""
        return self.row.vif_id

    @functools.cached_property
    def state(self) -> State:
        """``plugged``, or what was begun and not finished."""
        return self._read("state", lambda text: _one_of(get_args(State), text))

    @functools.cached_property
    def vif(self) -> VIF:
        """The VIF as it was requested."""
        return self.actual if self.row.asked == self.row.actual else self._read("asked", self._vif)

    @functools.cached_property
    def actual(self) -> VIF:
        """The VIF as it was resolved on this host."""
        return self._read("actual", self._vif)

    @functools.cached_property
    def instance(self) -> Instance | None:
        """The guest that the VIF belongs to."""
        return None if self.row.instance is None else self._read("instance", _instance)

    @functools.cached_property
    def interface_xml(self) -> str:
        """The element that the caller was given."""
        return self._read("interface_xml", _xml)

    @functools.cached_property
    def changed_at(self) -> float:
        """When the record was written, in seconds since the epoch."""
        return self._read("changed_at", _time, text=False)

    @functools.cached_property
    def resources(self) -> Sequence[Resource]:
        """What must hold on the host."""
        return self._read("wanted", self._resources)

    @functools.cached_property
    def originals(self) -> Mapping[Identity, Resource]:
        """What vifplug changed, as it was before the first change."""
        if self.row.originals == "[]":  # as most are
            return {}
        return {resource.identity: resource for resource in self._read("originals", self._resources)}

    @functools.cached_property
    def claims(self) -> tuple[str, ...]:
        """The names of what no other VIF may have at the same time."""
        return self._read("claims", _names, text=False)

    @functools.cached_property
    def shares(self) -> tuple[str, ...]:
        """The names of what other VIFs may have as well, unless one of them claims it."""
        return self._read("shares", _names, text=False)

    @property
    def marks(self) -> tuple[str, ...]:
        """The shares that say who plugged the VIF."""
        return tuple(each for each in self.shares if each.startswith(HOOK))

    @property
    def macs(self) -> tuple[str, ...]:
        """The claims and shares that name the VIF's MAC."""
        return tuple(each for each in (*self.claims, *self.shares) if each.startswith(MAC))

    @property
    def is_interrupted(self) -> bool:
        """Whether the change that wrote the record was not finished."""
        return self.state != "plugged"

    @property
    def is_adopted(self) -> bool:
        """Whether libvirt, or somebody else, made the VIF's port."""
        return bool(getattr(self.actual.source, "adopted", False))

    def is_of_network(self, name: str) -> bool:
        """Return whether the VIF requests the named network."""
        return self.vif.type == "network" and bool(self.vif.source.network == name)

    def is_of_guest(self, uuid: str | None) -> bool:
        """Return whether the VIF belongs to a guest, which may be damaged; None: to any guest, or to none."""
        guest = guest_of(self.row.instance) if uuid else None
        return uuid is None or (guest is not None and guest.uuid == uuid)

    @functools.cached_property
    def problem(self) -> str:
        """What is wrong with the record, and what to do, in one sentence; empty for a sound one.

        A plugin that is not installed is no damage.
        """
        try:
            self.validate()
        except (DamagedRecord, Missing) as error:
            return str(error) if isinstance(error, DamagedRecord) else ""
        return ""

    def comparable(self) -> StoredVif:
        """Decode what is compared with the host, of a row that is not surely what was written all; as `validate`."""
        return self.validate(*(_COMPARED if self.row.sound else ()))

    def validate(self, *parts: str) -> StoredVif:
        """Decode the named parts, or all of them, and return the record itself.

        Raises:
            DamagedRecord: a part cannot be read.
            Missing: the plugin of a resource is not installed.
        """
        if not parts:
            self._read("vif_id", _is_id, text=False)
        for part in parts or _PARTS:
            getattr(self, part)
        if self.row.sound is False:
            raise DamagedRecord(self.id, "its checksum is not that of what was written")
        return self

    def _read(self, column: str, read: Callable[[Any], T], *, text: bool = True) -> T:
        value = getattr(self.row, column)
        try:
            return read(_text(value) if text else value)
        except (ValueError, InvalidDocument, RecursionError) as error:
            raise DamagedRecord(self.id, f"column {column}: {str(error)[:_QUOTED]}") from error

    def _vif(self, text: str) -> VIF:
        vif = VIF.from_data(json_object(text, "VIF document"))
        if vif.id != self.id:
            raise ValueError(f"expected the document of this VIF, got that of VIF {vif.id}")
        return vif

    def _resources(self, text: str) -> tuple[Resource, ...]:
        found, owners = registry.from_json(text, self.kinds), ("", self.id)
        for resource in found:
            if resource.owner not in owners:
                raise ValueError(f"expected resources of this VIF, got {resource} of VIF {resource.owner!r}")
        return tuple(found)


class Records:
    """The records of a store, decoded with the resource classes ``kinds``."""

    def __init__(self, store: Store, kinds: Mapping[str, type[Resource]]) -> None:
        self.store = store
        self._kinds = kinds

    def get(self, vif_id: str, requested: VIF | None = None) -> StoredVif | None:
        """Return the record of one VIF; None if there is none.

        Args:
            requested: a VIF that is used as the recorded one, without decoding it, if its document is the same.
        """
        return self.some({vif_id: requested})[vif_id]

    def some(self, requested: Mapping[str, VIF | None]) -> dict[str, StoredVif | None]:
        """Return the same for several VIFs, by id, read together."""
        rows = self.store.some(list(requested))
        return {vif_id: self._stored(rows.get(vif_id), vif) for vif_id, vif in requested.items()}

    def _stored(self, row: Record | None, requested: VIF | None) -> StoredVif | None:
        stored = StoredVif(row, self._kinds) if row else None
        if stored and requested and stored.row.asked == requested.to_json():
            stored.__dict__["actual" if stored.row.actual == stored.row.asked else "vif"] = requested
        return stored

    def recorded(self, vif_id: str) -> StoredVif:
        """Return the record of one VIF. Raises NotPlugged if there is none."""
        stored = self.get(vif_id)
        if stored is None:
            raise NotPlugged(
                f"VIF {vif_id} is not plugged on this host; `vifplug list` shows the VIFs that are", vif_id=vif_id
            )
        return stored

    def all(self) -> list[StoredVif]:
        """Return all records, by id, damaged ones included."""
        return list(itertools.chain.from_iterable(self.parts()))

    def parts(self) -> Iterator[list[StoredVif]]:
        """Yield what `all` returns, in parts: a caller that keeps none of them takes the memory of one."""
        for rows in self.store.parts(PART):
            yield [StoredVif(row, self._kinds) for row in rows]


def valid_originals(stored: StoredVif, observed: Observation) -> Mapping[Identity, Resource]:
    """Return the recorded originals, without those of things of which there are others now, such as a replaced NIC."""
    gone = {each.identity for each in steps.void(stored.originals, observed)} if stored.originals else set()
    for each in stored.resources if gone else ():
        if each.identity in gone and steps.may_change(each):
            _log.warning("VIF %s: %s is another one than when the VIF was plugged: left as it is", stored.id, each)
    return {identity: each for identity, each in stored.originals.items() if identity not in gone}


def guest_name(instance: str | None) -> str:
    """Return what people call the guest of a recorded ``instance``; empty if there is no guest."""
    if instance is None:
        return ""
    guest = guest_of(instance)
    return (guest.name or guest.uuid) if guest else "a guest whose record is damaged"


def guest_of(instance: str | None) -> Instance | None:
    """Return the guest of a recorded ``instance``; None if there is none, or if it cannot be read."""
    try:
        return _instance(_text(instance))
    except (ValueError, InvalidDocument, RecursionError):
        return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {described(value)}")
    return value


def _xml(text: str) -> str:
    if not text.startswith("<") or "\0" in text:
        raise ValueError(f"expected an <interface> element, got {described(text)}")
    return text


def _instance(text: str) -> Instance:
    return Instance.from_data(json_object(text, "guest"))


def _is_id(value: object) -> None:
    if parse_uuid(_text(value)) != value:
        raise ValueError(f"expected a UUID, lower case with dashes, got {value!r}")


def _one_of(allowed: Sequence[T], value: object) -> T:
    for each in allowed:
        if each == value:
            return each
    raise ValueError(f"expected one of {', '.join(map(str, allowed))}, got {described(value)}")


def _time(value: object) -> float:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or not 0 <= value <= _LAST_SECOND:
        raise ValueError(f"expected seconds since the epoch, got {described(value)}")
    return float(value)


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, tuple) or not all(isinstance(each, str) and each.isprintable() for each in value):
        raise ValueError(f"expected a list of names, got {described(value)}")
    return value
