"""This host: each resource goes to the backend of its kind, and each fact is looked up where it is."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vifplug.errors import Absent, BrokenPlugin, HostNotReady, Missing, about
from vifplug.host import identity, names
from vifplug.host.backend import Backend
from vifplug.model.names import is_pci
from vifplug.plan import condition, registry
from vifplug.plan.condition import Defect
from vifplug.plan.facts import BridgeFacts, PoolDeviceFacts, VirtualFunctionFacts
from vifplug.plan.registry import Identity, LowerDevice, OvsBridge, OvsPort, Resource
from vifplug.plan.steps import Observed, Step

if TYPE_CHECKING:
    from vifplug.host.links.links import Links
    from vifplug.host.ovs.backend import OvsBackend
    from vifplug.host.ovs.settings import OvsSettings
    from vifplug.host.sriov.sysfs import Sysfs
    from vifplug.model.network import Network

_log = logging.getLogger(__name__)

_DEVICES = (
    registry.Tap,
    registry.LibvirtTap,
    registry.Macvtap,
    registry.VethPair,
    registry.LinuxBridge,
    registry.LowerDevice,
)
_PORTS = (registry.BridgePort, registry.AdoptedBridgePort)
_SHARED = (registry.SharedBridge, registry.VlanLink)
_FUNCTIONS = (registry.VirtualFunction, registry.PciFunction)
_SWITCH = (
    registry.OvsSwitch,
    registry.OvsBridge,
    registry.OvsPort,
    registry.OvsIfaceId,
    registry.OvsShaper,
    registry.AdoptedPort,
    registry.OvsQdisc,
)


Progress = Callable[[int, int], None]


class Host:
    """The host that this process runs on (its network namespace): its state, and the facts about it. Thread-safe.

    Nothing is cached: each fact is looked up when it is requested. A backend is made when the first resource of one of
    its kinds is observed or applied, so that a plug that needs no Open vSwitch does not import its library.
    """

    def __init__(
        self,
        ovs: OvsSettings,
        extra: Mapping[str, Callable[[], Backend]] = MappingProxyType({}),
        look: Callable[[str, str], Any] | None = None,
        allowed: Collection[str] = (),
    ) -> None:
        """Describe this host.

        Args:
            ovs: how Open vSwitch is reached.
            extra: the backends of plugins, by kind of resource.
            look: calls the look-ups of plugins; see `vifplug.plan.facts.Facts.look`.
            allowed: names and PCI addresses of the host's own devices that VIFs may have.
        """
        self._factories: dict[str, Callable[[], Backend]] = {
            **dict.fromkeys((cls.kind for cls in _DEVICES), lambda: self.links.devices),
            **dict.fromkeys((cls.kind for cls in _PORTS), lambda: self.links.ports),
            **dict.fromkeys((cls.kind for cls in _SHARED), lambda: self.links.shared),
            **dict.fromkeys((cls.kind for cls in _SWITCH), lambda: _switch(ovs, self)),
            **dict.fromkeys((cls.kind for cls in _FUNCTIONS), lambda: _functions(self)),
            **dict.fromkeys((registry.VhostSocket.kind, registry.SocketDirectory.kind), _sockets),
            **extra,
        }
        self._made: dict[Callable[[], Backend], Backend] = {}
        self._making = threading.RLock()  # making one backend may need another
        self._links: Links | None = None
        self._look = look
        self._allowed = allowed

    # -- state ----------------------------------------------------------------------------------------------------

    def observe(self, resources: Iterable[Resource]) -> dict[Identity, Observed]:
        """Return what the machine has under the identity of each resource. Each backend is called once."""
        observed: dict[Identity, Observed] = {}
        backends = self._by_backend(resources)
        with self._links.one_look() if self._links else contextlib.nullcontext():
            for backend, some in backends.items():
                observed |= backend.observe(some)
        return observed

    def apply(self, steps: Sequence[Step], done: list[Step], progress: Progress | None = None) -> None:
        """Take the steps in order; consecutive steps of a transactional backend are taken together.

        Args:
            steps: the steps to take.
            done: gets each step that was taken.
            progress: is called with the number of steps that are taken, and the number of all steps.
        """
        for makes_links, runs in itertools.groupby(self._runs(steps), self._makes_links):
            with self.links.one_look() if makes_links else contextlib.nullcontext():
                for backend, some in runs:
                    self._apply(backend, some, done)
                    if progress:
                        progress(len(done), len(steps))

    def _makes_links(self, run: tuple[Backend, list[Step]]) -> bool:
        """Return whether nothing but netlink changes the links of a run, and nothing is removed."""
        backend, steps = run
        return steps[0].after is not None and self._links is not None and backend in self._links.backends

    def _apply(self, backend: Backend, steps: Sequence[Step], done: list[Step]) -> None:
        alone = steps[0].subject if len(steps) == 1 else None
        begun = time.perf_counter()
        with about(vif_id=alone.owner if alone else None, resource=alone):
            backend.apply(steps, done)
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s: %.1f ms", "; ".join(map(str, steps)), (time.perf_counter() - begun) * 1000)

    def backend(self, kind: str) -> Backend:
        """Return the backend of a kind of resource. Raises BrokenPlugin if it does not exist."""
        if kind not in self._factories:
            known = ", ".join(sorted(self._factories))
            raise BrokenPlugin(
                f"resource kind {kind!r} has no backend (expected one of: {known}): install the package that provides "
                "it, or fix the plugin that uses this kind (`vifplug types` shows the plugins that cannot be used)",
                resource=f"resource kind {kind}",
            )
        factory = self._factories[kind]
        with self._making:
            if factory not in self._made:
                self._made[factory] = factory()
            return self._made[factory]

    def close(self) -> None:
        """Close every backend that was made, and the socket of the links."""
        for backend in self._made.values():
            backend.close()
        if self._links:
            self._links.close()

    @property
    def links(self) -> Links:
        """The kernel's links. They are imported when they are first used: many plugs need none."""
        from vifplug.host.links.links import Links

        with self._making:
            if self._links is None:
                self._links = Links(self._allowed, self._switch_of)
            return self._links

    @property
    def ovs(self) -> OvsBackend:
        """Open vSwitch. Importing it costs tens of milliseconds, so nothing that works without it asks for it."""
        from vifplug.host.ovs.backend import OvsBackend

        backend = self.backend(registry.OvsPort.kind)
        assert isinstance(backend, OvsBackend)
        return backend

    def lost_connections(self) -> int:
        """Return how many connections to Open vSwitch ended by themselves since the last call."""
        made = self._made.values()
        return sum(each.lost_connections() for each in made if hasattr(each, "lost_connections"))

    def _by_backend(self, resources: Iterable[Resource]) -> dict[Backend, list[Resource]]:
        found: dict[Backend, list[Resource]] = {}
        for resource in resources:
            found.setdefault(self.backend(resource.kind), []).append(resource)
        return found

    def _runs(self, steps: Sequence[Step]) -> Iterable[tuple[Backend, list[Step]]]:
        """Group consecutive steps of a transactional backend, and removals of devices; each other step is by itself."""
        runs: list[tuple[Backend, list[Step]]] = []
        for step in steps:
            backend = self.backend(step.subject.kind)
            previous = runs[-1] if runs else None
            joins = step.subject.batched or (step.removes_device and previous and previous[1][-1].removes_device)
            if previous and joins and previous[0] is backend:
                previous[1].append(step)
            else:
                runs.append((backend, [step]))
        return runs

    # -- facts ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _sysfs(self) -> Sysfs:
        from vifplug.host.sriov.sysfs import Sysfs

        return Sysfs()

    def virtual_function(self, address: str) -> VirtualFunctionFacts:
        return self._sysfs.virtual_function(address)

    def physical_function(self, address: str) -> tuple[str, int]:
        return self._sysfs.physical_function(address)

    def function_of(self, device: str) -> str | None:
        return self._sysfs.function_of(device)

    def look(self, name: str, key: str) -> Any:
        if self._look is None:
            raise Missing(f"nothing looks up {name!r} here")
        return self._look(name, key)

    @property
    def name(self) -> str:
        """The name of this host."""
        return os.uname().nodename

    def pool(self, network: Network) -> list[PoolDeviceFacts]:
        """Return the devices of a network's pool, in order."""
        from vifplug.host.sriov import pools

        return pools.members(network, self._sysfs)

    def problem(self, network: Network, device: str, *, held: bool = False) -> str:
        """Return why a device of the pool cannot be used now; empty if it can. ``held``: VIFs have it already."""
        from vifplug.host.sriov import pools

        return pools.problem(network, device, self.observe, self._sysfs, held=held)

    def has_device(self, device: str) -> bool:
        """Return whether a network device, or the PCI device at an address, exists."""
        return self._sysfs.has(device) if is_pci(device) else bool(self.observe([LowerDevice(name=device)]))

    #: the own name of a network device; a name that no device has is returned as it is
    own_name = staticmethod(names.own_name)

    def vlan_bridge(self, name: str) -> OvsBridge | None:
        """Return a VLAN bridge of Open vSwitch with its parent and tag; None if ``name`` is no such bridge."""
        desired = OvsBridge(name=name)
        with contextlib.suppress(Absent):  # a host without Open vSwitch has no bridges of it
            seen = self.observe([desired]).get(desired.identity)
            if seen and isinstance(seen.resource, OvsBridge) and seen.resource.parent:
                return seen.resource
        return None

    def vhost_port(self, path: str) -> tuple[str, str] | None:
        """Return the Open vSwitch port at the other end of a vhost-user socket, and its bridge; None if it has none."""
        with contextlib.suppress(Absent):
            return self.ovs.vhost_port(path)
        return None

    def _switch_of(self, device: str) -> tuple[str, bool] | None:
        """See `OvsBackend.place_of`. None as well if Open vSwitch does not answer."""
        with contextlib.suppress(HostNotReady):
            return self.ovs.place_of(device)
        return None

    def cut_off(self, bridges: Collection[str]) -> dict[str, list[Defect]]:
        """Return the defects of those Open vSwitch bridges out of which nothing leads that is up. Reads all ports."""
        found = (each for each in self.bridges() if each.openvswitch and each.name in bridges)
        return {each.name: list(condition.cut_off(each.name, each.uplinks)) for each in found}

    def ovs_stopped(self, pending: int) -> str:
        """Return why Open vSwitch does not do what its database says; empty if it does: see `OvsBackend.stopped`."""
        return self.ovs.stopped(pending)

    def flows(self, port: OvsPort) -> tuple[bool | None, str]:
        """Return whether a port of Open vSwitch has flows, and how that is known; None: it cannot be told."""
        return self.ovs.flows(port)

    def socket_holder(self, path: str) -> str:
        """Return the process that has bound a vhost-user socket, in words; empty if none is seen."""
        from vifplug.host import vhost_sockets

        return vhost_sockets.holder(path)

    def find(self, owner: str) -> list[Resource]:
        """Return everything on this host that carries the mark of VIF ``owner``, in the order in which it is made."""
        found = self.links.find(owner)
        with contextlib.suppress(Absent):  # a host without Open vSwitch has no ports on it
            found += self.ovs.find(owner)
        return found

    def place(self) -> dict[str, str]:
        """Return the boot of the kernel and the network namespace that this process is in: see `identity`."""
        return {"boot": identity.boot(), "namespace": str(identity.namespace())}

    def obstacle(self) -> str:
        """Return why this process cannot change links or sysctls here, and what to do; empty if it can."""
        return self.links.obstacle()

    def marked_links(self) -> Mapping[str, Collection[str]]:
        """Return the names of the links that have a mark, by the id of the VIF. Scans all links."""
        return self.links.marked()

    def owners(self, *, switched: bool = True) -> set[str]:
        """Return the ids of all VIFs whose mark something on this host carries.

        Args:
            switched: whether Open vSwitch is asked as well.
        """
        found = set(self.marked_links())
        with contextlib.suppress(Absent):
            found |= self.ovs.owners() if switched else set()
        return found

    def host_info(self) -> dict[str, Any]:
        """Return the kernel, devices, bridges, SR-IOV and Open vSwitch of this host, as plain data."""
        from vifplug.host import survey

        status = self.ovs.status()
        found = self.bridges() if status["reachable"] else survey.bridges(self.links.all(), ())
        named = ((name, each) for each in found for name in each.names)
        bridges = {name: {"openvswitch": each.openvswitch, "mtu": each.mtu} for name, each in named}
        return {
            "host": self.name,
            "kernel": os.uname().release,
            "open_vswitch": status,
            "bridges": bridges,
            "devices": survey.devices(self.links.all()),
            "sriov": [dataclasses.asdict(function) for function in self._sysfs.physical_functions()],
        }

    def bridges(self) -> list[BridgeFacts]:
        """Return every bridge of this host with its ports, by name.

        Raises:
            Unavailable: Open vSwitch does not answer.
        """
        from vifplug.host import survey

        switched: list[BridgeFacts] = []
        with contextlib.suppress(Absent):  # a host without Open vSwitch has no bridges of it
            switched = self.ovs.bridges()
        return survey.bridges(self.links.all(), switched)


def _functions(host: Host) -> Backend:
    from vifplug.host.sriov.vf import VirtualFunctionBackend

    return VirtualFunctionBackend(uses=host.links.uses)


def _sockets() -> Backend:
    from vifplug.host.vhost_sockets import SocketBackend

    return SocketBackend()


def _switch(settings: OvsSettings, host: Host) -> Backend:
    from vifplug.host.ovs.backend import OvsBackend

    return OvsBackend(
        settings,
        root_qdisc=lambda name: host.links.root_qdisc(name),
        link_kind=lambda name: host.links.link_kind(name),
        harden=lambda name: host.links.harden(name),
    )
