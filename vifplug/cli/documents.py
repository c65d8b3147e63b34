"""FILE arguments: a VIF as a JSON document or as libvirt's ``<interface>`` element, in a file or on standard input."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from vifplug.cli.app import App, Told
from vifplug.element import interface_xml
from vifplug.errors import InvalidDocument, InvalidRequest, Problem
from vifplug.model.codec import FrozenMap
from vifplug.model.vif import VIF
from vifplug.plugins import Types

STDIN = "-"

#: A document has some hundred bytes. Who names a disk image by mistake is told so, and its gigabytes are not read.
_LARGEST = 1 << 20


def read_all(app: App, paths: Sequence[str]) -> list[tuple[VIF, str]]:
    """The VIFs in the files, each with its element under this configuration.

    Raises Told once every problem of every file has been told.
    """
    types = Types(app.settings().enabled_types)
    found: list[tuple[VIF, str]] = []
    for path in paths:
        try:
            vif = read(path)
            found.append((vif, _element(app, vif, types)))
        except InvalidRequest as error:
            app.complain(error, about="standard input" if path == STDIN else path)
    if len(found) < len(paths):
        raise Told
    return found


def read(path: str) -> VIF:
    """The VIF in a file. Raises InvalidRequest when there is none."""
    content = _content(path).removeprefix(codecs.BOM_UTF8).strip()
    if not content:
        raise InvalidDocument([Problem("$", "wanted a VIF document, found nothing")])
    if content.startswith(b"<"):
        return VIF.from_xml(content)
    if content.startswith(b"["):
        raise InvalidDocument([Problem("$", "wanted one VIF document, found a list: give each VIF a file of its own")])
    try:
        return VIF.from_json(content.decode())
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"is not UTF-8 text: byte {error.start} is 0x{content[error.start]:02x}") from error


def _element(app: App, vif: VIF, types: Types) -> str:
    kinds = [] if vif.type == "network" else [types.get(vif.type)]
    settings = app.settings(kinds)
    return interface_xml(vif, settings.common, types, settings.types.get(vif.type, FrozenMap()))


def _content(path: str) -> bytes:
    try:
        with open(0 if path == STDIN else path, "rb", closefd=path != STDIN) as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise InvalidRequest(f"can't be read: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise InvalidRequest(f"is longer than {_LARGEST >> 20} MiB: that is no VIF document")
    return content
