"""What verbs answer, for people and for programs: cliff's formats, and libvirt's element as it stands."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import stevedore
from cliff import columns, command, display, lister, show
from cliff.formatters import base
from cliff.formatters.shell import ShellFormatter
from stevedore.extension import Extension

from vifplug.cli.app import App, writing
from vifplug.errors import InvalidRequest
from vifplug.model.codec import Model, joined
from vifplug.model.names import parse_uuid

if TYPE_CHECKING:
    _Column = columns.FormattableColumn[Any]
    _Display = display.DisplayCommandBase[Any]
else:  # not generic in cliff before 4.12
    _Column = columns.FormattableColumn
    _Display = display.DisplayCommandBase

#: the help of FILE arguments
FILE = "a VIF, as a JSON document or as libvirt's <interface> element; - is standard input"

#: the format that is the element and nothing else
XML = "xml"
#: formats that can hold data within data, so that they hold everything
STRUCTURED = ("json", "yaml")


Answer = tuple[Sequence[str], Iterable[Any]]


class Shown(_Column):
    """A value of a row: plain data for a program, and a string for a person."""

    def __init__(self, value: Any, text: str) -> None:
        super().__init__(plain(value))
        self._text = text

    def human_readable(self) -> str:
        return self._text


def file_argument(parser: argparse.ArgumentParser, name: str = "file", nargs: str | None = None) -> None:
    """Add the FILE argument of a VIF, and the option that reads it as a bound port."""
    parser.add_argument(name, nargs=nargs, metavar="FILE", help=FILE)
    message = 'FILE contains a port that Neutron has bound, and its guest: {"port": ..., "guest": ...}'
    parser.add_argument("--neutron", action="store_true", help=message)


def instance_option(parser: argparse.ArgumentParser, message: str) -> None:
    """Add the option that chooses the VIFs of a guest."""
    parser.add_argument("--instance", metavar="UUID", type=_instance, help=message)


def _instance(text: str) -> str:
    try:
        return parse_uuid(text)
    except ValueError as error:
        raise InvalidRequest(f"--instance: {error}") from None


def lines(values: Iterable[object]) -> Shown:
    """Several strings: a list for a program, a line each for a person."""
    texts = [str(value) for value in values]
    return Shown(texts, "\n".join(texts))


def data(value: Any) -> Shown:
    """Data within data: for a person, an indented outline."""
    return Shown(value, "\n".join(_outline(plain(value))))


def plain(value: Any) -> Any:
    """Return ``value`` in JSON's types."""
    if isinstance(value, Model):
        return value.to_data()
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


class Elements(base.ListFormatter, base.SingleFormatter):
    """Prints the column ``interface_xml`` of each row, so that a file which takes it has the elements alone."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        return None

    def emit_list(
        self,
        column_names: Sequence[str],
        data: Iterable[Sequence[Any]],
        stdout: TextIO,
        parsed_args: argparse.Namespace,
    ) -> None:
        for row in data:
            self.emit_one(column_names, row, stdout, parsed_args)

    def emit_one(
        self, column_names: Sequence[str], data: Sequence[Any], stdout: TextIO, parsed_args: argparse.Namespace
    ) -> None:
        print(dict(zip(column_names, data, strict=True))["interface_xml"], file=stdout)


class Verb(command.Command):
    """Base of all verbs. ``exit_code``: the exit code if nothing is raised."""

    app: App
    exit_code = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        self.arguments(parser)
        return parser

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's arguments."""

    def get_epilog(self) -> str:
        """Return no epilog. cliff would read the metadata of every installed distribution to name the verb's."""
        return ""


class Shell(ShellFormatter):
    """Prints ``name='value'``. cliff's own quotes by ``"``, between which a shell runs ``$(command)``."""

    def emit_one(
        self, column_names: Sequence[str], data: Sequence[Any], stdout: TextIO, parsed_args: argparse.Namespace
    ) -> None:
        for name, value in zip(column_names, data, strict=True):
            variable = re.sub(r"\W", "_", name.lower(), flags=re.ASCII)
            if variable in parsed_args.variables or not parsed_args.variables:
                found = value.machine_readable() if isinstance(value, columns.FormattableColumn) else value
                stdout.write(f"{parsed_args.prefix}{variable}={shlex.quote(str(found))}\n")


class _Answering(Verb, _Display):
    """A verb with an answer. ``columns`` are all that it has, ``brief`` those of a table where none are chosen."""

    columns: Sequence[str]
    brief: Sequence[str] = ()

    def _load_formatter_plugins(self) -> stevedore.ExtensionManager[Any]:
        manager = super()._load_formatter_plugins()
        for extension in manager.extensions:
            if extension.name == "shell":
                extension.obj = Shell()
        return manager

    def run(self, parsed_args: argparse.Namespace) -> int:
        unknown = [name for name in parsed_args.columns if self._normalize_column_name(name) not in self.columns]
        if unknown:
            raise InvalidRequest(f"{unknown[0]}: unknown column (expected {joined(self.columns)})")
        if parsed_args.formatter == XML:
            parsed_args.columns = []
        elif not parsed_args.columns and parsed_args.formatter not in STRUCTURED:
            parsed_args.columns = list(self.brief)
        super().run(parsed_args)
        return self.exit_code


class Lister(_Answering, lister.Lister):
    """A verb that answers with a list. ``nothing`` is the sentence to print instead of an empty table."""

    nothing = ""

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Iterable[Sequence[Any]]
    ) -> int:
        rows = list(data)
        with writing(self.app.stdout):
            if rows or parsed_args.formatter != "table":
                return super().produce_output(parsed_args, column_names, rows)
            if self.nothing:
                print(self.nothing, file=self.app.stdout)
        return 0


class ShowOne(_Answering, show.ShowOne):
    """A verb that answers with one thing."""

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Sequence[Any]) -> int:
        with writing(self.app.stdout):
            return super().produce_output(parsed_args, column_names, data)


class PrintsElement(_Answering):
    """A verb that prints the element: format xml is the default."""

    @property
    def formatter_default(self) -> str:
        return XML

    def _load_formatter_plugins(self) -> stevedore.ExtensionManager[Any]:
        manager = super()._load_formatter_plugins()
        manager.extensions.append(Extension(XML, None, Elements, Elements()))  # type: ignore[arg-type]
        return manager


def _outline(value: Any, indent: str = "") -> list[str]:
    """Return ``key: value`` lines; other values as in JSON, a string without its quotes."""
    if not isinstance(value, dict):
        return [] if value is None else [indent + _scalar(value)]
    found = []
    for key, each in value.items():
        nested = isinstance(each, dict) and each
        found += [f"{indent}{key}:", *_outline(each, indent + "  ")] if nested else [f"{indent}{key}: {_scalar(each)}"]
    return found


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
