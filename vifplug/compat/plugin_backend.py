"""The backend for os-vif plugins, which plug and unplug but cannot report what exists.

Therefore a file marks each plugged VIF, in a directory that a reboot empties, and the device is looked up.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from vifplug.compat import foreign
from vifplug.compat.plugin_type import PluggedByOsVif
from vifplug.errors import InvalidRequest, PartlyDone, StoreFailed, VifplugError, fill
from vifplug.host.netlink.client import Netlink
from vifplug.host.stepwise import StepwiseBackend
from vifplug.plan.registry import Identity, Resource
from vifplug.plan.steps import Observed

_OPTION = "[vifplug_os_vif] run_dir"


class PluginBackend(StepwiseBackend):
    """Calls the plugins. Thread-safe if they are; callers hold the lock of the VIF."""

    resources: ClassVar[tuple[type[Resource], ...]] = (PluggedByOsVif,)

    def __init__(self) -> None:
        self._netlink = Netlink()

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """Observe every resource, plugged or not: even without a mark a plugin may have left something."""
        return {each.identity: Observed(resource=self._found(cast(PluggedByOsVif, each))) for each in desired}

    def make(self, after: Resource) -> None:
        """Let the plugin plug, and write the mark; unplug after a failed plug. Raises PartlyDone if that fails too."""
        desired = cast(PluggedByOsVif, after)
        plugin, *objects = _loaded(desired)
        try:
            foreign.call(plugin, "plug", *objects)
            self._mark(desired)
        except VifplugError as error:
            left = f"what os-vif plugin {desired.plugin} did for VIF {desired.owner}"
            try:
                self.remove(desired)
            except VifplugError as another:
                raise fill(PartlyDone(f"{error}; unplugging failed as well: {another}", [left]), error) from error
            raise

    def change(self, before: Resource, after: Resource) -> None:
        """Plug or unplug. Agents plug again when they start, so plugins allow it."""
        if cast(PluggedByOsVif, after).plugged:
            self.make(after)
        else:
            self.remove(before)

    def remove(self, before: Resource) -> None:
        """Let the plugin unplug, whatever exists."""
        had = cast(PluggedByOsVif, before)
        plugin, *objects = _loaded(had)
        foreign.call(plugin, "unplug", *objects)
        with _written(had):
            _path(had).unlink(missing_ok=True)

    def close(self) -> None:
        """See `vifplug.host.backend.Backend.close`."""
        self._netlink.close()

    def _found(self, desired: PluggedByOsVif) -> PluggedByOsVif:
        with _written(desired):
            try:
                mark: dict[str, Any] = json.loads(_path(desired).read_text())
            except (FileNotFoundError, ValueError):  # a crash may have truncated it
                return desired.replace(plugged=False)
        had = {name: mark[name] for name in ("plugin", "vif", "instance")}
        gone = mark["device"] is not None and not self._netlink.links([mark["device"]])
        return desired.replace(**had, plugged=not gone)

    def _mark(self, desired: PluggedByOsVif) -> None:
        there = desired.device if desired.device and self._netlink.links([desired.device]) else None
        mark = {name: getattr(desired, name) for name in ("plugin", "vif", "instance")}
        path, draft = _path(desired), _path(desired).with_suffix(".new")
        with _written(desired):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps({**mark, "device": there}))
            os.replace(draft, path)


def _loaded(desired: PluggedByOsVif) -> tuple[Any, Any, Any]:
    """Return the plugin, and the objects that it gets. Raises InvalidRequest, and what `foreign.load` raises."""
    plugin = foreign.load(desired.plugin, desired.config_file)
    from vifplug.compat import plain

    vif, instance = json.loads(desired.vif), json.loads(desired.instance)
    if not instance.get("uuid"):
        raise InvalidRequest(f"VIF {desired.owner}: os-vif plugins need the guest: give its UUID")
    return plugin, plain.build(vif[plain.CLASS], vif), plain.build(instance[plain.CLASS], instance)


@contextlib.contextmanager
def _written(desired: PluggedByOsVif) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreFailed(
            f"the mark of VIF {desired.owner} in {desired.run_dir} cannot be used: {error.strerror}: see {_OPTION}",
            vif_id=desired.owner,
            option=_OPTION,
            path=desired.run_dir,
        ) from error


def _path(desired: PluggedByOsVif) -> Path:
    return Path(desired.run_dir) / f"{desired.owner}.json"
