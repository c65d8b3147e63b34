"""Every class of error, raised where a caller meets it: what it is about is in its attributes."""

from __future__ import annotations

import ast
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vifplug
from tests.support.memory import Bench
from vifplug import VIF, Instance, Network, VIFDriver, conf, errors, resolve
from vifplug.host.host import Host
from vifplug.host.isolated import IsolatedBackend
from vifplug.host.links import sysctls, tap
from vifplug.host.ovs.settings import OvsSettings
from vifplug.host.ovs.transport import unreachable
from vifplug.networks.pool import Holder, PoolDevice
from vifplug.neutron import vif_from_binding
from vifplug.plan.registry import Tap
from vifplug.plan.steps import Observed, Step

ID, OTHER = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "1b2c3d4e-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
TAP = "tap9c4e2f10-6a"
FIRST, SECOND = (Instance(uuid=f"{number}0000000-2222-4333-8444-555555555555", name="web") for number in (1, 2))
ROOT = Path(vifplug.__file__).parent


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.driver.close()


def vif(id: str = ID, **keys: Any) -> VIF:
    document: dict[str, Any] = {"id": id, "type": "bridge", "mac": "52:54:00:12:34:56", **keys}
    if document["type"] == "bridge":
        document = {"source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}, **document}
    return VIF.from_json(document)


def of_network(name: str, **source: str) -> VIF:
    return vif(type="network", source={"network": name, **source})


def pool(*devices: str) -> Network:
    interfaces = "".join(f"<interface dev='{each}'/>" for each in devices)
    text = f"<network><name>red</name><forward mode='passthrough'>{interfaces}</forward></network>"
    return Network.from_xml(text)


def configured(bench: Bench, text: str) -> None:
    path = bench.home.path / "vifplug.conf"
    path.write_text(text)
    VIFDriver(conf.load([str(path)]))


def as_another_user(bench: Bench) -> None:
    secret = bench.home.path / "secret.conf"
    secret.touch(mode=0o600)
    bench.home.path.chmod(0o711)
    os.seteuid(65534)
    try:
        conf.load([str(secret)])
    finally:
        os.seteuid(0)


def twins(bench: Bench) -> None:
    bench.driver.plug(vif())
    bench.driver.plug_many([(vif(virtualport={"type": "openvswitch", "interfaceid": OTHER}), None), (vif(OTHER), None)])


def held(bench: Bench) -> None:
    bench.driver.plug(vif())
    tap = bench.memory.there["tap", TAP].resource
    assert tap
    bench.memory.place(tap, held=True)
    bench.driver.unplug(ID)


def fails(bench: Bench, *, undo: bool) -> None:
    def failing(step: Step) -> bool:
        return step.subject.kind == "ovs-port" or (not undo and isinstance(step.subject, Tap) and step.after is None)

    bench.memory.fail_on = failing
    bench.driver.plug(vif())


class Failing:
    resources = (Tap,)

    def observe(self, desired: Any) -> Any:
        return {each.identity: Observed(resource=each) for each in desired}

    def apply(self, steps: Any, done: Any) -> None:
        raise RuntimeError("no")

    def close(self) -> None:
        pass


def in_a_plugin(bench: Bench) -> None:
    machine = Host(OvsSettings(), {"tap": lambda: IsolatedBackend(Failing, "some-package 1.0")})
    machine.apply([Step(None, Tap(name="tap0", owner=ID))], [])


def damaged(bench: Bench) -> None:
    bench.driver.plug(vif())
    with bench.driver._store.transaction() as transaction:
        transaction.connection.execute("UPDATE vif SET actual = '{'")
    bench.driver.plug(vif())


def busy(bench: Bench) -> None:
    driver = bench.home.driver(lock_timeout=0)
    with bench.driver._store.lock([OTHER], 0):
        driver.plug_many([(vif(), None), (vif(OTHER), None)])


def of_another_guest(bench: Bench) -> None:
    bench.driver.plug(vif(), FIRST)
    bench.driver.plug(vif(), SECOND)


def open_state(bench: Bench) -> None:
    (bench.home.path / "state").mkdir(mode=0o755)
    bench.driver.list()


def updated_network(bench: Bench) -> None:
    text = "<network><name>red</name><forward mode='bridge'/><bridge name='br-int'/><virtualport type='openvswitch'/>"
    bench.define(f"{text}</network>")
    ids = [ID, OTHER]
    bench.driver.plug_many([(vif(each, type="network", source={"network": "red"}), None) for each in ids])
    bench.memory.fail_on = {("ovs-port", "tap1b2c3d4e-6a")}
    bench.define(f"{text}<vlan><tag id='7'/></vlan></network>")
    bench.driver.update_network("red")


def adopted(bench: Bench) -> None:
    bench.driver.adopt([(vif(tap_owner="libvirt", target=f"vnet{number}", id=each), None)
                        for number, each in enumerate([ID, OTHER])])  # fmt: skip


def in_use(bench: Bench) -> None:
    resolve(of_network("red"), pool("e0"), [PoolDevice(name="e0", holders=(Holder(vif_id=OTHER, exclusive=True),))])


#: class, what raises it, and its data: in strings, {path} is the test's directory
CASES: list[tuple[type[errors.VifplugError], Callable[[Bench], object], dict[str, Any]]] = [
    (errors.InvalidRequest, lambda b: b.driver.plug_many([(vif(), None)] * 2), {"vif_id": ID, "vif_ids": (ID,)}),
    (errors.InvalidRequest, lambda b: b.driver.unplug("no-uuid"), {"vif_id": "no-uuid"}),
    (errors.InvalidDocument, lambda b: vif(vlan=5000), {"path": "$.vlan.tags[0].id"}),
    (
        errors.InvalidDocument,
        lambda b: b.driver.plug(vif(type="vhostuser", source={"path": "/srv/x/s", "mode": "server"})),
        {"vif_id": ID, "path": "$.source.path", "option": "[vifplug] socket_dirs"},
    ),
    (errors.UnknownType, lambda b: b.driver.plan(vif(type="mars", source={})), {"vif_id": ID, "resource": "type mars"}),
    (
        errors.Unsupported,
        lambda b: b.driver.plan_many([(vif(OTHER), None), (vif(type="ethernet", vlan=7), None)]),
        {"vif_id": ID, "vif_ids": (OTHER, ID), "path": "$.vlan"},
    ),
    (
        errors.InvalidConfig,
        lambda b: configured(b, "[vifplug]\nlock_timeout = soon\n"),
        {"option": "[vifplug] lock_timeout", "path": "{path}/vifplug.conf"},
    ),
    (
        errors.InvalidConfig,
        lambda b: configured(b, "[vifplug]\nenabled_types = mars\n"),
        {"option": "[vifplug] enabled_types"},
    ),
    (errors.InvalidConfig, lambda b: configured(b, "nonsense"), {"path": "{path}/vifplug.conf"}),
    (errors.InvalidConfig, lambda b: conf.load(["/no/such.conf"]), {"path": "/no/such.conf"}),
    (errors.InvalidConfig, lambda b: OvsSettings(connection="ssl:h:1"), {"option": "[vifplug_ovs] ssl_ca"}),
    (errors.InvalidConfig, lambda b: OvsSettings(wait="x"), {"option": "[vifplug_ovs] wait"}),
    (errors.NotPlugged, lambda b: b.driver.update(vif()), {"vif_id": ID, "vif_ids": (ID,)}),
    (
        errors.Absent,
        lambda b: Host(OvsSettings(connection="unix:/no/db.sock")).ovs.bridges(),
        {
            "resource": "Open vSwitch database at unix:/no/db.sock",
            "option": "[vifplug_ovs] connection",
            "path": "/no/db.sock",
            "retryable": True,
        },
    ),
    (
        errors.Unavailable,
        lambda b: Host(OvsSettings(connection="tcp:127.0.0.1:1")).ovs.bridges(),
        {
            "resource": "Open vSwitch database at tcp:127.0.0.1:1",
            "option": "[vifplug_ovs] connection",
            "retryable": True,
        },
    ),
    (errors.NotPermitted, as_another_user, {"path": "{path}/secret.conf"}),
    (
        errors.HostNotReady,
        lambda b: Host(OvsSettings(connection="ssl:h:1", ssl_ca="/no", ssl_certificate="/no", ssl_key="/no")).ovs.find(
            ID
        ),
        {"option": "[vifplug_ovs] ssl_key", "path": "/no", "resource": "Open vSwitch database at ssl:h:1"},
    ),
    (
        errors.Missing,
        lambda b: b.home.driver().plug_many([(vif(), None), (given(OTHER), None)]),
        {"vif_id": OTHER, "vif_ids": (ID, OTHER), "resource": "lower-device eth9"},
    ),
    (errors.Missing, lambda b: Host(OvsSettings()).virtual_function("0000:ff:1f.7"), {"resource": "VF 0000:ff:1f.7"}),
    (errors.Missing, adopted, {"vif_id": ID, "vif_ids": (ID, OTHER), "resource": "adopted-port vnet0"}),
    (errors.UnknownNetwork, lambda b: b.driver.plug(of_network("mars")), {"vif_id": ID, "resource": "network mars"}),
    (
        errors.UnknownNetwork,
        lambda b: (b.define("<network><name>bad</name><bridge/></network>", "bad"), b.driver.update_network("bad")),
        {"resource": "network bad", "path": "{path}/networks.d/bad.xml"},
    ),
    (
        errors.UnknownPortGroup,
        lambda b: resolve(of_network("red", portgroup="x"), pool("e0")),
        {"vif_id": ID, "resource": "network red"},
    ),
    (
        errors.KernelLacks,
        lambda b: sysctls.write("lo", {"ipv4/nonsense": "1"}),
        {"path": "/proc/sys/net/ipv4/conf/lo/nonsense"},
    ),
    (errors.BrokenPlugin, lambda b: Host(OvsSettings()).backend("mars"), {"resource": "resource kind mars"}),
    (errors.StoreFailed, open_state, {"path": "{path}/state", "option": "[vifplug] state_path"}),
    (errors.DamagedRecord, damaged, {"vif_id": ID, "vif_ids": (ID,)}),
    (
        errors.Conflict,
        twins,
        {"vif_id": OTHER, "vif_ids": (ID, OTHER), "resource": f"iface-id {OTHER}", "holder": ID},
    ),
    (errors.Conflict, of_another_guest, {"vif_id": ID, "holder": FIRST.uuid}),
    (errors.Held, held, {"vif_id": ID, "vif_ids": (ID,), "resource": f"tap {TAP}"}),
    (errors.PoolExhausted, in_use, {"vif_id": ID, "resource": "network red", "holder": OTHER}),
    (
        errors.Busy,
        busy,
        {
            "vif_id": OTHER,
            "vif_ids": (ID, OTHER),
            "holder": "another thread of this process",
            "option": "[vifplug] lock_timeout",
            "retryable": True,
        },
    ),
    (errors.StepFailed, lambda b: fails(b, undo=True), {"vif_id": ID, "vif_ids": (ID,), "resource": f"ovs-port {TAP}"}),
    (
        errors.StepFailed,
        updated_network,
        {"vif_id": OTHER, "vif_ids": (OTHER, ID), "resource": "ovs-port tap1b2c3d4e-6a"},
    ),
    (errors.PluginFailed, in_a_plugin, {"vif_id": ID, "resource": "tap tap0"}),
    (errors.PartlyDone, lambda b: fails(b, undo=False), {"vif_id": ID, "vif_ids": (ID,), "retryable": True}),
]


def given(id: str) -> VIF:
    source = {"bridge": "br-int", "given": True, "port_owner": "vifplug"}
    return vif(id, source=source, target="eth9", tap_owner="libvirt")


@pytest.mark.parametrize(("kind", "call", "data"), CASES, ids=[each[0].__name__ for each in CASES])
def test_an_error_carries_what_it_is_about(
    bench: Bench, kind: type[errors.VifplugError], call: Callable[[Bench], object], data: dict[str, Any]
) -> None:
    with pytest.raises(errors.VifplugError) as caught:
        call(bench)
    assert type(caught.value) is kind, repr(caught.value)
    path = str(bench.home.path)
    expected = {key: value.format(path=path) if key == "path" else value for key, value in data.items()}
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert {name: getattr(error, name) for name in expected} == expected, error
        assert str(error) == str(caught.value) and error.retryable is kind.retryable


def test_every_class_has_a_case() -> None:
    raised = {kind for kind, *_ in CASES} | {errors.VifplugError}
    assert not [name for name, each in vars(errors).items() if _is_error(each) and each not in raised]


def _is_error(each: object) -> bool:
    return isinstance(each, type) and issubclass(each, errors.VifplugError)


def test_a_sentence_that_names_an_option_is_of_an_error_that_has_it() -> None:
    """The option may also be filled in by what surrounds the raise: see `vifplug.errors.about`."""
    names = {name for name, each in vars(errors).items() if _is_error(each)}
    missing = []
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for call in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
            name = ast.unparse(call.func).rpartition(".")[2]
            if name in names and re.search(r"\[vifplug", ast.unparse(call)):
                missing += [] if any(each.arg == "option" for each in call.keywords) else [f"{path}:{call.lineno}"]
    assert missing == []


def as_nobody(call: Callable[[], object]) -> object:
    os.seteuid(65534)
    try:
        return call()
    finally:
        os.seteuid(0)


def forbidden_socket() -> None:
    raise unreachable("unix:/run/db.sock", PermissionError(), 1)


def a_tap() -> None:
    with tap.opened("tap0", multi_queue=False):
        pass


def of_neutron() -> None:
    vif_from_binding({"id": ID, "mac_address": "52:54:00:12:34:56", "binding:vif_type": {"a": 1}})


#: what raises it, what the sentence says to do, and what it must not say
SENTENCES: list[tuple[Callable[[], object], str, str]] = [
    (lambda: as_nobody(a_tap), "CAP_NET_ADMIN in this network namespace", "run as root"),
    (forbidden_socket, "run with access to that socket", "run as root"),
    (lambda: as_nobody(forbidden_socket), "run as root or with access to that socket", "Errno"),
    (of_neutron, "$.port.binding:vif_type: ", "{"),
    (lambda: vif(vlan={"tags": [{"id": "x" * 500}]}), "$.vlan.tags[0].id", "FrozenMap"),
]


@pytest.mark.parametrize(("call", "said", "unsaid"), SENTENCES)
def test_a_sentence_has_its_remedy_and_nothing_false(call: Callable[[], object], said: str, unsaid: str) -> None:
    with pytest.raises(errors.VifplugError) as caught:
        call()
    sentence = str(caught.value)
    assert said in sentence and unsaid not in sentence and "\n" not in sentence and len(sentence) < 500
