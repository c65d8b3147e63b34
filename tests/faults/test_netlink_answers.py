"""The kernel's answer is lost: netlink_ack() says ENOBUFS where it could not allocate one, and the change is made.

Three outcomes: done, not done, unknown. An unknown one is settled by looking.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Sequence
from typing import Any

import pytest

from vifplug import VIF, errors
from vifplug.host.netlink.socket import Reply, Request, RtSocket
from vifplug.testing.host import PrivateHost

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
ON_OVS: dict[str, Any] = {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
MACVTAP = {"type": "direct", "source": {"dev": "up0", "mode": "bridge"}, "virtualport": None, "tap_owner": "vifplug"}
HYBRID = {"source": {"bridge": "br-int", "hybrid": True}}


def vif(**keys: Any) -> VIF:
    return VIF.from_data({"id": ID, "mac": "52:54:00:12:34:56", **ON_OVS, **keys})


class Lost:
    """Loses the answer to one conversation in which something is changed: the n-th from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, whole = -1, RtSocket._conversation

        def conversation(socket: RtSocket, messages: Sequence[Request]) -> list[Reply]:
            answers = whole(socket, messages)
            if all(answer is None or isinstance(answer, Exception) for answer in answers) and messages:
                self.left -= 1
                if self.left == -1:
                    reason = os.strerror(errno.ENOBUFS)
                    raise errors.Unavailable(f"netlink: the kernel did not answer: {reason}")
            return answers

        monkeypatch.setattr(RtSocket, "_conversation", conversation)

    def after(self, count: int) -> None:
        self.left = count


@pytest.mark.parametrize("form", [{}, HYBRID, MACVTAP], ids=["tap", "hybrid", "macvtap"])
def test_a_plug_whose_answer_is_lost_leaves_nothing(
    host: PrivateHost, monkeypatch: pytest.MonkeyPatch, form: dict[str, Any]
) -> None:
    host.ip("link", "add", "up0", "up", "type", "veth", "peer", "name", "up1")
    host.ip("link", "set", "up1", "up")
    host.ovs.ctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    before, lost = host.links(), Lost(monkeypatch)
    for number in itertools.count():
        lost.after(number)
        try:
            host.driver.plug(vif(**form))
        except errors.VifplugError as error:
            assert not isinstance(error, errors.PartlyDone), error
            assert host.links() == before and host.driver.list() == []
            continue
        lost.after(-1)
        host.driver.unplug(ID)
        break
    assert number > 0


def test_an_update_whose_answer_is_lost_brings_back_what_was(
    host: PrivateHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The macvtap is made again in another mode: it had been removed, and the record said that it was plugged."""
    host.ip("link", "add", "up0", "up", "type", "veth", "peer", "name", "up1")
    host.ip("link", "set", "up1", "up")
    host.driver.plug(vif(**MACVTAP))
    lost, other = Lost(monkeypatch), vif(**{**MACVTAP, "source": {"dev": "up0", "mode": "private"}})
    for number in itertools.count():
        lost.after(number)
        try:
            host.driver.update(other)
            break
        except errors.VifplugError as error:
            assert not isinstance(error, errors.PartlyDone), error
            assert host.driver.check() == [] and host.driver.show(ID).vif == vif(**MACVTAP)
    assert number > 1 and host.driver.check() == []
