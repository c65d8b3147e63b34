"""The capabilities that each verb and type needs: the table of doc/security.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.command import having, vifplug
from vifplug.testing.host import PrivateHost

pytestmark = pytest.mark.needs("root", "setpriv")

ID = "aaaaaaaa-0000-4000-8000-000000000001"
RATES = {"average": 1000}
OVS = {"source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}, "vlan": 10}

#: name -> document, the capabilities that suffice
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "bridge": ({"type": "bridge", "source": {"bridge": "br0"}, "mtu": 1400}, ("net_admin",)),
    "a new bridge": ({"type": "bridge", "source": {"bridge": "br9", "ensure": True}}, ("net_admin",)),
    "Open vSwitch": ({"type": "bridge", **OVS, "bandwidth": {"inbound": RATES, "outbound": RATES}}, ("net_admin",)),
    "direct": ({"type": "direct", "tap_owner": "vifplug", "source": {"dev": "eno1", "mode": "bridge"}}, ("net_admin",)),
    "vhostuser": ({"type": "vhostuser", "source": {"path": "", "mode": "server"}}, ()),
    "a directory of QEMU's": ({"type": "vhostuser", "source": {"path": "", "mode": "server"}}, ("chown", "fowner")),
}


@pytest.fixture
def wired(host: PrivateHost) -> Iterator[PrivateHost]:
    config = host.config.read_text()
    host.ip("link", "add", "br0", "up", "type", "bridge")
    host.ip("link", "add", "eno1", "up", "type", "veth", "peer", "name", "wire")
    host.ovs.ctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    yield host
    host.config.write_text(config)
    for name in ("br0", "eno1", "br9"):
        if name in host.links():
            host.ip("link", "delete", "dev", name)


@pytest.mark.parametrize("name", CASES)
def test_the_capabilities_of_the_page_suffice_and_are_needed(wired: PrivateHost, name: str) -> None:
    fields, needed = CASES[name]
    document = {"id": ID, "mac": "52:54:00:00:00:01", **fields}
    if "path" in document["source"]:
        document["source"] = {**document["source"], "path": f"{wired.directory}/vhost/a/s.sock"}
    if "fowner" in needed:
        wired.config.write_text(f"{wired.config.read_text()}[vifplug_vhostuser]\nsocket_dir_user = 64055\n")
    file = wired.directory / "vif.json"
    file.write_text(json.dumps(document))

    for verb in (("can-plug", file), ("plug", "--dry-run", file)):
        assert vifplug(*verb, config=wired.config, under=having()).code == 0, verb
    if needed:
        refused = vifplug("plug", file, config=wired.config, under=having(*needed[:-1]))
        assert refused.code == 3 and f"CAP_{needed[-1].upper()}" in refused.err, refused
        assert vifplug("list", "-f", "json", config=wired.config).data == []
    for verb in (("plug", file), ("settle", ID), ("update", file), ("unplug", ID)):
        answer = vifplug(*verb, config=wired.config, under=having(*needed))
        assert answer.code == 0, (verb, answer)


@pytest.mark.parametrize("verb", ["list", "check", "host-info", "topology", "types"])
def test_looking_needs_no_capability(host: PrivateHost, verb: str) -> None:
    assert vifplug(verb, config=host.config, under=having()).code == 0
