"""The requirements of a plugin, checked when it is loaded rather than when it is first used.

Each function returns what is wrong, as the end of a sentence that begins with the plugin's name; empty if it is valid.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

from vifplug.model.codec import Model, joined, schema_problem
from vifplug.model.vif import VIF
from vifplug.plan import registry
from vifplug.plan.registry import Resource
from vifplug.types.base import API_VERSION, Option, VIFType

#: the keys of a VIF document that a type may refuse
REFUSABLE = {field.name for field in dataclasses.fields(VIF)} - {"id", "type", "mac", "source"}

#: what the default of an option may be, by the option's kind; a user or group may be a name or a number
_DEFAULTS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "user": (str, int),
    "group": (str, int),
    "mode": (str,),
}
#: names that no third party's type can have, and why
_RESERVED: Mapping[str, str] = {
    "network": "a VIF of type network is resolved to one of another type",
    "ovs": "[vifplug_ovs] has vifplug's own options",
}
_BACKEND = ("observe", "apply", "close")


def type_problem(name: str, cls: Any) -> str:
    """Return why ``cls`` cannot be the VIF type ``name``. The version comes first: it explains all other problems."""
    if not _is_subclass(cls, VIFType):
        return "is not a subclass of vifplug.types.base.VIFType"
    if problem := version_problem(cls.api_version):
        return problem
    if inspect.isabstract(cls):
        return f"does not define {joined(sorted(cls.__abstractmethods__), last='and')}"
    if getattr(cls, "name", None) != name:
        return f"says name = {getattr(cls, 'name', None)!r} and is registered as {name!r}"
    if name in _RESERVED:
        return f"cannot have the name {name!r}: {_RESERVED[name]}"
    return source_problem(cls) or option_problem(cls.options) or refusal_problem(cls.refuses)


def resource_problem(kind: str, backend: Any) -> str:
    """Return why ``backend`` cannot be the backend of a resource kind. Its default version is the current one."""
    if problem := version_problem(getattr(backend, "api_version", API_VERSION)):
        return problem
    if kind in registry.RESOURCES:
        return f"is registered for kind {kind!r}, which is vifplug's own"
    found = getattr(backend, "resources", ())
    if not isinstance(found, Sequence):
        return f"has the wrong resources: expected a tuple of resource classes, got {found!r}: write (Name,)"
    if problem := next(filter(None, map(_wrong_resource, found)), ""):
        return problem
    kinds = [each.kind for each in found]
    if kind not in kinds:
        return f"is registered for kind {kind!r} and has {joined(kinds)}"
    lacking = [name for name in _BACKEND if not callable(getattr(backend, name, None))]
    lacking += sorted(getattr(backend, "__abstractmethods__", ()))
    return f"does not define {joined(lacking, last='and')}" if lacking else ""


def version_problem(written_for: Any) -> str:
    """Return why a plugin that was written for this version of the plugin interface cannot be used.

    Another major version has other rules; a newer minor version may use what does not exist here.
    """
    if not (isinstance(written_for, tuple) and [type(each) for each in written_for] == [int, int]):
        return f"has the wrong api_version: expected two numbers, such as {API_VERSION!r}, got {written_for!r}"
    (theirs, minor), (ours, present) = written_for, API_VERSION
    message = f"was written for plugin interface {theirs}.{minor}, and this vifplug has {ours}.{present}"
    if theirs > ours:
        return f"{message}: install a vifplug that has {theirs}.x, or a release of the plugin for {ours}.x"
    if theirs < ours:
        return f"{message}: install a release of the plugin for {ours}.x"
    return f"{message}: install a vifplug whose plugin interface is >= {theirs}.{minor}" if minor > present else ""


def source_problem(cls: type[VIFType]) -> str:
    """Return what is wrong with the class of a type's source."""
    source: Any = getattr(cls, "source", None)
    if not _is_subclass(source, Model):
        return f"has the wrong source: expected a Model class, got {source!r}"
    parameters = getattr(source, "__dataclass_params__", None)
    if not (parameters and parameters.frozen):
        return f"has a source that is not frozen: write @dataclass(frozen=True, kw_only=True) above {source.__name__}"
    problem = schema_problem(source)
    return f"has a source, {source.__name__}, that cannot be used: {problem}" if problem else ""


def option_problem(options: Any) -> str:
    """Return what is wrong with a type's options."""
    if not isinstance(options, Sequence):
        return f"has the wrong options: expected a tuple of Option objects, got {options!r}"
    if wrong := [option for option in options if not isinstance(option, Option)]:
        return f"has the wrong options: expected Option objects, got {wrong[0]!r}"
    names = [option.name for option in options]
    if twice := [name for name in names if names.count(name) > 1]:
        return f"has option {twice[0]} more than once"
    return next(filter(None, map(_wrong_option, options)), "")


def refusal_problem(refuses: Any) -> str:
    """Return what is wrong with the keys that a type refuses."""
    if not isinstance(refuses, Mapping):
        return f"has the wrong refuses: expected a map of keys to reasons, got {refuses!r}"
    if unknown := sorted(set(refuses) - REFUSABLE):
        return f"refuses {joined(unknown)}, not a key to refuse (expected one of: {', '.join(sorted(REFUSABLE))})"
    return ""


def _wrong_resource(cls: Any) -> str:
    if not _is_subclass(cls, Resource):
        return f"has the wrong resources: expected subclasses of vifplug.plan.registry.Resource, got {cls!r}"
    if not isinstance(getattr(cls, "kind", None), str):
        return f"has a resource, {cls.__name__}, that has no kind"
    problem = schema_problem(cls)
    return f"has a resource, {cls.__name__}, that cannot be used: {problem}" if problem else ""


def _is_subclass(cls: Any, base: type) -> bool:
    return inspect.isclass(cls) and issubclass(cls, base)


def _wrong_option(option: Option) -> str:
    allowed = get_args(get_type_hints(Option)["kind"])
    if option.kind not in allowed:
        return f"has the wrong kind of option {option.name}: expected {joined(allowed)}, got {option.kind!r}"
    if option.default is not None and not isinstance(option.default, _DEFAULTS[option.kind]):
        return f"has the wrong default of option {option.name}: expected kind {option.kind}, got {option.default!r}"
    if option.choices and option.default not in (None, *option.choices):
        return (
            f"has the wrong default of option {option.name}: expected {joined(option.choices)}, got {option.default!r}"
        )
    return ""
