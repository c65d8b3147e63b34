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

from vifplug.model.codec import joined

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
        raise ValueError(f"expected an element of libvirt's <interface>, got {name} with a namespace or odd name")
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
            f"expected one element such as <rom bar='off'/>, got half of a surrogate pair in {text!r}"
        ) from None
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"expected one element such as <rom bar='off'/>, got invalid XML: {error}") from None
    if element.tag not in TAGS:
        raise ValueError(f"expected one of {joined(TAGS)}, got {element.tag}")
    return printed(element)


def in_order(elements: Iterable[str]) -> tuple[str, ...]:
    """Return the elements in libvirt's order."""
    return tuple(sorted(elements, key=lambda element: TAGS.index(tag(element))))


GuestElement = Annotated[str, parse_guest_element]
