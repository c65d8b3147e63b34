"""A private Open vSwitch for tests: servers, database and sockets of its own in a temporary directory.

    with PrivateOvs() as ovs:                        # dummy datapath: no root, no devices, ofports are assigned
        driver = ... ovs.connection ...
        ovs.ctl("add-br", "br-test")

    with PrivateOvs(netns="test-1") as ovs:          # userspace datapath on the devices of a network namespace
    with PrivateOvs(netns="test-1", dpdk=True) as ovs:  # vhost-user ports as well

The machine's own Open vSwitch is not touched, and only processes that were started here are ended. If Open vSwitch is
not installed, `vifplug.testing.MissingRequirement` is raised, which skips the test.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vifplug.testing import MissingRequirement, needs
from vifplug.testing.daemons import Daemons
from vifplug.testing.scope import Scoped

Server = Literal["ovsdb-server", "ovs-vswitchd"]

#: where distributions have an ovs-vswitchd with DPDK: beside the one without (Debian), or as the only one (Fedora)
_WITH_DPDK = ("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk", "ovs-vswitchd")
#: DPDK on a machine without huge pages and devices for it: 1 GiB of ordinary memory, of which little is touched.
#: --legacy-mem keeps Open vSwitch from adding --in-memory, which would need huge pages. Idle threads sleep.
_DPDK = (
    "other_config:dpdk-init=true",
    "other_config:dpdk-extra=--no-huge --legacy-mem -m 1024 --no-pci",
    "other_config:per-port-memory=true",
    "other_config:pmd-maxsleep=200",  # the name in 3.1; later pmd-sleep-max. Microseconds
    "other_config:pmd-sleep-max=200",
)


class PrivateOvs(Daemons, Scoped):
    """A private ovsdb-server and ovs-vswitchd, as a context manager.

    Inside the ``with`` it has ``connection`` (``unix:...``), ``socket`` and ``directory``.

    Args:
        netns: the name of the network namespace whose devices the switch uses; without one, all devices are dummies.
        vswitchd: whether ovs-vswitchd runs.
        options: further options of ovsdb-server, such as ``--remote=ptcp:0:127.0.0.1``.
        dpdk: whether ovs-vswitchd has DPDK, for vhost-user ports: 1 GiB of address space, of which an eighth is used.

    Raises:
        MissingRequirement: Open vSwitch, or the one with DPDK, is not installed (on entry).
    """

    def __init__(
        self, *, netns: str | None = None, vswitchd: bool = True, options: Sequence[str] = (), dpdk: bool = False
    ) -> None:
        super().__init__(netns)
        self._dpdk = dpdk
        #: options of ovsdb-server, used at its next start
        self.options = list(options)
        self._vswitchd = vswitchd

    def _enter(self, stack: contextlib.ExitStack) -> None:
        needs.require("openvswitch")
        self._program = _with_dpdk() if self._dpdk else "ovs-vswitchd"
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vifplug-ovs-")))
        self.socket = self.directory / "db.sock"
        self.connection = f"unix:{self.socket}"
        self.run("ovsdb-tool", "create", str(self.directory / "conf.db"), str(needs.OVS_SCHEMA))
        stack.callback(self.kill, "ovsdb-server")
        self.start("ovsdb-server")
        self.ctl("--no-wait", "init")
        if self._dpdk:
            self.ctl("--no-wait", "set", "Open_vSwitch", ".", *_DPDK)
        stack.callback(self.kill, "ovs-vswitchd")
        if self._vswitchd:
            self.start("ovs-vswitchd")

    def start(self, server: Server) -> None:
        """Start a server and wait until it is ready. Raises CalledProcessError."""
        arguments = self._database() if server == "ovsdb-server" else self._switch()
        program = self._program if server == "ovs-vswitchd" else server
        self._launch(server, program, *arguments, f"--unixctl={self.directory / server}.ctl")

    def ctl(self, *arguments: str) -> str:
        """Run ``ovs-vsctl ARGUMENTS`` and return what it prints. Raises CalledProcessError."""
        return self.run("ovs-vsctl", f"--db={self.connection}", "--timeout=20", *arguments).strip()

    def appctl(self, *arguments: str) -> str:
        """Send ``ovs-appctl ARGUMENTS`` to ovs-vswitchd, and return what it prints."""
        return self.run("ovs-appctl", f"--target={self.directory / 'ovs-vswitchd'}.ctl", *arguments).strip()

    def port(self) -> int:
        """Return the TCP port that ovsdb-server chose, if an option has it listen on port 0."""
        return int(re.findall(r"listening on port (\d+)", self.log("ovsdb-server"))[-1])

    # -- inside -----------------------------------------------------------------------------------------------------

    def _database(self) -> list[str]:
        return [str(self.directory / "conf.db"), f"--remote=punix:{self.socket}", *self.options]

    def _switch(self) -> list[str]:
        # Without a namespace no device of the machine may be touched: every device is a dummy.
        dummy = ["--enable-dummy=override", "--disable-system", "--disable-system-route"]
        return [self.connection, *([] if self.netns else dummy)]


def _with_dpdk() -> str:
    """Return the ovs-vswitchd that was built with DPDK. Raises MissingRequirement."""
    for program in (each for each in _WITH_DPDK if shutil.which(each, path=needs.path())):
        version = subprocess.run([program, "--version"], env={"PATH": needs.path()}, capture_output=True, text=True)
        if "DPDK" in version.stdout:
            return program
    raise MissingRequirement("no ovs-vswitchd with DPDK (Debian: openvswitch-switch-dpdk, librte-meta-mempool)")
