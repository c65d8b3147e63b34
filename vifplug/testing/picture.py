"""A picture of a whole private host, to compare what two ways of getting there left: equal texts are equal hosts.

OVSDB's tables, links with all their settings, VLANs of bridge ports, qdiscs, sysctls of devices, files of the state
directory and sockets, and the record. What the kernel, Open vSwitch or the clock choose at random is left out: indexes,
uuids, statistics, times.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from vifplug.testing import netns
from vifplug.testing.host import PrivateHost

#: what ovs-vswitchd writes by itself, and what changes by itself (vswitch.ovsschema)
_TABLES = {
    "Bridge": "name ports datapath_type external_ids other_config fail_mode protocols mcast_snooping_enable",
    "Port": "name interfaces tag trunks vlan_mode cvlans qos external_ids other_config bond_mode protected",
    "Interface": "name type options external_ids other_config mtu_request mac ingress_policing_rate "
    "ingress_policing_burst lldp",
    "QoS": "type queues other_config external_ids",
    "Queue": "other_config external_ids dscp",
    "Mirror": "name external_ids",
}
_LINK = "ifname mtu master link ifalias group linkmode promiscuity txqlen vfinfo_list"
_TIMED = {"hello_timer", "tcn_timer", "topology_change_timer", "gc_timer", "root_id", "bridge_id", "designated_root"}
_TIMED |= {"designated_bridge", "forward_delay_timer", "hold_timer", "message_age_timer", "root_port", "root_path_cost"}
_TIMED |= {"topology_change", "topology_change_detected", "no", "id", "state", "designated_port"}
_SYSCTLS = ("ipv6/conf/{}/disable_ipv6", "ipv6/conf/{}/accept_ra", "ipv4/conf/{}/arp_ignore", "ipv4/conf/{}/proxy_arp")
_PORT = ("isolated", "learning", "unicast_flood", "hairpin_mode", "neigh_suppress", "proxy_arp", "multicast_flood")
_EMPTY: tuple[Any, ...] = ("", ["set", []], ["map", []], {}, None)
#: indexes and random numbers in the record's JSON
_RANDOM = re.compile(r'"(ifindex|index|boot|namespace|changed_at|generation)": ?("[^"]*"|[^,}]*)')


def take(host: PrivateHost, random: Collection[str] = ()) -> tuple[str, ...]:
    """Return the picture of a host: a sorted line for each thing.

    Args:
        host: the host.
        random: the names of links whose address the kernel or Open vSwitch chooses.
    """
    with netns.inside(host.namespace):
        lines = [*_rows(host), *_links(random), *_vlans(), *_files(host), *_record(host)]
    return tuple(sorted(lines))


def differences(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Return the lines that one picture has and the other has not: ``-`` before, ``+`` after."""
    one, two = set(before), set(after)
    return [f"- {each}" for each in sorted(one - two)] + [f"+ {each}" for each in sorted(two - one)]


def _rows(host: PrivateHost) -> Iterator[str]:
    selects = [{"op": "select", "table": name, "where": []} for name in _TABLES]
    question = {"method": "transact", "params": ["Open_vSwitch", *selects], "id": 1}
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(10)
        server.connect(str(host.ovs.socket))
        server.sendall(json.dumps(question).encode())
        found, text = None, b""
        while found is None:
            text += server.recv(1 << 16)
            with contextlib.suppress(ValueError):
                found = json.loads(text)["result"]
    tables = {name: each["rows"] for name, each in zip(_TABLES, found, strict=True)}
    names = {row["_uuid"][1]: row.get("name", name) for name, rows in tables.items() for row in rows}
    for name, rows in tables.items():
        for row in rows:
            kept = {column: _named(row[column], names) for column in _TABLES[name].split() if column in row}
            there = {key: each for key, each in kept.items() if each not in _EMPTY}
            yield f"{name} {json.dumps(there, sort_keys=True)}"


def _named(value: Any, names: dict[str, str]) -> Any:
    match value:
        case ["uuid", text]:
            return names.get(text, "a row that does not exist")
        case ["set", members]:
            return ["set", sorted((_named(each, names) for each in members), key=str)]
        case ["map", pairs]:
            return {str(key): _named(each, names) for key, each in pairs}
    return value


def addresses(host: PrivateHost) -> dict[str, str]:
    """Return the address of each link, by name."""
    return {each["ifname"]: each["address"] for each in json.loads(host.ip("-j", "link"))}


def _links(random: Collection[str]) -> Iterator[str]:
    qdiscs: dict[str, list[str]] = {}
    for each in json.loads(netns.run("tc", "-j", "qdisc") or "[]"):
        qdiscs.setdefault(each["dev"], []).append(f"{each['kind']} {each.get('parent', 'root')}")
    for link in json.loads(netns.ip("-d", "-j", "link")):
        name = link["ifname"]
        if name == "ovs-netdev":
            continue
        about = link.get("linkinfo", {})
        kept = {key: link[key] for key in _LINK.split() if key in link}
        kept["up"], kept["kind"] = "UP" in link["flags"], about.get("info_kind")
        kept["port"] = {key: about.get("info_slave_data", {}).get(key) for key in _PORT}
        kept["data"] = {key: each for key, each in about.get("info_data", {}).items() if key not in _TIMED}
        kept["mac"] = "random" if name in random else link["address"]
        kept["sysctls"] = [_read(f"/proc/sys/net/{each.format(name)}") for each in _SYSCTLS]
        kept["qdiscs"] = sorted(qdiscs.get(name, []))
        yield f"link {json.dumps(kept, sort_keys=True)}"


def _vlans() -> Iterator[str]:
    for each in json.loads(netns.run("bridge", "-j", "vlan") or "[]"):
        yield f"vlans {json.dumps(each, sort_keys=True)}"


def _files(host: PrivateHost) -> Iterator[str]:
    for path in sorted(host.directory.rglob("*")):
        if not path.name.endswith(("-wal", "-shm")):  # SQLite's own
            mode = path.lstat()
            yield f"file {path} {mode.st_mode:o} {mode.st_uid}:{mode.st_gid}"


def _record(host: PrivateHost) -> Iterator[str]:
    database = host.directory / "state/vifplug.db"
    if not database.exists():
        return
    with contextlib.closing(sqlite3.connect(database, timeout=10)) as opened:
        opened.row_factory = sqlite3.Row
        for table in ("vif", "claim"):
            for row in opened.execute(f"SELECT * FROM {table}"):
                kept = {key: row[key] for key in row.keys() if key not in ("changed_at", "checksum")}  # noqa: SIM118
                yield _RANDOM.sub(r'"\1": ?', f"record {table} {json.dumps(kept)}".replace('\\"', '"'))


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
