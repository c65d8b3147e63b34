"""A virtual machine with a full kernel of its own, emulated, on this machine's root file system.

For what only the kernel of a whole machine has: modules and devices of its own, and the network namespace that it
begins with. It sees this machine's files, and what it writes to them stays in its memory. It boots in a few seconds.

``VIFPLUG_TEST_KERNEL`` names a directory with its kernel, and perhaps ``qemu``, where QEMU's packages are unpacked.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vifplug.testing import MissingRequirement
from vifplug.testing.guests import Image
from vifplug.testing.kernel import Kernel, initramfs
from vifplug.testing.needs import require
from vifplug.testing.scope import Scoped

QEMU = "qemu-system-x86_64"
#: the environment variable that has tests marked ``long`` run: `make test-long` sets it
LONG = "VIFPLUG_TEST_LONG"
VARIABLE = "VIFPLUG_TEST_KERNEL"
#: where a job finds the directory that it shares with the outside
SHARED = Path("/mnt")

#: what a guest within can boot
NESTED = Image(SHARED / "vmlinux", SHARED / "guest.cpio")

_BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")

#: the first program: this machine's root below a layer of memory, and the job
_INIT = """\
#!/bin/sh
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
while read module; do insmod $module; done < /modules
mkdir -p /lower /upper /root
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 root /lower || poweroff -f
mount -t tmpfs t /upper; mkdir /upper/new /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/new,workdir=/upper/work o /root
mount -t tmpfs t /root/run; mount -t tmpfs t /root/mnt
mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=512000 job /root/mnt
for place in proc sys dev; do mount --move /$place /root/$place; done
exec switch_root /root /bin/sh /mnt/init
"""

#: the second: the job, between the modules of this kernel and the end of the machine. The job's clock begins late: Open
#: vSwitch 3.1 takes a machine that has been up for less than 10 s for one without processors, and loses packets
_JOB = """\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C PYTHONDONTWRITEBYTECODE=1
mkdir -p /lib/modules/{version}; mount --bind {modules} /lib/modules/{version}
mkdir -p /dev/shm /dev/pts; mount -t tmpfs t /dev/shm; mount -t devpts p /dev/pts; mount -t debugfs d /sys/kernel/debug
ip link set lo up
modprobe -a {needed}
unshare --fork --time --boottime 100 --monotonic 100 /bin/sh -e /mnt/job > /mnt/output 2>&1 < /dev/null
echo $? > /mnt/status; sync
echo o > /proc/sysrq-trigger; while :; do :; done
"""
_KERNEL_OPTIONS = (
    "console=ttyS0 quiet panic=1 mitigations=off tsc=reliable no_timer_check random.trust_cpu=on net.ifnames=0"
    " lpj=4000000 8250.nr_uarts=1 cryptomgr.notests audit=0 apparmor=0"
)


@dataclass(frozen=True)
class Hardware:
    """What a machine has: modules that are loaded, memory in MiB, and devices, as arguments of QEMU's."""

    modules: Sequence[str] = ("dummy",)
    memory: int = 1024
    arguments: Sequence[str] = ()
    #: one that not every QEMU emulates
    device: str = "virtio-9p-pci"
    #: the modules of a guest within, whose `NESTED` is made outside, where that takes a moment
    guest: Sequence[str] = ("virtio_pci",)


class VirtualMachine(Scoped):
    """One that runs a script as root, and ends. Raises MissingRequirement.

    ::

        with VirtualMachine(Hardware(modules=["8021q"]), "modinfo 8021q") as machine:
            while machine.runs():
                time.sleep(1)
            print(machine.output())
    """

    #: the second program (`_JOB`), and arguments of QEMU's for the end of the machine
    second: str = _JOB
    end: Sequence[str] = ("-no-reboot",)

    def __init__(self, hardware: Hardware, script: str) -> None:
        require("setpriv", "/bin/busybox", "cpio")
        self._kernel, self._hardware, self._script = Kernel.named(VARIABLE), hardware, script
        self._qemu = emulator(self._kernel.place, hardware.device)
        self._kernel.modules(hardware.modules)

    def _enter(self, stack: contextlib.ExitStack) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vifplug-vm-"))
        stack.callback(shutil.rmtree, self.directory)
        self._prepare()
        console = stack.enter_context((self.directory / "console").open("wb"))
        self._process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        stack.callback(self._process.wait)
        stack.callback(self._process.kill)

    def runs(self) -> bool:
        """Whether the machine is up."""
        return self._process.poll() is None

    def output(self) -> str:
        """What the job has printed until now."""
        output = self.directory / "output"
        return output.read_text(errors="replace") if output.exists() else ""

    def console(self) -> str:
        """The end of what the kernel has said until now."""
        return (self.directory / "console").read_text(errors="replace")[-3000:]

    def _prepare(self) -> None:
        """The files that it boots from, and those that it finds in the directory that it shares."""
        version, needed = self._kernel.version, " ".join(self._hardware.modules)
        modules = self._kernel.place / "lib/modules" / version
        (self.directory / "init").write_text(self.second.format(version=version, modules=modules, needed=needed))
        (self.directory / "job").write_text(self._script)
        Image.made(self.directory, self._kernel, self._hardware.guest)  # its kernel is the machine's own, too
        initramfs(self.directory / "initramfs", self._kernel, _BOOT_MODULES, {"init": _INIT})

    def _command(self) -> list[str]:
        shares = (("root", "/", ",readonly=on,multidevs=remap"), ("job", str(self.directory), ""))
        shared = [
            argument
            for tag, path, more in shares
            for argument in (
                *("-fsdev", f"local,id={tag},path={path},security_model=none{more}"),
                *("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
            )
        ]
        return [
            *("setpriv", "--pdeathsig=KILL", *self._qemu),  # it ends with the process that started it
            *("-M", "q35,kernel-irqchip=split", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-smp", "2", "-m", str(self._hardware.memory), "-nodefaults", "-nographic", "-serial", "stdio"),
            *(*self.end, "-kernel", str(self.directory / "vmlinux")),
            *("-initrd", str(self.directory / "initramfs"), "-append", _KERNEL_OPTIONS),
            *(*shared, *self._hardware.arguments),
        ]


def emulator(place: Path, device: str) -> list[str]:
    """The command that starts a QEMU which emulates a device: this machine's, or the one below ``place``."""
    unpacked = place / "qemu/usr"
    share = (unpacked / "share/qemu", unpacked / "share/seabios", Path("/usr/share/qemu"))
    ours = [str(unpacked / "bin" / QEMU), *(argument for path in share for argument in ("-L", str(path)))]
    for command in ([QEMU], ours):
        if shutil.which(command[0]):
            message = subprocess.run([*command, "-device", f"{device},help"], capture_output=True, text=True).stdout
            if message.startswith(f"{device} options"):
                return command
    raise MissingRequirement(f"no {QEMU}, here or in {place}/qemu, emulates the device {device}")
