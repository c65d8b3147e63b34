"""The application: global options, the configuration, and each error as one sentence and an exit code.

Beside the exit codes of `vifplug.errors`: 70 a bug in vifplug, 74 the answer could not be written (sysexits.h),
130 interrupted, 141 the reader of the answer has gone, 143 terminated (128 + signal, as in a shell).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn, TextIO

from cliff import app
from cliff.command import Command
from cliff.commandmanager import CommandManager
from cliff.help import HelpExit
from stevedore.named import NamedExtensionManager

from vifplug.cli.terminal import printable
from vifplug.errors import InvalidRequest, VifplugError, sentences
from vifplug.model.codec import joined

if TYPE_CHECKING:
    from oslo_config import cfg

    from vifplug.conf import Config
    from vifplug.driver.verbs import VIFDriver
    from vifplug.host.host import Host
    from vifplug.types.base import VIFType

BUG, INTERRUPTED, READER_GONE = 70, 130, 141
#: longer than any verb
_LONGEST_WORD = 80

DESCRIPTION = (
    "Connect virtual machines to networks: print the guest's libvirt element, and create and check the host state."
)

EPILOG = """exit codes:
  0  done, or nothing to do                 4  conflict with another owner
  1  check found differences                5  a step failed; it was rolled back
  2  the request is wrong                   6  a step failed; changes remain
  3  the host is not ready                 70  a bug in vifplug"""


class AlreadyReported(InvalidRequest):
    """The request is wrong, and every reason is on stderr already."""


class NotWritten(VifplugError):
    """The answer could not be written: a full disk, say."""

    exit_code = 74


class ReaderGone(Exception):
    """The reader of the answer closed the pipe (`vifplug list | head`): no error to report."""


class Verbs(CommandManager):
    """The installed verbs. The one that is given is loaded: cliff's own manager loads all."""

    def load_commands(self, namespace: str) -> None:
        manager: NamedExtensionManager[Command] = NamedExtensionManager(namespace, names=[])
        for point in manager.list_entry_points():
            self.commands.setdefault(point.name.replace("_", " "), point)


class App(app.App):
    """``vifplug``. Commands get the configuration and the driver from here, at their first use."""

    NAME = "vifplug"
    LOG = logging.getLogger(NAME)

    def __init__(
        self, version: str, commands: CommandManager, *, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        super().__init__(DESCRIPTION, version, commands, stdout=stdout, stderr=stderr, deferred_help=True)
        self.options = argparse.Namespace(debug=False)

    def build_option_parser(
        self, description: str | None, version: str | None, argparse_kwargs: dict[str, object] | None = None
    ) -> argparse.ArgumentParser:
        layout = {
            "usage": "vifplug [--config-file FILE]... [--config-dir DIR]... [-v | -q] [--debug] VERB ...",
            "epilog": EPILOG,
            "formatter_class": argparse.RawDescriptionHelpFormatter,
            "allow_abbrev": False,
        }
        parser = super().build_option_parser(description, version, {**layout, **(argparse_kwargs or {})})
        parser._option_string_actions["--quiet"].help = "Log errors only: no warnings."  # cliff's means another level
        parser.add_argument(
            "--config-file", action="append", default=[], metavar="FILE", help="Read this configuration file."
        )
        parser.add_argument(
            "--config-dir", action="append", default=[], metavar="DIR", help="Read the *.conf files of this directory."
        )
        return refusing(parser)

    # -- what commands use ------------------------------------------------------------------------------------

    @functools.cached_property
    def conf(self) -> cfg.ConfigOpts:
        """The configuration files' contents. Raises InvalidConfig, NotPermitted."""
        from vifplug import conf

        return conf.load(self.options.config_file, self.options.config_dir)

    def settings(self, kinds: Sequence[VIFType] = ()) -> Config:
        """Return the validated values of vifplug's options and of the given VIF types'. Raises InvalidConfig."""
        from vifplug import conf

        conf.register(self.conf, kinds)
        for sentence in conf.misspelt(self.conf, conf.names(kinds)):
            self.say(f"warning: {sentence}")
        return conf.settings(self.conf, kinds)

    @functools.cached_property
    def facts(self) -> Host:
        """Facts of this host, for elements that name a device by its address; looked up at first use."""
        from vifplug import plugins
        from vifplug.host import host

        return host.Host(self.settings().ovs, look=plugins.FactPlugins())

    def driver(self, *, wait: str | None = None) -> VIFDriver:
        """Set up logging and return a driver; the caller closes it. ``wait``: see `VIFDriver`."""
        from vifplug import conf
        from vifplug.cli import logs
        from vifplug.driver.verbs import VIFDriver

        logs.set_up(self.options, configured=conf.has_log_options(self.conf))
        return VIFDriver(self.conf, wait=wait)

    def complain(self, error: VifplugError, about: str = "") -> int:
        """Print what went wrong on stderr, one line for each problem, and return the exit code."""
        if self.options.debug:
            traceback.print_exception(error, file=self.stderr)
        for sentence in sentences(error):
            self.say(f"{about}: {sentence}" if about else sentence)
        return error.exit_code

    def say(self, sentence: str) -> None:
        """Print one line on stderr."""
        print(f"{self.NAME}: {printable(' '.join(sentence.split()))}", file=self.stderr)

    def warn(self, warnings: Iterable[str]) -> None:
        """Print each sentence on stderr, once, as a warning."""
        for sentence in dict.fromkeys(warnings):
            self.say(f"warning: {sentence}")

    # -- running ----------------------------------------------------------------------------------------------

    def run(self, argv: list[str]) -> int:
        return self.guard(lambda: self._parse_and_run(argv))

    def guard(self, work: Callable[[], int]) -> int:
        """Return the exit code of ``work``, or that of the error that it raises, which is printed."""
        try:
            code = work()
            with writing(self.stdout):
                return code
        except AlreadyReported as error:
            return error.exit_code
        except NotWritten as error:
            _forget_output()
            return self.complain(error)
        except VifplugError as error:
            return self.complain(error)
        except (KeyboardInterrupt, SystemExit) as error:
            notes = [each for each in getattr(error, "__notes__", ()) if each]
            if isinstance(error, KeyboardInterrupt) or notes:
                self.say("; ".join(["interrupted", *notes]))
            if isinstance(error, SystemExit):
                raise
            return INTERRUPTED
        except ReaderGone:
            _forget_output()
            return READER_GONE
        except Exception as error:  # noqa: BLE001 - an operator gets a sentence, whatever happens
            return self._bug(error)

    def _parse_and_run(self, argv: list[str]) -> int:
        self.options, words = self.parser.parse_known_args(argv)
        if self.options.deferred_help and words:  # "vifplug plug --help" is "vifplug help plug"
            self.options.deferred_help = False
            words = ["help", *self._found(words)[1].split()]
        try:
            self.print_help_if_requested()
            if not words:
                raise InvalidRequest("no command given (`vifplug --help` lists them)")
            return self.run_subcommand(words)
        except HelpExit:
            return 0

    def print_help_if_requested(self) -> None:
        """Print the help. cliff's own reads the metadata of every installed distribution to name those of verbs."""
        if self.options.deferred_help:
            verbs = [(name, inspect.getdoc(point.load()) or "") for name, point in sorted(self.command_manager)]
            lines = (f"  {name:<16}  {text.partition(chr(10))[0].rstrip('.')}\n" for name, text in verbs)
            self.stdout.write(f"{self.parser.format_help()}\nCommands:\n{''.join(lines)}")
            raise HelpExit

    def run_subcommand(self, argv: list[str]) -> int:
        """Run one command. cliff's own method would turn every error into exit code 1."""
        factory, name, arguments = self._found(argv)
        if name == "help" and arguments:
            self._found(arguments)
        command = factory(self, self.options, cmd_name=name)
        parser = refusing(command.get_parser(f"{self.NAME} {name}"))
        return command.run(parser.parse_args(arguments))

    def _found(self, argv: list[str]) -> tuple[type[Command], str, list[str]]:
        """Return the verb, its name and its arguments. After a verb, an argument never abbreviates another verb."""
        known = {name for name, _ in self.command_manager}
        try:
            factory, name, rest = self.command_manager.find_command(argv)
            if name in known or argv[0] not in known:
                return factory, name, rest
            return (*self.command_manager.find_command(argv[:1])[:2], argv[1:])
        except ValueError:
            raise self._unknown(argv[0]) from None

    def _unknown(self, word: str) -> InvalidRequest:
        if word.startswith("-"):
            return InvalidRequest(f"{word}: unknown option (`vifplug --help` lists those that precede the command)")
        if parts := [name for name, _ in self.command_manager if name.startswith(f"{word} ")]:
            return InvalidRequest(f"{word}: incomplete command (expected {joined(sorted(parts))})")
        if len(word) > _LONGEST_WORD:  # cliff compares it with each verb, in the product of their lengths
            return InvalidRequest(f"{word[:_LONGEST_WORD]}...: unknown command (`vifplug --help` lists all)")
        near = joined(self.get_fuzzy_matches(word)[:3])
        return InvalidRequest(f"{word}: unknown command: did you mean {near}? (`vifplug --help` lists all)")

    def _bug(self, error: Exception) -> int:
        if self.options.debug:
            traceback.print_exception(error, file=self.stderr)
        self.say(
            f"this is a bug in vifplug: {type(error).__name__}: {error}; please report it with the output of --debug"
        )
        return BUG


def refusing(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Return ``parser``, which from now on raises InvalidRequest instead of printing its usage and exiting."""

    def refuse(message: str) -> NoReturn:
        raise InvalidRequest(f"{message}; see `{parser.prog} --help`")

    parser.error = refuse  # type: ignore[method-assign]
    return parser


@contextlib.contextmanager
def writing(stream: TextIO) -> Iterator[None]:
    """Wrap what writes to ``stream``, and flush it. Raises ReaderGone, NotWritten if not all could be written."""
    try:
        yield
        stream.flush()
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        raise NotWritten(f"the command succeeded, but its answer could not be written: {error.strerror}") from error


def _forget_output() -> None:
    """Send stdout to /dev/null, so that Python's flush at exit cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
