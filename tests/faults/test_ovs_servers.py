"""Open vSwitch on bad days: absent, elsewhere, forbidden, restarted, killed, hung. Nothing is guessed and nothing left.

"Within the timeout" is checked generously: the machine may be busy, and the wrong answer is to wait for ever.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.ovs import backend, found, new_id, no_qdisc, port, reach, rows, unplug
from tests.support.patience import becomes
from vifplug import errors
from vifplug.host.ovs import operations
from vifplug.host.ovs.backend import OvsBackend
from vifplug.host.ovs.connection import OutcomeUnknown
from vifplug.host.ovs.settings import OvsSettings
from vifplug.host.ovs.transport import Line
from vifplug.plan.registry import OvsBridge, OvsPort, OvsQos, OvsVlan
from vifplug.plan.steps import Step
from vifplug.testing.ovs import PrivateOvs

SHAPED = OvsQos(type="linux-htb", other_config={"max-rate": "8000000"})


@pytest.fixture
def ovs() -> Iterator[PrivateOvs]:
    with PrivateOvs() as switch:
        switch.ctl("add-br", "br0")
        yield switch


def at(connection: str, timeout: float = 1.0, **settings: str) -> OvsBackend:
    return OvsBackend(OvsSettings(connection=connection, timeout=timeout, **settings), no_qdisc)


def failing(wanted: type[Exception], work: Callable[[], object], *, within: float = 20.0) -> str:
    """The sentence of the error that ``work`` raises, in time."""
    begun = time.monotonic()
    with pytest.raises(wanted) as raised:
        work()
    assert time.monotonic() - begun < within
    assert type(raised.value) is wanted and "\n" not in str(raised.value)
    return str(raised.value)


# -- not reachable ------------------------------------------------------------------------------------------------


def test_a_path_without_a_socket_is_reported(tmp_path: Path) -> None:
    message = failing(errors.Absent, lambda: reach(at(f"unix:{tmp_path}/none.sock"), port()))
    assert re.search(r"none\.sock cannot be reached: no such file; start Open vSwitch", message)


def test_a_socket_that_no_server_listens_on_is_reported(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "old.sock"))
    message = failing(errors.Unavailable, lambda: reach(at(f"unix:{tmp_path}/old.sock"), port()))
    assert "no server listens there; start ovsdb-server" in message


@pytest.mark.needs("root")
def test_no_permission_is_reported(ovs: PrivateOvs) -> None:
    child = os.fork()
    if child == 0:  # a process without rights; nothing but the outcome may leave here
        outcome = 1
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            at(ovs.connection).observe([port()])
        except errors.NotPermitted as error:
            outcome = 0 if "no permission" in str(error) else 2
        finally:
            os._exit(outcome)
    assert os.waitpid(child, 0)[1] == 0


def test_another_servers_socket_is_reported(ovs: PrivateOvs) -> None:
    """The control socket of ovsdb-server speaks JSON-RPC too, and it isn't the database."""
    message = failing(errors.Unavailable, lambda: reach(at(f"unix:{ovs.directory}/ovsdb-server.ctl"), port()))
    assert "does not answer as the Open vSwitch database" in message and "it is another server" in message


def test_a_server_that_says_nothing_is_reported_in_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        message = failing(errors.Unavailable, lambda: reach(at(f"unix:{tmp_path}/silent.sock", 0.3), port()))
    assert "expected a reply within 0.3 s" in message


@pytest.mark.parametrize(
    ("connection", "message"),
    [("/run/x.sock", "expected unix:FILE"), ("unix:", "expected unix:FILE"), ("tcp:127.0.0.1", "expected HOST:PORT"),
     ("tcp:h:0", "expected HOST:PORT"), ("ssl:h:6640", "ssl_ca"), (f"unix:/{'x' * 107}", "at most 107 bytes"),
     ("unix:/run/a,", "expected unix:FILE")],
)  # fmt: skip
def test_a_wrong_connection_says_what_is_allowed(connection: str, message: str) -> None:
    assert message in failing(errors.InvalidConfig, lambda: OvsSettings(connection=connection))


def test_wrong_settings_say_what_is_allowed() -> None:
    assert "none, ofport or ovn-installed" in failing(errors.InvalidConfig, lambda: OvsSettings(wait="yes"))
    assert "more than 0 seconds" in failing(errors.InvalidConfig, lambda: OvsSettings(timeout=0))


def test_the_first_remote_that_answers_is_used(ovs: PrivateOvs, tmp_path: Path) -> None:
    several = f"unix:{tmp_path}/none.sock, {ovs.connection}"
    wanted = port()
    door = at(several, 5)
    reach(door, wanted)
    assert found(door, wanted) is not None
    door.close()
    message = failing(errors.Unavailable, lambda: at(f"unix:{tmp_path}/a,unix:{tmp_path}/b").observe([wanted]))
    assert "/a cannot" in message and "/b cannot" in message


def test_status_reports_a_missing_database_and_does_not_raise(tmp_path: Path) -> None:
    status = at(f"unix:{tmp_path}/none.sock").status()
    assert status["reachable"] is False and "no such file" in status["reason"]


def test_tcp_works() -> None:
    with PrivateOvs(options=["--remote=ptcp:0:127.0.0.1"]) as ovs:
        ovs.ctl("add-br", "br0")
        with backend(ovs, connection=f"tcp:127.0.0.1:{ovs.port()}") as door:
            reach(door, port())


def test_tcp_to_another_host_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    for host, warned in (("127.0.0.1", 0), ("[::1]", 0), ("192.0.2.1", 1), ("192.0.2.1", 1)):
        failing(errors.Unavailable, lambda host=host: found(at(f"tcp:{host}:1", 0.2), port()))
        assert caplog.text.count("anybody on the way may change the switch") == warned


def test_tls_works_and_another_ca_name_or_an_open_key_is_refused(tmp_path: Path) -> None:
    for name in ("ours", "other"):
        _certificate(tmp_path, name)
    key, certificate, other = (str(tmp_path / name) for name in ("ours.key", "ours.crt", "other.crt"))
    options = [f"--private-key={key}", f"--certificate={certificate}", f"--ca-cert={certificate}"]
    with PrivateOvs(options=[*options, "--remote=pssl:0:127.0.0.1"]) as ovs:
        ovs.ctl("add-br", "br0")
        remote = f"ssl:127.0.0.1:{ovs.port()}"
        with backend(ovs, connection=remote, ssl_ca=certificate, ssl_certificate=certificate, ssl_key=key) as door:
            reach(door, port())
        with backend(ovs, connection=remote, ssl_ca=other, ssl_certificate=certificate, ssl_key=key) as door:
            assert "self-signed certificate: set [vifp" in failing(errors.Unavailable, lambda: reach(door, port()))
        ours = {"connection": remote, "ssl_ca": certificate, "ssl_certificate": certificate, "ssl_key": key}
        with backend(ovs, **ours, ssl_server_name="ours") as door:
            reach(door, port())
        with backend(ovs, **ours, ssl_server_name="other") as door:
            message = failing(errors.Unavailable, lambda: reach(door, port()))
            assert "Hostname mismatch, certificate is not valid for 'other'.: set [vifplug_ovs] ssl_server" in message
        with backend(ovs, **ours | {"connection": remote.replace("127.0.0.1", "localhost")}) as door:
            assert "not valid for 'localhost'" in failing(errors.Unavailable, lambda: reach(door, port()))
        os.chmod(key, 0o644)
        with backend(ovs, **ours) as door:
            message = failing(errors.HostNotReady, lambda: reach(door, port()))
            assert (
                "is open to other users (mode 0644): replace it if they may have read it, and run 'chmod o= " in message
            )
        with backend(ovs, **ours | {"ssl_key": f"{key}.none"}) as door:
            message = failing(errors.HostNotReady, lambda: reach(door, port()))
            assert "No such file or directory: correct [vifplug_ovs] ssl_key" in message


def _certificate(directory: Path, name: str) -> None:
    """A certificate that is its own CA."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:127.0.0.1,DNS:{name}",
         "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip


# -- ovsdb-server stops, dies, hangs ------------------------------------------------------------------------------


def test_a_restart_of_the_database_is_not_noticed(ovs: PrivateOvs) -> None:
    with backend(ovs, timeout=20) as door:
        for _ in range(3):
            wanted = port(qos=SHAPED)
            reach(door, wanted)
            ovs.stop("ovsdb-server")
            failing(errors.Absent, lambda wanted=wanted: found(door, wanted))
            ovs.start("ovsdb-server")
            assert found(door, wanted) is not None
            unplug(door, wanted)


def test_killed_in_a_stream_of_plugs_every_outcome_is_what_it_is_said_to_be(ovs: PrivateOvs) -> None:
    """Success: it is there. Unavailable (or Absent, for its socket): it is not."""
    message: list[tuple[OvsPort, str]] = []
    stop = threading.Event()

    def stream() -> None:
        door = at(ovs.connection, 10, wait="none")
        while not stop.is_set():
            wanted = port()
            try:
                door.apply([Step(None, wanted)], [])
                message.append((wanted, "done"))
            except errors.VifplugError as error:
                message.append((wanted, type(error).__name__))
                time.sleep(0.005)
        door.close()

    threads = [threading.Thread(target=stream) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        time.sleep(0.1)
        ovs.kill("ovsdb-server")
        ovs.start("ovsdb-server")
    stop.set()
    for thread in threads:
        thread.join()
    assert {outcome for _, outcome in message} <= {"done", "Unavailable", "Absent"} and len(message) > 20
    with backend(ovs) as door:
        there = door.observe([wanted for wanted, _ in message])
    assert [wanted.identity in there for wanted, _ in message] == [outcome == "done" for _, outcome in message]


def test_a_database_that_hangs_takes_no_request_and_is_named_in_time(ovs: PrivateOvs) -> None:
    wanted = port()
    with backend(ovs, timeout=0.7) as door:
        reach(door, port())
        time.sleep(0.6)  # an idle connection is tried before a request is entrusted to it
        ovs.pause("ovsdb-server")
        assert "hangs" in failing(errors.Unavailable, lambda: door.apply([Step(None, wanted)], []))
        assert "hangs" in failing(errors.Unavailable, lambda: found(door, wanted))
        ovs.resume("ovsdb-server")
        assert found(door, wanted) is None, "nothing was left in the queue of the server"


def test_a_database_that_hangs_with_a_request_leaves_an_unknown_outcome_and_says_so(ovs: PrivateOvs) -> None:
    wanted = port()
    with backend(ovs, timeout=0.4, wait="none") as door:
        done: list[Step] = []
        assert found(door, wanted) is None
        ovs.pause("ovsdb-server")
        with pytest.raises(errors.PartlyDone, match="not known whether") as raised:
            door.apply([Step(None, wanted)], done)
        assert raised.value.left == (f"perhaps ovs-port {wanted.name}",) and done == []
        ovs.resume("ovsdb-server")
        deadline = time.monotonic() + 20
        while found(door, wanted) is None:  # what was sent is executed once the server goes on
            assert time.monotonic() < deadline
        door.apply([Step(None, wanted)], [])
        unplug(door, wanted)
        assert found(door, wanted) is None


def kill_when_stored(ovs: PrivateOvs, port: str) -> None:
    becomes(lambda: port in ovs.ctl("--no-wait", "--bare", "--columns=name", "list", "Port").split())
    ovs.kill("ovsdb-server")


def test_a_database_that_goes_while_vswitchd_is_awaited_leaves_something_and_says_what(ovs: PrivateOvs) -> None:
    wanted = port()
    with backend(ovs, timeout=3) as door:
        ovs.pause("ovs-vswitchd")
        killer = threading.Thread(target=kill_when_stored, args=(ovs, wanted.name))
        killer.start()
        message = failing(errors.PartlyDone, lambda: door.apply([Step(None, wanted)], []))
        killer.join()
        assert "could not be rolled back" in message
        ovs.start("ovsdb-server")
        assert found(door, wanted) is not None
        ovs.resume("ovs-vswitchd")


class Scripted(threading.Thread):
    """A server that a real one cannot be made to be: it answers each request with what ``script`` says, in turn."""

    def __init__(self, path: Path, script: list[list[str]]) -> None:
        super().__init__(daemon=True)
        self.heard: list[str] = []
        self._script = script
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self.start()

    def run(self) -> None:
        line, _ = self._socket.accept()
        self._socket.close()
        for answers in self._script:
            self.heard.append(line.recv(1 << 16).decode())
            for answer in answers:
                line.sendall(answer.encode())
        line.close()


MONITORED = '{"id":"cur_cfg","error":null,"result":{"Open_vSwitch":{"u":{"new":{"cur_cfg":1}}}}}'


def test_the_servers_own_echo_is_answered_in_the_middle_of_a_request(tmp_path: Path) -> None:
    """ovsdb-server asks whether a client of TCP is still there; an update and split messages may come as well."""
    update = '{"id":null,"method":"update","params":["cur_cfg",{"Open_vSwitch":{"u":{"new":{"cur_cfg":7}}}}]}'
    reply = '{"id":1,"error":null,"result":[{"rows":[]}]}'
    script = [[MONITORED], [update, '{"id":"e","method":"echo","params":["x"]}'], [reply[:20], reply[20:]]]
    script.append([reply.replace('"id":1', '"id":2')])  # no such bridge: is it a VLAN bridge?
    server = Scripted(tmp_path / "s.sock", script)
    assert found(at(f"unix:{tmp_path}/s.sock", 10), OvsBridge(name="br0")) is None
    server.join()
    assert server.heard[2] == '{"id":"e","result":["x"],"error":null}'


@pytest.mark.parametrize("polls", [True, False], ids=["poll", "eventlet takes poll away"])
def test_a_line_keeps_to_its_deadlines_and_sends_all_of_a_large_request(
    polls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not polls:
        monkeypatch.delattr(select, "poll")
    ours, theirs = socket.socketpair()
    line, request, heard = Line(ours), b"x" * 3_000_000, bytearray()
    with theirs:
        with pytest.raises(TimeoutError):
            line.send(request, time.monotonic() + 0.1)
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while theirs.recv(1 << 20):
                pass
        theirs.setblocking(True)
        reader = threading.Thread(
            target=lambda: [heard.extend(theirs.recv(1 << 16)) for _ in iter(lambda: len(heard) < len(request), False)]
        )
        reader.start()
        line.send(request, time.monotonic() + 10)
        reader.join()
        assert bytes(heard) == request and not line.readable()
        with pytest.raises(TimeoutError):
            line.receive(time.monotonic() + 0.05)
        theirs.sendall(b"{}")
        assert line.readable() and line.receive(time.monotonic() + 10) == b"{}"
    assert line.readable() and line.receive(time.monotonic() + 10) == b""
    line.close()


def test_a_database_that_was_never_initialized_is_named(tmp_path: Path) -> None:
    Scripted(tmp_path / "s.sock", [['{"id":"cur_cfg","error":null,"result":{}}']])
    message = failing(errors.Unavailable, lambda: found(at(f"unix:{tmp_path}/s.sock"), port()))
    assert "the table Open_vSwitch is empty; initialize it with `ovs-vsctl --no-wait init`" in message


def test_an_answer_that_is_not_understood_names_the_request_and_what_is_wrong(tmp_path: Path) -> None:
    reply = '{"id":1,"error":null,"result":[{"rows":[{"name":"br0","datapath_type":7}]}]}'
    Scripted(tmp_path / "s.sock", [[MONITORED], [reply]])
    door = at(f"unix:{tmp_path}/s.sock")
    with pytest.raises(OutcomeUnknown) as raised:
        door._pool.transact([operations.read_bridge("br0")])
    expected = (
        "its answer to transact (select Bridge) cannot be understood: Bridge.datapath_type: expected a string, got 7"
    )
    assert str(raised.value) == expected


@pytest.mark.parametrize("last", ["", "[1, 2]"], ids=["silence", "no object"])
def test_a_server_that_goes_with_a_request_and_never_returns_leaves_an_unknown_outcome(
    tmp_path: Path, last: str
) -> None:
    server = Scripted(tmp_path / "s.sock", [[MONITORED], [last]])
    door = at(f"unix:{tmp_path}/s.sock", 0.5)
    message = failing(errors.PartlyDone, lambda: door.apply([Step(None, port())], []))
    server.join()
    assert "it may have been executed or not" in message and "no server listens" in message


# -- ovs-vswitchd -------------------------------------------------------------------------------------------------


def test_without_vswitchd_a_plug_says_so_and_leaves_nothing(ovs: PrivateOvs) -> None:
    before = rows(ovs)
    ovs.stop("ovs-vswitchd")
    bridge, wanted = OvsBridge(name="br1", owner=new_id()), port(bridge="br1", qos=SHAPED)
    with backend(ovs, timeout=30) as door:
        done: list[Step] = []
        message = failing(
            errors.Unavailable, lambda: door.apply([Step(None, bridge), Step(None, wanted)], done), within=15
        )
        assert "ovs-vswitchd is not running" in message and "it was rolled back" in message
        assert rows(ovs) == before and done == []
        assert door.status()["vswitchd"] is False


def test_without_vswitchd_a_change_is_rolled_back_and_a_removal_succeeds(ovs: PrivateOvs) -> None:
    wanted = port(qos=SHAPED, vlan=OvsVlan(tag=5))
    with backend(ovs, timeout=30) as door:
        reach(door, wanted)
        before = found(door, wanted)
        ovs.stop("ovs-vswitchd")
        change = wanted.replace(vlan=OvsVlan(tag=6), qos=OvsQos())
        assert "not running" in failing(errors.Unavailable, lambda: reach(door, change), within=15)
        assert found(door, wanted) == before
        unplug(door, wanted)
        assert found(door, wanted) is None


def test_with_wait_none_vswitchd_is_not_asked(ovs: PrivateOvs) -> None:
    ovs.stop("ovs-vswitchd")
    with backend(ovs, wait="none") as door:
        wanted = port()
        reach(door, wanted)
        assert found(door, wanted) is not None


def test_a_vswitchd_that_hangs_is_told_apart_and_what_was_written_is_rolled_back(ovs: PrivateOvs) -> None:
    before = rows(ovs)
    ovs.pause("ovs-vswitchd")
    with backend(ovs, timeout=1.5) as door:
        message = failing(errors.Unavailable, lambda: reach(door, port(qos=SHAPED)))
        assert "ovs-vswitchd is connected and did not apply it" in message and "rolled back" in message
    ovs.resume("ovs-vswitchd")
    assert rows(ovs) == before


def test_a_busy_vswitchd_is_waited_for(ovs: PrivateOvs) -> None:
    ovs.pause("ovs-vswitchd")
    going_on = threading.Timer(1.6, lambda: ovs.resume("ovs-vswitchd"))
    going_on.start()
    with backend(ovs, timeout=30) as door:
        reach(door, port())
    going_on.join()


def test_a_device_that_does_not_work_is_named_and_the_port_is_rolled_back(ovs: PrivateOvs) -> None:
    before = rows(ovs)
    wrong, right = port(type="dpdkvhostuserclient", options={"vhost-server-path": "/x"}), port()
    with backend(ovs) as door:
        message = failing(errors.StepFailed, lambda: reach(door, right, wrong))
        assert f"{wrong.name} on bridge br0 does not work" in message and "could not open network device" in message
        assert rows(ovs) == before


def test_a_device_that_does_not_work_is_a_difference_and_can_be_repaired(ovs: PrivateOvs) -> None:
    with backend(ovs) as door:
        wanted = port()
        reach(door, wanted)
        ovs.ctl("--", "set", "Interface", wanted.name, "type=nonsense")
        broken = found(door, wanted)
        assert broken.type == "nonsense" and "could not open" in broken.error
        reach(door, wanted)
        assert found(door, wanted).error == ""
        ovs.ctl("--", "set", "Interface", wanted.name, "type=nonsense")
        still = wanted.replace(type="nonsense")
        assert "does not work" in failing(errors.StepFailed, lambda: reach(door, still))


def sought() -> OvsPort:
    """A port that OVN looks for."""
    return port(external_ids={"iface-id": new_id()})


def test_ovn_installed_is_waited_for(ovs: PrivateOvs) -> None:
    wanted = sought()
    installed: list[bool] = []

    def install() -> None:
        installed.append(True)
        ovs.ctl("set", "Interface", wanted.name, "external_ids:ovn-installed=true")

    controller = threading.Timer(0.2, install)
    with backend(ovs, wait="ovn-installed", timeout=20) as door:
        controller.start()
        reach(door, wanted)
        assert installed
        controller.join()
        assert found(door, wanted).external_ids == wanted.external_ids


def test_a_port_that_ovn_does_not_look_for_is_not_waited_for(ovs: PrivateOvs) -> None:
    """The end of a patch, and what else has no iface-id, gets no word of ovn-controller's."""
    with backend(ovs, wait="ovn-installed", timeout=20) as door:
        reach(door, port())


def test_a_port_that_was_made_without_a_wait_is_waited_for_later(ovs: PrivateOvs) -> None:
    wanted = sought()
    with backend(ovs, wait="none") as door:
        reach(door, wanted)
    before = rows(ovs)
    with backend(ovs, wait="ovn-installed", timeout=0.4) as door:
        message = failing(errors.Unavailable, lambda: door.confirm([wanted]))
        assert "no ovn-installed=true" in message and message.endswith("this call changed nothing")
        ovs.ctl("set", "Interface", wanted.name, "external_ids:ovn-installed=true")
        door.confirm([wanted])
    assert rows(ovs) == before


def test_a_port_that_goes_while_its_flows_are_awaited_is_reported_at_once(ovs: PrivateOvs) -> None:
    wanted = sought()
    other = threading.Timer(0.3, lambda: ovs.ctl("del-port", wanted.name))
    with backend(ovs, wait="ovn-installed", timeout=60) as door:
        other.start()
        assert "removed by another process" in failing(errors.Busy, lambda: reach(door, wanted))
        other.join()


#: what ovn-controller has to be told, in external_ids of Open_vSwitch
REMOTE, KIND, ADDRESS = "ovn-remote=tcp:192.0.2.1:6642", "ovn-encap-type=geneve", "ovn-encap-ip=192.0.2.2"
NAME, HERE = "system-id=one", "ovn-bridge=br0"
ALL = (REMOTE, KIND, ADDRESS, NAME, HERE)


def note(ovs: PrivateOvs, table: str, record: str, *pairs: str) -> None:
    for pair in pairs:
        ovs.ctl("set", table, record, f"external_ids:{pair}")


@pytest.mark.parametrize(
    ("message", "marks", "why"),
    [
        ((), "", "lack ovn-remote, ovn-encap-type, ovn-encap-ip and system-id"),
        ((KIND, ADDRESS), "ovn-startup-ts=1", "lack ovn-remote;"),
        ((REMOTE, KIND, NAME, HERE, "ovn-encap-ip-one=192.0.2.2"), "", "never worked on that bridge"),
        ((REMOTE, KIND, ADDRESS, NAME), "ovn-nb-cfg=3", "it is on br0, and OVN's bridge here is br-int"),
        (ALL, "", "start it, and check in its log whether it reaches tcp:192.0.2.1:6642"),
        (ALL, "ovn-nb-cfg=3", "shows no sign of the iface-id {id}: check with `ovn-appctl"),
        (ALL, "ct-zone-{id}=3", "has seen the iface-id {id} and not installed it: check with `ovn-sbctl"),
    ],
    ids=["nothing set up", "no remote", "an address for one chassis", "elsewhere", "never worked", "no sign", "seen"],
)
def test_without_ovn_installed_the_port_is_rolled_back_and_what_is_missing_is_reported(
    ovs: PrivateOvs, message: Sequence[str], marks: str, why: str
) -> None:
    before, wanted = rows(ovs), sought()
    name = wanted.external_ids["iface-id"]
    note(ovs, "Open_vSwitch", ".", *message)
    note(ovs, "Bridge", "br0", *filter(None, [marks.format(id=name)]))
    with backend(ovs, wait="ovn-installed", timeout=0.4) as door:
        said = failing(errors.Unavailable, lambda: reach(door, wanted))
    assert why.format(id=name) in said and said.endswith("it was rolled back")
    assert rows(ovs) == before


def test_another_port_with_the_same_identity_is_named(ovs: PrivateOvs) -> None:
    wanted = sought()
    note(ovs, "Open_vSwitch", ".", *ALL)
    ovs.ctl("add-port", "br0", "old0")
    note(ovs, "Interface", "old0", f"iface-id={wanted.external_ids['iface-id']}")
    with backend(ovs, wait="ovn-installed", timeout=0.4) as door:
        assert "old0 has the iface-id" in failing(errors.Unavailable, lambda: reach(door, wanted))


def test_a_read_whose_connection_ends_is_asked_again(ovs: PrivateOvs, tmp_path: Path) -> None:
    """A server that takes the question and goes away without an answer: the next one is asked."""
    path = str(tmp_path / "first.sock")
    with socket.socket(socket.AF_UNIX) as listener, backend(ovs) as door:
        listener.bind(path)
        listener.listen()
        wanted = port()
        reach(door, wanted)
        asking = at(f"unix:{path}", 5)
        served: list[bytes] = []

        def serve() -> None:
            for answers in (False, True):
                client, _ = listener.accept()
                with client, socket.socket(socket.AF_UNIX) as server:
                    server.connect(ovs.connection.removeprefix("unix:"))
                    served.append(_relay(client, server, answers=answers))

        thread = threading.Thread(target=serve)
        thread.start()
        assert found(asking, wanted) is not None
        asking.close()
        thread.join()
        assert len(served) == 2
        unplug(door, wanted)


def _relay(client: socket.socket, server: socket.socket, *, answers: bool) -> bytes:
    """Pass the greeting on, and then, if it ``answers``, one question; what the client last said."""
    question = b""
    for turn in range(2):
        question = client.recv(1 << 16)
        if turn and not answers:
            return question
        server.sendall(question)
        client.sendall(server.recv(1 << 20))
    return question
