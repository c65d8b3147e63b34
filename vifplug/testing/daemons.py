"""Private servers of Open vSwitch and OVN: started, stopped and paused by their pid files.

`vifplug.testing.ovs` and `vifplug.testing.ovn` define the servers.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from vifplug.testing import needs, netns

_PATIENCE = 20.0  # seconds that a server may take to start or to end
#: where these programs look for each other's sockets and for their own files
_PLACES = [f"{family}_{place}" for family in ("OVS", "OVN") for place in ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")]
_PLACES += ["RUNTIME_DIRECTORY"]  # DPDK's


class Daemons:
    """Servers with their files in ``directory``; ``netns``: the network namespace of ip(8) that they run in.

    Only processes that were started here are stopped.
    """

    directory: Path

    def __init__(self, netns: str | None = None) -> None:
        self.netns = netns

    def stop(self, server: str) -> None:
        """Stop a server (SIGTERM) and wait until it has ended. Raises TimeoutError."""
        self._signal(server, signal.SIGTERM)
        self.until(lambda: not self._pidfile(server).exists(), f"{server} to end")

    def kill(self, server: str) -> None:
        """Kill a server (SIGKILL), if it runs, and wait until it has ended. Raises TimeoutError."""
        pid = self.pid(server)
        if pid is not None:
            self._signal(server, signal.SIGKILL)
            self.until(lambda: not _runs(pid), f"{server} to end")
        self._pidfile(server).unlink(missing_ok=True)

    def pause(self, server: str) -> None:
        """Make a server hang (SIGSTOP): it accepts connections and does not answer."""
        self._signal(server, signal.SIGSTOP)
        pid = self.pid(server)
        self.until(lambda: pid is None or _state(pid) in "Tt", f"{server} to stop")

    def resume(self, server: str) -> None:
        """Let a paused server continue (SIGCONT)."""
        self._signal(server, signal.SIGCONT)

    def pid(self, server: str) -> int | None:
        """Return the process id of a running server; None if it was not started or has ended."""
        try:
            pid = int(self._pidfile(server).read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if os.fsencode(self.directory) in command else None  # the number may be another process's by now

    def log(self, server: str) -> str:
        """Return the log of a server, for a failed test's message."""
        return (self.directory / f"{server}.log").read_text()

    def run(self, *command: str) -> str:
        """Run a command that finds the servers' sockets, and return what it prints. Raises CalledProcessError."""
        places = dict.fromkeys(_PLACES, str(self.directory))
        return netns.run(*command, env={**os.environ, **places, "PATH": needs.path()})

    @staticmethod
    def until(condition: Callable[[], bool], what: str) -> None:
        """Poll until ``condition`` holds. Raises TimeoutError, which names ``what``, after 20 seconds."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {_PATIENCE:g} s for {what}")
            time.sleep(0.005)

    # -- for subclasses ----------------------------------------------------------------------------------------------

    def _launch(self, server: str, *command: str) -> None:
        """Start a server and return when it is ready."""
        common = [f"--pidfile={self._pidfile(server)}", f"--log-file={self.directory / server}.log"]
        inside = ["ip", "netns", "exec", self.netns] if self.netns else []
        self.run(*inside, *command, *common, "--no-chdir", "--detach", "-vconsole:off")

    def _pidfile(self, server: str) -> Path:
        return self.directory / f"{server}.pid"

    def _signal(self, server: str, number: signal.Signals) -> None:
        pid = self.pid(server)
        if pid is not None and _runs(pid):
            os.kill(pid, number)


def _runs(pid: int) -> bool:
    """Return whether a process exists and is not a zombie: init, the parent of these daemons, may reap them late."""
    return _state(pid) not in "Z-"


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "-"
