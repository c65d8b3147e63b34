"""Taps, created by ioctl on /dev/net/tun: rtnetlink cannot create them (Documentation/networking/tuntap.rst)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Iterator

from vifplug import errors

# linux/if_tun.h
TUNSETIFF, TUNSETPERSIST, TUNSETOWNER, TUNSETGROUP = 0x400454CA, 0x400454CB, 0x400454CC, 0x400454CE
IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR, IFF_TUN_EXCL = 0x0002, 0x0100, 0x1000, 0x4000, 0x8000
TYPE_TAP = 2  # IFLA_TUN_TYPE: IFF_TUN is 1

_DEVICE = "/dev/net/tun"
_IFREQ = struct.Struct("16sH22x")  # struct ifreq: name, flags


@contextlib.contextmanager
def opened(name: str, *, multi_queue: bool) -> Iterator[int]:
    """Create a tap and yield its open descriptor. On exit the tap is removed, unless `persist` was called.

    A failure before `persist`, even a kill signal, therefore leaves no tap behind.
    Equivalent to: ip tuntap add dev NAME mode tap vnet_hdr [multi_queue]
    """
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL | (IFF_MULTI_QUEUE if multi_queue else 0)
    descriptor = _open(name)
    try:
        _ioctl(descriptor, TUNSETIFF, _IFREQ.pack(name.encode(), flags), name)
        yield descriptor
    finally:
        os.close(descriptor)


def give(descriptor: int, name: str, *, user: int, group: int | None) -> None:
    """Let a user, or a group as well, open the tap. Any local user may open one without (drivers/net/tun.c,
    tun_not_capable).
    """
    _ioctl(descriptor, TUNSETOWNER, user, name)
    if group is not None:
        _ioctl(descriptor, TUNSETGROUP, group, name)


def persist(descriptor: int, name: str) -> None:
    """Let the tap outlive its descriptor."""
    _ioctl(descriptor, TUNSETPERSIST, 1, name)


def examine() -> None:
    """Raise NotPermitted or KernelLacks if this process can make no tap."""
    os.close(_open("devices"))


def _open(name: str) -> int:
    try:
        return os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError as error:
        raise errors.NotPermitted(
            f"tap {name}: could not open {_DEVICE}: {error.strerror}; allow this user to read and write it, or, if a "
            "container's device cgroup forbids it, allow device 10:200 there",
            path=_DEVICE,
        ) from error
    except OSError as error:
        raise errors.KernelLacks(
            f"tap {name}: could not open {_DEVICE}: {error.strerror}; load the module tun, or make the device "
            "available in this container",
            path=_DEVICE,
        ) from error


def _ioctl(descriptor: int, request: int, argument: int | bytes, name: str) -> None:
    try:
        # Python takes a signed int only; the kernel reads the same 32 bits as uid_t
        signed = argument - 2**32 if isinstance(argument, int) and argument >= 2**31 else argument
        fcntl.ioctl(descriptor, request, signed)
    except OSError as error:
        message = f"tap {name}: could not create it: {error.strerror}"
        if error.errno == errno.EPERM:
            raise errors.NotPermitted(f"{message}; run with CAP_NET_ADMIN in this network namespace") from error
        if error.errno in (errno.EBUSY, errno.EEXIST, errno.EINVAL):
            hint = "a device of that name exists; choose another target, or remove it"
            raise errors.Conflict(f"{message}; {hint}") from error
        raise errors.StepFailed(message) from error
