"""Those whom guests talk to, or must not: each has a network namespace, and a wire that ends on the host."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.support.patience import becomes
from vifplug.testing import needs, netns
from vifplug.testing.host import PrivateHost

MTU = 9000  # of peers and their wires: what is lost is lost to the MTU of a guest's device
INTERVAL = 0.02  # seconds between two pings of a stream


@dataclass(frozen=True)
class Peer:
    """``name`` is that of the wire's end on the host."""

    name: str
    namespace: str
    address: str

    def reaches(self, address: str, *options: str) -> bool:
        """Whether a ping with these options of ping(8) is answered within ten attempts."""
        return any(self.start("ping", "-c", "1", "-W", "1", *options, address).wait() == 0 for _ in range(10))

    def is_cut_off(self, address: str) -> bool:
        """Whether none of three pings is answered."""
        return self.start("ping", "-c", "3", "-i", "0.2", "-W", "1", address).wait() != 0

    @contextlib.contextmanager
    def stream(self, address: str) -> Iterator[Stream]:
        """Pings of an address every 20 ms, until the ``with`` ends."""
        with tempfile.TemporaryFile() as said:
            process = self.start("ping", "-n", "-i", str(INTERVAL), address, stdout=said.fileno())
            stream = Stream(said.fileno())
            try:
                yield stream
            finally:
                process.send_signal(signal.SIGINT)
                process.wait()
                stream.read()

    def start(self, *command: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """A command in its namespace; the caller waits for its end."""
        words = ("ip", "netns", "exec", self.namespace, *command)
        return subprocess.Popen(words, stdout=stdout, stderr=subprocess.DEVNULL)


class Stream:
    """Pings on their way. ``answered`` are the numbers of those that had an answer when it was last read.

    What was sent after the last answered one may be on its way, and does not count.
    """

    def __init__(self, said: int) -> None:
        """``said``: the descriptor of the file that ping(8) writes to."""
        self._said = said
        self.answered: set[int] = set()

    @property
    def sent(self) -> int:
        return max(self.answered, default=0)

    @property
    def lost(self) -> int:
        return self.sent - len(self.answered)

    def __str__(self) -> str:
        return f"{self.lost} of {self.sent} pings lost, which is {self.lost * INTERVAL:.2f} s"

    def await_answers(self, count: int = 25) -> None:
        """Wait for so many more answers."""
        self.read()
        before = len(self.answered)
        assert becomes(lambda: self.read() >= before + count, 120), f"only {len(self.answered)} pings were answered"

    def read(self) -> int:
        """Take in what ping has said until now; the number of answers."""
        said = os.pread(self._said, os.fstat(self._said).st_size, 0)  # where ping writes stays as it is
        self.answered = set(map(int, re.findall(rb"bytes from .*icmp_seq=(\d+)", said)))
        return len(self.answered)


@contextlib.contextmanager
def peer(host: PrivateHost, name: str, number: int, on: str | None = None) -> Iterator[Peer]:
    """A peer with the address 10.0.0.``number``; its wire's end is a port of the Linux bridge ``on``, if given."""
    needs.require("ping")
    with netns.named() as [namespace]:
        host.ip("link", "add", name, "mtu", str(MTU), "type", "veth", "peer", "name", "eth0", "netns", namespace)
        address = f"10.0.0.{number}"
        for words in (f"link set dev eth0 mtu {MTU} up", f"address add {address}/24 dev eth0"):
            netns.ip("-n", namespace, *words.split())
        host.ip("link", "set", "dev", name, *(("master", on) if on else ()), "up")
        yield Peer(name, namespace, address)


def reached(peers: Iterable[Peer], addresses: Iterable[str]) -> Mapping[str, set[str]]:
    """By the name of each peer the addresses that answer it: one of two pings. All of them are asked at once."""
    ping = "ping -n -c 2 -i 0.1 -W 1 $each >/dev/null && echo $each"
    script = f"for each in {' '.join(addresses)}; do ({ping}) & done; wait"
    running = {each.name: each.start("sh", "-c", script, stdout=subprocess.PIPE) for each in peers}
    return {name: set(process.communicate()[0].decode().split()) for name, process in running.items()}


def addressed(peers: Iterable[Peer], networks: Iterable[str]) -> None:
    """Have each peer in IP networks of 24 bits, such as ``10.1.0``, with the last part of its address in each."""
    for each in peers:
        last = each.address.rpartition(".")[2]
        lines = "".join(f"address add {network}.{last}/24 dev eth0\n" for network in networks)
        command = ["ip", "-n", each.namespace, "-batch", "-"]
        subprocess.run(command, input=lines, text=True, capture_output=True, check=True)
