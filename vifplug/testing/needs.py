"""The requirements of tests, by name. If one is missing, the test is skipped with the reason.

    needs.require("namespaces", "tun", "tcpdump")

The hosts and servers of this package check their own requirements.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from vifplug.testing import MissingRequirement

SCHEMAS = Path("/usr/share/libvirt/schemas")
OVS_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
OVN_SCHEMAS = Path("/usr/share/ovn")
TUN = Path("/dev/net/tun")

#: the capabilities that a test as root needs: CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_SETGID, CAP_SETUID
_CAPABILITIES = 1 << 0 | 1 << 1 | 1 << 6 | 1 << 7  # linux/capability.h

#: programs that tests run, and the Debian package that has each
PACKAGES: Mapping[str, str] = {
    **dict.fromkeys(("bridge", "ip", "tc"), "iproute2"),
    **dict.fromkeys(("nsenter", "setpriv", "unshare"), "util-linux"),
    **dict.fromkeys(("ovs-appctl", "ovs-vsctl", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool"), "openvswitch-switch"),
    "/bin/busybox": "busybox-static",
    "/lib/systemd/systemd": "systemd",
    "cpio": "cpio",
    "dot": "graphviz",
    "ethtool": "ethtool",
    "libvirtd": "libvirt-daemon",
    "lz4": "lz4",
    **dict.fromkeys(("ovn-nbctl", "ovn-sbctl"), "ovn-common"),
    "ovn-controller": "ovn-host",
    "ovn-northd": "ovn-central",
    "mkfs.ext4": "e2fsprogs",
    "modprobe": "kmod",
    "mount": "mount",
    "ping": "iputils-ping",
    "qemu-system-x86_64": "qemu-system-x86",
    "strace": "strace",
    "systemd-analyze": "systemd",
    "tcpdump": "tcpdump",
    "virsh": "libvirt-clients",
    "zstd": "zstd",
}


def require(*names: str) -> None:
    """Check requirements: keys of NEEDS, or programs of PACKAGES.

    Raises:
        MissingRequirement: some are missing; it names all of them.
    """
    if message := "; ".join(dict.fromkeys(filter(None, map(_missing, names)))):
        raise MissingRequirement(message)


def path() -> str:
    """Return PATH with the directories of Debian's servers, which not every user's PATH has."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def _missing(name: str) -> str:
    return NEEDS[name]() if name in NEEDS else _programs(name)


def _programs(*names: str, file: Path | None = None) -> str:
    """Say which of some programs, and of a file that comes with them, are missing."""
    missing = [name for name in names if shutil.which(name, path=path()) is None]
    if missing:
        packages = ", ".join(dict.fromkeys(PACKAGES[name] for name in missing))
        return f"no {', '.join(missing)} (Debian: {packages})"
    return f"no {file}" if file and not file.exists() else ""


def _user() -> str:
    return "" if os.geteuid() == 0 else "needs root"


def _root() -> str:
    if missing := _user():
        return missing
    status = Path("/proc/thread-self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return "" if effective & _CAPABILITIES == _CAPABILITIES else "needs root with its capabilities"


def _tun() -> str:
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return f"no {TUN}"
    except OSError as error:
        return f"{TUN} cannot be opened: {error.strerror}"
    return ""


@functools.cache
def _namespaces() -> str:
    """Make one with ip(8), and remove it: rights and kernels differ in more than can be queried."""
    if missing := _user() or _programs("ip"):
        return missing
    name = f"vifplug-probe-{os.getpid()}"
    try:
        for command in (("netns", "add", name), ("-n", name, "link", "set", "dev", "lo", "up")):
            done = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
            if done.returncode:
                message = done.stderr.strip().rpartition(": ")[2]
                return f"no network namespaces: ip {' '.join(command).replace(name, 'NAME')} says: {message}"
        return ""
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _library() -> str:
    try:
        ctypes.CDLL("libvirt.so.0")
    except OSError as error:
        return f"no library of libvirt: {error} (Debian: libvirt0)"
    return ""


@functools.cache
def _mounts() -> str:
    """Make one in a mount namespace, which removes it."""
    if missing := _user() or _programs("unshare", "mount"):
        return missing
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/tmp"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"nothing can be mounted: {done.stderr.strip().rpartition(': ')[2]}" if done.returncode else ""


#: requirements, each with its check, which returns what is missing or an empty string
NEEDS: Mapping[str, Callable[[], str]] = {
    "root": _root,
    "namespaces": _namespaces,
    "mounts": _mounts,
    "tun": _tun,
    "openvswitch": lambda: _programs(
        "ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-appctl", file=OVS_SCHEMA
    ),
    "ovn": lambda: _programs(
        "ovn-northd", "ovn-controller", "ovn-nbctl", "ovn-sbctl", file=OVN_SCHEMAS / "ovn-sb.ovsschema"
    ),
    "libvirt": lambda: _programs("libvirtd", "virsh", "unshare", "nsenter", file=Path("/etc/libvirt")),
    "libvirt library": _library,
    "qemu": lambda: _programs("qemu-system-x86_64"),
    "schemas": lambda: "" if (SCHEMAS / "domaincommon.rng").exists() else f"no schemas in {SCHEMAS} (Debian: libvirt0)",
}
