"""A VIF that moves from one host to the other: OVN has it on one chassis, then on the other, and never to and fro."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.distributed.two_hosts import TwoHosts
from vifplug.testing.ovn import PortBinding, PrivateOvn

pytestmark = pytest.mark.xdist_group("ovn")


@dataclass(frozen=True)
class History:
    """The states of the Port_Binding of one logical port since it has been watched."""

    ovn: PrivateOvn
    port: str
    path: Path

    def states(self) -> list[PortBinding]:
        """Return the states in order, each different from the one before."""
        names, output = self.ovn.chassis(), self.path.read_text()
        lines = output[: output.rfind("\n") + 1].splitlines()  # the last may be half written
        rows = [row[1:] for line in lines for row in json.loads(line)["data"]]
        found = [columns for action, port, *columns in rows if port == self.port and action != "old"]
        return [state for state, _ in itertools.groupby(PortBinding.from_columns(names, *each) for each in found)]


@contextlib.contextmanager
def watched(ovn: PrivateOvn, port: str) -> Iterator[History]:
    """Record every state of the Port_Binding of a logical port from now on."""
    where = [ovn.southbound, "OVN_Southbound", "Port_Binding", "logical_port,chassis,up,additional_chassis"]
    path = ovn.directory / f"history-{port}"
    command = ["ovsdb-client", "monitor", "--format=json", *where]
    with path.open("w") as file, subprocess.Popen(command, stdout=file) as process:
        try:
            history = History(ovn, port, path)
            ovn.until(lambda: bool(history.states()), f"the Port_Binding of {port}")
            yield history
        finally:
            process.kill()


def request(site: TwoHosts, port: str, chassis: str) -> None:
    site.ovn.nbctl("--wait=hv", "set", "Logical_Switch_Port", port, f'options:requested-chassis="{chassis}"')


def turns(states: Sequence[PortBinding]) -> list[str]:
    """The chassis that had the port, in order: what lies between two turns, nobody's, is left out."""
    return [name for name, _ in itertools.groupby(state.chassis for state in states if state.chassis)]


def ended(site: TwoHosts, history: History, wanted: PortBinding) -> list[PortBinding]:
    """The whole history, once it has come to ``wanted``."""
    site.ovn.await_binding(history.port, wanted)
    site.ovn.until(lambda: history.states()[-1:] == [wanted], f"{wanted} to be seen")
    return history.states()


def test_with_requested_chassis_each_host_in_turn_claims_a_vif_that_is_plugged_on_both(
    site: TwoHosts,
) -> None:
    vif = site.vif(site.switch())
    request(site, vif.id, "one")
    with site.plugged(("one", vif)), watched(site.ovn, vif.id) as history:
        site.ovn.await_binding(vif.id, PortBinding("one", up=True))
        with site.plugged(("two", vif)):
            request(site, vif.id, "one")  # each chassis has looked at it once more
            assert turns(ended(site, history, PortBinding("one", up=True))) == ["one"]
            request(site, vif.id, "two")
            assert turns(ended(site, history, PortBinding("two", up=True))) == ["one", "two"]
            site.unplug("one", vif)
            request(site, vif.id, "two")
            assert turns(ended(site, history, PortBinding("two", up=True))) == ["one", "two"]


def test_without_requested_chassis_two_hosts_claim_the_vif_by_turns(site: TwoHosts) -> None:
    """The reason for the rule: a port may be on two hosts at a time only where OVN is told whose it is."""
    vif = site.vif(site.switch())
    with site.plugged(("one", vif)), watched(site.ovn, vif.id) as history, site.plugged(("two", vif)):
        site.ovn.until(lambda: len(turns(history.states())) > 4, "five turns of the two hosts")


def test_with_both_hosts_requested_the_destination_is_ready_before_the_guest_comes(site: TwoHosts) -> None:
    vif = site.vif(site.switch())
    request(site, vif.id, "one,two")
    with watched(site.ovn, vif.id) as history, site.plugged(("one", vif)):
        site.ovn.await_binding(vif.id, PortBinding("one", up=True))
        answer = site.command("two", "plug", "--wait", "ovn-installed", site.document(vif))
        assert answer.code == 0, answer
        assert ended(site, history, PortBinding("one", up=True, additional=("two",)))
        request(site, vif.id, "two")
        assert turns(ended(site, history, PortBinding("two", up=True))) == ["one", "two"]
    request(site, vif.id, "two")
    assert turns(ended(site, history, PortBinding("two", up=True))) == ["one", "two"]
    site.unplug("two", vif)
