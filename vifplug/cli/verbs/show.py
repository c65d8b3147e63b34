"""The verbs that change nothing: xml, check, status, list, show, types, host-info."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from vifplug.cli.output import (
    Answer,
    Lister,
    PrintsElement,
    Shown,
    ShowOne,
    data,
    file_argument,
    instance_option,
    lines,
)
from vifplug.cli.verbs import placement
from vifplug.errors import HostNotReady, InvalidRequest, VifplugError

if TYPE_CHECKING:
    from vifplug.driver.records import StoredVif

T = TypeVar("T")

DIFFERENT = 1
NOTHING = "no VIF is plugged"


class Xml(PrintsElement, ShowOne):
    """print the interface element of a VIF; the host is not queried or changed.

    For a VIF of a named network, it is the element of its resolved form, if the network is defined.
    """

    columns = ("vif_id", "interface_xml")

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        placement.network_option(parser)
        file_argument(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        from vifplug.cli import documents

        [(vif, element)] = documents.read_all(self.app, [parsed_args.file], neutron=parsed_args.neutron)
        if vif.type == "network":
            networks = placement.defined(self, parsed_args.network)
            if parsed_args.network or any(each.name == vif.source.network for each in networks.all()):
                element = documents.element(self.app, placement.resolved(self, vif, networks))
        return self.columns, (vif.id, element)


class Check(Lister):
    """compare the host with the records; exit code 1 if they differ.

    With --explain: how each thing is between a guest and its network; exit code 1 if one is wrong.
    """

    columns: Sequence[str] = ("vif_id", "path", "wanted", "found")
    checked = 0

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help="the id of a VIF (default: all that are plugged)")
        parser.add_argument(
            "--explain", action="store_true", help="show the way from the guest of ID to its network instead"
        )

    def run(self, parsed_args: argparse.Namespace) -> int:
        if parsed_args.explain:
            self.columns = ("vif_id", "hop", "name", "state", "detail")
            self.brief = self.columns[len(parsed_args.ids) == 1 :]
            if not parsed_args.ids:
                raise InvalidRequest("check --explain: expected the id of a VIF, got none: `vifplug list` has the ids")
        return super().run(parsed_args)

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver() as driver:
            if parsed_args.explain:
                hops = self._each(parsed_args.ids, lambda vif_id: [(vif_id, each) for each in driver.explain(vif_id)])
                wrong = any(each.state == "wrong" for _, each in hops)
                self.exit_code = max(self.exit_code, DIFFERENT if wrong else 0)
                return self.columns, [(vif_id, each.hop, each.name, each.state, each.detail) for vif_id, each in hops]
            found = self._each(parsed_args.ids, driver.check) if parsed_args.ids else driver.check()
            if not parsed_args.ids:
                self.checked = len(driver.list())
        if self.checked or not self.exit_code:
            self.nothing = _all_well(self.checked)
        self.exit_code = max(self.exit_code, DIFFERENT if found else 0)
        return self.columns, [(each.vif_id, each.path, _value(each.wanted), _value(each.found)) for each in found]

    def _each(self, ids: Iterable[str], look: Callable[[str], Iterable[T]]) -> list[T]:
        """Return what is found; a VIF that cannot be looked at does not hide what is found of the others."""
        found: list[T] = []
        for vif_id in ids:
            try:
                found += look(vif_id)
                self.checked += 1
            except VifplugError as error:
                self.exit_code = max(self.exit_code, self.app.complain(error))
        return found


class Status(Lister):
    """show whether all is well: the record, the kernel, Open vSwitch, what differs, what is marked and not recorded.

    Exit code 1 if something is to be mended, 3 if a verb would fail.
    """

    columns = ("subject", "state", "detail")

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver() as driver:
            found = driver.status()
        codes = {"ok": 0, "different": DIFFERENT, "not ready": HostNotReady.exit_code}
        self.exit_code = max(codes[each.state] for each in found)
        return self.columns, [(each.subject, each.state, each.detail) for each in found]


class List(Lister):
    """list the VIFs that are recorded on this host."""

    columns = ("vif_id", "type", "device", "instance", "state")
    nothing = NOTHING

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        from vifplug.store.store import State

        instance_option(parser, "list the VIFs of this guest")
        parser.add_argument("--state", choices=get_args(State), help="list the VIFs in this state")

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver() as driver:
            found = (each for each in driver.list() if each.is_of_guest(parsed_args.instance))
            entries = [each for each in found if parsed_args.state in (None, each.row.state)]
        for entry in entries:
            if entry.problem:
                self.app.say(entry.problem)
        return self.columns, [_listed(entry) for entry in entries]


class Show(ShowOne):
    """show the record of one VIF."""

    columns = ("vif_id", "state", "changed_at", "instance", "vif", "actual", "interface_xml", "resources")

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help="the id of a VIF")

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver() as driver:
            entry = driver.show(parsed_args.id)
        return self.columns, (
            entry.vif.id,
            entry.state,
            datetime.datetime.fromtimestamp(entry.changed_at, datetime.UTC).isoformat(timespec="seconds"),
            data(entry.instance),
            data(entry.vif),
            data(entry.actual),
            entry.interface_xml,
            lines(entry.resources),
        )


class ListTypes(Lister):
    """list the installed VIF types and third-party resource kinds, and why one cannot be used.

    With --historical: every VIF type that Neutron ports have or had, and the type that each becomes.
    """

    columns = ("plugin", "name", "distribution", "version", "target", "problem")
    historical = ("binding", "vif_type", "when", "becomes", "host", "source")

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--historical", action="store_true", help="list the VIF types of Neutron ports instead")

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        from vifplug import plugins
        from vifplug.neutron.table import TABLE

        if parsed_args.historical:
            rows = [
                (row.name, row.vif_type, row.condition.words, row.becomes or "(refused)", row.outcome, row.source)
                for row in TABLE
            ]
            return self.historical, rows
        report = [*plugins.TypeRegistry(self.app.settings().enabled_types).report(), *plugins.report_resources()]
        message = [(each.plugin, each.origin, each.reason) for each in report]
        return self.columns, [(what, at.name, at.distribution, at.version, at.target, why) for what, at, why in message]


class HostInfo(ShowOne):
    """show what this host offers: networks with their pools, bridges, devices, types, kernel, Open vSwitch, SR-IOV."""

    columns = (
        *("host", "kernel", "open_vswitch", "integration_bridge"),
        *("bridges", "devices", "networks", "sriov", "types"),
    )

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver() as driver:
            info = driver.host_info()
        return self.columns, [data(info[name]) for name in self.columns]


def _listed(entry: StoredVif) -> tuple[Any, ...]:
    if entry.problem:
        return entry.id, "", data(None), Shown(None, ""), "damaged"
    guest = entry.instance
    shown = Shown(guest, (guest.name or guest.uuid) if guest else "")
    return entry.vif.id, entry.vif.type, data(entry.actual.target), shown, entry.state


def _value(value: Any) -> Shown:
    if isinstance(value, dict):
        return data(value)
    return Shown(value, "nothing" if value is None else str(value))


def _all_well(count: int) -> str:
    if count == 0:
        return NOTHING
    return "the VIF is as recorded" if count == 1 else f"all {count} VIFs are as recorded"
