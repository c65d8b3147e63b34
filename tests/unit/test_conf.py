"""Options: their defaults, what is refused and how that is said, and the sample file that documents them."""

from __future__ import annotations

import pwd
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from oslo_config import cfg, generator

from vifplug import conf as options
from vifplug.errors import InvalidConfig, NotPermitted
from vifplug.types.base import Option
from vifplug.types.bridge import BridgeType
from vifplug.types.vhostuser import VhostUserType

ROOT = Path(__file__).resolve().parents[2]
Load = Callable[[str], cfg.ConfigOpts]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Options as a file of that text says, and nothing else on this machine."""

    def load(text: str) -> cfg.ConfigOpts:
        (tmp_path / "t.conf").write_text(text)
        loaded = options.load([str(tmp_path / "t.conf")], [str(_made(tmp_path / "none.d"))])
        options.register(loaded, [BridgeType, VhostUserType])
        return loaded

    return load


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


def test_defaults_are_those_that_others_rely_on(load: Load) -> None:
    found = options.settings(load(""))
    assert (found.state_path, found.networks_dir) == ("/var/lib/vifplug", "/etc/vifplug/networks.d")
    assert (found.common.tap_owner, found.common.tap_user, found.common.tap_group) == (None, 0, None)
    assert found.enabled_types is None
    assert (found.ovs.connection, found.ovs.timeout, found.ovs.wait) == ("unix:/run/openvswitch/db.sock", 10, "ofport")


def test_importing_registers_nothing() -> None:
    assert "vifplug" not in cfg.CONF


def test_values_are_plain_and_ids_are_numbers(load: Load) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    found = options.settings(
        load(
            "[vifplug]\ntap_user=nobody\ntap_group=36\nenabled_types=bridge,direct\n[vifplug_vhostuser]\n"
            "socket_dir_user=nobody\nsocket_dir_mode=0750\n[vifplug_bridge]\nhairpin=true\n"
        ),
        [BridgeType, VhostUserType()],
    )
    assert (found.common.tap_user, found.common.tap_group, found.enabled_types) == (nobody, 36, ("bridge", "direct"))
    assert found.types["vhostuser"] == {"socket_dir_user": nobody, "socket_dir_group": None, "socket_dir_mode": 0o750}
    assert found.types["bridge"] == {"hairpin": True, "learning": None}
    assert hash(found) == hash(found)


@pytest.mark.parametrize(
    ("group", "name", "value", "allowed"),
    [
        ("vifplug", "state_path", "var/lib", "an absolute path"),
        ("vifplug", "tap_owner", "qemu", "vifplug or libvirt"),
        ("vifplug", "tap_user", "no-such-user", "the name or the number of a user of this host"),
        ("vifplug", "tap_group", "4294967295", "the name or the number of a group of this host"),
        ("vifplug", "lock_timeout", "soon", "a number of at least 0 and at most 3600"),
        ("vifplug", "lock_timeout", "nan", "a number of at least 0 and at most 3600"),
        ("vifplug", "lock_timeout", "", "a number of at least 0 and at most 3600"),
        ("vifplug", "socket_dirs", "/a,b", "a list of items that are each an absolute path"),
        ("vifplug_ovs", "timeout", "0", "a number of at least 0.1 and at most 3600"),
        ("vifplug_ovs", "wait", "forever", "none, ofport or ovn-installed"),
        ("vifplug_ovs", "datapath_type", "dpdk", "system or netdev"),
        ("vifplug_ovs", "connection", "/run/openvswitch/db.sock", "unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT"),
        ("vifplug_vhostuser", "socket_dir_mode", "0798", "a mode of three octal digits, such as 0755"),
        ("vifplug_bridge", "hairpin", "maybe", "true or false"),
    ],
)
def test_a_wrong_value_is_told_with_option_value_file_and_what_is_allowed(
    load: Load, tmp_path: Path, group: str, name: str, value: str, allowed: str
) -> None:
    loaded = load(f"[{group}]\n{name} = {value}\n")
    with pytest.raises(InvalidConfig) as caught:
        options.settings(loaded, [BridgeType, VhostUserType])
    message = str(caught.value)
    assert f"[{group}] {name}: expected {allowed}" in message
    assert message.endswith(f", got {value!r} in {tmp_path / 't.conf'}")


def test_all_wrong_values_are_told_at_once(load: Load) -> None:
    with pytest.raises(InvalidConfig, match=r"state_path.*timeout"):
        options.settings(load("[vifplug]\nstate_path=x\n[vifplug_ovs]\ntimeout=-1\n"))


@pytest.mark.parametrize(
    "text",
    [
        "[vifplug]\nstate_path = $state_path\n",
        "[vifplug]\nstate_path = /x/${y}\n",
        "[vifplug]\nlock_timeout = $lock_timeout\n",
        "[vifplug]\nenabled_types = $enabled_types\n",
        "[vifplug_ovs]\nconnection = ${nobody}\n",
    ],
)
def test_a_value_that_names_itself_or_nothing_is_told(load: Load, text: str) -> None:
    value = text.split(" = ")[1].strip()
    with pytest.raises(
        InvalidConfig, match=rf"expected \$\$ for a dollar sign, .* got '{re.escape(value)}' in .*t\.conf"
    ):
        options.settings(load(text))
    if "enabled_types" in text:
        with pytest.raises(InvalidConfig, match=r"got .*enabled_types"):
            options.enabled_types(load(text))


def test_what_is_misspelt_is_told_once_with_the_nearest_name(load: Load, tmp_path: Path) -> None:
    text = """
        [vifplug]
        state_pth = /x
        lock-timeout = 1
        zzz = 1
        [vifplug_ovs]
        connection = unix:/x
        [vifplg]
        state_path = /x
        [vifplug_brige]
        [vif_plug_ovs]
        [vifplug_acme]
        [neutron]
        [DEFAULT]
        state_path = /x
    """
    loaded = load(textwrap.dedent(text))
    place = f"in {tmp_path / 't.conf'}"
    assert options.misspelt(loaded, options.names([BridgeType])) == [
        f"[vifplug] state_pth: unknown option {place}: did you mean state_path?",
        f"[vifplug] zzz: unknown option {place}",
        f"[vifplg]: unknown group {place}: did you mean vifplug?",
        f"[vifplug_brige]: unknown group {place}: did you mean vifplug_bridge?",
    ]
    assert options.misspelt(loaded, options.names([BridgeType])) == []


def test_an_ssl_remote_needs_its_files(load: Load) -> None:
    with pytest.raises(InvalidConfig, match="ssl_ca"):
        options.settings(load("[vifplug_ovs]\nconnection=ssl:10.0.0.1:6640\n"))


def test_an_integer_without_bounds_is_described(load: Load) -> None:
    class Counter(BridgeType):
        name = "counter"
        options = (Option(name="count", help="how many", kind="int"),)

    loaded = load("[vifplug_counter]\ncount = many\n")
    options.register(loaded, [Counter])
    with pytest.raises(InvalidConfig, match=r"\[vifplug_counter\] count: expected an integer, got 'many' in "):
        options.settings(loaded, [Counter])


def test_an_options_kind_has_choices(load: Load) -> None:
    class Chooser(BridgeType):
        name = "chooser"
        options = (Option(name="colour", help="which", choices=("red", "green")),)

    loaded = load("[vifplug_chooser]\ncolour = blue\n")
    options.register(loaded, [Chooser])
    with pytest.raises(InvalidConfig, match=r"\[vifplug_chooser\] colour: expected red or green, got 'blue' in "):
        options.settings(loaded, [Chooser])


def test_a_file_that_is_missing_or_no_configuration_is_named(tmp_path: Path) -> None:
    broken, binary = tmp_path / "broken.conf", tmp_path / "binary.conf"
    broken.write_text("state_path = /x\n")
    binary.write_bytes(b"\xd0\xff\x00")
    for path in (tmp_path / "missing.conf", broken, binary, tmp_path):
        with pytest.raises(InvalidConfig, match="configuration: ") as caught:
            options.load([str(path)])
        assert "\n" not in str(caught.value) and "Errno" not in str(caught.value)
        assert str(path) in str(caught.value)
    broken.unlink()
    with pytest.raises(InvalidConfig, match=r"binary\.conf is not UTF-8 text: byte 0 is 0xd0"):
        options.load([], [str(tmp_path)])


def test_a_file_cannot_end_the_program(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """oslo.config exits with 1, which means differences."""
    (tmp_path / "t.conf").write_text("[DEFAULT]\nshell_completion = maybe\n")
    with pytest.raises(InvalidConfig, match=r"\[DEFAULT\] shell_completion: remove it"):
        options.load([str(tmp_path / "t.conf")])


def test_a_wrong_value_of_the_environment_is_told_as_such(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_VIFPLUG__TAP_OWNER", "x" * 200)
    expected = r"expected vifplug or libvirt, got 'x{76}\.\.\. in the environment variable OS_VIFPLUG__TAP_OWNER$"
    with pytest.raises(InvalidConfig, match=expected):
        options.settings(load("[vifplug]\ntap_owner = libvirt\n"))


def test_a_group_in_capitals_is_the_same_group(load: Load) -> None:
    """oslo.config takes it so."""
    loaded = load("[Vifplug]\ntap_owner = x\nstate_pth = /x\n")
    with pytest.raises(
        InvalidConfig, match=r"\[vifplug\] tap_owner: expected vifplug or libvirt, got 'x' in .*t\.conf"
    ):
        options.settings(loaded)
    [sentence] = options.misspelt(loaded, options.names())
    assert sentence.startswith("[Vifplug] state_pth: unknown option") and sentence.endswith("did you mean state_path?")


def test_a_directory_that_cannot_be_is_no_bug(load: Load) -> None:
    assert options.misspelt(load(f"[DEFAULT]\nconfig_dir = /{'9' * 5000}\n"), options.names()) == []


@pytest.mark.needs("root")
def test_a_file_that_may_not_be_read_is_told_so(tmp_path: Path) -> None:
    """As another user, in a process of its own: root may read everything."""
    (tmp_path / "secret.conf").write_text("[vifplug]\n")
    (tmp_path / "secret.conf").chmod(0)
    code = f"""
import os
from vifplug import conf
os.chdir({str(tmp_path)!r})
os.setuid(65534)
conf.load(["secret.conf"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert NotPermitted.__name__ in done.stderr
    assert "secret.conf" in done.stderr


def test_registering_twice_does_no_harm(load: Load) -> None:
    loaded = load("")
    options.register(loaded, [BridgeType])
    options.register(loaded, [BridgeType()])
    assert options.settings(loaded, [BridgeType]).types["bridge"]["hairpin"] is None


def test_every_option_has_a_help_text() -> None:
    for group, listed in options.list_opts():
        for option in listed:
            assert option.help and option.help.endswith("."), f"[{group}] {option.name}"


def test_the_sample_configuration_is_what_the_generator_makes(tmp_path: Path) -> None:
    """When this fails: make sample-config."""
    if not list(metadata.entry_points(group="oslo.config.opts", name="vifplug")):
        pytest.skip("vifplug is not installed, so the generator cannot find it: pip install --editable .")
    made = tmp_path / "sample"
    arguments = ["--config-file", str(ROOT / "etc/vifplug/vifplug-config-generator.conf"), "--output-file", str(made)]
    generator.main(arguments)
    assert made.read_text() == (ROOT / "etc/vifplug/vifplug.conf.sample").read_text()
