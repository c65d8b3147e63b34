"""Two compute nodes that guests move between: each a private host with libvirtd, and wires from one to the other."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vifplug import VIFDriver
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtHost

BRIDGE = "br-int"


@dataclass(frozen=True)
class Node:
    """``address`` is where it takes the memory of guests that move to it."""

    libvirt: LibvirtHost
    address: str

    @property
    def host(self) -> PrivateHost:
        return self.libvirt.host

    @contextlib.contextmanager
    def driver(self) -> Iterator[VIFDriver]:
        """Its driver, while the thread is on this node."""
        with netns.inside(self.host.namespace):
            yield self.host.driver

    def migrate(self, name: str, to: Node, *options: str | Path) -> None:
        """Move a guest that runs here, as it runs. Raises Refused."""
        self.libvirt.virsh("migrate", "--live", name, to.libvirt.uri, "--migrateuri", f"tcp://{to.address}", *options)

    def definition(self, name: str, interface: str) -> Path:
        """The definition of a guest that runs here, for a migration, with another element for its one interface.

        The interface keeps its place on the guest's bus.
        """
        running = self.libvirt.virsh("dumpxml", "--migratable", name)
        [(whole, place)] = re.findall(r"(<interface.*(<address type='pci'.*?/>)\s*</interface>)", running, re.DOTALL)
        return self.libvirt.write(running.replace(whole, interface.replace("</interface>", f"{place}</interface>")))


@contextlib.contextmanager
def two_nodes(cache: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes whose Open vSwitch bridges br-int have a trunk to each other. Raises MissingRequirement."""
    with contextlib.ExitStack() as stack:
        hosts = [stack.enter_context(PrivateHost(vifplug_ovs={"ensure_bridge": True})) for _ in range(2)]
        here, there = (
            Node(stack.enter_context(_libvirt(host, cache)), f"172.30.0.{number}")
            for number, host in enumerate(hosts, start=1)
        )
        for wire in ("trunk", "memory"):
            _connect(here.host, there.host, wire)
        for node in (here, there):
            node.host.ip("address", "add", f"{node.address}/24", "dev", "memory")
            node.host.ovs.ctl("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev")
            node.host.ovs.ctl("add-port", BRIDGE, "trunk")
        yield here, there


@contextlib.contextmanager
def _libvirt(host: PrivateHost, cache: Path) -> Iterator[LibvirtHost]:
    with netns.inside(host.namespace), LibvirtHost(host, cache=cache) as libvirt:
        yield libvirt


def _connect(one: PrivateHost, other: PrivateHost, name: str) -> None:
    one.ip("link", "add", "name", name, "type", "veth", "peer", "name", name, "netns", other.namespace)
    for host in (one, other):
        host.ip("link", "set", "dev", name, "up")
