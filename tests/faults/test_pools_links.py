"""Device pools on links of this kernel: processes that are killed, devices that go, and macvtaps that are there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.crowd import CROWDED_DEVICES, Signs, crowd, watch_the_record
from tests.faults.pools import definition, killed_at, network_vif, vif_id
from tests.support.memory import Home
from vifplug import errors
from vifplug.driver.records import StoredVif
from vifplug.driver.verbs import Plugged
from vifplug.store.store import Store
from vifplug.testing import netns

#: one worker has the namespace of all these tests
pytestmark = pytest.mark.xdist_group("links of pools")


@dataclass(frozen=True)
class Links:
    """A network namespace of the test's own, and what ip(8) says of it."""

    home: Home
    namespace: str

    def make(self, *devices: str, up: bool = True) -> None:
        for dev in devices:
            self.ip("link", "add", dev, "type", "veth", "peer", "name", f"peer-{dev}")
            self.ip("link", "set", f"peer-{dev}", "up")
            self.ip("link", "set", dev, "up" if up else "down")

    def ip(self, *arguments: str) -> str:
        return netns.ip("-n", self.namespace, *arguments)

    def macvtaps(self) -> list[tuple[str, str, str]]:
        """Lower device, mode and VIF of each."""
        links = json.loads(self.ip("-json", "-details", "link", "show", "type", "macvtap") or "[]")
        message = [link for link in links if link]
        return [
            (link["link"], link["linkinfo"]["info_data"]["mode"], link.get("ifalias", "").removeprefix("vifplug:"))
            for link in message
        ]

    def macs(self) -> dict[str, str]:
        return {link["ifname"]: link["address"] for link in json.loads(self.ip("-json", "link"))}


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """All namespaces have one /dev, where a macvtap is called by its index: no other test comes to those of this one.

    Whoever else runs these tests waits.
    """
    with contextlib.ExitStack() as stack:
        everybodys = os.open("/dev", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, everybodys)
        fcntl.flock(everybodys, fcntl.LOCK_EX)
        [name] = stack.enter_context(netns.named())
        batch = tmp_path_factory.mktemp("spare") / "links"
        batch.write_text("".join(f"link add a{each} group 7 type veth peer name b{each}\n" for each in range(500)))
        netns.ip("-n", name, "-batch", str(batch))
        netns.ip("-n", name, "link", "delete", "group", "7")
        yield name


@pytest.fixture
def links(namespace: str, tmp_path: Path) -> Iterator[Links]:
    with netns.inside(namespace):
        made = Links(Home(tmp_path), namespace)
        yield made
        for link in json.loads(made.ip("-json", "link", "show", "type", "veth")):
            if link["ifname"].startswith("peer-"):
                made.ip("link", "delete", link["ifname"])


def dev_of(plugged: Plugged | StoredVif) -> str:
    found: str = plugged.actual.source.dev
    return found


@pytest.mark.slow
def test_eight_processes_and_many_deaths_on_links_of_this_kernel(links: Links) -> None:
    """The kernel itself has one macvtap in mode passthru on a device, and none beside it."""

    def watch(record: Store, signs: Signs) -> None:
        watch_the_record(record, signs)
        before, there, after = signs.seen(), links.macvtaps(), signs.seen()
        lowers = [lower for lower, _, _ in there]
        assert all(lowers.count(lower) == 1 for lower, mode, _ in there if mode == "passthru")
        on = {(lower, id) for lower, _, id in there}
        assert {sign[:2] for sign in before & after} <= on, "whoever has a device has his macvtap on it"

    links.make(*CROWDED_DEVICES)
    macs = links.macs()
    crowd(links.home, {"p": 40, "u": 25, "killed": 8}, watch, ours=True)
    assert links.macvtaps() == [] and links.macs() == macs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "ending"), [("passthrough", "plug"), ("vepa", "unplug"), ("passthrough", "others first")]
)
def test_a_plug_that_was_killed_at_any_moment_holds_one_device_until_it_is_ended(
    links: Links, mode: str, ending: str
) -> None:
    links.make("e0", "e1")
    macs, vif, other = links.macs(), *(network_vif(vif_id(number), "pool", ours=True) for number in (1, 2))
    links.home.network("pool").write_text(definition("pool", mode, [("e0", None), ("e1", None)]))
    moment = 0
    with links.home.driver() as driver:
        while killed_at(moment, links.home, lambda victim: victim.plug(vif)) == "killed":
            moment += 1
            begun = driver.list()
            assert [dev_of(each) for each in begun] in ([], ["e0"])
            if ending == "others first":
                assert dev_of(driver.plug(other)) == ("e1" if begun else "e0")
            if ending != "unplug":
                again = driver.plug(vif)
                assert dev_of(again) == "e0" or (not begun and ending == "others first")
                assert driver.check() == [] and (dev_of(again), vif.id) in {
                    (lower, id) for lower, _, id in links.macvtaps()
                }
            driver.unplug(vif.id)
            driver.unplug(other.id)
            assert driver.list() == [] and links.macvtaps() == [] and links.macs() == macs
        assert moment >= 13, "three transactions of several statements, and the steps"
        assert [dev_of(each) for each in driver.list()] == ["e0"], "the last one was not killed"


def test_devices_that_are_down_or_gone_or_recreated(links: Links) -> None:
    links.make("e0", "e1", "e2")
    links.home.network("pool").write_text(
        definition("pool", "passthrough", [(name, None) for name in ("e0", "e1", "e2", "e3")])
    )
    vifs = [network_vif(vif_id(number), "pool", ours=True) for number in range(4)]
    links.ip("link", "set", "e0", "down")
    with links.home.driver() as driver:
        assert dev_of(driver.plug(vifs[0])) == "e1", "e0 is down"
        assert dev_of(driver.plug(vifs[1])) == "e2"
        message = rf"e0 is down; e1 is in use by VIF {vifs[0].id}; e2 is in use by VIF {vifs[1].id}; e3 does not exist"
        with pytest.raises(errors.PoolExhausted, match=message):
            driver.plug(vifs[2])
        links.ip("link", "set", "e0", "up")
        assert dev_of(driver.plug(vifs[2])) == "e0"
    links.ip("link", "delete", "e1")
    links.make("e1", "e3")
    with links.home.driver() as driver:
        assert {each.path for each in driver.check(vifs[0].id)} >= {f"macvtap {vifs[0].device}"}
        assert dev_of(driver.plug(vifs[3])) == "e3", "e1 is still held, although it is another link now"
        assert dev_of(driver.plug(vifs[0])) == "e1" and driver.check() == []
        links.ip("link", "delete", "e1")
        with pytest.raises(errors.PoolExhausted, match="e1 does not exist on this host"):
            driver.plug(vifs[0])
        driver.unplug(vifs[2].id)
        assert dev_of(driver.plug(vifs[0])) == "e0" and driver.check() == []
        for vif in vifs:
            driver.unplug(vif.id)
        assert driver.list() == [] and links.macvtaps() == []
