"""A private Open vSwitch for tests: servers, database and sockets of its own in a temporary directory.

    with PrivateOvs() as ovs:                        # dummy datapath: no root, no devices, ofports are assigned
        driver = ... ovs.connection ...
        ovs.ctl("add-br", "br-test")

    with PrivateOvs(netns="test-1") as ovs:          # userspace datapath on the devices of a network namespace

It never touches the machine's own Open vSwitch, and ends only the processes that it started. Where Open vSwitch is not
installed it raises `vifplug.testing.Lacking`: a test is then skipped.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from vifplug.testing import needs
from vifplug.testing.daemons import Daemons

Server = Literal["ovsdb-server", "ovs-vswitchd"]


class PrivateOvs(Daemons):
    """An ovsdb-server and, unless ``vswitchd`` is False, an ovs-vswitchd. ``netns`` is a namespace's name."""

    def __init__(self, *, netns: str | None = None, vswitchd: bool = True, options: Sequence[str] = ()) -> None:
        """``options``: further ones for ovsdb-server, such as ``--remote=ptcp:0:127.0.0.1``."""
        super().__init__(netns)
        #: options of ovsdb-server from its next start on
        self.options = list(options)
        self._vswitchd = vswitchd

    def __enter__(self) -> Self:
        needs.require("openvswitch")
        self.directory = Path(tempfile.mkdtemp(prefix="vifplug-ovs-"))
        self.socket = self.directory / "db.sock"
        self.connection = f"unix:{self.socket}"
        try:
            self.run("ovsdb-tool", "create", str(self.directory / "conf.db"), str(needs.OVS_SCHEMA))
            self.start("ovsdb-server")
            self.ctl("--no-wait", "init")
            if self._vswitchd:
                self.start("ovs-vswitchd")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End both servers and remove everything."""
        for server in ("ovs-vswitchd", "ovsdb-server"):
            self.kill(server)
        shutil.rmtree(self.directory)

    def start(self, server: Server) -> None:
        """Start a server and wait until it is ready. Raises CalledProcessError."""
        arguments = self._database() if server == "ovsdb-server" else self._switch()
        self._launch(server, server, *arguments, f"--unixctl={self.directory / server}.ctl")

    def ctl(self, *arguments: str) -> str:
        """What ``ovs-vsctl ARGUMENTS`` prints. Raises CalledProcessError, with its stderr."""
        return self.run("ovs-vsctl", f"--db={self.connection}", "--timeout=20", *arguments).strip()

    def appctl(self, *arguments: str) -> str:
        """What ``ovs-appctl ARGUMENTS`` prints, sent to ovs-vswitchd."""
        return self.run("ovs-appctl", f"--target={self.directory / 'ovs-vswitchd'}.ctl", *arguments).strip()

    def port(self) -> int:
        """The TCP port that ovsdb-server listens on, when an option has it listen on port 0."""
        return int(re.findall(r"listening on port (\d+)", self.log("ovsdb-server"))[-1])

    # -- inside -----------------------------------------------------------------------------------------------------

    def _database(self) -> list[str]:
        return [str(self.directory / "conf.db"), f"--remote=punix:{self.socket}", *self.options]

    def _switch(self) -> list[str]:
        # Without a namespace no device of the machine may be touched: every device is a dummy.
        dummy = ["--enable-dummy=override", "--disable-system", "--disable-system-route"]
        return [self.connection, *([] if self.netns else dummy)]
