"""doc/networks.md is true: its example is a network and a VIF on it, its options and verbs are there."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

from vifplug import VIF, Network, conf, resolve

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "doc/networks.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def test_the_example_is_a_network_and_a_vif_on_it() -> None:
    network, vif = Network.from_xml(block("xml")), VIF.from_json(block("json"))
    actual = resolve(vif, network)
    assert (actual.type, actual.source.bridge) == ("bridge", "br-red") and actual.vlan and actual.vlan.access == 10
    firewall = resolve(vif.replace(source=vif.source.replace(portgroup="firewalls")), network)
    assert firewall.vlan and firewall.vlan.native and firewall.bandwidth


def test_the_options_and_verbs_that_it_names_are_there() -> None:
    options = {option.name for _, group in conf.list_opts() for option in group}
    assert set(re.findall(r"`\[vifplug\w*\] (\w+)`", PAGE)) <= options
    verbs = {point.name.replace("_", " ") for point in entry_points(group="vifplug.cli")}
    named = {match.strip() for match in re.findall(r"vifplug ((?:network |pool )?[a-z-]+)", PAGE)}
    assert {each for each in named if each.split()[0] in {verb.split()[0] for verb in verbs}} <= verbs
    assert {"resolve", "can-plug", "candidates", "topology", "pool show", "network update"} <= named
