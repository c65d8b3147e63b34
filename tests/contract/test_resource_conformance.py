"""vifplug's own backends of kernel links pass the suite that third parties are given for theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from vifplug.host.backend import Backend
from vifplug.host.links.devices import DeviceBackend
from vifplug.host.links.ports import BridgePortBackend
from vifplug.plan.registry import BridgePort, LinuxBridge, LowerDevice, Resource, Tap, VethPair
from vifplug.testing.backends import ResourceConformance
from vifplug.testing.netns import ip

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"


class Links(ResourceConformance):
    backend: ClassVar[Callable[[], Backend]] = DeviceBackend

    def occupy(self, resource: Resource) -> None:
        ip("link", "add", resource.name, "type", "veth", "peer", "name", "other0")


@pytest.mark.needs("tun")
class TestTap(Links):
    examples = (Tap(name="t0", owner=OWNER, mac="fe:54:00:00:00:01", mtu=1500), Tap(name="t0", owner=OWNER))
    changes = ({"mtu": 1400}, {"up": False}, {"multi_queue": True}, {"user": 64055})


class TestVethPair(Links):
    examples = (VethPair(name="v0", peer="v1", owner=OWNER, mtu=1500),)
    changes = ({"mtu": 1400}, {"peer": "v2"})


class TestBridge(Links):
    examples = (LinuxBridge(name="b0", owner=OWNER, ageing_time=0, stp=False),)
    changes = ({"ageing_time": 300}, {"up": False})


class TestBridgePort(Links):
    backend = BridgePortBackend
    examples = (BridgePort(name="p0", bridge="br0", owner=OWNER, isolated=False),)
    changes: Any = ({"isolated": True}, {"bridge": "br1"})

    def prepare(self) -> None:
        for command in ("br0 type bridge", "br1 type bridge", "p0 type veth peer name p1"):
            ip("link", "add", *command.split())
        ip("link", "set", "p0", "alias", f"vifplug:{OWNER}")

    def occupy(self, resource: Resource) -> None:
        ip("link", "add", "br2", "type", "bridge")
        ip("link", "set", "p0", "master", "br2", "alias", "vifplug:7e1b8d4c-02f6-4c0d-8f57-b2a9d3c4e522")


class TestLowerDevice(Links):
    examples = (LowerDevice(name="low0", owner=OWNER, up=None, mac="52:54:00:00:00:07"),)
    changes = ({"mac": "52:54:00:00:00:09"},)

    def prepare(self) -> None:
        ip("link", "add", "low0", "type", "veth", "peer", "name", "low1")
