"""A private Open vSwitch for tests: servers, database and sockets of its own in a temporary directory.

    with PrivateOvs() as ovs:                        # dummy datapath: no root, no devices, ofports are assigned
        driver = ... ovs.connection ...
        ovs.ctl("add-br", "br-test")

    with PrivateOvs(netns="test-1") as ovs:          # userspace datapath on the devices of a network namespace
    with PrivateOvs(netns="test-1", dpdk=True) as ovs:  # vhost-user ports as well

It never touches the machine's own Open vSwitch, and ends only the processes that it started. Where Open vSwitch is not
installed it raises `vifplug.testing.Lacking`: a test is then skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from vifplug.testing import Lacking, needs

Server = Literal["ovsdb-server", "ovs-vswitchd"]
_PATIENCE = 20.0  # seconds that a server may take to start or to end

_PLACES = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "RUNTIME_DIRECTORY")  # the last is DPDK's

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


class PrivateOvs:
    """An ovsdb-server and, unless ``vswitchd`` is False, an ovs-vswitchd. ``netns`` is a namespace's name.

    ``dpdk``: one with DPDK, for vhost-user ports; Lacking is raised on entry where none is installed. It takes 1 GiB of
    address space, of which it touches an eighth.
    """

    def __init__(
        self, *, netns: str | None = None, vswitchd: bool = True, options: Sequence[str] = (), dpdk: bool = False
    ) -> None:
        """``options``: further ones for ovsdb-server, such as ``--remote=ptcp:0:127.0.0.1``."""
        self.netns = netns
        self._dpdk = dpdk
        #: options of ovsdb-server from its next start on
        self.options = list(options)
        self._vswitchd = vswitchd

    def __enter__(self) -> Self:
        needs.require("openvswitch")
        self._program = _with_dpdk() if self._dpdk else "ovs-vswitchd"
        self.directory = Path(tempfile.mkdtemp(prefix="vifplug-ovs-"))
        self.socket = self.directory / "db.sock"
        self.connection = f"unix:{self.socket}"
        try:
            self._run(["ovsdb-tool", "create", str(self.directory / "conf.db"), str(needs.OVS_SCHEMA)])
            self.start("ovsdb-server")
            self.ctl("--no-wait", "init")
            if self._dpdk:
                self.ctl("--no-wait", "set", "Open_vSwitch", ".", *_DPDK)
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

    # -- the two servers --------------------------------------------------------------------------------------------

    def start(self, server: Server) -> None:
        """Start a server and wait until it is ready."""
        arguments = self._database() if server == "ovsdb-server" else self._switch()
        common = [f"--pidfile={self._pidfile(server)}", f"--log-file={self.directory / server}.log"]
        common += [f"--unixctl={self.directory / server}.ctl", "--no-chdir", "--detach", "-vconsole:off"]
        program = self._program if server == "ovs-vswitchd" else server
        self._run([*self._inside(), program, *arguments, *common])

    def stop(self, server: Server) -> None:
        """End a server in an orderly way (SIGTERM) and wait until it has."""
        self._signal(server, signal.SIGTERM)
        self._until(lambda: not self._pidfile(server).exists(), f"{server} to end")

    def kill(self, server: Server) -> None:
        """End a server at once (SIGKILL), if it runs, and wait until it has."""
        pid = self.pid(server)
        if pid is not None:
            self._signal(server, signal.SIGKILL)
            self._until(lambda: not _runs(pid), f"{server} to end")
        self._pidfile(server).unlink(missing_ok=True)

    def pause(self, server: Server) -> None:
        """Make a server hang (SIGSTOP): it accepts connections and does not answer."""
        self._signal(server, signal.SIGSTOP)
        pid = self.pid(server)
        self._until(lambda: pid is None or _state(pid) in "Tt", f"{server} to stop")

    def resume(self, server: Server) -> None:
        self._signal(server, signal.SIGCONT)

    def pid(self, server: Server) -> int | None:
        """The process id of a server that runs; None when it was not started, or has ended."""
        try:
            pid = int(self._pidfile(server).read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if os.fsencode(self.directory) in command else None  # the number may be another process's by now

    # -- commands ---------------------------------------------------------------------------------------------------

    def ctl(self, *arguments: str) -> str:
        """What ``ovs-vsctl ARGUMENTS`` prints. Raises CalledProcessError, with its stderr."""
        return self._run(["ovs-vsctl", f"--db={self.connection}", "--timeout=20", *arguments]).strip()

    def appctl(self, *arguments: str) -> str:
        """What ``ovs-appctl ARGUMENTS`` prints, sent to ovs-vswitchd."""
        return self._run(["ovs-appctl", f"--target={self.directory / 'ovs-vswitchd'}.ctl", *arguments]).strip()

    def port(self) -> int:
        """The TCP port that ovsdb-server listens on, when an option has it listen on port 0."""
        return int(re.findall(r"listening on port (\d+)", self.log("ovsdb-server"))[-1])

    def log(self, server: Server) -> str:
        """The log of a server, for a failed test's message."""
        return (self.directory / f"{server}.log").read_text()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _database(self) -> list[str]:
        return [str(self.directory / "conf.db"), f"--remote=punix:{self.socket}", *self.options]

    def _switch(self) -> list[str]:
        # Without a namespace no device of the machine may be touched: every device is a dummy.
        dummy = ["--enable-dummy=override", "--disable-system", "--disable-system-route"]
        return [self.connection, *([] if self.netns else dummy)]

    def _inside(self) -> list[str]:
        return ["ip", "netns", "exec", self.netns] if self.netns else []

    def _pidfile(self, server: Server) -> Path:
        return self.directory / f"{server}.pid"

    def _signal(self, server: Server, number: signal.Signals) -> None:
        pid = self.pid(server)
        if pid is not None and _runs(pid):
            os.kill(pid, number)

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {_PATIENCE:g} s for {what}")
            time.sleep(0.005)

    def _run(self, command: Sequence[str]) -> str:
        places = dict.fromkeys(_PLACES, str(self.directory))
        environment = {**os.environ, **places, "PATH": needs.path()}
        finished = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if finished.returncode:
            raise subprocess.CalledProcessError(finished.returncode, command, finished.stdout, finished.stderr)
        return finished.stdout


def _with_dpdk() -> str:
    """The ovs-vswitchd that was built with DPDK. Raises Lacking."""
    for program in (each for each in _WITH_DPDK if shutil.which(each, path=needs.path())):
        said = subprocess.run([program, "--version"], env={"PATH": needs.path()}, capture_output=True, text=True)
        if "DPDK" in said.stdout:
            return program
    raise Lacking("no ovs-vswitchd with DPDK (Debian: openvswitch-switch-dpdk, librte-meta-mempool)")


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie: these daemons are children of init, which may reap them late."""
    return _state(pid) not in "Z-"


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "-"
