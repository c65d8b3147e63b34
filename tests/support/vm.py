"""A virtual machine with a full kernel of its own, emulated, on this machine's root file system.

For what only the kernel of a whole machine has: modules of its own, and the network namespace that it begins with. It
sees this machine's files, and what it writes to them stays in its memory. It boots in a few seconds.

``VIFPLUG_TEST_KERNEL`` names a directory with ``boot/vmlinuz-VERSION`` and ``lib/modules/VERSION``, as a distribution's
kernel package unpacks to.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from vifplug.testing import Lacking

QEMU, BUSYBOX = "qemu-system-x86_64", "/bin/busybox"
VARIABLE = "VIFPLUG_TEST_KERNEL"

_BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
_APPLETS = ("sh", "mount", "insmod", "mkdir", "poweroff", "switch_root")

#: the first program: this machine's root below a layer of memory, and the job
_INIT = """\
#!/bin/sh
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
while read module; do insmod $module; done < /modules
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 root /lower || poweroff -f
mount -t tmpfs t /upper; mkdir /upper/new /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/new,workdir=/upper/work o /root
mount -t tmpfs t /root/run; mount -t tmpfs t /root/mnt
mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=512000 job /root/mnt
for place in proc sys dev; do mount --move /$place /root/$place; done
exec switch_root /root /bin/sh /mnt/init
"""

#: the second: the job, between the modules of this kernel and the end of the machine
_JOB = """\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C PYTHONDONTWRITEBYTECODE=1
mkdir -p /lib/modules/{version}; mount --bind {modules} /lib/modules/{version}
ip link set lo up
/bin/sh -e /mnt/job > /mnt/output 2>&1 < /dev/null
echo $? > /mnt/status; sync
echo o > /proc/sysrq-trigger; sleep 9
"""


class VirtualMachine:
    """What it takes to start one. ``modules`` are those that the job needs. Raises Lacking."""

    def __init__(self, modules: Sequence[str]) -> None:
        for program in (QEMU, BUSYBOX, "cpio", "modprobe"):
            if not shutil.which(program):
                raise Lacking(f"no {program} (Debian: qemu-system-x86, busybox-static, cpio, kmod)")
        if VARIABLE not in os.environ:
            raise Lacking(f"{VARIABLE} names no directory with boot/vmlinuz-* and lib/modules/*")
        self._place = Path(os.environ[VARIABLE]).resolve()
        self._kernel = next(self._place.glob("boot/vmlinuz-*"), None)
        if self._kernel is None:
            raise Lacking(f"no boot/vmlinuz-* in {self._place}")
        self._version = self._kernel.name.removeprefix("vmlinuz-")
        list(self._files((*_BOOT_MODULES, *modules)))

    def run(self, script: str, seconds: float = 300) -> tuple[int, str]:
        """The status and output of a script that is run as root in a machine of its own."""
        with tempfile.TemporaryDirectory(prefix="vifplug-vm-") as directory:
            job = Path(directory)
            modules = self._place / "lib/modules" / self._version
            (job / "init").write_text(_JOB.format(version=self._version, modules=modules))
            (job / "job").write_text(script)
            self._initramfs(job / "initramfs")
            console = subprocess.run(
                self._command(job), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
            )
            if not (job / "status").exists():
                raise AssertionError(f"the machine did not end its job: {console.stdout[-3000:]}{console.stderr}")
            return int((job / "status").read_text()), (job / "output").read_text()

    def _files(self, modules: Sequence[str]) -> Iterator[Path]:
        """The modules' files, those that they need before them."""
        command = ["modprobe", "--dirname", str(self._place), "--set-version", self._version, "--show-depends", "--all"]
        found = subprocess.run([*command, *modules], capture_output=True, text=True)
        if found.returncode:
            raise Lacking(f"kernel {self._version} in {self._place}: {found.stderr.strip()}")
        yield from map(Path, dict.fromkeys(re.findall(r"^insmod (\S+)", found.stdout, re.MULTILINE)))

    def _initramfs(self, target: Path) -> None:
        with tempfile.TemporaryDirectory() as directory:
            tree = Path(directory)
            for place in ("bin", "proc", "sys", "dev", "lower", "upper", "root"):
                (tree / place).mkdir()
            shutil.copy(BUSYBOX, tree / "bin/busybox")
            for applet in _APPLETS:
                (tree / "bin" / applet).symlink_to("busybox")
            names = [shutil.copy(file, tree).removeprefix(directory) for file in self._files(_BOOT_MODULES)]
            (tree / "modules").write_text("\n".join(names) + "\n")
            (tree / "init").write_text(_INIT)
            (tree / "init").chmod(0o755)
            listed = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
            with target.open("wb") as archive:
                command = ["cpio", "--create", "--format=newc", "--quiet"]
                subprocess.run(command, cwd=tree, input=listed.encode(), stdout=archive, check=True)

    def _command(self, job: Path) -> list[str]:
        shares = (("root", "/", ",readonly=on,multidevs=remap"), ("job", str(job), ""))
        shared = [
            argument
            for tag, path, more in shares
            for argument in (
                *("-fsdev", f"local,id={tag},path={path},security_model=none{more}"),
                *("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
            )
        ]
        quick = "quiet panic=1 mitigations=off tsc=reliable no_timer_check random.trust_cpu=on net.ifnames=0"
        return [
            *(QEMU, "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"),
            *("-nodefaults", "-nographic", "-serial", "stdio", "-no-reboot", "-kernel", str(self._kernel)),
            *("-initrd", str(job / "initramfs"), "-append", f"console=ttyS0 {quick}", *shared),
        ]
