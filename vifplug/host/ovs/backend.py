"""The backend for Open vSwitch: bridges, ports with all that belongs to them, and their root qdiscs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from vifplug.errors import HostNotReady, Missing, PartlyDone, StepFailed, Unavailable, VifplugError, fill
from vifplug.host.ovs import adopted, commands, decode, errors, operations, ovn, survey, takeover
from vifplug.host.ovs.apply import apply, apply_steps, commit
from vifplug.host.ovs.connection import OutcomeUnknown
from vifplug.host.ovs.decode import Row
from vifplug.host.ovs.operations import DATABASE, OWNER, ROLE, has_pair, is_named, select
from vifplug.host.ovs.pool import Pool
from vifplug.host.ovs.settings import OvsSettings
from vifplug.host.ovs.transaction import Command
from vifplug.host.ovs.vswitchd import ABSENT, applied, has_process, is_running
from vifplug.plan.facts import BridgeFacts
from vifplug.plan.registry import (
    AdoptedPort,
    Identity,
    OvsBridge,
    OvsIfaceId,
    OvsPort,
    OvsQdisc,
    OvsShaper,
    OvsSwitch,
    Resource,
)
from vifplug.plan.steps import Observed, Step

#: Columns of Open_vSwitch that ovs-vswitchd fills, and their names in `OvsBackend.status`.
_OFFERS = {"datapath_types": "datapath_types", "iface_types": "interface_types"}


#: the tables whose rows carry the mark of a VIF
_MARKED = ("Bridge", "Interface", "QoS", "Queue")


class OvsBackend:
    """The backend for the Open vSwitch of this host. Thread-safe.

    Args:
        settings: How Open vSwitch is reached, and how long a change may take.
        root_qdisc: Returns the kind of a device's root qdisc in the kernel (``htb``), or None if it is not known.
        link_kind: Returns the kind of a network device (IFLA_INFO_KIND; empty for a NIC), or None if there is none.
        harden: Keeps guests from configuring this host through the local port of a bridge that was created.
    """

    resources: ClassVar[tuple[type[Resource], ...]] = (
        OvsSwitch,
        OvsBridge,
        OvsPort,
        OvsIfaceId,
        AdoptedPort,
        OvsQdisc,
        OvsShaper,
    )

    def __init__(
        self,
        settings: OvsSettings,
        root_qdisc: Callable[[str], str | None],
        link_kind: Callable[[str], str | None] = lambda name: None,
        harden: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.settings = settings
        self._root_qdisc = root_qdisc
        self._link_kind = link_kind
        self._harden = harden
        self._pool = Pool(settings)

    def close(self) -> None:
        self._pool.close()

    def lost_connections(self) -> int:
        """See `vifplug.host.ovs.pool.Pool.lost`."""
        return self._pool.lost()

    # -- observe ----------------------------------------------------------------------------------------------------

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """Observe resources: one transaction of look-ups, however many ports the host has."""
        bridges = [each for each in desired if isinstance(each, OvsBridge)]
        ports = [each for each in desired if isinstance(each, OvsPort)]
        ids = [each for each in desired if isinstance(each, OvsIfaceId)]
        switches = [each for each in desired if isinstance(each, OvsSwitch)]
        queries = [*(operations.read_bridge(bridge.name) for bridge in bridges), *operations.read_iface_ids(ids)]
        if more := switches and any(port.needs_more for port in ports):
            queries.append(select(DATABASE, [], ["iface_types", "other_config"]))
        if examined := any(switch.examined for switch in switches):
            queries += [survey.DOWN, operations.read_progress()]
        seen, rows = commands.look(self._pool, [(port.owner, port.role, port.has_qos) for port in ports], *queries)
        found = adopted.observe(self._pool, [each for each in desired if isinstance(each, AdoptedPort)])
        for port, stored in zip(ports, seen, strict=True):
            # Under the VIF's row there may be a port of another name: that is not the desired one.
            if stored.port is not None and stored.port.name == port.name:
                found[port.identity] = Observed(resource=stored.port)
        pending = operations.unapplied(rows.pop()[0]) if examined else 0
        nic_down = examined and any(map(survey.is_nic, rows.pop()))
        offered = rows.pop()[0] if more else None
        missing = [bridge.name for bridge, row in zip(bridges, rows, strict=False) if not row]
        for switch in switches[:1] if missing or more or examined else ():
            names = self._pool.select(select("Bridge", [], ["name"]))[0] if missing else ()
            found[switch.identity] = Observed(
                resource=_offers(switch.trusted(nic_down=nic_down, pending=pending), offered, names)
            )
        for bridge, row in zip(bridges, rows, strict=False):
            if row:
                datapath = row[0]["datapath_type"] or None
                stored_bridge = bridge.trusted(datapath_type=datapath)
                found[bridge.identity] = Observed(resource=stored_bridge)
            elif other := self._no_bridge(bridge):
                found[bridge.identity] = other
        found |= _holders(ids, rows[len(bridges) :])
        for shaper in desired:
            if isinstance(shaper, OvsShaper):
                keys = operations.Keys.of(shaper.owner, shaper.role)
                if any(self._pool.select(operations.read_qos(keys.qos), operations.read_queue(keys.queue))):
                    found[shaper.identity] = Observed(resource=shaper)
        for qdisc in desired:
            if isinstance(qdisc, OvsQdisc) and (root := self._root_qdisc(qdisc.name)) is not None:
                found[qdisc.identity] = Observed(resource=qdisc.trusted(root=root))
        return found

    def vhost_port(self, path: str) -> tuple[str, str] | None:
        """Return the port at the other end of a vhost-user socket, and its bridge; None if there is none."""
        return adopted.vhost_port(self._pool, path)

    def place_of(self, port: str) -> tuple[str, bool] | None:
        """Return the bridge that has a port of this name, and whether the port is a guest's; None if there is none."""
        found, interfaces = self._pool.select(select("Port", is_named(port), ["_uuid"]), takeover.read_mark(port))
        [bridges] = self._pool.select(operations.read_bridge_of(found[0]["_uuid"])) if found else [[]]
        ids = interfaces[0]["external_ids"] if interfaces else {}
        return (str(bridges[0]["name"]), OWNER in ids or "iface-id" in ids) if bridges else None

    def find(self, owner: str) -> list[Resource]:
        """Return the bridges, ports and QoS that carry the mark of a VIF. Scans all: for an unplug without a record."""
        own = has_pair("external_ids", OWNER, owner)
        questions = (select(table, own, ["external_ids"]) for table in ("Interface", "QoS", "Queue"))
        bridges, *parts = self._pool.select(select("Bridge", own, ["name"]), *questions)
        roles = sorted({row["external_ids"].get(ROLE, "") for rows in parts for row in rows})
        ports, _ = commands.look(self._pool, [(owner, role, True) for role in roles])
        return [
            *(OvsBridge(name=row["name"], owner=owner, ensure=True, transient=True) for row in bridges),
            *(seen.port for seen in ports if seen.port is not None),
            *(_shaper(owner, role) for role, seen in zip(roles, ports, strict=True) if seen.port is None),
        ]

    def owners(self) -> set[str]:
        """Return the ids of all VIFs whose mark a row has. Reads all ports, QoS and queues."""
        tables = self._pool.select(*(select(table, [], ["external_ids"]) for table in _MARKED))
        return {row["external_ids"][OWNER] for rows in tables for row in rows if OWNER in row["external_ids"]}

    def bridges(self) -> list[BridgeFacts]:
        """Return every bridge with its ports, by name. Reads all of them: for reports, never for a plug."""
        return survey.bridges(*self._pool.select(*survey.QUERIES))

    def status(self) -> dict[str, Any]:
        """Return what this host's Open vSwitch offers, as plain data.

        Without an answer ``reachable`` is False, and ``reason`` says why.
        """
        try:
            [[found]] = self._pool.select(select(DATABASE, [], ["ovs_version", *_OFFERS]))
            running = self._is_running()
        except (HostNotReady, OutcomeUnknown) as error:
            return {"reachable": False, "reason": str(error)}
        offers = {name: sorted(found[column]) for column, name in _OFFERS.items()}
        return {"reachable": True, "vswitchd": running, "version": found["ovs_version"]} | offers

    def flows(self, port: OvsPort) -> tuple[bool | None, str]:
        """Return whether a port has flows, and how that is known: see `ovn.flows`. Reads all bridges."""
        return ovn.flows(port, self._pool.select(*ovn.read_flows(port)))

    def stopped(self, pending: int) -> str:
        """Return why ovs-vswitchd does not do what the database says; empty if it does. Nothing is written.

        One that hangs is noticed when it has a new configuration to apply: see `examine`.

        Args:
            pending: the configuration that it has still to apply; 0: none.
        """
        try:
            reason = applied(self._pool, pending, self._pool.deadline()) if pending else ""
            return reason or ("" if self._is_running() else ABSENT)
        except OutcomeUnknown as unknown:
            raise self._pool.unanswered(unknown) from unknown

    def _is_running(self) -> bool:
        until = self._pool.deadline()
        return self._pool.run(lambda line: is_running(line, until) or has_process(line.address), until)

    def examine(self) -> str:
        """Have ovs-vswitchd apply a configuration in which nothing is new; return what it is, in words.

        Raises:
            HostNotReady: the database or ovs-vswitchd does not answer.
        """
        until = self._pool.deadline()
        columns = ["_uuid", "ovs_version", "db_version", "next_cfg"]
        asked = [operations.mutate(DATABASE, [], ["next_cfg", "+=", 1]), select(DATABASE, [], columns)]
        try:
            [found] = self._pool.transact(asked, until)[1].rows
        except OutcomeUnknown as unknown:
            raise self._pool.unanswered(unknown) from unknown
        if reason := applied(self._pool, found["next_cfg"], until):
            raise Unavailable(f"Open vSwitch has a new configuration, and {reason}: start or restart ovs-vswitchd")
        known = {"version": found["ovs_version"], "schema": found["db_version"], "database": found["_uuid"]}
        return ", ".join(f"{name} {value}" for name, value in known.items() if value)

    # -- what other programs made -----------------------------------------------------------------------------------

    def take_over(self, desired: Sequence[OvsPort]) -> list[OvsPort]:
        """Mark the ports that another program made for the VIF, with all that is on them; return those that exist.

        See `takeover.TakeOver`. Nothing else about them changes, and ovs-vswitchd need not run.
        """
        unowned = self.unowned_ports([(each.name, each.owner) for each in desired])
        takers = [takeover.TakeOver(self._pool, each) for each in desired if each.name in unowned]
        return [taker.subject for taker in takers if self._run(taker)]

    def unowned_ports(self, named: Sequence[tuple[str, str]]) -> set[str]:
        """Return the names that exist as ports or bridges and are not marked for the VIF beside them."""
        found = self._pool.select(*(takeover.read_mark(name) for name, _ in named))
        pairs = zip(named, found, strict=True)
        return {name for (name, owner), rows in pairs if rows and not takeover.is_marked(rows[0], owner)}

    def clean_up(self, devices: Sequence[str], bridges: Sequence[str]) -> list[str]:
        """Remove what other programs leave of a VIF: QoS rows that no port has, and bridges with no port but their own.

        Returns the names of the bridges that were removed.
        """
        rows = [select(table, is_named(each), ["_uuid"]) for each in bridges for table in ("Bridge", "Port")]
        found = iter(self._pool.select(*map(takeover.read_stray_qos, devices), *rows))
        for device in [each for each in devices if next(found)]:
            self._run(takeover.DropStrayQos(self._pool, device))
        pairs = {name: [row["_uuid"] for row in (*next(found), *next(found))] for name in bridges}
        exist = {name: pair for name, pair in pairs.items() if len(pair) == 2}
        drops = [commands.DropBridge(self._pool, OvsBridge(name=name), pair) for name, pair in exist.items()]
        return [drop.subject.name for drop in drops if self._run(drop)]

    def _run(self, command: Command[Any]) -> bool:
        """Run one command; return whether it has changed something."""
        commit(self._pool, [command], self._pool.deadline())
        return command.wrote

    # -- apply ------------------------------------------------------------------------------------------------------

    def apply(self, steps: Sequence[Step], done: list[Step]) -> None:
        """Take all steps on bridges and ports as one transaction, then those on qdiscs, one by one."""
        stored = [step for step in steps if not isinstance(step.subject, OvsQdisc)]
        if stored:
            apply_steps(self._pool, [self._with_defaults(step) for step in stored], self.settings.wait)
            done.extend(stored)  # what cannot be hardened is undone
        for step in stored:
            if step.before is None and isinstance(step.after, OvsBridge):
                self._harden(step.after.name)
        removed = {(step.subject.name, step.subject.owner) for step in stored if step.after is None}
        for step in steps:
            if isinstance(step.subject, OvsQdisc):
                if (step.subject.name, step.subject.owner) not in removed:
                    self._rebuild(step)
                done.append(step)

    def confirm(self, ports: Sequence[OvsPort]) -> None:
        """Wait for ports that are as desired already. Raises as `apply`; nothing is changed."""
        unchanged = [commands.PlugPort(self._pool, port, port) for port in ports]
        apply(self._pool, unchanged, wait=self.settings.wait, deadline=self._pool.deadline())

    def _with_defaults(self, step: Step) -> Step:
        bridge = step.after
        if isinstance(bridge, OvsBridge) and bridge.datapath_type is None and self.settings.datapath_type:
            return Step(step.before, bridge.replace(datapath_type=self.settings.datapath_type))
        return step

    # -- root qdiscs ------------------------------------------------------------------------------------------------

    def _rebuild(self, step: Step) -> None:
        """Have ovs-vswitchd rebuild the root qdisc. A root that Port.qos does not build is not restored."""
        qdisc = step.after
        assert isinstance(qdisc, OvsQdisc)
        shaper = self._shaper(qdisc)
        if shaper is None:
            raise Missing(f"{qdisc} of VIF {qdisc.owner} cannot be created: its Open vSwitch port has no QoS")
        # ovs-vswitchd.conf.db.5: QoS types are linux-htb, linux-hfsc, ...; the kernel's kinds are htb, hfsc, ...
        if shaper.removeprefix("linux-") != qdisc.root:
            return
        self._toggle(qdisc, on=False)
        try:
            self._toggle(qdisc, on=True)
        except VifplugError as error:
            if not self._is_shaped(qdisc):
                message = f"{qdisc}: its QoS was switched off and could not be switched on again: {error}"
                left = [f"{qdisc} without its QoS"]
                raise fill(PartlyDone(f"{message}; update the VIF", left), error) from error
            raise
        if (found := self._root_qdisc(qdisc.name)) != qdisc.root:
            raise StepFailed(f"{qdisc} is {found or 'none'} after ovs-vswitchd rebuilt it; expected {qdisc.root}")

    def _toggle(self, qdisc: OvsQdisc, *, on: bool) -> None:
        command = commands.SetQos(self._pool, qdisc, on=on)
        apply(self._pool, [command], wait="ofport", deadline=self._pool.deadline())

    def _shaper(self, qdisc: OvsQdisc) -> str | None:
        """Return the type of the VIF's own QoS on its port; None if it has none."""
        [found], _ = commands.look(self._pool, [(qdisc.owner, qdisc.role, True)])
        return found.port.qos.type if found.port and found.port.qos and not found.foreign_qos else None

    def _is_shaped(self, qdisc: OvsQdisc) -> bool:
        try:
            return self._shaper(qdisc) is not None
        except HostNotReady:
            return False

    def _no_bridge(self, bridge: OvsBridge) -> Observed | None:
        """Return what else has the name of a bridge that has no row: a VLAN bridge, or a device of the kernel."""
        is_vlan_bridge = [*is_named(bridge.name), ["fake_bridge", "==", True]]
        [ports] = self._pool.select(select("Port", is_vlan_bridge, ["_uuid", "tag"]))
        if ports and ports[0]["tag"]:
            [[parent]] = self._pool.select(operations.read_bridge_of(ports[0]["_uuid"]))
            return Observed(resource=bridge.trusted(parent=parent["name"], tag=ports[0]["tag"]))
        kind = self._link_kind(bridge.name)
        if kind in (None, "openvswitch", "tun"):  # or a bridge's own device, which ovs-vswitchd is about to remove
            return None
        hint = "; for a Linux bridge leave the virtualport out" if kind == "bridge" else ""
        return Observed(resource=None, foreign=f"a {kind or 'network'} device of that name{hint}")


def _shaper(owner: str, role: str) -> OvsShaper:
    return OvsShaper(name=f"{owner} {role}".rstrip(), owner=owner, role=role)


def _holders(ids: Sequence[OvsIfaceId], found: Iterable[Sequence[Row]]) -> dict[Identity, Observed]:
    """Return those of the ids that ports of others have; ``found`` are the rows of `operations.read_iface_ids`."""
    named: dict[str, list[Row]] = {}
    for row in itertools.chain.from_iterable(found):
        named.setdefault(row["external_ids"].get("iface-id", ""), []).append(row)
    observed: dict[Identity, Observed] = {}
    for each in ids:
        others = [row for row in named.get(each.name, ()) if not _is_own(row, each)]
        if others:
            whose = (errors.owner(decode.without(row["external_ids"], "iface-id")) for row in others)
            holders = tuple(f"port {row['name']} has it and {owner}" for row, owner in zip(others, whose, strict=True))
            observed[each.identity] = Observed(resource=each.trusted(holders=holders))
    return observed


def _is_own(row: Row, desired: OvsIfaceId) -> bool:
    return bool(row["external_ids"].get(OWNER) == desired.owner or row["name"] == desired.port)


def _offers(switch: OvsSwitch, row: Row | None, bridges: Iterable[Row]) -> OvsSwitch:
    """Return what the switch has; ``row`` is that of the table Open_vSwitch, if it was read."""
    switch = switch.trusted(bridges=tuple(each["name"] for each in bridges))
    if row is None:
        return switch
    limit = row["other_config"].get("vlan-limit", "1")  # ovs-vswitchd.conf.db(5)
    return switch.trusted(interface_types=row["iface_types"], vlan_limit=int(limit) if limit.isdecimal() else 1)
