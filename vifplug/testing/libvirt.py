"""A private libvirtd that starts real QEMU guests on a private host.

    with PrivateHost() as host, LibvirtHost(host) as libvirt:
        libvirt.create(domain("web", interface))

libvirtd and its guests run in the host's network namespace and in mount and process namespaces of their own. There
libvirt's directories are the test's, and `ovs-vsctl` finds the host's Open vSwitch. A guest of `domain` has neither
disk nor system, which its taps do not need; `vifplug.testing.guests` has guests that boot. Everything ends with the
process that started it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from vifplug.testing import needs, netns
from vifplug.testing.host import PrivateHost
from vifplug.testing.scope import Scoped

_SECONDS = 20
_VIRSH = 120

#: libvirtd's own directories, and those of the test that lie over them
_PLACES = ("run/libvirt", "etc/libvirt", "var/lib/libvirt", "var/log/libvirt")
#: libvirt 9.0 requires this user to exist even if the configuration names another
_USER = "libvirt-qemu"

#: The first process of the namespaces. It ends at the end of its input, and all others with it. It ignores SIGCHLD, so
#: that the kernel reaps the processes that become its children.
_SETUP = """\
set -e
cd "$1"
for place in /sys /run /var/lib /var/log /var/cache; do mount -t tmpfs none $place; done
mount -t sysfs none /sys
mkdir -p /var/cache/libvirt
for place in run/libvirt etc/libvirt var/lib/libvirt var/log/libvirt; do
    mkdir -p /$place
    mount --bind "$1/$place" /$place
done
mount --bind "$3" /var/cache/libvirt
mkdir -p /run/openvswitch
mount --bind "$2" /run/openvswitch
for file in passwd group; do mount --bind "$1/etc/$file" /etc/$file; done
echo ready
exec env --ignore-signal=CHLD cat
"""

_LIBVIRTD_CONF = """\
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0700"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
"""

_QEMU_CONF = """\
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""


class LibvirtRefused(Exception):
    """virsh failed; ``str()`` is its message."""


class LibvirtHost(Scoped):
    """A private libvirtd on a private host, as a context manager.

    Args:
        host: the host, entered by the calling thread.
        hook: a file to install as libvirt's qemu hook.
        cache: a directory for what libvirtd learns about QEMU, so that the next libvirtd starts five seconds sooner.

    Raises:
        MissingRequirement: libvirt or QEMU is not installed (on entry).
    """

    def __init__(self, host: PrivateHost, *, hook: Path | None = None, cache: Path | None = None) -> None:
        self.host = host
        self._hook, self._cache = hook, cache
        self.directory = host.directory / "libvirt"

    def _enter(self, stack: contextlib.ExitStack) -> None:
        needs.require("libvirt", "qemu")
        self._prepare()
        if self._hook:
            self._install_hook(self._hook)
        self._first = stack.enter_context(self._namespaces())
        stack.callback(self.stop)
        self.start()

    # -- libvirtd ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start libvirtd and wait until it answers."""
        self._pidfile.unlink(missing_ok=True)
        self._inside("libvirtd", "--daemon", "--pid-file", "/run/libvirt/libvirtd.pid")
        self._until(lambda: self._answers(), "libvirtd to answer")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop libvirtd, but not its guests; with SIGKILL, at once."""
        if self._pidfile.exists():
            pid = self._pidfile.read_text().strip()
            self._inside("kill", f"-{number.value}", pid)
            gone = f"while [ -e /proc/{pid} ]; do sleep 0.01; done"
            self._inside("timeout", str(_SECONDS), "sh", "-c", gone)
            self._pidfile.unlink(missing_ok=True)

    @property
    def uri(self) -> str:
        """The URI by which libvirt clients connect to it."""
        return f"qemu+unix:///system?socket={self.directory}/run/libvirt/libvirt-sock"

    def log(self) -> str:
        """Return libvirtd's log."""
        return (self.directory / "var/log/libvirt/libvirtd.log").read_text(errors="replace")

    # -- guests -----------------------------------------------------------------------------------------------

    def virsh(self, *words: str | Path) -> str:
        """Run ``virsh WORDS`` and return what it prints. Raises LibvirtRefused, also after two minutes."""
        command = ["virsh", "--quiet", "--connect", self.uri, *map(str, words)]
        environment = {**os.environ, "LC_ALL": "C"}
        try:  # QEMU waits for the client of a socket, however long that takes
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=_VIRSH)
        except subprocess.TimeoutExpired as late:
            raise LibvirtRefused(f"virsh {words[0]} did not end in {_VIRSH} s") from late
        if done.returncode:
            raise LibvirtRefused(done.stderr.strip())
        return done.stdout

    def create(self, xml: str) -> None:
        """Start a guest with its processor stopped, so that it costs no CPU time. Raises LibvirtRefused."""
        self.virsh("create", "--paused", "--validate", self.write(xml))

    def write(self, xml: str) -> Path:
        """Write ``xml`` to a file and return its path."""
        path = self.directory / f"{uuid.uuid4().hex}.xml"
        path.write_text(xml)
        return path

    def running(self) -> set[str]:
        """Return the names of the running guests."""
        return set(self.virsh("list", "--name").split())

    def kill(self, name: str) -> None:
        """Kill a guest's QEMU (SIGKILL), and wait until libvirtd has noticed."""
        pid = (self.directory / f"run/libvirt/qemu/{name}.pid").read_text().strip()
        self._inside("kill", f"-{signal.SIGKILL.value}", pid)
        self._until(lambda: name not in self.running(), f"{name} to be gone")

    def clear(self) -> None:
        """End and undefine every guest."""
        for name in self.virsh("list", "--name").split():
            self.virsh("destroy", "--", name)
        for name in self.virsh("list", "--all", "--name").split():
            self.virsh("undefine", "--", name)

    # -- the hook ---------------------------------------------------------------------------------------------

    @property
    def hook(self) -> Path:
        """Where the hook is installed."""
        return self.directory / "etc/libvirt/hooks/qemu.d/vifplug"

    def _install_hook(self, file: Path) -> None:
        """Install the hook, and a configuration file in the HOME that libvirtd passes to it."""
        (self.directory / "home/.vifplug").mkdir()
        shutil.copy(self.host.config, self.directory / "home/.vifplug/vifplug.conf")
        self.hook.parent.mkdir(parents=True)
        shutil.copy(file, self.hook)
        state = f"state={self.host.directory / 'state'}"
        self.hook.write_text(self.hook.read_text().replace("state=/var/lib/vifplug", state))
        witness = self.hook.parent / "witness"  # libvirt runs it after vifplug's: by name
        witness.write_text(f'#!/bin/sh\necho "$1 $2" >>{self.directory}/operations\n')
        witness.chmod(0o755)

    def await_operation(self, name: str, operation: str) -> None:
        """Wait until the hook has run for an operation of a guest."""
        self._until(lambda: f"{name} {operation}" in self.operations(), f"{operation} of {name}")

    def operations(self) -> list[str]:
        """Return each run of the hook: the guest's name and the operation's."""
        file = self.directory / "operations"
        return file.read_text().splitlines() if file.exists() else []

    # -- inside -----------------------------------------------------------------------------------------------

    @property
    def _pidfile(self) -> Path:
        return self.directory / "run/libvirt/libvirtd.pid"

    def _prepare(self) -> None:
        for place in (*_PLACES, "home", "cache"):
            (self.directory / place).mkdir(parents=True)
        (self.directory / "etc/libvirt/libvirtd.conf").write_text(_LIBVIRTD_CONF)
        (self.directory / "etc/libvirt/qemu.conf").write_text(_QEMU_CONF)
        for name, fields in (("passwd", "x:64055:64055::/nonexistent:/bin/false"), ("group", "x:64055:")):
            existing = Path("/etc", name).read_text()
            known = any(each.startswith(f"{_USER}:") for each in existing.splitlines())
            (self.directory / "etc" / name).write_text(existing if known else f"{existing}{_USER}:{fields}\n")

    @contextlib.contextmanager
    def _namespaces(self) -> Iterator[int]:
        """Make the namespaces, and give the id of their first process."""
        command = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command += ["sh", "-c", _SETUP, "setup", str(self.directory), str(self.host.ovs.directory)]
        command.append(str(self._cache or self.directory / "cache"))
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            assert process.stdin and process.stdout
            try:
                assert process.stdout.readline() == "ready\n"
                yield int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
            finally:
                process.stdin.close()

    def _inside(self, *command: str) -> str:
        """Run a command in the namespaces and return what it prints. Raises CalledProcessError."""
        # --root: a mount namespace is entered at its own root, which in a chroot is another
        enter = ["nsenter", f"--target={self._first}", "--net", "--mount", "--pid", "--root", "--wd=/", "--"]
        path = os.pathsep.join((str(Path(sys.executable).parent), os.defpath, "/usr/sbin", "/sbin"))
        environment = {"PATH": path, "HOME": str(self.directory / "home"), "LC_ALL": "C"}
        return netns.run(*enter, *command, env=environment)

    def _answers(self) -> bool:
        try:
            self.virsh("list")
        except LibvirtRefused:
            return False
        return True

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"waited {_SECONDS} s for {what}: {self.log()}"
            time.sleep(0.02)


def domain(name: str, interfaces: str = "", *, metadata: str = "", id: str = "") -> str:
    """Return the definition of a guest without a system, on emulated hardware."""
    return (
        f"<domain type='qemu'><name>{name}</name><uuid>{id or uuid.uuid4()}</uuid>{metadata}"
        "<memory unit='MiB'>24</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<devices>{interfaces}<memballoon model='none'/></devices></domain>"
    )
