"""One client on a private host of its own, which `verbs` starts: it takes requests on stdin, and answers on stdout.

    python worker.py CLIENT PORTS REAL

A line is a JSON object: {"form": "ovs", "count": 20, "batch": false, "measure": "time"}. The answer has, for each verb,
the milliseconds of processor time and of wall time of all VIFs; with "calls", the calls of Python functions by room;
with "marks", nothing, but who traces the system calls sees the verb's name before and after.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import itertools
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from standin import Floor, fill, instant_vswitchd

from vifplug import VIF, Instance, VIFDriver, conf
from vifplug.testing import netns
from vifplug.testing.ovs import PrivateOvs

OVS = {"type": "bridge", "source": {"bridge": "br0"}, "virtualport": {"type": "openvswitch"}, "vlan": 7, "mtu": 1450}
FORMS: dict[str, dict[str, Any]] = {
    "ovs": OVS,
    "linux": {"type": "bridge", "source": {"bridge": "lbr0"}, "mtu": 1450, "port": {"isolated": True}},
    "ethernet": {"type": "ethernet", "mtu": 1450},
    "hybrid": {**OVS, "source": {"bridge": "br0", "hybrid": True}},
    "macvtap": {"type": "direct", "source": {"dev": "up0"}, "tap_owner": "vifplug"},
}
GUEST = Instance(uuid="11111111-2222-4333-8444-555555555555", name="web")

Work = Callable[[], object]


def document(form: str, number: int) -> dict[str, Any]:
    mac = f"52:54:{number >> 24 & 255:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    return {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{form} {number}")), "mac": mac, **FORMS[form]}


def tap(name: str, *, keep: bool = True) -> None:
    """Create or delete a tap (linux/if_tun.h: TUNSETIFF, TUNSETPERSIST; IFF_TAP | IFF_NO_PI)."""
    with open("/dev/net/tun", "r+b", buffering=0) as file:
        fcntl.ioctl(file, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1002))
        fcntl.ioctl(file, 0x400454CB, int(keep))


# -- the clients: each yields its verbs, in order ----------------------------------------------------------------------


class Vifplug:
    def __init__(self, ovs: PrivateOvs, directory: Path) -> None:
        config = directory / "vifplug.conf"
        switch = f"connection = {ovs.connection}\ndatapath_type = netdev\ntimeout = 60\n"
        config.write_text(f"[vifplug]\nstate_path = {directory}/state\n[vifplug_ovs]\n{switch}")
        self.driver = VIFDriver(conf.load([str(config)]))

    def verbs(self, form: str, numbers: Sequence[int], *, batch: bool) -> Iterator[tuple[str, Work]]:
        driver = self.driver
        vifs = [VIF.from_json(document(form, number)) for number in numbers]
        many = [(vif, GUEST) for vif in vifs]

        def plug() -> None:
            if batch:
                driver.plug_many(many)
            else:
                for each in many:
                    driver.plug(*each)

        yield "plug", plug
        yield "again", plug
        if not batch:
            yield "check one", lambda: [driver.check(vif.id) for vif in vifs]
        yield "check", driver.check
        yield "list", lambda: list(driver.list())
        together = getattr(driver, "unplug_many", None) if batch else None
        ids = [vif.id for vif in vifs]
        yield "unplug", (lambda: together(ids)) if together else lambda: [driver.unplug(each) for each in ids]


class OsVif:
    """os-vif as nova uses it: the tap is nova's, or libvirt's."""

    def __init__(self, ovs: PrivateOvs, directory: Path) -> None:
        import os_vif
        from os_vif import objects
        from oslo_config import cfg
        from vif_plug_ovs import privsep
        from vif_plug_ovs.ovs import OvsPlugin

        cfg.CONF([], project="os-vif", default_config_files=[])
        cfg.CONF.register_opts(OvsPlugin.CONFIG_OPTS, group="os_vif_ovs")
        cfg.CONF.set_override("ovsdb_connection", ovs.connection, group="os_vif_ovs")
        os_vif.initialize()
        privsep.vif_plug.set_client_mode(False)  # no daemon of its own: everything is in this process
        objects.register_all()
        self._api, self._objects = os_vif, objects
        self._guest = objects.instance_info.InstanceInfo(uuid=GUEST.uuid, name="web", project_id="p")

    def verbs(self, form: str, numbers: Sequence[int], *, batch: bool) -> Iterator[tuple[str, Work]]:
        if form != "ovs" or batch:
            return
        taps = {f"o{number}": self._vif(f"o{number}", document(form, number)) for number in numbers}

        def plug(make: bool) -> None:
            for name, vif in taps.items():
                if make:
                    tap(name)
                self._api.plug(vif, self._guest)

        def unplug() -> None:
            for name, vif in taps.items():
                self._api.unplug(vif, self._guest)
                tap(name, keep=False)

        yield "plug", lambda: plug(True)
        yield "again", lambda: plug(False)
        yield "unplug", unplug

    def _vif(self, name: str, asked: dict[str, Any]) -> Any:
        vif = self._objects.vif
        profile = vif.VIFPortProfileOpenVSwitch(interface_id=asked["id"], datapath_type="netdev", create_port=True)
        network = self._objects.network.Network(id=asked["id"], bridge="br0", mtu=1450)
        names = {"id": asked["id"], "address": asked["mac"], "vif_name": name, "bridge_name": "br0"}
        return vif.VIFOpenVSwitch(**names, plugin="ovs", network=network, port_profile=profile)


class Commands:
    """ip and ovs-vsctl, as scripts use them."""

    def __init__(self, ovs: PrivateOvs, directory: Path) -> None:
        self._ovs = ovs

    def verbs(self, form: str, numbers: Sequence[int], *, batch: bool) -> Iterator[tuple[str, Work]]:
        if form == "ovs" and not batch:
            yield "plug", lambda: [self._plug(f"c{each}", document(form, each)) for each in numbers]
            yield "unplug", lambda: [self._unplug(f"c{each}") for each in numbers]

    def _plug(self, name: str, asked: dict[str, Any]) -> None:
        subprocess.run(["ip", "tuntap", "add", name, "mode", "tap"], check=True)
        subprocess.run(["ip", "link", "set", name, "mtu", "1450", "up"], check=True)
        ids = (f"external_ids:iface-id={asked['id']}", f'external_ids:attached-mac="{asked["mac"]}"')
        self._ovs.ctl("--may-exist", "add-port", "br0", name, "tag=7", "--", "set", "Interface", name, *ids)

    def _unplug(self, name: str) -> None:
        self._ovs.ctl("--if-exists", "del-port", "br0", name)
        subprocess.run(["ip", "link", "delete", "dev", name], check=True)


class Raw:
    """The floor: a tap by ioctl, one transaction, and the wait. Nothing is looked at, recorded or undone."""

    def __init__(self, ovs: PrivateOvs, directory: Path) -> None:
        self._floor, self._socket = Floor(str(ovs.socket), "br0"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def verbs(self, form: str, numbers: Sequence[int], *, batch: bool) -> Iterator[tuple[str, Work]]:
        if form == "ovs" and not batch:
            yield "plug", lambda: [self._plug(f"r{each}", document(form, each)) for each in numbers]
            yield "unplug", lambda: [self._unplug(f"r{each}") for each in numbers]

    def _plug(self, name: str, asked: dict[str, Any]) -> None:
        tap(name)
        fcntl.ioctl(self._socket, 0x8922, struct.pack("16si20x", name.encode(), 1450))  # SIOCSIFMTU
        fcntl.ioctl(self._socket, 0x8914, struct.pack("16sh22x", name.encode(), 1))  # SIOCSIFFLAGS, IFF_UP
        self._floor.plug(name, {"iface-id": asked["id"], "attached-mac": asked["mac"]})

    def _unplug(self, name: str) -> None:
        self._floor.unplug(name)
        tap(name, keep=False)


CLIENTS: dict[str, Callable[[PrivateOvs, Path], Any]] = {
    "vifplug": Vifplug,
    "os-vif": OsVif,
    "commands": Commands,
    "raw": Raw,
}


# -- measuring ---------------------------------------------------------------------------------------------------------


def processor() -> float:
    """Seconds of processor time of this process and of those that it waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def timed(verb: str, work: Work) -> dict[str, float]:
    gc.collect()
    used, begun = processor(), time.perf_counter()
    work()
    return {"cpu": (processor() - used) * 1000, "wall": (time.perf_counter() - begun) * 1000}


def called(verb: str, work: Work) -> dict[str, int]:
    """Count the calls of Python functions by room of vifplug; those of others are ``outside``."""
    counts: Counter[str] = Counter()
    rooms: dict[str, str] = {}

    def count(frame: Any, event: str, argument: object) -> None:
        if event == "call":
            name = frame.f_code.co_filename
            counts[rooms.get(name) or rooms.setdefault(name, _room(name))] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return dict(counts)


def marked(verb: str, work: Work) -> None:
    while threading.active_count() > 1:  # of the unplug before: they wait for the kernel
        time.sleep(0.01)
    with contextlib.suppress(FileNotFoundError):
        os.stat(f"/vifplug-begin/{verb}")
    work()
    with contextlib.suppress(FileNotFoundError):
        os.stat(f"/vifplug-end/{verb}")


def _room(file: str) -> str:
    inside = file.rpartition("/vifplug/")[2].split("/") if "/vifplug/" in file and "-packages" not in file else []
    return "/".join(inside[:-1][:2]) or ("vifplug" if inside else "outside")


MEASURES: dict[str, Callable[[str, Work], Any]] = {"time": timed, "calls": called, "marks": marked}


@contextlib.contextmanager
def stage(ports: int, *, real: bool, delay: float = 0.0) -> Iterator[tuple[PrivateOvs, Path]]:
    """Provide a namespace with a switch, a Linux bridge and a NIC, and enter it."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(netns.named())[0]
        ovs = stack.enter_context(PrivateOvs(netns=name, vswitchd=real))
        stack.enter_context(netns.inside(name))
        ovs.ctl(*([] if real else ["--no-wait"]), "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        fill(str(ovs.socket), "br0", ports)
        if not real:
            stack.enter_context(instant_vswitchd(str(ovs.socket), delay))
        for words in ("add lbr0 up type bridge", "add up0 up type veth peer name up1", "set up1 up"):
            netns.ip("link", *words.split())
        yield ovs, Path(stack.enter_context(tempfile.TemporaryDirectory()))


def main() -> None:
    client, ports, real = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "real"
    with os.fdopen(os.dup(1), "w") as answers, stage(ports, real=real) as (ovs, directory):
        os.dup2(2, 1)  # what the client prints is no answer
        asked, numbers = CLIENTS[client](ovs, directory), itertools.count(1)
        print("{}", file=answers, flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            measure = MEASURES[request["measure"]]
            some = list(itertools.islice(numbers, request["count"]))
            works = asked.verbs(request["form"], some, batch=request["batch"])
            print(json.dumps({verb: measure(verb, work) for verb, work in works}), file=answers, flush=True)


if __name__ == "__main__":
    main()
