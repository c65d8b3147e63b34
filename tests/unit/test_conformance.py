"""The mistakes that an author of a VIF type is likely to make: each fails the suite, with a readable sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.places import ROOT
from tests.support.site import Site
from tests.unit import mistakes
from tests.unit.sample import EXAMPLE, Sample, failure, failures, suite
from vifplug.errors import Missing, Problem
from vifplug.guest.interface import Interface
from vifplug.model.codec import Model
from vifplug.model.names import DeviceName
from vifplug.model.vif import VIF
from vifplug.plan.registry import OvsPort, Resource, Tap
from vifplug.testing import sandbox
from vifplug.testing.conformance import VIFTypeConformance
from vifplug.types.base import Context, Option, VIFType
from vifplug.types.ethernet import tap, tap_interface

PAGE = (ROOT / "doc" / "plugins.md").read_text()
TAP = "tap tap0a1b2c3d-11"
LOADS, NAMES, ORDER = "vifplug_loads_the_type", "its_devices_have_good_names", "its_resources_are_in_order"
ELEMENT, RESOURCES = "its_element_is_accepted_by_libvirt", "its_resources_are_known_and_owned"


# -- the ten mistakes of doc/plugins.md ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "test", "says"),
    [
        (mistakes.Outdated, LOADS, "was written for plugin interface 9.0, and this vifplug has 1.0"),
        (mistakes.Half, LOADS, "Half does not define desired"),
        (mistakes.Mutable, LOADS, "has a source that is not frozen: write @dataclass(frozen=True"),
        (mistakes.WrongDefault, LOADS, "the default of level: expected an integer, got 'many'"),
        (mistakes.Listed, LOADS, "fields of type list[str] are not supported (expected tuple[X, ...]"),
        (mistakes.Curious, "it_touches_nothing", "desired touches the machine: open('/sys/class/net/lo/mtu'"),
        (mistakes.Unsorted, "it_answers_alike_in_every_process", "sort sets, use no clock"),
        (mistakes.Clocked, "it_answers_alike_in_every_process", "another process, at another time, gets another"),
        (mistakes.Counted, "it_is_deterministic", "desired gives another answer each time"),
        (mistakes.Ownerless, RESOURCES, f"{TAP} has owner ''; expected the VIF's id: owner=vif.id"),
        (
            mistakes.LongName,
            NAMES,
            "desired created an invalid object: $.name: expected a device name of at",
        ),
        (mistakes.OneName, NAMES, "both get the device acme0: make the name from vif.device or vif.id"),
        (mistakes.Managed, ELEMENT, f"must say managed='no' (target_managed=False), or libvirt deletes {TAP}"),
        (mistakes.SingleQueue, ELEMENT, f"{TAP} has multi_queue=False and the element 4"),
        (
            mistakes.Soft,
            "its_devices_are_hardened",
            f"{TAP} is not hardened: its sysctls are {{'ipv4/proxy_arp': '1'}}; add to vifplug.plan.registry.HARDENED",
        ),
        (
            mistakes.Backwards,
            ORDER,
            "bridge-port tap0a1b2c3d-11 needs tap0a1b2c3d-11, which comes after it: what is needed comes first",
        ),
        (mistakes.Twice, ORDER, f"{TAP} is returned more than once: one identity has one resource"),
        (mistakes.Lit, RESOURCES, "has no backend for its kind (expected one of: adopted-bridge-port, "),
        (mistakes.Deaf, "it_drops_no_key_silently", "vlan = 1011 changes neither the element nor the resources, and"),
        (
            mistakes.Silent,
            "it_drops_no_key_silently",
            "source.group = 'red' changes neither the element nor the resources",
        ),
    ],
)
def test_each_of_the_ten_mistakes_fails_with_a_sentence_that_says_what_to_fix(
    kind: type[VIFType], test: str, says: str
) -> None:
    example = {**EXAMPLE, "driver": {"queues": 4}}
    if kind is mistakes.Silent:
        example["source"] = {"bridge": "br0", "group": "red"}
    assert says in failure(suite(kind, example), f"test_{test}")


@pytest.mark.needs("schemas")
@pytest.mark.beyond_schema("failed to validate content", why="a mistake of a type that the suite has to find")
def test_an_element_that_libvirts_schema_refuses_is_named() -> None:
    message = failure(suite(mistakes.NoElement), "test_its_element_is_accepted_by_libvirt")
    assert "libvirt's schema refuses the element" in message and "<interface type='routed'>" in message


def test_a_name_that_is_not_the_entry_points_fails_the_suite_where_it_is_installed(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.install("acme", "1.2", {"vifplug.types": {"sample": "tests.unit.mistakes:Misnamed"}})
    found = site.ask(
        """
        from tests.unit import mistakes, sample
        case = sample.suite(mistakes.Misnamed, {**sample.EXAMPLE, "type": "simple"})
        answer = sample.failure(case, "test_vifplug_loads_the_type")
        """
    )
    assert found == "Misnamed says name = 'simple' and is registered as 'sample'"


def test_the_page_lists_the_ten_and_each_has_a_type_that_makes_it() -> None:
    listed = re.findall(r"^(\d+)\. \*\*", PAGE.partition("The ten mistakes")[2], re.MULTILINE)
    made = {re.match(r"(\d+): ", cls.__doc__ or "") for cls in vars(mistakes).values() if isinstance(cls, type)}
    assert listed == [str(number) for number in range(1, 11)]
    assert {each[1] for each in made if each} == set(listed)


# -- other mistakes -----------------------------------------------------------------------------------------------


def test_a_type_without_a_mistake_passes() -> None:
    assert failures(suite(Sample)) == {}


def test_a_source_that_is_a_plain_dataclass_is_refused() -> None:
    @dataclass(frozen=True)
    class Plain:
        bridge: str = "br0"

    class Typed(Sample):
        """A type whose source is checked by nobody."""

        source = Plain  # type: ignore[assignment]

    message = failure(suite(Typed), "test_vifplug_loads_the_type")
    assert "has the wrong source: expected a Model class" in message and "Plain" in message


def test_an_option_of_another_library_is_refused() -> None:
    from oslo_config import cfg

    class Configured(Sample):
        """A type that brings options of oslo.config's own."""

        options = (cfg.StrOpt("hairpin", help="..."),)  # type: ignore[assignment]

    assert "has the wrong options: expected Option objects" in failure(suite(Configured), "test_vifplug_loads_the_type")


def test_a_default_that_the_option_does_not_allow_is_refused() -> None:
    class Configured(Sample):
        """A type whose option cannot have the default that it states."""

        options = (Option(name="retries", kind="int", default="many", help="How often."),)

    message = failure(suite(Configured), "test_vifplug_loads_the_type")
    assert message == "Configured has the wrong default of option retries: expected kind int, got 'many'"


def test_a_default_that_is_wrong_on_this_host_is_refused() -> None:
    class Configured(Sample):
        """A type whose option names a user who is not there."""

        options = (Option(name="user", kind="user", default="nobody-here", help="Whose."),)

    assert "wrong default" in failure(suite(Configured), "test_its_options_have_allowed_defaults")


def test_missing_documentation_is_asked_for() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Bare(Model):
        bridge: DeviceName

    class Silent(Sample):
        source = Bare
        options = (Option(name="hairpin", kind="bool", help=""),)

    message = failure(suite(Silent), "test_it_says_what_it_is")
    assert message.splitlines() == [
        "Silent has no docstring: say what kind of connection it is",
        "Bare, the source of Silent, has no docstring: say what its fields mean",
        "option hairpin has no help: operators read it in the sample configuration",
    ]


def test_a_refused_key_that_no_document_has_is_refused() -> None:
    class Strict(Sample):
        """A type that refuses a key with a typing error in it."""

        refuses: ClassVar[Mapping[str, str]] = {"vlans": "it has none"}

    assert "refuses vlans" in failure(suite(Strict), "test_vifplug_loads_the_type")


def test_a_check_that_forgets_the_base_class_does_not_refuse() -> None:
    class Overridden(Sample):
        """A type that checks by itself."""

        def validate(self, vif: VIF, context: Context) -> None:
            return None

    case = suite(Overridden)
    assert "does check call super().check?" in failure(case, "test_it_refuses_what_it_says")
    assert "is not refused" in failure(case, "test_the_document_is_refused_with_a_path")


def test_a_refusal_by_a_bare_exception_is_refused() -> None:
    class Raising(Sample):
        """A type that raises what an operator cannot read."""

        def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
            if vif.link_state:
                raise ValueError("no links")
            return iter(())

    message = failure(suite(Raising), "test_the_document_is_refused_with_a_path")
    assert message == (
        "check raised ValueError: no links; "
        "a refusal is a vifplug.errors.Problem, with its path, that `problems` yields"
    )


def test_a_source_that_swallows_unknown_keys_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Lax(Model):
        """A source that takes what it knows and drops the rest."""

        bridge: DeviceName

        @classmethod
        def from_data(cls, data: object) -> Lax:
            assert isinstance(data, Mapping)
            return cls(bridge=data["bridge"])

    class Relaxed(Sample):
        """A type with such a source."""

        source = Lax

    assert "unknown key no_such_key" in failure(suite(Relaxed), "test_it_refuses_what_it_says")


def test_a_kind_of_resource_of_the_authors_own_passes_when_it_is_given() -> None:
    case = suite(mistakes.Lit)
    type(case).resources = (mistakes.Lamp,)
    assert failures(case) == {}


def test_a_tap_in_the_form_that_libvirt_makes_itself_is_named() -> None:
    class Doubled(Sample):
        """A type whose tap is made twice."""

        def interface(self, vif: VIF, context: Context) -> Interface:
            return Interface.of(vif, "bridge", {"bridge": vif.source.bridge}, target=vif.target)

    message = failure(suite(Doubled), "test_its_element_is_accepted_by_libvirt")
    assert "the element has type bridge" in message and "as ethernet only" in message


def test_an_element_with_another_target_mac_or_queues_than_the_tap_is_named() -> None:
    class Crossed(Sample):
        """A type that mixes up its names."""

        def interface(self, vif: VIF, context: Context) -> Interface:
            return tap_interface(vif, "vifplug").replace(target="tap-other", mac="52:54:00:00:00:99")

        def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
            yield tap(vif, context).replace(multi_queue=True)

    lines = failure(suite(Crossed), "test_its_element_is_accepted_by_libvirt").splitlines()
    assert lines == [
        "the element has MAC 52:54:00:00:00:99, expected 52:54:00:12:34:56",
        "the element has target tap-other, and tap tap0a1b2c3d-11 is created",
        "tap tap0a1b2c3d-11 has multi_queue=True and the element 1 queues: libvirt could not open it",
    ]


@pytest.mark.parametrize(
    ("touch", "event"),
    [
        (lambda: Path("/proc/sys/net/ipv4/ip_forward").read_text(), "open("),
        (lambda: socket.socket(socket.AF_UNIX), "socket.__new__("),
        (lambda: subprocess.run(["true"], check=True), "subprocess.Popen("),
        (lambda: list(Path("/sys/class/net").iterdir()), "os."),
    ],
    ids=["file", "socket", "process", "directory"],
)
def test_a_type_that_looks_at_the_machine_itself_is_named(touch: Any, event: str) -> None:
    class Curious(Sample):
        """A type that does not ask the facts."""

        def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
            touch()
            yield tap(vif, context)

    message = failure(suite(Curious), "test_it_touches_nothing")
    assert message.startswith(f"desired touches the machine: {event}") and "use context.facts" in message


def test_looking_at_the_machine_can_not_be_hidden_by_a_default() -> None:
    class Sly(Sample):
        """A type that goes on when it cannot look."""

        def interface(self, vif: VIF, context: Context) -> Interface:
            with contextlib.suppress(Exception):
                Path("/etc/acme.conf").read_text()
            return tap_interface(vif, "vifplug")

    assert "interface touches the machine" in failure(suite(Sly), "test_it_touches_nothing")


def test_importing_late_is_not_touching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "late_module.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with sandbox.enforced():
        import late_module  # type: ignore[import-not-found]
    assert late_module.VALUE == 1


def test_after_enforcing_the_thread_may_open_files_again(tmp_path: Path) -> None:
    with pytest.raises(sandbox.Impure), sandbox.enforced():
        (tmp_path / "x").write_text("x")
    (tmp_path / "x").write_text("x")


def test_a_type_that_remembers_is_named() -> None:
    class Counting(Sample):
        """A type with a state."""

        seen = 0

        def interface(self, vif: VIF, context: Context) -> Interface:
            self.seen += 1
            return tap_interface(vif, "vifplug", boot_order=self.seen)

    assert "interface gives another answer each time" in failure(suite(Counting), "test_it_is_deterministic")


def test_a_name_that_is_given_in_the_source_may_be_shared() -> None:
    class Given(Sample):
        """A type whose device is named by the document."""

        def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
            yield Tap(name=vif.source.bridge, owner=vif.id)

    assert failure(suite(Given), "test_its_devices_have_good_names") == ""


def test_a_port_with_a_name_that_no_device_can_have_is_named() -> None:
    class Long(Sample):
        """A type whose port is too long for a device."""

        def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
            yield OvsPort(name=f"acme-{vif.device}", owner=vif.id, bridge="br-int")

    assert "has a name of more than 15 bytes" in failure(suite(Long), "test_its_devices_have_good_names")


def test_what_is_no_resource_is_named() -> None:
    class Loose(Sample):
        """A type that returns a command where a resource is wanted."""

        def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
            return ["ip link add acme0"]  # type: ignore[list-item]

    class Nothing(Sample):
        """A type that forgets to return."""

        def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:  # type: ignore[empty-body]
            pass

    name = "test_plugging_converges_and_leaves_nothing"
    assert "but returned 'ip link add acme0'" in failure(suite(Loose), name)
    assert failure(suite(Nothing), name) == "desired must return resources, but returned None"


def test_what_is_no_element_is_named() -> None:
    class Textual(Sample):
        """A type that writes XML by itself."""

        def interface(self, vif: VIF, context: Context) -> Interface:
            return "<interface/>"  # type: ignore[return-value]

    message = failure(suite(Textual), "test_its_element_is_accepted_by_libvirt")
    assert message == "interface must return a vifplug.guest.interface.Interface, but returned '<interface/>'"


def test_facts_that_the_suite_was_not_given_are_asked_for() -> None:
    class Asking(Sample):
        """A type that wants to know of a VF."""

        def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
            context.facts.virtual_function("0000:81:02.3")
            yield tap(vif, context)

    message = failure(suite(Asking), "test_plugging_converges_and_leaves_nothing")
    assert message == f"desired raised {Missing.__name__}: no VF 0000:81:02.3: no host to query"


def test_a_resource_that_does_not_hold_after_it_was_set_is_named() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Drifting(Resource):
        """A resource that never has the value that is wanted."""

        kind = "drifting"
        level: int = 0

        def normal(self) -> Mapping[str, Any]:
            return {"level": next(levels)}

    levels = iter(range(1000))

    class Restless(Sample):
        """A type whose state never holds."""

        def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
            yield Drifting(name="x", owner=vif.id)

    assert "is not as desired" in failure(suite(Restless), "test_plugging_converges_and_leaves_nothing")


def test_an_example_of_another_type_or_with_a_mistake_is_named() -> None:
    def says(**changes: Any) -> str:
        return failure(suite(Sample, {**EXAMPLE, **changes}), "test_the_example_is_accepted")

    assert says(type="bridge") == "the example: expected type 'sample', got 'bridge'"
    wrong = says(vlan=4095, source={"bridge": "a/b"})
    assert wrong.startswith("the example is not a valid document: $.vlan")
    assert "$.link_state: is not for this type" in says(link_state="down")


def test_a_suite_without_an_example_fails() -> None:
    class Empty(VIFTypeConformance):
        kind = Sample

    with pytest.raises(pytest.fail.Exception, match="give at least one VIF document"):
        Empty().test_there_is_an_example()


def test_a_refusal_that_is_accepted_fails() -> None:
    assert failures(suite(Sample, boot_order=1)) == {
        "test_the_document_is_refused_with_a_path": "the document is not refused, although it is in `refused`"
    }


def test_the_type_gets_the_defaults_of_its_options_and_what_the_suite_sets() -> None:
    class Optional(Sample):
        """A type with an option that a user's name may give."""

        options = (
            Option(name="user", kind="user", default="root", help="Whose."),
            Option(name="level", kind="int", default=3, help="How high."),
        )

    case = suite(Optional)
    type(case).context = dataclasses.replace(Context(), options={"level": 5})
    assert dict(case._context().options) == {"user": 0, "level": 5}


def test_pytest_runs_the_suite_once_for_each_document(tmp_path: Path) -> None:
    """As a third party runs it: their own file, pytest, and nothing else."""
    module = """
        import sys; sys.path.insert(0, {root!r})
        from tests.unit.sample import EXAMPLE, Sample
        from vifplug.testing.conformance import VIFTypeConformance

        class TestSample(VIFTypeConformance):
            kind = Sample
            examples = (EXAMPLE, dict(EXAMPLE, mtu=1400))
            refused = (dict(EXAMPLE, link_state="down"),)
    """
    file = tmp_path / "test_sample.py"
    file.write_text(textwrap.dedent(module.format(root=str(ROOT))))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    names = [name for name in dir(VIFTypeConformance) if name.startswith("test_")]
    tests = [inspect.signature(getattr(VIFTypeConformance, name)).parameters for name in names]
    wanted = sum(2 if "example" in parameters else 1 for parameters in tests)
    assert done.returncode == 0 and f"{wanted} passed" in done.stdout, done.stdout + done.stderr
