"""libvirt's ``qemu`` hook: plug and unplug the VIFs that a guest's metadata describes, together with the guest.

libvirt waits for the hook at each operation. What it does with a failure (libvirt 9.0): at ``prepare`` the
guest does not start, and its error has what the hook wrote to stderr; at ``started`` and ``reconnect`` it *kills the
guest*, so nothing may fail there; at ``release`` it is logged. After any failure it calls ``release`` as well. libvirt
is never called from here: it would wait for the hook that waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from vifplug.errors import InvalidDocument, InvalidRequest, VifplugError
from vifplug.guest import read
from vifplug.guest.domain import metadata
from vifplug.guest.domain.metadata import DescribedGuest, DescribedVif
from vifplug.model.vif import VIF, Instance

if TYPE_CHECKING:
    from vifplug.driver.verbs import Plugged, VIFDriver

T = TypeVar("T")

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
    """The operations of one guest, by name. ``guest``: its definition; None if that cannot be read."""

    def __init__(self, driver: VIFDriver, name: str, guest: DescribedGuest | None) -> None:
        self._driver = driver
        self._name = name
        self._guest = guest or DescribedGuest(instance=None)
        #: sentences about what was plugged and will not work well or is risky
        self.warnings: list[str] = []

    def run(self, operation: str) -> list[VifplugError]:
        """Run one of `OPERATIONS` for every VIF, and return the errors; ``prepare`` raises them instead.

        * ``prepare``: plug all of the guest's VIFs, or none, before the guest starts.
        * ``started``: restore what libvirt undid, after the guest has started.
        * ``reconnect``: plug what is missing of the VIFs of a running guest, after libvirtd has restarted.
        * ``release``: unplug what ``prepare`` plugged for this guest, as far as possible, after the guest has ended or
          did not start. The record says what that is: the metadata may have changed, or name another guest's VIF.
        """
        if operation == "prepare":
            self._prepare()
            return []
        if operation == "release":
            return _failures(self._driver.unplug, self._hooked())
        if operation == "started":
            return _failures(self._driver.settle, self._hooked())
        return _failures(self._plug_again, self._guest.described)

    def _prepare(self) -> None:
        """Plug all VIFs, after those of an earlier start that the metadata no longer describes are unplugged.

        Raises InvalidRequest for metadata that is wrong or does not fit the guest's interfaces, before anything is
        touched, and what `VIFDriver.plug_many` raises.
        """
        if self._guest.problems:
            raise InvalidDocument(self._guest.problems, f"guest {self._name}")
        described = {each.vif.id for each in self._guest.described}
        self.warnings += map(str, _failures(self._driver.unplug, set(self._hooked()) - described))
        self._check(self._guest.described)
        self._plug(self._guest.described)

    def _hooked(self) -> Sequence[str]:
        return self._driver.hooked(self._name, self._guest.instance.uuid if self._guest.instance else None)

    def _plug(self, described: Sequence[DescribedVif]) -> None:
        plugged = self._driver.plug_many(self._pairs(described), hook=self._name)
        self.warnings += dict.fromkeys(warning for each in plugged for warning in each.warnings)

    def _pairs(self, described: Sequence[DescribedVif]) -> list[tuple[VIF, Instance | None]]:
        return [(each.vif, self._guest.instance) for each in described]

    def _plug_again(self, described: DescribedVif) -> None:
        if described.interface is None:
            return  # it has been detached since
        self._check([described])
        self._plug([described])
        self._driver.settle(described.vif.id, self._guest.instance)

    # -- checks -----------------------------------------------------------------------------------------------

    def _check(self, described: Sequence[DescribedVif]) -> None:
        """Raise the reason why these VIFs cannot be plugged, before anything is touched."""
        plans = self._driver.plan_many(self._pairs(described), hook=self._name)
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


def _failures(action: Callable[[T], object], each: Iterable[T]) -> list[VifplugError]:
    """Call ``action`` with each, whether or not others fail; return the errors."""
    failed: list[VifplugError] = []
    for one in each:
        try:
            action(one)
        except VifplugError as error:
            failed.append(error)
    return failed
