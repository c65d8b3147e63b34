"""A host of each test's own: what these tests break is theirs alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vifplug.testing.host import PrivateHost


@pytest.fixture
def host() -> Iterator[PrivateHost]:
    with PrivateHost(vifplug_ovs={"timeout": 2, "ensure_bridge": True}) as made:
        yield made
