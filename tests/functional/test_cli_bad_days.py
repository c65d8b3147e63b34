"""What the command says to bad input, and on bad days: one sentence, its exit code, and never a traceback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import VIFPLUG, WITHOUT_CAPABILITIES, Answer, vifplug
from tests.support.site import Site

WEB = "aaaaaaaa-0000-4000-8000-000000000001"
DOCUMENT: dict[str, Any] = {
    "id": WEB,
    "type": "bridge",
    "mac": "52:54:00:00:00:01",
    "source": {"bridge": "br-cli"},
    "virtualport": {"type": "openvswitch"},
}
SOCKET = {"type": "vhostuser", "virtualport": None}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of a host without an Open vSwitch."""
    file = tmp_path / "vifplug.conf"
    file.write_text(
        f"[vifplug]\nstate_path = {tmp_path / 'state'}\n"
        f"[vifplug_ovs]\nconnection = unix:{tmp_path / 'db.sock'}\ntimeout = 1\n"
    )
    return file


@pytest.fixture
def web(tmp_path: Path) -> Path:
    return written(tmp_path, DOCUMENT)


def written(directory: Path, content: object) -> Path:
    file = directory / "web.json"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def changed(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in {**DOCUMENT, **keys}.items() if value is not None}


# -- documents ----------------------------------------------------------------------------------------------------

BOMB = """<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='&c;'/></interface>"""
EXTERNAL = """<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/hostname">]>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='&a;'/></interface>"""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "expected a VIF document, got nothing"),
        (" \n", "expected a VIF document, got nothing"),
        ([DOCUMENT, DOCUMENT], "expected one VIF document, got a list: give each VIF a file of its own"),
        ('{"id": ', "is not JSON"),
        ('"web"', "expected one VIF document, got 'web'"),
        ("[" * 100000, "got a list"),
        pytest.param('{"id":' * 100000, "nested too deeply", id="nested"),
        (b"\xff\xfe{}", "not UTF-8 text: byte 0 is 0xff"),
        pytest.param(b"\0" * (2 << 20), "not a VIF document: longer than 1 MiB", id="long"),
        (BOMB, "has a document type or entities"),
        (EXTERNAL, "has a document type or entities"),
        ("<domain type='kvm'><name>web</name></domain>", "expected one <interface> element, got domain"),
        ("<interface type='bridge'>", "is not XML in UTF-8"),
        (changed(type="tunnel"), "type 'tunnel' is unknown (expected bridge, direct, ethernet"),
        (changed(colour="red"), "$.colour: unknown key (expected one of: id, type,"),
        (changed(vlan=0), "$.vlan.tags[0].id: 0 is not 1..4094"),
        (changed(vlan=4095), "$.vlan.tags[0].id: 4095 is not 1..4094"),
        (changed(vlan=5000), "$.vlan.tags[0].id: 5000 is not 1..4094"),
        (changed(vlan="10-5"), "$.vlan: expected the lower end of a range first, got '10-5'"),
        (changed(target="x" * 16), "$.target: expected a device name of at most 15 bytes"),
        (changed(target="tap/0"), "$.target: expected a device name of letters"),
        (changed(source={"bridge": "../../etc"}), "$.source.bridge: expected a device name of letters"),
        (changed(mac="01:00:5e:00:00:01"), "$.mac: expected a unicast MAC address"),
        (changed(**SOCKET, source={"path": "/" + 107 * "x", "mode": "server"}), "at most 107 bytes, got one of 108"),
        (
            changed(type="ethernet", source=None, virtualport=None, vlan=10),
            '$.vlan: not supported by type "ethernet"',
        ),
        (changed(driver={"queues": 257}, model="virtio"), "$.driver.queues: 257 is not 1..256"),
    ],
)
def test_a_bad_document_is_refused_with_its_file_and_the_reason(tmp_path: Path, content: object, sentence: str) -> None:
    file = written(tmp_path, content)
    answer = vifplug("xml", file)
    assert (answer.code, answer.out) == (2, "")
    [complaint] = answer.complaints
    assert complaint.startswith(f"{file}: ") and sentence in complaint


@pytest.mark.parametrize("verb", [("xml",), ("plug",), ("plug", "--dry-run")], ids=" ".join)
def test_what_only_the_host_can_tell_is_asked_of_it(config: Path, tmp_path: Path, verb: tuple[str, ...]) -> None:
    content = changed(type="vdpa", source={"name": "no-such-device"}, virtualport=None)
    answer = vifplug(*verb, written(tmp_path, content), config=config)
    assert (answer.code, answer.out) == (3, "")
    assert "vdpa device no-such-device: does not exist; 'vdpa dev show' lists those that exist" in answer.err


def test_all_problems_of_a_document_are_reported_one_a_line(tmp_path: Path) -> None:
    file = written(tmp_path, changed(vlan=4095, colour="red", mac="nonsense"))
    paths = [complaint.removeprefix(f"{file}: ").split(": ")[0] for complaint in vifplug("xml", file).complaints]
    assert paths == ["$.colour", "$.mac", "$.vlan.tags[0].id"]


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("name", "mode", "sentence"),
    [
        ("nothing.json", None, "cannot be read: No such file or directory"),
        (".", None, "cannot be read: Is a directory"),
        ("web.json", 0o000, "cannot be read: Permission denied"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, web: Path, name: str, mode: int | None, sentence: str
) -> None:
    if mode is not None:
        web.chmod(mode)
    answer = vifplug("xml", tmp_path / name, under=WITHOUT_CAPABILITIES)
    assert (answer.code, answer.complaints) == (2, [f"{tmp_path / name}: {sentence}"])


def test_standard_input_is_called_so() -> None:
    assert vifplug("xml", "-").complaints == ["standard input: $: expected a VIF document, got nothing"]


# -- words and configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "no command given (`vifplug --help` lists them)"),
        (("plgu", "x"), "plgu: unknown command: did you mean plug? (`vifplug --help` lists all)"),
        (("nonsense", "--help"), "nonsense: unknown command"),
        (("a" * 100_000,), "aaa...: unknown command (`vifplug --help` lists all)"),
        (("--bogus", "list"), "--bogus: unknown option"),
        (("plug",), "plug: give a FILE, or --recorded with the id of a VIF"),
        (("list", "--bogus"), "unrecognized arguments: --bogus; see `vifplug list --help`"),
        (("list", "-f", "bogus"), "invalid choice: 'bogus'"),
        (("list", "-c", "bogus"), "bogus: unknown column (expected vif_id, type, device, instance or state)"),
    ],
)
def test_wrong_usage_is_one_sentence(words: tuple[str, ...], sentence: str) -> None:
    answer = vifplug(*words)
    assert (answer.code, answer.out) == (2, "")
    [complaint] = answer.complaints
    assert sentence in complaint


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--instance-name", "web-1"), "--instance-name: needs --instance-uuid"),
        (
            ("--instance-uuid", "web-1"),
            "the instance: $.uuid: expected a UUID of 32 hexadecimal digits, dashes optional, got 'web-1'",
        ),
    ],
)
def test_a_wrong_instance_is_refused(web: Path, words: tuple[str, ...], sentence: str) -> None:
    answer = vifplug("plug", web, *words)
    assert answer.code == 2 and sentence in answer.err, answer


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[vifplug]\ntap_owner = me\n", "[vifplug] tap_owner: expected vifplug or libvirt, got 'me' in {file}"),
        ("[vifplug]\nenabled_types = bridge, tunnel\n", "[vifplug] enabled_types has tunnel; installed: "),
        (
            "[vifplug_ovs]\ntimeout = soon\n",
            "[vifplug_ovs] timeout: expected a number of at least 0.1 and at most 3600, got 'soon'",
        ),
        ("tap_owner\n", "configuration: "),
    ],
)
@pytest.mark.parametrize("words", [("xml", "FILE"), ("list",)])
def test_a_wrong_option_is_reported_with_what_is_allowed(
    tmp_path: Path, web: Path, words: tuple[str, ...], text: str, sentence: str
) -> None:
    config = tmp_path / "wrong.conf"
    config.write_text(text)
    answer = vifplug(*(web if word == "FILE" else word for word in words), config=config)
    assert answer.code == 2, answer
    [complaint] = answer.complaints
    assert sentence.format(file=config) in complaint


@pytest.mark.needs("root")
def test_a_configuration_that_cannot_be_read_is_reported(tmp_path: Path, config: Path, web: Path) -> None:
    missing = vifplug("xml", web, config=tmp_path / "nowhere.conf")
    assert missing.code == 2 and "nowhere.conf" in missing.err
    config.chmod(0o000)
    hidden = vifplug("xml", web, config=config, under=WITHOUT_CAPABILITIES)
    assert hidden.code == 3 and str(config) in hidden.err, hidden


# -- the host -----------------------------------------------------------------------------------------------------


def test_a_switch_that_does_not_exist_is_reported_with_its_address(config: Path, web: Path, tmp_path: Path) -> None:
    answer = vifplug("plug", web, config=config)
    assert answer.code == 3 and f"unix:{tmp_path / 'db.sock'}" in answer.err, answer


def test_a_socket_on_which_no_server_listens_is_reported(config: Path, web: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "db.sock"))
        answer = vifplug("plug", web, config=config)
    assert answer.code == 3 and f"unix:{tmp_path / 'db.sock'}" in answer.err, answer


def test_a_server_that_never_answers_is_given_up_within_the_timeout(config: Path, web: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "db.sock"))
        silent.listen()
        answer = vifplug("plug", web, config=config)
    assert answer.code == 3 and "1 s" in answer.err, answer


@pytest.mark.needs("root")
def test_a_socket_that_may_not_be_opened_is_reported(config: Path, web: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as forbidden:
        forbidden.bind(str(tmp_path / "db.sock"))
        forbidden.listen()
        (tmp_path / "db.sock").chmod(0o000)
        answer = vifplug("plug", web, config=config, under=WITHOUT_CAPABILITIES)
    assert answer.code == 3 and str(tmp_path / "db.sock") in answer.err, answer


@pytest.mark.needs("mounts", "namespaces")
@pytest.mark.parametrize(
    ("mount", "sentence"),
    [
        ("size=64k {state} && (cat /dev/zero > {state}/fill || true) 2>/dev/null", "file system is full"),
        ("ro {state}", "file system is read-only"),
    ],
)
def test_a_record_that_cannot_be_written_stops_a_plug_before_anything_is_done(
    config: Path, tmp_path: Path, mount: str, sentence: str
) -> None:
    """In a mount and a network namespace of its own: a tap that was left would be seen, and goes with it."""
    state = tmp_path / "state"
    state.mkdir()
    web = written(tmp_path, changed(type="ethernet", source=None, virtualport=None, target="tap-full"))
    script = f'mount -t tmpfs none -o mode=0700,{mount.format(state=state)}; "$@"; code=$?; ip -o link >&2; exit $code'
    command = [VIFPLUG, "--config-file", str(config), "plug", str(web)]
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3 and sentence in done.stderr and str(state) in done.stderr, done
    assert "tap-full:" not in done.stderr and "Traceback" not in done.stderr


def test_a_state_path_that_is_a_file_is_reported(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    answer = vifplug("list", config=config)
    assert answer.code == 3 and f"{tmp_path / 'state'} is not a directory" in answer.err, answer


# -- the unexpected -----------------------------------------------------------------------------------------------

BROKEN_TYPE = """
    from vifplug.types.ethernet import EthernetType

    class Broken(EthernetType):
        name = "broken"

        def interface(self, vif, context):
            return {}["no such thing"]
"""


TYPE_WITH_OPTION = """
    from vifplug.model.nic import Driver
    from vifplug.types.base import Option
    from vifplug.types.ethernet import EthernetType

    class Queued(EthernetType):
        name = "queued"
        options = (Option(name="queues", kind="int", default=1, help="How many."),)

        def interface(self, vif, context):
            return super().interface(vif, context).replace(driver=Driver(queues=context.options["queues"]))
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Two third parties' types: one that has a bug, and one that cannot be imported."""
    found = Site(tmp_path / "site")
    found.install("broken", "1.0", {"vifplug.types": {"broken": "broken:Broken"}}, BROKEN_TYPE)
    found.install("absent", "2.0", {"vifplug.types": {"absent": "absent:Absent"}})
    return found


def test_a_bug_of_a_type_is_a_sentence_that_names_it_and_with_debug_a_traceback(site: Site, tmp_path: Path) -> None:
    web = written(tmp_path, changed(type="broken", source=None, virtualport=None))
    answer = Answer(site.run(VIFPLUG, "xml", str(web)))
    assert answer.code == 3
    [complaint] = answer.complaints
    assert complaint.startswith("type broken (broken:Broken) failed in interface for VIF ")
    assert complaint.endswith(": KeyError: 'no such thing'")
    debugged = site.run(VIFPLUG, "--debug", "xml", str(web))
    assert debugged.returncode == 3 and "Traceback" in debugged.stderr and "in interface" in debugged.stderr


def test_a_bug_in_vifplug_is_a_sentence_that_says_so(tmp_path: Path) -> None:
    web = written(tmp_path, changed(type="ethernet", source=None, virtualport=None, vlan=None))
    code = "from vifplug.types.ethernet import EthernetType; from vifplug.cli.main import main; import sys\n"
    code += "EthernetType.interface = lambda *given: {}['no such thing']\n"
    code += f"sys.argv[1:] = ['xml', {str(web)!r}]; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 70, done.stderr
    assert done.stderr.startswith("vifplug: this is a bug in vifplug: KeyError: 'no such thing'")


def test_debug_adds_the_traceback_of_an_error(tmp_path: Path) -> None:
    done = subprocess.run([VIFPLUG, "--debug", "xml", str(written(tmp_path, "{}"))], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("vifplug: ")


def test_a_type_that_cannot_be_loaded_is_listed_with_the_reason_and_affects_no_other(site: Site, web: Path) -> None:
    found = {each["name"]: each for each in json.loads(site.run(VIFPLUG, "types", "-f", "json").stdout)}
    assert "No module named 'absent'" in found["absent"]["problem"]
    assert found["bridge"]["problem"] == found["broken"]["problem"] == ""
    assert site.run(VIFPLUG, "xml", str(web)).returncode == 0


@pytest.mark.parametrize(
    ("number", "code", "words"), [(signal.SIGINT, 130, ["vifplug: interrupted"]), (signal.SIGTERM, 143, [])]
)
def test_a_signal_ends_it_quietly(tmp_path: Path, number: signal.Signals, code: int, words: list[str]) -> None:
    fifo = tmp_path / "web.json"
    os.mkfifo(fifo)
    with subprocess.Popen([VIFPLUG, "xml", str(fifo)], stderr=subprocess.PIPE, text=True) as process:
        with fifo.open("w"):  # which waits until the command has opened it, too
            ended = None
            for _ in range(30):  # one that comes just before the command begins to read is seen after the read only
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    ended = process.wait(1)
                    break
            assert ended == code
        assert process.stderr is not None and process.stderr.read().splitlines() == words


def test_closed_streams_are_no_bug(web: Path) -> None:
    def shell(script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", script, VIFPLUG, str(web)], capture_output=True, text=True, check=False)

    closed = shell('"$0" xml - <&-')
    assert (closed.returncode, closed.stderr) == (2, "vifplug: standard input: cannot be read: Bad file descriptor\n")
    assert shell('"$0" xml "$1" >&-').returncode == 0


def test_a_reader_that_goes_away_is_no_error(web: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([VIFPLUG, "xml", str(web)], stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_answer_that_cannot_be_written_is_no_success(web: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([VIFPLUG, "xml", str(web)], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 74
    assert (
        done.stderr == "vifplug: the command succeeded, but its answer could not be written: No space left on device\n"
    )


# -- xml ----------------------------------------------------------------------------------------------------------


def test_xml_honours_the_configuration(config: Path, web: Path) -> None:
    assert "<interface type='ethernet'>" in vifplug("xml", web, config=config).out
    config.write_text("[vifplug]\ntap_owner = libvirt\n")
    assert "<interface type='bridge'>" in vifplug("xml", web, config=config).out
    config.write_text("[vifplug]\nenabled_types = direct\n")
    assert vifplug("xml", web, config=config).complaints == [f"{web}: type 'bridge' is unknown (expected direct)"]


def test_xml_honours_the_options_of_a_third_partys_type(site: Site, config: Path, tmp_path: Path) -> None:
    web = written(tmp_path, changed(type="queued", source=None, virtualport=None, model="virtio"))
    site.install("queued", "1.0", {"vifplug.types": {"queued": "queued:Queued"}}, TYPE_WITH_OPTION)
    config.write_text("[vifplug_queued]\nqueues = 4\n")
    assert "queues='4'" in site.run(VIFPLUG, "--config-file", str(config), "xml", str(web)).stdout
    config.write_text("[vifplug_queued]\nqueues = many\n")
    refused = Answer(site.run(VIFPLUG, "--config-file", str(config), "xml", str(web)))
    assert refused.code == 2 and "[vifplug_queued] queues: expected an integer, got 'many'" in refused.err, refused


SLOW = {"lxml", "ovs", "ovsdbapp", "pyroute2", "oslo_log.log", "cmd2", "tenacity", "vifplug.cli.demo.stage"}
DRIVER = {"sqlite3", "vifplug.driver.verbs", "vifplug.store.store"}
CONFIGURATION = {"oslo_config.cfg", "vifplug.conf", "vifplug.model.vif"}


@pytest.mark.parametrize(
    ("verb", "not_needed"),
    [
        (("--help",), SLOW | DRIVER | CONFIGURATION),
        (("xml", "web"), SLOW | DRIVER),
        (("libvirt-hook", "web", "started", "begin", "-"), SLOW | DRIVER | CONFIGURATION),
        (("list",), SLOW | {"vifplug.host.netlink.socket", "vifplug.host.ovs.backend", "vifplug.cli.verbs.topology"}),
    ],
)
def test_a_verb_loads_what_it_needs(
    config: Path, web: Path, tmp_path: Path, verb: tuple[str, ...], not_needed: set[str]
) -> None:
    code = "import sys; from vifplug.cli.main import main; assert main() == 0; print(*sys.modules)"
    words = [str(web) if word == "web" else word for word in verb]
    command = [sys.executable, "-c", code, "--config-file", str(config), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, input="<domain/>")
    assert set(done.stdout.splitlines()[-1].split()) & not_needed == set()
    assert (tmp_path / "state").exists() is (verb == ("list",))
