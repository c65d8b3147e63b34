"""Links that are removed: what is known when the call returns, while the kernel still waits for RCU; and groups."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from vifplug import errors
from vifplug.host.links.devices import birth_group
from vifplug.host.netlink import deletion
from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import RTM_DELLINK
from vifplug.host.netlink.socket import NetlinkRefused, Reply, Request, RtSocket
from vifplug.plan.registry import Device, LibvirtTap, LinuxBridge, Macvtap, Tap, VethPair, mark
from vifplug.plan.steps import Step
from vifplug.testing.netns import ip

OWNER = "0d9c1e5a-7a1c-4b52-9a53-1f2f5e0c7b11"
GROUP = 4711


class Answers:
    """The kernel's answers to RTM_DELLINK, which reach the sender only when they may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may = threading.Event()
        self.may.set()
        self.requests: list[Request] = []
        whole = RtSocket.exchange

        def exchange(socket: RtSocket, messages: Sequence[Request]) -> list[Reply]:
            removals = [each for each in messages if each[0] == RTM_DELLINK]
            self.requests += removals
            replies = whole(socket, messages)
            if removals:
                self.may.wait(30)
            return replies

        monkeypatch.setattr(RtSocket, "exchange", exchange)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    made = Answers(monkeypatch)
    yield made
    made.may.set()


@pytest.fixture
def links(kernel: Any) -> Netlink:
    found: Netlink = kernel.backend.links._netlink
    return found


def taps(count: int) -> list[Tap]:
    return [Tap(name=f"t{number}", owner=f"{OWNER[:-2]}{number:02x}") for number in range(count)]


def there(links: Netlink) -> set[str]:
    return {link.name for link in links.all()} - {"lo"}


@pytest.mark.parametrize(
    "device",
    [
        Tap(name="d0", owner=OWNER),
        VethPair(name="d0", peer="d1", owner=OWNER),
        LinuxBridge(name="d0", owner=OWNER),
        Macvtap(name="d0", lower="low", mode="passthrough", owner=OWNER),
    ],
    ids=lambda device: device.kind,
)
def test_the_name_is_free_although_the_kernel_has_not_answered(kernel: Any, answers: Answers, device: Device) -> None:
    ip("link", "add", "low", "type", "veth", "peer", "name", "far")
    kernel.reach(device)
    answers.may.clear()
    kernel.apply(Step(device, None))
    assert not there(kernel.backend.links._netlink) & {"d0", "d1"}
    kernel.reach(device)
    assert kernel.plan(device) == []
    answers.may.set()
    for _ in range(10):
        kernel.apply(Step(device, None))
        kernel.reach(device)
        assert kernel.plan(device) == []
    kernel.apply(Step(device, None))
    kernel.backend.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("vifplug")]


def test_a_refusal_is_the_callers_and_a_link_that_is_gone_is_none(links: Netlink) -> None:
    with pytest.raises(NetlinkRefused) as caught:
        links.delete(1)  # lo
    assert caught.value.code == errno.EOPNOTSUPP
    links.delete(99_999)
    assert links.link("lo")


def test_who_may_have_no_thread_waits_for_the_kernel(
    kernel: Any, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    [tap] = taps(1)
    kernel.reach(tap)
    kernel.apply(Step(tap, None))
    assert len(answers.requests) == 1 and not there(kernel.backend.links._netlink)
    with pytest.raises(NetlinkRefused):
        kernel.backend.links._netlink.delete(1)


def test_a_few_threads_wait_and_no_more(kernel: Any, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "_MOST", 2)
    made = taps(3)
    kernel.reach(*made)
    before = threading.active_count()
    answers.may.clear()
    for tap in made[:2]:
        kernel.apply(Step(tap, None))
    assert threading.active_count() == before + 2
    threading.Timer(0.2, answers.may.set).start()
    kernel.apply(Step(made[2], None))
    assert answers.may.is_set(), "the third waited for the kernel's answer itself"


def test_an_interrupt_leaves_no_link_that_vanishes_later(
    kernel: Any, links: Netlink, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    [tap] = taps(1)
    kernel.reach(tap)

    def interrupted(looks: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(links, "_exist", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kernel.apply(Step(tap, None))
    assert not [each for each in threading.enumerate() if each.name.startswith("vifplug")]
    assert len(answers.requests) == 1 and not there(links)


def test_a_child_that_is_forked_meanwhile_waits_for_nothing(kernel: Any, links: Netlink, answers: Answers) -> None:
    made = taps(2)
    kernel.reach(*made)
    answers.may.clear()
    kernel.apply(Step(made[0], None))

    def child() -> None:
        answers.may.set()  # its own copy
        kernel.apply(Step(made[1], None))
        kernel.backend.close()
        os._exit(0 if there(links) == set() else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(timeout=30)
    assert process.exitcode == 0 and there(links) == set()


ENDS = """
import atexit, os, sys
from vifplug.host.links.links import Links
from vifplug.plan.registry import Tap
from vifplug.plan.steps import Step
links, tap = Links(), Tap(name=sys.argv[1], owner=sys.argv[2])
links.devices.apply([Step(None, tap)], [])
remove = lambda: links.devices.apply([Step(tap, None)], [])
if sys.argv[3] == "at exit":
    atexit.register(remove)
else:
    remove()
    os._exit(0)
"""


@pytest.mark.parametrize("end", ["at exit", "at once"])
def test_a_process_may_end_meanwhile(links: Netlink, end: str) -> None:
    run = subprocess.run([sys.executable, "-c", ENDS, "t0", OWNER, end], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "") and there(links) == set()


# -- groups -----------------------------------------------------------------------------------------------------------


def remove(kernel: Any, devices: Sequence[Device]) -> None:
    kernel.backend.links.devices.apply([Step(each, None) for each in devices], [])


def test_many_devices_are_removed_with_one_request(kernel: Any, links: Netlink, answers: Answers) -> None:
    """Also if one has vanished, and of every kind; what is another's stays."""
    made: list[Device] = [*taps(10), VethPair(name="v0", peer="v1", owner=OWNER), LinuxBridge(name="b0", owner=OWNER)]
    kernel.reach(*made)
    ip("tuntap", "add", "mode", "tap", "name", "vnet0")
    ip("link", "add", "other", "type", "bridge")
    ip("link", "del", "t3")
    remove(kernel, [*made, LibvirtTap(name="vnet0", owner=OWNER)])
    assert there(links) == {"other"} and len(answers.requests) == 1
    remove(kernel, made)
    assert len(answers.requests) == 1


def test_a_group_with_another_link_in_it_is_not_removed(
    kernel: Any, links: Netlink, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda bound: GROUP - 1)
    ip("link", "add", "other", "type", "bridge")
    ip("link", "set", "other", "group", str(GROUP))
    made = taps(10)
    kernel.reach(*made)
    remove(kernel, made)
    assert there(links) == {"other"} and len(answers.requests) == len(made)


def test_of_a_group_with_anothers_device_none_is_removed(kernel: Any, links: Netlink, answers: Answers) -> None:
    made = taps(10)
    kernel.reach(*made)
    ip("link", "set", "t7", "alias", mark("another"))
    with pytest.raises(errors.Conflict, match="tap t7"):
        remove(kernel, made)
    assert there(links) == {tap.name for tap in made} and not answers.requests


def test_a_device_whose_mark_was_its_group_keeps_a_mark_in_another(
    kernel: Any, links: Netlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed after it has grouped the devices leaves what the next one knows."""
    made = taps(10)
    kernel.reach(*made)
    ip("link", "set", "t4", "alias", "", "group", str(birth_group(made[4].owner)))

    def killed(group: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(links, "_members", killed)
    with pytest.raises(KeyboardInterrupt):
        remove(kernel, made)
    monkeypatch.undo()
    assert [each.name for each in kernel.backend.links.find(made[4].owner)] == ["t4"]
    remove(kernel, made)
    assert there(links) == set()
