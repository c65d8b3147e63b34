"""The example of a kind of resource of one's own, on real kernels: two hosts, and guests that reach each other."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import VIFPLUG
from tests.support.site import ROOT, Site, built
from vifplug.testing import netns

EXAMPLE = ROOT / "examples" / "vifplug-vxlan"
GROUP = "478900"  # vifplug_vxlan.backend.GROUP

pytestmark = pytest.mark.needs("namespaces", "tun")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return built(EXAMPLE, tmp_path_factory.mktemp("vxlan"))


class Host:
    """A host in a namespace, with vifplug and the example on it."""

    def __init__(self, site: Site, namespace: str, directory: Path) -> None:
        self.site, self.namespace, self.directory = site, namespace, directory
        directory.mkdir()
        self.config = directory / "vifplug.conf"
        self.config.write_text(f"[vifplug]\nstate_path = {directory / 'state'}\n")

    def vifplug(self, *words: str | Path, code: int = 0) -> str:
        """What the command says on this host, on both of its streams."""
        command = ["import os, sys", "from vifplug.testing import netns", "from vifplug.cli.main import main"]
        command += [f"with netns.inside({self.namespace!r}): sys.exit(main())"]
        done = self.site.run("-c", "\n".join(command), "--config-file", str(self.config), *map(str, words))
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def plug(self, vif: dict[str, Any], code: int = 0) -> str:
        return self.vifplug("plug", self.written(vif), code=code)

    def written(self, vif: dict[str, Any]) -> Path:
        file = self.directory / f"{vif['id']}.json"
        file.write_text(json.dumps(vif))
        return file

    def ip(self, *words: str) -> str:
        return netns.ip("-n", self.namespace, *words)

    def links(self) -> set[str]:
        """What is there beside the wire."""
        names = {line.split(":")[1].partition("@")[0].strip() for line in self.ip("-o", "link").splitlines()}
        return names - {"lo", "wire"}


@pytest.fixture
def hosts(site: Site, tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts on one wire: 192.0.2.1 and .2."""
    with netns.named(2) as (one, two):
        netns.ip("link", "add", "wire", "netns", one, "type", "veth", "peer", "name", "wire", "netns", two)
        for number, name in enumerate((one, two), start=1):
            netns.ip("-n", name, "address", "add", f"192.0.2.{number}/24", "dev", "wire")
            netns.ip("-n", name, "link", "set", "dev", "wire", "up")
        yield Host(site, one, tmp_path / "one"), Host(site, two, tmp_path / "two")


def vif(number: int, remote: str = "192.0.2.2", vni: int = 42, **source: str) -> dict[str, Any]:
    identity = f"{number}f6e7d8c-1111-4222-8333-444455556666"
    mac = f"fa:16:3e:00:00:0{number}"
    return {
        "id": identity,
        "type": "vxlan",
        "mac": mac,
        "model": "virtio",
        "source": {"vni": vni, "remote": remote, **source},
    }


@contextlib.contextmanager
def guest(host: Host, document: dict[str, Any], address: str) -> Iterator[str]:
    """A guest on a plugged VIF; its namespace."""
    tap = f"tap{document['id'][:11]}"
    with netns.named() as (namespace,):
        script = "from vifplug.testing import netns\nfrom tests.support.guest import main\nwith netns.inside("
        script += f"{host.namespace!r}): main({tap!r}, {namespace!r}, {document['mac']!r}, {address!r}, '1')"
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout and process.stdout.readline() == "ready\n"
                yield namespace
            finally:
                process.terminate()


def reaches(namespace: str, address: str) -> bool:
    command = ["ip", "netns", "exec", namespace, "ping", "-c", "3", "-i", "0.2", "-W", "2", address]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_guests_of_one_vni_on_two_hosts_and_on_one_reach_each_other_and_no_others(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    first, second = vif(1), vif(2, "192.0.2.1", device="wire", local="192.0.2.2")
    beside, other = vif(3), vif(4, vni=43)
    for host, document in ((one, first), (two, second), (one, beside), (one, other)):
        host.plug(document)
    with (
        guest(one, first, "10.42.0.1/24") as a,
        guest(two, second, "10.42.0.2/24"),
        guest(one, beside, "10.42.0.3/24"),
        guest(one, other, "10.42.0.4/24"),
    ):
        assert reaches(a, "10.42.0.2"), "through the tunnel"
        assert reaches(a, "10.42.0.3"), "over the bridge"
        assert not reaches(a, "10.42.0.4"), "another segment"
        assert "in use by a running guest" in one.vifplug("unplug", first["id"], code=4)
    assert "as recorded" in one.vifplug("check")
    for link in ("vxlan42", "vxbr42"):
        assert netns.run("ip", "netns", "exec", one.namespace, "cat",
                                  f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6") == "1\n"  # fmt: skip
    for host, document in ((one, first), (two, second), (one, other)):
        host.vifplug("unplug", document["id"])
    assert two.links() == set()
    assert one.links() == {"vxlan42", "vxbr42", "tap3f6e7d8c-11"}, "the third VIF still has them"
    one.vifplug("unplug", beside["id"])
    assert one.links() == set()


def test_what_breaks_is_reported_and_repaired(hosts: tuple[Host, Host]) -> None:
    one, _ = hosts
    document = vif(1)
    one.plug(document)
    for command, message in (
        ("link delete vxlan42", "vxlan vxlan42"),
        ("link set vxlan42 nomaster", "vxlan vxlan42: bridged"),
        ("link set vxlan42 mtu 1300", "vxlan vxlan42: mtu"),
        ("link set vxbr42 down", "vxlan vxlan42: up"),
        ("link delete vxbr42", "bridge-port tap1f6e7d8c-11"),
    ):
        one.ip(*command.split())
        assert message in one.vifplug("check", "--max-width", "0", code=1), command
        one.vifplug("update", one.written(document))
        assert "as recorded" in one.vifplug("check"), command


def test_a_vif_does_not_lead_the_others_of_its_vni_elsewhere(hosts: tuple[Host, Host]) -> None:
    one, _ = hosts
    one.plug(vif(1))
    message = one.plug(vif(2, "192.0.2.9"), code=3)
    assert message == (
        "vifplug: vxlan vxlan42 has remote 192.0.2.2, and the VIF requests 192.0.2.9: all VIFs of VNI 42 on this host "
        "share it; correct the VIF, or unplug the others first\n"
    )
    assert one.links() == {"vxlan42", "vxbr42", "tap1f6e7d8c-11"}


def test_a_vif_that_moves_to_another_vni_leaves_nothing(hosts: tuple[Host, Host]) -> None:
    one, _ = hosts
    one.plug(vif(1))
    one.vifplug("update", one.written(vif(1, vni=43)))
    assert one.links() == {"vxlan43", "vxbr43", "tap1f6e7d8c-11"}
    assert "as recorded" in one.vifplug("check")


def test_what_others_made_is_reported_and_stays(hosts: tuple[Host, Host]) -> None:
    one, _ = hosts
    one.ip(*["link", "add", "vxlan42", "type", "vxlan", "id", "7", "dstport", "4789", "remote", "192.0.2.2"])
    assert "got a vxlan device that vifplug-vxlan did not create" in one.plug(vif(1), code=4)
    message = one.plug(vif(2, vni=7), code=4)
    assert "vxlan vxlan7: could not create it: File exists" in message
    assert one.links() == {"vxlan42"}


def test_what_the_host_lacks_is_reported_and_nothing_is_left(hosts: tuple[Host, Host]) -> None:
    one, _ = hosts
    message = one.plug(vif(1, device="eth9"), code=3)
    assert "device eth9 does not exist on this host" in message and one.links() == set()


def test_many_at_once_share_what_the_first_has_made(hosts: tuple[Host, Host]) -> None:
    """Processes that plug and unplug VIFs of one VNI side by side."""
    one, _ = hosts
    threads = [threading.Thread(target=one.plug, args=(vif(number),)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {"vxlan42", "vxbr42"} <= one.links() and len(one.links()) == 8
    assert "all 6 VIFs are as recorded" in one.vifplug("check")
    one.vifplug("unplug", *(vif(number)["id"] for number in range(1, 7)))
    assert one.links() == set()


def test_the_library_gives_the_element_with_the_defaults_of_the_types_options(site: Site) -> None:
    code = f"from vifplug import VIF, interface_xml\nanswer = interface_xml(VIF.from_json({vif(1)!r}))"
    assert "<mtu size='1450'/>" in site.ask(code)


def test_a_vif_with_what_it_cannot_have_is_refused_with_every_reason(site: Site, tmp_path: Path) -> None:
    (tmp_path / "vif.json").write_text(json.dumps({**vif(1), "vlan": 7, "mtu": 9000, "tap_owner": "libvirt"}))
    done = site.run(VIFPLUG, "xml", str(tmp_path / "vif.json"))
    assert done.returncode == 2
    for message in (
        "$.vlan: ",
        "use another vni for another network",
        "$.mtu: expected at most 1450",
        "libvirt does not support VXLAN",
    ):
        assert message in done.stderr
