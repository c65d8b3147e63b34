"""The model of record, lock and host: its laws hold with any two faults, and without any one rule they do not."""

from __future__ import annotations

from pathlib import Path

from reliability.model import RULES, Checker


def test_the_laws_of_the_model_hold_and_each_rule_is_needed(tmp_path: Path) -> None:
    checker = Checker(tmp_path, 2)
    whole = checker.search()
    assert whole.broken == "" and whole.states > 1_000_000
    assert len(RULES) > 20
    assert [rule for rule in RULES if not checker.search(rule).broken] == [], "rules without which nothing is lost"
