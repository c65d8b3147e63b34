"""libvirt's hook, run by a real libvirtd for real QEMU guests on a real Open vSwitch."""

from __future__ import annotations

import json
import signal
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.support import bridges
from tests.support.command import vifplug
from tests.support.places import HOOK
from vifplug import VIF, Instance
from vifplug.model.guestxml import NAMESPACE
from vifplug.plan.registry import Tap
from vifplug.testing import netns
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtHost, LibvirtRefused, domain

MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
TAP = "<interface type='ethernet'><mac address='{}'/><target dev='{}' managed='no'/><model type='virtio'/></interface>"


def described(*children: str) -> str:
    return f"<metadata><vifplug:vifs xmlns:vifplug='{NAMESPACE}'>{''.join(children)}</vifplug:vifs></metadata>"


def on_openvswitch(mac: str = MAC, vlan: int = 10, bridge: str = "br-int", more: str = "") -> str:
    return (
        f"<interface type='bridge'><mac address='{mac}'/><source bridge='{bridge}'/><vlan><tag id='{vlan}'/></vlan>"
        f"<virtualport type='openvswitch'/>{more}</interface>"
    )


def plugged(host: PrivateHost) -> list[str]:
    return [entry.actual.device for entry in host.driver.list()]


def test_a_guest_has_its_ports_while_it_runs(guests: LibvirtHost, host: PrivateHost) -> None:
    """In both forms: a JSON document says what an element cannot. Queues and MTU are said once, by the interface."""
    id, document = str(uuid.uuid4()), {"id": str(uuid.uuid4()), "type": "bridge", "mac": OTHER}
    bridges.add(host, "br0")
    second = TAP.format(OTHER, "tapdb").replace("</int", "<driver queues='2'/><mtu size='1400'/></int")
    text = json.dumps({**document, "source": {"bridge": "br0"}})
    metadata = described(on_openvswitch(), f"<vifplug:vif>{text}</vifplug:vif>")
    guests.create(domain("web", TAP.format(MAC, "tapweb") + second, metadata=metadata, id=id))
    assert host.ports("br-int") == {"tapweb"} and sorted(plugged(host)) == ["tapdb", "tapweb"]
    assert host.port("tapweb", "tag", "Port") == "10"
    assert host.port("tapweb", "external_ids:vm-id") == f'"{id}"'
    assert all("LOWER_UP" in host.ip("link", "show", "dev", device) for device in ("tapweb", "tapdb"))
    [tap] = [each for each in host.driver.show(document["id"]).resources if isinstance(each, Tap)]
    assert (tap.multi_queue, tap.mtu) == (True, 1400)
    assert {entry.instance for entry in host.driver.list()} == {Instance(uuid=id, name="web")}

    # libvirt calls release for a guest that did not start: that must not unplug the other one
    with pytest.raises(LibvirtRefused, match=r"belongs to guest web .*, and guest second .* requests it"):
        guests.create(domain("second", TAP.format(MAC, "tapweb"), metadata=described(on_openvswitch())))
    assert sorted(plugged(host)) == ["tapdb", "tapweb"] and host.driver.check() == []

    guests.virsh("destroy", "web")
    assert host.ports("br-int") == set() and plugged(host) == []
    assert host.links().isdisjoint({"tapweb", "tapdb"})
    host.ip("link", "delete", "br0")


def test_a_guest_that_names_the_vif_of_another_gets_and_releases_nothing(
    guests: LibvirtHost, host: PrivateHost
) -> None:
    """An operator's VIF that is no guest's, or a guest's that runs: refused at prepare, and left alone at release."""
    victim = VIF.from_xml(on_openvswitch()).replace(target="tapvictim", tap_owner=None)
    for instance in (None, Instance(uuid=str(uuid.uuid4()), name="victim")):
        host.driver.plug(victim, instance)
        before = host.port("tapvictim", "external_ids")
        for interface, refusal in ((TAP.format(MAC, "tapvictim"), "victim|no guest"), ("", "no interface")):
            stolen = described(on_openvswitch(vlan=66))
            with pytest.raises(LibvirtRefused, match=refusal):
                guests.create(domain("mallory", interface, metadata=stolen))
            assert (host.port("tapvictim", "tag", "Port"), host.port("tapvictim", "external_ids")) == ("10", before)
    assert [entry.instance for entry in host.driver.list()] == [instance]
    host.driver.unplug(victim.id)


def test_metadata_that_changed_while_the_guest_ran_releases_what_it_started_with(
    guests: LibvirtHost, host: PrivateHost
) -> None:
    long = f"<much>{'x' * 100_000}</much>"
    another = f"<vifs>{on_openvswitch(OTHER)}</vifs>"
    changes = {
        "removed": [(NAMESPACE, "--remove")],
        "of another VIF": [(NAMESPACE, "--key", "vifplug", "--set", another)],
        "longer than what is read": [(f"urn:x:{n}", "--key", "x", "--set", long) for n in range(12)],
    }
    for name, edits in changes.items():
        guests.create(domain("changed", TAP.format(MAC, "tapweb"), metadata=described(on_openvswitch())))
        assert plugged(host) == ["tapweb"]
        for edit in edits:
            guests.virsh("metadata", "changed", "--live", *edit)
        guests.virsh("destroy", "changed")
        assert plugged(host) == [] and host.ports("br-int") == set(), name


def test_a_switch_that_comes_later_and_a_daemon_that_comes_back(guests: LibvirtHost, host: PrivateHost) -> None:
    """A guest that starts with its host, before Open vSwitch does, is refused, and starts when it is tried again."""
    xml = domain("restored", TAP.format(MAC, "tapweb"), metadata=described(on_openvswitch()))
    host.ovs.stop("ovsdb-server")
    with pytest.raises(LibvirtRefused, match=r"vifplug: .*db\.sock"):
        guests.create(xml)
    host.ovs.start("ovsdb-server")
    host.ovs.ctl("set", "Open_vSwitch", ".", "external_ids:back=yes")  # waits for ovs-vswitchd, which may take seconds
    guests.create(xml)

    guests.stop(signal.SIGKILL)
    host.ovs.ctl("del-port", "tapweb")
    guests.start()
    guests.await_operation("restored", "reconnect")
    assert host.ports("br-int") == {"tapweb"}
    assert host.port("tapweb", "tag", "Port") == "10"
    assert guests.running() == {"restored"}


def test_nothing_that_goes_wrong_at_a_daemons_start_ends_a_guest(guests: LibvirtHost, host: PrivateHost) -> None:
    """libvirt kills a guest for whose reconnect a hook fails."""
    guests.create(domain("kept", TAP.format(MAC, "tapweb"), metadata=described(on_openvswitch())))
    guests.stop()
    host.ovs.ctl("del-port", "tapweb")
    host.ovs.ctl("add-br", "br-other", "--", "set", "bridge", "br-other", "datapath_type=netdev")
    host.ovs.ctl("add-port", "br-other", "tapweb")
    guests.start()
    guests.await_operation("kept", "reconnect")
    assert guests.running() == {"kept"}
    assert host.ports("br-int") == set()
    host.ovs.ctl("del-br", "br-other")


@pytest.mark.parametrize("operation", ["started", "reconnect"])
def test_a_hook_that_can_not_run_does_no_harm_to_a_running_guest(libvirt: LibvirtHost, operation: str) -> None:
    """Neither the file, where the command is missing, nor the command, where everything fails."""
    xml = domain("web", TAP.format(MAC, "tapweb"), metadata=described(on_openvswitch(), "<rubbish/>"))
    done = subprocess.run(
        [libvirt.hook, "web", operation, "begin", "-"], input=xml, env={"PATH": "/bin:/usr/bin"}, text=True
    )
    assert done.returncode == 0
    said = vifplug("libvirt-hook", "web", operation, "begin", "-", config=Path("/nonexistent"), stdin=xml)
    assert (said.code, said.out) == (0, "")
    assert "/nonexistent" in said.err


def test_a_guest_that_fails_to_start_after_its_plug_leaves_nothing(guests: LibvirtHost, host: PrivateHost) -> None:
    xml = domain("web", TAP.format(MAC, "tapweb"), metadata=described(on_openvswitch()))
    xml = xml.replace("</os>", "<kernel>/nonexistent</kernel></os>")
    with pytest.raises(LibvirtRefused, match="/nonexistent"):
        guests.create(xml)
    assert plugged(host) == [] and host.links().isdisjoint({"tapweb"})


def test_a_start_is_refused_with_the_sentence(guests: LibvirtHost, host: PrivateHost) -> None:
    """libvirt would take a tap that it manages away, as one of a failed start of its own."""
    xml = domain("web", TAP.format(MAC, "tapweb").replace(" managed='no'", ""), metadata=described(on_openvswitch()))
    with pytest.raises(LibvirtRefused) as refused:
        guests.create(xml)
    message = str(refused.value).partition("exit status 2: vifplug: ")[2]
    assert message.startswith(f"interface {MAC} of guest web does not fit its VIF (expected <target dev='tapweb' ")
    assert "write <interface type='ethernet'>" in message and "<target dev='tapweb' managed='no'/>" in message
    assert plugged(host) == [] and host.ports("br-int") == set()


def test_a_taken_name_is_left_to_its_owner(guests: LibvirtHost, host: PrivateHost) -> None:
    host.ip("tuntap", "add", "tapweb", "mode", "tap")
    xml = domain("web", TAP.format(MAC, "tapweb"), metadata=described(on_openvswitch()))
    with pytest.raises(LibvirtRefused, match=r"tap tapweb .* is taken: got a tap without the mark of vifplug"):
        guests.create(xml)
    assert "tapweb" in host.links()
    host.ip("link", "delete", "tapweb")


def test_a_guest_without_metadata_is_none_of_its_business(guests: LibvirtHost, host: PrivateHost) -> None:
    """It starts where no vifplug could run, and no Python is started for it."""
    other = "<metadata><app:data xmlns:app='http://example.org/app'>tap</app:data></metadata>"
    xml = domain("plain", "<interface type='ethernet'><mac address='52:54:00:00:00:09'/></interface>", metadata=other)
    for operation, sub in [("prepare", "begin"), ("started", "begin"), ("stopped", "end"), ("release", "end")]:
        command = [guests.hook, "plain", operation, sub, "-"]
        done = subprocess.run(command, input=xml, env={"PATH": "/bin"}, text=True, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    guests.create(xml)
    assert plugged(host) == []


def test_the_file_that_is_installed_knows_the_namespace_and_the_operations() -> None:
    from vifplug.compat.libvirt_hook import HARMLESS, OPERATIONS

    text = HOOK.read_text()
    assert f"*{NAMESPACE}*)" in text
    assert f"\n{' | '.join('/'.join(pair) for pair in OPERATIONS)}) ;;" in text
    assert f"\n{' | '.join(HARMLESS)}) #" in text


def test_what_hook_xml_prints_starts_a_guest_that_is_saved_and_restored(
    guests: LibvirtHost, host: PrivateHost, tmp_path: Path
) -> None:
    document = {
        "id": str(uuid.uuid4()),
        "type": "bridge",
        "mac": MAC,
        "source": {"bridge": "br-int"},
        "vlan": 12,
        "model": "virtio",
    }
    file = tmp_path / "vif.json"
    file.write_text(json.dumps({**document, "virtualport": {"type": "openvswitch"}, "external_ids": {"a": "<&'\""}}))
    answer = vifplug("hook-xml", file, config=host.config)
    metadata, _, interface = answer.out.partition("</metadata>\n")
    guests.create(domain("--debug", interface, metadata=f"{metadata}</metadata>"))  # a name like an option
    [entry] = host.driver.list()
    assert entry.vif == VIF.from_json(file.read_text()).replace(guest_xml=entry.vif.guest_xml)
    assert host.port(entry.actual.device, "tag", "Port") == "12"
    saved = tmp_path / "saved"
    guests.virsh("save", "--", "--debug", saved)
    assert plugged(host) == [] and host.ports("br-int") == set()
    guests.virsh("restore", saved)
    assert host.port(entry.actual.device, "tag", "Port") == "12" and host.driver.check() == []


def test_a_guest_moves_to_another_host_and_its_port_with_it(guests: LibvirtHost, host: PrivateHost) -> None:
    with PrivateHost(vifplug_ovs={"ensure_bridge": True}) as there, LibvirtHost(there, hook=HOOK) as destination:
        there.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
        netns.ip("-n", host.namespace, "link", "add", "wire", "type", "veth", "peer", "wire", "netns", there.namespace)
        for end, address in ((host, "10.9.0.1/24"), (there, "10.9.0.2/24")):
            end.ip("address", "add", address, "dev", "wire")
            end.ip("link", "set", "dev", "wire", "up")
        xml = domain("web", TAP.format(MAC, "tapweb"), metadata=described(on_openvswitch()))
        guests.create(xml)
        guests.virsh("migrate", "--live", "web", destination.uri, "--migrateuri", "tcp://10.9.0.2")
        assert (plugged(host), host.ports("br-int")) == ([], set())
        assert (plugged(there), there.ports("br-int")) == (["tapweb"], {"tapweb"})
        assert there.port("tapweb", "tag", "Port") == "10"
        destination.clear()
    assert plugged(host) == []
