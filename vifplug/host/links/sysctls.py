"""Per-device sysctls, ``family/key`` under /proc/sys/net, in the network namespace of the calling thread."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vifplug import errors
from vifplug.model.codec import FrozenMap

_NET = "/proc/sys/net"
#: exists if the kernel has IPv6
_IPV6 = "/proc/net/if_inet6"
_LONGEST = 4096  # bytes of a value


def read(device: str, desired: Mapping[str, str]) -> FrozenMap[str, str]:
    """Return the values of the keys in ``desired``. On a device without IPv6, an ``ipv6/`` key has its desired value.

    Equivalent to: sysctl net.FAMILY.conf.DEVICE.KEY

    Raises:
        NotPermitted, Unavailable: a key cannot be read.
    """
    found: dict[str, str] = {}
    for key, value in desired.items():
        try:
            found[key] = value if _moot(device, key) else _read(_path(device, key))
        except FileNotFoundError:
            continue
        except OSError as error:
            message = f"{device}: could not read {_path(device, key)}: {error.strerror}"
            kind = errors.NotPermitted if isinstance(error, PermissionError) else errors.Unavailable
            raise kind(f"{message}; check what this process may read, and its open files") from error
    return FrozenMap(found)


def write(device: str, values: Mapping[str, str]) -> None:
    """Set each key. Equivalent to: sysctl -w net.FAMILY.conf.DEVICE.KEY=VALUE

    Raises NotPermitted, KernelLacks (there is no such key) or StepFailed (the value is refused).
    """
    for key, value in values.items():
        if not _moot(device, key):
            _write(device, key, value)


def _read(path: str) -> str:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, _LONGEST).decode().strip()
    finally:
        os.close(file)


def _write(device: str, key: str, value: str) -> None:
    path = _path(device, key)
    with errors.about(path=path):
        _write_file(device, path, value)


def _write_file(device: str, path: str, value: str) -> None:
    file = _opened(device, path, value)
    try:
        os.write(file, value.encode())
    except OSError as error:
        raise errors.StepFailed(f"{device}: could not write {value} to {path}: {error.strerror}") from error
    finally:
        os.close(file)


def _opened(device: str, path: str, value: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # without O_CREAT: no key that does not exist is made
    except PermissionError:
        raise errors.NotPermitted(f"{device}: could not write {value} to {path}; run with CAP_NET_ADMIN") from None
    except FileNotFoundError:
        message = f"{device}: expected {path} to be {value}, got no such key in this kernel, or {_NET} is masked"
        raise errors.KernelLacks(f"{message}: let this process see it (ProtectKernelTunables, a container)") from None
    except OSError as error:
        raise errors.StepFailed(f"{device}: could not write {value} to {path}: {error.strerror}") from error


def _path(device: str, key: str) -> str:
    family, _, name = key.partition("/")
    return f"{_NET}/{family}/conf/{device}/{name}"


def examine() -> None:
    """Raise NotPermitted or KernelLacks if this process cannot see or write the sysctls of devices."""
    path = _path("lo", "ipv6/disable_ipv6")
    if not _moot("lo", "ipv6/disable_ipv6"):
        with errors.about(path=path):
            os.close(_opened("lo", path, "1"))


def _moot(device: str, key: str) -> bool:
    """Return whether a device has no IPv6: the kernel has none, or the MTU is under 1280 (net/ipv6/addrconf.c).

    A kernel with IPv6 whose sysctls this process does not see is no such case.
    """
    if not key.startswith("ipv6/") or os.path.exists(f"{_NET}/ipv6/conf/{device}"):
        return False
    return os.path.exists(f"{_NET}/ipv6/conf/all") or not os.path.exists(_IPV6)
