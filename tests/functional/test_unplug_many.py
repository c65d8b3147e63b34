"""Several VIFs are unplugged together: what is sent does not grow with their number, and a refusal removes nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.guest import opened
from vifplug import VIF, errors
from vifplug.host.netlink.socket import RtSocket
from vifplug.host.ovs.connection import OvsdbConnection
from vifplug.store.store import StoreTransaction
from vifplug.testing.host import PrivateHost

MANY = 300
ON_OVS: dict[str, Any] = {"source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}


def vif(number: int, **keys: Any) -> VIF:
    mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
    fields = {"id": f"{number:08x}-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "type": "bridge", "mac": mac}
    return VIF.from_data({**fields, **ON_OVS, **keys})


def ids(wanted: Sequence[VIF]) -> list[str]:
    return [each.id for each in wanted]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is sent to the kernel, to Open vSwitch's database and to the record."""
    counts: Counter[str] = Counter()

    def count(owner: type, name: str) -> None:
        whole = getattr(owner, name)

        def counting(*arguments: Any, **keys: Any) -> Any:
            counts[f"{owner.__name__}.{name}"] += 1
            return whole(*arguments, **keys)

        monkeypatch.setattr(owner, name, counting)

    for owner, name in (
        (RtSocket, "_conversation"),
        (RtSocket, "_scan"),
        (OvsdbConnection, "transact"),
        (StoreTransaction, "put"),
        (StoreTransaction, "delete"),
    ):
        count(owner, name)
    return counts


def test_many_are_one_transaction_and_one_removal(sent: Counter[str]) -> None:
    """300 requests of netlink are 19 sends: to observe, to see whose the links are, to group them, to see them gone."""
    with PrivateHost(vifplug_ovs={"ensure_bridge": True, "wait": "none"}) as host:
        wanted = [vif(number) for number in range(MANY)]
        host.driver.plug_many([(each, None) for each in wanted])
        sent.clear()
        steps = host.driver.unplug_many([*ids(wanted), wanted[0].id, "7" * 32])
        glances = sent.pop("RtSocket._conversation") - 4 * 19 - 2  # of those, how often a link was still there
        assert sent == {
            "RtSocket._scan": 2,  # the group, and the VIF that is not plugged
            "OvsdbConnection.transact": 3,  # and that VIF
            "StoreTransaction.put": 1,
            "StoreTransaction.delete": 1,
        }
        assert glances >= 0
        assert [len(each) for each in steps] == [*[2] * MANY, 0, 0]
        assert host.driver.list() == [] and host.ports("br-int") == set()
        assert not {link for link in host.links() if link.startswith("tap")}


def test_a_tap_that_a_guest_holds_keeps_all_of_a_batch(host: PrivateHost) -> None:
    wanted = [vif(number, target=f"tap-{number}") for number in range(1, 11)]
    host.driver.plug_many([(each, None) for each in wanted])
    before = (host.links(), host.ports("br-int"), len(host.driver.list()))
    descriptor = opened("tap-9")
    try:
        with pytest.raises(errors.Held, match="tap-9") as caught:
            host.driver.unplug_many(ids(wanted))
        assert caught.value.vif_id == wanted[8].id and list(caught.value.vif_ids) == ids(wanted)
        assert (host.links(), host.ports("br-int"), len(host.driver.list())) == before and host.driver.check() == []
        assert all(host.driver.unplug_many(ids(wanted), force=True))
    finally:
        os.close(descriptor)
    assert host.driver.list() == [] and host.ports("br-int") == set()


def test_one_that_is_anothers_by_now_is_left_and_named_alone(host: PrivateHost) -> None:
    """Also in a group of devices: the others are removed one by one."""
    bridge = {"type": "bridge", "source": {"bridge": "br-lx"}, "virtualport": None}
    host.ip("link", "add", "br-lx", "type", "bridge")
    wanted = [vif(number, **(bridge if number % 2 else {})) for number in range(1, 21)]
    host.driver.plug_many([(each, None) for each in wanted])
    seen = host.driver._host.links.devices._own

    def late(devices: Sequence[Any]) -> Any:
        host.ip("link", "set", devices[0].name, "alias", "mine")
        monkeypatch.undo()
        return seen(devices)

    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(host.driver._host.links.devices, "_own", late)
    with pytest.raises(errors.PartlyDone) as caught:
        host.driver.unplug_many(ids(wanted))
    [left] = host.driver.list()
    assert left.state == "unplugging" and f"VIF {left.id} is not completely unplugged" in str(caught.value)
    assert set(caught.value.unplugged) == {*ids(wanted)} - {left.id}
    assert all(len(steps) == 2 for steps in caught.value.unplugged.values())
    tap = next(link for link in host.links() if link.startswith("tap"))
    host.ip("link", "set", tap, "alias", f"vifplug:{left.id}")
    assert host.driver.unplug_many(ids(wanted)).count(()) == 19
    assert not {link for link in host.links() if link.startswith("tap")}
    host.ip("link", "del", "br-lx")


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"source": {"bridge": "br-int", "hybrid": True}},
        {"source": {"bridge": "br-lx"}, "virtualport": None},
        {"source": {"dev": "low0"}, "virtualport": None, "type": "direct"},
        {"source": {"path": "{}", "mode": "server"}, "virtualport": None, "type": "vhostuser"},
    ],
    ids=["Open vSwitch", "hybrid", "Linux bridge", "macvtap", "vhostuser"],
)
def test_together_is_as_one_after_the_other(host: PrivateHost, tmp_path: Path, keys: dict[str, Any]) -> None:
    """What VIFs share is left to the last of them: a bridge, the settings of a device, the directory of sockets."""
    host.ip("link", "add", "low0", "up", "type", "veth", "peer", "name", "low1")
    host.ip("link", "add", "br-lx", "type", "bridge")
    directory = tmp_path / "made"
    source = {**keys.get("source", ON_OVS["source"])}
    wanted = []
    for number in range(1, 11):
        path = {"path": f"{directory}/{number}"} if "path" in source else {}
        wanted.append(vif(number, **keys | {"source": source | path}))
    try:
        before = host.links() - {"br-int"}, host.ip("-o", "link", "show", "low0")
        host.driver.plug_many([(each, None) for each in wanted])
        assert directory.exists() == ("path" in source)
        together = host.driver.unplug_many(ids(wanted))
        assert host.driver.list() == [] and not directory.exists()
        assert (host.links() - {"br-int"}, host.ip("-o", "link", "show", "low0")) == before
        host.driver.plug_many([(each, None) for each in wanted])
        assert [host.driver.unplug(each.id) for each in wanted] == together
    finally:
        host.ip("link", "del", "low0")
        host.ip("link", "del", "br-lx")
