"""The content of a libvirt ``<interface>`` element, as a record. A VIF type fills it in; `write` formats it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from vifplug.errors import Problem
from vifplug.guest import capabilities
from vifplug.model import guestxml
from vifplug.model.bandwidth import Bandwidth
from vifplug.model.codec import FrozenMap, Model, model
from vifplug.model.guestxml import GuestElement
from vifplug.model.names import Alias, DeviceName, Mac, Mtu, NicModel, PciAddress, Word, between
from vifplug.model.nic import Driver, FilterRef
from vifplug.model.source import Reconnect
from vifplug.model.vif import VIF
from vifplug.model.virtualport import VirtualPort
from vifplug.model.vlan import Vlan

#: the fields that are the guest's own, wherever it is connected: a VIF and an Interface have them under the same names
GUEST_FIELDS = ("model", "driver", "filterref", "link_state", "mtu", "trust_guest_rx_filters", "boot_order", "alias")

#: names that fields of an Interface, and keys of a VIF document, have in libvirt's element, if they differ
_ELEMENTS = {
    "address": "<address> of <source>",
    "boot_order": "<boot>",
    "guest_xml": "",
    "isolated": "<port isolated>",
    "link_state": "<link>",
    "managed": "managed",
    "target": "<target dev>",
    "target_managed": "managed of <target>",
    "trust_guest_rx_filters": "trustGuestRxFilters",
    "type": "type",
}


def element_of(name: str) -> str:
    """Return the name that a field of an Interface, or a key of a VIF document, has in libvirt's element."""
    return _ELEMENTS.get(name, f"<{name}>")


def in_element(problem: Problem) -> str:
    """Return a problem of a VIF document in terms of the element that it was read from: ``<vlan> tags[0].id: ...``."""
    key, _, rest = problem.path.removeprefix("$").removeprefix(".").partition(".")
    place = f"{element_of(key)} {rest}".strip() if key else ""
    return f"{place}: {problem.message}" if place else problem.message


@model
class Interface(Model):
    """One ``<interface>`` of a guest. It holds only what libvirt takes when the guest is defined."""

    #: libvirt's type: bridge, network, direct, ethernet, vhostuser, hostdev or vdpa
    type: Word
    mac: Mac
    #: of a hostdev: libvirt detaches the function from its driver and reattaches it
    managed: bool | None = None
    #: the PCI function as it is, written as ``<hostdev>``: libvirt then knows no network about it
    whole: bool = False
    trust_guest_rx_filters: bool | None = None
    #: the attributes of ``<source>``; None leaves the element out
    source: FrozenMap[Word, Word] | None = None
    #: the PCI address in a hostdev's source
    address: PciAddress | None = None
    reconnect: Reconnect | None = None
    vlan: Vlan | None = None
    virtualport: VirtualPort | None = None
    bandwidth: Bandwidth | None = None
    #: ``<port isolated>``
    isolated: bool | None = None
    #: the name of the device on the host
    target: DeviceName | None = None
    #: whether libvirt makes and removes the target
    target_managed: bool | None = None
    model: NicModel | None = None
    driver: Driver | None = None
    filterref: FilterRef | None = None
    link_state: Literal["up", "down"] | None = None
    #: bytes
    mtu: Mtu | None = None
    boot_order: Annotated[int, between(1, 2**31 - 1)] | None = None
    alias: Alias | None = None
    #: child elements kept verbatim, in libvirt's order
    extra: tuple[GuestElement, ...] = ()

    def normal(self) -> Mapping[str, Any]:
        changes: dict[str, Any] = {}
        extra = self.extra
        if self.type == "hostdev" and self.model:  # no NIC of its own: the element is kept, and has no effect
            changes["model"], extra = None, (*extra, f"<model type='{self.model}'/>")
        if extra:
            changes["extra"] = guestxml.in_order(extra)
        if self.source is not None and not self.source:
            changes["source"] = None
        if self.driver is not None and not self.driver.to_data():
            changes["driver"] = None
        if self.managed is False:
            changes["managed"] = None
        return changes

    def rules(self) -> Iterator[Problem]:
        return capabilities.refused_at_define(self)

    @classmethod
    def of(cls, vif: VIF, type: str, source: Mapping[str, str] | None, **changes: Any) -> Interface:
        """Return the element of ``vif`` in one of libvirt's forms.

        VLAN, virtualport, bandwidth, an isolated port and target are the VIF type's business: it gives them in
        ``changes``. The guest's own fields (`GUEST_FIELDS`) and ``guest_xml`` are taken from ``vif``.

        Args:
            vif: the VIF whose element it is.
            type: libvirt's type of interface.
            source: the attributes of ``<source>``; None leaves the element out.
            changes: further fields of the Interface.

        Raises:
            InvalidDocument: libvirt refuses or drops something of it (`vifplug.guest.capabilities`).
        """
        own = {name: getattr(vif, name) for name in GUEST_FIELDS}
        isolated = False if vif.port and vif.port.isolated is False else None
        fields = {**own, "isolated": isolated, "extra": vif.guest_xml, **changes}
        return cls(type=type, mac=vif.mac, source=None if source is None else FrozenMap(source), **fields)
