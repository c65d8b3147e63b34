"""Generic netlink (linux/genetlink.h): requests to a family of the kernel, which is found by its name."""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Mapping

from vifplug import errors
from vifplug.host.netlink.attributes import TEXT, attribute, attribute_list
from vifplug.host.netlink.socket import HEADER, NetlinkRefused, RtSocket

_NETLINK_GENERIC = 16  # linux/netlink.h
# linux/genetlink.h
_GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, _CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 0x10, 3, 1, 2

_COMMAND = struct.Struct("=BBxx")  # struct genlmsghdr: command, version


class Genetlink:
    """One family. Thread-safe."""

    def __init__(self, family: str) -> None:
        self._family = family
        self._socket = RtSocket(_NETLINK_GENERIC)

    def ask(self, command: int, texts: Mapping[int, str]) -> dict[int, bytes]:
        """Send a command with these attributes, which are strings, and return the attributes of the answer.

        Raises NetlinkRefused; KernelLacks if the family does not exist: most are in the first network namespace only.
        """
        return self._ask(self._number(), command, texts)

    def close(self) -> None:
        """Close the socket; the next use opens a new one."""
        self._socket.close()

    def _number(self) -> int:
        """Return the family's number. It is looked up each time, because it changes when the module is loaded again."""
        found: dict[int, bytes] = {}
        try:
            found = self._ask(_GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, {_CTRL_ATTR_FAMILY_NAME: self._family})
        except NetlinkRefused as refused:
            if refused.code != errno.ENOENT:
                raise
        if _CTRL_ATTR_FAMILY_ID not in found:
            message = f"netlink family {self._family}: this kernel has none in this network namespace"
            raise errors.KernelLacks(f"{message}; load the module, and run in the host's initial one")
        return number(found[_CTRL_ATTR_FAMILY_ID])

    def _ask(self, family: int, command: int, texts: Mapping[int, str]) -> dict[int, bytes]:
        body = _COMMAND.pack(command, 1) + b"".join(attribute(kind, TEXT.pack(text)) for kind, text in texts.items())
        [reply] = self._socket.exchange([(family, 0, body)])
        if isinstance(reply, NetlinkRefused):
            raise reply
        return dict(attribute_list(reply or b"", HEADER.size + _COMMAND.size))


def number(value: bytes) -> int:
    """Return the number in an attribute: of any size, in the machine's byte order."""
    return int.from_bytes(value, sys.byteorder)
