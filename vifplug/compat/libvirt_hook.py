"""libvirt's ``qemu`` hook: plug and unplug the VIFs that a guest's metadata describes, together with the guest.

libvirt waits for the hook at each operation. What it does with a failure (libvirt 9.0): at ``prepare`` the
guest does not start, and its error has what the hook wrote to stderr; at ``started`` and ``reconnect`` it *kills the
guest*, so nothing may fail there; at ``release`` it is logged. After any failure it calls ``release`` as well. libvirt
is never called from here: it would wait for the hook that waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from vifplug.errors import Conflict, InvalidDocument, InvalidRequest, NotPlugged, VifplugError
from vifplug.guest import read
from vifplug.guest.domain import metadata
from vifplug.guest.domain.metadata import DescribedGuest, DescribedVif
from vifplug.model.vif import Instance

if TYPE_CHECKING:
    from vifplug.driver.records import StoredVif
    from vifplug.driver.verbs import Plugged, VIFDriver

#: (operation, sub-operation) of libvirt's hooks page -> the method of `GuestHook`
OPERATIONS = {
    ("prepare", "begin"): "prepare",
    ("started", "begin"): "started",
    ("reconnect", "begin"): "reconnect",
    ("release", "end"): "release",
}

#: those at which libvirt kills a running guest when the hook fails (9.0: qemuProcessLaunch, qemuProcessReconnect)
HARMLESS = ("started", "reconnect")


class GuestHook:
    """The operations of one guest. Each returns its errors, except `prepare`, which raises them."""

    def __init__(self, driver: VIFDriver, guest: DescribedGuest) -> None:
        self._driver = driver
        self._guest = guest

    def run(self, operation: str) -> list[VifplugError]:
        """Run one of `OPERATIONS`."""
        method: Callable[[], list[VifplugError]] = getattr(self, operation)
        return method()

    def prepare(self) -> list[VifplugError]:
        """Before the guest starts: plug all of its VIFs, or none.

        Raises InvalidRequest for metadata that is wrong or does not go with the guest's interfaces, before anything is
        touched, and what `VIFDriver.plug_many` raises.
        """
        if self._guest.problems:
            raise InvalidDocument(self._guest.problems, f"guest {self._name}")
        described = self._guest.described
        self._check(described)
        self._driver.plug_many((each.vif, self._guest.instance) for each in described)
        return []

    def started(self) -> list[VifplugError]:
        """The guest has started: restore what libvirt undid."""
        return self._each(self._settle)

    def reconnect(self) -> list[VifplugError]:
        """libvirtd has restarted and found the guest running: plug what is missing of its VIFs."""
        return self._each(self._plug_again)

    def release(self) -> list[VifplugError]:
        """The guest has ended, or did not start: unplug all of its VIFs, as far as possible."""
        return self._each(self._unplug)

    # -- one VIF ----------------------------------------------------------------------------------------------

    def _settle(self, described: DescribedVif) -> None:
        if self._entry(described):
            self._driver.settle(described.vif.id)

    def _plug_again(self, described: DescribedVif) -> None:
        if described.interface is None:
            return  # it has been detached since
        self._check([described])
        self._driver.plug(described.vif, self._guest.instance)
        self._driver.settle(described.vif.id)

    def _unplug(self, described: DescribedVif) -> None:
        """Another guest's VIF is left alone: the start of this one was refused for it."""
        entry = self._entry(described)
        if entry and (entry.instance is None or entry.instance.uuid == self._guest.instance.uuid):
            self._driver.unplug(described.vif.id)

    def _entry(self, described: DescribedVif) -> StoredVif | None:
        try:
            return self._driver.show(described.vif.id)
        except NotPlugged:
            return None

    def _each(self, action: Callable[[DescribedVif], None]) -> list[VifplugError]:
        """Apply an action to every VIF, and return the errors."""
        failed: list[VifplugError] = []
        for described in self._guest.described:
            try:
                action(described)
            except VifplugError as error:
                failed.append(error)
        return failed

    # -- checks -----------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self._guest.instance.name or self._guest.instance.uuid

    def _check(self, described: Iterable[DescribedVif]) -> None:
        """Raises what keeps these VIFs from being plugged, before anything is touched."""
        described = list(described)
        for each in described:
            self._check_guest(each)
        plans = self._driver.plan_many((each.vif, self._guest.instance) for each in described)
        wrong = [message for each, plan in zip(described, plans, strict=True) if (message := self._misfit(each, plan))]
        if wrong:
            raise InvalidRequest("; ".join(wrong))

    def _check_guest(self, described: DescribedVif) -> None:
        entry = self._entry(described)
        holder = entry.instance if entry else None
        if holder and holder.uuid != self._guest.instance.uuid:
            raise Conflict(
                f"VIF {described.vif.id} of guest {self._name} is plugged for {_describe(holder)}: give each guest "
                f"VIFs of its own, or, if that guest is gone, `vifplug unplug {described.vif.id}`"
            )

    def _misfit(self, described: DescribedVif, plan: Plugged) -> str:
        """Why the guest's interface is not the one that goes with what is plugged; empty where it is.

        libvirt deletes a tap, or its port, that it finds where it was to make one itself (9.0).
        """
        assert described.interface is not None
        message = metadata.misfit(read.interface(plan.interface_xml), described.interface)
        if not message:
            return ""
        mac, element = described.vif.mac, " ".join(plan.interface_xml.split())
        return f"interface {mac} of guest {self._name} does not fit its VIF ({message}): write {element}"


def _describe(instance: Instance) -> str:
    return f"guest {instance.name} ({instance.uuid})" if instance.name else f"guest {instance.uuid}"
