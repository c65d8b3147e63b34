"""Loads a library's own libraries when they are first used, where the library would load them with itself."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


class _Postponed(ModuleType):
    """Stands for a module, which is loaded when an attribute of it is first requested."""

    def __getattr__(self, name: str) -> Any:
        _make_way(self.__name__)
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def postponed(*names: str) -> Iterator[None]:
    """Postpone the loading of modules that are imported within the block, for those that import them there.

    Whoever imports them after the block gets the modules themselves. A module that is loaded already is left alone.
    """
    sys.modules.update({name: _Postponed(name) for name in names if name not in sys.modules})
    try:
        yield
    finally:
        for name in names:
            _make_way(name)


def _make_way(name: str) -> None:
    if isinstance(sys.modules.get(name), _Postponed):
        del sys.modules[name]
