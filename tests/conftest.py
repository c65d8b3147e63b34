"""For every test: what it needs of the machine, and when its turn is."""

from __future__ import annotations

pytest_plugins = ("tests.support.elements", "tests.support.order", "tests.support.skips")
