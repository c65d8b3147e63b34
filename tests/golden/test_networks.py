"""One folder a case: a network and a VIF in, the actual VIF (or the reason why not) out.

``network.xml``, and ``vif.xml`` with its id in ``context.json``; ``actual.json``, or ``refused`` with phrases that the
error has; ``why`` in a sentence. What is expected is written by hand from libvirt's semantics.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lxml import etree

from vifplug import VIF, Network, errors, resolve
from vifplug.testing import schema

CASES = sorted((Path(__file__).parent / "networks").iterdir())
RESOLVED = [case for case in CASES if (case / "actual.json").exists()]
REFUSED = [case for case in CASES if (case / "refused").exists()]

#: networks that libvirt's schema refuses, and why
NOT_LIBVIRTS = {
    "example-libvir-list-red-direct": "max is vifplug's own",
    "example-libvir-list-red-refused-type": "it has an attribute that never came to be",
    "example-libvir-list-refused-unclosed-network": "it is no XML",
}

#: the same ports as the article that these are from has them, in a guest that names the bridge itself
BY_HAND = {
    "example-hypervisor-blog-access": "example-hypervisor-blog-access-vlan",
    "example-hypervisor-blog-trunk": "example-hypervisor-blog-trunk",
    "example-hypervisor-blog-hybrid": "example-hypervisor-blog-hybrid",
    "example-libvir-list-pool-engineering": "example-libvir-list-direct-vepa-qbg",
}


def name(case: Path) -> str:
    return case.name


def actual(case: Path) -> VIF:
    context = json.loads((case / "context.json").read_text())
    network = Network.from_xml((case / "network.xml").read_text())
    return resolve(VIF.from_xml((case / "vif.xml").read_text(), id=context["id"]), network)


@pytest.mark.parametrize("case", RESOLVED, ids=name)
def test_a_vif_on_a_network_is_the_expected_one(case: Path) -> None:
    assert actual(case).to_data() == json.loads((case / "actual.json").read_text())
    assert actual(case) == VIF.from_json((case / "actual.json").read_text())


@pytest.mark.parametrize("case", REFUSED, ids=name)
def test_a_refusal_names_what_is_wrong(case: Path) -> None:
    phrases = (case / "refused").read_text().splitlines()
    with pytest.raises(errors.VifplugError) as refusal:
        actual(case)
    assert [phrase for phrase in phrases if phrase not in str(refusal.value)] == [], str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in NOT_LIBVIRTS], ids=name)
def test_the_network_is_valid_by_libvirts_schema(case: Path) -> None:
    assert schema.complaint((case / "network.xml").read_bytes()) == ""


@pytest.mark.parametrize("case", NOT_LIBVIRTS)
def test_what_is_left_out_of_that_is_not(case: str) -> None:
    text = (Path(__file__).parent / "networks" / case / "network.xml").read_bytes()
    try:
        assert schema.complaint(text)
    except etree.XMLSyntaxError:
        assert "no XML" in NOT_LIBVIRTS[case]


@pytest.mark.parametrize("case", BY_HAND)
def test_a_network_gives_the_port_that_a_guest_would_name_itself(case: str) -> None:
    """But for who makes the tap: that a guest's element says of every VIF but those of networks."""
    here = Path(__file__).parent
    guest = here / "cases" / BY_HAND[case]
    named = VIF.from_xml((guest / "vif.xml").read_text(), id=json.loads((guest / "context.json").read_text())["id"])
    found = actual(here / "networks" / case)
    assert found == named.replace(target=found.target, tap_owner=found.tap_owner)


def test_every_case_says_why_and_what_is_expected() -> None:
    assert {case for case in CASES if (case / "why").read_text().strip()} == set(CASES)
    assert len(RESOLVED) + len(REFUSED) == len(CASES)
