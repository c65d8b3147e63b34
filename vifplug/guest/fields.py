"""Convert the children of ``<interface>`` to plain data by libvirt's rules: one method for each child."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vifplug.errors import Problem, UnknownType
from vifplug.guest import capabilities, parts, schema
from vifplug.model import guestxml
from vifplug.model.codec import described, joined
from vifplug.model.nic import VIRTIO

if TYPE_CHECKING:
    from lxml.etree import _Element

#: prefixes of names that libvirt generates, and drops from an inactive element (9.0: virDomainNetDefParseXML)
GENERATED = ("vnet", "macvtap", "macvlan")


class Reader:
    """Reads one element into ``fields``, plain data with the names of an Interface's fields, and ``problems``.

    Raises UnknownType if vifplug does not support the type of ``<interface>``.
    """

    def __init__(self, root: _Element) -> None:
        self.type = root.get("type", "user")  # libvirt's default
        if self.type not in schema.TYPES:
            raise UnknownType(f"<interface type='{self.type[:40]}'>: expected {joined(schema.TYPES)}")
        findings = list(schema.located(root, schema.interface(self.type), "$"))
        self.problems = [finding.problem for finding in findings]
        #: paths whose absence is in ``problems`` already, so that the model need not report it again
        self.absent = {path for finding in findings for path in finding.absent}
        self.fields: dict[str, Any] = {"type": self.type}
        self._root = root
        self._boot_order_alone = self._get("boot", "loadparm") is None
        self._virtio = self.type != "hostdev" and self._get("model", "type") in VIRTIO
        self._attributes()
        self._source()
        self._put(**parts.common(root, "$", self._wrong))
        self._target()
        self._driver()
        self._small()
        self.fields["extra"] = [each for child in root if (each := self._verbatim(child))]

    # -- from elements to fields ----------------------------------------------------------------------------------

    def _attributes(self) -> None:
        if self.type == "hostdev":
            self._put(managed=self._yes(self._root, "managed", "$.source.managed"))
        if (address := self._get("mac", "address")) is not None:
            self.fields["mac"] = address
        elif self._root.find("mac") is None:
            self._lacks("$.mac", "expected <mac address='...'/>: libvirt would generate one at each start, got none")

    def _source(self) -> None:
        element = self._root.find("source")
        if self.type == "ethernet":
            return
        if element is None:
            self._lacks("$.source", f"expected <source> in <interface type='{self.type}'>, got none")
        elif self.type == "hostdev":
            self._host_device(element)
        else:
            names = (*capabilities.SOURCE[self.type], *(("portgroup",) if self.type == "network" else ()))
            source = {name: value for name in names if (value := element.get(name)) is not None}
            self.fields["source"] = {**source, "mode": source.get("mode", "vepa")} if self.type == "direct" else source
        if element is not None and self.type == "vhostuser":
            self._vhostuser(element)

    def _vhostuser(self, source: _Element) -> None:
        if (kind := source.get("type", "unix")) != "unix":
            self._wrong("$.source", f"expected type='unix' in <source>, got {described(kind)}")
        if (reconnect := source.find("reconnect")) is not None:
            enabled = self._yes(reconnect, "enabled", "$.source.reconnect.enabled")
            self.fields["reconnect"] = parts.given(enabled=enabled, timeout=parts.number(reconnect.get("timeout")))

    def _host_device(self, source: _Element) -> None:
        address = source.find("address")
        if address is None:
            usb = source.find("vendor") is not None
            found = "a USB device, which is on no network of the host" if usb else "none"
            self._lacks("$.source.address", f"expected <address type='pci' .../> in <source>, got {found}")
        elif address.get("type", "pci") != "pci":
            self._lacks("$.source.address", f"expected type='pci' in <address>, got {described(address.get('type'))}")
        elif place := parts.pci(address, "$.source.address", self._wrong):
            self.fields["address"] = place
        else:
            self.absent.add("$.source.address")

    def _target(self) -> None:
        element = self._root.find("target")
        if element is None:
            return
        managed = self._yes(element, "managed", "$.target")
        name = element.get("dev")
        if name == "":
            self._wrong("$.target", "expected a device name, got ''")
        elif name is not None and (managed is False or not name.startswith(GENERATED)):
            self._put(target=name, target_managed=managed)

    def _driver(self) -> None:
        """Read ``<driver>``. libvirt drops it unless the model is virtio; of a hostdev's it keeps name and model."""
        element = self._root.find("driver")
        if element is None or not (self.type == "hostdev" or self._virtio):
            return
        driver: dict[str, Any] = parts.given(name=element.get("name"), model=element.get("model"))
        if self.type != "hostdev":
            driver |= parts.given(txmode=element.get("txmode"))
            driver |= {name: number for name in schema.RINGS if (number := parts.number(element.get(name)))}
            driver |= self._switches(element, schema.SWITCHES, "$.driver")
            for side in ("host", "guest"):
                if (offloads := element.find(side)) is not None:
                    driver[side] = self._switches(offloads, tuple(map(str, offloads.attrib)), f"$.driver.{side}")
        self._put(driver=driver or None)

    def _small(self) -> None:
        if (element := self._root.find("filterref")) is not None:
            parameters = [dict(parameter.attrib) for parameter in element.findall("parameter")]
            self.fields["filterref"] = {**parts.given(filter=element.get("filter")), "parameters": parameters}
        if (port := self._root.find("port")) is not None:
            self._put(isolated=self._yes(port, "isolated", "$.port.isolated"))
        alias = self._get("alias", "name") or ""
        self._put(
            model=None if self.type == "hostdev" else self._get("model", "type"),
            link_state=self._get("link", "state"),
            mtu=parts.number(self._get("mtu", "size")) or None,
            boot_order=parts.number(self._get("boot", "order")) if self._boot_order_alone else None,
            alias=alias if alias.startswith("ua-") else None,  # any other is libvirt's own, generated at start
        )

    def _verbatim(self, child: _Element) -> str | None:
        """Return a verbatim element in its normal form; None if the model covers it, or if it is empty."""
        name, hostdev = str(child.tag), self.type == "hostdev"
        covered = {"source": self.type != "ethernet", "model": not hostdev, "boot": self._boot_order_alone}
        if name not in guestxml.TAGS or covered.get(name):
            return None
        attributes = {str(key): str(value) for key, value in child.attrib.items()}
        if name == "backend" and not self._virtio:
            attributes.pop("vhost", None)
        if name == "address" and attributes.get("type") == "pci":
            place = parts.pci(child, "$.guest_xml", self._wrong)
            numbers = parts.pci_attributes(place) if place else {}  # in libvirt's order, before all others
            attributes = numbers | attributes | numbers
        if not attributes and not len(child) and not (child.text or "").strip():
            return None
        try:
            return guestxml.printed(child, attributes=attributes)
        except ValueError as error:
            self._wrong("$.guest_xml", str(error))
            return None

    # -- values ---------------------------------------------------------------------------------------------------

    def _put(self, **fields: Any) -> None:
        self.fields.update(parts.given(**fields))

    def _get(self, element: str, attribute: str) -> str | None:
        return parts.attribute(self._root, element, attribute)

    def _wrong(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def _lacks(self, path: str, message: str) -> None:
        """Report a missing element; the model need not report what is missing below its path."""
        self._wrong(path, message)
        self.absent |= {path, *(f"{path}.{name}" for name in ("address", *capabilities.SOURCE[self.type]))}

    def _yes(self, element: _Element, name: str, path: str) -> bool | None:
        return parts.yes(element, name, path, self._wrong)

    def _switches(self, element: _Element, names: tuple[str, ...], path: str) -> dict[str, bool]:
        found = {name: parts.word(element.get(name), parts.ON, f"{path}.{name}", self._wrong) for name in names}
        return {name: value for name, value in found.items() if value is not None}
