"""One damaged record: whatever it says, each verb ends in one sentence, and no other VIF is affected."""

from __future__ import annotations

import functools
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from vifplug import VIF, Instance, Network, VIFDriver, errors, plugins
from vifplug import conf as options
from vifplug.plan.registry import LowerDevice, OvsBridge
from vifplug.store.store import Record, Store
from vifplug.testing.memory import MemoryBackend, MemoryHost

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
SOUND = "1b2c3d4e-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
GUEST = Instance(uuid="77777777-aaaa-4bbb-8ccc-dddddddddddd", name="web-1")
POOL = (
    "<network><name>pool</name><forward mode='private'><interface dev='e0'/><interface dev='e1'/></forward></network>"
)

#: where a plugin comes from; host-info looks for it among all distributions
ORIGIN = functools.cache(plugins.origin)

DEEP = "[" * 100_000
#: what may stand in any column
ANYTHING: tuple[Any, ...] = (
    *("", " ", "null", "true", "[]", "{}", '""', "0", "1e999", "9" * 5000, "NaN", "[null]", "[[]]", "[1]", '["a"]'),
    *(
        "{",
        '{"a": 1}',
        '{"id": 1, "id": 2}',
        DEEP,
        '{"a":' * 100_000,
        "\0",
        "\ufffd",
        "plugged\0",
        "\x1b[2J",
        "x" * 5000,
    ),
    *(0, -1, 2**62, 1e308, b"", b"\xff\xfe", b"{}"),
)
#: what may stand in place of any value within a JSON text
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**40, 2**70, 1.5, "", "..", "../../x", "a/b", "a\0b", "\ud800", "x" * 300, SOUND),
    *([], [None], {}, {"a": 1}, [[[[[]]]]]),
)
SYSCTLS = ("../../kernel/x", "ipv6/../../../kernel/core_pattern", "ipv6", "/etc/passwd", "ipv6/", "ipv6/a b", "")

VERBS: Mapping[str, Callable[[VIFDriver, VIF], object]] = {
    "list": lambda driver, vif: [each.problem or each.state for each in driver.list()],
    "check": lambda driver, vif: [str(each) for each in driver.check()],
    "check one": lambda driver, vif: driver.check(vif.id),
    "topology": lambda driver, vif: driver.topology(),
    "pool show": lambda driver, vif: driver.pool("pool"),
    "host-info": lambda driver, vif: driver.host_info(),
    "network update": lambda driver, vif: driver.update_network("pool"),
    "show": lambda driver, vif: driver.show(vif.id),
    "can-plug": lambda driver, vif: driver.can_plug([vif]),
    "plan": lambda driver, vif: driver.plan(vif),
    "plug": lambda driver, vif: driver.plug(vif),
    "update": lambda driver, vif: driver.update(vif),
    "settle": lambda driver, vif: driver.settle(vif.id),
    "unplug": lambda driver, vif: driver.unplug(vif.id),
    "unplug --force": lambda driver, vif: driver.unplug(vif.id, force=True),
}
#: verbs that one damaged record must not keep from their work
UNAFFECTED = ("list", "check", "topology", "pool show", "host-info", "network update", "can-plug")


class Site:
    """Two VIFs on a machine in memory; the record of one can be altered, and all of it restored."""

    def __init__(self, path: Path, kind: str) -> None:
        self.memory = MemoryBackend()
        for name in ("e0", "e1"):
            self.memory.place(LowerDevice(name=name))
        self.memory.place(OvsBridge(name="br0"))
        conf = options.load([])
        conf.set_override("state_path", str(path), group="vifplug")
        conf.set_override("default_qos_type", None, group="vifplug_ovs")
        machine = MemoryHost(self.memory)
        self.driver = VIFDriver(conf, networks=[Network.from_xml(POOL)], machine=machine)
        self.vif = document(ID, kind)
        self.driver.plug(self.vif, GUEST)
        self.driver.plug(document(SOUND, kind, mac="52:54:00:00:00:02"), GUEST)
        self.there = self.memory.there
        self.database = sqlite3.connect(path / "vifplug.db", isolation_level=None)
        self.database.execute("PRAGMA ignore_check_constraints = 1")
        self.database.execute("PRAGMA synchronous = OFF")
        self.tables = {name: self.database.execute(f"SELECT * FROM {name}").fetchall() for name in ("vif", "claim")}
        names = [row[1] for row in self.database.execute("PRAGMA table_info(vif)")]
        self.row = dict(zip(names, next(row for row in self.tables["vif"] if row[0] == ID), strict=True))

    def alter(self, column: str, value: Any) -> None:
        """Alter a column of a row without a checksum, as one that an earlier vifplug has written."""
        self.database.execute(f"UPDATE vif SET {column} = ?, checksum = NULL WHERE vif_id = ?", (value, ID))

    def restore(self) -> None:
        self.database.execute("BEGIN")
        for table, rows in self.tables.items():
            self.database.execute(f"DELETE FROM {table}")
            for row in rows:
                self.database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        self.database.execute("COMMIT")
        self.memory._there = dict(self.there)

    def sound(self) -> set[Any]:
        """What there is of the other VIF."""
        return {seen.resource for seen in self.memory.there.values() if seen.resource and seen.resource.owner == SOUND}


def document(vif_id: str, kind: str, mac: str = "52:54:00:00:00:01") -> VIF:
    data: dict[str, Any] = {"id": vif_id, "mac": mac, "vlan": 10, "mtu": 1400}
    if kind == "pool":
        return VIF.from_json(
            {"id": vif_id, "mac": mac, "type": "network", "source": {"network": "pool"}, "tap_owner": "vifplug"}
        )
    source = {"bridge": "br0"}
    return VIF.from_json({**data, "type": "bridge", "source": source, "virtualport": {"type": "openvswitch"}})


@pytest.fixture(params=["openvswitch", "pool"])
def site(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(plugins, "origin", ORIGIN)
    made = Site(tmp_path, request.param)
    yield made
    made.database.close()
    made.driver.close()


def altered(text: Any) -> Iterator[Any]:
    """The value of a column, altered in many ways."""
    yield from (each for each in ANYTHING if each != text)
    if not isinstance(text, str):
        return
    yield from (text[:at] for at in {1, len(text) // 3, len(text) // 2, len(text) - 1})
    yield text + "]"
    yield text.encode()
    yield text.encode().replace(b"5", b"\xff", 1)
    yield text.replace(ID, SOUND)
    try:
        data = json.loads(text)
    except ValueError:
        return
    for path in paths(data):
        for value in VALUES:
            yield json.dumps(replaced(data, path, value))


def paths(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        yield (*at, key)
        yield from paths(data[key], (*at, key))


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


COLUMNS = ("vif_id", "state", "asked", "actual", "instance", "interface_xml", "wanted", "originals", "claims", "shares")


@pytest.mark.parametrize("column", [*COLUMNS, "changed_at"])
def test_whatever_a_column_says_every_verb_ends_in_a_sentence(site: Site, column: str) -> None:
    """Values of the whole column with every verb; those within it with two, in turn, so that it takes seconds."""
    others = site.sound()
    turns = itertools.cycle(VERBS)
    for number, value in enumerate(altered(site.row[column])):
        for name in VERBS if number < len(ANYTHING) else (next(turns), next(turns)):
            try:
                site.alter(column, value)
            except sqlite3.IntegrityError:
                break  # the schema keeps this value out
            try:
                VERBS[name](site.driver, site.vif)
            except errors.VifplugError as error:
                missing = isinstance(error, errors.Missing)  # a plugin, which one VIF of the network needs
                assert name not in UNAFFECTED or missing, f"{name} fails with {column} {value!r:.200}: {error}"
                assert str(error) and len(str(error)) < 1000, (name, value)
            assert others <= site.sound() or name == "network update", (name, value)
            site.restore()


@pytest.mark.parametrize("column", ["asked", "actual", "instance", "wanted", "originals", "claims", "changed_at"])
def test_a_damaged_record_is_named_and_unplug_removes_what_is_marked(site: Site, column: str) -> None:
    site.alter(column, "{")
    damaged, sound = site.driver.list()[::-1]
    assert (damaged.id, sound.id, sound.problem) == (ID, SOUND, "")
    assert (
        f"VIF {ID}: its record is damaged (column {column}" in damaged.problem and "vifplug unplug" in damaged.problem
    )
    [found] = site.driver.check()
    assert (found.vif_id, found.path) == (ID, "record") and column in found.found
    assert [each.state for each in site.driver.topology().vifs] == ["plugged", "damaged"]
    for verb in (site.driver.show, site.driver.settle):
        with pytest.raises(errors.DamagedRecord):
            verb(ID)
    for change in (site.driver.plug, site.driver.update, site.driver.plan):
        with pytest.raises(errors.DamagedRecord):
            change(site.vif)
    assert site.memory.there == site.there
    assert site.driver.unplug(ID) and [each.id for each in site.driver.list()] == [SOUND]
    assert not [
        each for each in site.memory.there.values() if each.resource and each.resource.owner == ID and each.held
    ]
    assert site.driver.check() == [] and site.driver.plug(site.vif).changed


@pytest.mark.parametrize("key", SYSCTLS)
def test_a_sysctl_that_is_none_is_refused(site: Site, key: str) -> None:
    resources = json.loads(site.row["wanted"])
    resources[-1 if "sysctls" in resources[-1] else 0]["sysctls"] = {key: "1"}
    site.alter("wanted", json.dumps(resources))
    with pytest.raises(errors.DamagedRecord, match="sysctl"):
        site.driver.settle(ID)


@pytest.mark.parametrize(
    ("resource", "problem"),
    [
        ({"kind": "tap", "name": "../tap0"}, "device name"),
        ({"kind": "tap", "name": "tap0", "owner": SOUND}, SOUND),
        ({"kind": "macvtap", "name": "tap0", "lower": "a/b"}, "device name"),
        ({"kind": "veth", "name": "tap0", "peer": "."}, "device name"),
        ({"kind": "bridge-port", "name": "tap0", "bridge": ".."}, "device name"),
        ({"kind": "vhost-socket", "name": "/run/../etc/passwd"}, "the path of a file"),
        ({"kind": "vhost-socket", "name": "socket"}, "an absolute path"),
        ({"kind": "vhost-socket", "name": "/run/s", "mode": 2**40}, "mode"),
        ({"kind": "vf", "name": "eth0", "pf": "e0", "number": 0}, "PCI address"),
        ({"kind": "vf", "name": "0000:81:02.3", "pf": "e0", "number": 2**40}, "number"),
        ({"kind": "vf", "name": "0000:81:02.3", "pf": "e0", "number": 0, "link_state": "perhaps"}, "link_state"),
        ({"kind": "vf", "name": "0000:81:02.3", "pf": "e0", "number": 0, "vlan_proto": "IPX"}, "vlan_proto"),
        ({"kind": "vf", "name": "0000:81:02.3", "pf": "e0", "number": 0, "mac": "no"}, "mac"),
        ({"kind": "pci-function", "name": "../.."}, "PCI address"),
        ({"kind": "tap", "name": "tap0", "user": -1}, "user"),
        ("tap", "expected a resource"),
        ({"kind": ["tap"]}, "expected a resource"),
    ],
)
@pytest.mark.parametrize("column", ["wanted", "originals"])
def test_what_a_record_says_is_checked_before_it_is_acted_on(
    site: Site, resource: Any, problem: str, column: str
) -> None:
    site.alter(column, json.dumps([resource]))
    for change in (site.driver.plug, site.driver.update):
        with pytest.raises(errors.DamagedRecord, match=problem):
            change(site.vif)
    assert site.memory.there == site.there


def test_a_kind_that_is_not_installed_leaves_only_by_force(site: Site) -> None:
    site.alter("wanted", site.row["wanted"].replace('"kind": "', '"kind": "acme-', 1))
    with pytest.raises(errors.Missing, match=r"install the package .* or unplug with --force"):
        site.driver.unplug(ID)
    site.driver.unplug(ID, force=True)
    assert [each.id for each in site.driver.list()] == [SOUND] and site.memory.find(ID) == []


#: what a flipped bit makes of a row: another that is as sound
FLIPPED = [
    ("asked", "52:54", "52:55"),
    ("wanted", "br0", "br1"),
    ("originals", '"e0"', '"e1"'),
    ("interface_xml", "52:54", "52:55"),
    ("instance", "web", "wef"),
    ("claims", "tap", "tbp"),
]


def test_a_flipped_bit_is_told_and_hides_nothing(site: Site) -> None:
    """And unplug goes by the marks, with and without force."""
    for number, (column, found, flipped) in enumerate(FLIPPED):
        if found not in site.row[column]:
            continue
        value = site.row[column].replace(found, flipped, 1)
        site.database.execute(f"UPDATE vif SET {column} = ? WHERE vif_id = ?", (value, ID))
        bad = {each.id: each.problem for each in site.driver.list() if each.problem}
        assert list(bad) == [ID] and "checksum is not that of what was written" in bad[ID], column
        assert {each.vif_id for each in site.driver.check() if each.path == "record"} == {ID}
        with pytest.raises(errors.DamagedRecord):
            site.driver.show(ID)
        site.driver.unplug(ID, force=bool(number % 2))
        assert [each.id for each in site.driver.list()] == [SOUND]
        assert not [each for each in site.memory.there.values() if each.resource and each.resource.owner == ID], column
        site.restore()
    assert site.driver.list()[1].problem == ""


def test_what_an_earlier_vifplug_writes_meanwhile_is_not_checked(site: Site) -> None:
    """One that has the database open knows no checksum, and leaves the one of before."""
    site.database.execute(
        "UPDATE vif SET state = 'updating', asked = replace(asked, '52:54', '52:55') WHERE vif_id = ?", (ID,)
    )
    assert [each.problem for each in site.driver.list()] == ["", ""]


def test_an_id_that_is_none_can_be_unplugged_as_it_is_listed(site: Site) -> None:
    site.alter("vif_id", "not an id")
    [damaged] = [each for each in site.driver.list() if each.problem]
    assert "expected a UUID" in damaged.problem
    site.driver.unplug(damaged.id)
    assert [each.id for each in site.driver.list()] == [SOUND]
    with pytest.raises(errors.InvalidRequest, match="expected a UUID"):
        site.driver.unplug("not an id")


def test_text_that_is_no_utf8_hides_no_other_row(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put([_record(ID), _record(SOUND)])
    with sqlite3.connect(tmp_path / "vifplug.db") as database:
        database.execute("UPDATE vif SET actual = CAST(? AS TEXT) WHERE vif_id = ?", (b"\xff", ID))
    assert {each.vif_id: each.actual for each in store.all()} == {ID: "\\xff", SOUND: "{}"}


def _record(vif_id: str) -> Record:
    return Record(
        vif_id=vif_id,
        state="plugged",
        asked="{}",
        actual="{}",
        instance=None,
        interface_xml="<interface/>",
        wanted="[]",
        originals="[]",
        changed_at=0.0,
    )


@pytest.mark.parametrize("site", ["pool"], indirect=True)
def test_a_resolved_vif_of_an_unknown_type_without_a_source_is_a_difference(site: Site) -> None:
    actual = json.loads(site.row["actual"]) | {"type": "acme"}
    del actual["source"]
    site.alter("actual", json.dumps(actual))
    assert [each.vif_id for each in site.driver.check(ID)]


@pytest.mark.parametrize("changes", [{"source": {"bridge": "adopted"}}, {"external_ids": {"adopted": "adopted"}}])
def test_only_an_adopted_vif_counts_as_adopted_whatever_its_names_are(site: Site, changes: dict[str, Any]) -> None:
    site.memory.place(OvsBridge(name="adopted"))
    vif = VIF.from_json({**document(ID, "openvswitch").to_data(), **changes})
    site.driver.unplug(ID)
    assert site.driver.plug(vif).changed
    assert not site.driver.plug(vif).changed and site.driver.plug(vif.replace(mtu=1300)).changed
