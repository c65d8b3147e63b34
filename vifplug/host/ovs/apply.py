"""One set of steps as one transaction: committed, read back, applied by ovs-vswitchd, or taken back."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import NoReturn

from ovsdbapp.exceptions import TimeoutException

from vifplug.errors import Busy, PartlyDone, StepFailed, Unavailable, VifplugError
from vifplug.host.ovs import decode, ovn
from vifplug.host.ovs.adopted import SetPort
from vifplug.host.ovs.commands import DropBridge, EnsureBridge, PlugPort, ReversibleCommand, SetQos, UnplugPort
from vifplug.host.ovs.errors import explained
from vifplug.host.ovs.ovsdbapp_api.api import Api
from vifplug.host.ovs.transaction import CommandRefused, Undecided
from vifplug.host.ovs.vswitchd import applied
from vifplug.model.codec import joined
from vifplug.plan.registry import AdoptedPort, OvsBridge, OvsPort, OvsQdisc
from vifplug.plan.steps import Step

LOG = logging.getLogger(__name__)

#: ovn-controller takes some milliseconds, or seconds; its answer is looked up this often. Seconds.
_POLL = 0.01


class PortTransaction:
    """Some commands that are to happen together. ``wait`` is the operator's choice of what to wait for."""

    def __init__(self, api: Api, commands: Sequence[ReversibleCommand], *, wait: str, deadline: float) -> None:
        self._api, self._commands = api, list(commands)
        self._wait, self._deadline = wait, deadline

    def run(self) -> None:
        """Make it so. Raises a VifplugError after having taken everything back, PartlyDone when that can't be told."""
        number = self._commit(self._commands, self._deadline)
        try:
            self._verify(number)
        except VifplugError as error:
            self._take_back(error)

    def _verify(self, number: int) -> None:
        """Raises the error for what is not as it was written, or does not work."""
        ports = [command for command in self._commands if isinstance(command, PlugPort)]
        _check_read_back([command for command in self._commands if isinstance(command, (PlugPort, SetPort))])
        if self._wait != "none" or any(command.awaited for command in self._commands):
            self._await_vswitchd(number)
            self._check_bridges()
            self._check_status(ports, number)
        if self._wait == "ovn-installed":
            self._await_flows(ports)

    # -- the database -----------------------------------------------------------------------------------------------

    def _commit(self, commands: Sequence[ReversibleCommand], deadline: float) -> int:
        left = deadline - time.monotonic()
        try:
            with self._api.transaction(
                check_error=True, log_errors=False, nested=False, timeout=left, wait=False
            ) as transaction:
                transaction.extend(commands)
        except CommandRefused as refused:
            raise explained(self._api, refused) from refused
        except Undecided as undecided:
            message = _describe(commands)
            raise PartlyDone(
                f"it is not known whether the Open vSwitch database took {message}: {undecided}; "
                "check once ovsdb-server answers",
                [f"perhaps {message}"],
            ) from undecided
        except TimeoutException as late:
            raise Busy(f"{_describe(commands)} met other writers each time: {late}; try again") from late
        return int(transaction.next_cfg)

    # -- ovs-vswitchd and ovn-controller ----------------------------------------------------------------------------

    def _await_vswitchd(self, number: int) -> None:
        """What is removed is done once the database no longer has it; the rest once ovs-vswitchd has applied it."""
        try:
            silent = applied(self._api.pool, number, self._deadline)
            found = silent.value if silent else None
        except Unavailable as error:
            found = str(error)
        if found is None:
            return
        if any(command.needs_vswitchd or command.awaited for command in self._commands):
            raise Unavailable(f"{_describe(self._commands)} was stored, and {found}")
        LOG.warning("%s is removed from the database, and %s", _describe(self._commands), found)

    def _check_bridges(self) -> None:
        """A bridge that is made here has to work: one whose name a kernel device has already does not."""
        made = [command.bridge for command in self._commands if isinstance(command, EnsureBridge) and command.wrote]
        looks = [decode.look_bridge_status(bridge.name) for bridge in made]
        for bridge, found in zip(made, self._api.pool.select(*looks) if looks else [], strict=True):
            if found and (error := decode.Status.of(found[0]).error):
                message = f"{bridge} does not work: ovs-vswitchd says: {error}"
                raise StepFailed(f"{message}; is there another device of that name?")

    def _check_status(self, ports: Sequence[PlugPort], number: int) -> None:
        for port, status in zip(ports, self._final(ports, number), strict=True):
            wanted = f"{port.after} on bridge {port.after.bridge}"
            if port.after.error:
                continue  # the undo of a repair: the error is what there was before
            if status is None:
                raise _gone(port)
            if _waits(port, status):
                continue
            if status.error:
                raise StepFailed(f"{wanted} does not work: ovs-vswitchd says: {status.error}")
            if status.ofport is None:
                message = f"ovs-vswitchd gave it no OpenFlow port; see its log for bridge {port.after.bridge}"
                raise StepFailed(f"{wanted} does not work: {message}")

    def _await_flows(self, ports: Sequence[PlugPort]) -> None:
        sought = self._with_device([port for port in ports if port.after.iface_id is not None])
        while lacking := [port for port, status in self._present(sought) if not status.installed]:
            if time.monotonic() >= self._deadline:
                first, timeout = lacking[0].after, f"{self._api.timeout:g} s"
                why = ovn.lacking(first, self._api.pool.select(*ovn.look(first)))
                raise Unavailable(f"{_describe(lacking)} got no ovn-installed=true from OVN within {timeout}: {why}")
            time.sleep(_POLL)

    def _with_device(self, ports: Sequence[PlugPort]) -> list[PlugPort]:
        """The ports that can get flows. The others are no failure: their devices come when their guests start."""
        found = self._present(ports)
        for port in (port.after for port, status in found if _waits(port, status)):
            message = (
                "%s has no device before its guest runs: OVN's flows were not waited for; settle VIF %s with a wait"
            )
            LOG.warning(message, port, port.owner)
        return [port for port, status in found if not _waits(port, status)]

    def _present(self, ports: Sequence[PlugPort]) -> list[tuple[PlugPort, decode.Status]]:
        """The ports with their statuses. Raises Busy for one that is gone."""
        found: list[tuple[PlugPort, decode.Status]] = []
        for port, status in zip(ports, self._statuses(ports), strict=True):
            if status is None:
                raise _gone(port)
            found.append((port, status))
        return found

    def _final(self, ports: Sequence[PlugPort], number: int) -> list[decode.Status | None]:
        """The statuses, once they are final: a row that another process made anew meanwhile has no ofport yet."""
        statuses = self._statuses(ports)
        while any(each and each.ofport is None for each in statuses) and time.monotonic() < self._deadline:
            [[found]] = self._api.pool.select(decode.look_next_cfg())
            if found["next_cfg"] == number:
                break
            number = found["next_cfg"]
            self._await_vswitchd(number)
            statuses = self._statuses(ports)
        return statuses

    def _statuses(self, ports: Sequence[PlugPort]) -> list[decode.Status | None]:
        if not ports:
            return []
        found = self._api.pool.select(*(decode.look_status(port.after) for port in ports))
        return [decode.Status.of(interfaces[0]) if interfaces else None for interfaces in found]

    # -- taking back ------------------------------------------------------------------------------------------------

    def _take_back(self, error: VifplugError) -> NoReturn:
        """Undo what the commands wrote, and raise ``error`` with what became of it."""
        wrote = [command for command in self._commands if command.wrote]
        if not wrote:
            raise type(error)(f"{error}; this call had changed nothing")
        try:
            deadline = time.monotonic() + self._api.timeout
            self._commit([command.inverse() for command in reversed(wrote)], deadline)
        except VifplugError as failure:
            raise PartlyDone(f"{error}; and it could not be taken back: {failure}", [_describe(wrote)]) from error
        raise type(error)(f"{error}; it was taken back")


def _gone(port: PlugPort) -> Busy:
    return Busy(f"{port.after} was removed by another process right after it was made")


def _waits(port: PlugPort, status: decode.Status) -> bool:
    """Whether the port is one whose device comes later, and has not come yet."""
    return port.after.error is None and status.lacks_device


def _check_read_back(ports: Sequence[PlugPort | SetPort]) -> None:
    for port in ports:
        if port.differences:
            wrong = joined(port.differences, "and")
            if not port.wrote:
                raise Busy(f"{port.after} was as wanted, and another process is changing it: {wrong}")
            raise StepFailed(f"{port.after} was not stored as it was written: {wrong}")


def commands_for(api: Api, steps: Sequence[Step]) -> list[list[ReversibleCommand]]:
    """The commands of some steps: one transaction, or two when a VIF's port gets another name, or is shaped no more.

    Row UUIDs follow from the VIF, and a row can't be deleted and made anew in one transaction. linux-noop leaves a root
    qdisc where it is, so ovs-vswitchd has to see the port without QoS before (lib/netdev-linux.c: set_qos).
    """
    net = _net(steps)
    unshaped: list[ReversibleCommand] = [
        SetQos(api, OvsQdisc.of(port), on=False) for port in map(_shaped_no_more, net) if port
    ]
    gone = [step.before for step in net if isinstance(step.before, OvsPort) and step.after is None]
    made = {(step.after.owner, step.after.role) for step in net if isinstance(step.after, OvsPort)}
    first = [port for port in gone if (port.owner, port.role) in made]
    phases = [[step for step in net if step.before in first], [step for step in net if step.before not in first]]
    return list(filter(None, [unshaped, *([_command(api, step) for step in phase] for phase in phases)]))


def _shaped_no_more(step: Step) -> OvsPort | None:
    """The port whose root qdisc would stay in the kernel."""
    before, after = step.before, step.after
    if not (isinstance(before, OvsPort) and isinstance(after, OvsPort) and before.qos and after.qos):
        return None
    return after if before.qos.type not in (None, "linux-noop") and after.qos.type == "linux-noop" else None


def _net(steps: Sequence[Step]) -> list[Step]:
    """From the first state to the last of each resource, in the order in which one needs another."""
    net: dict[tuple[str, str, str], Step] = {}
    for step in steps:
        key = (*step.subject.identity, step.subject.owner)
        net[key] = Step(net[key].before, step.after) if key in net else step
    changed = [step for step in net.values() if step.before is not None or step.after is not None]
    return sorted(changed, key=_rank)


def _rank(step: Step) -> int:
    """Bridges are made first and removed last."""
    if isinstance(step.subject, OvsBridge):
        return 0 if step.after is not None else 3
    return 1 if step.after is not None else 2


def _command(api: Api, step: Step) -> ReversibleCommand:
    if isinstance(step.subject, OvsBridge):
        return EnsureBridge(api, step.subject) if step.after is not None else DropBridge(api, step.subject)
    if isinstance(step.after, AdoptedPort):
        assert isinstance(step.before, AdoptedPort)
        return SetPort(api, step.before, step.after)
    assert step.before is None or isinstance(step.before, OvsPort)
    if isinstance(step.after, OvsPort):
        return PlugPort(api, step.before, step.after)
    assert step.before is not None
    return UnplugPort(api, step.before)


def _describe(commands: Sequence[ReversibleCommand]) -> str:
    return joined((command.subject for command in commands), "and")
