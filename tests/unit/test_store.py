"""The record of what is plugged: kept over crashes and upgrades, shared by threads and processes, clear in failure."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import multiprocessing
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.holdings import all_holdings
from vifplug.errors import Busy, Conflict, StoreFailed
from vifplug.store import database as module
from vifplug.store.store import Record, Store
from vifplug.testing import needs

ROOT = Path(__file__).resolve().parents[2]
SPAWN = multiprocessing.get_context("spawn")
FORK = multiprocessing.get_context("fork")


def record(vif_id: str = "", **changes: object) -> Record:
    base = Record(
        vif_id=vif_id or str(uuid.uuid4()),
        state="plugged",
        asked='{"type": "bridge", "name": "Gerät"}',
        actual="{}",
        instance=None,
        interface_xml="",
        wanted="[]",
        originals="[]",
        claims=(),
        changed_at=1700000000.25,
    )
    return dataclasses.replace(base, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "state")
    yield made
    made.close()


# -- records ------------------------------------------------------------------------------------------------------


def test_what_is_put_is_what_is_got(store: Store) -> None:
    first = record("b", instance='{"uuid": "x"}', claims=("z", "a"))
    store.put([first, record("a", state="updating")])
    assert store.get("b") == first
    assert [each.vif_id for each in store.all()] == ["a", "b"]
    assert store.get("c") is None


def test_a_record_is_replaced_and_forgotten(store: Store) -> None:
    store.put([record("a"), record("b")])
    store.put([record("a", state="unplugging")])
    store.delete(["b", "never there"])
    assert store.all() == [record("a", state="unplugging")]


def test_a_put_of_several_writes_all_or_none(store: Store) -> None:
    with pytest.raises(StoreFailed):
        store.put([record("a"), record("b", state="no such state")])
    assert store.all() == []


def test_records_are_there_after_reopening(store: Store, tmp_path: Path) -> None:
    store.put([record("a")])
    store.close()
    assert store.get("a") == Store(tmp_path / "state").get("a") == record("a")


def test_the_directory_is_made_for_its_owner_only(store: Store, tmp_path: Path) -> None:
    store.all()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_its_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """Whatever the umask."""
    old = os.umask(0)
    try:
        store = Store(tmp_path / "open")
        with store.lock(["a"], 1):
            store.put([record("a")])
    finally:
        os.umask(old)
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o700
    files = {each.name: each.stat().st_mode & 0o777 for each in (tmp_path / "open").iterdir()}
    names = ("vifplug.db", "vifplug.db-wal", "vifplug.db-shm", "vifplug.lock", "vifplug.reserve")
    assert files == dict.fromkeys(names, 0o600)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda state: state.chmod(0o755),
            "has mode 0755, so other users may read or change the record: `chmod 0700 {}`",
        ),
        (lambda state: state.chmod(0o1777), "has mode 1777, so .*: `chmod 0700 {}`"),
        (lambda state: os.chown(state, 65534, 0), r"belongs to user 65534, and vifplug runs as user 0: .*`chown 0 {}`"),
        (
            lambda state: (state.rename(state.parent / "was"), state.symlink_to(state.parent / "was")),
            r"{}, is a symbolic link: set \[vifplug\] state_path to {}-was",
        ),
    ],
)
@pytest.mark.needs("root")
def test_a_directory_that_others_may_change_is_refused_with_the_remedy(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    spoil(state)
    pattern = message.replace("{}-was", str(tmp_path / "was")).replace("{}", str(state))
    with pytest.raises(StoreFailed, match=pattern):
        Store(state).all()
    with pytest.raises(StoreFailed, match=pattern), Store(state).lock(["a"], 1):
        pass
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("name", ["vifplug.db", "vifplug.lock"])
def test_a_file_that_is_a_symbolic_link_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / name).symlink_to(tmp_path / "elsewhere")
    store = Store(tmp_path / "state")
    message = f"{name}, cannot be used: it is a symbolic link: remove it"
    with pytest.raises(StoreFailed, match=message), store.lock(["a"], 1):
        store.put([record("a")])
    assert not (tmp_path / "elsewhere").exists()


def test_opening_is_left_to_the_first_use(tmp_path: Path) -> None:
    Store(tmp_path / "state")
    assert not (tmp_path / "state").exists()


# -- claims -------------------------------------------------------------------------------------------------------


def test_a_claim_is_held_by_one_vif(store: Store) -> None:
    store.put([record("a", claims=("VF 0000:81:02.3",))])
    with pytest.raises(Conflict, match=r"VF 0000:81:02\.3 is requested by VIF b and in use by VIF a"):
        store.put([record("c"), record("b", claims=("VF 0000:81:02.3",))])
    assert [each.vif_id for each in store.all()] == ["a"]
    store.put([record("a", claims=("VF 0000:81:02.3",))])


def test_a_claim_ends_with_its_record_or_when_it_is_no_longer_made(store: Store) -> None:
    store.put([record("a", claims=("x", "y"))])
    store.put([record("a", claims=("y",)), record("b", claims=("x",))])
    store.delete(["a"])
    store.put([record("c", claims=("y",))])
    assert {each.vif_id: each.claims for each in store.all()} == {"b": ("x",), "c": ("y",)}


def test_claims_change_hands_within_one_put(store: Store) -> None:
    store.put([record("a", claims=("x",)), record("b", claims=("y",))])
    store.put([record("a", claims=("y",)), record("b", claims=("x",))])
    assert [each.claims for each in store.all()] == [("y",), ("x",)]


def test_what_is_shared_has_many_holders_and_no_claim(store: Store) -> None:
    store.put([record("a", shares=("x",)), record("b", shares=("x",), instance='{"uuid": "u"}')])
    with pytest.raises(Conflict, match="x is requested by VIF c and in use by VIF a"):
        store.put([record("c", claims=("x",))])
    assert [(each.vif_id, each.exclusive, each.instance) for each in store.holdings(["x", "y"])] == [
        ("a", False, None),
        ("b", False, '{"uuid": "u"}'),
    ]
    store.delete(["a", "b"])
    store.put([record("c", claims=("x", "y"), shares=("x",))])
    assert [(each.name, each.vif_id, each.exclusive) for each in all_holdings(store)] == [
        ("x", "c", True),
        ("y", "c", True),
    ]
    with pytest.raises(Conflict, match="x is requested by VIF d and in use by VIF c"):
        store.put([record("d", shares=("x",))])


def test_what_was_only_tried_is_not_written(store: Store) -> None:
    with store.transaction(dry_run=True) as transaction:
        transaction.put([record("a", claims=("x",))])
        assert [each.vif_id for each in transaction.holdings(["x"])] == ["a"]
    assert store.all() == [] and all_holdings(store) == []


def test_what_fails_inside_a_transaction_is_no_failure_of_the_store(store: Store) -> None:
    with pytest.raises(FileNotFoundError), store.transaction() as transaction:
        transaction.put([record("a", claims=("x",))])
        raise FileNotFoundError("a device that has just gone, say")
    assert store.all() == [] and all_holdings(store) == []
    store.put([record("b", claims=("x",))])


# -- costs --------------------------------------------------------------------------------------------------------


def test_a_change_takes_few_statements_and_pages(store: Store, tmp_path: Path) -> None:
    """The intent, the record and its end, of a VIF that has two names: SQLite writes each changed page to the log."""
    store.put([record(str(number), wanted="x" * 900, claims=(f"iface-id {number}",)) for number in range(101)])
    new = record("new", state="plugging", wanted="x" * 900, claims=("iface-id new",), shares=("MAC new",))
    changes: tuple[tuple[Callable[[], None], int, int], ...] = (
        (lambda: store.put([new]), 7, 6),
        (lambda: store.put([dataclasses.replace(new, state="plugged")]), 5, 2),
        (lambda: store.put([dataclasses.replace(new, state="unplugging")]), 5, 2),
        (lambda: store.delete(["new"]), 5, 8),
    )
    statements: list[str] = []
    with store.transaction() as transaction:
        transaction.connection.set_trace_callback(statements.append)
    log = tmp_path / "state" / "vifplug.db-wal"
    for change, most_statements, most_pages in changes:
        statements.clear()
        before = log.stat().st_size
        change()
        pages = (log.stat().st_size - before) // (24 + 4096)  # fileformat2.html, section 4.1
        assert (len(statements) <= most_statements, pages <= most_pages) == (True, True), (statements, pages)


def test_the_log_that_a_reader_let_grow_is_cut_again(store: Store, tmp_path: Path) -> None:
    store.put([record("a")])
    log = tmp_path / "state" / "vifplug.db-wal"
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "vifplug.db")) as reader:
        reader.execute("BEGIN")
        assert len(reader.execute("SELECT * FROM vif").fetchall()) == 1
        for letter in "bcdefgh":
            store.put([record("a", wanted=letter * 900_000)])
        assert log.stat().st_size > 5 << 20
    store.put([record("a")])
    store.put([record("b")])
    assert log.stat().st_size <= 4 << 20 and store.all() == [record("a"), record("b")]


# -- threads, processes, forks ------------------------------------------------------------------------------------


def test_eight_threads_write_and_read(store: Store) -> None:
    def work(number: int) -> None:
        for index in range(20):
            store.put([record(f"{number}-{index}")])
            assert store.get(f"{number}-{index}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(store.all()) == 160


def _fill(path: str, number: int) -> None:
    mine = Store(path)
    for index in range(10):
        mine.put([record(f"{number}-{index}")])


def test_eight_processes_open_a_new_store_at_once_and_write(tmp_path: Path) -> None:
    processes = [FORK.Process(target=_fill, args=(str(tmp_path / "state"), number)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    assert len(Store(tmp_path / "state").all()) == 80


def _put_in_child(store: Store) -> None:
    store.put([record("child")])
    store.close()


def test_a_store_is_used_on_both_sides_of_a_fork(store: Store) -> None:
    store.put([record("before")])
    child = FORK.Process(target=_put_in_child, args=(store,))
    child.start()
    child.join(30)
    store.put([record("parent")])
    assert child.exitcode == 0
    assert {each.vif_id for each in store.all()} == {"before", "child", "parent"}


def test_what_was_put_survives_the_death_of_the_process(tmp_path: Path) -> None:
    code = f"""
        import os, signal
        from tests.unit.test_store import Store, record
        store = Store({str(tmp_path / "state")!r})
        store.put([record("kept")])
        with store.transaction() as transaction:
            transaction.connection.execute("DELETE FROM vif")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert _python(code).returncode == -9
    assert [each.vif_id for each in Store(tmp_path / "state").all()] == ["kept"]


def _python(code: str, *prefix: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
    )


# -- schemas ------------------------------------------------------------------------------------------------------


def test_a_database_of_an_earlier_schema_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a made-up schema that comes next."""
    Store(tmp_path).put([record("old")])
    following = (lambda database: database.execute("ALTER TABLE vif ADD COLUMN colour TEXT DEFAULT 'red'") and None,)
    monkeypatch.setattr(module, "MIGRATIONS", module.MIGRATIONS + following)
    upgraded = Store(tmp_path)
    assert upgraded.get("old") == record("old")
    with contextlib.closing(sqlite3.connect(tmp_path / "vifplug.db")) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (len(module.MIGRATIONS),)
        assert raw.execute("SELECT colour FROM vif").fetchall() == [("red",)]


#: The database of the first release, as it was: this text never changes.
SCHEMA_1 = """
    CREATE TABLE vif (vif_id TEXT PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ('plugging', 'plugged', 'updating', 'unplugging')), asked TEXT NOT NULL,
        actual TEXT NOT NULL, instance TEXT, interface_xml TEXT NOT NULL, wanted TEXT NOT NULL, originals TEXT NOT NULL,
        claims TEXT NOT NULL, changed_at REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE claim (claim TEXT PRIMARY KEY, vif_id TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX claim_of_vif ON claim (vif_id);
    INSERT INTO vif VALUES ('a', 'plugged', '{}', '{}', NULL, '', '[]', '[]', '["x"]', 1.5);
    INSERT INTO claim VALUES ('x', 'a');
    PRAGMA user_version = 1;
"""


def test_the_first_releases_database_is_read(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "vifplug.db")) as raw:
        raw.executescript(SCHEMA_1)
    store = Store(tmp_path)
    assert [(each.vif_id, each.claims, each.changed_at) for each in store.all()] == [("a", ("x",), 1.5)]
    with pytest.raises(Conflict):
        store.put([record("b", claims=("x",))])
    with pytest.raises(Conflict):
        store.put([record("b", shares=("x",))])


#: The database of schema 2, as it was: this text never changes. Its rows have what damage leaves.
SCHEMA_2 = """
    CREATE TABLE vif (vif_id TEXT PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ('plugging', 'plugged', 'updating', 'unplugging')), asked TEXT NOT NULL,
        actual TEXT NOT NULL, instance TEXT, interface_xml TEXT NOT NULL, wanted TEXT NOT NULL, originals TEXT NOT NULL,
        claims TEXT NOT NULL, changed_at REAL NOT NULL, shares TEXT NOT NULL DEFAULT '[]') WITHOUT ROWID;
    CREATE TABLE claim (name TEXT NOT NULL, vif_id TEXT NOT NULL, alone INTEGER NOT NULL, PRIMARY KEY (name, vif_id))
        WITHOUT ROWID;
    CREATE INDEX claim_of_vif ON claim (vif_id);
    PRAGMA ignore_check_constraints = ON;
    INSERT INTO vif VALUES ('a', 'plugged', '{}', '{}', '{"uuid": "u"}', '<i/>', '[]', '[]', '["x"]', 1.5, '["y"]');
    INSERT INTO vif VALUES ('b', 'gone', x'00ff', '{', NULL, 'é', CAST(x'ff' AS TEXT), 7, '["y"', 'soon', x'');
    INSERT INTO vif VALUES (x'63', '', '', '', '', '', '', '', '', 1e308, '["z"]');
    INSERT INTO claim VALUES ('x', 'a', 1), ('y', 'a', 0), ('y', 'b', 0), ('z', 'nobody', 1);
    PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'vif';
    PRAGMA user_version = 2;
"""
LOST = "INSERT INTO vif VALUES ('d', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"


def test_a_database_without_rowids_keeps_its_rows_whatever_they_have(tmp_path: Path) -> None:
    columns = [field.name for field in dataclasses.fields(Record) if field.compare]
    rows = (
        "SELECT " + ", ".join(f"hex(quote(ifnull({each}, '')))" for each in columns if each != "instance") + " FROM vif"
    )
    queries = (rows, "SELECT hex(vif_id), instance FROM vif", "SELECT * FROM claim")
    with contextlib.closing(sqlite3.connect(tmp_path / "vifplug.db")) as raw:
        raw.executescript(SCHEMA_2)
    with contextlib.closing(sqlite3.connect(tmp_path / "vifplug.db", isolation_level=None)) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute(LOST)
        before = [set(raw.execute(query)) for query in queries]
        store = Store(tmp_path)
        assert len(store.all()) == 4  # an earlier vifplug that has the database open writes what this one reads
        raw.execute("INSERT OR REPLACE INTO vif SELECT * FROM vif WHERE vif_id = 'a'")
        assert [set(raw.execute(query)) for query in queries] == before
        assert raw.execute("SELECT rowid FROM vif WHERE vif_id = 'd'").fetchone()
    has = {"asked": "{}", "interface_xml": "<i/>", "claims": ("x",), "shares": ("y",), "changed_at": 1.5}
    assert store.get("a") == record("a", instance='{"uuid": "u"}', **has)
    with pytest.raises(StoreFailed):
        store.put([record("e", state="gone")])
    store.put([record(each, claims=(each,)) for each in "bd"])
    store.delete(["a"])
    assert {each.vif_id for each in store.all()} == {"b", "d", b"c"}
    assert [(each.name, each.vif_id) for each in all_holdings(store)] == [("b", "b"), ("d", "d")]


def test_an_earlier_vifplug_refuses_a_database_with_rowids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).put([record("new")])
    monkeypatch.setattr(module, "MIGRATIONS", module.MIGRATIONS[:2])
    with pytest.raises(StoreFailed, match=r"and this vifplug supports schemas up to 2: install the vifplug"):
        Store(tmp_path).all()


def test_a_failing_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).put([record("old")])

    def half(database: sqlite3.Connection) -> None:
        database.execute("DELETE FROM vif")
        database.execute("no SQL")

    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, half))
        with pytest.raises(StoreFailed):
            Store(tmp_path).all()
    assert Store(tmp_path).all() == [record("old")]


def test_a_later_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    Store(tmp_path).put([record("new")])
    with contextlib.closing(sqlite3.connect(tmp_path / "vifplug.db")) as raw:
        raw.execute("PRAGMA user_version = 99")
    with pytest.raises(
        StoreFailed, match=rf"schema 99 and this vifplug supports schemas up to {len(module.MIGRATIONS)}: install"
    ):
        Store(tmp_path).put([record("mine")])
    with contextlib.closing(sqlite3.connect(tmp_path / "vifplug.db")) as raw:
        assert raw.execute("SELECT vif_id FROM vif").fetchall() == [("new",)]


# -- bad days -----------------------------------------------------------------------------------------------------


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    for use in (lambda store: store.all(), lambda store: store.lock(["a"], 0).__enter__()):
        with pytest.raises(StoreFailed, match="state is not a directory"):
            use(Store(tmp_path / "state"))
    with pytest.raises(StoreFailed, match="is not a directory"):
        Store(tmp_path / "state" / "below").all()


def test_a_damaged_database_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "vifplug.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreFailed, match=r"vifplug\.db, cannot be used: it is damaged: restore it"):
        Store(tmp_path).all()


def test_a_database_whose_damage_is_quoted_is_told_so(tmp_path: Path) -> None:
    """SQLite's message has the name of what is damaged, which may be no UTF-8."""
    store = Store(tmp_path)
    assert store.all() == []
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "vifplug.db")) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    content = (tmp_path / "vifplug.db").read_bytes()
    assert content.count(b"tablevifvif") == 1
    (tmp_path / "vifplug.db").write_bytes(content.replace(b"tablevifvif", b"tablev\xfffvif"))
    with pytest.raises(StoreFailed, match=r"vifplug\.db, cannot be used: it is damaged: restore it"):
        Store(tmp_path).all()


@pytest.mark.needs("root")
def test_another_user_is_told_what_to_do(tmp_path: Path) -> None:
    code = f"""
        import os
        from vifplug.errors import StoreFailed
        from vifplug.store.store import Store
        os.setuid(65534)
        for use in (lambda store: store.all(), lambda store: store.lock(["a"], 0).__enter__()):
            try:
                use(Store({str(tmp_path / "state")!r}))
            except StoreFailed as error:
                print(error)
    """
    Store(tmp_path / "state").all()
    message = _python(code).stdout.splitlines()
    assert len(message) == 2
    assert all("user 65534 may not write there: run as root" in line for line in message)


def _on_a_file_system_of_its_own(tmp_path: Path, code: str) -> list[str]:
    """Run code on a tmpfs of 256 KiB at $STATE, in a mount namespace of its own; the lines that it prints."""
    needs.require("mounts")
    head = f"""
        import os, subprocess
        from tests.unit.test_store import *
        state = {str(tmp_path)!r}
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", state], check=True)
    """
    done = _python(textwrap.dedent(head) + textwrap.dedent(code), "unshare", "--mount", "--propagation", "private")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    message = _on_a_file_system_of_its_own(
        tmp_path,
        """
        store = Store(state)
        store.put([record("first")])
        try:
            for index in range(1000):
                store.put([record(f"{index:03}", wanted="x" * 1000)])
        except StoreFailed as error:
            print(error)
        kept = len(store.all())
        print(kept == index + 1, store.get("first") == record("first"))
        store.close()
        print(len(Store(state).all()) == kept)
        """,
    )
    assert message[0].endswith("vifplug.db, cannot be used: its file system is full: free some space and try again")
    assert message[1:] == ["True True", "True"]


def test_a_full_disk_stops_neither_reading_nor_removing(tmp_path: Path) -> None:
    """Nor does one that was filled when the reserve had been given up stop reading."""
    message = _on_a_file_system_of_its_own(
        tmp_path,
        """
        def fill(name):
            with contextlib.suppress(OSError), open(f"{state}/{name}", "wb", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(4096))

        subprocess.run(["mount", "-o", "remount,size=2m", state], check=True)
        with contextlib.closing(Store(state)) as store:
            store.put([record(each) for each in "abc"])
        fill("ballast")
        with contextlib.closing(Store(state)) as store:
            print(*(each.vif_id for each in store.all()), *store.begun())
            fill("more")
            try:
                store.put([record("d", wanted="x" * 100_000)])
            except StoreFailed as error:
                print(error.full)
            fill("most")
            store.delete(["a"])
        fill("all")
        with contextlib.closing(Store(state)) as store:
            store.delete(["c"])
        fill("really all")
        store = Store(state)
        print(*(each.vif_id for each in store.all()), store.get("a"), *store.begun(), store.holdings(["x"]))
        for each in ("ballast", "more", "most", "all", "really all"):
            os.unlink(f"{state}/{each}")
        store.put([record("d")])
        print(*(each.vif_id for each in store.all()), os.stat(f"{state}/vifplug.reserve").st_blocks * 512)
        """,
    )
    assert message == ["a b c", "True", "b None []", f"b d {1 << 20}"]


def test_a_disk_that_is_full_from_the_start_is_told(tmp_path: Path) -> None:
    message = _on_a_file_system_of_its_own(
        tmp_path,
        """
        with contextlib.suppress(OSError), open(state + "/ballast", "wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
        try:
            Store(state).put([record("first")])
        except StoreFailed as error:
            print(error)
        """,
    )
    assert message[0].endswith("its file system is full: free some space and try again")


def test_a_read_only_file_system_is_told(tmp_path: Path) -> None:
    message = _on_a_file_system_of_its_own(
        tmp_path,
        """
        with contextlib.closing(Store(state)) as store:
            store.put([record("first")])
        subprocess.run(["mount", "-o", "remount,ro", state], check=True)
        for path in (state, state + "/new"):
            try:
                Store(path).put([record("second")])
            except StoreFailed as error:
                print(error)
        """,
    )
    assert len(message) == 2
    assert all("its file system is read-only: set [vifplug] state_path" in line for line in message)


# -- locks --------------------------------------------------------------------------------------------------------


def test_a_locked_vif_is_busy_for_another_thread_and_others_are_not(store: Store) -> None:
    with store.lock(["a"], 1):
        with (
            pytest.raises(Busy, match="VIF a is being worked on by another thread of this process"),
            store.lock("a", 0),
        ):
            pass
        with store.lock(["b"], 0):
            pass
    with store.lock(["a"], 0):
        pass


def _hold(path: str, held: object, done: object) -> None:
    with Store(path).lock(["a", "b"], 5):
        held.set()  # type: ignore[attr-defined]
        done.wait(60)  # type: ignore[attr-defined]


def test_a_vif_locked_by_another_process_is_busy_and_the_process_is_named(store: Store, tmp_path: Path) -> None:
    held, done = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=_hold, args=(str(tmp_path / "state"), held, done))
    process.start()
    assert held.wait(60)
    started = time.monotonic()
    busy = pytest.raises(Busy, match=rf"VIF b is being worked on by process {process.pid} \(.*\); try again")
    with busy, store.lock(["c", "b"], 0.2):
        pass
    assert time.monotonic() - started >= 0.2
    with store.lock(["c"], 0):  # what was taken before the busy one has been given back
        pass
    process.kill()
    process.join(60)
    with store.lock(["a", "b"], 5):  # the kernel has released those of the dead process
        pass


#: what keeps the record locked, by its name in the error
FROZEN = {
    "the directory of the record": "fcntl.flock(os.open(state, os.O_RDONLY), fcntl.LOCK_EX)",
    "the record": "raw = sqlite3.connect(state + '/vifplug.db'); raw.execute('BEGIN IMMEDIATE')",
}


def test_a_stopped_process_that_keeps_the_record_locked_is_named_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    Store(tmp_path).put([record("a")])
    for what, lock in FROZEN.items():
        code = f"import fcntl, os, sqlite3; state = {str(tmp_path)!r}; {lock}; os.kill(os.getpid(), 19)"
        process = subprocess.Popen([sys.executable, "-c", code])
        os.waitpid(process.pid, os.WUNTRACED)
        started = time.monotonic()
        with pytest.raises(Busy) as busy:
            Store(tmp_path, timeout=0).put([record("b")])
        assert time.monotonic() - started < 5
        process.kill()
        process.wait()
        assert str(busy.value).startswith(f"{what} of plugged VIFs, ")
        named = rf"locked by process {process.pid} \(python\S*, running since 2\d+-\S+ \S+, now stopped\): try again"
        assert re.search(named, str(busy.value)) and busy.value.holder == f"process {process.pid}"
    Store(tmp_path, timeout=0).put([record("b")])


def test_a_file_system_without_locks_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.fcntl", refused)
    with pytest.raises(StoreFailed, match=r"vifplug\.lock, cannot be used: No locks available"), store.lock(["a"], 30):
        pass


def _copied_back(path: Path, copy: bytes) -> None:
    path.write_bytes(copy)


#: what becomes of the database, and what is said of it
REPLACED: dict[str, tuple[Callable[[Path, bytes], object], str]] = {
    "older": (
        _copied_back,
        "is an older copy of the one that was written last: it had 3 changes: run `vifplug recover`",
    ),
    "empty": (
        lambda path, _: path.write_bytes(b""),
        "is not the one that was written last, which was removed or emptied",
    ),
    "gone": (lambda path, _: path.unlink(), "is not the one that was written last, which was removed or emptied"),
}


@pytest.mark.parametrize("how", REPLACED)
def test_a_database_that_is_not_the_one_written_last_is_told_until_it_is_accepted(tmp_path: Path, how: str) -> None:
    replace, message = REPLACED[how]

    def change(*vif_ids: str) -> str:
        """In a process of its own; return what the next one says."""
        for vif_id in vif_ids:
            with contextlib.closing(Store(tmp_path)) as store, store.lock([vif_id], 1):
                store.put([record(vif_id)])
        with contextlib.closing(Store(tmp_path)) as store:
            return store.lost()

    assert change("a") == ""
    copy = (tmp_path / "vifplug.db").read_bytes()
    assert change("b", "c") == ""
    replace(tmp_path / "vifplug.db", copy)
    assert message in change()
    assert message in change("d", "e", "f"), "also when it has as many changes again"
    with contextlib.closing(Store(tmp_path)) as store:
        store.accept()
    assert change("g") == ""


def test_a_record_whose_lock_file_was_removed_or_fell_behind_is_no_lost_one(tmp_path: Path) -> None:
    with contextlib.closing(Store(tmp_path)) as store:
        for vif_id in "abc":
            with store.lock([vif_id], 1):
                store.put([record(vif_id)])
            behind = (tmp_path / "vifplug.lock").read_bytes()
            (tmp_path / "vifplug.lock").unlink()
        assert store.lost() == ""
        store.put([record("d")])
        (tmp_path / "vifplug.lock").write_bytes(behind)
        assert store.lost() == ""


def test_a_lock_is_waited_for(store: Store) -> None:
    entered, order = threading.Event(), []

    def first() -> None:
        with store.lock(["a"], 5):
            entered.set()
            time.sleep(0.1)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(5)
    with store.lock(["a"], 30):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_locks_of_several_vifs_never_wait_for_each_other(store: Store) -> None:
    """Eight threads take overlapping sets, named in different orders, and count under the lock."""
    counts = dict.fromkeys("abcd", 0)

    def work(number: int) -> None:
        names = "abcd"[number % 4 :] + "abcd"[: number % 4]
        for _ in range(10):
            with store.lock(names[:3], 60):
                for name in names[:3]:
                    before = counts[name]
                    time.sleep(0)
                    counts[name] = before + 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert counts == dict.fromkeys("abcd", 60)


def test_a_thousand_vifs_are_locked_at_once_with_one_file(store: Store, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with store.lock(map(str, range(1000)), 5):
        assert len(os.listdir("/proc/self/fd")) <= before + 1
        with pytest.raises(Busy), store.lock(["999"], 0):
            pass
    assert [path.name for path in (tmp_path / "state").glob("*.lock")] == ["vifplug.lock"]


def _sleep_then_leave(seconds: float) -> None:
    time.sleep(seconds)


def test_a_child_forked_under_a_lock_does_not_keep_it(store: Store) -> None:
    with store.lock(["a"], 1):
        child = FORK.Process(target=_sleep_then_leave, args=(5,))
        child.start()
    with store.lock(["a"], 0):
        pass
    child.kill()
    child.join(10)


def test_a_record_that_was_removed_under_an_open_store_is_begun_anew(tmp_path: Path) -> None:
    """What is written is there for the next process too, and not in a file that has no name any more."""
    store = Store(tmp_path / "state")
    store.put([record("a")])
    shutil.rmtree(tmp_path / "state")
    assert store.all() == []
    store.put([record("b")])
    assert [each.vif_id for each in Store(tmp_path / "state").all()] == ["b"]
    store.close()
