"""The verb xml edit: one interface of a libvirt domain's text, and a file that is replaced whole or not at all."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from vifplug.cli.app import writing
from vifplug.cli.output import Verb
from vifplug.errors import HostNotReady, InvalidDocument, InvalidRequest

if TYPE_CHECKING:
    from vifplug.guest.domain.change import InterfaceEdit
    from vifplug.model.vif import VIF

STDIN = "-"

T = TypeVar("T")


class XmlEdit(Verb):
    """change one interface of a libvirt domain's XML, and keep every other byte.

    What the new connection does not support is removed, and printed on standard error. If vifplug's hook plugs the
    interface, its VIF in the guest's metadata is changed.

    --network and --portgroup remove the VLAN of the interface, which would override the network's, unless --vlan or
    --trunk sets one. The virtualport is kept, unless --virtualport changes it.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="DOMAIN.xml", help="a <domain> or one <interface>; - is standard input")
        _connection_options(parser)
        _vlan_options(parser)
        parser.add_argument("--in-place", action="store_true", help="replace the file; nothing is printed")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from vifplug.cli import documents

        if parsed_args.in_place and parsed_args.file == STDIN:
            raise InvalidRequest("--in-place needs a file, got - (standard input)")
        change = _change(parsed_args)
        documents.each(self.app, [parsed_args.file], lambda path: self._edit(path, change, parsed_args))

    def _edit(self, path: str, change: InterfaceEdit, parsed_args: argparse.Namespace) -> None:
        from vifplug.cli import documents
        from vifplug.guest.domain import edit

        text = documents.read_bytes(path)
        edited = edit.edit(text, parsed_args.mac, change, number=parsed_args.number)
        if edited.described:
            self._check(edited.described.vif)
        for sentence in edited.removed:
            self.app.say(f"{path}: {sentence}")
        if not parsed_args.in_place:
            with writing(self.app.stdout):
                if self.app.stdout.isatty():  # where control characters are escaped
                    self.app.stdout.write(edited.text.decode(errors="replace"))
                else:
                    self.app.stdout.buffer.write(edited.text)
        elif edited.text != text:
            replace(path, edited.text)

    def _check(self, vif: VIF) -> None:
        """Raise InvalidRequest for a VIF that its type refuses, as the hook would when the guest starts.

        A network is not looked up: the guest may start on another host.
        """
        from vifplug.cli import documents

        if vif.type != "network":
            with contextlib.suppress(HostNotReady):
                documents.element(self.app, vif)


def replace(path: str, content: bytes) -> None:
    """Replace the content of a file atomically. Its mode and owner stay, and a link still leads to it.

    Raises:
        InvalidRequest: the path is no file.
        HostNotReady: the file could not be written; it is unchanged.
    """
    path = os.path.realpath(path)
    if not os.path.isfile(path):
        raise InvalidRequest("--in-place needs a file")
    try:
        handle, beside = tempfile.mkstemp(dir=os.path.dirname(path), prefix=f".{os.path.basename(path)}.")
        try:
            _write(handle, content, os.stat(path))
            os.replace(beside, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)
            raise
    except OSError as error:
        raise HostNotReady(f"{path} could not be replaced, and is unchanged: {error.strerror}", path=path) from error
    with contextlib.suppress(OSError):  # it is replaced; not every file system can make that last at once
        _sync_directory(os.path.dirname(path))


def _write(handle: int, content: bytes, like: os.stat_result) -> None:
    with open(handle, "wb") as file:
        own = os.fstat(handle)
        if (like.st_uid, like.st_gid) != (own.st_uid, own.st_gid):
            os.fchown(handle, like.st_uid, like.st_gid)
        os.fchmod(handle, like.st_mode & 0o7777)  # after chown, which takes set-id bits away
        file.write(content)
        file.flush()
        os.fsync(handle)


def _sync_directory(path: str) -> None:
    """Make the new name survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _connection_options(parser: argparse.ArgumentParser) -> None:
    from vifplug.model.names import parse_device, parse_mac, parse_word

    parser.add_argument("--mac", required=True, type=_checked(parse_mac), help="the MAC address of the interface")
    parser.add_argument("--number", type=int, metavar="N", help="the Nth of the interfaces with this MAC address")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--network", type=_checked(parse_word), metavar="N", help="connect it to the network N")
    one.add_argument("--bridge", type=_checked(parse_device), metavar="B", help="connect it to the bridge B")
    parser.add_argument(
        "--portgroup", type=_checked(parse_word), metavar="P", help="the portgroup, of N or of the interface's network"
    )
    parser.add_argument(
        "--virtualport",
        choices=("openvswitch", "none"),
        help="mark the bridge as Open vSwitch's; none: remove <virtualport>",
    )


def _vlan_options(parser: argparse.ArgumentParser) -> None:
    from vifplug.model.vlan import Vlan

    vlans = _checked(Vlan.from_data)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--vlan", type=vlans, help="1011, or a trunk: 101u,1011-1015 (u, t: native, untagged or tagged)")
    one.add_argument("--trunk", type=vlans, metavar="VLANS", help="the same, but a trunk even for one VLAN")
    one.add_argument("--no-vlan", action="store_true", help="remove the VLAN")


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return ``parse`` for argparse, so that its sentence is printed."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except InvalidDocument as error:
            raise argparse.ArgumentTypeError("; ".join(problem.message for problem in error.problems)) from None
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _change(parsed_args: argparse.Namespace) -> InterfaceEdit:
    from vifplug.guest.domain.change import InterfaceEdit

    trunk = parsed_args.trunk and parsed_args.trunk.replace(trunk=True)
    try:
        return InterfaceEdit(
            network=parsed_args.network,
            portgroup=parsed_args.portgroup,
            bridge=parsed_args.bridge,
            virtualport=parsed_args.virtualport,
            vlan=parsed_args.vlan or trunk,
            no_vlan=parsed_args.no_vlan,
        )
    except InvalidDocument as error:
        raise InvalidRequest("; ".join(problem.message for problem in error.problems)) from None
