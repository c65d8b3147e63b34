"""What grows with the hosts of an OVN, and that a plug does not.

Each host is real: a network namespace with its own ovsdb-server, ovs-vswitchd and ovn-controller, a tunnel to each of
the others, and a port on the one logical switch, so that all of them have to know of each port. Run as root:
``python benchmarks/ovn_hosts.py [--hosts 1 10 25 50] [--samples 30]``. Each host takes 20 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vifplug import VIF, VIFDriver, conf
from vifplug.host.ovs.settings import WAITS
from vifplug.testing.host import PrivateHost
from vifplug.testing.ovn import CONTROLLER, Chassis, PortBinding, PrivateOvn

SWITCH = "everywhere"
#: each in the unit that its name ends in; a count has none
COLUMNS = (
    *(f"plug, wait {wait}: ms" for wait in WAITS),
    *(f"vifplug's own processor time, wait {wait}: ms" for wait in WAITS),
    "from plug to Port_Binding.up: ms",
    "ovn-controller here, processor time a plug: ms",
    "ovn-controller there, processor time a plug: ms",
    "ovn-northd, processor time a plug: ms",
    "ovn-controller here, memory: MB",
    "southbound database: kB",
    "tunnels of a host",
)


@dataclass(frozen=True)
class Cloud:
    """The hosts, which become more."""

    ovn: PrivateOvn
    stack: contextlib.ExitStack
    hosts: list[tuple[PrivateHost, Chassis]]

    def grow(self, count: int) -> None:
        while len(self.hosts) < count:
            name = f"host-{len(self.hosts)}"
            host = self.stack.enter_context(PrivateHost(entered=False, vifplug_ovs={"timeout": 60}))
            self.hosts.append((host, self.stack.enter_context(self.ovn.joined(host, name))))
            vif = self.vif()
            with host.inside():
                host.driver.plug(vif)
            self.ovn.await_binding(vif.id, PortBinding(name, up=True))
        self.ovn.nbctl("--wait=hv", "sync")

    def vif(self) -> VIF:
        """The VIF of a new logical port."""
        vif_id = str(uuid.uuid4())
        mac = "52:54:00:" + ":".join(vif_id[at : at + 2] for at in (0, 2, 4))
        self.ovn.nbctl("--wait=hv", "lsp-add", SWITCH, vif_id, "--", "lsp-set-addresses", vif_id, f"{mac} dynamic")
        document = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
        return VIF.from_json({"id": vif_id, "mac": mac, **document})


def measured(cloud: Cloud, samples: int) -> list[float]:
    """A value for each of COLUMNS."""
    (here, first), (_, last) = cloud.hosts[0], cloud.hosts[-1]
    daemons = [(first, CONTROLLER), (last, CONTROLLER), (cloud.ovn, "ovn-northd")]
    pids = [daemon.pid(server) or 0 for daemon, server in daemons]
    before = [processor_time(pid) for pid in pids]
    plugs = [sample(cloud, here, wait) for _ in range(samples) for wait in WAITS]
    used = [(processor_time(pid) - begun) / len(plugs) for pid, begun in zip(pids, before, strict=True)]
    whole, own, up = zip(*plugs, strict=True)
    until_up = statistics.median(up[len(WAITS) - 1 :: len(WAITS)])
    tunnels = sum(name.startswith("ovn-") for name in here.ports("br-int"))
    return [*by_wait(whole), *by_wait(own), until_up, *used, memory(pids[0]), size(cloud.ovn), tunnels]


def by_wait(values: Sequence[float]) -> list[float]:
    """The median for each kind of wait, of samples that were taken by turns."""
    return [statistics.median(values[at :: len(WAITS)]) for at in range(len(WAITS))]


def sample(cloud: Cloud, host: PrivateHost, wait: str) -> tuple[float, float, float]:
    """One plug and unplug: milliseconds of the plug, of vifplug's own work in it, and until its port is up."""
    vif = cloud.vif()
    with host.inside(), VIFDriver(conf.load([str(host.config)]), wait=wait) as driver:
        driver.unplug(vif.id)  # what is loaded and opened when it is first needed
        begun, working = time.perf_counter(), time.process_time()
        driver.plug(vif)
        plugged, worked = time.perf_counter() - begun, time.process_time() - working
        cloud.ovn.sbctl("wait-until", "Port_Binding", vif.id, "up=true")
        up = time.perf_counter() - begun
        driver.unplug(vif.id)
    cloud.ovn.nbctl("--wait=hv", "lsp-del", vif.id)
    return plugged * 1000, worked * 1000, up * 1000


def processor_time(pid: int) -> float:
    """What all threads of a process have used so far, in milliseconds (schedstat: nanoseconds)."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e6


def memory(pid: int) -> float:
    """The resident memory of a process, in MB."""
    [line] = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def size(ovn: PrivateOvn) -> float:
    """The southbound database without its past, in kB."""
    ovn.run("ovs-appctl", f"--target={ovn.directory / 'sb'}.ctl", "ovsdb-server/compact", "OVN_Southbound")
    return (ovn.directory / "sb.db").stat().st_size / 1024


def report(found: Sequence[tuple[int, Sequence[float]]]) -> Iterable[str]:
    """A line for each column, with the values and how many times the first one the last one is."""
    yield f"{'hosts':50}" + "".join(f"{count:>9}" for count, _ in found) + "    last/first"
    for name, values in zip(COLUMNS, zip(*(values for _, values in found), strict=True), strict=True):
        ratio = f"{values[-1] / values[0]:14.1f}" if values[0] else f"{'':>14}"
        yield f"{name:50}" + "".join(f"{value:9.2f}" for value in values) + ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 10, 25, 50], help="how many, in ascending order")
    parser.add_argument("--samples", type=int, default=30, help="plugs for each kind of wait")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        cloud = Cloud(stack.enter_context(PrivateOvn()), stack, [])
        cloud.ovn.nbctl("ls-add", SWITCH, "--", "set", "Logical_Switch", SWITCH, "other_config:subnet=10.0.0.0/16")
        found = []
        for count in arguments.hosts:
            cloud.grow(count)
            found.append((count, measured(cloud, arguments.samples)))
        print(*report(found), sep="\n")


if __name__ == "__main__":
    main()
