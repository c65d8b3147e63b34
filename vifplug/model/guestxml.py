"""Elements of the guest's ``<interface>`` that the model does not cover, kept verbatim in one normal form.

They do not concern the network: the place of the device in the guest (``<address>``, ``<rom>``, ``<acpi>``), QEMU's
tuning (``<backend>``, ``<tune>``, ``<coalesce>``, ``<teaming>``), libvirt's scripts. See
doc/decisions/0001-verbatim-elements.md.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from vifplug.errors import Problem
from vifplug.model.codec import described, joined, shortened
from vifplug.model.names import parse_pci_attributes

#: namespace of vifplug's element in a guest's <metadata>; libvirt keeps one element per namespace
NAMESPACE = "urn:vifplug:libvirt:domain:1"

#: elements that are kept verbatim, in libvirt's order (9.0: virDomainNetDefFormat)
TAGS = (
    "source",  # of type ethernet: the host end's addresses
    "ip",
    "route",
    "portForward",
    "script",
    "downscript",
    "backenddomain",
    "guest",
    "model",  # of type hostdev, which has no NIC of its own
    "backend",
    "tune",
    "teaming",
    "coalesce",
    "boot",  # with a loadparm
    "rom",
    "acpi",
    "address",
)
REPEATED = ("ip", "route", "portForward")

#: What a VIF document can have of them: the attributes of each, with the only value that some can have. What is not
#: here runs a program or opens a file as root: <script>, <downscript>, the file of <rom>, passt and its log.
_IN_DOCUMENTS: Mapping[str, Mapping[str, str]] = {
    **{name: {} for name in ("source", "ip", "route", "backenddomain", "guest", "model", "tune", "teaming")},
    **{name: {} for name in ("coalesce", "boot", "acpi", "address")},
    "backend": {"tap": "/dev/net/tun", "vhost": "/dev/vhost-net"},
    "rom": {"bar": "", "enabled": ""},
}

_DEPTH = 8
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"}
_QUOTED = str.maketrans(_ESCAPES)
_TEXT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": "&#10;", "\r": "&#13;"})
_ATTRIBUTE_ESCAPES = str.maketrans({**_ESCAPES, "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def quoted(value: str) -> str:
    """Return a printable value, escaped for an attribute as libvirt does (virBufferEscapeString)."""
    return value.translate(_QUOTED)


def escaped(text: str) -> str:
    """Return a string, escaped as the text of an element."""
    return text.translate(_TEXT_ESCAPES)


def tag(element: str) -> str:
    """Return the name of an element that is in its normal form."""
    return element[1 : element.index(">")].partition(" ")[0].removesuffix("/")


def printed(element: Any, indent: str = "", *, attributes: Mapping[str, str] | None = None) -> str:
    """Return the normal form of an element: single quotes and two spaces per level, as libvirt prints it.

    Args:
        element: an element of lxml or of the standard library.
        indent: indentation of the element itself.
        attributes: attributes to print instead of the element's own.

    Raises:
        ValueError: the element has a namespace, text next to elements, or too many levels; libvirt's have none.
    """
    name = element.tag
    given = element.attrib if attributes is None else attributes
    if not isinstance(name, str) or not all(map(_NAME.fullmatch, (name, *given))):
        raise ValueError(
            f"expected an element of libvirt's <interface>, got {shortened(str(name))} with a namespace or odd name"
        )
    if len(indent) > 2 * _DEPTH:
        raise ValueError(f"expected at most {_DEPTH} levels of elements, got more")
    start = indent + "<" + name
    start += "".join(f" {key}='{value.translate(_ATTRIBUTE_ESCAPES)}'" for key, value in given.items())
    text = element.text or ""
    if not len(element):
        return f"{start}>{escaped(text)}</{name}>" if text.strip() else f"{start}/>"
    if any((each or "").strip() for each in (text, *(child.tail for child in element))):
        raise ValueError(f"expected elements or text in <{name}>, got both")
    return "\n".join([start + ">", *(printed(child, indent + "  ") for child in element), f"{indent}</{name}>"])


@functools.lru_cache(maxsize=1024)
def parse_guest_element(text: str) -> str:
    """Return the normal form of an element of ``<interface>`` that the model does not cover."""
    from xml.etree import ElementTree

    if "<!" in text or "<?" in text:
        raise ValueError("expected one element, got a declaration, a comment or a processing instruction")
    try:
        element = ElementTree.fromstring(text)
    except UnicodeEncodeError:
        raise ValueError(
            f"expected one element such as <rom bar='off'/>, got half of a surrogate pair in {described(text)}"
        ) from None
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"expected one element such as <rom bar='off'/>, got invalid XML: {error}") from None
    if element.tag not in TAGS:
        raise ValueError(f"expected one of {joined(TAGS)}, got {shortened(str(element.tag))}")
    if element.tag == "address" and element.get("type") == "pci":
        parse_pci_attributes(element.attrib)
    return printed(element)


def refused_in_document(elements: object) -> list[Problem]:
    """Return what the ``guest_xml`` of a VIF document cannot have, though libvirt's own element can.

    Whoever writes a document must not thereby run programs or open files on the host.
    """
    found = [each for each in elements if isinstance(each, str)] if isinstance(elements, (list, tuple)) else []
    return [
        Problem(f"$.guest_xml[{number}]", sentence) for number, each in enumerate(found) if (sentence := _root(each))
    ]


def _root(text: str) -> str:
    """Return what an element would let root do; empty if it is harmless, or invalid, which is reported elsewhere."""
    from xml.etree import ElementTree

    try:
        element = ElementTree.fromstring(parse_guest_element(text))
    except ValueError:
        return ""
    if (allowed := _IN_DOCUMENTS.get(element.tag)) is None:
        return f"<{element.tag}> is not accepted in a document, because it runs a program or opens a file as root"
    for name, value in element.attrib.items() if allowed else ():
        if name not in allowed or allowed[name] not in ("", value):
            expected = f" (expected {allowed[name]})" if allowed.get(name) else ""
            found = f"{shortened(name)}='{shortened(value)}' of <{element.tag}> is not accepted in a document{expected}"
            return f"{found}, because it opens a file as root"
    return ""


def in_order(elements: Iterable[str]) -> tuple[str, ...]:
    """Return the elements in libvirt's order."""
    return tuple(sorted(elements, key=lambda element: TAGS.index(tag(element))))


GuestElement = Annotated[str, parse_guest_element]
