"""os-vif's API on vifplug: what agents call, on a real Open vSwitch, with os-vif's own objects."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from os_vif import objects
from oslo_config import cfg

from tests.support import osvif
from tests.support.osvif import (
    GUEST,
    ID,
    IDS,
    MAC,
    PORT,
    QBR,
    QVB,
    QVO,
    TAP,
    VHU,
    hostdev,
    hybrid,
    info,
    openvswitch,
    vhostuser,
)
from vifplug import errors
from vifplug.compat import os_vif
from vifplug.testing.host import PrivateHost

pytestmark = pytest.mark.needs("namespaces")

Plug = Callable[[Any], None]


@pytest.fixture
def agent(host: PrivateHost) -> Iterator[PrivateHost]:
    """An agent on the module's host, with an integration bridge; its configuration is as it was afterwards."""
    os_vif.initialize(reset=True, config_files=[str(host.config)])
    host.ovs.ctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    yield host
    for option in cfg.CONF.os_vif_ovs:
        cfg.CONF.clear_override(option, group="os_vif_ovs")
    for entry in host.driver.list():  # of a test that failed
        host.driver.unplug(entry.vif.id)


def choose(**options: Any) -> None:
    for name, value in options.items():
        cfg.CONF.set_override(name, value, group="os_vif_ovs")


def plug(vif: Any) -> None:
    os_vif.plug(vif, info())


def unplug(vif: Any) -> None:
    os_vif.unplug(vif, info())


def link(host: PrivateHost, name: str) -> dict[str, Any]:
    [found] = json.loads(host.ip("-details", "-json", "link", "show", "dev", name))
    return dict(found)


def state(host: PrivateHost) -> tuple[Any, ...]:
    """All that a plug may leave behind."""
    return host.links(), host.ports("br-int"), osvif.snapshot(host)["qos rows"], host.driver.list()


def refused(host: PrivateHost, call: Plug, vif: Any, words: str) -> errors.VifplugError:
    """The call is refused with these words, and nothing is touched; vifplug's own error behind os-vif's."""
    before = state(host)
    kind = os_vif.exception.PlugException if call is plug else os_vif.exception.UnplugException
    with pytest.raises(kind, match=words) as caught:
        call(vif)
    assert state(host) == before
    cause = caught.value.__cause__
    assert isinstance(cause, errors.VifplugError) and str(cause) in str(caught.value)
    return cause


# -- the API ----------------------------------------------------------------------------------------------------------


def test_before_initialize_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os_vif, "_adapter", None)
    for call in (lambda: plug(openvswitch()), lambda: unplug(openvswitch()), os_vif.host_info):
        with pytest.raises(os_vif.exception.LibraryNotInitialized):
            call()


def test_initialize_again_keeps_what_exists_and_reset_reads_it_again(agent: PrivateHost) -> None:
    made = os_vif._adapter
    os_vif.initialize()
    assert os_vif._adapter is made
    with pytest.raises(errors.InvalidConfig, match="no-such-file"):
        os_vif.initialize(reset=True, config_files=["/no-such-file"])
    assert os_vif._adapter is made
    os_vif.initialize(reset=True, config_files=[str(agent.config)])
    assert os_vif._adapter is not made


@pytest.mark.parametrize("call", [plug, unplug])
def test_a_plugin_that_is_not_installed_is_no_matching_plugin(agent: PrivateHost, call: Plug) -> None:
    vif = openvswitch()
    vif.plugin = "nobody"
    with pytest.raises(os_vif.exception.NoMatchingPlugin, match="nobody"):
        call(vif)


def test_host_info_gives_versions_that_can_be_negotiated(agent: PrivateHost) -> None:
    message = os_vif.host_info()
    assert {each.plugin_name for each in message.plugin_info} == {"linux_bridge", "noop", "ovs", "vifplug"}
    for plugin in message.plugin_info:
        for vif in plugin.vif_info:
            assert vif.get_common_version() == getattr(objects.vif, vif.vif_object_name).VERSION
            for profile in vif.supported_port_profiles:
                profile.get_common_version()
    assert message.get_plugin("ovs").get_vif("VIFVHostUser").max_version == objects.vif.VIFVHostUser.VERSION
    assert message.get_plugin("noop").has_vif("VIFHostDevice")


def test_host_info_can_be_limited_to_some_classes(agent: PrivateHost) -> None:
    message = os_vif.host_info(["VIFGeneric", "VIFBridge"])
    classes = {each.plugin_name: [vif.vif_object_name for vif in each.vif_info] for each in message.plugin_info}
    assert classes == {"linux_bridge": ["VIFBridge"], "ovs": ["VIFBridge"], "vifplug": ["VIFGeneric"]}


def test_it_is_imported_by_its_users_alone() -> None:
    code = (
        "import sys, vifplug, vifplug.cli.main, vifplug.driver.verbs; print([n for n in sys.modules if 'os_vif' in n])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -- what is refused, before anything is written ----------------------------------------------------------------------


def without(vif: Any, name: str) -> Any:
    setattr(vif, name, None)
    return vif


def nested() -> Any:
    return objects.vif.VIFNestedDPDK(
        id=ID,
        address=MAC,
        plugin="ovs",
        network=osvif.network(),
        port_profile=osvif.profile(),
        pci_address="0000:00:0a.0",
    )


def generic(plugin: str) -> Any:
    return objects.vif.VIFGeneric(id=ID, address=MAC, plugin=plugin, network=osvif.network(), vif_name=TAP)


def direct(plugin: str) -> Any:
    return objects.vif.VIFDirect(id=ID, address=MAC, plugin=plugin, mode="vepa", dev_address="0000:81:02.3")


def with_profile(profile: Any) -> Any:
    vif = openvswitch(create_port=True)
    vif.port_profile = profile
    return vif


LONG = "tap-way-too-long-name"
MAKES = {"create_port": True, "create_tap": True}
REFUSED = {
    "a name that is too long": (openvswitch(name=LONG, **MAKES), f"at most 15 bytes, got '{LONG}' of 21"),
    "a name with a slash": (openvswitch(name="tap/1", **MAKES), "expected a device name of letters"),
    "a bridge that is none": (openvswitch(bridge="br int", **MAKES), "expected a device name of letters"),
    "an MTU out of range": (openvswitch(mtu=66000, **MAKES), "66000 is not 68..65535"),
    "no MAC": (without(openvswitch(**MAKES), "address"), f"VIFOpenVSwitch {ID}: address is missing; plugin ovs needs"),
    "no network": (without(openvswitch(**MAKES), "network"), "network is missing; plugin ovs needs it"),
    "a profile of another switch's": (
        with_profile(objects.vif.VIFPortProfile8021Qbh(profile_id="p")),
        "expected a port_profile that is a VIFPortProfileOpenVSwitch, got a VIFPortProfile8021Qbh",
    ),
    "a socket's path that is none": (vhostuser("vhu1", "server"), "expected an absolute path, got 'vhu1'"),
    "a socket's path that is too long": (vhostuser(f"/{'x' * 120}", "client"), "at most 107 bytes, got one of 121"),
    "a device that is no interface": (hostdev(dev_type="generic"), "expected dev_type ethernet"),
    "a VF that is not there": (hostdev("0000:ff:1f.7"), "VF 0000:ff:1f.7: no PCI device exists at that address"),
    "a tap for a VIF that has none": (hybrid(create_tap=True), "create_tap is for a VIFOpenVSwitch only"),
    "a device inside a guest": (nested(), "is a device inside a guest: a host has nothing to plug for it"),
    "a class that the plugin has not": (
        generic("ovs"),
        r"VIFGeneric .*: plugin ovs does not support this class \(expected VIFBridge",
    ),
    "a class that does nothing by mistake": (direct("noop"), "expected VIFHostDevice or VIFVHostUser"),
    "a tap for noop": (generic("noop"), "expected VIFHostDevice or VIFVHostUser"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_is_refused_in_a_sentence(agent: PrivateHost, name: str) -> None:
    vif, words = REFUSED[name]
    refused(agent, plug, vif, words)


@pytest.mark.parametrize("vif", [direct("noop"), generic("ovs")])
def test_an_unplug_of_what_the_plugin_has_not_is_refused_too(agent: PrivateHost, vif: Any) -> None:
    refused(agent, unplug, vif, f"plugin {vif.plugin} does not support this class")


def test_an_unplug_needs_nothing_but_the_id(agent: PrivateHost) -> None:
    """Names, network, profile may be wrong or missing: what is there goes all the same."""
    plug(openvswitch(**MAKES))
    bare = objects.vif.VIFOpenVSwitch(id=ID, plugin="ovs")
    unplug(bare)
    unplug(openvswitch(name=LONG))
    assert agent.ports("br-int") == set()


# -- what is plugged --------------------------------------------------------------------------------------------------


def test_a_tap_and_its_port_come_and_go(agent: PrivateHost) -> None:
    vif = openvswitch(**MAKES, multiqueue=True)
    plug(vif)
    seen = osvif.snapshot(agent)
    ids = {**IDS, "vm-id": GUEST, "vifplug-id": ID}
    assert seen["interfaces"][TAP]["external_ids"] == ids and seen["ports"][TAP] == {"bridge": "br-int"}
    device = seen["devices"][TAP]
    assert (device["mtu"], device["up"], device["multi_queue"], device["persist"]) == (1450, True, True, True)
    [entry] = agent.driver.list()
    assert entry.instance and (entry.instance.uuid, entry.instance.name) == (GUEST, "web-1")
    plug(vif)
    assert osvif.snapshot(agent) == seen and agent.driver.check() == []
    unplug(vif)
    unplug(vif)
    assert agent.driver.list() == []


@pytest.mark.parametrize("form", [hybrid, lambda: openvswitch(**MAKES)], ids=["hybrid", "tap"])
def test_eight_threads_may_plug_and_unplug_one_vif(agent: PrivateHost, form: Callable[[], Any]) -> None:
    for call, ports in ((plug, 1), (unplug, 0)):
        failures: list[Exception] = []

        def attempt(call: Plug = call, failures: list[Exception] = failures) -> None:
            try:
                call(form())
            except os_vif.exception.ExceptionBase as error:
                failures.append(error)

        threads = [threading.Thread(target=attempt) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == [] and len(agent.ports("br-int")) == ports and agent.driver.check() == []


def test_a_bridge_that_exists_keeps_its_datapath(agent: PrivateHost) -> None:
    plug(openvswitch(**MAKES, datapath_type="system"))
    assert osvif.snapshot(agent)["bridges"]["br-int"] == "netdev" and agent.port(TAP, "ofport") not in ("-1", "[]")
    unplug(openvswitch(**MAKES))


def test_what_was_lost_by_hand_is_repaired_by_the_next_plug(agent: PrivateHost) -> None:
    plug(hybrid())
    agent.ip("link", "delete", "dev", QBR)
    agent.ovs.ctl("del-port", QVO)
    plug(hybrid())
    assert link(agent, QVB)["master"] == QBR and agent.ports("br-int") == {QVO} and agent.driver.check() == []
    unplug(hybrid())


def test_what_changed_meanwhile_changes_in_place(agent: PrivateHost) -> None:
    """The MTU, the queues of a tap, the form."""
    plug(openvswitch(**MAKES))
    plug(openvswitch(**MAKES, multiqueue=True, mtu=1300))
    found = link(agent, TAP)
    assert found["mtu"] == 1300 and found["linkinfo"]["info_data"]["multi_queue"] is True
    plug(hybrid())
    assert agent.ports("br-int") == {QVO} and TAP not in agent.links() and agent.driver.check() == []
    unplug(openvswitch(create_port=True))


def test_a_port_that_does_not_work_is_a_failure_and_leaves_nothing(agent: PrivateHost, tmp_path: Path) -> None:
    """A DPDK port on an Open vSwitch without DPDK; os-vif says that all is well."""
    cause = refused(agent, plug, vhostuser(f"{tmp_path}/{VHU}", "client"), "has no interfaces of type dpdkvhostuser")
    assert isinstance(cause, errors.HostNotReady) and not (tmp_path / VHU).exists()


def test_another_ones_port_of_that_name_is_a_conflict(agent: PrivateHost) -> None:
    agent.ovs.ctl("--may-exist", "add-br", "br-x", "--", "set", "bridge", "br-x", "datapath_type=netdev")
    agent.ovs.ctl("add-port", "br-x", TAP, "--", "set", "interface", TAP, "type=internal")
    refused(agent, plug, openvswitch(create_port=True, create_tap=True), "is taken: got a tap|is on bridge br-x")
    unplug(openvswitch(create_port=True))
    assert agent.ports("br-x") == {TAP}
    agent.ovs.ctl("del-br", "br-x")


def test_noop_does_nothing(agent: PrivateHost, tmp_path: Path) -> None:
    before = state(agent)
    for vif in (vhostuser(f"{tmp_path}/deep/sock", "server", plugin="noop"), hostdev(plugin="noop")):
        plug(vif)
        unplug(vif)
    assert state(agent) == before and list(tmp_path.iterdir()) == []


def test_a_guest_that_holds_its_tap_is_not_cut_off(agent: PrivateHost) -> None:
    plug(openvswitch(**MAKES))
    with osvif.held(TAP):
        plug(openvswitch(**MAKES))
        cause = refused(agent, unplug, openvswitch(**MAKES), "is in use by a running guest")
        assert isinstance(cause, errors.Held)
    unplug(openvswitch(**MAKES))


# -- classes that no plugin of os-vif's has, and the Linux bridge that it had ------------------------------------------


def test_a_generic_vif_is_a_tap(agent: PrivateHost) -> None:
    plug(generic("vifplug"))
    assert link(agent, TAP)["mtu"] == 1450
    unplug(generic("vifplug"))
    assert TAP not in agent.links()


def linux_bridge(**network: Any) -> Any:
    fields = {"id": ID, "address": MAC, "plugin": "linux_bridge", "vif_name": TAP, "bridge_name": "brq1"}
    return objects.vif.VIFBridge(network=osvif.network("brq1", **network), **fields)


def test_a_linux_bridge_is_made_where_the_network_says_so(agent: PrivateHost) -> None:
    refused(agent, plug, linux_bridge(), "bridge brq1 does not exist on this host")
    plug(linux_bridge(should_provide_bridge=True))
    unplug(linux_bridge(should_provide_bridge=True))
    assert link(agent, "brq1")["linkinfo"]["info_kind"] == "bridge"
    plug(linux_bridge())
    unplug(linux_bridge())
    agent.ip("link", "delete", "dev", "brq1")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"should_provide_vlan": True, "vlan": 7, "bridge_interface": "eth0"}, "requests VLAN 7 on eth0 for brq1"),
        ({"bridge_interface": "eth0"}, "bridge brq1 does not exist on this host"),
    ],
)
def test_no_uplink_of_the_host_is_moved(agent: PrivateHost, network: dict[str, Any], words: str) -> None:
    refused(agent, plug, linux_bridge(should_provide_bridge=True, **network), words)


# -- the agent's configuration ----------------------------------------------------------------------------------------


def test_options_of_the_agents_count_from_the_next_call_on(agent: PrivateHost) -> None:
    assert cfg.CONF.os_vif_ovs.network_device_mtu == 1500  # agents read it there
    choose(isolate_vif=True, network_device_mtu=1340)
    plug(openvswitch(**MAKES, mtu=None))
    port = osvif.snapshot(agent)["ports"][TAP]
    assert port == {"bridge": "br-int", "tag": 4095, "vlan_mode": "trunk", "trunks": 4095}
    assert link(agent, TAP)["mtu"] == 1340
    agent.ovs.ctl("set", "Port", TAP, "tag=5", "--", "clear", "Port", TAP, "vlan_mode", "trunks")
    plug(openvswitch(**MAKES, mtu=None))  # the agent starts anew: a live port is never put back into the dead VLAN
    assert osvif.snapshot(agent)["ports"][TAP] == {"bridge": "br-int", "tag": 5}
    unplug(openvswitch())


def test_a_port_gets_out_of_the_dead_vlan_when_it_is_no_longer_to_begin_there(agent: PrivateHost) -> None:
    for tag, wanted in ((None, {"bridge": "br-int"}), (5, {"bridge": "br-int", "tag": 5})):
        choose(isolate_vif=True)
        plug(openvswitch(**MAKES))
        if tag:  # by Neutron's agent
            agent.ovs.ctl("set", "Port", TAP, f"tag={tag}", "--", "clear", "Port", TAP, "vlan_mode", "trunks")
        choose(isolate_vif=False)
        plug(openvswitch(**MAKES))
        assert osvif.snapshot(agent)["ports"][TAP] == wanted
        unplug(openvswitch())


def test_an_option_that_changed_between_plug_and_unplug_leaves_nothing(agent: PrivateHost) -> None:
    agent.ovs.ctl("set", "bridge", "br-int", "datapath_type=system")
    choose(default_qos_type="linux-noop")
    os_vif.initialize(reset=True, config_files=[_patient(agent)])
    plug(openvswitch(create_port=True, datapath_type="system"))
    assert osvif.snapshot(agent)["qos rows"] == 1
    choose(default_qos_type="linux-htb", per_port_bridge=True)
    unplug(openvswitch(create_port=True, datapath_type="system"))
    assert osvif.snapshot(agent)["qos rows"] == 0
    agent.ovs.ctl("set", "bridge", "br-int", "datapath_type=netdev")


def test_the_operators_address_of_the_database_counts_and_os_vifs_default_does_not(agent: PrivateHost) -> None:
    plug(openvswitch(create_port=True))  # not at tcp:127.0.0.1:6640, where nobody is
    choose(ovsdb_connection="tcp:127.0.0.1:1", ovs_vsctl_timeout=0)
    cause = refused(agent, plug, hybrid(), "tcp:127.0.0.1:1")
    assert isinstance(cause, errors.HostNotReady)
    cfg.CONF.clear_override("ovsdb_connection", group="os_vif_ovs")
    unplug(openvswitch())


def test_a_value_that_vifplug_can_not_have_is_reported_at_the_start(agent: PrivateHost) -> None:
    choose(ovsdb_connection="127.0.0.1:6640")
    with pytest.raises(
        errors.InvalidConfig, match=r"\[os_vif_ovs\] ovsdb_connection: expected .*, got '127.0.0.1:6640'"
    ):
        os_vif.initialize(reset=True, config_files=[str(agent.config)])


def _patient(host: PrivateHost) -> str:
    """A configuration that does not wait for ovs-vswitchd: this kernel has no datapath of Open vSwitch's."""
    file = host.directory / "patient.conf"
    file.write_text(host.configuration(wait="none"))
    return str(file)


GREEN = """
import eventlet
eventlet.monkey_patch()
import sys
from vifplug.compat import os_vif
os_vif.initialize(config_files=[sys.argv[1]])
from tests.support import osvif
vif = osvif.hybrid()
for verb in (os_vif.plug, os_vif.unplug):
    for thread in [eventlet.spawn(verb, vif, osvif.info()) for _ in range(4)]:
        thread.wait()
print("done")
"""


def test_an_agent_may_be_one_of_eventlets(agent: PrivateHost) -> None:
    """Which takes select.poll away, and runs all of an agent's threads in one."""
    pytest.importorskip("eventlet")
    command = ["ip", "netns", "exec", agent.namespace, sys.executable, "-W", "ignore", "-c", GREEN, str(agent.config)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "done\n", done.stderr


# -- scenarios of os-vif's own functional tests that no other test here has -------------------------------------------


@pytest.fixture
def patient(agent: PrivateHost) -> PrivateHost:
    os_vif.initialize(reset=True, config_files=[_patient(agent)])
    return agent


@pytest.fixture
def dpdk() -> Iterator[PrivateHost]:
    """An agent that does not wait, on a host of its own whose switch has DPDK."""
    with PrivateHost(vifplug_ovs={"wait": "none"}, dpdk=True, entered=False) as host, host.inside():
        host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
        os_vif.initialize(reset=True, config_files=[str(host.config)])
        yield host


@pytest.mark.parametrize("per_port_bridge", [False, True])
def test_a_device_that_is_no_tap_gets_a_port_with_qos_and_stays(patient: PrivateHost, per_port_bridge: bool) -> None:
    """A representor, as Neutron's agent on a SmartNIC has it; os-vif would delete it, or fail to."""
    choose(per_port_bridge=per_port_bridge)
    patient.ip("link", "add", "rep0", "type", "veth", "peer", "name", "vf0")
    vif = openvswitch(bridge="br-qos", name="rep0", create_port=True, datapath_type="system")
    plug(vif)
    plug(vif)
    seen = osvif.snapshot(patient)
    own = f"pb{ID[:12]}" if per_port_bridge else "br-qos"
    assert seen["ports"]["rep0"]["bridge"] == own and seen["ports"]["rep0"]["qos"]["type"] == "linux-noop"
    assert seen["qos rows"] == 1 and seen["devices"]["rep0"]["mtu"] == 1450
    unplug(vif)
    seen = osvif.snapshot(patient)
    assert seen["qos rows"] == 0 and seen["bridges"].keys() == {"br-int", "br-qos"} and "rep0" not in seen["ports"]
    assert seen["devices"]["rep0"]["mtu"] == 1500
    patient.ip("link", "delete", "dev", "rep0")


def test_a_trunk_bridge_goes_with_its_last_port_and_no_other_bridge(dpdk: PrivateHost, tmp_path: Path) -> None:
    vif = vhostuser(f"{tmp_path}/{VHU}", "client", bridge="tbr-01")
    plug(vif)
    dpdk.ovs.ctl("add-br", "br-x", "--", "add-port", "tbr-01", "sub", "--", "set", "interface", "sub", "type=internal")
    unplug(vif)
    assert dpdk.ovs.ctl("list-br").split() == ["br-int", "br-x", "tbr-01"]
    dpdk.ovs.ctl("del-port", "sub")
    plug(vif)
    unplug(vif)
    assert dpdk.ovs.ctl("list-br").split() == ["br-int", "br-x"]


def test_a_qemu_that_becomes_the_client_takes_no_stale_path_along(dpdk: PrivateHost, tmp_path: Path) -> None:
    plug(vhostuser(f"{tmp_path}/{VHU}", "server"))
    assert osvif.snapshot(dpdk)["interfaces"][VHU]["options"] == {"vhost-server-path": f"{tmp_path}/{VHU}"}
    plug(vhostuser(f"{tmp_path}/{VHU}", "client"))
    interface = osvif.snapshot(dpdk)["interfaces"][VHU]
    assert (interface["type"], interface["mtu_request"]) == ("dpdkvhostuser", 1450) and "options" not in interface
    assert interface["external_ids"]["iface-id"] == PORT
    unplug(vhostuser(f"{tmp_path}/{VHU}", "client"))
