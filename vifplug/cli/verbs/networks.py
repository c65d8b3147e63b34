"""The verbs about named networks: network list, show and validate, pool show."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vifplug.cli.app import AlreadyReported
from vifplug.cli.output import Answer, Lister, Shown, ShowOne, data, lines
from vifplug.errors import InvalidDocument, InvalidRequest, Problem
from vifplug.model.codec import joined

if TYPE_CHECKING:
    from vifplug.driver.definitions import NetworkDefinition
    from vifplug.driver.verbs import VIFDriver
    from vifplug.model.network import Network
    from vifplug.networks.pool import PoolDevice


NOTHING = "no networks are defined (they are files in [vifplug] networks_dir)"
NETWORK_FILE = "a file with a network in libvirt's <network> format"


class NetworkList(Lister):
    """list the named networks of this host, and the problem of each invalid definition."""

    columns = ("name", "mode", "on", "portgroups", "vifs", "problem", "file")
    brief = ("name", "mode", "on", "portgroups", "vifs", "problem")
    nothing = NOTHING

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver() as driver:
            used = _used(driver)
            return self.columns, [_listed(each, used.get(each.name, ())) for each in driver.networks.all()]


class NetworkShow(ShowOne):
    """show a named network: its definition, its pool, and the VIFs that are plugged into it."""

    columns = ("name", "file", "definition", "pool", "vifs")

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the name of a network")

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        from vifplug.driver import definitions

        with self.app.driver() as driver:
            network = definitions.get(driver.networks, parsed_args.name)
            place = next((each.place for each in driver.networks.all() if each.name == network.name), "")
            pool = lines(map(_pool_line, driver.pool(network.name)))
            return self.columns, (network.name, place, data(network), pool, lines(_used(driver).get(network.name, ())))


class NetworkValidate(Lister):
    """validate network definitions, in files or all of this host, and print every problem with its line.

    Portgroups that no VIF could use are problems as well.
    """

    columns = ("name", "file", "portgroups")
    nothing = NOTHING

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("files", nargs="*", metavar="FILE", help=f"{NETWORK_FILE} (default: all of networks_dir)")

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        found = list(self._definitions(parsed_args.files))
        problems = [(each, problem) for each in found for problem in _problems(each)]
        for definition, problem in problems:
            self.app.say(f"{definition.place}: {problem}")
        if problems:
            raise AlreadyReported
        return self.columns, [(each.name, each.place, _groups(each.network)) for each in found if each.network]

    def _definitions(self, files: Sequence[str]) -> Iterable[NetworkDefinition]:
        from vifplug.driver.definitions import NetworkDirectory

        return read_files(files) if files else NetworkDirectory(self.app.settings().networks_dir).all()


class PoolShow(Lister):
    """show the devices of networks' pools, with their users and problems."""

    columns = ("network", "device", "max", "holders", "problem")
    nothing = "no network has a pool of devices"

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "names", nargs="*", metavar="NETWORK", help="the name of a network (default: all with a pool)"
        )

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        with self.app.driver() as driver:
            names = parsed_args.names or [each.name for each in driver.networks.all() if each.network]
            rows = [(name, device) for name in names for device in driver.pool(name)]
        return self.columns, [
            (name, device.name, Shown(device.limit, str(device.limit or "")), lines(device.holders), device.problem)
            for name, device in rows
        ]


def read_files(paths: Iterable[str]) -> Iterator[NetworkDefinition]:
    """Return the networks that files define. Raises InvalidRequest for an unreadable file."""
    from vifplug.driver import definitions

    for path in paths:
        try:
            yield definitions.from_text(Path(path).read_bytes(), path)
        except OSError as error:
            raise InvalidRequest(f"{path}: cannot be read: {error.strerror}", path=path) from error


def networks(paths: Iterable[str]) -> list[Network]:
    """Return the networks in files. Raises InvalidDocument with every problem of all."""
    found = list(read_files(paths))
    problems = [problem.under(f"{each.place}: ") for each in found for problem in each.problems]
    if problems:
        raise InvalidDocument(problems)
    return [each.network for each in found if each.network]


def _listed(definition: NetworkDefinition, vifs: Sequence[str]) -> tuple[Any, ...]:
    network = definition.network
    if network is None:
        problem = Shown(str(definition), "see `vifplug network validate`")
        return definition.name, "", "", lines(()), len(vifs), problem, definition.place
    on = network.bridge or network.pf or joined(network.members, "and") if network.bridge or network.pooled else ""
    return definition.name, network.mode, on, _groups(network), len(vifs), "", definition.place


def _groups(network: Network) -> Shown:
    names = [group.name + (" (default)" if group.default else "") for group in network.portgroups]
    return Shown([group.to_data() for group in network.portgroups], "\n".join(names))


def _used(driver: VIFDriver) -> dict[str, list[str]]:
    """Return the ids of the VIFs that were plugged into each network."""
    found: dict[str, list[str]] = {}
    for entry in driver.list():
        if not entry.problem and entry.vif.type == "network":
            found.setdefault(entry.vif.source.network, []).append(entry.vif.id)
    return found


def _pool_line(device: PoolDevice) -> str:
    use = f"used by {joined(device.holders, 'and')}" if device.holders else "free"
    return f"{device.name}: {device.problem or use}"


def _problems(definition: NetworkDefinition) -> Iterator[str]:
    """Yield the problems of a definition; of a valid one, the portgroups that no VIF could use."""
    yield from map(str, definition.problems)
    if definition.network:
        for group in definition.network.portgroups:
            yield from (f"portgroup {group.name}: {problem}" for problem in _unusable(definition.network, group.name))


def _unusable(network: Network, portgroup: str) -> Iterator[Problem]:
    """Return why no VIF could use a portgroup. A VIF may supply what is missing."""
    from vifplug.model.vif import VIF
    from vifplug.networks.resolve import resolve_assuming_free

    source = {"network": network.name, "portgroup": portgroup}
    probe = VIF.from_json({"id": "0" * 32, "mac": "52:54:00:00:00:01", "type": "network", "source": source})
    try:
        resolve_assuming_free(probe, network)
    except InvalidDocument as error:
        yield from (problem for problem in error.problems if "is missing" not in problem.message)
