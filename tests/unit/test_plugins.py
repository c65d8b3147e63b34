"""Third parties' plugins: found where they are installed, checked when they are loaded, and never fatal to others."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site

PREAMBLE = """
    from __future__ import annotations
    from vifplug.model.codec import Model
    from vifplug.types.base import Option, VIFType
    from dataclasses import dataclass

    @dataclass(frozen=True, kw_only=True)
    class Source(Model):
        level: int = 0

    class Good(VIFType):
        name = "good"
        source = Source
        def interface(self, vif, context): ...
        def desired(self, vif, context): return ()
"""

REPORT = """
    from vifplug import plugins
    answer = {
        report.origin.name: [report.origin.distribution, report.origin.version, report.reason]
        for report in plugins.TypeRegistry().report()
    }
"""

REFUSED = """
    from vifplug import errors, plugins
    try:
        plugins.TypeRegistry({enabled})
        answer = ""
    except errors.InvalidConfig as error:
        answer = str(error)
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def good(site: Site, name: str = "acme", kind: str = "good") -> None:
    """A distribution with one type that can be loaded."""
    code = PREAMBLE.replace('"good"', f'"{kind}"')
    site.install(name, "1.2", {"vifplug.types": {kind: f"{name}:Good"}}, code)


def reason(site: Site, code: str, kind: str = "bad") -> str:
    """Why a type with this code is left out, beside a good one that is not."""
    good(site)
    site.install("broken", "0.3", {"vifplug.types": {kind: "broken:Bad"}}, PREAMBLE + code)
    report: dict[str, Any] = site.ask(REPORT)
    assert report["good"] == ["acme", "1.2", ""]
    assert report[kind][:2] == ["broken", "0.3"]
    return str(report[kind][2])


def test_a_type_is_listed_with_its_distribution_and_version(site: Site) -> None:
    good(site)
    assert site.ask(REPORT)["good"] == ["acme", "1.2", ""]


def test_a_type_that_can_not_be_imported_is_reported_with_its_reason(site: Site) -> None:
    message = reason(site, "    import acme_hardware_sdk\n")
    assert message == (
        "broken 0.3 (broken:Bad) cannot be imported: ModuleNotFoundError: No module named 'acme_hardware_sdk'"
    )


def test_whatever_a_module_raises_when_it_is_imported_is_reported(site: Site) -> None:
    assert "RuntimeError: no licence" in reason(site, "    raise RuntimeError('no licence')\n")


def test_an_entry_point_to_nothing_is_reported(site: Site) -> None:
    assert "AttributeError" in reason(site, "")


WRONG = {
    "is not a subclass of vifplug.types.base.VIFType": "class Bad: name = 'bad'",
    "does not define desired and interface": "class Bad(VIFType): name = 'bad'; source = Source",
    "says name = 'worse' and is registered as 'bad'": "class Bad(Good): name = 'worse'",
    "says name = None and is registered as 'bad'": "class Bad(Good): name = None",
    "was written for plugin interface 2.0, and this vifplug has 1.0: install a vifplug that has 2.x, or a release": (
        "class Bad(VIFType): name = 'bad'; api_version = (2, 0)"
    ),
    "was written for plugin interface 0.9, and this vifplug has 1.0: install a release of the plugin for 1.x": (
        "class Bad(Good): name = 'bad'; api_version = (0, 9)"
    ),
    "was written for plugin interface 1.9, and this vifplug has 1.0: install a vifplug whose plugin interface is >=": (
        "class Bad(Good): name = 'bad'; api_version = (1, 9)"
    ),
    "has the wrong api_version: expected two numbers, such as (1, 0), got 1": (
        "class Bad(Good): name = 'bad'; api_version = 1"
    ),
    "has the wrong api_version: expected two numbers": ("class Bad(Good): name = 'bad'; api_version = ('1', '0')"),
    "has a source that is not frozen: write @dataclass(frozen=True, kw_only=True) above Plain": (
        "class Plain(Model): level: int = 0\n    class Bad(Good): name = 'bad'; source = Plain"
    ),
    "has the wrong options: expected a tuple of Option objects, got None": (
        "class Bad(Good): name = 'bad'; options = None"
    ),
    "has option a more than once": "class Bad(Good): name = 'bad'; options = (Option(name='a', help='h'),) * 2",
    "has the wrong default of option a: expected kind int, got 'many'": (
        "class Bad(Good): name = 'bad'; options = (Option(name='a', help='h', kind='int', default='many'),)"
    ),
    "has the wrong default of option a: expected low or high, got 'medium'": (
        "class Bad(Good): name = 'bad'; options = (Option(name='a', help='h', choices=('low', 'high'), "
        "default='medium'),)"
    ),
    "has a source, Plain, that cannot be used: fields of type dict[str, int] are not supported (expected": (
        "@dataclass(frozen=True, kw_only=True)\n    class Plain(Model): levels: dict[str, int]\n"
        "    class Bad(Good): name = 'bad'; source = Plain"
    ),
    "has the wrong refuses: expected a map of keys to reasons, got ['vlan']": (
        "class Bad(Good): name = 'bad'; refuses = ['vlan']"
    ),
    "has the wrong source: expected a Model class, got <class 'dict'>": "class Bad(Good): name = 'bad'; source = dict",
    "has the wrong options: expected Option objects, got 'level'": (
        "class Bad(Good): name = 'bad'; options = ('level',)"
    ),
    "has the wrong kind of option a: expected str, int, float, bool, user, group or mode, got 'port'": (
        "class Bad(Good): name = 'bad'; options = (Option(name='a', help='h', kind='port'),)"
    ),
    "refuses mtus, not a key to refuse (expected one of: ": "class Bad(Good): name = 'bad'; refuses = {'mtus': 'none'}",
    "cannot be constructed: OSError: no daemon": (
        "class Bad(Good):\n        name = 'bad'\n        def __init__(self): raise OSError('no daemon')"
    ),
}


@pytest.fixture(scope="module")
def reasons(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Why each of WRONG is left out: all installed side by side, in one interpreter."""
    site = Site(tmp_path_factory.mktemp("wrong"))
    for number, code in enumerate(WRONG.values()):
        site.install(
            f"broken{number}",
            "0.3",
            {"vifplug.types": {f"bad{number}": f"broken{number}:Bad"}},
            PREAMBLE
            + f"""
    {code.replace("'bad'", f"'bad{number}'")}
""",
        )
    report: dict[str, Any] = site.ask(REPORT)
    return [report[f"bad{number}"][2].replace(f"'bad{number}'", "'bad'") for number in range(len(WRONG))]


@pytest.mark.parametrize(("number", "message"), list(enumerate(WRONG)))
def test_a_class_that_is_no_such_type_is_reported(reasons: list[str], number: int, message: str) -> None:
    assert reasons[number].startswith(f"broken{number} 0.3 (broken{number}:Bad) {message}")


def test_a_broken_type_can_not_be_used_and_says_why(site: Site) -> None:
    site.install("broken", "0.3", {"vifplug.types": {"bad": "broken:Bad"}}, "import acme_hardware_sdk")
    answer = site.ask(
        """
        from vifplug import errors, plugins
        try:
            plugins.TypeRegistry().get("bad")
        except errors.UnknownType as error:
            answer = str(error)
        """
    )
    assert answer.startswith("type 'bad' cannot be used: broken 0.3 (broken:Bad) cannot be imported")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("broken:Gone", "cannot be imported: AttributeError: module 'broken' has no attribute 'Gone'"),
        ("brok en", "cannot be imported: expected module:Class as its entry point"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_reported(site: Site, value: str, message: str) -> None:
    site.install("broken", "0.3", {"vifplug.types": {"bad": value}}, PREAMBLE)
    assert site.ask(REPORT)["bad"][2] == f"broken 0.3 ({value}) {message}"


@pytest.mark.parametrize(
    ("name", "why"),
    [("network", "a VIF of type network is resolved to one of another type"),
     ("ovs", "[vifplug_ovs] has vifplug's own options")],
)  # fmt: skip
def test_a_name_that_is_vifplugs_own_is_refused(site: Site, name: str, why: str) -> None:
    message = reason(site, f"    class Bad(Good): name = {name!r}\n", name)
    assert message == f"broken 0.3 (broken:Bad) cannot have the name {name!r}: {why}"


def test_a_module_that_ends_the_process_when_it_is_imported_ends_nothing(site: Site) -> None:
    assert "cannot be imported: SystemExit: 3" in reason(site, "    raise SystemExit(3)\n")


def test_what_a_module_raises_is_told_on_one_line(site: Site) -> None:
    assert "RuntimeError: no licence ask acme" in reason(site, "    raise RuntimeError('no licence\\n  ask acme')\n")


@pytest.mark.parametrize("order", [("acme", "zeta"), ("zeta", "acme")])
def test_two_distributions_with_one_name_are_refused_in_whatever_order(tmp_path: Path, order: tuple[str, str]) -> None:
    sites = [Site(tmp_path / name) for name in order]
    for site, name in zip(sites, order, strict=True):
        good(site, name)
    message = Site(tmp_path / "first", *(site.path for site in sites)).ask(REFUSED.format(enabled=""))
    assert "VIF type 'good' comes from both" in message and "uninstall one of them" in message
    assert "acme 1.2 (acme:Good)" in message and "zeta 1.2 (zeta:Good)" in message


def test_two_distributions_with_one_name_are_refused_when_others_stand_between(tmp_path: Path) -> None:
    """stevedore's own check compares neighbours only."""
    paths = []
    for name, kind in (("acme", "good"), ("between", "other"), ("zeta", "good")):
        paths.append(tmp_path / name)
        good(Site(paths[-1]), name, kind)
    message = Site(tmp_path / "first", *paths).ask(REFUSED.format(enabled=""))
    assert "acme 1.2" in message and "zeta 1.2" in message


def test_one_distribution_that_is_seen_twice_is_fine(tmp_path: Path) -> None:
    """As in a source tree whose package is installed as well; the first on the path counts."""
    tree, installed = Site(tmp_path / "tree"), Site(tmp_path / "installed")
    good(tree)
    installed.install("acme", "1.1", {"vifplug.types": {"good": "acme.old:Good"}})
    found = Site(tmp_path / "first", tree.path, installed.path).ask(REPORT)
    assert found["good"] == ["acme", "1.2", ""]


def test_enabled_types_limits_what_is_found(site: Site) -> None:
    good(site)
    good(site, "zeta", "other")
    answer = site.ask(
        """
        from vifplug import errors, plugins
        types = plugins.TypeRegistry(["good"])
        answer = [[report.origin.name for report in types.report()], [kind.name for kind in types.loaded()]]
        try:
            types.get("other")
        except errors.UnknownType as error:
            answer.append(str(error))
        """
    )
    assert answer == [["good"], ["good"], "type 'other' is unknown (expected good)"]


def test_a_broken_type_that_is_not_enabled_is_not_even_imported(site: Site) -> None:
    good(site)
    site.install("broken", "0.3", {"vifplug.types": {"bad": "broken:Bad"}}, "print('imported'); raise ImportError")
    answer = site.ask("from vifplug import plugins\nanswer = [k.name for k in plugins.TypeRegistry(['good']).loaded()]")
    assert answer == ["good"]


def test_enabling_a_type_that_is_not_installed_is_refused(site: Site) -> None:
    good(site)
    message = site.ask(REFUSED.format(enabled="['good', 'gone', 'lost']"))
    assert message.startswith("[vifplug] enabled_types has gone or lost; installed: ") and "good" in message


def test_a_source_is_bound_to_the_types_own_record(site: Site) -> None:
    good(site)
    answer = site.ask(
        """
        from vifplug import VIF, errors, plugins
        base = {"id": "0a1b2c3d-1111-4222-8333-444455556666", "type": "good", "mac": "52:54:00:00:00:01"}
        types = plugins.TypeRegistry()
        vif = VIF.from_json({**base, "source": {"level": 3}})
        kind, bound = types.bind(vif)
        answer = [type(bound.source).__name__, bound.source.level, types.bind(bound)[1] == bound]
        answer.append(VIF.from_json(bound.to_json()) == vif)
        try:
            types.bind(VIF.from_json({**base, "source": {"level": "high", "height": 2}}))
        except errors.InvalidDocument as error:
            answer.append([problem.path for problem in error.problems])
        """
    )
    assert answer == ["Source", 3, True, True, ["$.source.height", "$.source.level"]]


BEACON = """
    from dataclasses import dataclass
    from vifplug.testing.memory import MemoryBackend
    from vifplug.plan.registry import Resource
    from vifplug.plan.steps import Observed

    @dataclass(frozen=True, kw_only=True)
    class Beacon(Resource):
        kind = "beacon"
        level: int = 0

    class Beacons(MemoryBackend):
        resources = (Beacon,)
"""

KINDS = """
    from importlib.metadata import distribution
    from vifplug import errors, plugins
    own = {point.name for point in distribution("vifplug").entry_points if point.group == "vifplug.resources"}
    try:
        backends = {kind: backend for kind, backend in plugins.load_resources().items() if kind not in own}
        found = plugins.ResourceKinds(backends, {})
        kinds = {kind: found[kind].__name__ for kind, backend in backends.items() if backend.resources}
        answer = [sorted(backends), kinds, [type(make()._backend).__name__ for make in backends.values()]]
    except errors.VifplugError as error:
        answer = [type(error).__name__, str(error), error.exit_code]
"""


def test_a_kind_of_resource_comes_with_its_backend(site: Site) -> None:
    site.install("acme", "1.2", {"vifplug.resources": {"beacon": "acme:Beacons"}}, BEACON)
    assert site.ask(KINDS) == [["beacon"], {"beacon": "Beacon"}, ["Beacons"]]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("lamp", "is registered for kind 'lamp' and has beacon"),
        ("tap", "is registered for kind 'tap', which is vifplug's own"),
    ],
)
def test_a_backend_for_another_kind_than_it_has_is_refused_when_it_is_needed(
    site: Site, kind: str, message: str
) -> None:
    site.install("acme", "1.2", {"vifplug.resources": {kind: "acme:Beacons"}}, BEACON)
    assert site.ask(KINDS) == ["BrokenPlugin", f"acme 1.2 (acme:Beacons) {message}", 3]


GATE = "was written for plugin interface 2.0, and this vifplug has 1.0: install a vifplug that has 2.x, or a release "
GATE += "of the plugin for 1.x"
WRONG_BACKENDS = {
    GATE: "class Beacons: api_version = (2, 0)",
    "was written for plugin interface 1.7, and this vifplug has 1.0: install a vifplug whose plugin interface is >= "
    "1.7": "class Beacons: api_version = (1, 7)",
    "has the wrong resources: expected a tuple of resource classes, got <class 'acme.Beacon'>: write (Name,)": (
        "class Beacons(Beacons): resources = Beacon"
    ),
    "has the wrong resources: expected subclasses of vifplug.plan.registry.Resource, got 'beacon'": (
        "class Beacons(Beacons): resources = ('beacon',)"
    ),
    "has a resource, Nameless, that has no kind": (
        "class Nameless(Resource): pass\n    class Beacons(Beacons): resources = (Nameless,)"
    ),
    "does not define apply and close": "class Beacons: resources = (Beacon,); observe = print",
    "does not define change, make and remove": (
        "from vifplug.host.stepwise import StepwiseBackend\n"
        "    class Beacons(StepwiseBackend): resources = (Beacon,); observe = print; close = print"
    ),
    "cannot be constructed: OSError: no daemon": (
        "class Beacons(Beacons):\n        def __init__(self): raise OSError('no daemon')"
    ),
}


@pytest.mark.parametrize("message", WRONG_BACKENDS)
def test_a_backend_that_is_none_is_refused_when_it_is_needed_and_told_by_types(site: Site, message: str) -> None:
    code = f"{BEACON}\n    {WRONG_BACKENDS[message]}\n"
    site.install("acme", "1.2", {"vifplug.resources": {"beacon": "acme:Beacons"}}, code)
    assert site.ask(KINDS) == ["BrokenPlugin", f"acme 1.2 (acme:Beacons) {message}", 3]
    told_of = "{each.origin.name: each.reason for each in plugins.report_resources()}"
    line = site.ask(f"from vifplug import plugins\nanswer = {told_of}")["beacon"]
    assert line == ("" if "constructed" in message else f"acme 1.2 (acme:Beacons) {message}")


def test_two_backends_for_one_kind_are_refused(tmp_path: Path) -> None:
    sites = [Site(tmp_path / name) for name in ("acme", "zeta")]
    for site in sites:
        name = site.path.name
        site.install(name, "1.2", {"vifplug.resources": {"beacon": f"{name}:Beacons"}}, BEACON)
    kind, message, _ = Site(tmp_path / "first", *(site.path for site in sites)).ask(KINDS)
    assert kind == "InvalidConfig" and "resource kind 'beacon' comes from both acme 1.2" in message


def test_a_backend_that_can_not_be_imported_says_whose_it_is(site: Site) -> None:
    site.install("acme", "1.2", {"vifplug.resources": {"beacon": "acme:Beacons"}}, "import acme_hardware_sdk")
    kind, message, _ = site.ask(KINDS)
    assert kind == "BrokenPlugin" and message.startswith(
        "acme 1.2 (acme:Beacons) cannot be imported: ModuleNotFoundError"
    )


LIT = f"""{PREAMBLE}
    {BEACON}

    class Lit(Good):
        name = "lit"
        def interface(self, vif, context):
            from vifplug.types.ethernet import tap_interface
            return tap_interface(vif, None)
        def desired(self, vif, context):
            return [Beacon(name=vif.device, owner=vif.id, level=vif.source.level)]
"""

DRIVE = """
    from vifplug import VIF, VIFDriver, conf, errors
    options = conf.load([])
    options.set_override("state_path", {state!r}, group="vifplug")
    base = {{"id": "0a1b2c3d-1111-4222-8333-444455556666", "type": "lit", "mac": "52:54:00:00:00:01"}}
    vif = VIF.from_json({{**base, "source": {{"level": 3}}}})
    answer = []
    with VIFDriver(options) as driver:
        for verb in {verbs}:
            try:
                answer.append(verb(driver, vif))
            except errors.VifplugError as error:
                answer.append(f"{{type(error).__name__}}: {{error}}")
"""
STEPS = "lambda driver, vif: list(map(str, driver.plug(vif).steps))"


def test_a_type_with_a_kind_of_its_own_is_plugged_checked_updated_and_unplugged(site: Site, tmp_path: Path) -> None:
    points = {"vifplug.resources": {"beacon": "acme:Beacons"}, "vifplug.types": {"lit": "acme:Lit"}}
    site.install("acme", "1.2", points, LIT)
    verbs = f"""[
        {STEPS}, {STEPS}, lambda driver, vif: driver.check(),
        lambda driver, vif: list(map(str, driver.update(vif.replace(source={{"level": 4}})).steps)),
        lambda driver, vif: list(map(str, driver.unplug(vif.id))), lambda driver, vif: driver.list(),
    ]"""
    beacon = "beacon tap0a1b2c3d-11"
    assert site.ask(DRIVE.format(state=str(tmp_path / "state"), verbs=verbs)) == [
        [f"make {beacon}"],
        [],
        [],
        [f"set {beacon}: level from 3 to 4"],
        [f"remove {beacon}"],
        [],
    ]


def test_a_type_whose_kind_of_resource_is_broken_says_why_and_others_work(site: Site, tmp_path: Path) -> None:
    points = {"vifplug.resources": {"beacon": "sdk:Beacons"}, "vifplug.types": {"lit": "acme:Lit"}}
    site.install("acme", "1.2", points, LIT)
    site.install("sdk", "0.1", {}, "import acme_hardware_sdk")
    verbs = f"[lambda driver, vif: driver.list(), {STEPS}, lambda driver, vif: driver.list()]"
    listed, message, left = site.ask(DRIVE.format(state=str(tmp_path / "state"), verbs=verbs))
    assert listed == left == []
    assert message.startswith("BrokenPlugin: acme 1.2 (sdk:Beacons) cannot be imported: ModuleNotFoundError")


RAISING = """
    class Raising(Beacons):
        def __init__(self):
            super().__init__()
            if level("construct"): raise OSError("no daemon")
        def observe(self, desired):
            if level("observe"): raise KeyError("lamp")
            if level("exit"): raise SystemExit("lamp")
            if level("record"): [each.replace(level="high") for each in desired]
            if level("bare"): return {each.identity: each for each in desired}
            if level("other"): return {("beacon", "b9"): Observed(resource=None, foreign="a lamp")}
            if level("list"): return []
            return super().observe(desired)
        def apply(self, steps, done):
            super().apply(steps, done)
            if level("apply") and steps[0].after:
                del done[-1]
                raise RuntimeError("the lamp\\nbroke")
    import os
    def level(name): return os.environ.get("FAILS") == name
"""


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        ("construct", "BrokenPlugin: acme 1.2 (acme:Raising) cannot be constructed: OSError: no daemon"),
        ("observe", "BrokenPlugin: acme 1.2 (acme:Raising) failed to observe beacon tap0a1b2c3d-11: KeyError: 'lamp'"),
        ("exit", "BrokenPlugin: acme 1.2 (acme:Raising) failed to observe beacon tap0a1b2c3d-11: SystemExit: lamp"),
        ("record", "BrokenPlugin: acme 1.2 (acme:Raising) failed to observe beacon tap0a1b2c3d-11: it created an "
                   "invalid object: $.level: expected an integer, got 'high'"),
        ("bare", "BrokenPlugin: acme 1.2 (acme:Raising) failed to observe beacon tap0a1b2c3d-11: expected "
                 "Observed(resource=...) for ('beacon', 'tap0a1b2c3d-11'), got Beacon("),
        ("other", "BrokenPlugin: acme 1.2 (acme:Raising) failed to observe beacon tap0a1b2c3d-11: it observed an "
                  "unrequested ('beacon', 'b9')"),
        ("list", "BrokenPlugin: acme 1.2 (acme:Raising) failed to observe beacon tap0a1b2c3d-11: expected a dict of "
                 "Observed by identity, got []"),
        ("apply", "PluginFailed: acme 1.2 (acme:Raising) failed to make beacon tap0a1b2c3d-11: "
                  "RuntimeError: the lamp broke"),
    ],
)  # fmt: skip
def test_whatever_a_backend_raises_is_one_sentence_and_nothing_is_left(
    site: Site, tmp_path: Path, fails: str, message: str
) -> None:
    points = {"vifplug.resources": {"beacon": "acme:Raising"}, "vifplug.types": {"lit": "acme:Lit"}}
    site.install("acme", "1.2", points, LIT + RAISING)
    left = "lambda driver, vif: list(driver._host.backend('beacon')._backend.there)"
    verbs = f"[{STEPS}, lambda driver, vif: driver.list(), {left}]"
    code = f"import os; os.environ['FAILS'] = {fails!r}\n" + textwrap.dedent(
        DRIVE.format(state=str(tmp_path / "state"), verbs=verbs)
    )
    plugged, listed, there = site.ask(code)
    assert plugged.startswith(message) and listed == []
    assert there == (message if fails == "construct" else [])


def test_a_backend_that_fails_hides_no_other_vif_from_check(site: Site, tmp_path: Path) -> None:
    points = {"vifplug.resources": {"beacon": "acme:Raising"}, "vifplug.types": {"lit": "acme:Lit"}}
    site.install("acme", "1.2", points, LIT + RAISING)
    code = textwrap.dedent(DRIVE.format(state=str(tmp_path / "state"), verbs="[]")) + textwrap.dedent(
        """
        other = VIF.from_json({**base, "id": "1a1b2c3d-1111-4222-8333-444455556666", "type": "vhostuser",
                               "source": {"path": "%s/sock", "mode": "server"}})
        options.set_override("socket_dirs", ["/"], group="vifplug")
        with VIFDriver(options) as driver:
            driver.plug(vif)
            driver.plug(other)
        import os; os.environ["FAILS"] = "observe"
        with VIFDriver(options) as driver:
            answer = [[each.vif_id[:2], str(each)] for each in driver.check()]
        """
        % (tmp_path / "made")
    )
    [(whose, message), *others] = site.ask(code)
    assert whose == "0a" and message.startswith("resources: expected an answer of their plugin, got acme 1.2")
    assert others == []


@pytest.mark.parametrize("method", ["problems", "interface", "desired"])
def test_whatever_a_type_raises_is_one_sentence_that_names_it(site: Site, tmp_path: Path, method: str) -> None:
    code = f"""{LIT}
    class Broken(Lit):
        def {method}(self, vif, context): raise KeyError("lamp")
"""
    points = {"vifplug.resources": {"beacon": "acme:Beacons"}, "vifplug.types": {"lit": "acme:Broken"}}
    site.install("acme", "1.2", points, code)
    [message] = site.ask(DRIVE.format(state=str(tmp_path / "state"), verbs=f"[{STEPS}]"))
    vif = "0a1b2c3d-1111-4222-8333-444455556666"
    assert message == f"BrokenPlugin: type lit (acme:Broken) failed in {method} for VIF {vif}: KeyError: 'lamp'"


def test_a_record_whose_kind_of_resource_is_no_longer_installed_says_so(site: Site, tmp_path: Path) -> None:
    points = {"vifplug.resources": {"beacon": "acme:Beacons"}, "vifplug.types": {"lit": "acme:Lit"}}
    site.install("acme", "1.2", points, LIT)
    site.ask(DRIVE.format(state=str(tmp_path / "state"), verbs=f"[{STEPS}]"))
    verbs = "[lambda driver, vif: str(driver.check()[0]), lambda driver, vif: driver.list()[0].vif.type,"
    verbs += " lambda driver, vif: driver.unplug(vif.id)]"
    checked, listed, unplugged = Site(tmp_path / "without").ask(
        DRIVE.format(state=str(tmp_path / "state"), verbs=verbs)
    )
    for message in (checked, unplugged):
        assert "the record has a resource of kind 'beacon'" in message and "install the package" in message
    assert listed == "lit", "one such record hides nothing else"


def test_a_record_that_the_next_version_of_a_plugin_can_not_read_says_so_and_stays(site: Site, tmp_path: Path) -> None:
    points = {"vifplug.resources": {"beacon": "acme:Beacons"}, "vifplug.types": {"lit": "acme:Lit"}}
    site.install("acme", "1.2", points, LIT)
    state = str(tmp_path / "state")
    site.ask(DRIVE.format(state=state, verbs=f"[{STEPS}]"))
    later = Site(tmp_path / "later")
    code = LIT.replace("level: int = 0\n\n    class Beacons", "level: str = ''\n\n    class Beacons")
    later.install("acme", "2.0", points, code.replace("level=vif.source.level", "level=str(vif.source.level)"))
    verbs = "[lambda driver, vif: str(driver.check()[0]), lambda driver, vif: driver.unplug(vif.id),"
    for message in later.ask(DRIVE.format(state=state, verbs=f"{verbs} {STEPS}]")):
        assert (
            "the record has beacon tap0a1b2c3d-11 of VIF 0a1b2c3d-1111-4222-8333-444455556666, which acme cannot read"
        )
        assert "$.level: " in message and "install the release that the VIF was plugged with" in message
    verbs = "[lambda driver, vif: len(driver.list()), lambda driver, vif: list(map(str, driver.unplug(vif.id)))]"
    assert site.ask(DRIVE.format(state=state, verbs=verbs)) == [1, []], "the record stays, and its release can read it"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[Beacon]", "TypeError: expected resources of vifplug.plan.registry, got <class 'acme.Beacon'>"),
        ("[Beacon(name=vif.device, owner=vif.id, level='high')]", "it created an invalid object: $.level: "),
        ("Beacons", "TypeError: "),
    ],
)
def test_what_is_no_resource_is_the_types_failure(site: Site, tmp_path: Path, given: str, message: str) -> None:
    points = {"vifplug.resources": {"beacon": "acme:Beacons"}, "vifplug.types": {"lit": "acme:Lit"}}
    code = LIT.replace("[Beacon(name=vif.device, owner=vif.id, level=vif.source.level)]", given)
    site.install("acme", "1.2", points, code)
    [answer] = site.ask(DRIVE.format(state=str(tmp_path / "state"), verbs=f"[{STEPS}]"))
    assert answer.startswith("BrokenPlugin: type lit (acme:Lit) failed in desired for VIF ") and message in answer


def test_a_kind_of_resource_without_a_backend_says_what_to_do(site: Site, tmp_path: Path) -> None:
    site.install("acme", "1.2", {"vifplug.types": {"lit": "acme:Lit"}}, LIT)
    [answer] = site.ask(DRIVE.format(state=str(tmp_path / "state"), verbs=f"[{STEPS}]"))
    assert answer.startswith("BrokenPlugin: resource kind 'beacon' has no backend (expected one of: ")
    assert "install the package that provides it" in answer


# -- look-ups -----------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parents[2] / "doc" / "plugins.md").read_text()


def page(words: str) -> str:
    """The block of the page for third parties that has these words."""
    [found] = [
        block for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) if words in block
    ]
    return str(found)


LOOK = """
    from vifplug import errors, plugins
    answer = []
    try:
        look = plugins.FactPlugins()
        for name, key in {asks}:
            answer.append(look(name, key))
    except errors.VifplugError as error:
        answer += [type(error).__name__, str(error), error.exit_code]
"""


def look(site: Site, *asks: tuple[str, str]) -> list[Any]:
    """What look-ups find; of the first that fails the error, its sentence and its exit code."""
    return list(site.ask(LOOK.format(asks=asks)))


def test_the_look_up_of_the_page_is_found_and_asked(site: Site, tmp_path: Path) -> None:
    (tmp_path / "dmz").write_text("eno2\n")
    code = page("def uplink").replace("/etc/acme/zones.d", str(tmp_path))
    site.install("acme_host", "1.2", {"vifplug.facts": {"acme-uplink": "acme_host:uplink"}}, code)
    found = look(site, ("acme-uplink", "dmz"), ("acme-uplink", "lan"))
    message = f"zone lan: found no such file in {tmp_path}; 'acme sync' fetches the zones"
    assert found == ["eno2", "Missing", message, 3]


def test_the_host_of_the_page_answers_as_the_real_one_would(site: Site) -> None:
    asks = "answer = [CONTEXT.facts.look('acme-uplink', 'dmz'), CONTEXT.facts.function_of('eno1')]"
    assert site.ask(page("class Host(NoFacts)") + asks) == ["eno2", None]


def test_a_look_up_that_is_not_installed_is_named_with_those_that_are(site: Site) -> None:
    assert look(site, ("acme-uplink", "dmz")) == [
        "Missing",
        "no installed package has the look-up 'acme-uplink' (installed: vdpa-device)",
        3,
    ]


def test_a_look_up_is_not_imported_before_it_is_asked_for(site: Site) -> None:
    site.install("broken", "0.3", {"vifplug.facts": {"bad": "broken:find"}}, "raise RuntimeError('no licence')")
    site.install("acme", "1.2", {"vifplug.facts": {"good": "acme:find"}}, "find = str.upper")
    message = "broken 0.3 (broken:find) cannot be imported: RuntimeError: no licence"
    assert look(site, ("good", "a"), ("bad", "a")) == ["A", "BrokenPlugin", message, 3]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("find = 'eno2'", "is not a function of one key: got 'eno2'"),
        ("def find(key): return {}[key]", "could not look up 'a': KeyError: 'a'"),
        ("def find(): return 1", "could not look up 'a': TypeError: "),
    ],
)
def test_a_look_up_that_does_not_work_says_whose_it_is(site: Site, code: str, message: str) -> None:
    site.install("acme", "1.2", {"vifplug.facts": {"bad": "acme:find"}}, code)
    kind, sentence, exit_code = look(site, ("bad", "a"))
    assert (kind, exit_code) == ("BrokenPlugin", 3)
    assert sentence.startswith(f"acme 1.2 (acme:find) {message}")


def test_two_look_ups_of_one_name_are_refused(tmp_path: Path) -> None:
    sites = [Site(tmp_path / name) for name in ("acme", "zeta")]
    for site in sites:
        name = site.path.name
        site.install(name, "1.2", {"vifplug.facts": {"uplink": f"{name}:find"}}, "find = str.upper")
    kind, message, _ = look(Site(tmp_path / "first", *(site.path for site in sites)), ("uplink", "a"))
    assert kind == "InvalidConfig" and "look-up 'uplink' comes from both acme 1.2" in message and "zeta 1.2" in message


ZONED = f"""{PREAMBLE}
    from vifplug.plan.registry import LowerDevice

    class Zoned(Good):
        name = "zoned"
        has_device = False
        refuses = {{"target": "it has no device"}}
        def interface(self, vif, context):
            from vifplug.guest.interface import Interface
            return Interface.of(vif, "direct", {{"dev": self.uplink(vif, context), "mode": "bridge"}})
        def desired(self, vif, context):
            return [LowerDevice(name=self.uplink(vif, context), owner=vif.id)]
        def uplink(self, vif, context):
            return context.facts.look("acme-uplink", str(vif.source.level))

    def find(key):
        return {{"3": "lo"}}[key]
"""


def test_a_type_that_looks_something_up_is_plugged_and_has_no_device(site: Site, tmp_path: Path) -> None:
    points = {"vifplug.facts": {"acme-uplink": "acme:find"}, "vifplug.types": {"zoned": "acme:Zoned"}}
    site.install("acme", "1.2", points, ZONED)
    verbs = """[
        lambda driver, vif: driver.plan(vif.replace(type="zoned")).interface_xml,
        lambda driver, vif: driver.plan(vif.replace(type="zoned")).vif.target,
        lambda driver, vif: driver.plan(vif.replace(type="zoned", target="tap0")),
        lambda driver, vif: driver.plan(vif.replace(type="zoned", source={"level": 4})),
    ]"""
    element, target, refused, unknown = site.ask(DRIVE.format(state=str(tmp_path / "state"), verbs=verbs))
    assert "<source dev='lo' mode='bridge'/>" in element and "<target" not in element
    assert target is None
    assert refused.startswith("Unsupported: VIF 0a1b2c3d-1111-4222-8333-444455556666: $.target: not supported by type")
    assert unknown.startswith("BrokenPlugin: acme 1.2 (acme:find) could not look up '4'")
