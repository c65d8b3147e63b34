"""Format an ``<interface>`` or ``<hostdev>`` as libvirt does: its order, single quotes, two spaces for each level.

It formats strings without an XML library, in a few microseconds. Every value comes from a validated record and only
has to be escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug.guest.interface import Interface
from vifplug.model.bandwidth import Bandwidth, Limit
from vifplug.model.guestxml import quoted, tag
from vifplug.model.nic import GUEST_OFFLOADS, HOST_OFFLOADS, Driver, FilterRef
from vifplug.model.virtualport import VirtualPort
from vifplug.model.vlan import Vlan

#: for each element of the model, the verbatim elements that libvirt prints after it (9.0: virDomainNetDefFormat)
_PLACES = (
    ("mac", ("source",)),
    ("port", ("ip", "route", "portForward", "script", "downscript", "backenddomain")),
    ("target", ("guest", "model")),
    ("driver", ("backend",)),
    ("filterref", ("tune", "teaming")),
    ("mtu", ("coalesce",)),
    ("boot", ("boot",)),
    ("alias", ("rom", "acpi", "address")),
)
_PLACE = {name: place for place, names in _PLACES for name in names}
_NOTHING = {place: "" for place, _ in _PLACES}

#: the attributes of ``<driver>`` in libvirt's order (virDomainVirtioNetDriverFormat)
_DRIVER = (
    *("name", "model", "txmode", "ioeventfd", "event_idx", "queues", "rx_queue_size", "tx_queue_size"),
    *("rss", "rss_hash_report", "iommu", "ats", "packed", "page_per_vq"),
)


def element(interface: Interface) -> str:
    """Return the element as a string, without a newline at its end."""
    if interface.whole:
        return _whole(interface)
    extra = _extra(interface.extra) if interface.extra else _NOTHING
    driver = _driver(interface.driver) if interface.driver else ""
    hostdev = interface.type == "hostdev"
    return (
        f"<interface type='{quoted(interface.type)}'{_attributes(interface)}>\n"
        f"  <mac address='{interface.mac}'/>\n"
        f"{driver if hostdev else ''}{_source(interface)}{extra['mac']}"
        f"{vlan_element(interface.vlan) if interface.vlan else ''}"
        f"{virtualport_element(interface.virtualport) if interface.virtualport else ''}"
        f"{_bandwidth(interface.bandwidth) if interface.bandwidth else ''}"
        f"{_flag('port isolated', interface.isolated)}{extra['port']}"
        f"{_target(interface)}{extra['target']}"
        f"{_one('model type', interface.model)}{'' if hostdev else driver}{extra['driver']}"
        f"{_filterref(interface.filterref) if interface.filterref else ''}{extra['filterref']}"
        f"{_one('link state', interface.link_state)}{_one('mtu size', interface.mtu)}{extra['mtu']}"
        f"{_one('boot order', interface.boot_order)}{extra['boot']}"
        f"{_one('alias name', interface.alias)}{extra['alias']}"
        "</interface>"
    )


def _whole(interface: Interface) -> str:
    """Return a ``<hostdev>`` (virDomainHostdevDefFormat). The address in its source has no type."""
    extra = _extra(interface.extra)
    source = _source(interface).replace("<address type='pci' ", "<address ")
    managed = "yes" if interface.managed else "no"
    return (
        f"<hostdev mode='subsystem' type='pci' managed='{managed}'>\n"
        f"{_driver(interface.driver) if interface.driver else ''}{source}{extra['filterref']}"
        f"{_one('boot order', interface.boot_order)}{_one('alias name', interface.alias)}{extra['alias']}"
        "</hostdev>"
    )


def _attributes(interface: Interface) -> str:
    managed = " managed='yes'" if interface.managed else ""
    trust = interface.trust_guest_rx_filters
    return managed if trust is None else f"{managed} trustGuestRxFilters='{_yes(trust)}'"


def _source(interface: Interface) -> str:
    attributes = "".join(f" {name}='{quoted(value)}'" for name, value in (interface.source or {}).items())
    if interface.address is not None:
        return f"  <source{attributes}>\n{_address(interface.address)}  </source>\n"
    if interface.reconnect is not None:
        timeout = interface.reconnect.timeout
        again = f"enabled='{_yes(interface.reconnect.enabled)}'" + (f" timeout='{timeout}'" if timeout else "")
        return f"  <source{attributes}>\n    <reconnect {again}/>\n  </source>\n"
    return f"  <source{attributes}/>\n" if interface.source is not None else ""


def _address(address: str) -> str:
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    return f"    <address type='pci' domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>\n"


def vlan_element(vlan: Vlan) -> str:
    """Return ``<vlan>`` as a child of ``<interface>``: its lines, each with its newline."""
    lines = ["  <vlan trunk='yes'>\n" if vlan.trunk else "  <vlan>\n"]
    for each in vlan.tags:
        native = f" nativeMode='{each.native_mode}'" if each.native_mode else ""
        lines.append(f"    <tag id='{each.id}'{native}/>\n")
    return "".join([*lines, "  </vlan>\n"])


def virtualport_element(port: VirtualPort) -> str:
    """Return ``<virtualport>`` as a child of ``<interface>``: its lines, each with its newline."""
    start = f"  <virtualport type='{port.type}'" if port.type else "  <virtualport"
    parameters = "".join(f" {name}='{quoted(str(value))}'" for name, value in port.parameters.items())
    return f"{start}>\n    <parameters{parameters}/>\n  </virtualport>\n" if parameters else f"{start}/>\n"


def _bandwidth(bandwidth: Bandwidth) -> str:
    inbound = _limit("inbound", bandwidth.inbound) if bandwidth.inbound else ""
    outbound = _limit("outbound", bandwidth.outbound) if bandwidth.outbound else ""
    return f"  <bandwidth>\n{inbound}{outbound}  </bandwidth>\n"


def _limit(name: str, limit: Limit) -> str:
    rates = (("average", limit.average), ("peak", limit.peak), ("floor", limit.floor), ("burst", limit.burst))
    attributes = "".join(f" {key}='{value}'" for key, value in rates if value is not None)
    return f"    <{name}{attributes}/>\n"


def _target(interface: Interface) -> str:
    if interface.target is None:
        return ""
    managed = "" if interface.target_managed is None else f" managed='{_yes(interface.target_managed)}'"
    return f"  <target dev='{interface.target}'{managed}/>\n"


def _driver(driver: Driver) -> str:
    given = {name: value for name in _DRIVER if (value := getattr(driver, name)) is not None}
    values = {name: _on(value) if isinstance(value, bool) else value for name, value in given.items()}
    start = "  <driver" + "".join(f" {name}='{value}'" for name, value in values.items())
    offloads = _offloads("host", HOST_OFFLOADS, driver.host) + _offloads("guest", GUEST_OFFLOADS, driver.guest)
    return f"{start}>\n{offloads}  </driver>\n" if offloads else f"{start}/>\n"


def _offloads(side: str, names: tuple[Any, ...], given: Mapping[Any, bool]) -> str:
    if not given:
        return ""
    values = "".join(f" {name}='{_on(given[name])}'" for name in names if name in given)
    return f"    <{side}{values}/>\n"


def _filterref(filterref: FilterRef) -> str:
    start = f"  <filterref filter='{quoted(filterref.filter)}'"
    if not filterref.parameters:
        return f"{start}/>\n"
    lines = [f"    <parameter name='{each.name}' value='{each.value}'/>\n" for each in filterref.parameters]
    return "".join([f"{start}>\n", *lines, "  </filterref>\n"])


def _extra(elements: tuple[str, ...]) -> dict[str, str]:
    """Return the verbatim elements by the element of the model that they follow, indented as its siblings."""
    places = dict(_NOTHING)
    for each in elements:
        places[_PLACE[tag(each)]] += "  " + each.replace("\n", "\n  ") + "\n"
    return places


def _one(start: str, value: object) -> str:
    return "" if value is None else f"  <{start}='{value}'/>\n"


def _flag(start: str, value: bool | None) -> str:
    return "" if value is None else f"  <{start}='{_yes(value)}'/>\n"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _on(value: bool) -> str:
    return "on" if value else "off"
