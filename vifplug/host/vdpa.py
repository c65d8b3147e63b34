"""vdpa devices: looked up in sysfs and through the vdpa netlink family (linux/vdpa.h)."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vifplug import errors
from vifplug.host.netlink.generic import Genetlink, number
from vifplug.host.netlink.socket import NetlinkRefused
from vifplug.host.sriov.sysfs import names_in
from vifplug.host.stepwise import StepwiseBackend
from vifplug.model.names import is_pci
from vifplug.plan.kinds.vdpa import VdpaDevice, VdpaFacts, unbound
from vifplug.plan.registry import Identity, Resource
from vifplug.plan.steps import Observed

# linux/vdpa.h
FAMILY = "vdpa"
DEV_GET, DEV_CONFIG_GET = 5, 6
DEV_NAME, DEV_ID, DEV_MAX_VQS, NET_CFG_MACADDR, NET_CFG_MAX_VQP = 4, 5, 7, 10, 12

VIRTIO_ID_NET = 1  # linux/virtio_ids.h

_NO_MAC = "00:00:00:00:00:00"
_CHARACTER_DEVICE = "vhost-vdpa-"
#: a directory of /sys/devices: the function itself, and not its host bridge pci0000:80
_PCI_FUNCTION = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")


def look_up(key: str) -> VdpaFacts:
    """Return the vdpa device behind /dev/vhost-vdpa-N, on the PCI function at an address, or with a name.

    Raises:
        Missing: it does not exist.
        Conflict: the function has several.
        HostNotReady: it is not bound to vhost_vdpa.
    """
    return VdpaSysfs().find(key)


class VdpaSysfs:
    """The vdpa bus in the tree at ``root``. Each look-up reads again."""

    def __init__(self, root: str | Path = "/sys") -> None:
        self._devices = Path(root) / "bus/vdpa/devices"

    def find(self, key: str) -> VdpaFacts:
        """See `look_up`."""
        with errors.about(resource=f"vdpa device {key}"):
            return self._find(key)

    def _find(self, key: str) -> VdpaFacts:
        found = self._matching(key)
        if not found:
            raise errors.Missing(_lacking(key))
        if len(found) > 1:
            names = ", ".join(each.name for each in found)
            raise errors.Conflict(f"PCI function {key}: expected one vdpa device on it, got {names}; give its name")
        if not found[0].device:
            raise errors.HostNotReady(unbound(found[0].name, found[0].driver))
        return found[0]

    def device(self, name: str) -> VdpaFacts | None:
        """Return the vdpa device of a name; None if it does not exist."""
        place = self._devices / name
        if not name or "/" in name or not place.exists():
            return None
        real = place.resolve()
        driver = real / "driver"
        function = next((parent for parent in real.parents if _PCI_FUNCTION.fullmatch(parent.name)), None)
        return VdpaFacts(
            name=name,
            device=next((f"/dev/{child.name}" for child in sorted(real.glob(f"{_CHARACTER_DEVICE}*"))), ""),
            driver=driver.resolve().name if driver.exists() else "",
            function=function.name if function else None,
            virtual=function is not None and (function / "physfn").exists(),
        )

    def all(self) -> list[VdpaFacts]:
        """Return every vdpa device, sorted by name."""
        return [each for each in map(self.device, names_in(self._devices)) if each]

    def _matching(self, key: str) -> list[VdpaFacts]:
        if key.startswith("/"):
            return [each for each in self.all() if each.device == key]
        if is_pci(key):
            return [each for each in self.all() if each.function == key]
        return [each for each in [self.device(key)] if each]


@dataclass(frozen=True, kw_only=True)
class VdpaInfo:
    """A device as the kernel reports it: its class of virtio device, its MAC, its number of queue pairs."""

    virtio_id: int
    mac: str | None = None
    queues: int = 0


class VdpaNetlink:
    """The vdpa family. It is in the first network namespace only."""

    def __init__(self) -> None:
        self._family = Genetlink(FAMILY)

    def info(self, name: str) -> VdpaInfo | None:
        """Return what the kernel reports of a device; None if it does not exist. Raises KernelLacks if it cannot tell.

        Equivalent to: vdpa dev show NAME; vdpa dev config show NAME
        """
        try:
            device = self._family.ask(DEV_GET, {DEV_NAME: name})
            if number(device.get(DEV_ID, b"")) != VIRTIO_ID_NET:
                return VdpaInfo(virtio_id=number(device.get(DEV_ID, b"")))
            return parsed(device, self._family.ask(DEV_CONFIG_GET, {DEV_NAME: name}))
        except NetlinkRefused as refused:
            if refused.code == errno.ENODEV:
                return None
            message = f"vdpa device {name}: the kernel does not report its MAC and queues: {refused}"
            raise errors.KernelLacks(f"{message}; create it with 'vdpa dev add'") from refused

    def close(self) -> None:
        """Close the socket; the next use opens a new one."""
        self._family.close()


def parsed(device: dict[int, bytes], config: dict[int, bytes]) -> VdpaInfo:
    """Return the device that DEV_GET and DEV_CONFIG_GET describe. One without multiqueue reports no queue pairs."""
    mac = config.get(NET_CFG_MACADDR, b"").hex(":")
    pairs = number(config.get(NET_CFG_MAX_VQP, b"")) or number(device.get(DEV_MAX_VQS, b"")) // 2
    return VdpaInfo(virtio_id=number(device.get(DEV_ID, b"")), mac=None if mac in ("", _NO_MAC) else mac, queues=pairs)


class VdpaBackend(StepwiseBackend):
    """Existing vdpa devices. A VIF that they do not fit has been refused, so that this backend writes nothing."""

    resources: ClassVar[tuple[type[Resource], ...]] = (VdpaDevice,)

    def __init__(self, sysfs: VdpaSysfs | None = None, netlink: VdpaNetlink | None = None) -> None:
        self._sysfs = sysfs or VdpaSysfs()
        self._netlink = netlink or VdpaNetlink()

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.backend.Backend.observe`."""
        found: dict[Identity, Observed] = {}
        for each in desired:
            facts = self._sysfs.device(each.name)
            if isinstance(each, VdpaDevice) and facts and (info := self._netlink.info(each.name)):
                found[each.identity] = observed(each, facts, info)
        return found

    def make(self, after: Resource) -> None:
        """Raise Missing: vifplug creates no vdpa device."""
        raise errors.Missing(f"{after} does not exist; use 'vdpa dev add' before VIF {after.owner} is plugged")

    def change(self, before: Resource, after: Resource) -> None:
        """Do nothing: the verification that follows finds whether the device is as desired."""

    def remove(self, before: Resource) -> None:
        """Do nothing: vifplug removes no vdpa device."""

    def close(self) -> None:
        """See `vifplug.host.backend.Backend.close`."""
        self._netlink.close()


def observed(desired: VdpaDevice, facts: VdpaFacts, info: VdpaInfo) -> Observed:
    """Return the device as a record. One without a MAC takes the guest's; one with more queues than desired will do."""
    if info.virtio_id != VIRTIO_ID_NET:
        return Observed(resource=None, foreign=f"a virtio device of class {info.virtio_id}, which is not a NIC")
    queues = min(info.queues, desired.queues) if desired.queues else desired.queues
    changes = {"device": facts.device, "driver": facts.driver, "mac": info.mac or desired.mac, "queues": queues}
    return Observed(resource=desired.trusted(**changes))


def _lacking(key: str) -> str:
    if key.startswith("/"):
        return f"{key}: expected a vdpa device that is bound to vhost_vdpa there, got none; 'vdpa dev show' lists them"
    if is_pci(key):
        message = f"PCI function {key}: expected a vdpa device on it, got none"
        return f"{message}; create one: vdpa dev add name NAME mgmtdev pci/{key}"
    return f"vdpa device {key}: does not exist; 'vdpa dev show' lists those that exist"
