"""The byte positions of the elements in an XML text, for changing the text without changing its spelling.

expat finds the elements; it tells comments and CDATA from elements as libvirt's parser does. Patterns then find the
attributes in the start tags, which are well-formed by then.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from vifplug.errors import InvalidRequest

_START_TAG = re.compile(rb"""<[^\s/>]+(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*/?>""")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')""")
_NO_ENTITIES = "has a document type or entities, which are not accepted: remove them"


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

    def all(self, name: str) -> list[Element]:
        """Return the children of that name."""
        return [child for child in self.children if child.name == name]


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
        return _Builder(text).root()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"is not XML in UTF-8: byte {error.start} is 0x{text[error.start]:02x}") from None
    except expat.ExpatError as error:
        reason, _, place = str(error).partition(": ")
        raise InvalidRequest(f"is not XML in UTF-8: {reason}" + (f" ({place})" if place else "")) from None


class _Builder:
    """Collects the elements from one run of expat."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._top = Element("", {}, 0, 0)
        self._open = [self._top]
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.XmlDeclHandler = self._declared
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._finish

    def root(self) -> Element:
        self._parser.Parse(self._text, True)
        return self._top.children[0]

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and not _is_utf8(encoding):
            raise InvalidRequest(f"expected XML in UTF-8, got encoding {encoding[:40]!r}: convert it first")

    def _refuse(self, *about: object) -> None:
        raise InvalidRequest(_NO_ENTITIES)

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        start = self._parser.CurrentByteIndex
        tag = _START_TAG.match(self._text, start)
        assert tag, "expat has found a start tag here"
        element = Element(name, attributes, start, tag.end())
        self._open[-1].children.append(element)
        self._open.append(element)

    def _finish(self, name: str) -> None:
        element = self._open.pop()
        empty = self._text.endswith(b"/>", element.start, element.inside)
        element.end = element.inside if empty else self._text.index(b">", self._parser.CurrentByteIndex) + 1


def _is_utf8(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name == "utf-8"
    except LookupError:
        return False


def line_indent(text: bytes, at: int) -> bytes | None:
    """Return the white space before ``at`` on its line; None if anything else is before it."""
    before = text[text.rfind(b"\n", 0, at) + 1 : at]
    return None if before.strip(b" \t") else before


def descend(element: Element, path: tuple[str, ...]) -> Iterator[Element]:
    """Yield the elements at a path below ``element``."""
    found = [element]
    for name in path:
        found = [child for each in found for child in each.all(name)]
    yield from found
