"""The verbs that answer before a plug: resolve, can-plug, candidates."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vifplug.cli.output import FILE, Answer, Lister, Verb, lines
from vifplug.cli.verbs.networks import NETWORK_FILE, networks
from vifplug.errors import InvalidRequest

if TYPE_CHECKING:
    from vifplug.driver.definitions import NetworkDefinitions
    from vifplug.model.vif import VIF


NO = 1

GUEST_FILE = "a VIF, or a whole guest as libvirt's <domain>; - is standard input"


class Resolve(Verb):
    """print the resolved form of a VIF of a named network, as JSON or as libvirt's element.

    The host is not queried: every device of a pool counts as free.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        network_option(parser)
        parser.add_argument("file", metavar="FILE", help=FILE)
        parser.add_argument(
            "--xml", action="store_true", help="print the element with which libvirt itself would plug the VIF"
        )

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from vifplug.cli import documents

        [vif] = documents.each(self.app, [parsed_args.file], documents.read)
        actual = resolved(self, vif, defined(self, parsed_args.network))
        text = (
            documents.element(self.app, actual, libvirts=True)
            if parsed_args.xml
            else json.dumps(actual.to_data(), indent=2)
        )
        print(text, file=self.app.stdout)


class CanPlug(Lister):
    """say whether a VIF, or all VIFs of a guest, could be plugged here, and why not; exit code 1 if not."""

    columns = ("vif_id", "mac", "reason")
    nothing = "can be plugged here"

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help=GUEST_FILE)

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        from vifplug.cli import documents

        vifs, wrong = documents.read_guest(self.app, parsed_args.file)
        with self.app.driver() as driver:
            answer = driver.can_plug(vifs)
        self.app.warn(sentence for _, sentence in answer.warnings)
        found = [(vif.id, vif.mac, reason) for vif, reason in answer.reasons]
        rows = [("", "", reason) for reason in wrong] + found
        self.exit_code = NO if rows else 0
        return self.columns, rows


class Candidates(Lister):
    """say which hosts could take a VIF or a guest, from their `host-info -f json`; exit code 1 if none can.

    To be certain, run can-plug on the host itself.
    """

    columns = ("host", "fits", "reasons")
    nothing = "no host was given"

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help=GUEST_FILE)
        parser.add_argument(
            "--host",
            nargs="+",
            action="extend",
            required=True,
            metavar="FILE",
            help="the host-info of hosts: a document, a list of them, or a directory of *.json files",
        )

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        from vifplug.cli import documents
        from vifplug.networks import candidates

        vifs, wrong = documents.read_guest(self.app, parsed_args.file)
        search = candidates.Search(vifs)
        rows = []
        with _without_gc():
            for name, info in _hosts(parsed_args.host):
                reasons = [*wrong, *search.reasons(info)]
                rows.append((name, not reasons, lines(reasons)))
        self.exit_code = 0 if any(fits for _, fits, _ in rows) else NO
        return self.columns, sorted(rows, key=lambda row: (not row[1], row[0]))


def network_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--network",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help=f"{NETWORK_FILE}, instead of those in [vifplug] networks_dir",
    )


def defined(verb: Verb, files: Sequence[str]) -> NetworkDefinitions:
    """Return the networks in the files, or this host's if none are given. Raises InvalidRequest for a wrong file."""
    from vifplug.driver.definitions import NetworkDirectory, StaticNetworks

    return StaticNetworks(networks(files)) if files else NetworkDirectory(verb.app.settings().networks_dir)


def resolved(verb: Verb, vif: VIF, networks: NetworkDefinitions) -> VIF:
    """Return the actual VIF, with every device of a pool free."""
    from vifplug.driver import definitions
    from vifplug.networks.resolve import resolve

    if vif.type != "network":
        return vif
    bridge = verb.app.settings().integration_bridge
    return resolve(vif, definitions.get(networks, vif.source.network), default_bridge=bridge)


def _hosts(paths: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield each host-info document with the name of its host. Raises InvalidRequest."""
    for path in _files(paths):
        try:
            content = json.loads(Path(path).read_bytes())
        except OSError as error:
            raise InvalidRequest(f"{path}: cannot be read: {error.strerror}", path=path) from error
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"{path}: not JSON: {error}", path=path) from error
        for info in content if isinstance(content, list) else [content]:
            if not isinstance(info, dict) or not isinstance(info.get("host"), str):
                raise InvalidRequest(
                    f"{path}: expected the output of `vifplug host-info -f json`, got a document without host"
                )
            yield info["host"], info


def _files(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        yield from map(str, sorted(Path(path).glob("*.json"))) if Path(path).is_dir() else [path]


@contextlib.contextmanager
def _without_gc() -> Iterator[None]:
    """Disable the garbage collector, which would search thousands of documents that are all in use."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
