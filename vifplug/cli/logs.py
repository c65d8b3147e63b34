"""Logging of the command: oslo.log where its options are given ([DEFAULT] log_file, use_journal ...)."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
from typing import Any

from vifplug.errors import InvalidConfig

#: levels by the number of -v: -q is 0, no option is 1
_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
_PREFIX = "vifplug: "
_FORMAT = f"{_PREFIX}%(levelname)s: %(message)s"


class _Terse(logging.Formatter):
    """Formats like oslo.log with `_FORMAT`: each line of a traceback has the prefix."""

    def formatException(self, ei: Any) -> str:
        return "\n".join(_PREFIX + line for line in super().formatException(ei).splitlines())


def set_up(options: argparse.Namespace, *, configured: bool) -> None:
    """Send log records where the configuration says; by default, warnings go to stderr, tersely.

    Args:
        configured: the configuration has options of oslo.log. Without, it is not loaded: it takes as long to load as
            all else that a short verb does.

    Raises:
        InvalidConfig: an option has a wrong value.
    """
    if configured or options.log_file:
        _set_up_oslo(options)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Terse(_FORMAT))
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    level = logging.DEBUG if options.debug else _LEVELS[min(options.verbose_level, 3)]
    logging.getLogger("vifplug").setLevel(level)


def _set_up_oslo(options: argparse.Namespace) -> None:
    from oslo_config import cfg
    from oslo_log import log

    from vifplug.conf import arguments

    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf.set_default("use_stderr", True)
    conf.set_default("default_log_levels", ["=WARNING"])  # other libraries: the root logger
    conf.set_default("logging_default_format_string", _FORMAT)
    conf.set_default("logging_exception_prefix", _PREFIX)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            words = arguments(options.config_file, options.config_dir)
            conf([*words, *(["--log-file", options.log_file] if options.log_file else [])], project="vifplug")
        log.setup(conf, "vifplug")
    except (cfg.Error, log.LogConfigError, ValueError, TypeError, OSError, RecursionError) as error:
        message = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        if isinstance(error, RecursionError):
            message = "an option names itself as $name in its value"
        raise InvalidConfig(f"logging: [DEFAULT] {message}") from error
    except SystemExit as error:  # oslo.config takes [DEFAULT] debug for an argument of the command, and ends it
        if not complaint.getvalue():  # SIGTERM
            raise
        raise InvalidConfig(f"logging: [DEFAULT] {complaint.getvalue().removeprefix('argument --').strip()}") from error
