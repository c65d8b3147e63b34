"""A test suite for your VIF type. It needs pytest, and nothing of the host.

::

    from vifplug.testing.conformance import VIFTypeConformance
    from acme_vif import Routed

    class TestRouted(VIFTypeConformance):
        kind = Routed
        examples = ({"id": "...", "type": "routed", "mac": "52:54:00:00:00:01", "source": {"address": "10.0.0.5"}},)
        refused = ({"id": "...", "type": "routed", "mac": "52:54:00:00:00:01", "source": {"address": "no address"}},)

Give an example for each feature of the type, and for each of its tap owners. A failure is a sentence that says what to
fix; the laws themselves are in `vifplug.testing.laws`, `refusal_checks` and `convergence`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from vifplug import plugins
from vifplug.errors import InvalidDocument, VifplugError
from vifplug.model.codec import FrozenMap
from vifplug.model.vif import VIF
from vifplug.plan.registry import RESOURCES, Resource
from vifplug.plugins import bound
from vifplug.testing import convergence, cross_process, laws, refusal_checks
from vifplug.types.base import Context, VIFType
from vifplug.types.contract import type_problem

Document = Mapping[str, Any]


def _law(law: Callable[[VIFType, VIF, Context], Iterator[str]]) -> Callable[[VIFTypeConformance, Document], None]:
    """Return the test that each example keeps a law."""

    def test(self: VIFTypeConformance, example: Document) -> None:
        hold(law(*self._case(example)))

    return test


class VIFTypeConformance:
    """The base of your test class, whose name must begin with Test and which sets the attributes below."""

    #: the VIF type to test
    kind: ClassVar[type[VIFType]]
    #: VIF documents that the type accepts; every law is tested with each
    examples: ClassVar[Sequence[Document]] = ()
    #: VIF documents that the type must refuse
    refused: ClassVar[Sequence[Document]] = ()
    #: the settings, and the facts if the type reads any; options that it does not give have their defaults
    context: ClassVar[Context] = Context()
    #: resource classes of your own whose backend is not installed
    resources: ClassVar[Sequence[type[Resource]]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test for each document."""
        for argument, documents in (("example", self.examples), ("refusal", self.refused)):
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, documents, ids=range(len(documents)))

    # -- the class ----------------------------------------------------------------------------------------------

    def test_vifplug_loads_the_type(self) -> None:
        """Check that its methods, name, source, options and plugin interface are valid."""
        if problem := self._problem():
            pytest.fail(f"{self.kind.__name__} {problem}", pytrace=False)

    def test_it_says_what_it_is(self) -> None:
        """Check that the type, its source and its options are documented."""
        hold(_undocumented(self.kind))

    def test_its_options_have_allowed_defaults(self) -> None:
        self._options()

    def test_there_is_an_example(self) -> None:
        if not self.examples:
            pytest.fail("`examples`: give at least one VIF document, or nothing is tested", pytrace=False)

    def test_it_answers_alike_in_every_process(self) -> None:
        """Check that answers depend neither on the order of sets nor on the clock: they are compared with records."""
        cases = [self._case(example) for example in self.examples]
        try:
            hold(filter(None, [cross_process.differs(self.kind, [vif for _, vif, _ in cases], self._context())]))
        except cross_process.NotComparable as error:
            pytest.skip(str(error))

    # -- each example -------------------------------------------------------------------------------------------

    test_the_example_is_accepted = _law(laws.accepted)
    test_it_is_written_and_read_without_loss = _law(laws.round_trip)
    test_it_is_deterministic = _law(laws.deterministic)
    test_it_touches_nothing = _law(laws.pure)

    def test_its_resources_are_known_and_owned(self, example: Document) -> None:
        installed = plugins.load_resources()
        provided = [resource for backend in installed.values() for resource in backend.resources]
        kinds = {**RESOURCES, **{each.kind: each for each in (*provided, *self.resources)}}
        broken = {kind: backend.problem for kind, backend in installed.items() if backend.problem}
        hold(laws.known_kinds(*self._case(example), kinds, broken))

    test_its_devices_have_good_names = _law(laws.named)
    test_its_devices_are_hardened = _law(laws.hardened)
    test_its_resources_are_in_order = _law(laws.ordered)
    test_its_element_is_accepted_by_libvirt = _law(laws.element)
    test_plugging_converges_and_leaves_nothing = _law(convergence.converges)
    test_it_refuses_what_it_says = _law(refusal_checks.refusals)
    test_it_drops_no_key_silently = _law(refusal_checks.honoured)

    # -- each refusal -------------------------------------------------------------------------------------------

    def test_the_document_is_refused_with_a_path(self, refusal: Document) -> None:
        hold(refusal_checks.refused(self._instance(), refusal, self._context()))

    # -- helpers ------------------------------------------------------------------------------------------------

    def _problem(self) -> str:
        """Return what keeps the type from being loaded, under the name of its entry point if it is installed."""
        value = f"{self.kind.__module__}:{self.kind.__qualname__}"
        names = [
            point.name for point in plugins.entry_points(plugins.TYPES, "VIF type").values() if point.value == value
        ]
        return type_problem(names[0] if names else getattr(self.kind, "name", "?"), self.kind)

    def _instance(self) -> VIFType:
        if problem := self._problem():
            pytest.skip(f"the type cannot be loaded: it {problem}")
        return self.kind()

    def _context(self) -> Context:
        return dataclasses.replace(self.context, options=FrozenMap({**self._options(), **self.context.options}))

    def _options(self) -> Mapping[str, Any]:
        """Return the defaults of the type's options, read as the driver reads them."""
        from oslo_config import cfg

        from vifplug import conf

        self._instance()
        options = cfg.ConfigOpts()
        try:
            conf.register(options, [self.kind])
            options([], default_config_files=[], default_config_dirs=[])
            return conf.settings(options, [self.kind]).types[self.kind.name]
        except (ValueError, cfg.Error, VifplugError) as error:
            pytest.fail(f"an option of {self.kind.__name__} has a wrong default: {error}", pytrace=False)

    def _case(self, example: Document) -> tuple[VIFType, VIF, Context]:
        kind = self._instance()
        if example.get("type") != kind.name:
            pytest.fail(f"the example: expected type {kind.name!r}, got {example.get('type')!r}", pytrace=False)
        try:
            return kind, bound(VIF.from_json(example), kind), self._context()
        except InvalidDocument as error:
            pytest.fail(f"the example is not a valid document: {error}", pytrace=False)


def _undocumented(kind: type[VIFType]) -> Iterable[str]:
    if not kind.__dict__.get("__doc__"):
        yield f"{kind.__name__} has no docstring: say what kind of connection it is"
    source = getattr(kind, "source", None)
    if source and (source.__doc__ or "").startswith((f"{source.__name__}(", "Base of every frozen record")):
        yield f"{source.__name__}, the source of {kind.__name__}, has no docstring: say what its fields mean"
    for option in getattr(kind, "options", ()):
        if not getattr(option, "help", ""):
            yield f"option {getattr(option, 'name', option)} has no help: operators read it in the sample configuration"


def hold(complaints: Iterable[str]) -> None:
    """Fail with all complaints, one on each line."""
    try:
        message = list(complaints)
    except laws.LawBroken as error:
        message = [str(error)]
    if message:
        pytest.fail("\n".join(message), pytrace=False)
