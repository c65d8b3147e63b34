"""The example of a third party's package: installed as pip installs it, tested by its own tests, and plugged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.site import ROOT, Site, built

EXAMPLE = ROOT / "examples" / "vifplug-example"
ID = "5f6e7d8c-1111-4222-8333-444455556666"
DOCUMENT = {"id": ID, "type": "routed", "mac": "fa:16:3e:12:34:56", "model": "virtio"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A directory with the example in it."""
    return built(EXAMPLE, tmp_path_factory.mktemp("example"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "vifplug.conf"
    file.write_text(f"[vifplug]\nstate_path = {tmp_path / 'state'}\n[vifplug_routed]\nmtu = 1450\n")
    return file


def test_its_own_tests_pass(site: Site) -> None:
    done = site.run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests"))
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr
    assert "skipped" not in done.stdout


def test_it_is_listed_with_its_origin_and_version(site: Site) -> None:
    [line] = [line for line in _vifplug(site, "types", "-f", "json") if line["name"] == "routed"]
    assert line == {
        "plugin": "type",
        "name": "routed",
        "distribution": "vifplug-example",
        "version": "1.0.0",
        "target": "vifplug_routed:Routed",
        "problem": "",
    }


def test_its_element_is_for_a_tap_that_libvirt_does_not_manage(site: Site, tmp_path: Path) -> None:
    (tmp_path / "vif.json").write_text(json.dumps(DOCUMENT))
    done = _run(site, "xml", str(tmp_path / "vif.json"))
    assert done.stdout.splitlines() == [
        "<interface type='ethernet'>",
        "  <mac address='fa:16:3e:12:34:56'/>",
        "  <target dev='tap5f6e7d8c-11' managed='no'/>",
        "  <model type='virtio'/>",
        "</interface>",
    ], done.stderr


def test_a_routed_vif_with_a_vlan_is_refused_with_the_types_reason(site: Site, tmp_path: Path) -> None:
    (tmp_path / "vif.json").write_text(json.dumps({**DOCUMENT, "vlan": 7}))
    done = _run(site, "xml", str(tmp_path / "vif.json"))
    assert done.returncode == 2 and "a route knows no VLAN" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.needs("namespaces", "tun")
def test_it_is_plugged_checked_and_unplugged_on_a_real_kernel(site: Site, config: Path) -> None:
    """The tap is there with the MTU of the type's own option and its sysctls; what is changed is found; all goes."""
    answer = site.ask(
        f"""
        from pathlib import Path
        from vifplug import VIF, VIFDriver, conf
        from vifplug.testing import netns

        sysctls = Path("/proc/sys/net/ipv4/conf/tap5f6e7d8c-11")

        def setting(name):
            return (sysctls / name).read_text().strip()

        with netns.entered(), VIFDriver(conf.load([{str(config)!r}])) as driver:
            vif = VIF.from_json({DOCUMENT!r})
            plugged = driver.plug(vif)
            answer = {{"again": driver.plug(vif).changed, "check": list(map(str, driver.check()))}}
            answer["links"] = netns.ip("link")
            answer |= {{name: setting(name) for name in ("proxy_arp", "forwarding", "rp_filter")}}
            answer["no_ipv6"] = Path("/proc/sys/net/ipv6/conf/tap5f6e7d8c-11/disable_ipv6").read_text().strip()
            (sysctls / "proxy_arp").write_text("0")
            answer["broken"] = list(map(str, driver.check()))
            answer["mended"] = driver.update(vif).changed and setting("proxy_arp")
            loose = vif.replace(source={{"source_check": "loose"}})
            answer["loose"] = driver.update(loose).changed and setting("rp_filter")
            driver.unplug(vif.id)
            answer["left"] = [str(driver.list()), sysctls.exists()]
            answer["xml"] = plugged.interface_xml
        """
    )
    assert "mtu 1450" in answer.pop("links")
    assert "<mtu size='1450'/>" in answer.pop("xml")
    assert answer == {
        "again": False,
        "check": [],
        "proxy_arp": "1",
        "forwarding": "1",
        "rp_filter": "1",
        "no_ipv6": "1",
        "broken": ["tap tap5f6e7d8c-11: sysctls.ipv4/proxy_arp: expected 1, got 0"],
        "mended": "1",
        "loose": "2",
        "left": ["[]", False],
    }


def _run(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return site.run(str(Path(sys.executable).with_name("vifplug")), *arguments)


def _vifplug(site: Site, *arguments: str) -> list[dict[str, str]]:
    done = _run(site, *arguments)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found
