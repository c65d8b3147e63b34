"""Steps as transactions of commands: committed, read back, applied by ovs-vswitchd, or rolled back."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from vifplug.errors import Busy, PartlyDone, StepFailed, Unavailable, VifplugError, about, fill, restated
from vifplug.host.ovs import operations, ovn
from vifplug.host.ovs.adopted import SetPort
from vifplug.host.ovs.commands import DropBridge, DropShaper, EnsureBridge, PlugPort, SetQos, UnplugPort
from vifplug.host.ovs.decode import PortState
from vifplug.host.ovs.errors import explained
from vifplug.host.ovs.pool import Pool
from vifplug.host.ovs.transaction import Command, CommandRefused, OvsdbTransaction, TimedOut, Undecided
from vifplug.host.ovs.vswitchd import applied
from vifplug.model.codec import joined
from vifplug.plan.registry import AdoptedPort, OvsBridge, OvsPort, OvsQdisc, OvsShaper
from vifplug.plan.steps import Step

LOG = logging.getLogger(__name__)

#: ovn-controller takes some milliseconds, or seconds; vifplug looks for its answer this often. Seconds.
_POLL = 0.01
#: For so many seconds the question waits that is sent with new ports; with more ports it would not be a small one.
_PATIENCE, _FEW = 0.5, 32
_NO_DEVICE = "%s has no device until its guest runs: OVN's flows were not awaited; settle VIF %s with a wait"


def apply_steps(pool: Pool, steps: Sequence[Step], wait: str) -> None:
    """Take all steps or none. ``wait`` is what to wait for: see `OvsSettings.wait`.

    Raises a VifplugError once everything was rolled back; PartlyDone when something is left, or not known.
    """
    deadline = pool.deadline()
    finished: list[Command[Any]] = []
    for phase in commands_for(pool, steps):
        try:
            apply(pool, phase, wait=wait, deadline=deadline)
        except VifplugError as error:
            _roll_back_phases(pool, finished, error)
            raise
        finished += phase


def apply(pool: Pool, commands: Sequence[Command[Any]], *, wait: str, deadline: float) -> None:
    """Commit commands as one transaction, and see that they work. Raises as `apply_steps`."""
    transaction = commit(pool, commands, deadline, _new_ports(commands) if wait != "none" else ())
    try:
        _Verification(pool, commands, wait, deadline).verify(transaction)
    except VifplugError as error:
        _roll_back(pool, commands, error)


def commit(
    pool: Pool, commands: Sequence[Command[Any]], deadline: float, new: Sequence[OvsPort] = ()
) -> OvsdbTransaction:
    """Commit commands as one transaction, and return it; what becomes of ``new`` ports is asked in the same message.

    Raises a VifplugError when nothing was changed, PartlyDone when that is not known.
    """
    with _about(*commands):
        return _commit(pool, commands, deadline, new)


def _commit(pool: Pool, commands: Sequence[Command[Any]], deadline: float, new: Sequence[OvsPort]) -> OvsdbTransaction:
    patience = min(_PATIENCE, pool.settings.timeout / 8)
    question = operations.ask_ofport(new, patience) if new else ()
    transaction = OvsdbTransaction(pool, deadline, question, 2 * patience)
    for command in commands:
        transaction.add(command)
    try:
        transaction.commit()
    except CommandRefused as refused:
        with _about(*filter(None, [refused.command])):
            raise explained(pool, refused) from refused
    except Undecided as undecided:
        raise PartlyDone(
            f"it is not known whether the Open vSwitch database executed {_describe(commands)}: {undecided}; "
            "check once ovsdb-server answers",
            [f"perhaps {_describe(commands)}"],
        ) from undecided
    except TimedOut as late:
        raise Busy(f"{_describe(commands)} failed each time: {late}; try again") from late
    return transaction


def _new_ports(commands: Sequence[Command[Any]]) -> list[OvsPort]:
    """Return the ports that commands make if they make nothing else, and not so many that the question is long.

    A patch without a peer gets its OpenFlow port, and its error a moment later (ofproto/ofproto-dpif.c:
    vport_get_status; vswitchd/bridge.c: run_status_update). So it is not asked for that early.
    """
    new = (each.subject for each in commands if isinstance(each, PlugPort) and each.origin.port is None)
    made = [port for port in new if port.type != "patch"]
    return made if len(made) == len(commands) <= _FEW else []


# -- steps as commands --------------------------------------------------------------------------------------------


def commands_for(pool: Pool, steps: Sequence[Step]) -> list[list[Command[Any]]]:
    """Return the commands of some steps, by transaction.

    One is enough unless the port of a VIF gets another name, or loses the QoS that shapes it.

    Row UUIDs follow from the VIF, and a row cannot be deleted and made in one transaction. linux-noop leaves a root
    qdisc where it is, so ovs-vswitchd has to see the port without QoS before (lib/netdev-linux.c: set_qos).
    """
    net = _net(steps)
    unshaped: list[Command[Any]] = [SetQos(pool, OvsQdisc.of(port), on=False) for port in _shaped_no_more(net)]
    gone = [step.before for step in net if isinstance(step.before, OvsPort) and step.after is None]
    made = {(step.after.owner, step.after.role) for step in net if isinstance(step.after, OvsPort)}
    first = [port for port in gone if (port.owner, port.role) in made]
    phases = [[step for step in net if step.before in first], [step for step in net if step.before not in first]]
    return list(filter(None, [unshaped, *([_command(pool, step) for step in phase] for phase in phases)]))


def _net(steps: Sequence[Step]) -> list[Step]:
    """Return one step for each resource, from its first state to its last, in the order in which they are needed."""
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


def _shaped_no_more(steps: Iterable[Step]) -> Iterator[OvsPort]:
    """Yield the ports whose root qdisc would stay in the kernel."""
    for step in steps:
        before, after = step.before, step.after
        if isinstance(before, OvsPort) and isinstance(after, OvsPort) and before.qos and after.qos:
            shaped = before.qos.type not in (None, "linux-noop")
            yield from [after] if shaped and after.qos.type == "linux-noop" else []


def _command(pool: Pool, step: Step) -> Command[Any]:
    match step.before, step.after:
        case _, OvsBridge() as bridge:
            return EnsureBridge(pool, bridge)
        case OvsBridge() as bridge, None:
            return DropBridge(pool, bridge)
        case AdoptedPort() as before, AdoptedPort() as after:
            return SetPort(pool, before, after)
        case (None | OvsPort()) as before, OvsPort() as after:
            return PlugPort(pool, before, after)
        case OvsPort() as port, None:
            return UnplugPort(pool, port)
        case OvsShaper() as shaper, None:
            return DropShaper(pool, shaper)
    raise AssertionError(f"no command for {step}")


# -- verifying ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Verification:
    """Whether what commands have written is stored, and works."""

    pool: Pool
    commands: Sequence[Command[Any]]
    wait: str
    deadline: float

    def verify(self, transaction: OvsdbTransaction) -> None:
        """Raise the error for what is not as it was written, or does not work."""
        ports = [command for command in self.commands if isinstance(command, PlugPort)]
        for command in self.commands:
            if command.differences:
                with _about(command):
                    _refuse_stored(command)
        if states := _answered(ports, transaction):
            _check_states(states)
        elif self.wait != "none" or any(command.awaited for command in self.commands):
            with _about(*self.commands):
                self._await_vswitchd(transaction.next_cfg)
            self._check_bridges()
            _check_states(self._final(ports, transaction.next_cfg))
        if self.wait == "ovn-installed":
            self._await_flows(ports)

    def _await_vswitchd(self, number: int) -> None:
        """Wait for ovs-vswitchd. A removal is done once the database no longer has the rows, so it only warns."""
        try:
            reason = applied(self.pool, number, self.deadline)
        except Unavailable as error:
            reason = str(error)
        if reason is None:
            return
        if any(command.needs_vswitchd or command.awaited for command in self.commands):
            raise Unavailable(f"the database has {_describe(self.commands)}, and {reason}")
        LOG.warning("the database no longer has %s, and %s", _describe(self.commands), reason)

    def _check_bridges(self) -> None:
        """Raise StepFailed for a bridge made here that does not work, such as one named like a kernel device."""
        made = [command.subject for command in self.commands if isinstance(command, EnsureBridge) and command.wrote]
        states = self.pool.select(*(operations.read_bridge_state(bridge.name) for bridge in made))
        for bridge, found in zip(made, states, strict=True):
            if found and (error := PortState.of(found[0]).error):
                message = f"{bridge} does not work: ovs-vswitchd says: {error}"
                raise StepFailed(f"{message}; is there another device of that name?", resource=str(bridge))

    def _await_flows(self, ports: Sequence[PlugPort]) -> None:
        """Wait for OVN's flows of ports that have a device. For the others it comes when their guests start."""
        found = self._states([port for port in ports if port.subject.iface_id is not None])
        for port, state in found:
            if _waits(port, state):
                message = (
                    "%s has no device until its guest runs: OVN's flows were not awaited; settle VIF %s with a wait"
                )
                LOG.warning(message, port, port.subject.owner)
        sought = [port for port, state in found if not _waits(port, state)]
        while lacking := [port for port, state in self._states(sought) if not state.installed]:
            if time.monotonic() >= self.deadline:
                first, timeout = lacking[0].subject, f"{self.pool.settings.timeout:g} s"
                with _about(lacking[0]):
                    why = ovn.lacking(first, self.pool.select(*ovn.read(first)))
                    message = f"{_describe(lacking)} got no ovn-installed=true from OVN within {timeout}: {why}"
                    raise Unavailable(message)
            time.sleep(_POLL)

    def _final(self, ports: Sequence[PlugPort], number: int) -> list[tuple[PlugPort, PortState]]:
        """Return the states, once they are final: a row that another process made meanwhile has no ofport yet."""
        found = self._states(ports)
        while any(state.ofport is None for _, state in found) and time.monotonic() < self.deadline:
            [[switch]] = self.pool.select(operations.read_next_cfg())
            if switch["next_cfg"] == number:
                break
            number = switch["next_cfg"]
            self._await_vswitchd(number)
            found = self._states(ports)
        return found

    def _states(self, ports: Sequence[PlugPort]) -> list[tuple[PlugPort, PortState]]:
        """Return the ports with their states. Raises Busy for one that is gone."""
        found = self.pool.select(*(operations.read_state(port.subject) for port in ports))
        for port, interfaces in zip(ports, found, strict=True):
            if not interfaces:
                with _about(port):
                    raise Busy(f"{port.subject} was removed by another process right after it was created")
        return [(port, PortState.of(interface)) for port, [interface] in zip(ports, found, strict=True)]


def _answered(ports: Sequence[PlugPort], transaction: OvsdbTransaction) -> list[tuple[PlugPort, PortState]]:
    """Return the final states, if the question that was sent with new ports has them; otherwise nothing."""
    if transaction.answer is None or transaction.answer[1].rows[0]["cur_cfg"] < transaction.next_cfg:
        return []
    states = [PortState.of(row) for reply in transaction.answer[2:] for row in reply.rows]
    found = len(states) == len(ports) and all(state.ofport is not None for state in states)
    return list(zip(ports, states, strict=True)) if found else []


def _check_states(found: Sequence[tuple[PlugPort, PortState]]) -> None:
    for port, state in found:
        if port.subject.error or _waits(port, state):
            continue  # it is the undo of a repair: the error is what there was before; or its device comes later
        with _about(port):
            _check_works(port.subject, state)


def _check_works(port: OvsPort, state: PortState) -> None:
    subject = f"{port} on bridge {port.bridge} does not work"
    if state.error:
        raise StepFailed(f"{subject}: ovs-vswitchd says: {state.error}")
    if state.ofport is None:
        message = f"ovs-vswitchd gave it no OpenFlow port; see its log for bridge {port.bridge}"
        raise StepFailed(f"{subject}: {message}")
    if port.ofport_request not in (None, 0, state.ofport):
        raise StepFailed(f"{subject}: {port.numbered(state.ofport)}")


def _refuse_stored(command: Command[Any]) -> NoReturn:
    """Raise the error for a port that is not stored as it was written."""
    wrong = joined(command.differences, "and")
    if command.wrote:
        raise StepFailed(f"{command} was not stored as it was written: {wrong}")
    raise Busy(f"{command} was as desired, and another process is changing it: {wrong}")


def _about(*commands: Command[Any]) -> about:
    """Say of an error what commands change, and for which VIF, if they are about one."""
    subjects = [command.subject for command in commands]
    owners = {owner for each in subjects if (owner := getattr(each, "owner", ""))}
    vif_id = owners.pop() if len(owners) == 1 else None
    return about(vif_id=vif_id, resource=subjects[0] if len(subjects) == 1 else None)


def _waits(port: PlugPort, state: PortState) -> bool:
    """Return whether the port is one whose device comes later, and has not come yet."""
    return port.subject.error is None and state.lacks_device


# -- rolling back -------------------------------------------------------------------------------------------------


def _roll_back(pool: Pool, commands: Sequence[Command[Any]], error: VifplugError) -> NoReturn:
    """Undo what the commands wrote, and raise ``error`` with what became of it."""
    wrote = [command for command in commands if command.wrote]
    if not wrote:
        raise restated(error, f"{error}; this call changed nothing")
    try:
        commit(pool, [command.inverse() for command in reversed(wrote)], pool.deadline())
    except VifplugError as failure:
        sentence = f"{error}; and it could not be rolled back: {failure}"
        raise fill(PartlyDone(sentence, [_describe(wrote)]), error) from error
    raise restated(error, f"{error}; it was rolled back")


def _roll_back_phases(pool: Pool, finished: Sequence[Command[Any]], error: VifplugError) -> None:
    """Undo the transactions before the one that failed with ``error``."""
    inverse = [command.inverse() for command in reversed(finished) if command.wrote]
    if not inverse:
        return
    try:
        apply(pool, inverse, wait="none", deadline=pool.deadline())
    except VifplugError as failure:
        message = f"{error}; and earlier changes could not be rolled back: {failure}"
        raise fill(PartlyDone(message, [str(command) for command in finished]), error) from error


def _describe(commands: Iterable[Command[Any]]) -> str:
    return joined(map(str, commands), "and")
