"""What a verb costs that is the same on every machine: calls of vifplug's own functions, and system calls.

The ceilings are a little above what was counted. Who needs more says in the commit what for, and raises them.
"""

from __future__ import annotations

import sys

import pytest

from tests.support.places import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from harness import Client, Worker, own_calls, system_calls

pytestmark = pytest.mark.needs("root", "namespaces", "tun", "openvswitch")

#: form, how many at once -> the most calls of vifplug's functions for one VIF
CALLS = {
    ("ovs", 1): {"plug": 1370, "again": 950, "check one": 495, "check": 620, "unplug": 900},
    ("ovs", 50): {"plug": 960, "again": 740, "check": 335, "unplug": 475},
    ("linux", 1): {"plug": 1310, "again": 930, "check one": 450, "check": 510, "unplug": 860},
}
#: and the most system calls; how often an unplug of one looks whether its links are gone is the kernel's affair, so
#: both leave it room
SYSTEM_CALLS = {
    ("ovs", 1): {"plug": 170, "again": 45, "check one": 64, "check": 92, "unplug": 150},
    ("ovs", 50): {"plug": 42, "again": 16, "check": 8, "unplug": 22},
    ("linux", 1): {"plug": 110, "again": 41, "check one": 28, "check": 38, "unplug": 130},
}


def above(found: dict[str, float], ceilings: dict[str, int]) -> dict[str, tuple[float, int]]:
    return {verb: (found[verb], most) for verb, most in ceilings.items() if found[verb] > most}


def test_a_verb_makes_no_more_calls_than_it_did() -> None:
    worker = Worker(Client("vifplug"), 0)
    try:
        for (form, many), ceilings in CALLS.items():
            worker.ask(form, many, batch=many > 1)
            assert above(own_calls(worker, form, many, batch=many > 1), ceilings) == {}, form
    finally:
        worker.close()


@pytest.mark.needs("strace")
@pytest.mark.parametrize(("form", "many"), SYSTEM_CALLS)
def test_a_verb_makes_no_more_system_calls_than_it_did(form: str, many: int) -> None:
    assert above(system_calls(form, many, batch=many > 1), SYSTEM_CALLS[form, many]) == {}
