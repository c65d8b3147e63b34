"""os-vif's API on vifplug: ``from vifplug.compat import os_vif`` instead of ``import os_vif``, and no other change.

It has the same functions, versioned objects and exceptions. Each exception has vifplug's message and is chained to
vifplug's own error. doc/os-vif.md lists the differences and their reasons. Needs the extra ``vifplug[osvif]``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from os_vif import exception, objects

from vifplug.compat import foreign, leftovers, options, plain, translate
from vifplug.compat.driver import OsVifDriver
from vifplug.errors import BrokenPlugin, Busy, Conflict, Held, NotPlugged, PoolExhausted, VifplugError, about
from vifplug.model.vif import VIF

__all__ = ["exception", "host_info", "initialize", "objects", "plug", "unplug"]

_log = logging.getLogger(__name__)

#: the first version of every os-vif class; vifplug checks whether each field is set
_FIRST = "1.0"
#: the port profiles of each plugin, for all of its classes but VIFGeneric
_PROFILES = {
    "ovs": ("VIFPortProfileOpenVSwitch", "VIFPortProfileOVSRepresentor"),
    "vifplug": ("VIFPortProfile8021Qbg", "VIFPortProfile8021Qbh"),
}


class _Adapter:
    """The driver, which is recreated when the agent's configuration has changed."""

    def __init__(self, config_files: Sequence[str]) -> None:
        self._config_files = tuple(config_files)
        self._making = threading.Lock()
        self._settings: Mapping[str, Any] = {}
        self._driver: OsVifDriver | None = None

    def driver(self) -> tuple[OsVifDriver, translate.Options]:
        """Return the driver and the options of the translation, for the current configuration."""
        settings = options.chosen()
        with self._making:
            if self._driver is None or settings != self._settings:
                self._conf = options.vifplugs(self._config_files, settings)
                self.close()
                self._driver, self._settings = OsVifDriver(self._conf), settings
            return self._driver, options.translation(self._conf)

    def close(self) -> None:
        if self._driver is not None:
            self._driver.close()


_adapter: _Adapter | None = None


def initialize(reset: bool = False, *, config_files: Sequence[str] = ()) -> None:
    """Read vifplug's configuration, and register os-vif's options with the agent's.

    Third-party plugins are loaded at their first use.

    Args:
        reset: whether to read the configuration again.
        config_files: vifplug's configuration files; by default the usual ones.

    Raises:
        vifplug.errors.InvalidConfig: an agent that cannot plug should not start.
    """
    global _adapter
    objects.register_all()
    options.register()
    if _adapter is not None and not reset:
        return
    made = _Adapter(config_files)
    made.driver()
    if _adapter is not None:
        _adapter.close()
    _adapter = made


def plug(vif: Any, instance_info: Any) -> None:
    """Plug ``vif`` (os_vif.objects.vif.*) for the guest ``instance_info``; twice is the same as once.

    Raises os-vif's LibraryNotInitialized, NoMatchingPlugin and PlugException.
    """
    adapter = _initialized(vif)
    with _raised_as(exception.PlugException, "plug", vif):
        driver, settings = adapter.driver()
        if vif.plugin in translate.FORMS:
            document = translate.document(translate.Translation(vif, settings))
        else:
            document = translate.for_plugin(vif, plain.data(vif))
        if document is not None:
            _plug(driver, document, instance_info)


def unplug(vif: Any, instance_info: Any) -> None:
    """Unplug ``vif``, whether vifplug or os-vif plugged it, and in any former configuration.

    Raises:
        LibraryNotInitialized, NoMatchingPlugin, UnplugException: os-vif's errors.
    """
    adapter = _initialized(vif)
    with _raised_as(exception.UnplugException, "unplug", vif):
        driver, _ = adapter.driver()
        if vif.plugin in translate.FORMS:
            _unplug(driver, vif)
        else:
            _unplug_foreign(driver, vif, instance_info)


def host_info(permitted_vif_type_names: list[str] | None = None) -> Any:
    """Return os-vif's HostInfo: the classes that can be plugged here, with their versions and port profiles.

    Raises LibraryNotInitialized. A plugin that cannot be loaded is logged and left out.
    """
    if _adapter is None:
        raise exception.LibraryNotInitialized()
    infos = [_own(name) for name in translate.FORMS]
    for name in foreign.installed().keys() - translate.FORMS.keys():
        try:
            infos.append(foreign.describe(name))
        except BrokenPlugin as error:
            _log.warning("%s", error)
    info = objects.host_info.HostInfo(plugin_info=sorted(infos, key=lambda info: info.plugin_name))
    if permitted_vif_type_names is not None:
        info.filter_vif_types(permitted_vif_type_names)
    return info


def _initialized(vif: Any) -> _Adapter:
    """Raise LibraryNotInitialized, or NoMatchingPlugin if the VIF's plugin is unknown."""
    if _adapter is None:
        raise exception.LibraryNotInitialized()
    if vif.plugin not in translate.FORMS and vif.plugin not in foreign.installed():
        raise exception.NoMatchingPlugin(plugin_name=vif.plugin)
    return _adapter


def _plug(driver: OsVifDriver, document: VIF, info: Any) -> None:
    """Plug a VIF. After a conflict, take over what os-vif plugged for it, and plug again.

    A device that is no tap is a SmartNIC's representor, which the agent puts on the bridge as it is.
    """
    instance = translate.instance(info)
    try:
        plugged = driver.plug(document, instance, take_over=True)  # nova and Neutron know whose port it is
    except (Held, Busy, PoolExhausted):
        raise
    except Conflict:
        if leftovers.is_given(document):
            document = document.replace(source=document.source.replace(given=True))
        elif not driver.take_over(document.id, driver.desired(document, instance)):
            raise
        plugged = driver.plug(document, instance, take_over=True)
    for sentence in plugged.warnings:
        _log.warning("VIF %s: %s", document.id, sentence)


def _unplug(driver: OsVifDriver, vif: Any) -> None:
    translate.form(vif)  # raises for an object that the plugin does not take
    if vif.plugin == "noop":
        return
    driver.unplug(vif.id)
    if vif.plugin != "ovs":  # no other left anything that is the VIF's alone
        return
    left = leftovers.of(vif)
    if driver.take_over(vif.id, left.resources):
        driver.unplug(vif.id)
    driver.clean_up(vif.id, left.devices, left.bridges)


def _unplug_foreign(driver: OsVifDriver, vif: Any, info: Any) -> None:
    """Unplug by vifplug's record, or by the plugin alone if it was plugged without vifplug."""
    try:
        driver.show(vif.id)
    except NotPlugged:
        foreign.call(foreign.load(vif.plugin), "unplug", vif, info)
    else:
        driver.unplug(vif.id)


@contextlib.contextmanager
def _raised_as(kind: Any, verb: str, vif: Any) -> Iterator[None]:
    """Log an error of vifplug, and raise os-vif's instead."""
    try:
        with about(vif_id=getattr(vif, "id", None)):
            yield
    except VifplugError as error:
        _log.error("failed to %s %s: %s", verb, translate.describe(vif), error)
        raise kind(vif=vif, err=error) from error


def _own(plugin: str) -> Any:
    """Return the HostPluginInfo of a plugin that vifplug replaces, with the objects' actual versions."""
    return objects.host_info.HostPluginInfo(
        plugin_name=plugin, vif_info=[_vif_info(plugin, name) for name in sorted(translate.FORMS[plugin])]
    )


def _vif_info(plugin: str, name: str) -> Any:
    info = objects.host_info
    profiles = [
        info.HostPortProfileInfo(profile_object_name=profile, **_versions(profile))
        for profile in (_PROFILES.get(plugin, ()) if name != "VIFGeneric" else ())
        if plain.is_known(profile)
    ]
    return info.HostVIFInfo(vif_object_name=name, supported_port_profiles=profiles, **_versions(name))


def _versions(name: str) -> dict[str, str]:
    return {"min_version": _FIRST, "max_version": plain.known(name).VERSION}
