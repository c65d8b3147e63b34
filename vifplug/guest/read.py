"""Reads a libvirt ``<interface>``: what libvirt would make of it, or every reason why not.

What libvirt normalises when a guest is defined is normalised here, what it drops is dropped (a generated target name,
``<driver>`` of a model that is not virtio ...), what it refuses is refused. What its schema does not know is an error
that names the element, where libvirt is silent. Elements that the model does not cover are kept verbatim. Asked of
libvirt 9.0 for each option on each type; paths in errors are those of the VIF document.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vifplug.errors import InvalidDocument, InvalidRequest, Problem, sentences
from vifplug.guest import parts, xml
from vifplug.guest.fields import Reader
from vifplug.guest.interface import GUEST_FIELDS, Interface
from vifplug.model.names import parse_uuid
from vifplug.model.vif import VIF

if TYPE_CHECKING:
    from lxml.etree import _Element

#: what is said of an element that is no configuration
RUNNING = (
    "shows what its network became on the host where the guest runs, not what the guest asks for: give what "
    "`virsh dumpxml --inactive` or `--migratable` prints"
)

#: types of interface that need nothing of the host (none: user)
_WITHOUT_HOST = ("user", "null")

#: the namespace of the ids of VIFs that have none of their own: such an id is uuid5(this, the MAC in lower case)
MAC_NAMESPACE: Final = uuid.UUID("5e9a9c2b-4f3d-5b1e-9c57-6d2a1f0e8b34")

T = TypeVar("T")


def interface(text: str | bytes | _Element) -> Interface:
    """Return the element as a record.

    Raises:
        InvalidDocument: with every problem.
        UnknownType: vifplug has no use for the type of interface.
    """
    reader = _reader(text)
    made = _attempt(lambda: Interface.from_data(reader.fields), reader)
    return _finished(made, reader)


def vif(text: str | bytes | _Element, *, vif_id: str | None = None) -> VIF:
    """Return the VIF that the element describes.

    Its id is ``vif_id``, else the virtualport's interfaceid or instanceid, else one that follows from the MAC. The
    element keeps its form: the VIF's ``tap_owner`` is ``vifplug`` only for ``<target managed='no'/>``. Type network
    says nothing of the host, and so does not say who makes the tap.

    Raises:
        InvalidDocument: with every problem.
        UnknownType: vifplug has no use for the type of interface.
    """
    reader = _reader(text)
    _attempt(lambda: Interface.from_data(reader.fields), reader)
    made = _attempt(lambda: VIF.from_data(_document(reader.fields, vif_id)), reader)
    return _finished(made, reader)


def domain(text: str | bytes) -> tuple[list[VIF], list[str]]:
    """The VIFs of every ``<interface>`` of a guest, and why others can't be read, a sentence each.

    Those that QEMU alone has, without a device of the host, are left out.
    Raises InvalidDocument for what is no ``<domain>``.
    """
    found: list[VIF] = []
    wrong: list[str] = []
    for number, element in enumerate(xml.parse(text, "domain").iterfind("devices/interface"), 1):
        if element.get("type", "user") in _WITHOUT_HOST:
            continue
        if element.get("type") != "network" and element.find("source[@network]") is not None:
            wrong.append(f"interface {number} of the domain: {RUNNING}")
            continue
        try:
            found.append(vif(element))
        except InvalidRequest as error:
            wrong += [f"interface {number} of the domain: {sentence}" for sentence in sentences(error)]
    return found, wrong


def _reader(text: str | bytes | _Element) -> Reader:
    return Reader(xml.parse(text, "interface"))


def _document(fields: Mapping[str, Any], vif_id: str | None) -> dict[str, Any]:
    """The VIF document of an element's fields."""
    names = ("type", "mac", "vlan", "virtualport", "bandwidth", *GUEST_FIELDS)
    document = {name: fields[name] for name in names if name in fields}
    document["id"] = vif_id or _id(fields)
    document["target"] = fields.get("target")
    document["source"] = _source(fields)
    if fields["type"] in ("bridge", "direct", "ethernet"):
        document["tap_owner"] = "vifplug" if fields.get("target_managed") is False else "libvirt"
    if "isolated" in fields:
        document["port"] = {"isolated": fields["isolated"]}
    return {**document, "guest_xml": fields["extra"]}


def _id(fields: Mapping[str, Any]) -> str:
    port = fields.get("virtualport") or {}
    for name in ("interfaceid", "instanceid"):
        with contextlib.suppress(ValueError):  # a wrong one is told as the port's
            return parse_uuid(port.get(name, ""))
    return str(uuid.uuid5(MAC_NAMESPACE, str(fields.get("mac")).lower()))


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


def _attempt(make: Callable[[], T], reader: Reader) -> T | None:
    """What ``make`` makes; None, with its problems noted, if it fails. What an element lacks is noted already."""
    try:
        return make()
    except InvalidDocument as error:
        found = map(_renamed, error.problems)
        reader.problems += [problem for problem in found if problem.path not in reader.absent]
        return None


def _finished(made: T | None, reader: Reader) -> T:
    """What was made, unless there is a problem."""
    if reader.problems or made is None:
        raise InvalidDocument(dict.fromkeys(reader.problems), "interface")
    return made


def _renamed(problem: Problem) -> Problem:
    for start, instead in _PATHS:
        if problem.path.startswith(start):
            return Problem(instead + problem.path.removeprefix(start), problem.message)
    return problem
