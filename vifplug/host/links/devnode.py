"""The character device of a macvtap, /dev/tap<ifindex>, and who may open it."""

from __future__ import annotations

import os
from pathlib import Path

from vifplug import errors


def user(device: str, index: int) -> int | None:
    """Return the uid of the node's owner; None if the node does not exist or belongs to another macvtap.

    If /sys shows another network namespace, the node cannot be identified, and is assumed to belong to this macvtap.
    """
    node = Path(f"/dev/tap{index}")
    if not node.exists():
        return None
    found = node.stat()
    return found.st_uid if _number(device, index) in (None, found.st_rdev) else None


def give(device: str, index: int, uid: int) -> None:
    """Let a user open the macvtap. Equivalent to: chown UID /dev/tapINDEX

    Network namespaces share /dev, so two macvtaps with the same index in two namespaces share one
    node. The second macvtap gets none.

    Raises:
        Missing: the node does not exist.
        Conflict: the node belongs to another device.
    """
    node = Path(f"/dev/tap{index}")
    if not node.exists():
        message = f"macvtap {device}: expected {node} to belong to user {uid}, got no such node"
        raise errors.Missing(message, path=str(node))
    if node.stat().st_uid == uid:
        return
    if _number(device, index) != node.stat().st_rdev:
        raise errors.Conflict(
            f"macvtap {device}: expected {node} to belong to user {uid}, got a node that is not known to be this "
            "macvtap's (a macvtap of another network namespace may have taken it, or /sys is another namespace's)",
            path=str(node),
        )
    try:
        os.chown(node, uid, -1)
    except OSError as error:
        raise errors.NotPermitted(
            f"macvtap {device}: could not give {node} to user {uid}: {error.strerror}; run with CAP_CHOWN",
            path=str(node),
        ) from error


def _number(device: str, index: int) -> int | None:
    """Return the macvtap's device number, from /sys of this network namespace; None if /sys does not have it."""
    try:
        major, minor = Path(f"/sys/class/net/{device}/tap{index}/dev").read_text().split(":")
        return os.makedev(int(major), int(minor))
    except (OSError, ValueError):
        return None
