"""The VIF: the document that everything begins with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from vifplug.errors import InvalidDocument, Problem
from vifplug.model.bandwidth import Bandwidth
from vifplug.model.codec import FrozenMap, Model, json_object
from vifplug.model.guestxml import GuestElement
from vifplug.model.names import Alias, Mac, Mtu, NicModel, Uuid, Word, between, default_target, parse_device
from vifplug.model.nic import VIRTIO, Driver, FilterRef, Port, VfSettings
from vifplug.model.source import SOURCES
from vifplug.model.virtualport import VirtualPort
from vifplug.model.vlan import Vlan

#: what ``target`` is before the id has been read: "give it the default name"
DEFAULT: Final = ""

#: types whose VIF has no network device of its own on the host
_WITHOUT_DEVICE = ("vhostuser", "hostdev")


#: stands for a source whose problems are told already
_WRONG: Final = object()


def _target(name: str) -> str:
    return name if name == DEFAULT else parse_device(name)


@dataclass(frozen=True, kw_only=True)
class Instance(Model):
    """The guest that a VIF belongs to."""

    uuid: Uuid
    name: Word | None = None
    project_id: Word | None = None


@dataclass(frozen=True, kw_only=True)
class VIF(Model):
    """A virtual interface: what a guest is to have, and how it is connected.

    ``source`` is the record of the VIF's type (vifplug.model.source); a third party's stays the mapping that was
    given until its type is loaded. ``target`` of None leaves the device's name to libvirt. ``guest_xml`` holds
    elements of the guest's ``<interface>`` that say nothing of the network (``<address>``, ``<rom>`` ...), verbatim.
    """

    id: Uuid
    type: Word
    mac: Mac
    target: Annotated[str, _target] | None = DEFAULT
    tap_owner: Literal["vifplug", "libvirt"] | None = None
    source: Any = FrozenMap()
    model: NicModel | None = None
    driver: Driver | None = None
    mtu: Mtu | None = None
    vlan: Vlan | None = None
    virtualport: VirtualPort | None = None
    bandwidth: Bandwidth | None = None
    filterref: FilterRef | None = None
    port: Port | None = None
    trust_guest_rx_filters: bool | None = None
    link_state: Literal["up", "down"] | None = None
    boot_order: Annotated[int, between(1, 2**31 - 1)] | None = None
    alias: Alias | None = None
    vf: VfSettings | None = None
    external_ids: FrozenMap[Word, Word] = FrozenMap()
    guest_xml: tuple[GuestElement, ...] = ()

    def __post_init__(self) -> None:
        source, problems = _source(self.type, self.source)
        object.__setattr__(self, "source", source)
        _all_at_once(problems, super().__post_init__)

    @classmethod
    def from_data(cls, data: object) -> Self:
        if not isinstance(data, Mapping):
            return super().from_data(data)
        source, problems = _source(data.get("type"), data.get("source", FrozenMap()))
        return _all_at_once(problems, lambda: super(VIF, cls).from_data({**data, "source": source}))

    @property
    def device(self) -> str:
        """The name of the device on the host."""
        return self.target or default_target(self.id)

    @property
    def queues(self) -> int:
        return (self.driver and self.driver.queues) or 1

    def normal(self) -> Mapping[str, Any]:
        changes: dict[str, Any] = {}
        if self.target == DEFAULT:
            changes["target"] = None if self.type in _WITHOUT_DEVICE else default_target(self.id)
        if self.virtualport and self.type != "network":  # there the network may still give the ids
            changes["virtualport"] = self.virtualport.completed(self.id)
        if self.type == "hostdev":
            changes["model"] = None  # the guest sees the function itself: nothing is emulated
        if self.driver == Driver():
            changes["driver"] = None
        elif self.driver and self.model is None and self.type not in _WITHOUT_DEVICE:
            changes["model"] = VIRTIO[0]
        return changes

    def rules(self) -> Iterator[Problem]:
        if self.target is None and self.tap_owner == "vifplug" and self.type not in _WITHOUT_DEVICE:
            yield Problem("$.target", "expected a device name: only libvirt can be left to choose one, got null")
        if self.virtualport and self.type != "network":
            yield from (problem.under("$.virtualport") for problem in self.virtualport.missing())
        yield from self._driver_rules()
        if self.bandwidth and self.bandwidth.inbound and self.bandwidth.inbound.floor and self.type != "network":
            yield Problem("$.bandwidth.inbound.floor", f"is for type network only, got on type {self.type}")

    def _driver_rules(self) -> Iterator[Problem]:
        """libvirt reads ``<driver>`` of virtio models only, and drops it silently elsewhere (9.0: domain_conf.c)."""
        if self.type in _WITHOUT_DEVICE or self.model in VIRTIO or not self.driver:
            return
        for name in self.driver.to_data():
            yield Problem(f"$.driver.{name}", f"needs a virtio model, got {self.model}")

    @classmethod
    def from_json(cls, document: str | bytes | Mapping[str, Any]) -> VIF:
        """The VIF of a JSON document, as text or as the object that it holds.

        Raises InvalidDocument with every problem and its path.
        """
        if isinstance(document, Mapping):
            return cls.from_data(document)
        return cls.from_data(json_object(document, "VIF document"))

    @classmethod
    def from_xml(cls, text: str | bytes, *, id: str | None = None) -> VIF:
        """The VIF of a libvirt ``<interface>`` element; see `vifplug.guest.read`."""
        from vifplug.guest import read

        return read.vif(text, vif_id=id)

    def to_json(self) -> str:
        """The document, from which `from_json` makes an equal VIF."""
        return json.dumps(self.to_data(), ensure_ascii=False)

    def to_data(self) -> dict[str, Any]:
        data = super().to_data()
        default = None if self.type in _WITHOUT_DEVICE else default_target(self.id)
        if self.target == default:
            del data["target"]
        return data


def _source(type_name: Any, source: Any) -> tuple[Any, list[Problem]]:
    """The source as its type's record, and what is wrong with it; frozen plain data for a third party's type."""
    cls = SOURCES.get(type_name) if isinstance(type_name, str) else None
    if cls is None or isinstance(source, cls) or source is _WRONG:
        return _frozen(source), []
    try:
        return cls.from_data(source), []
    except InvalidDocument as error:
        return _WRONG, [problem.under("$.source") for problem in error.problems]


T = TypeVar("T")


def _all_at_once(problems: list[Problem], make: Callable[[], T]) -> T:
    """What ``make`` makes; its problems and those known before, in one error."""
    try:
        made = make()
    except InvalidDocument as error:
        raise InvalidDocument(dict.fromkeys([*problems, *error.problems])) from None
    if problems:
        raise InvalidDocument(problems)
    return made


def _frozen(value: Any) -> Any:
    """Plain data that can't change, for a ``source`` whose type is not loaded yet."""
    if isinstance(value, Mapping):
        return FrozenMap({key: _frozen(each) for key, each in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(each) for each in value)
    return value
