"""Drivers with a record and networks of their own, on a machine in memory or on this one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vifplug import VIFDriver, conf
from vifplug.host.host import Host
from vifplug.plan import registry
from vifplug.testing.memory import MemoryBackend, MemoryHost


@dataclass(frozen=True)
class Home:
    """A directory with a host's record and the networks that are defined on it."""

    path: Path
    #: makes what stands for the host; None: this host
    machine: Callable[[], Host] | None = None

    def driver(self, **vifplug: object) -> VIFDriver:
        """Return one more driver on the same record, such as that of an agent that was restarted.

        Args:
            vifplug: options of the group [vifplug].
        """
        options = conf.load([])
        # what a killed process began stays for the test to look at
        for name, option in {"recover": "manual", **vifplug}.items():
            options.set_override(name, option, group="vifplug")
        for name, value in {"state_path": self.path / "state", "networks_dir": self.path / "networks.d"}.items():
            options.set_override(name, str(value), group="vifplug")
        options.set_override("connection", f"unix:{self.path}/no-switch", group="vifplug_ovs")
        options.set_override("ensure_bridge", True, group="vifplug_ovs")
        options.set_override("default_qos_type", None, group="vifplug_ovs")
        return VIFDriver(options, machine=self.machine() if self.machine else None)

    def network(self, name: str) -> Path:
        """Return the file that defines a network, which need not exist."""
        directory = self.path / "networks.d"
        directory.mkdir(exist_ok=True)
        return directory / f"{name}.xml"


class Bench:
    """A host in memory: ``memory`` is all that exists on it, and ``driver`` plugs on it."""

    def __init__(self, path: Path, memory: MemoryBackend | None = None) -> None:
        self.memory = memory or MemoryBackend()
        self.home = Home(path, lambda: MemoryHost(self.memory))
        self.driver = self.home.driver()

    def define(self, text: str, name: str = "red") -> None:
        self.home.network(name).write_text(text)

    def there(self) -> set[str]:
        """Return the names of what exists, except bridges that VIFs share."""
        kinds = registry.RESOURCES
        return {name for kind, name in self.memory.there if kinds[kind].ownership is registry.Ownership.OWNED}
