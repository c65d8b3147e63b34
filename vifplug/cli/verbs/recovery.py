"""The verbs of day two: reconcile, recover, gc."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vifplug.cli.output import Answer, Lister, lines

if TYPE_CHECKING:
    from vifplug.driver.recovery import Outcome


class _Mending(Lister):
    """A verb over many VIFs: answers with those that it changed, and complains of those that it could not mend."""

    columns = ("vif_id", "changed", "steps")
    nothing = "nothing to do"

    def rows(self, outcomes: Sequence[Outcome]) -> list[tuple[Any, ...]]:
        errors = {str(each.error): each.error for each in outcomes if each.error}  # one may stop many VIFs
        self.exit_code = max([self.exit_code, *map(self.app.complain, errors.values())])
        return [(each.vif_id, True, lines(each.steps)) for each in outcomes if each.steps]


class Reconcile(_Mending):
    """bring plugged VIFs back to what is recorded, after a reboot, say; a VIF that cannot come back stops no other."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help="the id of a VIF (default: all that are plugged)")
        parser.add_argument("--dry-run", action="store_true", help="change nothing; print the steps")

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver() as driver:
            return self.columns, self.rows(driver.reconcile(parsed_args.ids or None, dry_run=parsed_args.dry_run))


class Recover(_Mending):
    """finish or roll back what a killed process began: see `vifplug list` for the states."""

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver() as driver:
            return self.columns, self.rows(driver.recover())


class CollectGarbage(_Mending):
    """remove what carries vifplug's mark and belongs to no recorded VIF; what a guest has open stays."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="remove nothing; print the steps")

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver() as driver:
            return self.columns, self.rows(driver.gc(dry_run=parsed_args.dry_run))
