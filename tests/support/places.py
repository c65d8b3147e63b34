"""Where things are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.site import ROOT

HOOK = ROOT / "etc/vifplug/libvirt-hook"


def shared(factory: pytest.TempPathFactory, name: str) -> Path:
    """A directory of all of a run: its workers' directories are in one."""
    base = factory.getbasetemp()
    directory = (base.parent if base.name.startswith("popen-") else base) / name
    directory.mkdir(exist_ok=True)
    return directory


def libvirt_cache(factory: pytest.TempPathFactory) -> Path:
    """What libvirtd finds out about QEMU, kept for all of a run."""
    return shared(factory, "libvirt-cache")
