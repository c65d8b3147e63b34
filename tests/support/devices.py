"""What a private host's devices have."""

from __future__ import annotations

import json

from vifplug.testing.host import PrivateHost


def mac(host: PrivateHost, device: str) -> str:
    """Equivalent to: ip -j link show DEVICE"""
    return str(json.loads(host.ip("-j", "link", "show", device))[0]["address"])
