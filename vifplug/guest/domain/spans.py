"""The byte positions of the elements in an XML text, for changing the text without changing its spelling.

expat finds the elements; it tells comments and CDATA from elements as libvirt's parser does. Patterns then find the
attributes in the start tags, which are well-formed by then.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.parsers import expat

from vifplug.errors import InvalidRequest

_START_TAG = re.compile(rb"""<[^\s/>]+(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*/?>""")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')""")


@dataclass
class Element:
    """An element: ``name`` (after its namespace and a space), attributes, and its positions in the text.

    ``start`` is the position of its ``<``; ``inside`` that after its start tag; ``end`` that after its end tag.
    """

    name: str
    attributes: dict[str, str]
    start: int
    inside: int
    end: int = -1
    children: list[Element] = field(default_factory=list)

    @property
    def tag(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition(" ")[2]

    def all(self, name: str) -> list[Element]:
        """Return the children of that name."""
        return [child for child in self.children if child.name == name]


#: an element, with the positions of children that lead to it from the root element
Placed = tuple[tuple[int, ...], Element]


@dataclass(frozen=True)
class Attribute:
    """The positions of an attribute: of the white space before it, and of the start and end of its value."""

    start: int
    value: int
    end: int


def attribute(text: bytes, element: Element, name: str) -> Attribute | None:
    """Return the positions of an element's attribute; None if it does not exist."""
    for match in _ATTRIBUTE.finditer(text, element.start, element.inside):
        if match[1] == name.encode():
            return Attribute(match.start(), match.start(2) + 1, match.end(2) - 1)
    return None


def read(text: bytes) -> Element:
    """Return the root element. Raises InvalidRequest if the text is not XML in UTF-8, or has a document type."""
    try:
        if "\0" in text.decode():  # expat detects UTF-16 by its byte order mark or zeros, despite the given encoding
            raise InvalidRequest("is not XML in UTF-8: it has a zero byte")
        return _elements(text)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"is not XML in UTF-8: byte {error.start} is 0x{text[error.start]:02x}") from None
    except expat.ExpatError as error:
        reason, _, place = str(error).partition(": ")
        raise InvalidRequest(f"is not XML in UTF-8: {reason}" + (f" ({place})" if place else "")) from None


def _elements(text: bytes) -> Element:
    """Return the root element, from one run of expat."""
    top = Element("", {}, 0, 0)
    stack = [top]
    parser = expat.ParserCreate("utf-8", " ")

    def declared(version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and not _is_utf8(encoding):
            raise InvalidRequest(f"expected XML in UTF-8, got encoding {encoding[:40]!r}: convert it first")

    def refuse(*about: object) -> None:
        raise InvalidRequest("has a document type or entities, which are not accepted: remove them")

    def begin(name: str, attributes: dict[str, str]) -> None:
        start = parser.CurrentByteIndex
        tag = _START_TAG.match(text, start)
        assert tag, "expat has found a start tag here"
        stack[-1].children.append(Element(name, attributes, start, tag.end()))
        stack.append(stack[-1].children[-1])

    def finish(name: str) -> None:
        element = stack.pop()
        empty = text.endswith(b"/>", element.start, element.inside)
        element.end = element.inside if empty else text.index(b">", parser.CurrentByteIndex) + 1

    parser.XmlDeclHandler, parser.StartDoctypeDeclHandler = declared, refuse
    parser.StartElementHandler, parser.EndElementHandler = begin, finish
    parser.Parse(text, True)
    return top.children[0]


def _is_utf8(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name == "utf-8"
    except LookupError:
        return False


def at(text: bytes, path: Iterable[int]) -> Element:
    """Return the element to which the positions of children lead from the root element."""
    found = read(text)
    for position in path:
        found = found.children[position]
    return found


def paths(root: Element, names: Iterable[str]) -> list[Placed]:
    """Return each element that has those names on the way from the root, ``*`` being any, with its path."""
    found: list[Placed] = [((), root)]
    for name in names:
        found = [
            ((*path, position), child)
            for path, element in found
            for position, child in enumerate(element.children)
            if name in ("*", child.name)
        ]
    return found


def line_indent(text: bytes, at: int) -> bytes | None:
    """Return the white space before ``at`` on its line; None if anything else is before it."""
    before = text[text.rfind(b"\n", 0, at) + 1 : at]
    return None if before.strip(b" \t") else before
