"""The verbs for libvirt's hook: libvirt-hook, which libvirt runs, and hook-xml, for a guest's definition."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from vifplug.cli.output import FILE, Verb
from vifplug.errors import InvalidDocument
from vifplug.model.guestxml import NAMESPACE

if TYPE_CHECKING:
    from vifplug.guest.domain.metadata import DescribedGuest


class LibvirtHook(Verb):
    """plug and unplug the VIFs that a guest's metadata describes; libvirt runs this as its qemu hook.

    The guest's definition is on standard input. For a guest without such metadata, it does nothing.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the guest's name")
        parser.add_argument("operation", metavar="OPERATION", help="prepare, started, reconnect, release or another")
        parser.add_argument("sub", metavar="SUB-OPERATION", help="begin or end")
        parser.add_argument("extra", metavar="EXTRA", nargs="?", help="not used")

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        text = sys.stdin.buffer.read()
        if parsed_args.operation != "release" and NAMESPACE.encode() not in text:
            return 0
        from vifplug.compat import libvirt_hook

        operation = libvirt_hook.OPERATIONS.get((parsed_args.operation, parsed_args.sub))
        if operation is None:
            return 0
        code = self.app.guard(lambda: self._run(operation, parsed_args.name, text))
        return 0 if operation in libvirt_hook.HARMLESS else code

    def _run(self, operation: str, name: str, text: bytes) -> int:
        from vifplug.compat.libvirt_hook import GuestHook
        from vifplug.guest.domain import metadata

        guest: DescribedGuest | None = None
        try:
            guest = metadata.guest(text)
        except InvalidDocument:
            if operation != "release":  # which goes by the record
                raise
        with self.app.driver() as driver:
            hook = GuestHook(driver, name, guest)
            failed = hook.run(operation)
        self.app.warn(hook.warnings)
        return max((self.app.complain(error) for error in failed), default=0)


class HookXml(Verb):
    """print what the hook needs in a guest's definition: the metadata, and the interface of each VIF."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE", help=FILE)

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from vifplug.cli import documents
        from vifplug.guest.domain import metadata

        found = documents.read_all(self.app, parsed_args.files)
        print(metadata.element(vif for vif, _ in found), file=self.app.stdout)
        for _, interface in found:
            print(interface, file=self.app.stdout)
