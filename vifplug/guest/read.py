"""Read a libvirt ``<interface>`` as libvirt would, or report every problem.

This module normalises what libvirt normalises when a guest is defined. It drops what libvirt drops (a generated target
name, ``<driver>`` of a model that is not virtio ...) and refuses what libvirt refuses. libvirt silently ignores what
its schema does not know; here that is an error that names the element. Elements that the model does not cover are
kept verbatim. Compared with libvirt 9.0 for each option on each type. Paths in errors are those of the VIF document.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vifplug.errors import InvalidDocument, InvalidRequest, Problem, sentences
from vifplug.guest import parts, xml
from vifplug.guest.fields import Reader
from vifplug.guest.interface import GUEST_FIELDS, Interface
from vifplug.model.codec import Model
from vifplug.model.names import parse_uuid
from vifplug.model.vif import VIF

if TYPE_CHECKING:
    from lxml.etree import _Element

#: the problem of an element of a running guest, which is not configuration
RUNNING = (
    "is of a running guest, with its network already resolved: pass the output of `virsh dumpxml --inactive` or "
    "`--migratable`"
)

#: types of interface that need nothing of the host (an element without a type has type user)
_WITHOUT_HOST = ("user", "null")

#: the namespace of the ids of VIFs that have none of their own: such an id is uuid5(this, the MAC in lower case)
MAC_NAMESPACE: Final = uuid.UUID("5e9a9c2b-4f3d-5b1e-9c57-6d2a1f0e8b34")

_TEAMING = re.compile(r"<teaming\b[^>]*\btype='(persistent|transient)'")

T = TypeVar("T")


def interface(text: str | bytes | _Element) -> Interface:
    """Return the element as a record.

    Raises:
        InvalidDocument: with every problem.
        UnknownType: vifplug does not support the type of interface.
    """
    made: Interface = _made(text, Interface.from_data)
    return made


def vif(text: str | bytes | _Element, *, vif_id: str | None = None) -> VIF:
    """Return the VIF that the element describes.

    Its id is ``vif_id``, else the virtualport's interfaceid or instanceid, else `default_id`. The
    element keeps its form: the VIF's ``tap_owner`` is ``vifplug`` only for ``<target managed='no'/>``. Type network
    does not describe the host, so it does not determine who makes the tap.

    Raises:
        InvalidDocument: with every problem.
        UnknownType: vifplug does not support the type of interface.
    """
    made: VIF = _made(text, Interface.from_data, lambda fields: VIF.from_data(_document(fields, vif_id)))
    return made


def each_interface(domain: _Element, make: Callable[[_Element], T | None]) -> tuple[list[T], list[str]]:
    """Return what ``make`` makes of each interface of a domain, and a sentence for each that cannot be read.

    Interfaces of which it makes None are left out.
    """
    found: list[T] = []
    wrong: list[str] = []
    for number, element in enumerate(domain.iterfind("devices/interface"), 1):
        try:
            if (made := make(element)) is not None:
                found.append(made)
        except InvalidRequest as error:
            wrong += [f"interface {number} of the domain: {sentence}" for sentence in sentences(error)]
    return found, wrong


def domain(text: str | bytes) -> tuple[list[VIF], list[str]]:
    """Return the VIF of each ``<interface>`` of a guest, and a sentence for each that cannot be read.

    Interfaces that need no device of the host are left out.
    Raises InvalidDocument if the document is not a ``<domain>``.
    """
    found, wrong = each_interface(xml.parse(text, "domain"), _of_domain)
    return list(numbered(found)), wrong


def numbered(vifs: Iterable[VIF]) -> Iterator[VIF]:
    """Yield a guest's VIFs, each with an id of its own if it has no other than the one that follows from its MAC."""
    seen: Counter[str] = Counter()
    for vif in vifs:
        default = default_id(vif.mac, teaming := teaming_of(vif.guest_xml))
        if vif.id != default:
            yield vif
            continue
        seen[default] += 1
        yield vif.replace(id=default_id(vif.mac, teaming, seen[default])) if seen[default] > 1 else vif


def is_passt(element: _Element) -> bool:
    """Return whether libvirt itself connects a vhost-user interface, with passt (from 11.1 on)."""
    return element.get("type") == "vhostuser" and parts.attribute(element, "backend", "type") == "passt"


def _of_domain(element: _Element) -> VIF | None:
    if element.get("type", "user") in _WITHOUT_HOST or is_passt(element):
        return None
    if element.get("type") != "network" and element.find("source[@network]") is not None:
        raise InvalidRequest(RUNNING)
    return vif(element)


def _document(fields: Mapping[str, Any], vif_id: str | None) -> dict[str, Any]:
    """Return the VIF document of an element's fields."""
    names = ("type", "mac", "vlan", "virtualport", "bandwidth", *GUEST_FIELDS)
    document = {name: fields[name] for name in names if name in fields}
    document["id"] = vif_id or _id(fields) or default_id(fields.get("mac"), teaming_of(fields["extra"]))
    document["target"] = fields.get("target")
    document["source"] = _source(fields)
    if fields["type"] in ("bridge", "direct", "ethernet"):
        document["tap_owner"] = "vifplug" if fields.get("target_managed") is False else "libvirt"
    if "isolated" in fields:
        document["port"] = {"isolated": fields["isolated"]}
    return {**document, "guest_xml": fields["extra"]}


def _id(fields: Mapping[str, Any]) -> str | None:
    """Return the id that the virtualport gives; None if it gives none."""
    port = fields.get("virtualport") or {}
    for name in ("interfaceid", "instanceid"):
        with contextlib.suppress(ValueError):  # a wrong one is reported as the port's
            return parse_uuid(port.get(name, ""))
    return None


def default_id(mac: object, teaming: str | None = None, number: int = 1) -> str:
    """Return the id of a VIF that has none of its own.

    Args:
        mac: its MAC address.
        teaming: its part in a failover pair (`teaming_of`), whose two interfaces have one MAC.
        number: which of the guest's interfaces with this MAC it is, otherwise.
    """
    words = [str(mac).lower()]
    if teaming == "transient":
        words.append(teaming)
    if number > 1:
        words.append(str(number))
    return str(uuid.uuid5(MAC_NAMESPACE, " ".join(words)))


def teaming_of(extra: Iterable[str]) -> str | None:
    """Return the part in a failover pair, ``persistent`` or ``transient``, that verbatim elements give; else None."""
    found = (match for each in extra if (match := _TEAMING.match(each)))
    return next((match[1] for match in found), None)


def _source(fields: Mapping[str, Any]) -> dict[str, Any]:
    source = {name: value for name, value in fields.get("source", {}).items() if name != "type"}
    if fields["type"] == "hostdev":
        return parts.given(address=fields.get("address"), managed=fields.get("managed", False))
    if fields["type"] == "vdpa":
        return {"device": device} if (device := source.get("dev")) else {}
    if fields["type"] == "vhostuser" and "reconnect" in fields:
        source["reconnect"] = fields["reconnect"]
    return source


#: where a problem of an Interface's field lies in the VIF document
_PATHS = (
    ("$.extra", "$.guest_xml"),
    ("$.isolated", "$.port.isolated"),
    ("$.address", "$.source.address"),
    ("$.reconnect", "$.source.reconnect"),
)


def _made(text: str | bytes | _Element, *makes: Callable[[Mapping[str, Any]], Model]) -> Any:
    """Return what the last function makes of the element's fields; the others only validate them.

    Raises:
        InvalidDocument: with every problem of the element and of each function, except what the element lacks already.
    """
    reader = Reader(xml.parse(text, "interface"))
    problems = dict.fromkeys(reader.problems)
    for make in makes:
        try:
            made = make(reader.fields)
        except InvalidDocument as error:
            found = map(_renamed, error.problems)
            problems |= dict.fromkeys(problem for problem in found if problem.path not in reader.absent)
    if problems:
        raise InvalidDocument(problems, "interface")
    return made


def _renamed(problem: Problem) -> Problem:
    for start, instead in _PATHS:
        if problem.path.startswith(start):
            return Problem(instead + problem.path.removeprefix(start), problem.message)
    return problem
