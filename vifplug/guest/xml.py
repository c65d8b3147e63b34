"""Parse untrusted XML: no entities, no document type, no network, no files, and nothing that takes long."""

from __future__ import annotations

from xml.parsers import expat

from lxml import etree

from vifplug.errors import InvalidDocument, Problem
from vifplug.model.codec import described

#: far above any <interface>: one with all 4094 VLANs has 100 kB
MAX_BYTES = 1 << 20
#: A trunk of all VLANs has 4094 elements, a domain some hundred. libxml2 takes seconds for an element with 40,000
#: attributes (2.9.14), where libvirt's have at most 20.
MAX_ELEMENTS, MAX_ATTRIBUTES = 20_000, 100
#: libxml2 takes 256 levels; the backing chain of a disk has up to 200 (libvirt's virStorageSource limit)
MAX_DEPTH = 250


def parse(text: str | bytes | etree._Element, expected: str) -> etree._Element:
    """Return the root element, which must be called ``expected``.

    An element of another parser is parsed again, so that the result has no comments and no parent.

    Raises:
        InvalidDocument: with one sentence.
    """
    data = _bytes(text)
    if not data.strip():
        raise _refused(f"expected an <{expected}> element, got nothing")
    if len(data) > MAX_BYTES:
        raise _refused(f"expected an <{expected}> element of at most {MAX_BYTES} bytes, got {len(data)}")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise _refused("has a document type or entities, which are not accepted: give the element alone")
    root = _root(data)
    if root.tag != expected:
        raise _refused(_wrong_root(str(root.tag), expected))
    return root


def root_name(text: str | bytes) -> str:
    """Return the name of a document's root element; empty if it is not XML. Comments may precede it."""
    try:
        return str(_root(_bytes(text)).tag)
    except InvalidDocument:
        return ""


def _root(data: bytes) -> etree._Element:
    try:
        _limit(data)
        return etree.fromstring(data, _parser())
    except (expat.ExpatError, etree.XMLSyntaxError, ValueError) as error:
        raise _refused(f"is not XML in UTF-8: {error}") from None


def _limit(data: bytes) -> None:
    """Raise InvalidDocument for a document that is too much for libxml2; expat reads each in linear time."""
    elements = depth = 0

    def begin(name: str, attributes: list[str]) -> None:
        nonlocal elements, depth
        elements, depth = elements + 1, depth + 1
        counts = (("elements", elements, MAX_ELEMENTS), ("levels of elements", depth, MAX_DEPTH))
        for what, count, most in (*counts, ("attributes in one element", len(attributes) // 2, MAX_ATTRIBUTES)):
            if count > most:
                raise _refused(f"line {parser.CurrentLineNumber}: expected at most {most} {what}, got more")

    def finish(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate("utf-8")
    parser.ordered_attributes = True
    parser.StartElementHandler, parser.EndElementHandler = begin, finish
    parser.Parse(data, True)


def without_namespace(element: etree._Element, namespace: str) -> etree._Element:
    """Return a copy in which the elements of ``namespace`` have none. Children are in it where it is the default."""
    made = etree.Element(str(element.tag).removeprefix(f"{{{namespace}}}"), dict(element.attrib))
    made.text, made.tail = element.text, element.tail
    made.extend(without_namespace(child, namespace) for child in element)
    return made


def _bytes(text: str | bytes | etree._Element) -> bytes:
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    return text if isinstance(text, bytes) else etree.tostring(text, encoding="utf-8", with_tail=False)


def _parser() -> etree.XMLParser:
    """Return a parser that reads nothing but its input. The encoding is fixed, so that the checks above hold."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _wrong_root(found: str, expected: str) -> str:
    inside = ", which contains several" if found in ("domain", "devices", "domstatus") else ""
    return f"expected one <{expected}> element, got {described(found)[1:-1]}{inside}: give the <{expected}> alone"


def _refused(sentence: str) -> InvalidDocument:
    return InvalidDocument([Problem("$", sentence)])
