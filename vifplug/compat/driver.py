"""A VIFDriver that also takes over and cleans up what os-vif plugged. Only `vifplug.compat` uses it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from vifplug.driver.verbs import VIFDriver
from vifplug.errors import Absent
from vifplug.model.vif import VIF, Instance
from vifplug.plan.registry import Device, OvsPort, Resource


class OsVifDriver(VIFDriver):
    """A VIFDriver with os-vif's migration. Thread-safe, as VIFDriver is."""

    def desired(self, vif: VIF, instance: Instance | None = None) -> Sequence[Resource]:
        """Return what must hold on this host for ``vif``, whatever the host has now.

        Raises:
            InvalidRequest: the VIF is wrong.
            Missing: the host lacks what the VIF names.
        """
        [job] = self._jobs.make([self._jobs.request(vif, instance)], dry_run=True)
        return tuple(job.desired)

    def take_over(self, vif_id: str, resources: Iterable[Resource]) -> Sequence[Resource]:
        """Mark what os-vif made for a VIF as vifplug's, and change nothing else.

        A port of Open vSwitch is found by its name and its iface-id, a device by its name and kind. A resource that
        has a mark already is not changed, nor is a device that is a port of another VIF.

        Returns:
            The resources that existed and are vifplug's now, in the given order.
        """
        resources = list(resources)
        with self._store.lock([self._id(vif_id)], self._settings.lock_timeout):
            devices = [each for each in resources if isinstance(each, Device)]
            taken: list[Resource] = []
            with contextlib.suppress(Absent):  # a host without Open vSwitch has no ports on it
                taken += self._host.ovs.take_over([each for each in resources if isinstance(each, OvsPort)])
                named = [(name, each.owner) for each in devices for name in each.links]
                unowned = self._host.ovs.unowned_ports(named)
                devices = [each for each in devices if not unowned & set(each.links)]
            return [*taken, *self._host.links.take_over(devices)]

    def clean_up(self, vif_id: str, devices: Sequence[str], bridges: Sequence[str]) -> Sequence[str]:
        """Remove what os-vif leaves when a VIF is gone.

        Args:
            vif_id: the VIF, which is locked meanwhile.
            devices: the names of ports whose QoS rows are removed if no port uses them.
            bridges: the names of Open vSwitch bridges that are removed if they have no port left.

        Returns:
            The names of the bridges that were removed.
        """
        with self._store.lock([self._id(vif_id)], self._settings.lock_timeout), contextlib.suppress(Absent):
            return self._host.ovs.clean_up(devices, bridges)
        return []
