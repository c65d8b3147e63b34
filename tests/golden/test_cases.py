"""One folder a case: a VIF in, the guest's element (or the reason why not) out.

``vif.json`` or ``vif.xml``; ``interface.xml``, or ``refused`` with phrases that the error has; ``why`` in a sentence;
``context.json`` where the configuration (``tap_owner``) or the id (``id``, for XML) counts. The expected elements are
written by hand from libvirt's semantics; two tests hold them to libvirt itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import libvirt
from vifplug import VIF, errors, interface_xml
from vifplug.guest import read, write
from vifplug.testing import schema
from vifplug.types.base import TypeSettings


def expected(case: Path) -> str:
    return (case / "interface.xml").read_text().removesuffix("\n")


CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir())
PLUGGED = [case for case in CASES if (case / "interface.xml").exists()]
REFUSED = [case for case in CASES if (case / "refused").exists()]

#: elements that libvirt does not print back as they are, and why
CHANGED_BY_LIBVIRT = {
    "virtualport-escaped": "9.0 writes profileid without escapes, into a document that it cannot read again",
    "virtualport-untyped": "it makes up both ids, where vifplug leaves them to the network that gives the type",
    **{case.name: "it drops a name of its own making" for case in PLUGGED if "<target dev='vnet0'/>" in expected(case)},
}
KEPT_BY_LIBVIRT = [case for case in PLUGGED if case.name not in CHANGED_BY_LIBVIRT]

each = pytest.mark.parametrize("case", PLUGGED, ids=lambda case: case.name)


def element(case: Path) -> str:
    """What vifplug makes of the case."""
    context: dict[str, Any] = {}
    if (case / "context.json").exists():
        context = json.loads((case / "context.json").read_text())
    if (case / "vif.json").exists():
        vif = VIF.from_json((case / "vif.json").read_text())
    else:
        vif = VIF.from_xml((case / "vif.xml").read_text(), id=context.get("id"))
    return interface_xml(vif, TypeSettings(tap_owner=context.get("tap_owner")))


@each
def test_a_vif_gives_the_expected_element(case: Path) -> None:
    assert element(case) == expected(case)


@each
def test_the_element_is_valid_by_libvirts_schema(case: Path) -> None:
    assert schema.complaint(expected(case)) == ""
    assert schema.complaint(element(case)) == ""


@pytest.mark.parametrize("case", KEPT_BY_LIBVIRT, ids=lambda case: case.name)
def test_an_element_is_read_and_written_back_the_same(case: Path) -> None:
    assert write.element(read.interface(expected(case))) == expected(case)


@pytest.mark.parametrize("case", KEPT_BY_LIBVIRT, ids=lambda case: case.name)
def test_libvirt_prints_the_expected_element_the_same(case: Path) -> None:
    """The golden files against the real thing: libvirt's test driver parses, checks and prints each."""
    assert libvirt.canonical(expected(case)) == expected(case)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_refusal_names_what_is_wrong(case: Path) -> None:
    phrases = (case / "refused").read_text().splitlines()
    with pytest.raises(errors.InvalidRequest) as refusal:
        element(case)
    assert [phrase for phrase in phrases if phrase not in str(refusal.value)] == [], str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_every_case_says_why_and_what_is_expected() -> None:
    assert {case for case in CASES if (case / "why").read_text().strip()} == set(CASES)
    assert len(PLUGGED) + len(REFUSED) == len(CASES)
