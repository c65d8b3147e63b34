"""Tests that need a kernel or a device which this machine has not: they run in a virtual machine that has it.

A test that is marked ``machine("sriov")`` is run by a pytest inside the machine of that name, together with all others
of the session that are; what it reports there is its report here. So one starts, selects and reads such tests like
any other, and a machine boots once.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import ROOT
from tests.support.vm import LONG, SHARED, VARIABLE, Hardware, VirtualMachine
from vifplug.testing import MissingRequirement

#: set inside: where to report to
REPORTS = "VIFPLUG_TEST_REPORTS"
#: seconds in which a machine has to report something new: it emulates, and perhaps a machine within it
_PATIENCE = 900

_IOMMU = ("-device", "intel-iommu,intremap=on,caching-mode=on")
_PORTS = ("-device", "pcie-root-port,id=port1,chassis=1,slot=1", "-device", "pcie-root-port,id=port2,chassis=2,slot=2")
#: a NIC with VFs, and a second one at the other end of its wire
_WIRE = (
    *("-netdev", "hubport,hubid=1,id=near", "-device", "igb,bus=port1,netdev=near,romfile="),
    *("-netdev", "hubport,hubid=1,id=far", "-device", "e1000e,bus=port2,netdev=far,romfile="),
)

MACHINES: Mapping[str, Hardware] = {
    "plain": Hardware(),
    "full": Hardware(
        modules=(
            *("bridge", "8021q", "veth", "dummy", "tun", "macvtap", "openvswitch", "vhost_net"),
            *("sch_htb", "sch_sfq", "sch_ingress", "act_police", "cls_matchall", "cls_basic", "cls_u32", "cls_fw"),
            *("vdpa_sim_net", "vhost_vdpa", "virtio_vdpa", "netdevsim"),
        ),
    ),
    # With 3 GiB the NIC's mailbox goes silent as soon as a guest within runs.
    "sriov": Hardware(
        modules=("igb", "igbvf", "e1000e", "8021q", "macvtap", "tun", "vfio-pci", "vfio_iommu_type1"),
        memory=2048,
        arguments=(*_IOMMU, *_PORTS, *_WIRE),
        device="igb",
        guest=("igbvf",),
    ),
}

_NODE = pytest.StashKey[str]()


def machine_of(item: pytest.Item) -> str | None:
    """The machine that a test has to run in; None where that is this one."""
    marker = item.get_closest_marker("machine")
    return marker.args[0] if marker else None


class Outside:
    """Here: hands the tests to their machines, and reports what those report."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._sessions: dict[str, Session] = {}

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """One worker of xdist for all machines: each wants all processors. xdist adds the group to the node's id."""
        for item in items:
            if machine := machine_of(item):
                if machine not in MACHINES:
                    raise pytest.UsageError(f"{item.nodeid}: no machine {machine!r}; there are: {', '.join(MACHINES)}")
                item.stash[_NODE] = item.nodeid
                item.add_marker(pytest.mark.xdist_group("machines"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        if not (machine := machine_of(item)):
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports(machine, item):
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        item.session._setupstate.teardown_exact(nextitem)  # of the test before, that thought this one would need it
        return True

    def pytest_sessionfinish(self) -> None:
        for session in self._sessions.values():
            session.close()

    def _reports(self, machine: str, item: pytest.Item) -> Iterator[pytest.TestReport]:
        if machine not in self._sessions:
            nodes = [each.stash[_NODE] for each in item.session.items if machine_of(each) == machine]
            self._sessions[machine] = Session(self._config, MACHINES[machine], nodes)
        try:
            found = self._sessions[machine].reports(item.stash[_NODE])
        except MissingRequirement as lacking:
            yield _verdict(item, "skipped", (str(item.path), item.location[1], f"Skipped: {lacking}"))
        except Ended as ended:
            yield _verdict(item, "failed", str(ended))
        else:
            for report in found:
                report.nodeid = item.nodeid
                yield report


def _verdict(item: pytest.Item, outcome: Any, message: Any) -> pytest.TestReport:
    return pytest.TestReport(item.nodeid, item.location, dict.fromkeys(item.keywords, 1), outcome, message, "call")


class Ended(Exception):
    """A machine did not run a test; ``str()`` is what is known of its end."""


class Session:
    """A machine, and the pytest in it, for these nodes. What keeps it from starting is told for each test."""

    def __init__(self, config: pytest.Config, hardware: Hardware, nodes: Sequence[str]) -> None:
        self._config = config
        self._found: dict[str, list[pytest.TestReport]] = {}
        self._read, self._lacking, self._ended, self._machine = 0, "", "", None
        try:
            self._machine = VirtualMachine(hardware, self._job(nodes)).__enter__()
        except MissingRequirement as lacking:
            self._lacking = str(lacking)

    def reports(self, node: str) -> list[pytest.TestReport]:
        """What a test has reported, as soon as it has. Raises MissingRequirement or Ended."""
        if self._machine is None:
            raise MissingRequirement(self._lacking)
        deadline = time.monotonic() + _PATIENCE
        while node not in self._found:
            if self._ended:
                raise Ended(f"the machine ended before this test: see {self._ended}")
            over = not self._machine.runs() or time.monotonic() > deadline
            self._hear()  # also then: it may have been its last word
            if over and node not in self._found:
                self._ended = node
                raise Ended(self._end())
            time.sleep(0.05)
        return self._found[node]

    def close(self) -> None:
        if self._machine:
            self._machine.__exit__(None, None, None)

    def _job(self, nodes: Sequence[str]) -> str:
        option = self._config.option
        words = [f"--tb={option.tbstyle}", *["-v"] * option.verbose, *["--showlocals"] * option.showlocals]
        environment = {REPORTS: SHARED / "reports", "PYTHONPATH": ROOT}
        environment |= {name: os.environ[name] for name in (VARIABLE, LONG) if name in os.environ}
        command = ["env", *(f"{name}={value}" for name, value in environment.items()), sys.executable, "-m", "pytest"]
        command += ["-p", __name__, "-p", "no:cacheprovider", "-o", f"faulthandler_timeout={_PATIENCE // 2}"]
        return f"cd {shlex.quote(str(self._config.rootpath))}\n{shlex.join([*command, *words, *nodes])}\n"

    def _hear(self) -> None:
        """Take in what has been reported since."""
        assert self._machine
        file = self._machine.directory / "reports"
        with file.open("rb") if file.exists() else open(os.devnull, "rb") as stream:
            stream.seek(self._read)
            lines = [line for line in stream if line.endswith(b"\n")]
        self._read += sum(map(len, lines))
        for node, reports in map(json.loads, lines):
            self._found[node] = [self._report(data) for data in reports]

    def _report(self, data: dict[str, Any]) -> pytest.TestReport:
        report = self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
        if isinstance(report.longrepr, list):  # JSON has no tuples: where a test was skipped, and why
            report.longrepr = tuple(report.longrepr)
        assert isinstance(report, pytest.TestReport)
        return report

    def _end(self) -> str:
        assert self._machine
        end = "has ended" if not self._machine.runs() else f"has said nothing for {_PATIENCE} s"
        return f"the machine {end}\n{self._machine.output()[-6000:]}\n{self._machine.console()}"


class Inside:
    """There: tells the outside what each test reports, as soon as it is done."""

    def __init__(self, config: pytest.Config, target: Path) -> None:
        self._config, self._target = config, target
        self._reports: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._reports.append(data)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        with self._target.open("a") as stream:
            stream.write(json.dumps([nodeid, self._reports]) + "\n")
        self._reports = []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "machine(name): runs in a virtual machine; see tests/plugins/machines.py")
    target = os.environ.get(REPORTS)
    config.pluginmanager.register(Inside(config, Path(target)) if target else Outside(config), "machines")
