"""FILE arguments: a VIF as a JSON document or as libvirt's ``<interface>`` element, in a file or on standard input."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from vifplug.cli.app import AlreadyReported, App
from vifplug.driver.standalone import interface_xml, libvirts_xml
from vifplug.errors import InvalidDocument, InvalidRequest, Problem
from vifplug.model.codec import FrozenMap, json_object
from vifplug.model.vif import VIF
from vifplug.plugins import TypeRegistry

if TYPE_CHECKING:
    from vifplug.guest.domain.live import RunningGuest

STDIN = "-"

T = TypeVar("T")

#: The most bytes that are read of a file. A document has some hundred; a disk image, given by mistake, has gigabytes.
_LARGEST = 1 << 20


def read_all(app: App, paths: Sequence[str], *, neutron: bool = False) -> list[tuple[VIF, str]]:
    """Return the VIFs in the files, each with its element; ``neutron``: the files hold bound ports.

    Raises AlreadyReported after every problem of every file is printed.
    """
    types = TypeRegistry(app.settings().enabled_types)
    parse = _bound if neutron else read

    def with_element(path: str) -> tuple[VIF, str]:
        vif = parse(path)
        return vif, element(app, vif, types)

    return each(app, paths, with_element)


def read_guest(app: App, path: str) -> tuple[list[VIF], list[str]]:
    """Return the VIFs of a guest (one from a VIF's document, all from a domain), and why others are unreadable.

    Raises AlreadyReported if the file cannot be read.
    """
    [(vifs, wrong)] = each(app, [path], _guest)
    return vifs, wrong


def read_running(app: App, path: str) -> RunningGuest:
    """Return a running guest, from its live definition. Raises AlreadyReported if the file cannot be read."""
    from vifplug.guest.domain import live

    [guest] = each(app, [path], lambda path: live.guest(_text(path)))
    return guest


def _guest(path: str) -> tuple[list[VIF], list[str]]:
    content = _text(path)
    if content.startswith(b"<"):
        from vifplug.guest import read, xml

        if xml.root_name(content) == "domain":
            return read.domain(content)
    return [_vif(content)], []


def each(app: App, paths: Sequence[str], make: Callable[[str], T]) -> list[T]:
    """Call ``make`` for each path. Raises AlreadyReported after every problem of every file is printed."""
    found: list[T] = []
    for path in paths:
        try:
            found.append(make(path))
        except InvalidRequest as error:
            app.complain(error, about="standard input" if path == STDIN else path)
    if len(found) < len(paths):
        raise AlreadyReported
    return found


def read(path: str) -> VIF:
    """Return the VIF in a file. Raises InvalidRequest."""
    return _vif(_text(path))


def _bound(path: str) -> VIF:
    """Return the VIF of the bound port in a file. Raises InvalidRequest."""
    from vifplug.neutron import vif_from_binding

    document = json_object(_decoded(_text(path)), "bound port")
    unknown = document.keys() - {"port", "guest"}
    problems = [Problem(f"$.{key}", "unknown key (expected one of: port, guest)") for key in unknown]
    if problems:
        raise InvalidDocument(sorted(problems))
    return vif_from_binding(document.get("port"), document.get("guest"))


def _vif(content: bytes) -> VIF:
    if content.startswith(b"<"):
        return VIF.from_xml(content)
    if content.startswith(b"["):
        raise InvalidDocument([Problem("$", "expected one VIF document, got a list: give each VIF a file of its own")])
    return VIF.from_json(_decoded(content))


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"not UTF-8 text: byte {error.start} is 0x{content[error.start]:02x}") from error


def element(app: App, vif: VIF, types: TypeRegistry | None = None, *, libvirts: bool = False) -> str:
    """Return a VIF's element; ``libvirts``: the one with which libvirt would do all the work."""
    types = types or TypeRegistry(app.settings().enabled_types)
    kinds = [] if vif.type == "network" else [types.get(vif.type)]
    settings = app.settings(kinds)
    spell = libvirts_xml if libvirts else interface_xml
    return spell(vif, settings.common, types, settings.types.get(vif.type, FrozenMap()), app.facts)


def _text(path: str) -> bytes:
    content = read_bytes(path).removeprefix(codecs.BOM_UTF8).strip()
    if not content:
        raise InvalidDocument([Problem("$", "expected a VIF document, got nothing")])
    return content


def read_bytes(path: str) -> bytes:
    """Return the bytes of a file. Raises InvalidRequest."""
    try:
        with open(0 if path == STDIN else path, "rb", closefd=path != STDIN) as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise InvalidRequest(f"cannot be read: {error.strerror}", path=path) from error
    if len(content) > _LARGEST:
        raise InvalidRequest(f"not a VIF document: longer than {_LARGEST >> 20} MiB")
    return content
