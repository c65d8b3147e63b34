"""VLANs of one port: an access VLAN, a trunk, a trunk with a native VLAN, none at all, or a tunnel (802.1ad, QinQ).

libvirt's schema accepts VLANs that no switch supports (two native tags, id 4095), so this module has its own rules.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from vifplug.errors import InvalidDocument, Problem
from vifplug.model.codec import Model, described, model
from vifplug.model.names import between

#: IEEE 802.1Q-2018 table 9-2: 0 means "no VLAN", 4095 is reserved
VlanId = Annotated[int, between(1, 4094)]

_MOST = 4094  # VLANs of one port: each once
_PART = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?([ut]?)")
_NATIVE: dict[str, str | None] = {"": None, "u": "untagged", "t": "tagged"}


@model
class Tag(Model):
    """One VLAN of a port."""

    #: 1 to 4094
    id: VlanId
    #: This is the native VLAN: untagged frames from the guest belong to it. Its frames reach the guest with a tag
    #: (``tagged``) or without one (``untagged``).
    native_mode: Literal["tagged", "untagged"] | None = None


@model
class Vlan(Model):
    """The VLANs of a port.

    Shorthands: ``1011`` is the access VLAN 1011; ``"101u,1011-1015"`` is a trunk of 101 and 1011 to 1015, where 101 is
    native and untagged (``t`` for native and tagged). ``"all"`` stands for all VLANs: ``"10u,all"`` is a trunk of all,
    where 10 is native. ``"untagged"`` is no VLAN at all: frames with a tag are dropped, in both directions.
    """

    #: the VLANs, each once; at least one, unless ``mode`` or ``all`` says more
    tags: tuple[Tag, ...] = ()
    #: None: True for several tags (as in libvirt)
    trunk: bool | None = None
    #: a trunk of all VLANs; of ``tags`` only the native one counts
    all: bool = False
    #: ``untagged``: frames have no tag; ``dot1q-tunnel``: the guest's frames, with or without a tag, get the tag as a
    #: second one outside (a service tag), and lose it on their way back
    mode: Literal["untagged", "dot1q-tunnel"] | None = None
    #: of a tunnel: the VLANs of the guest that pass; none given: all, and frames without a tag. Also as a string
    cvlans: tuple[VlanId, ...] = ()

    @property
    def native(self) -> Tag | None:
        """The native VLAN, or None."""
        return next((tag for tag in self.tags if tag.native_mode), None)

    @property
    def ids(self) -> tuple[int, ...]:
        """The VLAN ids, in the order of ``tags``."""
        return tuple(tag.id for tag in self.tags)

    @property
    def access(self) -> int | None:
        """The VLAN of an access port; None for every other kind of port."""
        return None if self.trunk or self.native or self.mode else self.tags[0].id

    @property
    def beyond_libvirt(self) -> str:
        """What of it libvirt's ``<vlan>`` has no words for, as part of a sentence; empty: nothing."""
        return "a trunk of all VLANs" if self.all else f"mode {self.mode}" if self.mode else ""

    def normal(self) -> Mapping[str, Any]:
        if self.all:
            return {"trunk": self.trunk is not False, "tags": tuple(tag for tag in self.tags if tag.native_mode)}
        trunk = len(self.tags) > 1 if self.trunk is None else self.trunk
        return {"trunk": trunk, "cvlans": tuple(sorted(set(self.cvlans)))}

    def rules(self) -> Iterator[Problem]:
        natives = [tag.id for tag in self.tags if tag.native_mode]
        if self.mode and (self.all or self.trunk or natives):
            yield Problem("$.mode", f"{self.mode} cannot be combined with a trunk or a native VLAN")
        if self.mode == "untagged" and self.tags:
            yield Problem("$.tags", "expected none with mode untagged")
        if self.mode == "dot1q-tunnel" and len(self.tags) != 1:
            yield Problem("$.tags", f"expected one tag with mode dot1q-tunnel, got {len(self.tags)}")
        if self.cvlans and self.mode != "dot1q-tunnel":
            yield Problem("$.cvlans", 'requires "mode": "dot1q-tunnel"')
        if self.all and not self.trunk:
            yield Problem("$.trunk", 'expected true with "all", got false')
        if not (self.tags or self.all or self.mode):
            yield Problem("$.tags", "expected at least one tag, got none")
        if len(natives) > 1:
            yield Problem("$.tags", f"expected at most one native VLAN, got {_listed(natives)}")
        if repeated := sorted(tag_id for tag_id, count in Counter(self.ids).items() if count > 1):
            yield Problem("$.tags", f"expected each VLAN once, got {_listed(repeated)} more than once")
        if self.trunk is False and len(self.tags) > 1:
            yield Problem("$.trunk", f"expected true for {len(self.tags)} tags, got false")

    @classmethod
    def from_data(cls, data: object) -> Self:
        if isinstance(data, Mapping) and isinstance(given := data.get("cvlans"), str):
            try:
                tags = _from_text(given)["tags"]
                if any("native_mode" in tag for tag in tags):
                    raise ValueError(f"expected VLANs such as '10,20-30', got {described(given)}")
            except ValueError as error:
                raise InvalidDocument([Problem("$.cvlans", str(error))]) from None
            data = {**data, "cvlans": [tag["id"] for tag in tags]}
        return super().from_data(data)

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"tags": [{"id": value}]}
        if value == "untagged":
            return {"mode": "untagged"}
        if isinstance(value, str):
            return _from_text(value)
        return None


def _from_text(text: str) -> Mapping[str, Any]:
    parts = [part.strip() for part in text.split(",", _MOST)]
    tags: list[dict[str, Any]] = []
    for part in (each for each in parts if each != "all"):
        tags += _tags(part)
        if len(tags) > _MOST:  # before the next part is expanded
            raise ValueError(f"expected each VLAN once, got more than {_MOST} VLANs")
    trunk = len(parts) > 1 or "-" in text or any("native_mode" in tag for tag in tags)
    return {"tags": tags, "trunk": True, "all": True} if "all" in parts else {"tags": tags, "trunk": trunk}


def _tags(part: str) -> list[dict[str, Any]]:
    match = _PART.fullmatch(part)
    if not match:
        expected = "expected VLANs such as 1011, '101u,1011-1015', '10u,all' or 'untagged'"
        raise ValueError(f"{expected}, got {described(part)}")
    first, last, mode = int(match[1]), int(match[2] or match[1]), _NATIVE[match[3]]
    if last < first:
        raise ValueError(f"expected the lower end of a range first, got {described(part)}")
    if match[2] and mode:
        raise ValueError(f"expected one native VLAN, got the range {described(part)}")
    if last > 4094:
        raise ValueError(f"{last} is not 1..4094")
    return [{"id": tag_id, **({"native_mode": mode} if mode else {})} for tag_id in range(first, last + 1)]


def _listed(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:10])) + (f" and {len(ids) - 10} others" if len(ids) > 10 else "")
