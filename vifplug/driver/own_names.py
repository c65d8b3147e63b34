"""The names in a VIF as this host knows them, so that one thing is recorded, claimed and compared under one name. Pure.

A device has its own name and any number of alternative ones. A VLAN bridge of Open vSwitch (``ovs-vsctl add-br NAME
PARENT VLAN``, a "fake bridge") is a name for a parent bridge and a tag.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterable
from typing import Any

from vifplug.errors import Problem, Unsupported
from vifplug.model.codec import Model
from vifplug.model.names import DeviceName
from vifplug.model.vif import VIF
from vifplug.model.vlan import Vlan
from vifplug.plan.registry import OvsBridge, Resource, VhostSocket


def with_own_names(vif: VIF, own_name: Callable[[str], str]) -> VIF:
    """Return ``vif`` with each device that its source names under the device's own name.

    Args:
        vif: a VIF whose source is the record of its type.
        own_name: returns the own name of a device; a name that no device has is returned as it is.
    """
    changes: dict[str, Any] = {}
    if (source := _renamed(vif.source, own_name)) is not vif.source:
        changes["source"] = source
    exists = getattr(vif.source, "given", False) or getattr(vif.source, "adopted", False)
    if exists and vif.target and (target := own_name(vif.target)) != vif.target:
        changes["target"] = target
    return vif.replace(**changes) if changes else vif


def with_real_paths(desired: Iterable[Resource], real_path: Callable[[str], str]) -> list[Resource]:
    """Return ``desired`` with each vhost-user socket below a directory that is named without symbolic links."""
    return [
        each.replace(real_base=real_path(each.base)) if isinstance(each, VhostSocket) and each.base else each
        for each in desired
    ]


def on_parent_bridge(vif: VIF, bridge: OvsBridge) -> VIF:
    """Return ``vif`` on the parent of a VLAN bridge, in the bridge's VLAN. Raises Unsupported if it has a VLAN."""
    if vif.vlan:
        message = (
            f"cannot be combined with source.bridge {bridge.name}, which is VLAN {bridge.tag} of Open vSwitch bridge "
            f"{bridge.parent}: leave vlan out, or write {bridge.parent} as source.bridge"
        )
        raise Unsupported([Problem("$.vlan", message)], f"VIF {vif.id}")
    return vif.replace(source=vif.source.replace(bridge=bridge.parent), vlan=Vlan.from_data(bridge.tag))


def _renamed(source: Model, own_name: Callable[[str], str]) -> Model:
    changes: dict[str, Any] = {}
    kind: Any = type(source)
    for name in _device_fields(kind):
        value = getattr(source, name)
        renamed = _renamed(value, own_name) if isinstance(value, Model) else value and own_name(value)
        if renamed != value:
            changes[name] = renamed
    return source.replace(**changes) if changes else source


@functools.cache
def _device_fields(source: Any) -> tuple[str, ...]:
    """Return the fields of a model that are a device's name, or a model of their own."""
    hints = typing.get_type_hints(source, include_extras=True)
    kinds = {name: (hint, *typing.get_args(hint)) for name, hint in hints.items()}
    return tuple(name for name, found in kinds.items() if any(each == DeviceName or _is_model(each) for each in found))


def _is_model(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, Model)
