"""VLANs of one port: an access VLAN, a trunk, or a trunk with a native VLAN.

libvirt's schema accepts VLANs that no switch supports (two native tags, id 4095), so this module has its own rules.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from vifplug.errors import Problem
from vifplug.model.codec import Model, described
from vifplug.model.names import between

#: IEEE 802.1Q-2018 table 9-2: 0 means "no VLAN", 4095 is reserved
VlanId = Annotated[int, between(1, 4094)]

_MOST = 4094  # VLANs of one port: each once
_PART = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?([ut]?)")
_NATIVE: dict[str, str | None] = {"": None, "u": "untagged", "t": "tagged"}


@dataclass(frozen=True, kw_only=True)
class Tag(Model):
    """One VLAN of a port."""

    #: 1 to 4094
    id: VlanId
    #: This is the native VLAN: untagged frames from the guest belong to it. Its frames reach the guest with a tag
    #: (``tagged``) or without one (``untagged``).
    native_mode: Literal["tagged", "untagged"] | None = None


@dataclass(frozen=True, kw_only=True)
class Vlan(Model):
    """The VLANs of a port.

    Shorthands: ``1011`` is the access VLAN 1011; ``"101u,1011-1015"`` is a trunk of 101 and 1011 to 1015, where 101 is
    native and untagged (``t`` for native and tagged).
    """

    #: the VLANs, each once; at least one
    tags: tuple[Tag, ...]
    #: None: True for several tags (as in libvirt)
    trunk: bool | None = None

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
        """The VLAN of an access port; None for a trunk and for a port with a native VLAN."""
        return None if self.trunk or self.native else self.tags[0].id

    def normal(self) -> Mapping[str, Any]:
        return {"trunk": len(self.tags) > 1 if self.trunk is None else self.trunk}

    def rules(self) -> Iterator[Problem]:
        natives = [tag.id for tag in self.tags if tag.native_mode]
        if not self.tags:
            yield Problem("$.tags", "expected at least one tag, got none")
        if len(natives) > 1:
            yield Problem("$.tags", f"expected at most one native VLAN, got {_listed(natives)}")
        if repeated := sorted(tag_id for tag_id, count in Counter(self.ids).items() if count > 1):
            yield Problem("$.tags", f"expected each VLAN once, got {_listed(repeated)} more than once")
        if self.trunk is False and len(self.tags) > 1:
            yield Problem("$.trunk", f"expected true for {len(self.tags)} tags, got false")

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"tags": [{"id": value}]}
        if isinstance(value, str):
            return _from_text(value)
        return None


def _from_text(text: str) -> Mapping[str, Any]:
    parts = [part.strip() for part in text.split(",", _MOST)]
    tags: list[dict[str, Any]] = []
    for part in parts:
        tags += _tags(part)
        if len(tags) > _MOST:  # before the next part is expanded
            raise ValueError(f"expected each VLAN once, got more than {_MOST} VLANs")
    trunk = len(parts) > 1 or "-" in text or any("native_mode" in tag for tag in tags)
    return {"tags": tags, "trunk": trunk}


def _tags(part: str) -> list[dict[str, Any]]:
    match = _PART.fullmatch(part)
    if not match:
        raise ValueError(f"expected VLANs such as 1011 or '101u,1011-1015', got {described(part)}")
    first, last, mode = int(match[1]), int(match[2] or match[1]), _NATIVE[match[3]]
    if last < first:
        raise ValueError(f"expected the lower end of a range first, got {part!r}")
    if match[2] and mode:
        raise ValueError(f"expected one native VLAN, got the range {part!r}")
    if last > 4094:
        raise ValueError(f"{last} is not 1..4094")
    return [{"id": tag_id, **({"native_mode": mode} if mode else {})} for tag_id in range(first, last + 1)]


def _listed(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:10])) + (f" and {len(ids) - 10} others" if len(ids) > 10 else "")
