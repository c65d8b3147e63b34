"""Models: frozen dataclasses that validate and normalise themselves, and convert to and from plain data (JSON types).

The type hints of a model are its schema. Constructing a model converts every field to the type of its hint and then
runs the ``rules`` of the class. All problems are raised together, as one `InvalidDocument` with a path for each. A
model that exists is therefore valid, and two models with the same meaning are equal.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import operator
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, Self, TypeVar

from vifplug.errors import InvalidDocument, Problem

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
M = TypeVar("M", bound="Model")


class FrozenMap(dict[K, V]):
    """An immutable, hashable mapping; equal to any mapping with the same items."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __repr__(self) -> str:
        return f"FrozenMap({super().__repr__()})"

    def __str__(self) -> str:
        """Return the items as part of a sentence: ``a 1, b 2``."""
        return ", ".join(f"{key} {_worded(_plain(value))}" for key, value in self.items()) or "none"

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMap, (dict(self),)

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError("a FrozenMap cannot be changed")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse


class Model:
    """Base class of all models; see the docstring of the module.

    Subclasses are decorated with `model`, or as ``@dataclass(frozen=True, kw_only=True)``, which means the same. They
    may override ``rules`` (constraints between fields), ``shorthand`` (abbreviations of the model) and ``normal``
    (fields that are derived from others).
    """

    def __init__(self, **fields: Any) -> None:
        """Make and validate the model.

        Raises:
            InvalidDocument: a field is invalid; the error has every problem.
            TypeError: a field is missing or unknown.
        """
        schema, given = _schema(type(self)), fields.keys()
        if unknown := given - schema.converters.keys():
            raise TypeError(f"{type(self).__name__} has no field {joined(sorted(unknown))}")
        if not given >= schema.required:
            raise TypeError(f"{type(self).__name__} requires {joined(sorted(schema.required - given), 'and')}")
        self.__dict__.update(schema.defaults)
        self.__dict__.update(fields)
        _validate(self, fields, [])

    def __post_init__(self) -> None:
        """Validate a model whose ``__init__`` dataclass generated."""
        _validate(self, _schema(type(self)).converters, [])

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self.__dict__ == other.__dict__ or (key := _schema(type(self)).key)(self) == key(other)

    def __hash__(self) -> int:
        return hash(_schema(type(self)).key(self))

    def __repr__(self) -> str:
        values = (f"{name}={self.__dict__[name]!r}" for name in _schema(type(self)).fields)
        return f"{type(self).__qualname__}({', '.join(values)})"

    def adapt(self) -> list[Problem]:
        """Convert a field whose type depends on another one, and return the problems. Called before all else."""
        return []

    def normal(self) -> Mapping[str, Any]:
        """Return the fields to derive from others. Called after each field has been converted."""
        return {}

    def rules(self) -> Iterable[Problem]:
        """Yield the problems between fields. Called after each field has been converted."""
        return ()

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        """Return the full mapping that ``value`` abbreviates, or None if it is not an abbreviation.

        Raises:
            ValueError: the abbreviation is invalid; the message is a sentence.
        """
        return None

    @classmethod
    def from_data(cls, data: object) -> Self:
        """Return the model that plain data describes.

        Raises:
            InvalidDocument: the data is invalid; the error has every problem.
        """
        mapping = data if isinstance(data, (dict, Mapping)) else _abbreviated(cls, data)
        schema = _schema(cls)
        known = schema.converters
        problems: list[Problem] = []
        if not known.keys() >= mapping.keys() >= schema.required:
            problems += map(schema.unknown_key, itertools.filterfalse(known.__contains__, mapping))
            problems += map(_missing, itertools.filterfalse(mapping.__contains__, schema.required))
            mapping = {name: mapping[name] for name in known if name in mapping}
        made = object.__new__(cls)
        made.__dict__.update(schema.defaults)
        made.__dict__.update(mapping)
        _validate(made, filter(mapping.__contains__, known), problems)
        return made

    def to_data(self) -> dict[str, Any]:
        """Return the plain data from which `from_data` makes an equal model, without the fields at their default."""
        schema, data = _schema(type(self)), {}
        for name in schema.fields:
            value, default = getattr(self, name), schema.defaults.get(name, dataclasses.MISSING)
            if value is not default and value != default:
                data[name] = value if type(value) in _SCALARS else _plain(value)
        return data

    def __str__(self) -> str:
        """Return the fields that differ from their default, as part of a sentence: ``mode access, tag 10``."""
        return ", ".join(f"{key} {_worded(value)}" for key, value in self.to_data().items()) or "none"

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values in the named fields, which are validated; the others are not, again."""
        if unknown := changes.keys() - _schema(type(self)).converters.keys():
            raise TypeError(f"{type(self).__name__} has no field {joined(sorted(unknown))}")
        made = self.trusted(**changes)
        _validate(made, changes, [])
        return made

    def trusted(self, **changes: Any) -> Self:
        """Return a copy with other values in the named fields, which are not checked.

        For values that were checked before, and for those found on the host, which may have what no document may.
        """
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__ | changes)
        return made


@typing.dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def model(cls: type[M]) -> type[M]:
    """Make a frozen dataclass of a subclass of Model, without the methods that Model has.

    To generate and compile those for each of vifplug's own models takes longer than to load all of their modules.
    """
    return dataclasses.dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)(cls)


def joined(values: Iterable[object], last: str = "or") -> str:
    """Return the values as an enumeration in a sentence: ``a, b or c``."""
    words = [str(value) for value in values]
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "nothing"


# -- from hints to converters -------------------------------------------------------------------------------------

Convert = Callable[[Any, str, list[Problem]], Any]


@dataclasses.dataclass(frozen=True)
class _Schema:
    """What the type hints of a model say."""

    converters: Mapping[str, Convert]
    #: of each field: its default as the class has it, and converted; the types whose values need no conversion
    checks: Mapping[str, tuple[Any, Any, frozenset[type], Convert]]
    #: the fields that have no default
    required: frozenset[str]
    #: the default of each other field, converted
    defaults: Mapping[str, Any]
    #: every field, with its default as the class has it
    fields: Mapping[str, Any]
    #: what two equal models have in common: the values of the fields that are compared
    key: Callable[[Any], Any]
    #: the methods of Model that the class overrides
    overrides: frozenset[str]
    #: of the defaults
    problems: tuple[Problem, ...]

    def unknown_key(self, key: object) -> Problem:
        return Problem(f"$.{_named(key)}", f"unknown key (expected one of: {', '.join(self.converters)})")


def _make_schema(cls: Any) -> _Schema:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = dataclasses.fields(cls)
    problems: list[Problem] = []
    defaults = {field.name: _default(field) for field in fields}
    converters = {field.name: _converter(hints[field.name]) for field in fields if field.init}
    converted = {
        name: converters[name](value, f"the default of {name}", problems) if name in converters else value
        for name, value in defaults.items()
        if value is not dataclasses.MISSING
    }
    return _Schema(
        converters=converters,
        checks={
            name: (defaults[name], converted.get(name), _sound(hints[name]), convert)
            for name, convert in converters.items()
        },
        required=frozenset(name for name in converters if defaults[name] is dataclasses.MISSING),
        defaults=converted,
        fields=defaults,
        key=operator.attrgetter("__class__", *(field.name for field in fields if field.compare)),
        problems=tuple(problems),
        overrides=frozenset(name for name in vars(Model) if getattr(cls, name) is not getattr(Model, name)),
    )


_schema: Callable[[Any], _Schema] = functools.cache(_make_schema)


def _validate(model: Model, names: Iterable[str], problems: list[Problem]) -> None:
    """Convert the named fields, derive others, and check the rules between fields.

    Args:
        problems: those that are known already.

    Raises:
        InvalidDocument: with all problems.
    """
    schema, state = _schema(type(model)), model.__dict__
    early = model.adapt() if "adapt" in schema.overrides else ()
    for name in names:
        value = state[name]
        default, converted, sound, convert = schema.checks[name]
        if value is default:
            state[name] = converted
        elif type(value) not in sound:
            state[name] = convert(value, f"$.{name}", problems)
    if not problems and "normal" in schema.overrides:
        state.update(model.normal())
    if not problems and "rules" in schema.overrides:
        problems.extend(model.rules())
    if early or problems:
        raise InvalidDocument([*early, *problems])


def schema_problem(cls: type[Model]) -> str:
    """Return what is wrong with a model class itself, such as an unknown type hint or an invalid default."""
    try:
        return "; ".join(map(str, _schema(cls).problems))
    except (TypeError, NameError) as error:
        return str(error)


def _default(field: dataclasses.Field[Any]) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _converter(hint: Any) -> Convert:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value, path, problems: value
    if origin is typing.Annotated:
        return _checked(_converter(args[0]), _sound(args[0]), args[1:])
    if origin in (typing.Union, types.UnionType):
        return _optional([_converter(arg) for arg in args if arg is not type(None)], _sound(hint))
    if origin is typing.Literal:
        return functools.partial(_one_of, args)
    if origin is tuple:
        return functools.partial(_tuple, _converter(args[0]))
    if origin is FrozenMap:
        return _map(*args)
    if origin is not None or hint in (list, dict, set):
        raise TypeError(f"fields of type {hint} are not supported (expected tuple[X, ...], FrozenMap[K, V] or a Model)")
    if isinstance(hint, type) and issubclass(hint, Model):
        return functools.partial(_record, hint)
    return functools.partial(_exactly, hint)


def _sound(hint: Any) -> frozenset[type]:
    """Return the types whose values are values of ``hint`` as they are."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return frozenset().union(*map(_sound, typing.get_args(hint)))
    return frozenset({hint}) if origin is None and isinstance(hint, type) else frozenset()


def _checked(convert: Convert, sound: frozenset[type], checks: Iterable[Callable[[Any], Any]]) -> Convert:
    """Return a converter that runs ``convert``, then each check.

    A check returns the normal form of a value, or raises ValueError with a sentence.
    """

    def run(value: Any, path: str, problems: list[Problem]) -> Any:
        before = len(problems)
        if type(value) not in sound:
            value = convert(value, path, problems)
        try:
            for check in checks if len(problems) == before else ():
                value = check(value)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
        return value

    return run


def _optional(converts: list[Convert], sound: frozenset[type]) -> Convert:
    """Return a converter for None or the first alternative that accepts the value.

    If no alternative accepts it, the problems are those of the first.
    """

    def run(value: Any, path: str, problems: list[Problem]) -> Any:
        if type(value) in sound:
            return value
        if len(converts) == 1:
            return converts[0](value, path, problems)
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


def _map(key: Any, item: Any) -> Convert:
    """Return a converter for a map, by the hints of its keys and its items."""
    convert_key, convert_item, keys, items = _converter(key), _converter(item), _sound(key), _sound(item)

    def run(value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, (dict, Mapping)):
            problems.append(Problem(path, f"expected an object, got {described(value)}"))
            return value
        if keys.issuperset(map(type, value)) and items.issuperset(map(type, value.values())):
            return value if isinstance(value, FrozenMap) else FrozenMap(value)
        return FrozenMap(
            {convert_key(k, path, problems): convert_item(v, f"{path}.{_named(k)}", problems) for k, v in value.items()}
        )

    return run


def _record(cls: type[Model], value: Any, path: str, problems: list[Problem]) -> Any:
    if isinstance(value, cls):
        return value
    try:
        return cls.from_data(value)
    except InvalidDocument as error:
        problems.extend(problem.under(path) for problem in error.problems)
        return value


def _one_of(allowed: tuple[Any, ...], value: Any, path: str, problems: list[Problem]) -> Any:
    if value not in allowed or not isinstance(value, tuple({type(each) for each in allowed})):
        problems.append(Problem(path, f"expected {joined(allowed)}, got {described(value)}"))
    return value


_KIND = {bool: "true or false", int: "an integer", str: "a string"}


def _exactly(kind: type, value: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        problems.append(Problem(path, f"expected {_KIND.get(kind, kind.__name__)}, got {described(value)}"))
    return value


# -- to and from plain data ---------------------------------------------------------------------------------------


def _abbreviated(cls: type[Model], data: object) -> Mapping[str, Any]:
    try:
        full = cls.shorthand(data)
    except ValueError as error:
        raise InvalidDocument([Problem("$", str(error))]) from None
    if full is None:
        raise InvalidDocument([Problem("$", f"expected an object, got {described(data)}")])
    return full


def _missing(name: str) -> Problem:
    return Problem(f"$.{name}", "is missing")


#: Limits of a document, far above any that has a meaning: a VIF with all VLANs has 100 kB, and five levels.
MAX_BYTES, MAX_DEPTH, MAX_VALUES, MAX_DIGITS, MAX_BITS = 1 << 20, 32, 1 << 17, 20, 256


def bounded(data: T, what: str) -> T:
    """Return plain data, which may come from another parser than `json_object`'s.

    Raises:
        InvalidDocument: the data has too many levels or values, or a value that no JSON text has.
    """
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH + 1):
        for each in level:
            if reason := _not_json(each):
                raise InvalidDocument([Problem("$", f"has {reason}, which no {what} can have")])
        level = [child for each in level for child in _children(each)]
        if not level:
            return data
        if len(level) > MAX_VALUES:
            raise InvalidDocument([Problem("$", f"is too large for a {what} (expected at most {MAX_VALUES} values)")])
    raise InvalidDocument([Problem("$", f"is nested too deeply for a {what} (expected at most {MAX_DEPTH} levels)")])


def _is_bounded(text: str | bytes) -> bool:
    """Whether the data of a JSON text is within the limits of `bounded`, as far as it shows in the text: mostly."""
    return (
        isinstance(text, str)
        and text.isascii()
        and "\\u" not in text
        and text.count("[") + text.count("{") <= MAX_DEPTH
        and text.count(",") < MAX_VALUES
    )


def _not_json(value: object) -> str:
    """Return what the value is, if no JSON text that other programs read has it; its children are not looked at."""
    if value is None or isinstance(value, (list, tuple, Model)):
        return ""
    if isinstance(value, str):
        return (
            "" if value.isascii() or not _SURROGATE.search(value) else f"half of a surrogate pair in {described(value)}"
        )
    if isinstance(value, int):
        return described(value) if value.bit_length() > MAX_BITS else ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"the number {value}"
    if isinstance(value, Mapping):
        return next((reason for key in value if (reason := _no_key(key))), "")
    return described(value)


def _no_key(key: object) -> str:
    return _not_json(key) if isinstance(key, str) else f"the key {described(key)}"


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def json_object(text: str | bytes, what: str) -> Mapping[str, Any]:
    """Return the object in a JSON text.

    Args:
        what: the kind of document, for errors: ``VIF document``.

    Raises:
        InvalidDocument: the text is not JSON, or not a JSON object.
    """
    return _json(text, what, dict, f"one {what}")


def json_list(text: str, what: str) -> list[Any]:
    """Return the list in a JSON text; like `json_object`."""
    return _json(text, what, list, f"a {what}")


def _json(text: str | bytes, what: str, kind: type[T], expected: str) -> T:
    if not isinstance(text, (str, bytes)):
        raise InvalidDocument([Problem("$", f"expected a {what}, got {described(text)}")])
    if not text.strip():
        raise InvalidDocument([Problem("$", f"expected a {what}, got nothing")])
    if len(text) > MAX_BYTES:
        raise InvalidDocument([Problem("$", f"expected a {what} of at most {MAX_BYTES} bytes, got {len(text)}")])
    try:
        data = _DECODER.decode(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise InvalidDocument([Problem("$", f"is nested too deeply for a {what}")]) from None
    except UnicodeDecodeError as error:
        raise InvalidDocument(
            [Problem("$", f"is not UTF-8: byte {error.start} is 0x{text[error.start]:02x}")]
        ) from None
    except ValueError as error:
        raise InvalidDocument([Problem("$", f"is not JSON: {error}")]) from None
    if not _is_bounded(text):
        bounded(data, what)
    if not isinstance(data, kind):
        raise InvalidDocument([Problem("$", f"expected {expected}, got {described(data)}")])
    return data


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"expected a number of at most {MAX_DIGITS} digits, got {described(text)}")
    return int(text)


def _finite(text: str) -> float:
    """Return a number; JSON has no NaN and no infinity (RFC 8259, section 6), which Python reads and writes."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"expected a finite number, got {text[:MAX_DIGITS]}")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object, or raise ValueError for a repeated key: JSON readers differ in which value they use."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {described(key)} is repeated")
        found[key] = value
    return found


_SURROGATE = re.compile("[\ud800-\udfff]")

#: an error quotes at most so many characters of a value or key
_QUOTED = 80

#: made once: json.loads makes one for each text
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_float=_finite, parse_constant=_finite)

#: the types of values that plain data has as they are
_SCALARS = (str, int, bool, type(None))


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return value.to_data()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, FrozenMap):
        return {key: each if type(each) in _SCALARS else _plain(each) for key, each in value.items()}
    return value


def _worded(value: Any) -> str:
    """Return plain data as part of a sentence."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def described(value: object) -> str:
    """Return how an error names a value: by its kind if it is a container, otherwise by its (shortened) text."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > MAX_BITS:  # Python prints no number of more than 4300 digits
        return f"a number of {value.bit_length()} bits"
    if not isinstance(value, (str, bytes, int, float)):
        return f"a value of Python's type {type(value).__name__}"
    return shortened(repr(value))


def shortened(text: str) -> str:
    """Return a text as an error quotes it: not more than its beginning."""
    return text if len(text) <= _QUOTED else text[: _QUOTED - 3] + "..."


def _named(key: object) -> str:
    """Return how a path names a key: as it is, unless that does no good to who reads the path."""
    return key if isinstance(key, str) and key.isprintable() and len(key) <= _QUOTED else described(key)
