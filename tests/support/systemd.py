"""A virtual machine that systemd boots, with a disk that outlives a reboot, and the command `vifplug` installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.support.places import ROOT
from tests.support.vm import Hardware, VirtualMachine
from vifplug.testing.needs import require

#: where the disk is
DISK = Path("/srv")
_SIZE = 256 * 2**20

#: Nothing of this machine's own configuration of systemd is left. vifplug and its Python are where its services see
#: them, which see neither homes nor /tmp. (systemd-tmpfiles(8) empties /tmp.)
_SECOND = """\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /lib/modules/{{version}}; mount --bind {{modules}} /lib/modules/{{version}}
modprobe -a virtio_blk ext4 {{needed}}
mount /dev/vda {disk}
rm -rf /etc/systemd/system /etc/fstab; mkdir -p /etc/systemd/system /opt/python /opt/vifplug /opt/packages
mount --bind {python} /opt/python; mount --bind {root} /opt/vifplug; mount --bind {packages} /opt/packages
mount -t tmpfs t /tmp
cat > /usr/local/bin/vifplug << 'END'
#!/bin/sh
export PYTHONPATH=/opt/vifplug:/opt/packages LD_LIBRARY_PATH=/opt/python/lib PYTHONDONTWRITEBYTECODE=1
exec /opt/python/bin/{interpreter} -c 'import sys; from vifplug.cli.main import main; sys.exit(main())' "$@"
END
chmod 755 /usr/local/bin/vifplug
cat > /etc/systemd/system/job.service << 'END'
[Unit]
After=multi-user.target
FailureAction=poweroff-force
[Service]
Type=oneshot
Environment=HOME=/root LC_ALL=C
ExecStart=/bin/sh -ex /mnt/job
StandardOutput=append:/mnt/output
StandardError=append:/mnt/output
END
mkdir /etc/systemd/system/graphical.target.wants
ln -s ../job.service /etc/systemd/system/graphical.target.wants/job.service
ln -s /lib/systemd/system/graphical.target /etc/systemd/system/default.target
/bin/sh -ex /mnt/before >> /mnt/output 2>&1
exec /lib/systemd/systemd
"""


class SystemdMachine(VirtualMachine):
    """One whose script is run at the end of each boot, until it powers the machine off, or fails.

    Args:
        hardware: what the machine has, besides the disk.
        before: a script that is run before systemd starts, at each boot.
        script: the script.
    """

    end = ()

    def __init__(self, hardware: Hardware, before: str, script: str) -> None:
        require("/lib/systemd/systemd", "mkfs.ext4")
        super().__init__(hardware, script)
        self._before = before
        self.second = _SECOND.format(
            disk=DISK,
            python=sys.base_prefix,
            root=ROOT,
            packages=sysconfig.get_path("purelib"),
            interpreter=Path(os.path.realpath(sys.executable)).name,
        )

    def _prepare(self) -> None:
        super()._prepare()
        (self.directory / "before").write_text(self._before)
        with (self.directory / "disk").open("wb") as disk:
            disk.truncate(_SIZE)
        subprocess.run(["mkfs.ext4", "-q", self.directory / "disk"], check=True)

    def _command(self) -> list[str]:
        return [*super()._command(), "-drive", f"if=virtio,format=raw,file={self.directory / 'disk'}"]
