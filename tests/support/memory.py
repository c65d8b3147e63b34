"""A driver on a machine in memory."""

from __future__ import annotations

from pathlib import Path

from vifplug import VIFDriver
from vifplug import conf as options
from vifplug.host.machine import Machine
from vifplug.plan import registry
from vifplug.testing.memory import MemoryBackend


class Bench:
    """``memory`` is all that there is of the machine; ``driver`` plugs on it."""

    def __init__(self, state_path: Path) -> None:
        self.memory = MemoryBackend()
        conf = options.load([])
        conf.set_override("state_path", str(state_path), group="vifplug")
        conf.set_override("default_qos_type", None, group="vifplug_ovs")
        self.driver = VIFDriver(conf, machine=Machine({kind: lambda: self.memory for kind in registry.RESOURCES}))

    def there(self) -> set[str]:
        """What is on the machine, but for bridges that were ensured."""
        kinds = registry.RESOURCES
        return {name for kind, name in self.memory.there if kinds[kind].ownership is registry.Ownership.OWNED}
