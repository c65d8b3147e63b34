"""Logging of the command: oslo.log, so that the usual options ([DEFAULT] log_file, use_journal ...) work."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging

from oslo_config import cfg
from oslo_log import log

from vifplug.conf import arguments
from vifplug.errors import InvalidConfig

#: levels by the number of -v: -q is 0, no option is 1
_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


def set_up(options: argparse.Namespace) -> None:
    """Send log records where the configuration files say; by default, warnings go to stderr, tersely.

    Raises InvalidConfig for a wrong value.
    """
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf.set_default("use_stderr", True)
    conf.set_default("default_log_levels", ["=WARNING"])  # other libraries: the root logger
    conf.set_default("logging_default_format_string", "vifplug: %(levelname)s: %(message)s")
    conf.set_default("logging_exception_prefix", "vifplug: ")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            conf(_arguments(options), project="vifplug")
        log.setup(conf, "vifplug")
    except (cfg.Error, log.LogConfigError, ValueError, TypeError, OSError, RecursionError) as error:
        message = "an option names itself as $name in its value" if isinstance(error, RecursionError) else error
        raise InvalidConfig(f"logging: [DEFAULT] {message}") from error
    except SystemExit as error:  # oslo.config takes [DEFAULT] debug for an argument of the command, and ends it
        if not complaint.getvalue():  # SIGTERM
            raise
        raise InvalidConfig(f"logging: [DEFAULT] {complaint.getvalue().removeprefix('argument --').strip()}") from error
    level = logging.DEBUG if options.debug else _LEVELS[min(options.verbose_level, 3)]
    logging.getLogger("vifplug").setLevel(level)


def _arguments(options: argparse.Namespace) -> list[str]:
    words = arguments(options.config_file, options.config_dir)
    return [*words, *(["--log-file", options.log_file] if options.log_file else [])]
