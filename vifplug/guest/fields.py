"""From the children of ``<interface>`` to plain data: one method for each, with libvirt's rules applied."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vifplug.errors import Problem, UnknownType
from vifplug.guest import schema
from vifplug.model import guestxml
from vifplug.model.codec import described, joined
from vifplug.model.names import parse_c_number
from vifplug.model.nic import VIRTIO
from vifplug.model.virtualport import MIDONET

if TYPE_CHECKING:
    from lxml.etree import _Element

#: names that libvirt itself gives, and drops from an inactive element (9.0: virDomainNetDefParseXML)
GENERATED = ("vnet", "macvtap", "macvlan")

_NUMBER = re.compile(r"[0-9]{1,20}")
_SWITCHES = ("ioeventfd", "event_idx", "packed", "iommu", "ats", "page_per_vq", "rss", "rss_hash_report")
_NUMBERS = ("queues", "rx_queue_size", "tx_queue_size")
_YES = {"yes": True, "no": False}
_ON = {"on": True, "off": False}
_IN_SOURCE = {"bridge": ("bridge",), "network": ("network", "portgroup"), "direct": ("dev", "mode")}


class Reader:
    """One element being read: its ``fields`` as plain data, named as an Interface's, and the ``problems`` so far.

    Raises UnknownType for a type of ``<interface>`` that is of no use here.
    """

    def __init__(self, root: _Element) -> None:
        self.type = root.get("type", "user")  # libvirt's default
        if self.type not in schema.TYPES:
            raise UnknownType(f"<interface type='{self.type[:40]}'>: vifplug reads {joined(schema.TYPES)}")
        self.problems = list(schema.problems(root, self.type))
        self.fields: dict[str, Any] = {"type": self.type}
        self._elements = {str(child.tag): child for child in reversed(root)}
        self._read(root)

    # -- from elements to fields ----------------------------------------------------------------------------------

    def _read(self, root: _Element) -> None:
        self._root(root)
        self._source()
        self._vlan()
        self._virtualport()
        self._bandwidth()
        self._target()
        self._driver()
        self._filterref()
        self._small()
        self.fields["extra"] = [each for child in root if (each := self._verbatim(child))]

    def _root(self, root: _Element) -> None:
        self._put("trust_guest_rx_filters", self._yes(root, "trustGuestRxFilters", "$.trust_guest_rx_filters"))
        if self.type == "hostdev":
            self._put("managed", self._yes(root, "managed", "$.source.managed"))
        if (address := self._get("mac", "address")) is not None:
            self.fields["mac"] = address
        elif "mac" not in self._elements:
            self._wrong("$.mac", "wanted <mac address='...'/>: libvirt would make one up at each start, found none")

    def _source(self) -> None:
        element = self._elements.get("source")
        if element is None:
            if self.type != "ethernet":
                self._wrong("$.source", f"wanted <source> in <interface type='{self.type}'>, found none")
        elif self.type == "hostdev":
            self._host_device(element)
        elif self.type != "ethernet":
            wanted = _IN_SOURCE.get(self.type, ("type", "path", "mode"))
            source = {name: value for name in wanted if (value := element.get(name)) is not None}
            self.fields["source"] = {**source, "mode": source.get("mode", "vepa")} if self.type == "direct" else source
            self._vhostuser(element, source)

    def _vhostuser(self, element: _Element, source: Mapping[str, str]) -> None:
        if self.type == "vhostuser" and source.get("type", "unix") != "unix":
            self._wrong("$.source", f"wanted type='unix' in <source>, found {source['type']!r}")
        reconnect = element.find("reconnect")
        if self.type == "vhostuser" and reconnect is not None:
            enabled = self._yes(reconnect, "enabled", "$.source.reconnect.enabled")
            self.fields["reconnect"] = _given(enabled=enabled, timeout=_number(reconnect.get("timeout")))

    def _host_device(self, source: _Element) -> None:
        address = source.find("address")
        if address is None:
            self._wrong("$.source.address", "wanted <address type='pci' .../> in <source>, found none")
        elif address.get("type", "pci") != "pci":
            self._wrong("$.source.address", f"wanted type='pci' in <address>, found {address.get('type')!r}")
        else:
            self._put("address", self._pci(address, "$.source.address"))

    def _vlan(self) -> None:
        element = self._elements.get("vlan")
        if element is None:
            return
        tags = [_given(id=_number(tag.get("id")), native_mode=tag.get("nativeMode")) for tag in element.findall("tag")]
        given = element.get("trunk")
        trunk = self._word(given and given.lower(), _YES, "$.vlan.trunk")  # libvirt takes any case here alone
        if trunk is False and any("native_mode" in tag for tag in tags):
            self._wrong("$.vlan.trunk", "wanted yes, or no native VLAN, found no")
        self.fields["vlan"] = _given(tags=tags, trunk=trunk)

    def _virtualport(self) -> None:
        element = self._elements.get("virtualport")
        if element is None:
            return
        parameters = element.find("parameters")
        given = dict(parameters.attrib) if parameters is not None else {}
        if element.get("type") == MIDONET:  # libvirt drops what MidoNet does not take, and complains for no other
            given = {name: value for name, value in given.items() if name == "interfaceid"}
        if not given.get("profileid", "given"):
            del given["profileid"]
        self.fields["virtualport"] = {**_given(type=element.get("type")), **given}

    def _bandwidth(self) -> None:
        element = self._elements.get("bandwidth")
        limits = {str(child.tag): _limit(child) for child in (element if element is not None else ())}
        if limits := {name: limit for name, limit in limits.items() if limit is not None}:
            self.fields["bandwidth"] = limits

    def _target(self) -> None:
        element = self._elements.get("target")
        if element is None:
            return
        managed = self._yes(element, "managed", "$.target")
        name = element.get("dev")
        if name == "":
            self._wrong("$.target", "wanted a device name, found ''")
        elif name is not None and (managed is False or not name.startswith(GENERATED)):
            self.fields.update(_given(target=name, target_managed=managed))

    def _driver(self) -> None:
        """libvirt reads ``<driver>`` of a virtio model only, and of a hostdev its name only; the rest it drops."""
        element = self._elements.get("driver")
        if element is None or (self.type != "hostdev" and self._get("model", "type") not in VIRTIO):
            return
        driver: dict[str, Any] = _given(name=element.get("name"), txmode=element.get("txmode"))
        driver |= {name: number for name in _NUMBERS if (number := _number(element.get(name)))}
        driver |= self._switches(element, _SWITCHES, "$.driver")
        for side in ("host", "guest"):
            if (offloads := element.find(side)) is not None:
                driver[side] = self._switches(offloads, tuple(map(str, offloads.attrib)), f"$.driver.{side}")
        kept = _given(name=driver.get("name")) if self.type == "hostdev" else driver
        self._put("driver", kept or None)

    def _filterref(self) -> None:
        element = self._elements.get("filterref")
        if element is not None:
            parameters = [dict(parameter.attrib) for parameter in element.findall("parameter")]
            self.fields["filterref"] = {**_given(filter=element.get("filter")), "parameters": parameters}

    def _small(self) -> None:
        self._put("model", self._get("model", "type"))
        self._put("link_state", self._get("link", "state"))
        self._put("mtu", _number(self._get("mtu", "size")) or None)
        self._put("boot_order", _number(self._get("boot", "order")))
        if (port := self._elements.get("port")) is not None:
            self._put("isolated", self._yes(port, "isolated", "$.port.isolated"))
        alias = self._get("alias", "name") or ""
        if alias.startswith("ua-"):  # any other is libvirt's own, made at start
            self.fields["alias"] = alias

    def _verbatim(self, child: _Element) -> str | None:
        """A kept element in its normal form; None for one that the model covers, or that says nothing."""
        name = str(child.tag)
        if name not in guestxml.TAGS or (name == "source" and self.type != "ethernet"):
            return None
        attributes = {str(key): str(value) for key, value in child.attrib.items()}
        if name == "backend" and (self.type == "hostdev" or self._get("model", "type") not in VIRTIO):
            attributes.pop("vhost", None)
        if name == "address" and attributes.get("type") == "pci":
            attributes = self._guest_address(child, attributes)
        if not attributes and not len(child) and not (child.text or "").strip():
            return None
        try:
            return guestxml.printed(child, attributes=attributes)
        except ValueError as error:
            self._wrong("$.guest_xml", str(error))
            return None

    def _guest_address(self, address: _Element, attributes: dict[str, str]) -> dict[str, str]:
        """The attributes of the device's place in the guest, its numbers as libvirt prints them."""
        if (place := self._pci(address, "$.guest_xml")) is None:
            return attributes
        numbers = (f"0x{number}" for number in re.split("[:.]", place))
        printed = {"type": "pci", **dict(zip(("domain", "bus", "slot", "function"), numbers, strict=True))}
        return {**printed, **{name: value for name, value in attributes.items() if name not in printed}}

    # -- values ---------------------------------------------------------------------------------------------------

    def _put(self, field: str, value: object) -> None:
        if value is not None:
            self.fields[field] = value

    def _get(self, element: str, attribute: str) -> str | None:
        found = self._elements.get(element)
        return None if found is None else found.get(attribute)

    def _wrong(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def _yes(self, element: _Element, name: str, path: str) -> bool | None:
        return self._word(element.get(name), _YES, path)

    def _switches(self, element: _Element, names: tuple[str, ...], path: str) -> dict[str, bool]:
        found = {name: self._word(element.get(name), _ON, f"{path}.{name}") for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def _word(self, value: str | None, words: Mapping[str, bool], path: str) -> bool | None:
        if value is not None and value not in words:
            self._wrong(path, f"wanted {joined(words)}, found {described(value)}")
        return words.get(value or "")

    def _pci(self, element: _Element, path: str) -> str | None:
        """The PCI address of ``<address>``, whose numbers come in any base of C's; those left out are 0."""
        limits = {"domain": 0xFFFFFFFF, "bus": 0xFF, "slot": 0x1F, "function": 7}
        values: list[int] = []
        for name, limit in limits.items():
            if (value := _c_number(element.get(name, "0"))) is None or value > limit:
                self._wrong(path, f"wanted {name} of 0 to {limit:#x} in <address>, found {element.get(name)!r}")
                return None
            values.append(value)
        return "{:04x}:{:02x}:{:02x}.{:x}".format(*values)


def _limit(element: _Element) -> dict[str, Any] | None:
    """One direction's rates; 0 means not given. None where no rate is left: libvirt limits nothing then."""
    given = {name: _number(value) for name, value in element.attrib.items()}
    rates = {str(name): value for name, value in given.items() if value != 0}
    nothing = "average" in given and "average" not in rates and "floor" not in rates
    return None if nothing else rates


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _number(text: str | None) -> int | str | None:
    """The number that ``text`` says, else the text, for the model to refuse."""
    return int(text) if text is not None and _NUMBER.fullmatch(text) else text


def _c_number(text: str) -> int | None:
    try:
        return parse_c_number(text)
    except ValueError:
        return None
