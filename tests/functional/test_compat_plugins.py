"""A third party's os-vif plugin, installed as pip installs it: as a VIF type and behind the adapter, on this kernel."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site

pytestmark = pytest.mark.needs("namespaces", "tun")

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"

#: A plugin as its authors write them. It makes a tap, says what it was called for, and may fail half-way.
PLUGIN = """
    import os, pathlib, subprocess
    from os_vif import objects, plugin
    from oslo_config import cfg

    def log(*words):
        with open(os.environ["ACME_LOG"], "a") as file:
            print(*words, file=file)

    class Acme(plugin.PluginBase):
        CONFIG_OPTS = [cfg.StrOpt("colour", default="green")]

        def describe(self):
            info = objects.host_info.HostVIFInfo(
                vif_object_name="VIFGeneric", min_version="1.0", max_version="1.0", supported_port_profiles=[])
            return objects.host_info.HostPluginInfo(plugin_name="acme", vif_info=[info])

        def plug(self, vif, instance_info):
            log("plug", vif.vif_name, vif.address, vif.network.bridge, instance_info.uuid, self.config.colour)
            subprocess.run(["ip", "tuntap", "add", "dev", vif.vif_name, "mode", "tap"])
            if pathlib.Path(os.environ["ACME_LOG"] + ".fail").exists():
                raise RuntimeError("the controller said no")

        def unplug(self, vif, instance_info):
            log("unplug", vif.vif_name)
            subprocess.run(["ip", "link", "del", "dev", vif.vif_name])

    class Broken(plugin.PluginBase):
        def __init__(self, config):
            raise OSError("no licence")
        describe = plug = unplug = None
"""

PREAMBLE = """
    import os
    from pathlib import Path
    from vifplug import VIF, Instance, VIFDriver, conf, errors
    from vifplug.testing import netns

    config, log = os.environ["ACME_CONF"], Path(os.environ["ACME_LOG"])
    instance = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web")
    network = {"class": "Network", "id": ID, "bridge": "br-acme"}
    document = {"id": ID, "type": "os_vif", "mac": "fa:16:3e:0c:44:d1", "source": {
        "plugin": "acme", "vif": {"class": "VIFGeneric", "vif_name": "tapacme", "network": network}}}

    def called():
        told = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return told

    def there():
        return "tapacme" in netns.ip("-o", "link")
"""

CALLED = "plug tapacme fa:16:3e:0c:44:d1 br-acme 77777777-aaaa-4bbb-8ccc-dddddddddddd"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    site.install("acme", "1.2", {"os_vif": {"acme": "acme:Acme", "broken": "acme:Broken"}}, PLUGIN)
    (tmp_path / "acme.conf").write_text("[os_vif_acme]\ncolour = red\n")
    (tmp_path / "vifplug.conf").write_text(
        f"[vifplug]\nstate_path = {tmp_path / 'state'}\n"
        f"[vifplug_os_vif]\nrun_dir = {tmp_path / 'run'}\nconfig_file = {tmp_path / 'acme.conf'}\n"
    )
    return site


def ask(site: Site, code: str) -> Any:
    """What ``code`` leaves in ``answer``, in a namespace of its own."""
    base = site.path.parent
    script = (
        f"ID = {ID!r}" + textwrap.dedent(PREAMBLE) + textwrap.dedent(code) + "\nimport json; print(json.dumps(answer))"
    )
    done = site.run("-c", script, ACME_LOG=str(base / "log"), ACME_CONF=str(base / "vifplug.conf"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_plugin_is_a_vif_type(site: Site) -> None:
    """It plugs once, again when its device or its mark has gone; check tells; unplug unplugs. Its options are read."""
    answer = ask(
        site,
        """
        answer = {}
        with netns.entered(), VIFDriver(conf.load([config])) as driver:
            vif = VIF.from_json(document)
            answer["element"] = driver.plug(vif, instance).interface_xml
            answer["first"] = [called(), there()]
            answer["again"] = [driver.plug(vif, instance).changed, called()]
            answer["fine"] = [str(each) for each in driver.check()]
            netns.ip("link", "del", "dev", "tapacme")
            answer["gone"] = [str(each) for each in driver.check()]
            answer["mended"] = [driver.plug(vif, instance).changed, len(called()), there(), driver.check()]
            [mark] = (Path(config).parent / "run").iterdir()
            mark.unlink()
            answer["forgotten"] = len(driver.check())
            driver.unplug(vif.id)
            answer["unplugged"] = [called(), there(), [each.name for each in mark.parent.iterdir()], driver.list()]
        """,
    )
    assert "<target dev='tapacme' managed='no'/>" in answer.pop("element")
    message = f"os-vif {ID}: plugged: expected on, got off"
    assert answer == {
        "first": [[f"{CALLED} red"], True],
        "again": [False, []],
        "fine": [],
        "gone": [message],
        "mended": [True, 1, True, []],
        "forgotten": 1,
        "unplugged": [["unplug tapacme"], False, [], []],
    }


def test_another_object_is_unplugged_and_plugged_again(site: Site) -> None:
    answer = ask(
        site,
        """
        with netns.entered(), VIFDriver(conf.load([config])) as driver:
            driver.plug(VIF.from_json(document), instance)
            document["source"]["vif"]["vif_name"] = "tapother"
            driver.update(VIF.from_json(document))
            answer = [called(), there(), driver.check()]
            driver.unplug(document["id"])
        """,
    )
    assert answer == [[f"{CALLED} red", "unplug tapacme", f"{CALLED} red".replace("tapacme", "tapother")], False, []]


def test_a_plugin_that_fails_leaves_nothing_and_its_words_are_reported(site: Site) -> None:
    answer = ask(
        site,
        """
        Path(f"{log}.fail").touch()
        with netns.entered(), VIFDriver(conf.load([config])) as driver:
            try:
                driver.plug(VIF.from_json(document), instance)
            except errors.StepFailed as error:
                answer = [str(error), there(), driver.list(), called()]
        """,
    )
    assert answer[0].startswith(f"os-vif plugin acme failed to plug VIF {ID}: RuntimeError: the controller said no")
    assert answer[1:] == [False, [], [f"{CALLED} red", "unplug tapacme"]]


@pytest.mark.parametrize(
    ("plugin", "sentence"),
    [
        ("nobody", "os-vif plugin 'nobody' is not installed on this host (installed: acme, broken, noop and ovs)"),
        ("broken", "os-vif plugin acme 1.2 (acme:Broken) cannot be loaded: OSError: no licence"),
    ],
)
def test_a_plugin_that_is_missing_or_broken_is_reported(site: Site, plugin: str, sentence: str) -> None:
    answer = ask(
        site,
        f"""
        document["source"]["plugin"] = {plugin!r}
        with netns.entered(), VIFDriver(conf.load([config])) as driver:
            try:
                driver.plug(VIF.from_json(document), instance)
            except errors.VifplugError as error:
                answer = [str(error), driver.list()]
        """,
    )
    assert sentence in answer[0] and answer[1] == []


# -- behind the adapter -----------------------------------------------------------------------------------------------

AGENT = """
    from vifplug.compat import os_vif
    from oslo_config import cfg

    def vif(plugin="acme", **fields):
        network = os_vif.objects.network.Network(id=ID, bridge="br-acme")
        given = {"id": ID, "address": "fa:16:3e:0c:44:d1", "plugin": plugin, "vif_name": "tapacme", "network": network}
        return os_vif.objects.vif.VIFGeneric(**{**given, **fields})

    cfg.CONF(["--config-file", str(Path(config).parent / "acme.conf")], project="agent")
"""


def test_an_agent_gets_to_a_third_partys_plugin_with_a_record(site: Site) -> None:
    """Which has the agent's own options; twice is once, as with every VIF of vifplug's."""
    answer = ask_agent(
        site,
        """
        os_vif.plug(vif(), info)
        os_vif.plug(vif(), info)
        with VIFDriver(conf.load([config])) as driver:
            [entry] = driver.list()
            answer = [called(), there(), entry.vif.type, driver.check(), "tapacme" in entry.interface_xml]
        os_vif.unplug(vif(), info)
        answer += [called(), there()]
        """,
    )
    assert answer == [[f"{CALLED} red"], True, "os_vif", [], True, ["unplug tapacme"], False]


def test_what_a_plugin_plugged_before_vifplug_came_is_unplugged_by_it(site: Site) -> None:
    answer = ask_agent(
        site,
        """
        netns.ip("tuntap", "add", "dev", "tapacme", "mode", "tap")
        os_vif.unplug(vif(), info)
        answer = [called(), there()]
        """,
    )
    assert answer == [["unplug tapacme"], False]


def test_a_class_of_a_plugins_own_is_plugged_as_the_class_that_it_inherits(site: Site) -> None:
    answer = ask_agent(
        site,
        """
        from oslo_versionedobjects import base, fields

        @base.VersionedObjectRegistry.register
        class AcmeVIF(os_vif.objects.vif.VIFGeneric):
            fields = {"colour": fields.StringField()}

        own = vif()
        own = AcmeVIF(**{name: getattr(own, name) for name in own.fields if name in own}, colour="blue")
        os_vif.plug(own, info)
        with VIFDriver(conf.load([config])) as driver:
            [entry] = driver.list()
        answer = [called(), entry.vif.source["form"], entry.vif.source["vif"]["colour"]]
        os_vif.unplug(own, info)
        """,
    )
    assert answer == [[f"{CALLED} red"], "VIFGeneric", "blue"]


def test_a_broken_plugin_harms_no_other_and_its_user_is_reported(site: Site) -> None:
    answer = ask_agent(
        site,
        """
        told = os_vif.host_info()
        answer = [sorted(each.plugin_name for each in told.plugin_info)]
        for name in ("broken", "acme"):
            try:
                os_vif.plug(vif(name, address=None) if name == "acme" else vif(name), info)
            except os_vif.exception.PlugException as error:
                answer.append(str(error.__cause__))
        """,
    )
    names, broken, nobody = answer
    assert names == ["acme", "linux_bridge", "noop", "ovs", "vifplug"]
    assert broken == "os-vif plugin acme 1.2 (acme:Broken) cannot be loaded: OSError: no licence"
    assert nobody == f"VIFGeneric {ID}: address is missing; plugin acme needs it"


def ask_agent(site: Site, code: str) -> Any:
    indented = textwrap.indent(textwrap.dedent(code), "    ")
    start = "with netns.entered():\n    os_vif.initialize(config_files=[config])\n"
    start += "    info = os_vif.objects.instance_info.InstanceInfo(uuid=instance.uuid, name='web')\n"
    return ask(site, textwrap.dedent(AGENT) + start + indented)
