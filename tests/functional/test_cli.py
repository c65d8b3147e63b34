"""The command's verbs on a real host: what they do, print and exit with."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.support.command import VIFPLUG, WITHOUT_CAPABILITIES, Answer, vifplug
from vifplug import VIF
from vifplug.cli.demo import guests
from vifplug.cli.main import application
from vifplug.testing.host import PrivateHost

WEB = "aaaaaaaa-0000-4000-8000-000000000001"
DB = "aaaaaaaa-0000-4000-8000-000000000002"
GUEST = "77777777-aaaa-4bbb-8ccc-dddddddddddd"
TAP = "tapaaaaaaaa-00"

Files = Callable[..., Path]


@pytest.fixture
def file(tmp_path: Path) -> Files:
    """Writes a VIF document: web, unless ``keys`` say otherwise."""

    def write(name: str = "web.json", **keys: Any) -> Path:
        document = {
            "id": WEB,
            "type": "bridge",
            "mac": "52:54:00:00:00:01",
            "target": "tap-web",
            "source": {"bridge": "br-cli"},
            "virtualport": {"type": "openvswitch"},
            "vlan": 10,
            **keys,
        }
        path = tmp_path / name
        path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))
        return path

    return write


@pytest.fixture
def db(file: Files) -> Path:
    return file("db.json", id=DB, target="tap-db", mac="52:54:00:00:00:02")


@pytest.fixture
def run(host: PrivateHost) -> Iterator[Callable[..., Answer]]:
    """The command with the host's configuration; afterwards everything is unplugged."""
    yield lambda *words, **options: vifplug(*words, config=host.config, **options)
    for entry in host.driver.list():
        host.driver.unplug(entry.vif.id, force=True)


Run = Callable[..., Answer]


def elements(text: str) -> list[Any]:
    """The elements, when there is nothing but elements."""
    return list(etree.fromstring(f"<all>{text}</all>"))


# -- plug ---------------------------------------------------------------------------------------------------------


def test_plug_prints_the_elements_and_nothing_else(host: PrivateHost, run: Run, file: Files, db: Path) -> None:
    answer = run("plug", file(), db)
    assert (answer.code, answer.err) == (0, "")
    assert [each.find("target").get("dev") for each in elements(answer.out)] == ["tap-web", "tap-db"]
    assert answer.out.startswith("<interface") and answer.out.endswith("</interface>\n")
    assert host.ports("br-cli") == {"tap-web", "tap-db"}
    assert host.port("tap-web", "tag", "Port") == "10"


def test_plug_gives_programs_what_it_did(run: Run, file: Files) -> None:
    [plugged] = run("plug", file(), "-f", "json").data
    assert set(plugged) == {"vif_id", "device", "changed", "interface_xml", "actual", "steps"}
    assert (plugged["vif_id"], plugged["device"], plugged["changed"]) == (WEB, "tap-web", True)
    assert plugged["actual"]["vlan"] == {"tags": [{"id": 10}], "trunk": False}
    assert len(elements(plugged["interface_xml"])) == 1
    assert [step.split()[:2] for step in plugged["steps"]] == [
        ["make", "tap"],
        ["make", "ovs-bridge"],
        ["make", "ovs-port"],
    ]


def test_plugging_again_changes_nothing(run: Run, file: Files) -> None:
    run("plug", file())
    [again] = run("plug", file(), "-f", "json").data
    assert (again["changed"], again["steps"]) == (False, [])


def test_plug_says_whose_the_port_is(host: PrivateHost, run: Run, file: Files) -> None:
    assert run("plug", file(), "--instance-uuid", GUEST, "--instance-name", "web-1").code == 0
    assert GUEST in host.port("tap-web", "external_ids")
    [listed] = run("list", "-f", "json").data
    assert listed["instance"] == {"uuid": GUEST, "name": "web-1"}


def test_plug_reads_standard_input(run: Run, file: Files) -> None:
    answer = run("plug", "-", stdin=file().read_text())
    assert (answer.code, len(elements(answer.out))) == (0, 1), answer


def test_plug_takes_a_libvirt_element(host: PrivateHost, run: Run, tmp_path: Path) -> None:
    element = tmp_path / "web.xml"
    element.write_text(
        "<interface type='ethernet'><mac address='52:54:00:00:00:01'/>"
        "<target dev='tap-xml' managed='no'/><model type='virtio'/></interface>"
    )
    answer = run("plug", element)
    assert answer.code == 0, answer
    assert "tap-xml" in host.links()


def test_a_dry_run_prints_the_steps_and_takes_none(host: PrivateHost, run: Run, file: Files) -> None:
    links = host.links()
    [planned] = run("plug", "--dry-run", file(), "-f", "json").data
    assert planned["changed"] and "make tap tap-web" in planned["steps"]
    assert "make tap tap-web" in run("plug", "--dry-run", file()).out
    assert host.links() == links
    assert run("list", "-f", "json").data == []


def test_of_a_batch_all_are_plugged_or_none_and_every_wrong_file_is_named(
    host: PrivateHost, run: Run, file: Files
) -> None:
    answer = run("plug", file(), file("db.json", id=DB, vlan=0), file("mail.json", id="x", type="tunnel"))
    assert (answer.code, answer.out) == (2, "")
    assert [line.partition(": ")[0].rpartition("/")[2] for line in answer.complaints] == ["db.json", "mail.json"]
    assert "tap-web" not in host.links()


def test_one_vif_twice_in_a_batch_is_refused(run: Run, file: Files) -> None:
    answer = run("plug", file(), file("same.json"))
    assert answer.code == 2 and f"VIF {WEB} appears more than once" in answer.err


def test_a_batch_shows_progress_on_a_terminal(host: PrivateHost, run: Run, file: Files, db: Path) -> None:
    ours, theirs = pty.openpty()
    command = [VIFPLUG, "--config-file", str(host.config), "plug", str(file()), str(db)]
    subprocess.run(command, stderr=theirs, stdout=subprocess.DEVNULL, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "plugging 2 VIFs" in shown and "5 of 5 steps" in shown
    assert shown.endswith("\r\033[K")


# -- unplug, update, settle -----------------------------------------------------------------------------------------


def test_unplug_takes_everything_back_and_twice_is_the_same_as_once(host: PrivateHost, run: Run, file: Files) -> None:
    links = host.links()
    run("plug", file())
    [unplugged] = run("unplug", WEB, "-f", "json").data
    assert unplugged == {
        "vif_id": WEB,
        "changed": True,
        "steps": ["remove ovs-port tap-web", "remove tap tap-web"],
    }
    assert host.links() - links == {"br-cli"}
    assert run("unplug", WEB, "-f", "json").data == [{"vif_id": WEB, "changed": False, "steps": []}]


def test_one_vif_that_is_refused_does_not_keep_the_others(host: PrivateHost, run: Run, file: Files, db: Path) -> None:
    run("plug", file(), db)
    with guests.running("web", "tap-web", "52:54:00:00:00:01", {}):
        answer = run("unplug", WEB, DB)
        assert answer.code == 4
        assert "tap tap-web" in answer.err and "in use by a running guest" in answer.err
        assert "tap-db" not in host.links() and "tap-web" in host.links()
        assert run("unplug", WEB, "--force").code == 0
    assert "tap-web" not in host.links()


def test_vifs_are_chosen_by_guest_by_state_and_by_record(host: PrivateHost, run: Run, file: Files, db: Path) -> None:
    run("plug", file(), "--instance-uuid", GUEST)
    run("plug", db)
    assert [each["vif_id"] for each in run("list", "--instance", GUEST.upper(), "-f", "json").data] == [WEB]
    assert run("list", "--state", "updating", "-f", "json").data == []
    host.ip("link", "delete", "tap-web")
    assert run("update", file(mtu=1400), "--dry-run", "-f", "json").data["steps"]
    assert run("plug", "--recorded", WEB, "-f", "json").data[0]["changed"] and run("check").code == 0
    for wrong in (("unplug",), ("unplug", WEB, "--all"), ("plug",), ("list", "--instance", "x")):
        assert run(*wrong).code == 2
    assert [each["vif_id"] for each in run("unplug", "--instance", GUEST, "-f", "json").data] == [WEB]
    assert [each["vif_id"] for each in run("unplug", "--all", "-f", "json").data] == [DB]
    assert run("unplug", "--all").code == 0 and run("list", "-f", "json").data == []


def test_unplugging_what_is_no_id_is_refused(run: Run) -> None:
    assert run("unplug", "web").complaints == [
        "the id of a VIF: expected a UUID of 32 hexadecimal digits, dashes optional, got 'web'"
    ]


def test_update_brings_a_plugged_vif_to_its_document(host: PrivateHost, run: Run, file: Files) -> None:
    run("plug", file())
    updated = run("update", file(vlan=20), "-f", "json").data
    assert updated["changed"] and len(updated["steps"]) == 1
    assert host.port("tap-web", "tag", "Port") == "20"
    assert len(elements(run("update", file(vlan=20)).out)) == 1


def test_settle_does_what_libvirt_has_undone(run: Run, file: Files) -> None:
    run("plug", file())
    assert run("settle", WEB, "-f", "json").data == {"vif_id": WEB, "changed": False, "steps": []}


@pytest.mark.parametrize("verb", [("show", WEB), ("settle", WEB), ("check", WEB)])
def test_a_verb_on_what_is_not_plugged_is_refused(run: Run, verb: tuple[str, ...]) -> None:
    answer = run(*verb)
    assert (answer.code, answer.out) == (2, "")
    assert answer.complaints == [f"VIF {WEB} is not plugged on this host; `vifplug list` shows the VIFs that are"]


def test_updating_what_is_not_plugged_is_refused(run: Run, file: Files) -> None:
    assert run("update", file()).code == 2


# -- check, list, show, types, host-info ----------------------------------------------------------------------------


def test_check_is_quiet_where_all_is_as_recorded(run: Run, file: Files, db: Path) -> None:
    run("plug", file(), db)
    answer = run("check")
    assert (answer.code, answer.out) == (0, "all 2 VIFs are as recorded\n")
    assert run("check", "-f", "json").data == []


def test_check_prints_differences_and_exits_with_1(host: PrivateHost, run: Run, file: Files, db: Path) -> None:
    run("plug", file(), db)
    host.ovs.ctl("set", "Port", "tap-web", "tag=99")
    answer = run("check", "-f", "json")
    assert answer.code == 1
    assert [(each["vif_id"], each["path"]) for each in answer.data] == [(WEB, "ovs-port tap-web: vlan")]
    assert answer.data[0]["wanted"] == {"mode": "access", "tag": 10}
    assert answer.data[0]["found"] == {"mode": "access", "tag": 99}
    assert run("check", DB).code == 0
    assert "mode access, tag 99" in run("check", WEB).out


def test_check_of_several_goes_on_after_one_that_is_not_plugged(host: PrivateHost, run: Run, file: Files) -> None:
    run("plug", file())
    answer = run("check", DB, WEB)
    assert (answer.code, answer.out) == (2, "the VIF is as recorded\n")
    assert [DB in each for each in answer.complaints] == [True]
    host.ovs.ctl("set", "Port", "tap-web", "tag=99")
    for ids in ((DB, WEB), (WEB, DB)):
        answer = run("check", *ids)
        assert (answer.code, len(answer.complaints)) == (2, 1)
        assert "mode access, tag 99" in answer.out
    nothing = run("check", DB)
    assert (nothing.code, nothing.out) == (2, "")


def test_list_and_show_tell_what_is_recorded(run: Run, file: Files) -> None:
    assert run("list").out == "no VIF is plugged\n"
    run("plug", file())
    [listed] = run("list", "-f", "json").data
    assert listed == {"vif_id": WEB, "type": "bridge", "device": "tap-web", "instance": None, "state": "plugged"}
    assert run("list", "-f", "value", "-c", "vif_id").out == f"{WEB}\n"
    shown = run("show", WEB, "-f", "json").data
    assert shown["vif"]["vlan"] == {"tags": [{"id": 10}], "trunk": False}
    assert shown["resources"] == ["tap tap-web", "ovs-bridge br-cli", "ovs-port tap-web"]
    assert WEB in run("show", WEB).out


def test_host_info_is_plain_data(run: Run) -> None:
    info = run("host-info", "-f", "json").data
    assert set(info["types"]) >= {"bridge", "direct", "ethernet", "hostdev", "vhostuser"}
    assert info["kernel"] == os.uname().release
    names = ("bridges", "devices", "host", "integration_bridge", "kernel", "networks", "open_vswitch", "sriov", "types")
    assert sorted(info) == list(names)


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize(
    ("option", "levels"), [((), "WARNING ERROR"), (("-q",), "ERROR"), (("-v",), "INFO WARNING ERROR")]
)
def test_quiet_logs_what_its_help_says(option: Sequence[str], levels: str, configured: bool) -> None:
    """With options of oslo.log and without."""
    code = f"""
import logging, sys
from cliff.commandmanager import CommandManager
from vifplug.cli import app, logs
parser = app.App("0", CommandManager("none")).parser
logs.set_up(parser.parse_args(sys.argv[1:]), configured={configured})
for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
    logging.getLogger("vifplug.test").log(logging.getLevelName(level), "%s", "x")
logging.getLogger("other").info("x")
try:
    raise ValueError("y")
except ValueError:
    logging.getLogger("vifplug.test").exception("z")
print(" ".join(parser.format_help().split()))
"""
    done = subprocess.run([sys.executable, "-c", code, *option], capture_output=True, text=True, check=True)
    expected = [f"vifplug: {level}: x" for level in levels.split()]
    lines = done.stderr.splitlines()
    assert lines[: len(expected)] == expected
    assert lines[len(expected)].startswith("vifplug: ERROR: z")
    assert all(line.startswith("vifplug: ") for line in lines)
    assert "vifplug: ValueError: y" in lines
    assert "-q, --quiet Log errors only: no warnings." in done.stdout


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("debug = maybe", "logging: [DEFAULT] debug: Invalid Boolean value: maybe"),
        ("log_file = $log_file", "logging: [DEFAULT] an option names itself as $name in its value"),
    ],
)
def test_a_wrong_option_of_the_log_is_a_wrong_request(tmp_path: Path, option: str, message: str) -> None:
    """Exit code 1 would mean that check has found differences."""
    (tmp_path / "t.conf").write_text(f"[DEFAULT]\n{option}\n")
    code = "from vifplug.cli.main import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "--config-file", "t.conf", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"vifplug: {message}\n")


LISTS = (("plug", "FILE"), ("list",), ("check",), ("types",))
SINGLES = (("update", "FILE"), ("settle", WEB), ("xml", "FILE"), ("show", WEB), ("host-info",))


@pytest.mark.parametrize(
    ("form", "verbs"),
    [*((form, LISTS + SINGLES) for form in ("json", "yaml", "table", "value")), ("csv", LISTS), ("shell", SINGLES)],
)
def test_every_verb_answers_in_every_format(
    host: PrivateHost, run: Run, file: Files, form: str, verbs: Sequence[Sequence[str]]
) -> None:
    """In this process, for its speed: what is asked is only whether each answer can be written."""
    host.driver.plug(VIF.from_json(file().read_text()))
    for verb in verbs:
        words = [str(file()) if word == "FILE" else word for word in verb]
        output = io.StringIO()
        code = application(stdout=output).run(["--config-file", str(host.config), *words, "-f", form])
        assert code == 0, verb
        assert output.getvalue() or verb == ("check",), verb


# -- exit codes 3 to 6 ------------------------------------------------------------------------------------------------


def test_a_device_of_somebody_else_is_a_conflict(host: PrivateHost, run: Run, file: Files) -> None:
    host.ip("tuntap", "add", "dev", "tap-web", "mode", "tap")
    try:
        answer = run("plug", file())
        assert answer.code == 4 and "tap-web" in answer.err, answer
        assert "tap-web" in host.links() and "tap-web" not in host.ports("br-cli")
    finally:
        host.ip("link", "delete", "dev", "tap-web")


def test_a_step_that_fails_is_undone(host: PrivateHost, run: Run, file: Files, db: Path) -> None:
    """The userspace datapath has a device of that name: the switch cannot make the bridge that the database has."""
    impossible = file("impossible.json", id=WEB, source={"bridge": "ovs-netdev", "ensure": True})
    answer = run("plug", db, impossible)
    assert answer.code == 5 and "ovs-bridge ovs-netdev does not work" in answer.err, answer
    assert "tap-db" not in host.links() and host.ports("br-cli") == set()
    assert run("list", "-f", "json").data == []


def test_what_is_left_of_a_failed_step_is_reported(host: PrivateHost, run: Run, file: Files) -> None:
    """Without CAP_NET_ADMIN the switch lets go of the port, and the kernel keeps the tap."""
    run("plug", file())
    answer = run("unplug", WEB, under=WITHOUT_CAPABILITIES)
    assert answer.code == 6 and "tap tap-web" in answer.err, answer
    assert host.ports("br-cli") == set() and "tap-web" in host.links()
    assert run("unplug", WEB).code == 0
    assert "tap-web" not in host.links()


def test_without_the_right_to_make_a_tap_nothing_is_done(host: PrivateHost, run: Run, file: Files) -> None:
    answer = run("plug", file(), under=WITHOUT_CAPABILITIES)
    assert answer.code == 3 and "CAP_NET_ADMIN" in answer.err, answer
    assert "tap-web" not in host.links() and host.ports("br-cli") == set()


def test_a_bridge_that_does_not_exist_is_named(run: Run, file: Files) -> None:
    answer = run("plug", file(source={"bridge": "br-nowhere"}, virtualport=None, vlan=None))
    assert answer.code == 3 and "br-nowhere" in answer.err and WEB in answer.err, answer


def test_a_switch_that_hangs_is_reported_within_the_timeout_and_nothing_is_left(
    host: PrivateHost, run: Run, file: Files, db: Path, tmp_path: Path
) -> None:
    run("plug", file())
    impatient = tmp_path / "impatient.conf"
    impatient.write_text(host.configuration(timeout=1))
    host.ovs.pause("ovs-vswitchd")
    try:
        answer = vifplug("plug", db, config=impatient)
        assert answer.code == 3 and "ovs-vswitchd is connected and did not apply it in time" in answer.err, answer
        assert "tap-db" not in host.links() and host.ports("br-cli") == {"tap-web"}
    finally:
        host.ovs.resume("ovs-vswitchd")
    assert run("check").out == "the VIF is as recorded\n"
