"""The ten mistakes that authors of VIF types make most: each fails the suite, and the message says what to mend."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import mistakes
from tests.support.sample import EXAMPLE, failures, suite
from tests.support.site import Site
from vifplug.types.base import VIFType

PAGE = (Path(__file__).resolve().parents[2] / "doc" / "plugins.md").read_text()
TAP = "tap tap0a1b2c3d-11"


@dataclass(frozen=True)
class Told:
    """A type with a mistake, the test that fails, and what its message has to say."""

    kind: type[VIFType]
    test: str
    says: str

    def __str__(self) -> str:
        return self.kind.__name__


MISTAKES = (
    Told(mistakes.Outdated, "vifplug_loads_the_type", "was written for plugin interface 9.0, and this vifplug has 1.0"),
    Told(mistakes.Half, "vifplug_loads_the_type", "Half does not define desired"),
    Told(mistakes.Mutable, "vifplug_loads_the_type", "wants source to be frozen: write @dataclass(frozen=True"),
    Told(mistakes.WrongDefault, "vifplug_loads_the_type", "the default of level: expected an integer, got 'many'"),
    Told(
        mistakes.Listed, "vifplug_loads_the_type", "fields of type list[str] are not supported (expected tuple[X, ...]"
    ),
    Told(mistakes.Curious, "it_touches_nothing", "desired touches the machine: open('/sys/class/net/lo/mtu'"),
    Told(mistakes.Unsorted, "it_answers_alike_in_every_process", "sort sets, ask no clock"),
    Told(mistakes.Clocked, "it_answers_alike_in_every_process", "another process, at another time, gets another"),
    Told(mistakes.Counted, "it_is_deterministic", "desired gives another answer each time"),
    Told(mistakes.Ownerless, "its_resources_are_known_and_owned", f"{TAP} has owner '', and has to have the VIF's id"),
    Told(mistakes.LongName, "its_devices_have_good_names", "expected a device name of at most 15 bytes"),
    Told(mistakes.OneName, "its_devices_have_good_names", "both get the device acme0: make the name from vif.device"),
    Told(mistakes.Managed, "its_element_is_accepted_by_libvirt", "must say managed='no' (target_managed=False), or li"),
    Told(mistakes.SingleQueue, "its_element_is_accepted_by_libvirt", f"{TAP} has multi_queue=False and the element 4"),
    Told(mistakes.Soft, "its_devices_are_hardened", f"{TAP} is not hardened: its sysctls are"),
    Told(mistakes.Backwards, "its_resources_are_in_order", "needs tap0a1b2c3d-11, which comes after it"),
    Told(mistakes.Twice, "its_resources_are_in_order", f"{TAP} comes more than once: one identity has one record"),
    Told(mistakes.Lit, "its_resources_are_known_and_owned", "is of a kind that no backend looks after"),
    Told(mistakes.Deaf, "it_drops_no_key_silently", "vlan = 1011 changes neither the element nor the resources, and"),
    Told(mistakes.Silent, "it_drops_no_key_silently", "source.group = 'red' changes neither the element nor the reso"),
)


@pytest.mark.parametrize("message", MISTAKES, ids=str)
def test_each_mistake_fails_the_suite_with_a_sentence_that_says_what_to_mend(message: Told) -> None:
    example = {**EXAMPLE, "driver": {"queues": 4}}
    if message.kind is mistakes.Silent:
        example["source"] = {"bridge": "br0", "group": "red"}
    test = f"test_{message.test}"
    assert message.says in failures(suite(message.kind, example), test)[test]


@pytest.mark.needs("schemas")
@pytest.mark.beyond_schema("failed to validate content", why="a mistake of a type that the suite has to find")
def test_an_element_that_libvirt_refuses_fails_the_suite() -> None:
    message = failures(suite(mistakes.NoElement))["test_its_element_is_accepted_by_libvirt"]
    assert "libvirt's schema refuses the element" in message


def test_a_name_that_is_not_the_entry_points_fails_the_suite_where_it_is_installed(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.install("acme", "1.2", {"vifplug.types": {"sample": "tests.support.mistakes:Misnamed"}})
    found = site.ask(
        """
        from tests.support import mistakes, sample
        case = sample.suite(mistakes.Misnamed, {**sample.EXAMPLE, "type": "simple"})
        answer = sample.failures(case, "test_vifplug_loads")
        """
    )
    assert found == {
        "test_vifplug_loads_the_type": "Misnamed says name = 'simple' and is registered as 'sample'",
    }


def test_the_page_lists_the_ten_and_each_has_a_type_that_makes_it() -> None:
    listed = re.findall(r"^(\d+)\. \*\*", PAGE.partition("The ten mistakes")[2], re.MULTILINE)
    made = {re.match(r"(\d+): ", cls.__doc__ or "") for cls in vars(mistakes).values() if isinstance(cls, type)}
    assert listed == [str(number) for number in range(1, 11)]
    assert {each[1] for each in made if each} == set(listed)
