"""os-vif's plugins (entry points ``os_vif``): found, loaded one by one, and called. A broken one harms no other."""

from __future__ import annotations

import functools
import threading
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from vifplug import plugins
from vifplug.errors import BrokenPlugin, Missing, StepFailed
from vifplug.host.isolated import message
from vifplug.model.codec import joined

NAMESPACE = "os_vif"
_loading = threading.Lock()


def installed() -> dict[str, EntryPoint]:
    """The plugins that are installed, by name. Raises InvalidConfig when two distributions give one name."""
    return plugins.unambiguous(plugins.entry_points(NAMESPACE), "os-vif plugin")


def load(name: str, config_file: str | None = None) -> Any:
    """The plugin of that name, constructed once. Raises Missing where there is none, BrokenPlugin.

    Its options, group ``[os_vif_<name>]``, are where os-vif has them: in the configuration that the process has read.
    A process that has read none, such as the command, reads ``config_file``.
    """
    with _loading:
        return _load(name, config_file)


@functools.cache
def _load(name: str, config_file: str | None) -> Any:
    _require_os_vif()
    points = installed()
    if name not in points:
        found = joined(sorted(points)) if points else "none"
        raise Missing(f"no os-vif plugin {name!r} is installed on this host; installed are {found}")
    _configure(config_file)
    point = points[name]
    try:
        return point.load().load(name)
    except Exception as error:  # a third party's module and constructor can raise anything
        raise BrokenPlugin(f"os-vif plugin {plugins.origin(point)} can't be loaded: {message(error)}") from error


def describe(name: str) -> Any:
    """The HostPluginInfo of a plugin. Raises BrokenPlugin."""
    plugin = load(name)
    try:
        return plugin.describe()
    except Exception as error:  # a third party's plugin can raise anything
        raise BrokenPlugin(f"os-vif plugin {name} can't be described: {message(error)}") from error


def unplug(vif: Any, instance_info: Any) -> None:
    """Have a plugin unplug what it plugged without vifplug. Raises StepFailed with its own words."""
    plugin = load(vif.plugin)
    try:
        plugin.unplug(vif, instance_info)
    except Exception as error:  # a third party's plugin can raise anything
        raise StepFailed(f"os-vif plugin {vif.plugin} failed to unplug: {message(error)}") from error


def _require_os_vif() -> None:
    try:
        from os_vif import objects
    except ImportError as error:
        raise Missing(f"os-vif can't be imported ({error}): install vifplug's extra, 'vifplug[osvif]'") from error
    objects.register_all()


def _configure(config_file: str | None) -> None:
    """Have os-vif's global configuration read a file, where this process has not had it read anything."""
    from oslo_config import cfg

    if config_file is None or _is_read(cfg.CONF):
        return
    if not Path(config_file).is_file():
        raise Missing(f"[vifplug_os_vif] config_file is {config_file}, and there is no such file")
    cfg.CONF(["--config-file", config_file], project=NAMESPACE)


def _is_read(conf: Any) -> bool:
    """oslo.config has no public word for it: --config-file is registered when a configuration is read."""
    return "config_file" in conf
