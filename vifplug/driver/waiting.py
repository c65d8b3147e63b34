"""How far the ports of Open vSwitch have to be before a verb returns, where no step of the verb waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vifplug.driver.engine import Job
from vifplug.errors import InvalidRequest
from vifplug.plan.registry import OvsPort

if TYPE_CHECKING:
    from vifplug.host.machine import Machine

FLOWS = "ovn-installed"


class Waiting:
    """``wait`` is what [vifplug_ovs] wait comes to; ``asked``: a caller asked for it, and not the configuration."""

    def __init__(self, machine: Machine, wait: str, *, asked: bool) -> None:
        self._machine, self._wait, self._asked = machine, wait, asked

    def check(self, jobs: Sequence[Job]) -> None:
        """Raises InvalidRequest when a caller asks to wait for flows that no port of a VIF's gets."""
        for job in jobs if self._asked and self._wait == FLOWS else ():
            if all(port.iface_id is None for port in _ports(job)):
                raise InvalidRequest(
                    f"VIF {job.vif.id} gets no port from vifplug that OVN looks for, so there are no flows to wait "
                    f"for; plug it without wait {FLOWS}"
                )

    def confirm(self, jobs: Sequence[Job]) -> None:
        """Wait for the ports that need no step: an earlier call may not have waited. Raises Unavailable."""
        if not self._asked and self._wait != FLOWS:
            return
        ports = [port for job in jobs for port in _ports(job) if port.identity not in _stepped(job)]
        if ports:
            backend: Any = self._machine.backend(OvsPort.kind)
            backend.confirm(ports)


def _ports(job: Job) -> list[OvsPort]:
    return [each for each in job.desired if isinstance(each, OvsPort)]


def _stepped(job: Job) -> set[Any]:
    return {step.subject.identity for step in job.change.steps}
