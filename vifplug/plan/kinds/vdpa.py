"""The common part of the vdpa type, its look-up and the backend of its resource, as in a third-party package."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vifplug.model.codec import model
from vifplug.model.names import PciAddress
from vifplug.plan.registry import Ownership, PciFunction, Resource, names_of, uncompared

#: the look-up's name, and the kind of the resource
VDPA_DEVICE = "vdpa-device"

#: the driver of the vdpa bus that gives a device to a guest, as /dev/vhost-vdpa-N (linux/drivers/vhost/vdpa.c)
VHOST_VDPA = "vhost_vdpa"


@dataclass(frozen=True, kw_only=True)
class VdpaFacts:
    """A vdpa device. ``name`` is its name on the vdpa bus, ``device`` what a guest opens (empty without vhost_vdpa).

    ``function`` is its PCI function; None for a device in software. ``virtual``: the function is an SR-IOV VF.
    ``driver`` is empty if the device has none.
    """

    name: str
    device: str = ""
    driver: str = ""
    function: str | None = None
    virtual: bool = False


@model
class VdpaDevice(Resource):
    """A vdpa device that a guest gets. It must exist, be free, and have what the VIF requests.

    vifplug never changes it. ``mac`` is the MAC that the guest sees, whatever the element says: a driver cannot write
    it (virtio 1.2 section 5.1.4; the kernel's simulator allows it). None: QEMU decides, and ignores all zeros
    (hw/net/virtio-net.c, virtio_net_get_config). ``queues`` is the number of queue pairs, or more. ``function`` is its
    VF.
    """

    kind = VDPA_DEVICE
    noun = "vdpa device"
    ownership = Ownership.BORROWED
    device: str = ""
    driver: str = VHOST_VDPA
    mac: str | None = None
    queues: int | None = None
    function: PciAddress | None = uncompared(default=None)

    @property
    def claims(self) -> tuple[str, ...]:
        return (str(self), *names_of(None, self.function))

    @property
    def related(self) -> tuple[Resource, ...]:
        return (PciFunction(name=self.function, owner=self.owner, taking="function"),) if self.function else ()

    def refusal(self, found: Resource) -> str:
        assert isinstance(found, VdpaDevice)
        return "; ".join(self._refusals(found))

    def _refusals(self, found: VdpaDevice) -> Iterator[str]:
        if found.driver != self.driver:
            yield f"VIF {self.owner}: {unbound(self.name, found.driver)}"
        elif found.device and found.device != self.device:
            message = f"{self} is {found.device} now, and VIF {self.owner} has {self.device}"
            yield f"{message}: update the VIF, and give its guest the new element"
        if found.mac and self.mac and found.mac != self.mac:
            message = f"{self} has MAC {found.mac}, which the guest would see, and VIF {self.owner} has {self.mac}"
            yield f"{message}: recreate it with 'vdpa dev add ... mac {self.mac}'"
        if found.queues and self.queues and found.queues < self.queues:
            message = f"{self} has at most {found.queues} queue pairs, and VIF {self.owner} requests {self.queues}"
            yield f"{message}: request fewer in driver.queues, or recreate it with 'vdpa dev add ... max_vqp'"


def unbound(name: str, driver: str) -> str:
    """Return the sentence for a device that no guest can use, because it is bound to another driver or to none."""
    sysfs = "/sys/bus/vdpa"
    free = f"echo {name} > {sysfs}/devices/{name}/driver/unbind; " if driver else ""
    return (
        f"vdpa device {name}: expected it bound to {VHOST_VDPA}, got {driver or 'no driver'}; bind it: "
        f"modprobe {VHOST_VDPA}; {free}echo {name} > {sysfs}/drivers/{VHOST_VDPA}/bind"
    )
