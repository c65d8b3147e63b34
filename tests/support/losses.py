"""Pings that go without an answer: all of three of them, or how many while something is done to a guest."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.peers import Peer

INTERVAL = 0.02  # seconds between two pings


@dataclass
class Losses:
    """How many pings were sent, and how many of them were not answered: known when ping(8) has ended.

    What was sent after the last answered one may be on its way, and is not counted.
    """

    sent: int = 0
    lost: int = 0

    def __str__(self) -> str:
        return f"{self.lost} of {self.sent} pings lost, which is {self.lost * INTERVAL:.2f} s"


@contextlib.contextmanager
def counted(peer: Peer, address: str) -> Iterator[Losses]:
    """Ping ``address`` every 20 ms while the block runs; the losses are known when it has ended."""
    losses = Losses()
    command = ["ip", "netns", "exec", peer.namespace, "ping", "-n", "-i", str(INTERVAL), address]
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(command, stdout=said) as ping:
        try:
            yield losses
        finally:
            ping.send_signal(signal.SIGINT)
            ping.wait()
        said.seek(0)
        answered = set(map(int, re.findall(r"bytes from .*icmp_seq=(\d+)", said.read())))
    losses.sent = max(answered, default=0)
    losses.lost = losses.sent - len(answered)


def is_cut_off(peer: Peer, address: str) -> bool:
    """Whether none of three pings is answered."""
    return peer.start("ping", "-c", "3", "-i", "0.2", "-W", "1", address).wait() != 0
