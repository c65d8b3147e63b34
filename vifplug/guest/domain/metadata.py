"""vifplug's element in the ``<metadata>`` of a guest's definition, and the guest's interfaces that belong to it.

libvirt keeps one element of each namespace there and does not interpret it (formatdomain, "General metadata"). The
children are VIFs, each as libvirt's ``<interface>`` or as ``<vif>`` with a JSON document. They belong to the guest's
interface with the same MAC, which also gives the guest's own settings (model, queues, MTU, name of the tap).
 See doc/decisions/0016-the-guest-carries-its-vifs.md.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vifplug.errors import InvalidDocument, InvalidRequest, Problem
from vifplug.guest import parts, read, xml
from vifplug.guest.interface import GUEST_FIELDS, Interface, element_of
from vifplug.model.guestxml import NAMESPACE, escaped
from vifplug.model.vif import VIF, Instance

if TYPE_CHECKING:
    from lxml.etree import _Element

_OURS = f"{{{NAMESPACE}}}"

#: the guest's own fields of an interface, with the names that they have in a VIF
_OWN = (*GUEST_FIELDS, "target")


@dataclass(frozen=True, kw_only=True)
class DescribedVif:
    """A VIF that the metadata describes, completed from the guest's ``interface``; None if that has a problem."""

    vif: VIF
    interface: Interface | None


@dataclass(frozen=True, kw_only=True)
class DescribedGuest:
    """A guest and its VIFs. ``problems``: what is wrong with the metadata, or does not fit the interfaces."""

    #: None if the guest's definition cannot be read
    instance: Instance | None
    described: tuple[DescribedVif, ...] = ()
    problems: tuple[Problem, ...] = ()


def guest(text: str | bytes) -> DescribedGuest:
    """Return the guest of a ``<domain>``. Raises InvalidDocument if the document is not one."""
    root = xml.parse(text, "domain")
    instance = Instance(uuid=root.findtext("uuid", ""), name=root.findtext("name"))
    interfaces = root.findall("devices/interface")
    problems: list[Problem] = []
    found: list[DescribedVif] = []
    for number, element in enumerate(root.iterfind(f"metadata/{_OURS}vifs/*"), 1):
        place = f"VIF {number} of the metadata"
        try:
            document = _document(element)
            vif = VIF.from_data(document)
        except InvalidRequest as error:
            problems += _at(place, error)
            continue
        try:
            interface = _interface(vif, interfaces)
            found.append(DescribedVif(vif=_completed(document, interface), interface=interface))
        except InvalidRequest as error:
            problems += _at(f"{place}, {vif.mac}", error)
            found.append(DescribedVif(vif=vif, interface=None))
    macs = Counter(each.vif.mac for each in found)
    repeated = ((mac, count) for mac, count in macs.items() if count > 1)
    problems += [Problem("the metadata", f"expected one VIF for {mac}, got {count}") for mac, count in repeated]
    return DescribedGuest(instance=instance, described=tuple(found), problems=tuple(problems))


def element(vifs: Iterable[VIF]) -> str:
    """Return the ``<metadata>`` that describes ``vifs``, as a string without a newline at its end."""
    documents = (json.dumps(vif.to_data(), ensure_ascii=False) for vif in vifs)
    children = "".join(f"    <vifplug:vif>{escaped(document)}</vifplug:vif>\n" for document in documents)
    return f"<metadata>\n  <vifplug:vifs xmlns:vifplug='{NAMESPACE}'>\n{children}  </vifplug:vifs>\n</metadata>"


def misfit(desired: Interface, found: Interface) -> str:
    """Return what differs from ``desired`` in the guest's interface; empty if nothing does. Ignores `extra`."""
    names = (field.name for field in dataclasses.fields(Interface) if field.name != "extra")
    pairs = ((name, getattr(desired, name), getattr(found, name)) for name in names)
    return "; ".join(
        f"{element_of(name)} is {_shown(have)}, expected {_shown(want)}" for name, want, have in pairs if want != have
    )


def _document(element: _Element) -> dict[str, Any]:
    """Return the VIF document of a child of the metadata.

    An ``<interface>`` there does not mean that libvirt makes the tap: it describes what vifplug has to do.
    """
    name = str(element.tag).removeprefix(_OURS)
    if name == "vif":
        return VIF.from_json(element.text or "").to_data()
    if name != "interface":
        raise InvalidRequest(f"expected <interface>, or <vif> with a JSON document, got <{name}>")
    said = read.vif(xml.without_namespace(element, NAMESPACE)).to_data()
    unsaid = {"target": None, "tap_owner": "libvirt"}
    return {key: value for key, value in said.items() if key not in unsaid or value != unsaid[key]}


def _interface(vif: VIF, interfaces: Iterable[_Element]) -> Interface:
    """Return the guest's interface with the MAC of ``vif``."""
    found = [each for each in interfaces if (parts.attribute(each, "mac", "address") or "").lower() == vif.mac]
    if len(found) != 1:
        count = f"{len(found)} interfaces" if found else "no interface"
        raise InvalidRequest(f"expected one interface of the guest with this MAC, got {count}")
    return read.interface(found[0])


def _completed(document: dict[str, Any], interface: Interface) -> VIF:
    """Return the VIF of a document, completed from the guest's interface."""
    own = interface.to_data()
    kept = {name: own[name] for name in _OWN if name in own}
    return VIF.from_data({**kept, "guest_xml": own.get("extra", []), **document})


def _at(place: str, error: InvalidRequest) -> list[Problem]:
    problems = error.problems if isinstance(error, InvalidDocument) else ()
    return [Problem(f"{place}: {each.path}", each.message) for each in problems] or [Problem(place, str(error))]


def _shown(value: object) -> str:
    return "yes" if value is True else "no" if value is False else "not set" if value is None else str(value)
