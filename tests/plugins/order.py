"""Which tests run, and the order in which they are handed to the workers: no worker ends alone with what takes long.

A plugin of pytest's. xdist hands out one test after the other, the tests of an ``xdist_group`` together; with
``--no-loadscope-reorder`` in the order of collection, where else a group's number of tests decides.
"""

from __future__ import annotations

import os

import pytest

from tests.support.vm import LONG


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that are marked ``slow`` before all others; else all stay in their order. Without those marked ``long``."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if LONG not in os.environ:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]
