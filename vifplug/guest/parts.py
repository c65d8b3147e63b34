"""The parts that ``<interface>``, ``<network>`` and ``<portgroup>`` share, as plain data with libvirt's rules applied.

Each function takes the path of the element in the document, and reports problems by ``wrong(path, message)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vifplug.model.codec import described, joined
from vifplug.model.names import parse_pci_attributes
from vifplug.model.virtualport import MIDONET

if TYPE_CHECKING:
    from lxml.etree import _Element

Wrong = Callable[[str, str], None]

YES = {"yes": True, "no": False}
ON = {"on": True, "off": False}

_NUMBER = re.compile(r"[0-9]{1,20}")


def common(element: _Element, path: str, wrong: Wrong) -> dict[str, Any]:
    """Read what an interface, a network and a portgroup may all have."""
    trust = yes(element, "trustGuestRxFilters", f"{path}.trust_guest_rx_filters", wrong)
    found: dict[str, Any] = {"trust_guest_rx_filters": trust}
    for name, read in (("vlan", vlan), ("virtualport", virtualport), ("bandwidth", bandwidth)):
        if (child := element.find(name)) is not None:
            found[name] = read(child, f"{path}.{name}", wrong)
    return given(**found)


def vlan(element: _Element, path: str, wrong: Wrong) -> dict[str, Any]:
    """Read ``<vlan>``. libvirt ignores the case of ``trunk``, but not of other attributes of yes or no."""
    tags = [given(id=number(tag.get("id")), native_mode=tag.get("nativeMode")) for tag in element.findall("tag")]
    written = element.get("trunk")
    trunk = word(written and written.lower(), YES, f"{path}.trunk", wrong)
    if trunk is False and any("native_mode" in tag for tag in tags):
        wrong(f"{path}.trunk", "expected yes, or no native VLAN, got no")
    return given(tags=tags, trunk=trunk)


def virtualport(element: _Element, path: str, wrong: Wrong) -> dict[str, Any]:
    """Read ``<virtualport>``. For MidoNet alone, libvirt drops unknown parameters without an error."""
    parameters = element.find("parameters")
    found = dict(parameters.attrib) if parameters is not None else {}
    if element.get("type") == MIDONET:
        found = {name: value for name, value in found.items() if name == "interfaceid"}
    if not found.get("profileid", "given"):
        del found["profileid"]
    return {**given(type=element.get("type")), **{str(name): str(value) for name, value in found.items()}}


def bandwidth(element: _Element, path: str, wrong: Wrong) -> dict[str, Any] | None:
    """Read ``<bandwidth>``; None if it limits nothing."""
    limits = {str(child.tag): _limit(child) for child in element}
    return {name: limit for name, limit in limits.items() if limit is not None} or None


def attribute(element: _Element, child: str, name: str) -> str | None:
    """Return an attribute of a child; None if the child or the attribute does not exist."""
    found = element.find(child)
    return None if found is None else found.get(name)


def yes(element: _Element, name: str, path: str, wrong: Wrong) -> bool | None:
    """Read an attribute of yes or no; None if it is not given."""
    return word(element.get(name), YES, path, wrong)


def word(value: str | None, words: Mapping[str, bool], path: str, wrong: Wrong) -> bool | None:
    if value is not None and value not in words:
        wrong(path, f"expected {joined(words)}, got {described(value)}")
    return words.get(value or "")


def pci(element: _Element, path: str, wrong: Wrong) -> str | None:
    """Return the PCI address of ``<address>``. Its numbers are in any base of C; a missing number is 0."""
    try:
        return parse_pci_attributes({str(name): str(value) for name, value in element.attrib.items()})
    except ValueError as error:
        wrong(path, str(error))
        return None


def pci_attributes(address: str) -> dict[str, str]:
    """Return the attributes of ``<address>`` for a PCI address, as libvirt prints them."""
    numbers = (f"0x{number}" for number in re.split("[:.]", address))
    return {"type": "pci", **dict(zip(("domain", "bus", "slot", "function"), numbers, strict=True))}


def given(**values: Any) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def number(text: str | None) -> int | str | None:
    """Return ``text`` as a number; if it is not one, return it unchanged, for the model to refuse."""
    return int(text) if text is not None and _NUMBER.fullmatch(text) else text


def _limit(element: _Element) -> dict[str, Any] | None:
    """Return one direction's rates without those of 0; None if no rate is left, as libvirt then limits nothing."""
    found = {name: number(value) for name, value in element.attrib.items()}
    rates = {str(name): value for name, value in found.items() if value != 0}
    nothing = "average" in found and "average" not in rates and "floor" not in rates
    return None if nothing else rates
