"""QEMU guests that boot in two seconds and run commands.

    image = Image.made(directory, Kernel.named("VIFPLUG_TEST_GUEST"))
    with PrivateHost() as host, LibvirtHost(host) as libvirt:
        web = boot(libvirt, image, "web", [plugged.interface_xml])
        web.configure(mac, "10.0.0.2/24")
        assert web.reaches("10.0.0.1")

A guest is a kernel with busybox and no disk. It is emulated, so it needs no KVM. It takes commands on a serial port.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vifplug.testing.kernel import Kernel, initramfs
from vifplug.testing.libvirt import LibvirtHost

#: seconds that a guest may take to boot, on a machine that does much else
_PATIENCE = 120
#: and that it may take to find a card
_HOT_PLUG = 20

MODULES = ("virtio_pci", "virtio_net", "8021q")

#: less of what takes long under emulation; only a dying kernel writes among the answers
_KERNEL_OPTIONS = (
    "console=ttyS0 loglevel=1 panic=1 mitigations=off random.trust_cpu=on tsc=reliable no_timer_check lpj=4000000"
    " 8250.nr_uarts=1 cryptomgr.notests net.ifnames=0"
)

_INIT = """\
#!/bin/sh
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
while read -r module; do insmod $module; done </modules
ip link set lo up
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo -onlcr
exec sh
"""

_DOMAIN = """\
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name><uuid>{id}</uuid>
  <memory unit='MiB'>{memory}</memory>{memory_backing}<vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{image.kernel}</kernel><initrd>{image.initramfs}</initrd><cmdline>{options}</cmdline>
  </os>
  <features><acpi/></features>{cpu}
  <on_reboot>destroy</on_reboot>
  <devices>
    <controller type='usb' model='none'/><memballoon model='none'/>
    <serial type='unix'><source mode='bind' path='{console}'/></serial>
    {interfaces}
  </devices>{commandline}
</domain>
"""
_MEMORY = 128  # MiB

#: what vhost-user needs: the switch reads and writes the guest's memory. With MSI-X, QEMU 7.2 crashes under emulation.
_SHARED = {
    "memory_backing": "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
    "cpu": f"<cpu><numa><cell id='0' cpus='0' memory='{_MEMORY}' unit='MiB' memAccess='shared'/></numa></cpu>",
    "commandline": (
        "<qemu:commandline><qemu:arg value='-global'/><qemu:arg value='virtio-net-pci.vectors=0'/></qemu:commandline>"
    ),
}
_OWN = dict.fromkeys(_SHARED, "")

_CONSOLES = "var/lib/libvirt"  # for libvirt and, under its host's directory, for everybody else


class GuestCommandFailed(Exception):
    """A command in a guest failed or did not end; ``str()`` holds its output."""


@dataclass(frozen=True)
class Image:
    """The two files that a guest boots."""

    kernel: Path
    initramfs: Path

    @classmethod
    def of(cls, directory: Path) -> Image:
        """Return the image that `made` has put into ``directory``."""
        return cls(directory / "vmlinux", directory / "guest.cpio")

    @classmethod
    def made(cls, directory: Path, kernel: Kernel, modules: Iterable[str] = MODULES) -> Image:
        """Make an image in ``directory`` that loads ``modules`` and their dependencies. Raises MissingRequirement."""
        image = cls.of(directory)
        image.kernel.write_bytes(kernel.elf())
        initramfs(image.initramfs, kernel, modules, {"init": _INIT})
        return image


def boot(
    libvirt: LibvirtHost, image: Image, name: str, interfaces: Sequence[str] = (), *, shared_memory: bool = False
) -> BootedGuest:
    """Start a guest, and return without waiting until it has booted.

    Args:
        libvirt: where to start it.
        image: what it boots.
        name: its name for libvirt.
        interfaces: its ``<interface>`` elements.
        shared_memory: whether its memory is shared with the switch, as vhost-user requires.

    Raises:
        LibvirtRefused: libvirt did not start it.
    """
    xml = definition(image, name, interfaces, shared_memory=shared_memory)
    libvirt.virsh("create", "--validate", libvirt.write(xml))
    return BootedGuest(libvirt, name)


def definition(image: Image, name: str, interfaces: Sequence[str] = (), *, shared_memory: bool = False) -> str:
    """Return the guest's libvirt domain."""
    return _DOMAIN.format(
        name=name,
        id=uuid.uuid5(uuid.NAMESPACE_OID, name),
        memory=_MEMORY,
        image=image,
        options=_KERNEL_OPTIONS,
        console=f"/{_CONSOLES}/{name}.console",
        interfaces="\n    ".join(interfaces),
        **(_SHARED if shared_memory else _OWN),
    )


class BootedGuest:
    """A guest on the host where it runs; after a migration, ``BootedGuest(destination, name)``."""

    #: how long it may take to boot, and to run a command, in seconds; a guest within a guest needs more
    patience: float = _PATIENCE

    def __init__(self, libvirt: LibvirtHost, name: str) -> None:
        self.libvirt, self.name = libvirt, name
        self._console = _Console(libvirt.directory / _CONSOLES / f"{name}.console")

    def run(self, command: str) -> str:
        """Run a shell command and return what it prints; its lines must have less than 4000 characters.

        Raises:
            GuestCommandFailed: its status is not 0, or the guest did not answer within ``patience`` seconds.
        """
        status, output = self._console.run(command, self.patience)
        if status:
            raise GuestCommandFailed(f"guest {self.name}: {command}: status {status}: {output}")
        return output

    # -- its network cards --------------------------------------------------------------------------------------

    def device(self, mac: str) -> str:
        """Return the name of the card with a MAC address, after waiting for it to appear. Raises GuestCommandFailed."""
        look = f"cd /sys/class/net; grep -l -x {mac} */address | grep -v '[.]' | cut -d/ -f1"
        deadline = time.monotonic() + _HOT_PLUG
        while not (name := self.run(look).strip()):
            if time.monotonic() > deadline:
                raise GuestCommandFailed(f"guest {self.name} has no card {mac} after {_HOT_PLUG} s")
            time.sleep(0.05)
        return name

    def mtu(self, mac: str) -> int:
        """Return the MTU of the card, in bytes."""
        return int(self.run(f"cat /sys/class/net/{self.device(mac)}/mtu"))

    def configure(self, mac: str, address: str, *, vlan: int | None = None) -> None:
        """Give the card an address (``10.0.0.2/24``), or a VLAN on the card, and bring it up."""
        card = self.device(mac)
        self.run(f"ip link set {card} up")
        if vlan is not None:
            self.run(f"ip link add link {card} name {card}.{vlan} type vlan id {vlan} && ip link set {card}.{vlan} up")
        self.run(f"ip addr add {address} dev {card if vlan is None else f'{card}.{vlan}'}")

    def reaches(self, address: str) -> bool:
        """Return whether ``address`` answers a ping within ten attempts: the first can be lost while ports come up."""
        ping = f"for i in 1 2 3 4 5 6 7 8 9 10; do ping -c 1 -W 1 {address} && exit 0; done; exit 1"
        return self._console.run(ping, self.patience)[0] == 0

    def is_cut_off_from(self, address: str) -> bool:
        """Return whether ``address`` answers no ping."""
        return not self.reached([address])

    def reached(self, addresses: Iterable[str]) -> set[str]:
        """Return the addresses that answer one of two pings within a second; all are pinged at once."""
        ping = "ping -c 2 -i 0.1 -W 1 $each >/dev/null && echo $each"
        return set(self.run(f"for each in {' '.join(addresses)}; do ({ping}) & done; wait").split())

    # -- its life -----------------------------------------------------------------------------------------------

    def attach(self, interface: str) -> None:
        """Hot-plug an interface. Raises LibvirtRefused."""
        self.libvirt.virsh("attach-device", self.name, self.libvirt.write(interface), "--live")

    def detach(self, interface: str, mac: str) -> None:
        """Hot-unplug an interface and wait until libvirt has released it. Raises LibvirtRefused, GuestCommandFailed."""
        self.libvirt.virsh("detach-device", self.name, self.libvirt.write(interface), "--live")
        deadline = time.monotonic() + _PATIENCE
        while mac in self.libvirt.virsh("domiflist", self.name):
            if time.monotonic() > deadline:
                raise GuestCommandFailed(f"guest {self.name} did not release {mac} within {_PATIENCE} s")
            time.sleep(0.05)

    def reconnect(self) -> None:
        """Wait until it answers, after it was restarted or restored."""
        self._console.close()
        self.run(":")

    def kill(self) -> None:
        """Kill QEMU, as a crash would, and wait until libvirt has noticed."""
        self.libvirt.kill(self.name)

    def destroy(self) -> None:
        """End it at once."""
        self.libvirt.virsh("destroy", self.name)


class _Console:
    """The shell at the other end of a guest's serial port."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def run(self, command: str, patience: float) -> tuple[int, str]:
        """Return the status and the output of a command. Raises GuestCommandFailed."""
        if self._socket is None:
            self._connect(patience)
        try:
            return self._answer(f"({command}\n) </dev/null 2>&1", time.monotonic() + patience)
        except TimeoutError:
            raise GuestCommandFailed(
                f"the guest of {self._path} did not finish within {patience:g} s: {command}"
            ) from None

    def close(self) -> None:
        """Disconnect; the next command reconnects."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def _connect(self, patience: float) -> None:
        """Connect, retrying until the guest answers: a command sent while it boots is lost, or is answered late."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(self._path))
        deadline, wait = time.monotonic() + patience, 0.25
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                self._answer(":", time.monotonic() + wait)
                return
            wait *= 1.2  # a guest in a guest takes seconds for an answer
        self.close()
        raise GuestCommandFailed(f"the guest of {self._path} did not answer within {patience:g} s")

    def _answer(self, line: str, deadline: float) -> tuple[int, str]:
        """Run a line. Unique markers around its answer tell it from late answers to earlier lines."""
        assert self._socket
        token = uuid.uuid4().hex
        self._socket.sendall(f"echo begin-{token}; {line}; echo end-{token}:$?\n".encode())
        answer = ""
        while not (found := re.search(f"begin-{token}\n(.*)end-{token}:(\\d+)\n", answer, re.DOTALL)):
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            received = self._socket.recv(65536)
            if not received:
                raise GuestCommandFailed(f"the guest of {self._path} has ended: {answer}")
            answer += received.decode(errors="replace").replace("\r", "")
        return int(found[2]), found[1]
