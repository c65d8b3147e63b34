"""The plain data from which a picture of a host is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vifplug.model.vlan import Tag, Vlan


@dataclass(frozen=True, kw_only=True, slots=True)
class PortGroupView:
    """A portgroup of a named network; ``vlan`` is formatted for people, as everywhere here; empty for none."""

    name: str
    default: bool
    vlan: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkView:
    """A named network. ``devices`` are netdev names or PCI addresses; ``problem``: why it cannot be used.

    A network whose definition is invalid has no ``mode``.
    """

    name: str
    mode: str = ""
    bridge: str | None = None
    devices: tuple[str, ...] = ()
    vlan: str = ""
    portgroups: tuple[PortGroupView, ...] = ()
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PortView:
    """A port of a bridge. ``vif``: the id of the VIF whose port it is; None for an uplink or a foreign port.

    ``problem``: such as "is down".
    """

    name: str
    vlan: str
    vif: str | None
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class BridgeView:
    """A bridge. ``kind``: "Linux", "Open vSwitch", or empty for a bridge that does not exist."""

    name: str
    kind: str
    ports: tuple[PortView, ...]
    #: whether something leads out of it
    outward: bool = True
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceView:
    """A NIC or VF that VIFs share (at most ``limit``) or use exclusively; ``problem``: such as "is down"."""

    name: str
    problem: str
    limit: int | None
    holders: tuple[str, ...]
    exclusive: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class VifView:
    """A VIF, connected to ``bridge`` or ``dev``; ``guest`` is empty if it is unknown."""

    id: str
    device: str = ""
    type: str = ""
    mac: str = ""
    vlan: str = ""
    network: str | None = None
    portgroup: str | None = None
    bridge: str | None = None
    dev: str | None = None
    guest: str = ""
    #: the state in the record, or ``damaged``
    state: str
    #: what of it is missing on the host, or differs
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class HostView:
    """Everything that one picture shows. The order of its parts does not matter: the pictures sort by name."""

    name: str
    networks: tuple[NetworkView, ...]
    bridges: tuple[BridgeView, ...]
    devices: tuple[DeviceView, ...]
    vifs: tuple[VifView, ...]
    #: the devices below VIFs that do not exist on the host
    missing: frozenset[str] = frozenset()


def vlan_text(vlan: Vlan | None) -> str:
    """Return ``10``, ``trunk 10, 20-30`` or ``trunk 5 (native, untagged), 6-9``; empty for no VLAN."""
    if vlan is None:
        return ""
    if vlan.mode == "untagged":
        return "untagged"
    parts = ", ".join([*(_run(run) for run in _runs(vlan.tags)), *(["all"] if vlan.all else [])])
    if vlan.mode:
        inner = ", ".join(_run(run) for run in _runs(Tag(id=each) for each in vlan.cvlans))
        return f"tunnel {parts}" + (f" ({inner})" if inner else "")
    return f"trunk {parts}" if vlan.trunk else parts


def _runs(tags: Iterable[Tag]) -> Iterator[list[Tag]]:
    """Yield runs of consecutive tags by id; the native VLAN is a run of its own."""
    run: list[Tag] = []
    for tag in sorted(tags, key=lambda tag: tag.id):
        if run and (tag.native_mode or run[-1].native_mode or tag.id != run[-1].id + 1):
            yield run
            run = []
        run.append(tag)
    if run:
        yield run


def _run(run: list[Tag]) -> str:
    first, last = run[0], run[-1]
    if first.native_mode:
        return f"{first.id} (native, {first.native_mode})"
    return str(first.id) if first is last else f"{first.id}-{last.id}"
