"""A private host for tests: a network namespace, an Open vSwitch on its devices, a state directory, and a driver.

    with PrivateHost() as host:
        host.driver.plug(vif)
        host.ovs.ctl("show"); host.ip("link")

Nothing of the machine's own network is touched. Where the machine lacks what it takes, it raises
`vifplug.testing.Lacking`: a test is then skipped. The thread that enters is in the namespace until it leaves. Where one
thread has several hosts, it is in none of them but for a while:

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


class PrivateHost(Scoped):
    """``vifplug_ovs`` are options of that group; ``extra`` is more text for the configuration.

    ``entered`` of False: the calling thread stays where it is, and uses the driver `inside` alone. ``dpdk`` is
    `PrivateOvs`'s. ``namespace`` names a network namespace of ip(8) for a host with its devices; it is not removed.
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
        """The calling thread is in this host's namespace; on exit it is back where it was."""
        return netns.inside(self.namespace)

    def new_driver(self) -> VIFDriver:
        """Another driver of this host, as a second process would have. The caller closes it."""
        return VIFDriver(options.load([str(self.config)]))

    def ip(self, *arguments: str) -> str:
        """What ``ip ARGUMENTS`` prints in this host's namespace."""
        return netns.ip("-n", self.namespace, *arguments)

    def links(self) -> set[str]:
        """The names of the devices, but for ``lo``, Open vSwitch's own and the kernel's fallback tunnels."""
        names = {line.split(":")[1].partition("@")[0].strip() for line in self.ip("-o", "link").splitlines()}
        return {name for name in names if name != "lo" and not name.startswith("ovs-")}

    def ports(self, bridge: str) -> set[str]:
        """The ports of an Open vSwitch bridge; none where there is no such bridge."""
        bridges = self.ovs.ctl("list-br").split()
        return set(self.ovs.ctl("list-ports", bridge).split()) if bridge in bridges else set()

    def port(self, name: str, column: str, table: str = "Interface") -> str:
        """One column of a port, as ``ovs-vsctl get`` prints it."""
        return self.ovs.ctl("get", table, name, column).strip()

    def configuration(self, **vifplug_ovs: object) -> str:
        """The configuration's text, where these options of [vifplug_ovs] take the place of the host's own."""
        switch = {"connection": self.ovs.connection, "datapath_type": "netdev", **self._options, **vifplug_ovs}
        lines = [
            "[vifplug]",
            f"state_path = {self.directory / 'state'}",
            f"networks_dir = {self.networks}",
            "[vifplug_ovs]",
            *(f"{name} = {value}" for name, value in switch.items()),
            self._extra,
        ]
        return "\n".join(lines) + "\n"
