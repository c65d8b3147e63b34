"""For every test: what it needs of the machine, and that another has to run it."""

from __future__ import annotations

pytest_plugins = ("tests.support.skips", "tests.support.machines")
