"""The page of the proofs says what the last run of each has found."""

from __future__ import annotations

import json

from reliability.page import PAGE, RESULTS, page


def test_the_page_is_that_of_the_results() -> None:
    assert PAGE.read_text() == page() + "\n", "run reliability/page.py"


def test_no_proof_has_found_anything_that_is_left() -> None:
    results = {each.name: json.loads(each.read_text()) for each in RESULTS.glob("*.json")}
    assert results and {name: each["survived"] - each["faults"] for name, each in results.items()} == dict.fromkeys(
        results, 0
    )
