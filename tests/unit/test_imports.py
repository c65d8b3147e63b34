"""Importing vifplug costs little: what is heavy is loaded by the room that needs it, when it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    *("asyncio", "cliff", "lxml", "multiprocessing", "oslo_config", "oslo_log", "ovs", "ovsdbapp", "pyroute2"),
    *("sqlite3", "ssl", "stevedore", "subprocess", "tenacity"),
}


def _modules(statement: str) -> set[str]:
    """The modules that are loaded in a fresh interpreter after ``statement``."""
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {[str(ROOT), *sys.path]!r}; {code}"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_importing_vifplug_loads_nothing_heavy() -> None:
    loaded = _modules("import vifplug")
    assert not HEAVY & {name.partition(".")[0] for name in loaded}
    assert len(loaded) < 120


def test_the_model_needs_the_standard_library_only() -> None:
    loaded = _modules("from vifplug import errors; from vifplug.model.vif import VIF")
    assert not HEAVY & {name.partition(".")[0] for name in loaded}


def test_the_hook_of_a_guest_without_metadata_loads_no_driver() -> None:
    loaded = _modules("import vifplug.cli.main, vifplug.cli.verbs.libvirt_hook")
    assert (
        not {"vifplug.driver.verbs", "vifplug.compat.libvirt_hook", "lxml", "oslo_config", "sqlite3", "ovs", "pyroute2"}
        & loaded
    )


def test_the_record_loads_no_framework() -> None:
    loaded = _modules("import vifplug.store.store")
    assert not (HEAVY - {"sqlite3"}) & {name.partition(".")[0] for name in loaded}


def test_the_driver_loads_no_xml_no_picture_and_no_switch() -> None:
    loaded = _modules("import vifplug.driver.verbs")
    assert not {"lxml", "ovs", "ovsdbapp", "pyroute2", "cliff", "platform", "uuid"} & {
        name.partition(".")[0] for name in loaded
    }
    rooms = ("networks.read", "networks.candidates", "topology", "admission", "picture")
    assert not {f"vifplug.{room}" for room in rooms} & loaded


def test_a_driver_that_has_begun_has_loaded_no_backend(tmp_path: Path) -> None:
    options = f"options = conf.load([]); options.set_override('state_path', {str(tmp_path)!r}, group='vifplug')"
    loaded = _modules(f"from vifplug import VIFDriver, conf; {options}; VIFDriver(options).list()")
    assert not {"vifplug.host.netlink.client", "vifplug.host.vdpa", "vifplug.compat.plugin_backend"} & loaded
    assert not {"ovs", "pyroute2"} & loaded


def test_the_options_load_no_room_of_networks_and_nothing_for_urls_and_addresses() -> None:
    loaded = _modules("import vifplug.conf")
    assert "oslo_config.types" in loaded
    assert not {"netaddr", "rfc3986", "vifplug.networks"} & loaded


def test_an_element_loads_nothing_about_virtual_functions_and_networks() -> None:
    loaded = _modules("import vifplug.cli.documents, vifplug.host.host")
    assert not {"vifplug.host.sriov", "vifplug.model.network", "vifplug.networks"} & loaded


def test_who_uses_what_was_postponed_gets_it() -> None:
    uses = "types.URI(schemes=['https'])('https://example.org/'); types.IPAddress()('2001:db8::1')"
    loaded = _modules(f"import vifplug.conf; from oslo_config import types; {uses}; import netaddr.core, rfc3986.api")
    assert {"netaddr.ip", "rfc3986.validators"} <= loaded


def test_the_switch_loads_of_ovsdbapp_only_what_a_command_is() -> None:
    """Its whole API, in vifplug.host.ovs.ovsdbapp_api, is for programs that speak it."""
    loaded = {name for name in _modules("import vifplug.host.ovs.backend") if name.startswith(("ovs", "vifplug"))}
    assert "ovsdbapp.api" in loaded
    assert not {each for each in loaded if "ovsdbapp_api" in each or each.startswith(("ovsdbapp.schema", "ovs."))}
