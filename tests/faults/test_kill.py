"""Killed at any point: the record has the intent, and the next plug or unplug of the VIF ends it cleanly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from vifplug import VIF
from vifplug.testing.host import PrivateHost

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
DOCUMENT: dict[str, Any] = {
    "id": ID,
    "type": "bridge",
    "mac": "52:54:00:12:34:56",
    "source": {"bridge": "br-int", "hybrid": True},
    "virtualport": {"type": "openvswitch"},
}

#: a process that kills itself after a number of steps, counted over all backends, before or after the step is recorded
VICTIM = """
import os, signal, sys
from vifplug import VIF, VIFDriver, conf
from vifplug.host.host import Host
left = int(sys.argv[3])
whole = Host.apply
def apply(self, steps, done, progress=None):
    global left
    for step in steps:
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        whole(self, [step], done, progress)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
Host.apply = apply
with VIFDriver(conf.load([sys.argv[1]])) as driver:
    if sys.argv[4] == "plug":
        driver.plug(VIF.from_json(sys.argv[2]))
    else:
        driver.unplug(VIF.from_json(sys.argv[2]).id)
"""


def killed(host: PrivateHost, after: int, verb: str) -> bool:
    """Whether the process was killed, after so many steps of the verb."""
    command = ["ip", "netns", "exec", host.namespace, sys.executable, "-c", VICTIM, str(host.config)]
    run = subprocess.run([*command, json.dumps(DOCUMENT), str(after), verb], capture_output=True, text=True)
    assert run.returncode in (0, -signal.SIGKILL), run.stderr
    return run.returncode != 0


@pytest.mark.parametrize("ending", ["plug", "unplug"])
def test_a_plug_that_was_killed_is_finished_or_rolled_back(host: PrivateHost, ending: str) -> None:
    vif, after = VIF.from_json(DOCUMENT), 0
    while killed(host, after, "plug"):
        assert host.driver.show(ID).state == "plugging"
        assert host.driver.check(ID), "check says that it is not finished"
        if ending == "plug":
            host.driver.plug(vif)
            assert host.driver.check(ID) == [] and host.driver.show(ID).state == "plugged"
        host.driver.unplug(ID)
        assert host.driver.list() == [] and host.ports("br-int") == set()
        assert not {link for link in host.links() if link.startswith(("tap", "qbr", "qvo", "qvb"))}
        after += 1
    assert after == 7, "it was killed before each of the six steps of this VIF, and after the last"
    host.driver.unplug(ID)


def test_an_unplug_that_was_killed_is_finished_by_the_next(host: PrivateHost) -> None:
    vif, after = VIF.from_json(DOCUMENT), 0
    host.driver.plug(vif)
    while killed(host, after, "unplug"):
        assert host.driver.show(ID).state == "unplugging"
        host.driver.unplug(ID)
        assert host.driver.list() == [] and host.ports("br-int") == set()
        assert not {link for link in host.links() if link.startswith(("tap", "qbr", "qvo", "qvb"))}
        host.driver.plug(vif)
        after += 1
    assert after >= 6


GROUPED = """
import os, signal, sys
from vifplug import VIFDriver, conf
from vifplug.host.netlink.client import Netlink
def dies(self, group):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(Netlink, sys.argv[2], dies)
with VIFDriver(conf.load([sys.argv[1]])) as driver:
    driver.unplug_many(sys.argv[3:])
"""


@pytest.mark.parametrize("at", ["_members", "delete_all"])
def test_an_unplug_of_many_that_was_killed_is_finished_by_the_next(host: PrivateHost, at: str) -> None:
    """Between the intent and the removal of the devices, and when they are in their group."""
    wanted = [VIF.from_json({**DOCUMENT, "id": ID.replace("9c4e", f"9c4{number:x}")}) for number in range(10)]
    host.driver.plug_many([(each, None) for each in wanted])
    ids = [each.id for each in wanted]
    command = ["ip", "netns", "exec", host.namespace, sys.executable, "-c", GROUPED, str(host.config), at, *ids]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert {each.state for each in host.driver.list()} == {"unplugging"}
    assert all(host.driver.unplug_many(ids))
    assert host.driver.list() == [] and host.ports("br-int") == set()
    assert not {link for link in host.links() if link.startswith(("tap", "qbr", "qvo", "qvb"))}
