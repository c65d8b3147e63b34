"""For every test: what it needs of the machine."""

from __future__ import annotations

pytest_plugins = ("tests.support.skips",)
