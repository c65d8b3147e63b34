"""vifplug's element in the ``<metadata>`` of a guest's definition, and the guest's interfaces that belong to it.

libvirt keeps one element of each namespace there and does not interpret it (formatdomain, "General metadata"). The
children are VIFs, each as libvirt's ``<interface>`` or as ``<vif>`` with a JSON document. Each belongs to the guest's
interface with the same MAC, which also gives the guest's own settings (model, queues, MTU, name of the tap). Where
several interfaces have one MAC, as a failover pair does, what else the VIF says of its interface selects it.

See doc/decisions/0016-the-guest-carries-its-vifs.md.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vifplug.errors import InvalidDocument, InvalidRequest, Problem
from vifplug.guest import parts, read, write, xml
from vifplug.guest.interface import GUEST_FIELDS, Interface
from vifplug.model.codec import shortened
from vifplug.model.guestxml import NAMESPACE, escaped, printed, quoted
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
    #: the position of its element in the metadata
    child: int
    #: the position of its interface among those of the guest; None if it has none
    place: int | None = None
    #: the VIF document that its element is, or stands for
    document: Mapping[str, Any] = field(default_factory=dict, compare=False)


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
    problems: dict[int, list[Problem]] = {}
    documents: list[_Said] = []
    for child, element in enumerate(root.iterfind(f"metadata/{_OURS}vifs/*")):
        try:
            documents.append(_said(element, child))
        except InvalidRequest as error:
            problems[child] = _at(f"VIF {child + 1} of the metadata", error)
    found: dict[int, DescribedVif] = {}
    for said, candidates in _matched(documents, root.findall("devices/interface")):
        try:
            found[said.child] = _described(said, candidates)
        except InvalidRequest as error:
            problems[said.child] = _at(f"VIF {said.child + 1} of the metadata, {said.vif.mac}", error)
            found[said.child] = DescribedVif(vif=said.vif, interface=None, child=said.child)
    described = _numbered([found[child] for child in sorted(found)])
    wrong = [problem for child in sorted(problems) for problem in problems[child]]
    return DescribedGuest(instance=instance, described=described, problems=(*wrong, *_repeated(described)))


def element(vifs: Iterable[VIF]) -> str:
    """Return the ``<metadata>`` that describes ``vifs``, as a string without a newline at its end."""
    documents = (json.dumps(vif.to_data(), ensure_ascii=False) for vif in vifs)
    children = "".join(f"    <vifplug:vif>{escaped(document)}</vifplug:vif>\n" for document in documents)
    return f"<metadata>\n  <vifplug:vifs xmlns:vifplug='{NAMESPACE}'>\n{children}  </vifplug:vifs>\n</metadata>"


def misfit(desired: Interface, found: Interface) -> str:
    """Return what differs from ``desired`` in the guest's interface; empty if nothing does. Ignores `extra`."""
    want, have = (_parts(each.replace(extra=())) for each in (desired, found))
    names = sorted({*want, *have}, key=[*want, *have].index)
    return "; ".join(
        f"expected {want.get(name) or f'no {name}'}, got {have.get(name) or f'no {name}'}"
        for name in names
        if want.get(name) != have.get(name)
    )


def _parts(interface: Interface) -> dict[str, str]:
    """Return the start tag and the children of an interface as libvirt writes them, by their names."""
    root = xml.parse(write.element(interface), "hostdev" if interface.whole else "interface")
    given = "".join(f" {name!s}='{quoted(str(value))}'" for name, value in root.attrib.items())
    children = {f"<{child.tag!s}>": " ".join(printed(child).split()) for child in root}
    return {"<interface>": f"<{root.tag!s}{given}>", **children}


@dataclass(frozen=True)
class _Said:
    """What one child of the metadata says."""

    child: int
    document: dict[str, Any]
    #: the same, as a person has written it
    written: dict[str, Any]
    vif: VIF
    #: it leaves the id to vifplug
    unnamed: bool


#: more interfaces with one MAC than any guest has
_MANY = 32

#: an interface of the guest, with its position among them
_Placed = tuple[int, "_Element"]


def _said(element: _Element, child: int) -> _Said:
    document = _document(element)
    vif = VIF.from_data(document)
    written = document if element.tag != f"{_OURS}vif" else json.loads(element.text or "")
    unnamed = vif.id == read.default_id(vif.mac, read.teaming_of(vif.guest_xml))
    return _Said(child, document, written, vif, unnamed)


def _document(element: _Element) -> dict[str, Any]:
    """Return the VIF document of a child of the metadata.

    An ``<interface>`` there does not mean that libvirt makes the tap: it describes what vifplug has to do.
    """
    name = str(element.tag).removeprefix(_OURS)
    if name == "vif":
        return VIF.from_json(element.text or "").to_data()
    if name != "interface":
        raise InvalidRequest(f"expected <interface>, or <vif> with a JSON document, got <{shortened(name)}>")
    said = read.vif(xml.without_namespace(element, NAMESPACE)).to_data()
    unsaid = {"target": None, "tap_owner": "libvirt"}
    return {key: value for key, value in said.items() if key not in unsaid or value != unsaid[key]}


def _matched(documents: Iterable[_Said], interfaces: Iterable[_Element]) -> Iterator[tuple[_Said, list[_Placed]]]:
    """Yield each VIF with the guest's interfaces that can be its own: one, if nothing is wrong.

    Of several with its MAC, a VIF has the one that no other VIF must have.
    """
    placed: dict[str, list[_Placed]] = {}
    for each in enumerate(interfaces):
        placed.setdefault((parts.attribute(each[1], "mac", "address") or "").lower(), []).append(each)
    groups: dict[str, list[_Said]] = {}
    for said in documents:
        groups.setdefault(said.vif.mac, []).append(said)
    for mac, group in groups.items():
        free = placed.get(mac, [])
        options = {said.child: _fitting(said, free) for said in group}
        taken: set[int] = set()
        for said in sorted(group, key=lambda said: len(options[said.child])):
            left = [each for each in options[said.child] if each[0] not in taken]
            taken |= {place for place, _ in left[:1]} if len(left) == 1 else set()
            yield said, left or options[said.child]


def _fitting(said: _Said, placed: list[_Placed]) -> list[_Placed]:
    """Return the interfaces that can be the VIF's. One that has no rival is returned as it is: its error says more."""
    if len(placed) == 1 or len(placed) > _MANY:
        return placed
    return [each for each in placed if _fits(said, each[1])] or placed


def _fits(said: _Said, element: _Element) -> bool:
    """Return whether nothing that a VIF says of its interface speaks against ``element``."""
    pairs = (
        (said.document.get("target"), parts.attribute(element, "target", "dev")),
        (said.document.get("alias"), parts.attribute(element, "alias", "name")),
        (read.teaming_of(said.vif.guest_xml), parts.attribute(element, "teaming", "type")),
    )
    if any(given is not None and given != has for given, has in pairs):
        return False
    return said.vif.type == "network" or (said.vif.type == "hostdev") == (element.get("type") == "hostdev")


def _described(said: _Said, candidates: list[_Placed]) -> DescribedVif:
    """Return the VIF, completed from the guest's interface."""
    if len(candidates) != 1:
        count = f"{len(candidates)} interfaces" if candidates else "no interface"
        remedy = ": write <target dev> or <alias> of its interface into the VIF" if candidates else ""
        raise InvalidRequest(f"expected one interface of the guest with this MAC, got {count}{remedy}")
    [(place, element)] = candidates
    interface = read.interface(element)
    own = interface.to_data()
    kept = {name: own[name] for name in _OWN if name in own}
    vif = VIF.from_data({**kept, "guest_xml": own.get("extra", []), **said.document})
    if said.unnamed:
        vif = vif.replace(id=read.default_id(vif.mac, read.teaming_of(vif.guest_xml)))
    return DescribedVif(vif=vif, interface=interface, child=said.child, place=place, document=said.written)


def _numbered(described: list[DescribedVif]) -> tuple[DescribedVif, ...]:
    vifs = read.numbered(each.vif for each in described)
    return tuple(dataclasses.replace(each, vif=vif) for each, vif in zip(described, vifs, strict=True))


def _repeated(described: Iterable[DescribedVif]) -> Iterator[Problem]:
    """Yield the interfaces that several VIFs describe."""
    having = Counter((each.place, each.vif.mac) for each in described if each.place is not None)
    for (_, mac), count in having.items():
        if count > 1:
            yield Problem("the metadata", f"expected one VIF for {mac}, got {count}")


def _at(place: str, error: InvalidRequest) -> list[Problem]:
    problems = error.problems if isinstance(error, InvalidDocument) else ()
    return [Problem(f"{place}: {each.path}", each.message) for each in problems] or [Problem(place, str(error))]
