"""Those whom guests talk to, or must not: each has a network namespace, and a wire that ends on the host."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vifplug.testing import needs, netns
from vifplug.testing.host import PrivateHost

MTU = 9000  # of peers and their wires: what is lost is lost to the MTU of a guest's device


@dataclass(frozen=True)
class Peer:
    """``name`` is that of the wire's end on the host."""

    name: str
    namespace: str
    address: str

    def reaches(self, address: str, *options: str) -> bool:
        """Whether a ping with these options of ping(8) is answered within ten attempts."""
        return any(self.start("ping", "-c", "1", "-W", "1", *options, address).wait() == 0 for _ in range(10))

    @contextlib.contextmanager
    def stream(self, address: str) -> Iterator[Stream]:
        """Pings of an address, fifty a second, until the ``with`` ends."""
        command = ("ip", "netns", "exec", self.namespace, "ping", "-n", "-i", "0.02", "-w", "120", address)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Stream(process)
            finally:
                process.kill()

    def start(self, *command: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """A command in its namespace; the caller waits for its end."""
        words = ("ip", "netns", "exec", self.namespace, *command)
        return subprocess.Popen(words, stdout=stdout, stderr=subprocess.DEVNULL)


class Stream:
    """Pings on their way. ``lost`` counts those that were not answered though a later one was."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.answered, self.lost = 0, 0

    def await_answers(self, count: int = 25) -> None:
        """Wait for so many more answers."""
        assert self._process.stdout
        while count:
            line = self._process.stdout.readline()
            assert line, f"only {self.answered} pings were answered in two minutes"
            if found := re.search(r"icmp_seq=(\d+) ttl=", line):
                self.answered, count = self.answered + 1, count - 1
                self.lost = int(found[1]) - self.answered


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
