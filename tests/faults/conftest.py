"""A host of each test's own: what these tests break is theirs alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from vifplug.testing.host import PrivateHost


@pytest.fixture
def host() -> Iterator[PrivateHost]:
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace of its own")
    with PrivateHost(timeout=2) as made:
        yield made
