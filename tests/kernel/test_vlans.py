"""802.1Q and bridge VLAN filtering: their contract tests, which also hold on a kernel without, on one that has both."""

from __future__ import annotations

import pytest

from tests.contract import conftest, test_links, test_shared
from vifplug.testing.netns import ip

namespace, kernel, bridge = conftest.namespace, conftest.kernel, test_links.bridge

pytestmark = [pytest.mark.slow, pytest.mark.machine("full")]


def test_this_kernel_has_both(namespace: None) -> None:
    """Without this the tests below would also pass where they find nothing to try."""
    ip("link", "add", "low0", "type", "dummy")
    assert test_links.filters_vlans() and test_shared.knows_vlans()


test_a_vlan_device_is_made_once = test_shared.test_a_vlan_device_is_made_once_or_the_kernel_is_named
test_a_bridge_that_filters_vlans_is_made = test_links.test_a_bridge_that_filters_vlans_is_made_or_the_kernel_is_named
test_vlans_of_a_bridge_port_are_set = test_links.test_vlans_are_set_or_the_kernel_is_named
