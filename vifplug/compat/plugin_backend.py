"""Backend for what os-vif's plugins do. They can be told to plug and to unplug, and can't be asked what there is.

So a mark is kept for each VIF, a file in a directory that a reboot empties, and the device is looked for.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from vifplug.compat import foreign
from vifplug.compat.plugin_type import PluggedByOsVif
from vifplug.errors import InvalidRequest, PartlyDone, StepFailed, StoreFailed, VifplugError
from vifplug.host.isolated import message
from vifplug.host.netlink.client import Netlink
from vifplug.host.stepwise import StepwiseBackend
from vifplug.plan.registry import Identity, Resource
from vifplug.plan.steps import Observed


class PluginBackend(StepwiseBackend):
    """Calls the plugins. Thread-safe, as they have to be; callers hold the lock of the VIF."""

    resources: ClassVar[tuple[type[Resource], ...]] = (PluggedByOsVif,)

    def __init__(self) -> None:
        self._netlink = Netlink()

    def observe(self, wanted: Sequence[Resource]) -> dict[Identity, Observed]:
        """Everything that is asked for is found, plugged or not: without a mark a plugin may have left something."""
        return {each.identity: Observed(resource=self._found(cast(PluggedByOsVif, each))) for each in wanted}

    def make(self, after: Resource) -> None:
        """Have the plugin plug, and write the mark; a plug that failed is unplugged."""
        wanted = cast(PluggedByOsVif, after)
        plugin = foreign.load(wanted.plugin, wanted.config_file)
        vif, instance = _objects(wanted)
        try:
            _describe(wanted, "plug", lambda: plugin.plug(vif, instance))
            self._mark(wanted)
        except VifplugError as error:
            self._clean_up(wanted, error)
            raise

    def change(self, before: Resource, after: Resource) -> None:
        """From unplugged to plugged, or back. Plugging again is what agents do when they start, so plugins know it."""
        if cast(PluggedByOsVif, after).plugged:
            self.make(after)
        else:
            self.remove(before)

    def remove(self, before: Resource) -> None:
        """Have the plugin unplug; it is not asked whether there is anything, since nobody can say."""
        had = cast(PluggedByOsVif, before)
        plugin = foreign.load(had.plugin, had.config_file)
        vif, instance = _objects(had)
        _describe(had, "unplug", lambda: plugin.unplug(vif, instance))
        with _written(had):
            _path(had).unlink(missing_ok=True)

    def close(self) -> None:
        """See `vifplug.host.backend.Backend.close`."""
        self._netlink.close()

    def _found(self, wanted: PluggedByOsVif) -> PluggedByOsVif:
        with _written(wanted):
            try:
                mark: dict[str, Any] = json.loads(_path(wanted).read_text())
            except (FileNotFoundError, ValueError):  # one that was cut short by a crash says nothing
                return wanted.replace(plugged=False)
        had = {name: mark[name] for name in ("plugin", "vif", "instance")}
        gone = mark["device"] is not None and not self._netlink.links([mark["device"]])
        return wanted.replace(**had, plugged=not gone)

    def _mark(self, wanted: PluggedByOsVif) -> None:
        there = wanted.device if wanted.device and self._netlink.links([wanted.device]) else None
        mark = {name: getattr(wanted, name) for name in ("plugin", "vif", "instance")}
        path, draft = _path(wanted), _path(wanted).with_suffix(".new")
        with _written(wanted):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps({**mark, "device": there}))
            os.replace(draft, path)

    def _clean_up(self, wanted: PluggedByOsVif, cause: VifplugError) -> None:
        """Unplug what was not wholly plugged. Raises PartlyDone when that fails as well."""
        try:
            self.remove(wanted)
        except VifplugError as error:
            message = f"{cause}; and it could not be taken back: {error}"
            raise PartlyDone(message, [f"what os-vif plugin {wanted.plugin} did for VIF {wanted.owner}"]) from cause


def _objects(wanted: PluggedByOsVif) -> tuple[Any, Any]:
    """The objects that the plugin gets. Raises InvalidRequest."""
    from vifplug.compat import plain

    vif, instance = json.loads(wanted.vif), json.loads(wanted.instance)
    if not instance.get("uuid"):
        raise InvalidRequest(f"VIF {wanted.owner} came without an instance, and os-vif's plugins plug for one: name it")
    return plain.build(vif[plain.CLASS], vif), plain.build(instance[plain.CLASS], instance)


def _describe(wanted: PluggedByOsVif, verb: str, call: Callable[[], None]) -> None:
    """Raises StepFailed with the plugin's own words."""
    try:
        call()
    except Exception as error:  # a third party's plugin can raise anything
        whose = f"os-vif plugin {wanted.plugin} failed to {verb} VIF {wanted.owner}"
        raise StepFailed(f"{whose}: {message(error)}") from error


@contextlib.contextmanager
def _written(wanted: PluggedByOsVif) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreFailed(
            f"the mark of VIF {wanted.owner} in {wanted.run_dir} can't be used: {error.strerror}; "
            "see [vifplug_os_vif] run_dir"
        ) from error


def _path(wanted: PluggedByOsVif) -> Path:
    return Path(wanted.run_dir) / f"{wanted.owner}.json"
