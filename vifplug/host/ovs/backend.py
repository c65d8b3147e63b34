"""Open vSwitch behind the door: bridges, ports with all that belongs to them, and their root qdiscs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ovsdbapp.exceptions import TimeoutException

from vifplug.errors import HostNotReady, Missing, PartlyDone, StepFailed, Unavailable, VifplugError
from vifplug.host.ovs import adopted, commands, decode, operations, survey, takeover
from vifplug.host.ovs.apply import PortTransaction, commands_for
from vifplug.host.ovs.connection import DATABASE, Operation, OutcomeUnknown
from vifplug.host.ovs.errors import explained
from vifplug.host.ovs.ovsdbapp_api.api import Api
from vifplug.host.ovs.ovsdbapp_api.schema import atoms
from vifplug.host.ovs.pool import Pool
from vifplug.host.ovs.settings import OvsSettings
from vifplug.host.ovs.transaction import Command, CommandRefused
from vifplug.host.ovs.vswitchd import is_running
from vifplug.plan.facts import BridgeFacts
from vifplug.plan.registry import AdoptedPort, Identity, OvsBridge, OvsPort, OvsQdisc, Resource
from vifplug.plan.steps import Observed, Step

#: Columns of Open_vSwitch that ovs-vswitchd fills, and their names in `OvsBackend.status`.
_OFFERS = {"datapath_types": "datapath_types", "iface_types": "interface_types"}


class OvsBackend:
    """The door to Open vSwitch. Thread-safe.

    ``root_qdisc`` tells the kind of a device's root qdisc in the kernel (``htb``); None when it can't be told.
    """

    resources: ClassVar[tuple[type[Resource], ...]] = (OvsBridge, OvsPort, AdoptedPort, OvsQdisc)

    def __init__(self, settings: OvsSettings, root_qdisc: Callable[[str], str | None]) -> None:
        self.settings = settings
        self._root_qdisc = root_qdisc
        self._pool = Pool(settings)
        #: ovsdbapp's own API on the same connections
        self.api = Api(self._pool)

    def close(self) -> None:
        self._pool.close()

    # -- observe ----------------------------------------------------------------------------------------------------

    def observe(self, wanted: Sequence[Resource]) -> dict[Identity, Observed]:
        """What there is of ``wanted``: one transaction of look-ups, however many ports the host has."""
        stored = [resource for resource in wanted if isinstance(resource, (OvsBridge, OvsPort))]
        queries = [_query(resource) for resource in stored]
        answers = iter(self._pool.select(*(each for query in queries for each in query)) if queries else [])
        found = adopted.observe(self._pool, [each for each in wanted if isinstance(each, AdoptedPort)])
        for resource, query in zip(stored, queries, strict=True):
            seen = self._read(resource, [next(answers) for _ in query])
            # Under the VIF's row there may be a port of another name: that is not the one asked for.
            if seen is not None and seen.name == resource.name:
                found[resource.identity] = Observed(resource=seen)
        for qdisc in wanted:
            if isinstance(qdisc, OvsQdisc) and (root := self._root_qdisc(qdisc.name)) is not None:
                found[qdisc.identity] = Observed(resource=qdisc.trusted(root=root))
        return found

    def vhost_port(self, path: str) -> tuple[str, str] | None:
        """The port at the other end of a vhost-user socket, and its bridge; None where there is none."""
        return adopted.vhost_port(self._pool, path)

    def find(self, owner: str) -> list[OvsPort]:
        """The ports that carry the mark of a VIF. This scans all interfaces: for an unplug without a record only."""
        where = [["external_ids", "includes", ["map", [[decode.OWNER, owner]]]]]
        columns = ["name", "external_ids"]
        [marked] = self._pool.select({"op": "select", "table": "Interface", "where": where, "columns": columns})
        roles = [operations.pairs(row["external_ids"]).get(decode.ROLE, "") for row in marked]
        ports = commands.see(self.api, [(owner, role) for role in sorted(set(roles))]) if roles else []
        return [seen.port for seen in ports if seen.port is not None]

    def take_over(self, wanted: Sequence[OvsPort]) -> list[OvsPort]:
        """Mark the ports that another program made for the VIF, with all that is on them; those that there were.

        See `takeover.TakeOver`. Nothing else about them changes, and ovs-vswitchd need not be there.
        """
        unowned = self.unowned_ports([(each.name, each.owner) for each in wanted])
        return [each for each in wanted if each.name in unowned and self._run(takeover.TakeOver(self.api, each))]

    def unowned_ports(self, named: Sequence[tuple[str, str]]) -> set[str]:
        """Return the names that exist as ports or bridges and are not marked for the VIF beside them."""
        found = self._pool.select(*(takeover.look_name(name) for name, _ in named)) if named else []
        pairs = zip(named, found, strict=True)
        return {name for (name, owner), rows in pairs if rows and not takeover.is_marked(rows[0], owner)}

    def clean_up(self, devices: Sequence[str], bridges: Sequence[str]) -> list[str]:
        """Remove what other programs leave of a VIF: QoS rows that no port has, and bridges with no port but their own.

        The names of the bridges that were removed.
        """
        looks = [*map(takeover.look_qos, devices), *map(decode.look_bridge, bridges)]
        found = iter(self._pool.select(*looks) if looks else [])
        for device in [each for each in devices if next(found)]:
            self._run(takeover.DropStrayQos(self.api, device))
        there = [each for each in bridges if next(found)]
        return [each for each in there if self._run(takeover.DropEmptyBridge(self.api, each))]

    def _run(self, command: Command) -> Any:
        try:
            with self.api.transaction(check_error=True, log_errors=False, nested=False, wait=False) as transaction:
                transaction.add(command)
        except CommandRefused as refused:
            if refused.refused.error != "timed out":  # a guard: it is no longer as it was found, so it is not ours
                raise explained(self.api, refused) from refused
            return False
        except TimeoutException as late:
            raise Unavailable(f"{command} was not answered: {late}; try again") from late
        return command.result

    def datapath_type(self, bridge: str) -> str | None:
        """Bridge.datapath_type, ``system`` where the column is empty; None: there is no such bridge."""
        [found] = self._pool.select(decode.look_bridge(bridge))
        return str(found[0]["datapath_type"] or "system") if found else None

    def bridges(self) -> list[BridgeFacts]:
        """Every bridge with its ports, by name. Reads all of them: for pictures and reports, never for a plug."""
        return survey.bridges(*self._pool.select(*survey.QUERIES))

    def status(self) -> dict[str, Any]:
        """What this host's Open vSwitch offers, as plain data; ``reachable`` is False, with ``reason``, without it."""
        select = {"op": "select", "table": DATABASE, "where": [], "columns": ["ovs_version", *_OFFERS]}
        try:
            [found] = self._pool.select(select)
            with self._pool.connection() as connection:
                running = is_running(connection, self._pool.deadline())
        except (HostNotReady, OutcomeUnknown) as error:
            return {"reachable": False, "reason": str(error)}
        offers = {name: sorted(atoms(found[0][column])) for column, name in _OFFERS.items()}
        return {
            "reachable": True,
            "vswitchd": running,
            "version": next(iter(atoms(found[0]["ovs_version"])), None),
        } | offers

    # -- apply ------------------------------------------------------------------------------------------------------

    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        """Take all steps on bridges and ports as one transaction, then those on qdiscs, one by one."""
        stored = [step for step in steps if not isinstance(step.subject, OvsQdisc)]
        if stored:
            self._change(stored)
            done.extend(stored)
        removed = {_key(step.before) for step in stored if step.after is None}
        for step in steps:
            if isinstance(step.subject, OvsQdisc):
                if _key(step.subject) not in removed:
                    self._rebuild(step)
                done.append(step)

    def confirm(self, ports: Sequence[OvsPort]) -> None:
        """Wait for ports that are as wanted already. Raises as `apply`; nothing is changed."""
        verified = [commands.PlugPort(self.api, port, port) for port in ports]
        PortTransaction(self.api, verified, wait=self.settings.wait, deadline=self._pool.deadline()).run()

    def _change(self, steps: Sequence[Step]) -> None:
        deadline = self._pool.deadline()
        finished: list[commands.ReversibleCommand] = []
        for phase in commands_for(self.api, [self._with_defaults(step) for step in steps]):
            try:
                PortTransaction(self.api, phase, wait=self.settings.wait, deadline=deadline).run()
            except VifplugError as error:
                self._take_back(finished, error)
                raise
            finished += phase

    def _take_back(self, finished: Sequence[commands.ReversibleCommand], error: VifplugError) -> None:
        inverse = [command.inverse() for command in reversed(finished) if command.wrote]
        if not inverse:
            return
        try:
            PortTransaction(self.api, inverse, wait="none", deadline=self._pool.deadline()).run()
        except VifplugError as failure:
            message = f"{error}; and what was done before could not be taken back: {failure}"
            raise PartlyDone(message, [str(command.subject) for command in finished]) from error

    def _with_defaults(self, step: Step) -> Step:
        bridge = step.after
        if isinstance(bridge, OvsBridge) and bridge.datapath_type is None and self.settings.datapath_type:
            return Step(step.before, bridge.replace(datapath_type=self.settings.datapath_type))
        return step

    # -- root qdiscs ------------------------------------------------------------------------------------------------

    def _rebuild(self, step: Step) -> None:
        """Have ovs-vswitchd build the root qdisc anew. A root that Port.qos does not build is nobody's to put back."""
        qdisc = step.after
        assert isinstance(qdisc, OvsQdisc)
        keys = decode.Keys.of(qdisc.owner, qdisc.role)
        shaper = decode.shaper(keys, self._pool.select(*decode.look_shaper(keys)))
        if shaper is None:
            raise Missing(f"{qdisc} of VIF {qdisc.owner} can't be built: its Open vSwitch port has no QoS of the VIF's")
        # ovs-vswitchd.conf.db.5: QoS types are linux-htb, linux-hfsc, ...; the kernel's kinds are htb, hfsc, ...
        if shaper.removeprefix("linux-") != qdisc.root:
            return
        self._toggle(qdisc, on=False)
        try:
            self._toggle(qdisc, on=True)
        except VifplugError as error:
            if not self._is_shaped(keys):
                message = (
                    f"{qdisc}: its QoS was switched off and could not be switched on again: {error}; update the VIF"
                )
                raise PartlyDone(message, [f"{qdisc} without its QoS"]) from error
            raise
        if (found := self._root_qdisc(qdisc.name)) != qdisc.root:
            raise StepFailed(f"{qdisc} is {found or 'none'} after ovs-vswitchd built it anew; expected {qdisc.root}")

    def _toggle(self, qdisc: OvsQdisc, *, on: bool) -> None:
        command = commands.SetQos(self.api, qdisc, on=on)
        PortTransaction(self.api, [command], wait="ofport", deadline=self._pool.deadline()).run()

    def _is_shaped(self, keys: decode.Keys) -> bool:
        try:
            return decode.shaper(keys, self._pool.select(*decode.look_shaper(keys))) is not None
        except HostNotReady:
            return False

    # -- reading ----------------------------------------------------------------------------------------------------

    def _read(self, resource: Resource, answers: list[list[dict[str, Any]]]) -> Resource | None:
        if isinstance(resource, OvsBridge):
            return decode.read_bridge(answers[0][0], resource.owner) if answers[0] else None
        assert isinstance(resource, OvsPort)
        return commands.read(self.api, resource.owner, resource.role, answers).port


def _query(resource: Resource) -> list[Operation]:
    if isinstance(resource, OvsBridge):
        return [decode.look_bridge(resource.name)]
    assert isinstance(resource, OvsPort)
    return decode.look(resource.owner, resource.role)


def _key(resource: Resource | None) -> tuple[str, str]:
    """What a port and its qdisc have in common."""
    assert isinstance(resource, (OvsBridge, OvsPort, OvsQdisc))
    return (resource.name, resource.owner)
