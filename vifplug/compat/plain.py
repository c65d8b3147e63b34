"""os-vif's versioned objects as plain data, and back: ``{"class": "VIFGeneric", "vif_name": "tap1", ...}``.

Lists of objects are lists; addresses and UUIDs are strings. Unset fields are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oslo_versionedobjects import base

from vifplug.errors import InvalidRequest
from vifplug.model.codec import described, joined

CLASS = "class"


def data(value: Any) -> Any:
    """Return the plain data of an object, or of a value of one of its fields."""
    if isinstance(value, base.ObjectListBase):
        return [data(each) for each in value.objects]
    if isinstance(value, base.VersionedObject):
        fields = {name: data(getattr(value, name)) for name in sorted(value.fields) if name in value}
        return {CLASS: type(value).__name__, **fields}
    if isinstance(value, (list, tuple)):
        return [data(each) for each in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def build(name: str, fields: Mapping[str, Any]) -> Any:
    """Return the object of class ``name`` with these fields. Raises InvalidRequest for a wrong field or value."""
    cls = known(name)
    values = {key: value for key, value in fields.items() if key != CLASS}
    if unknown := sorted(values.keys() - cls.fields.keys()):
        raise InvalidRequest(f"os-vif's {name} has no field {joined(unknown)} (expected {joined(sorted(cls.fields))})")
    made = cls()
    for key, value in values.items():
        try:
            setattr(made, key, _value(made.fields[key], value))
        except (ValueError, TypeError) as error:  # what versioned objects raise for a value that a field does not take
            raise InvalidRequest(f"os-vif's {name} does not accept {described(value)} for {key}: {error}") from error
    return made


def is_known(name: str) -> bool:
    """Return whether os-vif, or a plugin, has a class of that name: newer versions of os-vif lack old ones."""
    return name in base.VersionedObjectRegistry.obj_classes()


def known(name: str) -> Any:
    """Return the class of that name: os-vif's, or one that a plugin registered. Raises InvalidRequest."""
    found = base.VersionedObjectRegistry.obj_classes().get(name)
    if not found:
        raise InvalidRequest(f"os-vif has no class {name!r} (expected VIFGeneric, VIFOpenVSwitch or the like)")
    return found[0]


def _value(field: Any, value: Any) -> Any:
    """Return the value of a field; a list becomes the list object that the field expects (SubnetList ...)."""
    if isinstance(value, Mapping) and CLASS in value:
        return build(str(value[CLASS]), value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [_value(None, each) for each in value]
        name = getattr(getattr(field, "_type", None), "_obj_name", None)
        return known(name)(objects=items) if name else items
    return value
