"""os-vif plugins (entry points ``os_vif``): found, loaded one by one, and called. A broken one affects no other."""

from __future__ import annotations

import functools
import threading
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from vifplug import plugins
from vifplug.errors import BrokenPlugin, Missing, StepFailed, about
from vifplug.host.isolated import message
from vifplug.model.codec import joined

NAMESPACE = "os_vif"
_loading = threading.Lock()


def installed() -> dict[str, EntryPoint]:
    """Return the installed plugins by name. Raises InvalidConfig if two distributions use one name."""
    return plugins.entry_points(NAMESPACE, "os-vif plugin")


def load(name: str, config_file: str | None = None) -> Any:
    """Return the plugin of that name, constructed once.

    Its options, group ``[os_vif_<name>]``, come from the oslo.config configuration of the process; a process without
    one, such as the command, reads ``config_file``.

    Raises:
        Missing: the plugin, os-vif or the configuration file does not exist.
        BrokenPlugin: it cannot be loaded.
    """
    with _loading, about(resource=f"os-vif plugin {name}"):
        return _load(name, config_file)


@functools.cache
def _load(name: str, config_file: str | None) -> Any:
    try:
        from os_vif import objects
    except ImportError as error:
        raise Missing(f"os-vif cannot be imported ({error}): install 'vifplug[osvif]'") from error
    objects.register_all()
    points = installed()
    if name not in points:
        found = joined(sorted(points), "and") if points else "none"
        raise Missing(f"os-vif plugin {name!r} is not installed on this host (installed: {found})")
    _configure(config_file)
    try:
        return points[name].load().load(name)
    except Exception as error:  # a third party's module and constructor can raise anything
        raise BrokenPlugin(
            f"os-vif plugin {plugins.origin(points[name])} cannot be loaded: {message(error)}"
        ) from error


def describe(name: str) -> Any:
    """Return the HostPluginInfo of a plugin. Raises BrokenPlugin."""
    plugin = load(name)
    try:
        return plugin.describe()
    except Exception as error:  # a third party's plugin can raise anything
        sentence = f"os-vif plugin {name} cannot be described: {message(error)}"
        raise BrokenPlugin(sentence, resource=f"os-vif plugin {name}") from error


def call(plugin: Any, verb: str, vif: Any, instance_info: Any) -> None:
    """Let a plugin plug or unplug a VIF object. Raises StepFailed with its message."""
    try:
        getattr(plugin, verb)(vif, instance_info)
    except Exception as error:  # a third party's plugin can raise anything
        sentence = f"os-vif plugin {vif.plugin} failed to {verb} VIF {vif.id}: {message(error)}"
        raise StepFailed(sentence, vif_id=vif.id, resource=f"os-vif plugin {vif.plugin}") from error


def _configure(config_file: str | None) -> None:
    """Let os-vif's global configuration read a file, unless this process has configured it."""
    from oslo_config import cfg

    # oslo.config has no public way to tell: it registers --config-file when it reads a configuration
    if config_file is None or "config_file" in cfg.CONF:
        return
    if not Path(config_file).is_file():
        option = "[vifplug_os_vif] config_file"
        raise Missing(f"{option}: {config_file} does not exist", option=option, path=config_file)
    cfg.CONF(["--config-file", config_file], project=NAMESPACE)
