"""No law depends on how fast the machine is at the moment."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("vifplug", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vifplug")
