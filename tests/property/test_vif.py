"""Laws of the VIF document: it says everything, nothing twice, and a bad one is told apart with a path."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.property import strategies
from vifplug.errors import InvalidDocument
from vifplug.model.vif import VIF
from vifplug.model.vlan import Vlan

KEYS = [field.name for field in dataclasses.fields(VIF)]


@given(strategies.vifs())
def test_a_vif_is_what_its_json_says(vif: VIF) -> None:
    assert VIF.from_json(vif.to_json()) == vif


@given(strategies.vifs())
def test_equal_vifs_have_one_hash_and_one_document(vif: VIF) -> None:
    again = VIF.from_data(vif.to_data())
    assert hash(again) == hash(vif)
    assert again.to_json() == vif.to_json()


@given(strategies.vlans())
def test_a_vlan_is_what_its_document_says(vlan: Vlan) -> None:
    assert Vlan.from_data(vlan.to_data()) == vlan


@given(st.lists(st.integers(1, 4094), min_size=2, max_size=6, unique=True), st.sampled_from(("", "u", "t")))
def test_the_shorthand_of_a_trunk_is_its_long_form(ids: list[int], native: str) -> None:
    mode = {"": {}, "u": {"native_mode": "untagged"}, "t": {"native_mode": "tagged"}}[native]
    short = f"{ids[0]}{native}," + ",".join(map(str, ids[1:]))
    long = {"trunk": True, "tags": [{"id": ids[0], **mode}, *({"id": each} for each in ids[1:])]}
    assert Vlan.from_data(short) == Vlan.from_data(long)


@given(st.integers(1, 4094), st.integers(0, 50))
def test_the_shorthand_of_a_range_has_every_vlan_of_it(first: int, more: int) -> None:
    last = min(first + more, 4094)
    assert Vlan.from_data(f"{first}-{last}").ids == tuple(range(first, last + 1))


@given(st.integers(1, 4094))
def test_a_number_is_an_access_vlan(vlan_id: int) -> None:
    assert Vlan.from_data(vlan_id).access == vlan_id


def refuses(document: Any) -> InvalidDocument | None:
    """The refusal, if it is one; any other exception fails the test."""
    try:
        VIF.from_json(document)
    except InvalidDocument as error:
        assert error.problems
        assert all(problem.path.startswith("$") and problem.message for problem in error.problems)
        return error
    return None


@given(strategies.json_values)
@example([])
@example({})
@example(None)
def test_any_json_is_a_vif_or_refused_with_paths(value: Any) -> None:
    assert refuses(json.dumps(value)) is not None  # no such value is a whole VIF


@given(strategies.vifs(), st.sampled_from(KEYS), strategies.json_values)
def test_any_value_under_any_key_is_taken_or_refused_with_paths(vif: VIF, key: str, value: Any) -> None:
    refuses({**vif.to_data(), key: value})


@given(strategies.vifs(), st.text(min_size=1, max_size=8).filter(lambda key: key not in KEYS))
def test_an_unknown_key_is_named(vif: VIF, key: str) -> None:
    error = refuses({**vif.to_data(), key: 1})
    assert error is not None
    assert f"$.{key if key.isprintable() else repr(key)}" in {problem.path for problem in error.problems}


@given(st.text() | st.binary())
@example("")
@example(b"\xff\xfe")
@example("[" * 100_000)
@example('{"id":' * 400 + "1" + "}" * 400)
@example('{"type": "x", "source": ' + "[" * 900 + "]" * 900 + "}")
@example('{"boot_order": ' + "9" * 5000 + "}")
@example('{"mac": "\\ud800"}')
@example('{"id": 1, "id": 2}')
def test_any_text_is_a_vif_or_refused_with_paths(text: str | bytes) -> None:
    refuses(text)


@pytest.mark.parametrize("value", [0, 4095, 5000, -1, "10-5", "1-4095", "", "1u,2t", "5,5", "x", True, 1.5, [], {}])
def test_a_vlan_that_no_switch_can_do_is_refused(value: Any) -> None:
    with pytest.raises(InvalidDocument):
        Vlan.from_data(value)
