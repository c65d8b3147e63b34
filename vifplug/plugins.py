"""Finds the VIF types, kinds of resource and look-ups that are installed (stevedore), loads those that are needed, and
checks them when they are loaded rather than when they are first used."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, NoReturn, get_args, get_type_hints

from stevedore.named import NamedExtensionManager

from vifplug.errors import HostNotReady, InvalidConfig, InvalidDocument, Missing, UnknownType, VifplugError
from vifplug.model.codec import Record, joined
from vifplug.model.names import default_target
from vifplug.model.vif import VIF
from vifplug.plan import resources
from vifplug.plan.resources import Resource
from vifplug.types.base import API_VERSION, Option, VIFType

TYPES = "vifplug.types"
RESOURCES = "vifplug.resources"
FACTS = "vifplug.facts"

#: the keys of a VIF document that a type may refuse
REFUSABLE = {field.name for field in dataclasses.fields(VIF)} - {"id", "type", "mac", "source"}


class BrokenPlugin(HostNotReady):
    """An installed plugin that can't be loaded, or is not what it says; ``str()`` says why."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a plugin comes from."""

    name: str
    distribution: str
    version: str
    target: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.target})"


@dataclass(frozen=True, kw_only=True)
class Report:
    """One line of ``vifplug types``: a type that was found, and why it could not be loaded, if so."""

    origin: Origin
    reason: str = ""


class Types:
    """The VIF types of this host, loaded when asked for. ``enabled`` limits them; None allows all.

    Raises InvalidConfig when two distributions give a type of one name, or ``enabled`` names one that is not there.
    """

    def __init__(self, enabled: Sequence[str] | None = None) -> None:
        found = unambiguous(entry_points(TYPES), "VIF type")
        if missing := sorted(set(enabled or ()) - found.keys()):
            raise InvalidConfig(f"[vifplug] enabled_types has {joined(missing)}; installed are {joined(found)}")
        self._found = {name: point for name, point in found.items() if enabled is None or name in enabled}
        self._loaded: dict[str, VIFType] = {}

    def get(self, name: str) -> VIFType:
        """The type of that name. Raises UnknownType, which says why when it is there and can't be loaded."""
        if name not in self._loaded:
            if name not in self._found:
                raise UnknownType(f"type {name!r} is not known here; wanted {joined(sorted(self._found))}")
            try:
                self._loaded[name] = load_type(self._found[name])
            except BrokenPlugin as error:
                raise UnknownType(f"type {name!r} can't be used: {error}") from error
        return self._loaded[name]

    def bind(self, vif: VIF) -> tuple[VIFType, VIF]:
        """The VIF's type, and the VIF with its ``source`` as the type's own record.

        Raises UnknownType, or InvalidDocument when the source is not what the type takes.
        """
        kind = self.get(vif.type)
        return kind, bound(vif, kind)

    def loaded(self) -> list[VIFType]:
        """Every type that can be loaded, by name."""
        for name in self._found:
            with contextlib.suppress(UnknownType):  # `report` says which and why
                self.get(name)
        return [kind for _, kind in sorted(self._loaded.items())]

    def report(self) -> list[Report]:
        """Every type that was found, by name, each with the reason why it failed to load, if it did."""
        return [self._reported(name, point) for name, point in sorted(self._found.items())]

    def _reported(self, name: str, point: EntryPoint) -> Report:
        try:
            self.get(name)
        except UnknownType as error:
            return Report(origin=origin(point), reason=str(error.__cause__ or error))
        return Report(origin=origin(point))


class LookUps:
    """What plugins can look up on this host, each loaded when it is first asked; called as `Facts.look` is.

    Raises InvalidConfig when two distributions give a look-up of one name.
    """

    def __init__(self) -> None:
        self._found = unambiguous(entry_points(FACTS), "look-up")
        self._loaded: dict[str, Callable[[str], Any]] = {}

    def __call__(self, name: str, key: str) -> Any:
        """See `vifplug.plan.facts.Facts.look`."""
        look = self._get(name)
        try:
            return look(key)
        except VifplugError:
            raise
        except Exception as error:  # a third party's function can raise anything
            told = f"{origin(self._found[name])} could not look up {key!r}: {type(error).__name__}: {error}"
            raise BrokenPlugin(told) from error

    def _get(self, name: str) -> Callable[[str], Any]:
        if name not in self._found:
            raise Missing(f"nothing that is installed looks up {name!r}; found are {joined(sorted(self._found))}")
        if name not in self._loaded:
            look = _loaded(self._found[name])
            if not callable(look):
                raise BrokenPlugin(f"{origin(self._found[name])} has to be a function of one key, found {look!r}")
            self._loaded[name] = look
        return self._loaded[name]


def bound(vif: VIF, kind: VIFType) -> VIF:
    """``vif`` with its ``source`` as the record of its type. Raises InvalidDocument when that doesn't take it."""
    if not kind.has_device and vif.tap_owner is None and vif.target == default_target(vif.id):
        vif = vif.replace(target=None)
    if isinstance(vif.source, kind.source):
        return vif
    try:
        return vif.replace(source=kind.source.from_data(vif.source))
    except InvalidDocument as error:
        raise InvalidDocument(problem.under("$.source") for problem in error.problems) from None


def entry_points(namespace: str) -> list[EntryPoint]:
    """Every entry point of a namespace; none of them is loaded."""
    manager: NamedExtensionManager[Any] = NamedExtensionManager(namespace, names=[])
    return list(manager.list_entry_points())


def unambiguous(points: Iterable[EntryPoint], what: str) -> dict[str, EntryPoint]:
    """The entry points by name. Raises InvalidConfig when two distributions give one name.

    stevedore's own check compares neighbours only, and else takes the last. One distribution that is seen twice (an
    installed copy and a source tree) is no conflict: importlib.metadata lists the first on the path.
    """
    found: dict[str, EntryPoint] = {}
    for point in points:
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise InvalidConfig(
                f"{what} {point.name!r} comes from both {origin(other)} and {origin(point)}: uninstall one of them"
            )
    return found


def origin(point: EntryPoint) -> Origin:
    """Where an entry point comes from. Looked up when it is asked for: stevedore's cache does not keep it."""
    namesakes = importlib.metadata.entry_points(group=point.group, name=point.name)
    distribution = next((each.dist for each in namesakes if each.value == point.value), None)
    return Origin(
        name=point.name,
        distribution=distribution.name if distribution else "unknown",
        version=distribution.version if distribution else "unknown",
        target=point.value,
    )


def load_type(point: EntryPoint) -> VIFType:
    """The type behind an entry point, checked. Raises BrokenPlugin."""
    cls = _loaded(point)
    if problem := type_problem(point.name, cls):
        raise BrokenPlugin(f"{origin(point)} {problem}")
    try:
        instance: VIFType = cls()
    except Exception as error:  # a third party's constructor can raise anything
        raise BrokenPlugin(f"{origin(point)} can't be constructed: {type(error).__name__}: {error}") from error
    return instance


def load_resources() -> Mapping[str, Any]:
    """The backends of third parties' kinds of resource, by kind. Raises InvalidConfig when a kind has two.

    One that is broken is not fatal to the others: it raises BrokenPlugin when it is first needed.
    """
    found = unambiguous(entry_points(RESOURCES), "resource kind")
    return {kind: load_backend(kind, point) for kind, point in found.items()}


def load_backend(kind: str, point: EntryPoint) -> Any:
    """The backend class behind an entry point; for a broken one, a function that raises what is wrong with it."""
    try:
        backend = _loaded(point)
        if problem := resource_problem(kind, backend):
            raise BrokenPlugin(f"{origin(point)} {problem}")
    except BrokenPlugin as error:
        return functools.partial(_raise, error)
    return backend


def resource_kinds(backends: Mapping[str, Any]) -> dict[str, type[Resource]]:
    """The resource classes of third parties' backends, by kind."""
    return {resource.kind: resource for backend in backends.values() for resource in getattr(backend, "resources", ())}


def type_problem(name: str, cls: Any) -> str:
    """What keeps ``cls`` from being the VIF type ``name``; empty when nothing does."""
    if not (inspect.isclass(cls) and issubclass(cls, VIFType)):
        return "is no subclass of vifplug.types.base.VIFType"
    if inspect.isabstract(cls):
        return f"does not define {joined(sorted(cls.__abstractmethods__), last='and')}"
    if getattr(cls, "name", None) != name:
        return f"says name = {getattr(cls, 'name', None)!r} and is registered as {name!r}"
    if not isinstance(cls.api_version, tuple) or cls.api_version[:1] != API_VERSION[:1]:
        return f"was written for plugin interface {cls.api_version!r}; this vifplug has {API_VERSION!r}"
    source = getattr(cls, "source", None)
    if not (inspect.isclass(source) and issubclass(source, Record)):
        return f"wants source to be a Record class, found {source!r}"
    return option_problem(cls.options) or refusal_problem(cls.refuses)


def option_problem(options: Sequence[Any]) -> str:
    """What is wrong with a type's options; empty when nothing is."""
    if wrong := [option for option in options if not isinstance(option, Option)]:
        return f"wants options to be Option records, found {wrong[0]!r}"
    allowed = get_args(get_type_hints(Option)["kind"])
    if unknown := [option for option in options if option.kind not in allowed]:
        return f"wants the kind of option {unknown[0].name} to be {joined(allowed)}, found {unknown[0].kind!r}"
    return ""


def refusal_problem(refuses: Mapping[str, str]) -> str:
    """What is wrong with the keys that a type refuses; empty when nothing is."""
    if unknown := sorted(set(refuses) - REFUSABLE):
        return f"refuses {joined(unknown)}, and a VIF document has only {joined(sorted(REFUSABLE))} to refuse"
    return ""


def resource_problem(kind: str, backend: Any) -> str:
    """What keeps ``backend`` from being the backend of a resource kind; empty when nothing does."""
    if kind in resources.RESOURCES:
        return f"is registered for kind {kind!r}, which is vifplug's own"
    found = getattr(backend, "resources", ())
    kinds = [each.kind for each in found if inspect.isclass(each) and issubclass(each, Resource)]
    return "" if kind in kinds else f"is registered for kind {kind!r} and has {joined(kinds)}"


def _raise(error: BrokenPlugin) -> NoReturn:
    raise error


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:  # a third party's module can raise anything when it is imported
        raise BrokenPlugin(f"{origin(point)} can't be imported: {type(error).__name__}: {error}") from error
