"""Records: frozen dataclasses that check and normalise themselves, and speak plain data (JSON's types).

A record's type hints are its schema. Constructing one, in Python or from data, converts every field to what its
hint says, then runs the class's own ``rules``; whatever is wrong is raised at once, as one `InvalidDocument` with a
path for each problem. So a record that exists is valid, and two records that mean the same are equal.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar

from vifplug.errors import InvalidDocument, Problem

K = TypeVar("K")
V = TypeVar("V")


class FrozenMap(Mapping[K, V], Generic[K, V]):
    """A mapping that can't change and can be hashed; equal to any mapping with the same items."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        self._items: dict[K, V] = dict(items)

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"FrozenMap({self._items!r})"


class Model:
    """Base of every frozen record; see the module's docstring.

    Subclasses are ``@dataclass(frozen=True, kw_only=True)``. They may define ``rules`` (laws between fields),
    ``shorthand`` (other ways to write the record) and ``normal`` (fields that follow from others).
    """

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        for name, convert in _converters(type(self)).items():
            object.__setattr__(self, name, convert(getattr(self, name), f"$.{name}", problems))
        if not problems:
            for name, value in self.normal().items():
                object.__setattr__(self, name, value)
            problems.extend(self.rules())
        if problems:
            raise InvalidDocument(problems)

    def normal(self) -> Mapping[str, Any]:
        """Fields whose value follows from other fields, computed once all fields are well-formed."""
        return {}

    def rules(self) -> Iterable[Problem]:
        """What is wrong between fields that are each well-formed."""
        return ()

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        """The full mapping that ``value`` abbreviates; None when it is no abbreviation.

        Raises ValueError, with a sentence, for an abbreviation that is wrong.
        """
        return None

    @classmethod
    def from_data(cls, data: object) -> Self:
        """The record that plain data describes. Raises InvalidDocument with every problem."""
        mapping = _as_mapping(cls, data)
        known = _converters(cls)
        problems = [_unknown_key(key, known) for key in mapping if key not in known]
        problems += [Problem(f"$.{name}", "is missing") for name in _required(cls) if name not in mapping]
        values = {
            name: convert(mapping[name], f"$.{name}", problems) for name, convert in known.items() if name in mapping
        }
        if problems:
            raise InvalidDocument(problems)
        return cls(**values)

    def to_data(self) -> dict[str, Any]:
        """Plain data that `from_data` reads back to an equal record; fields at their default are left out."""
        return {
            field.name: _plain(value)
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
            if (value := getattr(self, field.name)) != _default(field)
        }

    def __str__(self) -> str:
        """What differs from the defaults, short enough for a sentence: ``mode access, tag 10``."""
        return ", ".join(f"{key} {value}" for key, value in self.to_data().items()) or "none"

    def replace(self, **changes: Any) -> Self:
        """A copy with other values in the named fields, checked like any new record."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def joined(values: Iterable[object], last: str = "or") -> str:
    """``a, b or c``: an enumeration as a sentence has it."""
    words = [str(value) for value in values]
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "nothing"


# -- from hints to converters -------------------------------------------------------------------------------------

Convert = Callable[[Any, str, list[Problem]], Any]


def _make_converters(cls: Any) -> dict[str, Convert]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: _converter(hints[field.name]) for field in dataclasses.fields(cls) if field.init}


def _find_required(cls: Any) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(cls) if f.init and _default(f) is dataclasses.MISSING)


_converters: Callable[[Any], dict[str, Convert]] = functools.cache(_make_converters)
_required: Callable[[Any], tuple[str, ...]] = functools.cache(_find_required)


def schema_problem(cls: type[Model]) -> str:
    """What is wrong with a record class itself: a type hint that can't be read, a default that it refuses."""
    problems: list[Problem] = []
    try:
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            if field.init and (default := _default(field)) is not dataclasses.MISSING:
                _converters(cls)[field.name](default, f"the default of {field.name}", problems)
        _converters(cls)
    except (TypeError, NameError) as error:
        return str(error)
    return "; ".join(map(str, problems))


def _default(field: dataclasses.Field[Any]) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _converter(hint: Any) -> Convert:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value, path, problems: value
    if origin is typing.Annotated:
        return _checked(_converter(args[0]), args[1:])
    if origin in (typing.Union, types.UnionType):
        return _optional([_converter(arg) for arg in args if arg is not type(None)])
    if origin is typing.Literal:
        return _checked(lambda value, path, problems: value, [functools.partial(_one_of, args)])
    if origin is tuple:
        return functools.partial(_tuple, _converter(args[0]))
    if origin is FrozenMap:
        return functools.partial(_map, _converter(args[0]), _converter(args[1]))
    if origin is not None or hint in (list, dict, set):
        raise TypeError(f"a record has no fields of type {hint}: expected tuple[X, ...], FrozenMap[K, V] or a Record")
    if isinstance(hint, type) and issubclass(hint, Model):
        return functools.partial(_record, hint)
    return _checked(lambda value, path, problems: value, [functools.partial(_exactly, hint)])


def _checked(convert: Convert, checks: Iterable[Callable[[Any], Any]]) -> Convert:
    """``convert``, then each check; a check returns the normal form or raises ValueError with a sentence."""

    def run(value: Any, path: str, problems: list[Problem]) -> Any:
        before = len(problems)
        value = convert(value, path, problems)
        try:
            for check in checks if len(problems) == before else ():
                value = check(value)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
        return value

    return run


def _optional(converts: list[Convert]) -> Convert:
    """None, or the first alternative that accepts the value; the problems told are the first alternative's."""

    def run(value: Any, path: str, problems: list[Problem]) -> Any:
        if value is None:
            return None
        attempts: list[list[Problem]] = []
        for convert in converts:
            attempts.append([])
            result = convert(value, path, attempts[-1])
            if not attempts[-1]:
                return result
        problems.extend(attempts[0])
        return value

    return run


def _tuple(item: Convert, value: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, (list, tuple)):
        problems.append(Problem(path, f"expected a list, got {described(value)}"))
        return value
    return tuple(item(each, f"{path}[{index}]", problems) for index, each in enumerate(value))


def _map(key: Convert, item: Convert, value: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(Problem(path, f"expected an object, got {described(value)}"))
        return value
    return FrozenMap({key(k, path, problems): item(v, f"{path}.{k}", problems) for k, v in value.items()})


def _record(cls: type[Model], value: Any, path: str, problems: list[Problem]) -> Any:
    if isinstance(value, cls):
        return value
    try:
        return cls.from_data(value)
    except InvalidDocument as error:
        problems.extend(problem.under(path) for problem in error.problems)
        return value


def _one_of(allowed: tuple[Any, ...], value: Any) -> Any:
    if value not in allowed or isinstance(value, bool) != any(isinstance(each, bool) for each in allowed):
        raise ValueError(f"expected {joined(allowed)}, got {described(value)}")
    return value


_KIND = {bool: "true or false", int: "a whole number", str: "a text"}


def _exactly(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"expected {_KIND.get(kind, kind.__name__)}, got {described(value)}")
    return value


# -- to and from plain data ---------------------------------------------------------------------------------------


def _as_mapping(cls: type[Model], data: object) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return data
    try:
        full = cls.shorthand(data)
    except ValueError as error:
        raise InvalidDocument([Problem("$", str(error))]) from None
    if full is None:
        raise InvalidDocument([Problem("$", f"expected an object, got {described(data)}")])
    return full


def _unknown_key(key: object, known: Iterable[str]) -> Problem:
    return Problem(f"$.{key}", f"is not known here; expected {joined(known)}")


def json_object(text: str | bytes, what: str) -> Mapping[str, Any]:
    """The object that a JSON text holds; ``what`` names the kind of document. Raises InvalidDocument."""
    if not text.strip():
        raise InvalidDocument([Problem("$", f"expected a {what}, got nothing")])
    try:
        data = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise InvalidDocument([Problem("$", f"is nested too deeply for a {what}")]) from None
    except ValueError as error:
        raise InvalidDocument([Problem("$", f"is not JSON: {error}")]) from None
    if not isinstance(data, Mapping):
        raise InvalidDocument([Problem("$", f"expected one {what}, got {described(data)}")])
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, unless a key comes twice: JSON readers differ in which of the two they take."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} comes twice")
        found[key] = value
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return value.to_data()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, FrozenMap):
        return {key: _plain(each) for key, each in value.items()}
    return value


def described(value: object) -> str:
    """A value as an error names it: its kind where that is the news, itself where it is short."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
