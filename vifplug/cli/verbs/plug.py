"""The verbs that change the host: plug, unplug, update, settle."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vifplug.cli.output import Answer, Lister, PrintsElement, ShowOne, data, file_argument, instance_option, lines
from vifplug.cli.progress import meter
from vifplug.errors import InvalidDocument, InvalidRequest, PartlyDone, VifplugError

if TYPE_CHECKING:
    from vifplug.driver.verbs import Plugged, VIFDriver
    from vifplug.model.vif import Instance
    from vifplug.plan.steps import Step


class _Plugging(PrintsElement):
    """A verb that answers with plugged VIFs."""

    columns = ("vif_id", "device", "changed", "interface_xml", "actual", "steps")
    brief = ("vif_id", "device", "changed", "steps")

    def rows(self, plugged: Iterable[Plugged]) -> list[tuple[Any, ...]]:
        """Return a row for each VIF, and print what there is to warn of."""
        plugged = list(plugged)
        self.app.warn(sentence for each in plugged for sentence in each.warnings)
        return list(map(_plugged, plugged))


class Plug(_Plugging, Lister):
    """plug VIFs, all or none, and print the interface element of each.

    Plugging again changes nothing. --dry-run changes nothing and prints the steps that plug would apply.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        _instance_options(parser)
        file_argument(parser, "files", "*")
        parser.add_argument(
            "--recorded",
            action="append",
            default=[],
            metavar="ID",
            help="plug a VIF again as it is recorded; may be given several times",
        )
        parser.add_argument("--dry-run", action="store_true", help="change nothing; print the steps as a table")
        _wait_option(parser)
        parser.set_defaults(formatter=None)

    def run(self, parsed_args: argparse.Namespace) -> int:
        if parsed_args.formatter is None:
            parsed_args.formatter = "table" if parsed_args.dry_run else self.formatter_default
        return super().run(parsed_args)

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        from vifplug.cli import documents

        instance = _instance(parsed_args)
        read = documents.read_all(self.app, parsed_args.files, neutron=parsed_args.neutron)
        pairs = [(vif, instance) for vif, _ in read]
        if not pairs and not parsed_args.recorded:
            raise InvalidRequest("plug: give a FILE, or --recorded with the id of a VIF")
        with self.app.driver(wait=parsed_args.wait) as driver:
            pairs += [(entry.vif, instance) for entry in map(driver.show, parsed_args.recorded)]
            if parsed_args.dry_run:
                return self.columns, self.rows(driver.plan_many(pairs, take_over=parsed_args.take_over))
            with meter(self.app.stderr, f"plugging {len(pairs)} VIFs", shown=len(pairs) > 1) as show:
                plugged = driver.plug_many(pairs, progress=show, take_over=parsed_args.take_over)
            return self.columns, self.rows(plugged)


class Update(_Plugging, ShowOne):
    """change a plugged VIF to match its document, in place if possible, and print the element."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        _instance_options(parser)
        file_argument(parser)
        parser.add_argument("--dry-run", action="store_true", help="change nothing; -f json prints the steps")
        _wait_option(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        from vifplug.cli import documents

        [(vif, _)] = documents.read_all(self.app, [parsed_args.file], neutron=parsed_args.neutron)
        with self.app.driver(wait=parsed_args.wait) as driver:
            keys = {"take_over": parsed_args.take_over, "dry_run": parsed_args.dry_run}
            updated = driver.update(vif, _instance(parsed_args), **keys)
        return self.columns, self.rows([updated])[0]


class NetworkUpdate(_Plugging, Lister):
    """change every VIF of a network to match the network's definition, in place if possible: all or none.

    Prints the interface element of each.
    """

    nothing = "no VIF is plugged into the network"

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the name of a network")

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver() as driver:
            return self.columns, self.rows(driver.update_network(parsed_args.name))


class Unplug(Lister):
    """unplug VIFs by their ids; unplugging a VIF that is not plugged succeeds.

    If a VIF is refused, the others are still unplugged.
    """

    columns = ("vif_id", "changed", "steps")

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help="the id of a VIF")
        instance_option(parser, "unplug the VIFs of this guest")
        parser.add_argument("--all", action="store_true", help="unplug every VIF that is recorded")
        parser.add_argument("--force", action="store_true", help="unplug even while a guest has the device open")

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        ids, force = parsed_args.ids, parsed_args.force
        if [bool(ids), bool(parsed_args.instance), parsed_args.all].count(True) != 1:
            raise InvalidRequest("unplug: give the ids of VIFs, or --instance, or --all, and only one of these")
        with self.app.driver() as driver:
            ids = ids or [each.id for each in driver.list() if each.is_of_guest(parsed_args.instance)]
            try:
                unplugged = driver.unplug_many(ids, force=force)
            except PartlyDone as error:
                self.exit_code = self.app.complain(error)
                return self.columns, list(itertools.starmap(_taken, error.unplugged.items()))
            except VifplugError as error:
                if len(ids) == 1:
                    self.exit_code = self.app.complain(error)
                    return self.columns, []
                return self.columns, list(self._one_by_one(driver, ids, force=force))
        return self.columns, list(map(_taken, ids, unplugged))

    def _one_by_one(self, driver: VIFDriver, ids: Sequence[str], *, force: bool) -> Iterator[tuple[Any, ...]]:
        """Yield the row of each VIF that is not refused."""
        for vif_id in ids:
            try:
                yield _taken(vif_id, driver.unplug(vif_id, force=force))
            except VifplugError as error:
                self.exit_code = max(self.exit_code, self.app.complain(error))


class Settle(ShowOne):
    """restore what libvirt reset when it started the guest: QoS of the tap, settings of a virtual function."""

    columns = ("vif_id", "changed", "steps")

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help="the id of a VIF")
        _wait_option(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver(wait=parsed_args.wait) as driver:
            return self.columns, _taken(parsed_args.id, driver.settle(parsed_args.id))


def _instance_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--instance-uuid", metavar="UUID", help="the guest that the VIFs belong to")
    parser.add_argument("--instance-name", metavar="NAME", help="the name of that guest, for people")
    take_over_option(parser)


def take_over_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--take-over", action="store_true", help="take a VIF that is recorded for another guest, which loses it"
    )


def _wait_option(parser: argparse.ArgumentParser) -> None:
    from vifplug.host.ovs.settings import WAITS

    parser.add_argument(
        "--wait",
        choices=WAITS,
        help="wait until an Open vSwitch port is in the database (none), created by ovs-vswitchd (ofport), or has its "
        "flows from OVN (ovn-installed); overrides [vifplug_ovs] wait",
    )


def _instance(parsed_args: argparse.Namespace) -> Instance | None:
    from vifplug.model.vif import Instance

    if parsed_args.instance_uuid is None:
        if parsed_args.instance_name is not None:
            raise InvalidRequest("--instance-name: needs --instance-uuid, because names are not unique")
        return None
    try:
        return Instance(uuid=parsed_args.instance_uuid, name=parsed_args.instance_name)
    except InvalidDocument as error:
        raise InvalidDocument(error.problems, "the instance") from None


def _plugged(plugged: Plugged) -> tuple[Any, ...]:
    """Return one row of a plugging verb."""
    actual = plugged.actual
    element, steps = plugged.interface_xml, lines(plugged.steps)
    return plugged.vif.id, data(actual.target), plugged.changed, element, data(actual), steps


def _taken(vif_id: str, steps: Sequence[Step]) -> tuple[Any, ...]:
    return vif_id, bool(steps), lines(steps)
