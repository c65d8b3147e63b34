"""Elements of the guest's ``<interface>`` that the model does not cover: kept verbatim, in one normal form.

They say nothing of the network: where the device sits in the guest (``<address>``, ``<rom>``, ``<acpi>``), how QEMU
opens or tunes it (``<backend>``, ``<tune>``, ``<coalesce>``, ``<teaming>``), scripts of libvirt's. See
doc/decisions/0001-verbatim-elements.md.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from vifplug.model.codec import joined

#: the namespace of vifplug's element in a guest's <metadata>: libvirt keeps one element of each namespace
NAMESPACE = "urn:vifplug:libvirt:domain:1"

#: the elements that are kept verbatim, in libvirt's order (9.0: virDomainNetDefFormat)
TAGS = (
    "source",  # of type ethernet: the host end's addresses
    "ip",
    "route",
    "portForward",
    "script",
    "downscript",
    "backenddomain",
    "guest",
    "backend",
    "tune",
    "teaming",
    "coalesce",
    "rom",
    "acpi",
    "address",
)
REPEATED = ("ip", "route", "portForward")

_DEPTH = 8
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"}
_SPECIAL = frozenset(_ESCAPES)
_TEXT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": "&#10;", "\r": "&#13;"})
_ATTRIBUTE_ESCAPES = str.maketrans({**_ESCAPES, "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def quoted(value: str) -> str:
    """A printable value as an attribute has it, escaped as libvirt does (virBufferEscapeString)."""
    return value if _SPECIAL.isdisjoint(value) else "".join(_ESCAPES.get(char, char) for char in value)


def escaped(text: str) -> str:
    """A text as an element holds it."""
    return text.translate(_TEXT_ESCAPES)


def tag(element: str) -> str:
    """The name of an element in its normal form."""
    return element[1 : element.index(">")].partition(" ")[0].removesuffix("/")


def printed(element: Any, indent: str = "", *, attributes: Mapping[str, str] | None = None) -> str:
    """The normal form of an element: single quotes, two spaces a level, as libvirt prints.

    ``element`` is lxml's or the standard library's; ``attributes`` stand in for its own. Raises ValueError for
    what no element of libvirt's has: a namespace, text beside elements, many levels.
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
    """One element of libvirt's ``<interface>`` that the model does not cover, in its normal form."""
    from xml.etree import ElementTree

    if "<!" in text or "<?" in text:
        raise ValueError("expected one element, got a declaration, a comment or a processing instruction")
    try:
        element = ElementTree.fromstring(text)
    except UnicodeEncodeError:
        raise ValueError(f"expected one element such as <rom bar='off'/>, got half a character in {text!r}") from None
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"expected one element such as <rom bar='off'/>, got what is not XML: {error}") from None
    if element.tag not in TAGS:
        raise ValueError(f"expected one of {joined(TAGS)}, got {element.tag}")
    return printed(element)


def in_order(elements: Iterable[str]) -> tuple[str, ...]:
    """The elements in libvirt's order."""
    return tuple(sorted(elements, key=lambda element: TAGS.index(tag(element))))


GuestElement = Annotated[str, parse_guest_element]
