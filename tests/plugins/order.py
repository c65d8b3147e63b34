"""The order in which tests are handed to the workers: what takes long comes first, and no worker ends alone with it.

A plugin of pytest's. xdist hands out one test after the other, the tests of an ``xdist_group`` together; with
``--no-loadscope-reorder`` in the order of collection, where else a group's number of tests decides.
"""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that are marked ``slow`` before all others; else all stay in their order."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
