"""The character device of a macvtap, /dev/tap<ifindex>, and who may open it."""

from __future__ import annotations

import os
from pathlib import Path

from vifplug import errors


def user(device: str, index: int) -> int | None:
    """The numeric owner of the node; None where there is no node, or where it is another macvtap's.

    Where /sys is another network namespace's and can't tell whose the node is, it is believed to be this one's.
    """
    node = Path(f"/dev/tap{index}")
    if not node.exists():
        return None
    found = node.stat()
    return found.st_uid if _number(device, index) in (None, found.st_rdev) else None


def give(device: str, index: int, uid: int) -> None:
    """Let a user open the macvtap. Equivalent to: chown UID /dev/tapINDEX

    Raises Missing where there is no node, and Conflict where the node is another device's: /dev is shared between
    network namespaces, so two macvtaps of the same index in two namespaces want the same node, and the second has
    none.
    """
    node = Path(f"/dev/tap{index}")
    if not node.exists():
        raise errors.Missing(f"macvtap {device}: expected {node} to belong to user {uid}, got no such node")
    if node.stat().st_uid == uid:
        return
    if _number(device, index) != node.stat().st_rdev:
        raise errors.Conflict(
            f"macvtap {device}: expected {node} to belong to user {uid}, got a node that is not known to be this "
            "macvtap's (a macvtap of another network namespace may have taken it, or /sys is another namespace's)"
        )
    try:
        os.chown(node, uid, -1)
    except OSError as error:
        raise errors.NotPermitted(f"macvtap {device}: could not give {node} to user {uid}: {error.strerror}") from error


def _number(device: str, index: int) -> int | None:
    """The device number that the macvtap has, from /sys of this network namespace."""
    try:
        major, minor = Path(f"/sys/class/net/{device}/tap{index}/dev").read_text().split(":")
    except OSError:
        return None
    return os.makedev(int(major), int(minor))
