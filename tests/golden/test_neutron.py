"""One folder a case: a port as Neutron has bound it in, the guest's element (or the reason why not) out.

``bound.json`` is what ``--neutron`` takes; ``interface.xml``, or ``refused`` with phrases of the error; ``why`` in
a sentence. The expected elements are what nova writes where nova is right, and what it should write where it is not
(doc/neutron.md). Each row of the table has a case of its own name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vifplug import VIF, errors, interface_xml
from vifplug.neutron import vif_from_binding
from vifplug.neutron.binding import Binding, fields
from vifplug.neutron.table import TABLE, row
from vifplug.testing import schema

ROOT = Path(__file__).parent / "neutron"
CASES = sorted(ROOT.iterdir())
PLUGGED = [case for case in CASES if (case / "interface.xml").exists()]
REFUSED = [case for case in CASES if (case / "refused").exists()]


def bound(case: Path) -> dict[str, Any]:
    return dict(json.loads((case / "bound.json").read_text()))


def vif(case: Path) -> VIF:
    document = bound(case)
    return vif_from_binding(document["port"], document.get("guest"))


@pytest.mark.parametrize("case", PLUGGED, ids=lambda case: case.name)
def test_a_bound_port_gives_the_expected_element(case: Path) -> None:
    assert interface_xml(vif(case)) == (case / "interface.xml").read_text().removesuffix("\n")


@pytest.mark.parametrize("case", PLUGGED, ids=lambda case: case.name)
def test_the_element_is_valid_by_libvirts_schema(case: Path) -> None:
    assert schema.complaint((case / "interface.xml").read_text()) == ""


@pytest.mark.parametrize("case", PLUGGED, ids=lambda case: case.name)
def test_the_vif_is_a_document_as_any_other(case: Path) -> None:
    assert VIF.from_json(vif(case).to_json()) == vif(case)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_refusal_names_what_is_wrong(case: Path) -> None:
    phrases = (case / "refused").read_text().splitlines()
    with pytest.raises(errors.InvalidDocument) as refusal:
        vif(case)
    assert [phrase for phrase in phrases if phrase not in str(refusal.value)] == [], str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", [each.name for each in TABLE])
def test_each_row_of_the_table_has_a_case_that_takes_it(name: str) -> None:
    found = row(Binding.from_data(fields(bound(ROOT / name)["port"])))
    assert found is not None and found.name == name
    assert found.source and (found.form is None) == (not found.becomes) == (ROOT / name in REFUSED)
    if found.form and name != "agilio-ovs":
        assert vif(ROOT / name).type == found.becomes


def test_every_case_says_why_and_what_is_expected() -> None:
    assert {case for case in CASES if (case / "why").read_text().strip()} == set(CASES)
    assert len(PLUGGED) + len(REFUSED) == len(CASES)


def test_novas_own_record_of_a_vif_is_read_as_well() -> None:
    """network_info, as nova keeps it and hands it to its drivers."""
    record = {
        "id": "3f8a1c52-77d0-4a6e-9b1d-0c2e5f6a7b81",
        "address": "fa:16:3e:5a:11:c7",
        "network": {"id": "5d3c0a1e", "bridge": "br-int", "label": "private", "subnets": [], "meta": {"mtu": 1450}},
        "type": "ovs",
        "details": {"port_filter": True, "connectivity": "l2", "bridge_name": "br-int"},
        "devname": "tap3f8a1c52-77",
        "ovs_interfaceid": "b1a2c3d4-e5f6-4789-8abc-def012345678",
        "qbh_params": None,
        "qbg_params": None,
        "active": False,
        "vnic_type": "normal",
        "profile": {},
        "preserve_on_delete": True,
        "delegate_create": True,
        "meta": {},
    }
    assert vif_from_binding(record) == vif(ROOT / "ovs-port")


def test_several_queues_that_can_not_be_had_are_told(caplog: pytest.LogCaptureFixture) -> None:
    port = bound(ROOT / "ovs")["port"]
    guest = {"vcpus": 4, "image": {"hw_vif_multiqueue_enabled": "true", "hw_vif_model": "e1000"}}
    assert vif_from_binding(port, guest).driver is None
    assert "hw_vif_multiqueue_enabled is ignored" in caplog.text and port["id"] in caplog.text


@pytest.mark.parametrize("port", [None, [], "port", {"id": 5}, {"id": "", "binding:vif_details": []}])
def test_what_is_no_port_is_refused(port: object) -> None:
    with pytest.raises(errors.InvalidDocument, match=r"\$\.port"):
        vif_from_binding(port)
