"""The harness itself: what it kills, refuses and says is as told, and its picture misses nothing."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vifplug import errors
from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import LinkChange
from vifplug.host.netlink.socket import NetlinkRefused
from vifplug.testing import faults, netns, picture
from vifplug.testing.faults import Effect, Fault
from vifplug.testing.host import PrivateHost


def files(directory: Path) -> Callable[[], list[str]]:
    def work() -> list[str]:
        (directory / "a").mkdir()
        (directory / "b").write_text("text")
        (directory / "b").rename(directory / "c")
        return sorted(os.listdir(directory))

    return work


FILES = (Effect("mkdir", "a"), Effect("openat", "b"), Effect("write", "b"), Effect("rename", "c"))


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        (None, ["a", "c"]),
        (Fault(1), []),
        (Fault(1, "after"), ["a"]),
        (Fault(2), ["a"]),
        (Fault(3), ["a", "b"]),
        (Fault(4, "after"), ["a", "c"]),
        (Fault(4, error=errno.EIO), ["a", "b"]),
        (Fault(4, "after", error=errno.EIO), ["a", "c"]),
        (Fault(5), ["a", "c"]),
    ],
)
def test_a_fault_happens_at_its_effect(tmp_path: Path, fault: Fault | None, left: list[str]) -> None:
    outcome = faults.run(files(tmp_path), fault)
    assert sorted(os.listdir(tmp_path)) == left
    landed = fault is not None and fault.number <= 4
    assert outcome.effects == (FILES[: fault.number] if fault and landed and not fault.error else FILES)
    assert outcome.killed == (landed and not fault.error)
    assert ("OSError: [Errno 5]" in outcome.bug) == bool(fault and fault.error)
    assert outcome.answer == (None if landed else ["a", "c"])


def test_an_event_happens_there_and_nothing_fails(tmp_path: Path) -> None:
    outcome = faults.run(files(tmp_path), Fault(1, event=(tmp_path / "other").touch))
    assert outcome.answer == ["a", "c", "other"] and outcome.effects == FILES


def test_it_says_what_was_raised_and_does_not_wait_for_ever() -> None:
    def fails() -> None:
        raise errors.Conflict("theirs")

    outcome = faults.run(fails)
    assert (outcome.error, outcome.message, outcome.bug) == ("Conflict", "theirs", "")
    with pytest.raises(TimeoutError):
        faults.run(lambda: time.sleep(60), timeout=0.2)


@pytest.mark.parametrize(
    ("fault", "says", "made"),
    [
        (None, "", True),
        (Fault(1), "", False),
        (Fault(1, "after"), "", True),
        (Fault(1, error=errno.EBUSY), "Device or resource busy", False),
        (Fault(1, "after", error=errno.ENOBUFS), "No buffer space", True),
    ],
)
def test_the_kernel_refuses_a_request_or_its_answer_is_lost(fault: Fault | None, says: str, made: bool) -> None:
    def work() -> str:
        netlink = Netlink()
        assert netlink.link("one") is None
        try:
            netlink.create("one", LinkChange(kind="bridge"))
        except (NetlinkRefused, errors.VifplugError) as error:
            return str(error)
        return ""

    with netns.entered():
        outcome = faults.run(work, fault)
        assert [each.call for each in outcome.effects] == ["sendto"], "reading is no effect"
        assert outcome.killed or says in outcome.answer, outcome
        assert ("one" in netns.ip("-br", "link")) == made


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateHost]:
    with PrivateHost() as host:
        host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
        host.ip("link", "add", "lbr0", "type", "bridge")
        host.ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
        host.driver.list()
        yield host


def ctl(words: str) -> Callable[[PrivateHost], Any]:
    return lambda host: host.ovs.ctl(*words.split())


def ip(words: str) -> Callable[[PrivateHost], Any]:
    return lambda host: host.ip(*words.split())


CHANGES: dict[str, Callable[[PrivateHost], Any]] = {
    "a port": ctl("add-port br-int p0 -- set interface p0 type=internal"),
    "a VLAN": ctl("set port br-int tag=7"),
    "a key": ctl("set interface br-int external_ids:a=b"),
    "QoS": ctl("set port br-int qos=@q -- --id=@q create qos type=linux-htb"),
    "a link": ip("link add one type bridge"),
    "a master": ip("link set up0 master lbr0"),
    "an alias": ip("link set up0 alias mine"),
    "an MTU": ip("link set up0 mtu 1400"),
    "up": ip("link set up0 up"),
    "a MAC": ip("link set up0 address 02:00:00:00:00:09"),
    "a flag": ip("link set up0 type bridge_slave isolated on"),
    "a sysctl": lambda _: Path("/proc/sys/net/ipv6/conf/up0/disable_ipv6").write_text("1"),
    "a qdisc": lambda host: netns.run("tc", "-n", host.namespace, *["qdisc", "add", "dev", "up0", "root", "pfifo"]),
    "a file": lambda host: (host.directory / "state/one").touch(),
    "its rights": lambda host: (host.directory / "state/one").chmod(0o640),
}


def test_a_picture_shows_every_change(host: PrivateHost) -> None:
    seen, missed = picture.take(host), []
    for name, change in CHANGES.items():
        change(host)
        before, seen = seen, picture.take(host)
        if not picture.differences(before, seen):
            missed.append(name)
    assert missed == []
