"""Change one ``<interface>`` in a text, child by child; the rest keeps its spelling."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vifplug.errors import InvalidRequest
from vifplug.guest.domain import spans
from vifplug.guest.domain.spans import Element
from vifplug.model.guestxml import NAMESPACE

#: blanks and comments that may follow an element on its line, and the end of the line
_REST_OF_LINE = re.compile(rb"(?:[ \t]|<!--(?:(?!-->)[^\n])*-->)*?(\r?\n)")
_BLANK_REST = re.compile(rb"[ \t]*\r?\n")


class Patch:
    """``text`` is the document as changed so far; ``path`` leads to the element (`spans.at`).

    The children of an element of vifplug's metadata have its namespace, or none.
    """

    def __init__(self, text: bytes, path: Iterable[int] = ()) -> None:
        self.text = text
        self._path = tuple(path)
        self._indent = spans.line_indent(text, self.root.start) or b""

    @property
    def root(self) -> Element:
        """Return the element, with its positions in the present ``text``."""
        return spans.at(self.text, self._path)

    @property
    def element(self) -> bytes:
        """The text of the element alone."""
        root = self.root
        return self.text[root.start : root.end]

    def child(self, name: str) -> Element | None:
        """Return the child of that name. Raises InvalidRequest if there are several: libvirt may use any of them."""
        found = [each for each in self.root.children if each.name in (name, f"{NAMESPACE} {name}")]
        if len(found) > 1:
            raise InvalidRequest(f"the interface has <{name}> {len(found)} times: keep one of them")
        return found[0] if found else None

    def put(self, name: str, lines: str, after: Iterable[str]) -> None:
        """Replace the child ``name`` by ``lines``, or insert them after the first child of ``after`` that exists.

        ``lines`` have the format of vifplug.guest.write: two spaces for each level, each line with its newline.
        """
        if old := self.child(name):
            indent = spans.line_indent(self.text, old.start)
            self._replace(old.start, old.end, self._laid_out(lines, indent, self._line_end(old)))
            return
        anchor = next(found for each in after if (found := self.child(each)))
        indent, rest = spans.line_indent(self.text, anchor.start), _REST_OF_LINE.match(self.text, anchor.end)
        if indent is None or rest is None:
            self._replace(anchor.end, anchor.end, self._laid_out(lines, None, b""))
        else:
            self._replace(rest.start(1), rest.start(1), rest[1] + indent + self._laid_out(lines, indent, rest[1]))

    def remove(self, name: str) -> None:
        """Remove the child of that name, if there is one."""
        if old := self.child(name):
            self.cut(old)

    def cut(self, old: Element) -> None:
        """Remove a child, and its line if nothing else is on it."""
        indent, rest = spans.line_indent(self.text, old.start), _BLANK_REST.match(self.text, old.end)
        if indent is None or rest is None:
            self._replace(old.start, old.end, b"")
        else:
            self._replace(old.start - len(indent), rest.end(), b"")

    def set_type(self, value: str) -> None:
        """Give the element's attribute ``type`` a value that needs no escaping."""
        root = self.root
        if found := spans.attribute(self.text, root, "type"):
            self._replace(found.value, found.end, value.encode())
        else:
            after_name = self.text.index(root.tag.encode(), root.start) + len(root.tag)
            self._replace(after_name, after_name, f" type='{value}'".encode())

    def drop_attribute(self, element: Element | None, name: str) -> None:
        """Remove an attribute of the element, or of a child of it."""
        if element and (found := spans.attribute(self.text, element, name)):
            self._replace(found.start, found.end + 1, b"")

    def _replace(self, start: int, end: int, by: bytes) -> None:
        self.text = self.text[:start] + by + self.text[end:]

    def _line_end(self, element: Element) -> bytes:
        """Return the line end that the text has before ``element``."""
        return b"\r\n" if self.text[: element.start].rpartition(b"\n")[0].endswith(b"\r") else b"\n"

    def _laid_out(self, lines: str, indent: bytes | None, line_end: bytes) -> bytes:
        """Return the lines, indented by ``indent`` and by their level except the first. No indent: all on one line."""
        if indent is None:
            return "".join(line.strip() for line in lines.splitlines()).encode()
        step = self._step(indent)
        levels = [((len(line) - len(line.lstrip(" "))) // 2 - 1, line.strip()) for line in lines.splitlines()]
        return (line_end + indent).join(step * level + line.encode() for level, line in levels)

    def _step(self, indent: bytes) -> bytes:
        """Return what each level adds to the indentation, derived from that of a child."""
        if indent.startswith(self._indent) and indent != self._indent:
            return indent[len(self._indent) :]
        return b"\t" if b"\t" in indent else b"  "
