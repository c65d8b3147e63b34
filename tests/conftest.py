"""For every test: what it needs of the machine, that another has to run it, and when its turn is."""

from __future__ import annotations

pytest_plugins = ("tests.plugins.elements", "tests.plugins.machines", "tests.plugins.order", "tests.plugins.skips")
