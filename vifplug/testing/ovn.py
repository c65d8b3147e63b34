"""A private OVN for tests: its central databases, and hosts that are joined to it.

    with PrivateOvn() as ovn, PrivateHost(entered=False) as one, PrivateHost(entered=False) as two:
        with ovn.joined(one, "one"), ovn.joined(two, "two"):
            ovn.nbctl("ls-add", "red", "--", "lsp-add", "red", vif.id)
            with one.inside():
                one.driver.plug(vif)
            ovn.await_binding(vif.id, PortBinding(chassis="one", up=True))

The hosts' tunnels (Geneve) run over a Linux bridge in a network namespace of its own. Nothing of the machine's own
network is touched, and only processes that were started here are ended.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vifplug.testing import needs, netns
from vifplug.testing.daemons import Daemons
from vifplug.testing.host import PrivateHost
from vifplug.testing.ovs import PrivateOvs
from vifplug.testing.scope import Scoped

Server = Literal["nb", "sb", "ovn-northd"]
CONTROLLER = "ovn-controller"
#: OVN's bridge on each chassis (ovn-controller.8, external_ids:ovn-bridge)
BRIDGE = "br-int"
#: the network of the tunnels between the hosts (RFC 2544, for tests of network devices)
_UNDERLAY = "198.18"
#: the bridge of each host that its tunnels start on, and the device on it that leads to the others
_TUNNELS, UPLINK = "br-ex", "underlay"


@dataclass(frozen=True)
class PortBinding:
    """The state of a logical port in the southbound database."""

    #: the name of the chassis that has the port, if any
    chassis: str | None
    #: whether its flows are installed there
    up: bool
    #: the chassis that may have it as well while it moves
    additional: tuple[str, ...] = ()

    @classmethod
    def from_columns(cls, names: Mapping[str, str], chassis: Any, up: Any, additional: Any) -> PortBinding:
        """Return a Port_Binding from its columns, as OVSDB writes them in JSON. ``names``: see `PrivateOvn.chassis`."""
        current = [names.get(each, each) for each in _atoms(chassis)]
        more = sorted(names.get(each, each) for each in _atoms(additional))
        return cls(current[0] if current else None, _atoms(up) == [True], tuple(more))


class PrivateOvn(Daemons, Scoped):
    """Private northbound and southbound databases and ovn-northd, as a context manager; hosts must leave first.

    Raises:
        MissingRequirement: OVN is not installed (on entry).
    """

    def _enter(self, stack: contextlib.ExitStack) -> None:
        needs.require("ovn")
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vifplug-ovn-")))
        self.northbound, self.southbound = (f"unix:{self.directory}/{name}.sock" for name in ("nb", "sb"))
        self._numbers, self._underlay = itertools.count(1), ""
        servers: tuple[Server, ...] = ("nb", "sb", "ovn-northd")
        for server in servers:
            if server != "ovn-northd":
                schema = needs.OVN_SCHEMAS / f"ovn-{server}.ovsschema"
                self.run("ovsdb-tool", "create", f"{self.directory}/{server}.db", str(schema))
            stack.callback(self.kill, server)
            self.start(server)

    def start(self, server: Server) -> None:
        """Start a server and wait until it is ready. Raises CalledProcessError."""
        if server == "ovn-northd":
            command = [server, f"--ovnnb-db={self.northbound}", f"--ovnsb-db={self.southbound}"]
        else:
            file = self.directory / server
            command = ["ovsdb-server", f"{file}.db", f"--remote=punix:{file}.sock"]
        self._launch(server, *command, f"--unixctl={self.directory / server}.ctl")

    def nbctl(self, *arguments: str) -> str:
        """Run ``ovn-nbctl ARGUMENTS`` and return what it prints. Raises CalledProcessError."""
        return self.run("ovn-nbctl", f"--db={self.northbound}", "--timeout=20", *arguments).strip()

    def sbctl(self, *arguments: str) -> str:
        """Run ``ovn-sbctl ARGUMENTS`` and return what it prints. Raises CalledProcessError."""
        return self.run("ovn-sbctl", f"--db={self.southbound}", "--timeout=20", *arguments).strip()

    # -- ports ------------------------------------------------------------------------------------------------------

    def binding(self, port: str) -> PortBinding | None:
        """Return the Port_Binding of a logical port; None if it has none."""
        columns = "--columns=chassis,up,additional_chassis"
        found = self.sbctl("--format=json", columns, "find", "Port_Binding", f"logical_port={port}")
        rows = json.loads(found)["data"]
        return PortBinding.from_columns(self.chassis(), *rows[0]) if rows else None

    def chassis(self) -> Mapping[str, str]:
        """Return the names of the chassis by the UUID of their row."""
        listed = json.loads(self.sbctl("--format=json", "--columns=_uuid,name", "list", "Chassis"))["data"]
        return {_atoms(row)[0]: name for row, name in listed}

    def await_binding(self, port: str, expected: PortBinding) -> None:
        """Wait until the Port_Binding of a logical port is as ``expected``. Raises TimeoutError, with its state."""
        try:
            self.until(lambda: self.binding(port) == expected, f"{port} to be {expected}")
        except TimeoutError as late:
            raise TimeoutError(f"{late}; it is {self.binding(port)}") from None

    # -- hosts ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def joined(self, host: PrivateHost, name: str) -> Iterator[Chassis]:
        """Join ``host`` as the chassis ``name``, with a tunnel to each of the others; on exit it leaves."""
        number = next(self._numbers)
        address = f"{_UNDERLAY}.{number // 250}.{number % 250 + 1}"
        with self._connected(host, address, f"host{number}"), Chassis(self, host.ovs, name, address) as chassis:
            yield chassis

    @contextlib.contextmanager
    def _connected(self, host: PrivateHost, address: str, cable: str) -> Iterator[None]:
        """Start the host's tunnels on a bridge of its Open vSwitch, where the userspace datapath looks for routes."""
        if not self._underlay:
            [self._underlay] = self._stack.enter_context(netns.named())
            netns.ip("-n", self._underlay, "link", "add", "switch", "up", "type", "bridge")
        host.ip("link", "add", UPLINK, "up", "type", "veth", "peer", "name", cable, "netns", self._underlay)
        netns.ip("-n", self._underlay, "link", "set", cable, "up", "master", "switch")
        try:
            netdev = ["set", "Bridge", _TUNNELS, "datapath_type=netdev"]
            host.ovs.ctl("add-br", _TUNNELS, "--", *netdev, "--", "add-port", _TUNNELS, UPLINK)
            host.ip("address", "add", f"{address}/16", "dev", _TUNNELS)
            host.ip("link", "set", _TUNNELS, "up")
            yield
        finally:
            host.ovs.ctl("--if-exists", "del-br", _TUNNELS)
            host.ip("link", "delete", UPLINK)


class Chassis(Daemons, Scoped):
    """ovn-controller for an Open vSwitch, as a context manager. Its log is ``log("ovn-controller")``.

    Args:
        ovn: the databases to connect to.
        ovs: the switch; one without a namespace, on dummy devices, will do.
        name: its system-id.
        address: the IP address where its tunnels end.
    """

    def __init__(self, ovn: PrivateOvn, ovs: PrivateOvs, name: str, address: str) -> None:
        super().__init__(ovs.netns)
        self.directory = ovs.directory  # where ovn-controller looks for the sockets of Open vSwitch's bridges
        self.ovn, self.ovs, self.name, self.address = ovn, ovs, name, address

    def _enter(self, stack: contextlib.ExitStack) -> None:
        self.configure(
            **{"system-id": self.name, "hostname": self.name, "ovn-remote": self.ovn.southbound},
            **{"ovn-encap-type": "geneve", "ovn-encap-ip": self.address, "ovn-bridge-datapath-type": "netdev"},
        )
        stack.callback(self.ovn.sbctl, "--if-exists", "chassis-del", self.name)
        stack.callback(self.kill, CONTROLLER)
        self.start()

    def configure(self, **external_ids: str) -> None:
        """Set the external_ids that ovn-controller reads (ovn-controller.8, CONFIGURATION)."""
        columns = [f"external_ids:{key}={value}" for key, value in external_ids.items()]
        self.ovs.ctl("set", "Open_vSwitch", ".", *columns)

    def start(self) -> None:
        """Start ovn-controller and wait until it has made its bridge. Raises CalledProcessError, TimeoutError."""
        self._launch(CONTROLLER, CONTROLLER, self.ovs.connection)
        self.until(lambda: BRIDGE in self.ovs.ctl("list-br").split(), f"{BRIDGE} of {self.name}")


def _atoms(value: Any) -> list[Any]:
    """Return the atoms of a set column or an optional column (RFC 7047, section 5.1)."""
    if isinstance(value, list) and value[0] == "set":
        return [atom for each in value[1] for atom in _atoms(each)]
    return [value[1]] if isinstance(value, list) else [value]
