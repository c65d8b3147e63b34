"""What this host can plug, as os-vif's HostInfo, with the objects' actual versions."""

from __future__ import annotations

from typing import Any

from os_vif import objects

from vifplug.compat import plain
from vifplug.compat.translate import FORMS

#: the first version of every os-vif class; vifplug checks whether each field is set
_FIRST = "1.0"
_OVS_PROFILES = ("VIFPortProfileOpenVSwitch", "VIFPortProfileOVSRepresentor")
_DIRECT_PROFILES = ("VIFPortProfile8021Qbg", "VIFPortProfile8021Qbh")


def own(plugin: str) -> Any:
    """Return the HostPluginInfo of a plugin that vifplug replaces."""
    classes = [_vif_info(plugin, name) for name in sorted(FORMS[plugin])]
    return objects.host_info.HostPluginInfo(plugin_name=plugin, vif_info=classes)


def _vif_info(plugin: str, name: str) -> Any:
    profiles = {"ovs": _OVS_PROFILES, "vifplug": _DIRECT_PROFILES if name == "VIFDirect" else ()}.get(plugin, ())
    return objects.host_info.HostVIFInfo(
        vif_object_name=name,
        min_version=_FIRST,
        max_version=plain.known(name).VERSION,
        supported_port_profiles=[_profile_info(profile) for profile in profiles if plain.is_known(profile)],
    )


def _profile_info(name: str) -> Any:
    return objects.host_info.HostPortProfileInfo(
        profile_object_name=name, min_version=_FIRST, max_version=plain.known(name).VERSION
    )
