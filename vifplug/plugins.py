"""Finds the installed VIF types, kinds of resource and look-ups (stevedore), and loads those that are needed.

A plugin is validated when it is loaded, not when it is first used.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, Literal, TypeVar

from stevedore.named import NamedExtensionManager

from vifplug.errors import BrokenPlugin, InvalidConfig, InvalidDocument, Missing, UnknownType, Unsupported, about
from vifplug.guest import capabilities
from vifplug.guest.interface import Interface
from vifplug.host.backend import Backend
from vifplug.host.isolated import IsolatedBackend, is_for_the_operator, message
from vifplug.model.codec import joined
from vifplug.model.names import default_target
from vifplug.model.vif import VIF
from vifplug.plan.registry import Resource
from vifplug.types.base import Context, VIFType
from vifplug.types.contract import resource_problem, type_problem

TYPES = "vifplug.types"
RESOURCES = "vifplug.resources"
FACTS = "vifplug.facts"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PluginOrigin:
    """Where a plugin comes from."""

    #: name of the entry point
    name: str
    distribution: str
    version: str
    #: ``module:Class``
    target: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.target})"


@dataclass(frozen=True, kw_only=True)
class PluginReport:
    """One line of ``vifplug types``."""

    origin: PluginOrigin
    #: why the plugin cannot be used; empty if it can
    reason: str = ""
    plugin: Literal["type", "resource"] = "type"


class TypeRegistry:
    """The VIF types of this host. Each is loaded when it is first needed."""

    def __init__(self, enabled: Sequence[str] | None = None) -> None:
        """Find the types.

        Args:
            enabled: the names of the types that may be used; None allows all.

        Raises:
            InvalidConfig: two distributions provide types of one name, or a type in ``enabled`` is not installed.
        """
        found = entry_points(TYPES, "VIF type")
        if missing := sorted(set(enabled or ()) - found.keys()):
            option = "[vifplug] enabled_types"
            raise InvalidConfig(f"{option} has {joined(missing)}; installed: {joined(found)}", option=option)
        self._found = {name: point for name, point in found.items() if enabled is None or name in enabled}
        self._loaded: dict[str, VIFType] = {}

    def get(self, name: str) -> VIFType:
        """Return the type of that name. Raises UnknownType if it is not installed, or cannot be loaded."""
        if name not in self._loaded:
            with about(resource=f"type {name}"):
                self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> VIFType:
        if name not in self._found:
            raise UnknownType(f"type {name!r} is unknown (expected {joined(sorted(self._found))})")
        try:
            return load_type(self._found[name])
        except BrokenPlugin as error:
            raise UnknownType(f"type {name!r} cannot be used: {error}") from error

    def bind(self, vif: VIF) -> tuple[VIFType, VIF]:
        """Return the VIF's type, and the VIF with its ``source`` as the type's own model.

        Raises:
            UnknownType: the type is not installed, or cannot be loaded.
            InvalidDocument: the source is not valid for the type.
        """
        kind = self.get(vif.type)
        return kind, bound(vif, kind)

    def loaded(self) -> list[VIFType]:
        """Return every type that can be loaded, by name."""
        for name in self._found:
            with contextlib.suppress(UnknownType):  # `report` says which and why
                self.get(name)
        return [kind for _, kind in sorted(self._loaded.items())]

    def report(self) -> list[PluginReport]:
        """Return a report on every installed type, by name."""
        return [self._reported(name, point) for name, point in sorted(self._found.items())]

    def _reported(self, name: str, point: EntryPoint) -> PluginReport:
        try:
            self.get(name)
        except UnknownType as error:
            return PluginReport(origin=origin(point), reason=str(error.__cause__ or error))
        return PluginReport(origin=origin(point))


class FactPlugins:
    """The look-ups of plugins, called like `Facts.look`. Each is loaded when it is first called."""

    def __init__(self) -> None:
        """Find the look-ups. Raises InvalidConfig if two distributions provide look-ups of one name."""
        self._found = entry_points(FACTS, "look-up")
        self._loaded: dict[str, Callable[[str], Any]] = {}

    def __call__(self, name: str, key: str) -> Any:
        """See `vifplug.plan.facts.Facts.look`."""
        with about(resource=f"look-up {name}"):
            look = self._get(name)
            try:
                return look(key)
            except (Exception, SystemExit) as error:  # a third-party function can raise anything
                if is_for_the_operator(error):
                    raise
                sentence = f"{origin(self._found[name])} could not look up {key!r}: {message(error)}"
                raise BrokenPlugin(sentence) from error

    def _get(self, name: str) -> Callable[[str], Any]:
        if name not in self._found:
            raise Missing(f"no installed package has the look-up {name!r} (installed: {joined(sorted(self._found))})")
        if name not in self._loaded:
            look = _loaded(self._found[name])
            if not callable(look):
                raise BrokenPlugin(f"{origin(self._found[name])} is not a function of one key: got {look!r}")
            self._loaded[name] = look
        return self._loaded[name]


def bound(vif: VIF, kind: VIFType) -> VIF:
    """Return ``vif`` with its ``source`` as the model of its type. Raises InvalidDocument if it is not valid for it."""
    if not kind.has_device and vif.tap_owner is None and vif.target == default_target(vif.id):
        vif = vif.replace(target=None)
    if isinstance(vif.source, kind.source):
        return vif
    try:
        return vif.replace(source=kind.source.from_data(vif.source))
    except InvalidDocument as error:
        raise InvalidDocument(problem.under("$.source") for problem in error.problems) from None


def entry_points(namespace: str, what: str) -> dict[str, EntryPoint]:
    """Return the entry points of a namespace by name, without loading them; ``what`` they are is for the error.

    stevedore compares only neighbouring entry points, and otherwise uses the last one. A distribution that is found
    twice (an installed copy and a source tree) is no conflict: importlib.metadata lists the first on the path.

    Raises:
        InvalidConfig: two distributions provide entry points of one name.
    """
    manager: NamedExtensionManager[Any] = NamedExtensionManager(namespace, names=[])
    found: dict[str, EntryPoint] = {}
    for point in manager.list_entry_points():
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            sentence = f"comes from both {origin(other)} and {origin(point)}: uninstall one of them"
            raise InvalidConfig(f"{what} {point.name!r} {sentence}", resource=f"{what} {point.name}")
    return found


def origin(point: EntryPoint) -> PluginOrigin:
    """Return where an entry point comes from, which stevedore's cache does not keep."""
    namesakes = importlib.metadata.entry_points(group=point.group, name=point.name)
    distribution = next((each.dist for each in namesakes if each.value == point.value), None)
    return PluginOrigin(
        name=point.name,
        distribution=distribution.name if distribution else "unknown",
        version=distribution.version if distribution else "unknown",
        target=point.value,
    )


def load_type(point: EntryPoint) -> VIFType:
    """Return the validated type of an entry point. Raises BrokenPlugin."""
    cls = _loaded(point)
    if problem := type_problem(point.name, cls):
        raise BrokenPlugin(f"{origin(point)} {problem}")
    try:
        instance: VIFType = cls()
    except Exception as error:  # a third-party constructor can raise anything
        raise BrokenPlugin(f"{origin(point)} cannot be constructed: {message(error)}") from error
    return instance


# -- what a type answers ------------------------------------------------------------------------------------------


def validate(kind: VIFType, vif: VIF, context: Context) -> None:
    """Raise Unsupported with everything in ``vif`` that ``kind`` does not support, BrokenPlugin if its code fails."""
    _answer(kind, vif, "problems", lambda: kind.validate(vif, context))


def interface(kind: VIFType, vif: VIF, context: Context) -> Interface:
    """Return the guest's element of ``vif``.

    Raises:
        Unsupported: libvirt or QEMU does not start a guest with the element.
        BrokenPlugin: the type's code failed.
    """
    found = _answer(kind, vif, "interface", lambda: kind.interface(vif, context))
    if problems := list(capabilities.refused_at_start(found)):
        raise Unsupported(problems, f"VIF {vif.id}")
    return found


def desired(kind: VIFType, vif: VIF, context: Context) -> list[Resource]:
    """Return what must hold on the host for ``vif``. Raises BrokenPlugin if the type's code fails."""
    return _answer(kind, vif, "desired", lambda: _resources(kind.desired(vif, context), vif.id))


def _resources(found: Iterable[Resource], owner: str) -> list[Resource]:
    resources = list(found)
    for each in resources:
        if not isinstance(each, Resource):
            raise TypeError(f"expected resources of vifplug.plan.registry, got {each!r}")
        if each.owner not in ("", owner):
            raise ValueError(f"expected {each} to have the owner {owner}, got {each.owner!r}")
    return resources


def _answer(kind: VIFType, vif: VIF, name: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except (Exception, SystemExit) as error:  # third-party code can raise anything
        if type(kind).__module__.startswith("vifplug.") or is_for_the_operator(error):
            raise  # in a type of vifplug, any other exception is a bug in vifplug
        where = f"{type(kind).__module__}:{type(kind).__qualname__}"
        sentence = f"type {kind.name} ({where}) failed in {name} for VIF {vif.id}: {message(error)}"
        raise BrokenPlugin(sentence, vif_id=vif.id, resource=f"type {kind.name}") from error


# -- backends -----------------------------------------------------------------------------------------------------


class BackendFactory:
    """Makes the backend of a kind of resource. Its code is loaded, and validated, when it is first needed.

    The factories of one backend are equal, so that a backend of several kinds is made once.
    """

    def __init__(self, kind: str, point: EntryPoint) -> None:
        self._kind = kind
        self.point = point

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BackendFactory) and self._loaded == other._loaded

    def __hash__(self) -> int:
        return hash(self._loaded)

    @functools.cached_property
    def _loaded(self) -> tuple[Any, str]:
        """The backend's class, and why it cannot be used."""
        try:
            cls = _loaded(self.point)
        except BrokenPlugin as error:
            return None, str(error)
        problem = resource_problem(self._kind, cls)
        return cls, problem and f"{origin(self.point)} {problem}"

    @property
    def problem(self) -> str:
        """Why the backend cannot be used; empty if it can."""
        return self._loaded[1]

    @property
    def resources(self) -> tuple[type[Resource], ...]:
        """The resource classes that the backend handles; none if it cannot be used."""
        return () if self.problem else tuple(self._loaded[0].resources)

    def __call__(self) -> Backend:
        """Return the backend. Raises BrokenPlugin if it cannot be used."""
        if self.problem:
            raise BrokenPlugin(self.problem, resource=f"resource kind {self._kind}")
        return IsolatedBackend(self._loaded[0], origin(self.point))


def load_resources() -> dict[str, BackendFactory]:
    """Return the backends of third-party kinds of resource, by kind, without loading them.

    A broken backend does not affect the others: it raises BrokenPlugin when it is first needed.

    Raises:
        InvalidConfig: two distributions provide backends of one kind.
    """
    found = entry_points(RESOURCES, "resource kind")
    return {kind: BackendFactory(kind, point) for kind, point in found.items()}


def report_resources() -> list[PluginReport]:
    """Return a report on every third-party kind of resource, by name."""
    found = sorted(load_resources().items())
    return [PluginReport(origin=origin(each.point), reason=each.problem, plugin="resource") for _, each in found]


class ResourceKinds(dict[str, type[Resource]]):
    """The resource classes by kind: vifplug's own as items, and those of third-party backends on request.

    A backend is loaded when its kind is looked up: ``kinds[kind]`` raises KeyError if it cannot be used.
    """

    def __init__(self, backends: Mapping[str, BackendFactory], own: Mapping[str, type[Resource]]) -> None:
        super().__init__(own)
        self._backends = backends

    def __missing__(self, kind: str) -> type[Resource]:
        found = {resource.kind: resource for resource in self._backends[kind].resources}
        return found[kind]


def _loaded(point: EntryPoint) -> Any:
    if not EntryPoint.pattern.match(point.value):
        raise BrokenPlugin(f"{origin(point)} cannot be imported: expected module:Class as its entry point")
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # a third-party module can raise anything when it is imported
        raise BrokenPlugin(f"{origin(point)} cannot be imported: {message(error)}") from error
