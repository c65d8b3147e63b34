"""Link numbers for a private host, so that its macvtaps do not collide with those of other hosts.

    with macvtaps.claimed() as first, PrivateHost() as host:
        macvtaps.skip(host.namespace, first)

The character device of a macvtap is /dev/tap<number of its link>, and all network namespaces share /dev: of two
macvtaps with the same number, the second has no device, or its guest gets that of the first.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from vifplug.testing import MissingRequirement, netns

#: links that a host may make; the first block begins where a host that claims none does not come
_BLOCK, _FIRST, END = 200, 400, 4000
_SKIPPED = 0x76696670  # a group of links that no other link is in


@contextlib.contextmanager
def claimed() -> Iterator[int]:
    """Reserve 200 link numbers while the ``with`` lasts, and give the first.

    Call it in the machine's own network namespace, where reservations are marked.

    Raises:
        MissingRequirement: all numbers are in use.
    """
    for first in range(_FIRST, END, _BLOCK):
        with socket.socket(socket.AF_UNIX) as claim:
            if _is_bound(claim, first) and not any(_node(each).exists() for each in range(first, first + _BLOCK)):
                yield first
                return
    raise MissingRequirement(f"no numbers for macvtaps: others use {_node(_FIRST)} to {_node(END - 1)}")


def skip(namespace: str, first: int) -> None:
    """Make the next link of a namespace get the number ``first``, or one soon after it."""
    pairs = [f"link add skip{each} group {_SKIPPED} type veth\n" for each in range(first // 2)]
    batch = ["ip", "-n", namespace, "-batch", "-"]
    subprocess.run(batch, input="".join(pairs), text=True, capture_output=True, check=True)
    netns.ip("-n", namespace, "link", "delete", "group", str(_SKIPPED))


def _is_bound(claim: socket.socket, first: int) -> bool:
    try:
        claim.bind(f"\0vifplug-links-{first}")  # an abstract name: nothing to tidy up (unix(7))
    except OSError:
        return False
    return True


def _node(number: int) -> Path:
    return Path(f"/dev/tap{number}")
