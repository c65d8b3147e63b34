"""``vifplug xml edit`` as an operator runs it: what it prints, what it replaces, what it leaves."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.command import VIFPLUG, WITHOUT_CAPABILITIES, vifplug

MAC = "52:54:00:00:00:01"
DOMAIN = b"""<domain type='kvm'>\r
  <name>\xc3\xa9</name>\r
  <devices>\r
    <interface type="bridge">\r
      <mac address='52:54:00:00:00:01'/>\r
      <source bridge="br0" /> <!-- the uplink -->\r
      <model type='virtio'/>\r
    </interface>\r
  </devices>\r
</domain>\r

"""
VLAN = b"      <vlan>\r\n        <tag id='1011'/>\r\n      </vlan>\r\n"
EDITED = DOMAIN.replace(b"      <model", VLAN + b"      <model")


@pytest.fixture
def domain(tmp_path: Path) -> Path:
    path = tmp_path / "web.xml"
    path.write_bytes(DOMAIN)
    path.chmod(0o640)
    return path


def raw(*words: str | Path, stdin: bytes = b"") -> bytes:
    """What the command prints, byte for byte, where the locale is not UTF-8."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run([VIFPLUG, *words], input=stdin, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_it_prints_the_text_with_the_change_and_leaves_the_file(domain: Path) -> None:
    assert raw("xml", "edit", domain, "--mac", MAC, "--vlan", "1011") == EDITED
    assert domain.read_bytes() == DOMAIN


def test_it_reads_standard_input(domain: Path) -> None:
    assert raw("xml", "edit", "-", "--mac", MAC, "--vlan", "1011", stdin=DOMAIN) == EDITED
    trunk = raw("xml", "edit", "-", "--mac", MAC, "--trunk", "1011", stdin=DOMAIN)
    assert trunk == EDITED.replace(b"<vlan>", b"<vlan trunk='yes'>")
    assert raw("xml", "edit", "-", "--mac", MAC, "--no-vlan", stdin=EDITED) == DOMAIN


def test_once_per_guest_bridge_switch_and_vlan(domain: Path) -> None:
    words = ("--bridge", "ovsbr0", "--virtualport", "openvswitch", "--vlan", "1011")
    expected = EDITED.replace(b'bridge="br0" ', b"bridge='ovsbr0'").replace(
        b"</vlan>\r\n", b"</vlan>\r\n      <virtualport type='openvswitch'/>\r\n"
    )
    assert raw("xml", "edit", domain, "--mac", MAC, *words) == expected


def test_in_place_the_file_is_replaced_with_its_mode_and_owner(domain: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(domain, 1234, 4321)
    link = tmp_path / "link.xml"
    link.symlink_to(domain.name)
    before = domain.stat()
    assert raw("xml", "edit", link, "--mac", MAC, "--vlan", "1011", "--in-place") == b""
    after = domain.stat()
    assert domain.read_bytes() == EDITED
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino  # at once: whoever reads has the old text or the new one
    assert link.is_symlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.xml", "web.xml"]
    raw("xml", "edit", link, "--mac", MAC, "--vlan", "1011", "--in-place")
    assert domain.stat().st_ino == after.st_ino  # as asked already: nothing is written


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        (
            ("--mac", "52:54:00:00:00:03", "--vlan", "5"),
            "web.xml: expected an interface with MAC 52:54:00:00:00:03, got",
        ),
        (("--mac", "52:54", "--vlan", "5"), "argument --mac: expected a MAC address such as"),
        (("--mac", MAC, "--vlan", "4095"), "argument --vlan: 4095 is not 1..4094"),
        (("--mac", MAC, "--trunk", "5-4"), "argument --trunk: expected the lower end of a range first"),
        (("--mac", MAC, "--vlan", "5", "--no-vlan"), "not allowed with argument --vlan"),
        (("--mac", MAC, "--bridge", "b", "--portgroup", "p"), "an interface has one connection"),
        (("--mac", MAC, "--portgroup", "p"), "web.xml: --portgroup is for an interface of a network"),
        (("--mac", MAC), "expected something to change"),
        (("--vlan", "5"), "the following arguments are required: --mac"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(
    domain: Path, words: tuple[str, ...], phrase: str
) -> None:
    answer = vifplug("xml", "edit", domain, "--in-place", *words)
    assert (answer.code, answer.out) == (2, "")
    [sentence] = answer.complaints
    assert phrase in sentence
    assert domain.read_bytes() == DOMAIN


@pytest.mark.needs("root")
def test_the_group_stays_in_a_directory_that_gives_its_own(domain: Path, tmp_path: Path) -> None:
    os.chown(tmp_path, 0, 4321)
    tmp_path.chmod(0o2755)
    assert raw("xml", "edit", domain, "--mac", MAC, "--vlan", "1011", "--in-place") == b""
    assert domain.stat().st_gid == os.getegid()


def test_the_page_has_the_options_that_there_are() -> None:
    page = (Path(__file__).resolve().parents[2] / "doc" / "libvirt.md").read_text()
    section = re.search(r"^## Edit one interface of a domain\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section
    known = set(re.findall(r"--[a-z][a-z-]*", vifplug("help", "xml", "edit").out)) - {"--help"}
    assert known == set(re.findall(r"(?<=[`| ])--[a-z][a-z-]*", section[1])) - {"--inactive", "--security-info"}


def test_in_place_needs_a_file(tmp_path: Path) -> None:
    answer = vifplug("xml", "edit", "-", "--mac", MAC, "--vlan", "5", "--in-place", stdin=DOMAIN.decode())
    assert (answer.code, answer.complaints) == (2, ["--in-place needs a file, got - (standard input)"])
    missing = vifplug("xml", "edit", tmp_path / "no.xml", "--mac", MAC, "--vlan", "5", "--in-place")
    assert (missing.code, missing.complaints) == (2, [f"{tmp_path}/no.xml: cannot be read: No such file or directory"])


@pytest.mark.needs("root")
def test_a_file_whose_owner_could_not_be_kept_is_left(domain: Path, tmp_path: Path) -> None:
    os.chown(domain, 1234, 4321)
    domain.chmod(0o644)
    answer = vifplug("xml", "edit", domain, "--mac", MAC, "--vlan", "5", "--in-place", under=WITHOUT_CAPABILITIES)
    assert answer.code == 3
    assert "could not be replaced, and is unchanged: Operation not permitted" in answer.complaints[0]
    assert domain.read_bytes() == DOMAIN
    assert list(tmp_path.iterdir()) == [domain]


def test_the_verb_xml_stays_what_it_was(tmp_path: Path) -> None:
    file = tmp_path / "e"  # not the beginning of "edit"
    file.write_text(f"<interface type='bridge'><mac address='{MAC}'/><source bridge='b'/></interface>")
    done = subprocess.run([VIFPLUG, "xml", "e"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "<source bridge='b'/>" in done.stdout
    assert "usage: vifplug xml [-h]" in vifplug("help", "xml").out
    assert "usage: vifplug xml edit [-h]" in vifplug("xml", "edit", "--help").out
    assert "usage: vifplug xml edit [-h]" in vifplug("help", "xml", "edit").out


def test_what_goes_is_told_beside_the_result(tmp_path: Path) -> None:
    file = tmp_path / "pair.xml"
    twin = f"<mac address='{MAC}'/>"
    file.write_text(
        f"<domain><devices><interface type='ethernet'>{twin}<script path='/s\u202e'/></interface>"
        f"<interface type='user'>{twin}<model type='virtio'/></interface></devices></domain>"
    )
    unclear = vifplug("xml", "edit", file, "--mac", MAC, "--bridge", "br0")
    assert (unclear.code, unclear.out) == (2, "")
    assert unclear.complaints[0].endswith("(1: type ethernet; 2: type user): select one with --number")
    answer = vifplug("xml", "edit", file, "--mac", MAC, "--number", "1", "--bridge", "br0")
    assert answer.code == 0 and "<source bridge='br0'/></interface>" in answer.out
    [sentence] = answer.complaints
    assert sentence.startswith(f"{file}: removed <script path='/s") and sentence.endswith(
        ": type bridge does not support it"
    )


def test_a_vif_of_the_hooks_is_judged_by_its_type(tmp_path: Path) -> None:
    """Here with a VLAN that no type ethernet has."""
    interface = f"<interface type='ethernet'><mac address='{MAC}'/><target dev='t0' managed='no'/></interface>"
    vifs = f"<v:vifs xmlns:v='urn:vifplug:libvirt:domain:1'>{interface}</v:vifs>"
    file = tmp_path / "web.xml"
    uuid = "11111111-2222-4333-8444-555555555555"
    file.write_text(f"<domain><uuid>{uuid}</uuid><metadata>{vifs}</metadata><devices>{interface}</devices></domain>")
    answer = vifplug("xml", "edit", file, "--mac", MAC, "--vlan", "5", "--in-place")
    assert answer.code == 2 and "$.vlan" in answer.complaints[0]
    assert "<vlan>" not in file.read_text()
