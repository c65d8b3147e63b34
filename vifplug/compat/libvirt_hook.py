"""libvirt's ``qemu`` hook: plug and unplug the VIFs that a guest's metadata describes, together with the guest.

libvirt waits for the hook at each operation. What it does with a failure (libvirt 9.0): at ``prepare`` the
guest does not start, and its error has what the hook wrote to stderr; at ``started`` and ``reconnect`` it *kills the
guest*, so nothing may fail there; at ``release`` it is logged. After any failure it calls ``release`` as well. libvirt
is never called from here: it would wait for the hook that waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vifplug.errors import InvalidDocument, InvalidRequest, NotPlugged, VifplugError
from vifplug.guest import read
from vifplug.guest.domain import metadata
from vifplug.guest.domain.metadata import DescribedGuest, DescribedVif

if TYPE_CHECKING:
    from vifplug.driver.records import StoredVif
    from vifplug.driver.verbs import Plugged, VIFDriver

#: (operation, sub-operation) of libvirt's hooks page -> what `GuestHook` runs
OPERATIONS = {
    ("prepare", "begin"): "prepare",
    ("started", "begin"): "started",
    ("reconnect", "begin"): "reconnect",
    ("release", "end"): "release",
}

#: operations at which libvirt kills a running guest if the hook fails (9.0: qemuProcessLaunch, qemuProcessReconnect)
HARMLESS = ("started", "reconnect")


class GuestHook:
    """The operations of one guest."""

    def __init__(self, driver: VIFDriver, guest: DescribedGuest) -> None:
        self._driver = driver
        self._guest = guest
        #: sentences about what was plugged and will not work well or is risky
        self.warnings: list[str] = []

    def run(self, operation: str) -> list[VifplugError]:
        """Run one of `OPERATIONS` for every VIF, and return the errors; ``prepare`` raises them instead.

        * ``prepare``: plug all of the guest's VIFs, or none, before the guest starts.
        * ``started``: restore what libvirt undid, after the guest has started.
        * ``reconnect``: plug what is missing of the VIFs of a running guest, after libvirtd has restarted.
        * ``release``: unplug all VIFs, as far as possible, after the guest has ended or did not start.
        """
        if operation == "prepare":
            self._prepare()
            return []
        actions = {"started": self._settle, "reconnect": self._plug_again, "release": self._unplug}
        failed: list[VifplugError] = []
        for described in self._guest.described:
            try:
                actions[operation](described)
            except VifplugError as error:
                failed.append(error)
        return failed

    def _prepare(self) -> None:
        """Plug all VIFs.

        Raises InvalidRequest for metadata that is wrong or does not fit the guest's interfaces, before anything is
        touched, and what `VIFDriver.plug_many` raises.
        """
        if self._guest.problems:
            raise InvalidDocument(self._guest.problems, f"guest {self._name}")
        self._check(self._guest.described)
        pairs = [(each.vif, self._guest.instance) for each in self._guest.described]
        plugged = self._driver.plug_many(pairs)
        self.warnings += dict.fromkeys(warning for each in plugged for warning in each.warnings)

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
        """Unplug a VIF, unless it is plugged for another guest: then this guest's start was refused."""
        entry = self._entry(described)
        if entry and (entry.instance is None or entry.instance.uuid == self._guest.instance.uuid):
            self._driver.unplug(described.vif.id)

    def _entry(self, described: DescribedVif) -> StoredVif | None:
        try:
            return self._driver.show(described.vif.id)
        except NotPlugged:
            return None

    # -- checks -----------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self._guest.instance.name or self._guest.instance.uuid

    def _check(self, described: Sequence[DescribedVif]) -> None:
        """Raise the reason why these VIFs cannot be plugged, before anything is touched."""
        plans = self._driver.plan_many((each.vif, self._guest.instance) for each in described)
        wrong = [message for each, plan in zip(described, plans, strict=True) if (message := self._misfit(each, plan))]
        if wrong:
            raise InvalidRequest("; ".join(wrong))

    def _misfit(self, described: DescribedVif, plan: Plugged) -> str:
        """Return why the guest's interface does not fit what is plugged; empty if it does.

        If libvirt has to make a tap and finds one, it deletes that tap or its port (9.0).
        """
        assert described.interface is not None
        message = metadata.misfit(read.interface(plan.interface_xml), described.interface)
        if not message:
            return ""
        mac, element = described.vif.mac, " ".join(plan.interface_xml.split())
        return f"interface {mac} of guest {self._name} does not fit its VIF ({message}): write {element}"
