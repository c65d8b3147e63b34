"""Linux bridges as a host should have them: up, and deaf to the router advertisements of guests."""

from __future__ import annotations

from pathlib import Path

from vifplug.testing.host import PrivateHost


def add(host: PrivateHost, name: str, *options: str) -> None:
    """Equivalent to: ip link add NAME up type bridge OPTIONS; sysctl -w net.ipv6.conf.NAME.accept_ra=0"""
    host.ip("link", "add", name, "up", "type", "bridge", *options)
    with host.inside():
        Path(f"/proc/sys/net/ipv6/conf/{name}/accept_ra").write_text("0")
