"""README and the pages of doc/ are true: their programs run as printed, and their tables list exactly what exists."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from os_vif import objects
from vif_plug_ovs.ovs import OvsPlugin

from tests.support.command import VIFPLUG
from tests.support.memory import Bench
from tests.support.places import ROOT
from vifplug import VIF, Network, conf, errors, interface_xml, resolve
from vifplug.compat import options, plugin_type, translate
from vifplug.compat.libvirt_hook import HARMLESS, OPERATIONS, GuestHook
from vifplug.guest.domain import live, metadata
from vifplug.host.ovs import ovn
from vifplug.host.ovs.settings import WAITS
from vifplug.model.nic import Driver, VfSettings
from vifplug.model.source import SOURCES, Reconnect
from vifplug.model.virtualport import PARAMETERS
from vifplug.model.vlan import Vlan
from vifplug.neutron import guest as neutron
from vifplug.neutron import vif_from_binding
from vifplug.neutron.table import TABLE
from vifplug.store.store import State
from vifplug.testing import schema
from vifplug.testing.kernel import Kernel
from vifplug.testing.ovs import PrivateOvs
from vifplug.types import base
from vifplug.types.vdpa import VdpaSource

Rows = list[list[str]]


def code(cell: str) -> list[str]:
    """Return what a table's cell has between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def fields(cls: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


@dataclass(frozen=True)
class Block:
    """A fenced block: a file, if it has a ``path``; commands (sh); or what these print (text)."""

    path: str | None
    language: str
    text: str


@dataclass(frozen=True)
class Text:
    """A page, or a section of one."""

    text: str

    def section(self, title: str) -> Text:
        found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", self.text, re.DOTALL | re.MULTILINE)
        assert found, title
        return Text(found[1])

    def all_blocks(self) -> list[Block]:
        block = r"(?:^`(?P<path>[\w./-]+)`\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$"
        return [Block(**found.groupdict()) for found in re.finditer(block, self.text, re.DOTALL | re.MULTILINE)]

    def blocks(self, language: str) -> list[str]:
        return [each.text for each in self.all_blocks() if each.language == language]

    def pairs(self, first: str, second: str) -> list[tuple[str, str]]:
        """Return each block of one language with the block of the other that follows it."""
        blocks = [(each.language, each.text.removesuffix("\n")) for each in self.all_blocks()]
        return [(a, b) for (one, a), (two, b) in pairwise(blocks) if (one, two) == (first, second)]

    def rows(self) -> Rows:
        """Return the cells of every table, without its head."""
        lines = self.text.splitlines()
        bar = re.compile(r"\|[-| :]+\|$")
        body = [a for a, b in pairwise([*lines, ""]) if a.startswith("|") and not bar.match(a) and not bar.match(b)]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def page(name: str) -> Text:
    return Text((ROOT / ("" if name.isupper() else "doc") / f"{name}.md").read_text())


# -- tables -------------------------------------------------------------------------------------------------------

ALL_SOURCES = {**SOURCES, "vdpa": VdpaSource}
#: modules of vifplug.testing that nobody imports by name
WITHIN_THE_SUITES = {
    *("__init__", "backend_laws", "convergence", "cross_process", "laws", "memory", "refusal_checks", "sandbox")
}


def _errors() -> list[tuple[int, str, str]]:
    tree = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.VifplugError)]
    return sorted((cls.exit_code, cls.__name__, "yes" if cls.retryable else "no") for cls in tree)


#: page, section, what its table says, and what exists
EXACT: list[tuple[str, str, Callable[[Rows], object], Callable[[], object]]] = [
    (
        "README",
        "Exit codes",
        lambda rows: {int(row[0]) for row in rows if len(row[0]) == 1},
        lambda: {0, 1, *(e[0] for e in _errors())},
    ),
    (
        "outcomes",
        "",
        lambda rows: sorted((int(r[0]), *code(r[1]), r[2]) for r in rows if len(r) == 4),
        _errors,
    ),
    (
        "outcomes",
        "",
        lambda rows: sorted(name for row in rows if len(row) == 2 for name in code(row[0])),
        lambda: sorted(get_args(State)),
    ),
    ("ovn", "When a plug returns", lambda rows: [code(row[0]) for row in rows], lambda: [[wait] for wait in WAITS]),
    (
        "libvirt",
        "Let libvirt plug: the hook",
        lambda rows: {tuple(code(row[0])[0].split()): row[2].endswith("the guest runs") for row in rows},
        lambda: {operation: operation[0] in HARMLESS for operation in OPERATIONS},
    ),
    (
        "neutron",
        "Every VIF type of Neutron",
        lambda rows: [(*code(row[0]), *code(row[1]), row[3]) for row in rows],
        lambda: [(row.name, row.vif_type, f"`{row.becomes}`" if row.form else "refused") for row in TABLE],
    ),
    (
        "os-vif",
        "Options",
        lambda rows: {row[0].strip("`"): row[1].strip("`") for row in rows},
        lambda: {option.dest: options.TABLE.get(option.dest, "none") for option in OvsPlugin.CONFIG_OPTS},
    ),
    (
        "os-vif",
        "Which objects",
        lambda rows: {(*code(row[0]), name) for row in rows for name in re.findall(r"VIF\w+", row[1])},
        lambda: {(plugin, name) for plugin, forms in translate.FORMS.items() for name in forms},
    ),
    ("os-vif", "os-vif plugins", lambda rows: [code(row[0])[0] for row in rows], lambda: list(plugin_type.FORMS)),
    ("vif", "Keys", lambda rows: {code(row[0])[0] for row in rows}, lambda: fields(VIF)),
    ("vif", "Types", lambda rows: {code(row[0])[0] for row in rows}, lambda: {*ALL_SOURCES}),
    (
        "vif",
        "Virtual ports",
        lambda rows: {code(row[0])[0]: {*code(row[1])} - {"id"} for row in rows},
        lambda: {name: set(parameters) for name, parameters in PARAMETERS.items() if name},
    ),
    (
        "testing",
        "",
        lambda rows: {name for row in rows for name in code(row[0]) if re.fullmatch(r"\w+", name)},
        lambda: {path.stem for path in (ROOT / "vifplug/testing").glob("*.py")} - WITHIN_THE_SUITES,
    ),
]


def rows(name: str, section: str) -> Rows:
    return (page(name).section(section) if section else page(name)).rows()


@pytest.mark.parametrize(("name", "section", "listed", "existing"), EXACT, ids=lambda each: each or None)
def test_a_table_lists_exactly_what_exists(name: str, section: str, listed: Any, existing: Any) -> None:
    assert listed(rows(name, section)) == existing()


#: page, section, the column that names things, and those that must be among them
AT_LEAST: list[tuple[str, str, int, Iterable[str]]] = [
    ("neutron", "Input", 0, fields(neutron.Guest)),
    ("libvirt", "Adopt running guests", 0, live._PLUGGED),
    ("vif", "Keys", 1, fields(Driver) | fields(VfSettings)),
    ("vif", "Types", 1, fields(Reconnect)),
]


@pytest.mark.parametrize(("name", "section", "column", "existing"), AT_LEAST)
def test_a_table_names_everything_that_exists(name: str, section: str, column: int, existing: Iterable[str]) -> None:
    assert set(existing) <= {each for row in rows(name, section) for each in code(row[column])}


def test_every_key_of_a_source_is_in_the_row_of_its_type() -> None:
    sources = {code(row[0])[0]: set(code(row[1])) for row in rows("vif", "Types")}
    assert all(fields(cls) <= sources[name] for name, cls in ALL_SOURCES.items())


def test_what_os_vifs_table_names_exists() -> None:
    objects.register_all()
    assert all(hasattr(objects.vif, name) for forms in translate.FORMS.values() for name in forms)
    assert set(options.TABLE.values()) <= {option.dest for option in conf.OVS_OPTIONS}
    differences = rows("os-vif", "Differences from os-vif")
    assert len(differences) > 20 and all(len(row) == 3 and row[0] and row[1] for row in differences)


def test_a_missing_part_of_ovn_is_reported_in_the_pages_words_and_order() -> None:
    both = ["never worked on that bridge", "shows no sign", "has seen"]
    source = inspect.getsource(ovn)
    assert all(each in source for each in ["not set up for OVN", "OVN's bridge", "as well", *both])
    said = ["not set up for OVN", "another bridge", "another port has the same", *both]
    assert all(words in row[0] for words, row in zip(said, rows("ovn", "What is missing"), strict=True))


def test_the_hooks_file_is_where_the_page_has_it() -> None:
    assert "/usr/share/vifplug/libvirt-hook " in page("libvirt").section("Let libvirt plug: the hook").text
    assert "    share/vifplug = etc/vifplug/libvirt-hook\n" in (ROOT / "setup.cfg").read_text()
    for line in ("vifplug=vifplug", "state=/var/lib/vifplug"):
        assert f"\n{line} " in (ROOT / "etc/vifplug/libvirt-hook").read_text()


def test_the_options_and_verbs_of_the_networks_page_exist() -> None:
    text = page("networks").text
    existing = {option.name for _, group in conf.list_opts() for option in group}
    assert set(re.findall(r"`\[vifplug\w*\] (\w+)`", text)) <= existing
    verbs = {point.name.replace("_", " ") for point in entry_points(group="vifplug.cli")}
    named = {match.strip() for match in re.findall(r"vifplug ((?:network |pool )?[a-z-]+)", text)}
    assert {each for each in named if each.split()[0] in {verb.split()[0] for verb in verbs}} <= verbs
    assert {"resolve", "can-plug", "candidates", "topology", "pool show", "network update"} <= named


def _exists(name: str) -> bool:
    """Whether it is a file, or a directory that holds more than bytecode."""
    path = ROOT / name
    return path.is_file() or any(each.is_file() and each.suffix != ".pyc" for each in path.rglob("*"))


@pytest.mark.parametrize("name", ["README", "CONTRIBUTING"])
def test_the_packages_and_files_that_it_names_exist(name: str) -> None:
    pattern = r"`((?:vifplug|doc|examples|etc|tests)/[\w./-]+|\w+\.(?:md|txt|cfg|toml|py))`"
    names = re.findall(pattern, page(name).text)
    assert len(names) > 5
    assert [each for each in names if not _exists(each) and not _exists(f"vifplug/{each}")] == []


# -- documents and elements ---------------------------------------------------------------------------------------

VIF_PAGE = page("vif")
WRITTEN, READ = map(Text, VIF_PAGE.text.split("## `<interface>` elements"))
EXAMPLES = WRITTEN.pairs("json", "xml")
#: the source of a VIF to which a key is added that is refused
PLAIN: Mapping[str, Mapping[str, Any]] = {
    "bridge": {"bridge": "br0"},
    "ethernet": {},
    "direct": {"dev": "eno1"},
    "hostdev": {"address": "0000:81:02.3"},
    "vhostuser": {"path": "/run/vifplug/web", "mode": "server"},
    "vdpa": {"device": "/dev/vhost-vdpa-3"},
}
BASE = {"id": "4e0b62d3-6c8f-4f0a-9d3b-2f1f2a9c7e11", "type": "bridge", "mac": "52:54:00:12:34:56"}


@pytest.mark.parametrize(("document", "element"), [*EXAMPLES, *page("os-vif").pairs("json", "xml")])
def test_a_document_gives_the_element_that_follows_it(document: str, element: str) -> None:
    assert interface_xml(VIF.from_json(document)) == element
    assert schema.complaint(element) == ""


def test_an_element_is_read_as_the_document_that_follows_it() -> None:
    [(element, document)] = READ.pairs("xml", "json")
    vif = VIF.from_xml(element)
    assert vif == VIF.from_json(document)
    assert json.loads(vif.to_json()) == json.loads(document)


def test_there_is_an_example_for_every_type_and_every_block_is_tested() -> None:
    assert {json.loads(document)["type"] for document, _ in EXAMPLES} == set(ALL_SOURCES)
    assert len(VIF_PAGE.all_blocks()) == 2 * (len(EXAMPLES) + 1)
    assert len(page("os-vif").pairs("json", "xml")) == 1


def test_the_ways_to_write_a_vlan_mean_what_the_table_says() -> None:
    def vlans(cell: str) -> list[Vlan]:
        documents = [{**BASE, "source": {"bridge": "br0"}, "vlan": json.loads(text)} for text in code(cell)]
        return [VIF.from_json(document).vlan for document in documents]

    access, trunk, untagged, tagged, full, none, every, tunnel = [vlans(row[0]) for row in rows("vif", "VLANs")]
    assert [vlan.access for vlan in access] == [1011]
    assert all(vlan.trunk and vlan.native is None for vlan in trunk)
    modes = [vlan.native.native_mode for vlan in (*untagged, *tagged, *full)]
    assert modes == ["untagged", "tagged", "tagged", "untagged"]
    assert all(vlan.all and not vlan.mode for vlan in every)
    assert [vlan.mode for vlan in (*none, *tunnel)] == ["untagged", "dot1q-tunnel"]


@pytest.mark.parametrize("added", [code(row[0])[0] for row in rows("vif", "What is refused, and why")])
def test_what_is_said_to_be_refused_is_and_only_for_what_was_added(added: str) -> None:
    changes = json.loads(added)
    plain = {**BASE, "type": changes.get("type", "bridge")}
    plain["source"] = PLAIN[plain["type"]]
    assert interface_xml(VIF.from_json(plain))
    with pytest.raises(errors.InvalidDocument) as refusal:
        interface_xml(VIF.from_json({**plain, **changes}))
    assert all(re.split(r"[.[]", problem.path[2:])[0] in changes for problem in refusal.value.problems), refusal.value


def test_neutrons_example_gives_the_element_that_follows_it() -> None:
    text = page("neutron").text
    document = json.loads(text.partition("<<EOF\n")[2].partition("EOF\n")[0])
    shown = text.partition("```xml\n")[2].partition("```")[0]
    assert interface_xml(vif_from_binding(document["port"], document["guest"])) + "\n" == shown


def test_the_example_of_a_network_has_the_portgroups_that_the_page_describes() -> None:
    [text], document = page("networks").blocks("xml")[:1], page("networks").blocks("json")[0]
    network, vif = Network.from_xml(text), VIF.from_json(document)
    actual = resolve(vif, network)
    assert (actual.type, actual.source.bridge) == ("bridge", "br-red") and actual.vlan and actual.vlan.access == 10
    firewall = resolve(vif.replace(source=vif.source.replace(portgroup="firewalls")), network)
    assert firewall.vlan and firewall.vlan.native and firewall.bandwidth


def test_the_hook_plugs_the_definition_of_the_libvirt_page(tmp_path: Path) -> None:
    [definition] = page("libvirt").section("Let libvirt plug: the hook").blocks("xml")
    host = Bench(tmp_path)
    guest = metadata.guest(definition)
    assert not guest.problems
    GuestHook(host.driver, "web", guest).run("prepare")
    assert [entry.actual.device for entry in host.driver.list()] == ["tapweb"]
    host.driver.close()


# -- programs -----------------------------------------------------------------------------------------------------


def shell(script: str, directory: Path, environment: Mapping[str, str]) -> str:
    """Run commands in a network namespace with a /run/netns of its own, and return what they print."""
    private = f"set -e\nmkdir -p /run/netns && mount -t tmpfs none /run/netns\n{script}"
    command = ["unshare", "--net", "--mount", "sh", "-c", private]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


FIRST_VIF = page("README").section("A first VIF by hand")


@pytest.mark.needs("namespaces", "mounts", "tun")
@pytest.mark.parametrize(
    ("title", "printed"),
    [
        (
            "A first VIF by hand",
            ["make tap tap4e0b62d3-6c", "isolated on", "9000", "the VIF is as recorded", "no VIF is plugged"],
        ),
        ("Named networks", ["engineering (default)", '"bridge": "br-red"', '"id": 10']),
        ("From Python", ["<interface type='ethernet'>", "True make tap tap4e0b62d3-6c"]),
    ],
)
def test_readmes_commands_and_programs_run(title: str, printed: list[str], tmp_path: Path) -> None:
    section = page("README").section(title)
    script = "\n".join(section.blocks("sh"))
    if programs := section.blocks("python"):
        (tmp_path / "library.py").write_text("".join(programs))
        script = f"{FIRST_VIF.blocks('sh')[0]}\n{sys.executable} library.py"
    path = f"{Path(VIFPLUG).parent}{os.pathsep}{os.environ['PATH']}"
    said = shell(script, tmp_path, {**os.environ, "PATH": path})
    assert [each for each in printed if each not in said] == [], said
    for element in section.blocks("xml") if section == FIRST_VIF else ():
        assert element in said and element == (tmp_path / "web.xml").read_text()


def test_the_program_of_the_ovsdbapp_page_runs_and_what_it_expects_to_fail_does() -> None:
    [program] = page("ovsdbapp").blocks("python")
    program, failures = re.subn(
        r"^    .*log_errors=False\)$", r"\g<0>; raise AssertionError", program, flags=re.MULTILINE
    )
    assert failures == 3
    machines_own = "unix:/run/openvswitch/db.sock"
    with PrivateOvs() as ovs:
        private = program.replace(machines_own, ovs.connection)
        assert machines_own not in private and ovs.connection in private
        private = (
            f"import sys; sys.modules['eventlet'] = None  # which python-ovs imports if it can, and it warns\n{private}"
        )
        done = subprocess.run([sys.executable, "-c", private], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert ovs.ctl("list-br") == ""


@pytest.mark.slow
@pytest.mark.needs("namespaces", "tun", "openvswitch", "libvirt", "qemu")
def test_the_guest_of_the_testing_page_pings() -> None:
    Kernel.named("VIFPLUG_TEST_GUEST")
    program, _ = page("testing").blocks("python")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 packets received" in done.stdout


@pytest.mark.needs("namespaces", "tun", "openvswitch")
def test_the_matrix_of_the_testing_page_passes() -> None:
    _, program = page("testing").blocks("python")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- doc/plugins.md: whoever writes its files and runs its commands, in order, has a plugin that works ----------------

PLUGINS = Text(page("plugins").text.partition("## Facts of your own")[0])  # the rest: test_plugins
BLOCKS = PLUGINS.all_blocks()
EXAMPLE = ROOT / "examples" / "vifplug-vxlan"


def script() -> str:
    """The page as it would be typed into a shell: files are written, commands run, each after its number."""
    lines = []
    for number, block in enumerate(BLOCKS):
        if block.path:
            lines.append(f"cat > {block.path} <<'END OF FILE'\n{block.text}END OF FILE")
        elif block.language == "sh":
            lines.append(f"echo '@@ {number}'\n{block.text}")
    return "\n".join(lines)


def environment(directory: Path) -> dict[str, str]:
    """A virtual environment that also sees the packages of this one; pip downloads nothing."""
    venv.create(directory, with_pip=False, symlinks=True)
    [site] = directory.glob("lib/python*/site-packages")
    (site / "this.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    here, there = Path(sys.executable).parent, directory / "bin"
    for name in ("vifplug", "pytest", "pip"):
        lines = (here / name).read_text().splitlines(keepends=True)
        (there / name).write_text("".join([f"#!{there / 'python'}\n", *lines[1:]]))
        (there / name).chmod(0o755)
    pip = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    path = f"{there}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **pip, "PIP_ROOT_USER_ACTION": "ignore", "PATH": path, "XDG_CACHE_HOME": f"{directory}/cache"}


@pytest.mark.needs("namespaces", "mounts", "tun")
def test_a_reader_who_follows_the_plugins_page_sees_what_it_shows(tmp_path: Path) -> None:
    (work := tmp_path / "work").mkdir()
    _, *parts = re.split(r"^@@ (\d+)\n", shell(script(), work, environment(tmp_path / "venv")), flags=re.MULTILINE)
    answers = {int(number): text for number, text in zip(parts[::2], parts[1::2], strict=True)}
    expected = [number for number, block in enumerate(BLOCKS) if block.language == "text"]
    assert len(expected) > 6
    for number in expected:
        for line in BLOCKS[number].text.splitlines():
            assert line in answers[number - 1], answers[number - 1]
    [last] = [number for number, block in enumerate(BLOCKS) if "-brief link" in block.text]
    left = re.findall(r"^(\w+)(?:@\w+)? +(?:UP|DOWN)", answers[last], re.MULTILINE)
    assert left == ["lo", "wire"], answers[last]


def test_every_block_of_the_plugins_page_is_a_file_or_commands_or_their_output() -> None:
    assert len(BLOCKS) > 15 and PLUGINS.text.count("\n```") == 2 * len(BLOCKS)
    for before, block in zip(["", *(each.language for each in BLOCKS)], BLOCKS, strict=False):
        assert block.path or block.language == "sh" or (block.language == "text" and before == "sh"), block


def test_the_files_of_the_plugins_page_are_those_of_the_example() -> None:
    shown = {block.path: block.text for block in BLOCKS if block.path}
    sources = (each for each in EXAMPLE.rglob("*") if each.suffix in (".py", ".toml") and "build" not in each.parts)
    assert shown == {str(each.relative_to(EXAMPLE)): each.read_text() for each in sources}


def test_the_plugins_page_has_the_present_version_of_the_interface_and_modules_that_exist() -> None:
    assert set(re.findall(r"api_version = (\(.*?\))", PLUGINS.text)) == {str(base.API_VERSION)}
    table = PLUGINS.text.partition("### What a plugin may use")[2]
    for line in re.findall(r"^\| (`vifplug.*?) \| ", table, re.MULTILINE):
        first, *rest = re.findall(r"`([\w.]+)`", line)
        for name in (first, *(f"{first.rpartition('.')[0]}{each}" if each[0] == "." else each for each in rest)):
            assert (ROOT / f"{name.replace('.', '/')}.py").exists() or (ROOT / name.replace(".", "/")).is_dir(), name
