"""What a libvirt ``<interface>`` element says, as a record. A VIF type fills it in; `write` spells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from vifplug.errors import Problem
from vifplug.guest import rules
from vifplug.model.bandwidth import Bandwidth
from vifplug.model.codec import FrozenMap, Model
from vifplug.model.guestxml import GuestElement
from vifplug.model.names import Alias, DeviceName, Mac, Mtu, NicModel, PciAddress, Word, between
from vifplug.model.nic import Driver, FilterRef, Port
from vifplug.model.source import Reconnect
from vifplug.model.vif import VIF
from vifplug.model.virtualport import VirtualPort
from vifplug.model.vlan import Vlan


@dataclass(frozen=True, kw_only=True)
class Interface(Model):
    """One ``<interface>``. ``source`` holds the attributes of ``<source>``; None leaves the element out.

    ``address`` is the PCI address in a hostdev's source. ``extra`` are child elements kept verbatim. ``whole``: the
    PCI function as it is, written as ``<hostdev>``: libvirt then knows no network about it.
    """

    type: Word
    mac: Mac
    managed: bool | None = None
    whole: bool = False
    trust_guest_rx_filters: bool | None = None
    source: FrozenMap[Word, Word] | None = None
    address: PciAddress | None = None
    reconnect: Reconnect | None = None
    vlan: Vlan | None = None
    virtualport: VirtualPort | None = None
    bandwidth: Bandwidth | None = None
    isolated: bool | None = None
    target: DeviceName | None = None
    target_managed: bool | None = None
    model: NicModel | None = None
    driver: Driver | None = None
    filterref: FilterRef | None = None
    link_state: Literal["up", "down"] | None = None
    mtu: Mtu | None = None
    boot_order: Annotated[int, between(1, 2**31 - 1)] | None = None
    alias: Alias | None = None
    extra: tuple[GuestElement, ...] = ()

    def normal(self) -> Mapping[str, Any]:
        return rules.normal(self)

    def rules(self) -> Iterator[Problem]:
        return rules.refusals(self)

    @classmethod
    def of(cls, vif: VIF, type: str, source: Mapping[str, str] | None, **changes: Any) -> Interface:
        """The element of ``vif`` in libvirt's form ``type``: what is the guest's own, and ``changes`` for the rest.

        VLAN, virtualport, bandwidth, an isolated port and target are the type's business: it says so in ``changes``.
        """
        return cls(
            type=type,
            mac=vif.mac,
            source=None if source is None else FrozenMap(source),
            **{
                "trust_guest_rx_filters": vif.trust_guest_rx_filters,
                "model": vif.model,
                "driver": vif.driver,
                "filterref": vif.filterref,
                "link_state": vif.link_state,
                "mtu": vif.mtu,
                "isolated": False if vif.port == Port(isolated=False) else None,
                "boot_order": vif.boot_order,
                "alias": vif.alias,
                "extra": vif.guest_xml,
                **changes,
            },
        )
