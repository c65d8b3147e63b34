"""The verb adopt."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vifplug.cli.output import Answer, Lister, data, lines
from vifplug.cli.verbs.plug import take_over_option
from vifplug.errors import InvalidRequest, VifplugError

if TYPE_CHECKING:
    from vifplug.driver.adoption import Adopted
    from vifplug.driver.verbs import VIFDriver
    from vifplug.guest.domain.live import RunningGuest


class Adopt(Lister):
    """record the ports that libvirt created for a running guest, and check them; the host is not changed.

    If an interface is refused, the others are still adopted. Differences from the guest's definition are printed, as
    `check` prints them later.
    """

    columns = ("vif_id", "device", "changed", "interface_xml", "actual", "differences")
    brief = ("vif_id", "device", "changed", "differences")

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "file",
            metavar="DOMAIN.xml",
            help="the output of `virsh dumpxml` for the running guest; - is standard input",
        )
        parser.add_argument("--dry-run", action="store_true", help="record nothing; print what would be recorded")
        take_over_option(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        from vifplug.cli import documents

        guest = documents.read_running(self.app, parsed_args.file)
        for sentence in guest.left:
            self.app.say(sentence)
        for sentence in guest.wrong:
            self.app.say(sentence)
            self.exit_code = InvalidRequest.exit_code
        with self.app.driver() as driver:
            adopted = list(self._each(driver, guest, parsed_args))
        self.app.warn(sentence for each in adopted for sentence in each.warnings)
        rows = list(map(_row, adopted))
        self.nothing = "" if self.exit_code else "the guest has no interface that libvirt plugged"
        return self.columns, rows

    def _each(self, driver: VIFDriver, guest: RunningGuest, parsed_args: argparse.Namespace) -> Iterator[Adopted]:
        for each in guest.interfaces:
            asked = {each.vif.id: each.asked} if each.asked else {}
            try:
                yield from driver.adopt(
                    [(each.vif, guest.instance)],
                    requested=asked,
                    dry_run=parsed_args.dry_run,
                    take_over=parsed_args.take_over,
                )
            except VifplugError as error:
                self.exit_code = max(self.exit_code, self.app.complain(error))


def _row(adopted: Adopted) -> tuple[Any, ...]:
    actual, element, different = adopted.actual, adopted.interface_xml, lines(adopted.differences)
    return adopted.vif.id, data(actual.target), adopted.changed, element, data(actual), different
