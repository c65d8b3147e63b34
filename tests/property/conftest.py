"""No law depends on how fast the machine is at the moment; VIFPLUG_TEST_EXAMPLES says how many examples each gets."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "vifplug",
    deadline=None,
    max_examples=int(os.environ.get("VIFPLUG_TEST_EXAMPLES", "40")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("vifplug")
