"""os-vif's options in an agent's configuration, ``[os_vif_ovs]``, and the same options of vifplug, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from vif_plug_ovs.ovs import OvsPlugin

from vifplug import conf
from vifplug.compat.translate import Options
from vifplug.errors import InvalidConfig

GROUP = "os_vif_ovs"

#: ovs_vsctl_timeout of 0 is "forever"; vifplug's longest is an hour
_FOREVER, _LONGEST = 0, 3600

#: os-vif's option -> vifplug's, in [vifplug_ovs]; not in the table: network_device_mtu, the default of the objects'
#: MTU, and ovsdb_interface, which has no meaning here
TABLE: Mapping[str, str] = {
    "ovsdb_connection": "connection",
    "ovs_vsctl_timeout": "timeout",
    "isolate_vif": "isolate_vif",
    "per_port_bridge": "per_port_bridge",
    "default_qos_type": "default_qos_type",
}

_DEFAULTS = {option.dest: option.default for option in OvsPlugin.CONFIG_OPTS}


def register() -> None:
    """Register os-vif's options with the agent's configuration, as os-vif's initialize does: agents read them there.

    The options are identical to os-vif's, so the agent may initialize both.
    """
    cfg.CONF.register_opts(OvsPlugin.CONFIG_OPTS, group=GROUP)


def chosen() -> dict[str, Any]:
    """Return the values that were set explicitly, by vifplug's name; they override vifplug's own configuration."""
    return {own: _value(name) for name, own in TABLE.items() if _is_chosen(name)}


def translation(own: cfg.ConfigOpts) -> Options:
    """Return the options of the translation; ``own``: vifplug's configuration, as `vifplugs` makes it."""
    return Options(mtu=cfg.CONF[GROUP].network_device_mtu, per_port_bridge=own[conf.OVS].per_port_bridge)


def vifplugs(config_files: tuple[str, ...], settings: Mapping[str, Any]) -> cfg.ConfigOpts:
    """Return vifplug's configuration, overridden by ``settings``. Raises InvalidConfig, NotPermitted."""
    own = conf.load(config_files)
    for name, value in settings.items():
        try:
            own.set_override(name, value, group=conf.OVS)
        except ValueError as error:
            theirs = next(each for each, ours in TABLE.items() if ours == name)
            [option] = [each for each in conf.OVS_OPTIONS if each.dest == name]
            message = f"[{GROUP}] {theirs}: expected {conf.allowed(option)}, got {value!r}"
            raise InvalidConfig(message, option=f"[{GROUP}] {theirs}") from error
    return own


def _is_chosen(name: str) -> bool:
    """Return whether the operator or the agent has set an option, even to os-vif's default."""
    location = cfg.CONF.get_location(name, group=GROUP)
    written = location is not None and location.location.is_user_controlled
    return written or bool(cfg.CONF[GROUP][name] != _DEFAULTS[name])


def _value(name: str) -> Any:
    value = cfg.CONF[GROUP][name]
    if name == "ovs_vsctl_timeout":
        return float(_LONGEST if value == _FOREVER else min(value, _LONGEST))
    return value
