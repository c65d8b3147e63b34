"""This host: its backends put together, and the facts about it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vifplug.errors import Absent
from vifplug.host import names
from vifplug.host.backend import Backend
from vifplug.host.machine import Machine
from vifplug.model.names import is_pci
from vifplug.model.network import Network
from vifplug.plan import registry
from vifplug.plan.facts import BridgeFacts, PoolDeviceFacts, VirtualFunctionFacts
from vifplug.plan.registry import Device, LowerDevice, OvsBridge, OvsPort, Resource

if TYPE_CHECKING:
    from vifplug.host.ovs.settings import OvsSettings

_LINKS = (
    registry.Tap,
    registry.LibvirtTap,
    registry.Macvtap,
    registry.VethPair,
    registry.LinuxBridge,
    registry.BridgePort,
    registry.AdoptedBridgePort,
    registry.LowerDevice,
    registry.SharedBridge,
    registry.VlanLink,
)
_FUNCTIONS = (registry.VirtualFunction, registry.PciFunction)
_OVS = (registry.OvsBridge, registry.OvsPort, registry.AdoptedPort, registry.OvsQdisc)


def machine(ovs: OvsSettings, extra: Mapping[str, Callable[[], Backend]]) -> Machine:
    """The host that this process runs on (its network namespace). ``extra``: third parties' backends, by kind."""

    @functools.cache
    def links() -> Any:
        from vifplug.host.links.backend import LinkBackend

        return LinkBackend()

    def functions() -> Any:
        from vifplug.host.sriov.vf import VirtualFunctionBackend

        return VirtualFunctionBackend()

    def sockets() -> Any:
        from vifplug.host.vhost_sockets import SocketBackend

        return SocketBackend()

    def switch() -> Any:
        from vifplug.host.ovs.backend import OvsBackend

        return OvsBackend(
            ovs, root_qdisc=lambda name: links().root_qdisc(name), link_kind=lambda name: links().link_kind(name)
        )

    return Machine(
        {
            **{cls.kind: links for cls in _LINKS},
            **{cls.kind: switch for cls in _OVS},
            **{cls.kind: functions for cls in _FUNCTIONS},
            registry.VhostSocket.kind: sockets,
            **extra,
        }
    )


def take_over(machine: Machine, wanted: Sequence[Resource]) -> list[Resource]:
    """Mark as vifplug's what another program made for a VIF, in the order in which it is wanted; what there was.

    A port of Open vSwitch by its name and its iface-id; a device by its name and kind, where nobody's mark is on it and
    it is no port of another's. Nothing else about them changes.
    """
    switch: Any = machine.backend(registry.OvsPort.kind)
    links: Any = machine.backend(registry.Tap.kind)
    devices = [each for each in wanted if isinstance(each, Device)]
    taken: list[Resource] = []
    with contextlib.suppress(Absent):  # a host without Open vSwitch has no ports on it
        taken += switch.take_over([each for each in wanted if isinstance(each, OvsPort)])
        unowned = switch.unowned_ports([(name, each.owner) for each in devices for name in each.links])
        devices = [each for each in devices if not unowned & set(each.links)]
    return [*taken, *links.take_over(devices)]


def clean_up(machine: Machine, devices: Sequence[str], bridges: Sequence[str]) -> list[str]:
    """See `vifplug.host.ovs.backend.OvsBackend.clean_up`; on a host without Open vSwitch there is nothing."""
    backend: Any = machine.backend(registry.OvsPort.kind)
    with contextlib.suppress(Absent):
        return list(backend.clean_up(devices, bridges))
    return []


class HostFacts:
    """The facts that VIF types ask for, and what the host offers; every answer is looked up anew.

    ``look`` asks the look-ups that plugins bring.
    """

    def __init__(self, machine: Machine, look: Callable[[str, str], Any]) -> None:
        self._machine = machine
        self._look = look

    def virtual_function(self, address: str) -> VirtualFunctionFacts:
        from vifplug.host.sriov.sysfs import Sysfs

        return Sysfs().virtual_function(address)

    def physical_function(self, address: str) -> tuple[str, int]:
        from vifplug.host.sriov.sysfs import Sysfs

        return Sysfs().physical_function(address)

    def function_of(self, device: str) -> str | None:
        from vifplug.host.sriov.sysfs import Sysfs

        return Sysfs().function_of(device)

    def look(self, name: str, key: str) -> Any:
        return self._look(name, key)

    @property
    def name(self) -> str:
        """The name of this host."""
        return platform.node()

    def pool(self, network: Network) -> list[PoolDeviceFacts]:
        """The devices of a network's pool, in order."""
        from vifplug.host.sriov import pools
        from vifplug.host.sriov.sysfs import Sysfs

        return pools.members(network, Sysfs())

    def problem(self, network: Network, device: str) -> str:
        """Why a device of the pool can't be used now; empty where it can."""
        from vifplug.host.sriov import pools
        from vifplug.host.sriov.sysfs import Sysfs

        return pools.problem(network, device, self._machine.observe, Sysfs())

    def has_device(self, device: str) -> bool:
        """Whether a network device, or the PCI device at an address, is there."""
        from vifplug.host.sriov.sysfs import Sysfs

        return Sysfs().has(device) if is_pci(device) else bool(self._machine.observe([LowerDevice(name=device)]))

    def own_name(self, name: str) -> str:
        """Return the own name of a network device; ``name`` if no device has that name."""
        return names.own_name(name)

    def vlan_bridge(self, name: str) -> OvsBridge | None:
        """Return a VLAN bridge of Open vSwitch with its parent and tag; None if ``name`` is no such bridge."""
        desired = OvsBridge(name=name)
        with contextlib.suppress(Absent):  # a host without Open vSwitch has no bridges of it
            seen = self._machine.observe([desired]).get(desired.identity)
            if seen and isinstance(seen.resource, OvsBridge) and seen.resource.parent:
                return seen.resource
        return None

    def vhost_port(self, path: str) -> tuple[str, str] | None:
        """The Open vSwitch port, and its bridge, at the other end of a vhost-user socket; None where there is none."""
        found: tuple[str, str] | None = None
        with contextlib.suppress(Absent):
            found = self._switch.vhost_port(path)
        return found

    def find(self, owner: str) -> list[Resource]:
        """Everything on this host that carries the mark of VIF ``owner``, in the order in which it is made."""
        found: list[Resource] = self._links.find(owner)
        with contextlib.suppress(Absent):  # a host without Open vSwitch has no ports on it
            found += self._switch.find(owner)
        return found

    def host_info(self) -> dict[str, Any]:
        """Kernel, devices, bridges, SR-IOV and Open vSwitch of this host, as plain data."""
        from vifplug.host import survey
        from vifplug.host.sriov.sysfs import Sysfs

        status = self._switch.status()
        found = self.bridges() if status["reachable"] else survey.bridges(self._links.all(), ())
        bridges = {each.name: {"openvswitch": each.openvswitch, "mtu": each.mtu} for each in found}
        return {
            "host": self.name,
            "kernel": platform.release(),
            "open_vswitch": status,
            "bridges": bridges,
            "devices": survey.devices(self._links.all()),
            "sriov": [dataclasses.asdict(function) for function in Sysfs().physical_functions()],
        }

    def bridges(self) -> list[BridgeFacts]:
        """Every bridge of this host with its ports, by name. Raises Unavailable for an Open vSwitch that is hung."""
        from vifplug.host import survey

        switched: list[BridgeFacts] = []
        with contextlib.suppress(Absent):  # a host without Open vSwitch has no bridges of it
            switched = self._switch.bridges()
        return survey.bridges(self._links.all(), switched)

    @property
    def _links(self) -> Any:
        return self._machine.backend(registry.Tap.kind)

    @property
    def _switch(self) -> Any:
        return self._machine.backend(registry.OvsPort.kind)
