"""Numbers for the links of a private host, such that its macvtaps are in no other's way.

    with macvtaps.claimed() as first, PrivateHost() as host:
        macvtaps.skip(host.namespace, first)

A macvtap's character device is /dev/tap<number>, after its link, and /dev is the same in all network namespaces: of
two macvtaps with one number the second has no device, or its guest gets that of the first.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from vifplug.testing import Lacking, netns

#: links that a host may make; the first block begins where a host that claims none does not come
_BLOCK, _FIRST, _END = 200, 400, 4000
_SKIPPED = 0x76696670  # a group of links that no other link is in


@contextlib.contextmanager
def claimed() -> Iterator[int]:
    """The first of 200 numbers that are nobody else's as long as the ``with`` lasts. Raises Lacking.

    To be called in the network namespace that all share: it is there that a number is marked as taken.
    """
    for first in range(_FIRST, _END, _BLOCK):
        with socket.socket(socket.AF_UNIX) as claim:
            if _is_bound(claim, first) and not any(_node(each).exists() for each in range(first, first + _BLOCK)):
                yield first
                return
    raise Lacking(f"no numbers for macvtaps: others have {_node(_FIRST)} to {_node(_END - 1)}")


def skip(namespace: str, first: int) -> None:
    """Have the next link of a namespace get the number ``first``, or one soon after it."""
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
