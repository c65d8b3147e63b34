"""The store of every schema since 6, as the vifplug of that schema wrote it, is read, compared and unplugged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.stores.write import HERE, bench, documents, there, write
from vifplug.plan import registry
from vifplug.store.database import MIGRATIONS

SCHEMAS = range(6, len(MIGRATIONS) + 1)


def test_the_store_of_each_schema_is_kept() -> None:
    missing = [each for each in SCHEMAS if not (HERE / f"schema-{each}.db").exists()]
    assert missing == [], "a new schema: run python -m tests.stores.write, and commit what it writes"


def test_a_kept_store_is_not_written_again() -> None:
    with pytest.raises(FileExistsError):
        write(HERE)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_kept_store_is_read_compared_and_unplugged(schema: int, tmp_path: Path) -> None:
    kept = HERE / f"schema-{schema}.db"
    texts = json.loads(kept.with_suffix(".json").read_text())
    (tmp_path / "state").mkdir(mode=0o700)
    shutil.copyfile(kept, tmp_path / "state/vifplug.db")
    on = bench(tmp_path, registry.from_json(json.dumps(texts["machine"]), registry.RESOURCES))
    assert json.loads(there(on)) == texts["machine"]
    assert documents(on) == texts["vifs"]
    *_, cut, last = [each.id for each in on.driver.list()]
    assert {each.vif_id for each in on.driver.check()} == {cut, last}, "only those that were cut off"
    assert [each.error for each in on.driver.recover()] == [None, None]
    assert on.driver.check() == [] and last not in {each.id for each in on.driver.list()}
    on.driver.unplug_many([each.id for each in on.driver.list()])
    assert found(json.loads(there(on))) == found(texts["before"]), "each original is back, and nothing is left"
    assert on.driver.list() == []
    on.driver.close()


def found(machine: list[dict[str, Any]]) -> list[tuple[str | None, ...]]:
    return [(each["kind"], each["name"], each.get("mac")) for each in machine]
