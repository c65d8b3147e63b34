"""A private host for tests: a network namespace, an Open vSwitch on its devices, a state directory, and a driver.

    with PrivateHost() as host:
        host.driver.plug(vif)
        host.ovs.ctl("show"); host.ip("link")

The machine's own network is not touched. If the machine lacks a requirement, `vifplug.testing.MissingRequirement` is
raised, which skips the test. The thread that enters the host stays in its namespace until it leaves. A thread with
several hosts enters each for a while:

    with PrivateHost(entered=False) as one, PrivateHost(entered=False) as two:
        with one.inside():
            one.driver.plug(vif)
"""

from __future__ import annotations

import contextlib
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path

from vifplug import conf as options
from vifplug.driver.verbs import VIFDriver
from vifplug.testing import needs, netns
from vifplug.testing.ovs import PrivateOvs
from vifplug.testing.scope import Scoped
from vifplug.types.base import SOCKET_DIRS


class PrivateHost(Scoped):
    """A network namespace with an Open vSwitch, a configuration and a driver, as a context manager.

    Inside the ``with`` it has ``driver`` (`VIFDriver`), ``ovs`` (`PrivateOvs`), ``namespace`` (a name for ip(8)),
    ``directory``, ``config`` (vifplug.conf) and ``networks`` (the directory of network definitions).

    Args:
        vifplug_ovs: options of the group [vifplug_ovs].
        extra: more text for the configuration.
        entered: whether the calling thread moves into the namespace; if not, use the driver within `inside`.
        dpdk: whether the switch has DPDK, for vhost-user ports.
        namespace: an existing network namespace of ip(8) to use; it is not removed.

    Raises:
        MissingRequirement: this machine cannot run it (on entry).
    """

    def __init__(
        self,
        *,
        vifplug_ovs: Mapping[str, object] = types.MappingProxyType({}),
        extra: str = "",
        entered: bool = True,
        dpdk: bool = False,
        namespace: str | None = None,
    ) -> None:
        self._options, self._extra = vifplug_ovs, extra
        self._entered, self._dpdk, self._given = entered, dpdk, namespace

    def _enter(self, stack: contextlib.ExitStack) -> None:
        needs.require("namespaces", "tun", "openvswitch")
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vifplug-host-")))
        self.namespace = self._given or stack.enter_context(netns.named())[0]
        self.ovs = stack.enter_context(PrivateOvs(netns=self.namespace, dpdk=self._dpdk))
        if self._entered:
            stack.enter_context(self.inside())
        self.networks = self.directory / "networks.d"
        self.networks.mkdir()
        self.config = self.directory / "vifplug.conf"
        self.config.write_text(self.configuration())
        self.driver = stack.enter_context(self.new_driver())

    def inside(self) -> contextlib.AbstractContextManager[None]:
        """Move the calling thread into this host's namespace; on exit it returns to its own."""
        return netns.inside(self.namespace)

    def new_driver(self) -> VIFDriver:
        """Return another driver of this host, as a second process would have. The caller closes it."""
        return VIFDriver(options.load([str(self.config)]))

    def ip(self, *arguments: str) -> str:
        """Run ``ip ARGUMENTS`` in this host's namespace and return what it prints."""
        return netns.ip("-n", self.namespace, *arguments)

    def links(self) -> set[str]:
        """Return the names of the devices, except ``lo`` and Open vSwitch's own."""
        names = {line.split(":")[1].partition("@")[0].strip() for line in self.ip("-o", "link").splitlines()}
        return {name for name in names if name != "lo" and not name.startswith("ovs-")}

    def ports(self, bridge: str) -> set[str]:
        """Return the ports of an Open vSwitch bridge; none if it does not exist."""
        bridges = self.ovs.ctl("list-br").split()
        return set(self.ovs.ctl("list-ports", bridge).split()) if bridge in bridges else set()

    def port(self, name: str, column: str, table: str = "Interface") -> str:
        """Return one column of a port, as ``ovs-vsctl get`` prints it."""
        return self.ovs.ctl("get", table, name, column).strip()

    def configuration(self, **vifplug_ovs: object) -> str:
        """Return the text of the configuration; the arguments override the options of [vifplug_ovs]."""
        switch = {"connection": self.ovs.connection, "datapath_type": "netdev", **self._options, **vifplug_ovs}
        lines = [
            "[vifplug]",
            f"state_path = {self.directory / 'state'}",
            f"networks_dir = {self.networks}",
            f"socket_dirs = {','.join((*SOCKET_DIRS, tempfile.gettempdir()))}",
            "[vifplug_ovs]",
            *(f"{name} = {value}" for name, value in switch.items()),
            self._extra,
        ]
        return "\n".join(lines) + "\n"
