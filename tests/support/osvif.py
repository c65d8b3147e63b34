"""What the tests of os-vif's API share: its objects, real os-vif on a private host, and a look at what either did."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from os_vif import objects

from tests.support.guest import opened
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost

objects.register_all()

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
SHORT = ID[:11]
TAP, QBR, QVO, QVB, VHU = (f"{prefix}{SHORT}" for prefix in ("tap", "qbr", "qvo", "qvb", "vhu"))
MAC = "fa:16:3e:0c:44:d1"
PORT = "0a9b8c7d-6e5f-4a3b-8c2d-1e0f9a8b7c6d"
GUEST = "77777777-aaaa-4bbb-8ccc-dddddddddddd"

#: what a guest's port on Open vSwitch says of itself in os-vif
IDS = {"attached-mac": MAC, "iface-id": PORT, "iface-status": "active", "vm-uuid": GUEST}


def info() -> Any:
    return objects.instance_info.InstanceInfo(uuid=GUEST, name="web-1", project_id="demo")


def network(bridge: str = "br-int", **fields: Any) -> Any:
    return objects.network.Network(id=ID, bridge=bridge, **{"mtu": 1450, **fields})


def profile(**fields: Any) -> Any:
    """A port on Open vSwitch, on a bridge with the userspace datapath."""
    return objects.vif.VIFPortProfileOpenVSwitch(**{"interface_id": PORT, "datapath_type": "netdev", **fields})


def openvswitch(*, bridge: str = "br-int", mtu: int | None = 1450, name: str = TAP, **port: Any) -> Any:
    return _vif("VIFOpenVSwitch", vif_name=name, bridge_name=bridge, network=network(bridge, mtu=mtu), port=port)


def hybrid(*, bridge: str = "br-int", name: str = QBR, mtu: int | None = 1450, **port: Any) -> Any:
    return _vif("VIFBridge", vif_name=TAP, bridge_name=name, network=network(bridge, mtu=mtu), port=port)


def vhostuser(path: str, mode: str, *, bridge: str = "br-int", plugin: str = "ovs", **port: Any) -> Any:
    made = _vif("VIFVHostUser", vif_name=VHU, path=path, mode=mode, network=network(bridge), port=port)
    made.plugin = plugin
    return made


def hostdev(address: str = "0000:81:02.3", *, dev_type: str = "ethernet", plugin: str = "ovs", **port: Any) -> Any:
    made = _vif("VIFHostDevice", dev_address=address, dev_type=dev_type, network=network(), port=port)
    made.plugin = plugin
    return made


def _vif(cls: str, *, port: dict[str, Any], **fields: Any) -> Any:
    fixed = {"id": ID, "address": MAC, "plugin": "ovs", "port_profile": profile(**port)}
    return getattr(objects.vif, cls)(**fixed, **fields)


# -- os-vif itself -----------------------------------------------------------------------------------------------------

#: It runs in a process of its own, in the host's namespace: it has one connection for each process, for life.
_SERVE = """
import json, sys
from oslo_config import cfg
import os_vif
from os_vif.objects import base
from vif_plug_ovs import ovs, privsep
cfg.CONF([], project="osvif", default_config_files=[])
cfg.CONF.register_opts(ovs.OvsPlugin.CONFIG_OPTS, group="os_vif_ovs")
for name, value in (("ovsdb_connection", sys.argv[1]), ("ovs_vsctl_timeout", 10)):
    cfg.CONF.set_override(name, value, group="os_vif_ovs")
os_vif.initialize()
privsep.vif_plug.set_client_mode(False)
for line in sys.stdin:
    told = json.loads(line)
    for name, value in told["options"].items():
        cfg.CONF.set_override(name, value, group="os_vif_ovs")
    vif, info = (base.VersionedObject.obj_from_primitive(told[key]) for key in ("vif", "info"))
    try:
        getattr(os_vif, told["verb"])(vif, info)
        print("done", flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}".replace("\\n", " "), flush=True)
"""


class Native:
    """Real os-vif, its native driver, on a private host."""

    def __init__(self, host: PrivateHost) -> None:
        python = [sys.executable, "-W", "ignore", "-c", _SERVE, host.ovs.connection]
        command = ["ip", "netns", "exec", host.namespace, *python]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def __enter__(self) -> Native:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate(timeout=20)

    def plug(self, vif: Any, **options: Any) -> str:
        """``done``, or os-vif's error; ``options`` are those of [os_vif_ovs], from now on."""
        return self._call("plug", vif, options)

    def unplug(self, vif: Any, **options: Any) -> str:
        return self._call("unplug", vif, options)

    def _call(self, verb: str, vif: Any, options: dict[str, Any]) -> str:
        assert self._process.stdin and self._process.stdout and self._process.stderr
        message = {"verb": verb, "options": options, "vif": vif.obj_to_primitive(), "info": info().obj_to_primitive()}
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip() or self._process.stderr.read()


# -- a guest -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def held(name: str, *, multi_queue: bool = False) -> Iterator[None]:
    """A tap of the namespace that the calling thread is in, which is there, is open, as QEMU has it."""
    descriptor = opened(name, multi_queue=multi_queue)
    try:
        yield
    finally:
        os.close(descriptor)


# -- a host ------------------------------------------------------------------------------------------------------------

_LINK = {"bridge": ("ageing_time", "forward_delay", "stp_state", "mcast_snooping"), "tun": ("multi_queue", "persist")}
_COLUMNS = {
    "QoS": "type,external_ids",
    "Bridge": "name,datapath_type,ports",
    "Port": "name,tag,vlan_mode,trunks,qos",
    "Interface": "name,type,external_ids,options,mtu_request",
}
_SYSCTLS = ("ipv6/disable_ipv6", "ipv4/arp_ignore", "ipv4/arp_announce")


def snapshot(host: PrivateHost) -> dict[str, Any]:
    """Every bridge, port, interface and QoS row, and every device with its settings, under their names."""
    shapers, bridges, ports, interfaces = _rows(host)
    qos = {row["_uuid"]: row for row in shapers}
    on = {port: bridge["name"] for bridge in bridges for port in _members(bridge["ports"])}
    links = json.loads(host.ip("-d", "-j", "link"))
    devices = {}
    for link in links:
        # ovs-vswitchd may remove a device of its own while this reads it
        with netns.inside(host.namespace), contextlib.suppress(FileNotFoundError):
            if link["ifname"] not in ("lo", "ovs-netdev"):
                devices[link["ifname"]] = _device(link)
    return {
        "bridges": {row["name"]: row["datapath_type"] for row in bridges},
        "ports": {row["name"]: _port(row, on, qos) for row in ports},
        "interfaces": {row.pop("name"): _plain(row) for row in interfaces},
        "qos rows": len(qos),
        "devices": devices,
    }


def _rows(host: PrivateHost) -> list[list[dict[str, Any]]]:
    words = " ".join(f"-- --columns=_uuid,{columns} list {table}" for table, columns in _COLUMNS.items())
    message = map(json.loads, host.ovs.ctl("--format=json", *words.split()).splitlines())
    return [[dict(zip(each["headings"], map(_value, row), strict=True)) for row in each["data"]] for each in message]


def _value(value: Any) -> Any:
    """From OVSDB's notation: a map as a dict, a set as a list, a UUID as its text."""
    match value:
        case ["map", pairs]:
            return dict(pairs)
        case ["set", members]:
            return [_value(member) for member in members]
        case ["uuid", text]:
            return text
    return value


def _members(value: Any) -> list[Any]:
    """A set of one is written as its member."""
    return value if isinstance(value, list) else [value]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {column: value for column, value in row.items() if column != "_uuid" and value not in ([], {}, "")}


def _port(row: dict[str, Any], on: dict[str, str], qos: dict[str, Any]) -> dict[str, Any]:
    shaper = _plain(qos[row["qos"]]) if row["qos"] else ""
    return {"bridge": on.get(row["_uuid"]), **_plain({**row, "name": "", "qos": shaper})}


def _device(link: dict[str, Any]) -> dict[str, Any]:
    details = link.get("linkinfo", {})
    kind, data = details.get("info_kind"), details.get("info_data", {})
    message = {name: data[name] for name in _LINK.get(kind, ()) if name in data}
    message |= {"mtu": link["mtu"], "up": "UP" in link["flags"], "promisc": link["promiscuity"] > 0}
    message |= {"mac": link["address"], "kind": kind, "master": link.get("master"), "alias": link.get("ifalias")}
    return message | {key: _sysctl(link["ifname"], key) for key in _SYSCTLS}


def _sysctl(device: str, key: str) -> str:
    family, name = key.split("/")
    return Path(f"/proc/sys/net/{family}/conf/{device}/{name}").read_text().strip()
